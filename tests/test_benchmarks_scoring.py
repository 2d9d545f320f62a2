"""The scoring benchmark measures what it says on any split, and its numbers are those of plain loops."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.scoring import Material, measure, rank_correlation, summarise, to_markdown
from curiosity.embedding.space import EmbeddingSpace
from curiosity.protocol.scoring import quantise
from tests.material.evaluation import make_set
from trainer.calibrate import calibrate
from trainer.library import Library
from trainer.null import LEFT_OUT, TRAINED
from trainer.null_gate import measure_null_gate, summarise_null_gate
from trainer.recipe import Recipe


def test_rank_correlation_is_spearmans() -> None:
    assert rank_correlation([1, 2, 3, 4], [10, 20, 30, 50]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3, 4], [9, 5, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2, 3, 4], [5, 5, 5, 5]) == 0
    # By hand: ranks 1, 2.5, 2.5, 4 and 1, 3, 2, 4.
    a, b = np.array([1, 2.5, 2.5, 4]), np.array([1.0, 3, 2, 4])
    assert rank_correlation([0, 7, 7, 9], [-3, 2, 1, 8]) == pytest.approx(float(np.corrcoef(a, b)[0, 1]))


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    torch.set_num_threads(1)
    chain = ["audio", "text"], ["image", "text"]
    pairs = {
        split: [pair for names in chain for pair in make_set(names, count, 1, split=split, seed=seed)]
        for split, count, seed in (("genesis", 14, 1), ("calibration", 12, 2), ("held-out", 12, 3))
    }
    material = Material(
        pairs["genesis"], [*pairs["genesis"], *pairs["calibration"]], pairs["held-out"], {"digest": "ab"}
    )
    return measure(material, Recipe(steps=20, batch=6, junk_each=4, junk_pool=3, seed=3), junk_each=5)


def test_a_run_reports_checkpoints_gates_and_recall(report: dict[str, Any]) -> None:
    differential = report["differential"]
    assert [row["step"] for row in differential["checkpoints"]] == [8, 20]
    assert differential["constant"] == {"audio": 1.0, "image": 1.0, "text": 1.0}
    assert min(differential["untrained"].values()) > 0.95
    assert differential["untrained"] != differential["checkpoints"][0]["loss"]
    names = ("audio", "image", "text")
    assert set(report["null"]) == {f"{a}>{b}" for a in names for b in names if a != b}
    for gate, families in report["null"].items():
        modality = gate.split(">")[0]
        wanted = {f"trained: {f}" for f in TRAINED[modality]} | {f"left out: {f}" for f in LEFT_OUT[modality]}
        assert set(families) == wanted | {"honest"}
    assert "audio-image" in report["recall"]
    text = to_markdown(report)
    assert "| constant | 1.000000 |" in text
    assert "trained: shuffled-patches" in text


def test_medians_are_over_seeds(report: dict[str, Any], tmp_path: Path) -> None:
    for seed, share in ((1, 0.0), (2, 0.02), (3, 0.5)):
        copy = json.loads(json.dumps(report)) | {"seed": seed}
        copy["null"]["image>text"]["trained: noise"] = share
        (tmp_path / f"scoring_{seed}.json").write_text(json.dumps(copy))
    table = summarise(tmp_path)
    assert "Seeds 1, 2, 3" in table
    (row,) = [line for line in table.splitlines() if line.startswith("| trained: noise")]
    assert "2.0%" in row
    with pytest.raises(ValueError, match="scoring_"):
        summarise(tmp_path / "empty")


def test_the_gate_counts_what_passes() -> None:
    space = EmbeddingSpace("tiny", modalities=["image", "text"])
    pairs = make_set(["image", "text"], 12, 1, split="calibration")
    calibration, anchors = calibrate(space, pairs)
    library = Library(space)
    library.add(pairs)
    honest = {m: quantise(space.embed_features(m, library.features[m])) for m in ("image", "text")}
    figures = measure_null_gate(space, calibration, anchors, honest, library.kept, junk_each=4, seed=1)
    assert figures["image>text"]["honest"] == 1  # the gate is that of these very items
    shut = calibration.null_max_micro | {"image>text": -1_000_001, "text>image": 1_000_000}
    closed = measure_null_gate(
        space, replace(calibration, null_max_micro=shut), anchors, honest, library.kept, junk_each=4, seed=1
    )
    assert set(closed["image>text"].values()) == {0.0}
    assert set(closed["text>image"].values()) == {1.0}
    worst = summarise_null_gate(closed)
    assert worst["honest"] == {"share": 1.0, "gate": "image>text", "family": "honest"}
    assert worst["trained"]["gate"] == "text>image"
    assert measure_null_gate(space, calibration, anchors, {}, library.kept, junk_each=4, seed=1) == {}
