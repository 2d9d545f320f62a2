"""Junk: items that belong to nothing. Some families train the null anchor, others are left out to test it.

Each generator makes one decoded array from a seeded random source and a few real items of the same modality (which
the shuffled families cut up). Source of the families: docs/scoring.md, "Null gate".
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from curiosity.embedding.modality import Array
from trainer.null_sensors import LEFT_OUT as SENSORS_LEFT_OUT
from trainer.null_sensors import TRAINED as SENSORS_TRAINED

Make = Callable[[np.random.Generator, Sequence[Array]], Array]

_SIDE = 64
_RATE = 16_000
_GENERIC = (
    "a picture",
    "an image",
    "a photo",
    "a photo of something",
    "this is a picture",
    "an interesting image",
    "a nice picture of a thing",
    "something",
    "a sound",
    "a recording",
    "audio clip",
    "a thing",
    "an object",
    "untitled",
    "no description",
    "unknown",
    "a beautiful high quality picture",
    "various things",
    "the item shown here",
    "sample text",
)
# None of those that the left-out family of repeated words has.
_STOP_WORDS = (
    *("a", "an", "or", "but", "to", "in", "on", "at", "by", "for", "with", "from", "as", "it", "its", "this", "that"),
    *("these", "those", "are", "was", "were", "be", "been", "has", "have", "had", "do", "does", "not", "so", "if"),
    *("then", "than", "too", "also", "just", "only", "some", "any", "all", "each", "more", "most", "other", "such"),
)
_GENERIC_LEFT_OUT = ("picture of an item", "some content", "image file", "n/a", "description", "stuff", "voice memo")


def _picture(values: NDArray[np.float64]) -> Array:
    return np.clip(values, 0, 255).astype(np.uint8)


def _flat(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return np.tile(rng.integers(0, 256, 3, dtype=np.uint8), (_SIDE, _SIDE, 1))


def _noise(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return _picture(rng.uniform(0, 255, 3) + rng.normal(0, rng.uniform(20, 100), (_SIDE, _SIDE, 3)))


def _blurred(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    side = int(rng.integers(2, 12))
    coarse = rng.uniform(0, 255, (side, side, 3))
    at = np.linspace(0, side - 1, _SIDE)
    low = np.minimum(at.astype(np.int64), side - 2)
    inside = at - low
    rows = coarse[low] * (1 - inside)[:, None, None] + coarse[low + 1] * inside[:, None, None]
    return _picture(rows[:, low] * (1 - inside)[None, :, None] + rows[:, low + 1] * inside[None, :, None])


def _shuffle_patches(rng: np.random.Generator, real: Sequence[Array], parts: int) -> Array:
    source = real[int(rng.integers(len(real)))]
    height, width = source.shape[0] // parts * parts, source.shape[1] // parts * parts
    if not height or not width:
        return _noise(rng, real)
    cut = source[:height, :width].reshape(parts, height // parts, parts, width // parts, 3).swapaxes(1, 2)
    mixed = rng.permutation(cut.reshape(parts * parts, *cut.shape[2:])).reshape(cut.shape)
    return np.ascontiguousarray(mixed.swapaxes(1, 2).reshape(height, width, 3))


def _shuffled_patches(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    # Sixteenths look more like a picture than 64ths do, and are learned more slowly: show them more often.
    return _shuffle_patches(rng, real, int(rng.choice([4, 4, 8])))


def _shuffled_ninths(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    return _shuffle_patches(rng, real, 3)


def _salt_and_pepper(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return np.where(rng.random((_SIDE, _SIDE, 1)) < rng.uniform(0.1, 0.9), 0, 255).astype(np.uint8).repeat(3, axis=2)


def _stripes(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    wave = np.sin(np.arange(_SIDE) * rng.uniform(0.2, 1.5) + rng.uniform(0, 6))
    colours = rng.uniform(0, 255, (2, 3))
    rows = np.where(wave[:, None] > 0, colours[0], colours[1])
    flat = np.broadcast_to(rows[:, None, :], (_SIDE, _SIDE, 3))
    return _picture(flat if rng.random() < 0.5 else flat.swapaxes(0, 1))


def _crop(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    source = real[int(rng.integers(len(real)))]
    height, width = max(1, source.shape[0] // 4), max(1, source.shape[1] // 4)
    top, left = int(rng.integers(source.shape[0] - height + 1)), int(rng.integers(source.shape[1] - width + 1))
    return np.ascontiguousarray(source[top : top + height, left : left + width])


def _solid(value: int) -> Make:
    return lambda _rng, _real: np.full((_SIDE, _SIDE, 3), value, dtype=np.uint8)


def _silence(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return (rng.normal(0, 1e-6, int(rng.integers(_RATE // 4, 2 * _RATE)))).astype(np.float32)


def _hiss(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    samples = rng.normal(0, 1, int(rng.integers(_RATE // 4, 2 * _RATE)))
    spectrum = np.fft.rfft(samples)
    spectrum /= (1 + np.arange(len(spectrum))) ** rng.uniform(0, 1)  # white to red
    samples = np.fft.irfft(spectrum, n=len(samples))
    loud: Array = (samples / np.abs(samples).max() * rng.uniform(0.05, 0.9)).astype(np.float32)
    return loud


def _shuffle_frames(rng: np.random.Generator, real: Sequence[Array], frame: int) -> Array:
    source = real[int(rng.integers(len(real)))]
    count = len(source) // frame
    if count < 2:
        return source
    mixed: Array = source[: count * frame].reshape(count, frame)[rng.permutation(count)].reshape(-1)
    return mixed


def _shuffled_frames(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    """Return frames of 10 or 20 ms, as speech is analysed in."""
    return _shuffle_frames(rng, real, int(rng.choice([160, 320])))


def _shuffled_phones(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    """Return pieces of 40 or 80 ms, which hold a whole sound of a language: other words with the same sounds."""
    return _shuffle_frames(rng, real, int(rng.choice([640, 1_280])))


def _tone(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    time = np.arange(int(rng.integers(_RATE // 4, 2 * _RATE))) / _RATE
    return (rng.uniform(0.1, 0.9) * np.sin(2 * np.pi * rng.uniform(100, 4_000) * time)).astype(np.float32)


def _clicks(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    samples = np.zeros(int(rng.integers(_RATE // 4, 2 * _RATE)), dtype=np.float32)
    samples[rng.integers(0, len(samples), 20)] = rng.uniform(-0.9, 0.9, 20)
    return samples


def _chirp(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    time = np.arange(int(rng.integers(_RATE // 4, 2 * _RATE))) / _RATE
    start, rate = rng.uniform(100, 1_000), rng.uniform(200, 2_000)
    return (0.5 * np.sin(2 * np.pi * (start + rate * time / 2) * time)).astype(np.float32)


def _pulses(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    time = np.arange(int(rng.integers(_RATE // 4, 2 * _RATE))) / _RATE
    wave = np.sign(np.sin(2 * np.pi * rng.uniform(60, 400) * time))
    return (0.3 * wave * (np.sin(2 * np.pi * rng.uniform(1, 8) * time) > 0)).astype(np.float32)


def _backwards(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    return np.ascontiguousarray(real[int(rng.integers(len(real)))][::-1])


def _encode(text: str) -> Array:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _letters(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    words = ["".join(chr(97 + c) for c in rng.integers(0, 26, int(rng.integers(3, 10)))) for _ in range(3)]
    return _encode(" ".join(words[: int(rng.integers(1, 4))]))


def _generic(captions: Sequence[str]) -> Make:
    return lambda rng, _real: _encode(captions[int(rng.integers(len(captions)))])


def _numbers(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return _encode(" ".join(str(n) for n in rng.integers(1_000, 10**8, int(rng.integers(1, 4)))))


def _stop_words(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return _encode(" ".join(_STOP_WORDS[i] for i in rng.integers(0, len(_STOP_WORDS), int(rng.integers(2, 7)))))


def _hexadecimal(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return _encode(rng.bytes(int(rng.integers(4, 12))).hex())


def _repeated(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return _encode(" ".join(["the", "of", "and", "very", "is"][int(rng.integers(5))] for _ in range(4)))


TRAINED: dict[str, dict[str, Make]] = {
    "image": {
        "noise": _noise,
        "flat": _flat,
        "black": _solid(0),
        "white": _solid(255),
        "blurred-noise": _blurred,
        "shuffled-patches": _shuffled_patches,
    },
    "audio": {
        "silence": _silence,
        "noise": _hiss,
        "shuffled-frames": _shuffled_frames,
        "tone": _tone,
        "clicks": _clicks,
    },
    "text": {
        "random-letters": _letters,
        "generic-caption": _generic(_GENERIC),
        "numbers": _numbers,
        "stop-words": _stop_words,
    },
    **SENSORS_TRAINED,
}
LEFT_OUT: dict[str, dict[str, Make]] = {
    "image": {
        "salt-and-pepper": _salt_and_pepper,
        "stripes": _stripes,
        "crop": _crop,
        "shuffled-ninths": _shuffled_ninths,
    },
    "audio": {
        "chirp": _chirp,
        "pulses": _pulses,
        "backwards": _backwards,
        "shuffled-phones": _shuffled_phones,
    },
    "text": {
        "hexadecimal": _hexadecimal,
        "repeated-words": _repeated,
        "other-generic-caption": _generic(_GENERIC_LEFT_OUT),
    },
    **SENSORS_LEFT_OUT,
}


# Families that are cut from real items are nearest to them: of these training sees most. A family with one member
# passes whole or not at all, and must be seen too: at a tenth white pictures passed one gate of 18.
POOLS: dict[str, float] = {
    "shuffled-patches": 8,
    "shuffled-frames": 2,
    "random-letters": 4,
    "black": 0.5,
    "white": 0.5,
}
"""By family how many times the usual number of items; 1 where it is not named."""


def make_junk(make: Make, count: int, seed: int, real: Sequence[Array]) -> list[Array]:
    """Return ``count`` decoded junk items; the same for the same seed and the same real items.

    Raises:
        ValueError: when ``real`` is empty.
    """
    if not real:
        raise ValueError("junk is cut from real items; give at least one")
    rng = np.random.default_rng(seed)
    return [make(rng, real) for _ in range(count)]
