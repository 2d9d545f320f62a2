"""What counts as text does not depend on the interpreter's Unicode tables."""

import sys
import unicodedata

import numpy as np
import pytest

from curiosity.embedding.modalities import decode, unicode
from curiosity.protocol.errors import Rejected

# Characters that this interpreter knows: what Unicode promises never to change is compared on these.
KNOWN = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) != "Cn"]
SAME = sys.version_info < (3, 13)  # later ones know characters that the table does not


def test_every_character_is_taken_or_refused_as_by_the_interpreter_that_knows_it() -> None:
    for char in KNOWN:
        is_refused = unicode.find_refused(char) is not None
        if SAME or not is_refused:
            assert is_refused == (unicodedata.category(char) in ("Cc", "Cs")), hex(ord(char))


def test_composed_form_is_that_of_unicode_for_every_character_and_its_parts() -> None:
    for char in KNOWN:
        for text in (char, unicodedata.normalize("NFD", char), f"a{char}", f"e\u0327{char}\u0301"):
            if SAME or unicode.find_refused(text) is None:
                assert unicode.compose(text) == unicodedata.normalize("NFC", text), ascii(text)


def test_composed_form_of_random_marks_and_letters() -> None:
    random = np.random.default_rng(4)
    marks = [char for char in KNOWN if unicodedata.combining(char)]
    hard = [char for char in KNOWN if unicodedata.decomposition(char) or unicodedata.combining(char)]
    hard += [chr(code) for code in (*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11A7, 0x11C3), 0xAC00)]
    for _ in range(4_000):
        text = "".join(random.choice([*marks[:40], "e", "A", "\u1100", "\u1161", "\u11a8"], 4)) + "".join(
            hard[at] for at in random.integers(0, len(hard), 4)
        )
        if SAME or unicode.find_refused(text) is None:
            assert unicode.normalize(text) == " ".join(unicodedata.normalize("NFC", text).split()), ascii(text)


def test_white_space_is_what_it_was() -> None:
    for code in range(0x10000):
        if not 0xD800 <= code <= 0xDFFF:
            text = f"{chr(code)}a{chr(code)}{chr(code)}b"
            assert (unicode.normalize(text) == "a b") == chr(code).isspace(), hex(code)


def test_what_unicode_15_added_is_text_and_what_16_added_is_not() -> None:
    assert unicode.VERSION == "15.1.0"
    assert decode("text", "a \U0001fae8 face".encode(), "text/plain").tobytes().decode() == "a \U0001fae8 face"
    # U+1E4EE (class 220) and U+1E4EC (class 232) came with 15.0: an older table does not put them in order.
    assert unicode.compose("a\U0001e4ec\U0001e4ee") == "a\U0001e4ee\U0001e4ec"
    with pytest.raises(Rejected) as refused:
        decode("text", "a \U0001fae9 face".encode(), "text/plain")
    assert refused.value.code == "TEXT_CONTROL_CHARACTER"
