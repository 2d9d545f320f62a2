"""Parquet files: a row is a group of things that belong together, a column a modality.

A cell may be bytes (told by their content), text, a ``{bytes, path}`` struct as Hugging Face writes them, or lists of
numbers for an array of a sensor.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curiosity.protocol.errors import SourceError
from curiosity.sources.own.array import encode_array
from curiosity.sources.own.folder import resolve_inside
from curiosity.sources.own.group import pair_up
from curiosity.sources.own.item import load_item, make_item, make_text_item
from curiosity.sources.own.media_type import sensors
from curiosity.sources.own.rows import column_twice
from curiosity.sources.pairset import SourceItem, SourcePair

_BATCH_ROWS: Final = 16
_MEDIA: Final = ("text", "image", "audio", "video")
_FACTS: Final = ("id", "license", "attribution", "captured_at", "generated")
_ALIASES: Final = {
    "caption": "text", "sentence": "text", "img": "image", "picture": "image", "sound": "audio",
    "points": "point_cloud",
}  # fmt: skip


@dataclass(frozen=True)
class _Column:
    name: str
    modality: str
    stream: str | None = None
    shape: tuple[int, ...] | None = None  # that the file's schema gives
    shapes: str | None = None  # column that gives it for each row


def parse_columns(text: str) -> dict[str, str]:
    """Return what ``--columns`` says, such as ``image=img,text=caption``: meaning -> column.

    A meaning is a modality, ``camera1`` and so on, or one of id, license, attribution, captured_at, generated.

    Raises:
        SourceError: If it says something else.
    """
    columns: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        meaning, sign, column = part.partition("=")
        meaning = meaning.strip()
        if not sign or not column.strip() or meaning in columns or _read_meaning(meaning) is None:
            raise SourceError(
                "COLUMNS_INVALID",
                f"{part!r} does not say which column holds what",
                f"Write such as image=img,text=caption. There are {', '.join((*_MEDIA, *sensors(), *_FACTS))}.",
            )
        columns[meaning] = column.strip()
    return columns


def read_parquet(
    path: Path, *, columns: Mapping[str, str] | None = None, license: str | None = None
) -> Iterator[SourcePair | SourceError]:
    """Yield the pairs of each row: every two cells that differ in modality; a bad row as a ``SourceError``.

    Without ``columns`` a column is what its name says: ``image``, ``img``, ``text``, ``caption``, ``touch``,
    ``camera1``. An array is nested lists, or one flat list whose shape its type, a column ``<name>_shape`` or the
    modality gives; its values become float32. ``license`` (SPDX) holds for rows that state none. The error of a bad row
    stands in its place.

    Raises:
        SourceError: PARQUET_BROKEN, COLUMN_MISSING, COLUMNS_UNCLEAR, NOTHING_FOUND.
    """
    import pyarrow as arrow  # slow to load, and only Parquet needs it
    from pyarrow import parquet

    number, end = 0, 0
    try:
        with parquet.ParquetFile(path, buffer_size=1 << 20, page_checksum_verification=True) as file:
            chosen, facts = _choose(path, file.schema_arrow, columns)
            needed = {column.name for column in chosen} | {each.shapes for each in chosen if each.shapes}
            names = sorted(needed | set(facts.values()))
            for group in range(file.num_row_groups):
                number, end = end, end + file.metadata.row_group(group).num_rows
                try:
                    for batch in file.iter_batches(_BATCH_ROWS, row_groups=[group], columns=names):
                        for at in range(batch.num_rows):
                            number += 1
                            yield from _read_row(path, number, batch, at, chosen, facts, license)
                except (arrow.ArrowException, OSError, ValueError) as error:  # what is compressed as one is lost as one
                    yield _broken(path, f"rows {number + 1} to {end}", error)
    except (arrow.ArrowException, OSError, ValueError) as error:
        raise _broken(path, "it", error) from error
    if not end:
        raise SourceError("NOTHING_FOUND", f"{path} has no rows", "Write a row for each thing.")


def _broken(path: Path, what: str, error: Exception) -> SourceError:
    return SourceError(
        "PARQUET_BROKEN",
        f"{path.name}: {what} cannot be read: {str(error)[:200]}",
        "Copy the file again, or write it anew.",
    )


def _read_meaning(meaning: str) -> tuple[str, str | None] | None:
    """Return (modality, stream) that a name stands for, the modality empty for a fact.

    None for a name that says nothing.
    """
    meaning = _ALIASES.get(meaning, meaning)
    if meaning in _FACTS:
        return "", None
    if meaning.startswith("camera") and meaning[6:].isdecimal():
        return "image", meaning
    return (meaning, None) if meaning in _MEDIA or meaning in sensors() else None


def _choose(path: Path, schema: Any, columns: Mapping[str, str] | None) -> tuple[list[_Column], dict[str, str]]:
    """Return the columns that hold items, and the columns that hold facts by what they say."""
    named = dict(columns or {})
    if not columns:
        for name in schema.names:
            meaning = _ALIASES.get(name.lower(), name.lower())
            if _read_meaning(meaning) is None:
                continue
            if named.get(meaning, name) != name:  # a column of the same name is compared with it in each row
                raise SourceError(
                    "COLUMNS_UNCLEAR",
                    f"{path.name}: the columns {named[meaning]} and {name} both are {meaning}",
                    f"In a program, rename one of them; in the command say which to take: --columns {meaning}={name}.",
                )
            named[meaning] = name
    chosen: list[_Column] = []
    facts: dict[str, str] = {}
    for meaning, name in named.items():
        if name not in schema.names:
            raise SourceError(
                "COLUMN_MISSING", f"{path.name} has no column {name}", f"It has {', '.join(schema.names)[:500]}."
            )
        modality, stream = _read_meaning(meaning) or ("", None)
        if not modality:
            facts[meaning] = name
            continue
        kind = schema.field(schema.get_all_field_indices(name)[0]).type
        shape = getattr(kind, "shape", None)
        shapes = f"{name}_shape" if f"{name}_shape" in schema.names else None
        chosen.append(_Column(name, modality, stream, tuple(shape) if shape else None, shapes))
    if len({column.modality for column in chosen}) < 2:
        raise SourceError(
            "COLUMN_MISSING",
            f"{path.name} has no two columns of different modality; it has {', '.join(schema.names)[:500]}",
            "In a program, rename them to image, text and so on; in the command: --columns image=img,text=caption.",
        )
    return chosen, facts


def _read_row(
    path: Path,
    number: int,
    batch: Any,
    at: int,
    columns: Sequence[_Column],
    facts: Mapping[str, str],
    license: str | None,
) -> Iterator[SourcePair | SourceError]:
    where = f"{path.name} row {number}"
    try:
        cells = _read_cells(batch, at, where)
        items = [
            _read_cell(path, cells[column.name], column, cells, f"{where}, {column.name}")
            for column in columns
            if cells[column.name] is not None
        ]
        row = {meaning: cells[name] for meaning, name in facts.items()}
        key = str(row.get("id") or f"{path.stem}-{number}")
        yield from pair_up(items, key=key, set_name="parquet", row=row, license=license, where=where)
    except SourceError as error:
        yield error


def _read_cells(batch: Any, at: int, where: str) -> dict[str, Any]:
    """Return the cells of row ``at`` of a record batch by column.

    Raises:
        SourceError: CELL_BROKEN, COLUMN_TWICE.
    """
    import pyarrow as arrow

    cells: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            cell = column[at].as_py()
        except (arrow.ArrowException, ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise SourceError(
                "CELL_BROKEN", f"{where}, {name} cannot be read: {str(error)[:200]}", "Write this cell anew."
            ) from error
        if cells.setdefault(name, cell) != cell:
            raise column_twice(where, name, cells[name], cell)
    return cells


def _read_cell(path: Path, cell: Any, column: _Column, cells: Mapping[str, Any], where: str) -> SourceItem:
    place = path / column.name
    modality = column.modality
    if isinstance(cell, dict) and isinstance(cell.get("bytes"), bytes):
        cell = cell["bytes"]
    elif isinstance(cell, dict) and isinstance(cell.get("path"), str):
        file = resolve_inside(path.parent, cell["path"], where=where)
        return load_item(file, modality=modality, stream=column.stream, where=where)
    if isinstance(cell, bytes):
        return make_item(cell, place, modality=modality, stream=column.stream, where=where)
    if isinstance(cell, str) and modality == "text":
        return make_text_item(place, cell, where=where)
    if isinstance(cell, list) and modality in sensors():
        try:
            data = encode_array(cell, _find_shape(cell, column, cells))
        except (ValueError, TypeError, OverflowError) as error:
            raise SourceError(
                "CELL_SHAPE", f"{where}: the numbers make no array ({error})", f"Add a column {column.name}_shape."
            ) from error
        return make_item(data, place, modality=modality, where=where)
    raise SourceError(
        "CELL_TYPE",
        f"{where} holds {type(cell).__name__}, which is no {modality}",
        "Write bytes, text for text, or lists of numbers for a sensor.",
    )


def _find_shape(cell: list[Any], column: _Column, cells: Mapping[str, Any]) -> tuple[int, ...] | None:
    """Return the shape of a flat list; None for nested lists, which have one.

    Raises:
        ValueError: Where nothing gives a shape, or a length is not a number.
        TypeError: Where a length cannot be one.
    """
    if cell and isinstance(cell[0], list):
        return None
    if column.shapes is not None and cells[column.shapes] is not None:
        return tuple(int(length) for length in cells[column.shapes])
    if column.shape is not None:
        return column.shape
    wanted = sensors()[column.modality].shape
    if sum(not isinstance(length, int) for length in wanted) != 1:
        raise ValueError("a flat list has no shape")
    return tuple(length if isinstance(length, int) else -1 for length in wanted)
