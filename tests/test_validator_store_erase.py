"""Erasing what a pair holds: from the tables, the packs and the write-ahead log, also when the process is killed."""

import os
import random
import signal
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import text

from curiosity.protocol.errors import StoreError
from curiosity.protocol.merkle import leaf_hash, verify_inclusion
from tests.material.ledger import make_entry, make_pair, open_ledger, submission_of, tamper
from validator.ledger import NewEntry
from validator.store import Store
from validator.store.blocks import BLOCK_BYTES, BlockFile, whole_blocks
from validator.store.packs import MAX_INLINE_BYTES, Packs

SECRET, LARGE_SECRET = b"a face that must go", b"a large face that must go" * 1000
SHARED = b"a picture that two people sent"


def secrets() -> list[NewEntry]:
    """Three pairs; the secret ones hold SECRET and LARGE_SECRET, one of them shares a content with another."""
    return [
        make_entry(0, pair=make_pair(0, image=LARGE_SECRET, text=SECRET)),
        make_entry(1, pair=make_pair(1, image=SHARED, text=b"mine")),
        make_entry(2, pair=make_pair(2, image=SHARED, text=SECRET)),
    ]


def fill(folder: Path, url: str) -> list[NewEntry]:
    """Append `secrets` to a ledger, which is closed again."""
    entries = secrets()
    with open_ledger(url, folder / "head") as opened:
        opened.ledger.append(entries)
    return entries


def bytes_on_disk(folder: Path) -> bytes:
    """Everything that the store's files hold."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_an_erased_pair_leaves_nothing_but_its_row(store_url: str, tmp_path: Path) -> None:
    entries = fill(tmp_path, store_url)
    with open_ledger(store_url, tmp_path / "head") as opened:
        ledger, store = opened.ledger, opened.store
        proof, root = ledger.inclusion_proof(0, 3), ledger.root()
        before = store.find_pair(submission_of(entries[0]).pair)
        assert before is not None
        ledger.append([NewEntry(b'{"kind":"takedown"}', None, erases=(0, 2))])
        for gone in (SECRET, LARGE_SECRET):
            assert store.blob(sha256(gone).digest()) is None
            assert store.item(sha256(gone).digest()) is None
        assert store.blob(sha256(SHARED).digest()) == SHARED, "another pair holds it"
        assert [row.index for row in store.submissions(0, 10)] == [1]
        assert [row.index for row in store.accepted()] == [1]
        after = store.find_pair(submission_of(entries[0]).pair)
        assert after is not None
        assert (after.erased, after.embeddings, after.to_receipt()) == (True, None, before.to_receipt())
        # What was proven stays proven, and the sender of an erased pair gets the receipt that he got.
        verify_inclusion(leaf_hash(entries[0].leaf), 0, 3, proof, root)
        verify_inclusion(leaf_hash(entries[0].leaf), 0, 4, ledger.inclusion_proof(0, 4), ledger.root())
        assert ledger.append([entries[0]]) == [before.to_receipt()]
        ledger.verify()
        # The contents may come again, from whoever is allowed to send them.
        ledger.append([make_entry(9, pair=make_pair(9, image=LARGE_SECRET, text=SECRET))])
        assert store.blob(sha256(LARGE_SECRET).digest()) == LARGE_SECRET
        ledger.append([NewEntry(b'{"kind":"takedown"}', None, erases=(1,)), NewEntry(b"{}", None, erases=(1, 2, 3))])
        assert store.blob(sha256(SHARED).digest()) is None


def test_no_file_of_sqlite_keeps_erased_bytes(sqlite_url: str, tmp_path: Path) -> None:
    entries = secrets()
    held = [SECRET, LARGE_SECRET[:100], submission_of(entries[0]).envelope, b"vector 0 of 0000000000"]
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append(entries)  # now: the write-ahead log holds them too
        assert all(piece in (tmp_path / "ledger.db-wal").read_bytes() for piece in (SECRET, b"vector 0 of 0000000000"))
        assert [piece in bytes_on_disk(tmp_path) for piece in held] == [True] * 4
        opened.ledger.append([NewEntry(b'{"kind":"takedown"}', None, erases=(0, 2))])
        assert [piece in bytes_on_disk(tmp_path) for piece in held] == [False] * 4
        assert entries[0].leaf in bytes_on_disk(tmp_path)
        (pack,) = (tmp_path / "ledger.db.blobs").iterdir()
        assert pack.stat().st_size == whole_blocks(len(LARGE_SECRET))
        assert pack.read_bytes() == bytes(whole_blocks(len(LARGE_SECRET)))
        assert pack.stat().st_blocks * 512 < len(LARGE_SECRET) // 2, "the blocks were not given back"


def test_erasing_is_refused_before_the_entry_is_there(sqlite_url: str, tmp_path: Path) -> None:
    fill(tmp_path, sqlite_url)
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        for index in (3, 4, -1):
            with pytest.raises(ValueError, match="only earlier entries"):
                opened.ledger.append([NewEntry(b"{}", None, erases=(index,))])
        assert opened.ledger.size == 3
        opened.ledger.append([NewEntry(b"{}", None, erases=(0,)), NewEntry(b"{}", None, erases=(3,))])
        assert opened.ledger.size == 5


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.material.ledger import open_ledger
from validator.ledger import NewEntry
from validator.store.packs import Packs
Packs.scrub = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with open_ledger(sys.argv[1], Path(sys.argv[2])) as opened:
    opened.ledger.append([NewEntry(b"{}", None, erases=(0, 2))])
"""


def test_an_erasure_cut_short_is_finished_at_start(sqlite_url: str, tmp_path: Path) -> None:
    """Killed after the commit and before the pack was overwritten; contents appended later do not get in the way."""
    fill(tmp_path, sqlite_url)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, sqlite_url, str(tmp_path / "head")],
        cwd=Path(__file__).parent.parent,
        timeout=600,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert LARGE_SECRET in bytes_on_disk(tmp_path)
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        assert opened.ledger.size == 4
        assert LARGE_SECRET[:100] not in bytes_on_disk(tmp_path)
        opened.ledger.append([make_entry(3, pair=make_pair(3, image=b"another" * MAX_INLINE_BYTES))])
        assert opened.store.blob(sha256(b"another" * MAX_INLINE_BYTES).digest()) == b"another" * MAX_INLINE_BYTES
    with tamper(sqlite_url) as connection:
        assert connection.scalar(text("SELECT COUNT(*) FROM scrubs")) == 0


def test_packs_cut_off_what_no_row_knows(tmp_path: Path) -> None:
    packs = Packs(tmp_path / "packs", max_pack_bytes=1000)
    packs.open_at(0, 0)
    assert packs.append([b"a" * 600, b"b" * 600, b""]) == [(0, 0), (0, 600), (0, 1200)]
    assert packs.append([b"c" * 10]) == [(1, 0)]
    assert packs.append([b"d" * 5000]) == [(1, BLOCK_BYTES)]
    packs.open_at(1, 10)
    assert (tmp_path / "packs" / "00000001.pack").read_bytes() == b"c" * 10
    packs.open_at(0, 600)
    assert [path.name for path in (tmp_path / "packs").iterdir()] == ["00000000.pack"]
    assert packs.append([b"e"]) == [(0, BLOCK_BYTES)]
    assert packs.read(0, 0, 600) == b"a" * 600
    assert packs.read(0, BLOCK_BYTES, 100) == b"e" + bytes(99), "what follows in the block is nobody's bytes"
    assert packs.read(7, 0, 1) is None
    packs.close()
    with pytest.raises(StoreError, match="BLOB_CORRUPT"):
        packs.open_at(0, 2 * BLOCK_BYTES + 1)
    with pytest.raises(ValueError, match="where the packs end"):
        packs.append([b"x"])


def test_blocks_hold_what_was_written_and_nothing_that_was_before(tmp_path: Path) -> None:
    """Through a buffer that is smaller than a batch and still holds the last one."""
    file = BlockFile(tmp_path / "file")
    chance = random.Random(4)
    parts = [chance.randbytes(size) for size in (5_000_000, 0, 1, BLOCK_BYTES, 4_200_000)]
    file.write(parts, 0)
    whole = b"".join(parts)
    assert (tmp_path / "file").read_bytes() == whole.ljust(whole_blocks(len(whole)), b"\0")
    file.write([b"short"], BLOCK_BYTES)
    assert (tmp_path / "file").read_bytes()[BLOCK_BYTES : 2 * BLOCK_BYTES] == b"short".ljust(BLOCK_BYTES, b"\0")
    file.write([b"where no block begins, the kernel wants it to go through the cache"], 100)
    assert (tmp_path / "file").read_bytes()[100:].startswith(b"where no block begins, the kernel wants it to")
    file.close()


def test_a_shorter_pack_is_refused_at_start_and_a_longer_one_cut(sqlite_url: str, tmp_path: Path) -> None:
    """Longer: a process ended before its commit. Shorter: the first pair that lost something is named."""
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        for number in range(6):
            opened.ledger.append([make_entry(number, pair=make_pair(number, image=b"%d" % number * 20_000))])
    (pack,) = (tmp_path / "ledger.db.blobs").iterdir()
    batch = whole_blocks(20_000)
    whole = pack.read_bytes()[: 5 * batch + 20_000]
    pack.write_bytes(whole + LARGE_SECRET)
    with open_ledger(sqlite_url, tmp_path / "head"):
        assert pack.read_bytes() == whole
    os.truncate(pack, 3 * batch + 1)
    with (
        pytest.raises(StoreError, match=r"BLOB_COR.*bad index 3"),
        open_ledger(sqlite_url, tmp_path / "head"),
    ):
        pass
    pack.unlink()
    with (
        pytest.raises(StoreError, match=r"BLOB_COR.*bad index 0"),
        open_ledger(sqlite_url, tmp_path / "head"),
    ):
        pass
    with Store.open(sqlite_url) as store, pytest.raises(StoreError, match="BLOB_CORRUPT"):
        store.blob(sha256(b"4" * 20_000).digest())


@pytest.mark.parametrize("content", [SHARED, LARGE_SECRET])
def test_a_content_goes_with_the_last_pair_that_holds_it(store_url: str, tmp_path: Path, content: bytes) -> None:
    with open_ledger(store_url, tmp_path / "head") as opened:
        for number in range(3):
            pair = make_pair(number, image=content, text=b"%d" % number)
            opened.ledger.append([make_entry(number, pair=pair)])
        for number in range(3):
            assert opened.store.blob(sha256(content).digest()) == content
            opened.ledger.append([NewEntry(b"%d" % number, None, erases=(number,))])
        assert opened.store.blob(sha256(content).digest()) is None
