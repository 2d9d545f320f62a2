"""Sketches of texts: one bit of each of 256 minima over hashed shingles of the normalised text (MinHash)."""

import re
import unicodedata
from hashlib import blake2b
from typing import Final

import numpy as np

from curiosity.embedding.modality import Array
from curiosity.embedding.sketch.parts import NOTHING, Parts

_GRAM: Final = 5
_ALIKE: Final = 2.5  # of the runs of three letters of two words the share that is in both, inverted
MAX_KEPT: Final = 2_048
"""Bytes of a text's normal words that are kept."""

_COMMON: Final = """
    a an the this that these those some any each its it is are was were be been being of in on at to for from with by as
    into and or but so than then there here has have had very just also our your his her their my
    icon icons picture pictures image images photo photos photograph drawing illustration clipart clip art emoji symbol
    sign sketch view scene close closeup shows showing show shown depicts depicting depicted see seen
"""
_STOP: Final = frozenset(_COMMON.split())
_POSSESSIVE: Final = re.compile(r"[’']s\b")
_CONTRACTED: Final = re.compile(r"n[’']t\b")
_NEGATING: Final = """
    no not without never none nor neither cannot ohne nicht kein keine keinen keinem keiner nie sans pas jamais non sin
    nunca sem não nao senza niet geen zonder bez нет не без değil नहीं
"""
_NEGATIONS: Final = frozenset(_NEGATING.split())
_SEPARATORS: Final = frozenset("`^|~©®")
_NO_PLURALS: Final = frozenset({"news", "lens"})
_MAX_MISSPELT: Final = 16
_MAX_SPELLINGS: Final = 64


def normal_words(text: str) -> list[str]:
    """Return the words that say what a caption is about: NFKC, lower case, singular, without words that many have.

    Vowel signs and other marks stay in their words. Symbols are words of their own, but for a minus before a number and
    for plus and hash after a letter: "-5", "c++". A text of nothing but words that many have keeps them.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2212", "-")
    words = [_singular(word) for word in _split(_CONTRACTED.sub(" not", _POSSESSIVE.sub("", folded)))]
    return [word for word in words if word not in _STOP] or words


def _split(text: str) -> list[str]:
    found, word = [], ""
    for place, char in enumerate(text + " "):
        kind, before, after = unicodedata.category(char), text[max(0, place - 1) : place], text[place + 1 : place + 2]
        if kind == "Cf":
            continue  # what joins letters and is not seen
        is_of_word = (
            kind[0] in "LN"
            or (kind[0] == "M" and word)
            or (char in "+#" and word and not word[-1].isdigit() and not after.isalnum())
            or (char == "-" and after.isdigit() and not before.isalnum())
        )
        if is_of_word:
            word += char
            continue
        if word:
            found.append(word)
            word = ""
        is_between = found and found[-1][-1].isdigit() and text[place + 1 : place + 4].lstrip()[:1].isdigit()
        if char == "#" or (char == "-" and is_between) or (kind[0] == "S" and char not in _SEPARATORS):
            found.append(char)
    return found


def sketch_text(array: Array) -> Parts:
    """Return one row of bits, twice, and the normal words of a text's UTF-8 bytes; nothing without letter or digit.

    Two texts whose shingles have Jaccard index J differ in about 128 (1 - J) of the bits.
    """
    words = sorted(set(normal_words(array.tobytes().decode())))
    if not words:
        return NOTHING
    shingles = shingles_of(words)
    hashed = np.array([_hash(one) for one in sorted(shingles)], dtype=np.uint64)
    minima = (hashed[:, None] * _FACTORS + _OFFSETS).min(axis=0)
    bits = np.packbits(((minima >> np.uint64(17)) & np.uint64(1)).astype(np.uint8))[None, :].view(np.uint64)
    kept = " ".join(words).encode()[:MAX_KEPT]
    return bits, bits, kept


def words_of(kept: bytes) -> frozenset[str]:
    """Return the normal words that are kept of a text."""
    return frozenset(kept.decode(errors="ignore").split())


def is_reworded(a: frozenset[str], b: frozenset[str]) -> bool:
    """Return whether one text says what the other says, with more words or with letters changed.

    That is where every word of one of them is among the other's, or is spelled nearly so, and both or none of them have
    a negation. "A red fox" and "fox" are, "a red fox" and "a grey fox" are not. At most 16 words may be spelled
    otherwise, each is compared with at most 64, and so a comparison takes no longer for long texts.
    """
    fewer, more = (a, b) if len(a) <= len(b) else (b, a)
    misspelt = fewer - more
    if not fewer or len(misspelt) > _MAX_MISSPELT or a.isdisjoint(_NEGATIONS) != b.isdisjoint(_NEGATIONS):
        return False
    spellings = [_runs(word) for word in sorted(more - fewer)[:_MAX_SPELLINGS]] if misspelt else []
    return all(any(_is_spelled(runs, one) for one in spellings) for runs in map(_runs, misspelt))


def _is_spelled(first: set[str], second: set[str]) -> bool:
    shared = len(first & second)
    return _ALIKE * shared >= len(first) + len(second) - shared


def _runs(word: str) -> set[str]:
    framed = f" {word} "
    return {framed[start : start + 3] for start in range(len(framed) - 2)}


def shingles_of(words: list[str]) -> set[str]:
    """Return each word and each run of five letters of it: the order of the words does not matter."""
    grams = {
        f"{word[start : start + _GRAM]}~"
        for word in (f" {word} " for word in words)
        for start in range(max(1, len(word) - _GRAM + 1))
    }
    return set(words) | grams


def _singular(word: str) -> str:
    if word in _NEGATIONS or word in _NO_PLURALS:
        return word
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-2] if re.search(r"(ss|x|ch|sh|z)es$", word) else word[:-1]
    return word


def _hash(shingle: str) -> int:
    return int.from_bytes(blake2b(shingle.encode(), digest_size=8).digest(), "little")


_random = np.random.default_rng(20_261_130)
_FACTORS: Final = _random.integers(0, 2**63, 256, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS: Final = _random.integers(0, 2**63, 256, dtype=np.uint64)
