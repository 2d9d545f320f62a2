"""The benchmark of a switch measures what goes on during one, and its committed figures are those of such a run."""

import json
import re
from pathlib import Path

from benchmarks.switch import compare, measure

ROOT = Path(__file__).parent.parent


async def test_pairs_and_searches_are_measured_during_a_switch(tmp_path: Path) -> None:
    figures = await measure(4, 1, tmp_path)
    counts = figures["embedded_again"]
    assert isinstance(counts, list)
    assert len(counts) == 1
    assert counts[0] >= 4
    for name in ("pair", "search"):
        row = figures[name]
        assert isinstance(row, dict)
        assert row["idle"] > 0
        assert row["during"] > 0


def test_a_wait_is_told_as_a_ratio_of_the_idle_one() -> None:
    row = compare([1.0, 2.0, 4.0], [3.0, 5.0, 16.0])
    assert (row["median_ratio"], row["longest_ratio"], row["longest_to_idle_median"]) == (2.5, 4.0, 8.0)


def test_the_document_states_the_committed_figures() -> None:
    figures = json.loads((ROOT / "benchmarks/results/switch.json").read_text())
    assert min(figures["embedded_again"]) >= 300
    text = " ".join((ROOT / "docs/cli.md").read_text().split())
    (stated,) = re.findall(r"the median time of a pair is (\S+) times the idle one, and the longest (\S+) times", text)
    assert stated == (str(figures["pair"]["median_ratio"]), str(figures["pair"]["longest_ratio"]))
    (stated,) = re.findall(r"for a search the ratios are (\S+) and ([\d.]+\d)", text)
    assert stated == (str(figures["search"]["median_ratio"]), str(figures["search"]["longest_ratio"]))
