"""Whether what a pair does for held-out loss tells true pairs from wrong ones, as a price or as an audit.

    python -m benchmarks.influence [--set photos|clipart|emoji] [--seed N] [--rounds N] [--json FILE]

In each round a third of a set's judged pairs is held out, the rest is an epoch in which as many pairs of cheats as of
honest people arrive. What the judge accepts teaches a linear head (``benchmarks.paid_recall``) in ``FOLDS`` parts,
dealt by wallet, so that the head that weighs a pair never learned from its contributor. A pair's influence is what the
contrastive loss of held-out pairs falls by when the ridge regression takes the pair in: the exact step of one row
(Sherman and Morrison 1950), so that no first-order estimate (Koh and Liang 2017) stands between. It is

- a price: pay in proportion to it, nothing below zero (``priced``), or at most the median above zero (``capped``),
  against the same pay for each accepted pair (``flat``);
- an audit: pairs below the value that 10 % of the honest ones lie below are refused (``audited``).

Cheats send swapped captions, the caption of 64 that the judge scores highest (``searched``), or of those that it
accepts the one with the most influence on the head that everybody can download (``adaptive``). Whoever adapts knows
half of the held-out pairs; the other half, which a beacon would draw afterwards, is what influence is measured on,
unless he knows it (``adaptive, knows``). ``adaptive, all`` tries every caption there is.
"""

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.attack_streams import CHEAT, SEARCHED, Scene, search_judge, swap
from benchmarks.attack_world import Encoder, Floats, Sent, Thing, World, build, read_set
from benchmarks.command import carry_out, make_parser
from benchmarks.judge import roc_area
from benchmarks.paid_recall import HEAD_WEIGHT, RIDGE, TOLD_WEIGHT
from curiosity.protocol.scoring import dequantise
from curiosity.protocol.verdict import Outcome

FOLDS = 5
WALLET = 10  # pairs of a wallet
TEMPERATURE = 0.05
FALSE_ALARMS = 0.1
MOST = 600
SETS = ("photos", "clipart", "emoji")
CAPTIONS = "clipart"  # where cheats take captions from; for clipart itself: emoji


def contrastive_loss(pictures: Floats, texts: Floats) -> float:
    """Return the mean over both directions of the loss of finding each other; unit float64[n, d] each."""
    logits = pictures @ texts.T / TEMPERATURE
    total = 0.0
    for way in (logits, logits.T):
        top = way.max(axis=1, keepdims=True)
        total += float((np.log(np.exp(way - top).sum(axis=1)) + top[:, 0] - np.diag(way)).mean())
    return total / 2


@dataclass(frozen=True)
class HeldOut:
    """Pairs that nobody sends: picture features float64[n, w], what classes say and captions float64[n, d]."""

    features: Floats
    told: Floats
    texts: Floats

    @classmethod
    def of(cls, encoder: Encoder, pairs: Sequence[tuple[Thing, Thing]]) -> "HeldOut":
        """Embed pairs."""
        pictures, texts = ([pair[k] for pair in pairs] for k in (0, 1))
        return cls(encoder.features(pictures), dequantise(encoder.of(pictures)), dequantise(encoder.of(texts)))

    def loss(self, learned: Floats) -> float:
        """Return the loss with these outputs of the head, float64[n, d]."""
        unit = learned / np.maximum(np.linalg.norm(learned, axis=1, keepdims=True), 1e-9)
        both = TOLD_WEIGHT * self.told + HEAD_WEIGHT * unit
        return contrastive_loss(both / np.linalg.norm(both, axis=1, keepdims=True), self.texts)


class Head:
    """Ridge regression from features float64[n, w] to caption vectors float64[n, d], both about their means."""

    def __init__(self, features: Floats, texts: Floats) -> None:
        self._mean, goal = features.mean(axis=0), texts.mean(axis=0)
        self._goal = goal
        self._rows = features - self._mean
        self._kernel = np.linalg.inv(self._rows @ self._rows.T + RIDGE * np.eye(len(features)))
        self._weights = self._rows.T @ (self._kernel @ (texts - goal))

    def outputs(self, features: Floats) -> Floats:
        """Return float64[n, d]."""
        out: Floats = (features - self._mean) @ self._weights
        return out

    def influence(self, feature: Floats, text: Floats, held: HeldOut) -> float:
        """Return by how much the held-out loss falls when this pair is learned too; float64[w], float64[d]."""
        inner = feature - self._mean
        solved = (inner - self._rows.T @ (self._kernel @ (self._rows @ inner))) / RIDGE
        left = text - self._goal - inner @ self._weights
        step = (held.features - self._mean) @ solved / (1.0 + inner @ solved)
        before = self.outputs(held.features)
        return held.loss(before) - held.loss(before + step[:, None] * left[None, :])


@dataclass(frozen=True)
class Epoch:
    """What the judge accepted: features, captions, who is wrong, and the fold of each pair's wallet."""

    features: Floats
    texts: Floats
    is_wrong: NDArray[np.bool_]
    fold: NDArray[np.int64]

    @classmethod
    def of(cls, world: World, stream: Sequence[Sent], seed: int) -> "Epoch":
        """Keep what is accepted, and deal the wallets of honest people and of cheats to folds."""
        kept = [one for one in stream if world.opinion(one.a, one.b).outcome is Outcome.ACCEPTED]
        counts, wallets = {False: 0, True: 0}, []
        for one in kept:
            wallets.append((one.is_wrong, counts[one.is_wrong] // WALLET))
            counts[one.is_wrong] += 1
        names = sorted(set(wallets))
        folds = dict(zip(names, (np.random.default_rng(seed).permutation(len(names)) % FOLDS).tolist(), strict=True))
        return cls(
            world.encoder.features([one.a for one in kept]),
            dequantise(world.encoder.of([one.b for one in kept])),
            np.array([one.is_wrong for one in kept]),
            np.array([folds[wallet] for wallet in wallets]),
        )

    def influences(self, held: HeldOut) -> Floats:
        """Return each pair's influence under the head that did not learn from its fold, float64[n]."""
        found = np.zeros(len(self.fold))
        for fold in range(FOLDS):
            inside = self.fold == fold
            head = Head(self.features[~inside], self.texts[~inside])
            for i in np.flatnonzero(inside):
                found[i] = head.influence(self.features[i], self.texts[i], held)
        return found


def search_influence(scene: Scene, held: HeldOut, searched: int) -> list[Sent]:
    """Find for each picture the caption of so many, accepted as new, with the most influence on the public head."""
    world, draw = scene.world, scene.generator(7)
    features = world.encoder.features([one.a for one in scene.honest])
    public = Head(features, dequantise(world.encoder.of([one.b for one in scene.honest])))
    own = world.encoder.features([a for a, _ in scene.own])
    captions = dequantise(world.encoder.of(scene.foreign))
    free = list(range(len(scene.foreign)))
    wrong = []
    for (a, _), feature in zip(scene.own, own, strict=True):
        some = [int(j) for j in draw.permutation(free)[:searched]]
        taken = [j for j in some if world.is_paid_alone(a, scene.foreign[j])]
        best = max(
            taken or some[:1],
            key=lambda j, feature=feature: public.influence(feature, captions[j], held),  # type: ignore[misc]
        )
        free.remove(best)
        wrong.append(Sent(a, scene.foreign[best], CHEAT, is_wrong=True))
    return scene.mixed(wrong, 7)


def tell(epoch: Epoch, influence: Floats, sent: tuple[int, int]) -> dict[str, float]:
    """Return the figures of an epoch; ``sent`` honest pairs and pairs of cheats arrived."""
    true, wrong = influence[~epoch.is_wrong], influence[epoch.is_wrong]
    honest, cheat = np.maximum(true, 0), np.maximum(wrong, 0)
    usual = float(np.median(np.maximum(influence, 0)[influence > 0]))
    limit = np.sort(true)[int(FALSE_ALARMS * len(true))]
    ordered = np.sort(honest)[::-1]
    return {
        "auc": roc_area(true, wrong),
        "found_at_10": float((wrong < limit).mean()),
        "flat": (len(wrong) / sent[1]) / (len(true) / sent[0]),
        "priced": float((cheat.sum() / sent[1]) / (honest.sum() / sent[0])),
        "capped": float((np.minimum(cheat, usual).sum() / sent[1]) / (np.minimum(honest, usual).sum() / sent[0])),
        "audited": float(((wrong >= limit).sum() / sent[1]) / ((true >= limit).sum() / sent[0])),
        "honest_unpaid": float((true <= 0).mean()),
        "honest_top_tenth": float(ordered[: max(len(ordered) // 10, 1)].sum() / ordered.sum()),
    }


def measure(world: World, captions: Sequence[Thing], seed: int) -> dict[str, dict[str, float]]:
    """Return the figures of a round, for each kind of cheat."""
    encoder, third = world.encoder, len(world.pairs) // 3
    drawn, known = (HeldOut.of(encoder, world.pairs[k:third:2]) for k in (0, 1))
    scene = Scene(replace(world, pairs=world.pairs[third:]), captions, seed)
    kinds: Mapping[str, Callable[[], list[Sent]]] = {
        "swapped": lambda: swap(scene),
        "searched": lambda: search_judge(scene),
        "adaptive": lambda: search_influence(scene, known, SEARCHED),
        "adaptive, knows": lambda: search_influence(scene, drawn, SEARCHED),
        "adaptive, all": lambda: search_influence(scene, known, len(scene.foreign)),
    }
    found = {}
    for kind, make in kinds.items():
        stream = make()
        epoch = Epoch.of(world, stream, seed)
        wrong = sum(one.is_wrong for one in stream)
        found[kind] = tell(epoch, epoch.influences(drawn), (len(stream) - wrong, wrong))
    return found


def run(name: str, seed: int, rounds: int, cache: Path, preset: str = "offline") -> dict[str, Any]:
    """Return the whole report: the mean of the rounds for each kind of cheat."""
    encoder = Encoder.opened(preset, cache)
    own = read_set(name, cache)
    other = "emoji" if name == CAPTIONS else CAPTIONS
    foreign = [build(other, read_set(other, cache), seed, encoder)]
    captions = [b for world in foreign for _, b in world.pairs]
    found = []
    for number in range(rounds):
        world = build(name, own, seed * 1_000 + number, encoder, most=MOST)
        found.append(measure(world, captions, seed * 1_000 + number))
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    encoder.keep()
    rows = [
        {"cheat": kind} | {figure: round(statistics.fmean(one[kind][figure] for one in found), 4) for figure in figures}
        for kind, figures in found[0].items()
    ]
    return {"set": name, "seed": seed, "rounds": rounds, "preset": preset, "rows": rows}


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a table."""
    figures = [name for name in report["rows"][0] if name != "cheat"]
    lines = [
        f"Set {report['set']}, seed {report['seed']}, {report['rounds']} rounds, preset {report['preset']}",
        "",
        "| cheat | " + " | ".join(figures) + " |",
        "|---" * (len(figures) + 1) + "|",
    ]
    lines += [
        f"| {row['cheat']} | " + " | ".join(f"{row[name]:.3f}" for name in figures) + " |" for row in report["rows"]
    ]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    parser = make_parser("influence", __doc__)
    parser.add_argument("--set", choices=SETS, default="emoji", dest="name")
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args(arguments)
    command = f"python -m benchmarks.influence --set {given.name} --seed {given.seed} --rounds {given.rounds}"
    measured = partial(run, given.name, given.seed, given.rounds, given.cache)
    return carry_out(given, lambda: measured() | {"command": command}, to_markdown)


if __name__ == "__main__":
    sys.exit(main())
