"""Curves of a training: TensorBoard event files while it runs, and one picture after every phase."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

mpl.use("Agg")  # draws into memory; a server has no display

from matplotlib.figure import Figure
from tensorboardX import SummaryWriter

from curiosity.host.files import write_whole
from trainer.train import StepResult

HISTORY_COLUMNS = ("phase", "loss", "learning_rate", "temperature", "gradient_norm")
FLUSH_S = 10


class Events:
    """TensorBoard event files in a folder. Steps count through all phases.

    ``first_step`` is where this process begins: what an earlier one wrote after the state that we go on from is taken
    back.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=first_step or None, flush_secs=FLUSH_S)

    def add_step(self, step: int, taken: StepResult) -> None:
        """Add what a step did."""
        for name, value in vars(taken).items():
            self._writer.add_scalar(f"train/{name}", value, step)

    def add_recall(self, step: int, recall: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        """Recall after a phase, by set and direction."""
        for set_name, directions in recall.items():
            for direction, found in directions.items():
                for name in ("r1", "r10"):
                    self._writer.add_scalar(f"{name}/{set_name}/{direction}", found[name], step)

    def close(self) -> None:
        """Write what is still held back."""
        self._writer.close()


def draw_curves(path: Path, history: NDArray[np.float64], reports: Sequence[Mapping[str, Any]]) -> None:
    """Write a PNG with loss, temperature, learning rate and gradient norm by step, and recall at 10 by phase.

    ``history`` float64[N, 5] has ``HISTORY_COLUMNS``; ``reports`` are those of the phases, with ``name`` and
    ``recall``.
    """
    figure = Figure(figsize=(14, 8), layout="constrained")
    axes = figure.subplots(2, 3)
    begins = np.flatnonzero(np.diff(history[:, 0])) + 1
    for axis, column in zip((axes[0, 0], axes[0, 1], axes[0, 2], axes[1, 0]), (1, 3, 2, 4), strict=True):
        axis.plot(1 + np.arange(len(history)), history[:, column], linewidth=0.8)
        axis.set(title=HISTORY_COLUMNS[column].replace("_", " "), xlabel="step")
        axis.grid(alpha=0.3)
        for begin in begins:
            axis.axvline(begin + 0.5, color="grey", linestyle=":", linewidth=0.8)
    axes[1, 0].set_yscale("symlog", linthresh=1e-3)
    for axis, emergent in ((axes[1, 1], False), (axes[1, 2], True)):
        _draw_recall(axis, reports, emergent)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=90)
    write_whole(path, drawn.getvalue())


def _draw_recall(axis: Any, reports: Sequence[Mapping[str, Any]], emergent: bool) -> None:
    lines: dict[str, list[float]] = {}
    for number, report in enumerate(reports):
        for set_name, directions in report["recall"].items():
            for direction, found in directions.items():
                if found["emergent"] == emergent and "@" not in direction:
                    line = lines.setdefault(f"{set_name} {direction}", [np.nan] * len(reports))
                    line[number] = found["r10"]
    for name, values in sorted(lines.items()):
        axis.plot(range(len(reports)), values, marker="o", linewidth=0.8, label=name)
    axis.set_xticks(range(len(reports)), [report["name"] for report in reports], rotation=20)
    axis.set(title="recall at 10, never trained as a pair" if emergent else "recall at 10, trained", ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    if lines:
        axis.legend(fontsize=5, ncols=2)
