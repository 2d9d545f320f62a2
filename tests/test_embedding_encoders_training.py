"""Big towers in the trainer's step and in checkpoints."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from curiosity.embedding.checkpoint import load
from curiosity.embedding.presets import PRESETS, Preset, TowerSpec
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.weights import encode_weights, fill_weights, halve_weights, name_unstored, read_space
from curiosity.protocol.errors import CheckpointError
from tests.material.encoder import ALL, DIM, OWN, PUBLISHED, make_items
from tests.material.own_checkpoint import make
from trainer.library import Stream
from trainer.material import StepMaterial
from trainer.recipe import Recipe
from trainer.step import Step, draw

RECIPE = Recipe(batch=8, junk_each=2, null_weight=0.3, augment=True)


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> EmbeddingSpace:
    """Text and pictures by SigLIP, video by VideoMAE, actions by our own, sound by the tiny convolutions."""
    chosen = {"text": "siglip-text", "image": "siglip-image", "video": "videomae-video", "action": "action"}
    towers = {modality: ALL[name].spec for modality, name in chosen.items()}
    towers["audio"] = TowerSpec("curiosity.embedding.towers.audio:TinyAudio", "tiny")
    monkeypatch.setitem(PRESETS, "small", Preset("small", DIM, towers, "small/1"))
    return EmbeddingSpace("small")


STREAMS = [
    Stream(a, b, np.arange(8), np.arange(8), np.full(8, 1 / 8))
    for a, b in (("image", "text"), ("action", "video"), ("audio", "text"))
]


def gather(space: EmbeddingSpace) -> StepMaterial:
    def collate(modality: str, seed: int) -> torch.Tensor:
        items = [item for at in range(4) for item in make_items(modality, seed + at)[:2]]
        return space.tower(modality).collate(space.prepare(modality, items))

    return StepMaterial(
        inputs={name: collate(name, 0) for name in space.modalities},
        junk={name: collate(name, 50) for name in space.modalities},
        empty={name: space.tower(name).collate([space.tower(name).empty()]) for name in space.modalities},
    )


def train(space: EmbeddingSpace, recipe: Recipe, steps: int) -> list[float]:
    step, rng = Step(space, STREAMS, gather(space), recipe), np.random.default_rng(0)
    optimiser = torch.optim.AdamW(step.parameter_groups(), lr=3e-3)
    space.train()
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        losses.append(float(step.backward(draw(STREAMS, recipe.batch, rng), rng)))
        optimiser.step()
        step.clamp()
    return losses


def test_the_trainer_teaches_big_towers_and_leaves_frozen_ones(space: EmbeddingSpace) -> None:
    space.freeze("image")
    space.freeze("audio")  # batch-norm: its statistics must stay too
    space.enable_gradient_checkpointing()
    before = {key: tensor.clone() for key, tensor in space.state_dict().items()}
    losses = train(space, RECIPE, 24)
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    frozen = ("towers.image.encoder.", "towers.audio.encoder.")
    for key, tensor in space.state_dict().items():
        if key.startswith(frozen):
            assert torch.equal(tensor, before[key]), key
    changed = {key for key, tensor in space.state_dict().items() if not torch.equal(tensor, before[key])}
    for name in ("text", "video", "action"):
        assert any(key.startswith(f"towers.{name}.encoder.") for key in changed), name


def test_chunks_of_a_batch_give_the_gradients_of_the_whole(space: EmbeddingSpace) -> None:
    space.freeze("audio")
    material, grads = gather(space), []
    for recipe in (RECIPE, replace(RECIPE, chunk=3)):
        space.zero_grad()
        rng = np.random.default_rng(0)
        Step(space, STREAMS, material, recipe).backward(draw(STREAMS, 8, rng), rng)
        grads.append({name: p.grad.clone() for name, p in space.named_parameters() if p.grad is not None})
    assert set(grads[0]) == set(grads[1])
    for name, grad in grads[0].items():
        torch.testing.assert_close(grads[1][name], grad, rtol=1e-3, atol=2e-5)


def test_mixed_precision_trains_too(space: EmbeddingSpace) -> None:
    step, rng = Step(space, STREAMS, gather(space), RECIPE, precision=torch.bfloat16), np.random.default_rng(0)
    loss = step.backward(draw(STREAMS, 8, rng), rng)
    rng = np.random.default_rng(0)
    plain = Step(space, STREAMS, gather(space), RECIPE).backward(draw(STREAMS, 8, rng), rng)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(float(plain), rel=0.1)


@pytest.mark.parametrize("name", sorted(ALL))
def test_every_tower_comes_back_from_a_checkpoint(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    modality = ALL[name].modality
    monkeypatch.setitem(PRESETS, "one", Preset("one", DIM, {modality: ALL[name].spec}, "one/1"))
    space = EmbeddingSpace("one", seed=3)
    (tmp_path / "model.safetensors").write_bytes(encode_weights(space))
    other = EmbeddingSpace("one", seed=4)
    items = make_items(modality)
    want = space.embed(modality, items)
    assert np.abs(other.embed(modality, items) - want).max() > 1e-4
    np.testing.assert_array_equal(fill_weights(other, tmp_path / "model.safetensors").embed(modality, items), want)


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The preset ``published`` and a folder of weights for its texts, tokenizer and all."""
    from tests.material.pretrained import publish

    publish("bert-text", tmp_path / "bert")
    towers = {"text": PUBLISHED["bert-text"].spec, "action": OWN["action"].spec}
    monkeypatch.setitem(PRESETS, "published", Preset("published", DIM, towers, "published/1"))
    return tmp_path / "bert"


def use_capitals(folder: Path) -> None:
    """Give the folder a tokenizer that tells capitals from small letters."""
    plain = json.loads((folder / "tokenizer.json").read_text())
    plain["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(plain))


def test_a_frozen_encoder_is_left_out_of_a_checkpoint_and_found_again(published: Path, tmp_path: Path) -> None:
    space = EmbeddingSpace("published", pretrained={"text": published})
    whole = len(encode_weights(space))
    space.freeze("text", stored=False)
    named = space.tower("text").frozen_sha256()
    halve_weights(space)
    assert space.tower("text").frozen_sha256() == named, "rounding must not touch what a checkpoint only names"
    fields = {
        "frozen": {"text": named},
        "data": {"unstored": name_unstored(space)},
        "licenses": space.licenses(),
    }
    made = make(tmp_path / "checkpoint", space, **fields)
    assert len(encode_weights(space)) < whole / 2
    read = read_space(load(made.path), pretrained={"text": published})
    for modality in ("text", "action"):
        items = make_items(modality)
        np.testing.assert_array_equal(read.embed(modality, items), space.embed(modality, items))
    with pytest.raises(CheckpointError, match="FROZEN_TOWER_MISSING"):
        read_space(made)
    other = shutil.copytree(published, tmp_path / "other")
    use_capitals(other)
    with pytest.raises(CheckpointError, match="FROZEN_TOWER_DIFFERS"):
        read_space(load(made.path), pretrained={"text": other})


def test_a_stored_encoder_with_a_tokenizer_of_its_own_asks_for_it(published: Path, tmp_path: Path) -> None:
    use_capitals(published)
    space = EmbeddingSpace("published", pretrained={"text": published})
    made = make(tmp_path / "checkpoint", space, frozen={"text": space.tower("text").frozen_sha256()})
    with pytest.raises(CheckpointError, match=r"FROZEN_TOWER_DIFFERS.*pretrained"):
        read_space(made)
    read = read_space(made, pretrained={"text": published})
    np.testing.assert_array_equal(read.embed("text", make_items("text")), space.embed("text", make_items("text")))
