"""`curiosity doctor`: look at everything a node needs and say what is wrong and what to do about it."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from curiosity.chain.chain import hide_secrets, show_endpoint
from curiosity.protocol.errors import CuriosityError
from curiosity.protocol.scoring import MICRO
from node.config import CommandSettings


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was looked at. ``state`` is ok, warn or fail; ``more`` is all that ``what`` sums up."""

    name: str
    state: str
    what: str
    remedy: str = ""
    more: tuple[str, ...] = ()


_NEEDED = (
    "aiohttp",
    "click",
    "coincurve",
    "pydantic",
    "torch",
    "web3",
    "sqlalchemy",
    "safetensors",
    "soundfile",
    "pillow",
    "pi-heif",
    "av",
    "pyarrow",
    "mujoco",
)
_PATCHED = {(3, 11): (3, 11, 13), (3, 12): (3, 12, 11), (3, 13): (3, 13, 4)}
"""The first release of each Python in which tarfile's extraction stays in its folder."""
_LOW_DISK_BYTES = 2 << 30
LEAST_AUC_MICRO = 750_000  # below it more than a third of wrong pairs score above the median true one


def examine(settings: CommandSettings) -> Iterator[Diagnosis]:
    """Yield the findings, quick ones first."""
    yield _python()
    yield _packages()
    yield _guard("sqlite", _sqlite)
    yield _guard("device", _device)
    yield _guard("modalities", _modalities)
    yield _guard("sandbox", _sandbox)
    yield _guard("chain binary", _anvil)
    yield _guard("speech", _speech)
    yield _emoji()
    yield _disk(settings.node.folder)
    yield Diagnosis("config", "ok", str(settings.file) if settings.file else "no file: every setting at its default")
    yield _chain(settings)


def tell_separation(figures: Mapping[str, Mapping[str, int]]) -> Diagnosis:
    """Return what the checkpoint in force can tell, by held-out set and modality pair; a warning where it cannot."""
    if not figures:
        return Diagnosis("judge", "ok", "the checkpoint in force does not say how well it tells true pairs from wrong")
    ordered = sorted(figures, key=lambda name: (-figures[name]["auc_micro"], name))
    lines = tuple(_say_separation(name, figures[name]) for name in ordered)
    what = lines[0] if len(lines) == 1 else f"best of {len(lines)} {lines[0]}; worst {lines[-1]}"
    if not any(name.startswith("photos/") for name in figures):
        what += "; photos were not measured"
    blind = [name for name in sorted(figures) if figures[name]["auc_micro"] < LEAST_AUC_MICRO]
    if blind:
        remedy = f"Do not rely on verdicts like those of {', '.join(blind)}; a pretrained preset knows more."
        return Diagnosis("judge", "warn", what, remedy, lines)
    return Diagnosis("judge", "ok", what, more=lines)


def _say_separation(name: str, told: Mapping[str, int]) -> str:
    """Return how well the judge tells the true pairs of a held-out set from wrong ones."""
    return (
        f"{name} AUC {told['auc_micro'] / MICRO:.3f}, wrong accepted {told['wrong_at_5_micro'] / MICRO:.0%} / "
        f"{told['wrong_at_10_micro'] / MICRO:.0%} at 5 / 10 % false rejects"
    )


def _guard(name: str, look: Callable[[], Diagnosis]) -> Diagnosis:
    try:
        return look()
    except CuriosityError as error:
        return Diagnosis(name, "fail", f"{error.code}: {error.what}", error.remedy)
    except (OSError, subprocess.SubprocessError, ImportError) as error:
        return Diagnosis(name, "fail", f"{type(error).__name__}: {error}", "Run make install again.")


def _python() -> Diagnosis:
    found = sys.version_info[:3]
    version = ".".join(map(str, found))
    if found < (3, 11):
        return Diagnosis("python", "fail", version, "Install Python 3.11 or newer.")
    patched = _PATCHED.get(found[:2], (0, 0, 0))
    if found < patched:
        newer = ".".join(map(str, patched))
        return Diagnosis(
            "python",
            "warn",
            f"{version} lacks security fixes, among them that of tarfile (CVE-2025-4517)",
            f"Install {newer} or newer. Curiosity itself unpacks no archive.",
        )
    return Diagnosis("python", "ok", version)


def _packages() -> Diagnosis:
    missing = []
    for name in _NEEDED:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Diagnosis("packages", "fail", f"missing: {', '.join(missing)}", "Run make install.")
    return Diagnosis("packages", "ok", f"curiosity {importlib.metadata.version('curiosity')}")


def _run(code: str, given: str = "") -> str:
    """Return what a fresh interpreter prints, ``given`` on its standard input; keeps heavy imports out of this one."""
    done = subprocess.run(
        [sys.executable, "-c", code], input=given, capture_output=True, text=True, timeout=120, check=False
    )
    if done.returncode:
        raise OSError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no output")
    return done.stdout.strip()


def _sqlite() -> Diagnosis:
    version = _run("import pysqlite3; print(pysqlite3.sqlite_version)")
    good = tuple(map(int, version.split("."))) >= (3, 51, 3)
    remedy = "" if good else "Versions before 3.51.3 can corrupt a write-ahead log: run make install again."
    return Diagnosis("sqlite", "ok" if good else "fail", version, remedy)


def _device() -> Diagnosis:
    told = _run(
        "import torch; c = torch.cuda.is_available(); "
        "print(torch.__version__, torch.cuda.get_device_name(0) if c else 'cpu')"
    )
    return Diagnosis("device", "ok", f"torch {told}")


def _modalities() -> Diagnosis:
    told = _run(
        "from curiosity.embedding.modalities import MODALITIES; print(', '.join(each.name for each in MODALITIES))"
    )
    return Diagnosis("modalities", "ok", f"decoders for {told}; a network takes what its checkpoint knows")


def _sandbox() -> Diagnosis:
    with subprocess.Popen(
        [sys.executable, "-m", "curiosity.serving.sandbox"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        told = process.stdout.read()
    if b"system-call-filter" in told:
        return Diagnosis("sandbox", "ok", "decoders run without privileges and behind a system-call filter")
    return Diagnosis(
        "sandbox",
        "warn",
        "decoders run without a system-call filter",
        "Install libseccomp2 (needed to run a validator).",
    )


def _anvil() -> Diagnosis:
    from contracts.devchain import find_anvil

    path = find_anvil()
    if path is None:
        return Diagnosis("chain binary", "warn", "no anvil: eth-tester takes its place", "Run make install with npm.")
    return Diagnosis("chain binary", "ok", str(path))


def _speech() -> Diagnosis:
    return Diagnosis("speech", "ok", _run("import espeakng_loader as e; print(e.get_library_path())"))


def _emoji() -> Diagnosis:
    root = Path(__file__).resolve().parent.parent / "node_modules"
    if (root / "emoji-datasource-google").is_dir() and (root / "emojibase-data").is_dir():
        return Diagnosis("emoji", "ok", str(root))
    return Diagnosis("emoji", "warn", f"no emoji packages in {root}: only the digits can be made", "Run make install.")


def _disk(home: Path) -> Diagnosis:
    there = home
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    writable = os.access(there, os.W_OK)
    if not writable:
        return Diagnosis("disk", "fail", f"{there} is not writable", "Set [node] home to a folder of yours.")
    state = "ok" if free > _LOW_DISK_BYTES else "warn"
    return Diagnosis(
        "disk", state, f"{free / 2**30:.1f} GiB free at {there}", "" if state == "ok" else "Free some space."
    )


def _chain(settings: CommandSettings) -> Diagnosis:
    place = show_endpoint(settings.chain.rpc_url)
    try:
        # By standard input: what a process is started with, everybody on the machine can read.
        told = _run(
            "import json, sys, urllib.request as u\n"
            "r = u.Request(sys.stdin.read(), json.dumps({'jsonrpc': '2.0', 'id': 1, 'method': "
            "'eth_chainId', 'params': []}).encode(), {'Content-Type': 'application/json'})\n"
            "print(int(json.load(u.urlopen(r, timeout=5))['result'], 16))",
            settings.chain.rpc_url,
        )
    except (OSError, subprocess.SubprocessError) as error:
        why = type(error).__name__ if isinstance(error, subprocess.SubprocessError) else str(error)
        what = f"{place} does not answer ({hide_secrets(why, settings.chain.rpc_url)})"
        return Diagnosis("chain", "warn", what, "Needed to claim: start one (curiosity up), or set [chain] rpc_url.")
    wanted = settings.chain.chain_id
    if wanted and told != str(wanted):
        return Diagnosis("chain", "fail", f"{place} is chain {told}, expected {wanted}", "Correct [chain].")
    return Diagnosis("chain", "ok", f"{place} is chain {told}")
