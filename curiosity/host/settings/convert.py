"""From what a file or a variable of the environment says to the type of a setting, or to words for what it must be."""

import math
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin

_WORDS: Final = {
    **dict.fromkeys(("1", "t", "true", "y", "yes", "on"), True),
    **dict.fromkeys(("0", "f", "false", "n", "no", "off"), False),
}


class Unfit(Exception):
    """A value of another type: ``expected`` says of which it must be, such as ``a whole number``."""

    def __init__(self, expected: str) -> None:
        super().__init__(expected)
        self.expected = expected


def convert(value: object, kind: Any) -> object:
    """Return a value as ``kind``, the annotation of a setting. A number may be written as text.

    Raises:
        Unfit: If it is nothing of the kind.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is UnionType:  # a path, or nothing
        return None if value == "" else convert(value, next(part for part in parts if part is not NoneType))
    if origin is Literal:
        if value in parts:
            return value
        raise Unfit(" or ".join(f'"{part}"' for part in parts))
    if origin is tuple:
        return _list(value, parts)
    return {bool: _bool, int: _int, float: _float, str: _text, Path: _path}[kind](value)


def _list(value: object, parts: tuple[Any, ...]) -> tuple[object, ...]:
    is_open = parts[-1] is Ellipsis
    expected = "a list of texts" if is_open else f"a list of {len(parts)} whole numbers"
    if not isinstance(value, list | tuple) or not (is_open or len(value) == len(parts)):
        raise Unfit(expected)
    try:
        return tuple(convert(one, parts[0]) for one in value)
    except Unfit:
        raise Unfit(expected) from None


def _bool(value: object) -> bool:
    found = _WORDS.get(str(value).lower()) if isinstance(value, bool | int | str) else None
    if found is None:
        raise Unfit("true or false")
    return found


def _int(value: object) -> int:
    try:
        if isinstance(value, str) or (isinstance(value, float) and not value.is_integer()):
            return int(str(value))
        if isinstance(value, int | float):
            return int(value)
    except ValueError:
        pass
    raise Unfit("a whole number")


def _float(value: object) -> float:
    try:
        found = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        found = math.nan
    if math.isnan(found):
        raise Unfit("a number")
    return found


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise Unfit("a text in quotes")
    return value


def _path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str):
        raise Unfit("a path in quotes")
    return Path(value)
