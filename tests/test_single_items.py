"""Single items and the pool that pays for new items: what they earn beside pairs, and what a validator takes."""

import asyncio
import io
import random
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from curiosity.client.trust import KEPT_KEYS
from curiosity.embedding.modalities import decode
from curiosity.embedding.sketch import Sketch, sketch_item
from curiosity.ledger.audit import Target, audit
from curiosity.ledger.copy import copy_ledger
from curiosity.ledger.forecast import Forecaster, choose_checkpoint
from curiosity.ledger.reader import LedgerCopy
from curiosity.ledger.rescore import Rescorer, rescore_all
from curiosity.ledger.state import MonitorState
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.entry import PairEntry, RuleEntry, encode_entry, parse_entry, version_of
from curiosity.protocol.errors import ConfigError, ProofError
from curiosity.protocol.messages import Decision
from curiosity.protocol.orders import RuleOrder
from curiosity.protocol.pair import NO_ITEM, Item, SignedPair
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.verdict import CrowdCounts, Outcome, Reason, Verdict
from curiosity.protocol.vesting import spell_rule
from curiosity.protocol.wire import encode
from curiosity.rewards.earnings import derive_earnings
from curiosity.sources.own.group import make_single
from curiosity.sources.pairset import SourceItem, SourcePair
from tests.material.believing import believing
from tests.material.child_checkpoint import REJECTS_ALL
from tests.material.contributor import submit
from tests.material.export import bring
from tests.material.service import ALICE, BOB, Running, code_of, item_of, pictures, running
from tests.material.shell import Shell
from tests.material.takedown import forget
from tests.material.vesting import RULE_1, RULE_2, PaidLedger, account
from trainer.mirror import read_mirror

RULE_3 = replace(RULE_2, version=3)
POOL = replace(RULE_3, item_micro=50_000)
PAIRS, ALONE, OTHERS = account(1), account(2), account(3)
DIGEST_OF_BEFORE = "e6d9ae4c45e08b1546911b9b3126b18d3357f891d7bee0dd4291f5e0033cf018"


def single(who: bytes) -> PairEntry:
    verdict = Verdict(Outcome.ACCEPTED, Reason.ITEM_NEW, bytes(32), novel=True, items=1)
    return PairEntry(secrets.token_bytes(32), who, bytes(65), "image", "MIT", verdict, bytes(32), v=6)


def pair(who: bytes, items: int, *, crowd: int = 0, is_novel: bool = True) -> PairEntry:
    verdict = Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, bytes(32), items=items)
    if is_novel:
        verdict = replace(verdict, novel=True, curiosity_micro=524_288, crowd=CrowdCounts.rounded(0, crowd, 0))
    return PairEntry(secrets.token_bytes(32), who, bytes(65), "image-text", "MIT", verdict, bytes(32), v=6)


def paid(rule: RewardParameters, *entries: PairEntry, beacon: bytes = b"\x07" * 32) -> dict[bytes, int]:
    """Wei that each entry gets, all in one epoch, by digest; what is derived from the leaves is the same."""
    ledger = PaidLedger(rule)
    ledger.append(*entries)
    budget = rule.emission_of(rule.pool_wei)
    for _ in range(rule.vest_epochs + 2):
        ledger.close(beacon=beacon)
    if len(entries) < 50:
        assert [one.reward_root for one in ledger.derived()[:-1]] == [one.reward_root for one in ledger.closed]
    got = dict.fromkeys((one.pair for one in entries), 0)
    for payout in ledger.closed:
        for part in payout.paid:
            assert part.amount_wei is not None
            got[part.pair] += part.amount_wei
    assert sum(got.values()) <= budget
    return got


def mixes(count: int) -> Iterator[tuple[random.Random, list[PairEntry]]]:
    """Epochs of pairs and items alone: of few and of many, of new and of known items, of shared captions."""
    for seed in range(count):
        dice = random.Random(seed)
        some = [
            pair(OTHERS, dice.randrange(3), crowd=dice.choice((0, 0, 3, 64, 4_094)), is_novel=dice.random() < 0.8)
            for _ in range(dice.choice((0, 3, 60, 120)))
        ]
        everything = [*some, *(single(OTHERS) for _ in range(dice.choice((0, 1, 90, 220))))]
        everything = [replace(one, generated=True) if dice.random() < 0.3 else one for one in everything]
        yield (
            dice,
            [
                replace(one, modalities="audio-text") if not one.is_single and dice.random() < 0.3 else one
                for one in everything
            ],
        )


@pytest.mark.parametrize("top_n", [1_024, 20])
def test_a_pair_earns_what_its_items_would_alone_and_more(top_n: int) -> None:
    """Whatever else is in the epoch, and whoever is drawn: the pair and its items have the same lot here."""
    rule = replace(POOL, top_n=top_n, generated_micro=250_000, spoken_micro=50_000)
    drawn = 0
    for dice, others in mixes(10):
        items, crowd = dice.choice((1, 2)), dice.choice((0, 4, 4_094))
        mine = pair(PAIRS, items, crowd=crowd)
        alone = [single(ALONE) for _ in range(items)]
        if dice.random() < 0.3:
            mine, alone = replace(mine, generated=True), [replace(one, generated=True) for one in alone]
        if spoken := dice.random() < 0.3:
            mine = replace(mine, modalities="audio-text")
        together = paid(rule, *others, mine)[mine.pair]
        if top_n < len(others) + items:  # what two lots get is not compared with what one gets
            alone = [replace(alone[0], pair=mine.pair)]
            together = paid(rule, *others, replace(mine, verdict=replace(mine.verdict, items=1)))[mine.pair]
        apart = sum(paid(rule, *others, *alone)[one.pair] for one in alone)
        drawn += apart > 0
        assert together > apart if apart and not (spoken and top_n == 20) else together >= apart
        without = paid(replace(rule, item_micro=0), *others, mine)[mine.pair]
        assert bool(without) or top_n == 20
    assert drawn >= 3


def test_items_share_a_twentieth_of_an_epoch_at_most() -> None:
    budget = POOL.emission_of(POOL.pool_wei)
    for _, others in mixes(4):
        got = paid(POOL, *others)
        alone = [one for one in others if one.is_single or not one.verdict.novel]
        assert sum(got[one.pair] for one in alone) <= budget // 20
    flood = [single(ALONE) for _ in range(1_100)]
    got = paid(POOL, *flood, pair(PAIRS, 2))
    assert sum(got[one.pair] for one in flood) <= budget // 20
    one_alone = paid(POOL, one := single(ALONE))[one.pair]
    assert 0 < one_alone <= budget // 20 // 200


def test_one_pair_gets_a_hundredth_with_the_pool_as_without() -> None:
    budget = POOL.emission_of(POOL.pool_wei)
    mine = pair(PAIRS, 2)
    with_pool, without = (paid(rule, mine)[mine.pair] for rule in (POOL, RULE_3))
    assert without == budget // 400 * 4
    assert without - 8 <= with_pool <= budget // 100
    many = [pair(PAIRS, 2) for _ in range(300)]  # of new items alone: nobody loses by the pool
    assert abs(sum(paid(POOL, *many).values()) - sum(paid(RULE_2, *many).values())) < 300 * 8


def test_who_is_drawn_for_items_is_drawn_as_a_pair() -> None:
    rule = replace(POOL, top_n=10)
    pairs, alone = [pair(PAIRS, 1) for _ in range(40)], [single(ALONE) for _ in range(40)]
    for number in range(4):
        got = paid(rule, *pairs, *alone, beacon=bytes([number]) * 32)
        (item_wei,) = {wei for one in alone if (wei := got[one.pair])}
        drawn = [wei for one in pairs if (wei := got[one.pair])]
        assert len(drawn) == 10
        assert all(wei > item_wei for wei in drawn)


def test_a_limit_for_readings_takes_nothing_from_their_items() -> None:
    """A sound alone and a text alone are in no pool, so neither are the two in a pair."""
    readings = [replace(pair(PAIRS, 2, crowd=512), modalities="audio-text") for _ in range(300)]
    got = paid(replace(POOL, spoken_micro=50_000), *readings, item := single(ALONE))
    assert all(got[one.pair] > 2 * got[item.pair] > 0 for one in readings)


def test_generated_material_gets_both_limits_and_no_more() -> None:
    """Generated readings count as readings alone; a limit for these below that for what is generated adds to it."""
    budget = POOL.emission_of(POOL.pool_wei)
    made = [replace(pair(ALONE, 2), generated=True) for _ in range(300)]
    read = [replace(one, pair=secrets.token_bytes(32), modalities="audio-text") for one in made]
    real = [pair(OTHERS, 0) for _ in range(300)]
    for begun, most in ((RULE_3, 250_000 + 50_000), (POOL, 297_500)):
        rule = replace(begun, generated_micro=250_000, spoken_micro=50_000)
        got = paid(rule, *made, *read, *real)
        limit = budget * most // 1_000_000
        assert limit - 8 * 600 < sum(got[one.pair] for one in (*made, *read)) <= limit
        got = paid(replace(rule, spoken_micro=250_000), *made, *read, *real)  # then all are in one pool
        assert sum(got[one.pair] for one in (*made, *read)) <= budget // 4
    spoken = [replace(one, generated=None) for one in read]
    got = paid(replace(POOL, spoken_micro=50_000), *spoken, *real)
    assert abs(sum(got[one.pair] for one in spoken) - budget * 97_500 // 1_000_000) < 8 * 300


@pytest.mark.parametrize(
    ("generated_micro", "flood", "is_less"), [(0, 0, True), (10_000, 400, True), (250_000, 400, False)]
)
def test_a_declared_pair_gets_less_than_its_picture_where_its_limit_is_full(
    generated_micro: int, flood: int, *, is_less: bool
) -> None:
    rule = replace(POOL, generated_micro=generated_micro)
    others = [replace(pair(OTHERS, 2), generated=True) for _ in range(flood)]
    mine, picture, caption = (
        replace(pair(PAIRS, 2), generated=True),
        single(ALONE),
        replace(single(ALONE), generated=True),
    )
    together, apart = paid(rule, *others, mine), paid(rule, *others, picture, caption)
    assert (together[mine.pair] < apart[picture.pair] + apart[caption.pair]) is is_less


def test_without_the_pool_an_item_earns_nothing() -> None:
    entries = [single(ALONE), pair(PAIRS, 2), pair(PAIRS, 1, is_novel=False)]
    for rule, is_paid in ((RULE_2, False), (POOL, True)):
        got = paid(rule, *entries)
        assert [bool(got[one.pair]) for one in entries] == [is_paid, True, is_paid]
    before = PaidLedger(None)  # nor under version 1
    before.append(*entries)
    before.close()
    assert [one.pair for one in before.closed[0].paid] == [entries[1].pair]


def test_what_is_taken_down_stops_and_an_audit_reaches_items_too() -> None:
    ledger = PaidLedger(replace(POOL, audit_micro=1_000_000))
    entries = [single(ALONE), single(OTHERS), single(PAIRS)]
    ledger.append(*entries)
    for _ in range(2):
        ledger.close()
    ledger.audit(entries[0], passed=True)
    ledger.audit(entries[1], passed=False)
    ledger.close()
    ledger.take_down(entries[0])
    ledger.vest()
    first, stopped, waiting = (ledger.got(one.contributor) for one in entries)
    assert (first > 0, stopped, waiting) == (True, 0, 0)
    assert first == POOL.emission_of(POOL.pool_wei) // 20 // 200 // 4


def test_a_rule_of_before_has_the_digest_that_it_had() -> None:
    assert "item_micro" not in RULE_2.values()
    assert RULE_2.digest().hex() == DIGEST_OF_BEFORE
    assert spell_rule(POOL)["item_micro"] == "50000"
    assert POOL.digest() != RULE_3.digest()
    with pytest.raises(ConfigError, match="at most 50000"):
        replace(POOL, item_micro=50_001)
    old = PaidLedger(None)
    with pytest.raises(ProofError, match="PAYOUT_RULE"):
        old.append(RuleEntry(1, spell_rule(RULE_2) | {"item_micro": "50000"}, old.block, old.time))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"v": 2}, "not of 6"),
        ({"items": 2}, "at most 1"),
        ({"items": None}, "fields of version 2"),
        ({"outcome": Outcome.REJECTED}, "at most 0"),
        ({"again": 4}, "decided again"),
        ({"again": 0}, "decided again"),
        ({"items": 0}, "is accepted, with 0 new items"),
        ({"curiosity_micro": 524_288}, "a score"),
        ({"crowd": CrowdCounts()}, "a score, verdict.crowd"),
        ({"crowd": CrowdCounts(), "belief": 30}, "a score, verdict.crowd"),
    ],
)
def test_an_entry_about_an_item_says_what_it_must(changed: dict[str, object], says: str) -> None:
    good = single(ALONE)
    assert parse_entry(encode_entry(good)) == good
    verdict = {name: value for name, value in changed.items() if name not in ("v", "again")}
    if changed == {"v": 2}:
        verdict = {"items": None}
    bad = replace(good, verdict=replace(good.verdict, **verdict), v=changed.get("v", 6), again=changed.get("again"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=says):
        encode_entry(bad)


def test_no_entry_has_a_score_or_a_belief_that_a_judge_cannot_tell() -> None:
    good = replace(pair(ALONE, 2), verdict=replace(pair(ALONE, 2).verdict, belief=32))
    assert parse_entry(encode_entry(good)) == good
    known = replace(good.verdict, novel=False)
    for verdict, says in (
        (known, "not accepted and novel"),
        (replace(known, items=None, crowd=None, belief=None), "not accepted and novel"),
        (replace(good.verdict, outcome=Outcome.GREY, items=0), "not accepted and novel"),
        (replace(good.verdict, belief=33), "verdict.belief 33, at most 32"),
    ):
        bad = replace(good, verdict=verdict)
        bad = replace(bad, v=version_of(bad))
        with pytest.raises(ValueError, match=says):
            encode_entry(bad)
        with pytest.raises(ProofError, match="ENTRY_MALFORMED"):
            parse_entry(encode(bad))


# -- what a validator takes


@asynccontextmanager
async def taking(folder: Path, **changes: object) -> AsyncIterator[Running]:
    """A validator whose rule has a pool for items from its first epoch on."""
    async with running(folder, **changes) as live:
        if not live.service.epochs.item_micro:
            await live.service.epochs.announce(RuleOrder(1, {"item_micro": "50000", "min_epoch_s": "0"}))
        yield replace(live, network=await live.client.network())


async def send(live: Running, item: Item, key: bytes = ALICE) -> tuple[SignedPair, Decision]:
    signed = live.sign((item, NO_ITEM), key)
    return signed, await live.client.post_pair(signed.encode())


async def next_new(live: Running, start: int) -> SourcePair:
    """The first picture from a place on that the checkpoint would take alone, with its name."""
    embedder = live.service.embedder
    for row in pictures(24)[start:]:
        item = item_of(row, "a")
        embedded = await embedder.embed("image", item.digest, decode("image", item.data, item.media_type))
        if embedder.in_force.judge.opine_item("image", embedded).outcome is Outcome.ACCEPTED:
            return row
    pytest.fail("no picture is taken")


async def send_new(live: Running, key: bytes = ALICE, start: int = 0) -> tuple[SignedPair, Decision, int]:
    """The first picture from a place on that is taken alone, and its place."""
    for place, picture in enumerate(pictures(24)[start:], start):
        signed, decision = await send(live, item_of(picture, "a"), key)
        if decision.verdict.is_accepted:
            return signed, decision, place
    pytest.fail("no picture is taken")


def changed(item: Item, turns: int = 0) -> Item:
    """The picture with another pixel, turned by right angles."""
    with Image.open(io.BytesIO(item.data)) as opened:
        pixels = np.array(opened.convert("RGB"))
    pixels[0, 0] ^= 1
    return png(np.rot90(pixels, turns))


def png(pixels: np.ndarray) -> Item:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return Item("image", "image/png", out.getvalue())


def sketch_of(item: Item) -> Sketch:
    return sketch_item(item.modality, decode(item.modality, item.data, item.media_type))


async def test_no_item_is_taken_without_a_pool(tmp_path: Path) -> None:
    async with running(tmp_path, rule2_epoch=1, min_epoch_s=0) as live:
        size, item = live.service.ledger.size, item_of(pictures(1)[0], "a")
        assert live.network.item_micro is None
        signed = live.sign((item, NO_ITEM))
        assert await code_of(live.client.post_pair(signed.encode())) == ("ITEM_ALONE", 422)
        whole = live.sign(pictures(1)[0])
        assert (await live.client.post_pair(whole.encode())).verdict.items is None
        assert live.service.ledger.size == size + 1
        tally = await submit(live, live.url, tmp_path, [source_of(item)])
        assert (tally.not_taken, tally.decided) == ({"image": 1}, 0)
        assert tally.pairs[0].code == "ITEM_ALONE"
    async with taking(tmp_path / "with") as live:
        decision = (await send_new(live))[1]
        assert (decision.verdict.reason, decision.verdict.items) == (Reason.ITEM_NEW, 1)


def source_of(item: Item) -> SourcePair:
    return make_single(
        SourceItem(item.modality, item.media_type, Path("one"), item.data), set_name="t", license="CC0-1.0"
    )


async def test_blank_known_and_copied_items_earn_nothing(tmp_path: Path) -> None:
    async with taking(tmp_path) as live:
        signed, decision, place = await send_new(live)
        entry = decision.receipt.index
        said = {}
        for name, item in {
            "same": signed.a,
            "copy": changed(signed.a),
            "blank": png(np.full((64, 64, 3), 255, np.uint8)),
            "noise": png(np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)),
            "label": item_of(pictures(1)[0], "b"),
            "broken": Item("image", "image/png", b"not a picture"),
        }.items():
            decided = (await send(live, item, BOB))[1]
            said[name] = decided.verdict.reason.value
            assert (decided.verdict.outcome, decided.verdict.items) == (Outcome.REJECTED, 0), name
            if name == "copy":
                assert decided.opening.detail == f"entry {entry} holds it or a near copy"
        assert said == {
            "same": "CONTENT_DUPLICATE", "copy": "ITEM_COPY", "blank": "ITEM_UNINFORMATIVE",
            "noise": "ITEM_UNINFORMATIVE", "label": "ITEM_NOT_NOVEL", "broken": "ITEM_UNDECODABLE",
        }  # fmt: skip
        turned = changed(signed.a, 1)
        assert live.service.batches.crowds.find_item(turned.digest, sketch_of(turned)).entry == entry
        # The same item in a pair is paid as a pair, and not once more as an item; nor does it make the pair a copy.
        together = (
            await live.client.post_pair(live.sign((signed.a, item_of(pictures(24)[place], "b"))).encode())
        ).verdict
        assert (together.is_accepted, together.items) == (True, 0)
        assert together.crowd is None or together.crowd == CrowdCounts(0, together.crowd.b, 0)
        other = await next_new(live, place + 1)
        first = (await live.client.post_pair(live.sign(other).encode())).verdict
        assert (first.is_accepted, first.items) == (True, 1)
        assert (await send(live, item_of(other, "a"), BOB))[1].verdict.reason is Reason.ITEM_COPY


async def test_an_item_counts_in_a_pair_as_it_would_alone(tmp_path: Path) -> None:
    """Of two validators one is sent pictures alone, the other the same pictures in pairs."""
    rows, together = pictures(9), []
    async with taking(tmp_path / "a") as live:
        alone = [(await send(live, item_of(row, "a")))[1].verdict.items for row in rows]
    async with taking(tmp_path / "b") as live:
        for row in rows:
            verdict = (await live.client.post_pair(live.sign(row).encode())).verdict
            together.append(verdict.items if verdict.is_accepted else None)
    counted = [(one, pair) for one, pair in zip(alone, together, strict=True) if pair is not None]
    assert len(counted) >= 5
    assert all(one == pair for one, pair in counted)
    assert {one for one, _ in counted} == {0, 1}


@pytest.mark.parametrize("is_paid", [True, False])
async def test_an_item_that_was_paid_and_taken_down_is_not_new_again(tmp_path: Path, *, is_paid: bool) -> None:
    async with taking(tmp_path) as live:
        signed, decision, _ = await send_new(live)
        for _ in range(3 if is_paid else 2):
            await live.service.epochs.close()
        assert live.service.epochs.was_paid(decision.receipt.index) is is_paid
        await forget(live, signed)
        again = live.sign((signed.a, NO_ITEM), BOB if is_paid else ALICE)
        assert await code_of(live.client.post_pair(again.encode())) == ("CONTENT_TAKEN_DOWN", 410)
    async with taking(tmp_path) as live:  # nor after a restart
        turned = changed(signed.a, 1)
        assert live.service.batches.crowds.find_item(turned.digest, sketch_of(turned)).is_known is is_paid
        said = (await send(live, changed(signed.a), BOB))[1].verdict
        assert said.reason is (Reason.ITEM_COPY if is_paid else Reason.ITEM_NEW)
        if not is_paid:  # a stranger who sends it first and takes it down keeps nobody out
            return
        for _ in range(6):
            await live.service.epochs.close()
        leaves = live.service.store.leaves(0, 1000)
    earned = derive_earnings(leaves, decision_owner(leaves, decision), RULE_1)
    parts = [one.amount_wei for one in earned.epochs if one.amount_wei]
    assert len(parts) == 1  # the part that vested before it was taken down


def decision_owner(leaves: list[bytes], decision: Decision) -> bytes:
    entry = parse_entry(leaves[decision.receipt.index])
    assert isinstance(entry, PairEntry)
    return entry.contributor


async def test_a_restart_a_copy_and_an_audit_know_items(tmp_path: Path) -> None:
    async with taking(tmp_path / "v") as live:
        signed, decision, place = await send_new(live)
        await send(live, changed(signed.a), BOB)
        await live.client.post_pair(live.sign(pictures(24)[place + 1]).encode())
        size, network = live.service.ledger.size, live.network
        leaves = [entry.encode() for entry in (await live.client.entries(0, 1000)).entries]
        decided = [i for i, leaf in enumerate(leaves) if b'"kind":"pair"' in leaf]
        async with Rescorer(live.client, network, tmp_path / "home", private_key=BOB) as rescorer:
            done = await rescore_all(rescorer, live.client, decided, leaves.__getitem__)
        assert {one.result for one in done if one.outcome == "accepted"} == {"agrees"}
        assert done[decided.index(decision.receipt.index) + 1].result == "agrees"  # the copy, by its numbers
        state = MonitorState(tmp_path / "monitor", network.origin, [network.log_vkey])
        target = Target(network.origin, (network.log_vkey,), KEPT_KEYS, network=(network.network_id, network.domain))
        async with LogFiles(live.url, patience_s=1.0) as files:
            assert (await audit(files, state, target)).finding is None
        copied = await copy_ledger(live.client, tmp_path / "copy")
        assert copied.size == size
        assert signed.a.digest.hex() in {path.name for path in (tmp_path / "copy" / "blobs").iterdir()}
        _, fed = read_mirror(tmp_path / "copy")
        assert signed.envelope.submission.digest(network.domain) not in {one.digest for one in fed}
        live.service.ledger.verify_pairs(network.domain)
        assert live.service.store.item(NO_ITEM.digest) is None
        copy = LedgerCopy(tmp_path / "copy")
        chosen = await choose_checkpoint(live.client, tmp_path / "home", copy=copy)
        async with Forecaster(chosen, copy=copy) as forecaster:
            await forecaster.read_copy()
            told = await forecaster.forecast([source_of(changed(signed.a))])
        assert told[0].outcome.code == "ITEM_COPY"
    bring(tmp_path / "copy", tmp_path / "mirror")
    async with running(tmp_path / "mirror") as mirror:
        assert await mirror.client.item(signed.a.digest) == signed.a.data
        assert mirror.service.batches.crowds.find_item(signed.a.digest, sketch_of(signed.a)).is_known
    async with taking(tmp_path / "v") as live:
        assert live.service.ledger.size == size
        assert (await send(live, changed(signed.a), ALICE))[1].verdict.reason is Reason.ITEM_COPY
        again = live.sign((signed.a, NO_ITEM), BOB)
        assert (await live.client.post_pair(again.encode())).verdict.reason is Reason.CONTENT_DUPLICATE


async def test_a_pair_whose_known_items_are_said_to_be_new_differs(tmp_path: Path) -> None:
    async with taking(tmp_path / "v") as live:
        for row in pictures(4):
            await live.client.post_pair(live.sign(row).encode())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("validator.judging.count_new", lambda *_: 2)
            for row in pictures(4, 4):
                await live.client.post_pair(live.sign(row).encode())
        leaves = [entry.encode() for entry in (await live.client.entries(0, 1000)).entries]
        decided = [i for i, leaf in enumerate(leaves) if b'"kind":"pair"' in leaf]
        async with Rescorer(live.client, live.network, tmp_path / "home", private_key=ALICE) as rescorer:
            done = await rescore_all(rescorer, live.client, decided, leaves.__getitem__)
    accepted = [(one.index in decided[:4], one.result, one.why) for one in done if one.outcome == "accepted"]
    assert {result for is_honest, result, _ in accepted if is_honest} == {"agrees"}
    lies = [(result, why) for is_honest, result, why in accepted if not is_honest]
    assert lies
    assert all(result == "differs" and "says that 2 of the items are new" in why for result, why in lies)


async def test_what_is_drawn_of_items_is_judged_again(tmp_path: Path) -> None:
    """An item fails an audit if it says too little to the auditor, not if that knows it already."""
    paid = {}
    for name in ("nobody audits", "audited"):
        async with taking(
            tmp_path / name.replace(" ", "-"), audit_checkpoint=believing(tmp_path / name, REJECTS_ALL)
        ) as live:
            epochs = live.service.epochs
            await epochs.announce(RuleOrder(0, {"audit_micro": "1000000"}))
            while not epochs._replay.rule.audit_micro:
                await epochs.close()
            await send_new(live)
            for _ in range(2):
                await epochs.close()
            (award,) = await epochs.drawn()
            if name == "audited":
                assert (await live.service.audits.audit(), await live.service.audits.audit()) == (1, 0)
            for _ in range(4):
                await epochs.close()
            paid[name] = sum(one.emission_wei for one in epochs._closed)
    assert paid == {"nobody audits": 0, "audited": 4 * award.part_wei}


async def test_the_commands_check_submit_and_tell_of_an_item(tmp_path: Path) -> None:
    async with taking(tmp_path / "v") as live:
        shell = Shell(tmp_path / "home", live.url)
        picture, label = tmp_path / "new.png", tmp_path / "label.txt"
        _, _, place = await send_new(live)
        picture.write_bytes(item_of(await next_new(live, place + 1), "a").data)
        label.write_bytes(item_of(pictures(1)[0], "b").data)

        async def run(*arguments: str | Path) -> tuple[int, dict[str, object], str]:
            said = await asyncio.to_thread(shell.run, *arguments)
            return said.status, said.json if "--json" in arguments else {}, said.out + said.err

        assert (await run("wallet", "new", "alice"))[0] == 0
        checked = await run("check", "--single", picture, label, "--json")
        assert checked[0] == 3
        told = [(one["code"], one["b"], one["new_items"]) for one in checked[1]["pairs"]]  # type: ignore[attr-defined]
        assert told == [("ITEM_NEW", "", 1), ("ITEM_NOT_NOVEL", "", 0)]
        near = checked[1]["pairs"][1]  # type: ignore[index]
        (nearest,) = [one for one in near["numbers"] if one["name"] == "nearest_micro"]
        assert near["problem"] == "a"
        assert nearest["value_micro"] < nearest["least_micro"] < nearest["most_micro"]
        twice = await run("check", "--single", picture, picture, "--json")
        assert [one["code"] for one in twice[1]["pairs"]] == ["ITEM_NEW", "CONTENT_DUPLICATE"]  # type: ignore[attr-defined]
        assert twice[1]["pairs"][1]["what"] == "an earlier one of this run holds this item already"  # type: ignore[index]
        sent = ("submit", "--single", picture, label, "--wallet", "alice", "--license", "CC0-1.0")
        dry = await run(*sent, "--dry-run", "--json")
        assert (dry[0], dry[1]["pairs"]) == (0, {"image": 1, "text": 1})
        status, _, words = await run(*sent)
        assert status == 0, words
        for expected in (
            "the item says something new",
            "1 new item",
            "1 of 1 accepted pair may be paid",
            "adds nothing new",
        ):
            assert expected in " ".join(words.split()), words
        again = await run(*sent, "--json")
        assert (again[1]["known"], again[1]["accepted"]) == (2, 0)
        assert (await run("verify", "--json"))[0] == 0
        listed = await run("receipts", "--pay", "--json")
        assert "drawn at the close" in str(listed[1])
        for _ in range(3):
            await live.service.epochs.close()
        assert "to vest" in str((await run("receipts", "--pay", "--json"))[1])
        (record,) = [one for one in (await run("receipts", "--json"))[1]["receipts"] if one["new_items"]]  # type: ignore[attr-defined]
        assert (await run("takedown", record["pair"], "--wallet", "alice", "--yes"))[0] == 0
    async with running(tmp_path / "other", rule2_epoch=1) as live:
        shell = Shell(tmp_path / "home", live.url)
        refused = await run(*sent)
        assert refused[0] == 3
        assert "no pool" in refused[2]
        dry = await run(*sent, "--dry-run")
        assert dry[0] == 3
        assert f"ITEM_ALONE: {picture.name} is one item" in " ".join(dry[2].split())
        assert "with another item that belongs to it" in " ".join(refused[2].split())
