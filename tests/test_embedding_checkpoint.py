"""A checkpoint is what its manifest says, or it is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from curiosity.embedding.checkpoint import (
    ANCHORS,
    CARD,
    CONFIG,
    GENESIS,
    MANIFEST,
    MODEL,
    Manifest,
    copy,
    load,
)
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.weights import encode_weights, halve_weights, read_space
from curiosity.protocol.errors import CheckpointError
from tests.material.own_checkpoint import CALIBRATION, make


@pytest.fixture
def space() -> EmbeddingSpace:
    return EmbeddingSpace("tiny", seed=5, modalities=["audio", "image"])


def test_round_trip(tmp_path: Path, space: EmbeddingSpace) -> None:
    made = make(tmp_path / "one", space)
    read = load(tmp_path / "one", expected=made.digest)
    assert read.manifest == made.manifest
    assert read.calibration == CALIBRATION
    np.testing.assert_array_equal(read.anchors["ref/image"], np.arange(-8, 8).reshape(2, 8))
    pictures = [np.full((20, 20, 3), shade, dtype=np.uint8) for shade in (10, 200)]
    np.testing.assert_array_equal(read_space(read).embed("image", pictures), space.embed("image", pictures))
    assert not read_space(read).training


def test_the_digest_names_the_content(tmp_path: Path, space: EmbeddingSpace) -> None:
    one, same = make(tmp_path / "one", space), make(tmp_path / "same", space)
    other = make(tmp_path / "other", EmbeddingSpace("tiny", seed=6, modalities=["audio", "image"]))
    assert one.digest == same.digest != other.digest
    assert make(tmp_path / "one", space).digest == one.digest  # writing it again is no error
    with pytest.raises(CheckpointError, match="CHECKPOINT_NOT_WRITTEN"):
        make(tmp_path / "other", space)
    with pytest.raises(CheckpointError, match=f"{one.digest}, expected {other.digest}"):
        load(tmp_path / "one", expected=other.digest)


@pytest.mark.parametrize("name", [MANIFEST, MODEL, ANCHORS, CARD, CONFIG])
def test_one_flipped_bit_is_refused(tmp_path: Path, space: EmbeddingSpace, name: str) -> None:
    made = make(tmp_path / "one", space)
    whole = (tmp_path / "one" / name).read_bytes()
    rng = np.random.default_rng(0)
    for at in [0, len(whole) - 1, *rng.integers(0, len(whole), 20)]:
        broken = bytearray(whole)
        broken[at] ^= 1 << int(rng.integers(8))
        (tmp_path / "one" / name).write_bytes(broken)
        with pytest.raises(CheckpointError):
            load(tmp_path / "one", expected=made.digest)
    (tmp_path / "one" / name).write_bytes(whole)
    load(tmp_path / "one", expected=made.digest)


def test_a_manifest_in_other_spelling_is_refused(tmp_path: Path, space: EmbeddingSpace) -> None:
    make(tmp_path / "one", space)
    path = tmp_path / "one" / MANIFEST
    path.write_bytes(path.read_bytes().replace(b",", b", ", 1))
    with pytest.raises(CheckpointError, match="MANIFEST_NOT_CANONICAL"):
        load(tmp_path / "one")


def test_a_manifest_names_what_it_lacks(tmp_path: Path, space: EmbeddingSpace) -> None:
    manifest = json.loads((make(tmp_path / "c", space).path / MANIFEST).read_bytes())
    del manifest["evaluation"]
    with pytest.raises(CheckpointError, match=r"MANIFEST_NOT_READABLE.*lacks or has too much: evaluation\.") as caught:
        Manifest.decode(json.dumps(manifest).encode())
    assert "__init__" not in str(caught.value)


@pytest.mark.parametrize("number", ["a", None, True, 2**53, -(2**53)])
@pytest.mark.parametrize("field", ["null_max_micro", "median_loss_micro", "alpha_micro", "plain_max_micro", "masks"])
def test_a_manifest_whose_numbers_are_none_is_refused(
    tmp_path: Path, space: EmbeddingSpace, field: str, number: object
) -> None:
    manifest = json.loads((make(tmp_path / "c", space).path / MANIFEST).read_bytes())
    manifest["calibration"][field] = number if field == "masks" else {"image": number}
    with pytest.raises(CheckpointError, match=r"MANIFEST_NOT_READABLE.*is no whole number below 2\^53"):
        Manifest.decode(json.dumps(manifest).encode())


def test_a_copy_is_whole_or_not_there(tmp_path: Path, space: EmbeddingSpace) -> None:
    made = make(tmp_path / "c", space)
    copied = copy(made, tmp_path / "kept" / made.digest)
    assert load(copied.path).digest == made.digest
    (copied.path / MODEL).write_bytes(b"damaged")
    assert load(copy(made, copied.path).path).digest == made.digest
    (made.path / MODEL).write_bytes(b"changed since it was loaded")
    with pytest.raises(CheckpointError, match="CHECKPOINT_DIFFERS"):
        copy(made, tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert copy(made, copied.path).digest == made.digest  # of what is there whole the original is not needed


def test_missing_parts_are_named(tmp_path: Path, space: EmbeddingSpace) -> None:
    with pytest.raises(CheckpointError, match="CHECKPOINT_MISSING"):
        load(tmp_path / "nothing")
    make(tmp_path / "one", space)
    (tmp_path / "one" / ANCHORS).unlink()
    with pytest.raises(CheckpointError, match=r"anchors\.safetensors"):
        load(tmp_path / "one")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"preprocessing": "tiny/0"}, "CHECKPOINT_PRESET"),
        ({"preset": "huge"}, "CHECKPOINT_PRESET"),
        ({"dim": 64}, "CHECKPOINT_PRESET"),
        ({"frozen": {"image": "ab" * 32}}, "FROZEN_TOWER_DIFFERS"),
        ({"modalities": ("image",)}, "WEIGHTS_DIFFER"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, space: EmbeddingSpace, changes: dict[str, object], code: str
) -> None:
    checkpoint = make(tmp_path / "one", space, **changes)
    with pytest.raises(CheckpointError, match=code):
        read_space(checkpoint)


def test_a_failed_write_leaves_nothing(tmp_path: Path, space: EmbeddingSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(CheckpointError, match="No space left"):
        make(tmp_path / "one", space)
    assert list(tmp_path.iterdir()) == []


def test_halved_weights_are_stored_in_half_and_read_back_exactly(tmp_path: Path, space: EmbeddingSpace) -> None:
    whole = len(encode_weights(space))
    halve_weights(space)
    assert len(encode_weights(space)) < 0.52 * whole
    read = read_space(make(tmp_path / "one", space))
    for name, tensor in read.state_dict().items():
        torch.testing.assert_close(tensor, space.state_dict()[name], atol=0, rtol=0)


def test_a_checkpoint_without_a_configuration_is_read_and_one_that_lost_it_is_not(
    tmp_path: Path, space: EmbeddingSpace
) -> None:
    made = make(tmp_path / "one", space)
    (tmp_path / "one" / CONFIG).unlink()
    with pytest.raises(CheckpointError, match=r"CHECKPOINT_MISSING.*config\.json"):
        load(tmp_path / "one")
    # As checkpoints were before the file existed.
    old = replace(made.manifest, files={n: d for n, d in made.manifest.files.items() if n != CONFIG})
    (tmp_path / "one" / MANIFEST).write_bytes(old.encode())
    assert read_space(load(tmp_path / "one")).modalities == ("audio", "image")
    (tmp_path / "one" / MANIFEST).write_bytes(replace(old, files=old.files | {"evil.pt": "ab" * 32}).encode())
    with pytest.raises(CheckpointError, match="CHECKPOINT_FORMAT"):
        load(tmp_path / "one")


def test_trained_pairs_are_what_the_manifest_says_or_those_of_genesis(tmp_path: Path, space: EmbeddingSpace) -> None:
    counts = {"digits/genesis/image-text": 9, "digits/calibration/audio-text": 9}
    assert make(tmp_path / "one", space, data={"pairs": counts}).manifest.trained_pairs() == {"image-text"}
    said = make(tmp_path / "two", space, data={"pairs": counts, "trained": ["emg-touch"]})
    assert said.manifest.trained_pairs() == {"emg-touch"}


def test_the_genesis_checkpoint_is_whole_and_small(tmp_path: Path) -> None:
    checkpoint = load(GENESIS)
    assert checkpoint.manifest.ledger is None
    assert checkpoint.manifest.data["fit"] is True
    assert sum(file.stat().st_size for file in GENESIS.iterdir()) < 8 * 2**20
    assert set(checkpoint.calibration.pairs) == {"audio-image", "audio-text", "image-text"}
    assert set(checkpoint.manifest.frozen) == {"text"}
    for name, anchor in checkpoint.anchors.items():
        assert anchor.dtype == np.int16
        wide = 2 if name.startswith("history/") else 1
        assert anchor.shape[-1] == wide * checkpoint.manifest.dim
    # The empty items that verdicts use are those of these weights.
    space = read_space(checkpoint)
    for modality in checkpoint.manifest.modalities:
        measured = space.measure(modality, [], [])
        assert np.abs(measured.masked.astype(int) - checkpoint.anchors[f"empty/{modality}"]).max() <= 1
    shutil.copytree(GENESIS, tmp_path / "copy")
    assert load(tmp_path / "copy").digest == checkpoint.digest
