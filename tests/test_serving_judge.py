"""The judge's history: pairs that are ranked together get the verdicts of pairs that are ranked one by one."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from curiosity.client.client import ValidatorClient
from curiosity.protocol.calibration import Calibration, PairThresholds
from curiosity.protocol.errors import CuriosityError, StoreError
from curiosity.protocol.judgement import Anchors, Opinion
from curiosity.protocol.neighbours import NOBODY
from curiosity.protocol.receipt import Receipt
from curiosity.protocol.scoring import MICRO, measure_gap
from curiosity.protocol.verdict import CrowdCounts
from curiosity.serving.judge import Judge
from tests.material.ledger import make_entry
from tests.material.scoring import D, cloud, embedded, near
from tests.material.service import Running, pictures, running
from validator.ledger import NewEntry

NAME = "image-text"


def make_judge() -> Judge:
    """A judge that accepts what is near, and pays what is no nearer to a known point than a fifth of the radius."""
    limits = PairThresholds(MICRO, -MICRO, 1_000, 200_000, 10**9)
    calibration = Calibration(
        {NAME: limits}, {"image>text": MICRO, "text>image": MICRO}, {"image": 400_000, "text": 600_000}, {}, 2
    )
    anchors = Anchors(
        {"image": cloud(20, 30), "text": cloud(21, 30)},
        {NAME: (cloud(22, 60), cloud(23, 60))},
        {"image": cloud(24, 1)[0], "text": cloud(25, 1)[0]},
        {NAME: cloud(6, 40, 2 * D)},
    )
    return Judge(b"\x01" * 32, calibration, anchors, "pinned")


def make_opinions(judge: Judge) -> list[Opinion]:
    """Sixty pairs of twenty concepts: two of each three are copies of the first, and not novel beside it."""
    opinions = []
    for seed in range(60):
        image = near(cloud(seed % 20, 1)[0], seed, 0.05)
        opinions.append(judge.opine(NAME, embedded(image), embedded(near(image, 99 + seed, 0.05))))
    return opinions


def test_ranking_together_gives_the_verdicts_of_ranking_one_by_one() -> None:
    one_by_one, together = make_judge(), make_judge()
    opinions = make_opinions(together)
    for start in range(0, len(opinions), 25):
        batch = opinions[start : start + 25]
        together.look_ahead(batch)
        for entry, opinion in enumerate(batch, start):
            history = one_by_one._history[NAME].points
            expected = one_by_one.rank(opinion, entry, CrowdCounts())
            assert opinion.point is not None
            assert expected.gap == measure_gap(opinion.point, history)
            judged = together.rank(opinion, entry, CrowdCounts())
            assert (judged.verdict, judged.gap) == (expected.verdict, expected.gap)
            if entry % 7 == 5:  # somebody takes down the pair before, or another of this batch
                for judge in (one_by_one, together):
                    judge.forget(NAME, entry - 1)
                    judge.forget(NAME, entry - 4)
    assert np.array_equal(together._history[NAME].points, one_by_one._history[NAME].points)
    assert 40 + 15 <= together.known(NAME) < 40 + 30


def test_a_pair_that_is_taken_down_frees_its_place() -> None:
    judge = make_judge()
    opinion = make_opinions(judge)[0]
    assert judge.rank(opinion, 7, CrowdCounts()).verdict.novel
    assert not judge.rank(opinion, 8, CrowdCounts()).verdict.novel
    judge.forget(NAME, 7)
    assert judge.rank(opinion, 9, CrowdCounts()).verdict.novel


def test_a_pair_that_was_not_written_leaves_the_history() -> None:
    judge = make_judge()
    one, other = make_opinions(judge)[:2]
    assert judge.rank(one, 7, CrowdCounts()).verdict.novel
    judge.place(NAME, 7, None)
    assert judge.known(NAME) == 40
    assert judge.rank(one, 7, CrowdCounts()).verdict.novel
    assert judge.rank(other, 8, CrowdCounts()).verdict.novel
    judge.place(NAME, 8, 5)
    judge.forget(NAME, 8)
    assert judge.known(NAME) == 42
    judge.forget(NAME, 5)
    assert judge.known(NAME) == 41


async def test_a_pair_whose_commit_failed_is_no_copy_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path / "v") as live:
        signed = [live.sign(pair) for pair in pictures(9, start=8)]
        ledger = live.service.batches._ledger
        append = ledger.append

        def away(entries: Sequence[NewEntry]) -> list[Receipt]:
            monkeypatch.setattr(ledger, "append", append)
            raise StoreError("STORE_UNREACHABLE", "gone for a moment", "Wait.")

        answers = []
        async with ValidatorClient(live.url, patience_s=0.0) as impatient:
            for one in signed:
                monkeypatch.setattr(ledger, "append", away)
                with pytest.raises(CuriosityError):
                    await impatient.post_pair(one.encode())
                answers.append(await live.client.post_pair(one.encode()))
        novel = [answer.receipt.index for answer in answers if answer.verdict.novel]
        assert novel
        assert entries_of(live) == novel


async def test_a_pair_is_kept_under_the_entry_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "v") as live:
        ledger = live.service.batches._ledger
        append = ledger.append

        def late(entries: Sequence[NewEntry]) -> list[Receipt]:
            append([make_entry(ledger.size)])  # as if the pair were ranked as an entry that another one became
            return append(entries)

        monkeypatch.setattr(ledger, "append", late)
        decisions = [await live.client.post_pair(live.sign(pair).encode()) for pair in pictures(9, start=8)]
        novel = [decision.receipt.index for decision in decisions if decision.verdict.novel]
        assert novel
        assert entries_of(live) == novel


def entries_of(live: Running) -> list[int]:
    """Whose points the history of pictures and texts holds, in order."""
    history = live.service.embedder.in_force.judge._history["image-text"]
    entries = np.concatenate([block.entries for block in history._blocks])
    return [int(entry) for entry in entries if entry != NOBODY]
