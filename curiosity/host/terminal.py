"""What may reach a terminal: others' words without the characters that would steer it."""

import re
from typing import Final

_STEERING: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and line feed, DEL, C1: escape sequences begin with one of them
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"  # marks that turn the direction of what follows, line separators
)


_LINE_ENDS: Final = re.compile("[\r\n]+")


def one_line(text: str) -> str:
    """Return a text as `printable` does, and on one line: whoever writes in it writes no line of his own."""
    return printable(_LINE_ENDS.sub(" ", text))


def printable(text: str) -> str:
    """Return a text in which each character that a terminal would obey is shown as U+FFFD."""
    return _STEERING.sub("\ufffd", text)
