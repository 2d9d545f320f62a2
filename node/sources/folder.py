"""A contributor's own folder: files of one name belong together, or a table says what does.

Side by side: ``cat.png`` and ``cat.txt``; ``scene1.mp4``, ``scene1.touch.npy`` and ``scene1.camera2.png``. With a
table: ``captions.csv``, ``captions.jsonl``, ``metadata.jsonl`` or ``metadata.csv`` with the columns or keys
``file_name`` and ``text`` (and, where wanted, ``license``, ``attribution``, ``captured_at``).
What cannot be read is handed back as an error among the pairs, so that one bad row does not stop the rest.
"""

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from host.paths import PathRefused, inside
from node.sources.group import make_pair, pair_up
from node.sources.item import decode_text, is_unicode, load_item, make_text_item, unknown_extension
from node.sources.media_type import read_name
from node.sources.pairset import SourceItem, SourcePair
from protocol.errors import SourceError
from protocol.json_reader import read_json

SHARD_SUFFIXES: Final = (".tar", ".tar.gz", ".tgz")
TABLES: Final = ("captions.csv", "captions.jsonl", "metadata.jsonl", "metadata.csv")
_ROW_KEYS: Final = frozenset({"file_name", "text", "license", "attribution", "captured_at"})
_PASSED_OVER: Final = frozenset({"thumbs.db", "desktop.ini"})
# What programs put beside a picture or film of the same name: notes, edits, small previews.
_SIDE_FILES: Final = (".json", ".xmp", ".aae", ".thm", ".lrv")


def read_folder(folder: Path, *, license: str | None = None) -> Iterator[SourcePair | SourceError]:
    """The pairs in ``folder`` and below, sorted by name; a bad row or file as a ``SourceError`` in its place.

    ``license`` (SPDX) holds for every pair whose row states none. Raises ``SourceError`` at the first step:
    FOLDER_MISSING, TABLES_TWO (more than one table), LICENSE_MISSING (no table to state it), NOTHING_FOUND, and
    TABLE_HEADER, NOT_TEXT or CANNOT_READ when the table itself is of no use.
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


def read_rows(path: Path) -> Iterator[tuple[str, dict[str, Any] | SourceError]]:
    """(where, row) of each line of a ``.csv`` or ``.jsonl`` file; empty lines are passed over.

    ``where`` is such as "captions.csv line 3". A line that cannot be read comes as a ``SourceError``.
    """
    try:
        text = decode_text(path.read_bytes(), where=path.name)
    except FileNotFoundError as error:
        raise SourceError("FILE_MISSING", f"{path} is not there", "Check the name.") from error
    except OSError as error:
        raise SourceError("CANNOT_READ", f"{path}: {error.strerror}", "Name a file that you may read.") from error
    if path.suffix.lower() == ".csv":
        yield from _read_csv(path, text)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        where = f"{path.name} line {number}"
        if not line.strip():
            continue
        try:
            row = read_json(line)
        except ValueError as error:
            yield where, SourceError("ROW_NOT_JSON", f"{where} is not JSON ({error})", "Write one JSON object a line.")
            continue
        if isinstance(row, dict):
            yield where, row
        else:
            kind = type(row).__name__
            yield where, SourceError("ROW_NOT_JSON", f"{where} holds a {kind}", "Write one JSON object a line.")


def resolve_inside(folder: Path, name: object, *, where: str) -> Path:
    """The file ``name`` below ``folder``. Raises ``SourceError``: ROW_VALUE, OUTSIDE_FOLDER.

    A table that somebody else wrote must not be able to send files from elsewhere on this machine.
    """
    if not isinstance(name, str) or not name.strip() or "\0" in name or not is_unicode(name):
        raise SourceError("ROW_VALUE", f"{where}: {name!a:.200} is no file name", "Write the name as text.")
    root = folder.resolve()
    for spelled in (root, folder.absolute()):  # a table may spell its folder out
        if Path(name).is_relative_to(spelled):
            name = str(Path(name).relative_to(spelled))
            break
    try:
        return inside(root, _spell(root, name)).resolve()
    except PathRefused as error:
        raise SourceError(
            "OUTSIDE_FOLDER", f"{where}: {name} {error}", "Move the file below the folder of the table."
        ) from None


def _spell(folder: Path, name: str) -> str:
    """``name`` as the disk spells it: macOS stores accents as signs of their own, tables do not.

    Raises PathRefused before it looks at a folder outside.
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
    """Raises ``SourceError`` ROW_KEY for a key that no rule reads: a misspelt one would be lost in silence."""
    unknown = sorted(str(key) for key in row if key not in known)
    if unknown:
        raise SourceError(
            "ROW_KEY", f"{where} has the unknown key {unknown[0]!r}", f"Known keys: {', '.join(sorted(known))}."
        )


def _read_csv(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any] | SourceError]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = {"file_name", "text"} - set(reader.fieldnames or ())
        if missing:
            raise SourceError(
                "TABLE_HEADER",
                f"{path.name} line 1 lacks the column {sorted(missing)[0]}",
                "Write file_name,text as the first line.",
            )
        for row in reader:
            where = f"{path.name} line {reader.line_num}"
            if None in row or None in row.values():
                yield where, SourceError("ROW_FIELDS", f"{where} has too many or too few fields", "Quote the commas.")
            else:
                yield where, {key: value for key, value in row.items() if value or key in {"file_name", "text"}}
    except csv.Error as error:  # the reader cannot find its way back: the rest of the file is not read
        where = f"{path.name} line {reader.line_num}"
        yield (
            where,
            SourceError("ROW_FIELDS", f"{where} cannot be read, nor what follows ({error})", "Mend its quotes."),
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
                raise SourceError("ROW_VALUE", f"{where}: text is {row.get('text')!r}", "Write the caption as text.")
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
            yield SourceError("NAME_NOT_TEXT", f"{str(below)!a} is not a name in UTF-8", "Rename the file.")
        else:
            stem = unicodedata.normalize("NFC", str(below.parent / read_name(path.name).stem))
            groups.setdefault(stem, []).append(path)
    for stem, paths in _join_alone(groups).items():
        yield from _read_group(folder, stem, paths, license)


def _join_alone(groups: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """``groups`` with those of one file joined where only case or a kept suffix sets them apart.

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
    """Whether this is what img2dataset writes about a shard or folder: ``00000.parquet`` beside ``00000.tar``."""
    if path.suffix.lower() != ".parquet":
        return False
    beside = (path.with_suffix(suffix) for suffix in ("", *SHARD_SUFFIXES))
    return any(each.exists() for each in beside)


def _read_group(folder: Path, name: str, paths: list[Path], license: str | None) -> Iterator[SourcePair | SourceError]:
    """Every two files of one name that differ in kind."""
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
