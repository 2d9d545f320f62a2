"""Pictures are cut down to the bytes of their pixels before a decoder sees them: what is cut, and what may be there."""

import io
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageOps, PngImagePlugin

from curiosity.embedding.modalities import decode
from curiosity.embedding.modalities.bare import bare_gif, bare_picture
from curiosity.embedding.modality import Array
from curiosity.embedding.work import ITEM_UNITS, MAX_SPARE_BYTES, check_spare, measure
from curiosity.protocol.errors import Rejected
from curiosity.protocol.pair import Item
from curiosity.sources.own.strip import strip_metadata
from tests.material.modality import png_chunk
from tests.material.service import running

STILL = {"image/png": "PNG", "image/jpeg": "JPEG", "image/webp": "WEBP"}
MODES = ("L", "LA", "P", "RGB", "RGBA", "1", "CMYK", "I;16")
XMP = '<x:xmpmeta><rdf:Description tiff:Orientation="{}"/></x:xmpmeta>'


def exif(turn: int, *, order: str = ">", kind: int = 3, extra: int = 0, far: bool = False) -> bytes:
    """EXIF that turns a picture, behind ``extra`` entries that all name the same bytes: those of the whole file."""
    total = 8 + 2 + 12 * (extra + 1) + 4
    number = {3: "HH", 4: "I"}[kind]
    value = struct.pack(order + number, *((turn, 0) if kind == 3 else (turn,)))
    entry = struct.pack(order + "HHI", 0x0112, kind, 1) + value
    if far:  # a fraction, which stands elsewhere
        entry = struct.pack(order + "HHII", 0x0112, 5, 1, total)
    same = struct.pack(order + "HHII", 0x9999, 7, total - 9, 8) * extra
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(order + "IH", 8, extra + 1)
    return head + same + entry + bytes(4) + (struct.pack(order + "II", turn, 1) if far else b"")


def still(mode: str, size: tuple[int, int], seed: int) -> Pillow.Image:
    wide, high = size
    colours = np.random.default_rng(seed).integers(0, 256, (high, wide, 3), dtype=np.uint8)
    if mode == "I;16":
        return Pillow.fromarray(colours[..., 0].astype(np.uint16) * 257)
    return Pillow.fromarray(colours).convert(mode)


def save(picture: Pillow.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def as_pillow_does(data: bytes) -> Array:
    """Decode a picture of at most 384 px a side without any cutting: the modality's rules, by Pillow alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Pillow.open(io.BytesIO(data)) as picture:
            upright = ImageOps.exif_transpose(picture)
    if upright.mode.startswith("I;16"):
        upright = Pillow.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
    if upright.has_transparency_data:
        rgba = upright.convert("RGBA")
        upright = Pillow.alpha_composite(Pillow.new("RGBA", rgba.size, "white"), rgba)
    return np.asarray(upright.convert("RGB"))


def of_notes(xmp: str, notes: bytes) -> dict[str, Any]:
    return {key: value for key, value in (("exif", notes), ("xmp", xmp.encode())) if value}


@given(
    mode=st.sampled_from(MODES),
    media_type=st.sampled_from(sorted(STILL)),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    turn=st.integers(0, 9),
    order=st.sampled_from("<>"),
    kind=st.sampled_from((3, 4)),
    far=st.booleans(),
    prefix=st.booleans(),
    where=st.sampled_from(("exif", "xmp", "both", "none")),
    profile=st.binary(max_size=2_000),
    seed=st.integers(0, 9),
)
def test_sound_pictures_decode_as_without_any_cutting(
    mode: str, media_type: str, size: tuple[int, int], turn: int, order: str, kind: int, far: bool, prefix: bool,
    where: str, profile: bytes, seed: int,
) -> None:  # fmt: skip
    form = STILL[media_type]
    notes = exif(turn, order=order, kind=kind, far=far) if where in ("exif", "both") else b""
    notes = b"Exif\0\0" + notes if notes and (prefix or form == "JPEG") else notes
    xmp = XMP.format(turn + 1 if turn < 9 else 0) if where in ("xmp", "both") else ""
    options: dict[str, Any] = of_notes("" if form == "PNG" else xmp, notes) | {"icc_profile": profile or None}
    if form == "PNG" and xmp:
        texts = PngImagePlugin.PngInfo()
        texts.add_itxt("XML:com.adobe.xmp", xmp, zip=seed % 2 == 0)
        options["pnginfo"] = texts
    try:
        data = save(still(mode, size, seed), form, **options)
    except OSError:
        return  # a form that does not take the mode
    bare = bare_picture(data, media_type)
    assert np.array_equal(decode("image", data, media_type), as_pillow_does(data))
    assert profile[:40] not in bare.data or len(profile) < 40
    assert bare_picture(bare.data, media_type).data == bare.data
    sent = strip_metadata(data, media_type)  # as the client sends it
    assert bare_picture(sent, media_type).spare <= 128
    check_spare("image", sent, media_type)


def animation(middle: bytes = b"", colours: int = 3) -> bytes:
    frames = [Pillow.new("P", (9, 7), shade) for shade in range(colours)]
    for frame in frames:
        frame.putpalette(bytes(range(256)) * 3)
    data = save(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100, comment=b"c" * 300)
    at = 13 + (3 << ((data[10] & 7) + 1) if data[10] & 0x80 else 0)
    return data[:at] + middle + data[at:]


def test_frames_of_a_gif_decode_as_without_any_cutting() -> None:
    noted = animation(b"\x21\xfe" + b"\1a" * 50 + b"\0\x21\xff\x0bXMP DataXMP\3abc\0\x21\1\4text\0")
    with Pillow.open(io.BytesIO(noted)) as picture:
        expected = []
        for number in range(3):
            picture.seek(number)
            expected.append(np.asarray(picture.convert("RGB")))
    assert np.array_equal(decode("video", noted, "image/gif"), np.stack(expected))
    assert b"text" not in bare_gif(noted).data
    assert np.array_equal(decode("video", bare_gif(noted).data, "image/gif"), np.stack(expected))


# -- work that no header declares

MIB_OF_NOTHING = zlib.compress(bytes(1 << 20), 9)
SIXTEEN_BIT = (
    b"\x89PNG\r\n\x1a\n"
    + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0))
    + png_chunk(b"tRNS", bytes(6))
    + b"%s"
    + png_chunk(b"IDAT", zlib.compress(bytes(8 * 49)))
    + png_chunk(b"IEND", b"")
)
ATTACKS = {
    "texts": ("image", "image/png", b"".join(png_chunk(b"zTXt", b"k%d\0\0" % i + MIB_OF_NOTHING) for i in range(40))),
    "international texts": (
        "image",
        "image/png",
        b"".join(png_chunk(b"iTXt", b"k%d\0\1\0\0\0" % i + MIB_OF_NOTHING) for i in range(40)),
    ),
    "profiles": ("image", "image/png", b"".join(png_chunk(b"iCCP", b"k\0\0" + MIB_OF_NOTHING) for _ in range(40))),
    "entries that name the same bytes": ("image", "image/png", png_chunk(b"eXIf", exif(6, extra=4_000))),
    "comments of one byte a block": ("video", "image/gif", b"\x21\xfe" + b"\1a" * 30_000 + b"\0"),
}


def attack(name: str) -> tuple[str, str, bytes]:
    modality, media_type, middle = ATTACKS[name]
    return modality, media_type, animation(middle) if modality == "video" else SIXTEEN_BIT.replace(b"%s", middle)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Bytes that Pillow inflates from notes, reads as entries of EXIF and joins of comments."""
    done = {"bytes": 0}

    def counting(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            result = function(*args)
            done["bytes"] += len(result or b"")
            return result

        return call

    from PIL import GifImagePlugin, ImageFile

    monkeypatch.setattr(PngImagePlugin, "_safe_zlib_decompress", counting(PngImagePlugin._safe_zlib_decompress))
    monkeypatch.setattr(GifImagePlugin.GifImageFile, "data", counting(GifImagePlugin.GifImageFile.data))
    monkeypatch.setattr(ImageFile, "_safe_read", counting(ImageFile._safe_read))
    return done


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_what_is_read_is_bounded_by_the_units_that_are_charged(name: str, work: dict[str, int]) -> None:
    modality, media_type, data = attack(name)
    units = ITEM_UNITS + measure(modality, data, media_type)
    assert decode(modality, data, media_type).size
    assert work["bytes"] < units / 100
    # Without the cutting Pillow does what nobody is charged for.
    work["bytes"] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Pillow.open(io.BytesIO(data)) as picture:
            ImageOps.exif_transpose(picture)
    assert work["bytes"] > (units if modality == "image" else len(data) / 3)


def test_entries_that_name_the_same_bytes_still_turn_the_picture() -> None:
    plain = save(still("RGB", (9, 4), 1), "PNG")
    turned = plain[:33] + png_chunk(b"eXIf", exif(6, extra=3_000)) + plain[33:]
    assert decode("image", turned, "image/png").shape == (9, 4, 3)
    assert np.array_equal(decode("image", turned, "image/png"), np.rot90(decode("image", plain, "image/png"), -1))


# -- bytes that ride along


def rider(media_type: str, size: int) -> bytes:
    """A good picture with ``size`` bytes in it that no pixel needs."""
    junk = np.random.default_rng(1).bytes(size)
    if media_type == "image/gif":
        blocks = b"".join(bytes([len(part)]) + part for part in (junk[i : i + 255] for i in range(0, size, 255)))
        return animation(b"\x21\xfe" + blocks + b"\0")
    data = save(still("RGB", (30, 20), 1), STILL[media_type])
    if media_type == "image/png":
        return data[:33] + png_chunk(b"jUNk", junk) + data[33:]
    if media_type == "image/jpeg":
        return data + junk  # behind the end
    body = data[12:] + b"JUNK" + struct.pack("<I", size) + junk + b"\0" * (size % 2)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize("media_type", [*sorted(STILL), "image/gif"])
def test_bytes_that_no_pixel_needs_are_refused_beyond_a_number(media_type: str) -> None:
    modality = "video" if media_type == "image/gif" else "image"
    honest = strip_metadata(rider(media_type, 100), media_type)
    check_spare(modality, honest, media_type)
    large = rider(media_type, MAX_SPARE_BYTES + 100)
    with pytest.raises(Rejected, match="ITEM_SPARE_BYTES"):
        check_spare(modality, large, media_type)
    assert decode(modality, large, media_type).size
    assert strip_metadata(large, media_type) == honest


def in_pixels(data: bytes) -> bytes:
    """A PNG with a MiB behind the end of its compressed pixels, in the chunk of the pixels."""
    at = data.index(b"IDAT")
    size = int.from_bytes(data[at - 4 : at], "big")
    return data[: at - 4] + png_chunk(b"IDAT", data[at + 4 : at + 4 + size] + bytes(1 << 20)) + data[at + 8 + size :]


def test_bytes_behind_the_pixels_of_a_png_are_spare_and_pixels_that_do_not_compress_are_not() -> None:
    with pytest.raises(Rejected, match="ITEM_SPARE_BYTES"):
        check_spare("image", in_pixels(save(still("RGB", (30, 20), 1), "PNG")), "image/png")
    noise = save(still("RGB", (700, 500), 2), "PNG", compress_level=0)
    assert bare_picture(noise, "image/png").spare < 100


def riders() -> Iterator[tuple[str, str, bytes]]:
    """Pictures that carry another one, of a few hundred bytes, where a decoder does not look."""
    thumbnail = save(still("RGB", (8, 6), 3), "JPEG", quality=60)
    cover = still("RGB", (60, 40), 4)
    png, jpeg, webp = (save(cover, form) for form in ("PNG", "JPEG", "WEBP"))
    for media_type, data in (("image/png", png), ("image/jpeg", jpeg), ("image/webp", webp)):
        yield "behind the end", media_type, data + thumbnail
    yield "MPO", "image/jpeg", save(cover, "MPO", save_all=True, append_images=[still("RGB", (60, 40), 5)])
    for marker in (0xFE, 0xE5, 0xDC):
        segment = bytes((0xFF, marker)) + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
        yield f"segment {marker:#x}", "image/jpeg", jpeg[:2] + segment + jpeg[2:]
    yield "private chunk", "image/png", png[:33] + png_chunk(b"prVt", thumbnail) + png[33:]
    at = png.index(b"IDAT")
    size = int.from_bytes(png[at - 4 : at], "big")
    pixels = png[at + 4 : at + 4 + size]
    yield (
        "behind the pixels",
        "image/png",
        png[: at - 4] + png_chunk(b"IDAT", pixels + thumbnail) + png[at + 8 + size :],
    )
    body = webp[12:] + b"VP8 " + struct.pack("<I", len(thumbnail)) + thumbnail + b"\0" * (len(thumbnail) % 2)
    yield "second bitstream", "image/webp", b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


@pytest.mark.parametrize(
    ("where", "media_type", "data"), [pytest.param(*one, id=" ".join(one[:2])) for one in riders()]
)
def test_no_picture_rides_in_another(where: str, media_type: str, data: bytes) -> None:
    assert decode("image", data, media_type).shape == (40, 60, 3), where
    with pytest.raises(Rejected, match="ITEM_SPARE_BYTES"):
        check_spare("image", data, media_type)


@pytest.mark.parametrize(
    "options", [{"optimize": True}, {"progressive": True}, {"restart_marker_blocks": 2}, {"subsampling": 0}]
)
def test_what_writers_of_jpegs_need_is_not_spare(options: dict[str, Any]) -> None:
    data = save(still("RGB", (90, 70), 6), "JPEG", quality=95, **options)
    assert bare_picture(data, "image/jpeg").spare == 0


async def test_a_pair_with_spare_bytes_is_refused_and_its_picture_not_served(tmp_path: Path) -> None:
    item = Item("image", "image/png", rider("image/png", MAX_SPARE_BYTES + 100))
    pair = (item, Item("text", "text/plain", b"a picture of noise"))
    async with running(tmp_path) as live:
        decision = await live.client.post_pair(live.sign(pair).encode())
        assert "ITEM_SPARE_BYTES" in str(decision)
        with pytest.raises(Rejected, match="ITEM_GONE"):
            await live.client.item(item.digest)
