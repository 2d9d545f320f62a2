"""A count agrees with its noun, in every message that counts."""

import ast
import re
from pathlib import Path

import pytest

from curiosity.protocol.counts import noun_of, number_of

ROOT = Path(__file__).parent.parent
PROGRAMS = ("node", "validator", "witness")
PLURALS = "pairs|epochs|items|files|entries|receipts|proofs|accounts|logs|signatures|witnesses"
COUNTED = re.compile(rf"\{{[^{{}}:]+\}} (?:accepted |refused |trusted )?(?:{PLURALS})\b")
NEVER_ONE = ("pairs wait", "pairs accepted, {sum", "accepted pairs were still", "of_steps")
"""Of texts whose number is never one: those of a demo, and those of a full queue."""


@pytest.mark.parametrize(
    ("count", "noun", "shown"),
    [
        (1, "pair", "1 pair"),
        (0, "pair", "0 pairs"),
        (2, "accepted pair", "2 accepted pairs"),
        (3, "entry", "3 entries"),
        (1, "entry", "1 entry"),
        (4, "day", "4 days"),
        (2, "trusted witness", "2 trusted witnesses"),
        (2, "hash", "2 hashes"),
        (5, "leaf", "5 leaves"),
        (2, "closed epoch", "2 closed epochs"),
        (2, "batch", "2 batches"),
    ],
)
def test_a_count_agrees_with_its_noun(count: int, noun: str, shown: str) -> None:
    assert number_of(count, noun) == shown
    assert f"{count} {noun_of(count, noun)}" == shown


def counted_without_agreement(path: Path) -> list[str]:
    """Return the texts of a module that put a number before a plural, whatever the number is."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    texts = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    return [f"{path.name}: {text}" for text in texts if COUNTED.search(text)]


def test_no_message_of_a_program_puts_any_number_before_a_plural() -> None:
    found = [
        text
        for program in PROGRAMS
        for path in sorted((ROOT / program).rglob("*.py"))
        for text in counted_without_agreement(path)
        if not any(words in text for words in NEVER_ONE)
    ]
    assert found == []
