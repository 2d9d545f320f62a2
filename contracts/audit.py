"""A static analyser and symbolic proofs over the contracts: ``python -m contracts.audit [--analyse] [--prove]``.

The tools live in an environment of their own, which ``make audit`` makes. ``--analyse`` runs slither and fails on a
finding of medium impact or above that ``contracts/findings.json`` does not explain, and on an explanation that explains
nothing. ``--prove`` has halmos execute ``contracts/test/Proofs.t.sol`` for every value, and z3 the quotients.
"""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from contracts.forge import ROOT, copy_sources, find_forge
from curiosity.host import console
from curiosity.protocol.errors import ChainError, ExitCode

TOOLS = ROOT / ".cache/audit/bin"
_FINDINGS = ROOT / "contracts/findings.json"
_GRAVE = ("High", "Medium")
_TIMEOUT_S = 1800


def analyse() -> list[str]:
    """Return what is wrong: findings without an explanation, explanations without a finding.

    Raises:
        ChainError: ``AUDIT_TOOL_MISSING``, ``AUDIT_FAILED`` when the analyser gives no answer.
    """
    with tempfile.TemporaryDirectory(prefix="audit") as folder:
        # Of the sources alone: the analyser would take the rest of the checkout for a project of Python.
        root = copy_sources(Path(folder))
        report = root / "report.json"
        done = _run(root, "slither", ".", "--filter-paths", "node_modules|contracts/test", "--json", str(report))
        if not report.is_file():
            raise ChainError("AUDIT_FAILED", f"slither: {done.stderr[-1000:]}", "Run `make audit` again.")
        found: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["results"].get("detectors", [])
    return judge(found, json.loads(_FINDINGS.read_text(encoding="utf-8")))


def judge(found: Sequence[dict[str, Any]], explained: Sequence[dict[str, str]]) -> list[str]:
    """Return the grave findings that no explanation covers, and the explanations that cover none."""
    grave = [one for one in found if one["impact"] in _GRAVE]
    wrong = [
        f"{one['impact']} {one['check']}: {one['description'].strip().splitlines()[0]}"
        for one in grave
        if not any(_covers(words, one) for words in explained)
    ]
    idle = [words for words in explained if not any(_covers(words, one) for one in grave)]
    return wrong + [f"explains nothing: {words['check']} in {words['where']}" for words in idle]


def _covers(words: dict[str, str], finding: dict[str, Any]) -> bool:
    return words["check"] == finding["check"] and words["where"] in finding["description"] and bool(words["why"])


def prove() -> list[str]:
    """Return the properties that are not proven; an empty list is a proof of all.

    Raises:
        ChainError: As `analyse`.
    """
    return [f"{name}: {state}" for name, state in run_proofs().items() if state != "proven"]


def run_proofs() -> dict[str, str]:
    """Return each property with ``proven`` or what came instead, and print it.

    Raises:
        ChainError: As `analyse`.
    """
    with tempfile.TemporaryDirectory(prefix="audit") as folder:
        root = copy_sources(Path(folder))
        done = _run(root, "halmos", "--contract", "ProofsTest", "--forge-build-out", ".cache/forge/out")
        lines = re.findall(r"\[(\w+)\]\S* (check_\w+)", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout))
        if not lines:
            raise ChainError(
                "AUDIT_FAILED", f"halmos: {(done.stdout + done.stderr)[-1000:]}", "Run `make audit` again."
            )
        integers = _run(root, "python", str(ROOT / "contracts/integer_proofs.py"))
    found = {name: "proven" if state == "PASS" else state for state, name in lines}
    found |= dict.fromkeys(re.findall(r"^proven: (.*)$", integers.stdout, re.MULTILINE), "proven")
    if integers.returncode != 0:
        found["integers"] = f"{integers.stdout[-300:]}{integers.stderr[-300:]}"
    for name, state in found.items():
        print(f"{state}: {name}")
    return found


def _run(root: Path, tool: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    program, forge = TOOLS / tool, find_forge()
    if not program.is_file() or forge is None:
        raise ChainError("AUDIT_TOOL_MISSING", f"{tool} or forge is absent", "Run `make audit`, which fetches both.")
    environment = {**os.environ, "PATH": f"{forge.parent}:{TOOLS}:{os.environ.get('PATH', '')}"}
    return subprocess.run(
        [str(program), *arguments],
        capture_output=True,
        text=True,
        cwd=root,
        env=environment,
        timeout=_TIMEOUT_S,
        check=False,
    )


_NAME = "python -m contracts.audit"


@click.command(context_settings=console.HELP, epilog=console.example(f"{_NAME} --json audit.json"))
@click.option("--analyse", "analyses", is_flag=True, help="Only the static analyser.")
@click.option("--prove", "proves", is_flag=True, help="Only the symbolic proofs.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="File for what was found; with both parts only."
)
def command(analyses: bool, proves: bool, json_file: Path | None) -> int:
    """Analyse the contracts and prove their arithmetic; both by default."""
    both = analyses == proves
    wrong = analyse() if both or analyses else []
    proofs = run_proofs() if both or proves else {}
    if json_file is not None and both:
        _write(json_file, wrong, proofs)
    wrong += [f"{name}: {state}" for name, state in proofs.items() if state != "proven"]
    for words in wrong:
        click.echo(words)
    click.echo(f"{len(wrong)} left to explain or prove")
    return int(ExitCode.OK if not wrong else ExitCode.CHAIN)


def _write(path: Path, unexplained: list[str], proofs: dict[str, str]) -> None:
    pinned = (ROOT / "contracts/audit-requirements.txt").read_text(encoding="utf-8").splitlines()
    content = {
        "command": "python -m contracts.audit --json FILE",
        "tools": [line for line in pinned if "==" in line],
        "explained": [f"{one['check']} in {one['where']}" for one in json.loads(_FINDINGS.read_text(encoding="utf-8"))],
        "unexplained": unexplained,
        "proofs": proofs,
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit status."""
    return console.run(command, arguments, _NAME, writes_json=False)


if __name__ == "__main__":
    console.main(command, _NAME, writes_json=False)
