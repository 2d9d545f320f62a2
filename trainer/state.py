"""The state of a training run on disk: one safetensors file, whole or not there, that a run goes on from.

    state.safetensors           the newest
    state.previous.safetensors  the one before, for a disk that lost bits of the newest

Nothing in a state can run code. JSON (the phase, the step, random states, reports of finished phases) is in the header
of the file, tensors beside it; a SHA-256 over both is checked when it is read.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from curiosity.host.files import make_folder, move, replacing
from curiosity.protocol.errors import CheckpointError
from curiosity.protocol.json_reader import read_json
from trainer.train import Capture

FORMAT = "curiosity-training-state/1"
NEWEST, PREVIOUS = "state.safetensors", "state.previous.safetensors"

_log = logging.getLogger(__name__)


def write_state(folder: Path, capture: Capture) -> Path:
    """Write a state; a reader finds it or the one before, whenever this process dies.

    Raises:
        CheckpointError: STATE_NOT_FINITE, when a weight or moment is not a number, so that the last good state stays;
            STATE_NOT_WRITTEN, when the disk refuses.
    """
    broken = [
        name for name, t in capture.tensors.items() if name.startswith(("model/", "optimizer/")) and _is_broken(t)
    ]
    if broken:
        raise CheckpointError(
            "STATE_NOT_FINITE", f"{len(broken)} tensors are not finite, such as {broken[0]}", "Lower learning_rate."
        )
    facts = json.dumps(capture.facts, sort_keys=True)
    header = {"format": FORMAT, "facts": facts, "sha256": _digest(capture.tensors, facts)}
    newest = folder / NEWEST
    try:
        make_folder(folder)
        with replacing(newest) as part:
            save_file(dict(capture.tensors), part, metadata=header)
            if newest.exists():
                move(newest, folder / PREVIOUS)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            "STATE_NOT_WRITTEN", f"{newest}: {error}", "Free space or choose another folder, then --resume."
        ) from error
    return newest


def read_state(folder: Path) -> Capture | None:
    """Return the newest whole state; None where there is none.

    Raises:
        CheckpointError: STATE_BROKEN, when neither the newest nor the one before is whole.
    """
    problems = []
    for path in (folder / NEWEST, folder / PREVIOUS):
        if not path.exists():
            continue
        try:
            return _read(path)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            problems.append(f"{path}: {error}")
            _log.warning("event=state_broken path=%s error=%s", path, error)
    if problems:
        raise CheckpointError("STATE_BROKEN", "; ".join(problems), "Begin again in another folder.")
    return None


def _read(path: Path) -> Capture:
    with safe_open(path, framework="pt") as file:
        header: Mapping[str, str] = file.metadata() or {}
        if header.get("format") != FORMAT:
            raise ValueError(f"format {header.get('format')}, expected {FORMAT}")
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    got = _digest(tensors, header["facts"])
    if got != header["sha256"]:
        raise ValueError(f"SHA-256 {got}, expected {header['sha256']}")
    facts: dict[str, Any] = read_json(header["facts"])
    return Capture(tensors, facts)


def _digest(tensors: Mapping[str, Tensor], facts: str) -> str:
    digest = hashlib.sha256(facts.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\0{name}:{tensor.dtype}:{list(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _is_broken(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
