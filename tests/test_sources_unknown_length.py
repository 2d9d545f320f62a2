"""Sounds that were written to a pipe: their writer did not know how long they get, and they are read to the end."""

import io
import struct

import numpy as np
import pytest
import soundfile

from curiosity.embedding.modalities import decode
from curiosity.protocol.errors import SourceError
from curiosity.sources.own.strip import strip_metadata

SECRET = b"SECRETPLACE"
_COUNT = slice(21, 26)  # of a FLAC stream: four bits of the sample size, 36 of the number of samples
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 32 + 8 + 6 + len(SECRET), 1, 0xA0000000) + bytes(8)
APE += struct.pack("<II", len(SECRET), 0) + b"Title\0" + SECRET


def sound(form: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, 0.3 * np.sin(np.arange(50_000) / 9), 16_000, format=form, subtype="PCM_16")
    return out.getvalue()


def of_unknown_length(flac: bytes) -> bytes:
    return flac[: _COUNT.start] + bytes([flac[_COUNT.start] & 0xF0]) + bytes(4) + flac[_COUNT.stop :]


def of_size(wav: bytes, riff: int, size: int) -> bytes:
    return wav[:4] + struct.pack("<I", riff) + wav[8:40] + struct.pack("<I", size) + wav[44:]


@pytest.mark.parametrize(
    ("riff", "size"),
    [(0x7FFFF024, 0x7FFFF000), (0x80000024, 0x80000000), (2**32 - 1, 2**32 - 1), (2**32 - 1, 0), (0, 0)],
    ids=["sox", "arecord", "ffmpeg", "size 0", "gstreamer"],
)
def test_a_wav_from_a_pipe_is_read_to_its_end(riff: int, size: int) -> None:
    whole = sound("WAV")
    assert strip_metadata(of_size(whole, riff, size), "audio/wav") == strip_metadata(whole, "audio/wav")


def test_a_wav_that_was_cut_short_stays_refused() -> None:
    whole = sound("WAV")
    for cut in (whole[:-100], of_size(whole, 0x7FFFFF, 0x7FFFDB)):
        with pytest.raises(SourceError, match="BROKEN_FILE"):
            strip_metadata(cut, "audio/wav")


@pytest.mark.parametrize(
    "tail",
    [b"", b"TAG" + SECRET.ljust(125, b"\0"), APE, b"LYRICSBEGIN" + SECRET + b"LYRICSEND", b"\xff\xf8\xc9\x18" + SECRET],
    ids=["none", "id3v1", "apev2", "lyrics3", "false frame"],
)
def test_a_flac_of_unknown_length_keeps_its_sound_and_loses_its_tags(tail: bytes) -> None:
    whole = sound("FLAC")
    stripped = strip_metadata(of_unknown_length(whole) + tail, "audio/flac")
    assert SECRET not in stripped
    assert stripped == strip_metadata(whole, "audio/flac")
    assert np.array_equal(decode("audio", stripped, "audio/flac"), decode("audio", whole, "audio/flac"))


def test_a_damaged_flac_of_unknown_length_is_refused() -> None:
    flac = of_unknown_length(sound("FLAC"))
    for damaged in (flac[: len(flac) // 2], flac[:8000] + bytes(200) + flac[8200:], flac[:200] + SECRET):
        with pytest.raises(SourceError, match="BROKEN_FILE"):
            strip_metadata(damaged, "audio/flac")
