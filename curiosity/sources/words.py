"""Content words of captions, and splits that share none: what is judged is then new, word for word.

A split by content word is strict: no content word of a caption of one split occurs in a caption of another. Words that
many captions have ("flower", "red") decide most, so they are given away first; a caption whose words went to different
splits belongs to none and is left out.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

_FUNCTION: Final = """
    a an the this that these those some any each every other another its it is are was were be been being am
    of in on at to for from with without by as into onto over under up down out off about and or but nor so than then
    if not no yes very just also only too i you he she we they me him her us them my your his our their who whom which
    what when where while there here has have had do does did done can could may might must shall should will would let
    lets s t
"""
_FUNCTION_WORDS: Final = frozenset(_FUNCTION.split())
_WORD: Final = re.compile(r"[^\W_]+")
_POSSESSIVE: Final = re.compile(r"[’']s\b")
_ES: Final = re.compile(r"(ss|x|ch|sh|z)es$")


def content_words(text: str) -> frozenset[str]:
    """Return the words of an English caption that say what it is about, in lower case and in the singular.

    Articles, pronouns, prepositions, auxiliary verbs and lone Latin letters are not among them; colours, sizes, numbers
    and names are.
    """
    found = _WORD.findall(_POSSESSIVE.sub("", text.lower()))
    return frozenset(
        _singular(word) for word in found if word not in _FUNCTION_WORDS and (len(word) > 1 or not word.isascii())
    )


def split_by_words(
    words: Mapping[str, frozenset[str]],
    sizes: Mapping[str, int],
    *,
    seed: int,
    rest: str,
    settled: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the split of each concept, so that no word is in two splits.

    Concepts that straddle splits, or have no word, are out.

    Concepts are taken in falling order of their most frequent word, those with equal ones by SHA-256 over seed and
    name. The first to have a word takes it to a split, drawn in proportion to the room that is left there; a concept
    whose words are given away follows them. So sizes are met nearly, not exactly.

    Args:
        words: Content words of each concept.
        sizes: Concepts wanted in each split but ``rest``.
        seed: What is drawn depends on it; the same seed gives the same splits on every version of Python.
        rest: The split that takes what is left.
        settled: Words that have a split already, such as those of another set.
    """
    often = Counter(word for group in words.values() for word in group)
    room = {**sizes, rest: max(0, len(words) - sum(sizes.values()))}
    order = sorted(
        (concept for concept in words if words[concept]),
        key=lambda concept: (-max(often[word] for word in words[concept]), _draw(seed, concept), concept),
    )
    owner = dict(settled or {})
    splits: dict[str, str] = {}
    for concept in order:
        owners = {owner[word] for word in words[concept] if word in owner}
        if len(owners) > 1:
            continue
        split = owners.pop() if owners else _choose(room, _draw(seed, f"split {concept}"), rest)
        room[split] = room.get(split, 0) - 1
        splits[concept] = split
        owner.update(dict.fromkeys(words[concept], split))
    return splits


def find_shared(words: Mapping[str, frozenset[str]], splits: Mapping[str, str]) -> dict[str, set[str]]:
    """Return words that more than one split has, with those splits: empty for a strict split."""
    seen: dict[str, set[str]] = {}
    for concept, split in splits.items():
        for word in words[concept]:
            seen.setdefault(word, set()).add(split)
    return {word: where for word, where in seen.items() if len(where) > 1}


def leave_out(captions: Iterable[str], judged: Iterable[str]) -> list[bool]:
    """Return for each of ``captions`` whether it may be trained on when ``judged`` captions are judged strictly."""
    known = {word for caption in judged for word in content_words(caption)}
    return [not content_words(caption) & known for caption in captions]


def _singular(word: str) -> str:
    if len(word) <= 3 or not word.endswith("s"):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if _ES.search(word):
        return word[:-2]
    return word if word.endswith(("ss", "us", "is")) else word[:-1]


def _choose(room: Mapping[str, int], draw: int, rest: str) -> str:
    left = {split: max(0, size) for split, size in room.items()}
    total = sum(left.values())
    if not total:
        return rest
    at = draw % total
    for split, size in left.items():
        if at < size:
            return split
        at -= size
    return rest


def _draw(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")
