"""HEIC, AVIF, BMP, TIFF, MP3, M4A and Opus: what is signed in their place, what is refused, and what is said of it."""

import io
import json
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
import soundfile
from PIL import ExifTags, Image, ImageCms

from curiosity.embedding.modalities import decode
from curiosity.protocol.errors import SourceError
from curiosity.sources.own import convert as converting
from curiosity.sources.own.convert import Conversion, convert
from curiosity.sources.own.item import check_item, load_item, make_item
from curiosity.sources.own.media_type import CONVERTED, sniff
from curiosity.sources.own.own import read_sources
from curiosity.sources.own.parquet import read_parquet
from curiosity.sources.pairset import SourcePair
from tests.material.convert import PICTURES, SOUNDS, read_picture, scene, tones, write_picture, write_sound
from tests.material.convertible import TYPES, everything, make
from tests.material.file import full_disk
from tests.material.own import SECRET


def change(data: bytes, media_type: str) -> tuple[bytes, Conversion]:
    return convert(data, media_type, where="x")


def refusal(data: bytes, media_type: str) -> SourceError:
    with pytest.raises(SourceError) as failure:
        change(data, media_type)
    assert failure.value.remedy
    return failure.value


def pixels(data: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(data)))


def sound_of(data: bytes) -> tuple[npt.NDArray[np.float64], int]:
    samples, rate_hz = soundfile.read(io.BytesIO(data), always_2d=True)
    return samples.T, rate_hz


# -- pictures


@pytest.mark.parametrize("extension", sorted(PICTURES))
def test_a_picture_becomes_png_with_the_same_pixels_each_time(tmp_path: Path, extension: str) -> None:
    data = write_picture(scene(), extension)
    assert sniff(data[:64]) == TYPES[extension]
    (tmp_path / f"x.{extension}").write_bytes(data)
    item = load_item(tmp_path / f"x.{extension}")
    made = item.read()
    assert (item.modality, item.media_type) == ("image", "image/png")
    assert np.array_equal(pixels(made), np.asarray(read_picture(data).convert("RGB")))
    assert item.conversion == Conversion(TYPES[extension], "image/png", len(data), len(made))
    check_item(item, made, where="x")
    again = make_item(data, Path("other"), modality="image", where="y")
    assert again.read() == made  # an item keeps its hash
    (tmp_path / "x.jpg").write_bytes(data)
    assert load_item(tmp_path / "x.jpg").read() == made  # phones and programs give photos wrong names


@pytest.mark.parametrize("extension", ["heic", "avif", "tiff"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_turned_picture_stands_as_it_was_seen_and_tells_nothing_else(extension: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = SECRET
    data = write_picture(scene(), extension, exif=exif.tobytes())
    assert SECRET.encode() in data  # with the defence off, it leaks
    made, _ = change(data, TYPES[extension])
    assert SECRET.encode() not in made
    assert not Image.open(io.BytesIO(made)).getexif()
    assert np.array_equal(pixels(made), np.asarray(read_picture(data).convert("RGB")))
    assert pixels(made).shape[:2] == ((64, 96) if orientation in (1, 3) else (96, 64))


@pytest.mark.parametrize(
    ("extension", "mode", "becomes"),
    [
        ("bmp", "1", "L"), ("bmp", "L", "L"), ("bmp", "P", "RGB"), ("bmp", "RGB", "RGB"),
        ("tiff", "1", "L"), ("tiff", "LA", "LA"), ("tiff", "P", "RGB"), ("tiff", "RGBA", "RGBA"),
        ("tiff", "CMYK", "RGB"), ("tiff", "I;16", "I;16"), ("avif", "RGBA", "RGBA"), ("heic", "RGBA", "RGBA"),
    ],
)  # fmt: skip
def test_grey_palettes_transparency_and_depth_stay(extension: str, mode: str, becomes: str) -> None:
    picture = scene().convert("L").convert("I;16") if mode == "I;16" else scene().convert(mode)
    if mode.endswith("A"):
        picture.putalpha(scene(1).convert("L"))
    data = write_picture(picture, extension)
    made, _ = change(data, TYPES[extension])
    assert Image.open(io.BytesIO(made)).mode == becomes
    assert np.array_equal(pixels(made), np.asarray(read_picture(data).convert(becomes)))
    decode("image", made, "image/png")


def test_depth_that_png_lacks_is_refused_with_the_remedy() -> None:
    grey = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    for picture in (Image.fromarray(grey), Image.fromarray((grey * 2**30).astype(np.int32))):
        error = refusal(write_picture(picture, "tiff"), "image/tiff")
        assert (error.code, "8 or 16 bits" in error.remedy) == ("IMAGE_DEPTH", True)


def test_colours_of_a_profile_become_srgb_and_a_broken_profile_is_said() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    plain = scene()
    same, said = change(write_picture(plain, "tiff", icc_profile=srgb), "image/tiff")
    assert (said.changes, np.array_equal(pixels(same), np.asarray(plain))) == ((), True)
    turned, said = change(write_picture(plain, "tiff", icc_profile=wide_profile()), "image/tiff")
    wanted = ImageCms.profileToProfile(
        plain, ImageCms.ImageCmsProfile(io.BytesIO(wide_profile())), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert wanted is not None
    assert np.array_equal(pixels(turned), np.asarray(wanted))
    assert not np.array_equal(pixels(turned), np.asarray(plain))
    assert "to sRGB" in said.changes[0]
    clear = plain.convert("RGBA")
    clear.putalpha(scene(1).convert("L"))
    seen, _ = change(write_picture(clear, "tiff", icc_profile=wide_profile()), "image/tiff")
    assert np.array_equal(pixels(seen)[..., :3], np.asarray(wanted))
    assert np.array_equal(pixels(seen)[..., 3], np.asarray(clear)[..., 3])
    for useless in (lab, b"icc " + SECRET.encode()):
        kept, said = change(write_picture(plain, "tiff", icc_profile=useless), "image/tiff")
        assert np.array_equal(pixels(kept), np.asarray(plain))
        assert "cannot be used" in said.changes[0]
        assert SECRET.encode() not in kept


def wide_profile() -> bytes:
    """The sRGB profile with red and blue primaries exchanged: a profile that changes colours."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for number in range(struct.unpack_from(">I", profile, 128)[0]):
        at = 132 + 12 * number
        if bytes(profile[at : at + 4]) in (b"rXYZ", b"bXYZ"):
            profile[at] = profile[at] ^ ord("r") ^ ord("b")
        if profile[at : at + 4] == b"desc":
            offset, size = struct.unpack_from(">II", profile, at + 4)
            text = bytes(profile[offset : offset + size]).replace(
                "sRGB".encode("utf-16-be"), "wide".encode("utf-16-be")
            )
            profile[offset : offset + size] = text.replace(b"sRGB", b"wide")
    return bytes(profile)


def test_a_photo_that_would_not_fit_an_item_is_scaled_down_by_a_whole_number(monkeypatch: pytest.MonkeyPatch) -> None:
    from curiosity.embedding.modalities import image

    noise = np.random.default_rng(0).integers(0, 256, (90, 121, 3), dtype=np.uint8)
    for picture in (Image.fromarray(noise), Image.fromarray(noise[..., 0].astype(np.uint16) * 256)):
        data = write_picture(picture, "tiff")
        whole, said = change(data, "image/tiff")
        assert (Image.open(io.BytesIO(whole)).size, said.changes) == ((121, 90), ())
        limits = type(image.LIMITS)(max_bytes=len(whole) // 3, max_pixels=image.LIMITS.max_pixels)
        with monkeypatch.context() as smaller:
            smaller.setattr(image, "LIMITS", limits)
            made, said = change(data, "image/tiff")
        assert Image.open(io.BytesIO(made)).size == (61, 45)
        assert len(made) <= limits.max_bytes
        assert said.changes == ("scaled down from 121 x 90 to 61 x 45 pixels, to fit an item",)


def widen(extension: str) -> bytes:
    """A file of a hundred pixels or so whose header says 60,000 x 60,000."""
    data = write_picture(scene(), extension)
    if extension == "bmp":
        return data[:18] + struct.pack("<ii", 60_000, 60_000) + data[26:]
    if extension == "tiff":
        changed = bytearray(data)
        (at,) = struct.unpack_from("<I", data, 4)
        for number in range(struct.unpack_from("<H", data, at)[0]):
            entry = at + 2 + 12 * number
            if struct.unpack_from("<H", data, entry)[0] in (256, 257):
                struct.pack_into("<HII", changed, entry + 2, 4, 1, 60_000)
        return bytes(changed)
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", 60_000, 60_000) + data[at + 8 :]


@pytest.mark.parametrize("extension", sorted(PICTURES))
def test_a_header_of_billions_of_pixels_is_refused_before_it_is_decoded(extension: str) -> None:
    error = refusal(widen(extension), TYPES[extension])
    # libheif and libavif have a limit of their own, and say no more than that the file is broken.
    assert error.code == "IMAGE_TOO_LARGE" or (extension in ("heic", "avif") and error.code == "BROKEN_FILE")


def test_a_small_file_of_many_pixels_is_refused_by_its_size_and_taken_just_below() -> None:
    side = 7100  # 50.4 million pixels, in a few kilobytes
    bomb = write_picture(Image.new("1", (side, side)), "tiff", compression="group4")
    assert len(bomb) < 50_000
    assert "7100 x 7100 pixels" in refusal(bomb, "image/tiff").what
    made, _ = change(write_picture(Image.new("1", (7000, 7000)), "tiff", compression="group4"), "image/tiff")
    assert len(made) < 1 << 20


def test_several_pages_or_frames_are_no_picture() -> None:
    pages = write_picture(scene(), "tiff", save_all=True, append_images=[scene(1)])
    assert refusal(pages, "image/tiff").code == "IMAGE_NOT_STILL"
    film = write_picture(scene(), "avif", save_all=True, append_images=[scene(1)], duration=100)
    assert sniff(film[:64]) == "image/avif"
    assert refusal(film, "image/avif").code == "IMAGE_NOT_STILL"
    burst = write_picture(scene(), "heic", save_all=True, append_images=[scene(1)])
    made, said = change(burst, "image/heic")
    assert np.array_equal(pixels(made), np.asarray(read_picture(burst)))
    assert said.changes == ("the main one of 2 pictures",)


# -- sounds


@pytest.mark.parametrize("extension", sorted(SOUNDS))
@pytest.mark.parametrize("channels", [1, 2])
def test_a_sound_becomes_flac_close_to_its_source_each_time(tmp_path: Path, extension: str, channels: int) -> None:
    rate_hz = SOUNDS[extension][2]
    source = tones(1.5, rate_hz, channels)
    data = write_sound(source, extension, title=SECRET, artist=SECRET)
    assert SECRET.encode() in data
    (tmp_path / f"x.{extension}").write_bytes(data)
    item = load_item(tmp_path / f"x.{extension}")
    made = item.read()
    assert (item.modality, item.media_type) == ("audio", "audio/flac")
    assert item.conversion == Conversion(TYPES[extension], "audio/flac", len(data), len(made))
    assert SECRET.encode() not in made
    heard, made_hz = sound_of(made)
    assert (made_hz, len(heard)) == (rate_hz, channels)
    assert abs(heard.shape[1] - source.shape[1]) < 2048  # the padding of the last frame
    middle = slice(rate_hz // 4, rate_hz)
    for got, wanted in zip(heard, source, strict=True):
        assert np.corrcoef(got[middle], wanted[middle])[0, 1] > 0.999  # neither late nor early
    check_item(item, made, where="x")
    assert make_item(data, Path("other"), modality="audio", where="y").read() == made


def test_a_lossless_sound_keeps_every_sample_and_a_slow_one_its_rate() -> None:
    source = tones(0.5, 44_100)
    heard, _ = sound_of(change(write_sound(source, "m4a", codec="alac"), "audio/mp4")[0])
    assert np.abs(heard - source).max() <= 1.01 / 32768
    slow, rate_hz = sound_of(change(write_sound(tones(1.0, 8_000, 1), "mp3", rate_hz=8_000), "audio/mpeg")[0])
    assert (rate_hz, slow.shape) == (8_000, (1, 8_000))


def test_an_m4a_of_a_recorder_that_marks_it_as_a_film_is_a_sound(tmp_path: Path) -> None:
    data = write_sound(tones(0.5, 44_100), "m4a", form="mp4")
    assert sniff(data[:64]) == "video/mp4"
    (tmp_path / "x.m4a").write_bytes(data)
    assert load_item(tmp_path / "x.m4a").media_type == "audio/flac"
    from tests.material.video import film

    (tmp_path / "x.m4a").write_bytes(film())
    with pytest.raises(SourceError, match=r"NOT_A_SOUND.*1 video track"):
        load_item(tmp_path / "x.m4a")


def test_an_mp3_is_known_with_and_without_tags_and_an_opus_whatever_its_name(tmp_path: Path) -> None:
    data = write_sound(tones(0.5, 44_100), "mp3", title=SECRET)
    start = 10 + sum(digit << shift for digit, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    bare = data[start:]
    assert (data[:3], bare[0]) == (b"ID3", 0xFF)
    tagged = data + b"TAG" + SECRET.encode().ljust(125, b"\0")
    for each in (data, bare, tagged):
        (tmp_path / "x.mp3").write_bytes(each)
        assert np.array_equal(
            sound_of(load_item(tmp_path / "x.mp3").read())[0], sound_of(change(data, "audio/mpeg")[0])[0]
        )
    (tmp_path / "x.ogg").write_bytes(make("opus"))
    assert load_item(tmp_path / "x.ogg").media_type == "audio/flac"


@pytest.mark.parametrize("extension", sorted(SOUNDS))
def test_a_long_silence_in_few_bytes_is_refused(extension: str) -> None:
    rate_hz = SOUNDS[extension][2]
    data = write_sound(np.zeros((1, 60 * rate_hz), np.float32), extension)
    assert len(data) < 700_000
    error = refusal(data, TYPES[extension])
    assert (error.code, "30 s" in error.what) == ("AUDIO_TOO_LONG", True)
    assert ("over 30 s" if extension == "opus" else "60.0 s") in error.what  # Opus does not say how long it is
    change(write_sound(np.zeros((1, 29 * rate_hz), np.float32), extension), TYPES[extension])


def test_six_channels_are_refused_with_the_remedy() -> None:
    error = refusal(write_sound(tones(0.5, 44_100, 6), "m4a"), "audio/mp4")
    assert (error.code, "6 channels" in error.what, "stereo" in error.remedy) == ("AUDIO_FORMAT", True, True)


# -- what is damaged, and what breaks a decoder


@pytest.mark.parametrize("extension", sorted(TYPES))
def test_a_file_that_is_cut_is_refused(extension: str) -> None:
    data = make(extension)
    for size in (len(data) // 10, len(data) // 2, len(data) * 9 // 10):
        error = refusal(data[:size], TYPES[extension])
        assert error.code == "BROKEN_FILE", (size, error)
        assert f"{size} bytes" in error.what


def test_every_damaged_byte_of_an_opus_page_is_found() -> None:
    data = make("opus")
    for at in range(300, len(data), len(data) // 8):
        error = refusal(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :], "audio/opus")
        assert (error.code, "checksum" in error.what) == ("BROKEN_FILE", True), at


@pytest.mark.parametrize("extension", sorted(TYPES))
def test_a_damaged_file_gives_an_item_or_an_error(extension: str) -> None:
    data, random, codes = make(extension), np.random.default_rng(7), set()
    for _ in range(4):
        torn = bytearray(data)
        at = int(random.integers(8, max(9, len(data) - 64)))
        torn[at : at + 64] = random.bytes(64)
        try:
            made, said = change(bytes(torn), TYPES[extension])
        except SourceError as error:
            codes.add(error.code)
        else:
            decode("image" if extension in PICTURES else "audio", made, said.to_type)
    assert codes <= {"BROKEN_FILE", "IMAGE_TOO_LARGE", "AUDIO_FORMAT", "AUDIO_TOO_LONG", "AUDIO_EMPTY", "NOT_A_SOUND"}


def test_a_decoder_that_takes_too_much_costs_only_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_picture(Image.new("L", (6000, 6000)), "tiff", compression="tiff_lzw")
    change(data, "image/tiff")
    for limit, value in (("_MEMORY_BYTES", 64 << 20), ("_HEADER_BYTES", 16 - (16 << 20))):
        with monkeypatch.context() as tight:
            tight.setattr(converting, limit, value)
            error = refusal(data, "image/tiff")
        assert (error.code, "TIFF" in error.what) == ("CONVERT_FAILED", True), limit
    with full_disk():
        error = refusal(data, "image/tiff")
    assert (error.code, "space" in error.remedy) == ("CONVERT_FAILED", True)


# -- wherever files are read


def tell(found: list[SourcePair | SourceError]) -> list[str]:
    assert not [one for one in found if isinstance(one, SourceError)], found
    items = [item for pair in found if isinstance(pair, SourcePair) for item in (pair.a, pair.b)]
    return sorted(f"{item.conversion.from_type} {item.media_type}" for item in items if item.conversion is not None)


def test_every_reader_converts(tmp_path: Path) -> None:
    files = everything(tmp_path / "own")
    wanted = sorted(
        f"{TYPES[extension]} {'image/png' if extension in PICTURES else 'audio/flac'}" for extension in TYPES
    )
    assert len(wanted) == len(CONVERTED) == 7
    assert tell(list(read_sources((tmp_path / "own",), license="MIT"))) == wanted
    shard = tmp_path / "s.tar"
    with tarfile.open(shard, "w") as archive:
        for file in sorted((tmp_path / "own").iterdir()):
            archive.add(file, file.name)
    assert tell(list(read_sources((shard,), license="MIT"))) == wanted
    manifest = tmp_path / "own" / "pairs.jsonl"
    rows = [{"a": name, "b": {"text": "a thing"}, "license": "MIT"} for name in files]
    manifest.write_text("\n".join(map(json.dumps, rows)))
    assert tell(list(read_sources((manifest,)))) == wanted
    manifest.unlink()
    (tmp_path / "own" / "metadata.csv").write_text("file_name,text\n" + "".join(f"{name},a thing\n" for name in files))
    assert tell(list(read_sources((tmp_path / "own",), license="MIT"))) == wanted
    tables: dict[str, Callable[[str], bool]] = {"image": lambda e: e in PICTURES, "audio": lambda e: e in SOUNDS}
    told: list[str] = []
    for column, belongs in tables.items():
        cells: list[Any] = [{"bytes": files[f"{e}.{e}"], "path": None} for e in TYPES if belongs(e)]
        table = arrow.table({column: cells, "text": ["a thing"] * len(cells)})
        parquet.write_table(table, tmp_path / f"{column}.parquet")
        told += tell(list(read_parquet(tmp_path / f"{column}.parquet", license="MIT")))
    assert sorted(told) == wanted


def test_a_broken_file_costs_only_its_pair(tmp_path: Path) -> None:
    files = everything(tmp_path / "own")
    for name in ("heic.heic", "mp3.mp3"):
        (tmp_path / "own" / name).write_bytes(files[name][: len(files[name]) // 2])
    found = list(read_sources((tmp_path / "own",), license="MIT"))
    errors = [one for one in found if isinstance(one, SourceError)]
    assert [(error.code, error.what.split(":")[0].rpartition("/")[2]) for error in errors] == [
        ("BROKEN_FILE", "heic.heic"), ("BROKEN_FILE", "mp3.mp3")
    ]  # fmt: skip
    assert len(found) - len(errors) == 5
