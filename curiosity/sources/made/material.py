"""What photos, clipart and sounds have in common: things found in packages, split by content word, with a data card.

A thing is a picture or a sound with an English caption, its licence and its credit. Its concept is the caption without
case and full stop. Concepts are split strictly (`curiosity.sources.words`); pictures that are nearly the same count as
a shared word.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from curiosity.protocol.errors import SourceError
from curiosity.sources.made.families import find_twins, order_by_seed
from curiosity.sources.made.media import MediaConverter
from curiosity.sources.made.speech import Progress
from curiosity.sources.pairset import SPLITS, DraftHalf, DraftPair, Origin, find_pair_set, write_pair_set
from curiosity.sources.words import content_words, split_by_words

DEFAULT_SEED: Final = 20260101
RECIPE: Final = 1  # raise when the same packages give another set


@dataclass(frozen=True)
class FoundMedia:
    """One pair to make: ``name`` is unique in the set; ``media`` is the file as the package has it.

    ``seen`` is a picture that belongs to a sound; ``captions`` are captions in other languages by language. With
    ``spoken`` the media is the caption in that language, read out. Concepts that are only spoken do not change the
    splits of the others.
    """

    name: str
    caption: str
    license: str
    attribution: str
    media: bytes
    seen: bytes | None = None
    captions: Mapping[str, str] = field(default_factory=dict)
    spoken: str | None = None

    @property
    def concept(self) -> str:
        """The caption without case, space at the ends and final stop."""
        return self.caption.strip().rstrip(".!").lower()


@dataclass(frozen=True)
class Plan:
    """What a set is made of and by which rules: ``shares`` of the concepts for each split but ``rest``."""

    name: str
    modality: str
    shares: Mapping[str, float]
    rest: str
    use: str
    flaws: Sequence[str]


def find_made(out: Path, parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the card of a whole set at ``out`` that was made with these parameters."""
    return find_pair_set(out, parameters)


def make_set(
    out: Path,
    plan: Plan,
    things: Sequence[FoundMedia],
    *,
    parameters: Mapping[str, Any],
    origins: Iterable[Origin],
    left_out: Counter[str],
    progress: Progress | None,
) -> dict[str, Any]:
    """Convert, split and write; return the card. ``parameters`` hold the seed and the limit.

    ``left_out`` counts what finding left out, by reason; what is broken or straddles splits is added.

    Raises:
        SourceError: MATERIAL_EMPTY (nothing usable), CANNOT_WRITE.
    """
    converted, seen, small = _convert(plan, things, left_out, progress)
    kept = [thing for thing in things if thing.name in converted]
    words = {thing.concept: content_words(thing.caption) for thing in kept}
    left_out["NO_WORD"] += sum(not words[thing.concept] for thing in kept)
    for first, second in find_twins([small[thing.name] for thing in kept]) if small else []:
        mark = frozenset({f"twins {first} {second}"})  # no caption has such a word
        for at in (first, second):
            words[kept[at].concept] |= mark
    words = {concept: group for concept, group in words.items() if group}
    splits = _split(plan, kept, words, parameters["seed"])
    left_out["STRADDLES"] += sum(thing.concept in words and thing.concept not in splits for thing in kept)
    chosen = _limit(splits, parameters["seed"], parameters["limit"])
    drafts = [
        draft
        for thing in kept
        if thing.concept in chosen
        for draft in _draft(plan, thing, splits[thing.concept], converted[thing.name], seen.get(thing.name))
    ]
    if not drafts:
        raise SourceError(
            "MATERIAL_EMPTY",
            f"nothing of the packages can be used for {plan.name} ({_tell(left_out)})",
            "Check that the folder holds the whole package with its copyright file.",
        )
    about = {
        "use": plan.use,
        "flaws": list(plan.flaws),
        "split_by": "content words of the English caption: no word, and no nearly same picture, is in two splits",
        "concepts_kept": len(splits),
        "concepts_straddling": len(words) - len(splits),
        "left_out": {reason: count for reason, count in sorted(left_out.items()) if count},
        "languages": dict(sorted(Counter(_language(draft) for draft in drafts).items())),
    }
    card = write_pair_set(out, name=plan.name, parameters=parameters, origins=origins, drafts=drafts, about=about)
    if progress:
        progress(plan.name, len(drafts), len(drafts))
    return card


def _split(plan: Plan, kept: Sequence[FoundMedia], words: Mapping[str, frozenset[str]], seed: int) -> dict[str, str]:
    """Return the split of each concept: first of those that are not only spoken, then of the others."""
    splits: dict[str, str] = {}
    heard = {thing.concept for thing in kept if thing.spoken is None}
    for group in (heard, words.keys() - heard):
        some = {concept: words[concept] for concept in words if concept in group}
        sizes = {split: int(share * len(some)) for split, share in plan.shares.items()}
        settled = {word: splits[concept] for concept in splits for word in words[concept]}
        splits |= split_by_words(some, sizes, seed=seed, rest=plan.rest, settled=settled)
    return splits


def _convert(
    plan: Plan, things: Sequence[FoundMedia], left_out: Counter[str], progress: Progress | None
) -> tuple[dict[str, bytes], dict[str, bytes], dict[str, npt.NDArray[np.float32]]]:
    """Return item, picture beside it and 24-px picture of each thing; what is broken is counted and left out."""
    converted: dict[str, bytes] = {}
    seen: dict[str, bytes] = {}
    small: dict[str, npt.NDArray[np.float32]] = {}
    with MediaConverter() as converter:
        for done, thing in enumerate(things, start=1):
            try:
                if plan.modality == "image":
                    converted[thing.name], small[thing.name] = converter.convert_picture(thing.media, where=thing.name)
                else:
                    converted[thing.name] = converter.convert_sound(thing.media, where=thing.name)
                    if thing.seen is not None:
                        seen[thing.name] = converter.convert_picture(thing.seen, where=thing.name)[0]
            except SourceError as error:
                converted.pop(thing.name, None)
                left_out[error.code] += 1
            if progress and (done % 50 == 0 or done == len(things)):
                progress(f"converting {plan.name}", done, len(things))
    return converted, seen, small


def _limit(splits: Mapping[str, str], seed: int, limit: int | None) -> set[str]:
    """Return the concepts that a set with at most ``limit`` of a split has."""
    ordered = order_by_seed(splits, seed)
    return {concept for split in SPLITS for concept in [name for name in ordered if splits[name] == split][:limit]}


def _draft(plan: Plan, thing: FoundMedia, split: str, media: bytes, picture: bytes | None) -> list[DraftPair]:
    sound = plan.modality == "audio"
    item = DraftHalf(plan.modality, "audio/flac" if sound else "image/png", media)
    kind = f"{plan.modality}-text"
    halves = {} if thing.spoken else {kind: DraftHalf("text", "text/plain", thing.caption.encode())}
    for language, caption in thing.captions.items():
        halves[f"{kind}-{language}"] = DraftHalf("text", "text/plain", caption.encode())
    if picture is not None:
        halves["audio-image"] = DraftHalf("image", "image/png", picture)
    return [
        DraftPair(
            id=f"{plan.name}-{thing.name}-{kind}",
            split=split,
            concept=thing.concept,
            license=thing.license,
            attribution=thing.attribution,
            voice=None,
            halves=(item, half),
        )
        for kind, half in halves.items()
    ]


def _language(draft: DraftPair) -> str:
    """Return the language of a pair's caption; none for a pair without."""
    if all(half.modality != "text" for half in draft.halves):
        return "none"
    tail = draft.id.rpartition("-text")[2]
    return tail.removeprefix("-") or "en"


def _tell(left_out: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.most_common() if count) or "no file found"
