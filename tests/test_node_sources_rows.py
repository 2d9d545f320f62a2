"""What is wrong with one row, line, cell or member costs that one: told with a code, its number and a remedy."""

import csv
import io
import json
import struct
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pyarrow import parquet

from curiosity.protocol.errors import SourceError
from curiosity.protocol.json_reader import JsonError, read_json
from curiosity.sources.own import webdataset
from curiosity.sources.own.own import read_sources
from curiosity.sources.own.rows import read_rows
from curiosity.sources.pairset import SourcePair


def png() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(out, "PNG")
    return out.getvalue()


def read(path: Path, **options: object) -> tuple[list[str], list[SourceError]]:
    """The captions of the pairs, and what could not be read."""
    found = list(read_sources((path,), license="CC0-1.0", **options))  # type: ignore[arg-type]
    texts = [each.b.read().decode() for each in found if isinstance(each, SourcePair)]
    problems = [each for each in found if isinstance(each, SourceError)]
    assert all(problem.remedy for problem in problems)
    return texts, problems


def lay(folder: Path, table: str, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.png").write_bytes(png())
    (folder / table).write_bytes(content)
    return folder / table if table == "m.jsonl" else folder


# -- tables: a good row, the bad one, a good row

BAD_JSON = {
    "no JSON": (b"{", "ROW_NOT_JSON"),
    "deep": (b"[" * 100_000, "ROW_NOT_JSON"),
    "not UTF-8": (b'{"file_name": "x.png", "text": "caf\xe9"}', "NOT_TEXT"),
    "half a character at the end": (b'{"file_name": "x.png", "text": "caf\xc3', "NOT_TEXT"),
    "a name twice": (b'{"file_name": "x.png", "text": "a", "text": "b"}', "ROW_NOT_JSON"),
    "a licence twice": (b'{"file_name": "x.png", "text": "a", "license": "MIT", "license": "X"}', "ROW_NOT_JSON"),
    "no object": (b"[1]", "ROW_NOT_JSON"),
    "a number too long": (b'{"file_name": "x.png", "text": ' + b"9" * 5_000 + b"}", "ROW_NOT_JSON"),
    "not a number": (b'{"file_name": "x.png", "text": "a", "captured_at": NaN}', "ROW_NOT_JSON"),
    "a time before all times": (
        b'{"file_name": "x.png", "text": "a", "captured_at": "0001-01-01T00:00:00+14:00"}',
        "ROW_VALUE",
    ),
    "a long name": (b'{"file_name": "\xc3\xa9' + b"y" * 5_000 + b'.png", "text": "a"}', "CANNOT_READ"),
    "a loop": (b'{"file_name": "loop.png", "text": "a"}', "OUTSIDE_FOLDER"),
    "a NUL": (b'{"file_name": "x.png\\u0000", "text": "a"}', "ROW_VALUE"),
}
BAD_CSV = {
    "a quote that is not closed": (b'x.png,"bad', "ROW_FIELDS"),
    "a quote within": (b'x.png,"bad" one', "ROW_FIELDS"),
    "too many fields": (b"x.png,bad,one", "ROW_FIELDS"),
    "too few fields": (b"x.png", "ROW_FIELDS"),
    "not UTF-8": (b"x.png,caf\xe9", "NOT_TEXT"),
    "a field without end": (b"x.png," + b"a" * (csv.field_size_limit() + 1), "ROW_FIELDS"),
    "a loop": (b"loop.png,a", "OUTSIDE_FOLDER"),
}


def check_alone(where: Path, told: str, code: str) -> None:
    texts, problems = read(where)
    assert texts == ["first", "last"]
    assert [problem.code for problem in problems] == [code]
    assert told in problems[0].what
    assert len(problems[0].what) < 1_000


@pytest.mark.parametrize("table", ["captions.jsonl", "metadata.jsonl"])
@pytest.mark.parametrize("kind", BAD_JSON)
def test_a_bad_line_of_json_costs_its_row(kind: str, table: str, tmp_path: Path) -> None:
    bad, code = BAD_JSON[kind]
    good = [json.dumps({"file_name": "x.png", "text": text}).encode() for text in ("first", "last")]
    where = lay(tmp_path, table, b"\n".join([good[0], bad, good[1], b""]))
    (tmp_path / "loop.png").symlink_to("loop.png")
    check_alone(where, f"{table} line 2", code)


@pytest.mark.parametrize("table", ["captions.csv", "metadata.csv"])
@pytest.mark.parametrize("kind", BAD_CSV)
def test_a_bad_line_of_csv_costs_its_row(kind: str, table: str, tmp_path: Path) -> None:
    bad, code = BAD_CSV[kind]
    where = lay(tmp_path, table, b"file_name,text\nx.png,first\n" + bad + b'\nx.png,"last"\n')
    (tmp_path / "loop.png").symlink_to("loop.png")
    check_alone(where, f"{table} line 3", code)


@pytest.mark.parametrize("kind", ["no JSON", "not UTF-8", "a name twice", "a loop"])
def test_a_bad_line_of_a_manifest_costs_its_row(kind: str, tmp_path: Path) -> None:
    bad, code = BAD_JSON[kind]
    bad = bad.replace(b'"file_name"', b'"a"').replace(b'"text": "a"}', b'"b": {"text": "a"}}')
    good = [json.dumps({"a": "x.png", "b": {"text": text}}).encode() for text in ("first", "last")]
    where = lay(tmp_path, "m.jsonl", b"\n".join([good[0], bad, good[1]]))
    (tmp_path / "loop.png").symlink_to("loop.png")
    check_alone(where, "m.jsonl line 2", code)


def test_lines_of_a_quoted_field_are_one_row(tmp_path: Path) -> None:
    table = b'file_name,text\r\nx.png,"two\r\nlines, and a ""quote"""\r\n\r\nx.png,last\r\n'
    texts, problems = read(lay(tmp_path, "captions.csv", table))
    assert (texts, problems) == (['two\r\nlines, and a "quote"', "last"], [])


@pytest.mark.parametrize("table", ["captions.csv", "metadata.csv"])
def test_a_column_that_stands_twice_costs_the_rows_that_do_not_agree(table: str, tmp_path: Path) -> None:
    content = b"file_name,text,text\nx.png,first,first\nx.png,one,other\nx.png,last,last\n"
    check_alone(lay(tmp_path, table, content), f"{table} line 3: the column text stands twice", "COLUMN_TWICE")


def test_a_name_that_stands_twice_with_one_value_is_one() -> None:
    assert read_json('{"a": [1], "a": [1]}', is_unique=True) == {"a": [1]}
    assert read_json('{"a": 1, "a": 2}') == {"a": 2}
    for text in ('{"a": 1, "a": 2}', '[{"b": {"a": 1, "a": null, "a": 1}}]'):
        with pytest.raises(JsonError, match="stands twice"):
            read_json(text, is_unique=True)


@pytest.mark.parametrize("odd", [b"", b"\0"])
def test_half_a_sign_in_utf16_costs_its_row(odd: bytes, tmp_path: Path) -> None:
    rows = '{"file_name": "x.png", "text": "first"}\n{"file_name": "x.png", "text": "\ud800"}\n'
    last = '{"file_name": "x.png", "text": "last"}\n'
    content = b"\xff\xfe" + (rows + last).encode("utf-16-le", "surrogatepass") + odd
    texts, problems = read(lay(tmp_path, "captions.jsonl", content))
    assert texts == ["first", "last"]
    assert [problem.code for problem in problems] == ["NOT_TEXT"] * (1 + len(odd))


def test_what_is_no_table_at_all_is_refused_whole(tmp_path: Path) -> None:
    for table, content, code in (
        ("captions.jsonl", png(), "NOT_TEXT"),
        ("captions.csv", b"file_name,text\xff\nx.png,a\n", "NOT_TEXT"),
        ("captions.csv", b'file_name,"text\nx.png,a\n', "TABLE_HEADER"),
        ("captions.csv", b"", "TABLE_HEADER"),
    ):
        with pytest.raises(SourceError) as refused:
            read(lay(tmp_path / table / code, table, content))
        assert refused.value.code == code


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.sampled_from([b'x,"a', b'x,"a"', b"x,a", b'x,"a" b', b'"', b"x,\xff", b"", b'x,"a,""b"']), max_size=9
    )
)
@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_whatever_the_lines_are_each_is_read_or_told(name: str, rows: list[bytes], tmp_path: Path) -> None:
    """A plain row stands behind them all, and is read; so is each before it that no quote closes over."""
    plain = b"y,z" if name == "t.csv" else b'{"y": "z"}'
    (tmp_path / name).write_bytes(b"file_name,text\n" * (name == "t.csv") + b"\n".join([*rows, plain]))
    found = [row for _, row in read_rows(tmp_path / name)]
    assert found[-1] == ({"file_name": "y", "text": "z"} if name == "t.csv" else {"y": "z"})
    if name == "t.csv" and b'"' not in rows:
        assert sum(isinstance(row, dict) for row in found) >= 1 + rows.count(b"x,a")


# -- Parquet


def texts_with(bad: bytes) -> arrow.Array:
    """Three texts, of which the second may be anything."""
    parts = [b"first", bad, b"last"]
    ends = np.cumsum([0, *map(len, parts)])
    return arrow.StringArray.from_buffers(
        3, arrow.py_buffer(struct.pack("<4i", *ends)), arrow.py_buffer(b"".join(parts))
    )


BAD_CELLS = {
    "not UTF-8": {"text": texts_with(b"caf\xe9")},
    "a time that no calendar has": {"captured_at": arrow.array([0, 2**55, 0], arrow.timestamp("ms", "UTC"))},
    "a date that no calendar has": {"captured_at": arrow.array([None, 2**30, None], arrow.date32())},
}


@pytest.mark.parametrize("kind", BAD_CELLS)
@pytest.mark.parametrize("group_rows", [1, 3])
def test_a_bad_cell_costs_its_row(kind: str, group_rows: int, tmp_path: Path) -> None:
    columns = {"image": arrow.array([png()] * 3), "text": texts_with(b"mid"), **BAD_CELLS[kind]}
    parquet.write_table(arrow.table(columns), tmp_path / "x.parquet", row_group_size=group_rows)
    check_alone(tmp_path / "x.parquet", "x.parquet row 2", "CELL_BROKEN")


def test_a_zone_that_nobody_knows_costs_its_rows(tmp_path: Path) -> None:
    columns = {
        "image": arrow.array([png()] * 2), "text": ["a", "b"],
        "captured_at": arrow.array([None, 5], arrow.timestamp("s", "Mars/Phobos")),
    }  # fmt: skip
    parquet.write_table(arrow.table(columns), tmp_path / "x.parquet")
    texts, problems = read(tmp_path / "x.parquet")
    assert (texts, [problem.code for problem in problems]) == (["a"], ["CELL_BROKEN"])


def test_a_parquet_column_that_stands_twice_costs_the_rows_that_do_not_agree(tmp_path: Path) -> None:
    texts = [arrow.array(["first", middle, "last"]) for middle in ("one", "other")]
    table = arrow.Table.from_arrays([arrow.array([png()] * 3), *texts], names=["image", "text", "text"])
    parquet.write_table(table, tmp_path / "x.parquet")
    check_alone(tmp_path / "x.parquet", "x.parquet row 2: the column text stands twice", "COLUMN_TWICE")


def test_a_damaged_page_costs_the_rest_of_its_group(tmp_path: Path) -> None:
    names = [f"text {number}" for number in range(6)]
    path = tmp_path / "x.parquet"
    parquet.write_table(
        arrow.table({"image": arrow.array([png()] * 6), "text": names}), path,
        row_group_size=2, compression="none", use_dictionary=False, write_statistics=False, write_page_checksum=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes().replace(b"text 2", b"test 2", 1))
    texts, problems = read(path)
    assert texts == names[:2] + names[4:]
    assert [problem.code for problem in problems] == ["PARQUET_BROKEN"]
    assert "rows 3 to 4" in problems[0].what


def test_a_file_of_no_use_costs_no_file_beside_it(tmp_path: Path) -> None:
    for name in ("a", "c"):
        parquet.write_table(arrow.table({"image": arrow.array([png()]), "text": [name]}), tmp_path / f"{name}.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 and no more")
    parquet.write_table(arrow.table({"url": ["u"]}), tmp_path / "d.parquet")
    texts, problems = read(tmp_path)
    assert texts == ["a", "c"]
    assert [problem.code for problem in problems] == ["PARQUET_BROKEN", "COLUMN_MISSING"]
    for name in ("b", "d"):  # alone, it is refused at once
        with pytest.raises(SourceError):
            read(tmp_path / f"{name}.parquet")


# -- shards


BAD_MEMBERS: dict[str, tuple[dict[str, bytes], str]] = {
    "a note that is no JSON": ({"1.png": png(), "1.json": b"{"}, "ROW_NOT_JSON"),
    "a deep note": ({"1.png": png(), "1.json": b"[" * 100_000}, "ROW_NOT_JSON"),
    "two captions in a note": ({"1.png": png(), "1.json": b'{"text": "a", "text": "b"}'}, "ROW_NOT_JSON"),
    "a text that is not UTF-8": ({"1.png": png(), "1.txt": b"caf\xe9"}, "NOT_TEXT"),
    "half a picture": ({"1.png": png()[:30], "1.txt": b"a"}, "BROKEN_FILE"),
    "a note alone, as of a failed download": ({"1.json": b'{"status": "failed_to_download"}'}, "MEDIA_MISSING"),
    "a name that is not UTF-8": ({"\udcff.png": png()}, "TAR_MEMBER"),
}


@pytest.mark.parametrize("kind", BAD_MEMBERS)
def test_a_bad_member_costs_its_key(kind: str, tmp_path: Path) -> None:
    """In a folder as img2dataset writes it: a shard, its table and its statistics."""
    members, code = BAD_MEMBERS[kind]
    with tarfile.open(tmp_path / "00000.tar", "w") as shard:
        for name, content in {"0.png": png(), "0.txt": b"first", **members, "2.png": png(), "2.txt": b"last"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            shard.addfile(info, io.BytesIO(content))
    (tmp_path / "00000_stats.json").write_text("{}")
    parquet.write_table(arrow.table({"url": ["u"], "caption": ["a"], "key": ["0"]}), tmp_path / "00000.parquet")
    check_alone(tmp_path, "00000.tar member", code)


def pack(path: Path, keys: int) -> bytes:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as shard:
        for key in range(keys):
            for name, content in ((f"{key}.png", png()), (f"{key}.txt", f"text {key}".encode())):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                shard.addfile(info, io.BytesIO(content))
    return path.read_bytes()


@pytest.mark.parametrize("member", ["2.png", "2.txt"])
@pytest.mark.parametrize("place", [0, 130, 150], ids=["name", "size", "checksum"])
def test_a_damaged_header_costs_its_key(member: str, place: int, tmp_path: Path) -> None:
    whole = bytearray(pack(tmp_path / "x.tar", 5))
    at = whole.index(member.encode())
    whole[at + place] ^= 1
    (tmp_path / "x.tar").write_bytes(whole)
    texts, problems = read(tmp_path / "x.tar")
    assert texts == ["text 0", "text 1", "text 3", "text 4"]
    assert problems[0].code == "TAR_BROKEN"
    assert "reading continues at byte" in problems[0].what
    assert {problem.code for problem in problems[1:]} <= {"MEDIA_MISSING", "CAPTION_MISSING"}


def test_a_shard_of_damage_alone_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the limit each of the damaged headers would have the rest searched once more."""
    whole = bytearray(pack(tmp_path / "x.tar", 50))
    for key in range(1, 50, 2):
        whole[whole.index(f"{key}.png".encode()) + 150] ^= 1
    (tmp_path / "x.tar").write_bytes(whole)
    broken = [problem for problem in read(tmp_path / "x.tar")[1] if problem.code == "TAR_BROKEN"]
    assert len(broken) == webdataset.MAX_RESTARTS + 1
    assert "the rest is not read" in broken[-1].what
    monkeypatch.setattr(webdataset, "MAX_RESTARTS", 1_000)
    assert len([problem for problem in read(tmp_path / "x.tar")[1] if problem.code == "TAR_BROKEN"]) == 25
