"""The space goes to a folder as the hub wants it and comes back; a checkpoint's folder is such a folder."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import load_file

from curiosity.embedding.checkpoint import GENESIS, MANIFEST, load, save
from curiosity.embedding.hub import HubSpace
from curiosity.embedding.presets import Weights
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.weights import encode_weights, fill_weights, name_unstored, read_space
from curiosity.protocol.errors import CheckpointError

PICTURES = [np.random.default_rng(i).integers(0, 256, (24, 30, 3), dtype=np.uint8) for i in range(4)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint as it is published today, of the genesis weights."""
    genesis = load(GENESIS)
    return save(
        tmp_path / "checkpoint",
        manifest=genesis.manifest,
        model=(GENESIS / "model.safetensors").read_bytes(),
        anchors=genesis.anchors,
        card="# A card\n",
    ).path


def test_a_saved_space_is_loaded_with_the_modalities_it_had(tmp_path: Path) -> None:
    space = HubSpace("tiny", seed=3, modalities=["image"])
    space.register("touch", seed=4)
    assert isinstance(space, PyTorchModelHubMixin)
    space.save_pretrained(tmp_path / "one")
    assert sorted(file.name for file in (tmp_path / "one").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert json.loads((tmp_path / "one" / "config.json").read_text()) == {
        "modalities": ["image", "touch"],
        "preset": "tiny",
    }
    read = HubSpace.from_pretrained(tmp_path / "one")
    assert read.modalities == ("image", "touch")
    assert not read.training
    np.testing.assert_array_equal(read.embed("image", PICTURES), space.embed("image", PICTURES))


def test_the_folder_of_a_checkpoint_loads_as_it_is(folder: Path) -> None:
    read, known = HubSpace.from_pretrained(str(folder)), read_space(load(GENESIS))
    assert isinstance(read, HubSpace)
    assert read.modalities == known.modalities
    np.testing.assert_array_equal(read.embed("image", PICTURES), known.embed("image", PICTURES))
    # Without its manifest it is an ordinary model repository.
    (folder / MANIFEST).unlink()
    plain = HubSpace.from_pretrained(folder)
    np.testing.assert_array_equal(plain.embed("image", PICTURES), known.embed("image", PICTURES))


def test_a_checkpoint_with_one_other_byte_is_refused(folder: Path) -> None:
    digest = load(folder).digest
    for name in sorted(file.name for file in folder.iterdir()):
        whole = (folder / name).read_bytes()
        broken = bytearray(whole)
        broken[len(broken) // 2] ^= 4
        (folder / name).write_bytes(broken)
        with pytest.raises(CheckpointError):
            HubSpace.from_pretrained(folder, expected=digest)
        (folder / name).write_bytes(whole)
    HubSpace.from_pretrained(folder, expected=digest)
    (folder / MANIFEST).unlink()
    with pytest.raises(CheckpointError, match="CHECKPOINT_MISSING"):
        HubSpace.from_pretrained(folder, expected=digest)


def test_what_is_no_model_is_refused_with_a_code(tmp_path: Path, folder: Path) -> None:
    (folder / MANIFEST).unlink()
    for name, content, code in (
        ("model.safetensors", b"not tensors", "WEIGHTS_DIFFER"),
        ("config.json", b'{"preset": "huge", "modalities": ["image"]}', "CHECKPOINT_PRESET"),
        ("config.json", b'{"preset": "tiny", "modalities": ["image"]}', "WEIGHTS_DIFFER"),
        ("config.json", b'{"preset": "tiny"}', "CONFIG_NOT_READABLE"),
    ):
        copy = tmp_path / f"{code}{len(content)}"
        shutil.copytree(folder, copy)
        (copy / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=code):
            HubSpace.from_pretrained(copy)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="CHECKPOINT_MISSING"):
        HubSpace.from_pretrained(folder)


def test_frozen_weights_that_are_not_stored_are_left_out_and_named(tmp_path: Path, folder: Path) -> None:
    published = Weights("some/vit", "Apache-2.0")
    space = EmbeddingSpace("tiny", modalities=["image"])
    space.tower("image").weights = published
    whole = set(load_file(save_weights(space, tmp_path / "whole")))
    space.freeze("image", stored=False)
    part = set(load_file(save_weights(space, tmp_path / "part")))
    assert whole - part == {name for name in whole if name.startswith("towers.image.encoder.")}
    assert whole != part
    assert name_unstored(space) == {"image": "some/vit"}
    other = EmbeddingSpace("tiny", seed=8, modalities=["image"])
    other.tower("image").weights = published
    other.freeze("image", stored=False)
    kept = {name: tensor.clone() for name, tensor in other.tower("image").encoder.state_dict().items()}  # type: ignore[union-attr]
    fill_weights(other, tmp_path / "part")
    for name, tensor in other.tower("image").encoder.state_dict().items():  # type: ignore[union-attr]
        torch.testing.assert_close(tensor, kept[name], rtol=0, atol=0)
    checkpoint = load(folder)
    object.__setattr__(checkpoint.manifest, "data", checkpoint.manifest.data | {"unstored": {"image": "some/vit"}})
    with pytest.raises(CheckpointError, match=r"FROZEN_TOWER_MISSING.*some/vit"):
        read_space(checkpoint)


def save_weights(space: EmbeddingSpace, path: Path) -> Path:
    path.write_bytes(encode_weights(space))
    return path
