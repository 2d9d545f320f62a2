"""The world's numbers, on a set too small to learn from: what the report holds, and that held-out episodes stay out."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.world import WORLD_RECIPE, refuse_overlap, run_world
from curiosity.embedding.modalities import MODALITIES
from curiosity.sources.made.world.make import make_world
from trainer.feed import read_trusted


def test_the_report_has_every_direction_and_says_which_are_emergent(cache: Path) -> None:
    recipe = replace(WORLD_RECIPE, steps=2, batch=8, junk_each=4, junk_pool=8)
    report = run_world(3, cache, limit=6, recipe=recipe)
    names = {modality.name for modality in MODALITIES}
    assert set(report["recall"]) == {f"{a}-{b}" for a in names for b in names if a != b}
    assert all(one["gallery"] == one["queries"] == 6 for one in report["recall"].values())
    emergent = {name for name, one in report["recall"].items() if one["emergent"]}
    assert len(emergent) == 54
    assert {"touch-video", "action-emg", "point_cloud-action", "text-image"}.isdisjoint(emergent)
    assert {"emg-video", "video-image", "audio-video", "pressure-text"} <= emergent
    assert report["steps"] == 2
    assert report["cpu_seconds"] > 0
    assert report["cpu_seconds_making"] > 0
    assert report["synthesised"] == ["audio", "emg"]
    # The same seed again: the set is there, and the numbers are the same.
    made = {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")}
    assert made
    again = run_world(3, cache, limit=6, recipe=recipe)
    assert again["recall"] == report["recall"]
    assert again["pair_set"] == report["pair_set"]
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")} == made  # nothing was made again


def test_an_episode_on_both_sides_is_refused(cache: Path) -> None:
    make_world(cache / "world-3", seed=3, limit=6)
    listing = cache / "world-3" / "pairs.jsonl"
    rows = listing.read_text()
    trained = next(pair.concept for pair in read_trusted([cache / "world-3"], ["genesis"]))
    try:
        listing.write_text(rows + "".join(
            line.replace('"split": "genesis"', '"split": "held-out"') + "\n"
            for line in rows.splitlines()
            if trained in line
        ))  # fmt: skip
        pairs = [read_trusted([cache / "world-3"], [split]) for split in ("genesis", "held-out")]
        with pytest.raises(RuntimeError, match="trained on"):
            refuse_overlap(*pairs)
    finally:
        listing.write_text(rows)
