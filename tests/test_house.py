"""The rules of the house that no type checker sees: who imports whom, what no code may call, what no file may say."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from benchmarks.structure import find_circles, imports, read_modules

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("curiosity", "node", "validator", "trainer", "witness", "contracts")
ROLES = ("validator", "trainer", "node", "witness")
LINT = str(Path(sys.executable).parent / "lint-imports")


def tracked() -> list[Path]:
    """Files that are in the repository or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    paths = [ROOT / os.fsdecode(name) for name in listed.split(b"\0") if name]
    return [path for path in paths if path.is_file()]


@cache
def modules() -> dict[str, ast.Module]:
    """Syntax trees of our packages by path, such as ``node/cli.py``."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8"))
        for path in tracked()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in PACKAGES
    }


def imports_of(tree: ast.AST) -> Iterator[str]:
    """Dotted names that a file imports anywhere, in functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


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


TWO_WAYS = "trainer.cli"
"""Its commands load their work when they run, and ``python -m trainer.phases`` starts its command in its last lines."""


def circles_of(tree: Path) -> list[list[str]]:
    """Circles of modules, whose imports inside functions and for types count."""
    known = read_modules(tree)
    return find_circles({
        name: set() if name == TWO_WAYS else set(imports(name, module, known)) for name, module in known.items()
    })  # fmt: skip


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
    r"curiosity/(rewards|chain)/(?!evm/)|curiosity/chain/evm/(client|stake)\.py"
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


def test_no_module_is_a_drawer_and_no_test_folder_shadows_a_package() -> None:
    drawers = {"utils", "util", "helpers", "helper", "manager", "common", "misc"}
    for path in tracked():
        parts = {part.removesuffix(".py") for part in path.relative_to(ROOT).parts}
        assert not parts & drawers, path
    assert not {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()} & set(PACKAGES)


# -- T32: nothing may run what it reads


RUNNERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "jsonpickle"}
CALLS = {
    "eval", "exec", "compile", "__import__", "torch.load", "torch.jit.load", "torch.hub.load", "os.system", "os.popen",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "subprocess.getoutput", "subprocess.getstatusoutput",
    "pandas.read_pickle", "asyncio.create_subprocess_shell", "shutil.unpack_archive",
}  # fmt: skip
SUSPECT_KEYWORDS = {("shell", True), ("allow_pickle", True), ("weights_only", False), ("trust_remote_code", True)}


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of a name or attribute, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return ""


def dangers(tree: ast.Module) -> list[str]:
    """Uses of what runs data as code, with their lines. Aliases of imports are followed."""
    aliases: dict[str, str] = {}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {name.asname: name.name for name in node.names if name.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            aliases |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            found += [f"{node.lineno}: import {name}" for name in names if name.split(".")[0] in RUNNERS]
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            head, _, tail = name.partition(".")
            full = ".".join(part for part in (aliases.get(head, head), tail) if part)
            if full in CALLS:
                found.append(f"{node.lineno}: {full}")
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if any(keyword.arg == name and value is bad for name, bad in SUSPECT_KEYWORDS):
                    found.append(f"{node.lineno}: {keyword.arg}={value!r}")
    return found


def test_no_call_that_runs_what_it_reads() -> None:
    assert len(modules()) > 80
    assert {path: found for path, tree in modules().items() if (found := dangers(tree))} == {}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "def f():\n    import marshal",
        "eval('1')",
        "exec(text)",
        "import torch\ntorch.load(p)",
        "import torch as t\nt.load(p)",
        "from torch import load as read\nread(p)",
        "import numpy as np\nnp.load(p, allow_pickle=True)",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import os\nos.system('ls')",
        "import yaml\nyaml.load(text)",
        "from transformers import AutoModel\nAutoModel.from_pretrained(p, trust_remote_code=True)",
    ],
)
def test_a_dangerous_call_would_be_found(code: str) -> None:
    assert dangers(ast.parse(code)) != []


@pytest.mark.parametrize("code", ["model.eval()", "import yaml\nyaml.safe_load(t)", "np.load(p, allow_pickle=False)"])
def test_harmless_calls_are_left_alone(code: str) -> None:
    assert dangers(ast.parse(code)) == []


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


def test_no_library_unpacks_an_archive() -> None:
    """Members of archives are read under names and sizes that we check (T32): `curiosity/ledger/archive.py`."""
    calls = [
        f"{path}:{node.lineno}: {node.func.attr}"
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("extractall", "extract", "unpack_archive")
    ]
    assert calls == []


def test_json_of_others_has_one_reader() -> None:
    """Depth and bytes are bounded in one place; the others read what they wrote themselves, or build tools."""
    own = {
        "curiosity/protocol/json_reader.py", "curiosity/chain/artifacts.py", "contracts/audit.py", "contracts/build.py",
        "contracts/forge.py", "curiosity/client/receipts.py", "curiosity/sources/made/espeak_worker.py",
        "curiosity/sources/own/convert_worker.py",
        "curiosity/sources/pairset.py",
            "trainer/progressive.py",
    }  # fmt: skip
    users = {
        path
        for path, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and (
            dotted(node.func) in ("json.loads", "json.load") or (dotted(node.func).endswith(".json") and not node.args)
        )
    }
    assert sorted(users - own) == []


# -- T32: a name from outside leads nowhere but below its folder

JOINED_FREELY = {
    "curiosity/sources/own/parquet.py": {"path / column.name"},  # said to people, never opened
    "curiosity/sources/own/webdataset.py": {
        "path.parent / key",  # a key, not a path
        "path / f'{PurePosixPath(member.key).name}.{member.ending}'",  # said to people, never opened
    },
    "curiosity/sources/own/folder.py": {
        "below.parent / read_name(path.name).stem",  # what listing the folder gave, as a key
        "Path(stem).with_name(inner.stem)",
    },
    "curiosity/serving/decode_worker.py": {"Path(f'/proc/{self.process.pid}/stat')"},  # the number of a process of ours
    # Numbers:
    "node/submit_report.py": {"tally.decided / tally.seconds"},
    "node/demo/report.py": {"figures['r10'] / figures['chance10']"},
    "node/demo/run.py": {"sent / seconds"},
    "curiosity/sources/made/world/scene.py": {"b / length", "r / length"},
    "curiosity/client/submission.py": {"self.decided / self.seconds"},
    "trainer/distributed.py": {"flat /= self.size"},
    "trainer/phases.py": {"event['done'] / event['total']"},
    "trainer/progressive.py": {"run.draw_s / done.wall_s"},
}
"""Joins that need no check, each for the reason beside it."""
OF_THE_CHECKOUT = {f"contracts/{name}.py" for name in ("audit", "build", "devchain", "forge", "mutate")}
"""Tools for developers: they read names of the repository's own files only."""
FOLDER_WORD = re.compile(r"(folder|path|dir|directory|root|home|out|parent|cache|place|media|blobs)$")
NUMBER_CALLS = {"sum", "mean", "total", "max", "min", "len", "float", "int", "abs", "sqrt", "log", "sysconf"}


def is_settled(node: ast.expr) -> bool:
    """Whether nobody outside can choose this text: literals, constants, hex digits, whole numbers."""
    match node:
        case ast.Constant():
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.isupper()
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in ("hex", "hexdigest", "getpid", "token_hex")
        case ast.FormattedValue(format_spec=ast.JoinedStr(values=[ast.Constant(value=str(form))])) if form[-1] == "d":
            return True  # raises for what is not a whole number
        case ast.FormattedValue(value=value) | ast.Subscript(value=value):
            return is_settled(value)
        case ast.JoinedStr(values=values):
            return all(is_settled(value) for value in values)
    return False


def is_number(node: ast.expr) -> bool:
    """Whether a side of a ``/`` can only be a number or an array."""
    match node:
        case ast.BinOp(op=op):
            return not isinstance(op, ast.Div) or is_number(node.left)
        case ast.Constant(value=value):
            return not isinstance(value, str)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            return name in NUMBER_CALLS
        case ast.UnaryOp():
            return True
    return False


def free_joins(tree: ast.Module) -> list[tuple[int, str]]:
    """Lines where a path is made of a text that somebody may have chosen and not by `curiosity.host.paths.inside`."""
    aliases = {
        name.asname or name.name: f"{node.module}.{name.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for name in node.names
    }
    knows_paths = any(name.split(".")[0] in ("pathlib", "os") for name in imports_of(tree))
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                named = dotted(left).rpartition(".")[2]
                path_like = knows_paths or FOLDER_WORD.search(named)
                bad = path_like and not (is_settled(right) or is_number(left) or is_number(right))
            case ast.AugAssign(op=ast.Div(), value=right):
                bad = knows_paths and not (is_settled(right) or is_number(right))
            case ast.Call(func=func, args=[*args]):
                name = dotted(func)
                full, method = aliases.get(name, name), func.attr if isinstance(func, ast.Attribute) else ""
                if full.endswith("path.join") or method == "joinpath":
                    bad = not all(is_settled(arg) for arg in args[full.endswith("path.join") :])
                elif method in ("glob", "rglob"):
                    bad = not all(is_settled(arg) for arg in args)
                elif method == "with_name":  # refuses separators itself; a suffix or prefix makes ".." another name
                    bad = not all(is_settled(arg) or isinstance(arg, ast.JoinedStr | ast.BinOp) for arg in args)
                elif full in ("open", "pathlib.Path", "pathlib.PurePath", "pathlib.PurePosixPath"):
                    later = args[1:] if full != "open" else []
                    made = [arg for arg in args if arg in later or isinstance(arg, ast.JoinedStr | ast.BinOp)]
                    bad = not all(is_settled(arg) for arg in made)
                else:
                    bad = False
            case _:
                bad = False
        if bad and isinstance(node, ast.expr | ast.stmt):
            found.append((node.lineno, ast.unparse(node)))
    return found


def test_every_name_from_outside_is_joined_by_one_function() -> None:
    """`curiosity/host/paths.py` refuses what leads out of a folder; other joins stand above, with their reason."""
    found = [
        f"{path}:{line}: {text}"
        for path, tree in modules().items()
        if path not in OF_THE_CHECKOUT | {"curiosity/host/paths.py"}
        for line, text in free_joins(tree)
        if text not in JOINED_FREELY.get(path, ())
    ]
    assert found == []


def test_the_list_of_free_joins_holds_nothing_that_is_gone() -> None:
    for path, texts_ in JOINED_FREELY.items():
        assert texts_ <= {text for _, text in free_joins(modules()[path])}, path


@pytest.mark.parametrize(
    "code",
    [
        "import pathlib\npathlib.Path('x') / name",
        "from pathlib import Path\ndef f(folder: Path, row):\n    return folder / row['path']",
        "from pathlib import Path\nhere = a / f'{name}.json'",
        "from pathlib import Path\nhere /= name",
        "from pathlib import Path\nPath(folder, name)",
        "from pathlib import Path\nPath(f'{folder}/{name}')",
        "from pathlib import Path\nPath(folder + '/' + name)",
        "from pathlib import Path\nhere.with_name(name)",
        "self._folder / name",  # a module that names no library of paths
        "folder.joinpath('a', name)",
        "folder.glob(f'*/{name}')",
        "import os\nos.path.join(folder, name)",
        "from os.path import join\njoin(folder, name)",
        "open(f'{folder}/{name}')",
        "archive.path / member.name",
    ],
)
def test_a_free_join_would_be_found(code: str) -> None:
    assert free_joins(ast.parse(code)) != []


@pytest.mark.parametrize(
    "code",
    [
        "from pathlib import Path\nhere = folder / 'a.json'",
        "from pathlib import Path\nhere = folder / MANIFEST",
        "from pathlib import Path\nhere = folder / digest.hex()",
        "from pathlib import Path\nhere = folder / f'{pack:08d}.pack'",
        "from pathlib import Path\nhere.with_name(f'.{here.name}.part')",
        "from pathlib import Path\nshare = 100 * done / total",
        "loss / count",
        "import os\nos.path.join(folder, 'a')",
        "from curiosity.host.paths import inside\ninside(folder, name)",
    ],
)
def test_settled_joins_and_numbers_are_left_alone(code: str) -> None:
    assert free_joins(ast.parse(code)) == []


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
