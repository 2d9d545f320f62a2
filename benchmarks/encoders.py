"""Size and speed of every tower of the presets, and what our part of a tower adds to the bare encoder.

    python -m benchmarks.encoders [--preset NAME]... [--modality NAME]... [--items N] [--repeats N] [--compare-cpu]
        [--json FILE]

For each tower: parameters in millions, milliseconds to prepare one item, of one forward pass of ``items``
items, the same for the class that it stands on, called directly with the same tensors in the same run, and the ratio of
the two. Before anything is timed, the embeddings of two items of different length, alone and together, are compared:
``apart`` is the largest difference of a component. With ``--compare-cpu`` on a GPU, ``cpu_apart`` is the largest
difference from the same embeddings made on the processor; an int16 step of what the judge sees is 3e-5. Weights are
seeded: speed does not depend on what they say.
"""

import argparse
import gc
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from curiosity.embedding.modality import Array
from curiosity.embedding.presets import PRESETS, find_preset
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.embedding.towers.base import Tower
from curiosity.protocol.errors import CuriosityError, ExitCode

WORDS = ("A red cube falls on the table and rolls to the left.", "Two words")
MAX_APART = 1e-5


def make_items(modality: str) -> list[Array]:
    """Return two items of usual size and of different lengths: seconds of signal, a sentence, a picture."""
    rng = np.random.default_rng(0)
    if modality == "text":
        return [np.frombuffer(words.encode(), dtype=np.uint8) for words in WORDS]
    if modality in ("image", "video"):
        sizes = [(256, 256, 3), (180, 240, 3)] if modality == "image" else [(16, 224, 224, 3), (30, 160, 200, 3)]
        return [rng.integers(0, 256, size, dtype=np.uint8) for size in sizes]
    shapes: dict[str, list[tuple[int, ...]]] = {
        "audio": [(48_000,), (20_000,)],
        "point_cloud": [(2_048, 3), (300, 3)],
        "touch": [(60, 2, 16, 16), (20, 2, 16, 16)],
        "pressure": [(3_000,), (1_000,)],
        "emg": [(8, 3_000), (8, 1_000)],
        "action": [(100, 7), (30, 7)],
    }
    return [rng.uniform(0, 1, shape).astype(np.float32) for shape in shapes[modality]]


def time_ms(call: Callable[[], object], device: torch.device) -> float:
    """Return the milliseconds of one call.

    On the CPU it is processor time, because others work too; on CUDA until it has finished there.
    """
    if device.type != "cuda":
        started = time.process_time()
        call()
        return 1e3 * (time.process_time() - started)
    started = time.perf_counter()
    call()
    torch.cuda.synchronize(device)
    return 1e3 * (time.perf_counter() - started)


def compare_ms(
    one: Callable[[], object], other: Callable[[], object], repeats: int, device: torch.device
) -> tuple[float, float, float]:
    """Return the medians of both in milliseconds, and the median ratio of neighbours.

    They are taken in turn, each first in turn.
    """
    time_ms(one, device), time_ms(other, device)
    pairs = []
    for number in range(repeats):
        if number % 2:
            late = time_ms(other, device)
            pairs.append((time_ms(one, device), late))
        else:
            pairs.append((time_ms(one, device), time_ms(other, device)))
    ones, others = zip(*pairs, strict=True)
    return statistics.median(ones), statistics.median(others), statistics.median(a / b for a, b in pairs)


def catch_call(tower: Tower, inputs: Tensor) -> Callable[[], object] | None:
    """Return the call of the encoder's class that ``tower(inputs)`` makes.

    It is to be made again without the tower; None where the tower has no such class.
    """
    encoder = tower._modules.get("encoder")
    if encoder is None:
        return None
    caught: list[tuple[Any, Any]] = []
    handle = encoder.register_forward_pre_hook(lambda _, args, kwargs: caught.append((args, kwargs)), with_kwargs=True)
    tower(inputs)
    handle.remove()
    if not caught:
        return None
    args, kwargs = caught[-1]
    return lambda: encoder(*args, **kwargs)


def measure(
    preset: str, modality: str, items: int, repeats: int, device: torch.device, compare_cpu: bool = False
) -> dict[str, Any]:
    """Return one row of the table.

    Raises:
        RuntimeError: when an embedding depends on its batch by more than ``MAX_APART``.
    """
    space = EmbeddingSpace(preset, modalities=[modality]).to(device).eval()
    tower = space.tower(modality)
    pair = make_items(modality)
    words = find_preset(preset).towers[modality].encoder
    row: dict[str, Any] = {"preset": preset, "modality": modality, "encoder": words}
    row["million_parameters"] = round(sum(p.numel() for p in tower.parameters()) / 1e6, 2)
    together = space.embed(modality, pair)
    alone = np.concatenate([space.embed(modality, [item]) for item in pair])
    row["apart"] = float(np.abs(together - alone).max())
    if not row["apart"] < MAX_APART:
        raise RuntimeError(f"{preset} {modality}: alone and in a batch are {row['apart']:.1e} apart")
    if compare_cpu and device.type != "cpu":
        on_cpu = space.cpu().embed(modality, pair)
        row["cpu_apart"] = float(np.abs(together - on_cpu).max())
        space.to(device)
    prepared = [time_ms(lambda: tower.prepare(pair[0]), torch.device("cpu")) for _ in range(repeats + 1)]
    row["prepare_ms"] = round(statistics.median(prepared[1:]), 2)
    inputs = tower.collate([tower.prepare(pair[0])] * items).to(device)
    with torch.inference_mode():
        call = catch_call(tower, inputs)
        if call is not None:
            mine, bare, ratio = compare_ms(lambda: tower(inputs), call, repeats, device)
            row |= {"forward_ms": round(mine, 2), "bare_ms": round(bare, 2), "ratio": round(ratio, 3)}
        else:
            times = [time_ms(lambda: tower(inputs), device) for _ in range(repeats + 1)]
            row |= {"forward_ms": round(statistics.median(times[1:]), 2)}
    return row


def show(rows: Sequence[dict[str, Any]], items: int, device: torch.device) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        f"Items in a pass: {items}. Device: {device}. Threads: {torch.get_num_threads()}.",
        "",
        "| preset | modality | encoder | M parameters | prepare ms | forward ms | bare ms | ratio | apart |",
        "|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {r['preset']} | {r['modality']} | {r['encoder']} | {r['million_parameters']:.1f} | {r['prepare_ms']:.1f} "
        f"| {r['forward_ms']:.1f} "
        + (f"| {r['bare_ms']:.1f} | {r['ratio']:.2f} " if "ratio" in r else "| | ")
        + f"| {r['apart']:.0e} |"
        + (f" {r['cpu_apart']:.0e} from the processor's" if "cpu_apart" in r else "")
        for r in rows
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; write it where ``--json`` says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.encoders", description=__doc__.splitlines()[0])
    parser.add_argument("--preset", action="append", choices=sorted(PRESETS), help="default: all")
    parser.add_argument("--modality", action="append", help="default: all of the preset")
    parser.add_argument("--items", type=int, default=1, help="items of a forward pass (default 1)")
    parser.add_argument("--repeats", type=int, default=5, help="timed passes of each (default 5)")
    parser.add_argument("--compare-cpu", action="store_true", help="embed on the processor too, and compare")
    parser.add_argument("--json", type=Path, help="where the rows are written, beside those that are there")
    args = parser.parse_args(argv)
    device = pick_device()
    rows = []
    try:
        for preset in args.preset or sorted(PRESETS):
            for modality in find_preset(preset).towers:
                if args.modality is None or modality in args.modality:
                    rows.append(measure(preset, modality, args.items, args.repeats, device, args.compare_cpu))
                    gc.collect()
    except CuriosityError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(show(rows, args.items, device))
    if args.json:
        write(args.json, rows, args.items, device)
    return ExitCode.OK


def write(path: Path, rows: Sequence[dict[str, Any]], items: int, device: torch.device) -> None:
    """Keep the rows in ``path``; rows of the same preset and modality, device and number of items are replaced."""
    where = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "items": items,
    }
    old = json.loads(path.read_text()) if path.exists() else []
    new = [row | where for row in rows]
    keys = ("preset", "modality", "device", "threads", "items")
    mine = {tuple(row[key] for key in keys) for row in new}
    kept = [row for row in old if tuple(row[key] for key in keys) not in mine] + new
    kept.sort(key=lambda row: tuple(str(row[key]) for key in keys))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(main())
