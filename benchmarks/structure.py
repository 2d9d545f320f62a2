"""The structure of the code: packages, arrows between them, circles, and the files that two walks through it enter.

    python -m benchmarks.structure [--tree DIR] [--walks] [--json FILE]

``--tree`` is a checkout to look at, this one by default; one of the layout before ``curiosity/`` works too. An arrow is
an import of one package by another, and a circle is a set of modules that import each other, wherever the import stands
in a file. ``--walks`` runs a network from that checkout (chain, contracts, validator) and counts the product
files whose code a real `curiosity submit` and a real `curiosity claim` enter, and how often the way comes back to a
file that it had left.
"""

import argparse
import ast
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curiosity.sources.made.digits import make_digits

ROOT = Path(__file__).resolve().parent.parent
_NO_PRODUCT = {"tests", "benchmarks", "fuzz", "scripts", "deploy", "docs"}
_TRACER = Path(__file__).with_name("structure_trace.py")
_START_LIMIT_S = 600.0  # a safety stop; the walk fails when it fires


def read_modules(tree: Path) -> dict[str, ast.Module]:
    """Return the syntax trees of the product's modules by dotted name."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=tree, capture_output=True, text=True, check=True).stdout
    files = [Path(line) for line in listed.splitlines() if line.split("/")[0] not in _NO_PRODUCT and "/" in line]
    return {
        ".".join(file.with_suffix("").parts).removesuffix(".__init__"): ast.parse((tree / file).read_text())
        for file in files
    }


def imports(name: str, module: ast.Module, known: Mapping[str, ast.Module]) -> Iterator[str]:
    """Yield our modules that one imports, inside functions and for types too."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found = [full if (full := f"{node.module}.{alias.name}") in known else node.module for alias in node.names]
        else:
            continue
        yield from (one for one in found if one in known and one != name)


def package_of(name: str) -> str:
    """Return the package that a module belongs to: the first name, in the library the first two."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "curiosity" else parts[0]


def find_circles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components of more than one module (Tarjan, 1972), sorted."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(edges[name]):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            at = stack.index(name)
            if len(stack) - at > 1:
                found.append(sorted(stack[at:]))
            del stack[at:]

    for name in sorted(edges):
        if name not in order:
            visit(name)
    return sorted(found)


def describe(tree: Path) -> dict[str, Any]:
    """Return files, lines and arrows of every package of a checkout, and its circles of modules."""
    modules = read_modules(tree)
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    longest: Counter[str] = Counter()
    arrows: dict[str, set[str]] = {}
    loads: dict[str, set[str]] = {}
    for name, module in modules.items():
        package = package_of(name)
        path = tree / (name.replace(".", "/") + ".py")
        text = (path if path.is_file() else tree / name.replace(".", "/") / "__init__.py").read_text()
        count = len(text.splitlines())
        files[package] += 1
        lines[package] += count
        longest[package] = max(longest[package], count)
        others = {package_of(one) for one in imports(name, module, modules)} - {package, "curiosity"}
        arrows.setdefault(package, set()).update(others)
        loads[name] = set(imports(name, module, modules))
    return {
        "packages": {
            package: {
                "files": files[package],
                "lines": lines[package],
                "longest_file": longest[package],
                "imports": sorted(arrows[package]),
            }
            for package in sorted(files)
        },
        "files": sum(files.values()),
        "lines": sum(lines.values()),
        "arrows": sum(len(others) for others in arrows.values()),
        "circles": find_circles(loads),
    }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class _Network:
    """A chain, contracts and a validator of a checkout, up while the block runs."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self.tree, self.folder = tree, folder
        self.environment = {**os.environ, "PYTHONPATH": str(tree), "HOME": str(folder)}

    def __enter__(self) -> "_Network":
        ports = [_free_port(), _free_port()]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "node.cli", "up", "--port", str(ports[0]), "--chain-port", str(ports[1]),
             "--folder", str(self.folder / "net"), "--epoch-s", "5"],
            cwd=self.tree, env=self.environment, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        told = []
        for line in self.process.stderr or ():
            told.append(line)
            if line.startswith("Running"):
                break
        else:
            raise SystemExit("".join(told))
        threading.Thread(target=self._drain, daemon=True).start()
        self.options = ["--url", f"http://127.0.0.1:{ports[0]}", "--home", str(self.folder / "home")]
        self.environment["CURIOSITY_CHAIN__RPC_URL"] = f"http://127.0.0.1:{ports[1]}"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(_START_LIMIT_S)

    def _drain(self) -> None:
        for _ in self.process.stderr or ():
            pass

    def run(self, *words: str, trace: Path | None = None, may_fail: bool = False) -> str:
        """Run a command of the checkout and return what it prints; with ``trace`` its way goes to that file."""
        start = (
            [sys.executable, str(_TRACER), str(trace), str(self.tree)] if trace else [sys.executable, "-m", "node.cli"]
        )
        done = subprocess.run([*start, *words], cwd=self.tree, env=self.environment, capture_output=True, text=True)
        if done.returncode != 0 and not may_fail:
            raise SystemExit(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout


def walk(tree: Path) -> dict[str, Any]:
    """Return the files that a submission and a claim enter, in order of entry, and how often one is entered again."""
    with tempfile.TemporaryDirectory() as name, _Network(tree, Path(name)) as network:
        folder = Path(name)
        password = folder / "password"
        password.write_text("correct horse battery")
        secret = ["--password-file", str(password)]
        network.run("wallet", "new", "alice", *secret, "--home", str(folder / "home"))
        network.run("wallet", "fund", "alice", "--home", str(folder / "home"))
        make_digits(folder / "pairs", limit=6)
        network.run(
            "submit", str(folder / "pairs"), "--wallet", "alice", *secret, *network.options, trace=folder / "submit"
        )
        for _ in range(600):
            told = network.run("claim", "--wallet", "alice", "--dry-run", "--json", *network.options, may_fail=True)
            if int(json.loads(told).get("due_wei", 0)):
                break
        network.run("claim", "--wallet", "alice", *secret, *network.options, trace=folder / "claim")
        return {one: json.loads((folder / one).read_text()) for one in ("submit", "claim")}


def main() -> None:
    """Print the tables; write JSON where ``--json`` says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tree", type=Path, default=ROOT)
    parser.add_argument("--walks", action="store_true")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    report = describe(given.tree.resolve())
    print(f"{'package':24} {'files':>5} {'lines':>7} {'longest':>7}  imports")
    for package, row in report["packages"].items():
        words = " ".join(row["imports"])
        print(f"{package:24} {row['files']:5} {row['lines']:7} {row['longest_file']:7}  {words}")
    print(f"{'all':24} {report['files']:5} {report['lines']:7} {'':7}  {report['arrows']} arrows")
    print(f"{len(report['circles'])} circles of modules", *(" <-> ".join(one) for one in report["circles"]), sep="\n  ")
    if given.walks:
        report["walks"] = walk(given.tree.resolve())
        for name, way in report["walks"].items():
            print(f"{name}: {len(way['files'])} files, {way['returns']} returns\n  " + "\n  ".join(way["files"]))
    if given.json:
        given.json.write_text(json.dumps(report, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
