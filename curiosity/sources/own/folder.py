"""A contributor's own folder: files of one name belong together, or a table says what does.

Side by side: ``cat.png`` and ``cat.txt``; ``scene1.mp4``, ``scene1.touch.npy`` and ``scene1.camera2.png``. With a
table: ``captions.csv``, ``captions.jsonl``, ``metadata.jsonl`` or ``metadata.csv`` with the columns or keys
``file_name`` and ``text`` (and, where wanted, ``license``, ``attribution``, ``captured_at``, ``generated``).
What cannot be read is handed back as an error among the pairs, so that one bad row does not stop the rest.
"""

import os
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from curiosity.host.paths import PathRefused, inside
from curiosity.protocol.errors import SourceError
from curiosity.sources.own.group import make_pair, pair_up
from curiosity.sources.own.item import is_unicode, load_item, make_text_item, unknown_extension
from curiosity.sources.own.media_type import read_name
from curiosity.sources.own.rows import read_rows
from curiosity.sources.pairset import SourceItem, SourcePair

SHARD_SUFFIXES: Final = (".tar", ".tar.gz", ".tgz")
TABLES: Final = ("captions.csv", "captions.jsonl", "metadata.jsonl", "metadata.csv")
_ROW_KEYS: Final = frozenset({"file_name", "text", "license", "attribution", "captured_at", "generated"})
_PASSED_OVER: Final = frozenset({"thumbs.db", "desktop.ini"})
# What programs put beside a picture or film of the same name: notes, edits, small previews.
_SIDE_FILES: Final = (".json", ".xmp", ".aae", ".thm", ".lrv")


def read_folder(folder: Path, *, license: str | None = None) -> Iterator[SourcePair | SourceError]:
    """Yield the pairs in ``folder`` and below, sorted by name; a bad row or file as a ``SourceError`` in its place.

    ``license`` (SPDX) holds for every pair whose row states none.

    Raises:
        SourceError: At the first step: FOLDER_MISSING, TABLES_TWO (more than one table), LICENSE_MISSING (no table to
            state it), NOTHING_FOUND, and TABLE_HEADER, NOT_TEXT or CANNOT_READ when the table itself is of no use.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "is not there"
        raise SourceError("FOLDER_MISSING", f"{folder} {what}", "Name a folder with things that belong together.")
    tables = [path for path in (inside(folder, name, one=True, links=True) for name in TABLES) if path.is_file()]
    if len(tables) > 1:
        raise SourceError(
            "TABLES_TWO", f"{folder} has {' and '.join(table.name for table in tables)}", "Keep the one that holds."
        )
    if not tables and license is None:
        raise SourceError(
            "LICENSE_MISSING", f"{folder} states no licence", "Give one (SPDX, such as CC-BY-4.0) for all."
        )
    found = _read_table(tables[0], license) if tables else _read_side_by_side(folder, license)
    first = next(found, None)
    if first is None:
        raise SourceError(
            "NOTHING_FOUND",
            f"{folder} holds no two files that belong together",
            f"Put cat.png beside cat.txt, or write {TABLES[0]} with the columns file_name,text.",
        )
    yield first
    yield from found


def resolve_inside(folder: Path, name: object, *, where: str) -> Path:
    """Return the file ``name`` below ``folder``.

    A table that somebody else wrote must not be able to send files from elsewhere on this machine.

    Raises:
        SourceError: ROW_VALUE, CANNOT_READ, OUTSIDE_FOLDER.
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name or not is_unicode(name):
        raise SourceError("ROW_VALUE", f"{where}: {name!a:.200} is not a file name", "Write the name as text.")
    root = folder.resolve()
    for spelled in (root, folder.absolute()):  # a table may spell its folder out
        if Path(name).is_relative_to(spelled):
            name = str(Path(name).relative_to(spelled))
            break
    try:
        return inside(root, _spell(root, name)).resolve()
    except PathRefused as error:
        raise SourceError(
            "OUTSIDE_FOLDER", f"{where}: {name:.200} {error}", "Move the file below the folder of the table."
        ) from None
    except (OSError, RuntimeError) as error:  # a name that is too long, links that lead to one another
        why = getattr(error, "strerror", None) or "its links lead to one another"
        raise SourceError("CANNOT_READ", f"{where}: {name!a:.200} is not found: {why}", "Check the name.") from error


def _spell(folder: Path, name: str) -> str:
    """Return ``name`` as the disk spells it: macOS stores accents as signs of their own, tables do not.

    Raises:
        PathRefused: Before it looks at a folder outside.
    """
    if name.isascii() or inside(folder, name).exists():
        return name
    found: list[str] = []
    for part in Path(name).parts:
        here = inside(folder, "/".join(found)) if found else folder
        form = unicodedata.normalize("NFC", part)
        there = sorted(each.name for each in here.iterdir()) if here.is_dir() else []
        same = (each for each in there if unicodedata.normalize("NFC", each) == form)
        found.append(part if part in there else next(same, part))
    return "/".join(found)


def refuse_unknown_keys(row: Mapping[str, Any], known: frozenset[str], *, where: str) -> None:
    """Refuse a key that no rule reads: a misspelt one would be lost in silence.

    Raises:
        SourceError: ROW_KEY.
    """
    unknown = sorted(str(key) for key in row if key not in known)
    if unknown:
        raise SourceError(
            "ROW_KEY", f"{where} has the unknown key {unknown[0]!r}", f"Known keys: {', '.join(sorted(known))}."
        )


def _read_table(table: Path, license: str | None) -> Iterator[SourcePair | SourceError]:
    for where, row in read_rows(table):
        if isinstance(row, SourceError):
            yield row
            continue
        try:
            refuse_unknown_keys(row, _ROW_KEYS, where=where)
            path = resolve_inside(table.parent, row.get("file_name"), where=where)
            if not isinstance(row.get("text"), str):
                raise SourceError(
                    "ROW_VALUE", f"{where}: text is {row.get('text')!r:.200}", "Write the caption as text."
                )
            item = load_item(path, where=where)
            caption = make_text_item(table, row["text"], where=where)
            name = str(row["file_name"])
            yield make_pair(
                item,
                caption,
                id=f"folder-{where}",
                set_name="folder",
                concept=name,
                row=row,
                license=license,
                where=where,
            )
        except SourceError as error:
            yield error


def _read_side_by_side(folder: Path, license: str | None) -> Iterator[SourcePair | SourceError]:
    groups: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        below = path.relative_to(folder)
        if any(part.startswith(".") for part in below.parts) or not path.is_file():
            continue
        if path.name.lower() in _PASSED_OVER or path.suffix.lower() in _SIDE_FILES or is_table_of_files(path):
            continue
        if not is_unicode(str(below)):
            shown = os.fsencode(below).decode(errors="backslashreplace")
            yield SourceError("NAME_NOT_TEXT", f"{shown} is not a name in UTF-8", "Rename the file.")
        else:
            stem = unicodedata.normalize("NFC", str(below.parent / read_name(path.name).stem))
            groups.setdefault(stem, []).append(path)
    for stem, paths in _join_alone(groups).items():
        yield from _read_group(folder, stem, paths, license)


def _join_alone(groups: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """Return ``groups`` with those of one file joined where only case or a kept suffix sets them apart.

    ``PHOTO5.JPG`` joins ``photo5.txt``, and ``x.png.txt`` joins ``x.png``. Files that have company keep it.
    """
    joined = {stem: paths for stem, paths in groups.items() if len(paths) > 1}
    alone: dict[str, list[str]] = {}
    for stem, paths in groups.items():
        if len(paths) == 1:
            inner = read_name(Path(stem).name) if paths[0].suffix.lower() == ".txt" else None
            plain = str(Path(stem).with_name(inner.stem)) if inner is not None and inner.modality else stem
            alone.setdefault(plain.casefold(), []).append(stem)
    joined.update((stems[0], sorted(path for stem in stems for path in groups[stem])) for stems in alone.values())
    return dict(sorted(joined.items()))


def is_table_of_files(path: Path) -> bool:
    """Return whether this is what img2dataset writes about a shard or folder.

    An example is ``00000.parquet`` beside ``00000.tar``.
    """
    if path.suffix.lower() != ".parquet":
        return False
    beside = (path.with_suffix(suffix) for suffix in ("", *SHARD_SUFFIXES))
    return any(each.exists() for each in beside)


def _read_group(folder: Path, name: str, paths: list[Path], license: str | None) -> Iterator[SourcePair | SourceError]:
    """Yield every two files of one name that differ in kind."""
    items: list[SourceItem] = []
    known = [path for path in paths if read_name(path.name).modality is not None]
    for path in paths:
        where = str(path.relative_to(folder))
        if path not in known:
            yield unknown_extension(where, path.suffix.lower())
            continue
        try:
            items.append(load_item(resolve_inside(folder, where, where=where)))
        except SourceError as error:
            yield error
    if not items or len(items) < len(known):
        return  # what is wrong with the group has been said
    try:
        where = str(paths[0].relative_to(folder)) if len(paths) == 1 else name
        yield from pair_up(items, key=name, set_name="folder", row={}, license=license, where=where)
    except SourceError as error:
        if len(known) == len(paths):  # else it has been said
            yield error
