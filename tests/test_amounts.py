"""Amounts for people: rounded where one glances, exact where a single wei matters, and read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curiosity.client.amounts import parse_amount, show_coins, show_exactly, show_tokens


@pytest.mark.parametrize(
    ("amount_wei", "rounded", "exact"),
    [
        (0, "0.000000 CURIO", "0.000000 CURIO"),
        (1, "under 0.000001 CURIO", "0.000000000000000001 CURIO"),
        (10**12, "0.000001 CURIO", "0.000001 CURIO"),
        (15 * 10**17, "1.500000 CURIO", "1.500000 CURIO"),
        (10**18 - 1, "0.999999 CURIO", "0.999999999999999999 CURIO"),
    ],
)
def test_amounts_are_rounded_down_or_exact(amount_wei: int, rounded: str, exact: str) -> None:
    assert (show_tokens(amount_wei), show_exactly(amount_wei)) == (rounded, exact)


def test_coins_have_nine_decimals() -> None:
    assert show_coins(1_234_567_890_123_456_789) == "1.234567890 coins"


@given(st.integers(1, 10**60))
def test_an_exact_amount_is_read_back_as_it_was(amount_wei: int) -> None:
    assert parse_amount(show_exactly(amount_wei).removesuffix(" CURIO")) == amount_wei
