"""Families of emoji that are variants of one another, so that a split never has one on both sides.

Held-out material is honest only if nothing nearly the same was trained on. Two emoji are of one family when any of
three rules says so: their code points differ only in gender, direction or hair; their names differ only in words of
gender, direction, colour, size, number and the like; or their pictures are nearly the same.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

# Zero-width joiner, variation selector 16, female and male sign, rightwards arrow (facing right), four kinds of hair.
_DROPPED_POINTS: Final = frozenset(
    {
        "200D",
        "FE0F",
        "2640",
        "2642",
        "27A1",
        "1F9B0",
        "1F9B1",
        "1F9B2",
        "1F9B3",
        "1F3FB",
        "1F3FC",
        "1F3FD",
        "1F3FE",
        "1F3FF",
    }
)
_PEOPLE: Final = frozenset({"1F466", "1F467", "1F468", "1F469", "1F9D1", "1F9D2", "1F9D3", "1F474", "1F475"})

# Words that make a variant of a name rather than another thing.
_VARIANTS: Final = """
    man woman men women person people boy girl child adult older baby male female
    left right up down upwards downwards leftwards rightwards rightward leftward upper lower facing pointing tilted
    leaning curving left-right up-down up-left up-right down-left down-right left-facing right-facing
    clockwise counterclockwise
    red orange yellow green blue light purple brown black white grey pink dark
    large medium small medium-small low high big
    one two three four five six seven eight nine ten eleven twelve 1st 2nd 3rd
    open closed raised lowered uppercase lowercase single double new full
    waxing waning first last quarter crescent gibbous
    the of a an with and in on
"""
_VARIANT_WORDS: Final = frozenset(_VARIANTS.split())
_PEOPLE_WORDS: Final = frozenset({"man", "woman", "men", "women", "person", "people", "boy", "girl", "child"})
# Names whose part after the colon, or whose pattern, is all that tells them apart.
_TEMPLATES: Final = (
    (re.compile(r"^keycap:"), "keycap"),
    (re.compile(r"^family\b"), "family"),
    (re.compile(r"^kiss(:|$)"), "couple"),
    (re.compile(r"^couple with heart\b"), "couple"),
    (re.compile(r"^(women|men|people|woman and man) holding hands$"), "couple"),
    (re.compile(r"(o’clock|o'clock|-thirty)$"), "clock"),
    (re.compile(r"\(blood type\)$"), "blood type"),
    (re.compile(r"\bmoon( face)?$"), "moon"),
    (re.compile(r"^globe showing"), "globe"),
    (re.compile(r"\b(circle|square)$"), "geometric"),
    (re.compile(r"^(spade|heart|diamond|club) suit$"), "suit"),
    (re.compile(r" banknote$"), "banknote"),
    (re.compile(r"^input "), "input"),
    (re.compile(r"^(un)?locked$"), "lock"),
    (re.compile(r"^(in|out)box tray$"), "tray"),
    (re.compile(r"^((fast|next|last) )?(play|reverse|fast-forward|track|up|down|upwards|downwards) button$"), "play"),
)  # fmt: skip
# Roles whose names differ by gender in the word itself.
_ROLES: Final = {
    "merman": "merperson", "mermaid": "merperson", "prince": "royal", "princess": "royal",
    "santa": "claus", "mrs.": "claus", "mx": "claus",
}  # fmt: skip
# Mean squared difference of two pictures, as a share of the mean variance of both, below which they are twins. At 0.1
# the yellow faces, which share one outline, begin to chain into a single family of 41; at 0.05 they do not.
TWIN_DIFFERENCE: Final = 0.05


def group_families(names: Mapping[str, str], pictures: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, str]:
    """Return the family of each emoji, named by its first member in the order given.

    ``names`` maps hex codes ("1F468-200D-1F33E") to CLDR names; ``pictures`` maps the same codes to float32[p] arrays
    of equal size.
    """
    codes = list(names)
    parent = {code: code for code in codes}

    def find(code: str) -> str:
        while parent[code] != code:
            parent[code] = parent[parent[code]]
            code = parent[code]
        return code

    def join(group: Sequence[str]) -> None:
        for code in group[1:]:
            first, second = sorted((find(group[0]), find(code)), key=codes.index)
            parent[second] = first

    groups: dict[str, list[str]] = {}
    for code, name in names.items():
        for key in (f"points {strip_code(code)}", f"name {strip_name(name)}"):
            groups.setdefault(key, []).append(code)
    for group in groups.values():
        join(group)
    for pair in find_twins([pictures[code] for code in codes]):
        join([codes[index] for index in pair])
    return {code: find(code) for code in codes}


def strip_code(code: str) -> str:
    """Return the code points without gender, direction, hair and skin tone; every kind of person is one."""
    points = [point for point in code.split("-") if point not in _DROPPED_POINTS]
    return "-".join("person" if point in _PEOPLE else point for point in points) or code


def strip_name(name: str) -> str:
    """Return the words of a name that say what it is, not which variant: "woman running facing right" -> "running"."""
    lowered = name.lower().strip()
    for pattern, family in _TEMPLATES:
        if pattern.search(lowered):
            return family
    words = [_ROLES.get(word, word) for word in re.findall(r"[^\s:,“”()]+", lowered)]
    kept = [word for word in words if word not in _VARIANT_WORDS]
    if kept:
        return " ".join(kept)
    return "person" if _PEOPLE_WORDS & set(words) else lowered


def find_twins(pictures: Sequence[npt.NDArray[np.float32]]) -> list[tuple[int, int]]:
    """Return the index pairs of pictures that hardly differ.

    Pictures are float32[p] each; the difference is below ``TWIN_DIFFERENCE`` of their variance.
    """
    centred = np.stack([picture - picture.mean() for picture in pictures]).astype(np.float64)
    power = (centred**2).mean(axis=1)
    difference = power[:, None] + power[None, :] - 2 * (centred @ centred.T) / centred.shape[1]
    twins = difference < TWIN_DIFFERENCE * (power[:, None] + power[None, :]) / 2
    return [(int(i), int(j)) for i, j in np.argwhere(np.triu(twins, k=1))]


def split_families(
    families: Mapping[str, str], sizes: Mapping[str, int], *, seed: int, rest: str, largest: int
) -> dict[str, str]:
    """Return the split of each concept: whole families are drawn until each split of ``sizes`` has exactly its number.

    Families are taken in the order of SHA-256 over seed and name (the same on every version of Python); one that would
    overfill a split goes to the next. What is left, and every family larger than ``largest``, goes to ``rest``.
    """
    members: dict[str, list[str]] = {}
    for concept, family in families.items():
        members.setdefault(family, []).append(concept)
    left = dict(sizes)
    splits: dict[str, str] = {}
    for family in order_by_seed(members, seed):
        size = len(members[family])
        split = next((name for name, room in left.items() if size <= min(room, largest)), rest)
        if split in left:
            left[split] -= size
        splits.update(dict.fromkeys(members[family], split))
    return splits


def order_by_seed(names: Iterable[str], seed: int) -> list[str]:
    """Return ``names`` shuffled by SHA-256 over the seed and each name."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
