"""Retrieval on held-out material: recall in every direction, for every set, known and unknown voices apart."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from embedding.retrieval import Recall, measure_recall
from embedding.space import EmbeddingSpace
from trainer.feed import FedItem, FedPair
from trainer.library import Library, Prepared

UNKNOWN_VOICE = "unknown-voice"


def evaluate(
    space: EmbeddingSpace,
    held_out: Sequence[FedPair],
    *,
    trained: Iterable[str],
    known_voices: Iterable[str],
    prepared: Prepared | None = None,
) -> dict[str, dict[str, Recall]]:
    """Recall by set and direction: ``{"emoji": {"text-image": Recall, "audio-image@unknown-voice": Recall, ...}}``.

    A direction is query, then gallery. An entry is right when it is of the query's concept. Directions without
    ``@unknown-voice`` hear voices that training heard; where a set has none of those, the plain direction hears what
    there is. ``trained`` names the modality pairs that were trained (``audio-text``); others are emergent.
    """
    library = Library(space, prepared)
    held_out = library.add(held_out)
    vectors = {name: space.embed_features(name, rows) for name, rows in library.features.items()}
    trained, known = set(trained), set(known_voices)
    out: dict[str, dict[str, Recall]] = {}
    for set_name in sorted({pair.set for pair in held_out}):
        chosen = [pair for pair in held_out if pair.set == set_name]
        spoken = {pair.voice for pair in chosen if pair.voice}
        groups = {"": spoken & known or spoken, "@" + UNKNOWN_VOICE: spoken - known}
        out[set_name] = {}
        for suffix, voices in groups.items():
            items = _by_modality(chosen, voices)
            for query in sorted(items):
                for gallery in sorted(items):
                    if query == gallery or (suffix and ("audio" not in (query, gallery) or not voices)):
                        continue
                    rows = {m: [library.row(item) for item, _ in items[m]] for m in (query, gallery)}
                    labels = {m: [concept for _, concept in items[m]] for m in (query, gallery)}
                    out[set_name][f"{query}-{gallery}{suffix}"] = measure_recall(
                        vectors[query][rows[query]],
                        vectors[gallery][rows[gallery]],
                        labels[query],
                        labels[gallery],
                        emergent="-".join(sorted((query, gallery))) not in trained,
                    )
    return out


def _by_modality(pairs: Sequence[FedPair], voices: set[str]) -> dict[str, list[tuple[FedItem, str]]]:
    """Distinct items of each modality with their concepts; sounds of the given voices only."""
    found: dict[str, dict[tuple[str, str], FedItem]] = {}
    for pair in pairs:
        for item in (pair.a, pair.b):
            if item.modality != "audio" or pair.voice in voices:
                found.setdefault(item.modality, {})[(item.digest, pair.concept)] = item
    return {m: [(item, concept) for (_, concept), item in items.items()] for m, items in found.items()}


def to_manifest(recall: Mapping[str, Mapping[str, Recall]]) -> dict[str, Any]:
    """The evaluation in integers, as a manifest holds it."""
    return {name: {d: r.to_micro() for d, r in directions.items()} for name, directions in recall.items()}


def to_json(recall: Mapping[str, Mapping[str, Recall]]) -> dict[str, Any]:
    """The evaluation in shares of 1, as reports print it."""
    return {
        name: {direction: {k: _round(v) for k, v in vars(r).items()} for direction, r in directions.items()}
        for name, directions in recall.items()
    }


def is_fit(recall: Mapping[str, Mapping[str, Recall]], *, least_times_chance: float = 2.0) -> bool:
    """Whether every direction that was trained finds its partner clearly more often than by chance.

    Collapsed, random and constant encoders fail: the differential loss of a checkpoint counts only after this.
    The first five of the gallery are looked at where the gallery has more than 50 entries, else the first.
    """
    judged = [
        r for directions in recall.values() for name, r in directions.items() if not r.emergent and "@" not in name
    ]
    if not judged:
        return False
    for r in judged:
        chance = r.chance10 / min(10, r.gallery)
        found, by_chance = (r.r5, 5 * chance) if r.gallery > 50 else (r.r1, chance)
        if found < least_times_chance * by_chance:
            return False
    return True


def _round(value: Any) -> Any:
    return round(float(value), 4) if isinstance(value, float | np.floating) else value
