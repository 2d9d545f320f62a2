"""A map of the space in two dimensions, as PNG: colour by modality, lines between partners."""

import io
from pathlib import Path

import numpy as np

from curiosity.embedding.alignment import fit_plane
from curiosity.embedding.modalities import BY_NAME
from curiosity.host.files import write_whole
from trainer.held_out import HeldOut

PARTNERS_EACH = 60  # pairs of every two modalities that are drawn; more is a ball of wool
# One colour for each registered modality, in their order, whatever a set holds: maps of two checkpoints compare.
_COLOURS = dict(zip(BY_NAME, [f"C{number}" for number in range(len(BY_NAME))], strict=True))


def draw_map(held: HeldOut, path: Path) -> None:
    """Write a PNG with one panel for each set: its items on the plane of their two main axes.

    The same embeddings give the same picture. Every modality counts alike in choosing the plane, however many items it
    has. Sets that show fewer than two items are left out.

    Raises:
        OSError: when the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = {}
    for name in held.sets:
        partners = {two: pairs[:PARTNERS_EACH] for two, pairs in held.partners(name).items()}
        if sum(map(len, partners.values())):
            panels[name] = partners
    figure = Figure(figsize=(max(1, len(panels)) * 6, 6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    for number, (name, partners) in enumerate(panels.items(), start=1):
        ends = {
            two: (held.rows(two[0], [p.a for p in pairs]), held.rows(two[1], [p.b for p in pairs]))
            for two, pairs in partners.items()
        }
        clouds: dict[str, list[np.ndarray]] = {}
        for two, rows in ends.items():
            for modality, cloud in zip(two, rows, strict=True):
                clouds.setdefault(modality, []).append(cloud)
        stacked = {m: np.unique(np.concatenate(parts), axis=0) for m, parts in sorted(clouds.items())}
        least = min(len(cloud) for cloud in stacked.values())
        plane = fit_plane(np.concatenate([cloud[:: max(1, len(cloud) // least)] for cloud in stacked.values()]))
        panel = figure.add_subplot(1, len(panels), number)
        for left, right in ends.values():
            for one, other in zip(plane.project(left), plane.project(right), strict=True):
                panel.plot([one[0], other[0]], [one[1], other[1]], color="0.75", linewidth=0.4, zorder=1)
        for modality, cloud in stacked.items():
            at = plane.project(cloud)
            panel.scatter(at[:, 0], at[:, 1], s=12, color=_COLOURS.get(modality, "k"), label=modality, zorder=2)
        panel.set_title(f"{name}: {sum(plane.shares):.0%} of the variance")
        panel.set_xticks([])
        panel.set_yticks([])
        panel.legend(loc="best", fontsize=8)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Software": None})
    write_whole(path, drawn.getvalue())
