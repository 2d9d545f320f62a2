"""Masks: the same everywhere, complementary, and of the share that scoring says."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from curiosity.embedding.masks import hidden_units, mask_seed
from curiosity.embedding.modalities import decode, find
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.towers.base import hide_patches


def test_the_rule_is_pinned() -> None:
    """Numbers worked out once; another program that follows the docstring must find them too."""
    seed = mask_seed(b"beacon", bytes(32))
    assert seed == 0xCD5416B313289802977C53772E835D553FD8012EF1F531251F41B19C5E0BEA07
    assert np.flatnonzero(hidden_units(64, 0.15, seed, 2)).tolist() == [5, 11, 12, 18, 20, 21, 24, 36, 48, 58]
    assert np.flatnonzero(hidden_units(8, 0.5, 7, 0)).tolist() == [2, 3, 4, 6]


@example(8, 1.0, 0, 0)
@example(1, 1.0, 0, 0)
@given(st.integers(0, 200), st.floats(0, 1), st.integers(0, 2**256 - 1), st.integers(0, 100))
def test_hidden_count_is_the_share_and_never_everything(units: int, share: float, seed: int, k: int) -> None:
    hidden = hidden_units(units, share, seed, k)
    assert hidden.shape == (units,)
    if units:
        assert hidden.sum() == min(max(1, round(share * units)), max(1, units - 1))


def test_masks_differ_by_item_beacon_and_number() -> None:
    seeds = {mask_seed(b, i) for b in (b"one", b"two") for i in (bytes(32), bytes([1] * 32))}
    masks = {hidden_units(64, 0.85, seed, k).tobytes() for seed in seeds for k in range(4)}
    assert len(seeds) == 4
    assert len(masks) == 16


def test_halves_add_up_to_the_whole() -> None:
    grid = np.random.default_rng(0).normal(size=(3, 32, 32)).astype(np.float32)
    hidden = hidden_units(64, 0.85, 3, 1)
    visible, rest = hide_patches(grid, hidden, 4), hide_patches(grid, ~hidden, 4)
    np.testing.assert_array_equal(visible + rest, grid)
    assert (visible * rest == 0).all()
    assert (visible == 0).mean() == pytest.approx(54 / 64)


@pytest.mark.parametrize(
    ("modality", "data", "media_type"), [("text", b"a small red apple on the old table", "text/plain")]
)
def test_text_halves_share_no_word(modality: str, data: bytes, media_type: str) -> None:
    space = EmbeddingSpace("tiny", modalities=[modality])
    features = space.prepare(modality, [decode(modality, data, media_type)])
    visible, rest = space.halves(modality, features, [5], 1)
    both = np.concatenate([visible, rest])
    np.testing.assert_array_equal(both[np.argsort(both[:, 1])], features[0])
    assert len(rest) == round(find(modality).mask_share * len(features[0]))
