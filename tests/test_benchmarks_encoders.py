"""The command that measures towers: it runs, checks before it times, and keeps what it measured."""

import json
from pathlib import Path

import pytest

import benchmarks.encoders
from benchmarks.encoders import main


def test_a_tower_is_measured_and_measured_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "results" / "encoders.json"
    arguments = ["--preset", "tiny", "--modality", "action", "--repeats", "2", "--json", str(file)]
    assert main(arguments) == 0
    assert main([*arguments, "--modality", "point_cloud"]) == 0
    rows = json.loads(file.read_text())
    assert [row["modality"] for row in rows] == ["action", "point_cloud"]
    action = rows[0]
    assert action["million_parameters"] == pytest.approx(0.16, abs=0.05)
    assert action["bare_ms"] > 0
    assert 0 <= action["apart"] < 1e-5
    assert action["forward_ms"] > 0.5 * action["bare_ms"]
    assert "ratio" not in rows[1], "a tower that stands on no class has nothing to be compared with"
    assert "| tiny | action |" in capsys.readouterr().out


def test_a_tower_whose_embeddings_depend_on_their_batch_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmarks.encoders, "MAX_APART", -1.0)
    with pytest.raises(RuntimeError, match="tiny action: alone and in a batch are"):
        main(["--preset", "tiny", "--modality", "action"])
