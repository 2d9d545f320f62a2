"""The towers of the big presets, at tiny sizes: company, masks, preprocessing, precision."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from curiosity.embedding.masks import hidden_units
from curiosity.embedding.modality import Array
from curiosity.embedding.towers.base import Features, Tower
from curiosity.embedding.towers.build import build_tower
from curiosity.embedding.towers.pretrained.base import PretrainedTower
from curiosity.embedding.towers.pretrained.text import SiglipText
from curiosity.embedding.towers.pretrained.video import pick_frames
from tests.material.encoder import ALL, DIM, make_items

each_tower = pytest.mark.parametrize("name", sorted(ALL))
hf: Any = transformers  # untyped in parts


def build(name: str, seed: int = 0) -> Tower:
    torch.manual_seed(seed)
    return build_tower(ALL[name].spec, DIM).eval()


def embed(tower: Tower, features: list[Features]) -> NDArray[np.float32]:
    """Unit embeddings of one batch."""
    with torch.inference_mode():
        rows: NDArray[np.float32] = torch.nn.functional.normalize(tower(tower.collate(features)), dim=1).numpy()
    return rows


@each_tower
def test_an_embedding_does_not_depend_on_its_company(name: str) -> None:
    tower = build(name)
    whole = [tower.prepare(item) for item in make_items(ALL[name].modality)]
    halves = [tower.hide(one, hidden_units(tower.units(one), share, 5, 0)) for one in whole for share in (0.5, 0.9)]
    everything = [*whole, *halves, tower.empty()]
    alone = np.concatenate([embed(tower, [one]) for one in everything])
    together = embed(tower, everything)
    assert np.isfinite(together).all()
    assert np.abs(alone - together).max() < 1e-6
    # The items are different, so a tower that ignores what it is given would be found out.
    assert np.abs(together[0] - together[2]).max() > 1e-4


@each_tower
def test_a_mask_takes_away_all_that_it_hides(name: str) -> None:
    """Two items that agree on what a mask leaves over have one embedding; hiding nothing changes nothing."""
    tower = build(name)
    one = tower.prepare(make_items(ALL[name].modality)[2])
    count = tower.units(one)
    hidden = hidden_units(count, 0.5, 7, 0)
    assert 0 < hidden.sum() < count
    left, right = tower.hide(one, hidden), tower.hide(one, ~hidden)
    rows = embed(tower, [one, tower.hide(one, np.zeros(count, dtype=np.bool_)), left, right])
    np.testing.assert_allclose(rows[0], rows[1], atol=1e-6)
    assert np.abs(rows[0] - rows[2]).max() > 1e-5
    assert np.abs(rows[2] - rows[3]).max() > 1e-5
    if ALL[name].modality == "text":
        return  # the hidden words are gone from the features, or became the mask token: nothing is left to change
    # Hiding the same units of a wildly changed item: what was changed under the mask must not show.
    changed = np.where(np.isclose(left, one, equal_nan=True), one, one * np.float32(-3) + np.float32(1))
    again = tower.hide(changed.astype(np.float32), hidden)
    np.testing.assert_array_equal(again, left)


@each_tower
def test_the_fully_hidden_item_is_the_empty_one(name: str) -> None:
    """What is left of an item when everything is hidden does not tell which item it was."""
    tower = build(name)
    items = [tower.prepare(item) for item in make_items(ALL[name].modality)]
    gone = [tower.hide(one, np.ones(tower.units(one), dtype=np.bool_)) for one in items]
    rows, empty = embed(tower, gone), embed(tower, [tower.empty()])[0]
    known_by_length = {"pressure", "emg", "action", "touch", "modernbert-text", "bert-text"}
    if name in known_by_length or name.startswith("wav2vec2"):
        same = [tower.prepare(item) for item in make_items(ALL[name].modality, seed=9)]
        same = [tower.hide(one, np.ones(tower.units(one), dtype=np.bool_)) for one in same]
        np.testing.assert_allclose(embed(tower, same), rows, atol=1e-6)
    else:
        np.testing.assert_allclose(rows, np.tile(empty, (4, 1)), atol=1e-6)
    whole = embed(tower, [items[2]])[0]
    assert np.abs(whole - empty).max() > 1e-4


@each_tower
def test_under_autocast_embeddings_stay_float32_and_close(name: str) -> None:
    tower = build(name)
    features = [tower.prepare(item) for item in make_items(ALL[name].modality)]
    plain = tower(tower.collate(features))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = tower(tower.collate(features))
    loss = mixed.square().mean()
    loss.backward()
    assert mixed.dtype == torch.float32
    assert torch.isfinite(mixed).all()
    cosines = torch.nn.functional.cosine_similarity(plain, mixed)
    assert cosines.min() > 0.9
    assert all(torch.isfinite(p.grad).all() for p in tower.parameters() if p.grad is not None)


@each_tower
def test_equal_seeds_give_equal_towers(name: str) -> None:
    one, two, other = build(name, 1).state_dict(), build(name, 1).state_dict(), build(name, 2).state_dict()
    assert all(torch.equal(one[key], two[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def _pictures(processor: Callable[..., object], items: list[Array], **more: object) -> list[NDArray[np.float32]]:
    return [np.asarray(processor(item, return_tensors="np", **more)["pixel_values"][0]) for item in items]  # type: ignore[index]


def test_pictures_are_prepared_as_the_image_processors_do() -> None:
    items = make_items("image")
    square, mean = {"height": 32, "width": 32}, [0.5, 0.5, 0.5]
    cases = {
        "siglip-image": hf.SiglipImageProcessorPil(size=square),
        "vit-image": hf.ViTImageProcessorPil(size=square, resample=3),
        "clip-image": hf.CLIPImageProcessorPil(
            size={"shortest_edge": 32}, crop_size=square, image_mean=mean, image_std=mean
        ),
    }
    for name, processor in cases.items():
        tower = build(name)
        for got, want in zip([tower.prepare(item) for item in items], _pictures(processor, items), strict=True):
            np.testing.assert_allclose(got, want, atol=1e-6, err_msg=name)


def test_videos_are_prepared_as_the_image_processor_does() -> None:
    processor = hf.VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    tower = build("videomae-video")
    for item in make_items("video"):
        frames = [item[t] for t in pick_frames(len(item), 4)]
        want = np.asarray(processor(frames, return_tensors="np")["pixel_values"][0])
        np.testing.assert_allclose(tower.prepare(item), want.transpose(1, 0, 2, 3), atol=1e-6)
    assert pick_frames(2, 4).tolist() == [0, 0, 1, 1]
    assert pick_frames(30, 4).tolist() == [0, 10, 19, 29]


def test_sounds_are_prepared_as_the_feature_extractors_do() -> None:
    items = make_items("audio")[1:]
    ast = hf.ASTFeatureExtractor(num_mel_bins=32, max_length=64)
    clap = hf.ClapFeatureExtractor(
        feature_size=32, max_length_s=1, truncation="rand_trunc", frequency_min=50, sampling_rate=48_000
    )
    wave = hf.Wav2Vec2FeatureExtractor(do_normalize=True)
    clap_tower = build("clap-audio")
    assert isinstance(clap_tower, PretrainedTower)
    for item in items:
        got = build("ast-audio").prepare(item)[:, :-1]
        want = ast(item, sampling_rate=16_000, return_tensors="np")["input_values"][0]
        np.testing.assert_allclose(got, want, atol=2e-5)
        got = build("wav2vec2-audio").prepare(item)
        want = wave(item, sampling_rate=16_000, return_tensors="np")["input_values"][0]
        np.testing.assert_allclose(got, want, atol=1e-5)
    from curiosity.embedding.towers.pretrained.spectra import change_rate

    for item in items[:1]:  # longer ones are cut at random by the extractor, at the start by the tower
        loud = change_rate(item, 48_000)
        want = clap(loud, sampling_rate=48_000, return_tensors="np")["input_features"][0, 0]
        np.testing.assert_allclose(clap_tower.prepare(item)[:, :-1], want, atol=2e-4)
    for hz in (440, 7_900):
        sine = np.sin(2 * np.pi * hz * np.arange(16_000) / 16_000).astype(np.float32)
        exact = np.sin(2 * np.pi * hz * np.arange(48_000) / 48_000)
        np.testing.assert_allclose(change_rate(sine, 48_000), exact, atol=1e-6)


def test_a_repeated_recording_is_hidden_in_every_repetition() -> None:
    tower = build("clap-audio")
    features = tower.prepare(make_items("audio")[1])  # 0.31 s, three times in a second
    starts = np.flatnonzero(np.diff(features[:, -1]) < 0)
    assert len(starts) >= 2
    hidden = np.zeros(tower.units(features), dtype=np.bool_)
    hidden[:2] = True  # both bands of the first 160 ms
    quiet = tower.hide(features, hidden)[:, :-1].max(axis=1) == -100.0
    np.testing.assert_array_equal(quiet[: starts[0]], quiet[starts[0] + 1 : 2 * starts[0] + 1])
    assert quiet.sum() >= 3 * 15


def test_a_hidden_patch_becomes_the_mask_token_and_a_grey_one_does_not() -> None:
    tower = build("vit-image")
    token = dict(tower.named_parameters())["encoder.embeddings.mask_token"]
    grey = np.zeros((3, 32, 32), dtype=np.float32)
    before = embed(tower, [grey, tower.empty()])
    with torch.no_grad():
        token.normal_()
    after = embed(tower, [grey, tower.empty()])
    np.testing.assert_array_equal(before[0], after[0])
    assert np.abs(before[1] - after[1]).max() > 1e-3


def test_a_hidden_tubelet_never_enters_videomae() -> None:
    tower = build("videomae-video")
    entered: list[int] = []
    blocks = next(one for one in tower.modules() if isinstance(one, torch.nn.ModuleList))
    blocks[0].register_forward_pre_hook(lambda _, inputs: entered.append(inputs[0].shape[1]))
    whole = tower.prepare(make_items("video")[0])
    half = tower.hide(whole, np.arange(32) < 20)
    embed(tower, [half, whole, tower.empty()])
    assert sorted(entered) == [12, 32]


def test_the_order_of_points_changes_nothing() -> None:
    tower = build("point_cloud")
    for item in make_items("point_cloud"):
        shuffled = item[np.random.default_rng(1).permutation(len(item))]
        np.testing.assert_array_equal(tower.prepare(item), tower.prepare(shuffled))


def test_an_angle_and_the_same_angle_once_round_are_one_action() -> None:
    tower = build("action")
    item = make_items("action")[1]
    item[:, 3] = np.float32(np.pi)
    turned = item.copy()
    turned[:, 3] = -np.float32(np.pi)
    np.testing.assert_allclose(tower.prepare(item), tower.prepare(turned), atol=1e-6)


def test_siglip_reads_text_without_case_and_punctuation() -> None:
    texts = [np.frombuffer(s, dtype=np.uint8) for s in (b"A Dog, running!", b"a dog running", b"a dog walking")]
    tower = build("siglip-text")
    assert isinstance(tower, SiglipText)
    assert tower.read_text("A  Dog, running!") == "a dog running"
    one, two, other = (tower.prepare(text) for text in texts)
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)
    clip = build("bert-text")
    assert len(clip.prepare(texts[0])) > len(clip.prepare(texts[1]))
