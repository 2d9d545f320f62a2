"""A genesis from published weights: the path of ``trainer genesis --pretrained``, on small ones in the hub's layout."""

import json
import shutil
from pathlib import Path

import huggingface_hub.constants
import pytest
from click.testing import CliRunner

from curiosity.embedding.checkpoint import MODEL, load
from curiosity.embedding.presets import PRESETS, Preset, Weights
from curiosity.embedding.tower_spec import TowerSpec
from curiosity.embedding.weights import read_space
from curiosity.protocol.errors import CheckpointError, SourceError
from tests.material.encoder import DIM, PUBLISHED
from tests.material.evaluation import make_set, write_set
from tests.material.pretrained import publish
from trainer.genesis import genesis
from trainer.operating_figures import report

pytestmark = pytest.mark.usefixtures("one_thread")
REVISION = "0123456789abcdef0123456789abcdef01234567"
TOWERS = {"text": "siglip-text", "image": "siglip-image", "audio": "ast-audio"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache with small weights, and a preset that names them; nothing is asked of the network."""
    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    towers = {}
    for modality, name in TOWERS.items():
        home = cache / f"models--small--{name}"
        publish(name, home / "snapshots" / REVISION)
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text(REVISION)
        spec = PUBLISHED[name].spec
        towers[modality] = TowerSpec(spec.tower, "tiny", spec.options, Weights(f"small/{name}", "Apache-2.0"))
    monkeypatch.setitem(PRESETS, "small-hub", Preset("small-hub", DIM, towers, "small-hub/1"))
    return cache


def test_one_command_makes_a_genesis_from_published_weights(
    hub: Path, all_digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--pairs", str(all_digits), "--preset", "small-hub", "--steps", "3", "--pretrained", "--threads", "1"]
    done = CliRunner().invoke(genesis, [*options, "--out", str(tmp_path / "made")], standalone_mode=False)
    assert done.exception is None
    made = load(tmp_path / "made")
    manifest = made.manifest
    assert manifest.data["unstored"] == {modality: f"small/{name}" for modality, name in TOWERS.items()}
    assert set(manifest.frozen) == set(TOWERS)
    told = "image encoder from small/siglip-image (frozen, not stored here)"
    assert manifest.licenses[told] == "Apache-2.0"
    weights = sum(file.stat().st_size for file in hub.rglob("model.safetensors"))
    assert (made.path / MODEL).stat().st_size < weights / 20
    assert "--pretrained" in (made.path / "README.md").read_text()
    monkeypatch.setattr("trainer.operating_figures.ALPHAS_MICRO", ())
    figures = report(made, [all_digits])  # read again from the hub's cache, and the scoring tables printed
    assert set(figures["own"]) >= {"image-text", "audio-text"}
    config = hub / "models--small--siglip-image/snapshots" / REVISION / "preprocessor_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"image_mean": [0.5, 0.5, 0.5]}))
    with pytest.raises(CheckpointError, match="FROZEN_TOWER_DIFFERS"):
        read_space(made)
    shutil.rmtree(hub)
    with pytest.raises(CheckpointError, match="FROZEN_TOWER_MISSING"):
        read_space(made)


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (["held-out"], "0 pairs to learn from"),
        (["calibration"], "the 1 pair sets have calibration"),
        (["genesis", "calibration"], "2 unseen trusted pairs are too few for alpha"),
    ],
)
def test_a_genesis_of_too_few_pairs_says_which_are_missing(tmp_path: Path, splits: list[str], said: str) -> None:
    pairs = [pair for split in splits for pair in make_set(["image", "text"], 2, 1, split=split)]
    write_set(tmp_path / "set", pairs)
    options = ["--pairs", str(tmp_path / "set"), "--preset", "tiny-scratch", "--steps", "1", "--junk-pool", "2"]
    with pytest.raises(SourceError, match="GENESIS_PAIRS") as caught:
        genesis.main([*options, "--threads", "1", "--out", str(tmp_path / "made")], standalone_mode=False)
    assert said in str(caught.value)
    assert not (tmp_path / "made").exists()
