"""The one style of docstrings, as far as ruff does not see it (rules D of pyproject.toml are the other part)."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("curiosity", "node", "validator", "trainer", "witness", "contracts", "benchmarks", "fuzz", "scripts")
VERBS = frozenset(
    """
    Accept Activate Adapt Add Admit Align Allow Analyse Announce Answer Append Apply Ask Assign Audit Avoid
    Await Begin Bring Build Calibrate Call Catch Change Charge Check Choose Claim Clear Close Collect Combine Commit
    Compare Compile Compute Connect Continue Contrast Convert Copy Cosign Count Create Cut Deal Decide Declare
    Decode Define Delete Deploy Derive Describe Destroy Detect Discard Divide Do Draw Drop Embed Empty Encode
    Encrypt End Ensure Enter Erase Evaluate Expand Expire Explain Extend Extract Fail Fetch Fill Find Finish Fit
    Follow Forget Free Freeze Fuzz Gather Generate Get Give Go Grant Hand Handle Hash Have Hide Hold Initialise
    Insert Interrupt Invoke Join Judge Keep Learn Leave Let List Listen Load Lock Log Look Make Measure Merge
    Move Normalise Note Notify Obtain Offer Open Overwrite Pack Paint Parse Pass Pause Pay Pick Plan Play Post
    Predict Prepare Print Prove Prune Publish Put Raise Rate Reach Read Rebuild Recall Recompute Record Reduce Refuse
    Register Reject Relay Reload Remove Rename Render Renew Reorder Repair Repeat Replace Require Reserve Reset
    Resolve Restore Resume Retry Return Reuse Rewrite Round Run Save Say Search See Select Send Separate Serve
    Set Show Shut Sign Silence Simulate Skip Solve Sort Spell Split Start Stop Store Strip Submit Suspend Switch
    Sync Take Tell Test Throw Trace Trade Train Translate Trim Try Turn Undo Unpack Update Use Validate Verify
    Visit Wait Walk Warm Wipe Withdraw Wrap Write Yield
    """.split()  # noqa: SIM905 - words are easier to read and to sort as a text
)
"""What the first line of a function may begin with; add a verb that is missing, in its plain form."""

_INLINE = re.compile(
    r"""
    \b[Rr]aises\ (`*_?[A-Z]|as\ `|what\ `[^`]+`\ (raises|does))  # "Raises ConfigError if", "Raises as `post`"
    | \A Raise\ `*_?[A-Z]                                          # "Raise ConfigError unless"
    """,
    re.VERBOSE,
)
_SECTION = re.compile(r"^(Args|Raises|Returns|Yields):\n((?: +.*\n?|\n)*)", re.MULTILINE)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def documented(tree: ast.Module) -> Iterator[tuple[ast.Module | ast.ClassDef | Function, str]]:
    """Everything in a file that has a docstring, with it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | Function) and (text := ast.get_docstring(node)):
            yield node, text


def faults(tree: ast.Module) -> list[str]:
    """Where a docstring of a file is not in our style, and why."""
    found = []
    for node, text in documented(tree):
        place = f"line {getattr(node, 'lineno', 1)}"
        if _INLINE.search(_SECTION.sub("", text)):
            found.append(f"{place}: what is raised belongs under 'Raises:'")
        is_property = isinstance(node, Function) and any("property" in ast.unparse(one) for one in node.decorator_list)
        if isinstance(node, Function) and not is_property:
            first = re.match(r"\w*", text)
            assert first is not None
            if first[0] not in VERBS or text.startswith(f"{first[0]} of "):
                found.append(f"{place}: {text.split()[0]!r} is not a verb; say what the function does")
    return found


def test_every_docstring_is_in_one_style() -> None:
    listed = subprocess.run(["git", "ls-files", "-z", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [path for path in listed.stdout.split("\0") if path.split("/")[0] in FOLDERS and (ROOT / path).exists()]
    assert len(paths) > 300
    assert {p: bad for p in paths if (bad := faults(ast.parse((ROOT / p).read_text(encoding="utf-8"))))} == {}


def test_ruff_checks_the_form_of_every_docstring() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "D" in lint["select"]
    assert lint["pydocstyle"]["convention"] == "google"
    assert [rule for rule in lint["ignore"] if rule.startswith("D")] == ["D105", "D107"]
    assert [files for files, rules in lint["per-file-ignores"].items() if "D" in rules] == ["tests/**"]


@pytest.mark.parametrize(
    "text",
    [
        "Return the key. Raises ConfigError.",
        "Return the key.\n\nRaises ``ConfigError`` if there is none.",
        "Return the key.\n\nEvery method raises ChainError.",
        "Post what is missing. Raises as `post`.",
        "Begin.\n\nRaises what `validator.app.build` raises.",
        "Raise ConfigError KEY_MISSING unless there is a key.",
        "The key.",
        "Sum of the keys.",
        "Whether there is a key.",
        "float32[B, D].",
        "Returns the key.",
    ],
)
@pytest.mark.parametrize("frame", ["def f():\n    ...", "class A:\n    async def f(self):\n        ..."])
def test_a_docstring_in_another_style_would_be_found(text: str, frame: str) -> None:
    assert faults(ast.parse(frame.replace("...", repr(text)))) != []


@pytest.mark.parametrize(
    "code",
    [
        "def f():\n    'Return the key.\\n\\nRaises:\\n    ConfigError: What `find` raises, KEY_MISSING.'",
        "def f():\n    'Raise the limit of open files.'",
        "class A:\n    'A key, which `find` raises.'\n    @property\n    def f(self):\n        'The key.'",
    ],
)
def test_docstrings_in_our_style_pass(code: str) -> None:
    assert faults(ast.parse(code)) == []
