"""The power is cut at every moment of every writer that promises to keep something.

Afterwards its reader finds what was there before or what was written, never anything else and never a file that it
cannot use; and once the writer has returned, what was written.
"""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch

from contracts.deployment import write_addresses
from curiosity.chain.attestation import Attestation
from curiosity.chain.chain import Addresses
from curiosity.chain.evm.journal import Sent, TransactionJournal
from curiosity.client.journal import SubmissionJournal, SubmissionPlan
from curiosity.client.receipts import read_saved, write_saved
from curiosity.client.wallet import create_wallet, list_wallets
from curiosity.embedding.checkpoint import Checkpoint, load, save
from curiosity.host.files import append_durably, make_folder, replacing, write_folder, write_new, write_whole
from curiosity.ledger.state import MonitorState
from curiosity.protocol.errors import ProofError
from curiosity.protocol.evidence import collect
from curiosity.protocol.tlog import TreeHead, parse_note, parse_tree_head, sign_note
from curiosity.rewards.attest import Attested
from curiosity.rewards.permits import read_permit, write_permit
from tests.material.checkpoint import write_checkpoint
from tests.material.disk import cut_power
from tests.material.ledger import LOG, ORIGIN
from tests.material.log import LOG_VKEY, Log
from tests.material.log import ORIGIN as OTHER_ORIGIN
from tests.material.rfc6962_plain import hash_leaf
from trainer.state import read_state, write_state
from trainer.train import Capture
from validator.importer import MirrorRecord, read_mark, write_mark
from validator.keys import load_keys as load_validator_keys
from validator.store.head import KeptHead
from witness.evidence import KeptEvidence
from witness.heads import Cosigned, LogMemory
from witness.keys import load_keys as load_witness_keys

BEFORE = Path(__file__).parent / "fixtures" / "before"
LOG_OF_300 = Log(300)


@dataclass(frozen=True)
class Writer:
    """``write`` writes what belongs to a number to a folder; ``read`` says, as a program's next start does, what is."""

    write: Callable[[Path, int], object]
    read: Callable[[Path], object]


# -- wallets and keys


def _wallet(folder: Path, number: int) -> None:
    create_wallet(folder / "home", f"w{number}", "a long password", scrypt_n=2, private_key=bytes([number]) * 32)


def _wallets(folder: Path) -> object:
    return [(wallet.name, wallet.address) for wallet in list_wallets(folder / "home")]


def _keys_that_stay(load: Callable[[Path], object]) -> Writer:
    """Keys are made by the first start. A later one makes those that are missing, and never others for those there."""

    def read(folder: Path) -> object:
        found = {path.name: path.read_text() for path in (folder / "keys").glob("[!.]*.*")}
        load(folder)
        return found

    return Writer(lambda folder, _: load(folder), read)


# -- journals, and what was signed


def _sent(number: int) -> Sent:
    return Sent(b"\x01" * 20, number, bytes([number]) * 32, bytes([number]) * 32, b"raw %d" % number)


def _transactions(folder: Path) -> TransactionJournal:
    return TransactionJournal(31337, b"\x02" * 20, folder / "home" / "chain" / "transactions.json")


def _send(folder: Path, number: int) -> None:
    journal = _transactions(folder)
    with journal.locked(60.0):
        journal.add(_sent(number))


def _submissions(folder: Path) -> SubmissionJournal:
    return SubmissionJournal.of(folder / "home", b"\x01" * 20, b"\x02" * 32)


def _plan(folder: Path, number: int) -> None:
    with _submissions(folder) as journal:
        journal.plan([SubmissionPlan(f"row {number}", "0" * 64, number, "CC0-1.0", number, "test") for _ in range(2)])


def _planned(folder: Path) -> object:
    with _submissions(folder) as journal:
        return journal.plans


ADDRESSES = Addresses(31337, b"\x02" * 20, b"\x03" * 20)


def _attest(folder: Path, number: int, digest: int = 0) -> None:
    signed = Attestation(number, 7, b"\x01" * 32, b"\x02" * 32, 10**18, bytes(32), 0, 0)
    Attested(folder / "home", ADDRESSES, b"\x04" * 20).note(signed, bytes([digest]) * 32)


def _attested(folder: Path) -> object:
    """The epochs of which another digest is refused."""
    refused = []
    for number in (1, 2):
        try:
            _attest(folder, number, digest=1)
        except ProofError:
            refused.append(number)
    return refused


# -- receipts and permissions


def _receipt(folder: Path, number: int) -> None:
    path = sorted((BEFORE / "home" / "receipts").glob("*.json"))[number]
    write_saved(folder / "home" / "receipts" / "one.json", read_saved(path))


def _received(folder: Path) -> object:
    path = folder / "home" / "receipts" / "one.json"
    return read_saved(path) if path.exists() else None


def _permit(folder: Path, number: int) -> None:
    write_permit(folder / f"{number}.permit", read_permit(BEFORE / "alice.permit"))


def _permits(folder: Path) -> object:
    return {path.name: read_permit(path) for path in folder.glob("*.permit")}


def _addresses(folder: Path, number: int) -> None:
    write_addresses(folder / "addresses.json", Addresses(number, b"\x02" * 20, b"\x03" * 20))


# -- heads, evidence, what a monitor verified


def _note(size: int) -> tuple[TreeHead, str]:
    note = LOG_OF_300.head(size)
    return parse_tree_head(parse_note(note)[0]), note


def _memory(folder: Path) -> LogMemory:
    make_folder(folder / "logs")
    return LogMemory(folder / "logs" / "log.jsonl", OTHER_ORIGIN, [LOG_VKEY])


def _cosign(folder: Path, number: int) -> None:
    head, note = _note(number)
    _memory(folder).append(Cosigned(head, note, 1_700_000_000))


def _fork(folder: Path, number: int) -> None:
    size = 100 + number
    first, second = LOG_OF_300.head(size), LOG_OF_300.fork(3).head(size)
    evidence = collect(OTHER_ORIGIN, [LOG_VKEY], first, second, [], bytes(32))
    assert KeptEvidence(folder, OTHER_ORIGIN, max_forks=9).keep(evidence) is not None


def _forks(folder: Path) -> object:
    KeptEvidence(folder, OTHER_ORIGIN, max_forks=9)  # raises for a file that is none
    return {path.name: path.read_bytes() for path in folder.rglob("*.json")}


def _monitor(folder: Path, number: int) -> None:
    state = MonitorState(folder / "home" / "monitor", OTHER_ORIGIN, [LOG_VKEY])
    fresh = [hash_leaf(LOG_OF_300.leaf(index)) for index in range(state.size, 100 * number)]
    state.append(fresh, [b"12345678"] * len(fresh))
    head, note = _note(100 * number)
    state.finish(head, note, None)


def _tree_head(folder: Path, number: int) -> None:
    head = TreeHead(ORIGIN, number, bytes([number]) * 32)
    _kept_head(folder).begin(sign_note(head.text(), LOG))


def _kept_head(folder: Path) -> KeptHead:
    return KeptHead(folder / "validator" / "tree-head.txt", ORIGIN, LOG.verifier.vkey())


def _mark(folder: Path, number: int) -> None:
    from curiosity.ledger.leaves import read_network

    write_mark(folder, MirrorRecord(read_network(BEFORE / "mirror"), f"note {number}"))


# -- checkpoints, a trainer's state


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint", ("image", "text"))


def _checkpoint(folder: Path, number: int, *, tiny: Checkpoint | None = None) -> None:
    assert tiny is not None
    model = (tiny.path / "model.safetensors").read_bytes()
    save(folder / "out" / f"c{number}", manifest=tiny.manifest, model=model, anchors={}, card=f"{number}")


def _checkpoints(folder: Path) -> object:
    return {path.name: load(path).digest for path in (folder / "out").glob("c*")}


def _state(folder: Path, number: int) -> None:
    write_state(folder / "state", Capture({"step": torch.full((100,), number)}, {"step": number}))


def _resumed(folder: Path) -> object:
    kept = read_state(folder / "state")
    return kept and kept.facts


WRITERS = {
    "wallet": Writer(_wallet, _wallets),
    "a validator's keys": _keys_that_stay(lambda folder: load_validator_keys(folder / "keys", ORIGIN)),
    "a witness's keys": _keys_that_stay(lambda folder: load_witness_keys(folder / "keys", "witness.example/w")),
    "journal of transactions": Writer(_send, lambda folder: _transactions(folder).kept(b"\x01" * 20)),
    "journal of submissions": Writer(_plan, _planned),
    "what a key has signed": Writer(_attest, _attested),
    "receipt": Writer(_receipt, _received),
    "permission": Writer(_permit, _permits),
    "addresses": Writer(_addresses, lambda folder: [path.read_text() for path in folder.glob("addresses.json")]),
    "a witness's heads": Writer(_cosign, lambda folder: _memory(folder).latest),
    "evidence": Writer(_fork, _forks),
    "what a monitor verified": Writer(
        _monitor, lambda folder: MonitorState(folder / "home" / "monitor", OTHER_ORIGIN, [LOG_VKEY]).note
    ),
    "tree head": Writer(_tree_head, lambda folder: _kept_head(folder).read()),
    "mark of a copy": Writer(_mark, read_mark),
    "checkpoint": Writer(_checkpoint, _checkpoints),
    "a trainer's state": Writer(_state, _resumed),
}


def holds(found: object, before: object, after: object) -> bool:
    """True if a reader found what was there before or what was written; of several files, some may be written yet."""
    if found in (before, after):
        return True
    if isinstance(found, dict) and isinstance(before, dict) and isinstance(after, dict):
        return before.keys() <= found.keys() and all(key in after and after[key] == found[key] for key in found)
    return False


def cut(writer: Writer, number: int, folder: Path, scratch: Path) -> tuple[list[object], list[object]]:
    """Return what the reader finds and should not, in the midst of writing and after it."""
    scratch.mkdir()

    def read_copy(name: str) -> object:
        return writer.read(Path(shutil.copytree(folder, scratch / name)))

    before = read_copy("before")
    found = cut_power(folder, lambda at: writer.write(at, number), writer.read, scratch / "cuts")
    after = read_copy("after")
    return [one for one in found if not holds(one, before, after)], [one for one in found[-3:] if one != after]


@pytest.mark.parametrize("name", WRITERS)
def test_a_power_cut_leaves_what_was_or_what_was_written(name: str, tiny: Checkpoint, tmp_path: Path) -> None:
    writer = WRITERS[name]
    if name == "checkpoint":
        writer = Writer(partial(_checkpoint, tiny=tiny), writer.read)
    folder = tmp_path / "disk"
    folder.mkdir()
    for number in (1, 2):  # to nothing, and beside or in place of what is there
        assert cut(writer, number, folder, tmp_path / f"{number}") == ([], [])


# -- writers that promise too much are found


def _in_place(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _without_sync(path: Path, data: bytes) -> None:
    part = path.with_name("part")
    part.write_bytes(data)
    part.replace(path)


def _without_folder(path: Path, data: bytes) -> None:
    part = path.with_name("part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _in_new_folder(path: Path, data: bytes) -> None:
    (path.parent / data.decode()).mkdir(exist_ok=True)
    write_whole(path.parent / data.decode() / "file", data)


def _contents(folder: Path) -> object:
    """What a reader finds that takes an empty file for none, and one that is being made as well."""
    found = (path.read_bytes() for path in folder.rglob("file") if ".part" not in str(path))
    return [data for data in found if data]


@pytest.mark.parametrize(
    ("write", "torn", "lost"),
    [
        (_in_place, True, True),
        (_without_sync, True, True),
        (_without_folder, False, True),
        (_in_new_folder, False, True),
        (write_whole, False, False),
    ],
)
def test_a_weaker_writer_would_be_found(
    write: Callable[[Path, bytes], None], torn: bool, lost: bool, tmp_path: Path
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    write_whole(folder / "file", b"before")
    writer = Writer(lambda at, _: write(at / "file", b"after"), _contents)
    wrong, wrong_after = cut(writer, 0, folder, tmp_path / "scratch")
    assert (bool(wrong), bool(wrong_after)) == (torn, lost)


def _replace(path: Path, data: bytes) -> None:
    with replacing(path) as part:
        part.write_bytes(data)


def _make_folder_whole(path: Path, data: bytes) -> None:
    write_folder(path.parent / "new" / data.decode(), {"file": data, "other": data})


@pytest.mark.parametrize("write", [write_new, append_durably, _replace, _make_folder_whole])
def test_each_way_to_write_is_durable(write: Callable[[Path, bytes], None], tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    writer = Writer(lambda at, _: write(at / "file", b"x"), _contents)
    assert cut(writer, 0, folder, tmp_path / "scratch") == ([], [])
