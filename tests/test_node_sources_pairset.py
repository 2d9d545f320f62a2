"""Pair sets on disk: every modality, several streams of one, and what the trainer reads back."""

import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest

from curiosity.protocol.errors import SourceError
from curiosity.sources.pairset import DraftHalf, DraftPair, check_pair_set, find_pair_set, read_pairs, write_pair_set
from trainer.feed import read_trusted


def npy(seed: int, *shape: int) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.random.default_rng(seed).normal(size=shape).astype("<f4"))
    return buffer.getvalue()


# The set stores what it is given: no byte of these is looked at when it is written.
HALVES = (
    DraftHalf("text", "text/plain", b"a red cube is pushed"),
    DraftHalf("image", "image/png", b"picture one", "camera1"),
    DraftHalf("image", "image/png", b"picture two", "camera2"),
    DraftHalf("audio", "audio/wav", b"sound"),
    DraftHalf("video", "video/mp4", b"film"),
    DraftHalf("video", "video/webm", b"film as webm"),
    DraftHalf("video", "image/gif", b"film as gif"),
    DraftHalf("point_cloud", "application/x-npy", npy(1, 32, 3)),
    DraftHalf("touch", "application/x-npy", npy(2, 4, 2, 16, 16)),
    DraftHalf("pressure", "application/x-npy", npy(3, 32)),
    DraftHalf("emg", "application/x-npy", npy(4, 8, 32)),
    DraftHalf("action", "application/x-npy", npy(5, 16, 7)),
)


def draft(one: DraftHalf, other: DraftHalf, number: int) -> DraftPair:
    return DraftPair(f"pair-{number}", "submit", "cube", "MIT", "", None, (one, other))


def write(out: Path, *drafts: DraftPair) -> dict[str, object]:
    return write_pair_set(out, name="world", parameters={"seed": 1, "recipe": 1}, origins=[], drafts=drafts)


def test_every_modality_and_stream_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    pairs = [(one, HALVES[0]) for one in HALVES[1:]]
    card = write(tmp_path / "set", *(draft(*halves, number) for number, halves in enumerate(pairs)))
    assert check_pair_set(tmp_path / "set") == len(pairs)
    for (one, text), pair in zip(pairs, read_pairs(tmp_path / "set"), strict=True):
        first, second = sorted((one, text), key=lambda half: half.modality)
        for half, item in ((first, pair.a), (second, pair.b)):
            assert (item.modality, item.media_type, item.stream) == (half.modality, half.media_type, half.stream)
            assert item.path.read_bytes() == half.content
    suffixes = sorted({item.path.suffix for pair in read_pairs(tmp_path / "set") for item in (pair.a, pair.b)})
    assert suffixes == [".gif", ".mp4", ".npy", ".png", ".txt", ".wav", ".webm"]
    counts = card["counts"]
    assert isinstance(counts, dict)
    assert counts["submit"] == {
        "concepts": 1, "pairs": 11, "action-text": 1, "audio-text": 1, "emg-text": 1, "image-text": 2,
        "point_cloud-text": 1, "pressure-text": 1, "text-touch": 1, "text-video": 3,
    }  # fmt: skip


def test_the_trainer_reads_the_same_modalities(tmp_path: Path) -> None:
    write(tmp_path / "set", *(draft(one, HALVES[0], number) for number, one in enumerate(HALVES[1:])))
    fed = read_trusted([tmp_path / "set"], ("submit",))
    for pair, half in zip(fed, HALVES[1:], strict=True):
        assert isinstance(half.content, bytes)
        assert pair.item(half.modality).load() == half.content


def test_a_row_without_streams_has_no_such_key(tmp_path: Path) -> None:
    """So that the digests of sets that were made before streams existed stay what they were."""
    write(tmp_path / "set", draft(HALVES[0], HALVES[3], 0), draft(HALVES[0], HALVES[2], 1))
    one, two = [json.loads(line) for line in (tmp_path / "set" / "pairs.jsonl").read_text().splitlines()]
    assert set(one["a"]) == set(one["b"]) == {"modality", "media_type", "path"}
    assert two["a"]["stream"] == "camera2"
    assert one["a"]["path"] == f"media/{hashlib.sha256(b'sound').hexdigest()}.wav"


def test_a_set_is_found_again_only_with_its_own_parameters(tmp_path: Path) -> None:
    write(tmp_path / "set", draft(HALVES[0], HALVES[4], 0))
    assert find_pair_set(tmp_path / "set", {"seed": 1, "recipe": 1}) is not None
    assert find_pair_set(tmp_path / "set", {"seed": 1, "recipe": 2}) is None


def test_a_media_type_that_no_set_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"MEDIA_TYPE_UNKNOWN.*audio/mpeg"):
        write(tmp_path / "set", draft(HALVES[0], DraftHalf("audio", "audio/mpeg", b"x"), 0))
