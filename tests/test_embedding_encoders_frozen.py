"""Frozen and trained encoders, gradient checkpointing, and the presets as they are declared."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from curiosity.embedding.presets import PRESETS, Preset, TowerSpec, Weights, find_preset
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.towers.base import Tower
from curiosity.embedding.towers.blocks import AttentionBlock
from curiosity.embedding.towers.build import build_tower
from curiosity.protocol.errors import ConfigError
from tests.material.encoder import ALL, DIM, OWN, PUBLISHED, make_items

BIG = ("lightweight", "balanced", "high_capacity")
# Millions of parameters: those of the published encoders, and a projection.
_OWN = ("point_cloud", "touch", "pressure", "emg", "action")
SIZES = {
    "lightweight": {"text": 22.7, "image": 5.6, "audio": 68.7, "video": 22.0}
    | dict(zip(_OWN, (0.6, 0.9, 0.8, 0.9, 0.8), strict=True)),
    "balanced": {"text": 110.7, "image": 93.3, "audio": 86.6, "video": 86.6}
    | dict(zip(_OWN, (3.4, 4.9, 4.9, 5.1, 4.9), strict=True)),
    "high_capacity": {"text": 395.6, "image": 304.6, "audio": 316.2, "video": 304.7}
    | dict(zip(_OWN, (10.1, 14.6, 14.5, 14.8, 14.5), strict=True)),
}
NINE = {"text", "image", "audio", "video", "point_cloud", "touch", "pressure", "emg", "action"}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> EmbeddingSpace:
    """A space of three towers: one with dropout, one with batch-norm in its encoder, one of our own."""
    wave = PUBLISHED["wav2vec2-audio"]
    towers = {
        "audio": wave.spec,
        "image": TowerSpec("curiosity.embedding.towers.image:TinyImage", "tiny"),
        "action": OWN["action"].spec,
    }
    monkeypatch.setitem(PRESETS, "small", Preset("small", DIM, towers, "small/1"))
    return EmbeddingSpace("small")


def take_step(space: EmbeddingSpace) -> None:
    """One step of an optimiser over every modality, in training mode."""
    space.train()
    chosen = list(space.trainable_parameters())
    optimiser = torch.optim.AdamW(chosen, lr=0.1, weight_decay=0.1)
    for modality in space.modalities:
        features = space.prepare(modality, make_items(modality))
        out = space(modality, space.tower(modality).collate(features))
        (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(3))).sum().backward()
    optimiser.step()


@pytest.mark.parametrize("modality", ["audio", "image", "action"])
def test_a_frozen_encoder_stays_as_it_is_and_its_projection_learns(small: EmbeddingSpace, modality: str) -> None:
    small.freeze(modality)
    tower = small.tower(modality)
    before = {key: tensor.clone() for key, tensor in small.state_dict().items()}
    take_step(small)
    changed = {key for key, tensor in small.state_dict().items() if not torch.equal(tensor, before[key])}
    mine = {key for key in before if key.startswith(f"towers.{modality}.")}
    frozen = {key for key in mine if ".encoder." in key}
    assert not changed & frozen
    assert mine - frozen <= changed
    assert any(".encoder." in key and key not in frozen for key in changed), "the other encoders should have learned"
    assert tower.training
    assert not any(module.training for module in tower.get_submodule("encoder").modules())
    small.eval()
    small.train()
    assert not tower.get_submodule("encoder").training

    small.unfreeze(modality)
    assert tower.get_submodule("encoder").training
    take_step(small)
    assert any(not torch.equal(small.state_dict()[key], before[key]) for key in frozen)


def test_trainable_parameters_are_those_that_are_not_frozen(small: EmbeddingSpace) -> None:
    everything = set(small.parameters())
    assert set(small.trainable_parameters()) == everything
    small.freeze("audio")
    encoder = set(small.tower("audio").get_submodule("encoder").parameters())
    assert set(small.trainable_parameters()) == everything - encoder
    assert small.log_scale in set(small.trainable_parameters())


def test_frozen_weights_are_named_by_digest_when_they_are_not_stored(small: EmbeddingSpace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ENCODER_NOT_PUBLISHED"):
        small.freeze("audio", stored=False)
    tower = small.tower("audio")
    tower.weights = Weights(str(tmp_path), "MIT")
    stored = tower.frozen_sha256()
    small.freeze("audio")
    assert tower.frozen_sha256() == stored, "weights that a checkpoint carries need no name"
    small.freeze("audio", stored=False)
    named = tower.frozen_sha256()
    assert named not in (stored, "")
    with torch.no_grad():
        next(tower.get_submodule("projection").parameters()).add_(1)
    assert tower.frozen_sha256() == named
    with torch.no_grad():
        next(tower.get_submodule("encoder").parameters()).flatten()[0] += 1e-3
    assert tower.frozen_sha256() != named


def test_another_tokenizer_or_another_preprocessing_has_another_digest() -> None:
    text, same = (build_tower(PUBLISHED["bert-text"].spec, DIM) for _ in range(2))
    assert text.frozen_sha256() == same.frozen_sha256()
    same.tokenizer.add_tokens(["curiosity"])  # type: ignore[union-attr, operator]
    assert text.frozen_sha256() != same.frozen_sha256()
    one = PUBLISHED["vit-image"]
    brighter = TowerSpec(one.tower, "tiny", one.options | {"preprocessing": {"mean": [0.4, 0.5, 0.5]}})
    assert build_tower(one.spec, DIM).frozen_sha256() != build_tower(brighter, DIM).frozen_sha256()


def gradients(tower: Tower, modality: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(11)
    tower.zero_grad()
    out = tower(tower.collate([tower.prepare(item) for item in make_items(modality)]))
    (out * torch.randn(out.shape, generator=torch.Generator().manual_seed(3))).sum().backward()
    return {name: p.grad.clone() for name, p in tower.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", sorted(set(ALL) - {"clap-audio"}))
def test_gradient_checkpointing_computes_twice_and_changes_no_gradient(name: str) -> None:
    modality = ALL[name].modality
    torch.manual_seed(1)
    tower = build_tower(ALL[name].spec, DIM).train()
    kept = gradients(tower, modality)
    assert len(kept) > 10
    assert tower.enable_gradient_checkpointing()
    inner = _innermost(tower)
    runs = [0]
    handle = inner.register_forward_hook(lambda *_: runs.__setitem__(0, runs[0] + 1))
    again = gradients(tower, modality)
    in_training = runs[0]
    runs[0] = 0
    with torch.inference_mode():
        tower.eval()(tower.collate([tower.prepare(item) for item in make_items(modality)]))
    handle.remove()
    assert in_training == 2 * runs[0] > 0
    assert set(again) == set(kept)
    for key, grad in kept.items():
        torch.testing.assert_close(again[key], grad, rtol=1e-5, atol=1e-6)


def _innermost(tower: Tower) -> nn.Module:
    """A layer-norm or linear map inside a repeated block of the tower's encoder."""
    blocks = [one for one in tower.modules() if isinstance(one, AttentionBlock)]
    lists = [one for one in tower.get_submodule("encoder").modules() if isinstance(one, nn.ModuleList)]
    home = blocks[0] if blocks else [one[0] for one in lists if len(one) == 2][-1]
    return next(one for one in home.modules() if isinstance(one, nn.Linear))


def test_a_space_checkpoints_what_can_be(small: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    towers = {"audio": PUBLISHED["clap-audio"].spec, "image": PUBLISHED["vit-image"].spec, "action": OWN["action"].spec}
    monkeypatch.setitem(PRESETS, "small", Preset("small", DIM, towers, "small/1"))
    assert EmbeddingSpace("small").enable_gradient_checkpointing() == ("action", "image")


@pytest.mark.parametrize("preset", BIG)
def test_a_big_preset_has_every_modality_and_says_what_it_stands_on(preset: str) -> None:
    chosen = find_preset(preset)
    assert {"lightweight": 256, "balanced": 512, "high_capacity": 768}[preset] == chosen.dim
    assert set(chosen.towers) == NINE
    for modality, spec in chosen.towers.items():
        assert spec.encoder, modality
        if spec.weights is not None:
            assert spec.weights.is_permissive, spec.weights
            assert spec.weights.source.startswith("https://")
        assert all(not weights.is_permissive for weights in spec.opt_in), "opt-in is for what is not permissive"
        with torch.device("meta"):  # at full size, without the memory and time that the weights would take
            tower = build_tower(spec, chosen.dim)
        size = sum(p.numel() for p in tower.parameters()) / 1e6
        assert SIZES[preset][modality] == pytest.approx(size, abs=0.06), modality


@pytest.mark.parametrize(("preset", "modality"), [("lightweight", "image"), ("balanced", "emg")])
def test_a_full_size_tower_runs(preset: str, modality: str) -> None:
    space = EmbeddingSpace(preset, modalities=[modality])
    rows = space.embed(modality, make_items(modality)[:2])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert rows.shape == (2, space.dim)


def test_a_frozen_encoder_keeps_nothing_for_the_backward_pass() -> None:
    """Also under gradient checkpointing, where transformers would have token embeddings ask for gradients."""
    tower = build_tower(PUBLISHED["bert-text"].spec, DIM).train()
    tower.enable_gradient_checkpointing()
    tower.freeze()
    seen: list[torch.Tensor] = []
    tower.get_submodule("projection").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    out = tower(tower.collate([tower.prepare(item) for item in make_items("text")]))
    assert not seen[0].requires_grad
    assert out.requires_grad


def test_the_document_lists_every_weight_with_its_licence() -> None:
    text = (Path(__file__).parents[1] / "docs" / "encoders.md").read_text()
    rows = {tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in text.splitlines() if line.startswith("|")}
    wanted = set()
    for preset in PRESETS.values():
        for modality, spec in preset.towers.items():
            for weights in filter(None, (spec.weights, *spec.opt_in)):
                row = next(r for r in rows if r[:2] == (preset.name, modality) and r[2].startswith(f"[{weights.name}]"))
                assert f"({weights.source})" in row[2]
                assert row[3] == weights.licence
                assert (row[4] == "yes") == (weights is spec.weights and weights.is_permissive)
                wanted.add(row)
    assert {row for row in rows if row[0] in PRESETS} == wanted
