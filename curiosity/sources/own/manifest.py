"""A manifest: a JSONL file with one pair a line, of any two kinds of item.

A row is ``{"a": "photo.jpg", "b": {"text": "a red bicycle"}, "license": "CC0-1.0", "captured_at": 1767225600}``.
A half may say what it is: ``{"file": "grasp.npy", "modality": "touch"}``, or ``{"file": "left.png", "stream":
"camera1"}``. Files are named relative to the manifest and must lie below its folder.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from curiosity.protocol.errors import SourceError
from curiosity.sources.own.folder import refuse_unknown_keys, resolve_inside
from curiosity.sources.own.group import make_pair
from curiosity.sources.own.item import load_item, make_text_item
from curiosity.sources.own.rows import read_rows
from curiosity.sources.pairset import SourceItem, SourcePair

_HALF: Final = 'Write a file name, {"text": "..."}, or {"file": "x.npy", "modality": "touch"}.'
_ROW_KEYS: Final = frozenset({"id", "a", "b", "license", "attribution", "captured_at", "generated"})


def read_manifest(path: Path, *, license: str | None = None) -> Iterator[SourcePair | SourceError]:
    """Yield the pairs of the manifest at ``path``, in order; a bad row as a ``SourceError`` in its place.

    ``license`` (SPDX) holds for rows that state none.

    Raises:
        SourceError: FILE_MISSING, CANNOT_READ, NOT_TEXT, NOTHING_FOUND.
    """
    empty = True
    for where, row in read_rows(path):
        empty = False
        if isinstance(row, SourceError):
            yield row
            continue
        try:
            yield _read_row(path, row, license, where)
        except SourceError as error:
            yield error
    if empty:
        raise SourceError("NOTHING_FOUND", f"{path} has no rows", 'Write rows {"a": ..., "b": ..., "license": ...}.')


def _read_row(path: Path, row: dict[str, Any], license: str | None, where: str) -> SourcePair:
    refuse_unknown_keys(row, _ROW_KEYS, where=where)
    a, b = (_read_item(path, row, side, where) for side in ("a", "b"))
    named = row.get("id")
    if named is not None and not isinstance(named, str):
        raise SourceError("ROW_VALUE", f"{where}: id is {named!r:.200}", "Write it as text.")
    concept = next(item.path.stem for item in (a, b) if item.path != path) if {a.path, b.path} != {path} else where
    return make_pair(
        a,
        b,
        id=named or f"manifest-{where}",
        set_name="manifest",
        concept=concept,
        row=row,
        license=license,
        where=where,
    )


def _read_item(path: Path, row: dict[str, Any], side: str, where: str) -> SourceItem:
    value: Any = {"file": row.get(side)} if isinstance(row.get(side), str) else row.get(side)
    where = f"{where}, {side}"
    is_text = isinstance(value, dict) and set(value) == {"text"}
    if is_text and isinstance(value["text"], str):
        return make_text_item(path, value["text"], where=where)
    if is_text or not isinstance(value, dict) or not {"file"} <= set(value) <= {"file", "modality", "stream"}:
        raise SourceError("ROW_VALUE", f"{where} is {row.get(side)!r:.200}", _HALF)
    for key in ("modality", "stream"):
        if not isinstance(value.get(key, ""), str):
            raise SourceError("ROW_VALUE", f"{where}: {key} is {value[key]!r:.200}", "Write it as text.")
    file = resolve_inside(path.parent, value["file"], where=where)
    item = load_item(file, modality=value.get("modality"), stream=value.get("stream"), where=where)
    stated = value.get("modality", item.modality)
    if item.modality != stated:
        raise SourceError("ROW_VALUE", f"{where}: {value['file']} is {item.modality}, not {stated}", _HALF)
    return item
