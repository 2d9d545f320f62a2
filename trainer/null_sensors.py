"""Junk of video, point cloud, touch, pressure, EMG and action: items that belong to nothing (see ``trainer.null``).

Each family makes one decoded array that meets its modality's contract. What a sensor says when nothing happens is junk
too: it would fit every episode equally.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from curiosity.embedding.modality import Array

Make = Callable[[np.random.Generator, Sequence[Array]], Array]
Floats = NDArray[np.float64]

_SIDE, _FRAMES = 64, 16
_POSE_LOW = np.array([-0.3, -0.3, 0.0, -0.4, -0.4, -1.6, 0.0])
_POSE_HIGH = np.array([0.3, 0.3, 0.4, 0.4, 0.4, 1.6, 1.0])


def _pick(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    return real[int(rng.integers(len(real)))]


def _to_video(values: Floats) -> Array:
    return np.clip(values, 0, 255).astype(np.uint8)


def _video_noise(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    level, spread = rng.uniform(0, 255, 3), rng.uniform(15, 90)
    return _to_video(level + rng.normal(0, spread, (_FRAMES, _SIDE, _SIDE, 3)))


def _video_flat(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return np.tile(rng.integers(0, 256, 3, dtype=np.uint8), (_FRAMES, _SIDE, _SIDE, 1))


def _video_blur(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    """Return clouds of colour, still or drifting."""
    side = int(rng.integers(2, 7))
    coarse = rng.uniform(0, 255, (side, side, 3)).repeat(-(-_SIDE // side), 0).repeat(-(-_SIDE // side), 1)
    step = int(rng.integers(0, 4))
    return np.stack([np.roll(coarse[:_SIDE, :_SIDE], step * t, axis=1) for t in range(_FRAMES)]).astype(np.uint8)


def _video_patches(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    """Return a real video whose patches changed places, the same way in every frame."""
    source, parts = _pick(rng, real), 4
    height, width = source.shape[1] // parts * parts, source.shape[2] // parts * parts
    if not height or not width:
        return _video_noise(rng, real)
    cut = source[:, :height, :width].reshape(len(source), parts, height // parts, parts, width // parts, 3)
    cut = cut.swapaxes(2, 3).reshape(len(source), parts * parts, height // parts, width // parts, 3)
    mixed = cut[:, rng.permutation(parts * parts)].reshape(
        len(source), parts, parts, height // parts, width // parts, 3
    )
    return np.ascontiguousarray(mixed.swapaxes(2, 3).reshape(len(source), height, width, 3))


def _video_bars(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    at = np.arange(_SIDE)[None, :] + rng.uniform(-4, 4) * np.arange(_FRAMES)[:, None]
    wave = np.sin(at * rng.uniform(0.2, 1.2)) > 0
    colours = rng.uniform(0, 255, (2, 3))
    rows = np.where(wave[..., None], colours[0], colours[1])
    return _to_video(np.broadcast_to(rows[:, None], (_FRAMES, _SIDE, _SIDE, 3)))


def _video_flicker(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return _to_video(np.broadcast_to(rng.uniform(0, 255, (_FRAMES, 1, 1, 3)), (_FRAMES, _SIDE, _SIDE, 3)))


def _cloud_box(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    size = 10 ** rng.uniform(-1.2, 0.3, 3)
    return (rng.uniform(-1, 1, (512, 3)) * size + rng.normal(0, 0.1, 3)).astype(np.float32)


def _cloud_blob(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return (rng.normal(0, 10 ** rng.uniform(-1.5, 0), (512, 3)) + rng.normal(0, 0.1, 3)).astype(np.float32)


def _cloud_table(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    """Return an empty table."""
    points = rng.uniform(-0.3, 0.3, (512, 3))
    points[:, 2] = rng.normal(rng.normal(0, 0.02), 0.001, 512)
    return points.astype(np.float32)


def _cloud_mixed(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    """Return the coordinates of a real cloud, each axis in another order."""
    source = _pick(rng, real)
    return np.ascontiguousarray(np.stack([rng.permutation(source[:, axis]) for axis in range(3)], axis=1))


def _cloud_shell(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    points = rng.normal(0, 1, (512, 3))
    points *= 10 ** rng.uniform(-1.5, -0.3) / np.linalg.norm(points, axis=1, keepdims=True)
    return points.astype(np.float32)


def _cloud_line(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return (rng.uniform(-1, 1, (512, 1)) * rng.normal(0, 0.15, 3) + rng.normal(0, 0.001, (512, 3))).astype(np.float32)


def _touch_rest(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    noise = rng.normal(0, rng.uniform(0.0, 0.05), (32, 2, 16, 16))
    return np.clip(noise, 0, None).astype(np.float32)


def _touch_noise(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return rng.gamma(0.5, 10 ** rng.uniform(0, 1.7), (32, 2, 16, 16)).clip(0, 1000).astype(np.float32)


def _touch_flat(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    """Return every cell pressed alike, all the time."""
    level = 10 ** rng.uniform(-0.5, 2)
    return (level + rng.normal(0, 0.02, (32, 2, 16, 16))).clip(0, 1000).astype(np.float32)


def _touch_mixed(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    """Return the cells of a real recording in another place, its moments in another order."""
    source = _pick(rng, real)
    flat = source.reshape(len(source), -1)[rng.permutation(len(source))]
    return np.ascontiguousarray(flat[:, rng.permutation(flat.shape[1])].reshape(source.shape))


def _touch_stuck(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    out = _touch_rest(rng, _).copy()
    out[:, rng.integers(2), rng.integers(16), rng.integers(16)] = rng.uniform(5, 500)
    return out


def _touch_stripes(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    wave = rng.uniform(5, 60) * (np.sin(np.arange(16) * rng.uniform(0.5, 2.5)) > 0)
    return np.ascontiguousarray(np.broadcast_to(wave, (32, 2, 16, 16)), dtype=np.float32)


def _pressure_rest(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return rng.normal(0, rng.uniform(0.0, 0.08), 1600).astype(np.float32)


def _pressure_noise(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return np.clip(rng.normal(0, 10 ** rng.uniform(-0.5, 1.5), 1600), -1000, 1000).astype(np.float32)


def _pressure_level(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return (rng.uniform(0.5, 20) + rng.normal(0, 0.03, 1600)).astype(np.float32)


def _pressure_mixed(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    mixed: Array = _shuffle_stretches(rng, _pick(rng, real)[None], 50)[0]
    return mixed


def _pressure_wave(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    time = np.arange(1600) / 1000
    return (rng.uniform(1, 15) * (1 + np.sin(2 * np.pi * rng.uniform(0.5, 30) * time))).astype(np.float32)


def _pressure_ramp(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return np.linspace(0, rng.uniform(2, 40), 1600).astype(np.float32)


def _emg_rest(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return rng.normal(0, rng.uniform(0.5, 8), (8, 1600)).astype(np.float32)


def _emg_noise(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    """Return every muscle at a level of its own that never changes."""
    levels = 10 ** rng.uniform(1, 3, (8, 1))
    return np.clip(levels * rng.normal(0, 1, (8, 1600)), -10_000, 10_000).astype(np.float32)


def _emg_mains(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    wave = np.sin(2 * np.pi * rng.choice([50.0, 60.0]) * np.arange(1600) / 1000 + rng.uniform(0, 6))
    mixed: Floats = rng.uniform(20, 800, (8, 1)) * wave + rng.normal(0, 5, (8, 1600))
    return mixed.astype(np.float32)


def _emg_mixed(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    source = _pick(rng, real)
    return _shuffle_stretches(rng, source[rng.permutation(len(source))], 50)


def _emg_bursts(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    gate = np.sin(2 * np.pi * rng.uniform(1, 8) * np.arange(1600) / 1000) > 0
    return (rng.uniform(50, 600) * gate * rng.normal(0, 1, (8, 1600))).clip(-10_000, 10_000).astype(np.float32)


def _emg_same(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    one = rng.normal(0, rng.uniform(50, 500), 1600)
    return np.ascontiguousarray(np.broadcast_to(one.clip(-10_000, 10_000), (8, 1600)), dtype=np.float32)


def _action_still(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return np.tile(rng.uniform(_POSE_LOW, _POSE_HIGH), (32, 1)).astype(np.float32)


def _action_noise(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    return rng.uniform(_POSE_LOW, _POSE_HIGH, (32, 7)).astype(np.float32)


def _action_mixed(rng: np.random.Generator, real: Sequence[Array]) -> Array:
    source = _pick(rng, real)
    return np.ascontiguousarray(source[rng.permutation(len(source))])


def _action_wander(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    """Return a random walk."""
    start = rng.uniform(_POSE_LOW, _POSE_HIGH)
    walk: Floats = start + np.cumsum(rng.normal(0, 0.06, (32, 7)) * (_POSE_HIGH - _POSE_LOW), axis=0)
    kept: Floats = np.clip(walk, _POSE_LOW, _POSE_HIGH)
    return kept.astype(np.float32)


def _action_circle(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    out = np.tile(rng.uniform(_POSE_LOW, _POSE_HIGH), (32, 1))
    turn = np.linspace(0, rng.uniform(3, 20), 32)
    out[:, 0], out[:, 1] = 0.15 * np.sin(turn), 0.15 * np.cos(turn)
    return out.astype(np.float32)


def _action_blink(rng: np.random.Generator, _: Sequence[Array]) -> Array:
    out = np.tile(rng.uniform(_POSE_LOW, _POSE_HIGH), (32, 1))
    out[:, 6] = np.arange(32) // int(rng.integers(1, 4)) % 2
    return out.astype(np.float32)


def _shuffle_stretches(rng: np.random.Generator, source: Array, length: int) -> Array:
    """Return ``source`` [C, n] with stretches of ``length`` in another order.

    What is left over at the end is dropped.
    """
    count = source.shape[1] // length
    if count < 2:
        return source
    cut = source[:, : count * length].reshape(len(source), count, length)
    return np.ascontiguousarray(cut[:, rng.permutation(count)].reshape(len(source), -1))


TRAINED: dict[str, dict[str, Make]] = {
    "video": {
        "noise": _video_noise,
        "flat": _video_flat,
        "blurred-noise": _video_blur,
        "shuffled-patches": _video_patches,
    },
    "point_cloud": {"box": _cloud_box, "blob": _cloud_blob, "empty-table": _cloud_table, "mixed-axes": _cloud_mixed},
    "touch": {"rest": _touch_rest, "noise": _touch_noise, "flat": _touch_flat, "mixed-cells": _touch_mixed},
    "pressure": {
        "rest": _pressure_rest,
        "noise": _pressure_noise,
        "level": _pressure_level,
        "shuffled-time": _pressure_mixed,
    },
    "emg": {"rest": _emg_rest, "steady": _emg_noise, "mains": _emg_mains, "shuffled-time": _emg_mixed},
    "action": {
        "still": _action_still,
        "noise": _action_noise,
        "shuffled-time": _action_mixed,
        "wander": _action_wander,
    },
}
LEFT_OUT: dict[str, dict[str, Make]] = {
    "video": {"moving-bars": _video_bars, "flicker": _video_flicker},
    "point_cloud": {"shell": _cloud_shell, "line": _cloud_line},
    "touch": {"stuck-cell": _touch_stuck, "stripes": _touch_stripes},
    "pressure": {"wave": _pressure_wave, "ramp": _pressure_ramp},
    "emg": {"bursts": _emg_bursts, "one-signal": _emg_same},
    "action": {"circle": _action_circle, "blink": _action_blink},
}
