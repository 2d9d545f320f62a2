"""The pair set ``digits``: scikit-learn's 1,797 handwritten digits, their names, and the names spoken.

Ten concepts cannot be split without losing a digit, so scans and voices are: no scan and no voice is in two splits.
"""

import hashlib
import io
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.datasets import load_digits

from curiosity.sources.made.speech import (
    HELD_OUT_SPEAKER,
    TAKES,
    TRAINING_SPEAKERS,
    Progress,
    Speaker,
    Utterance,
    speak_all,
    speech_versions,
    vary_speaker,
)
from curiosity.sources.pairset import DraftHalf, DraftPair, Origin, find_pair_set, write_pair_set

NAMES: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE_PX: Final = 32
DEFAULT_SEED: Final = 20260101
# Scans of each digit for the splits other than ``submit``, which takes the rest (about 118 of each).
_SCANS_EACH: Final = {"genesis": 10, "calibration": 15, "held-out": 36}
_SPEAKERS: Final[dict[str, tuple[Speaker, ...]]] = {
    "genesis": TRAINING_SPEAKERS[:4],
    "calibration": TRAINING_SPEAKERS[4:7],
    "submit": TRAINING_SPEAKERS[7:],
    "held-out": (HELD_OUT_SPEAKER,),
}
_IMAGE_LICENSE: Final = "CC-BY-4.0 AND BSD-3-Clause"
_SPOKEN_LICENSE: Final = "MIT"
_SCAN_CREDIT: Final = (
    "E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits (UCI Machine Learning Repository, 1998), "
    "as scikit-learn ships it; scaled to 32 px and inverted"
)
_SPEECH_CREDIT: Final = "name spoken by espeak-ng"


def make_digits(
    out: Path,
    *,
    seed: int = DEFAULT_SEED,
    submit_scans: int | None = None,
    image_audio: bool = False,
    limit: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write the set to ``out`` and return its card; a whole set made with the same arguments is left as it is.

    ``submit_scans`` caps the scans of the split ``submit``; ``limit`` the scans of each digit in each split (for
    tests); ``image_audio`` adds picture-speech pairs to ``submit``.

    Raises:
        SourceError: When it cannot be written.
    """
    parameters = {
        "seed": seed,
        "submit_scans": submit_scans,
        "image_audio": image_audio,
        "limit": limit,
        "recipe": 1,
        "versions": {**speech_versions(), **{name: version(name) for name in ("scikit-learn", "pillow")}},
    }
    card = find_pair_set(out, parameters)
    if card is not None:
        return card
    pictures, labels = _load_scans()
    splits = split_scans(labels, seed=seed, limit=limit)
    if submit_scans is not None:
        splits["submit"] = splits["submit"][:submit_scans]
    said = [
        (split, label, take, speaker)
        for split, speakers in _SPEAKERS.items()
        for label in range(10)
        for speaker in speakers
        for take in range(TAKES if limit is None else min(limit, TAKES))
    ]
    files = speak_all(
        [Utterance(NAMES[label], vary_speaker(speaker, take)) for _, label, take, speaker in said],
        cache=cache,
        progress=progress,
    )
    spoken = [
        (split, label, take, speaker.name, file)
        for (split, label, take, speaker), file in zip(said, files, strict=True)
    ]
    paired = {"held-out", "submit"} if image_audio else {"held-out"}
    drafts = [*_draft_scans(pictures, labels, splits, spoken, paired), *_draft_names(spoken)]
    card = write_pair_set(out, name="digits", parameters=parameters, origins=_list_origins(), drafts=drafts)
    if progress:
        progress("digits", len(drafts), len(drafts))
    return card


def split_scans(labels: npt.NDArray[np.int64], *, seed: int, limit: int | None = None) -> dict[str, list[int]]:
    """Return the scan numbers of each split; ``labels`` is int64[n], 0 to 9.

    Each digit is equally often in all splits but ``submit``.

    Each digit is equally often in all splits but ``submit``.

    Each digit is equally often in all splits but ``submit``.

    Each digit is equally often in all splits but ``submit``.

    The order is that of SHA-256 over seed and scan number: the same on every version of Python.
    """
    splits: dict[str, list[int]] = {"genesis": [], "calibration": [], "held-out": [], "submit": []}
    for label in range(10):
        scans = sorted(
            np.flatnonzero(labels == label).tolist(),
            key=lambda scan: hashlib.sha256(f"{seed}:{scan}".encode()).digest(),
        )
        for split, size in _SCANS_EACH.items():
            splits[split] += scans[:size][:limit]
            scans = scans[size:]
        splits["submit"] += scans[:limit]
    # Interleave the digits, so that a cap takes some of each.
    return {
        split: sorted(scans, key=lambda scan: hashlib.sha256(f"{seed}:{scan}".encode()).digest())
        for split, scans in splits.items()
    }


def _load_scans() -> tuple[list[bytes], npt.NDArray[np.int64]]:
    """Return the PNG of each scan (32x32 RGB, dark ink on white paper) and its digit."""
    scans = load_digits()
    pictures = []
    for grey in scans.images:  # float64[8, 8], 0 (paper) to 16 (ink)
        paper = np.rint(255 - grey * (255 / 16)).astype(np.uint8)
        picture = Image.fromarray(paper).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC).convert("RGB")
        buffer = io.BytesIO()
        picture.save(buffer, format="PNG")
        pictures.append(buffer.getvalue())
    return pictures, scans.target.astype(np.int64)


def _draft_scans(
    pictures: list[bytes],
    labels: npt.NDArray[np.int64],
    splits: dict[str, list[int]],
    spoken: list[tuple[str, int, int, str, Path]],
    paired: set[str],
) -> Iterator[DraftPair]:
    for split, scans in splits.items():
        for turn, scan in enumerate(scans):
            label = int(labels[scan])
            picture = DraftHalf("image", "image/png", pictures[scan])
            yield DraftPair(
                id=f"digits-{scan:04d}-image-text",
                split=split,
                concept=NAMES[label],
                license=_IMAGE_LICENSE,
                attribution=_SCAN_CREDIT,
                voice=None,
                halves=(picture, DraftHalf("text", "text/plain", NAMES[label].encode())),
            )
            if split in paired:
                heard = [each for each in spoken if each[0] == split and each[1] == label]
                _, _, _, voice, file = heard[turn % len(heard)]
                yield DraftPair(
                    id=f"digits-{scan:04d}-audio-image",
                    split=split,
                    concept=NAMES[label],
                    license=_IMAGE_LICENSE,
                    attribution=f"{_SCAN_CREDIT}; {_SPEECH_CREDIT}",
                    voice=voice,
                    halves=(picture, DraftHalf("audio", "audio/wav", file)),
                )


def _draft_names(spoken: list[tuple[str, int, int, str, Path]]) -> Iterator[DraftPair]:
    for split, label, take, voice, file in spoken:
        yield DraftPair(
            id=f"digits-{NAMES[label]}-audio-text-{voice}-{take}",
            split=split,
            concept=NAMES[label],
            license=_SPOKEN_LICENSE,
            attribution=_SPEECH_CREDIT,
            voice=voice,
            halves=(
                DraftHalf("audio", "audio/wav", file),
                DraftHalf("text", "text/plain", NAMES[label].encode()),
            ),
        )


def _list_origins() -> list[Origin]:
    return [
        Origin(
            "scikit-learn (PyPI)",
            version("scikit-learn"),
            "1,797 scans of handwritten digits, sklearn.datasets.load_digits",
            _IMAGE_LICENSE,
            "the package is BSD-3-Clause; the UCI repository gives the scans under CC-BY-4.0",
        ),
        Origin(
            "espeakng-loader (PyPI)",
            version("espeakng-loader"),
            "the speech engine espeak-ng, run in a process of its own; only the sound it makes is in the set",
            "GPL-3.0-or-later",
            "the espeak-ng project; the licence covers the program",
        ),
    ]
