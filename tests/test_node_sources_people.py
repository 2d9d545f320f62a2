"""What people's own files are like: turned pictures, tags where nobody looks for them."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image, PngImagePlugin

from embedding.modalities import decode
from node.sources.item import load_item

NAME = b"Jane Doe"


def turned_pixels() -> np.ndarray:
    pixels = np.zeros((24, 40, 3), np.uint8)
    pixels[:, :20] = (255, 0, 0)
    pixels[:6] = (0, 255, 0)
    return pixels


def exif_of(orientation: int, kind: int = 3) -> bytes:
    """EXIF with the orientation as SHORT (3) or LONG (4), and a name."""
    value = struct.pack("<HH", orientation, 0) if kind == 3 else struct.pack("<I", orientation)
    entries = struct.pack("<HHI", 0x0112, kind, 1) + value + struct.pack("<HHII", 0x013B, 2, len(NAME) + 1, 38)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4) + NAME + b"\0"


def xmp_of(orientation: int) -> bytes:
    return (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="{orientation}"/>'
        f"{NAME.decode()}</rdf:RDF></x:xmpmeta>"
    ).encode()


def picture(form: str, orientation: int, how: str) -> bytes:
    out = io.BytesIO()
    image = Image.fromarray(turned_pixels())
    if how == "xmp":
        if form == "PNG":
            notes = PngImagePlugin.PngInfo()
            notes.add_itxt("XML:com.adobe.xmp", xmp_of(orientation).decode())
            image.save(out, form, pnginfo=notes)
        else:
            image.save(out, form, quality=95, xmp=xmp_of(orientation))
    else:
        image.save(out, form, quality=95, exif=exif_of(orientation, 4 if how == "long" else 3))
    return out.getvalue()


def sent(data: bytes, path: Path) -> bytes:
    """What a contributor's client sends for a file with these bytes."""
    path.write_bytes(data)
    return load_item(path).read()


@pytest.mark.parametrize("how", ["short", "long", "xmp"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_a_turned_picture_stands_as_it_was_seen(form: str, how: str, tmp_path: Path) -> None:
    media_type = f"image/{form.lower()}"
    for orientation in range(1, 9):
        data = picture(form, orientation, how)
        assert NAME in data
        stripped = sent(data, tmp_path / f"x.{form.lower()}")
        assert NAME not in stripped
        assert (decode("image", stripped, media_type) == decode("image", data, media_type)).all()
    whole = decode("image", picture(form, 6, how), media_type)
    assert whole.shape == (40, 24, 3)  # the decoder does turn: the two above agree on more than doing nothing


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_notes_that_cannot_be_read_cost_no_picture(form: str, tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.fromarray(turned_pixels()).save(out, form, quality=95, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + NAME)
    stripped = sent(out.getvalue(), tmp_path / f"x.{form.lower()}")
    assert NAME not in stripped
    assert decode("image", stripped, f"image/{form.lower()}").shape == (24, 40, 3)


# -- FLAC


def flac(samples: int = 30_000) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, (0.5 * np.sin(np.arange(samples) / 6)).astype(np.float32), 16_000, format="FLAC")
    return out.getvalue()


def id3v1() -> bytes:
    return b"TAG" + NAME.ljust(125, b"\0")


def apev2() -> bytes:
    item = struct.pack("<II", len(NAME), 0) + b"Artist\0" + NAME
    frame = struct.pack("<IIII8x", 2000, len(item) + 32, 1, 0)
    return b"APETAGEX" + frame + item + b"APETAGEX" + frame


def lyrics3() -> bytes:
    body = b"LYRICSBEGINEAR" + f"{len(NAME):05d}".encode() + NAME
    return body + f"{len(body):06d}".encode() + b"LYRICS200"


def id3v2(size: int, flags: int = 0) -> bytes:
    body = NAME.ljust(size, b"\0")
    digits = bytes(size >> shift & 127 for shift in (21, 14, 7, 0))
    head = b"ID3\4\0" + bytes([flags]) + digits
    return head + body + (b"3DI" + head[3:] if flags & 0x10 else b"")


@pytest.mark.parametrize(
    "tail",
    [id3v1(), apev2(), apev2() + id3v1(), lyrics3() + id3v1(), id3v2(300), NAME, b"\xff\xf8" * 9 + NAME, NAME * 20_000],
)
def test_nothing_behind_the_last_frame_of_a_flac_is_sent(tail: bytes, tmp_path: Path) -> None:
    clean = sent(flac(), tmp_path / "a.flac")
    assert sent(flac() + tail, tmp_path / "b.flac") == clean
    assert len(decode("audio", clean, "audio/flac")) == 30_000


@pytest.mark.parametrize("tag", [id3v2(8), id3v2(64), id3v2(64, 0x10), id3v2(300_000), id3v2(9_000) * 3])
def test_a_flac_behind_id3_tags_is_a_flac(tag: bytes, tmp_path: Path) -> None:
    assert sent(tag + flac(), tmp_path / "b.flac") == sent(flac(), tmp_path / "a.flac")


def test_a_flac_that_lacks_its_end_is_left_to_the_decoder(tmp_path: Path) -> None:
    whole = sent(flac(), tmp_path / "a.flac")
    assert sent(flac()[:-1], tmp_path / "b.flac") == whole[:-1]


def test_checksums_of_a_turned_png_hold(tmp_path: Path) -> None:
    data, at = sent(picture("PNG", 6, "short"), tmp_path / "x.png"), 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        assert zlib.crc32(data[at + 4 : at + 8 + size]) == int.from_bytes(data[at + 8 + size : at + 12 + size], "big")
        at += 12 + size
