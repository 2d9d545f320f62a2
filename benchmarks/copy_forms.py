"""What people do to an item to be paid for it twice: copies of pictures, sounds and captions."""

import io
from collections.abc import Callable, Mapping

import numpy as np
import soundfile
from PIL import Image as Pillow
from PIL import ImageDraw
from scipy.signal import istft, resample, stft

from curiosity.embedding.modalities.audio import AUDIO, RATE_HZ
from curiosity.embedding.modality import Array

Form = Callable[[Array, np.random.Generator], Array]
WHITE, BLACK = (255, 255, 255), (0, 0, 0)


def jpeg(array: Array, quality: int) -> Array:
    """Return the picture after JPEG."""
    file = io.BytesIO()
    Pillow.fromarray(array).save(file, "JPEG", quality=quality)
    return np.asarray(Pillow.open(file).convert("RGB"))


def tilt(array: Array, degrees: float, fill: tuple[int, int, int] = WHITE) -> Array:
    """Return the picture turned about its centre, of the same size."""
    turned = Pillow.fromarray(array).rotate(degrees, Pillow.Resampling.BICUBIC, fillcolor=fill)
    return np.asarray(turned)


def cut(array: Array, area: float, random: np.random.Generator) -> Array:
    """Return a cut of the same form with that share of the area, anywhere."""
    height, width = (max(1, round(length * area**0.5)) for length in array.shape[:2])
    top = int(random.integers(0, array.shape[0] - height + 1))
    left = int(random.integers(0, array.shape[1] - width + 1))
    return array[top : top + height, left : left + width]


def label(array: Array) -> Array:
    """Return the picture with a line of text on a black bar over its lowest fifth."""
    picture = Pillow.fromarray(array)
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    draw.rectangle((0, round(height * 0.8), width, height), fill=BLACK)
    draw.text((width * 0.1, height * 0.85), "FREE PICTURE", fill=WHITE)
    return np.asarray(picture)


def hue(array: Array, steps: int = 64) -> Array:
    """Return the picture with every hue turned by a quarter."""
    h, s, v = Pillow.fromarray(array).convert("HSV").split()
    return np.asarray(Pillow.merge("HSV", (h.point(lambda level: (level + steps) % 256), s, v)).convert("RGB"))


def pad(array: Array, level: int) -> Array:
    """Return the picture with a tenth of its sides around it."""
    rows, columns = array.shape[0] // 10, array.shape[1] // 10
    return np.pad(array, ((rows, rows), (columns, columns), (0, 0)), constant_values=level)


def bright(array: Array, factor: float) -> Array:
    """Return the picture with its levels times ``factor``."""
    return np.clip(array * factor, 0, 255).astype(np.uint8)


PICTURES: Mapping[str, Form] = {
    "recoded": lambda a, _: a.copy(),
    "shift 2 px": lambda a, _: np.roll(a, (1, 2), (0, 1)),
    "shift 6 px": lambda a, _: np.roll(a, (6, 6), (0, 1)),
    "hflip": lambda a, _: a[:, ::-1],
    "vflip": lambda a, _: a[::-1],
    "rot90": lambda a, _: np.rot90(a),
    "rot5": lambda a, _: tilt(a, 5),
    "rot5 black": lambda a, _: tilt(a, -5, BLACK),
    "rot7": lambda a, _: tilt(a, 7),
    "rot15": lambda a, _: tilt(a, 15),
    "crop 10 %": lambda a, random: cut(a, 0.9, random),
    "crop 25 %": lambda a, random: cut(a, 0.75, random),
    "crop 35 %": lambda a, random: cut(a, 0.65, random),
    "jpeg30": lambda a, _: jpeg(a, 30),
    "jpeg90": lambda a, _: jpeg(a, 90),
    "resize48": lambda a, _: np.asarray(Pillow.fromarray(a).resize((48, 48))),
    "brighter": lambda a, _: bright(a, 1.3),
    "darker": lambda a, _: bright(a, 0.7),
    "grey": lambda a, _: np.asarray(Pillow.fromarray(a).convert("L").convert("RGB")),
    "hue": lambda a, _: hue(a),
    "pad white": lambda a, _: pad(a, 255),
    "pad black": lambda a, _: pad(a, 0),
    "text box": lambda a, _: label(a),
    "crop+flip+jpeg": lambda a, random: jpeg(np.ascontiguousarray(cut(a, 0.8, random)[:, ::-1]), 50),
}


def vorbis(samples: Array) -> Array:
    """Return the sound after Ogg Vorbis."""
    file = io.BytesIO()
    soundfile.write(file, samples, RATE_HZ, format="OGG", subtype="VORBIS")
    return AUDIO.decode(file.getvalue(), "audio/ogg")


def play_faster(samples: Array, semitones: float) -> Array:
    """Return the sound played faster, which raises its pitch too."""
    length = max(1, round(len(samples) / 2 ** (semitones / 12)))
    faster: Array = np.clip(resample(samples, length), -1, 1).astype(np.float32)
    return faster


def raise_pitch(samples: Array, semitones: float) -> Array:
    """Return the sound with its pitch raised and its length kept (phase vocoder)."""
    size, hop = 1024, 256
    _, _, waves = stft(samples, RATE_HZ, nperseg=size, noverlap=size - hop)
    advance = 2 * np.pi * hop * np.arange(len(waves)) / size
    phase, frames = np.angle(waves[:, 0]), []
    for place in np.arange(0, waves.shape[1] - 1, 2 ** (-semitones / 12)):
        at, rest = int(place), place % 1
        size_of = (1 - rest) * np.abs(waves[:, at]) + rest * np.abs(waves[:, at + 1])
        frames.append(size_of * np.exp(1j * phase))
        turned = np.angle(waves[:, at + 1]) - np.angle(waves[:, at]) - advance
        phase = phase + advance + turned - 2 * np.pi * np.round(turned / (2 * np.pi))
    _, longer = istft(np.stack(frames, 1), RATE_HZ, nperseg=size, noverlap=size - hop)
    raised = resample(longer, len(samples))
    level: Array = (raised / max(1.0, float(np.abs(raised).max()))).astype(np.float32)
    return level


def add_noise(samples: Array, random: np.random.Generator) -> Array:
    """Return the sound with white noise 30 dB below it."""
    noise = random.normal(0, float(samples.std()) / 10**1.5, len(samples))
    return np.clip(samples + noise, -1, 1).astype(np.float32)


SOUNDS: Mapping[str, Form] = {
    "re-encode": lambda a, _: vorbis(a),
    "+1 semitone, faster": lambda a, _: play_faster(a, 1),
    "-1 semitone, slower": lambda a, _: play_faster(a, -1),
    "+1 semitone": lambda a, _: raise_pitch(a, 1),
    "-1 semitone": lambda a, _: raise_pitch(a, -1),
    "+3 semitones, faster": lambda a, _: play_faster(a, 3),
    "+3 semitones": lambda a, _: raise_pitch(a, 3),
    "trim 10 % at the start": lambda a, _: a[len(a) // 10 :],
    "trim 10 % at the end": lambda a, _: a[: -max(1, len(a) // 10)],
    "gain": lambda a, _: a * np.float32(0.3),
    "noise 30 dB": lambda a, random: add_noise(a, random),
    "silence first": lambda a, _: np.pad(a, (8_000, 3_000)),
    "backwards": lambda a, _: a[::-1],
}

CAPTIONS: Mapping[str, Callable[[str], str]] = {
    "case and full stop": lambda t: t.upper() + ".",
    "icon: X": lambda t: f"icon: {t}",
    "a picture of X": lambda t: f"a picture of {t}",
    "X, photo": lambda t: f"{t}, photo",
    "wide letters": lambda t: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in t),
    "words turned round": lambda t: " ".join(reversed(t.split())),
    "plural": lambda t: t + ("" if t.endswith("s") else "s"),
    "one more word": lambda t: f"beautiful {t}",
    "two more words": lambda t: f"beautiful {t} today",
    "a word left out": lambda t: " ".join(t.split()[1:]) or t,
    "a letter wrong": lambda t: t[: len(t) // 2] + "x" + t[len(t) // 2 + 1 :],
}
