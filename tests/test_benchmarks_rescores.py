"""The benchmark of repeated verdicts on a few pairs. That a lie is found is shown in test_rescore.py."""

from pathlib import Path

from benchmarks import rescores
from curiosity.embedding.checkpoint import GENESIS
from tests.material.service import pictures


async def test_a_sample_of_real_pairs_agrees(tmp_path: Path) -> None:
    report = await rescores.repeat(GENESIS, pictures(6), 4, tmp_path)
    assert (report["sampled"], report["agree"], report["exit_status"]) == (4, 4, 0)
    assert report["largest_micro"] <= 1
    assert sum(report["decided"].values()) == 6
    assert "| tiny | 4 | 4 | 0 |" in rescores.to_markdown({"geneses": {"tiny": report}})
