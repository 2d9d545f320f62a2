"""Pictures and sounds that people have and the network does not take, turned into what it takes before they are signed.

HEIC, AVIF, BMP and TIFF become PNG; MP3, M4A and Opus become FLAC. The decoders are large C libraries and the files
come from anywhere, so each file is decoded in a process of its own (`convert_worker`), with limits on memory, processor
time and output: a file that breaks its decoder costs itself and nothing else.
"""

import io
import json
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from curiosity.protocol.errors import SourceError
from curiosity.protocol.json_reader import read_json
from curiosity.sources.own.media_type import CONVERTED
from curiosity.sources.own.strip import strip_metadata

# 50 million pixels in four channels take 200 MB, and decoding holds a few copies.
_MEMORY_BYTES: Final = 4 << 30
_PROCESSOR_S: Final = 600  # a safety stop: what is limited is pixels and samples
_HEADER_BYTES: Final = 4096
_SAMPLE_BYTES: Final = 2
_REMEDY: Final = "Check that it opens in a viewer or player, and save it again as {}."


@dataclass(frozen=True)
class Conversion:
    """What a file was and what is signed in its place. Sizes in bytes; ``changes`` says what else changed, in words."""

    from_type: str
    to_type: str
    bytes_before: int
    bytes_after: int
    changes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self) | {"changes": list(self.changes)}


def convert(data: bytes, media_type: str, *, where: str) -> tuple[bytes, Conversion]:
    """Return what to sign in place of ``data``, a file of one of the media types in `CONVERTED`, without metadata.

    A picture becomes PNG, upright, with the same pixels; with an ICC profile its colours become sRGB, and where the PNG
    would be larger than an item may be, each side is divided by the smallest whole number that helps. A sound becomes
    16-bit FLAC at its own rate. The same bytes give the same bytes, as long as the libraries are the same.

    Raises:
        SourceError: BROKEN_FILE, IMAGE_TOO_LARGE, IMAGE_NOT_STILL, IMAGE_DEPTH, AUDIO_TOO_LONG, AUDIO_FORMAT,
            AUDIO_EMPTY, NOT_A_SOUND, CONVERTER_MISSING, CONVERT_FAILED (the decoder died or met a limit).
    """
    is_picture = media_type.startswith("image/")
    header, payload = _decode_apart(data, media_type, where=where, is_picture=is_picture)
    if "code" in header:
        raise SourceError(header["code"], f"{where}: {header['what']}", header["remedy"])
    to_type = "image/png" if is_picture else "audio/flac"
    made = payload if is_picture else _encode_flac(payload, header["rate_hz"], header["channels"])
    made = strip_metadata(made, to_type, where=where)
    return made, Conversion(media_type, to_type, len(data), len(made), tuple(header["changes"]))


def _decode_apart(data: bytes, media_type: str, *, where: str, is_picture: bool) -> tuple[dict[str, Any], bytes]:
    """Return the worker's header and what stands behind it.

    Raises:
        SourceError: CONVERT_FAILED.
    """
    from curiosity.embedding.modalities.audio import (
        LIMITS as SOUND,  # these load NumPy: not before something is converted
    )
    from curiosity.embedding.modalities.audio import MAX_CHANNELS, MAX_RATE_HZ, MIN_RATE_HZ
    from curiosity.embedding.modalities.image import LIMITS as PICTURE

    # As large as the longest sound that is taken, or as a picture may be.
    payload_bytes = PICTURE.max_bytes if is_picture else int(SOUND.max_s * MAX_RATE_HZ) * MAX_CHANNELS * _SAMPLE_BYTES
    request = {
        "media_type": media_type, "max_pixels": PICTURE.max_pixels, "max_bytes": payload_bytes, "max_s": SOUND.max_s,
        "rates_hz": [MIN_RATE_HZ, MAX_RATE_HZ], "max_channels": MAX_CHANNELS,
        "max_output_bytes": payload_bytes + _HEADER_BYTES, "max_memory_bytes": _MEMORY_BYTES,
        "max_processor_s": _PROCESSOR_S,
    }  # fmt: skip
    # Isolated (-I): the worker sees the standard library and installed packages, nothing of ours and no variables.
    worker = [sys.executable, "-I", str(Path(__file__).with_name("convert_worker.py")), json.dumps(request)]
    try:
        # Files, not pipes: the kernel bounds what the worker may write, and neither side waits for the other.
        with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as sink:
            source.write(data)
            source.seek(0)
            ended = subprocess.run(
                worker, stdin=source, stdout=sink, stderr=subprocess.DEVNULL, env={"PATH": os.defpath}, check=False
            )
            sink.seek(0)
            answer = sink.read()
    except OSError as error:
        raise SourceError(
            "CONVERT_FAILED",
            f"{where}: its {len(data)} bytes cannot be handed to a decoder ({error.strerror})",
            f"Free some space in {tempfile.gettempdir()}.",
        ) from error
    line, _, payload = answer.partition(b"\n")
    try:
        if ended.returncode != 0:
            raise ValueError(_describe_end(ended.returncode))
        header = read_json(line)
        if not isinstance(header, dict):
            raise ValueError("it answered in no form that is known")
    except ValueError as error:
        raise SourceError(
            "CONVERT_FAILED",
            f"{where}: the decoder of {CONVERTED[media_type]} files gave up on {len(data)} bytes ({error})",
            _REMEDY.format("PNG" if is_picture else "FLAC"),
        ) from error
    return header, payload


def _describe_end(status: int) -> str:
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return f"exit status {status}"


def _encode_flac(samples: bytes, rate_hz: int, channels: int) -> bytes:
    """Return FLAC of interleaved signed 16-bit samples in the machine's byte order."""
    import numpy as np
    import soundfile  # slow to load, and only sounds need it

    sink = io.BytesIO()
    soundfile.write(
        sink, np.frombuffer(samples, np.int16).reshape(-1, channels), rate_hz, format="FLAC", subtype="PCM_16"
    )
    return sink.getvalue()
