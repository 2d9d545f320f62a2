"""What decoding an item costs, in declared units, read from its headers alone; and budgets for it.

A unit is about what unpacking one pixel of a PNG and laying it on white takes: 10 to 40 ns, by the machine. Costs are
declared and not measured, so that the same bytes cost the same everywhere and no refusal depends on a clock. `COSTS` is
the published table; `python -m benchmarks.routes` measures what a unit takes. Imports no torch; runs where items are
decoded.
"""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import av
import soundfile
from PIL import Image as Pillow

from curiosity.embedding.coded_frames import count_coded_frames
from curiosity.embedding.modalities import audio, find, gif, image, video
from curiosity.embedding.modalities.bare import bare_gif, bare_picture, count_behind_pixels
from curiosity.embedding.modality import refuse

ITEM_UNITS = 200_000
"""What every item costs beside its decoding: the way to a process and back, its encodings on the device."""
MAX_SPARE_BYTES = 256
"""How much of a picture may be there for nothing: what tells its colours and its turn, and no other picture."""
LOST_PROCESS_UNITS = 250_000_000
"""What an item costs that keeps a process busy until it is ended, or breaks it: five seconds' worth."""

COSTS = {
    "every item": f"{ITEM_UNITS:,}, and 1 a byte",
    "image/png, image/webp": "1 a pixel; 2 a pixel of a PNG of 16-bit colours one of which is transparent",
    "image/jpeg": "1/8 a pixel and 1/64 a pixel of each scan: only what the scaled picture needs is unpacked",
    "image/gif": "1 a pixel of the canvas, for each frame",
    "video/mp4, video/webm": "1/4 a pixel, for each coded frame, shown or not",
    "audio": "1 a sample of each channel, 2 a sample at 16 kHz; where the rate is changed, a sixteenth of a sample for "
    "each 1 in the sum of the prime factors of the number of samples, at most 12",
    "text, arrays": "nothing but its bytes",
}
_MAX_FACTORS = 192  # from there on a Fourier transform takes another way, which costs about as much
# What Pillow, libsndfile and FFmpeg raise on bytes that they cannot open: decoding then says which rule they break.
_BROKEN = (
    av.FFmpegError, Pillow.DecompressionBombError, struct.error, zlib.error, OSError, SyntaxError, ValueError, EOFError,
    LookupError, OverflowError, RuntimeError, TypeError,
)  # fmt: skip


@dataclass(frozen=True)
class Budget:
    """How many units an item may cost: ``base`` and ``per_byte`` for each of its bytes, at most ``most``."""

    base: int
    per_byte: int
    most: int

    def units(self, size: int) -> int:
        """Return what an item of ``size`` bytes may cost."""
        return min(self.base + self.per_byte * size, self.most)

    def check(self, units: int, size: int, media_type: str) -> None:
        """Refuse an item that costs more.

        Raises:
            Rejected: ITEM_OVER_BUDGET.
        """
        allowed = self.units(size)
        if units > allowed:
            raise refuse(
                "ITEM_OVER_BUDGET",
                f"unpacking these {size} bytes of {media_type} costs {units} units, allowed are {allowed}: "
                f"{self.base} and {self.per_byte} a byte, at most {self.most} (a pixel of a PNG is one)",
                "Send it smaller: pictures of 384 px a side, sounds at 16 kHz, videos of 256 px a side lose nothing.",
            )


def measure(name: str, data: bytes, media_type: str) -> int:
    """Return what decoding an item costs beyond `ITEM_UNITS`. What cannot be opened costs its bytes, as its refusal.

    A modality from outside this repository costs its bytes, or what its method ``work(data, media_type)`` says.

    Raises:
        Rejected: what the modality says of the item's headers.
    """
    modality = find(name)
    own: Callable[[bytes, str], int] | None = getattr(modality, "work", None) or _UNPACKING.get(name)
    if own is None:
        return len(data)
    with contextlib.suppress(*_BROKEN):
        units: int = own(data, media_type)
        return len(data) + units
    return len(data)


def check_spare(name: str, data: bytes, media_type: str) -> None:
    """Refuse a picture that carries more than MAX_SPARE_BYTES that its pixels do not need.

    They would be served, and nobody looks at them: another picture may stand there.

    Raises:
        Rejected: ITEM_SPARE_BYTES.
    """
    spare = 0
    with contextlib.suppress(*_BROKEN):
        if name == "image":
            spare = bare_picture(data, media_type).spare
            if media_type == "image/png" and spare <= MAX_SPARE_BYTES:
                spare += count_behind_pixels(data)
        elif media_type == gif.MEDIA_TYPE:
            spare = bare_gif(data).spare
    if spare > MAX_SPARE_BYTES:
        raise refuse(
            "ITEM_SPARE_BYTES",
            f"{spare} of {len(data)} bytes of {media_type} say nothing about its pixels, allowed are {MAX_SPARE_BYTES}",
            "Take out texts, profiles, previews and comments, as `curiosity submit` does.",
        )


def _image(data: bytes, media_type: str) -> int:
    data = bare_picture(data, media_type).data
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Pillow.open(io.BytesIO(data), formats=[image.FORMATS[media_type]]) as picture:
            pixels = picture.width * picture.height * (2 if image.has_two_passes(picture) else 1)
    if media_type != "image/jpeg":
        return pixels
    return pixels // 8 + pixels * data.count(b"\xff\xda") // 64


def _audio(data: bytes, _media_type: str) -> int:
    with soundfile.SoundFile(io.BytesIO(data)) as sound:
        rate_hz, channels = int(sound.samplerate), int(sound.channels)
        # No more is read than the header promises, nor than the limit and one.
        frames = max(0, min(int(sound.frames), int(audio.LIMITS.max_s * rate_hz) + 1))
    units = frames * channels + 2 * frames * audio.RATE_HZ // max(1, rate_hz)
    if rate_hz != audio.RATE_HZ:
        units += frames * min(_sum_of_factors(frames), _MAX_FACTORS) // 16
    return units


def _video(data: bytes, media_type: str) -> int:
    if media_type == gif.MEDIA_TYPE:
        width, height, count, _ = gif.scan(data, video.LIMITS.max_frames)
        return width * height * count
    return count_coded_frames(data, media_type) // 4


_UNPACKING: dict[str, Callable[[bytes, str], int]] = {"image": _image, "audio": _audio, "video": _video}


def _sum_of_factors(number: int) -> int:
    """Return the sum of the prime factors: what a Fourier transform of this length takes for each of its values."""
    total, factor = 0, 2
    while factor * factor <= number:
        while number % factor == 0:
            total, number = total + factor, number // factor
        factor += 1
    return total + number
