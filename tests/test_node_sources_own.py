"""A contributor's own material: what a folder or manifest gives, what is refused and how, and what never leaves."""

import io
import json
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageOps

from curiosity.protocol.errors import SourceError
from curiosity.sources.own.folder import read_folder
from curiosity.sources.own.manifest import read_manifest
from curiosity.sources.own.strip import strip_metadata
from curiosity.sources.pairset import SourcePair
from tests.material.own import (
    SECRET,
    draw,
    encode,
    encode_sound,
    hum,
    make_exif,
    strip_or_refuse,
    tag_jpeg,
    tag_png,
    tag_wav,
)

Read = Callable[[Path], list[SourcePair | SourceError]]


def tag_webp(seed: int) -> bytes:
    return encode(draw(seed), "WEBP", lossless=True, exif=make_exif(seed, 1), xmp=SECRET.encode())


def tag_flac(seed: int) -> bytes:
    return encode_sound(hum(seed), "FLAC", artist=SECRET, comment=SECRET)


TAGGED = {
    "image/jpeg": tag_jpeg,
    "image/png": tag_png,
    "image/webp": tag_webp,
    "audio/wav": tag_wav,
    "audio/flac": tag_flac,
}


# What Pillow tells of a picture from the parts that decide how it is decoded.
DECODING_INFO = {
    "jfif", "jfif_version", "jfif_unit", "jfif_density", "exif", "dpi", "progressive", "progression",
    "loop", "background", "timestamp", "duration",
}  # fmt: skip


def read_content(data: bytes, media_type: str) -> npt.NDArray[np.uint8] | npt.NDArray[np.int16]:
    if media_type.startswith("image"):
        return np.asarray(Image.open(io.BytesIO(data)))
    samples: npt.NDArray[np.int16] = soundfile.read(io.BytesIO(data), dtype="int16")[0]
    return samples


@pytest.mark.parametrize("media_type", sorted(TAGGED))
@pytest.mark.parametrize("seed", range(10))
def test_stripped_files_hold_no_metadata_and_the_same_content(media_type: str, seed: int) -> None:
    tagged = TAGGED[media_type](seed)
    assert SECRET.encode() in tagged  # with the defence off, it leaks
    stripped = strip_metadata(tagged, media_type)
    assert SECRET.encode() not in stripped
    assert np.array_equal(read_content(stripped, media_type), read_content(tagged, media_type))
    assert strip_metadata(stripped, media_type) == stripped
    if media_type.startswith("image"):
        picture = Image.open(io.BytesIO(stripped))
        exif = picture.getexif()
        assert not exif.get_ifd(ExifTags.IFD.GPSInfo)
        assert set(exif) <= {ExifTags.Base.Orientation}
        assert picture.info.get("dpi", (72, 72)) == (72, 72)  # what Pillow says of a JPEG that gives none
        assert set(picture.info) <= DECODING_INFO
        assert media_type != "image/webp" or not stripped[20] & 0x2C  # the header no longer promises them
    else:
        with soundfile.SoundFile(io.BytesIO(stripped)) as sound:
            assert not sound.copy_metadata()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photo_still_stands_as_it_was_seen(orientation: int) -> None:
    tagged = encode(draw(1), "JPEG", exif=make_exif(1, orientation))
    stripped = strip_metadata(tagged, "image/jpeg")
    seen, kept = (ImageOps.exif_transpose(Image.open(io.BytesIO(data))) for data in (tagged, stripped))
    assert np.array_equal(np.asarray(seen), np.asarray(kept))
    assert (b"Exif" in stripped) is (orientation != 1)


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_colours_of_other_jpegs_stay(mode: str) -> None:
    data = encode(draw(3).convert(mode), "JPEG", comment=SECRET)
    stripped = strip_metadata(data, "image/jpeg")
    assert SECRET.encode() not in stripped
    assert np.array_equal(read_content(stripped, "image/jpeg"), read_content(data, "image/jpeg"))


def test_jpeg_that_adobe_marks_as_rgb_keeps_its_colours() -> None:
    """Components named 1, 2, 3 are YCbCr unless an Adobe segment says RGB: without it the colours would be others."""
    plain = encode(draw(3), "JPEG", keep_rgb=True)
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
    frame, scan = plain.index(b"\xff\xc0"), plain.index(b"\xff\xda")
    data = bytearray(plain)
    for number in range(3):
        data[frame + 10 + 3 * number] = data[scan + 5 + 2 * number] = number + 1
    marked = bytes(data[:2]) + adobe + bytes(data[2:]).replace(adobe, b"")
    assert np.array_equal(read_content(marked, "image/jpeg"), read_content(plain, "image/jpeg"))
    assert not np.array_equal(read_content(marked.replace(adobe, b""), "image/jpeg"), read_content(plain, "image/jpeg"))
    stripped = strip_metadata(marked, "image/jpeg")
    assert np.array_equal(read_content(stripped, "image/jpeg"), read_content(plain, "image/jpeg"))


@pytest.mark.parametrize(("mode", "clear"), [("P", 7), ("RGB", (1, 2, 3)), ("L", 9)])
def test_colour_that_stands_for_clear_stays(mode: str, clear: int | tuple[int, int, int]) -> None:
    data = encode(draw(3).convert(mode), "PNG", transparency=clear)
    stripped = strip_metadata(data, "image/png")
    assert Image.open(io.BytesIO(stripped)).info["transparency"] == clear


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16"])
def test_pixels_and_transparency_of_other_pngs_stay(mode: str) -> None:
    data = encode(draw(3).convert("L").convert("I;16") if mode == "I;16" else draw(3).convert(mode), "PNG")
    before, after = (Image.open(io.BytesIO(each)) for each in (data, strip_metadata(data, "image/png")))
    assert before.mode == after.mode
    assert np.array_equal(np.asarray(before.convert("RGBA")), np.asarray(after.convert("RGBA")))


@pytest.mark.parametrize("media_type", sorted(TAGGED))
def test_cut_files_are_refused_or_whole_but_never_crash(media_type: str) -> None:
    tagged = TAGGED[media_type](1)
    whole = strip_metadata(tagged, media_type)
    refused = 0
    for size in range(0, len(tagged), 7):
        stripped = strip_or_refuse(tagged[:size], media_type)
        # Cut inside what is dropped, or inside FLAC frames, which carry their own checks.
        assert stripped in (None, whole) or media_type == "audio/flac"
        refused += stripped is None
    assert refused > 10


@given(data=st.binary(max_size=300), media_type=st.sampled_from(sorted(TAGGED)), cut=st.integers(0, 60))
def test_arbitrary_bytes_give_bytes_or_an_error(data: bytes, media_type: str, cut: int) -> None:
    stripped = strip_or_refuse(TAGGED[media_type](0)[:cut] + data, media_type)
    assert stripped is None or strip_metadata(stripped, media_type) == stripped


def test_sound_written_to_a_pipe_is_read_to_its_end() -> None:
    whole = encode_sound(hum(1))
    at = whole.index(b"data") + 4
    piped = whole[:4] + b"\xff" * 4 + whole[8:at] + b"\xff" * 4 + whole[at + 4 :]
    assert strip_metadata(piped, "audio/wav") == strip_metadata(whole, "audio/wav")


def test_text_stays_and_unknown_media_types_are_refused() -> None:
    assert strip_metadata(b"a cat", "text/plain") == b"a cat"
    with pytest.raises(SourceError, match="CANNOT_STRIP"):
        strip_metadata(b"BM", "image/bmp")


def summarise(found: list[SourcePair | SourceError]) -> tuple[dict[str, str], dict[str, str]]:
    """(concept -> modalities of what was read, code -> what was said of what was not)."""
    pairs = {each.concept: each.modalities for each in found if isinstance(each, SourcePair)}
    return pairs, {each.code: str(each) for each in found if isinstance(each, SourceError)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "cat.png").write_bytes(tag_png(1))
    (tmp_path / "cat.txt").write_text("  a grey cat\n", encoding="utf-8-sig")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "dog.jpg").write_bytes(tag_jpeg(2))
    (tmp_path / "deep" / "dog.txt").write_text("ein Hund, müde")
    (tmp_path / "bell.ogg").write_bytes(encode_sound(hum(1), "OGG", comment=SECRET))
    (tmp_path / "bell.txt").write_text("a bell rings")
    (tmp_path / "cow.png").write_bytes(encode(draw(4)))
    (tmp_path / "cow.wav").write_bytes(tag_wav(3))
    (tmp_path / ".hidden.png").write_bytes(b"")
    return tmp_path


def test_folder_gives_pairs_of_files_side_by_side(folder: Path) -> None:
    found = list(read_folder(folder, license="CC0-1.0"))
    pairs, problems = summarise(found)
    assert not problems
    assert pairs == {
        "cat": "image-text",
        "deep/dog": "image-text",
        "bell": "audio-text",
        "cow": "audio-image",
    }
    by_concept = {each.concept: each for each in found if isinstance(each, SourcePair)}
    assert by_concept["cat"].b.read() == b"a grey cat"
    assert by_concept["deep/dog"].b.read() == "ein Hund, müde".encode()
    assert by_concept["deep/dog"].a.media_type == "image/jpeg"
    assert {each.license for each in by_concept.values()} == {"CC0-1.0"}
    assert len({each.id for each in by_concept.values()}) == 4
    for pair in by_concept.values():
        assert SECRET.encode() not in pair.a.read() + pair.b.read()
    with wave.open(io.BytesIO(by_concept["bell"].a.read())) as sound:
        assert by_concept["bell"].a.media_type == "audio/wav"
        assert (sound.getframerate(), sound.getnframes()) == (16000, 4800)


@pytest.mark.parametrize(
    ("name", "content", "code", "said"),
    [
        ("bad.png", b"<html>not found</html>", "NOT_AN_IMAGE", "bad.png does not start as a picture"),
        ("bad.png", b"GIF89a" + bytes(20), "NOT_AN_IMAGE", "image/gif"),
        ("bad.png", b"BM" + bytes(20), "BROKEN_FILE", "not a whole BMP picture"),
        ("bad.mp4", b"\0\0\0\x18ftypM4A \0\0", "NOT_A_VIDEO", "audio/mp4"),
        ("bad.webm", b"\x1a\x45\xdf\xa3matroska", "NOT_A_VIDEO", "a Matroska film"),
        ("bad.npy", b"PK\x03\x04" + bytes(20), "NOT_AN_ARRAY", "as .npz is"),
        ("bad.npy", b"\x93NUMPY\x01\0\x02\0{}", "BROKEN_FILE", "no header of an array"),
        ("bad.png", tag_wav(1), "NOT_AN_IMAGE", "audio/wav"),
        ("bad.wav", b"ID3" + bytes(20), "BROKEN_FILE", "not a whole MP3 sound"),
        ("bad.png", b"", "FILE_EMPTY", "0 bytes"),
        ("bad.docx", b"PK", "UNKNOWN_EXTENSION", ".docx"),
        ("bad.ogg", b"OggS" + bytes(40), "BROKEN_FILE", "bad.ogg"),
        ("cat.txt", b" \n ", "TEXT_EMPTY", "cat.txt"),
        ("cat.txt", b"caf\xe9", "NOT_TEXT", "byte 3 is 0xe9"),
        ("cat.txt", b"a\0b", "NOT_TEXT", "control"),
        ("cat.txt", b"x" * 70_000, "TEXT_LONG", "65536"),
        ("lone.png", encode(draw(9)), "CAPTION_MISSING", "lone.txt"),
        ("lone.txt", b"words", "MEDIA_MISSING", "lone.txt"),
    ],
)
def test_bad_file_is_told_and_the_rest_is_read(folder: Path, name: str, content: bytes, code: str, said: str) -> None:
    (folder / name).write_bytes(content)
    if name.startswith("bad"):
        (folder / "bad.txt").write_text("what it should be")
    pairs, problems = summarise(list(read_folder(folder, license="CC0-1.0")))
    assert {"deep/dog", "bell", "cow"} <= set(pairs)
    assert list(problems) == [code]
    assert said in problems[code]


def test_broken_picture_is_told_when_it_is_read(folder: Path) -> None:
    (folder / "cat.png").write_bytes(tag_png(1)[:400])
    found = next(iter(read_folder(folder, license="CC0-1.0")))
    pairs = [each for each in read_folder(folder, license="CC0-1.0") if isinstance(each, SourcePair)]
    cat = next(each for each in pairs if each.concept == "cat")
    assert isinstance(found, SourcePair)
    with pytest.raises(SourceError, match=r"BROKEN_FILE.*cat\.png"):
        cat.a.read()


def test_folders_that_hold_nothing_are_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, code, license in (
        (tmp_path / "nowhere", "FOLDER_MISSING", "MIT"),
        (folder / "cat.txt", "FOLDER_MISSING", "MIT"),
        (tmp_path / "empty", "NOTHING_FOUND", "MIT"),
        (folder, "LICENSE_MISSING", None),
    ):
        with pytest.raises(SourceError, match=code):
            list(read_folder(path, license=license))


@pytest.mark.parametrize("table", ["captions.jsonl", "metadata.jsonl", "captions.csv"])
def test_table_gives_the_same_pairs_whatever_its_form(tmp_path: Path, table: str) -> None:
    (tmp_path / "a.png").write_bytes(encode(draw(1)))
    (tmp_path / "b.flac").write_bytes(tag_flac(2))
    rows = [
        {"file_name": "a.png", "text": 'a "red", round thing', "license": "CC-BY-4.0", "attribution": "Ann"},
        {"file_name": "b.flac", "text": "a hum", "license": "", "captured_at": "2026-01-01T01:00:00+01:00"},
    ]
    if table.endswith("csv"):
        lines = [
            "file_name,text,license,attribution,captured_at\r\n",
            'a.png,"a ""red"", round thing",CC-BY-4.0,Ann,\r\n',
            "\r\n",
            "b.flac,a hum,,,2026-01-01T01:00:00+01:00\r\n",
        ]
    else:
        lines = [json.dumps(row) + "\n" for row in rows]
    (tmp_path / table).write_bytes("".join(lines).encode())
    one, two = read_folder(tmp_path, license="CC0-1.0")
    assert isinstance(one, SourcePair)
    assert isinstance(two, SourcePair)
    assert (one.license, one.attribution, one.captured_at) == ("CC-BY-4.0", "Ann", None)
    assert one.b.read() == b'a "red", round thing'
    assert (two.license, two.captured_at, two.modalities) == ("CC0-1.0", 1767225600, "audio-text")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ('{"file_name": "gone.png", "text": "x"}', "FILE_MISSING", "line 2: gone.png"),
        ('{"file_name": "../../etc/hosts.png", "text": "x"}', "OUTSIDE_FOLDER", "line 2: ../../etc/hosts.png"),
        ('{"file_name": "a.png", "text": ""}', "TEXT_EMPTY", "line 2"),
        ('{"file_name": "a.png"}', "ROW_VALUE", "text is None"),
        ('{"file_name": 7, "text": "x"}', "ROW_VALUE", "7 is not a file name"),
        ('{"file_name": "a.png", "txt": "x"}', "ROW_KEY", "'txt'"),
        ('{"file_name": "a.png", "text": "\\ud800"}', "NOT_TEXT", "line 2"),
        ('{"file_name": "a.png", "text": "x", "captured_at": "yesterday"}', "ROW_VALUE", "yesterday"),
        ('{"file_name": "a.png", "text": "x", "captured_at": -5}', "ROW_VALUE", "out of range"),
        ("not json", "ROW_NOT_JSON", "captions.jsonl line 2"),
        ("[1]", "ROW_NOT_JSON", "holds a list"),
    ],
)
def test_bad_row_is_told_with_its_line_and_the_rest_is_read(tmp_path: Path, line: str, code: str, said: str) -> None:
    (tmp_path / "a.png").write_bytes(encode(draw(1)))
    good = '{"file_name": "a.png", "text": "a thing"}\n'
    (tmp_path / "captions.jsonl").write_text(good + line + "\n" + good)
    found = list(read_folder(tmp_path, license="CC0-1.0"))
    assert [isinstance(each, SourcePair) for each in found] == [True, False, True]
    assert isinstance(found[1], SourceError)
    assert found[1].code == code
    assert said in found[1].what
    assert found[1].remedy


def test_csv_problems_are_told_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encode(draw(1)))
    table = tmp_path / "captions.csv"
    table.write_text("file_name,text\na.png,a thing, with a comma\na.png,fine\n")
    first, second = read_folder(tmp_path, license="CC0-1.0")
    assert isinstance(first, SourceError)
    assert (first.code, "line 2" in first.what) == ("ROW_FIELDS", True)
    assert isinstance(second, SourcePair)
    table.write_text("name,caption\na.png,x\n")
    with pytest.raises(SourceError, match="TABLE_HEADER"):
        list(read_folder(tmp_path, license="CC0-1.0"))
    (tmp_path / "captions.jsonl").write_text("{}\n")
    with pytest.raises(SourceError, match="TABLES_TWO"):
        list(read_folder(tmp_path, license="CC0-1.0"))


def write_manifest(folder: Path, *rows: object) -> Path:
    path = folder / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_manifest_gives_pairs_of_any_two_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(tag_jpeg(1))
    (tmp_path / "a.wav").write_bytes(tag_wav(1))
    (tmp_path / "a.txt").write_text("said in a file\n")
    path = write_manifest(
        tmp_path,
        {"a": {"text": "a thing"}, "b": "a.jpg", "license": "CC-BY-4.0", "captured_at": 1767225600, "id": "mine"},
        {"a": "a.jpg", "b": "a.wav"},
        {"a": "a.txt", "b": "a.wav"},
    )
    pairs = list(read_manifest(path, license="CC0-1.0"))
    assert all(isinstance(each, SourcePair) for each in pairs)
    read = [each for each in pairs if isinstance(each, SourcePair)]
    assert [each.modalities for each in read] == ["image-text", "audio-image", "audio-text"]
    assert (read[0].id, read[0].license, read[0].captured_at) == ("mine", "CC-BY-4.0", 1767225600)
    assert read[0].b.read() == b"a thing"
    assert read[2].b.read() == b"said in a file"
    assert SECRET.encode() not in read[1].a.read() + read[1].b.read()


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"a": {"text": "x"}, "b": "a.png"}, "LICENSE_MISSING"),
        ({"a": {"text": "x"}, "b": {"text": "y"}, "license": "MIT"}, "SAME_MODALITY"),
        ({"a": "a.png", "b": "a.png", "license": "MIT"}, "SAME_MODALITY"),
        ({"a": {"text": "x"}, "license": "MIT"}, "ROW_VALUE"),
        ({"a": {"words": "x"}, "b": "a.png", "license": "MIT"}, "ROW_VALUE"),
        ({"a": {"text": "x"}, "b": "https://example.org/a.png", "license": "MIT"}, "FILE_MISSING"),
        ({"a": {"text": "x"}, "b": "/etc/hostname", "license": "MIT"}, "OUTSIDE_FOLDER"),
        ({"a": {"text": "x"}, "b": "link.png", "license": "MIT"}, "OUTSIDE_FOLDER"),
        ({"a": {"text": "x"}, "b": "folder.png", "license": "MIT"}, "CANNOT_READ"),
        ({"a": {"text": "x"}, "b": "a.png", "license": "MIT", "c": 1}, "ROW_KEY"),
        ({"a": {"text": "x"}, "b": "a.png", "license": "MIT", "id": 5}, "ROW_VALUE"),
        ("text", "ROW_NOT_JSON"),
    ],
)
def test_bad_manifest_row_is_told_with_its_line(tmp_path: Path, row: object, code: str) -> None:
    home = tmp_path / "mine"
    (home / "folder.png").mkdir(parents=True)
    (home / "a.png").write_bytes(encode(draw(1)))
    (tmp_path / "private.png").write_bytes(encode(draw(2)))
    (home / "link.png").symlink_to(tmp_path / "private.png")
    good = {"a": {"text": "x"}, "b": "a.png", "license": "MIT"}
    found = list(read_manifest(write_manifest(home, row, good)))
    assert isinstance(found[0], SourceError)
    assert isinstance(found[1], SourcePair)
    assert found[0].code == code
    assert "pairs.jsonl line 1" in found[0].what


def test_manifests_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n")
    (tmp_path / "binary.jsonl").write_bytes(encode(draw(1)))
    for name, code in (("gone.jsonl", "FILE_MISSING"), ("empty.jsonl", "NOTHING_FOUND"), ("binary.jsonl", "NOT_TEXT")):
        with pytest.raises(SourceError, match=code):
            list(read_manifest(tmp_path / name))
