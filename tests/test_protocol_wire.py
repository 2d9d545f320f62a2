"""JSON on the wire: one canonical form, no floats in it, and answers that read back to the same value."""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

import curiosity.protocol
from curiosity.protocol.entry import PairEntry
from curiosity.protocol.errors import Fault
from curiosity.protocol.messages import Decision, ErrorMessage, Found
from curiosity.protocol.receipt import Receipt
from curiosity.protocol.spelling import speller
from curiosity.protocol.takedown import SignedTakedown
from curiosity.protocol.verdict import Measurement, Opening, Outcome, Reason, Verdict
from curiosity.protocol.wire import (
    Bytes20,
    Bytes32,
    ShortText,
    Uint53,
    canonical_json,
    encode,
    from_hex,
    parse,
    to_json,
    to_plain,
)

OPENING = Opening(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, 'line\nbreak, "quotes", \x7f, ü and 猫')
DECISION = Decision(
    Receipt('{"a":"ü"}', 7, "note\n\n\u2014 x y\n"),
    Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, b"\x04" * 32),
    OPENING,
)
MESSAGES = [
    OPENING,
    DECISION,
    ErrorMessage("CODE", "what", "remedy", "contributor"),
    Found(1, b"\x05" * 32, "text", "text/plain", -3, "CC0-1.0", None, "猫"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_an_answer_reads_back_and_has_one_canonical_form(message: object) -> None:
    plain = json.dumps(to_plain(message), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert encode(message) == canonical_json(to_plain(message)) == plain
    assert parse(type(message), to_json(message)) == parse(type(message), encode(message)) == message
    assert encode(parse(type(message), to_json(message))) == plain


@pytest.mark.parametrize(
    "text",
    ["0x" + digits for digits in ("ab" * 19 + "a", "ab" * 20 + "a", "AB" * 20, "ab" * 19 + " a", "ab" * 19 + "  ")]
    + ["0X" + "ab" * 20, "ab" * 21, "0x" + "\u0664" * 40, "0x" + "zz" * 20, ""],
)
def test_bytes_have_one_spelling(text: str) -> None:
    assert from_hex("0x" + "ab" * 20, 20) == b"\xab" * 20
    with pytest.raises(ValueError, match="expected 0x and 40 lower-case hex digits"):
        from_hex(text, 20)


class Colour(StrEnum):
    RED = "red"
    ODD = 'a "colour"\n\u2028'


@dataclass(frozen=True)
class Small:
    b: int
    a: bool


@dataclass(frozen=True)
class Other:
    z: Bytes20


@dataclass(frozen=True)
class Everything:
    """Each kind of field that a protocol value has, in no order."""

    text: ShortText
    number: Uint53
    flag: bool
    digest: Bytes32 | None
    colour: Colour
    kind: Literal["this", "that"]
    many: tuple[Small, ...]
    two: tuple[int, str]
    either: Small | Other
    named: dict[str, tuple[str, ...]]
    alone: Annotated[list[Bytes20], "a note that says nothing"]
    maybe: Small | None = None
    version: Literal[2] = 2


texts = st.text(max_size=12)
smalls = st.builds(Small, st.integers(-(2**70), 2**70), st.booleans())
everything = st.builds(
    Everything,
    text=texts,
    number=st.integers(0, 2**53 - 1),
    flag=st.booleans(),
    digest=st.none() | st.binary(min_size=32, max_size=32),
    colour=st.sampled_from(Colour),
    kind=st.sampled_from(["this", "that"]),
    many=st.lists(smalls, max_size=3).map(tuple),
    two=st.tuples(st.integers(), texts),
    either=smalls | st.builds(Other, st.binary(min_size=20, max_size=20)),
    named=st.dictionaries(texts, st.lists(texts, max_size=2).map(tuple), max_size=3),
    alone=st.lists(st.binary(min_size=20, max_size=20), max_size=2),
    maybe=st.none() | smalls,
)


@given(value=everything)
@settings(max_examples=200, deadline=None)
def test_a_value_is_spelled_as_its_plain_form_would_be(value: Everything) -> None:
    plain = TypeAdapter(Everything).dump_python(value, mode="json")
    assert encode(value) == json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def protocol_values() -> Iterator[type]:
    """Every dataclass of the protocol that can be on the wire."""
    for module in pkgutil.iter_modules(curiosity.protocol.__path__):
        for value in vars(importlib.import_module(f"curiosity.protocol.{module.name}")).values():
            if isinstance(value, type) and is_dataclass(value) and hasattr(value, "__pydantic_config__"):
                yield value


def test_every_value_on_the_wire_can_be_spelled() -> None:
    spelled = {type_ for type_ in protocol_values() if callable(speller(type_))}
    assert {PairEntry, Opening, Decision, Receipt, SignedTakedown} <= spelled
    with pytest.raises(TypeError, match="no canonical JSON of bytes"):
        speller(bytes)


@pytest.mark.parametrize("fault", [None, *Fault])
def test_an_entry_is_spelled_as_it_always_was(fault: Fault | None) -> None:
    """Spelled out once by hand: leaves are for ever."""
    verdict = Verdict(Outcome.GREY, Reason.GREY_ZONE, b"\x01" * 32, fault, True, 9_007_199_254_740_991)
    entry = PairEntry(b"\x02" * 32, b"\x03" * 20, b"\x04" * 65, "image-text", "CC0-1.0", verdict, b"\x05" * 32)
    blamed = "null" if fault is None else f'"{fault.value}"'
    assert encode(entry).decode() == (
        f'{{"commitment":"0x{"05" * 32}","contributor":"0x{"03" * 20}","kind":"pair","license":"CC0-1.0",'
        f'"modalities":"image-text","pair":"0x{"02" * 32}","signature":"0x{"04" * 65}","v":2,'
        f'"verdict":{{"checkpoint":"0x{"01" * 32}","curiosity_micro":9007199254740991,"fault":{blamed},"novel":true,'
        '"outcome":"grey","reason":"GREY_ZONE"}}'
    )


def test_what_is_committed_to_is_the_opening_without_its_salt() -> None:
    measured = Measurement(*range(9), *(bytes([n]) * 32 for n in range(4)))
    for opening in (OPENING, Opening(b"\x01" * 32, bytes(32), bytes(32), ',"salt":"0x', measured)):
        commitment, whole = opening.seal()
        rest = canonical_json({name: value for name, value in to_plain(opening).items() if name != "salt"})
        assert commitment == sha256(b"curiosity/opening/1\0" + opening.salt + rest).digest()
        assert whole == canonical_json(to_plain(opening))


@dataclass(frozen=True)
class Measured:
    name: str
    ratio: float | None = None


def test_a_type_that_may_hold_a_float_has_no_canonical_form() -> None:
    """Even where it holds none: what is signed must not depend on how somebody prints 0.1."""
    with pytest.raises(ValueError, match="no floats"):
        encode(Measured("half", 0.5))
    with pytest.raises(ValueError, match="no floats"):
        encode(Measured("none"))
    for value in (0.5, [1, [0.5]], {"a": {"b": float("nan")}}):
        with pytest.raises(ValueError, match="no floats"):
            canonical_json(value)
