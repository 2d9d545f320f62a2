"""The campaign: `python -m fuzz vkey note --seconds 600`, or `all`; `--json FILE` keeps what came out.

Each target runs in a process of its own, one after the other, for so many seconds on a processor. Inputs that break a
parser are left in the folder (`.cache/fuzz` by default), and the command ends with status 1. A file that is there keeps
what it says of other targets.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from fuzz.targets import TARGETS


def campaign(name: str, seconds: int, folder: Path, seed: int) -> dict[str, Any]:
    """Fuzz one target and return what came out: executions, edges, seconds of both clocks, and what was found."""
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.glob("*-*"))
    started, started_cpu = time.monotonic(), _children_cpu_s()
    output = folder / "output.txt"
    with output.open("w") as file:
        code = subprocess.run(
            [sys.executable, "-m", "fuzz.run", name, str(seconds), str(folder), str(seed)],
            stdout=file,
            stderr=file,
            check=False,
        ).returncode
    said = output.read_text(errors="replace")
    executed = re.search(r"number_of_executed_units: (\d+)", said)
    edges = re.findall(r"cov: (\d+)", said)
    found = sorted(path.name for path in set(folder.glob("*-*")) - before)
    return {
        "executions": int(executed[1]) if executed else 0,
        "edges": int(edges[-1]) if edges else None,
        "corpus": len(list((folder / "corpus").glob("*"))),
        "cpu_seconds": round(_children_cpu_s() - started_cpu),
        "wall_seconds": round(time.monotonic() - started),
        "found": found,
        **({"broken": said[-3000:]} if code else {}),
    }


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _keep(file: Path, name: str, result: dict[str, Any]) -> None:
    kept = json.loads(file.read_text())["targets"] if file.exists() else {}
    targets = {one: (kept | {name: result})[one] for one in TARGETS if one in kept or one == name}
    try:
        engine = f"atheris {version('atheris')}"
    except PackageNotFoundError:
        engine = "plain mutations, without coverage"
    report = {
        "command": "python -m fuzz TARGET --seconds 600 --json FILE",
        "engine": engine,
        "executions": sum(one["executions"] for one in targets.values()),
        "targets": targets,
    }
    file.write_text(json.dumps(report, indent=1) + "\n")


def main() -> int:
    """Run the campaign that the arguments ask for. Returns 1 if anything broke."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="+", choices=[*TARGETS, "all"], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="of processor time for each target (60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(".cache/fuzz"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    names = list(TARGETS) if "all" in arguments.targets else list(dict.fromkeys(arguments.targets))
    is_broken = False
    for name in names:
        result = campaign(name, arguments.seconds, arguments.folder / name, arguments.seed)
        is_broken |= "broken" in result
        verdict = f"BROKEN {', '.join(result['found'])}\n{result['broken']}" if "broken" in result else "nothing found"
        print(f"{name}: {result['executions']:,} executions, {result['cpu_seconds']} CPU-s: {verdict}", flush=True)
        if arguments.json:
            _keep(arguments.json, name, result)
    return int(is_broken)


if __name__ == "__main__":
    sys.exit(main())
