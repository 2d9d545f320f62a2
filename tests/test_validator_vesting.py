"""A validator that pays by version 2 of the rule: its ledger, a real chain, what it posts, what others find of it."""

import io
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from contracts.devchain import DevChain, find_anvil
from curiosity.chain.attestation import address_of
from curiosity.embedding.modalities import decode
from curiosity.embedding.sketch import sketch_item
from curiosity.protocol.entry import EpochEntry, encode_entry, parse_entry
from curiosity.protocol.errors import ChainError, ConfigError, ProofError, Rejected
from curiosity.protocol.messages import Decision
from curiosity.protocol.pair import Item, SignedPair
from curiosity.protocol.payouts import derive
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import keccak
from curiosity.protocol.takedown import TakedownReason
from curiosity.protocol.verdict import MAX_CROWD, CrowdCounts, Reason
from curiosity.protocol.vesting import WHOLE_WEIGHT, weight_of
from curiosity.rewards.check import compare_epochs
from curiosity.rewards.payouts import check_closing
from tests.material.believing import believing
from tests.material.child_checkpoint import REJECTS_ALL, child_of_genesis
from tests.material.epoch import DELAY_S, EARNER, EpochsOnChain, deploy, open_epochs
from tests.material.rpc import RpcProxy
from tests.material.service import ALICE, BOB, Running, code_of, pictures, running
from tests.material.takedown import request

RULE = RewardParameters(version=2, beacon_blocks=3)
DAY_S = 86_400


@pytest.fixture
def closing(tmp_path: Path) -> Iterator[tuple[EpochsOnChain, DevChain]]:
    with DevChain(engine="anvil", slots_in_an_epoch=1) as chain:
        addresses = deploy(chain)
        (tmp_path / "addresses.json").write_text(json.dumps(addresses.to_json()))
        with open_epochs(tmp_path, chain.rpc_url, addresses) as opened:
            yield opened, chain


def a_day(chain: DevChain) -> None:
    chain.advance(DAY_S)
    chain.request("anvil_mine", [hex(8)])


@pytest.mark.skipif(find_anvil() is None, reason="anvil is absent: only it mines when it is told to")
def test_a_network_goes_over_and_the_contract_pays_what_vests(closing: tuple[EpochsOnChain, DevChain]) -> None:
    validator, chain = closing
    validator.close(7)  # epoch 1, version 1
    with pytest.raises(ConfigError, match="RULE_INVALID"):
        validator.name_rule(2, replace(RULE, min_epoch_s=60))
    with pytest.raises(Rejected, match="RULE_INVALID") as caught:
        validator.announce({"min_epoch_s": "60"})
    assert "86400" in caught.value.remedy
    said = validator.announce({"beacon_blocks": "3"}, epoch=2)
    assert said.entry is not None
    assert said.digest == replace(RULE, version=4).digest()
    assert validator.name_rule(3, RULE) is None  # the ledger names one
    validator.earn(7, 7, 7)
    with pytest.raises(Rejected, match="EPOCH_EARLY"):
        validator.close_as_it_is()
    size = validator.ledger.size
    for _ in range(7):
        a_day(chain)
        validator.close_as_it_is()
    assert validator.ledger.size == size + 7
    payouts = list(derive(validator.leaves(), RewardParameters()))
    vested = [one.emission_wei for one in payouts[1:-1]]
    assert vested[:2] == [0, 0]
    assert len(set(vested[2:6])) == 1
    assert vested[6] == 0
    budget = RULE.emission_of(RULE.pool_wei - payouts[0].emission_wei)
    assert sum(vested) == budget * 3 // 100 // 12 * 12

    client = validator.client
    assert client.state().latest_epoch == 8
    check = compare_epochs(client, payouts, RewardParameters(), is_whole=True)
    assert check.error is None, check.error
    chain.advance(DELAY_S)
    while client.state().active_epoch < 8:
        validator.look()
    ticket = validator.epochs.ticket(address_of(EARNER))
    assert [share.epoch for share in ticket.shares] == [1, 4, 5, 6, 7]
    assert validator.claim() == payouts[0].emission_wei + sum(vested)

    # What an entry says of time and beacon is compared with the chain.
    honest = payouts[3]
    assert honest.closing is not None
    assert list(check_closing(honest, client)) == []
    for changed, code in (
        ({"time": honest.closing.time + 1}, "CHAIN_TIME_DIFFERS"),
        ({"beacon": bytes(32)}, "CHAIN_BEACON_DIFFERS"),
    ):
        lied = replace(honest, closing=replace(honest.closing, **changed))
        assert [one.code for one in check_closing(lied, client)] == [code]
    nowhere = replace(honest, closing=replace(honest.closing, block=10**6))
    with pytest.raises(ChainError):
        list(check_closing(nowhere, client))


@pytest.mark.skipif(find_anvil() is None, reason="anvil is absent: only it mines when it is told to")
def test_what_is_not_paid_returns_only_under_a_contract_that_lets_it(tmp_path: Path) -> None:
    """A contract of before, of which the emission falls with the epoch's number: its answers, through a proxy."""

    def fall(method: str, parameters: list[Any], result: Any) -> Any:
        asked = parameters[0].get("data") or parameters[0].get("input", "") if method == "eth_call" else ""
        if not asked.startswith("0x" + keccak(b"emission(uint64)")[:4].hex()):
            return result
        return f"0x{int(result, 16) - int(asked[10:], 16):064x}"

    with DevChain(engine="anvil", slots_in_an_epoch=1) as chain, RpcProxy(chain.rpc_url) as proxy:
        addresses = deploy(chain)
        with open_epochs(tmp_path, proxy.url, addresses) as validator:
            assert validator.client.returns_unpaid()
            proxy.alter = fall
            with pytest.raises(ConfigError, match="RULE_CONTRACT"):
                validator.name_rule(1, RULE)
            with pytest.raises(Rejected, match="RULE_CONTRACT"):
                validator.announce({})
            assert validator.announce({"unpaid_returns": "0"}).entry is not None
            assert validator.announce({"top_n": "7"}, epoch=7, dry_run=True).parameters["unpaid_returns"] == "0"


@pytest.mark.skipif(find_anvil() is None, reason="anvil is absent: only it mines when it is told to")
def test_no_epoch_is_closed_before_its_beacon_is_final(closing: tuple[EpochsOnChain, DevChain]) -> None:
    validator, chain = closing
    validator.name_rule(1, RULE)
    validator.earn(7)
    chain.advance(DAY_S)
    chain.request("anvil_mine", ["0x1"])
    with pytest.raises(Rejected, match="the beacon is the hash of block"):
        validator.close_as_it_is()
    a_day(chain)
    validator.close_as_it_is()


async def test_a_new_network_pays_by_version_2_and_a_restart_goes_on(tmp_path: Path) -> None:
    """Without a chain: block 0, the validator's clock, and a beacon of its own."""
    for restart in range(2):
        async with running(tmp_path, rule2_epoch=1, min_epoch_s=1) as live:
            epochs = live.service.epochs
            assert live.service.ledger.size == 2 + 2 * restart
            for forward in (1, 2):
                start = time.time() + 100 * restart + 10 * forward
                epochs._moments._clock = lambda start=start: start  # type: ignore[misc]
                await epochs.close()
                with pytest.raises(Rejected, match="EPOCH_EARLY"):
                    await epochs.close()
            leaves = live.service.store.leaves(0, 100)
    entries = [entry for leaf in leaves if isinstance(entry := parse_entry(leaf), EpochEntry)]
    assert [(entry.v, entry.closing is not None and entry.closing.block) for entry in entries] == [(2, 0)] * 4
    assert len({entry.closing.beacon for entry in entries if entry.closing is not None}) == 4
    assert len(list(derive(leaves, RewardParameters()))) == 5
    closing = entries[3].closing
    assert closing is not None
    early = replace(entries[3], closing=replace(closing, time=closing.time - 10))
    with pytest.raises(ProofError, match="PAYOUT_EARLY"):
        list(derive([*leaves[:-1], encode_entry(early)], RewardParameters()))


def a_pixel_changed(item: Item) -> Item:
    """The picture with another pixel: other bytes, and for every eye the same."""
    with Image.open(io.BytesIO(item.data)) as opened:
        pixels = np.array(opened.convert("RGB"))
    pixels[0, 0] ^= 1
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return Item(item.modality, item.media_type, out.getvalue())


async def send_novel(live: Running, key: bytes = ALICE) -> tuple[SignedPair, Decision]:
    """The first picture that is novel, and what was decided."""
    for picture in pictures(24):
        signed = live.sign(picture, key)
        decision = await live.client.post_pair(signed.encode())
        if decision.verdict.novel:
            return signed, decision
    pytest.fail("no picture is novel")


async def gone(live: Running, signed: SignedPair, key: bytes) -> None:
    await live.client.takedown(request(live, signed, key=key, reason=TakedownReason.WITHDRAWN))


async def crowd_of(live: Running, a: Item, b: Item, key: bytes) -> CrowdCounts | None:
    return (await live.client.post_pair(live.sign((a, b), key).encode())).verdict.crowd


@pytest.mark.parametrize("is_paid", [True, False])
async def test_what_was_paid_earns_nothing_when_it_is_washed(tmp_path: Path, *, is_paid: bool) -> None:
    """Paid, taken down, sent again with a pixel changed from another wallet. Not paid yet, it is like any other."""
    async with running(tmp_path, rule2_epoch=1, min_epoch_s=0) as live:
        signed, _ = await send_novel(live)
        for _ in range(3 if is_paid else 2):
            await live.service.epochs.close()
        await gone(live, signed, ALICE)
        turned = np.rot90(decode("image", signed.a.data, signed.a.media_type))
        words = decode("text", signed.b.data, signed.b.media_type)
        shown, kept = sketch_item("image", turned), sketch_item("text", words).kept
        is_known = live.service.forgotten.paid.is_like("image", shown.probes, shown.kept, kept)
        assert is_known == is_paid  # under whatever checkpoint
        crowd = await crowd_of(live, a_pixel_changed(signed.a), signed.b, BOB)
        assert crowd is not None
        assert crowd.near == (MAX_CROWD if is_paid else 0)
        assert weight_of(crowd, 2) == (0 if is_paid else WHOLE_WEIGHT)
        assert crowd.b == is_paid
    if is_paid:  # nor after a restart
        async with running(tmp_path, rule2_epoch=1, min_epoch_s=0) as live:
            paid = live.service.forgotten.paid
            assert paid.count(signed.a.digest) == paid.count(signed.b.digest) == 1
            again = live.sign((signed.a, signed.b), BOB)
            assert await code_of(live.client.post_pair(again.encode())) == ("CONTENT_TAKEN_DOWN", 410)


async def test_what_is_drawn_is_judged_again_before_it_vests(tmp_path: Path) -> None:
    """By the checkpoint in force, or by another that the operator names: what that rejects is not paid."""
    paid, rejecting = {}, believing(tmp_path / "rejecting", REJECTS_ALL)
    for name in ("nobody audits", "the checkpoint in force", "another that rejects it"):
        folder = tmp_path / name.replace(" ", "-")
        other = rejecting if name.startswith("another") else None
        settings = {"rule2_epoch": 1, "min_epoch_s": 0, "audit_micro": 1_000_000, "audit_checkpoint": other}
        async with running(folder, **settings) as live:
            epochs, audits = live.service.epochs, live.service.audits
            await send_novel(live)
            assert await audits.audit() == 0
            for _ in range(2):
                await epochs.close()
            (award,) = await epochs.drawn()
            if name != "nobody audits":
                assert (await audits.audit(), await audits.audit()) == (1, 0)
                assert await epochs.log_audit(award, passed=True) is False
            for _ in range(4):
                await epochs.close()
            paid[name] = sum(one.emission_wei for one in epochs._closed)
    assert paid == {"nobody audits": 0, "the checkpoint in force": 4 * award.part_wei, "another that rejects it": 0}


async def test_no_checkpoint_audits_that_may_have_learned_from_who_is_audited(tmp_path: Path) -> None:
    child = child_of_genesis(tmp_path / "child", fit=True)
    with pytest.raises(ConfigError, match="AUDITOR_LEARNED"):
        async with running(tmp_path / "v", audit_checkpoint=child):
            pass


async def test_whoever_sends_first_and_takes_down_keeps_nobody_out(tmp_path: Path) -> None:
    async with running(tmp_path, rule2_epoch=1, min_epoch_s=0) as live:
        # The very bytes, sent first by somebody else.
        stolen, _ = await send_novel(live, BOB)
        mine = live.sign((stolen.a, stolen.b))
        assert (await live.client.post_pair(mine.encode())).verdict.reason is Reason.CONTENT_DUPLICATE
        await gone(live, stolen, BOB)
        answered = await live.client.post_pair(live.sign((stolen.a, stolen.b)).encode())
        assert answered.verdict.crowd == CrowdCounts(0, answered.verdict.crowd.b, 0)  # type: ignore[union-attr]
        again = live.sign((stolen.a, stolen.b), BOB)
        assert await code_of(live.client.post_pair(again.encode())) == ("CONTENT_TAKEN_DOWN", 410)
        for _ in range(3):
            report = await live.service.epochs.close()
        assert report.paid_pairs == 1
        assert list(live.service.epochs._closed[-1].amounts_wei) == [address_of(ALICE)]


async def test_a_near_copy_that_is_withdrawn_frees_the_place_that_it_took(tmp_path: Path) -> None:
    async with running(tmp_path, rule2_epoch=1, min_epoch_s=0) as live:
        copy, _ = await send_novel(live, BOB)
        original = a_pixel_changed(copy.a)
        mine = live.sign((original, copy.b))
        first = (await live.client.post_pair(mine.encode())).verdict
        assert (first.is_accepted, first.reason) == (False, Reason.PAIR_COPY)  # the attack: the copy was first
        await gone(live, copy, BOB)
        assert (await live.client.post_pair(live.sign((original, copy.b)).encode())).verdict.novel


async def test_what_the_operator_takes_down_stays_out_for_everybody(tmp_path: Path) -> None:
    async with running(tmp_path, rule2_epoch=1, min_epoch_s=0) as live:
        signed, _ = await send_novel(live)
        await live.client.takedown(request(live, signed, key=None), live.service.keys.admin_token)
        for key in (ALICE, BOB):
            again = live.sign((signed.a, signed.b), key)
            assert await code_of(live.client.post_pair(again.encode())) == ("CONTENT_TAKEN_DOWN", 410)
