"""Items that belong together, whatever they came from, and the pairs that they make."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

from curiosity.protocol.errors import SourceError
from curiosity.sources.own.item import is_unicode
from curiosity.sources.pairset import NO_SOURCE, SourceItem, SourcePair


def parse_pairs(text: str) -> frozenset[str]:
    """Return the names of modality pairs, in alphabetical order, from a list such as ``video-touch,image-text``.

    Raises:
        SourceError: PAIRS_UNKNOWN for what is not a pair of two modalities.
    """
    from curiosity.embedding.modalities import BY_NAME  # loads NumPy: not before somebody asks for pairs

    names = set()
    for asked in filter(None, (part.strip() for part in text.split(","))):
        halves = sorted(asked.split("-"))
        if len(halves) != 2 or halves[0] == halves[1] or not set(halves) <= set(BY_NAME):
            raise SourceError(
                "PAIRS_UNKNOWN",
                f"{asked!r} is not a pair of modalities",
                f"Write two of {', '.join(sorted(BY_NAME))}, such as image-text.",
            )
        names.add("-".join(halves))
    return frozenset(names)


def pair_up(
    items: Sequence[SourceItem],
    *,
    key: str,
    set_name: str,
    row: Mapping[str, Any],
    license: str | None,
    where: str,
) -> Iterator[SourcePair]:
    """Yield every two of ``items`` that differ in modality, as pairs.

    Raises:
        SourceError: MEDIA_MISSING (a text alone), CAPTION_MISSING (an item of another kind alone), and those of
            `make_pair`.
    """
    kinds = {item.modality for item in items}
    if kinds <= {"text"}:
        raise SourceError("MEDIA_MISSING", f"{where} has nothing beside its text", "Add what the text is about.")
    if len(kinds) == 1:
        raise SourceError(
            "CAPTION_MISSING",
            f"{where}: {items[0].path.name} has nothing to pair it with, such as {key.rpartition('/')[2]}.txt",
            "Write what it shows or says, or add what was recorded with it, under the same name.",
        )
    for one, other in combinations(items, 2):
        if one.modality == other.modality:
            continue
        yield make_pair(
            one,
            other,
            id=f"{set_name}-{key}:{one.path.name}+{other.path.name}",
            set_name=set_name,
            concept=key,
            row=row,
            license=license,
            where=where,
        )


def make_single(item: SourceItem, *, set_name: str, license: str) -> SourcePair:
    """Return an item that is submitted alone; ``license`` may be empty, and is then asked for later."""
    name = item.path.name
    return SourcePair(
        id=f"{set_name}-{name}",
        set=set_name,
        split="submit",
        concept=name,
        license=license,
        attribution="",
        voice=None,
        a=item,
        b=NO_SOURCE,
    )


def make_pair(
    one: SourceItem,
    other: SourceItem,
    *,
    id: str,
    set_name: str,
    concept: str,
    row: Mapping[str, Any],
    license: str | None,
    where: str,
) -> SourcePair:
    """Return the pair of two items with what ``row`` says of it: license, attribution, captured_at, generated.

    Raises:
        SourceError: SAME_MODALITY, LICENSE_MISSING, ROW_VALUE.
    """
    if one.modality == other.modality:
        raise SourceError(
            "SAME_MODALITY", f"{where}: both items are {one.modality}", "Pair two items of different kinds."
        )
    stated = row.get("license") or license
    if not isinstance(stated, str) or not stated.strip():
        raise SourceError(
            "LICENSE_MISSING",
            f"{where} states no licence",
            'Add "license" (SPDX, such as CC-BY-4.0) to the row, or give one for all.',
        )
    attribution = row.get("attribution") or ""
    if not isinstance(attribution, str):
        raise SourceError("ROW_VALUE", f"{where}: attribution is {attribution!r:.200}", "Write it as text.")
    for name, value in (("license", stated), ("attribution", attribution), ("id", id), ("concept", concept)):
        if not is_unicode(value):
            raise SourceError(
                "ROW_VALUE", f"{where}: {name} is {value!a:.200}, which is not Unicode text", "Write it anew."
            )
    a, b = sorted((one, other), key=lambda item: item.modality)
    return SourcePair(
        id=id,
        set=set_name,
        split="submit",
        concept=concept,
        license=stated.strip(),
        attribution=attribution,
        voice=None,
        a=a,
        b=b,
        captured_at=_read_time(row.get("captured_at"), where=where),
        generated=_read_flag(row.get("generated"), where=where),
    )


def _read_flag(value: object, *, where: str) -> bool:
    """Return true or false, as JSON or as a table's cell spells them; false when not given.

    Raises:
        SourceError: ROW_VALUE.
    """
    given = {"": False, "false": False, "true": True}.get(value.lower()) if isinstance(value, str) else value
    if given is None and not isinstance(value, str):
        return False
    if not isinstance(given, bool):
        raise SourceError("ROW_VALUE", f"{where}: generated is {value!r:.200}", "Write true or false.")
    return given


def _read_time(value: object, *, where: str) -> int | None:
    """Return Unix seconds of a number, an ISO 8601 text with a zone, or a moment; None when not given.

    Raises:
        SourceError: ROW_VALUE.
    """
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, int | str | datetime):
            raise ValueError("neither a number nor text")
        if isinstance(value, datetime) or (isinstance(value, str) and not value.isdecimal()):
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
            if moment.tzinfo is None:
                raise ValueError("no time zone")
            seconds = int(moment.timestamp())
        else:
            seconds = int(value)
        if not 0 <= seconds <= int(datetime(9999, 1, 1, tzinfo=UTC).timestamp()):
            raise ValueError("out of range")
    except (ValueError, OverflowError) as error:
        raise SourceError(
            "ROW_VALUE",
            f"{where}: captured_at is {value!r:.200} ({error})",
            "Write Unix seconds, or a time such as 2026-03-01T12:00:00Z.",
        ) from error
    return seconds
