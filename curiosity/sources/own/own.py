"""A contributor's own material, whatever it lies in: files, folders, tables, manifests, shards, Parquet, pair sets."""

import re
from collections.abc import Iterator, Mapping
from itertools import chain, islice, product
from pathlib import Path
from typing import Final

from curiosity.protocol.errors import SourceError
from curiosity.sources.own.folder import SHARD_SUFFIXES, is_table_of_files, read_folder
from curiosity.sources.own.group import make_single, pair_up
from curiosity.sources.own.item import load_item
from curiosity.sources.own.manifest import read_manifest
from curiosity.sources.own.media_type import read_name
from curiosity.sources.pairset import SourcePair, read_pairs

_MAX_SHARDS: Final = 100_000
_BRACES: Final = re.compile(r"\{([^{}]+)\}")
_RANGE: Final = re.compile(r"(\d+)\.\.(\d+)")


def open_sources(
    paths: tuple[Path, ...], *, license: str = "", split: str, pairs: str, columns: str, limit: int | None = None
) -> Iterator[SourcePair | SourceError]:
    """Return the pairs in what was named, at most ``limit``, once the first was read.

    ``pairs`` and ``columns`` are written as on the command line, such as ``video-touch,image-text`` and
    ``image=img,text=caption``, and empty for all. The rest is as for `read_sources`.

    Raises:
        SourceError: SOURCE_EMPTY if there are none, and what `parse_pairs`, `parse_columns` and `read_sources` raise.
    """
    from curiosity.sources.own.group import parse_pairs  # these load NumPy or pyarrow, where they are asked for

    mapping = None
    if columns:
        from curiosity.sources.own.parquet import parse_columns

        mapping = parse_columns(columns)
    wanted = parse_pairs(pairs) if pairs else frozenset()
    found = read_sources(paths, license=license or None, split=split, pairs=wanted, columns=mapping)
    rows = islice(found, limit)
    first = next(rows, None)
    if first is None:
        raise SourceError(
            "SOURCE_EMPTY",
            f"{paths[0]} holds no such pairs",
            "Ask for another split or other pairs (--split and --pairs, in a program split and pairs).",
        )
    return chain([first], rows)


def read_singles(
    paths: tuple[Path, ...], *, license: str = "", limit: int | None = None
) -> Iterator[SourcePair | SourceError]:
    """Yield each file, at most ``limit``, as an item that is submitted alone.

    What cannot be read comes as a ``SourceError`` in its place.

    Raises:
        SourceError: SOURCE_NOT_FILE for what is not a file.
    """
    for path in paths[:limit]:
        if not path.is_file():
            raise SourceError("SOURCE_NOT_FILE", f"{path} is not a file", "Name files: each is submitted alone.")
        try:
            yield make_single(load_item(path), set_name="own", license=license)
        except SourceError as error:
            yield error


def read_sources(
    paths: tuple[Path, ...],
    *,
    license: str | None = None,
    split: str = "submit",
    pairs: frozenset[str] = frozenset(),
    columns: Mapping[str, str] | None = None,
) -> Iterator[SourcePair | SourceError]:
    """Yield the pairs in what was named, in order; what cannot be read as a ``SourceError`` in its place.

    Two or more plain files belong together. Else each path is a folder of files, of shards or of Parquet files, a
    manifest, a shard, a Parquet file or a pair set (of which ``split`` is read). Shards may be named by a pattern,
    ``train-{000..012}.tar``. With ``pairs`` only pairs of those modalities come; ``columns`` is for Parquet.

    Raises:
        SourceError: SOURCE_MISSING, SOURCE_UNKNOWN, SOURCE_MIXED, PATTERN_LARGE, and what each reader raises.
    """
    for found in _read_all(paths, license, split, columns):
        if isinstance(found, SourceError) or not pairs or found.modalities in pairs:
            yield found


def _read_all(
    paths: tuple[Path, ...], license: str | None, split: str, columns: Mapping[str, str] | None
) -> Iterator[SourcePair | SourceError]:
    paths = tuple(one for path in paths for one in _expand(path))
    for path in paths:
        if not path.exists():
            raise SourceError("SOURCE_MISSING", f"there is no {path}", "Check the path.")
    if len(paths) > 1 and all(path.is_file() and _kind_of(path) in ("media", "other") for path in paths):
        items = [load_item(path) for path in paths]
        where = " and ".join(path.name for path in paths[:4])
        yield from pair_up(items, key=paths[0].stem, set_name="own", row={}, license=license, where=where)
        return
    for path in paths:
        yield from _read_one(path, license, split, columns)


def _read_one(
    path: Path, license: str | None, split: str, columns: Mapping[str, str] | None
) -> Iterator[SourcePair | SourceError]:
    if path.is_dir() and (path / "pairs.jsonl").is_file():
        yield from (pair for pair in read_pairs(path) if pair.split == split)
        return
    kinds = {_kind_of(each) for each in path.iterdir() if not each.name.startswith(".")} if path.is_dir() else set()
    kinds &= {"shards", "parquet", "media"}
    if len(kinds) > 1:
        raise SourceError(
            "SOURCE_MIXED", f"{path} holds {' and '.join(sorted(kinds))}", "Name the one or the other alone."
        )
    if "shards" in kinds or _kind_of(path) == "shards":
        from curiosity.sources.own.webdataset import read_shards

        yield from read_shards(_list_inside(path, "shards"), license=license)
    elif "parquet" in kinds or _kind_of(path) == "parquet":
        from curiosity.sources.own.parquet import read_parquet

        files = _list_inside(path, "parquet")
        for file in files:
            try:
                yield from read_parquet(file, columns=columns, license=license)
            except SourceError as error:  # of no use itself, but of no harm to the files beside it
                if len(files) == 1:
                    raise
                yield error
    elif path.is_dir():
        yield from read_folder(path, license=license)
    elif path.suffix.lower() == ".jsonl":
        yield from read_manifest(path, license=license)
    else:
        raise SourceError(
            "SOURCE_UNKNOWN",
            f"{path} is neither a folder, a .jsonl manifest, a .tar shard nor a .parquet file, and one file alone is "
            "no pair",
            "Name two files, a folder of files that belong together by name, or one of these.",
        )


def _kind_of(path: Path) -> str:
    """Return what a file is by its name: shards, parquet, tables, media, or other.

    Texts are other too: a README may lie anywhere.
    """
    if path.name.lower().endswith(SHARD_SUFFIXES):
        return "shards"
    if is_table_of_files(path):
        return "tables"
    named = {".parquet": "parquet", ".jsonl": "tables"}.get(path.suffix.lower())
    return named or ("other" if read_name(path.name).modality in (None, "text") else "media")


def _list_inside(path: Path, kind: str) -> list[Path]:
    """Return the files of that kind in a folder, in order of name; a file itself."""
    return [path] if path.is_file() else sorted(each for each in path.iterdir() if _kind_of(each) == kind)


def _expand(path: Path) -> list[Path]:
    """Return the paths that a pattern stands for: ``{000..012}`` counts, ``{a,b}`` lists.

    Others stand for themselves.
    """
    text = str(path)
    if path.exists() or not _BRACES.search(text):
        return [path]
    parts = _BRACES.split(text)
    choices: list[list[str]] = []
    count = 1
    for number, part in enumerate(parts):
        ends = _RANGE.fullmatch(part)
        if number % 2 == 0:
            choices.append([part])
        elif ends is not None:
            first, last = (int(end) for end in ends.groups())
            count *= max(0, last - first + 1)
            if 0 < count <= _MAX_SHARDS:
                choices.append([f"{each:0{len(ends[1])}d}" for each in range(first, last + 1)])
        else:
            choices.append(part.split(","))
            count *= len(choices[-1])
        if not 0 < count <= _MAX_SHARDS:
            raise SourceError(
                "PATTERN_LARGE", f"{path} stands for {count} files, 1 to {_MAX_SHARDS} are taken", "Name fewer at once."
            )
    return [Path("".join(chosen)) for chosen in product(*choices)]
