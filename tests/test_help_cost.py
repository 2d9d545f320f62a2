"""Help is cheap: no command loads what its help does not need. Counted in imports, since no clock decides a test."""

from functools import cache

import pytest

from benchmarks.help_cost import HEAVY, MOST, HelpCost, commands, measure
from curiosity.client.outcome import KEPT_OUTCOMES
from curiosity.protocol.takedown import TakedownReason
from node import choices


@cache
def bare() -> HelpCost:
    return measure("a bare click program", "", (), 1)


@pytest.mark.parametrize(("name", "module", "words"), [*commands()])
def test_help_loads_no_heavy_library_and_few_modules(name: str, module: str, words: tuple[str, ...]) -> None:
    cost = measure(name, module, words, 1)
    assert cost.heavy == ()
    assert cost.modules <= MOST * bare().modules


def test_what_a_command_loads_is_seen() -> None:
    """The other arm: a program that imports such a library is found out, and costs more modules."""
    code = "import click, pydantic, aiohttp\n@click.command()\ndef main(): 'x'\nmain(standalone_mode=False)"
    cost = measure("x", "", (), 1, code=code)
    assert {"aiohttp", "pydantic"} <= {*cost.heavy} <= {*HEAVY}
    assert cost.modules > MOST * bare().modules


def test_the_words_that_help_shows_are_the_library_s() -> None:
    assert choices.KEPT_OUTCOMES == KEPT_OUTCOMES
    assert tuple(reason.value.lower() for reason in TakedownReason) == choices.REASONS
