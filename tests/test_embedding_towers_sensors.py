"""The tiny towers of the six sensor modalities: batches, halves, lengths, order of points; and their junk."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from curiosity.embedding.masks import hidden_units
from curiosity.embedding.modalities import find
from curiosity.embedding.modality import Array, check_contract
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.towers.sensors import fit_patches
from curiosity.embedding.towers.video import TinyVideo
from trainer.null import LEFT_OUT, TRAINED, make_junk

SENSORS = ("action", "emg", "point_cloud", "pressure", "touch", "video")


def _items(modality: str, count: int = 6) -> list[Array]:
    """Items of different lengths that meet the modality's contract."""
    rng = np.random.default_rng(3)
    out: list[Array] = []
    for number in range(count):
        steps = (2, 17, 32, 33, 90, 400)[number % 6]
        if modality == "action":
            one = np.cumsum(rng.normal(0, 0.01, (steps, 7)), axis=0).clip(-1, 1)
            one[:, 6] = np.abs(one[:, 6])
        elif modality == "emg":
            one = rng.normal(0, 100, (8, 50 * steps))
        elif modality == "pressure":
            one = rng.normal(3, 1, 50 * steps)
        elif modality == "touch":
            one = rng.gamma(0.3, 10, (steps, 2, 16, 16))
        elif modality == "point_cloud":
            one = rng.normal(0, 0.1, (16 + 3 * steps, 3))
        else:
            return [
                rng.integers(0, 256, (t, h, w, 3), dtype=np.uint8)
                for t, h, w in ((2, 8, 8), (16, 64, 64), (40, 48, 90))
            ]
        out.append(one.astype(np.float32))
    return out


@pytest.fixture(scope="module")
def space() -> EmbeddingSpace:
    """Towers whose batch-norm has seen a batch, as after training."""
    made = EmbeddingSpace("tiny", seed=5, modalities=SENSORS)
    made.train()
    with torch.no_grad():
        for name in SENSORS:
            made(name, made.tower(name).collate(made.prepare(name, _items(name))))
    return made.eval()


@pytest.mark.parametrize("modality", SENSORS)
def test_an_item_is_embedded_the_same_alone_and_in_a_batch(space: EmbeddingSpace, modality: str) -> None:
    items = _items(modality)
    for item in items:
        check_contract(find(modality), item)
    together = space.embed(modality, items)
    alone = np.concatenate([space.embed(modality, [item]) for item in items])
    assert np.abs(together - alone).max() < 1e-6
    assert np.abs(together[0] - together[1]).max() > 1e-3  # the items do differ
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("modality", SENSORS)
def test_two_halves_have_each_unit_once_and_all_hidden_is_empty(space: EmbeddingSpace, modality: str) -> None:
    tower, share = space.tower(modality), find(modality).mask_share
    for features in space.prepare(modality, _items(modality)):
        before = features.copy()
        units = tower.units(features)
        hidden = hidden_units(units, share, 11, 0)
        seen, rest = tower.hide(features, hidden), tower.hide(features, ~hidden)
        both = (seen != 0) & (rest != 0)
        if modality == "touch":
            both = both[:, :-1]  # that there is a time step is no unit
        assert not both.any()
        np.testing.assert_array_equal(np.where(seen != 0, seen, rest), features)
        assert not np.array_equal(seen, features)
        np.testing.assert_array_equal(features, before)  # hiding changes a copy
        if modality != "touch":
            np.testing.assert_array_equal(tower.hide(features, np.ones(units, dtype=np.bool_)), tower.empty())


def test_the_order_of_points_changes_nothing(space: EmbeddingSpace) -> None:
    rng = np.random.default_rng(0)
    for cloud in _items("point_cloud"):
        turned = space.embed("point_cloud", [cloud[rng.permutation(len(cloud))] for _ in range(4)])
        assert np.abs(turned - space.embed("point_cloud", [cloud])).max() < 1e-6
    # Within one item's 256 points the network itself does not look at the order of groups, nor within groups.
    tower = space.tower("point_cloud")
    features = space.prepare("point_cloud", _items("point_cloud")[-1:])[0]
    groups = features.reshape(32, 8, 4)[rng.permutation(32)][:, rng.permutation(8)].reshape(256, 4)
    with torch.inference_mode():
        out = tower(tower.collate([features, np.ascontiguousarray(groups, dtype=np.float32)]))
    assert float((out[0] - out[1]).abs().max()) < 1e-5


def test_a_moved_cloud_is_another_cloud(space: EmbeddingSpace) -> None:
    """Where things are is what actions share with clouds."""
    cloud = _items("point_cloud")[-1]
    near, far = space.embed("point_cloud", [cloud, cloud + np.array([0.05, 0, 0], dtype=np.float32)])
    assert float(near @ far) < 0.999


def test_a_longer_signal_keeps_its_end_and_a_shorter_one_says_where_it_ends() -> None:
    values = np.arange(10, dtype=np.float32)[:, None]
    short, long = fit_patches(values[:3], 5), fit_patches(values, 5)
    np.testing.assert_array_equal(short, [[0, 1], [1, 1], [2, 1], [0, 0], [0, 0]])
    np.testing.assert_allclose(long[:, 0], [0.5, 2.5, 4.5, 6.5, 8.5])
    # Lengths that do not divide: every value counts for as long as it lasted.
    assert fit_patches(values[:7], 5)[:, 0].mean() == pytest.approx(3.0)


def test_a_video_of_any_size_and_length_becomes_eight_slices() -> None:
    tower = TinyVideo(16)
    wide = np.full((5, 20, 60, 3), 255, dtype=np.uint8)
    features = tower.prepare(wide)
    assert features.shape == (16, 32, 32, 3)
    assert features[:, 16, 16].min() == 1.0  # the picture
    assert np.abs(features[:, 0]).max() == 0.0  # mid-grey above it
    blink = np.zeros((16, 32, 32, 3), dtype=np.uint8)
    blink[1::2] = 255
    pixels = tower.collate([tower.prepare(blink)])[0, :, : 32 * 32 * 4].reshape(8, 32, 32, 4)
    assert pixels[..., 3].min() == 2.0  # every slice gets brighter
    assert pixels[..., :3].abs().max() == 0.0


def test_a_small_light_is_seen_wherever_it_is() -> None:
    tower = TinyVideo(16)

    def colours(row: int, column: int) -> npt.NDArray[np.float32]:
        video = np.zeros((16, 32, 32, 3), dtype=np.uint8)
        video[5, row : row + 2, column : column + 2] = (0, 255, 255)
        frames: npt.NDArray[np.float32] = tower.collate([tower.prepare(video)])[0, :, 32 * 32 * 4 :].numpy()
        return frames.reshape(16, 2, 8)  # mean and most of the eight corners, red slowest

    here, there = colours(3, 4), colours(20, 27)
    assert np.array_equal(here, there)
    assert here[5, 1, 0b011] == 1.0  # pure cyan somewhere in that frame
    assert here[5, 0, 0b011] == pytest.approx(4 / 1024)
    assert np.delete(here[:, 1, 0b011], 5).max() == 0.0


@pytest.mark.parametrize("modality", SENSORS)
def test_training_changes_are_seeded_small_and_keep_what_is_not_there(space: EmbeddingSpace, modality: str) -> None:
    tower = space.tower(modality)
    inputs = tower.collate(space.prepare(modality, _items(modality)))
    first, again, other = (tower.augment(inputs, seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == inputs.shape
    assert first.isfinite().all()
    assert float((first - inputs).abs().median()) < 0.1
    if modality not in ("video",):
        assert not first[..., -1][inputs[..., -1] == 0].any()


@pytest.mark.parametrize("modality", SENSORS)
def test_junk_meets_the_contract_and_families_are_trained_or_left_out(space: EmbeddingSpace, modality: str) -> None:
    assert len(TRAINED[modality]) >= 3
    assert LEFT_OUT[modality]
    assert not set(TRAINED[modality]) & set(LEFT_OUT[modality])
    real = _items(modality)
    for families in (TRAINED[modality], LEFT_OUT[modality]):
        for make in families.values():
            junk = make_junk(make, 4, 7, real)
            for one, same in zip(junk, make_junk(make, 4, 7, real), strict=True):
                check_contract(find(modality), one)
                np.testing.assert_array_equal(one, same)
            space.prepare(modality, junk)
