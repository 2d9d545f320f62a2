"""The one loader: from a settings file (TOML) and the environment to a typed, frozen value.

An environment variable ``CURIOSITY_<SECTION>__<KEY>`` overrides a key. A list is written there as in the file,
``["one", "two"]``, or bare if it has one text.
"""

import difflib
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any, Final, TypeVar, cast, get_origin, get_type_hints

from curiosity.host.settings.convert import Unfit, convert
from curiosity.host.settings.declare import said_of
from curiosity.host.settings.sections import SECTIONS
from curiosity.host.settings.write import spell
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.url import without_userinfo

T = TypeVar("T")

ENV_FILE: Final = "CURIOSITY_CONFIG"
FILE_NAME: Final = "curiosity.toml"
PREFIX: Final = "CURIOSITY_"
_SHOWN: Final = 100  # characters of a wrong value
_NO_FILE: Final = "the environment"


def find_config(given: Path | None = None) -> Path | None:
    """Return the file to read: the given one, ``$CURIOSITY_CONFIG``, or the first that exists of the usual places.

    These are ``./curiosity.toml`` and ``~/.config/curiosity/curiosity.toml``. None if there is none.

    Raises:
        ConfigError: CONFIG_NOT_FOUND if one was named, by argument or environment, that does not exist.
    """
    named = given or (Path(os.environ[ENV_FILE]) if os.environ.get(ENV_FILE) else None)
    if named is not None:
        if not named.expanduser().is_file():
            raise ConfigError(
                "CONFIG_NOT_FOUND",
                f"there is no file {named}",
                f"Make one with `curiosity config init --out {named}`, or name another.",
            )
        return named.expanduser()
    candidates = (Path(FILE_NAME), Path("~/.config/curiosity").expanduser() / FILE_NAME)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def read_document(file: Path | None) -> dict[str, Any]:
    """Return the TOML document in a settings file; an empty one if there is no file.

    Raises:
        ConfigError: CONFIG_NOT_FOUND, CONFIG_UNREADABLE, CONFIG_NOT_TOML.
    """
    if file is None:
        return {}
    found = find_config(file)
    assert found is not None
    return parse_document(lambda: found.read_text(encoding="utf-8"), str(file))


def parse_document(read: Callable[[], str], source: str) -> dict[str, Any]:
    """Return the TOML document that ``read`` gives; ``source`` names the file in errors.

    Raises:
        ConfigError: CONFIG_UNREADABLE for its OSError, CONFIG_NOT_TOML.
    """
    try:
        return tomllib.loads(read().removeprefix("\ufeff"))  # some editors write a byte order mark
    except OSError as error:
        raise ConfigError("CONFIG_UNREADABLE", f"{source}: {error.strerror}", "Check the file's permissions.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("CONFIG_NOT_TOML", f"{source}: {error}", "Correct the line; the format is TOML.") from None


def check_sections(document: Mapping[str, Any], source: str) -> None:
    """Check that every section of a document is one that some program reads.

    Raises:
        ConfigError: CONFIG_UNKNOWN_SECTION.
    """
    for name in document:
        if name not in SECTIONS:
            raise ConfigError("CONFIG_UNKNOWN_SECTION", f"{source} has a section [{name}]", _nearest(name, SECTIONS))


def check_environment(environment: Mapping[str, str]) -> None:
    """Check that every variable that looks like a setting is of a section that some program reads.

    Raises:
        ConfigError: CONFIG_UNKNOWN_SECTION; else the mistake in a variable's name would go unnoticed.
    """
    for name in environment:
        section, separator, _ = name.removeprefix(PREFIX).partition("__")
        if name.startswith(PREFIX) and separator:
            check_sections({section.lower(): None}, f"the environment variable {name}")


def load_section(type_: type[T], section: str, file: Path | None, environment: Mapping[str, str] | None = None) -> T:
    """Return one section of a settings file, overridden by the environment (that of the process by default).

    Raises:
        ConfigError: As `read_document` and `read_section`.
    """
    environment = os.environ if environment is None else environment
    return read_section(type_, section, read_document(file), environment, str(file) if file else _NO_FILE)


def read_section(
    type_: type[T], section: str, document: Mapping[str, Any], environment: Mapping[str, str], source: str
) -> T:
    """Return the settings dataclass ``type_`` from ``[section]`` of a document, overridden by the environment.

    Args:
        type_: The dataclass, made of fields by `curiosity.host.settings.declare.setting`.
        section: Its name in the file.
        document: The whole file.
        environment: Variables, others' too.
        source: Names the file in errors.

    Raises:
        ConfigError: CONFIG_UNKNOWN_SECTION; CONFIG_UNKNOWN_KEY, naming the nearest known key; CONFIG_INVALID, naming
            the key and what is expected; URL_INVALID.
    """
    check_sections(document, source)
    table = document.get(section, {})
    if not isinstance(table, Mapping):
        raise ConfigError("CONFIG_INVALID", f"{source}: {section} is {table!r}", f"Write it as a section [{section}].")
    known = {field.name: field for field in fields(cast(Any, type_))}
    hints = get_type_hints(type_)
    values: dict[str, object] = {}
    for key, value in table.items():
        if key not in known:
            raise ConfigError("CONFIG_UNKNOWN_KEY", f"{source}: [{section}] has a key {key!r}", _nearest(key, known))
        values[key] = _value(value, known[key], hints[key], f"{source}: [{section}] {key}")
    prefix = f"{PREFIX}{section.upper()}__"
    for name, text in environment.items():
        if not name.startswith(prefix):
            continue
        key = name.removeprefix(prefix).lower()
        if key not in known:
            raise ConfigError("CONFIG_UNKNOWN_KEY", f"the environment has {name}", _nearest(key, known))
        written = _list(text) if get_origin(hints[key]) is tuple else text
        values[key] = _value(written, known[key], hints[key], f"the environment variable {name}")
    return type_(**values)


def _value(value: object, field: "Field[Any]", kind: Any, where: str) -> object:
    said = said_of(field)
    try:
        found = convert(value, kind)
        if isinstance(found, int) and not _is_within(found, said.least, said.most):
            limits = f"of {said.least} or more" if said.most is None else f"from {said.least} to {said.most}"
            raise Unfit(f"a whole number {limits}")
    except Unfit as error:
        # A URL may hold a key or a password.
        shown = "" if said.secret or "url" in field.name else f"{without_userinfo(repr(value))[:_SHOWN]}, which is "
        raise ConfigError(
            "CONFIG_INVALID",
            f"{where} is {shown}not {error.expected}",
            f"{said.sentence} The default is written so: {field.name} = {spell(field.default)}.",
        ) from None
    if said.check is not None:
        for one in found if isinstance(found, tuple) else (found,):
            said.check(str(one))
    return found


def _is_within(number: int, least: int | None, most: int | None) -> bool:
    return (least is None or number >= least) and (most is None or number <= most)


def _list(text: str) -> object:
    # What a variable says of a list. What is not TOML is left for the type to refuse.
    if not text.lstrip().startswith("["):
        return [text] if text else []
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _nearest(key: str, known: Iterable[str]) -> str:
    known = sorted(known)
    match = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"Did you mean {match[0]!r}?" if match else f"Known are: {', '.join(known)}."
