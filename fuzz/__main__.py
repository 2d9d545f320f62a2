"""The campaign: `python -m fuzz vkey note --seconds 600`, or `all`; `--json FILE` keeps what came out.

Each target runs in a process of its own, one after the other. Inputs that break a parser are left in the folder
(`.cache/fuzz` by default), and the command ends with status 1.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fuzz.targets import TARGETS


def campaign(name: str, seconds: int, folder: Path, seed: int) -> dict[str, Any]:
    """Fuzz one target and return what came out: executions, coverage edges, seconds, and what was found."""
    folder.mkdir(parents=True, exist_ok=True)
    before = set(folder.glob("*-*"))
    started = time.monotonic()
    output = folder / "output.txt"
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "fuzz.run", name, str(seconds), str(folder), str(seed)], stdout=file, stderr=file
        )
        try:
            code = process.wait(timeout=2 * seconds + 120)  # a loaded machine may leave a polite process waiting
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    said = output.read_text(errors="replace")
    executed = re.search(r"number_of_executed_units: (\d+)", said)
    edges = re.findall(r"cov: (\d+)", said)
    found = sorted(path.name for path in set(folder.glob("*-*")) - before)
    return {
        "executions": int(executed[1]) if executed else 0,
        "edges": int(edges[-1]) if edges else None,
        "corpus": len(list((folder / "corpus").glob("*"))),
        "seconds": round(time.monotonic() - started),
        "found": found,
        "broken": code != 0,
        "why": said[-3000:] if code else "",
    }


def main() -> int:
    """Run the campaign that the arguments ask for. Returns 1 if anything broke."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="+", choices=[*TARGETS, "all"], metavar="TARGET", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path(".cache/fuzz"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    names = list(TARGETS) if "all" in arguments.targets else list(dict.fromkeys(arguments.targets))
    results: dict[str, Any] = {}
    for name in names:
        result = campaign(name, arguments.seconds, arguments.folder / name, arguments.seed)
        results[name] = result
        verdict = f"BROKEN {', '.join(result['found'])}\n{result['why']}" if result["broken"] else "nothing found"
        print(f"{name}: {result['executions']:,} executions, {result['seconds']} s: {verdict}", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    return int(any(result["broken"] for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
