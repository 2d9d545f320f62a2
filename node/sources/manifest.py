"""A manifest: a JSONL file with one pair a line, of any two kinds of item.

A row is ``{"a": "photo.jpg", "b": {"text": "a red bicycle"}, "license": "CC0-1.0", "captured_at": 1767225600}``.
Files are named relative to the manifest and must lie below its folder.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from node.sources.folder import make_pair, read_rows, refuse_unknown_keys, resolve_inside
from node.sources.media_type import load_item, make_text_item
from node.sources.pairset import SourceItem, SourcePair
from protocol.errors import SourceError

_ROW_KEYS: Final = frozenset({"id", "a", "b", "license", "attribution", "captured_at"})


def read_manifest(path: Path, *, license: str | None = None) -> Iterator[SourcePair | SourceError]:
    """The pairs of the manifest at ``path``, in order; a bad row as a ``SourceError`` in its place.

    ``license`` (SPDX) holds for rows that state none. Raises ``SourceError``: FILE_MISSING, CANNOT_READ, NOT_TEXT,
    NOTHING_FOUND.
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
        raise SourceError("ROW_VALUE", f"{where}: id is {named!r}", "Write it as text.")
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
    value = row.get(side)
    if isinstance(value, dict):
        if set(value) != {"text"} or not isinstance(value["text"], str):
            raise SourceError("ROW_VALUE", f"{where}: {side} is {value!r}", 'Write {"text": "..."} or a file name.')
        return make_text_item(path, value["text"], where=f"{where}, {side}")
    if not isinstance(value, str):
        raise SourceError("ROW_VALUE", f"{where}: {side} is {value!r}", 'Write a file name or {"text": "..."}.')
    return load_item(resolve_inside(path.parent, value, where=f"{where}, {side}"), where=f"{where}, {side}")
