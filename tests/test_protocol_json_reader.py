"""The one reader of JSON from outside: what it takes equals Python's own, and nothing else gets through."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curiosity.protocol.json_reader import MAX_DEPTH, JsonError, read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


@given(VALUES)
def test_what_others_write_is_read_as_python_reads_it(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        try:
            data = text.encode()
        except UnicodeEncodeError:
            continue
        assert read_json(data) == json.loads(text)


@given(st.text(alphabet='[]{}"\\a,:0 ', max_size=200))
def test_the_count_of_depth_is_that_of_a_parser(text: str) -> None:
    """What parses is refused only if it is really too deep."""
    try:
        value = json.loads(text)
    except ValueError:
        with pytest.raises(JsonError):
            read_json(text)
        return
    assert read_json(text, max_depth=200) == value


@pytest.mark.parametrize("bracket", ["[", "{", '{"a":', "[[{", '"]"['])
def test_depth_is_bounded_whatever_else_there_is(bracket: str) -> None:
    with pytest.raises(JsonError):
        read_json(bracket * 65_536)
    assert read_json("[" * MAX_DEPTH + "]" * MAX_DEPTH) is not None
    with pytest.raises(JsonError, match="brackets"):
        read_json("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))
    assert read_json(json.dumps("[" * 100_000)) == "[" * 100_000  # in a text they are no brackets


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbf{}", b"\xff", b"NaN", b"[Infinity]", b"9" * 5000, b"", b"{", b'"\\', b'"\\"' * 50_000]
)
def test_what_is_not_json_is_refused_without_showing_it(data: bytes) -> None:
    with pytest.raises(JsonError) as caught:
        read_json(data)
    assert len(str(caught.value)) < 120
    with pytest.raises(JsonError, match="at most"):
        read_json(b"[]" * 10, max_bytes=10)


def test_brackets_end_no_process_even_where_a_library_raised_the_recursion_limit() -> None:
    """Both arms: Python's own reader overflows the C stack there."""
    code = "import sys; sys.setrecursionlimit(100_000); d = b'[' * 200_000\n"
    plain = subprocess.run([sys.executable, "-c", code + "import json; json.loads(d)"], capture_output=True)
    assert plain.returncode < 0  # ended by a signal
    ours = (
        "from curiosity.protocol.json_reader import read_json, JsonError\n"
        "try: read_json(d)\nexcept JsonError: print('refused')"
    )
    assert subprocess.run([sys.executable, "-c", code + ours], capture_output=True).stdout == b"refused\n"
