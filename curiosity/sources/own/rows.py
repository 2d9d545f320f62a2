"""Rows of a table, ``.csv`` or ``.jsonl``. A row that cannot be read costs itself, not the rows behind it."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from curiosity.protocol.errors import SourceError
from curiosity.protocol.json_reader import read_json
from curiosity.sources.own.item import is_unicode

_NEEDED: Final = ("file_name", "text")
_ONE_OBJECT: Final = "Write one JSON object a line, with each name once."

SourceRow = tuple[str, dict[str, Any] | SourceError]


def read_rows(path: Path) -> Iterator[SourceRow]:
    """Yield (where, row) of each line of a ``.csv`` or ``.jsonl`` file; empty lines are passed over.

    ``where`` is such as "captions.csv line 3". A line that cannot be read comes as a ``SourceError``: NOT_TEXT,
    ROW_NOT_JSON, ROW_FIELDS, COLUMN_TWICE. Two columns of one name, or a name twice in an object, are one where they
    agree.

    Raises:
        SourceError: FILE_MISSING, CANNOT_READ, TABLE_HEADER, and NOT_TEXT where no line is text.
    """
    try:
        text = _decode(path.read_bytes())
    except FileNotFoundError as error:
        raise SourceError("FILE_MISSING", f"{path} is not there", "Check the name.") from error
    except OSError as error:
        raise SourceError("CANNOT_READ", f"{path}: {error.strerror}", "Name a file that you may read.") from error
    waiting: list[SourceRow] = []
    empty = True
    for where, row in _read_csv(path, text) if path.suffix.lower() == ".csv" else _read_jsonl(path, text):
        if empty and isinstance(row, SourceError):
            waiting.append((where, row))
            continue
        yield from waiting
        waiting, empty = [], False
        yield where, row
    for _, problem in waiting:
        if isinstance(problem, SourceError) and problem.code == "NOT_TEXT":
            raise problem  # not a table at all
    yield from waiting


def _decode(data: bytes) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark.

    What is neither becomes lone surrogates, which spoil their row only.
    """
    if not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-8-sig", "surrogateescape")
    whole = len(data) & ~1
    return data[:whole].decode("utf-16", "surrogatepass") + "\udcff" * (len(data) - whole)


def _check_text(text: str, where: str) -> None:
    """Refuse what `_decode` could not read.

    Raises:
        SourceError: NOT_TEXT.
    """
    if not is_unicode(text):
        at = next(place for place, sign in enumerate(text, start=1) if 0xD800 <= ord(sign) <= 0xDFFF)
        raise SourceError(
            "NOT_TEXT",
            f"{where} is not UTF-8 text: character {at} is {ord(text[at - 1]) & 0xFF:#04x}",
            "Save the table as UTF-8.",
        )


def _read_jsonl(path: Path, text: str) -> Iterator[SourceRow]:
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"{path.name} line {number}"
        if not line.strip():
            continue
        try:
            _check_text(line, where)
            row = read_json(line, is_unique=True)
        except SourceError as error:
            yield where, error
        except ValueError as error:
            yield where, SourceError("ROW_NOT_JSON", f"{where} is not JSON ({error})", _ONE_OBJECT)
        else:
            kind = type(row).__name__
            is_row = isinstance(row, dict)
            yield where, row if is_row else SourceError("ROW_NOT_JSON", f"{where} holds a {kind}", _ONE_OBJECT)


def _read_csv(path: Path, text: str) -> Iterator[SourceRow]:
    records = _read_records(io.StringIO(text, newline="").readlines())
    number, names = next(records, (1, []))
    if isinstance(names, str):
        raise SourceError("TABLE_HEADER", f"{path.name} line {number} cannot be read ({names})", "Repair its quotes.")
    _check_text(",".join(names), f"{path.name} line {number}")
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise SourceError(
            "TABLE_HEADER",
            f"{path.name} line {number} lacks the column {missing[0]}",
            "Write file_name,text as the first line.",
        )
    for number, cells in records:
        where = f"{path.name} line {number}"
        try:
            yield where, _read_cells(names, cells, where)
        except SourceError as error:
            yield where, error


def _read_records(lines: list[str]) -> Iterator[tuple[int, list[str] | str]]:
    """Yield (line, cells) of each record, or what is wrong with it instead of the cells.

    A quote that is not closed takes in the lines behind it. So where a record is wrong, reading goes on behind its
    first line; and so it does where a record of several lines has another number of cells than the first record.
    """
    at, width = 0, 0
    while at < len(lines):
        reader = csv.reader((lines[number] for number in range(at, len(lines))), strict=True)
        first = at
        try:
            for cells in reader:
                if width and len(cells) != width and at + reader.line_num > first + 1:
                    raise csv.Error(f"{len(cells)} fields, not {width}, in {reader.line_num + at - first} lines")
                first = at + reader.line_num
                width = width or len(cells)
                if cells:
                    yield first, cells
            return
        except csv.Error as error:
            yield first + 1, str(error)
            at = first + 1


def _read_cells(names: list[str], cells: list[str] | str, where: str) -> dict[str, Any]:
    if isinstance(cells, str):
        raise SourceError("ROW_FIELDS", f"{where} cannot be read ({cells})", "Repair its quotes.")
    _check_text(",".join(cells), where)
    if len(cells) != len(names):
        raise SourceError("ROW_FIELDS", f"{where} has {len(cells)} fields, not {len(names)}", "Quote the commas.")
    row: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=True):
        if row.setdefault(name, cell) != cell:
            raise column_twice(where, name, row[name], cell)
    return {name: cell for name, cell in row.items() if cell or name in _NEEDED}


def column_twice(where: str, name: str, one: object, other: object) -> SourceError:
    """Return the refusal of a row whose two columns of one name do not agree."""
    return SourceError(
        "COLUMN_TWICE",
        f"{where}: the column {name} stands twice, with {_show(one)} and {_show(other)}",
        "Take one of the two columns out of the table.",
    )


def _show(cell: object) -> str:
    return f"{len(cell)} bytes" if isinstance(cell, bytes) else f"{cell!r:.80}"
