"""Retrieval on held-out material, and how the modalities lie beside each other."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from curiosity.embedding.checkpoint import GENESIS, AnchorArrays, Checkpoint, load
from curiosity.embedding.retrieval import Recall, measure_recall
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.embedding.weights import read_space
from curiosity.host.files import write_whole
from curiosity.protocol.errors import CheckpointError, ExitCode
from trainer.feed import FedItem, FedPair, read_trusted
from trainer.held_out import HeldOut
from trainer.library import Prepared
from trainer.survey import PairSurvey, survey_pair

UNKNOWN_VOICE = "unknown-voice"
LEAST_TIMES_CHANCE = 2.0
LEAST_SIGMAS = 3.0

Recalls = Mapping[str, Mapping[str, Recall]]
"""By set and direction: ``{"emoji": {"text-image": Recall, "audio-image@unknown-voice": Recall, ...}}``."""
Surveys = Mapping[str, Mapping[str, PairSurvey]]
"""By set and modality pair: ``{"emoji": {"audio-image": PairSurvey, ...}}``."""


def evaluate(
    space: EmbeddingSpace,
    held_out: Sequence[FedPair] | HeldOut,
    *,
    trained: Iterable[str],
    known_voices: Iterable[str],
    prepared: Prepared | None = None,
) -> dict[str, dict[str, Recall]]:
    """Recall by set and direction.

    A direction is query, then gallery. An entry is right when it is of the query's concept. Directions without
    ``@unknown-voice`` hear recordings without a voice and voices that training heard; where a set has none of those,
    the plain direction hears what there is. ``trained`` names the modality pairs that were trained (``audio-text``);
    others are emergent.
    """
    held = held_out if isinstance(held_out, HeldOut) else HeldOut(space, held_out, prepared)
    trained, known = set(trained), set(known_voices)
    out: dict[str, dict[str, Recall]] = {}
    for set_name in held.sets:
        chosen = [pair for pair in held.pairs if pair.set == set_name]
        spoken = {pair.voice for pair in chosen if pair.voice}
        out[set_name] = {}
        for suffix, voices in (("", (spoken & known or spoken) | {""}), ("@" + UNKNOWN_VOICE, spoken - known)):
            items = _by_modality(chosen, voices)
            for query in sorted(items):
                for gallery in sorted(items):
                    if query == gallery or (suffix and ("audio" not in (query, gallery) or not voices)):
                        continue
                    measured = _measure(held, items[query], items[gallery])
                    if measured:
                        emergent = "-".join(sorted((query, gallery))) not in trained
                        out[set_name][f"{query}-{gallery}{suffix}"] = measure_recall(*measured, emergent=emergent)
    return out


def survey(
    space: EmbeddingSpace,
    held_out: Sequence[FedPair] | HeldOut,
    *,
    medians: Mapping[str, int] | None = None,
    anchors: AnchorArrays | None = None,
    prepared: Prepared | None = None,
) -> dict[str, dict[str, PairSurvey]]:
    """Return the alignment, kept neighbourhoods and modality gap of every two modalities of every set.

    ``medians`` (median differential loss by modality, in millionths) set how far the cross-average moves each half;
    without them both move alike. With ``anchors`` it also says how well the score tells true pairs from wrong ones.
    Two modalities that share fewer than three concepts are left out.
    """
    held = held_out if isinstance(held_out, HeldOut) else HeldOut(space, held_out, prepared)
    out: dict[str, dict[str, PairSurvey]] = {}
    for set_name in held.sets:
        out[set_name] = {}
        for (a, b), pairs in held.partners(set_name).items():
            if len(pairs) >= 3:
                rows = held.rows(a, [pair.a for pair in pairs]), held.rows(b, [pair.b for pair in pairs])
                out[set_name][f"{a}-{b}"] = survey_pair(a, b, *rows, medians or {}, anchors)
    return out


Items = list[tuple[FedItem, str]]


def _by_modality(pairs: Sequence[FedPair], voices: set[str]) -> dict[str, Items]:
    """Return distinct items of each modality with their concepts; sounds of the given voices only ("": of none)."""
    found: dict[str, dict[tuple[str, str], FedItem]] = {}
    for pair in pairs:
        for item in (pair.a, pair.b):
            if item.modality != "audio" or pair.voice in voices:
                found.setdefault(item.modality, {})[(item.digest, pair.concept)] = item
    return {m: [(item, concept) for (_, concept), item in items.items()] for m, items in found.items()}


def _measure(
    held: HeldOut, queries: Items, gallery: Items
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[str], list[str]] | None:
    """Return what ``measure_recall`` takes: queries that have an answer; None where no concept is on both sides."""
    answered = {concept for _, concept in gallery}
    asked = [(item, concept) for item, concept in queries if concept in answered]
    if not asked:
        return None
    rows = [held.rows(items[0][0].modality, [item for item, _ in items]) for items in (asked, gallery)]
    return rows[0], rows[1], [concept for _, concept in asked], [concept for _, concept in gallery]


def to_manifest(recall: Recalls, surveys: Surveys, before: Recalls | None = None) -> dict[str, Any]:
    """Return the evaluation in integers, as a manifest holds it.

    ``before`` is that of the parent on the same material.
    """
    return {
        "recall": to_micro(recall),
        "alignment": {name: {p: s.to_micro() for p, s in pairs.items()} for name, pairs in surveys.items()},
    } | ({"parent": {"recall": to_micro(before)}} if before is not None else {})


def to_micro(recall: Recalls) -> dict[str, dict[str, dict[str, int | bool]]]:
    """Return the recall in integers, by set and direction."""
    return {name: {d: r.to_micro() for d, r in directions.items()} for name, directions in recall.items()}


def to_json(recall: Recalls) -> dict[str, Any]:
    """Return the recall in shares of 1, as reports print it."""
    return {
        name: {direction: {k: _round(v) for k, v in vars(r).items()} for direction, r in directions.items()}
        for name, directions in recall.items()
    }


def is_fit(recall: Recalls) -> bool:
    """Return whether every direction that was trained finds its partner clearly more often than by chance.

    Collapsed, random and constant encoders fail: the differential loss of a checkpoint counts only after this. What
    was found must be twice chance (half-way from chance to all, where twice is more than that) and three standard
    deviations above it, counted by concept: an encoder at random puts all pictures of one digit near one wrong name,
    and near the right one now and then. A direction with too few concepts to tell is not judged; where none is left,
    nothing shows that the encoder is fit.
    """
    judged = [
        is_above
        for directions in recall.values()
        for name, r in directions.items()
        if not r.emergent and "@" not in name and (is_above := _is_above_chance(r)) is not None
    ]
    return bool(judged) and all(judged)


def _is_above_chance(r: Recall) -> bool | None:
    """Return None where there are too few concepts to tell. Of a large gallery the first five are looked at."""
    found, chance = (r.r5, r.chance5) if r.gallery > 50 and r.chance5 < 0.25 else (r.r1, r.chance1)
    surely = chance + LEAST_SIGMAS * math.sqrt(chance * (1 - chance) / r.concepts)
    if surely > 1 or chance >= 1:
        return None
    return found >= surely and found >= min(LEAST_TIMES_CHANCE * chance, (1 + chance) / 2)


def _round(value: Any) -> Any:
    return round(float(value), 4) if isinstance(value, float | np.floating) else value


@dataclass(frozen=True)
class Evaluation:
    """What a checkpoint reaches on held-out pairs. ``held`` are those pairs with their embeddings."""

    checkpoint: str
    recall: Recalls
    surveys: Surveys
    held: HeldOut

    def to_json(self) -> dict[str, Any]:
        """Return everything in shares of 1."""
        return {
            "checkpoint": self.checkpoint,
            "fit": is_fit(self.recall),
            "recall": to_json(self.recall),
            "alignment": {name: {p: s.to_json() for p, s in pairs.items()} for name, pairs in self.surveys.items()},
        }

    def to_markdown(self) -> str:
        """Return both tables."""
        title = f"Checkpoint `{self.checkpoint[:16]}`, {'fit' if is_fit(self.recall) else 'NOT fit'}"
        return "\n".join([title, "", *recall_table(self.recall), "", *survey_table(self.surveys)])


def evaluate_checkpoint(checkpoint: Checkpoint, folders: Sequence[Path]) -> Evaluation:
    """Return the evaluation on the split ``held-out`` of pair sets.

    The manifest says which pairs and voices were trained.

    Raises:
        SourceError: When a pair set is missing or differs.
        CheckpointError: When the weights do not load.
    """
    space = read_space(checkpoint, pick_device())
    held_out = [
        pair
        for pair in read_trusted(folders, ["held-out"])
        if {pair.a.modality, pair.b.modality} <= set(space.modalities)
    ]
    held, manifest = HeldOut(space, held_out), checkpoint.manifest
    return Evaluation(
        checkpoint=checkpoint.digest,
        recall=evaluate(space, held, trained=manifest.trained_pairs(), known_voices=manifest.data.get("voices", ())),
        surveys=survey(space, held, medians=manifest.calibration.median_loss_micro, anchors=checkpoint.anchors),
        held=held,
    )


def recall_table(recall: Recalls) -> list[str]:
    """Return lines of a Markdown table, one for each direction."""
    lines = [
        "| set | direction | recall at 1 | at 5 | at 10 | median rank | gallery | chance at 10 | trained as a pair |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, directions in sorted(recall.items()):
        lines += [
            f"| {name} | {direction} | {r.r1:.1%} | {r.r5:.1%} | {r.r10:.1%} | {r.median_rank:g} | {r.gallery} "
            f"| {r.chance10:.1%} | {'no' if r.emergent else 'yes'} |"
            for direction, r in sorted(directions.items())
        ]
    return lines


def survey_table(surveys: Surveys) -> list[str]:
    """Return lines of a Markdown table, one for each modality pair."""
    lines = [
        "| set | pair | concepts | diagonal top-1 | AUC | wrong accepted at 5, 10 % | neighbours kept | gap "
        "| separability |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, pairs in sorted(surveys.items()):
        for pair, s in sorted(pairs.items()):
            kept = ", ".join(f"{m} {n.kept:.1%}" for m, n in s.neighbourhood.items())
            told = s.separation
            wrong = f"{told.auc:.3f} | {told.wrong_at_5:.1%}, {told.wrong_at_10:.1%}" if told else " | "
            lines.append(
                f"| {name} | {pair} | {s.alignment.pairs} | {s.alignment.score:.1%} | {wrong} | {kept} "
                f"| {s.gap.distance:.2f} "
                f"| {s.gap.separability:.1%} |"
            )
    return lines


def command(
    checkpoint: Path | None, held_out: Sequence[Path], json_file: Path | None, map_file: Path | None, threads: int
) -> int:
    """Measure as the command asks for, write the files and print a report.

    Raises:
        CheckpointError: CHECKPOINT_UNFIT, after the report.
        CuriosityError: As `evaluate_checkpoint` and `curiosity.embedding.checkpoint.load`.
        OSError: A file that cannot be written.
    """
    if threads:
        torch.set_num_threads(threads)
    done = evaluate_checkpoint(load(checkpoint or GENESIS), list(held_out))
    if map_file:
        from trainer.space_map import draw_map

        draw_map(done.held, map_file)
    if json_file:
        write_whole(json_file, json.dumps(done.to_json(), indent=1, sort_keys=True).encode() + b"\n")
    print(done.to_markdown())
    if not is_fit(done.recall):
        raise CheckpointError("CHECKPOINT_UNFIT", "it is near chance in a direction that was trained", "Train longer.")
    return ExitCode.OK
