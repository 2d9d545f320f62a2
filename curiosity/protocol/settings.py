"""Settings: from a parsed TOML document and the environment to one typed, frozen value. Reads no file itself.

One file serves every role, a section each. An environment variable ``CURIOSITY_<SECTION>__<KEY>`` overrides a key; a
list is written there as in the file, ``["one", "two"]``, or bare if it is of one text.
"""

import difflib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar, cast, get_origin, get_type_hints
from urllib.parse import urlsplit

from pydantic import ConfigDict, TypeAdapter, ValidationError

from curiosity.protocol.errors import ConfigError

T = TypeVar("T")

SECTIONS = ("node", "validator", "trainer", "witness", "chain")
SETTINGS = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)
"""Pydantic config for a settings dataclass: numbers may come as strings from the environment, unknown keys may not."""

_PREFIX = "CURIOSITY_"
_USERINFO = re.compile(r"://[^/?#\s]*@")


def _nearest(key: str, known: Iterable[str]) -> str:
    known = sorted(known)
    match = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"Did you mean {match[0]!r}?" if match else f"Known are: {', '.join(known)}."


def check_sections(document: Mapping[str, Any], source: str) -> None:
    """Raise ConfigError CONFIG_UNKNOWN_SECTION if the document has a section that no role reads."""
    for name in document:
        if name not in SECTIONS:
            raise ConfigError("CONFIG_UNKNOWN_SECTION", f"{source} has a section [{name}]", _nearest(name, SECTIONS))


def parse_document(read: Callable[[], str], source: str) -> dict[str, Any]:
    """Return the TOML document that ``read`` gives: a role's settings file, named ``source`` in errors.

    Raises ConfigError: CONFIG_MISSING for its OSError, CONFIG_NOT_TOML.
    """
    try:
        return tomllib.loads(read().removeprefix("\ufeff"))  # some editors write a byte order mark
    except OSError as error:
        raise ConfigError(
            "CONFIG_MISSING", f"{source} cannot be read: {error.strerror}", "Give --config an existing file."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("CONFIG_NOT_TOML", f"{source}: {error}", "Correct the line; the format is TOML.") from None


def _list(text: str) -> Any:
    """Return what a variable says of a list: what is no TOML is left for the type to refuse."""
    if not text.lstrip().startswith("["):
        return [text] if text else []
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def read_section(
    type_: type[T], section: str, document: Mapping[str, Any], environment: Mapping[str, str], source: str
) -> T:
    """Return the settings dataclass ``type_`` from ``[section]`` of a document, overridden by the environment.

    ``source`` names the file in errors. Raises ConfigError: CONFIG_UNKNOWN_SECTION, CONFIG_UNKNOWN_KEY naming the
    nearest known key, CONFIG_INVALID naming the key and what was expected.
    """
    check_sections(document, source)
    table = document.get(section, {})
    if not isinstance(table, Mapping):
        raise ConfigError("CONFIG_INVALID", f"{source}: {section} is {table!r}", f"Write it as a section [{section}].")
    known = {field.name for field in fields(cast(Any, type_))}
    hints = get_type_hints(type_)
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError("CONFIG_UNKNOWN_KEY", f"{source}: [{section}] has a key {key!r}", _nearest(key, known))
        values[key] = value
    prefix = f"{_PREFIX}{section.upper()}__"
    for name, text in environment.items():
        if not name.startswith(prefix):
            continue
        key = name.removeprefix(prefix).lower()
        if key not in known:
            raise ConfigError("CONFIG_UNKNOWN_KEY", f"the environment has {name}", _nearest(key, known))
        values[key] = _list(text) if get_origin(hints[key]) is tuple else text
    try:
        return TypeAdapter(type_).validate_python(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        # A URL may hold a key or a password.
        shown = "not shown" if "url" in where else repr(first["input"])
        raise ConfigError(
            "CONFIG_INVALID",
            f"{source}: [{section}] {where} is {shown}: {first['msg']}",
            "Correct the value; `curiosity config show` lists every key with its default.",
        ) from None


def without_userinfo(text: str) -> str:
    """The text with every URL in it without user name and password, which only its server may learn."""
    return _USERINFO.sub("://", text)


def check_url(url: str, what: str) -> str:
    """Return the address of a web server as it is; ``what`` names it in the error.

    Raises ConfigError URL_INVALID unless it begins with http:// or https:// and a host follows.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is not a number, brackets that do not close
        good = False
    if not good:
        shown = url.rpartition("@")[2][:100]  # without the user's name and password
        raise ConfigError(
            "URL_INVALID",
            f"{what} is {shown!r}, which is not the address of a web server",
            "Write it with its scheme, host and port, such as http://127.0.0.1:8440.",
        )
    return url
