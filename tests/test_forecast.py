"""`curiosity check`: what it says before anything is sent is what the validator then decides."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from curiosity.client.client import ValidatorClient
from curiosity.client.manifests import Manifests
from curiosity.client.outcome import PairOutcome, decided, names_of, short
from curiosity.embedding.checkpoint import SHIPPED, find_genesis, load
from curiosity.ledger.copy import copy_ledger
from curiosity.ledger.forecast import Forecast, Forecaster, all_accepted, at_hand, choose_checkpoint
from curiosity.ledger.reader import LedgerCopy
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.messages import Decision
from curiosity.protocol.verdict import Outcome, Reason
from curiosity.sources.pairset import SourcePair
from tests.material.believing import BELIEFS, believing
from tests.material.service import Running, pictures, running
from tests.material.shell import NOWHERE, Shell

MARGIN_MICRO = 1  # another batch may flip the last bit of an embedding


def with_text(pair: SourcePair, text: str) -> SourcePair:
    return replace(pair, id=f"{pair.id} {text}", b=replace(pair.b, content=text.encode()))


def rows(count: int, start: int = 0) -> list[SourcePair]:
    """Return digits with their names, one with another digit's, and one with a text about nothing that is known."""
    true = pictures(count, start)
    return [*true, with_text(true[0], "a green elephant on a bicycle")]


async def forecast(
    client: ValidatorClient, home: Path, pairs: list[SourcePair], copy: LedgerCopy | None = None
) -> list[Forecast]:
    chosen = await choose_checkpoint(client, home, copy=copy)
    async with Forecaster(chosen, copy=copy) as forecaster:
        await forecaster.read_copy()
        return await forecaster.forecast(pairs)


async def send(live: Running, pairs: list[SourcePair]) -> list[Decision]:
    return [await live.client.post_pair(live.sign(pair).encode()) for pair in pairs]


def assert_same(said: PairOutcome, decided: Decision) -> None:
    verdict, measured = decided.verdict, decided.opening.measurement
    assert (said.outcome, said.code, said.is_novel) == (verdict.outcome, verdict.reason, verdict.novel)
    assert said.crowd == verdict.crowd
    shared = verdict.crowd.largest if verdict.crowd is not None else 0
    assert (f"weighs 1/{(1 + shared) ** 2} of" in said.pay) is (shared > 0), said.pay
    if measured is not None:
        numbers = {one.name: one.value_micro for one in said.numbers}
        assert numbers
        for name, value in numbers.items():
            assert abs(value - getattr(measured, name)) <= MARGIN_MICRO, name


async def test_what_is_said_before_is_what_the_validator_then_decides(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with running(tmp_path / "v", genesis=believing(tmp_path / "believing", max_ratio_micro=10_000_000)) as live:
        first, later = rows(8), rows(4, start=8)
        said = await forecast(live.client, home, first)
        assert (await live.client.entries(0, 100)).size == 1, "nothing was sent"
        decided = await send(live, first)
        for one, decision in zip(said, decided, strict=True):
            assert_same(one.outcome, decision)
            assert one.nearest is None
        outcomes = {one.outcome.outcome for one in said}
        assert outcomes >= {"accepted", "rejected"}
        assert said[-1].outcome.code == Reason.PAIR_UNLIKELY
        assert said[-1].outcome.problem == "pair"
        assert "rejected below 30 %" in said[-1].outcome.what

        alone = await forecast(live.client, home, first[:1])
        assert alone[0].outcome.code == Reason.BELONGS_TOGETHER, "without a copy nobody knows that it is there"
        await copy_ledger(live.client, tmp_path / "mirror")
        copy = LedgerCopy(tmp_path / "mirror")
        known = await forecast(live.client, home, [first[0], *later], copy)
        assert known[0].outcome.code == Reason.CONTENT_DUPLICATE
        accepted = {d.receipt.index for d in decided if d.verdict.is_accepted}
        assert {one.nearest.entry for one in known[1:] if one.nearest is not None} <= accepted
        assert known[1].nearest is not None
        assert known[1].nearest.text
        for one, decision in zip(known[1:], await send(live, later), strict=True):
            assert_same(one.outcome, decision)
        twin = next(
            with_text(pair, f"{pair.concept} ") for pair, d in zip(first, decided, strict=True) if d.verdict.novel
        )
        assert (await forecast(live.client, home, [twin]))[0].outcome.is_novel, "without a copy nobody knows its twin"
        (one,) = await forecast(live.client, home, [twin], copy)
        assert (one.outcome.outcome, one.outcome.code) == ("rejected", Reason.PAIR_COPY)
        assert "of those of entry " in one.outcome.what
        found = await forecast(live.client, home, [twin, with_text(twin, f"{twin.concept}  ")])
        assert "of those of an earlier one of this run" in found[1].outcome.what
        digest = live.service.embedder.checkpoint
    async with ValidatorClient(NOWHERE, patience_s=0.0) as nobody:
        chosen = await choose_checkpoint(nobody, home, copy=copy)
        assert chosen.checkpoint.digest == digest.hex(), "kept since it was fetched"
        assert (await choose_checkpoint(nobody, home)).checkpoint.digest == load(find_genesis(None)).digest
    assert not all_accepted([]), "no pairs are no success"


async def test_check_and_submit_name_the_same_item_of_a_pair_that_is_unlike_all_that_is_known(tmp_path: Path) -> None:
    genesis = believing(tmp_path / "believing", replace(BELIEFS, least_familiar_micro=990_000))
    async with running(tmp_path / "v", genesis=genesis) as live:
        pairs = rows(3)
        said = await forecast(live.client, tmp_path / "home", pairs)
        for pair, one, decision in zip(pairs, said, await send(live, pairs), strict=True):
            assert decision.verdict.reason is Reason.PAIR_UNFAMILIAR
            names = names_of(pair)
            for calibration in (load(genesis).calibration, None):
                told = decided(names, decision, bytes(32), 1, calibration)
                assert told.problem == one.outcome.problem
                blamed = short(names["ab".index(told.problem)])
                assert told.what.startswith(f"{blamed} is unlike everything that the checkpoint can judge")
            assert one.outcome.what == decided(names, decision, bytes(32), 1, load(genesis).calibration).what
    assert said[-1].outcome.problem == "b", "a text about nothing that is known"


def test_what_comes_with_the_program_is_at_hand(tmp_path: Path) -> None:
    for folder in SHIPPED.values():
        digest = load(folder).digest
        found = at_hand(bytes.fromhex(digest), tmp_path)
        assert found is not None
        assert found.digest == digest
        assert Manifests(tmp_path).kept(bytes.fromhex(digest)) == load(folder).calibration
    assert at_hand(bytes(32), tmp_path) is None


async def test_pairs_of_the_same_run_are_judged_as_if_those_before_them_had_been_sent(tmp_path: Path) -> None:
    pair = pictures(1)[0]
    async with ValidatorClient(NOWHERE, patience_s=0.0) as nobody:
        first, second = await forecast(nobody, tmp_path, [pair, pair])
    assert first.outcome.outcome == Outcome.ACCEPTED
    assert second.outcome.code == Reason.CONTENT_DUPLICATE
    assert second.outcome.what == "an earlier one of this run holds exactly these two items already"


async def test_items_that_are_forgotten_before_their_pair_is_judged_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = rows(20)
    async with ValidatorClient(NOWHERE, patience_s=0.0) as nobody:
        kept = await forecast(nobody, tmp_path, pairs)
        monkeypatch.setattr("curiosity.ledger.forecast._ITEMS_KEPT", 3)
        forgotten = await forecast(nobody, tmp_path, pairs)
    assert forgotten == kept


async def test_earlier_pairs_with_the_same_items_count_in_what_is_said_of_pay(tmp_path: Path) -> None:
    """The digits have ten names: most of the novel pairs have a name that others had before."""
    home, later = tmp_path / "home", pictures(14, 14)
    async with running(tmp_path / "v") as live:
        await send(live, pictures(14))
        await copy_ledger(live.client, tmp_path / "mirror")
        known = await forecast(live.client, home, later, LedgerCopy(tmp_path / "mirror"))
        blind = await forecast(live.client, home, later)
        for one, decision in zip(known, await send(live, later), strict=True):
            assert_same(one.outcome, decision)
    shared = [place for place, one in enumerate(known) if one.outcome.crowd is not None and one.outcome.crowd.b]
    assert shared
    for told in (known[place].outcome for place in shared):
        assert f"with {short(told.b)}: by version 2" in told.pay, "the item that they share is told"
    seen, unseen = known[shared[0]].outcome.crowd, blind[shared[0]].outcome.crowd
    assert seen is not None
    assert unseen is None or unseen.b < seen.b
    counted = [one.outcome for one in blind if one.outcome.crowd is not None and one.outcome.crowd.b]
    assert all("--copy DIR" in one.pay and "weighs 1/" in one.pay for one in counted), "those of the run itself"


async def test_pairs_of_an_earlier_checkpoint_are_embedded_again(tmp_path: Path) -> None:
    async with running(tmp_path / "v") as live:
        await send(live, pictures(2))
        await copy_ledger(live.client, tmp_path / "mirror")
    copy, own = LedgerCopy(tmp_path / "mirror"), believing(tmp_path / "believing")
    async with ValidatorClient(NOWHERE, patience_s=0.0) as nobody:
        chosen = await choose_checkpoint(nobody, tmp_path / "home", own=own, copy=copy)
        async with Forecaster(chosen, copy=copy) as forecaster:
            await forecaster.read_copy()
            (one,) = await forecaster.forecast([with_text(pictures(1)[0], "something new")])
    assert one.nearest is not None
    assert one.nearest.distance_micro > 0


async def test_the_command_says_by_its_status_whether_all_would_be_accepted(tmp_path: Path) -> None:
    own, shell = believing(tmp_path / "believing"), Shell(tmp_path / "home")
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "right.png").write_bytes(pictures(1)[0].a.read())
    (folder / "right.txt").write_bytes(pictures(1)[0].b.read())
    given = ("--checkpoint", own, "--json")
    said = await asyncio.to_thread(shell.run, "check", folder, *given)
    assert said.status == 0, said.err
    assert "Judging: 1 pair" in said.err.splitlines()
    (pair,) = said.json["pairs"]
    assert pair["belief_micro"] >= 800_000
    assert {one["name"] for one in pair["numbers"]} >= {"belief_micro", "familiarity_micro", "distance_micro"}
    (folder / "wrong.png").write_bytes(pictures(1)[0].a.read())
    (folder / "wrong.txt").write_text("a green elephant on a bicycle")
    said = await asyncio.to_thread(shell.run, "check", folder, "--checkpoint", own)
    assert said.status == 3, said.err
    assert "PAIR_UNLIKELY" in said.out
    assert "Judging: 2 pairs" in said.err.splitlines()
    assert not (tmp_path / "home" / "receipts").exists()
    said = await asyncio.to_thread(shell.run, "check", tmp_path / "nothing", *given)
    assert (said.status, said.json["error"]["code"]) == (8, "SOURCE_MISSING")


async def test_novelty_is_measured_by_the_rule_of_the_network(tmp_path: Path) -> None:
    pairs = pictures(6)
    genesis = believing(tmp_path / "believing", max_ratio_micro=10_000_000)
    async with running(tmp_path / "v", genesis=genesis, curiosity_rule="literal") as live:
        assert live.network.curiosity_rule == "literal"
        said = await forecast(live.client, tmp_path / "home", pairs)
        for one, decision in zip(said, await send(live, pairs), strict=True):
            assert_same(one.outcome, decision)
        assert not any(one.outcome.is_novel for one in said), "the literal rule admits nothing"
        chosen = await choose_checkpoint(live.client, tmp_path / "home")
    for rule, novel in (("", True), ("pinned", True)):  # a network that does not tell its rule has the default one
        other = replace(chosen, network=replace(live.network, curiosity_rule=rule))
        async with Forecaster(other) as forecaster:
            assert any(one.outcome.is_novel for one in await forecaster.forecast(pairs)) is novel
    with pytest.raises(ConfigError, match=r"RULE_NOT_KNOWN"):
        await Forecaster(replace(chosen, network=replace(live.network, curiosity_rule="later"))).__aenter__()


async def test_a_validator_with_a_rule_that_is_none_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"CURIOSITY_RULE"):
        async with running(tmp_path / "v", curiosity_rule="typo"):
            raise AssertionError("it started")
