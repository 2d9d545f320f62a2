"""What each protection of a claim costs in gas: the contracts without it, compiled and measured beside the whole.

    python -m benchmarks.protections [--json FILE]

Each variant is a copy of the sources with one protection left out. Prints and writes the gas that a first and a later
claim save without it, with a tree of a thousand leaves.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.embedding import ROOT

# (name, file, text, what stands in its place); the text is replaced wherever it occurs.
VARIANTS = (
    ("a pool for each epoch", "CuriosityToken", "address(POOLS | epoch)", "address(POOLS | (epoch & 0))"),
    (
        "a pause",
        "CuriosityRewards",
        "nonReentrant whenNotPaused returns (uint256 paid)",
        "nonReentrant returns (uint256 paid)",
    ),
    (
        "a guard against coming back in",
        "CuriosityRewards",
        "external nonReentrant whenNotPaused",
        "external whenNotPaused",
    ),
    (
        "an event that names the account",
        "CuriosityRewards",
        "if (amount != 0) emit",
        "if (amount == type(uint256).max) emit",
    ),
    ("the sum claimed by an account", "CuriosityRewards", "window.paid + uint128(amount)", "window.paid"),
)
_MEASURE = (
    "import json; from benchmarks.rewards import *; print(json.dumps(measure_claims(RewardTree(make_leaves(1000, 3)))))"
)


def measure(folder: Path, variant: tuple[str, str, str, str] | None) -> dict[str, int]:
    """Return the gas of a first and a later claim with the sources of the variant, or with all of them."""
    for package in ("contracts", "curiosity", "benchmarks"):
        shutil.copytree(ROOT / package, folder / package)
    shutil.copy2(ROOT / "package.json", folder / "package.json")
    (folder / "node_modules").symlink_to((ROOT / "node_modules").resolve())
    if variant is not None:
        _, name, text, instead = variant
        path = folder / "contracts/src" / f"{name}.sol"
        whole = path.read_text(encoding="utf-8")
        if text not in whole:
            raise ValueError(f"{name}.sol has no {text!r}")
        path.write_text(whole.replace(text, instead), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    subprocess.run(
        [sys.executable, "-m", "contracts.build"], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL
    )
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE], cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    gas: dict[str, int] = json.loads(done.stdout)
    return gas


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write the JSON; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.protections", description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args(arguments)
    found: dict[str, dict[str, int]] = {}
    whole: dict[str, int] = {}
    for variant in (None, *VARIANTS):
        with tempfile.TemporaryDirectory(prefix="variant") as folder:
            gas = measure(Path(folder), variant)
        if variant is None:
            whole = gas
            continue
        found[variant[0]] = {name: whole[name] - gas[name] for name in whole}
        print(
            f"{variant[0]:36} first {found[variant[0]]['first']:>6,}  later {found[variant[0]]['later']:>6,}",
            flush=True,
        )
    if options.json is not None:
        options.json.write_text(json.dumps({"whole": whole, "saved": found}, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
