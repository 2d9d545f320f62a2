"""How a setting is declared: its default, a sentence about it, and the values that it may have."""

from collections.abc import Callable
from dataclasses import Field, dataclass, field
from typing import Any, cast


@dataclass(frozen=True)
class Said:
    """What is known of one setting besides its name, type and default.

    ``check`` refuses a text that cannot be used with a ConfigError. ``least`` and ``most`` are the limits of a number.
    ``secret``: a URL that may hold a key or a password, of which only scheme, host and port are shown.
    """

    sentence: str
    check: Callable[[str], object] | None = None
    least: int | None = None
    most: int | None = None
    secret: bool = False


def setting(
    default: object,
    sentence: str,
    *,
    check: Callable[[str], object] | None = None,
    least: int | None = None,
    most: int | None = None,
    secret: bool = False,
) -> Any:
    """Return a field of a settings dataclass; `said_of` gives back what is said here."""
    return field(default=default, metadata={"said": Said(sentence, check, least, most, secret)})


def said_of(one: "Field[Any]") -> Said:
    """Return what was said of a field that `setting` made."""
    return cast(Said, one.metadata["said"])
