"""The retrieval benchmark: what it trains on, what it measures, and what it writes."""

import json
from pathlib import Path

import pytest

from benchmarks import embedding as bench
from curiosity.sources.made.emoji import make_emoji
from curiosity.sources.pairset import read_pairs
from trainer.feed import read_trusted


@pytest.fixture(scope="module")
def emoji(cache: Path) -> dict[str, object]:
    file = cache / "emoji.json"
    asked = ["--set", "emoji", "--seed", "7", "--limit", "60", "--steps", "12"]
    assert bench.main([*asked, "--cache", str(cache), "--json", str(file), "--threads", "1"]) == 0
    report: dict[str, object] = json.loads(file.read_text())
    return report


def test_emoji_report_has_every_direction(emoji: dict[str, object]) -> None:
    assert emoji["set"] == "emoji"
    assert emoji["seed"] == 7
    assert emoji["preset"] == "tiny"
    recall = emoji["recall"]
    assert isinstance(recall, dict)
    for first, second, emergent in (("image", "text", False), ("audio", "text", False), ("audio", "image", True)):
        for direction in (f"{first}-{second}", f"{second}-{first}"):
            found = recall[direction]
            assert found["emergent"] is emergent
            assert 0 <= found["r1"] <= found["r5"] <= found["r10"] <= 1
            assert 1 <= found["median_rank"] <= found["gallery"]
    assert recall["image-text"]["chance10"] == pytest.approx(min(1, 10 / recall["image-text"]["gallery"]), abs=1e-4)


def test_emoji_asks_the_unknown_voice_for_the_training_names(emoji: dict[str, object]) -> None:
    recall, counts = emoji["recall"], emoji["counts"]
    assert isinstance(recall, dict)
    assert isinstance(counts, dict)
    known = counts["genesis"]["concepts"] + counts["submit"]["concepts"]
    assert recall["audio-text@unknown-voice-known-names"]["gallery"] == known
    assert recall["audio-text"]["gallery"] == counts["held-out"]["concepts"]


def test_training_takes_the_steps_that_were_asked_for_on_any_machine(emoji: dict[str, object]) -> None:
    assert emoji["steps"] == 12
    assert isinstance(emoji["cpu_seconds"], float)
    assert emoji["cpu_seconds"] > 0


def test_the_cached_set_serves_again_and_another_seed_splits_otherwise(cache: Path, emoji: dict[str, object]) -> None:
    folder = cache / "emoji-concepts-7"
    before = (folder / "card.json").stat().st_mtime_ns
    held_out = {pair.concept for pair in read_pairs(folder) if pair.split == "held-out"}
    for seed in (7, 8):
        make_emoji(
            cache / f"emoji-concepts-{seed}", **bench.describe_emoji(seed, "concepts", 60), cache=cache / "speech"
        )
    assert (folder / "card.json").stat().st_mtime_ns == before
    others = {pair.concept for pair in read_pairs(cache / "emoji-concepts-8") if pair.split == "held-out"}
    assert held_out != others


def test_held_out_material_that_was_trained_on_is_refused(cache: Path, emoji: dict[str, object]) -> None:
    pairs = read_trusted([cache / "emoji-concepts-7"], ["held-out"])
    with pytest.raises(RuntimeError, match="trained on"):
        bench.refuse_overlap(pairs[:1], pairs)


def test_digits_find_each_other_after_a_few_steps(cache: Path) -> None:
    file = cache / "digits.json"
    asked = ["--set", "digits", "--seed", "7", "--limit", "8", "--steps", "40"]
    assert bench.main([*asked, "--cache", str(cache), "--json", str(file), "--threads", "1"]) == 0
    recall = json.loads(file.read_text())["recall"]
    assert recall["text-image"]["r1"] > 0.5  # chance is 0.1
    assert recall["audio-image"]["emergent"] is True


def test_the_preset_without_a_sentence_encoder_learns_too_and_is_reported_apart(cache: Path, tmp_path: Path) -> None:
    asked = ["--set", "digits", "--seed", "7", "--limit", "8", "--steps", "40", "--preset", "tiny-scratch"]
    file = tmp_path / "embedding_digits_tiny-scratch_7.json"
    assert bench.main([*asked, "--cache", str(cache), "--json", str(file), "--threads", "1"]) == 0
    report = json.loads(file.read_text())
    assert report["recall"]["text-image"]["r1"] > 0.5  # chance is 0.1
    assert report["command"].endswith("--preset tiny-scratch")
    assert "digits, tiny-scratch: seeds 7" in bench.summarise(tmp_path)
    with pytest.raises(SystemExit):
        bench.main(["--set", "world", "--preset", "tiny-scratch"])


def test_summary_takes_medians_over_seeds(tmp_path: Path) -> None:
    for seed, share in ((1, 0.1), (2, 0.4), (3, 0.3)):
        one = {"r1": share, "r5": share, "r10": share, "median_rank": 3.0, "gallery": 10, "emergent": True}
        report = {
            "set": "emoji",
            "seed": seed,
            "cpu_seconds": 70.0 + seed,
            "steps": 390,
            "recall": {"audio-image": one},
        }
        (tmp_path / f"embedding_emoji_{seed}.json").write_text(json.dumps(report))
    table = bench.summarise(tmp_path)
    assert "seeds 1, 2, 3; 390, 390, 390 steps, at most 73.0 CPU-seconds" in table
    assert "| audio-image | 10 | 30.0 | 30.0 | 30.0 | 3 | 10.0 | yes |" in table


def test_summary_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no embedding_"):
        bench.summarise(tmp_path)
