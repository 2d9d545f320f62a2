"""What people's own files are like: turned pictures, tags where nobody looks for them, side files, odd names."""

import io
import json
import struct
import subprocess
import sys
import tarfile
import unicodedata
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as arrow
import pytest
import soundfile
from PIL import Image, PngImagePlugin
from pyarrow import parquet

from curiosity.client.preview import Preview, preview
from curiosity.embedding.modalities import decode
from curiosity.protocol.errors import CuriosityError, SourceError
from curiosity.sources.own.item import MAX_TEXT_BYTES, load_item, make_text_item
from curiosity.sources.own.own import read_sources

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


# -- folders


def look(*paths: Path) -> Preview:
    return preview(read_sources(paths, license="CC0-1.0"), license="CC0-1.0")


def counts(*paths: Path) -> tuple[int, list[str]]:
    """How many pairs would be sent, and the codes of what could not be read; of a source that is of no use its own."""
    try:
        made = look(*paths)
    except CuriosityError as error:
        return 0, [error.code]
    json.dumps(made.to_json()).encode()
    assert all(str(error).encode() for error in made.unreadable)  # nothing that cannot be printed
    return made.pairs.total(), [error.code for error in made.unreadable]


def lay(folder: Path, files: Mapping[str, object]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else str(content).encode("utf-8", "surrogatepass"))
    return folder


def png() -> bytes:
    return picture("PNG", 1, "short")


@pytest.mark.parametrize("side", ["x.json", "x.xmp", "X.XMP", "x.png.json", "x.png.xmp", "x.aae", "stats.json"])
def test_a_side_file_costs_no_pair(side: str, tmp_path: Path) -> None:
    assert counts(lay(tmp_path, {"x.png": png(), "x.txt": "a", side: b"{}"})) == (1, [])


def test_a_file_that_no_rule_reads_is_told_and_costs_no_pair(tmp_path: Path) -> None:
    files = {"x.png": png(), "x.txt": "a", "x.psd": b"8BPS", "y.png": png(), "y.docx": b"PK"}
    assert counts(lay(tmp_path, files)) == (1, ["UNKNOWN_EXTENSION", "UNKNOWN_EXTENSION"])


def shard(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))


def write_table(path: Path, **columns: list[str]) -> None:
    parquet.write_table(arrow.table(columns), path)


def test_folders_of_img2dataset_are_read_in_both_forms(tmp_path: Path) -> None:
    members = {"000000000.png": png(), "000000000.txt": b"a", "000000000.json": b"{}"}
    shard(tmp_path / "shards" / "00000.tar", members)
    lay(tmp_path / "files", {f"00000/{name}": content for name, content in members.items()})
    for form in ("shards", "files"):
        lay(tmp_path / form, {"00000_stats.json": b"{}"})
        write_table(tmp_path / form / "00000.parquet", url=["u"], caption=["a"], key=["000000000"])
        assert counts(tmp_path / form) == (1, []), form
    write_table(tmp_path / "shards" / "other.parquet", url=["u"], caption=["a"])
    assert counts(tmp_path / "shards") == (0, ["SOURCE_MIXED"])  # a table of its own is still two sources in one


@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
@pytest.mark.parametrize("in_table", ["NFC", "NFD"])
def test_a_name_is_found_in_either_form(
    on_disk: Literal["NFC", "NFD"], in_table: Literal["NFC", "NFD"], tmp_path: Path
) -> None:
    name = "caf\u00e9/na\u00efve"
    disk, told = unicodedata.normalize(on_disk, name), unicodedata.normalize(in_table, name)
    lay(tmp_path / "t", {f"{disk}.png": png(), "captions.csv": f"file_name,text\n{told}.png,a cup\n"})
    assert counts(tmp_path / "t") == (1, [])
    lay(tmp_path / "m", {f"{disk}.png": png(), "m.jsonl": json.dumps({"a": f"{told}.png", "b": {"text": "a"}})})
    assert counts(tmp_path / "m" / "m.jsonl") == (1, [])
    disk, told = disk.partition("/")[2], told.partition("/")[2]
    assert counts(lay(tmp_path / "s", {f"{disk}.png": png(), f"{told}.txt": "a"})) == (1, [])
    shard(tmp_path / "x.tar", {f"{disk}.png": png(), f"{told}.txt": b"a"})
    assert counts(tmp_path / "x.tar") == (1, [])


def test_of_two_names_that_differ_in_form_only_the_exact_one_is_taken(tmp_path: Path) -> None:
    lay(tmp_path, {f"{unicodedata.normalize('NFD', 'caf' + chr(233))}.png": png(), "caf\u00e9.png": b"no picture"})
    lay(tmp_path, {"captions.csv": "file_name,text\ncaf\u00e9.png,a\n"})
    assert counts(tmp_path) == (0, ["NOT_AN_IMAGE"])


# -- what is not Unicode

HALF = "\\ud83d"  # as JSON spells half of a surrogate pair


@pytest.mark.parametrize(
    "row",
    [
        f'{{"file_name": "{HALF}.png", "text": "a"}}',
        f'{{"file_name": "x.png", "text": "a {HALF}"}}',
        f'{{"file_name": "x.png", "text": "a", "license": "CC0{HALF}"}}',
        f'{{"file_name": "x.png", "text": "a", "attribution": "by {HALF}"}}',
        f'{{"file_name": "x.png", "text": "a", "captured_at": "{HALF}"}}',
        f'{{"file_name": "x.png", "text": "a", "{HALF}": "b"}}',
    ],
)
def test_half_a_surrogate_pair_costs_its_row_only(row: str, tmp_path: Path) -> None:
    good = '{"file_name": "x.png", "text": "b"}'
    lay(tmp_path, {"x.png": png(), "captions.jsonl": f"{row}\n{good}\n"})
    sent_pairs, codes = counts(tmp_path)
    assert (sent_pairs, len(codes)) == (1, 1), codes


@pytest.mark.parametrize("note", [f'{{"caption": "{HALF}"}}', f'{{"text": "a", "license": "{HALF}"}}'])
def test_half_a_surrogate_pair_in_a_note_costs_its_key_only(note: str, tmp_path: Path) -> None:
    shard(tmp_path / "x.tar", {"0.png": png(), "0.json": note.encode(), "1.png": png(), "1.txt": b"a"})
    sent_pairs, codes = counts(tmp_path / "x.tar")
    assert (sent_pairs, len(codes)) == (1, 1), codes


def test_half_a_surrogate_pair_in_a_manifest_costs_its_row_only(tmp_path: Path) -> None:
    rows = [f'"id": "{HALF}", "a": "x.png"', f'"a": "{HALF}.png"', f'"a": "{HALF}/x.png"', '"a": "x.png"']
    text = "\n".join(f'{{{row}, "b": {{"text": "a"}}}}' for row in rows)
    lay(tmp_path, {"x.png": png(), "m.jsonl": text})
    assert counts(tmp_path / "m.jsonl") == (1, ["ROW_VALUE"] * 3)


def test_a_file_whose_name_is_not_utf8_costs_itself_only(tmp_path: Path) -> None:
    lay(tmp_path, {"x.png": png(), "x.txt": "a"})
    try:
        Path(f"{tmp_path}/\udcff.png").write_bytes(png())
    except OSError:
        pytest.skip("this file system takes names in UTF-8 only")
    assert counts(tmp_path) == (1, ["NAME_NOT_TEXT"])


@pytest.mark.parametrize("sign", ["a", "\u00e9", "\u6f22", "\U0001f431"])
@pytest.mark.parametrize("shift", [0, 1, 2, 3])
def test_a_long_text_is_called_long_wherever_it_is_cut(sign: str, shift: int, tmp_path: Path) -> None:
    text = "a" * shift + sign * (MAX_TEXT_BYTES + 1)
    assert counts(lay(tmp_path / "f", {"x.png": png(), "x.txt": text}))[1] == ["TEXT_LONG"]
    shard(tmp_path / "x.tar", {"0.png": png(), "0.txt": text.encode()})
    assert counts(tmp_path / "x.tar")[1] == ["TEXT_LONG"]
    with pytest.raises(SourceError, match="TEXT_LONG"):
        make_text_item(tmp_path, text, where="x")


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", "cp437"])
def test_a_console_that_cannot_show_a_caption_ends_no_run(encoding: str, tmp_path: Path) -> None:
    lay(tmp_path, {"x.png": png(), "x.txt": "a \U0001f431 cat", "\u6f22.png": b"no picture"})
    asked = [sys.executable, "-m", "node.cli", "submit", str(tmp_path), "--dry-run", "--license", "CC0-1.0"]
    environment = {"PYTHONIOENCODING": encoding, "PYTHONPATH": str(Path(__file__).parents[1]), "PATH": "/usr/bin"}
    done = subprocess.run(asked, capture_output=True, env=environment, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert b"INTERNAL" not in done.stderr
    assert b"\\u6f22" in done.stdout + done.stderr


@pytest.mark.parametrize("names", [("PHOTO5.JPG", "photo5.txt"), ("x.png", "x.png.txt"), ("X.PNG", "x.png.txt")])
def test_names_that_people_mean_alike_match(names: tuple[str, str], tmp_path: Path) -> None:
    form = "JPEG" if "JPG" in names[0] else "PNG"
    assert counts(lay(tmp_path, {names[0]: picture(form, 1, "short"), names[1]: "a"})) == (1, [])


def test_names_that_differ_in_case_keep_their_own_company(tmp_path: Path) -> None:
    files = {f"{name}.{kind}": png() if kind == "png" else "a" for name in ("x", "X") for kind in ("png", "txt")}
    assert counts(lay(tmp_path, files)) == (2, [])
    assert counts(lay(tmp_path, {"Y.png": png(), "y.png": png(), "y.txt": "a"})) == (3, ["CAPTION_MISSING"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_text_with_a_byte_order_mark_is_read(encoding: str, tmp_path: Path) -> None:
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    for name, text in (("x.txt", "a caf\u00e9"), ("metadata.csv", "file_name,text\nx.png,a caf\u00e9\n")):
        lay(tmp_path / name, {"x.png": png(), name: (mark + text).encode(encoding)})
        (row,) = look(tmp_path / name).rows
        assert row["b"]["text"] == "a caf\u00e9"


@pytest.mark.parametrize("text", ["\u200b", "\ufeff \u2060", "\xad\ufe0f", "\U000e0020", "\u3164"])
def test_a_caption_that_nobody_sees_is_empty(text: str, tmp_path: Path) -> None:
    assert counts(lay(tmp_path, {"x.png": png(), "x.txt": text}))[1] == ["TEXT_EMPTY"]


@pytest.mark.parametrize(("riff", "size"), [(0, 0), (0xFFFFFFFF, 0), (0, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_a_wav_of_unknown_length_is_whole(riff: int, size: int, tmp_path: Path) -> None:
    out = io.BytesIO()
    soundfile.write(out, np.full(1_600, 0.25, np.float32), 16_000, format="WAV")
    data = bytearray(out.getvalue())
    at = data.index(b"data") + 4
    data[4:8], data[at : at + 4] = riff.to_bytes(4, "little"), size.to_bytes(4, "little")
    assert len(decode("audio", sent(bytes(data), tmp_path / "x.wav"), "audio/wav")) == 1_600
