"""The canonical JSON of a protocol dataclass, written by functions that are made once from its annotations.

`curiosity.protocol.wire.encode` is what uses this; the form is that of `curiosity.protocol.wire.canonical_json` over
`to_plain` of the same value, to which tests hold it. Walking over a value anew each time (to plain objects, sorted,
then to text) took three times as long, and every entry, opening and receipt is spelled at least once by everybody who
writes or checks it.
"""

import dataclasses
import enum
import types
import typing
from collections.abc import Callable, Hashable
from functools import lru_cache
from json.encoder import encode_basestring  # what JSONEncoder takes for a text
from operator import attrgetter
from typing import Any

from pydantic import PlainSerializer

Spell = Callable[[Any], str]

_text: Spell = encode_basestring


@lru_cache(maxsize=256)
def speller(type_: Hashable) -> Spell:
    """Return the function that spells values of a type.

    Knows dataclasses of texts, integers, booleans, None, enumerations of texts, literals, tuples, lists and mappings
    from texts, and types with a pydantic PlainSerializer that makes a text of them.

    Raises:
        ValueError: For a type that may hold a float.
        TypeError: For any other type.
    """
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if origin is typing.Annotated:
        for note in arguments[1:]:
            if isinstance(note, PlainSerializer):
                return _through(note.func)
        return speller(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments)
    if origin is typing.Literal:
        return _one_of(tuple({type(value) for value in arguments}))
    if origin in (tuple, list):
        return _sequence(arguments)
    if origin is dict:
        return _mapping(arguments)
    if isinstance(type_, type):
        return _plain(type_)
    raise TypeError(f"no canonical JSON of {type_}")


def _plain(type_: type) -> Spell:
    if dataclasses.is_dataclass(type_):
        return _dataclass(type_)
    if issubclass(type_, enum.Enum):
        return {member: _text(member.value) for member in type_}.__getitem__
    if issubclass(type_, bool):
        return {True: "true", False: "false"}.__getitem__
    if issubclass(type_, float):
        raise ValueError(f"canonical JSON holds no floats, {type_.__name__} is one")
    if issubclass(type_, int):
        return int.__repr__
    if issubclass(type_, str):
        return _text
    if type_ is types.NoneType:
        return lambda _none: "null"
    raise TypeError(f"no canonical JSON of {type_.__name__}")


def _dataclass(type_: type) -> Spell:
    hints = typing.get_type_hints(type_, include_extras=True)
    later = sorted(name for name, hint in hints.items() if _is_later(hint))
    if not later:
        return _fields(type_, hints, sorted(hints))
    return _by_what_is_there(type_, hints, later)


def _by_what_is_there(type_: type, hints: dict[str, Any], later: list[str]) -> Spell:
    """Return what spells a value without those of its later fields that are None: a form for each combination."""
    forms: dict[tuple[bool, ...], Spell] = {(True,) * len(later): _fields(type_, hints, sorted(hints))}

    def spell(value: Any) -> str:
        there = tuple(getattr(value, name) is not None for name in later)
        form = forms.get(there)
        if form is None:
            left_out = {name for name, is_there in zip(later, there, strict=True) if not is_there}
            form = forms[there] = _fields(type_, hints, sorted(hints.keys() - left_out))
        return form(value)

    return spell


def _is_later(hint: Any) -> bool:
    """Return whether a field is left out where it is None: an older version of the format does not know it."""
    return any(getattr(note, "exclude_if", None) is not None for note in typing.get_args(hint)[1:])


def _fields(type_: type, hints: dict[str, Any], names: list[str]) -> Spell:
    form = "{" + ",".join(f"{_text(name)}:%s" for name in names) + "}"
    try:
        spellers = [speller(hints[name]) for name in names]
    except ValueError as error:
        raise ValueError(f"{error} in {type_.__name__}") from None
    if len(names) == 1:
        get, spell = attrgetter(names[0]), spellers[0]
        return lambda value: form % spell(get(value))
    get_all = attrgetter(*names)  # a tuple of all, without a call for each
    return lambda value: form % tuple([spell(part) for spell, part in zip(spellers, get_all(value), strict=True)])


def _through(serialise: Callable[..., Any]) -> Spell:
    return lambda value: _text(serialise(value))


def _one_of(types_: tuple[Any, ...]) -> Spell:
    """Return whichever of the types a value has: None, and one other or several that are told apart by their class."""
    some = [each for each in types_ if each is not types.NoneType]
    if len(some) == 1:
        spell = speller(some[0])
        return lambda value: "null" if value is None else spell(value)
    by_class = {each: speller(each) for each in types_}
    return lambda value: by_class[type(value)](value)


def _sequence(arguments: tuple[Any, ...]) -> Spell:
    if (len(arguments) == 2 and arguments[1] is Ellipsis) or len(arguments) == 1:
        spell = speller(arguments[0])
        return lambda values: "[" + ",".join([spell(value) for value in values]) + "]"
    spellers = [speller(each) for each in arguments]
    return lambda values: "[" + ",".join([s(value) for s, value in zip(spellers, values, strict=True)]) + "]"


def _mapping(arguments: tuple[Any, ...]) -> Spell:
    key, spell = speller(arguments[0]), speller(arguments[1])
    return lambda value: "{" + ",".join([f"{key(name)}:{spell(value[name])}" for name in sorted(value)]) + "}"
