"""Print docs/errors.md: every error code of the product, made from the places in the code that raise it.

    python scripts/make_errors.py > docs/errors.md

A code is a literal in a call of an error class of `curiosity.protocol.errors`, or of a function that hands its own
parameter ``code`` on to one.
"""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("curiosity", "node", "validator", "trainer", "witness", "contracts")
sys.path.insert(0, str(ROOT))

from curiosity.protocol import errors  # noqa: E402 - the checkout that this script is part of
from curiosity.protocol.verdict import Reason  # noqa: E402

CODE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)*")
CLASSES = {
    name: cls for name, cls in vars(errors).items() if isinstance(cls, type) and issubclass(cls, errors.CuriosityError)
}
MEANING = {
    "CuriosityError": "failed",
    "Rejected": "refused: what was sent cannot be taken as it is",
    "Overloaded": "busy: the same request may come again later",
    "ProofError": "a proof, signature or hash does not hold",
    "ConfigError": "settings or arguments",
    "WalletError": "wallets, keys and passwords",
    "SourceError": "files to read pairs from",
    "CheckpointError": "checkpoints",
    "StoreError": "the validator's store",
    "ChainError": "the chain",
    "NotYet": "too early; the same command works later",
    "ServiceError": "a service that does not answer, or not as it should",
}


@dataclass
class Found:
    """What the code says about one error code."""

    families: set[str] = field(default_factory=set)
    remedies: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)


def read_trees() -> dict[str, ast.Module]:
    """Return the syntax trees of the product's files by path."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = [name for name in listed.splitlines() if name.split("/")[0] in PACKAGES and (ROOT / name).is_file()]
    return {name: ast.parse((ROOT / name).read_text(encoding="utf-8")) for name in names}


def called(node: ast.Call) -> str:
    """Return the last name of what is called."""
    if isinstance(node.func, ast.Attribute):
        return node.func.attr
    return node.func.id if isinstance(node.func, ast.Name) else ""


def makers(trees: dict[str, ast.Module]) -> dict[str, tuple[str, int]]:
    """Return the functions that take a ``code`` and make an error: its family, and the place of ``code``."""
    found: dict[str, tuple[str, int]] = {name: (name, 0) for name in CLASSES}
    while True:
        before = len(found)
        for tree in trees.values():
            for function in ast.walk(tree):
                if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or function.name in found:
                    continue
                names = [one.arg for one in function.args.args if one.arg not in ("self", "cls")]
                if "code" not in names:
                    continue
                for node in ast.walk(function):
                    if not isinstance(node, ast.Call) or called(node) not in found:
                        continue
                    family, place = found[called(node)]
                    if len(node.args) > place and ast.unparse(node.args[place]) == "code":
                        found[function.name] = (family, names.index("code"))
        if len(found) == before:
            return found


def words(node: ast.expr) -> str:
    """Return a text as people read it, with … for what is filled in; empty if it is not written where it is used."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(one.value) if isinstance(one, ast.Constant) else "…" for one in node.values)
    return ""


def collect() -> dict[str, Found]:
    """Return every error code and what is known of it."""
    trees = read_trees()
    known = makers(trees)
    table: dict[str, Found] = defaultdict(Found)
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or called(node) not in known:
                continue
            family, place = known[called(node)]
            code = words(node.args[place]) if len(node.args) > place else ""
            if not CODE.fullmatch(code) or path == "curiosity/protocol/errors.py":
                continue
            found = table[code]
            found.families.add(family)
            found.modules.add(path)
            if len(node.args) > place + 2 and (remedy := words(node.args[place + 2])):
                found.remedies.add(remedy)
    return dict(sorted(table.items()))


def endless(trees: dict[str, ast.Module]) -> list[str]:
    """Return the places of remedies that do not end a sentence."""
    known = makers(trees)
    found = []
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called(node) in known:
                place = known[called(node)][1] + 2
                pending = [*node.args[place : place + 1], *(one.value for one in node.keywords if one.arg == "remedy")]
                while pending:
                    one = pending.pop()
                    if isinstance(one, ast.IfExp):
                        pending += [one.body, one.orelse]
                    elif (text := words(one)) and text.rstrip()[-1:] not in ".!?":
                        found.append(f"{path}:{one.lineno}: {text}")
    return found


def cell(text: str) -> str:
    """Return a text that stays within its cell."""
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def render(table: dict[str, Found]) -> str:
    """Return the document."""
    lines = [
        "# Error codes",
        "",
        "Made by `python scripts/make_errors.py > docs/errors.md` from the code; do not edit it by hand.",
        "",
        "Every error has a stable code, a sentence with its numbers, and a remedy. On the command line the exit",
        "status says the family; `--json` prints `{\"error\": {code, what, remedy, fault}}`. A `…` stands for what",
        "is filled in.",
        "",
        "| family | exit status | codes |",
        "|---|---|---|",
    ]  # fmt: skip
    for name, cls in CLASSES.items():
        count = sum(name in found.families for found in table.values())
        if count:
            lines.append(f"| `{name}`: {MEANING[name]} | {int(cls.exit_code)} | {count} |")
    lines += [
        "",
        f"Reasons of verdicts, which are no errors: {', '.join(f'`{one.value}`' for one in Reason)}.",
        "",
        f"## All {len(table)} codes",
        "",
        "| code | family | what to do | raised in |",
        "|---|---|---|---|",
    ]
    for code, found in table.items():
        remedies = " / ".join(sorted(cell(one) for one in found.remedies))
        families = ", ".join(sorted(found.families))
        modules = ", ".join(f"`{one.removesuffix('.py')}`" for one in sorted(found.modules))
        lines.append(f"| `{code}` | {families} | {remedies} | {modules} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render(collect()))
