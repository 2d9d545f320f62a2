"""docs/errors.md is what the code says, and every remedy is a sentence."""

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def make_errors() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_errors", ROOT / "scripts/make_errors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_committed_table_of_error_codes_is_that_of_the_code(make_errors: ModuleType) -> None:
    table = make_errors.collect()
    assert len(table) > 400
    assert (ROOT / "docs/errors.md").read_text() == make_errors.render(table), (
        "run: python scripts/make_errors.py > docs/errors.md"
    )


def test_every_remedy_ends_with_a_stop(make_errors: ModuleType) -> None:
    assert make_errors.endless(make_errors.read_trees()) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('raise ConfigError("A_B", "what", "Do it")', 1),
        ('raise ConfigError("A_B", "what", f"Do {it}")', 1),
        ('raise ConfigError("A_B", "what", "Do it." if x else "Do that")', 1),
        (
            'def no(code, what, remedy):\n    return ConfigError(code, what, remedy)\nno("A_B", "what", "Do it")',
            1,
        ),
        ('raise ConfigError("A_B", "what", "Do it.")', 0),
    ],
)
def test_a_remedy_without_a_stop_would_be_found(make_errors: ModuleType, code: str, found: int) -> None:
    assert len(make_errors.endless({"x.py": ast.parse(code)})) == found
