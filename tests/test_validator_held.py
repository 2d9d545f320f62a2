"""Held pairs: judged again under each of the next checkpoints, once each, whatever ends the process meanwhile."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curiosity.client.check import check_file
from curiosity.client.history import read_history
from curiosity.client.receipts import read_saved, save_receipt
from curiosity.client.refresh import refresh_receipts
from curiosity.client.submission import Contributor, Rules, Tally, submit_pairs
from curiosity.client.trust import KEPT_KEYS
from curiosity.ledger.copy import copy_ledger
from curiosity.ledger.layout import PAIRS
from curiosity.ledger.rescore import Rescorer, rescore_all
from curiosity.protocol.decision import check_decision
from curiosity.protocol.entry import PairEntry, parse_entry
from curiosity.protocol.errors import ProofError, Rejected, StoreError
from curiosity.protocol.messages import Decision
from curiosity.protocol.pair import SignedPair
from curiosity.protocol.payouts import derive
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import address_of
from curiosity.protocol.verdict import Outcome, Reason
from curiosity.serving.in_force import load
from tests.material.child_checkpoint import ACCEPTS_ALL, HOLDS_ALL, child_of_genesis
from tests.material.export import bring
from tests.material.service import ALICE, BOB, Running, pictures, running
from tests.material.shell import Shell
from tests.material.switch import FAULT, audited, is_right
from tests.material.takedown import digest_of, forget
from tests.material.waiting import in_the_end
from validator.service import switch_checkpoint


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Checkpoints, each the child of the one before: hold, hold, hold, hold, accept."""
    folder = tmp_path_factory.mktemp("checkpoints")
    made: list[Path] = []
    for number, beliefs in enumerate([HOLDS_ALL] * 4 + [ACCEPTS_ALL]):
        parent = {"parent": made[-1]} if made else {}
        made.append(child_of_genesis(folder / str(number), fit=True, beliefs=beliefs, **parent))  # type: ignore[arg-type]
    return made


@pytest.fixture(scope="module")
def believer(line: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A child of the first of the line that accepts what that holds."""
    return child_of_genesis(tmp_path_factory.mktemp("believer") / "1", fit=True, beliefs=ACCEPTS_ALL, parent=line[0])


@asynccontextmanager
async def holding(
    folder: Path, line: list[Path], count: int, **changes: object
) -> AsyncIterator[tuple[Running, list[tuple[SignedPair, Decision]]]]:
    """A validator that holds pairs under the first of the line of checkpoints, which is in force."""
    async with running(folder, **changes) as live:
        await switch_checkpoint(live.service, line[0], force=True)
        yield live, await submit(live, count)


async def submit(live: Running, count: int, start: int = 0, key: bytes = ALICE) -> list[tuple[SignedPair, Decision]]:
    sent = [live.sign(pair, key) for pair in pictures(count, start)]
    return [(one, await live.client.post_pair(one.encode())) for one in sent]


async def settled(live: Running) -> None:
    """Wait until everything was judged that can be under the checkpoint in force."""
    store, embedder = live.service.store, live.service.embedder
    await in_the_end(lambda: not store.held(embedder.checkpoint, -1, 1))
    await live.service.threads.on_writer(lambda: None)


async def newest(live: Running, signed: SignedPair) -> Decision:
    return await live.client.receipt(digest_of(live, signed))


async def decisions(live: Running) -> dict[bytes, list[tuple[int, PairEntry]]]:
    """By pair, its entries in order with their indices."""
    found: dict[bytes, list[tuple[int, PairEntry]]] = {}
    for index, leaf in enumerate((await live.client.entries(0, 1000)).entries):
        if isinstance(entry := parse_entry(leaf.encode()), PairEntry):
            found.setdefault(entry.pair, []).append((index, entry))
    return found


async def is_whole(live: Running) -> None:
    """The rules of an audit hold, and all that the store gives out is what the entries commit to."""
    await audited(live)
    ledger = live.service.ledger
    ledger.verify()
    ledger.verify_pairs(live.network.domain)


async def test_a_pair_that_is_held_is_accepted_under_the_next_checkpoint_and_paid_once(
    tmp_path: Path, line: list[Path], believer: Path
) -> None:
    async with holding(tmp_path / "v", line, 4) as (live, sent):
        held = [(signed, one) for signed, one in sent if one.verdict.outcome is Outcome.HELD]
        assert {one.verdict.reason for _, one in held} == {Reason.PAIR_UNDECIDED}
        assert len(held) >= 3
        health = await live.client.health()
        assert health.held == len(held)
        before = await live.client.query("text", "text/plain", b"three", "image", 50)
        await switch_checkpoint(live.service, believer, force=True)
        await settled(live)
        assert (await live.client.health()).held == 0
        for signed, first in held:
            now = await newest(live, signed)
            entry = check_decision(
                now, signed.envelope, digest_of(live, signed), live.network.origin, live.network.receipt_vkey
            ).entry
            assert isinstance(entry, PairEntry)
            assert (entry.again, entry.verdict.outcome) == (first.receipt.index, Outcome.ACCEPTED)
            assert entry.verdict.checkpoint == live.service.embedder.checkpoint != first.verdict.checkpoint
            assert now.opening.salt != first.opening.salt
            assert await live.client.receipt(digest_of(live, signed), first.receipt.index) == replayed(first)
            again = await live.client.post_pair(signed.encode())
            assert again == replayed(now), "whoever sends it again gets the newest decision"
        found = await live.client.query("text", "text/plain", b"three", "image", 50)
        assert found.indexed == before.indexed + len(held)
        rows = {row.index: row for row in (await live.client.submissions(0, 100)).submissions}
        assert {first.receipt.index for _, first in held} < set(rows)
        await live.client.close_epoch(live.service.keys.admin_token)
        leaves = [leaf.encode() for leaf in (await live.client.entries(0, 100)).entries]
        paid = [one.pair for one in next(derive(leaves, RewardParameters())).paid]
        assert 0 < len(paid) == len(set(paid)) <= len(held)
        indices = [index for row in (await decisions(live)).values() for index, _ in row]
        async with Rescorer(live.client, live.network, tmp_path / "home", private_key=ALICE) as rescorer:
            rescored = await rescore_all(rescorer, live.client, sorted(indices), leaves.__getitem__)
        assert {one.result for one in rescored} == {"agrees"}, rescored
        await is_whole(live)
        rules = await is_right(live)
        assert rules.pairs == len(sent)
        size = live.service.ledger.size
    async with running(tmp_path / "v") as live:  # nothing is judged once more
        await settled(live)
        assert live.service.ledger.size == size
        await is_right(live)


def replayed(decision: Decision) -> Decision:
    """The decision as it is answered again."""
    return replace(decision, replayed=True)


async def test_a_pair_that_no_checkpoint_can_tell_is_final_after_three_times(tmp_path: Path, line: list[Path]) -> None:
    async with holding(tmp_path / "v", line, 2) as (live, sent):
        (signed, _), *_ = held = [one for one in sent if one[1].verdict.outcome is Outcome.HELD]
        store = live.service.store
        for number, checkpoint in enumerate(line[1:4], start=1):
            assert (await live.service.refused_items.expire(2**40)).pairs == 0, "its items are kept"
            await switch_checkpoint(live.service, checkpoint, force=True)
            await settled(live)
            assert len((await decisions(live))[digest_of(live, signed)]) == 1 + number
            assert (await live.client.health()).held == (len(held) if number < 3 else 0)
        size = live.service.ledger.size
        await switch_checkpoint(live.service, line[4], force=True)  # it would accept
        await live.service.held.judge_again()
        assert live.service.ledger.size == size + 1
        assert (await newest(live, signed)).verdict.outcome is Outcome.HELD
        await is_whole(live)
        assert (await live.service.refused_items.expire(2**40)).pairs == len(held)
        assert store.blob(signed.a.digest) is None
        await is_whole(live)


async def test_what_came_meanwhile_with_the_same_contents_is_not_paid_twice(
    tmp_path: Path, line: list[Path], believer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same contents from another account are accepted before the held pair is judged again; nobody is blamed."""
    async with holding(tmp_path / "v", line, 1) as (live, sent):
        ((signed, one),) = sent
        assert one.verdict.outcome is Outcome.HELD
        go, judge_again = asyncio.Event(), live.service.held.judge_again

        async def wait() -> int:
            await go.wait()
            return await judge_again()

        monkeypatch.setattr(live.service.held, "judge_again", wait)
        await switch_checkpoint(live.service, believer, force=True)
        copy = await live.client.post_pair(live.sign(pictures(1)[0], BOB).encode())
        assert copy.verdict.is_accepted
        go.set()
        await settled(live)
        now = await newest(live, signed)
        assert (now.verdict.reason, now.verdict.fault) == (Reason.CONTENT_DUPLICATE, None)
        await is_whole(live)


async def test_pairs_that_the_checkpoint_does_not_judge_wait(
    tmp_path: Path, line: list[Path], believer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with holding(tmp_path / "v", line, 1) as (live, sent):
        judges = live.service.embedder.in_force.judge.pairs
        with monkeypatch.context() as patch:
            patch.setattr(type(live.service.embedder.in_force.judge), "pairs", judges - {"image-text"})
            live.service.embedder.in_force = await asyncio.to_thread(load, believer, "cpu", "pinned")
            assert await live.service.held.judge_again() == 0
            assert (await live.client.health()).held == 1
        assert await live.service.held.judge_again() == 1
        assert (await newest(live, sent[0][0])).verdict.is_accepted


@pytest.mark.parametrize("most", [10 << 30, 3_000])
async def test_items_of_held_pairs_stay_within_so_many_bytes(
    tmp_path: Path, line: list[Path], believer: Path, most: int
) -> None:
    """Without the bound they are kept for as long as no other checkpoint comes."""
    async with holding(tmp_path / "v", line, 12, max_held_bytes=most, keep_refused_days=0) as (live, sent):
        size = sum(len(one.a.data) for one, _ in sent)
        assert 3_000 < size < 10 << 30
        await live.service.refused_items.expire(int(time.time()) + 1)
        waiting = (await live.client.health()).held
        kept = [live.service.store.blob(one.a.digest) is not None for one, _ in sent]
        assert kept == [False] * (12 - waiting) + [True] * waiting  # the oldest went
        assert waiting == 12 if most > size else 0 < waiting < 12
        await switch_checkpoint(live.service, believer, force=True)
        await settled(live)
        outcomes = [(await newest(live, one)).verdict.outcome for one, _ in sent]
        assert outcomes == [Outcome.HELD] * (12 - waiting) + [Outcome.ACCEPTED] * waiting
        again = await live.client.post_pair(live.sign((sent[0][0].a, sent[0][0].b), BOB).encode())  # may be sent again
        assert again.verdict.outcome is Outcome.ACCEPTED if waiting < 12 else Outcome.REJECTED
        await is_whole(live)


async def test_a_takedown_reaches_every_entry_of_a_pair(tmp_path: Path, line: list[Path], believer: Path) -> None:
    """Of a pair that was judged again, and of one that is held: neither is judged any more, a copy keeps nothing."""
    async with holding(tmp_path / "v", line, 3) as (live, sent):
        (first, one), (second, _), *_ = [pair for pair in sent if pair[1].verdict.outcome is Outcome.HELD]
        await copy_ledger(live.client, tmp_path / "copy")
        await forget(live, second)
        await switch_checkpoint(live.service, believer, force=True)
        await settled(live)
        assert len((await decisions(live))[digest_of(live, second)]) == 1
        done = await copy_ledger(live.client, tmp_path / "copy")
        salts = [decision.opening.salt.hex() for decision in (one, await newest(live, first))]
        assert all(_is_in(tmp_path / "copy" / PAIRS, salt) for salt in salts)
        bring(tmp_path / "copy", tmp_path / "mirror")
        async with running(tmp_path / "mirror", genesis=believer) as mirror:
            asked = [await running_.client.submissions(0, 100) for running_ in (live, mirror)]
            assert asked[0] == asked[1]
            assert await newest(mirror, first) == await newest(live, first)
            index = one.receipt.index
            assert await mirror.client.receipt(digest_of(live, first), index) == replayed(one)
            mirror.service.ledger.verify_pairs(live.network.domain, receipt_vkey=live.network.receipt_vkey)
        await forget(live, first)
        with pytest.raises(Rejected, match="PAIR_TAKEN_DOWN"):
            await live.client.receipt(digest_of(live, first), one.receipt.index)
        gone = {one.index for one in (await live.client.submissions(0, 100)).submissions}
        assert not gone & {index for index, _ in (await decisions(live))[digest_of(live, first)]}
        assert not live.service.store.find_earlier(digest_of(live, first), one.receipt.index)
        await copy_ledger(live.client, tmp_path / "copy")
        assert not any(_is_in(tmp_path / "copy" / PAIRS, salt) for salt in salts)
        await is_whole(live)
        bring(tmp_path / "copy", tmp_path / "mirror")  # over what it held of both entries
        async with running(tmp_path / "mirror", genesis=believer) as mirror:
            assert not mirror.service.store.find_earlier(digest_of(live, first), one.receipt.index)
            mirror.service.ledger.verify_pairs(live.network.domain, receipt_vkey=live.network.receipt_vkey)
        bring(tmp_path / "copy", tmp_path / "fresh")
        assert done.taken_down == 1


def _is_in(folder: Path, text: str) -> bool:
    return any(text in path.read_text() for path in folder.rglob("*.jsonl"))


# -- whatever ends the process

STEPS: dict[str, Callable[[Running], tuple[object, str]]] = {
    "read a page": lambda live: (live.service.store, "held"),
    "read an item": lambda live: (live.service.store, "blob"),
    "decode": lambda live: (live.service.decoder, "decode"),
    "embed": lambda live: (live.service.embedder, "embed"),
}


async def test_a_fault_before_anything_is_written_leaves_pairs_held_and_the_next_round_judges_them(
    tmp_path: Path, line: list[Path], believer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with holding(tmp_path / "v", line, 3) as (live, sent):
        count = sum(one.verdict.outcome is Outcome.HELD for _, one in sent)
        monkeypatch.setattr(live.service.held, "wake", lambda: None)
        await switch_checkpoint(live.service, believer, force=True)
        size = live.service.ledger.size
        for step, place in STEPS.items():
            where, name = place(live)

            def fail(*_arguments: Any, **_named: Any) -> Any:
                raise FAULT

            with monkeypatch.context() as patch:
                patch.setattr(where, name, fail)
                with pytest.raises(StoreError, match="BROKEN"):
                    await live.service.held.judge_again()
            assert live.service.ledger.size == size, step
            assert live.service.store.count_held() == count, step
        assert await live.service.held.judge_again() == count
        assert await live.service.held.judge_again() == 0
        await is_right(live)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from tests.material.service import running
from validator.store import write
from validator.store.head import KeptHead
import validator.held

def die(*_arguments, **_named):
    os.kill(os.getpid(), signal.SIGKILL)

def arm():
    where, name = {
        "in the transaction": (write, "hold"),
        "before the head": (KeptHead, "append_hashes"),  # the transaction is committed
    }[sys.argv[2]]
    setattr(where, name, die)

async def main():
    real = validator.held.HeldPairs.judge_again
    async def armed(self):
        if self._store.count_held():
            arm()
        return await real(self)
    validator.held.HeldPairs.judge_again = armed
    async with running(Path(sys.argv[1])) as live:
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_kill_nine_loses_no_pair_and_judges_none_twice(
    tmp_path: Path, line: list[Path], believer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validator is killed while it writes what it judged again, before and after the commit; then it goes on."""
    async with holding(tmp_path / "v", line, 3) as (live, sent):
        digests = [digest_of(live, one) for one, decided in sent if decided.verdict.outcome is Outcome.HELD]
        monkeypatch.setattr(live.service.held, "wake", lambda: None)
        await switch_checkpoint(live.service, believer, force=True)
    monkeypatch.undo()
    for step in ("in the transaction", "before the head"):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, str(tmp_path / "v"), step, cwd=Path(__file__).parent.parent,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert await process.wait() == -signal.SIGKILL, step
    async with running(tmp_path / "v") as live:
        await settled(live)
        entries = await decisions(live)
        assert [len(entries[digest]) for digest in digests] == [2] * len(digests)
        assert {entries[digest][1][1].verdict.outcome for digest in digests} == {Outcome.ACCEPTED}
        await is_whole(live)
        await is_right(live)


# -- the contributor


async def test_a_contributor_sees_what_was_decided_since(tmp_path: Path, line: list[Path], believer: Path) -> None:
    """The receipt is fetched, checked and shown, the one before is kept, and the same files are not sent again."""
    home = tmp_path / "home"
    rows = pictures(2)
    async with running(tmp_path / "v") as live:
        await switch_checkpoint(live.service, line[0], force=True)
        who = Contributor(ALICE, address_of(ALICE), home)

        async def send() -> Tally:
            return await submit_pairs(
                rows, client=live.client, network=live.network, contributor=who, rules=Rules(license="CC0-1.0")
            )

        assert (await send()).held == len(rows)
        assert await refresh_receipts(live.client, home) == 0
        before = {record.outcome.pair: record.outcome.entry for record in read_history(home)[0]}
        await switch_checkpoint(live.service, believer, force=True)
        await settled(live)
        said = await asyncio.to_thread(Shell(home, live.url).run, "receipts", "--refresh", "--json")
        told = json.loads(said.out)
        assert (said.status, told["refreshed"], told["counts"]) == (0, len(rows), {"accepted": len(rows)})
        records, problems = read_history(home)
        assert (problems, {record.outcome.outcome for record in records}) == ([], {"accepted"})
        for record in records:
            assert record.receipt is not None
            proved = check_file(record.receipt, KEPT_KEYS)
            assert (proved.facts["outcome"], proved.facts["index"]) == ("accepted", record.outcome.entry)
            index = before[record.outcome.pair]
            kept = home / "receipts" / "earlier" / f"{record.outcome.pair}-{index}.json"
            assert check_file(kept, KEPT_KEYS).facts["outcome"] == "held"
        again = await send()
        assert (again.known, again.decided) == (len(rows), 0)
        assert {one.outcome for one in again.pairs} == {"accepted"}
        assert await refresh_receipts(live.client, home) == 0


async def test_a_second_answer_that_does_not_follow_the_receipt_is_refused(
    tmp_path: Path, line: list[Path], believer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    async with holding(tmp_path / "v", line, 2) as (live, sent):
        (first, one), (_, other) = sent
        save_receipt(home / "receipts", one, first.envelope, live.network)

        async def answer(_pair: bytes, index: int | None = None) -> Decision:
            return other

        with monkeypatch.context() as patch:
            patch.setattr(live.client, "receipt", answer)
            with pytest.raises(ProofError, match="RECEIPT_OF_ANOTHER"):
                await refresh_receipts(live.client, home)
        (path,) = (home / "receipts").glob("*.json")
        assert read_saved(path).decision == one
