"""Names, lengths and words: what a name means, how long a file is, what no file says, how errors are printed."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.material.source import PACKAGES, ROOT, modules, tracked

# -- names and lengths

MOST_LINES = 400


def classes_named_twice(trees: dict[str, ast.Module]) -> dict[str, list[str]]:
    """Where each name is defined that two classes have, or a class and a type alias of a module."""
    classes: dict[str, list[str]] = {}
    aliases: dict[str, list[str]] = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                classes.setdefault(node.name, []).append(f"{path}:{node.lineno}")
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and isinstance(target := statement.targets[0], ast.Name):
                aliases.setdefault(target.id, []).append(f"{path}:{statement.lineno}")
    places = {name: [*found, *aliases.get(name, ())] for name, found in classes.items()}
    return {name: found for name, found in places.items() if len(found) > 1}


def test_a_class_name_means_one_thing() -> None:
    assert classes_named_twice(modules()) == {}


@pytest.mark.parametrize("other", ["class Plan: ...", "Plan = dict[str, int]", "def f():\n    class Plan: ..."])
def test_a_second_meaning_of_a_class_name_would_be_found(other: str) -> None:
    planted = {"node/a.py": ast.parse("class Plan: ..."), "trainer/b.py": ast.parse(other)}
    assert list(classes_named_twice(planted)) == ["Plan"]
    assert classes_named_twice(modules() | {"node/spy.py": ast.parse("class Pipeline: ...")}) != {}


def too_long(texts_: dict[str, str], most: int = MOST_LINES) -> dict[str, int]:
    """How many lines each file has that has more than ``most``."""
    return {path: count for path, text in texts_.items() if (count := len(text.splitlines())) > most}


def test_no_python_file_of_the_product_is_too_long() -> None:
    assert too_long({path: (ROOT / path).read_text(encoding="utf-8") for path in modules()}) == {}


def test_a_file_that_is_too_long_would_be_found() -> None:
    assert too_long({"node/a.py": "x = 1\n" * 400, "node/b.py": "x = 1\n" * 401}) == {"node/b.py": 401}


def test_no_module_is_a_drawer_and_no_test_folder_shadows_a_package() -> None:
    drawers = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    for path in tracked():
        parts = {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}
        assert not parts & drawers, path
    assert not {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()} & set(PACKAGES)


# -- what no file may say

# Folders of somebody's machine. Paths of containers and of the system (/tmp, /etc, /usr) are not among them.
PRIVATE_PATH = re.compile(r"(?<![\w.~)}-])/(?:work|workspace|root|opt|mnt|srv|home/\w+|Users/\w+)/[\w.]")
PRIVATE_HOST = re.compile(
    r"(?:https?://|@)(?:[\w-]+\.)+(?:internal|local|lan|corp|intranet)\b"
    r"|https?://(?:10\.\d+|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+"
)


def machine_words() -> set[str]:
    """What only this machine is called: the folder of the checkout and the registries that it is set up for."""
    words = {str(ROOT)} if len(ROOT.parts) > 2 else set()
    settings = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, cwd=ROOT
    ).stdout
    settings += "\n".join(value for name, value in os.environ.items() if re.search(r"index_url|registry", name, re.I))
    if (npm := shutil.which("npm")) is not None:
        settings += subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, cwd="/").stdout
    hosts = {urlsplit(url).hostname or "" for url in re.findall(r"https?://[^\s'\"]+", settings)}
    return words | {host for host in hosts - {"localhost", ""} if not host.startswith("127.")}


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue


def test_no_file_names_a_machine() -> None:
    words = machine_words()
    found = []
    for path, text in texts():
        for line in text.splitlines():
            hit = PRIVATE_PATH.search(line) or PRIVATE_HOST.search(line)
            if hit or any(word in line for word in words):
                found.append(f"{path.relative_to(ROOT)}: {line.strip()[:100]}")
    assert found == []


@pytest.mark.parametrize(
    "parts",
    [("/wo", "rk/main/x.py"), ("/home/", "jo/x"), ("see /op", "t/wheels"), ("http://nexus.", "internal/simple")],
)
def test_a_machines_name_would_be_found(parts: tuple[str, str]) -> None:
    text = "".join(parts)  # in two halves, since this file is read too
    assert PRIVATE_PATH.search(text) or PRIVATE_HOST.search(text)


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert packages
    assert [name for name, one in packages.items() if "resolved" in one] == []


# -- others' words


def prints_raw_errors(tree: ast.AST) -> list[int]:
    """Lines that print an error's words as they are."""
    found = []
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or ast.unparse(call.func) not in ("print", "click.echo", "click.secho"):
            continue
        text = ast.unparse(call)
        names = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)}
        if "error" in names and not re.search(r"\b(printable|one_line|json\.dumps)\(", text):
            found.append(call.lineno)
    return found


def test_errors_are_printed_without_what_steers_a_terminal() -> None:
    found = {path: lines for path, tree in modules().items() if (lines := prints_raw_errors(tree))}
    assert found == {}
    assert prints_raw_errors(ast.parse("click.echo(f'{error.code}: {error.what}', err=True)")) == [1]
    assert prints_raw_errors(ast.parse("print(one_line(f'{error.code}'))")) == []


def test_logs_are_set_up_where_a_record_becomes_one_line() -> None:
    users = [path for path, tree in modules().items() if "logging.basicConfig" in ast.unparse(tree)]
    assert users == ["curiosity/host/console.py"]
