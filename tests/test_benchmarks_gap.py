"""The benchmark of gaps: it checks before it times, and the committed figures keep what was promised."""

import json

import numpy as np
import pytest

from benchmarks import gap
from benchmarks.embedding import RESULTS
from curiosity.protocol.scoring import Gap, Quantised, measure_gap


def test_the_committed_search_takes_at_most_twice_what_faiss_takes() -> None:
    report = json.loads((RESULTS / "gap.json").read_text())
    ratios = {row["size"]: row["ratio"] for row in report["rows"]}
    assert ratios.keys() == set(gap.SIZES)
    assert max(ratios[100_000], ratios[1_000_000]) <= 2
    assert all(row["bytes_a_point"] <= 2 * report["components"] + 13 for row in report["rows"] if row["size"] >= 10_000)


def test_it_reports_what_it_measured() -> None:
    row = gap.measure(1_000, 32, rounds=1)
    assert row["size"] == 1_000
    assert min(row["together_ms"], row["alone_ms"], row["faiss_together_ms"], row["reference_ms"]) > 0
    assert row["ratio"] == row["ratio_highest"] > 0


def test_a_wrong_gap_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(point: Quantised, history: Quantised) -> Gap:
        return measure_gap(point, np.delete(history, 5, axis=0))

    monkeypatch.setattr(gap, "measure_gap", wrong)
    monkeypatch.setattr(gap, "CHECKED", 64)
    with pytest.raises(AssertionError, match="not the reference's"):
        gap.measure(60, 8, rounds=1)
