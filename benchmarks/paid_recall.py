"""Held-out recall against the number of paid pairs, for the rule of pay and for other ways to choose pairs.

    python -m benchmarks.paid_recall [--seed N] [--json FILE]

From a stream of emoji pairs each way chooses as many as are paid: ``rule`` those that the judge accepts as new, by
weight and then by lot; ``random``; ``novelty`` those farthest from the nearest earlier pair; ``k-centre`` greedily the
pair farthest from all chosen ones (Gonzalez 1985). What is chosen teaches the preset ``offline`` a linear head (ridge
regression from a picture's features to its caption's vector, beside what the classes say), and recall at 10 of 200
is measured on concepts that no stream holds. Streams: ``clean``; ``spammed``, as many pairs again from 20 pictures with
any captions; ``junk``, three in ten pairs with another one's caption.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.attack_pay import Decided, decide
from benchmarks.attack_streams import CHEAT, HONEST
from benchmarks.attack_world import Encoder, Floats, Sent, Thing, World, build, read_set
from benchmarks.command import carry_out, make_parser
from curiosity.protocol.scoring import dequantise

SET = "emoji"
BUDGETS = (25, 50, 100, 200, 400)
GALLERY = 200
CALIBRATING, JUDGED = 300, 700
SPAMMED = 20  # pictures
JUNK = 0.3
RIDGE = 30.0
HEAD_WEIGHT = 0.6
TOLD_WEIGHT = 0.4
DRAWS = 5


def streams(pairs: Sequence[tuple[Thing, Thing]], seed: int) -> dict[str, list[Sent]]:
    """Return the three streams, made from the same true pairs."""
    draw = np.random.default_rng(seed)
    clean = [Sent(a, b, HONEST) for a, b in pairs]
    texts = [b for _, b in pairs]
    spam = [
        Sent(pairs[i % SPAMMED][0], texts[j], CHEAT, is_wrong=True)
        for i, j in enumerate(draw.permutation(len(pairs)).tolist())
    ]
    order = draw.permutation(2 * len(pairs)).tolist()
    turned = np.sort(draw.permutation(len(pairs))[: round(JUNK * len(pairs))])
    junk = list(clean)
    for place, other in zip(turned.tolist(), np.roll(turned, 1).tolist(), strict=True):
        junk[place] = Sent(pairs[place][0], texts[other], CHEAT, is_wrong=True)
    return {"clean": clean, "spammed": [[*clean, *spam][i] for i in order], "junk": junk}


@dataclass(frozen=True)
class Offer:
    """A stream that pairs are chosen from: what the judge decides, and joint points float64[n, 2d]."""

    decided: Sequence[Decided]
    points: Floats
    draw: np.random.Generator


def choose_by_rule(offer: Offer) -> list[int]:
    """Return all that is paid, by weight and then by lot."""
    lots = offer.draw.random(len(offer.decided))
    paid = [i for i, one in enumerate(offer.decided) if one.weight > 0]
    return sorted(paid, key=lambda i: (-offer.decided[i].weight, lots[i]))


def choose_at_random(offer: Offer) -> list[int]:
    """Choose any."""
    return [int(i) for i in offer.draw.permutation(len(offer.decided))]


def choose_novel(offer: Offer) -> list[int]:
    """Choose those farthest from the nearest that came before."""
    nearest = offer.points @ offer.points.T
    before = [float(nearest[i, :i].max()) if i else -1.0 for i in range(len(offer.points))]
    return [int(i) for i in np.argsort(before, kind="stable")]


def choose_centres(offer: Offer) -> list[int]:
    """Choose greedily the one farthest from all that are chosen."""
    chosen = [int(offer.draw.integers(len(offer.points)))]
    closest = offer.points @ offer.points[chosen[0]]
    while len(chosen) < min(max(BUDGETS), len(offer.points)):
        closest[chosen] = np.inf
        chosen.append(int(np.argmin(closest)))
        closest = np.maximum(closest, offer.points @ offer.points[chosen[-1]])
    return chosen


WAYS: Mapping[str, Callable[[Offer], list[int]]] = {
    "rule": choose_by_rule,
    "random": choose_at_random,
    "novelty": choose_novel,
    "k-centre": choose_centres,
}


def teach(features: Floats, texts: Floats, rows: Sequence[int]) -> Callable[[Floats, Floats], Floats]:
    """Return what embeds pictures once a head has learned from some pairs; features float64[n, w], texts [n, d]."""
    seen, wanted = features[list(rows)], texts[list(rows)]
    mean, goal = seen.mean(axis=0), wanted.mean(axis=0)
    inner = seen - mean
    kernel = np.linalg.solve(inner @ inner.T + RIDGE * np.eye(len(rows)), wanted - goal)
    weights = inner.T @ kernel

    def embed(new: Floats, said: Floats) -> Floats:
        learned = (new - mean) @ weights
        learned /= np.maximum(np.linalg.norm(learned, axis=1, keepdims=True), 1e-9)
        both = TOLD_WEIGHT * said + HEAD_WEIGHT * learned
        unit: Floats = both / np.linalg.norm(both, axis=1, keepdims=True)
        return unit

    return embed


def recall_at_10(pictures: Floats, texts: Floats) -> float:
    """Return the mean of both directions, each item among all of the other kind, with CSLS."""
    cosines = pictures @ texts.T
    crowd_a = np.sort(cosines, axis=1)[:, -10:].mean(axis=1)
    crowd_b = np.sort(cosines, axis=0)[-10:].mean(axis=0)
    score = cosines - (crowd_a[:, None] + crowd_b[None, :]) / 2
    own = np.diag(score)
    return float(np.mean([(score > own[:, None]).sum(axis=1) < 10, (score > own[None, :]).sum(axis=0) < 10]))


def measure(world: World, seed: int) -> list[dict[str, Any]]:
    """Return A row for each stream, way and budget."""
    held, offered = world.pairs[:GALLERY], world.pairs[GALLERY:]
    encoder = world.encoder
    held_features, held_told = encoder.features([a for a, _ in held]), dequantise(encoder.of([a for a, _ in held]))
    held_texts = dequantise(encoder.of([b for _, b in held]))
    rows: list[dict[str, Any]] = [
        {"stream": "", "way": "nothing learned", "pairs": 0, "recall": round(recall_at_10(held_told, held_texts), 4)}
    ]
    for name, stream in streams(offered, seed).items():
        decided = decide(world, stream, defended=True)
        pictures = [one.a for one in stream]
        texts = dequantise(encoder.of([one.b for one in stream]))
        features, told = encoder.features(pictures), dequantise(encoder.of(pictures))
        points = np.concatenate([told, texts], axis=1) / np.sqrt(2)
        for way, choose in WAYS.items():
            found: dict[int, list[tuple[float, float]]] = {}
            for turn in range(1 if way == "novelty" else DRAWS):
                order = choose(Offer(decided, points, np.random.default_rng([seed, turn])))
                for budget in (budget for budget in BUDGETS if budget <= len(order)):
                    chosen = order[:budget]
                    embed = teach(features, texts, chosen)
                    true = float(np.mean([not stream[i].is_wrong for i in chosen]))
                    recall = recall_at_10(embed(held_features, held_told), held_texts)
                    found.setdefault(budget, []).append((recall, true))
            for budget, values in found.items():
                recall, true = np.mean(values, axis=0).tolist()
                row = {"stream": name, "way": way, "pairs": budget, "recall": round(recall, 4), "true": round(true, 4)}
                rows.append(row)
    return rows


def run(seed: int, cache: Path, preset: str = "offline") -> dict[str, Any]:
    """Return the whole report."""
    encoder = Encoder.opened(preset, cache)
    world = build(SET, read_set(SET, cache), seed * 1_000, encoder, CALIBRATING, JUDGED)
    rows = measure(world, seed)
    encoder.keep()
    return {"seed": seed, "set": SET, "preset": preset, "rows": rows}


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return a table of recall for each stream: ways by budgets; behind it the share of true pairs among the chosen."""
    rows = report["rows"]
    lines = [f"Nothing learned: {rows[0]['recall']:.3f}", ""]
    for name in ("clean", "spammed", "junk"):
        lines += [f"| {name} | " + " | ".join(map(str, BUDGETS)) + " |", "|---" * (len(BUDGETS) + 1) + "|"]
        for way in WAYS:
            cells = []
            for budget in BUDGETS:
                here = [r for r in rows if (r["stream"], r["way"], r["pairs"]) == (name, way, budget)]
                cells.append(f"{here[0]['recall']:.3f} ({here[0]['true']:.0%} true)" if here else "")
            lines.append(f"| {way} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    given = make_parser("paid_recall", __doc__).parse_args(arguments)
    command = f"python -m benchmarks.paid_recall --seed {given.seed}"
    return carry_out(given, lambda: run(given.seed, given.cache) | {"command": command}, to_markdown)


if __name__ == "__main__":
    sys.exit(main())
