"""What pay by belief does, what a stricter judge would do, and what else could tell true pairs from wrong ones."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from operator import methodcaller
from typing import Any

import numpy as np

from benchmarks.attack_pay import NEWEST_RULE, Decided, decide
from benchmarks.attack_streams import TURNS, Scene, drain, inject, search_all, search_cosine, search_judge, swap
from benchmarks.attack_world import PAIR, Floats, Thing
from benchmarks.judge import one_of_each
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.scoring import MICRO, dequantise
from curiosity.protocol.verdict import BELIEF_STEPS, MOST_BELIEF, Weighed
from trainer.feed import FedPair

RULES = {
    "any": replace(NEWEST_RULE, full_belief=0),
    **{
        f"{100 * full / BELIEF_STEPS:.1f} %": replace(NEWEST_RULE, full_belief=full)
        for full in range(28, MOST_BELIEF + 1)
    },
    **{
        f"{100 * full / BELIEF_STEPS:.1f} %, a half below, as by version 3": replace(
            NEWEST_RULE, version=3, full_belief=full
        )
        for full in (30, 31)
    },
}
CUTS = (0.0, 0.70, 0.75, 0.80, 0.90, 0.95)
TOP = 50
LEARNED = 500  # pairs of each set that a second head learns from
PENALTY = 1.0  # of the ridge regression that learns a second head, for each pair
HEAD_WEIGHT = 0.5
KINDS = ("swapped", "search", "search-adaptive")
FIRST, SECOND = "CSLS, as the judge", "a second head"

Streams = Mapping[str, Sequence[Sequence[Decided]]]
Weigh = Callable[[Decided], float]


def decide_all(scenes: Sequence[Scene], many: Sequence[Scene]) -> Streams:
    """Decide about the streams of swapped captions, in ``many`` scenes, and of searched ones."""
    turned = [replace(scene, turn=turn) for scene in many for turn in range(1, TURNS + 1)]
    return {
        "swapped": [decide(scene.world, swap(scene), defended=True) for scene in turned],
        "search": [decide(scene.world, search_cosine(scene), defended=True) for scene in scenes],
        "search-adaptive": [decide(scene.world, search_judge(scene), defended=True) for scene in scenes],
        "search-all": [decide(scene.world, search_all(scene), defended=True) for scene in scenes],
    }


def relate_all(streams: Streams, weigh: Weigh) -> dict[str, float]:
    """Return what a wrong pair of each stream weighs in multiples of an honest one, mean of the streams."""
    return {
        name: round(statistics.fmean(_mean(one, weigh, wrong=True) / _mean(one, weigh, wrong=False) for one in each), 4)
        for name, each in streams.items()
    }


def relate_stream(decided: Sequence[Decided], rule: RewardParameters) -> float:
    """Return what a wrong pair of a stream weighs by a rule, in multiples of an honest one."""
    weigh = methodcaller("weighs", rule)
    return _mean(decided, weigh, wrong=True) / _mean(decided, weigh, wrong=False)


def _mean(decided: Sequence[Decided], weigh: Weigh, *, wrong: bool) -> float:
    return statistics.fmean(weigh(one) for one in decided if one.sent.is_wrong is wrong)


def by_full_belief(streams: Streams, honest: Sequence[Decided]) -> dict[str, dict[str, float]]:
    """Return what the belief from which a pair has its weight does, and what a half one step below did."""
    figures = {}
    for name, rule in RULES.items():
        weigh = methodcaller("weighs", rule)
        kept = statistics.fmean(weigh(one) for one in honest if one.verdict.novel)
        figures[name] = {"honest": round(kept, 4)} | relate_all(streams, weigh)
    return figures


def by_cut(scenes: Sequence[Scene], streams: Streams, honest: Sequence[Decided]) -> dict[str, dict[str, float]]:
    """Return what a judge does that accepts from a higher belief, where all that is paid is paid alike."""
    flat = replace(NEWEST_RULE, full_belief=0)
    beliefs: dict[tuple[bytes, bytes], float] = {}
    for scene in scenes:
        for a, b, believes in scene.world.opinions:
            measured = scene.world.opinions[a, b, believes].measurement
            if believes and isinstance(measured, Weighed):
                beliefs[a, b] = measured.belief_micro / MICRO
    figures = {}
    for cut in CUTS:

        def weigh(one: Decided, cut: float = cut) -> float:
            return one.weighs(flat) if beliefs[one.sent.a.digest, one.sent.b.digest] >= cut else 0.0

        above = [one for one in honest if beliefs[one.sent.a.digest, one.sent.b.digest] >= cut]
        figures[f"{cut:.2f}"] = {
            "accepted": round(sum(one.verdict.is_accepted for one in above) / len(honest), 4),
            "pay": round(sum(map(weigh, honest)) / sum(one.weighs(flat) for one in honest), 4),
        } | relate_all(streams, weigh)
    return figures


def junk_on_top(scene: Scene, rule: RewardParameters) -> float:
    """Return how many of the fifty pairs that are paid most are junk, if one in ten that are sent is.

    By version 1 of the rule those with the widest gaps; later the heaviest, of equal ones those that are drawn first.
    """
    defended = rule.version > 1
    decided = [one for one in decide(scene.world, inject(scene), defended=defended) if one.verdict.novel]
    numbered = dict(enumerate(decided))
    lots = scene.generator(9).permutation(len(decided))
    order = sorted(
        numbered,
        key=lambda i: (-numbered[i].weight, lots[i]) if defended else (-numbered[i].verdict.curiosity_micro, i),
    )
    return float(sum(numbered[i].sent.is_wrong for i in order[:TOP]))


# -- further evidence


def area(true: Floats, wrong: Floats) -> float:
    """Return how often a true pair has the higher score."""
    below = (wrong[:, None] < true[None, :]).mean() + (wrong[:, None] == true[None, :]).mean() / 2
    return round(float(below), 4)


def compare_evidence(scenes: Sequence[Scene], learned: Sequence[tuple[Thing, Thing]]) -> list[dict[str, float | str]]:
    """Return the areas under the ROC curve of scores for honest pairs against swapped and searched ones.

    Ranks are among the checkpoint's bank, both ways added. The second head is a ridge regression from the image
    network's features to captions, which learned from ``learned`` pairs of other sets.
    """
    head = _learn(scenes[0], learned)
    found: dict[str, dict[str, list[float]]] = {}
    for scene in scenes:
        honest = [(a, b) for a, b in scene.world.pairs]
        sides = {"honest": honest}
        for name, make in (("swapped", swap), ("search", search_cosine), ("search-adaptive", search_judge)):
            sides[name] = [(one.a, one.b) for one in make(scene) if one.is_wrong]
        scores = {name: _evidence(scene, pairs, head) for name, pairs in sides.items()}
        usual = {name: (values.mean(), values.std()) for name, values in scores["honest"].items()}
        for by in scores.values():
            both = [(by[name] - usual[name][0]) / usual[name][1] for name in (FIRST, SECOND)]
            by["the lower of both"] = np.minimum(*both)
        for evidence in scores["honest"]:
            for name in list(sides)[1:]:
                at = found.setdefault(evidence, {}).setdefault(name, [])
                at.append(area(scores["honest"][evidence], scores[name][evidence]))
    return [
        {"evidence": evidence} | {name: round(statistics.fmean(areas), 4) for name, areas in by.items()}
        for evidence, by in found.items()
    ]


def _learn(scene: Scene, learned: Sequence[tuple[Thing, Thing]]) -> Callable[[Floats], Floats]:
    encoder = scene.world.encoder
    inputs, wanted = encoder.features([a for a, _ in learned]), dequantise(encoder.of([b for _, b in learned]))
    mean, spread, middle = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3, wanted.mean(axis=0)
    scaled = (inputs - mean) / spread
    kernel = scaled @ scaled.T + PENALTY * len(scaled) * np.eye(len(scaled))
    weights: Floats = scaled.T @ np.linalg.solve(kernel, wanted - middle)

    def told(features: Floats) -> Floats:
        rows: Floats = (features - mean) / spread @ weights
        unit: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
        return unit

    return told


def _evidence(
    scene: Scene, pairs: Sequence[tuple[Thing, Thing]], head: Callable[[Floats], Floats]
) -> dict[str, Floats]:
    world = scene.world
    bank_a, bank_b = (dequantise(bank) for bank in world.anchors.banks[PAIR])
    a, b = (dequantise(world.encoder.of([pair[side] for pair in pairs])) for side in (0, 1))
    cosine = (a * b).sum(axis=1)
    ranks = (a @ bank_b.T >= cosine[:, None]).sum(axis=1) + (b @ bank_a.T >= cosine[:, None]).sum(axis=1)
    csls = cosine - (_crowding(a, bank_b) + _crowding(b, bank_a)) / 2
    second = head(world.encoder.features([one for one, _ in pairs]))
    agrees = (second * b).sum(axis=1) - _crowding(second, bank_b) / 2
    return {
        FIRST: csls,
        "ranks among the bank": -ranks.astype(np.float64),
        SECOND: agrees,
        "CSLS and half of it": csls + HEAD_WEIGHT * agrees,
    }


def learned_pairs(sets: Sequence[Sequence[FedPair]], seed: int) -> list[tuple[Thing, Thing]]:
    """Return pairs of other sets that a second head learns from, one of each concept."""
    draw = np.random.default_rng(seed)
    pairs = []
    for own in sets:
        each = one_of_each(own)
        pairs += [each[i] for i in draw.permutation(len(each))[:LEARNED]]
    return [(Thing.of(pair.item("image")), Thing.of(pair.item("text"))) for pair in pairs]


def _crowding(items: Floats, bank: Floats) -> Floats:
    mean: Floats = np.sort(items @ bank.T, axis=1)[:, -10:].mean(axis=1)
    return mean


# -- who comes first


def count_otherwise(scenes: Sequence[Scene]) -> dict[str, float]:
    """Return what owners of public pictures lose to earlier strangers if earlier pairs of an item counted otherwise."""
    kept: dict[str, float] = {
        "all, as in the rule": 0.0,
        "those held at least as likely": 0.0,
        "each by its belief": 0.0,
    }
    before = 0
    for scene in scenes:
        alone = {one.sent.a.digest: one for one in decide(scene.world, scene.honest, defended=True)}
        earlier: dict[bytes, list[float]] = {}
        for one in decide(scene.world, drain(scene), defended=True):
            measured = scene.world.opinion(one.sent.a, one.sent.b).measurement
            belief = measured.belief_micro / MICRO if isinstance(measured, Weighed) else 0.0
            others = earlier.setdefault(one.sent.a.digest, [])
            if one.sent.is_wrong:
                others += [belief] if one.verdict.novel else []
            elif others and alone[one.sent.a.digest].verdict.novel:
                before += 1
                counts = (len(others), sum(b >= belief for b in others), sum(others))
                for name, count in zip(kept, counts, strict=True):
                    kept[name] += one.verdict.novel / (1 + count) ** NEWEST_RULE.crowd_power
    return {name: round(1 - weight / max(before, 1), 4) for name, weight in kept.items()}


def to_tables(report: Mapping[str, Any]) -> list[str]:
    """Return the tables of what is measured here."""
    lines = [
        "",
        "| paid from | honest pay kept | swapped | best of 64 by cosine | by the judge | best of all |",
    ]
    lines += ["|---|---|---|---|---|---|"]
    for name, row in report["full_beliefs"].items():
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row.values()) + " |")
    lines += [
        "",
        "| accepted from | honest accepted | their pay | swapped | by cosine | by the judge | best of all |",
    ]
    lines += ["|---|---|---|---|---|---|---|"]
    for cut, row in report["cuts"].items():
        name = f"{float(cut):.2f}" if float(cut) else "as calibrated"
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in row.values()) + " |")
    lines += ["", "| area under the ROC curve, honest against | swapped | best of 64 by cosine | by the judge |"]
    lines += ["|---|---|---|---|"]
    for row in report["evidence"]:  # none where nothing was learned
        lines.append(f"| {row['evidence']} | " + " | ".join(f"{row[name]:.3f}" for name in KINDS) + " |")
    lines += ["", "| earlier pairs of an item that count | an owner who comes later loses |", "|---|---|"]
    return lines + [f"| {name} | {lost:.3f} |" for name, lost in report["drain_by_count"].items()]
