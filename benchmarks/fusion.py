"""What each fusion costs beside a bare multi-head attention, and that it ignores a missing modality exactly.

    python -m benchmarks.fusion [--seed N] [--rounds N] [--json FILE]

Five modalities of 512 dimensions into 512, batches of 8. A round runs the bare ``nn.MultiheadAttention`` (8 heads, one
token a modality) and every fusion one after another; the ratio is the median over rounds of a fusion's time to the bare
one's in the same round: forward alone and without gradients, and forward and backward as in training.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.command import carry_out, make_parser, table
from curiosity.embedding.fusion import FUSIONS, build_fusion

DIM, BATCH, HEADS = 512, 8, 8
MODALITIES = ("action", "audio", "image", "pressure", "touch")
# Most of a bare attention that a fusion may cost (infer): stated for each way before it was written.
BARS = {"late": 0.5, "weighted_sum": 0.5, "attention": 1.3, "graph": 1.3, "concat": 1.3, "transformer": 10.0}
REPEATS = 20  # calls in a row that one time is taken of


def measure(seed: int, rounds: int) -> dict[str, Any]:
    """Return by fusion: ``ratio``, its ``bar``, that of ``train``, and ``invariance``, the largest difference."""
    torch.manual_seed(seed)
    given = {name: torch.randn(BATCH, DIM) for name in MODALITIES}
    tokens = torch.stack(list(given.values()), dim=1)
    bare = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    fusions = {name: build_fusion(name, dict.fromkeys(MODALITIES, DIM), DIM) for name in FUSIONS}
    calls: dict[str, tuple[nn.Module, Callable[[], Tensor]]] = {
        "bare": (bare, lambda: bare(tokens, tokens, tokens, need_weights=False)[0])
    }
    for name, fusion in fusions.items():
        calls[name] = (fusion, lambda fusion=fusion: fusion(given))  # type: ignore[misc]
    figures: dict[str, dict[str, Any]] = {name: {"bar": BARS.get(name)} for name in fusions}
    for kind, step in (("ratio", _infer), ("train", _train)):
        for module, _ in calls.values():
            module.train(kind == "train")
        taken = [{name: _time(step, call) for name, (_, call) in calls.items()} for _ in range(rounds + 1)][1:]
        for name in fusions:
            figures[name][kind] = statistics.median(one[name] / one["bare"] for one in taken)
    for name, fusion in fusions.items():
        figures[name]["invariance"] = measure_invariance(fusion.eval(), given, seed)
    return {
        "seed": seed,
        "rounds": rounds,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "fusion": figures,
    }


@torch.no_grad()
def measure_invariance(fusion: nn.Module, given: Mapping[str, Tensor], seed: int) -> float:
    """Return the largest difference of any value when what stands in missing places is replaced, over all subsets."""
    rng = torch.Generator().manual_seed(seed)
    names, worst = sorted(given), 0.0
    rows = len(next(iter(given.values())))
    for kept in range(1, 2 ** len(names)):
        present = {name: torch.full((rows,), bool(kept >> place & 1)) for place, name in enumerate(names)}
        want = fusion(given, present)
        for junk in (1e6 * torch.randn(rows, 1, generator=rng), torch.full((rows, 1), torch.nan)):
            filled = {name: torch.where(present[name][:, None], given[name], junk) for name in names}
            worst = max(worst, float((fusion(filled, present) - want).abs().max()))
    return worst


def _time(step: Callable[[Callable[[], Tensor]], None], call: Callable[[], Tensor]) -> float:
    started = time.perf_counter()
    for _ in range(REPEATS):
        step(call)
    return time.perf_counter() - started


@torch.no_grad()
def _infer(call: Callable[[], Tensor]) -> None:
    call()


def _train(call: Callable[[], Tensor]) -> None:
    torch.autograd.backward(call().square().mean())


def show(report: dict[str, Any]) -> str:
    """Return the report as a table."""
    rows = (
        [name, f"{row['ratio']:.2f}", str(row["bar"] or "-"), f"{row['train']:.2f}", str(row["invariance"])]
        for name, row in report["fusion"].items()
    )
    return "\n".join(table(["fusion", "ratio", "bar", "ratio in training", "invariance"], rows))


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table, write JSON where asked."""
    parser = make_parser("fusion", __doc__ or "", cache=False, threads=True)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args(arguments)
    return carry_out(given, lambda: measure(given.seed, given.rounds), show)


if __name__ == "__main__":
    sys.exit(main())
