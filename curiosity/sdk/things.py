"""What a program hands in: files, bytes and texts, cleaned, converted and checked as the command does."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from curiosity.protocol.errors import ConfigError, SourceError
from curiosity.sources.own.group import make_pair
from curiosity.sources.own.item import check_item, load_item, make_item, make_text_item
from curiosity.sources.pairset import SourceItem, SourcePair

Thing = Path | str | bytes | SourceItem
"""A `Path` is a file, a `str` is the text itself, `bytes` are the content of a file; `item` says more about one."""


def item(thing: Thing, *, modality: str | None = None, name: str = "") -> SourceItem:
    """Return one item as it would be signed: without metadata, converted where the network does not take its format.

    Args:
        thing: A `Path` for a file, a `str` for a text, `bytes` for the content of a file.
        modality: What it is, where neither name nor content says so, such as ``"touch"`` for an array.
        name: How results and errors call it; by default its path, or what it is.

    Returns:
        The item, its content read and decoded once, as a validator will.

    Raises:
        SourceError: For what cannot be read, is no item, or is a text that names a file (TEXT_IS_FILE).
    """
    if isinstance(thing, SourceItem):
        return thing
    if isinstance(thing, Path):
        found = load_item(thing, modality=modality)
        found = replace(found, content=found.read(), generated=found.is_generated)
    elif isinstance(thing, bytes):
        label = name or "the content"
        found = make_item(thing, Path(label), modality=modality, where=label)
    elif not isinstance(thing, str):
        raise SourceError(
            "THING_UNKNOWN",
            f"{type(thing).__name__} is not something to submit or to search with",
            "Pass a Path for a file, a str for a text, or bytes.",
        )
    elif modality in (None, "text"):
        if os.path.isfile(thing):
            raise SourceError(
                "TEXT_IS_FILE",
                f"the text {thing[:80]!r} is the name of a file",
                "Pass Path(...) for the file, or item(text.encode(), modality='text') for the text.",
            )
        found = make_text_item(Path(name or "the text"), thing, where=name or "the text")
    else:
        raise SourceError("MODALITY_UNKNOWN", f"a str is a text, not {modality}", "Pass a Path or bytes.")
    check_item(found, found.read(), where=name or str(found.path))
    return found


def paths_of(paths: Sequence[Path | str]) -> tuple[Path, ...]:
    """Return the paths that a caller named.

    Raises:
        SourceError: SOURCE_EMPTY if there are none.
    """
    if not paths:
        raise SourceError("SOURCE_EMPTY", "no folder or file is named", "Name at least one.")
    return tuple(Path(path) for path in paths)


def pair_of(a: Thing, b: Thing, license: str, captured_at: int | None, generated: bool) -> SourcePair:
    """Return two things as a pair; ``generated`` declares that a program generated one of them.

    Raises:
        SourceError: As `item` and `curiosity.sources.own.group.make_pair` do.
    """
    one, other = item(a), item(b)
    where = f"{one.path.name} and {other.path.name}"
    row = {"captured_at": captured_at, "generated": generated}
    return make_pair(one, other, id=where, set_name="sdk", concept=where, row=row, license=license, where=where)


def read_digest(pair: bytes | str) -> bytes:
    """Return the digest of a pair.

    Raises:
        ConfigError: PAIR_DIGEST for what is not one.
    """
    try:
        digest = pair if isinstance(pair, bytes) else bytes.fromhex(pair.removeprefix("0x"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ConfigError(
            "PAIR_DIGEST", f"{pair!r:.80} is not the digest of a pair", "Give 32 bytes, or 64 hex digits."
        )
    return digest
