"""Thresholds and anchors of a checkpoint, from trusted pairs; the thresholds from pairs it never trained on.

Source of every rule: docs/scoring.md. A threshold that several sets of trusted pairs give is the most lenient of
theirs: each set keeps the share of honest pairs that alpha promises it.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from curiosity.embedding.checkpoint import AnchorArrays
from curiosity.embedding.masks import mask_seed
from curiosity.embedding.modalities import pair_name
from curiosity.embedding.space import MASKS, EmbeddingSpace
from curiosity.protocol.belief import Beliefs
from curiosity.protocol.calibration import Calibration, PairThresholds
from curiosity.protocol.scoring import (
    MICRO,
    Quantised,
    conformal_high,
    conformal_low,
    cosine_micro,
    cross_average,
    csls_micro,
    differential_loss_micro,
    distance_micro,
    joint,
    leave_one_out,
    pulls_micro,
    quantise,
)
from trainer.domains import Material, fit_domains
from trainer.feed import FedItem, FedPair
from trainer.joined import Joined, join_by_concept, spread
from trainer.library import Library, Prepared
from trainer.plain import plain_max_micro

# Share of honest pairs of new concepts that a threshold refuses, by modality pair: where the curves of
# docs/scoring.md bend for the genesis encoder. A pair not named here takes DEFAULT_ALPHA_MICRO.
ALPHA_MICRO: Mapping[str, int] = {"image-text": 100_000, "audio-text": 80_000, "audio-image": 100_000}
DEFAULT_ALPHA_MICRO = 100_000
FAR_ALPHA_MICRO = 10_000  # where beliefs decide, the distance refuses only what is farther than 99 of 100 true pairs
NULL_ALPHA_MICRO = 20_000  # the 98th percentile of calibration items
# Another machine moves an embedding by about 1e-7 and so flips the last bit of a few int16 components: 3e-6 each.
MARGIN_MICRO = 500
# A twentieth of known points have a nearer neighbour than the floor. Copies are found by their sketches, not by it: of
# accepted honest photos 78 % were novel with a tenth, 83 % with a twentieth, and copies earned the same
# (docs/curiosity.md).
NEAREST_SHARE_MICRO = 50_000
RATIO_SHARE_MICRO = 100_000  # q = 0.9
ANCHORS_EACH = 512
LEAST_ANCHORS = 64  # ten values give a tenth; the gap looks at 8 neighbours
# Nine modalities make 36 pairs, and everybody who judges holds all anchors: with 512 of each they would be 19 MB at 128
# dimensions and 113 MB at 768.
ANCHOR_BYTES = 8 * 2**20
JUDGED_EACH = 512  # unseen pairs of one set and modality pair that thresholds are taken from
LOSS_ITEMS = 128  # items of each modality that the median loss is taken over
BEACON = b"curiosity/calibration/1"


class _Embedded:
    """Quantised embeddings of trusted items, each made once."""

    def __init__(self, space: EmbeddingSpace, pairs: Sequence[FedPair], prepared: Prepared | None = None) -> None:
        self.space = space
        self.library = Library(space, prepared)
        self.pairs = self.library.add(pairs)
        self.rows = {name: quantise(space.embed_features(name, f)) for name, f in self.library.features.items()}

    def of(self, item: FedItem) -> Quantised:
        row: Quantised = self.rows[item.modality][self.library.row(item)]
        return row


class TooFewPairs(ValueError):
    """The pairs of a modality pair that training did not see are too few to calibrate on."""


def calibrate(
    space: EmbeddingSpace,
    trusted: Sequence[FedPair],
    *,
    alpha_micro: Mapping[str, int] = ALPHA_MICRO,
    unseen_split: str = "calibration",
    prepared: Prepared | None = None,
    believes: bool = False,
) -> tuple[Calibration, AnchorArrays]:
    """Return every number and every anchor that verdicts under this checkpoint stand on.

    ``trusted`` are the pairs of the splits ``genesis`` (trained on) and ``unseen_split`` (never trained on). Anchors
    are taken from both, one of each concept first; thresholds from the second alone. Every two modalities whose items
    meet in a concept get thresholds, whether they were given as pairs or not. Those that were not, and have too few
    for alpha, get none: no verdict is given on such a pair. With ``believes`` the checkpoint publishes beliefs, and the
    threshold of the distance refuses only ``FAR_ALPHA_MICRO`` of honest pairs, since the belief decides about the rest.

    Raises:
        TooFewPairs: when the unseen pairs of two modalities that were given as pairs are too few for alpha.
    """
    known = _Embedded(space, trusted, prepared)
    unseen = [pair for pair in known.pairs if pair.split == unseen_split]
    anchors: dict[str, Quantised] = {f"empty/{m}": quantise(space.embed_empty(m)) for m in space.modalities}
    names = [tuple(sorted(two)) for two in combinations(space.modalities, 2)]
    joined = {(a, b): join_by_concept(known.pairs, a, b) for a, b in names}
    joined = {two: pairs for two, pairs in joined.items() if any(p.split == unseen_split for p in pairs)}
    if not joined:
        raise TooFewPairs(f"{len(unseen)} pairs of the split {unseen_split} are too few: they join no two modalities")
    given = {pair.name for pair in known.pairs}
    joined = {
        two: pairs
        for two, pairs in joined.items()
        if pair_name(*two) in given or _has_enough(pairs, unseen_split, _alpha_of(alpha_micro, *two))
    }
    modalities = sorted({m for two in joined for m in two})
    rows: dict[str, list[FedItem]] = {}  # the items that the rows of an anchor array are of
    each = anchors_each(len(joined), space.dim)
    for m in modalities:
        own = [p for pairs in joined.values() for p in pairs if m in (p.a.modality, p.b.modality)]
        halves = [i for p in spread(own, 4 * ANCHORS_EACH) for i in (p.a, p.b) if i.modality == m]
        rows[f"ref/{m}"] = list({i.digest: i for i in halves}.values())[:ANCHORS_EACH]
        anchors[f"ref/{m}"] = np.stack([known.of(i) for i in rows[f"ref/{m}"]])
    median_loss = {m: _median_loss(known, unseen, m, anchors) for m in modalities}
    thresholds: dict[str, PairThresholds] = {}
    for (a, b), pairs in joined.items():
        name = pair_name(a, b)
        pulls = pulls_micro(median_loss[a], median_loss[b])
        bank = spread(pairs, each)
        for side, halves in ((a, [p.a for p in bank]), (b, [p.b for p in bank])):
            rows[f"bank/{name}/{side}"] = list({i.digest: i for i in halves}.values())
            anchors[f"bank/{name}/{side}"] = np.stack([known.of(i) for i in rows[f"bank/{name}/{side}"]])
        anchors[f"history/{name}"] = np.stack(
            [joint(*cross_average(known.of(p.a), known.of(p.b), *pulls)) for p in bank]
        )
        judged, alpha = _judged(pairs, unseen_split), _alpha_of(alpha_micro, a, b)
        thresholds[name] = _thresholds(
            known, judged, anchors, name, pulls, alpha, FAR_ALPHA_MICRO if believes else alpha
        )
    beliefs: dict[str, Beliefs] = {}
    if believes:
        unseen_of = {pair_name(*two): _judged(pairs, unseen_split) for two, pairs in joined.items()}
        beliefs, domains = fit_domains(Material(known.pairs, unseen_of, anchors, rows, known.of))
        anchors |= domains
    calibration = Calibration(
        pairs=thresholds,
        null_max_micro=_null_gates(known, unseen, anchors, modalities),
        median_loss_micro=median_loss,
        alpha_micro={name: _alpha_of(alpha_micro, *name.split("-")) for name in thresholds},
        masks=MASKS,
        beliefs=beliefs,
        plain_max_micro=plain_max_micro(modalities) if believes else {},
    )
    return calibration, anchors


def anchors_each(pairs: int, dim: int) -> int:
    """Return how many trusted pairs each modality pair's bank and history hold.

    All stay below ``ANCHOR_BYTES``: two banks of ``dim`` and one history of ``2 dim`` components, int16; never fewer
    than ``LEAST_ANCHORS``.
    """
    return max(LEAST_ANCHORS, min(ANCHORS_EACH, ANCHOR_BYTES // (pairs * 4 * dim * 2)))


def measure_pair(
    a: Quantised, b: Quantised, anchors: AnchorArrays, name: str, pulls: tuple[int, int]
) -> tuple[int, int]:
    """Return the final distance and CSLS score of a pair in millionths, as the judge computes them."""
    one, other = name.split("-")
    final = cross_average(a, b, *pulls)
    return distance_micro(*final), csls_micro(a, b, anchors[f"bank/{name}/{one}"], anchors[f"bank/{name}/{other}"])


def _alpha_of(alpha_micro: Mapping[str, int], a: str, b: str) -> int:
    return alpha_micro.get(pair_name(a, b), DEFAULT_ALPHA_MICRO)


def _judged(pairs: Sequence[Joined], split: str) -> list[Joined]:
    """Return the unseen pairs that thresholds are taken from.

    They are at most ``JUDGED_EACH`` of a set, one of each concept first.
    """
    unseen = [pair for pair in pairs if pair.split == split]
    return [
        pair
        for name in sorted({pair.set for pair in unseen})
        for pair in spread((one for one in unseen if one.set == name), JUDGED_EACH)
    ]


def _has_enough(pairs: Sequence[Joined], split: str, alpha: int) -> bool:
    counts: dict[str, int] = {}
    for pair in _judged(pairs, split):
        counts[pair.set] = counts.get(pair.set, 0) + 1
    return any(alpha * (count + 1) >= MICRO for count in counts.values())


def _thresholds(
    known: _Embedded,
    judged: Sequence[Joined],
    anchors: AnchorArrays,
    name: str,
    pulls: tuple[int, int],
    alpha: int,
    far_alpha: int,
) -> PairThresholds:
    """Return the most lenient thresholds of the sets; those with too few pairs for alpha have no say."""
    by_set: dict[str, list[tuple[int, int]]] = {}
    for pair in judged:
        measured = measure_pair(known.of(pair.a), known.of(pair.b), anchors, name, pulls)
        by_set.setdefault(pair.set, []).append(measured)
    enough = [values for values in by_set.values() if alpha * (len(values) + 1) >= MICRO]
    if not enough:
        raise TooFewPairs(f"{name}: {len(judged)} unseen trusted pairs are too few for alpha {alpha / MICRO}")
    most = max(far_alpha, MICRO // (max(map(len, enough)) + 1) + 1)  # as few as can be told from so many values
    far = [values for values in enough if most * (len(values) + 1) >= MICRO]
    around = leave_one_out(anchors[f"history/{name}"])
    return PairThresholds(
        max_distance_micro=max(conformal_high([distance for distance, _ in values], most) for values in far),
        min_csls_micro=min(conformal_low([csls for _, csls in values], alpha) for values in enough),
        margin_micro=MARGIN_MICRO,
        nearest_floor_micro=conformal_low(
            [gap.nearest_micro for gap in around], max(NEAREST_SHARE_MICRO, MICRO // (len(around) + 1) + 1)
        ),
        max_ratio_micro=conformal_high([gap.ratio_micro for gap in around], RATIO_SHARE_MICRO),
    )


def _null_gates(
    known: _Embedded, unseen: Sequence[FedPair], anchors: AnchorArrays, modalities: Sequence[str]
) -> dict[str, int]:
    """Return ``image>text``: what 98 % of honest pictures stay below in cosine to the empty text."""
    gates = {}
    for m in modalities:
        by_set: dict[str, dict[str, FedItem]] = {}
        for pair in unseen:
            for item in (pair.a, pair.b):
                if item.modality == m:
                    by_set.setdefault(pair.set, {})[item.digest] = item
        for other in modalities:
            if other != m and by_set:
                limits = []
                for items in by_set.values():
                    values = [cosine_micro(known.of(item), anchors[f"empty/{other}"]) for item in items.values()]
                    few = NULL_ALPHA_MICRO * (len(values) + 1) < MICRO
                    limits.append(max(values) if few else conformal_high(values, NULL_ALPHA_MICRO))
                gates[f"{m}>{other}"] = max(limits)
    return gates


def _median_loss(known: _Embedded, unseen: Sequence[FedPair], modality: str, anchors: AnchorArrays) -> int:
    """Return the median differential loss of unseen items of a modality, in millionths."""
    items = {i.digest: i for pair in unseen for i in (pair.a, pair.b) if i.modality == modality}
    chosen = [items[digest] for digest in sorted(items)[:LOSS_ITEMS]]
    features = [known.library.features[modality][known.library.row(item)] for item in chosen]
    seeds = [mask_seed(BEACON, bytes.fromhex(item.digest)) for item in chosen]
    measured = known.space.measure_features(modality, features, seeds)
    losses = [
        differential_loss_micro(whole, measured.masked, halves, anchors[f"ref/{modality}"])
        for whole, halves in zip(measured.whole, measured.halves, strict=True)
    ]
    return sorted(losses)[len(losses) // 2]
