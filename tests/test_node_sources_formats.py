"""A contributor's data of every modality: folders, manifests, WebDataset shards and Parquet, honest and hostile."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curiosity.embedding.modalities import decode
from curiosity.protocol.errors import SourceError
from curiosity.sources.own import webdataset
from curiosity.sources.own.item import check_item, load_item
from curiosity.sources.own.media_type import read_name, sniff, tell_sensor
from curiosity.sources.own.own import read_sources
from curiosity.sources.own.parquet import parse_columns, read_parquet
from curiosity.sources.own.strip import strip_metadata
from curiosity.sources.pairset import SourcePair
from tests.material.arrays import SHAPES, array, pack, scene
from tests.material.own import SECRET, draw, encode, encode_sound, hum, tag_jpeg, tag_wav
from tests.material.video import film, gif


def split(found: Iterable[SourcePair | SourceError]) -> tuple[list[SourcePair], list[SourceError]]:
    rows = list(found)
    return [r for r in rows if isinstance(r, SourcePair)], [r for r in rows if isinstance(r, SourceError)]


def assert_decodes(pairs: Sequence[SourcePair]) -> None:
    assert pairs
    for item in (item for pair in pairs for item in (pair.a, pair.b)):
        decode(item.modality, item.read(), item.media_type)


# -- what a file is


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_an_array_is_told_by_its_shape_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / "recording.npy").write_bytes(array(name))
    item = load_item(tmp_path / "recording.npy")
    assert (item.modality, item.media_type) == (name, "application/x-npy")
    check_item(item, item.read(), where="x")


def test_arrays_that_fit_nothing_are_asked_about_and_short_ones_told_so(tmp_path: Path) -> None:
    np.save(tmp_path / "odd.npy", np.zeros((5, 5, 5), "<f4"))
    with pytest.raises(SourceError, match=r"MODALITY_UNCLEAR.*\(5, 5, 5\).*no sensor"):
        load_item(tmp_path / "odd.npy")
    np.save(tmp_path / "few.npy", np.zeros((5, 3), "<f4"))
    few = load_item(tmp_path / "few.npy")
    with pytest.raises(SourceError, match=r"ARRAY_TOO_SHORT.*point_cloud"):
        check_item(few, few.read(), where="x")
    with pytest.raises(SourceError, match="MODALITY_UNCLEAR"):
        tell_sensor((8, 3), where="x")  # too few points, or too few samples of EMG
    np.save(tmp_path / "double.npy", np.zeros((32, 3)))
    double = load_item(tmp_path / "double.npy")
    with pytest.raises(SourceError, match=r"ARRAY_DTYPE.*double\.npy.*float64.*astype"):
        check_item(double, double.read(), where="x")
    (tmp_path / "pickle.npy").write_bytes(pickled())
    with pytest.raises(SourceError, match=r"BROKEN_FILE.*not numbers"):
        load_item(tmp_path / "pickle.npy")


def pickled() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def test_a_header_of_an_array_carries_nothing_away() -> None:
    plain = array("touch")
    text = "{'shape': (4, 2, 16, 16), 'fortran_order': False, 'descr': '<f4'}" + " " * 30 + "#" + SECRET + "\n"
    hidden = b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text.encode() + plain[128:] + SECRET.encode()
    assert np.array_equal(np.load(io.BytesIO(hidden)), np.load(io.BytesIO(plain)))
    assert strip_metadata(hidden, "application/x-npy") == plain
    with pytest.raises(SourceError, match="BROKEN_FILE"):
        strip_metadata(plain[:-4], "application/x-npy")


@settings(max_examples=300)
@given(data=st.binary(max_size=200), version=st.sampled_from([b"\x01\0", b"\x02\0", b"\x09\0"]))
def test_arbitrary_headers_give_bytes_or_an_error(data: bytes, version: bytes) -> None:
    whole = b"\x93NUMPY" + version + len(data).to_bytes(2 if version[0] == 1 else 4, "little") + data
    try:
        strip_metadata(whole, "application/x-npy")
    except SourceError as error:
        if error.code != "BROKEN_FILE":
            raise


def test_names_say_what_belongs_together() -> None:
    said = {
        name: (read.stem, read.modality, read.stream)
        for name in ("a.touch.npy", "a.POINTS.npy", "a.v2.npy", "a.camera2.PNG", "a.b.png", "a.mp4", ".npy", "README")
        for read in (read_name(name),)
    }
    assert said == {
        "a.touch.npy": ("a", "touch", None),
        "a.POINTS.npy": ("a", "point_cloud", None),
        "a.v2.npy": ("a.v2", "", None),
        "a.camera2.PNG": ("a", "image", "camera2"),
        "a.b.png": ("a.b", "image", None),
        "a.mp4": ("a", "video", None),
        ".npy": (".npy", None, None),
        "README": ("README", None, None),
    }


def test_first_bytes_tell_videos_apart() -> None:
    assert sniff(film()[:64]) == "video/mp4"
    assert sniff(film("vp9")[:64]) == "video/webm"
    assert sniff(gif()[:64]) == "image/gif"
    assert sniff(array("emg")[:64]) == "application/x-npy"
    assert sniff(b"\x1a\x45\xdf\xa3matroska") is None


# -- folders and manifests


def test_files_of_one_name_make_a_pair_of_every_two_modalities(tmp_path: Path) -> None:
    for name, content in scene().items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "wave.gif").write_bytes(gif(comment=SECRET.encode()))
    (tmp_path / "wave.txt").write_text("colours wave")
    pairs, problems = split(read_sources((tmp_path,), license="MIT"))
    assert not problems
    assert len(pairs) == 44 + 1  # 36 of nine, eight more of the second camera, and the wave
    assert len({pair.modalities for pair in pairs}) == 36
    assert len({pair.id for pair in pairs}) == len(pairs)
    streams = {(pair.a.stream, pair.modalities) for pair in pairs if pair.modalities == "image-text"}
    assert streams == {("camera1", "image-text"), ("camera2", "image-text")}
    assert_decodes(pairs)
    assert not any(SECRET.encode() in item.read() for pair in pairs for item in (pair.a, pair.b))
    chosen, _ = split(read_sources((tmp_path,), license="MIT", pairs=frozenset({"touch-video"})))
    assert [pair.modalities for pair in chosen] == ["touch-video"]


def test_files_named_together_are_one_group_and_one_bad_file_spoils_its_group_only(tmp_path: Path) -> None:
    for name, content in scene().items():
        (tmp_path / name).write_bytes(content)
    named = tuple(tmp_path / name for name in ("grasp.mp4", "grasp.touch.npy", "grasp.txt"))
    pairs, _ = split(read_sources(named, license="MIT"))
    assert [pair.modalities for pair in pairs] == ["touch-video", "text-video", "text-touch"]
    (tmp_path / "lift.emg.npy").write_bytes(array("touch"))  # its name says EMG
    (tmp_path / "lift.txt").write_text("it is lifted")
    (tmp_path / "torn.npy").write_bytes(b"\x93NUMPY\x01\0")
    (tmp_path / "torn.txt").write_text("torn")
    pairs, problems = split(read_sources((tmp_path,), license="MIT"))
    assert [problem.code for problem in problems] == ["BROKEN_FILE"]
    lift = next(pair for pair in pairs if pair.concept == "lift")
    with pytest.raises(SourceError, match=r"ARRAY_RANK.*emg"):
        check_item(lift.a, lift.a.read(), where="lift")


def test_a_manifest_says_what_each_file_is(tmp_path: Path) -> None:
    for name, content in scene().items():
        (tmp_path / name).write_bytes(content)
    rows = [
        {"a": {"file": "grasp.touch.npy", "modality": "touch"}, "b": "grasp.mp4", "license": "MIT"},
        {"a": {"file": "grasp.camera1.png", "stream": "left"}, "b": {"text": "a cube"}, "license": "MIT"},
        {"a": {"file": "grasp.mp4", "modality": "image"}, "b": {"text": "a cube"}, "license": "MIT"},
        {"a": {"file": "grasp.emg.npy", "modality": "smell"}, "b": {"text": "a cube"}, "license": "MIT"},
        {"a": {"file": "grasp.mp4", "kind": "video"}, "b": {"text": "a cube"}, "license": "MIT"},
        {"a": {"file": "../out.npy", "modality": "emg"}, "b": {"text": "a cube"}, "license": "MIT"},
    ]
    (tmp_path / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs, problems = split(read_sources((tmp_path / "list.jsonl",)))
    assert [(pair.modalities, pair.a.stream) for pair in pairs] == [("touch-video", None), ("image-text", "left")]
    assert [problem.code for problem in problems] == ["NOT_AN_IMAGE", "MODALITY_UNKNOWN", "ROW_VALUE", "OUTSIDE_FOLDER"]
    assert all(f"list.jsonl line {line}" in problem.what for line, problem in enumerate(problems, start=3))
    assert_decodes(pairs)


# -- WebDataset


def test_shards_give_the_pairs_of_each_key(tmp_path: Path) -> None:
    parts = {name.replace("grasp", "deep/0001"): content for name, content in scene().items()}
    note = json.dumps({"license": "CC-BY-4.0", "captured_at": 1767225600, "caption": "a hum", "width": 7}).encode()
    pack(tmp_path / "train-00.tar", [*parts.items(), ("0002.flac", encode_sound(hum(2), "FLAC")), ("0002.json", note)])
    pack(tmp_path / "train-01.tar.gz", [("0003.jpeg", tag_jpeg(3)), ("0003.caption", b"a photo")], "w:gz")
    pairs, problems = split(read_sources((tmp_path,), license="MIT"))
    assert not problems
    assert len(pairs) == 44 + 1 + 1
    assert_decodes(pairs)
    assert not any(SECRET.encode() in item.read() for pair in pairs for item in (pair.a, pair.b))
    hum_pair = next(pair for pair in pairs if pair.concept == "0002")
    assert (hum_pair.license, hum_pair.captured_at, hum_pair.b.read()) == ("CC-BY-4.0", 1767225600, b"a hum")
    assert next(pair for pair in pairs if pair.concept == "0003").license == "MIT"
    assert not [path for path in tmp_path.rglob("*") if path.suffix not in (".tar", ".gz")]  # nothing was unpacked


def test_patterns_stand_for_their_shards(tmp_path: Path) -> None:
    for number in range(9, 12):
        pack(tmp_path / f"s-{number:03d}.tar", [("k.png", encode(draw(number))), ("k.txt", str(number).encode())])
    pairs, _ = split(read_sources((tmp_path / "s-{009..011}.tar",), license="MIT"))
    assert [pair.b.read() for pair in pairs] == [b"9", b"10", b"11"]
    pairs, _ = split(read_sources((tmp_path / "s-{011,009}.tar",), license="MIT"))
    assert [pair.b.read() for pair in pairs] == [b"11", b"9"]
    with pytest.raises(SourceError, match=r"SOURCE_MISSING.*s-012"):
        list(read_sources((tmp_path / "s-{011..012}.tar",), license="MIT"))
    for pattern in ("s-{0..999999999999}.tar", "s-{5..3}.tar"):
        with pytest.raises(SourceError, match="PATTERN_LARGE"):
            list(read_sources((tmp_path / pattern,), license="MIT"))


def special(name: str, kind: bytes, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info


def test_hostile_members_are_named_and_the_others_are_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("private")
    good = [("k1.png", encode(draw(1))), ("k1.txt", b"fine"), ("k9.png", encode(draw(2))), ("k9.txt", b"fine too")]
    hostile: list[tuple[str, bytes] | tarfile.TarInfo] = [
        special("k2.txt", tarfile.SYMTYPE, linkname=str(secret)),
        special("k3.txt", tarfile.LNKTYPE, linkname="k1.txt"),
        special("k4.txt", tarfile.CHRTYPE, devmajor=1, devminor=5),
        special("k5.txt", tarfile.FIFOTYPE),
        ("../../k6.txt", b"out"),
        ("/etc/k7.txt", b"out"),
        ("k8\x1b[2J.txt", b"out"),
    ]
    (tmp_path / "in").mkdir()
    shard = pack(tmp_path / "in" / "s.tar", [*good[:2], *hostile, special("d", tarfile.DIRTYPE), *good[2:]])
    pairs, problems = split(read_sources((shard,), license="MIT"))
    assert [pair.b.read() for pair in pairs] == [b"fine", b"fine too"]
    assert [problem.code for problem in problems] == ["TAR_MEMBER"] * len(hostile)
    assert all(f"s.tar member {number} " in problem.what for number, problem in enumerate(problems, start=3))
    assert not any("\x1b" in problem.what for problem in problems)
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["s.tar"]


def test_groups_that_do_not_hold_together_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = encode(draw(1))
    shard = pack(
        tmp_path / "s.tar",
        [
            ("lone.png", picture),
            ("twice.png", picture), ("twice.PNG", picture), ("twice.txt", b"a"),
            ("map.png", picture), ("map.seg.png", picture), ("map.cls", b"3"), ("map.txt", b"a"),
            ("odd.cls", b"3"), ("odd.png", picture), ("odd.txt", b"b"),
            ("bad.json", b"[1]"), ("bad.png", picture), ("bad.txt", b"c"),
            ("mute.wma", b"ID3"), ("mute.txt", b"d"),
        ],
    )  # fmt: skip
    pairs, problems = split(read_sources((shard,), license="MIT"))
    assert [pair.concept for pair in pairs] == ["map", "odd"]
    assert [(problem.code) for problem in problems] == [
        "CAPTION_MISSING", "TAR_KEY_TWICE", "UNKNOWN_EXTENSION", "UNKNOWN_EXTENSION", "ROW_NOT_JSON",
        "UNKNOWN_EXTENSION", "MEDIA_MISSING",
    ]  # fmt: skip
    monkeypatch.setattr(webdataset, "MAX_GROUP_MEMBERS", 3)
    many = [
        *((f"k.{number}.png", picture) for number in range(9)),
        ("k.txt", b"x"),
        ("l.png", picture),
        ("l.txt", b"y"),
    ]
    pairs, problems = split(read_sources((pack(tmp_path / "m.tar", many),), license="MIT"))
    assert [pair.concept for pair in pairs] == ["l"]
    assert {problem.code for problem in problems} == {"GROUP_LARGE"}


def test_a_damaged_shard_is_told_and_what_stands_before_is_kept(tmp_path: Path) -> None:
    members = [(f"k{n}.{end}", data) for n in range(6) for end, data in (("png", encode(draw(n))), ("txt", b"text"))]
    whole = pack(tmp_path / "whole.tar", members).read_bytes()
    assert len(split(read_sources((tmp_path / "whole.tar",), license="MIT"))[0]) == 6
    header = whole.index(b"k3.png")
    for name, data in {
        "cut.tar": whole[: header + 700],
        "no-end.tar": whole[:header],
        "damaged.tar": whole[: header + 5] + b"\xff" + whole[header + 6 :],
        "cut.tar.gz": gzip.compress(whole)[:-200],
    }.items():
        (tmp_path / name).write_bytes(data)
        pairs, problems = split(read_sources((tmp_path / name, tmp_path / "whole.tar"), license="MIT"))
        codes = [problem.code for problem in problems]
        assert codes == ["TAR_BROKEN", "MEDIA_MISSING"][: 1 + (name == "damaged.tar")], name  # k3.txt is left alone
        assert name in problems[0].what
        assert len(pairs) >= 6 + (5 if name == "damaged.tar" else 3), name  # and the next shard is read
    (tmp_path / "none.tar").write_bytes(b"not a tar at all" * 100)
    assert split(read_sources((tmp_path / "none.tar",), license="MIT"))[1][0].code == "TAR_BROKEN"
    with pytest.raises(SourceError, match="NOTHING_FOUND"):
        list(read_sources((pack(tmp_path / "empty.tar", []),), license="MIT"))


SIZE_2_80 = b"\x80" + (1 << 80).to_bytes(11, "big")


def spell_header(kind: bytes = b"0", size: bytes = b"%011o\0" % 0, name: str = "k.txt") -> bytes:
    block = bytearray(special(name, kind).tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def spell_extended(kind: bytes, records: bytes) -> bytes:
    return spell_header(kind, b"%011o\0" % len(records)) + records.ljust(-(-len(records) // 512) * 512, b"\0")


MANY_KEYS = b"".join(b"%d k%05d=\n" % (11, number) for number in range(8000))
MAP_WITHOUT_END = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
ENDLESS = {  # none ended before, or each ended the run
    "records in a row": spell_extended(b"x", b"6 a=b\n") * 2000 + spell_header(),
    "global records in a row": spell_extended(b"g", b"6 a=b\n") * 2000 + spell_header(),
    "long names in a row": spell_extended(b"L", b"a\0") * 2000 + spell_header(),
    "keys that all members share": spell_extended(b"g", MANY_KEYS) * 3 + spell_header() * 3000,
    "a size of 2^80": spell_header(size=SIZE_2_80),
    "a size of 2^80 behind a name that is passed over": spell_header(size=SIZE_2_80, name=".hidden"),
    "a sparse map without an end": spell_extended(b"x", MAP_WITHOUT_END) + spell_header(),
    "an old sparse map that is cut": spell_header(b"S")[:482] + b"\1" + spell_header(b"S")[483:],
}


@pytest.mark.parametrize("name", ENDLESS)
def test_headers_without_an_end_are_named_and_the_next_shard_is_read(name: str, tmp_path: Path) -> None:
    for ending, packed in (("tar", bytes), ("tar.gz", gzip.compress)):
        path = tmp_path / f"evil.{ending}"
        path.write_bytes(packed(ENDLESS[name] + bytes(1024)))
        good = pack(tmp_path / "good.tar", [("k1.png", encode(draw(1))), ("k1.txt", b"fine")])
        pairs, problems = split(read_sources((path, good), license="MIT"))
        assert [pair.b.read() for pair in pairs] == [b"fine"]
        allowed = {"TAR_MEMBER", "TAR_BROKEN", "MEDIA_MISSING", "TEXT_EMPTY", "GROUP_LARGE"}
        assert {problem.code for problem in problems} <= allowed
        assert problems


def test_a_shard_that_promises_much_takes_little(tmp_path: Path) -> None:
    """A gigabyte of zeros in a megabyte, as a member and as a header of names: neither is held."""
    import tracemalloc

    fat = special("k.txt", tarfile.REGTYPE, size=1 << 30)
    names = special("k.txt", tarfile.XHDTYPE, size=1 << 28)
    for info in (fat, names):
        path = tmp_path / f"{info.type.decode()}.tar.gz"
        with gzip.open(path, "wb", compresslevel=1) as file:
            file.write(info.tobuf(tarfile.USTAR_FORMAT))
            for _ in range(48):
                file.write(bytes(1 << 20))
        tracemalloc.start()
        pairs, problems = split(read_sources((path,), license="MIT"))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert not pairs
        assert {problem.code for problem in problems} <= {"TAR_MEMBER", "TAR_BROKEN"}
        assert peak < 8 << 20, peak


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 3000), value=st.binary(min_size=1, max_size=4))
def test_damaged_shards_never_crash(tmp_path: Path, at: int, value: bytes) -> None:
    path = pack(tmp_path / "s.tar", [("a.png", encode(draw(1))), ("a.txt", b"x"), ("a.emg.npy", array("emg"))])
    data = bytearray(path.read_bytes())
    data[at : at + len(value)] = value
    path.write_bytes(bytes(data))
    for row in read_sources((path,), license="MIT"):
        assert isinstance(row, SourcePair | SourceError)


# -- Parquet


def write(path: Path, **columns: Any) -> Path:
    parquet.write_table(arrow.table(columns), path)
    return path


def test_parquet_columns_are_what_their_names_say(tmp_path: Path) -> None:
    path = write(
        tmp_path / "d.parquet",
        img=[tag_jpeg(1), encode(draw(2)), None],
        caption=["one", "two", "three"],
        audio=[{"bytes": tag_wav(1), "path": "x.wav"}, {"bytes": encode_sound(hum(1), "FLAC"), "path": None}, None],
        license=["CC-BY-4.0", None, None],
        captured_at=arrow.array([1767225600, None, None], arrow.timestamp("s", "UTC")),
        width=[1, 2, 3],
    )
    pairs, problems = split(read_parquet(path, license="MIT"))
    assert [pair.modalities for pair in pairs] == 2 * ["image-text", "audio-image", "audio-text"]
    assert [problem.code for problem in problems] == ["MEDIA_MISSING"]
    assert "d.parquet row 3" in problems[0].what
    assert [pair.license for pair in pairs] == 3 * ["CC-BY-4.0"] + 3 * ["MIT"]
    assert pairs[0].captured_at == 1767225600
    assert_decodes(pairs)
    assert not any(SECRET.encode() in item.read() for pair in pairs for item in (pair.a, pair.b))


@pytest.mark.parametrize("form", ["nested", "flat", "shaped", "tensor", "bytes"])
@pytest.mark.parametrize("name", sorted(SHAPES))
def test_arrays_come_from_lists_of_numbers(tmp_path: Path, name: str, form: str) -> None:
    data = array(name)
    values = np.load(io.BytesIO(data))
    columns: dict[str, Any] = {"text": ["what it is"]}
    if form == "nested":
        columns[name] = arrow.array([values.astype(np.float64).tolist()])
    elif form == "flat":
        columns[name] = arrow.array([values.ravel()], arrow.list_(arrow.float32()))
    elif form == "shaped":
        columns |= {name: [values.ravel().tolist()], f"{name}_shape": [list(values.shape)]}
    elif form == "tensor":
        kind = arrow.fixed_shape_tensor(arrow.float32(), values.shape)
        flat = arrow.array([values.ravel()], kind.storage_type)
        columns[name] = arrow.ExtensionArray.from_storage(kind, flat)
    else:
        columns[name] = [data]
    ((pair,), problems) = split(read_parquet(write(tmp_path / "d.parquet", **columns), license="MIT"))
    assert not problems
    item = pair.a if pair.a.modality == name else pair.b
    assert item.read() == data
    assert_decodes([pair])


def test_columns_can_be_named_and_bad_cells_are_told_with_their_row(tmp_path: Path) -> None:
    (tmp_path / "near.png").write_bytes(encode(draw(3)))
    path = write(
        tmp_path / "d.parquet",
        left=[
            {"bytes": None, "path": "near.png"},
            {"bytes": None, "path": "../far.png"},
            {"bytes": b"GIF", "path": ""},
        ],
        said=["a", "b", "c"],
        felt=[np.zeros(512).tolist(), [1.0, 2.0], None],
    )
    columns = parse_columns("camera1=left, text=said,touch=felt")
    pairs, problems = split(read_sources((path,), license="MIT", columns=columns))
    assert [(pair.modalities, pair.a.stream) for pair in pairs] == [
        ("image-text", "camera1"), ("image-touch", "camera1"), ("text-touch", None)
    ]  # fmt: skip
    assert [problem.code for problem in problems] == ["OUTSIDE_FOLDER", "NOT_AN_IMAGE"]
    assert [f"d.parquet row {number}" in problem.what for number, problem in enumerate(problems, start=2)] == [True] * 2
    columns = parse_columns("text=said,touch=felt")
    pairs, problems = split(read_sources((path,), license="MIT", columns=columns))
    assert [problem.code for problem in problems] == ["CELL_SHAPE", "MEDIA_MISSING"]
    for asked, code in (("image=said,text=felt", "CELL_TYPE"), ("emg=said,text=felt", "CELL_TYPE")):
        _, problems = split(read_sources((path,), license="MIT", columns=parse_columns(asked)))
        assert {problem.code for problem in problems} == {code}


@pytest.mark.parametrize("text", ["image", "image=", "smell=x,text=y", "text=a,text=b"])
def test_columns_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(SourceError, match="COLUMNS_INVALID"):
        parse_columns(text)


def test_files_that_are_no_parquet_or_say_too_little_are_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "d.parquet", image=[encode(draw(1))] * 40, text=[f"text {n}" for n in range(40)])
    (tmp_path / "cut.parquet").write_bytes(whole.read_bytes()[:-30])
    (tmp_path / "none.parquet").write_bytes(b"PAR1" + bytes(50) + b"PAR1")
    for name in ("cut", "none"):
        with pytest.raises(SourceError, match=f"PARQUET_BROKEN.*{name}"):
            list(read_parquet(tmp_path / f"{name}.parquet", license="MIT"))
    for columns, code in (
        ({"image": [b"x"]}, "COLUMN_MISSING"),
        ({"image": [b"x"], "width": [2]}, "COLUMN_MISSING"),
        ({"image": [b"x"], "img": [b"x"], "text": ["x"]}, "COLUMNS_UNCLEAR"),
        ({"image": arrow.array([], arrow.binary()), "text": arrow.array([], arrow.string())}, "NOTHING_FOUND"),
    ):
        with pytest.raises(SourceError, match=code):
            list(read_parquet(write(tmp_path / "x.parquet", **columns), license="MIT"))
    with pytest.raises(SourceError, match="COLUMN_MISSING"):
        list(read_parquet(whole, columns={"image": "image", "text": "nothing"}, license="MIT"))


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(4, 3000), value=st.binary(min_size=1, max_size=4))
def test_damaged_parquet_never_crashes(tmp_path: Path, at: int, value: bytes) -> None:
    path = write(tmp_path / "d.parquet", text=["a", "b"], emg=[array("emg"), None], touch=[[0.5] * 512] * 2)
    data = bytearray(path.read_bytes())
    at = at % (len(data) - len(value))
    data[at : at + len(value)] = value
    path.write_bytes(bytes(data))
    try:
        rows = list(read_parquet(path, license="MIT"))
    except SourceError:
        return
    assert all(isinstance(row, SourcePair | SourceError) for row in rows)


def test_a_folder_of_two_kinds_is_asked_about(tmp_path: Path) -> None:
    write(tmp_path / "d.parquet", image=[encode(draw(1))], text=["x"])
    (tmp_path / "README.txt").write_text("about")
    assert len(list(read_sources((tmp_path,), license="MIT"))) == 1
    (tmp_path / "a.png").write_bytes(encode(draw(1)))
    with pytest.raises(SourceError, match="SOURCE_MIXED"):
        list(read_sources((tmp_path,), license="MIT"))
