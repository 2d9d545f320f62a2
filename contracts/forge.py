"""The contracts' own tests, in Solidity, under forge: ``python -m contracts.forge [--full] [--seed N ...]``.

forge is a native binary out of its npm package; it compiles with npm's ``solc`` behind ``contracts/solc.cjs`` and needs
no network. Without ``--full`` it plays a few rounds of each property; with it many, on the committed bytecode, once for
each seed.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from curiosity.host import console
from curiosity.protocol.errors import ChainError, ExitCode

ROOT = Path(__file__).resolve().parent.parent
SEEDS = (1, 2, 3)
_TIMEOUT_S = 3600


@dataclass(frozen=True)
class ForgeReport:
    """What one run of forge found. ``calls``: steps of the stateful properties; ``failed``: names and reasons."""

    passed: int
    failed: tuple[str, ...]
    calls: int
    gas: Mapping[str, int]  # of each plain test, by name


def find_forge() -> Path | None:
    """Return the forge program: npm's native binary in this checkout, else the search path."""
    machine = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    system = {"Linux": "linux", "Darwin": "darwin", "Windows": "win32"}.get(platform.system())
    native = ROOT / f"node_modules/@foundry-rs/forge-{system}-{machine}/bin/forge"
    if native.is_file():
        return native
    found = shutil.which("forge")
    return Path(found) if found else None


def run_forge(
    arguments: Sequence[str],
    *,
    full: bool = False,
    root: Path = ROOT,
    settings: Mapping[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    """Run forge in a checkout and return what it printed; ``settings`` are forge's own, by variable of the environment.

    Raises:
        ChainError: ``FORGE_MISSING`` without forge or node.
    """
    forge = find_forge()
    if forge is None or shutil.which("node") is None:
        raise ChainError(
            "FORGE_MISSING",
            f"forge is {'absent' if forge is None else 'present'}, "
            f"node is {'absent' if shutil.which('node') is None else 'present'}",
            "Install Node.js 18 or later and run `npm ci`; only the contracts' own tests need them.",
        )
    environment = {**os.environ, "FOUNDRY_PROFILE": "full" if full else "default", "NO_COLOR": "1"}
    environment |= settings or {}
    return subprocess.run(
        [str(forge), *arguments, "--root", str(root)],
        capture_output=True,
        text=True,
        cwd=root,
        env=environment,
        timeout=_TIMEOUT_S,
        check=False,
    )


def copy_sources(folder: Path) -> Path:
    """Copy what forge needs to build and test the contracts, and nothing else; return the folder."""
    for name in ("contracts/src", "contracts/test"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("contracts/solc.cjs", "foundry.toml"):
        shutil.copy2(ROOT / name, folder / name)
    (folder / "node_modules").symlink_to((ROOT / "node_modules").resolve())
    return folder


def play_tests(*, full: bool = False, seed: int = 1, root: Path = ROOT, match: str | None = None) -> ForgeReport:
    """Run the tests and return what they found.

    Raises:
        ChainError: ``FORGE_MISSING``, ``FORGE_FAILED`` (no answer).
    """
    chosen = ["--match-contract", match] if match else []
    done = run_forge(["test", "--json", "--fuzz-seed", hex(seed), *chosen], full=full, root=root)
    begin = done.stdout.find("{")
    try:
        suites: dict[str, Any] = json.loads(done.stdout[begin:]) if begin >= 0 else {}
    except ValueError:
        suites = {}
    results = [
        (f"{suite.rpartition(':')[2]}.{name}", result)
        for suite, content in suites.items()
        for name, result in content["test_results"].items()
    ]
    if not results:
        words = (done.stderr + done.stdout).strip()[-2000:]
        raise ChainError("FORGE_FAILED", f"forge ended with status {done.returncode}: {words}", "Correct the sources.")
    kinds = [result["kind"] for _, result in results]
    return ForgeReport(
        passed=sum(result["status"] == "Success" for _, result in results),
        failed=tuple(f"{name}: {result.get('reason')}" for name, result in results if result["status"] != "Success"),
        calls=sum(kind["Invariant"]["calls"] for kind in kinds if "Invariant" in kind),
        gas={name: result["kind"]["Unit"]["gas"] for name, result in results if "Unit" in result["kind"]},
    )


def measure_coverage() -> tuple[int, int]:
    """Return how many branches of ``contracts/src`` the tests take, and how many there are.

    Raises:
        CuriosityError: What `play_tests` raises.
    """
    with tempfile.TemporaryDirectory(prefix="coverage") as folder:
        report = Path(folder) / "lcov.info"
        done = run_forge(
            ["coverage", "--no-match-coverage", "test|node_modules", "--report", "lcov", "--report-file", str(report)]
        )
        if done.returncode != 0 or not report.is_file():
            raise ChainError("FORGE_FAILED", f"no coverage: {done.stderr[-1000:]}", "Correct the sources.")
        counts = re.findall(r"^BR([FH]):(\d+)$", report.read_text(encoding="utf-8"), re.MULTILINE)
    found, hit = (sum(int(number) for kind, number in counts if kind == letter) for letter in "FH")
    return hit, found


_NAME = "python -m contracts.forge"


@click.command(context_settings=console.HELP, epilog=console.example(f"{_NAME} --full"))
@click.option("--full", is_flag=True, help="Many rounds of each property, on the committed bytecode.")
@click.option("--coverage", is_flag=True, help="Only say which share of the branches the tests take.")
@click.option("--seed", "seeds", type=int, multiple=True, help="Seed of the properties; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(full: bool, coverage: bool, seeds: tuple[int, ...], as_json: bool) -> int:
    """Run the contracts' own tests: units, properties and invariants."""
    if coverage:
        taken, branches = measure_coverage()
        told = {"taken": taken, "branches": branches}
        click.echo(json.dumps(told) if as_json else f"{taken} of {branches} branches, {100 * taken / branches:.1f} %")
        return int(ExitCode.OK)
    rows = []
    for seed in seeds or (SEEDS if full else SEEDS[:1]):
        report = play_tests(full=full, seed=seed)
        rows.append({"seed": seed, "passed": report.passed, "failed": [*report.failed], "calls": report.calls})
        if not as_json:
            click.echo(
                f"seed {seed}: {report.passed} passed, {len(report.failed)} failed, {report.calls} stateful calls"
            )
            for failure in report.failed:
                click.echo(f"  {failure}")
    if as_json:
        click.echo(json.dumps({"seeds": rows}))
    return int(ExitCode.CHAIN if any(row["failed"] for row in rows) else ExitCode.OK)


def main(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit status."""
    return console.run(command, arguments, _NAME)


if __name__ == "__main__":
    console.main(command, _NAME)
