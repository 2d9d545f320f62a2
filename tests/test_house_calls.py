"""Nothing from outside is run, unpacked, read without bounds, or followed out of its folder (T32)."""

import ast
import re

import pytest

from tests.material.source import dotted, imports_of, modules

# -- T32: nothing may run what it reads


RUNNERS = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "joblib", "jsonpickle"}
CALLS = {
    "eval", "exec", "compile", "__import__", "torch.load", "torch.jit.load", "torch.hub.load", "os.system", "os.popen",
    "yaml.load", "yaml.unsafe_load", "yaml.full_load", "subprocess.getoutput", "subprocess.getstatusoutput",
    "pandas.read_pickle", "asyncio.create_subprocess_shell", "shutil.unpack_archive",
}  # fmt: skip
SUSPECT_KEYWORDS = {("shell", True), ("allow_pickle", True), ("weights_only", False), ("trust_remote_code", True)}


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


# -- archives and JSON


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
        "curiosity/sources/own/convert_worker.py", "curiosity/sources/made/media_worker.py",
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
    "node/demo/report.py": {"new / chance"},
    "curiosity/sources/made/world/scene.py": {"b / length", "r / length"},
    "curiosity/client/submission.py": {"self.decided / self.seconds"},
    "trainer/distributed.py": {"flat /= self.size"},
    "trainer/phase_training.py": {"event['done'] / event['total']"},
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
