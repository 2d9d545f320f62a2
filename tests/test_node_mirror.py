"""Mirroring a real validator's ledger: resumed, verified, and refused where anything does not fit."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from curiosity.client.client import ValidatorClient
from curiosity.client.submission import Contributor, Rules, Tally, submit_pairs
from curiosity.ledger.copy import CopiedLedger, copy_ledger
from curiosity.ledger.leaves import fetch_leaves, read_leaves, read_network
from curiosity.ledger.reader import LedgerCopy
from curiosity.protocol.errors import ProofError, Rejected, ServiceError, SourceError
from curiosity.protocol.merkle import root
from curiosity.protocol.payouts import derive
from curiosity.protocol.reward_messages import ClaimShare, ClaimTicket
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import address_of
from curiosity.protocol.tlog import Signer, TreeHead, entry_bundle, parse_bundle, sign_note, verify_checkpoint
from curiosity.rewards.claims import check_offer
from curiosity.rewards.earnings import derive_earnings, earnings_of_ticket
from tests.material.front import Front
from tests.material.service import ALICE, Running, pictures, running
from trainer.mirror import read_mirror

CURIOSITY = str(Path(sys.executable).parent / "curiosity")


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "validator") as made:
        await submit(made, tmp_path, 0, 6)
        yield made


async def submit(live: Running, tmp_path: Path, start: int, count: int) -> Tally:
    who = Contributor(ALICE, address_of(ALICE), tmp_path / "home")
    return await submit_pairs(
        pictures(count, start), client=live.client, network=live.network, contributor=who, rules=Rules()
    )


async def copy(url: str, out: Path, log_vkey: str = "") -> CopiedLedger:
    async with ValidatorClient(url, patience_s=0.0) as client:
        return await copy_ledger(client, out, log_vkey=log_vkey)


def listing(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_a_mirror_grows_with_the_ledger_and_fetches_nothing_twice(
    live: Running, before: Front, tmp_path: Path
) -> None:
    out = tmp_path / "mirror"
    first = await copy(before.url, out, live.network.log_vkey)
    assert (first.size, first.pairs) == (live.service.ledger.size, 6)
    assert first.items == first.fetched == sum(n for path, n in before.seen.items() if path.startswith("/v1/items"))
    await submit(live, tmp_path, 6, 3)
    before.seen.clear()
    second = await copy(before.url, out)
    assert second.size == first.size + 3
    assert second.fetched == sum(n for path, n in before.seen.items() if path.startswith("/v1/items")) > 0
    assert second.items == first.items + second.fetched

    assert root(read_leaves(out)) == second.root
    head = verify_checkpoint((out / "checkpoint").read_text(), live.network.origin, [live.network.log_vkey])
    assert (head.size, head.root) == (second.size, second.root)
    assert read_network(out).network_id == live.network.network_id
    await copy(before.url, tmp_path / "afresh")
    assert listing(tmp_path / "afresh") == listing(out)


def items_of(seen_by: Front) -> int:
    """Items that were asked for."""
    return sum(n for path, n in seen_by.seen.items() if path.startswith("/v1/items"))


async def test_a_mirror_that_was_cut_off_goes_on(live: Running, before: Front, tmp_path: Path) -> None:
    out = tmp_path / "mirror"
    before.deny = lambda path, number: "drop" if path.startswith("/v1/items") and items_of(before) > 3 else None
    with pytest.raises(ServiceError, match="SERVICE_UNREACHABLE"):
        await copy(before.url, out)
    assert not (out / "checkpoint").exists()
    before.deny = lambda path, number: None
    before.seen.clear()
    again = await copy(before.url, out)
    assert again.fetched == items_of(before)
    assert [path for path in before.seen if path.startswith(("/tile/", "/v1/receipts", "/v1/submissions"))] == []
    await copy(live.url, tmp_path / "afresh")
    assert listing(tmp_path / "afresh") == listing(out)


async def test_a_copy_that_does_not_say_whose_it_is_names_its_files(live: Running, tmp_path: Path) -> None:
    out = tmp_path / "mirror"
    await copy(live.url, out)
    for name in ("checkpoint", "network.json"):
        (out / name).write_text("torn")
    with pytest.raises(ProofError) as caught:
        await copy(live.url, out)
    assert str(out / "checkpoint") in caught.value.what
    assert str(out / "network.json") in caught.value.what
    assert "remove that file" in caught.value.remedy
    (out / "checkpoint").unlink()
    await copy(live.url, out)
    await copy(live.url, tmp_path / "afresh")
    assert listing(tmp_path / "afresh") == listing(out)


def tamper(answers: dict[str, Any]) -> Any:
    """A change of answers: ``{route: function of the parsed answer}``."""
    return lambda path, answer: answers[path](answer) if path in answers else answer


def _other_leaf(bundle: bytes) -> bytes:
    entries = parse_bundle(bundle, 7)
    return entry_bundle([*entries[:2], entries[1], *entries[3:]])


def _fewer_leaves(bundle: bytes) -> bytes:
    return entry_bundle(parse_bundle(bundle, 7)[:-1])


def _two_in_one(bundle: bytes) -> bytes:
    entries = parse_bundle(bundle, 7)
    return entry_bundle([b"\n".join(entries[:2]), *entries[2:], entries[0]])


@pytest.mark.parametrize(
    ("change", "code"),
    [(_other_leaf, "BUNDLE_MISMATCH"), (_fewer_leaves, "BUNDLE_TRUNCATED"), (_two_in_one, "BUNDLE_MISMATCH")],
)
async def test_leaves_that_are_not_the_trees_are_refused(
    before: Front, tmp_path: Path, change: Callable[[bytes], bytes], code: str
) -> None:
    before.change_bytes = lambda path, answer: change(answer) if path.startswith("/tile/entries/") else answer
    with pytest.raises(ProofError) as caught:
        await copy(before.url, tmp_path / "mirror")
    assert caught.value.code == code
    assert not (tmp_path / "mirror" / "checkpoint").exists()


def _other_submission(page: Any) -> Any:
    page["submissions"][0]["submission"]["license"] = "MIT"
    return page


def _swapped_submissions(page: Any) -> Any:
    one, two = page["submissions"][:2]
    one["index"], two["index"] = two["index"], one["index"]
    return page


def _no_submissions(page: Any) -> Any:
    return page | {"submissions": [], "next": None}


@pytest.mark.parametrize(
    ("route", "change", "code"),
    [
        ("/v1/submissions", _other_submission, "EXPORT_MISSING"),
        ("/v1/submissions", _swapped_submissions, "EXPORT_ENTRY"),
        ("/v1/submissions", _no_submissions, "EXPORT_MISSING"),
    ],
)
async def test_what_does_not_fit_the_signed_tree_is_refused(
    before: Front, tmp_path: Path, route: str, change: Any, code: str
) -> None:
    before.change = tamper({route: change})
    with pytest.raises(ProofError) as caught:
        await copy(before.url, tmp_path / "mirror")
    assert caught.value.code == code
    assert not (tmp_path / "mirror" / "checkpoint").exists()


async def test_items_are_what_the_ledger_names(before: Front, tmp_path: Path) -> None:
    before.deny = lambda path, number: (200, {}, "not it") if path.startswith("/v1/items") else None
    with pytest.raises(ProofError, match="EXPORT_ITEM"):
        await copy(before.url, tmp_path / "mirror")
    assert not list((tmp_path / "mirror" / "blobs").iterdir())


# -- what is torn, changed or missing in a copy is fetched again


def kinds(folder: Path) -> dict[str, Path]:
    """One file of each kind in a copy."""
    found = {
        "head": folder / "checkpoint",
        "network": folder / "network.json",
        "tile": next((folder / "tile" / "0").rglob("*.p/*")),
        "bundle": next((folder / "tile" / "entries").rglob("*.p/*")),
        "pairs": next((folder / "pairs").rglob("*.jsonl")),
        "item": next((folder / "blobs").iterdir()),
    }
    covered = {"checkpoint", "network.json", "tile", "pairs", "blobs"}
    assert {path.name for path in folder.iterdir()} <= covered, "a kind of file that no test damages"
    return found


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.write_bytes(data)


def cut_a_line(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def delete(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("command", ["mirror", "export"])
async def test_what_is_torn_changed_or_missing_is_fetched_again(live: Running, tmp_path: Path, command: str) -> None:
    """Each kind of file is damaged in each way; the same command then makes a copy that equals a fresh one."""
    settings = {"CURIOSITY_NODE__VALIDATOR_URL": live.url, "CURIOSITY_NODE__HOME": str(tmp_path / "home")}

    def run() -> None:
        arguments = [CURIOSITY, "ledger", command, "--out", str(tmp_path / "out"), "--json"]
        done = subprocess.run(arguments, env=os.environ | settings, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    await copy(live.url, tmp_path / "out")
    fresh = listing(tmp_path / "out")
    await asyncio.to_thread(run)
    assert listing(tmp_path / "out") == fresh  # both commands write one format
    for damage in (truncate, empty, flip, cut_a_line, delete):
        for kind, path in kinds(tmp_path / "out").items():  # one at a time by the function of both commands
            damage(path)
            assert listing(tmp_path / "out") != fresh
            await copy(live.url, tmp_path / "out")
            assert listing(tmp_path / "out") == fresh, (damage.__name__, kind)
        for kind, path in kinds(tmp_path / "out").items():  # and at once by the command
            if kind != "network":  # it says whose ledger it is if the head does not
                damage(path)
        await asyncio.to_thread(run)
        assert listing(tmp_path / "out") == fresh, damage.__name__


def write_old_layout(copied: Path) -> None:
    """Make of a copy what the version before wrote of the same ledger."""
    given = LedgerCopy(copied)
    leaves = list(given.leaves())
    (copied / "entries.jsonl").write_bytes(b"".join(leaf + b"\n" for leaf in leaves))
    (copied / "submissions.jsonl").write_bytes(b"")
    (copied / "checkpoint").rename(copied / "tree-head.txt")
    shutil.rmtree(copied / "tile")
    shutil.rmtree(copied / "pairs")


async def test_a_mirror_in_the_old_layout_is_read_and_brought_to_the_new_one(
    live: Running, before: Front, tmp_path: Path
) -> None:
    out = tmp_path / "mirror"
    first = await copy(live.url, out)
    fresh = listing(out)
    write_old_layout(out)
    leaves = read_leaves(out)
    assert root(leaves) == first.root
    with pytest.raises(SourceError, match=r"MIRROR_OLD: .*curiosity ledger mirror"):
        read_mirror(out)
    assert (await copy(before.url, out)).fetched == items_of(before) == 0
    assert [path for path in before.seen if path.startswith("/tile/entries/")] == []
    assert listing(out) == fresh
    assert len(read_mirror(out)[1]) == first.accepted

    write_old_layout(out)
    old = (out / "entries.jsonl").read_bytes()
    for torn in (old[:-30], b"\n".join([leaves[1], leaves[0], *leaves[2:], b""]), b""):
        (out / "entries.jsonl").write_bytes(torn)
        assert (await copy(live.url, out)).fetched == 0
        assert listing(out) == fresh
        write_old_layout(out)
    longer = sign_note(TreeHead(live.network.origin, first.size + 1, bytes(32)).text(), live.service.keys.log)
    (out / "tree-head.txt").write_text(longer)
    with pytest.raises(ProofError, match="SYNC_SHRANK"):
        await copy(live.url, out)


async def test_a_ledger_that_shrank_or_another_one_is_refused(live: Running, before: Front, tmp_path: Path) -> None:
    out = tmp_path / "mirror"
    size = (await copy(live.url, out)).size
    kept = (out / "checkpoint").read_text()
    longer = sign_note(TreeHead(live.network.origin, size + 1, bytes(32)).text(), live.service.keys.log)
    (out / "checkpoint").write_text(longer)
    with pytest.raises(ProofError, match=f"SYNC_SHRANK: .* holds {size + 1} entries .* shows {size}"):
        await copy(live.url, out)
    (out / "checkpoint").write_text(kept)
    before.change = tamper({"/v1/network": lambda network: network | {"network_id": "0x" + "99" * 32}})
    with pytest.raises(ProofError, match="SYNC_OF_ANOTHER"):
        await copy(before.url, out)


async def test_a_tree_head_of_another_key_than_the_pinned_one_is_refused(live: Running, tmp_path: Path) -> None:
    stranger = Signer("stranger", b"\x07" * 32).verifier.vkey()
    with pytest.raises(ProofError, match="NOTE_UNSIGNED"):
        await copy(live.url, tmp_path / "mirror", stranger)
    with pytest.raises(ProofError, match="NOTE_UNSIGNED"):
        await fetch_leaves(live.client, stranger)


async def test_a_full_disk_and_a_missing_mirror_have_codes(live: Running, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="SYNC_NOT_WRITTEN"):
        await copy(live.url, tmp_path / "file")
    with pytest.raises(SourceError, match="MIRROR_UNREADABLE"):
        read_leaves(tmp_path / "nowhere")
    (tmp_path / "network.json").write_text(json.dumps({"name": 1}))
    with pytest.raises(SourceError, match="MIRROR_UNREADABLE"):
        read_network(tmp_path)


async def test_a_claim_ticket_is_held_to_what_the_ledger_gives(live: Running, tmp_path: Path) -> None:
    await submit(live, tmp_path, 6, 24)  # of so many some are novel
    with pytest.raises(Rejected):
        await live.client.claim(address_of(ALICE))  # no epoch is closed
    open_epoch = list(derive(await fetch_leaves(live.client), RewardParameters()))
    account, wei = next(iter(open_epoch[-1].amounts_wei.items()))

    await live.client.close_epoch(live.service.keys.admin_token)
    derived = derive_earnings(await fetch_leaves(live.client), account, RewardParameters())
    real = await live.client.claim(account)
    check_offer(earnings_of_ticket(real), derived)
    for wrong in ({"amount_wei": str(wei + 1)}, {"reward_root": b"\1" * 32}):
        share = ClaimShare(**(vars(real.shares[0]) | wrong))
        with pytest.raises(ProofError, match="TICKET_DIFFERS"):
            check_offer(earnings_of_ticket(ClaimTicket(account, (share,))), derived)
