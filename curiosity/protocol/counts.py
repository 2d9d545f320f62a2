"""A count with its noun, for messages: ``1 pair``, ``2 pairs``."""

from typing import Final

_IRREGULAR: Final = {"leaf": "leaves", "epoch": "epochs"}
_HISSING: Final = ("s", "sh", "ch", "x")


def number_of(count: int, noun: str) -> str:
    """Return a number with its noun, which is plural unless the number is one: ``1 entry``, ``2 accepted pairs``.

    Args:
        count: How many there are.
        noun: The singular; words before the last one stay as they are.
    """
    return f"{count} {noun_of(count, noun)}"


def noun_of(count: int, noun: str) -> str:
    """Return the noun as `number_of` puts it behind the number, for a number that is shown by itself."""
    if count == 1:
        return noun
    before, space, last = noun.rpartition(" ")
    return f"{before}{space}{_plural(last)}"


def _plural(word: str) -> str:
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return word + ("es" if word.endswith(_HISSING) else "s")
