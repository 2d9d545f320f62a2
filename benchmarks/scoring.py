"""What scoring promises, for a split by a seed that nobody has tried: the null gate and the differential loss.

    python -m benchmarks.scoring --seed N [--json FILE]
    python -m benchmarks.scoring --summary

Makes the emoji set split by the seed, trains the preset from scratch as ``benchmarks.embedding`` does (pictures and
speech meet through text alone), calibrates on concepts that were never trained and measures on concepts that neither
training nor calibration saw:

- which share of honest items the null gate refuses, and which share of junk passes, by family: trained and left out;
- the differential loss of several checkpoints of the run beside their retrieval, by modality; of an untrained encoder;
  of a constant one.
"""

import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import RESULTS, carry_out, make_parser
from benchmarks.embedding import EMOJI_RECIPE, PRESET, TRAINED_PAIRS, refuse_overlap
from curiosity.embedding.masks import mask_seed
from curiosity.embedding.retrieval import Recall
from curiosity.embedding.space import MASKS, EmbeddingSpace, pick_device
from curiosity.protocol.errors import ExitCode
from curiosity.protocol.scoring import MICRO, differential_loss_micro, quantise
from curiosity.sources.made.emoji import make_emoji
from trainer.calibrate import ANCHORS_EACH, LOSS_ITEMS, calibrate
from trainer.evaluation import evaluate, is_fit, to_json
from trainer.feed import FedPair, read_trusted
from trainer.held_out import HeldOut
from trainer.library import Library, Prepared
from trainer.null_gate import HONEST, measure_null_gate, null_table, summarise_null_gate
from trainer.recipe import Recipe
from trainer.train import train

# Steps after which a checkpoint is looked at, beside the end. Before the eighth, retrieval is at chance and its rank is
# noise. Near ones differ by chance too: the last before the end is left out when the end has less than half as many
# steps again.
CHECKPOINTS = (8, 16, 32, 64, 128, 256, 512)
APART = 1.5
JUNK_EACH = 400
BEACON = b"curiosity/benchmark/1"


@dataclass(frozen=True)
class Material:
    """The pairs of a split by seed."""

    trained: list[FedPair]
    trusted: list[FedPair]
    held_out: list[FedPair]
    card: Mapping[str, Any]


def find_material(seed: int, cache: Path, limit: int | None = None) -> Material:
    """Return the emoji set: what is trained, what calibrates (``genesis`` and ``calibration``), what was held out."""
    folder = cache / f"emoji-families-{seed}"
    card = make_emoji(folder, seed=seed, split_by="families", limit=limit, cache=cache / "speech")
    trained = [p for p in read_trusted([folder], ["genesis", "submit"]) if p.name in TRAINED_PAIRS]
    trusted = [p for p in read_trusted([folder], ["genesis", "calibration"]) if p.name in TRAINED_PAIRS]
    held_out = read_trusted([folder], ["held-out"])
    refuse_overlap(trained, held_out)
    return Material(trained, trusted, held_out, card)


def measure(material: Material, recipe: Recipe, junk_each: int = JUNK_EACH) -> dict[str, Any]:
    """Train and measure; shares of 1."""
    prepared: Prepared = {}
    modalities = sorted({item.modality for pair in material.trained for item in (pair.a, pair.b)})
    space = EmbeddingSpace(PRESET, seed=recipe.seed, modalities=modalities).to(pick_device())
    library = Library(space, prepared)
    kept = library.add(material.trained)
    probe = Probe(space, library, material, prepared)
    rows = [probe.look(0)]
    kept_weights, spent = _train_and_keep(space, library, kept, recipe)
    for step, weights in kept_weights:
        space.load_state_dict(weights)
        rows.append(probe.look(step))
    held = HeldOut(space, material.held_out, prepared)
    recall = evaluate(space, held, trained=TRAINED_PAIRS, known_voices={p.voice for p in kept if p.voice})
    calibration, anchors = calibrate(space, material.trusted, prepared=prepared)
    unseen = Library(space, prepared)
    unseen.add(material.held_out)
    honest = {m: quantise(space.embed_features(m, unseen.features[m])) for m in modalities}
    null = measure_null_gate(
        space, calibration, anchors, honest, unseen.kept, junk_each=junk_each, seed=recipe.seed * 1_000 + 500
    )
    return {
        "seed": recipe.seed,
        "preset": PRESET,
        "steps": spent["steps"],
        "cpu_seconds": spent["cpu_s"],
        "pair_set": material.card["digest"],
        "fit": is_fit(recall),
        "recall": to_json(recall)[next(iter(recall))],
        "null": null,
        "null_worst": summarise_null_gate(null),
        "junk_each": junk_each,
        "differential": {
            "checkpoints": rows[1:],
            "untrained": rows[0]["loss"],
            "constant": probe.look_at_constant(),
            "rank_correlation": {
                m: round(rank_correlation([r["loss"][m] for r in rows[1:]], [r["r10"][m] for r in rows[1:]]), 4)
                for m in modalities
            },
        },
    }


class Probe:
    """Held-out items whose differential loss is looked at as a space learns, and their retrieval."""

    def __init__(self, space: EmbeddingSpace, known: Library, material: Material, prepared: Prepared) -> None:
        self.space, self.material, self.prepared = space, material, prepared
        unseen = Library(space, prepared)
        unseen.add(material.held_out)
        self.items = {m: unseen.features[m][:LOSS_ITEMS] for m in space.modalities}
        self.seeds = {
            m: [mask_seed(BEACON, bytes.fromhex(digest)) for digest in unseen.digests[m][:LOSS_ITEMS]]
            for m in space.modalities
        }
        self.references = {m: known.features[m][:ANCHORS_EACH] for m in space.modalities}

    def look(self, step: int) -> dict[str, Any]:
        """Return the mean differential loss by modality, and the mean recall at 10.

        Of recall, the trained directions count that the modality is in.
        """
        recall = evaluate(
            self.space, self.material.held_out, trained=TRAINED_PAIRS, known_voices=(), prepared=self.prepared
        )
        found = next(iter(recall.values()))
        return {
            "step": step,
            "loss": {m: round(self.loss(m), 6) for m in self.space.modalities},
            "r10": {m: round(_mean_r10(found, m), 6) for m in self.space.modalities},
        }

    def loss(self, modality: str) -> float:
        """Return the mean differential loss of the held-out items; 1 is uninformative."""
        measured = self.space.measure_features(modality, self.items[modality], self.seeds[modality], MASKS)
        references = quantise(self.space.embed_features(modality, self.references[modality]))
        losses = [
            differential_loss_micro(whole, measured.masked, halves, references)
            for whole, halves in zip(measured.whole, measured.halves, strict=True)
        ]
        return statistics.fmean(losses) / MICRO

    def look_at_constant(self) -> dict[str, float]:
        """Return the loss of an encoder that gives every item the same embedding."""
        out = {}
        for modality in self.space.modalities:
            tower = self.space.tower(modality)
            own = tower.forward
            tower.forward = lambda inputs: torch.ones(len(inputs), self.space.dim, device=inputs.device)  # type: ignore[method-assign]
            try:
                out[modality] = self.loss(modality)
            finally:
                tower.forward = own  # type: ignore[method-assign]
        return out


def _mean_r10(found: Mapping[str, Recall], modality: str) -> float:
    return statistics.fmean(
        r.r10 for name, r in found.items() if not r.emergent and modality in name.split("-") and "@" not in name
    )


def _train_and_keep(
    space: EmbeddingSpace, library: Library, pairs: Sequence[FedPair], recipe: Recipe
) -> tuple[list[tuple[int, dict[str, torch.Tensor]]], dict[str, Any]]:
    """Train, and keep copies of the weights on the way: steps taken, weights."""
    kept: list[tuple[int, dict[str, torch.Tensor]]] = []

    def look(step: int, _steps: int, _loss: float) -> None:
        if step in CHECKPOINTS:
            kept.append((step, {name: t.detach().clone() for name, t in space.state_dict().items()}))

    done = train(space, library, library.streams(pairs), recipe, look)
    if kept and done.steps < APART * kept[-1][0]:
        kept.pop()
    kept.append((done.steps, {name: t.detach().clone() for name, t in space.state_dict().items()}))
    return kept, {"steps": done.steps, "cpu_s": round(done.cpu_s, 2)}


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's correlation: of ranks, equal values sharing their mean rank; 0 where one side is constant."""
    ranks = [_rank(np.asarray(values, dtype=np.float64)) for values in (one, other)]
    centred = [values - values.mean() for values in ranks]
    length = float(np.linalg.norm(centred[0]) * np.linalg.norm(centred[1]))
    return float(centred[0] @ centred[1]) / length if length else 0.0


def _rank(values: NDArray[np.float64]) -> NDArray[np.float64]:
    below = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    ranks: NDArray[np.float64] = below + (equal + 1) / 2
    return ranks


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the tables of one run."""
    differential = report["differential"]
    modalities = sorted(differential["untrained"])
    lines = [f"Seed {report['seed']}, {report['steps']} steps, {report['cpu_seconds']} CPU-seconds of training", ""]
    lines += ["| of the run | " + " | ".join(f"{m}: loss | r10" for m in modalities) + " |"]
    lines += ["|---|" + "---|---|" * len(modalities)]
    for row in differential["checkpoints"]:
        cells = " | ".join(f"{row['loss'][m]:.3f} | {row['r10'][m]:.1%}" for m in modalities)
        lines.append(f"| step {row['step']} | {cells} |")
    for title, key, digits in (("untrained", "untrained", 3), ("constant", "constant", 6)):
        lines.append(f"| {title} | " + " | ".join(f"{differential[key][m]:.{digits}f} | " for m in modalities) + " |")
    cells = " | ".join(f"{differential['rank_correlation'][m]:.2f} | " for m in modalities)
    lines += [f"| rank correlation | {cells} |", "", *null_table(report["null"]), ""]
    lines += [f"| {name} | recall at 10 {r['r10']:.1%} |" for name, r in report["recall"].items()]
    lines += ["", f"Worst: {json.dumps(report['null_worst'])}"]
    return "\n".join(lines)


def summarise(folder: Path) -> str:
    """Return the medians over the committed results: of each gate and family, of the losses and correlations.

    Raises:
        ValueError: when there is no result.
    """
    reports = [json.loads(file.read_text()) for file in sorted(folder.glob("scoring_*.json"))]
    if not reports:
        raise ValueError(f"{folder} holds no scoring_*.json")
    null = {
        gate: {
            family: statistics.median(report["null"][gate][family] for report in reports)
            for family in reports[0]["null"][gate]
        }
        for gate in reports[0]["null"]
    }
    lines = [f"Seeds {', '.join(str(report['seed']) for report in reports)}; medians", "", *null_table(null), ""]
    for kind in reports[0]["null_worst"]:
        worst = max((report["null_worst"][kind] for report in reports), key=lambda one: float(one["share"]))
        verb = "refused" if kind == HONEST else "pass"
        lines.append(f"Worst of any seed, {kind}: {worst['share']:.1%} {verb} ({worst['family']}, {worst['gate']})")
    lines.append("")
    lines += ["| modality | rank correlation | highest | untrained | trained | constant |", "|---|---|---|---|---|---|"]
    for m in sorted(reports[0]["differential"]["untrained"]):
        found = [report["differential"] for report in reports]
        correlations = [one["rank_correlation"][m] for one in found]
        lines.append(
            f"| {m} | {statistics.median(correlations):.2f} | {max(correlations):.2f} "
            f"| {statistics.median(one['untrained'][m] for one in found):.3f} "
            f"| {statistics.median(one['checkpoints'][-1]['loss'][m] for one in found):.3f} "
            f"| {statistics.median(one['constant'][m] for one in found):.6f} |"
        )
    lines += ["", "| direction | recall at 10 |", "|---|---|"]
    lines += [
        f"| {name} | {statistics.median(report['recall'][name]['r10'] for report in reports):.1%} |"
        for name in reports[0]["recall"]
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    parser = make_parser("scoring", __doc__, threads=True)
    parser.add_argument("--steps", type=int, default=EMOJI_RECIPE.steps, help="of training")
    parser.add_argument("--limit", type=int, help="make the set this small (tests)")
    parser.add_argument("--junk-each", type=int, default=JUNK_EACH, help="items of each junk family")
    parser.add_argument("--summary", action="store_true", help="print the medians of the committed results")
    given = parser.parse_args(arguments)
    if given.summary:
        print(summarise(RESULTS))
        return ExitCode.OK
    recipe = replace(EMOJI_RECIPE, seed=given.seed, steps=given.steps)

    def measured() -> dict[str, Any]:
        started = time.monotonic()
        report = measure(find_material(given.seed, given.cache, given.limit), recipe, given.junk_each)
        return report | {
            "command": f"python -m benchmarks.scoring --seed {given.seed}",
            "threads": torch.get_num_threads(),
            "wall_seconds": round(time.monotonic() - started, 2),
        }

    return carry_out(given, measured, to_markdown)


if __name__ == "__main__":
    sys.exit(main())
