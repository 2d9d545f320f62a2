"""One space: batches change nothing, new modalities change nothing, and the differential loss tells training apart."""

import numpy as np
import pytest
import torch

import curiosity.embedding.presets
from curiosity.embedding.checkpoint import GENESIS, load
from curiosity.embedding.masks import mask_seed
from curiosity.embedding.modality import Array
from curiosity.embedding.presets import Preset, TowerSpec
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.towers.text import MiniLmText, ScratchText
from curiosity.embedding.weights import read_space
from curiosity.protocol.errors import CheckpointError, ConfigError, Rejected
from curiosity.protocol.scoring import differential_loss_micro, quantise
from tests.material.evaluation import Constant
from trainer.null import LEFT_OUT, TRAINED, make_junk

WORDS = (
    "red",
    "green",
    "apple",
    "face",
    "smiling",
    "dog",
    "cat",
    "tree",
    "water",
    "fire",
    "house",
    "hand",
    "old",
    "new",
)


def make_items(modality: str, count: int, seed: int = 0) -> list[Array]:
    """Decoded items with structure: blobs of colour, gliding tones, short phrases."""
    rng = np.random.default_rng(seed)
    items: list[Array] = []
    for _ in range(count):
        if modality == "text":
            items.append(np.frombuffer(" ".join(rng.choice(WORDS, int(rng.integers(1, 6)))).encode(), dtype=np.uint8))
        elif modality == "image":
            coarse = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            items.append(coarse.repeat(int(rng.integers(6, 16)), axis=0).repeat(int(rng.integers(6, 16)), axis=1))
        else:
            time = np.arange(int(rng.integers(3_000, 30_000))) / 16_000
            glide = sum(np.sin(2 * np.pi * (f + 300 * time) * time) for f in rng.uniform(100, 3_000, 3))
            items.append((0.2 * glide).astype(np.float32))
    return items


@pytest.fixture(scope="module", params=["tiny", "tiny-scratch"])
def space(request: pytest.FixtureRequest) -> EmbeddingSpace:
    torch.set_num_threads(1)
    return EmbeddingSpace(request.param, seed=1)


@pytest.mark.parametrize("modality", ["text", "image", "audio"])
def test_alone_or_in_a_batch_the_embedding_is_the_same(space: EmbeddingSpace, modality: str) -> None:
    items = make_items(modality, 33)
    together = space.embed(modality, items)
    assert together.dtype == np.float32
    assert together.shape == (33, space.dim)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    alone = np.concatenate([space.embed(modality, [item]) for item in items])
    shuffled = space.embed(modality, items[::-1])[::-1]
    assert max(np.abs(alone - together).max(), np.abs(shuffled - together).max()) < 1e-6


def test_frozen_outputs_do_not_depend_on_the_cache() -> None:
    from curiosity.embedding.towers import text

    space, items = EmbeddingSpace("tiny", modalities=["text"]), make_items("text", 20, seed=9)
    first = space.embed("text", items)
    text._frozen()._known.clear()
    assert np.abs(space.embed("text", items[::-1])[::-1] - first).max() < 1e-6


def test_training_mode_is_left_as_it_was(space: EmbeddingSpace) -> None:
    space.train()
    space.embed("image", make_items("image", 3))
    assert space.training
    assert space.tower("image").training
    space.eval()


@pytest.mark.parametrize("modality", ["text", "image", "audio"])
def test_measure_gives_what_the_judge_needs(space: EmbeddingSpace, modality: str) -> None:
    items = make_items(modality, 5)
    seeds = [mask_seed(b"beacon", bytes([i] * 32)) for i in range(5)]
    measured = space.measure(modality, items, seeds, masks=3)
    assert (measured.whole.shape, measured.masked.shape) == ((5, space.dim), (space.dim,))
    assert measured.halves.shape == (5, 3, 2, space.dim)
    assert measured.whole.dtype == measured.masked.dtype == measured.halves.dtype == np.int16
    # One unit: where float noise of the batch crosses a rounding edge.
    assert np.abs(measured.whole.astype(int) - quantise(space.embed(modality, items))).max() <= 1
    assert np.abs(measured.masked.astype(int) - quantise(space.embed_empty(modality))).max() <= 1
    halves = quantise(space.embed_masked(modality, items, seeds, masks=3))
    assert np.abs(measured.halves.astype(int) - halves).max() <= 1
    one = space.measure(modality, items[2:3], seeds[2:3], masks=3)
    assert np.abs(one.halves[0].astype(int) - measured.halves[2]).max() <= 1


def test_an_empty_batch_is_measured(space: EmbeddingSpace) -> None:
    assert space.measure("text", [], []).whole.shape == (0, space.dim)


def test_what_breaks_the_contract_is_refused(space: EmbeddingSpace) -> None:
    with pytest.raises(Rejected, match="ARRAY_NOT_IN_CONTRACT"):
        space.measure("image", [np.zeros((4, 4, 3), dtype=np.float32)], [0])


def test_one_more_modality_leaves_the_others_bit_identical() -> None:
    two, three = EmbeddingSpace("tiny", modalities=["audio", "image"]), EmbeddingSpace("tiny")
    grown = EmbeddingSpace("tiny", modalities=["audio", "image"])
    grown.register("text")
    for modality in ("audio", "image"):
        items = make_items(modality, 7)
        expected = two.embed(modality, items)
        np.testing.assert_array_equal(three.embed(modality, items), expected)
        np.testing.assert_array_equal(grown.embed(modality, items), expected)


def test_other_seeds_give_other_weights() -> None:
    one, other = (EmbeddingSpace("tiny", seed=s, modalities=["image"]) for s in (1, 2))
    items = make_items("image", 2)
    assert np.abs(one.embed("image", items) - other.embed("image", items)).max() > 1e-3


def test_what_is_not_registered_is_named() -> None:
    with pytest.raises(ConfigError, match="PRESET_UNKNOWN"):
        EmbeddingSpace("huge")
    with pytest.raises(ConfigError, match="MODALITY_NOT_IN_PRESET"):
        EmbeddingSpace("tiny", modalities=["smell"])
    with pytest.raises(ConfigError, match="MODALITY_NOT_REGISTERED"):
        EmbeddingSpace("tiny", modalities=["image"]).embed("text", make_items("text", 1))


def test_without_its_package_the_text_tower_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curiosity.embedding.towers.text.MINILM_PACKAGE", "no_such_package_is_installed")
    with pytest.raises(CheckpointError, match="tiny-scratch"):
        MiniLmText(8)
    assert ScratchText(8).frozen_sha256() == ""


@pytest.mark.parametrize("modality", ["text", "image", "audio"])
def test_every_junk_family_makes_items_that_meet_the_contract(modality: str) -> None:
    space, real = EmbeddingSpace("tiny", modalities=[modality]), make_items(modality, 4)
    assert not set(TRAINED[modality]) & set(LEFT_OUT[modality])
    for make in (TRAINED[modality] | LEFT_OUT[modality]).values():
        junk = make_junk(make, 3, 5, real)
        assert space.embed(modality, junk).shape == (3, space.dim)
        assert [j.tobytes() for j in junk] == [j.tobytes() for j in make_junk(make, 3, 5, real)]


def median_loss(space: EmbeddingSpace, modality: str) -> float:
    """Median differential loss of 24 items among 64 references, as a share of 1."""
    references = quantise(space.embed(modality, make_items(modality, 64, seed=1)))
    items = make_items(modality, 24, seed=2)
    measured = space.measure(modality, items, [mask_seed(b"test", bytes([i] * 32)) for i in range(24)])
    losses = [
        differential_loss_micro(whole, measured.masked, halves, references)
        for whole, halves in zip(measured.whole, measured.halves, strict=True)
    ]
    return float(np.median(losses)) / 1e6


@pytest.mark.parametrize("modality", ["text", "image", "audio"])
def test_differential_loss_is_one_for_a_constant_encoder_and_falls_with_training(
    modality: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = EmbeddingSpace("tiny", seed=3)
    untrained = median_loss(space, modality)
    trained = median_loss(read_space(load(GENESIS)), modality)
    monkeypatch.setattr(space.tower(modality), "forward", Constant().forward)
    assert median_loss(space, modality) == 1.0
    assert untrained >= 0.95
    # These items are tones and noise, much of which a trained space draws to the empty item: speech falls to 0.45.
    assert trained < untrained - 0.1


def test_an_untrained_text_tower_from_scratch_says_nothing_either() -> None:
    assert median_loss(EmbeddingSpace("tiny-scratch", seed=3), "text") >= 0.95


def test_a_preset_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    own = Preset("own", 16, {"text": TowerSpec("curiosity.embedding.towers.text:ScratchText", "n-grams")}, "own/1")
    monkeypatch.setitem(curiosity.embedding.presets.PRESETS, "own", own)
    assert EmbeddingSpace("own").embed("text", make_items("text", 2)).shape == (2, 16)
