"""What was taken down stays out of a validator that is built again, and only its operator carries what tells it."""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from curiosity.ledger.copy import copy_ledger
from curiosity.ledger.reader import LedgerCopy, opened_copy
from curiosity.ledger.sync import copy_tiles
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.entry import TakedownEntry, encode_entry, parse_entry
from curiosity.protocol.errors import CuriosityError, ExitCode, ProofError, Rejected, StoreError
from curiosity.protocol.pair import SignedPair
from curiosity.protocol.takedown import BLOCKED_FILE, Blocked
from curiosity.protocol.tiles import bundles_for
from curiosity.protocol.tlog import verify_checkpoint
from curiosity.protocol.wire import encode, parse
from tests.material.export import bring
from tests.material.log import Log, tile_server
from tests.material.service import BOB, pictures, running
from tests.material.takedown import forget
from validator.forgotten import Forgotten
from validator.keys import load_keys
from validator.ledger import Ledger
from validator.store import Store
from validator.takedown import load_forgotten

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def run_cli(*arguments: str, data_dir: Path) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "node.cli", *arguments,
        env=os.environ | {"CURIOSITY_VALIDATOR__DATA_DIR": str(data_dir), "CURIOSITY_NODE__HOME": str(data_dir)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def forgetful(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Path, list[SignedPair]]]:
    """The keys of a validator that took down one pair, and one picture everywhere; its exports own.tar and public/."""
    folder = tmp_path_factory.mktemp("forgetful")
    async with running(folder / "validator") as live:
        signed = [live.sign(pair) for pair in pictures(4)]
        for one in signed:
            await live.client.post_pair(one.encode())
        await forget(live, signed[1], key=None)
        await forget(live, signed[2], key=None, everywhere="image")
        await copy_ledger(live.client, folder / "public")
        for token in ("x" * 64, ""):
            with pytest.raises(Rejected, match="ADMIN_TOKEN"):
                await live.client.blocked(token)
        token_file = folder / "validator" / "keys" / "admin.token"
        arguments = ["ledger", "export", "--url", live.url, "--out", str(folder / "own.tar")]
        status, out, err = await run_cli(*arguments, "--token-file", str(token_file), data_dir=folder / "node")
        assert status == 0, err
        assert "It lists 3 contents that must not come back: keep it like the keys." in out  # two pairs and a picture
    (folder / "keys").mkdir()
    shutil.copytree(folder / "validator" / "keys", folder / "keys", dirs_exist_ok=True)
    yield folder, signed


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack an export of our own."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder


async def test_what_must_not_come_back_travels_with_the_operators_export_only(
    forgetful: tuple[Path, list[SignedPair]], tmp_path: Path
) -> None:
    folder, signed = forgetful
    assert not (folder / "public" / BLOCKED_FILE).exists()
    assert (folder / "own.tar").stat().st_mode & 0o777 == 0o600
    with opened_copy(folder / "own.tar") as own:
        told = own.blocked()
    data = (unpacked(folder / "own.tar", tmp_path / "whole") / BLOCKED_FILE).read_bytes()
    assert told is not None
    digests = [item.digest for one in signed[1:3] for item in (one.a, one.b)]
    # Whoever has the list but not the pepper can confirm no guess; with the pepper he could.
    pepper = load_keys(folder / "keys", "any").pepper
    pairs = [(one.a.digest, one.b.digest) for one in signed[1:3]]
    for key, is_found in ((pepper, True), (bytes(32), False)):
        knows = Forgotten(key, told.keys)
        assert [knows.pair_key(*pair) in told.keys for pair in pairs] == [is_found] * 2
    assert not any(digest.hex().encode() in data for digest in digests)
    assert not any(leaf in path.read_bytes() for path in (folder / "public").rglob("*") if path.is_file()
                   for leaf in (key.hex().encode() for key in told.keys))  # fmt: skip

    shutil.copytree(folder / "keys", tmp_path / "rebuilt" / "keys")
    done = bring(unpacked(folder / "own.tar", tmp_path / "own"), tmp_path / "rebuilt")
    assert (done.read_only, done.taken_down, done.unknown) == (False, 2, 0)
    shutil.copytree(folder / "keys", tmp_path / "forgot" / "keys")
    with pytest.raises(StoreError, match="IMPORT_FORGETS: of 2 takedowns, the first entry 5"):
        bring(folder / "public", tmp_path / "forgot")
    code, out, err = await run_cli(
        "ledger", "import", str(folder / "public"), "--without-blocked", data_dir=tmp_path / "forgot"
    )
    assert code == 0, err
    assert "2 pairs taken down; what must not come back is not known here for 2 of them." in out

    async def answers(data_dir: Path) -> list[str]:
        """What a validator says to the contents again, from somebody else."""
        said = []
        async with running(data_dir) as live:
            for a, b in ((signed[1].a, signed[1].b), (signed[2].a, signed[3].b)):
                try:
                    said.append((await live.client.post_pair(live.sign((a, b), BOB).encode())).verdict.outcome.value)
                except Rejected as error:
                    said.append(error.code)
            told = await live.client.blocked(live.service.keys.admin_token)
            assert told.covers(live.service.ledger.size - 1)
            said.append(f"from {told.first}")
            assert (await forget(live, signed[1])).replayed  # its receipt is checked, which no export holds
        return said

    assert await answers(tmp_path / "rebuilt") == ["CONTENT_TAKEN_DOWN", "CONTENT_TAKEN_DOWN", "from 0"]
    # The control arm: who was not told takes the erased content in, and says what his own list lacks.
    first, second, known = await answers(tmp_path / "forgot")
    assert "CONTENT_TAKEN_DOWN" not in (first, second)
    assert first == "accepted"
    assert known == "from 7"


async def test_a_list_that_does_not_fit_is_refused_by_who_goes_on_with_the_log(
    forgetful: tuple[Path, list[SignedPair]], tmp_path: Path
) -> None:
    folder, _ = forgetful
    unpacked(folder / "own.tar", tmp_path / "own")
    listed = tmp_path / "own" / BLOCKED_FILE
    told = parse(Blocked, listed.read_bytes())
    shutil.copytree(folder / "keys", tmp_path / "data" / "keys")

    def refused(error: type[CuriosityError], match: str) -> None:
        with pytest.raises(error, match=match):
            bring(tmp_path / "own", tmp_path / "data")

    listed.write_bytes(encode(replace(told, size=6)))  # older than the second takedown
    refused(StoreError, "IMPORT_FORGETS: of 1 takedown, the first entry 6")
    listed.write_bytes(encode(replace(told, pepper=bytes(32))))
    refused(StoreError, "PEPPER_DIFFERS")
    listed.write_bytes(encode(told)[:-1])
    refused(ProofError, "IMPORT_MALFORMED")
    # A copy takes nothing in, so it needs no list; one of another's pepper is of no use to it, and it says so.
    listed.write_bytes(encode(told))
    done = bring(tmp_path / "own", tmp_path / "copy")
    assert (done.read_only, done.taken_down, done.unknown) == (True, 2, 2)
    status, out, err = await run_cli("validator", "check", "--pairs", data_dir=tmp_path / "copy")
    assert (status, out.split()[:3]) == (0, ["7", "entries", "verified;"]), err
    with Store.open(f"sqlite:///{tmp_path / 'copy' / 'ledger.sqlite'}") as store:
        assert (store.blocked(), store.blocked_from()) == (set(), 7)
    # What must not come back is noted before any entry: an import that fails has noted too much, never too little.
    next((tmp_path / "own" / "pairs").rglob("*.jsonl")).unlink()
    refused(ProofError, "IMPORT_PAIRS")
    with Store.open(f"sqlite:///{tmp_path / 'data' / 'ledger.sqlite'}") as store:
        assert (store.size(), store.blocked()) == (0, set(told.keys))


async def test_a_validator_without_its_pepper_refuses_to_start(
    forgetful: tuple[Path, list[SignedPair]], tmp_path: Path
) -> None:
    folder, signed = forgetful
    shutil.copytree(folder / "validator", tmp_path / "v")
    (tmp_path / "v" / "keys" / "takedown.pepper").unlink()
    keys = load_keys(tmp_path / "v" / "keys", "curiosity-local")  # another pepper is made
    with Store.open(f"sqlite:///{tmp_path / 'v' / 'ledger.sqlite'}") as store:
        ledger = Ledger(
            store,
            origin="curiosity-local",
            log_signer=keys.log,
            receipt_signer=keys.receipt,
            head_path=tmp_path / "v" / "tree-head.txt",
            clock=lambda: 0,
        )
        with pytest.raises(StoreError, match="PEPPER_DIFFERS: 3 contents"):
            load_forgotten(store, ledger, keys.pepper)
    # What the remedy says for a pepper that is gone for good: it starts, and does not claim to know.
    with sqlite3.connect(tmp_path / "v" / "ledger.sqlite") as database:
        database.execute("DELETE FROM blocked")
    async with running(tmp_path / "v") as live:
        told = await live.client.blocked(live.service.keys.admin_token)
        assert (told.first, told.size, told.keys) == (7, 7, ())
        again = live.sign((signed[1].a, signed[1].b), BOB)
        assert (await live.client.post_pair(again.encode())).verdict.is_accepted


async def test_a_takedown_that_does_not_hold_is_not_followed(
    forgetful: tuple[Path, list[SignedPair]], tmp_path: Path
) -> None:
    """A log that takes down what is no pair, or what its contributor did not ask for: nothing is built from it."""
    folder, _ = forgetful
    network = LedgerCopy(folder / "public").network
    signer = load_keys(folder / "keys", network.name).log
    with opened_copy(folder / "own.tar") as own:
        (leaves,) = [own.entries(bundle) for bundle in bundles_for(own.head.size)]
    good = parse_entry(leaves[5])
    assert isinstance(good, TakedownEntry)
    for forged, code in (
        (replace(good, index=0), "TAKEDOWN_OF_NOTHING"),
        (replace(good, expiry=good.expiry + 1), "TAKEDOWN_SIGNATURE"),
    ):
        entries = [*leaves[:5], encode_entry(forged)]
        log = Log(6, entries.__getitem__, origin=network.origin, signer=signer)
        shutil.copytree(folder / "public", tmp_path / code)
        shutil.rmtree(tmp_path / code / "tile")
        async with tile_server(log) as server, LogFiles(server.url) as files:
            head = verify_checkpoint(log.head(), network.origin, [network.log_vkey])
            await copy_tiles(files, tmp_path / code, log.head(), head)
        with pytest.raises(ProofError, match=f"{code}: entry 5"):
            bring(tmp_path / code, tmp_path / "data")


async def test_a_refused_import_leaves_a_new_data_folder_as_it_was(
    forgetful: tuple[Path, list[SignedPair]], tmp_path: Path
) -> None:
    folder, _ = forgetful
    bad = shutil.copytree(folder / "public", tmp_path / "bad")
    next((bad / "pairs").rglob("*.jsonl")).unlink()
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "notes.txt").write_text("kept")
    for name, kept in (("absent", None), ("theirs", ["notes.txt"])):
        status, out, err = await run_cli("ledger", "import", str(bad), data_dir=tmp_path / name)
        assert (status, err.split(":")[0]) == (ExitCode.PROOF, "IMPORT_PAIRS"), out + err
        assert (tmp_path / name).exists() == (kept is not None)
        assert kept is None or [path.name for path in (tmp_path / name).iterdir()] == kept
