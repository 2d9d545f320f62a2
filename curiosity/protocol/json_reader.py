"""JSON that others wrote: one reader, with limits on bytes, depth and numbers, for whatever comes from outside.

Python's own reader calls itself for each bracket. Its depth is bounded by the interpreter's recursion limit, which any
imported library may raise (py_ecc, below web3, sets 100,000). Then a message of some ten thousand brackets overflows
the C stack and ends the process. Here the depth is counted before anything is parsed.
"""

import json
import re
from typing import Any, Final, NoReturn

MAX_DEPTH: Final = 64
MAX_BYTES: Final = 256 << 20
_TOKENS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)


class JsonError(ValueError):
    """What is not JSON within the limits; says why in a few words, and shows none of the content."""


def read_json(
    data: bytes | bytearray | str, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH, is_unique: bool = False
) -> Any:
    """Return the value that UTF-8 JSON spells (RFC 8259), with no byte order mark, NaN or Infinity.

    Of a name that an object gives twice the last value counts; with ``is_unique`` the values must be the same.

    Raises:
        JsonError: A ValueError: more than ``max_bytes`` (of a text: characters), deeper than ``max_depth`` arrays and
            objects, an integer of more than 4,300 digits, or not JSON.
    """
    if len(data) > max_bytes:
        raise JsonError(f"{len(data)} bytes, at most {max_bytes} are read")
    try:
        text = data if isinstance(data, str) else data.decode()
    except UnicodeDecodeError:
        raise JsonError("not UTF-8") from None
    if text.count("[") + text.count("{") > max_depth:
        _check_depth(text, max_depth)
    try:
        hook = _refuse_two_values if is_unique else None
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=hook)
    except json.JSONDecodeError as error:
        raise JsonError(f"not JSON: {error.msg} at character {error.pos}") from None
    except JsonError:
        raise
    except (ValueError, RecursionError) as error:
        raise JsonError(f"not JSON that is read here: {type(error).__name__}") from None


def _check_depth(text: str, max_depth: int) -> None:
    depth = 0
    for token in _TOKENS.finditer(text):
        kind = token.group()[0]
        if kind in "[{":
            depth += 1
            if depth > max_depth:
                raise JsonError(f"more than {max_depth} brackets inside each other")
        elif kind in "]}":
            depth -= 1


def _refuse_constant(name: str) -> NoReturn:
    raise JsonError(f"{name} is not JSON")


def _refuse_two_values(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs) and any(found[name] != value for name, value in pairs):
        raise JsonError("a name stands twice in one object, with two values")
    return found
