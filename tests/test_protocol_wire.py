"""JSON on the wire: one canonical form, no floats in it, and answers that read back to the same value."""

import json
from dataclasses import dataclass

import pytest

from protocol.messages import Decision, ErrorMessage, Found
from protocol.receipt import Receipt
from protocol.verdict import Opening, Outcome, Reason, Verdict
from protocol.wire import canonical_json, encode, parse, to_json, to_plain

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
