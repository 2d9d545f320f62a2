"""Mirroring a real validator's ledger: resumed, verified, and refused where anything does not fit."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from curiosity.client.client import ValidatorClient
from curiosity.client.submission import Contributor, Rules, Tally, submit_pairs
from curiosity.ledger.mirror import Mirrored, fetch_leaves, mirror, read_leaves, read_network
from curiosity.protocol.errors import ProofError, Rejected, ServiceError, SourceError
from curiosity.protocol.merkle import root
from curiosity.protocol.messages import ClaimShare, ClaimTicket
from curiosity.protocol.payouts import derive
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import address_of
from curiosity.protocol.tlog import Signer, entry_bundle, parse_bundle, verify_checkpoint
from curiosity.rewards.claims import check_offer
from curiosity.rewards.earnings import derive_earnings, earnings_of_ticket
from tests.material.front import Front, front
from tests.material.service import ALICE, Running, pictures, running


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "validator") as made:
        await submit(made, tmp_path, 0, 6)
        yield made


@pytest.fixture
async def before(live: Running) -> AsyncIterator[Front]:
    async with front(live.url) as made:
        yield made


async def submit(live: Running, tmp_path: Path, start: int, count: int) -> Tally:
    who = Contributor(ALICE, address_of(ALICE), tmp_path / "home")
    return await submit_pairs(
        pictures(count, start), client=live.client, network=live.network, contributor=who, rules=Rules()
    )


async def copy(url: str, out: Path, log_vkey: str = "") -> Mirrored:
    async with ValidatorClient(url, patience_s=0.0) as client:
        return await mirror(client, out, log_vkey=log_vkey)


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
    head = verify_checkpoint((out / "tree-head.txt").read_text(), live.network.origin, [live.network.log_vkey])
    assert (head.size, head.root) == (second.size, second.root)
    assert read_network(out).network_id == live.network.network_id
    await copy(before.url, tmp_path / "afresh")
    assert listing(tmp_path / "afresh") == listing(out)


async def test_a_mirror_that_was_cut_off_goes_on(live: Running, before: Front, tmp_path: Path) -> None:
    out = tmp_path / "mirror"
    before.deny = lambda path, number: "drop" if path.startswith("/v1/items") else None
    with pytest.raises(ServiceError, match="SERVICE_UNREACHABLE"):
        await copy(before.url, out)
    whole = (out / "entries.jsonl").read_bytes()
    (out / "entries.jsonl").write_bytes(whole[:-30])  # killed while it wrote the last leaf
    before.deny = lambda path, number: None
    before.seen.clear()
    await copy(before.url, out)
    assert (out / "entries.jsonl").read_bytes() == whole
    (bundle,) = [path for path in before.seen if path.startswith("/tile/entries/")]
    assert before.seen[bundle] == 1


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
    assert not (tmp_path / "mirror" / "tree-head.txt").exists()


async def test_kept_leaves_of_another_history_are_refused(live: Running, before: Front, tmp_path: Path) -> None:
    await copy(before.url, tmp_path)
    file = tmp_path / "entries.jsonl"
    lines = file.read_bytes().split(b"\n")
    file.write_bytes(b"\n".join([lines[1], lines[0], *lines[2:]]))
    with pytest.raises(ProofError, match="MIRROR_ROOT"):
        await copy(before.url, tmp_path)


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
        ("/v1/submissions", _other_submission, "MIRROR_SUBMISSION"),
        ("/v1/submissions", _swapped_submissions, "MIRROR_SUBMISSION"),
        ("/v1/submissions", _no_submissions, "MIRROR_SUBMISSION"),
    ],
)
async def test_what_does_not_fit_the_signed_tree_is_refused(
    before: Front, tmp_path: Path, route: str, change: Any, code: str
) -> None:
    before.change = tamper({route: change})
    with pytest.raises(ProofError) as caught:
        await copy(before.url, tmp_path / "mirror")
    assert caught.value.code == code
    assert not (tmp_path / "mirror" / "tree-head.txt").exists()


async def test_items_are_what_the_ledger_names(before: Front, tmp_path: Path) -> None:
    before.deny = lambda path, number: (200, {}, "not it") if path.startswith("/v1/items") else None
    with pytest.raises(ProofError, match="MIRROR_ITEM"):
        await copy(before.url, tmp_path / "mirror")
    assert not list((tmp_path / "mirror" / "blobs").iterdir())


async def test_a_ledger_that_shrank_or_another_one_is_refused(live: Running, before: Front, tmp_path: Path) -> None:
    out = tmp_path / "mirror"
    size = (await copy(live.url, out)).size
    with (out / "entries.jsonl").open("ab") as file:
        file.write(b"{}\n")  # what an earlier, longer ledger had
    with pytest.raises(ProofError, match=f"MIRROR_SHRANK: .* {size + 1} leaves .* now signs {size}"):
        await copy(live.url, out)
    before.change = tamper({"/v1/network": lambda network: network | {"network_id": "0x" + "99" * 32}})
    with pytest.raises(ProofError, match="MIRROR_OF_ANOTHER"):
        await copy(before.url, out)


async def test_a_tree_head_of_another_key_than_the_pinned_one_is_refused(live: Running, tmp_path: Path) -> None:
    stranger = Signer("stranger", b"\x07" * 32).verifier.vkey()
    with pytest.raises(ProofError, match="NOTE_UNSIGNED"):
        await copy(live.url, tmp_path / "mirror", stranger)
    with pytest.raises(ProofError, match="NOTE_UNSIGNED"):
        await fetch_leaves(live.client, stranger)


async def test_a_full_disk_and_a_missing_mirror_have_codes(live: Running, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match="MIRROR_NOT_WRITTEN"):
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
