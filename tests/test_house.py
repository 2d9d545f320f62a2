"""The rules of the house that no type checker sees: who imports whom, and what has one home."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from benchmarks.structure import find_circles, imports, read_modules
from tests.material.source import PACKAGES, ROOT, dotted, imports_of, modules, tracked

ROLES = ("validator", "trainer", "node", "witness")
LINT = str(Path(sys.executable).parent / "lint-imports")


# -- imports


def test_import_rules_hold() -> None:
    done = subprocess.run([LINT, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert f"{len(contracts)} kept, 0 broken" in done.stdout


def test_a_broken_import_rule_would_be_found(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.safetensors", "__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "node/spy.py").write_text("def look():\n    from validator import ledger\n\n    return ledger\n")
    done = subprocess.run(
        [LINT, "--no-cache"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 1
    assert "node.spy -> validator.ledger" in done.stdout


def circles_of(tree: Path) -> list[list[str]]:
    """Circles of modules, whose imports inside functions and for types count."""
    known = read_modules(tree)
    return find_circles({name: set(imports(name, module, known)) for name, module in known.items()})


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles_of(ROOT) == []


def test_a_circle_of_modules_would_be_found(tmp_path: Path) -> None:
    for name, text in {
        "curiosity/a.py": "def late():\n    from curiosity import b\n\n    return b\n",
        "curiosity/b.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from curiosity.c import D\n",
        "curiosity/c.py": "import curiosity.a\n",
        "curiosity/d.py": "import curiosity.a\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    assert circles_of(tmp_path) == [["curiosity.a", "curiosity.b", "curiosity.c"]]


def test_roles_meet_only_through_messages() -> None:
    for path, tree in modules().items():
        role = path.split("/")[0]
        if role in ROLES:
            foreign = [name for name in imports_of(tree) if name.split(".")[0] in set(ROLES) - {role}]
            assert foreign == [], path


@pytest.mark.parametrize(
    ("libraries", "home"),
    [
        ({"torch", "transformers"}, r"(curiosity/embedding|trainer)/"),
        ({"web3"}, r"curiosity/chain/evm/"),
        ({"eth_tester"}, r"contracts/tester_rpc\.py"),
        ({"sqlalchemy", "alembic", "psycopg", "pysqlite3"}, r"validator/store/"),
        (
            {"aiohttp"},
            r"(curiosity/(client/(client|unreachable)|ledger/tiles|host/port/\w+)|validator/(app|edge|witnesses|\w*routes|__main__)|witness/app)\.py",
        ),
        ({"click", "rich"}, r"(node|validator|trainer|witness|contracts)/|curiosity/host/console.py"),
    ],
)
def test_heavy_libraries_have_one_home(libraries: set[str], home: str) -> None:
    users = {path for path, tree in modules().items() if {name.split(".")[0] for name in imports_of(tree)} & libraries}
    assert users
    assert [path for path in sorted(users) if not re.match(home, path)] == []


def taken_from_test_files(tree: ast.AST) -> list[str]:
    """What a file imports from a test file; what tests share is in ``tests/material``."""
    names = list(imports_of(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "tests":
            names += [f"tests.{name.name}" for name in node.names]
    return [name for name in names if re.match(r"(tests\.)?test_", name)]


def test_no_file_imports_from_a_test_file() -> None:
    paths = [path for path in tracked() if path.suffix == ".py"]
    found = {str(path.relative_to(ROOT)): taken_from_test_files(ast.parse(path.read_text())) for path in paths}
    assert not {path: names for path, names in found.items() if names}


@pytest.mark.parametrize(
    "code",
    [
        "from tests.test_witness import live",
        "import tests.test_witness",
        "from tests import test_witness",
        "def inside():\n    from test_witness import live",
    ],
)
def test_an_import_from_a_test_file_would_be_found(code: str) -> None:
    assert taken_from_test_files(ast.parse(code))
    assert not taken_from_test_files(ast.parse("from tests.material.witness import Live"))


# -- dependencies

DEPTRY = str(Path(sys.executable).parent / "deptry")


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    done = subprocess.run([DEPTRY, "."], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_an_undeclared_import_and_an_unused_dependency_would_be_found(tmp_path: Path) -> None:
    text = (ROOT / "pyproject.toml").read_text()
    undeclared = text.replace('  "scipy>=1.17,<2",\n', "").replace('  "av>=18', '  "python-dotenv>=1,<2",\n  "av>=18')
    (tmp_path / "pyproject.toml").write_text(undeclared)
    (tmp_path / "curiosity").mkdir()
    (tmp_path / "curiosity/speech.py").write_text("from scipy.signal import firwin\n")
    done = subprocess.run([DEPTRY, "."], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "'scipy' imported but" in done.stderr
    assert "'python-dotenv' defined as a dependency but not used" in done.stderr


# -- a command parses, calls the library and prints

COMMAND_LINES = 200
RULE_ERRORS = {"ProofError", "ChainError", "NotYet", "Rejected", "StoreError", "Overloaded", "CheckpointError"}
RULE_MODULES = re.compile(
    r"curiosity\.(protocol\.(payouts|merkle|decision|judgement|tlog|receipt)|chain\.attestation)\b"
)


def rules_of(tree: ast.AST) -> list[str]:
    """What a command has no business with: it raises what only a rule finds, or imports what rules are made of."""
    raised = [
        f"{node.lineno}: raise {dotted(node.exc.func)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and dotted(node.exc.func) in RULE_ERRORS
    ]
    return raised + [f"import {name}" for name in imports_of(tree) if RULE_MODULES.match(name)]


def test_commands_are_short_and_hold_no_rule() -> None:
    commands = {path: tree for path, tree in modules().items() if path.startswith("node/commands/")}
    assert len(commands) > 15
    assert {path: found for path, tree in commands.items() if (found := rules_of(tree))} == {}
    lines = {path: (ROOT / path).read_text().count("\n") for path in commands}
    assert {path: count for path, count in lines.items() if count > COMMAND_LINES} == {}


@pytest.mark.parametrize(
    "code", ["raise ChainError('CHAIN_NO_FUNDS', 'what')", "from curiosity.protocol.payouts import derive"]
)
def test_a_rule_in_a_command_would_be_found(code: str) -> None:
    assert rules_of(ast.parse(code)) != []


# -- where money moves, every value has a type

MONEY = re.compile(
    r"curiosity/(rewards|chain)/(?!evm/)|curiosity/chain/evm/(client|reader|stake)\.py"
    r"|node/(commands/(claim|payouts|wallet_money|attest)|(claim|payout)_report)\.py"
)
_WEB3_BORDER = re.compile(r"curiosity/chain/evm/")
"""Whatever comes out of web3 has no type: there `Any` may stand in private functions, and in no other."""


def untyped(path: str, tree: ast.Module) -> list[str]:
    """Lines of a file where money moves that say `Any`; at the border to web3 only those of public functions."""
    parts: list[ast.AST] = [tree]
    if _WEB3_BORDER.match(path):
        functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef) and one.name[0] != "_"]
        parts = [part for one in functions for part in (one.args, one.returns) if part is not None]
    return [
        f"{path}:{node.lineno}"
        for part in parts
        for node in ast.walk(part)
        if isinstance(node, ast.Name) and node.id == "Any"
    ]


def test_every_value_has_a_type_where_money_moves() -> None:
    paths = [path for path in modules() if MONEY.match(path)]
    assert {"curiosity/rewards/permits.py", "curiosity/chain/connect.py", "curiosity/chain/evm/client.py"} <= {*paths}
    assert [line for path in paths for line in untyped(path, modules()[path])] == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("curiosity/rewards/permits.py", "def payable(chain: Any) -> int: ..."),
        ("node/commands/claim.py", "class Task:\n    chain: Any"),
        ("curiosity/chain/evm/client.py", "class ChainClient:\n    def state(self) -> dict[str, Any]: ..."),
    ],
)
def test_a_value_without_a_type_would_be_found(path: str, code: str) -> None:
    assert MONEY.match(path)
    assert untyped(path, ast.parse(code)) != []


def test_the_chain_client_is_loaded_by_those_who_ask_the_chain_and_no_sooner() -> None:
    """Its type is known everywhere (`TYPE_CHECKING`), web3 is loaded where a function connects."""
    script = (
        "import sys, pkgutil, importlib, curiosity.rewards, node.commands\n"
        "for package in (curiosity.rewards, node.commands):\n"
        "    for one in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(one.name)\n"
        "assert 'curiosity.rewards.claims' in sys.modules and 'node.commands.claim' in sys.modules\n"
        "sys.exit('web3 is loaded' if 'web3' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# -- a file that is to be kept is written by one writer


FILE_CALLS = {"os.replace", "os.rename", "os.renames", "os.fsync", "os.fdatasync", "os.link", "shutil.move",
              "fcntl.flock", "fcntl.lockf"}  # fmt: skip
FILE_METHODS = {"replace", "rename", "write_bytes", "write_text", "hardlink_to"}
WRITERS = ("curiosity/host/files.py", "validator/store/")
FREE_WRITERS = {
    "contracts/audit.py": "a report of the workshop, in the repository",
    "contracts/build.py": "what is built from the sources, in the repository",
    "contracts/mutate.py": "changes a copy of the sources and puts it back",
    "curiosity/embedding/hub.py": "huggingface_hub gives the folder to write to, and uploads or forgets it",
    "curiosity/ledger/state.py": "adds hashes that count for nothing before `finish` has synced them",
    "curiosity/sources/pairset.py": "links files of a cache, and syncs their folder before the card is written",
    "node/demo/material.py": "the demo's own network, which is thrown away",
    "node/demo/processes.py": "the demo's logs",
    "node/demo/report.py": "the demo's report, which another run makes again",
    "node/demo/stage.py": "the demo's own network, which is thrown away",
}
"""Files that write in their own way, and why nothing is lost by it."""


def writes(tree: ast.AST) -> list[str]:
    """Calls that give a file its name, sync it, lock it or write to it, with their lines."""
    found = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        # `str.replace` takes two, `dataclasses.replace` and `datetime.replace` take keywords.
        is_path = method.startswith("write") or (len(node.args) == 1 and not node.keywords)
        opened = [*node.args[:2], *(word.value for word in node.keywords if word.arg == "mode")]
        modes = [mode.value for mode in opened if isinstance(mode, ast.Constant) and isinstance(mode.value, str)]
        for_writing = (
            (name == "open" or method == "open")
            and not name.startswith(("av.", "wave.", "tarfile."))
            and any(re.fullmatch(r"[rwxabt+]*[wxa+][rwxabt+]*", mode) for mode in modes)
        )
        if name in FILE_CALLS or (method in FILE_METHODS and is_path) or for_writing:
            found.append(f"{node.lineno}: {name or method}")
    return found


def test_what_is_to_be_kept_is_written_by_one_writer() -> None:
    others = {
        path: found for path, tree in modules().items() if not path.startswith(WRITERS) and (found := writes(tree))
    }
    assert {path: found for path, found in others.items() if path not in FREE_WRITERS} == {}
    assert sorted(others) == sorted(FREE_WRITERS), "an entry of the list is gone"
    assert writes(modules()["curiosity/host/files.py"])


@pytest.mark.parametrize(
    "code",
    [
        "os.replace(part, path)",
        "part.replace(path)",
        "part.rename(path)",
        "os.fsync(file.fileno())",
        "fcntl.flock(file, fcntl.LOCK_EX)",
        "path.write_bytes(data)",
        "path.write_text(text, encoding='utf-8')",
        "with path.open('wb') as file: pass",
        "with open(path, mode='a', encoding='utf-8') as file: pass",
        "with path.open('r+b', buffering=0) as file: pass",
    ],
)
def test_a_second_writer_would_be_found(code: str) -> None:
    assert writes(ast.parse(code))


@pytest.mark.parametrize(
    "code",
    [
        "text.replace('a', 'b')",
        "replace(saved, proof=None)",
        "moment.replace(tzinfo=UTC)",
        "path.open('rb')",
        "open(path)",
        "write_whole(path, data)",
        "wave.open(buffer, 'wb')",
    ],
)
def test_readers_and_texts_are_left_alone(code: str) -> None:
    assert writes(ast.parse(code)) == []
