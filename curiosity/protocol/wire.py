"""Values on the wire: byte strings as 0x-hex, canonical JSON, strict parsing.

A protocol value is a frozen dataclass whose byte fields carry one of the hex types below; pydantic reads and writes it
and makes its JSON schema, so that the service, its OpenAPI document and the clients share one definition.
"""

import json
from collections.abc import Callable, Hashable
from functools import lru_cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import BeforeValidator, ConfigDict, Field, PlainSerializer, TypeAdapter, ValidationError, WithJsonSchema

from curiosity.protocol.errors import Rejected
from curiosity.protocol.spelling import speller

T = TypeVar("T")

STRICT = ConfigDict(extra="forbid", strict=True)
"""Config for a protocol dataclass: unknown fields and coerced types are refused."""

UINT64_MAX = 2**64 - 1
UINT53_MAX = 2**53 - 1


def _hex_parser(length: int) -> Callable[[object], bytes]:
    def parse(value: object) -> bytes:
        if isinstance(value, bytes) and len(value) == length:
            return value
        if isinstance(value, str) and len(value) == 2 + 2 * length and value.startswith("0x"):
            digits = value[2:]
            try:
                data = bytes.fromhex(digits)
            except ValueError:
                data = b""
            if data.hex() == digits:  # which also takes blanks and capitals
                return data
        raise ValueError(f"expected 0x and {2 * length} lower-case hex digits")

    return parse


def to_hex(value: bytes) -> str:
    """Return ``0x`` and the lower-case hex digits of ``value``."""
    return "0x" + value.hex()


def from_hex(text: str, length: int) -> bytes:
    """Return the bytes that ``text`` spells.

    Raises:
        ValueError: Unless it is 0x and ``2 * length`` lower-case digits.
    """
    return _hex_parser(length)(text)


def _schema(length: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^0x[0-9a-f]{{{2 * length}}}$"})


Bytes20 = Annotated[bytes, BeforeValidator(_hex_parser(20)), PlainSerializer(to_hex, return_type=str), _schema(20)]
Bytes32 = Annotated[bytes, BeforeValidator(_hex_parser(32)), PlainSerializer(to_hex, return_type=str), _schema(32)]
Bytes65 = Annotated[bytes, BeforeValidator(_hex_parser(65)), PlainSerializer(to_hex, return_type=str), _schema(65)]
Uint64 = Annotated[int, Field(ge=0, le=UINT64_MAX)]
Uint53 = Annotated[int, Field(ge=0, le=UINT53_MAX)]
"""An integer that every JSON reader keeps exactly (RFC 7493, section 2.2)."""


def _is_none(value: object) -> bool:
    return value is None


LATER = Field(exclude_if=_is_none)
"""Marks a field that an older version of its format does not know: it is left out where it is None."""

_LONGEST_NAME = 80  # of a field, as far as an error shows it

ShortText = Annotated[str, Field(max_length=128)]


@lru_cache(maxsize=64)
def _cached_adapter(type_: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, type_))


def adapter(type_: Any) -> TypeAdapter[Any]:
    """Return the (cached) pydantic adapter of a protocol dataclass or a union of them."""
    return _cached_adapter(type_)


def canonical_json(value: Any) -> bytes:
    """Return JSON with sorted keys, no spaces and no floats: the one form that is hashed and signed.

    For the values the protocol uses (strings, integers, booleans, null, lists, objects with ASCII keys) this is RFC
    8785.

    Raises:
        ValueError: On a float.
    """
    _refuse_floats(value)
    return _CANONICAL.encode(value).encode()


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise ValueError(f"canonical JSON holds no floats, got {value!r}")
    if isinstance(value, dict):
        for item in value.values():
            _refuse_floats(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item)


def to_plain(value: Any) -> Any:
    """Return a protocol dataclass as plain JSON values."""
    return adapter(type(value)).dump_python(value, mode="json")


def encode(value: Any) -> bytes:
    """Return the canonical JSON of a protocol dataclass.

    Raises:
        ValueError: Where it may hold a float.
    """
    return speller(cast(Hashable, type(value)))(value).encode()


def to_json(value: Any) -> bytes:
    """Return JSON of a protocol dataclass for whoever only reads it: not canonical, so never hash or sign it."""
    return adapter(type(value)).dump_json(value)


def _spell(part: int | str) -> str:
    """Return a step of the way to a field.

    The name of an unknown field is the sender's: it is quoted where it is not a plain word.
    """
    text = str(part)
    is_plain = isinstance(part, int) or (text.isascii() and text.isidentifier() and len(text) <= _LONGEST_NAME)
    return text if is_plain else ascii(text[:_LONGEST_NAME])


def parse(type_: type[T], data: bytes | str) -> T:
    """Return the protocol value that JSON ``data`` spells.

    Raises:
        Rejected: MESSAGE_MALFORMED naming the first field that does not fit.
    """
    try:
        return cast(T, adapter(type_).validate_json(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(_spell(part) for part in first["loc"]) or "the message"
        raise Rejected(
            "MESSAGE_MALFORMED",
            f"{type_.__name__}: {where}: {first['msg']} ({error.error_count()} problem(s))",
            "Compare with the schema in /openapi.json.",
        ) from None
