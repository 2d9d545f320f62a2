"""What the null gate lets pass: honest items, junk of families that training saw, junk of families left out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curiosity.embedding.checkpoint import AnchorArrays
from curiosity.embedding.modality import Array
from curiosity.embedding.space import EmbeddingSpace
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.scoring import Quantised, cosine_micro, quantise
from trainer.null import LEFT_OUT, TRAINED, make_junk

KINDS = {"trained": TRAINED, "left out": LEFT_OUT}
HONEST = "honest"


def measure_null_gate(
    space: EmbeddingSpace,
    calibration: Calibration,
    anchors: AnchorArrays,
    honest: Mapping[str, Quantised],
    real: Mapping[str, Sequence[Array]],
    *,
    junk_each: int,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Return the share of items that pass, by gate and family.

    An example is ``{"image>text": {"honest": 0.98, "trained: noise": 0.0, ...}}``. ``honest`` are embeddings of items
    that neither the weights nor the thresholds have seen, ``real`` the decoded items that junk is cut from; both should
    be of concepts that were never trained. Gates of modalities that are not in both are left out.
    """
    out: dict[str, dict[str, float]] = {}
    made: dict[str, dict[str, Quantised]] = {}
    for gate, limit in sorted(calibration.null_max_micro.items()):
        modality, partner = gate.split(">")
        if not len(honest.get(modality, ())) or not real.get(modality):
            continue
        if modality not in made:
            made[modality] = {HONEST: honest[modality]} | {
                f"{kind}: {family}": quantise(
                    space.embed(modality, make_junk(make, junk_each, seed + number, real[modality]))
                )
                for kind, families in KINDS.items()
                for number, (family, make) in enumerate(families.get(modality, {}).items())
            }
        empty = anchors[f"empty/{partner}"]
        out[gate] = {
            family: round(float(np.mean([cosine_micro(row, empty) <= limit for row in rows])), 4)
            for family, rows in made[modality].items()
        }
    return out


def summarise_null_gate(figures: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Return the worst of it: the largest share of honest items refused, and of junk that passes.

    Trained junk and left-out junk are apart.
    """
    worst: dict[str, Any] = {}
    for gate, families in sorted(figures.items()):
        for family, passed in families.items():
            kind = family.split(":")[0]
            share = round(1 - passed, 4) if kind == HONEST else passed
            if kind not in worst or share > worst[kind]["share"]:
                worst[kind] = {"share": share, "gate": gate, "family": family}
    return worst


def null_table(figures: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Return lines of a Markdown table, one for each family."""
    gates = sorted(figures)
    lines = ["| family | " + " | ".join(gates) + " |", "|---|" + "---|" * len(gates)]
    for family in dict.fromkeys(family for gate in gates for family in figures[gate]):
        cells = [f"{figures[gate][family]:.1%}" if family in figures[gate] else "" for gate in gates]
        lines.append(f"| {family} | " + " | ".join(cells) + " |")
    return lines
