"""A child process that converts pictures and sounds of packages: asked on stdin, answers on stdout.

It runs apart because the decoders are C libraries. So this file imports nothing but the standard library and those
decoders, and is started as a script in isolated mode.

Request  one line of JSON, {"kind": "picture" | "sound", "bytes", "side_px" | "max_s"}, and that many bytes.
Answer   one line of JSON, {"sizes": [...]} and so many bytes for each, or {"code", "what"}.
"""

import io
import json
import resource
import struct
import sys
import warnings
import zlib
from typing import Any

MAX_PIXELS = 50_000_000
SMALL_PX = 24
_MEMORY_BYTES = 3 << 30
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, KeyError, IndexError, TypeError, RuntimeError,
    OverflowError, ArithmeticError,
)  # fmt: skip


class MediaRefusal(Exception):
    """Why a file is not taken: code, what."""


def convert_picture(data: bytes, request: dict[str, Any]) -> list[bytes]:
    """Return PNG on white, RGB, no side over ``side_px``; and the same at 24 x 24 px as plain bytes, to find twins."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses what has twice as many
    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "WEBP", "JPEG"]) as opened:
            picture = opened.convert("RGBA")
    except Image.DecompressionBombError as error:
        raise MediaRefusal("IMAGE_TOO_LARGE", str(error)[:300]) from error
    white = Image.new("RGBA", picture.size, "white")
    white.alpha_composite(picture)
    plain = white.convert("RGB")
    plain.thumbnail((request["side_px"], request["side_px"]), Image.Resampling.LANCZOS)
    if plain.getextrema() == ((255, 255),) * 3:
        raise MediaRefusal("IMAGE_EMPTY", "nothing is on it")
    sink = io.BytesIO()
    plain.save(sink, "PNG")
    return [sink.getvalue(), plain.resize((SMALL_PX, SMALL_PX), Image.Resampling.BOX).tobytes()]


def convert_sound(data: bytes, request: dict[str, Any]) -> list[bytes]:
    """Return FLAC of 16 bits, rate and channels as they are."""
    import numpy as np
    import soundfile

    with soundfile.SoundFile(io.BytesIO(data)) as source:
        rate_hz, channels = source.samplerate, source.channels
        if not 8_000 <= rate_hz <= 96_000 or channels > 2:
            raise MediaRefusal("AUDIO_FORMAT", f"{rate_hz} Hz in {channels} channels")
        most = int(request["max_s"] * rate_hz)
        samples = source.read(most + 1, dtype="int16", always_2d=True)
    if len(samples) > most:
        raise MediaRefusal("AUDIO_TOO_LONG", f"over {request['max_s']} s")
    if not np.any(samples):
        raise MediaRefusal("AUDIO_EMPTY", "nothing is to be heard")
    sink = io.BytesIO()
    soundfile.write(sink, samples, rate_hz, format="FLAC", subtype="PCM_16")
    return [sink.getvalue()]


def answer(data: bytes, request: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
    """Return the header and parts of the answer to one request."""
    work = convert_picture if request["kind"] == "picture" else convert_sound
    try:
        parts = work(data, request)
    except MediaRefusal as refusal:
        return dict(zip(("code", "what"), refusal.args, strict=True)), []
    except _BROKEN as error:
        return {"code": "BROKEN_FILE", "what": f"{type(error).__name__}: {error}"[:300]}, []
    return {"sizes": [len(part) for part in parts]}, parts


def main() -> None:
    """Answer until stdin ends."""
    for kind, limit in (
        (resource.RLIMIT_AS, _MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, highest = resource.getrlimit(kind)
        resource.setrlimit(kind, (limit if highest == resource.RLIM_INFINITY else min(limit, highest),) * 2)
    warnings.simplefilter("ignore")
    for line in sys.stdin.buffer:
        request = json.loads(line)
        header, parts = answer(sys.stdin.buffer.read(request["bytes"]), request)
        sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + b"".join(parts))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
