"""What counts as text, by one table of one Unicode version: two validators must agree, whatever Python they run.

The interpreter's own tables (``unicodedata``, ``str.split``) change with its version: what one takes another refuses.
"""

import re
from bisect import bisect_right
from functools import cache
from typing import Final

from curiosity.embedding.modalities import unicode_table

VERSION: Final = unicode_table.VERSION
# White_Space of the Unicode database, and the four separators of ASCII.
_SPACES: Final = re.compile("[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+")
# Hangul syllables (Unicode, section 3.12): first syllable, leads, vowels, tails, and how many of each.
_S, _L, _V, _T, _LS, _VS, _TS = 0xAC00, 0x1100, 0x1161, 0x11A7, 19, 21, 28
_FIRST_THAT_CHANGES: Final = "\u0300"  # below it every text is in composed form already


def normalize(text: str) -> str:
    """Return ``text`` in composed form (NFC) with every run of white space one space, and none at its ends."""
    return _SPACES.sub(" ", compose(text)).strip(" ")


def find_refused(text: str) -> int | None:
    """Return where the first control character, surrogate or unassigned character stands; None if there is none."""
    starts, ends = _taken()
    for position, char in enumerate(text):
        at = bisect_right(starts, ord(char)) - 1
        if at < 0 or ord(char) > ends[at]:
            return position
    return None


def compose(text: str) -> str:
    """Return ``text`` in composed form (NFC; Unicode, section 3.11)."""
    if not text or max(text) < _FIRST_THAT_CHANGES:
        return text
    classes, apart, together = _classes(), _decompositions(), _compositions()
    out: list[int] = []
    starter = -1  # where in ``out`` the last starter stands
    last = 0  # class of the last character behind it that was not composed into it
    for code in _reorder([part for char in text for part in _decompose(ord(char), apart)], classes):
        rank = classes.get(code, 0)
        if starter >= 0 and (last < rank or (last == 0 and starter == len(out) - 1)):
            whole = _compose_hangul(out[starter], code) or together.get((out[starter], code))
            if whole is not None:
                out[starter] = whole
                continue
        if rank == 0:
            starter = len(out)
        last = rank
        out.append(code)
    return "".join(map(chr, out))


def _decompose(code: int, apart: dict[int, tuple[int, ...]]) -> tuple[int, ...]:
    index = code - _S
    if 0 <= index < _LS * _VS * _TS:
        tail = (_T + index % _TS,) if index % _TS else ()
        return (_L + index // (_VS * _TS), _V + index % (_VS * _TS) // _TS, *tail)
    parts = apart.get(code)
    return (code,) if parts is None else tuple(each for part in parts for each in _decompose(part, apart))


def _reorder(codes: list[int], classes: dict[int, int]) -> list[int]:
    """Return combining marks between two starters in order of their class, those of one class as they stood."""
    start = 0
    for end in range(len(codes) + 1):
        if end == len(codes) or codes[end] not in classes:
            if end - start > 1:
                codes[start:end] = sorted(codes[start:end], key=classes.__getitem__)
            start = end + 1
    return codes


def _compose_hangul(one: int, other: int) -> int | None:
    if 0 <= one - _L < _LS and 0 <= other - _V < _VS:
        return _S + ((one - _L) * _VS + other - _V) * _TS
    if 0 <= one - _S < _LS * _VS * _TS and (one - _S) % _TS == 0 and 0 < other - _T < _TS:
        return one + other - _T
    return None


@cache
def _taken() -> tuple[list[int], list[int]]:
    runs = [run.split("-") for run in unicode_table.TAKEN.split()]
    return [int(first, 16) for first, _ in runs], [int(last, 16) for _, last in runs]


@cache
def _classes() -> dict[int, int]:
    classes = {}
    for entry in unicode_table.CLASSES.split():
        run, _, value = entry.partition(":")
        first, last = (int(end, 16) for end in run.split("-"))
        classes.update(dict.fromkeys(range(first, last + 1), int(value)))
    return classes


@cache
def _decompositions() -> dict[int, tuple[int, ...]]:
    entries = (re.split("[:!]", entry) for entry in unicode_table.DECOMPOSITIONS.split())
    return {int(code, 16): tuple(int(part, 16) for part in parts.split("+")) for code, parts in entries}


@cache
def _compositions() -> dict[tuple[int, ...], int]:
    apart = _decompositions()
    composed = (int(entry.partition(":")[0], 16) for entry in unicode_table.DECOMPOSITIONS.split() if ":" in entry)
    return {apart[code]: code for code in composed}
