"""What several tests need is written once: no two functions below ``tests`` do the same."""

import ast
import copy

import pytest

from tests.material.source import ROOT, tracked

FEWEST_STATEMENTS = 6
"""A shorter body may stand twice; that of a fixture may not, however short it is."""
Function = ast.FunctionDef | ast.AsyncFunctionDef


class _Alike(ast.NodeTransformer):
    """Takes away in what two bodies may differ and still do the same: names of their own, types, texts and numbers."""

    def __init__(self, own: set[str]) -> None:
        self._seen: dict[str, str] = {}
        self._own = own

    def _name(self, name: str) -> str:
        return self._seen.setdefault(name, f"_{len(self._seen)}") if name in self._own else name

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self._name(node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self._name(node.arg))

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return node if node.value is None else ast.Constant(type(node.value).__name__)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        plain = ast.Assign([node.target], node.value) if node.value else ast.Expr(node.target)
        return self.generic_visit(plain)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        node.name = self._name(node.name) if node.name else None
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name, node.returns = self._name(node.name), None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.name, node.returns = self._name(node.name), None
        return self.generic_visit(node)


def own_names(function: Function) -> set[str]:
    """What a function calls its parameters, variables, inner functions and caught errors."""
    names = set()
    for node in ast.walk(function):
        match node:
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.ExceptHandler(name=str(name)):
                names.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if node is not function:
                names.add(name)
    return names


def essence(function: Function) -> str:
    """The body of a function in a spelling that all functions share which do the same; empty if it may stand twice."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    statements = sum(isinstance(node, ast.stmt) for part in body for node in ast.walk(part))
    is_fixture = any("fixture" in ast.unparse(one) for one in function.decorator_list)
    if not body or (statements < FEWEST_STATEMENTS and not is_fixture):
        return ""
    plain, alike = copy.deepcopy(function), _Alike(own_names(function))
    alike.visit(plain.args)  # so that parameters are numbered in their order
    return "\n".join(ast.dump(alike.visit(part)) for part in plain.body[-len(body) :])


def twins(trees: dict[str, ast.Module]) -> list[list[str]]:
    """Places of functions whose bodies do the same."""
    places: dict[str, list[str]] = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, Function) and (key := essence(node)):
                places.setdefault(key, []).append(f"{path}:{node.lineno}: {node.name}")
    return [found for found in places.values() if len(found) > 1]


def read_tests() -> dict[str, ast.Module]:
    paths = [path for path in tracked() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] == "tests"]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def test_no_function_of_the_tests_stands_twice() -> None:
    assert twins(read_tests()) == [], "Put it into tests/material once, or make the two tests one with parameters."


ONE = """
def check(text: str) -> int:
    \"\"\"Read it.\"\"\"
    try:
        found = parse(text)
    except ValueError as error:
        assert error.args
        return 0
    for number in found:
        assert number > 3
    return len(found)
"""
FIXTURE = "@pytest.fixture\ndef net() -> Iterator[Network]:\n    yield from start_network('anvil')\n"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (ONE, ONE),
        (ONE, ONE.replace("check", "test_it").replace("found", "numbers").replace("text", "data")),
        (ONE, ONE.replace("def", "async def").replace("> 3", "> 17").replace('    """Read it."""\n', "")),
        (ONE, "class Inner:\n" + "\n".join(f"    {line}" for line in ONE.splitlines())),
        (FIXTURE, FIXTURE.replace("net()", "anvil()")),
        (FIXTURE, FIXTURE.replace("pytest.fixture", "pytest.fixture(scope='module')").replace("anvil", "eth-tester")),
    ],
)
def test_a_function_that_stands_twice_would_be_found(one: str, other: str) -> None:
    planted = {"tests/test_a.py": ast.parse(one), "tests/test_b.py": ast.parse(other)}
    assert len(twins(planted)) == 1


@pytest.mark.parametrize(
    "other",
    [
        ONE.replace("number > 3", "number < 3"),
        ONE.replace("parse(", "read("),
        ONE.replace("len(found)", "len(text)"),
        ONE.replace("        assert error.args\n", ""),
        FIXTURE.replace("start_network", "paid_network"),
    ],
)
def test_what_does_something_else_and_what_is_short_may_stand_there(other: str) -> None:
    short = "def shown(text: str) -> str:\n    lines = text.splitlines()\n    return lines[0]\n"
    planted = {"tests/test_a.py": ONE + FIXTURE + short, "tests/test_b.py": other + short}
    assert twins({path: ast.parse(text) for path, text in planted.items()}) == []
