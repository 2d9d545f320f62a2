"""Write docs/api.md, what `import curiosity` offers, from the docstrings and signatures in the source.

    python scripts/make_api.py
    python scripts/make_api.py --check

The second line writes nothing and fails if the file is not what would be written.
"""

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "api.md"
GROUPS = {
    "Clients": ("Client", "AsyncClient"),
    "Wallets": ("open_wallet", "new_wallet", "Contributor"),
    "What you hand in": ("Thing", "item", "SourceItem", "Trust", "ChainSettings"),
    "Pairs and receipts": ("PairOutcome", "Submitted", "Decision", "verify_receipt", "Proved"),
    "Searches": ("Answer", "Found", "Network"),
    "Rewards": ("Earnings", "Earning", "ClaimView", "EpochClaim", "ClaimStatus", "ClaimOutcome", "Claimed"),
    "Following a ledger": ("Followed", "Position"),
}
HEAD = """# Programming interface

Everything here is a name of `curiosity`: `import curiosity`, then `curiosity.Client`. A name is loaded when you ask
for it; none loads torch, and web3 is loaded by your first question about claims. The package is typed (`py.typed`).

An address, a digest and a key are `bytes`; amounts are whole numbers of the smallest unit (`wei`), scores and cosines
millionths (`micro`), times Unix seconds. Results are frozen dataclasses.

This page is written by `python scripts/make_api.py` from the source; do not edit it.
"""
ERRORS = """## Errors

All are in `curiosity.errors`, and all are a `CuriosityError`: `code` is stable, `what` says what happened with its
numbers, `remedy` what to do. Requests without an answer are repeated before an error is raised.

| error | |
|---|---|
"""


@dataclass(frozen=True)
class Source:
    """A module's source, with its syntax tree."""

    lines: list[str]
    tree: ast.Module

    @classmethod
    def of(cls, module: str) -> "Source":
        """Read a module of ours."""
        path = ROOT / Path(*module.split("."))
        text = (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()
        return cls(text.split("\n"), ast.parse(text))

    def comment(self, node: ast.stmt) -> str:
        """Return what stands behind a statement on its line."""
        line = self.lines[(node.end_lineno or node.lineno) - 1][node.end_col_offset :]
        return line.partition("#")[2].strip()

    def text(self, node: ast.expr) -> str:
        """Return what a text spells that may hold constants of its module."""
        if isinstance(node, ast.JoinedStr):
            return "".join(map(self.text, node.values))
        if isinstance(node, ast.FormattedValue):
            (value,) = [
                one.value
                for one in self.tree.body
                if isinstance(one, ast.AnnAssign) and ast.unparse(one.target) == ast.unparse(node.value)
            ]
            return self.text(value) if value is not None else ""
        return str(ast.literal_eval(node))

    def value(self, node: ast.expr) -> ast.expr:
        """Return what stands for a default: of a constant its value, if that is plain or made of plain values.

        The constant may be of this module or imported from another of ours.
        """
        if not isinstance(node, ast.Name):
            return node
        for one in self.tree.body:
            if isinstance(one, ast.ImportFrom) and str(one.module).startswith("curiosity."):
                original = [name.name for name in one.names if (name.asname or name.name) == node.id]
                if original:
                    found = Source.of(str(one.module)).value(ast.Name(original[0]))
                    return node if isinstance(found, ast.Name) else found
            targets = (
                one.targets if isinstance(one, ast.Assign) else [one.target] if isinstance(one, ast.AnnAssign) else []
            )
            held = one.value if isinstance(one, ast.Assign | ast.AnnAssign) else None
            if held is not None and [ast.unparse(target) for target in targets] == [node.id] and is_plain(held):
                return held
        return node


def is_plain(node: ast.expr) -> bool:
    """Return whether an expression shows all that it is: a number, a text, a tuple, or a call of plain values."""
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and all(map(is_plain, node.args)) and not node.keywords
    if isinstance(node, ast.Tuple):
        return all(map(is_plain, node.elts))
    if isinstance(node, ast.BinOp):
        return is_plain(node.left) and is_plain(node.right)
    return isinstance(node, ast.Constant)


def homes() -> dict[str, str]:
    """Return the module of each name, as `curiosity` imports them for type checkers."""
    found = {}
    for node in ast.walk(Source.of("curiosity").tree):
        if isinstance(node, ast.ImportFrom) and node.module not in (None, "curiosity", "importlib", "typing"):
            found |= {name.name: str(node.module) for name in node.names}
    return found


def render() -> str:
    """Return the page."""
    known = homes()
    listed = [name for names in GROUPS.values() for name in names]
    missing = sorted({*known, "CuriosityError"} ^ {*listed, "CuriosityError"})
    if missing:
        raise SystemExit(f"GROUPS and the names of curiosity differ: {', '.join(missing)}")
    parts = [HEAD]
    for title, names in GROUPS.items():
        parts.append(f"## {title}\n")
        parts += [entry for name in names for entry in describe(name, Source.of(known[name]))]
    return "\n".join(parts) + "\n" + ERRORS + "".join(errors()) + "\n"


def describe(name: str, source: Source) -> Iterator[str]:
    """Yield the paragraphs about one name."""
    body = source.tree.body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.ClassDef) and node.name == name:
            yield from describe_class(node, source)
        elif isinstance(node, ast.FunctionDef) and node.name == name:
            yield f"### {name}\n\n```python\n{signature(node, source)}\n```\n\n{prose(node)}\n"
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            text = following.value.value if isinstance(following, ast.Expr) else ""  # type: ignore[attr-defined]
            yield f"### {name}\n\n```python\n{ast.unparse(node)}\n```\n\n{text}\n"


def describe_class(node: ast.ClassDef, source: Source) -> Iterator[str]:
    """Yield the paragraphs about a class: what it is, its fields, its public methods."""
    made = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"]
    shown = f"```python\n{signature(made[0], source, node.name)}\n```\n\n" if made else ""
    yield f"### {node.name}\n\n{shown}{prose(node)}\n"
    rows = []
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and not ast.unparse(one.target).startswith("_"):
            value, said = one.value, source.comment(one)
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "setting":
                value, said = value.args[0], source.text(value.args[1])
            default = f" = {ast.unparse(source.value(value))}" if value is not None else ""
            rows.append((f"{ast.unparse(one.target)}: {ast.unparse(one.annotation)}{default}", said))
        elif isinstance(one, ast.Assign) and not ast.unparse(one.targets[0]).startswith("_"):
            rows.append((ast.unparse(one), source.comment(one)))
    if rows:
        cells = "".join(f"| `{field.replace('|', chr(92) + '|')}` | {text} |\n" for field, text in rows)
        yield f"| field | |\n|---|---|\n{cells}"
    for one in node.body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) and not one.name.startswith("_"):
            is_property = any(ast.unparse(mark) == "property" for mark in one.decorator_list)
            if is_property:
                returns = ast.unparse(one.returns) if one.returns else "None"
                yield f"#### {node.name}.{one.name}\n\n```python\n{one.name}: {returns}\n```\n\n{prose(one)}\n"
            else:
                yield f"#### {node.name}.{one.name}\n\n```python\n{signature(one, source)}\n```\n\n{prose(one)}\n"


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef, source: Source, name: str = "") -> str:
    """Return how a function is called; ``name`` is that of the class that it makes."""
    arguments = node.args
    own = [one for one in arguments.args if one.arg not in ("self", "cls")]
    shown = ast.arguments(
        arguments.posonlyargs, own, arguments.vararg, arguments.kwonlyargs,
        [one and source.value(one) for one in arguments.kw_defaults], arguments.kwarg,
        [source.value(one) for one in arguments.defaults],
    )  # fmt: skip
    is_generator = node.returns is not None and "AsyncGenerator" in ast.unparse(node.returns)
    word = "async def " if isinstance(node, ast.AsyncFunctionDef) and not is_generator else "def "
    returns = f" -> {ast.unparse(node.returns)}" if node.returns is not None and not name else ""
    begin, parts = f"{'' if name else word}{name or node.name}(", list(split(shown))
    text = f"{begin}{', '.join(parts)}){returns}"
    if len(text) <= 100:
        return text
    lines = "".join(f"    {part},\n" for part in parts)
    return f"{begin}\n{lines}){returns}"


def split(arguments: ast.arguments) -> Iterator[str]:
    """Yield the arguments one by one."""
    text = ast.unparse(arguments)
    if not text:
        return
    depth, start = 0, 0
    for place, sign in enumerate(text + ","):
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            yield re.sub(r"(?<=[^ ])=", " = ", text[start:place].strip(), count=1)
            start = place + 1


def prose(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """Return a docstring as Markdown, its sections as lists."""
    text = ast.get_docstring(node) or ""
    lines = re.sub(r"``([^`]+)``", r"`\1`", text).split("\n")
    out: list[str] = []
    section = ""
    for line in lines:
        if line in ("Args:", "Raises:", "Returns:", "Yields:"):
            section = line
            out += [f"**{line[:-1]}**", ""]
        elif section and line.startswith("    "):
            entry = line[4:]
            if section in ("Args:", "Raises:") and not entry.startswith(" "):
                name, _, rest = entry.partition(": ")
                out.append(f"- `{name}`: {rest}")
            else:
                out.append(f"  {entry.strip()}" if section in ("Args:", "Raises:") else entry)
        else:
            section = section if not line else ""
            out.append(line)
    return "\n".join(line.rstrip() for line in out).strip()


def errors() -> Iterator[str]:
    """Yield a row for each class of errors."""
    exported = Source.of("curiosity.errors")
    names = [name.name for node in exported.tree.body if isinstance(node, ast.ImportFrom) for name in node.names]
    for node in Source.of("curiosity.protocol.errors").tree.body:
        if isinstance(node, ast.ClassDef) and node.name in names and node.name != "Fault":
            yield f"| `{node.name}` | {(ast.get_docstring(node) or '').partition(chr(10) + chr(10))[0]} |\n".replace(
                "``", "`"
            )


def main() -> int:
    """Write the page, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="Write nothing; fail if the page is not current.")
    check = parser.parse_args().check
    text = render()
    if not check:
        PAGE.write_text(text)
        return 0
    if PAGE.exists() and PAGE.read_text() == text:
        return 0
    print(f"{PAGE.relative_to(ROOT)} is not current: run python scripts/make_api.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
