"""Bytes become arrays under limits, or a refusal that says which rule; never anything else."""

import io
import struct
import zlib

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curiosity.embedding.modalities import MODALITIES, decode, find
from curiosity.embedding.modality import check_contract
from curiosity.protocol.errors import Rejected
from tests.material.modality import item, png_chunk


def png(pixels: np.ndarray, **options: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG", **options)
    return out.getvalue()


def wav(samples: np.ndarray, rate_hz: int = 16_000, **options: str) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, **({"format": "WAV"} | options))
    return out.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A valid header that promises width x height pixels, and next to nothing behind it."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b"\0" * 64)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def animated(kind: str) -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(out, kind, save_all=True, append_images=frames[1:])
    return out.getvalue()


TONE = 0.5 * np.sin(np.arange(16_000) * 0.2)
PICTURE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)

REFUSED = [
    ("text", "text/plain", b"\xff\xfe", "TEXT_NOT_UTF8"),
    ("text", "text/plain", b" \n\t ", "TEXT_EMPTY"),
    ("text", "text/plain", b"", "ITEM_EMPTY"),
    ("text", "text/plain", b"a\x00b", "TEXT_CONTROL_CHARACTER"),
    ("text", "text/plain", b"a" * 4_001, "TEXT_TOO_LONG"),
    ("text", "text/plain", b"a" * 16_385, "ITEM_TOO_LARGE"),
    ("text", "text/html", b"a", "MEDIA_TYPE_UNKNOWN"),
    ("smell", "text/plain", b"a", "MODALITY_UNKNOWN"),
    ("image", "image/png", b"not a picture", "IMAGE_NOT_DECODABLE"),
    ("image", "image/jpeg", png(PICTURE), "IMAGE_NOT_DECODABLE"),
    ("image", "image/png", png(PICTURE)[:-40], "IMAGE_NOT_DECODABLE"),
    ("image", "image/png", huge_png(10_000, 5_001), "IMAGE_TOO_LARGE"),
    ("image", "image/png", huge_png(2**31 - 1, 2**31 - 1), "IMAGE_TOO_LARGE"),
    ("image", "image/png", animated("PNG"), "IMAGE_NOT_STILL"),
    ("image", "image/webp", animated("WEBP"), "IMAGE_NOT_STILL"),
    ("image", "image/gif", b"GIF89a", "MEDIA_TYPE_UNKNOWN"),
    ("audio", "audio/wav", b"RIFF....", "AUDIO_NOT_DECODABLE"),
    ("audio", "audio/flac", wav(TONE), "AUDIO_FORMAT"),
    ("audio", "audio/wav", wav(TONE, 4_000), "AUDIO_FORMAT"),
    ("audio", "audio/wav", wav(np.zeros((100, 3))), "AUDIO_FORMAT"),
    ("audio", "audio/wav", wav(np.zeros(0)), "AUDIO_EMPTY"),
    ("audio", "audio/wav", wav(np.zeros(16_000 * 31)), "AUDIO_TOO_LONG"),
    ("audio", "audio/wav", wav(TONE * 4, subtype="FLOAT"), "AUDIO_OUT_OF_RANGE"),
    ("audio", "audio/wav", wav(np.full(100, np.nan), subtype="FLOAT"), "AUDIO_OUT_OF_RANGE"),
]


@pytest.mark.parametrize(("modality", "media_type", "data", "code"), REFUSED)
def test_bad_items_are_refused_with_their_rule(modality: str, media_type: str, data: bytes, code: str) -> None:
    with pytest.raises(Rejected) as refused:
        decode(modality, data, media_type)
    assert (refused.value.code, refused.value.status) == (code, 422)


def test_text_is_composed_and_white_space_collapsed() -> None:
    assert decode("text", "\ufeff Cafe\u0301 \n au  lait ".encode(), "text/plain").tobytes().decode() == "Café au lait"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_of_every_format_keep_their_colours(kind: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (40, 20), (200, 30, 60)).save(out, kind)
    array = decode("image", out.getvalue(), f"image/{kind.lower()}")
    assert array.shape == (20, 40, 3)
    assert np.abs(array.astype(int) - (200, 30, 60)).max() <= 3


def test_transparency_lies_on_white_and_orientation_is_applied() -> None:
    out = io.BytesIO()
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(out, "PNG")
    assert decode("image", out.getvalue(), "image/png").min() == 255
    turned = Image.fromarray(PICTURE)
    turned.getexif()[0x0112] = 6  # rotate by a quarter turn
    out = io.BytesIO()
    turned.save(out, "JPEG", exif=turned.getexif())
    assert decode("image", out.getvalue(), "image/jpeg").shape == (30, 20, 3)


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    grey = np.full((4, 4), 0x8000, dtype=np.uint16)
    assert set(np.unique(decode("image", png(grey), "image/png"))) == {0x80}


def test_large_pictures_shrink_to_what_towers_take() -> None:
    assert decode("image", png(np.zeros((900, 450, 3), dtype=np.uint8)), "image/png").shape == (384, 192, 3)


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_a_tone_keeps_its_pitch_and_loudness_at_every_rate(rate_hz: int) -> None:
    time = np.arange(rate_hz) / rate_hz
    array = decode("audio", wav(0.5 * np.sin(2 * np.pi * 440 * time), rate_hz), "audio/wav")
    spectrum = np.abs(np.fft.rfft(array))
    assert len(array) == 16_000
    assert spectrum.argmax() == 440
    assert np.sqrt((array**2).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=1e-3)


@pytest.mark.parametrize(
    ("media_type", "options"), [("audio/flac", {"format": "FLAC"}), ("audio/ogg", {"format": "OGG"})]
)
def test_other_sound_formats_and_two_channels(media_type: str, options: dict[str, str]) -> None:
    array = decode("audio", wav(np.stack([TONE, TONE], axis=1), 16_000, **options), media_type)
    assert np.abs(array - TONE).mean() < 0.02


def test_contract_is_checked_and_nothing_is_clamped() -> None:
    for modality, array in (
        ("audio", np.zeros(10, dtype=np.float64)),
        ("audio", np.full(10, 1.5, dtype=np.float32)),
        ("audio", np.full(10, np.inf, dtype=np.float32)),
        ("audio", np.zeros(0, dtype=np.float32)),
        ("image", np.zeros((4, 4), dtype=np.uint8)),
        ("image", np.zeros((4, 4, 4), dtype=np.uint8)),
        ("text", np.zeros(4, dtype=np.uint8)),
    ):
        with pytest.raises(Rejected, match="ARRAY_NOT_IN_CONTRACT"):
            check_contract(find(modality), array)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutated_items_are_decoded_or_refused(data: st.DataObject) -> None:
    modality = data.draw(st.sampled_from(MODALITIES))
    media_type = data.draw(st.sampled_from(modality.media_types))
    seed = bytearray(item(modality.name, media_type))
    for _ in range(data.draw(st.integers(0, 8))):
        seed[data.draw(st.integers(0, len(seed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(seed)))
    try:
        check_contract(modality, decode(modality.name, bytes(seed[: cut or None]), media_type))
    except Rejected as refused:
        if refused.status != 422 or refused.code == "ARRAY_NOT_IN_CONTRACT":
            raise
