"""A pair set on disk: ``pairs.jsonl``, content-addressed ``media/`` and a data card ``card.json``.

The card is written last: a folder without one is not a whole set.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from curiosity.host.files import folder_locked, make_folder, sync_directory, write_whole
from curiosity.host.paths import inside
from curiosity.protocol.errors import SourceError
from curiosity.protocol.json_reader import read_json
from curiosity.sources.own.convert import Conversion
from curiosity.sources.own.file import read_file
from curiosity.sources.own.media_type import EXTENSIONS
from curiosity.sources.own.provenance import says_generated
from curiosity.sources.own.strip import strip_metadata

FORMAT: Final = 1
SPLITS: Final = ("genesis", "calibration", "submit", "held-out")


@dataclass(frozen=True)
class SourceItem:
    """One half of a pair before it is signed: a file, or ``content`` where a file would not hold just the item.

    ``stream`` tells apart items of one modality that were recorded at once, such as the cameras of one scene;
    ``conversion`` says what the file was before it became ``content``, None where it is sent as it is. ``generated``:
    the file behind ``content`` said that a program generated it.
    """

    modality: str
    media_type: str
    path: Path
    content: bytes | None = None
    stream: str | None = None
    conversion: Conversion | None = None
    generated: bool = False

    @property
    def is_generated(self) -> bool:
        """Whether the file says of itself that a program generated it, in metadata that is not sent."""
        return self.generated or (self.content is None and says_generated(read_file(self.path)))

    def read(self) -> bytes:
        """Return the bytes to hash, sign and send: metadata of pictures and sounds is stripped.

        Raises:
            SourceError: If the file cannot be read or stripped.
        """
        if self.content is not None:
            return self.content
        return strip_metadata(read_file(self.path), self.media_type, where=str(self.path))


NO_SOURCE: Final = SourceItem("", "", Path(), b"")
"""Stands in the place of ``b`` where one item is submitted alone."""


@dataclass(frozen=True)
class SourcePair:
    """Two items that belong together, ``a`` before ``b`` in the alphabetical order of their modalities.

    A single item has `NO_SOURCE` as ``b``.

    ``license`` is an SPDX expression for the pair, ``voice`` the speaker of an audio item that was synthesised,
    ``captured_at`` Unix seconds where the source says when the material was captured. ``generated``: the source says
    that a program generated an item, or a part of one.
    """

    id: str
    set: str
    split: str
    concept: str
    license: str
    attribution: str
    voice: str | None
    a: SourceItem
    b: SourceItem
    captured_at: int | None = None
    generated: bool = False

    @property
    def is_generated(self) -> bool:
        """Whether the source or one of the files says that a program generated an item."""
        return self.generated or self.a.is_generated or self.b.is_generated

    @property
    def modalities(self) -> str:
        """Such as ``image-text``: in the order in which pairs are named everywhere; of a single item its modality."""
        return "-".join(sorted(item.modality for item in self.items))

    @property
    def items(self) -> tuple[SourceItem, ...]:
        """The items: two of a pair, one of a single item."""
        return (self.a,) if self.b is NO_SOURCE else (self.a, self.b)


@dataclass(frozen=True)
class Origin:
    """A package that material comes from: what is taken, its version, its licence (SPDX) and where that is stated."""

    package: str
    version: str
    takes: str
    license: str
    stated_in: str


@dataclass(frozen=True)
class DraftHalf:
    """One half to write: its bytes, or the file that holds them.

    The modality is stated because a media type does not tell it: five sensors share ``application/x-npy``, and a GIF
    is a video. ``stream`` is such as ``camera1`` where several of one modality were recorded at once.
    """

    modality: str
    media_type: str
    content: bytes | Path
    stream: str | None = None


@dataclass(frozen=True)
class DraftPair:
    """A pair to write; its halves may come in either order."""

    id: str
    split: str
    concept: str
    license: str
    attribution: str
    voice: str | None
    halves: tuple[DraftHalf, DraftHalf]


def write_pair_set(
    out: Path,
    *,
    name: str,
    parameters: Mapping[str, Any],
    origins: Iterable[Origin],
    drafts: Iterable[DraftPair],
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the set ``name`` below ``out`` and return its card; files of an earlier set there are replaced.

    ``about`` is what else the card says, such as what the set may be used for. One program at a time: who comes second
    waits, and takes the set if it is the same.

    Raises:
        SourceError: CANNOT_WRITE (disk full, no permission), NOT_A_PAIR_SET when ``out`` holds other things,
            MEDIA_TYPE_UNKNOWN.
    """
    try:
        with _alone(out):
            made_meanwhile = find_pair_set(out, parameters)
            return made_meanwhile or _write(out, name, parameters, list(origins), list(drafts), about or {})
    except OSError as error:
        raise SourceError(
            "CANNOT_WRITE",
            f"the pair set {name} could not be written to {out}: {error.strerror}",
            "Free some space (a full set takes about 200 MB) or choose another directory.",
        ) from error


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system lets go when its holder ends."""
    make_folder(out)
    with folder_locked(out):
        yield


def find_pair_set(out: Path, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the card of the set at ``out`` if it is whole and was made with exactly these parameters, else None."""
    try:
        card: dict[str, Any] = read_json((out / "card.json").read_bytes())
        listing = (out / "pairs.jsonl").read_bytes()
        present = set(os.listdir(out / "media"))
    except (OSError, ValueError):
        return None
    same = card.get("format") == FORMAT and card.get("parameters") == json.loads(json.dumps(parameters))
    whole = same and hashlib.sha256(listing).hexdigest() == card.get("pairs_sha256")
    named = {Path(half["path"]).name for row in listing.splitlines() for half in _halves(row)} if whole else set()
    return card if whole and named <= present else None


def read_pairs(out: Path) -> Iterator[SourcePair]:
    """Yield the pairs of the set at ``out``, in the order written.

    Raises:
        SourceError: NOT_A_PAIR_SET (no card: absent or never finished), PAIR_ROW (a line that cannot be read).
    """
    if not (out / "card.json").is_file() or not (out / "pairs.jsonl").is_file():
        raise SourceError(
            "NOT_A_PAIR_SET", f"{out} holds no finished pair set (card.json and pairs.jsonl)", "Make the set first."
        )
    with (out / "pairs.jsonl").open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                row = read_json(line)
                a, b = (
                    SourceItem(
                        half["modality"], half["media_type"], inside(out, half["path"]), stream=half.get("stream")
                    )
                    for half in (row["a"], row["b"])
                )
                yield SourcePair(
                    id=row["id"],
                    set=row["set"],
                    split=row["split"],
                    concept=row["concept"],
                    license=row["license"],
                    attribution=row["attribution"],
                    voice=row["voice"],
                    a=a,
                    b=b,
                )
            except (ValueError, KeyError, TypeError) as error:
                raise SourceError(
                    "PAIR_ROW", f"{out / 'pairs.jsonl'} line {number} is not a pair row ({error!r})", "Make it again."
                ) from error


def read_card(out: Path) -> dict[str, Any]:
    """Return the card of the set at ``out``.

    Raises:
        SourceError: NOT_A_PAIR_SET, CARD_BROKEN.
    """
    try:
        card = read_json((out / "card.json").read_bytes())
    except OSError as error:
        raise SourceError(
            "NOT_A_PAIR_SET", f"{out} holds no finished pair set (card.json: {error.strerror})", "Make the set first."
        ) from error
    except ValueError as error:
        raise SourceError("CARD_BROKEN", f"{out / 'card.json'} is not JSON ({error})", "Make it again.") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise SourceError("CARD_BROKEN", f"{out / 'card.json'} is not a card of format {FORMAT}", "Make it again.")
    return card


def check_pair_set(out: Path) -> int:
    """Return the number of pairs, after hashing every file again.

    Raises:
        SourceError: PAIR_SET_CHANGED on a difference.
    """
    pairs = list(read_pairs(out))
    card = read_card(out)
    media = {item.path for pair in pairs for item in (pair.a, pair.b)}
    for path in sorted(media):
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "nothing"
        if found != path.stem:
            raise SourceError("PAIR_SET_CHANGED", f"{path} holds {found}", "Delete the set and make it again.")
    listing = (out / "pairs.jsonl").read_bytes()
    digest = _digest(hashlib.sha256(listing).hexdigest(), {f"media/{path.name}" for path in media})
    if digest != card.get("digest"):
        raise SourceError(
            "PAIR_SET_CHANGED",
            f"{out} has digest {digest}, its card {card.get('digest')}",
            "Delete it and make it again.",
        )
    return len(pairs)


def _write(
    out: Path,
    name: str,
    parameters: Mapping[str, Any],
    origins: list[Origin],
    drafts: list[DraftPair],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    media = out / "media"
    if out.is_dir() and not {each.name for each in out.iterdir()} <= {"media", "pairs.jsonl", "card.json"}:
        raise SourceError(
            "NOT_A_PAIR_SET", f"{out} holds files that are no pair set", "Choose a new or an empty directory."
        )
    make_folder(media)
    (out / "card.json").unlink(missing_ok=True)
    known: dict[Path, str] = {}  # a file used by several pairs is hashed once
    rows: list[dict[str, Any]] = []
    for draft in drafts:
        halves = sorted((_write_half(media, half, known) for half in draft.halves), key=lambda half: half["modality"])
        rows.append(
            {
                "id": draft.id,
                "set": name,
                "split": draft.split,
                "concept": draft.concept,
                "license": draft.license,
                "attribution": draft.attribution,
                "voice": draft.voice,
                "a": halves[0],
                "b": halves[1],
            }
        )
    named = {row[side]["path"] for row in rows for side in ("a", "b")}
    for stale in media.iterdir():
        if f"media/{stale.name}" not in named:
            stale.unlink()
    listing = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    write_whole(out / "pairs.jsonl", listing)
    pairs_sha256 = hashlib.sha256(listing).hexdigest()
    card = {
        "format": FORMAT,
        "set": name,
        "parameters": parameters,
        "sources": [vars(origin) for origin in origins],
        "licenses": dict(sorted(Counter(row["license"] for row in rows).items())),
        "counts": _count(rows),
        "voices": _count_voices(rows),
        **({"about": about} if about else {}),
        "media_files": len(named),
        "pairs_sha256": pairs_sha256,
        "digest": _digest(pairs_sha256, named),
    }
    sync_directory(media)  # the names of files that are links
    write_whole(out / "card.json", json.dumps(card, indent=2, ensure_ascii=False).encode() + b"\n")
    return card


def _write_half(media: Path, half: DraftHalf, known: dict[Path, str]) -> dict[str, str]:
    """Write the half's file and return the half as a row names it."""
    row = {
        "modality": half.modality,
        "media_type": half.media_type,
        "path": _store(media, half.media_type, half.content, known),
    }
    return row if half.stream is None else row | {"stream": half.stream}


def _store(media: Path, media_type: str, content: bytes | Path, known: dict[Path, str]) -> str:
    if isinstance(content, Path) and content in known:
        return known[content]
    if media_type not in EXTENSIONS:
        raise SourceError(
            "MEDIA_TYPE_UNKNOWN",
            f"a pair set cannot hold {media_type}",
            f"Convert it to one of: {', '.join(sorted(EXTENSIONS))}.",
        )
    data = content.read_bytes() if isinstance(content, Path) else content
    name = f"{hashlib.sha256(data).hexdigest()}.{EXTENSIONS[media_type]}"
    place = inside(media, name, one=True, links=True)
    if not place.exists():
        with suppress(OSError):
            if isinstance(content, Path):
                os.link(content, place)  # speech is most of a set: do not hold it twice
        if not place.exists():
            write_whole(place, data)
    if isinstance(content, Path):
        known[content] = f"media/{name}"
    return f"media/{name}"


def _digest(pairs_sha256: str, media: Iterable[str]) -> str:
    """Return the SHA-256 over lines as ``sha256sum`` prints them, sorted: pairs.jsonl and every media file."""
    lines = [f"{pairs_sha256}  pairs.jsonl"] + [f"{Path(path).stem}  {path}" for path in media]
    return hashlib.sha256("".join(line + "\n" for line in sorted(lines)).encode()).hexdigest()


def _count(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for split in SPLITS:
        here = [row for row in rows if row["split"] == split]
        pairs = Counter(f"{row['a']['modality']}-{row['b']['modality']}" for row in here)
        counts[split] = {
            "concepts": len({row["concept"] for row in here}),
            "pairs": len(here),
            **dict(sorted(pairs.items())),
        }
    return counts


def _count_voices(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    return {
        split: dict(sorted(Counter(row["voice"] for row in rows if row["split"] == split and row["voice"]).items()))
        for split in SPLITS
    }


def _halves(row: bytes) -> tuple[dict[str, str], dict[str, str]]:
    pair = read_json(row)
    return pair["a"], pair["b"]
