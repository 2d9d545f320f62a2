"""Builds the committed ABI and bytecode from the Solidity sources: ``python -m contracts.build [--check]``.

The compiler is npm's ``solc`` run by ``node``; its version is pinned in ``package.json`` and stands in each artifact.
All sources are resolved here and handed over in one standard-JSON request under names relative to the repository, and
no metadata hash is appended, so that the same sources give the same bytes on every machine.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from curiosity.host import console
from curiosity.protocol.errors import ChainError

ROOT = Path(__file__).resolve().parent.parent
SOURCE_DIR = Path("contracts/src")
ABI_DIR = Path("curiosity/chain/abi")
CONTRACTS = ("CuriosityRewards", "CuriosityStake", "CuriosityToken", "ICuriosityRewards", "ICuriosityStake")

# Cancun is the oldest fork that OpenZeppelin 5.7 compiles for (it uses MCOPY) and runs on every chain we target.
SETTINGS: dict[str, Any] = {
    "evmVersion": "cancun",
    "optimizer": {"enabled": True, "runs": 1000},
    "viaIR": True,
    "metadata": {"bytecodeHash": "none", "appendCBOR": False},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode"]}},
}

_IMPORT = re.compile(r"""^\s*import\s+(?:[^"';]*\sfrom\s+)?["']([^"']+)["']""", re.MULTILINE)
_COMPILER_TIMEOUT_S = 300


def find_node() -> str | None:
    """Return the ``node`` program on the search path, or None. Only the build needs it, never a running service."""
    return shutil.which("node")


def resolve_sources(entry_paths: Sequence[Path]) -> dict[str, str]:
    """Return the text of the given files (relative to the repository) and of all they import, by name.

    Raises:
        ChainError: ``CONTRACT_SOURCE_MISSING`` when an import cannot be found.
    """
    sources: dict[str, str] = {}
    waiting = [path.as_posix() for path in entry_paths]
    while waiting:
        name = waiting.pop()
        if name in sources:
            continue
        path = ROOT / ("node_modules" if name.startswith("@") else "") / name
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ChainError(
                "CONTRACT_SOURCE_MISSING",
                f"{name} cannot be read: {error.strerror}",
                "Run `npm ci` to fetch the Solidity libraries, then build again.",
            ) from error
        sources[name] = text
        waiting.extend(_resolve_import(name, target) for target in _IMPORT.findall(text))
    return dict(sorted(sources.items()))


def _resolve_import(importer: str, target: str) -> str:
    if not target.startswith("."):
        return target
    parts = importer.split("/")[:-1]
    for step in target.split("/"):
        if step == "..":
            parts.pop()
        elif step != ".":
            parts.append(step)
    return "/".join(parts)


def compile_contracts(entry_paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return artifacts of every contract defined in the given files, by contract name.

    An artifact holds ``contractName``, ``abi``, ``bytecode``, ``deployedBytecode`` (hex with 0x), ``immutables`` (where
    the constructor writes into the latter), ``compiler``, ``settings`` and ``sourceDigest`` (SHA-256 over the names
    and texts of all the sources that were resolved).

    Raises:
        ChainError: ``SOLC_MISSING`` without node or the compiler, ``SOLC_FAILED`` with the compiler's words.
    """
    node = find_node()
    compiler = ROOT / "node_modules/solc/solc.js"
    if node is None or not compiler.is_file():
        raise ChainError(
            "SOLC_MISSING",
            f"node is {'absent' if node is None else 'present'}, {compiler.relative_to(ROOT)} "
            f"is {'present' if compiler.is_file() else 'absent'}",
            "Install Node.js 18 or later and run `npm ci`; only a rebuild of the contracts needs them.",
        )
    version = _run([node, str(compiler), "--version"], "").strip()
    sources = resolve_sources(entry_paths)
    request = {
        "language": "Solidity",
        "sources": {name: {"content": text} for name, text in sources.items()},
        "settings": SETTINGS,
    }
    reply = _run([node, str(compiler), "--standard-json"], json.dumps(request))
    # The compiler's wrapper may print a line of its own before the answer.
    answer = json.loads(reply[reply.index("{") :])
    # A warning in a source of ours counts as an error: a contract that pays money compiles clean. A library's do not:
    # OpenZeppelin keeps deprecated names that the compiler complains about.
    problems = [problem for problem in answer.get("errors", []) if problem["severity"] == "error" or _is_ours(problem)]
    if problems:
        words = "\n".join(problem["formattedMessage"].strip() for problem in problems)
        raise ChainError("SOLC_FAILED", f"{len(problems)} complaints:\n{words}", "Correct the sources.")

    source_digest = hashlib.sha256(json.dumps(sources, sort_keys=True).encode()).hexdigest()
    artifacts: dict[str, dict[str, Any]] = {}
    for path in entry_paths:
        for contract_name, output in answer["contracts"][path.as_posix()].items():
            artifacts[contract_name] = {
                "contractName": contract_name,
                "abi": output["abi"],
                "bytecode": "0x" + output["evm"]["bytecode"]["object"],
                "deployedBytecode": "0x" + output["evm"]["deployedBytecode"]["object"],
                "immutables": _immutables_of(output["evm"]["deployedBytecode"]),
                "compiler": version,
                "settings": SETTINGS,
                "sourceDigest": source_digest,
            }
    return artifacts


def _immutables_of(deployed: Mapping[str, Any]) -> list[list[int]]:
    """Return [start, length] of every place in the code that the constructor fills in."""
    places = [place for found in deployed.get("immutableReferences", {}).values() for place in found]
    return sorted([place["start"], place["length"]] for place in places)


def _is_ours(problem: Mapping[str, Any]) -> bool:
    return not str((problem.get("sourceLocation") or {}).get("file", "")).startswith("@")


def _run(command: list[str], text: str) -> str:
    # Files, not pipes: the compiler reads a piped stdin before it is full (EAGAIN) and exits before a piped stdout is
    # drained, so that a long answer arrives cut off.
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8") as stdin,
        tempfile.TemporaryFile("w+", encoding="utf-8") as stdout,
        tempfile.TemporaryFile("w+", encoding="utf-8") as stderr,
    ):
        stdin.write(text)
        stdin.seek(0)
        done = subprocess.run(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=ROOT,
            timeout=_COMPILER_TIMEOUT_S,
            check=False,
        )
        stdout.seek(0)
        stderr.seek(0)
        output, complaints = stdout.read(), stderr.read()
    if done.returncode != 0:
        raise ChainError(
            "SOLC_FAILED",
            f"the compiler ended with status {done.returncode}: {(complaints or output).strip()[-2000:]}",
            "Run `npm ci` again; the pinned compiler may be damaged.",
        )
    return output


def build_artifacts() -> dict[str, str]:
    """Return the files of ``curiosity/chain/abi`` as they must be: file name to text, made from the sources."""
    artifacts = compile_contracts([SOURCE_DIR / f"{name}.sol" for name in CONTRACTS])
    return {f"{name}.json": render_artifact(artifacts[name]) for name in CONTRACTS}


def render_artifact(artifact: Mapping[str, Any]) -> str:
    """Return one artifact as the text of its committed file."""
    return json.dumps(artifact, indent=1, sort_keys=True) + "\n"


def compare_artifacts(expected: Mapping[str, str], directory: Path) -> list[str]:
    """Return the names of the files that are missing from the directory, differ, or should not be there."""
    present = {path.name: path.read_text(encoding="utf-8") for path in sorted(directory.glob("*.json"))}
    return [name for name in sorted(expected.keys() | present.keys()) if expected.get(name) != present.get(name)]


_NAME = "python -m contracts.build"


@click.command(context_settings=console.HELP, epilog=console.example(f"{_NAME} --check"))
@click.option("--check", is_flag=True, help="Compare the committed files with a fresh build.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(check: bool, as_json: bool) -> None:
    """Compile the contracts and write curiosity/chain/abi."""
    directory = ROOT / ABI_DIR
    expected = build_artifacts()
    if check:
        stale = compare_artifacts(expected, directory)
        if stale:
            raise ChainError(
                "ABI_STALE",
                f"{len(stale)} of {len(expected)} files differ from a fresh build: {', '.join(stale)}",
                "Run `python -m contracts.build` and commit curiosity/chain/abi.",
            )
    else:
        directory.mkdir(parents=True, exist_ok=True)
        for name, text in expected.items():
            (directory / name).write_text(text, encoding="utf-8")
    if as_json:
        click.echo(json.dumps({"artifacts": sorted(expected), "written": not check}))
    else:
        click.echo(f"{len(expected)} artifacts {'match' if check else 'written'}: {', '.join(sorted(expected))}")


def main(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit status."""
    return console.run(command, arguments, _NAME)


if __name__ == "__main__":
    console.main(command, _NAME)
