"""The ledger on real SQLite and PostgreSQL: receipts and proofs, kill -9, rolled-back and tampered databases."""

import random
import resource
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from curiosity.protocol import merkle, subtrees
from curiosity.protocol.entry import CheckpointEntry, encode_entry
from curiosity.protocol.errors import CuriosityError, ProofError, Rejected, StoreError
from curiosity.protocol.merkle import leaf_hash, verify_consistency, verify_inclusion
from curiosity.protocol.receipt import Receipt, verify_receipt
from curiosity.protocol.subtrees import Place, consistency_from, inclusion_from, root_from
from curiosity.protocol.tlog import Signer, verify_checkpoint
from tests.material.ledger import (
    LOG,
    NOW,
    ORIGIN,
    RECEIPT_VKEY,
    Opened,
    make_entries,
    make_entry,
    make_pair,
    open_ledger,
    submission_of,
    tamper,
)
from tests.material.ledger_worker import check_promises
from validator.ledger import NewEntry
from validator.store.tree import Edge, FullTile, hash_in

CHECKPOINT_LEAF = encode_entry(CheckpointEntry(b"\x66" * 32, None))


@contextmanager
def refused(code: str) -> Iterator[pytest.ExceptionInfo[CuriosityError]]:
    """The block is refused with this code and says what to do."""
    with pytest.raises(CuriosityError) as caught:
        yield caught
    assert caught.value.code == code
    assert caught.value.remedy


# The shape of trees


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 1500), st.data())
def test_tiles_and_edge_give_the_same_proofs_as_all_leaves(size: int, data: st.DataObject) -> None:
    hashes = [leaf_hash(b"%d" % index) for index in range(size)]
    edge, tiles = Edge(), list[FullTile]()
    for start in range(0, size, step := data.draw(st.integers(1, size))):
        tiles += edge.append(hashes[start : start + step])
    assert [(tile.level, tile.position) for tile in tiles] == [(0, position) for position in range(size // 256)]
    assert b"".join(tile.hashes for tile in tiles) == b"".join(hashes[: size // 256 * 256])
    assert edge.root() == merkle._root_of_hashes(hashes)

    def hash_at(place: tuple[int, int]) -> bytes:
        level, position = place
        if level < 8 and not edge.holds(0, position >> (8 - level)):
            return hash_in(tiles[position >> (8 - level)], level, position % (256 >> level))
        return edge.hash_at(place)

    def read(places: Sequence[Place]) -> list[bytes]:
        return [hash_at(place) for place in places]

    part = data.draw(st.integers(1, size))
    index = data.draw(st.integers(0, part - 1))
    first = data.draw(st.integers(1, part))
    assert root_from(read, part) == merkle._root_of_hashes(hashes[:part])
    assert inclusion_from(read, index, part) == merkle.inclusion_path(index, hashes[:part])
    assert consistency_from(read, first, part) == (
        merkle.consistency_path(first, hashes[:part]) if first < part else []
    )


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 66_000])
def test_an_edge_is_its_size_and_its_loose_hashes(size: int) -> None:
    whole, parts = Edge(), Edge()
    hashes = [leaf_hash(b"%d" % index) for index in range(size)]
    tiles = whole.append(hashes)
    again = Edge(size, [whole.hashes(level) for level in range(max(1, -(-size.bit_length() // 8)))])
    for start in range(0, size, 4096):
        parts = parts.copy()
        parts.append(hashes[start : start + 4096])
    assert whole.root() == again.root() == parts.root() == merkle._root_of_hashes(hashes)
    assert len(tiles) == size // 256 + size // 65_536
    assert again.append([b"\x01" * 32]) == whole.append([b"\x01" * 32])
    assert again.root() == whole.root()
    with pytest.raises(ValueError, match="in no tile"):
        Edge(size + 1)


def test_each_subtree_is_hashed_once_however_the_leaves_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """An append hashes what it completes, tiles and their middles included; what a start reads is hashed once too."""
    hashed = 0

    def counted(data: bytes) -> Any:
        nonlocal hashed
        hashed += 1
        return sha256(data)

    monkeypatch.setattr(merkle, "sha256", counted)
    monkeypatch.setattr(subtrees, "sha256", counted)
    edge, leaves = Edge(), [sha256(b"%d" % number).digest() for number in range(70_000)]
    for start, end in pairwise([0, 1, 100, 256, 257, 1500, 5000, 66_000, 70_000]):
        hashed = 0
        edge.append(leaves[start:end])
        assert hashed == (end - end.bit_count()) - (start - start.bit_count())  # the complete subtrees that are new
    hashed = 0
    again = Edge(edge.size, [edge.hashes(level) for level in range(3)])
    assert again.root() == edge.root()
    loose = [edge.size % 256, edge.size // 256 % 256, edge.size // 65_536]
    assert hashed <= sum(loose) + edge.size.bit_count()


def test_proofs_and_tiles_of_a_tree_of_three_levels(sqlite_url: str, tmp_path: Path) -> None:
    """Past 65,536 entries a proof takes hashes from two full tiles and two that are not full."""
    size = 66_200
    leaves = [b"%d" % number for number in range(size)]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        for start in range(0, size, 8192):
            opened.ledger.append([NewEntry(leaf) for leaf in leaves[start : start + 8192]])
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        ledger = opened.ledger
        assert ledger.root() == merkle._root_of_hashes(hashes)
        for part in (size, 65_536, 65_537, 40_000, 257, 256):
            root = ledger.root_at(part)
            for index in {0, 1, 255, 256, part // 3, part - 2, part - 1}:
                verify_inclusion(
                    hashes[index % part], index % part, part, ledger.inclusion_proof(index % part, part), root
                )
            for first in (1, 255, 256, part // 2, part - 1):
                verify_consistency(first, part, ledger.consistency_proof(first, part), ledger.root_at(first), root)
        assert ledger.root_at(40_000) == merkle._root_of_hashes(hashes[:40_000])
        assert ledger.tile(0, 7) == b"".join(hashes[7 * 256 : 8 * 256])
        assert ledger.tile(0, 7, 3) == ledger.tile(0, 7)[:96]
        assert ledger.tile(0, 258, 152) == b"".join(hashes[258 * 256 :])
        assert ledger.tile(1, 0)[32:64] == merkle._root_of_hashes(hashes[256:512])
        assert ledger.tile(1, 1, 2) == b"".join(
            merkle._root_of_hashes(hashes[n << 8 : (n + 1) << 8]) for n in (256, 257)
        )
        assert ledger.tile(2, 0, 1) == merkle._root_of_hashes(hashes[:65_536])
        for tile in (
            (0, 258, 153),
            (0, 259, 1),
            (1, 1, 3),
            (2, 0, 2),
            (3, 0, 1),
            (0, 0, 0),
            (0, 0, 257),
            (-1, 0, 1),
            (0, -1, 1),
        ):
            with refused("PROOF_INDEX_OUT_OF_RANGE"):
                ledger.tile(*tile)


# Appending


def test_receipts_and_proofs_hold_for_every_entry(store_url: str, tmp_path: Path) -> None:
    entries = [NewEntry(CHECKPOINT_LEAF), *make_entries(0, 40), NewEntry(b'{"kind":"other"}')]
    leaves = [entry.leaf for entry in entries]
    with open_ledger(store_url, tmp_path / "head") as opened:
        ledger = opened.ledger
        assert (ledger.size, ledger.root()) == (0, merkle.EMPTY_ROOT)
        assert ledger.append([]) == []
        receipts: list[Receipt] = []
        heads = [ledger.tree_head()]
        for size in (1, 2, 3, 5, 8, 13, 10):
            receipts += ledger.append(entries[len(receipts) : len(receipts) + size])
            heads.append(ledger.tree_head())
            assert ledger.root() == merkle.root(leaves[: len(receipts)])
        assert [receipt.index for receipt in receipts] == list(range(42))
        head = verify_checkpoint(ledger.tree_head(), ORIGIN, [LOG.verifier.vkey()])
        assert (head.size, head.root) == (42, merkle.root(leaves))
        for receipt, leaf in zip(receipts[:41], leaves, strict=False):
            checked = verify_receipt(receipt, ORIGIN, RECEIPT_VKEY)
            assert (checked.leaf_hash, checked.issued_at) == (leaf_hash(leaf), NOW)
            proof = ledger.inclusion_proof(checked.index, head.size)
            verify_inclusion(checked.leaf_hash, checked.index, head.size, proof, head.root)
        for note in heads:
            old = verify_checkpoint(note, ORIGIN, [LOG.verifier.vkey()])
            proof = ledger.consistency_proof(old.size, head.size)
            verify_consistency(old.size, head.size, proof, old.root, head.root)
            assert ledger.root_at(old.size) == old.root
            assert ledger.tree_head_at(old.size) == note
        ledger.verify()
        assert opened.store.leaves(0, 100) == leaves


def test_a_ledger_goes_on_where_it_was(store_url: str, tmp_path: Path) -> None:
    for start in (0, 3, 10, 11):
        with open_ledger(store_url, tmp_path / "head") as opened:
            assert opened.ledger.size == start
            end = {0: 3, 3: 10, 10: 11, 11: 40}[start]
            opened.ledger.append(make_entries(start, end))
            head = opened.ledger.tree_head()
            assert head in (tmp_path / "head").read_text()
            opened.ledger.verify()
    assert (
        merkle.root([entry.leaf for entry in make_entries(0, 40)])
        == verify_checkpoint(head, ORIGIN, [LOG.verifier.vkey()]).root
    )


def test_a_replay_gets_the_identical_receipt(store_url: str, tmp_path: Path) -> None:
    entries = make_entries(0, 6)
    with open_ledger(store_url, tmp_path / "head") as opened:
        first = opened.ledger.append([entries[0], entries[1], entries[0], entries[2]])
        assert first[2] == first[0]
        assert [receipt.index for receipt in first] == [0, 1, 0, 2]
    with open_ledger(store_url, tmp_path / "head") as opened:
        again = opened.ledger.append([entries[2], entries[3], entries[0], entries[3]])
        assert again == [first[3], again[1], first[0], again[1]]
        assert opened.ledger.size == 4
        decision = opened.store.find_pair(submission_of(entries[0]).pair)
        assert decision is not None
        assert decision.to_receipt() == first[0]
        assert opened.ledger.append([entries[0]]) == [first[0]]
        opened.ledger.verify()


def test_a_nonce_names_one_pair(store_url: str, tmp_path: Path) -> None:
    """Refused before anything is written, whether the two meet in one batch or not; the ledger goes on."""
    first, other = make_entry(1), make_entry(6, pair=make_pair(6, nonce=1))
    assert submission_of(first).contributor == submission_of(other).contributor
    assert submission_of(first).nonce == submission_of(other).nonce
    with open_ledger(store_url, tmp_path / "head") as opened:
        with refused("NONCE_REUSED") as caught:
            opened.ledger.append([make_entry(2), first, other])
        assert isinstance(caught.value, Rejected)
        assert caught.value.status == 409
        assert opened.ledger.size == opened.store.size() == 0
        opened.ledger.append([first])
        with refused("NONCE_REUSED"):
            opened.ledger.append([make_entry(2), other])
        assert opened.ledger.size == opened.store.size() == 1
        opened.ledger.append([make_entry(2)])
        opened.ledger.verify()


def test_contents_are_accepted_once(store_url: str, tmp_path: Path) -> None:
    def entry(number: int, *, accepted: bool) -> NewEntry:
        return make_entry(number, accepted=accepted, pair=make_pair(number, image=b"same picture", text=b"same words"))

    with open_ledger(store_url, tmp_path / "head") as opened:
        with refused("CONTENT_TWICE"):
            opened.ledger.append([entry(1, accepted=True), entry(2, accepted=True)])
        opened.ledger.append([entry(1, accepted=False), entry(2, accepted=True), entry(3, accepted=False)])
        with refused("CONTENT_TWICE") as caught:
            opened.ledger.append([entry(4, accepted=True)])
        assert "entries 1 and 3" in caught.value.what
        opened.ledger.append([entry(5, accepted=False)])
        assert opened.ledger.size == 4


def test_the_database_itself_refuses_doubles(store_url: str, tmp_path: Path) -> None:
    """Even if a mistake above let them through: the nonce, the pair and accepted contents are unique."""
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(0, 2))
    copy = (
        "INSERT INTO pairs (leaf_index, pair, contributor, nonce, a_sha256, b_sha256, is_accepted, is_erased)"
        " SELECT 1, {pair}, contributor, {nonce}, a_sha256, b_sha256, {accepted}, false"
        " FROM pairs WHERE leaf_index = 0"
    )

    def insert(pair: str, nonce: str, accepted: str) -> None:
        with tamper(store_url) as connection:
            connection.execute(text("DELETE FROM pairs WHERE leaf_index = 1"))
            statement = copy.format(pair=pair, nonce=nonce, accepted=accepted)
            connection.execute(text(statement), {"new": b"\x01" * 32})

    insert(":new", ":new", "false")
    for values in (("pair", ":new", "false"), (":new", "nonce", "false"), (":new", ":new", "true")):
        with pytest.raises(IntegrityError):
            insert(*values)


def test_leaves_have_a_limit(sqlite_url: str, tmp_path: Path) -> None:
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append([NewEntry(b"x" * 65_535)])
        with pytest.raises(ValueError, match="65536"):
            opened.ledger.append([NewEntry(b"x" * 65_536)])
        assert opened.ledger.size == 1


def test_threads_may_append_at_once(store_url: str, tmp_path: Path) -> None:
    """Eight threads with overlapping pairs: every pair once, one receipt for all who asked."""
    answers: list[tuple[int, Receipt]] = []
    with open_ledger(store_url, tmp_path / "head") as opened:

        def append(thread: int) -> None:
            for number in range(thread, thread + 10):
                (receipt,) = opened.ledger.append([make_entry(number)])
                answers.append((number, receipt))

        threads = [threading.Thread(target=append, args=[thread]) for thread in range(8)]
        for started in threads:
            started.start()
        for started in threads:
            started.join()
        assert len(answers) == 80
        assert opened.ledger.size == 17
        assert len(set(answers)) == 17
        opened.ledger.verify()


def test_proofs_out_of_range_are_refused(sqlite_url: str, tmp_path: Path) -> None:
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(0, 5))
        calls: list[Callable[[], object]] = [
            lambda: opened.ledger.inclusion_proof(5, 5),
            lambda: opened.ledger.inclusion_proof(0, 6),
            lambda: opened.ledger.inclusion_proof(-1, 5),
            lambda: opened.ledger.inclusion_proof(0, 0),
            lambda: opened.ledger.consistency_proof(3, 2),
            lambda: opened.ledger.consistency_proof(0, 6),
            lambda: opened.ledger.consistency_proof(-1, 2),
            lambda: opened.ledger.root_at(6),
            lambda: opened.ledger.tree_head_at(-1),
        ]
        for call in calls:
            with refused("PROOF_INDEX_OUT_OF_RANGE") as caught:
                call()
            assert isinstance(caught.value, ProofError)
        assert opened.ledger.consistency_proof(0, 5) == []


# What is kept outside the database


def roll_back(url: str, size: int) -> None:
    """Take the database back to its first entries, as a restored copy would be."""
    with tamper(url) as connection:
        connection.execute(text("DELETE FROM pairs WHERE leaf_index >= :size"), {"size": size})
        connection.execute(text("DELETE FROM entries WHERE leaf_index >= :size"), {"size": size})
        connection.execute(text("DELETE FROM tiles WHERE (position + 1) << (8 * (level + 1)) > :size"), {"size": size})


@pytest.mark.parametrize("size", [0, 1, 7, 19])
def test_a_rolled_back_database_is_refused(store_url: str, tmp_path: Path, size: int) -> None:
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(0, 20))
    roll_back(store_url, size)
    with refused("LEDGER_SMALLER") as caught, open_ledger(store_url, tmp_path / "head"):
        pass
    assert f"first bad index {size}" in caught.value.what
    # Not even when asked again: refusing changes nothing.
    with refused("LEDGER_SMALLER"), open_ledger(store_url, tmp_path / "head"):
        pass


def test_an_older_copy_of_the_file_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    database, copy = tmp_path / "ledger.db", tmp_path / "copy.db"
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(0, 5))
    shutil.copy(database, copy)
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(5, 9))
    shutil.copy(copy, database)
    with refused("LEDGER_SMALLER") as caught, open_ledger(sqlite_url, tmp_path / "head"):
        pass
    assert "first bad index 5" in caught.value.what


def test_another_history_is_refused(store_url: str, tmp_path: Path) -> None:
    """Rolled back and grown again with other pairs, larger than before and sound in itself: only the head can tell."""
    head, elsewhere = tmp_path / "head", tmp_path / "elsewhere"
    with open_ledger(store_url, head) as opened:
        opened.ledger.append(make_entries(0, 6))
        shutil.copy(head, elsewhere)
        opened.ledger.append(make_entries(6, 12))
    roll_back(store_url, 6)
    with open_ledger(store_url, elsewhere) as opened:
        opened.ledger.append(make_entries(100, 120))
        opened.ledger.verify()
    with refused("LEDGER_DIFFERENT") as caught, open_ledger(store_url, head):
        pass
    assert "first bad index 6" in caught.value.what


def test_a_ledger_without_its_head_is_refused_until_one_is_given_back(sqlite_url: str, tmp_path: Path) -> None:
    head = tmp_path / "head"
    with open_ledger(sqlite_url, head) as opened:
        opened.ledger.append(make_entries(0, 3))
        handed_out = opened.ledger.tree_head()
        opened.ledger.append(make_entries(3, 8))
    head.unlink()
    with refused("LEDGER_HEAD_MISSING"), open_ledger(sqlite_url, head):
        pass
    head.write_text(handed_out)
    (tmp_path / "head.leaves").unlink()
    with open_ledger(sqlite_url, head) as opened:
        assert opened.ledger.size == 8
    assert len((tmp_path / "head.leaves").read_bytes()) == 8 * 32


def test_leaf_hashes_that_no_head_has_confirmed_are_written_anew(sqlite_url: str, tmp_path: Path) -> None:
    """A process may end after it has kept hashes, before it has kept the head; a write may be torn."""
    kept = tmp_path / "head.leaves"
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(0, 3))
    expected = b"".join(leaf_hash(entry.leaf) for entry in make_entries(0, 5))
    for remains in (expected[:96] + b"\x01" * 64, expected[:96] + b"\x01" * 7, expected[:40], b""):
        kept.write_bytes(remains)
        with open_ledger(sqlite_url, tmp_path / "head"):
            assert kept.read_bytes() == expected[:96]
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(3, 5))
        assert kept.read_bytes() == expected


def test_a_head_that_is_not_ours_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    head = tmp_path / "head"
    with open_ledger(sqlite_url, head) as opened:
        opened.ledger.append(make_entries(0, 3))
    with refused("LEDGER_HEAD_INVALID"), open_ledger(sqlite_url, head, origin="ledger.example/another"):
        pass
    with refused("LEDGER_HEAD_INVALID"), open_ledger(sqlite_url, head, log=Signer("log.example", b"\x77" * 32)):
        pass
    whole = head.read_bytes()
    for damaged in (b"", b"\xff\xfe", whole.replace(b"\n3\n", b"\n2\n").replace(b"\n0\n", b"\n1\n")):
        head.write_bytes(damaged)
        with refused("LEDGER_HEAD_INVALID"), open_ledger(sqlite_url, head):
            pass
        head.write_bytes(whole)
    with open_ledger(sqlite_url, head) as opened:
        assert opened.ledger.size == 3


def test_a_torn_head_leaves_the_one_before_it(sqlite_url: str, tmp_path: Path) -> None:
    """Two places are written in turn: a power cut can tear the newest head, whose receipts had not left."""
    head = tmp_path / "head"
    with open_ledger(sqlite_url, head) as opened:
        for number in range(4):
            opened.ledger.append(make_entries(number, number + 1))
            places = [head.read_bytes()[:4096].strip(b"\n"), head.read_bytes()[4096:].strip(b"\n")]
            assert opened.ledger.tree_head().encode().strip() in places
            sizes = {verify_checkpoint(f"{place.decode()}\n", ORIGIN, [LOG.verifier.vkey()]).size for place in places}
            assert sizes == {number, number + 1}
    whole = head.read_bytes()
    newest = 4096 * (b"\n4\n" in whole[4096:])
    for torn in (bytes(4096), b"\n" * 4096, whole[newest : newest + 100].ljust(4096, b"\0"), random.randbytes(4096)):
        head.write_bytes(whole[:newest] + torn + whole[newest + 4096 :])
        with open_ledger(sqlite_url, head) as opened:
            assert opened.ledger.size == 4
    head.write_bytes(whole[:newest] + bytes(4096) + whole[newest + 4096 :])
    roll_back(sqlite_url, 2)
    with refused("LEDGER_SMALLER") as caught, open_ledger(sqlite_url, head):
        pass
    assert "has signed 3; first bad index 2" in caught.value.what


def test_a_crash_between_commit_and_head_is_mended_at_start(store_url: str, tmp_path: Path) -> None:
    """The batch is durable, its receipts never left: after the restart a replay gets them."""
    folder = tmp_path / "kept"
    folder.mkdir()
    with open_ledger(store_url, folder / "head") as opened:
        (first,) = opened.ledger.append(make_entries(0, 1))
        folder.rename(tmp_path / "away")
        with refused("LEDGER_HEAD_UNWRITABLE"):
            opened.ledger.append(make_entries(1, 5))
        assert opened.ledger.size == 1
        with refused("LEDGER_STOPPED"):
            opened.ledger.append(make_entries(5, 6))
        with refused("LEDGER_STOPPED"):
            opened.ledger.append(make_entries(0, 1))
    (tmp_path / "away").rename(folder)
    with open_ledger(store_url, folder / "head") as opened:
        assert opened.ledger.size == 5
        receipts = opened.ledger.append(make_entries(0, 6))
        assert receipts[0] == first
        assert [receipt.index for receipt in receipts] == list(range(6))
        check_promises(opened, dict(enumerate(receipts)))


# Damage inside the database


def test_verify_names_missing_rows(store_url: str, tmp_path: Path) -> None:
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append([NewEntry(b"%d" % number) for number in range(600)])
        with tamper(store_url) as connection:
            connection.execute(text("DELETE FROM tiles WHERE level = 0 AND position = 1"))
        with refused("LEDGER_CORRUPT") as caught:
            opened.ledger.verify()
        assert "first bad index 256:" in caught.value.what
        with refused("LEDGER_CORRUPT") as caught:
            opened.ledger.inclusion_proof(300, 600)
        assert "first bad index 256:" in caught.value.what
        for index in (599, 9):
            with tamper(store_url) as connection:
                connection.execute(text("DELETE FROM entries WHERE leaf_index = :index"), {"index": index})
            with refused("LEDGER_CORRUPT") as caught:
                opened.ledger.verify()
            assert f"first bad index {min(index, 256)}:" in caught.value.what


def test_a_leaf_rewritten_with_all_its_hashes_is_named(store_url: str, tmp_path: Path) -> None:
    """An insider makes a sound tree of another history, in place. Root and head differ; the kept hashes say where."""
    entries = make_entries(0, 300)
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append(entries)
        leaves = [entry.leaf for entry in entries]
        leaves[13] = make_entry(13, accepted=False).leaf
        (tile,) = Edge().append([leaf_hash(leaf) for leaf in leaves])
        with tamper(store_url) as connection:
            connection.execute(text("UPDATE entries SET leaf = :v WHERE leaf_index = 13"), {"v": leaves[13]})
            connection.execute(
                text("UPDATE tiles SET hashes = :h, middle = :m, root = :r"),
                {"h": tile.hashes, "m": tile.middle, "r": tile.root},
            )
        with refused("LEDGER_CORRUPT") as caught:
            opened.ledger.verify()
        assert "first bad index 13:" in caught.value.what
    with refused("LEDGER_DIFFERENT") as caught, open_ledger(store_url, tmp_path / "head"):
        pass
    assert "first bad index 13" in caught.value.what


def test_a_damaged_tile_is_named_at_start(store_url: str, tmp_path: Path) -> None:
    with open_ledger(store_url, tmp_path / "head") as opened:
        opened.ledger.append([NewEntry(b"%d" % number) for number in range(600)])
    with tamper(store_url) as connection:
        connection.execute(text("UPDATE tiles SET root = :h WHERE position = 1"), {"h": bytes(32)})
    with refused("LEDGER_DIFFERENT") as caught, open_ledger(store_url, tmp_path / "head"):
        pass
    assert "first bad index 256" in caught.value.what
    with tamper(store_url) as connection:
        connection.execute(text("DELETE FROM tiles WHERE position = 1"))
    with refused("LEDGER_CORRUPT") as caught, open_ledger(store_url, tmp_path / "head"):
        pass
    assert "first bad index 256" in caught.value.what


def test_verify_reports_its_progress_over_pages(sqlite_url: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append([NewEntry(b"%d" % number) for number in range(5000)])
        opened.ledger.verify(lambda done, size: seen.append((done, size)))
        assert seen == [(4096, 5000), (5000, 5000)]
        with tamper(sqlite_url) as connection:
            connection.execute(text("UPDATE tiles SET hashes = :h WHERE position = 18"), {"h": bytes(8192)})
        with refused("LEDGER_CORRUPT") as caught:
            opened.ledger.verify()
        assert "first bad index 4608:" in caught.value.what


@pytest.mark.slow
def test_a_hundred_thousand_entries_are_verified(sqlite_url: str, tmp_path: Path) -> None:
    (leaf,) = (entry.leaf for entry in make_entries(0, 1))
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        for start in range(0, 100_000, 1000):
            opened.ledger.append([NewEntry(leaf + b"%d" % number) for number in range(start, start + 1000)])
        opened.ledger.verify()
        assert opened.ledger.size == 100_000


# A database that cannot be written


def fail_then_recover(
    url: str, head_path: Path, opened: Opened, code: str, repair: Callable[[], None], *, large: bool = True
) -> None:
    """The next append fails with this code, the ledger stops, and after the repair nothing is lost or doubled."""

    def some(start: int, end: int) -> list[NewEntry]:
        if large:
            return make_entries(start, end)
        return [make_entry(n, pair=make_pair(n, image=b"%d" % n * 1000)) for n in range(start, end)]

    before = opened.ledger.append(some(0, 5))
    with refused(code) as caught:
        for start in range(5, 5000, 5):
            before += opened.ledger.append(some(start, start + 5))
    assert isinstance(caught.value, StoreError)
    repair()
    with refused("LEDGER_STOPPED") as caught:
        opened.ledger.append([make_entry(9_999)])
    assert code in caught.value.what
    opened.store.close()
    with open_ledger(url, head_path) as again:
        assert again.ledger.size == len(before)
        if large:
            check_promises(again, dict(enumerate(before)))
        assert again.ledger.append(some(0, len(before))) == before
        again.ledger.append([make_entry(9_999)])


def test_a_full_disk_stops_the_ledger(sqlite_url: str, tmp_path: Path) -> None:
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        writer = opened.store._database._connection
        pages = int(str(writer.exec_driver_sql("PRAGMA page_count").scalar()))
        writer.exec_driver_sql(f"PRAGMA max_page_count={pages + 40}")
        writer.rollback()
        fail_then_recover(sqlite_url, tmp_path / "head", opened, "STORE_FULL", lambda: None)


@pytest.mark.parametrize(("code", "large"), [("STORE_IO", False), ("BLOB_UNWRITABLE", True)])
def test_a_write_error_stops_the_ledger(sqlite_url: str, tmp_path: Path, code: str, large: bool) -> None:
    """The kernel itself refuses to let the write-ahead log, or the pack, grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, hard))
        try:
            fail_then_recover(
                sqlite_url,
                tmp_path / "head",
                opened,
                code,
                lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard)),
                large=large,
            )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_postgresql_stops_the_ledger(postgres_url: str, tmp_path: Path) -> None:
    """A trigger raises the server's own disk_full after ten entries."""
    with open_ledger(postgres_url, tmp_path / "head") as opened:
        with tamper(postgres_url) as connection:
            connection.execute(
                text(
                    "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                    " RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$"
                )
            )
            connection.execute(
                text(
                    "CREATE TRIGGER full_disk BEFORE INSERT ON pairs FOR EACH ROW WHEN (NEW.leaf_index > 10)"
                    " EXECUTE FUNCTION full_disk()"
                )
            )

        def repair() -> None:
            with tamper(postgres_url) as connection:
                connection.execute(text("DROP TRIGGER full_disk ON pairs"))

        fail_then_recover(postgres_url, tmp_path / "head", opened, "STORE_FULL", repair)


def test_a_read_only_database_stops_the_ledger(store_url: str, tmp_path: Path) -> None:
    with open_ledger(store_url, tmp_path / "head") as opened:
        receipts = opened.ledger.append(make_entries(0, 3))
        writer = opened.store._database._connection
        is_sqlite = store_url.startswith("sqlite")
        writer.exec_driver_sql("PRAGMA query_only=ON" if is_sqlite else "SET default_transaction_read_only = on")
        writer.commit()
        with refused("STORE_READ_ONLY"):
            opened.ledger.append(make_entries(3, 4))
        with refused("LEDGER_STOPPED"):
            opened.ledger.append(make_entries(3, 4))
    with open_ledger(store_url, tmp_path / "head") as opened:
        assert opened.ledger.append(make_entries(0, 4))[:3] == receipts


def test_a_blob_folder_that_cannot_be_written_stops_the_ledger(sqlite_url: str, tmp_path: Path) -> None:
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        opened.ledger.append(make_entries(0, 2))
        (tmp_path / "ledger.db.blobs").write_text("a file is in the way")
        with refused("BLOB_UNWRITABLE"):
            opened.ledger.append(make_entries(2, 5))
        with refused("LEDGER_STOPPED"):
            opened.ledger.append(make_entries(5, 6))
    (tmp_path / "ledger.db.blobs").unlink()
    with open_ledger(sqlite_url, tmp_path / "head") as opened:
        assert opened.ledger.size == 2
        check_promises(opened, dict(enumerate(opened.ledger.append(make_entries(0, 6)))))
