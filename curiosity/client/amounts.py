"""Amounts for people: whole units with their name in place of wei. `--json` keeps wei."""

from typing import Final

UNIT: Final = "CURIO"
COIN: Final = "coins"
"""The chain's own coin, which pays for gas; what it is called differs from chain to chain."""
_DECIMALS: Final = 18
_WHOLE: Final = 10**_DECIMALS


def show_tokens(amount_wei: int, unit: str = UNIT) -> str:
    """Return an amount in whole units with six decimals, rounded down; what is less than the last shows as such."""
    whole, rest = divmod(amount_wei, _WHOLE)
    six = rest // 10 ** (_DECIMALS - 6)
    if amount_wei and not whole and not six:
        return f"under 0.000001 {unit}"
    return f"{whole}.{six:06} {unit}"


def show_exactly(amount_wei: int, unit: str = UNIT) -> str:
    """Return an amount in whole units with all of its decimals, six at least: where a single wei matters."""
    whole, rest = divmod(amount_wei, _WHOLE)
    return f"{whole}.{f'{rest:0{_DECIMALS}}'.rstrip('0').ljust(6, '0')} {unit}"


def show_coins(amount_wei: int) -> str:
    """Return an amount of the chain's own coin, to nine decimals, rounded down."""
    whole, rest = divmod(amount_wei, _WHOLE)
    return f"{whole}.{rest // 10 ** (_DECIMALS - 9):09} {COIN}"


def parse_amount(text: str) -> int:
    """Return the wei of an amount in whole units, such as ``1.5``.

    Raises:
        ValueError: With a sentence that says why.
    """
    whole, point, rest = text.strip().partition(".")
    digits = whole + rest
    if not digits.isascii() or not digits.isdecimal() or not whole or (point and not rest):
        raise ValueError(f"{text!r} is not an amount such as 12 or 1.5")
    if len(rest) > _DECIMALS:
        raise ValueError(f"{text!r} has {len(rest)} decimals, at most {_DECIMALS} exist")
    if len(whole) > 60:
        raise ValueError(f"an amount of {len(whole)} digits is more than there is of anything")
    amount = int(whole) * _WHOLE + int((rest or "0").ljust(_DECIMALS, "0"))
    if amount == 0:
        raise ValueError("the amount is 0")
    return amount
