"""The judgement: from the embeddings of two items to a verdict. Pure, so that anybody can repeat it.

Steps 7 to 11 of docs/protocol.md. The validator keeps the state (anchors, history, order); this holds the rule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
import numpy.typing as npt

from curiosity.protocol.belief import Beliefs, familiarity_micro, nearest_reference_micro
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.curiosity import DEFAULT_RULE, RULES, curiosity_micro, why_not_novel
from curiosity.protocol.errors import Fault
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.scoring import (
    MICRO,
    Gap,
    Quantised,
    cosine_micro,
    cross_average,
    csls_micro,
    differential_loss_micro,
    distance_micro,
    joint,
    pulls_micro,
)
from curiosity.protocol.verdict import LESS_FAMILIAR, Measurement, Outcome, Reason, Verdict, Weighed


@dataclass(frozen=True)
class Embedded:
    """One item as the encoder sees it: ``whole`` int16[d], ``masked`` int16[d], ``halves`` int16[K, 2, d].

    ``checkpoint`` is the digest of the one that embedded it, for whoever keeps embeddings longer than a checkpoint.
    ``change_micro`` is how much the item changes within itself (`curiosity.embedding.change`), None where its modality
    has no such measure.
    """

    whole: Quantised
    masked: Quantised
    halves: Quantised
    checkpoint: bytes = b""
    change_micro: int | None = None


@dataclass(frozen=True)
class Anchors:
    """Arrays that the checkpoint pins, so that no arriving pair can change another's verdict."""

    references: Mapping[str, Quantised]  # by modality, int16[N, d]
    banks: Mapping[str, tuple[Quantised, Quantised]]  # by modality pair, for a and for b
    empties: Mapping[str, Quantised]  # by modality, int16[d]
    history: Mapping[str, Quantised]  # by modality pair, joint points int16[N, 2d]
    domains: Mapping[str, Quantised] = field(default_factory=dict)  # by modality, of which domain a reference is, [N]

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[np.int16]]) -> "Anchors":
        """Return the anchors from arrays named ref/<m>, bank/<pair>/<m>, empty/<m>, history/<pair> and domain/<m>."""
        pairs = [name.removeprefix("history/") for name in arrays if name.startswith("history/")]
        return cls(
            references={n.removeprefix("ref/"): v for n, v in arrays.items() if n.startswith("ref/")},
            banks={p: (arrays[f"bank/{p}/{p.split('-')[0]}"], arrays[f"bank/{p}/{p.split('-')[1]}"]) for p in pairs},
            empties={n.removeprefix("empty/"): v for n, v in arrays.items() if n.startswith("empty/")},
            history={p: arrays[f"history/{p}"] for p in pairs},
            domains={n.removeprefix("domain/"): v for n, v in arrays.items() if n.startswith("domain/")},
        )

    def of_domain(self, modality: str, domain: int) -> Quantised:
        """Return the references of a modality that are of a domain, int16[n, d]; all are of the first by default."""
        references = self.references[modality]
        domains = self.domains.get(modality)
        if domains is None:
            return references if domain == 0 else references[:0]
        chosen: Quantised = references[domains == domain]
        return chosen


@dataclass(frozen=True)
class Judged:
    """A verdict with the two embeddings that go with it: cross-averaged if accepted, the originals if not.

    ``gap`` is measured on accepted pairs and written nowhere: it tells the distance to other people's pairs, and must
    not outlive them in this pair's record.
    """

    verdict: Verdict
    measurement: Measurement
    gap: Gap | None
    final_a: Quantised
    final_b: Quantised
    joint: Quantised | None  # the point that joins the history, if novel
    detail: str = ""  # why an accepted pair is not novel, or which item is unfamiliar; without numbers, for the opening


def embedding_digest(embedding: Quantised) -> bytes:
    """Return the SHA-256 over the little-endian int16 components."""
    return sha256(embedding.astype("<i2").tobytes()).digest()


@dataclass(frozen=True)
class Numbers:
    """What decides about a pair, in millionths. Familiarities and changes count only where beliefs decide."""

    null_a_micro: int
    null_b_micro: int
    distance_micro: int
    csls_micro: int
    familiarity_micro: int = 0
    domains_micro: tuple[int, ...] = ()
    change_a_micro: int | None = None
    change_b_micro: int | None = None

    @classmethod
    def of(cls, measurement: Measurement) -> "Numbers":
        """Return the numbers that a measurement records."""
        weighed = measurement if isinstance(measurement, Weighed) else None
        return cls(
            measurement.null_a_micro,
            measurement.null_b_micro,
            measurement.distance_micro,
            measurement.csls_micro,
            0 if weighed is None else weighed.familiarity_micro,
            () if weighed is None else weighed.domains_micro or (),
            None if weighed is None else weighed.change_a_micro,
            None if weighed is None else weighed.change_b_micro,
        )


def decide(numbers: Numbers, modalities: str, calibration: Calibration) -> tuple[Outcome, Reason]:
    """Return the outcome that the numbers of a pair give, and the reason (docs/protocol.md, step 9).

    Raises:
        KeyError: If the checkpoint is not calibrated for ``modalities``.
    """
    name_a, name_b = modalities.split("-")
    limits, beliefs = calibration.pairs[modalities], calibration.beliefs.get(modalities)
    margin = limits.margin_micro
    gates = _gates(numbers, modalities, calibration)
    plain = (
        plain_slack(calibration, name_a, numbers.change_a_micro if beliefs else None),
        plain_slack(calibration, name_b, numbers.change_b_micro if beliefs else None),
    )
    both = list(zip(gates, plain, strict=True))
    tests = [(Reason.ITEM_UNINFORMATIVE, max(gate, slack)) for gate, slack in both]
    outcome, reason = first_failing(tests, margin, Reason.PAIR_UNFAMILIAR)
    if outcome is not Outcome.REJECTED and any(gate < -margin <= slack for gate, slack in both):
        return (Outcome.HELD if outcome is Outcome.ACCEPTED else outcome), reason
    tests += [(Reason.ITEM_UNINFORMATIVE, gate) for gate in gates]
    tests.append((Reason.PAIR_TOO_FAR, limits.max_distance_micro - numbers.distance_micro))
    if beliefs is None:
        tests.append((Reason.PAIR_NOT_MUTUAL, numbers.csls_micro - limits.min_csls_micro))
    outcome, reason = first_failing(tests, margin, Reason.BELONGS_TOGETHER)
    if beliefs is None or outcome is not Outcome.ACCEPTED:
        return outcome, reason
    return beliefs.decide(numbers.csls_micro, numbers.familiarity_micro, margin, numbers.domains_micro)


def _gates(numbers: Numbers, modalities: str, calibration: Calibration) -> tuple[int, int]:
    """Return how far each item is from what the null gate stops; negative if it is stopped."""
    name_a, name_b = modalities.split("-")
    return (
        calibration.null_max_micro[f"{name_a}>{name_b}"] - numbers.null_a_micro,
        calibration.null_max_micro[f"{name_b}>{name_a}"] - numbers.null_b_micro,
    )


def plain_slack(calibration: Calibration, modality: str, change_micro: int | None) -> int:
    """Return how far an item is from being plainly empty, whatever the encoder says; negative if it is.

    An item of which nothing is measured is as empty as the encoder says: the answer is far below every gate's.
    """
    most = calibration.plain_max_micro.get(modality)
    return -3 * MICRO if most is None or change_micro is None else change_micro - most


@dataclass(frozen=True)
class Opinion:
    """What the checkpoint alone says of a pair: anybody who holds both items and the checkpoint comes to the same.

    ``final_a``, ``final_b`` are the cross-averaged embeddings if the pair is accepted, the originals if not.
    """

    outcome: Outcome
    reason: Reason
    checkpoint: bytes
    modalities: str
    measurement: Measurement
    final_a: Quantised
    final_b: Quantised
    detail: str = ""  # of a pair that is unlike all that is known, which item is the less familiar

    @property
    def point(self) -> Quantised | None:
        """The joint point of an accepted pair, int16[2d]."""
        return joint(self.final_a, self.final_b) if self.outcome is Outcome.ACCEPTED else None


def measure_familiarity(
    a: Quantised, b: Quantised, modalities: str, beliefs: Beliefs, anchors: Anchors
) -> tuple[int, tuple[int, ...]]:
    """Return how well the checkpoint knows two items, and how well each of its domains, in millionths.

    The first is the highest of the second, of the domains that have beliefs about ``modalities``; the second is empty
    where there is one domain.
    """
    name_a, name_b = modalities.split("-")
    domains = tuple(
        familiarity_micro(a, b, anchors.of_domain(name_a, domain), anchors.of_domain(name_b, domain))
        for domain in range(1 + len(beliefs.others))
    )
    if not beliefs.others:
        return domains[0], ()
    return beliefs.nearest(domains)[1], domains


def opine(
    a: Embedded, b: Embedded, *, modalities: str, checkpoint: bytes, calibration: Calibration, anchors: Anchors
) -> Opinion:
    """Decide about a pair of modality pair ``modalities`` ("audio-text", a's modality first), without any history.

    Tests in order: null gate of a and of b, final distance, and then the belief; a checkpoint that publishes no beliefs
    has a threshold for the CSLS score instead. What the null gate stops although it is not plainly empty is held. A
    value within the margin of its threshold makes the pair grey unless another test refuses it outright.

    Raises:
        KeyError: If the checkpoint is not calibrated for ``modalities``.
    """
    name_a, name_b = modalities.split("-")
    pull_a, pull_b = pulls_micro(calibration.median_loss_micro[name_a], calibration.median_loss_micro[name_b])
    final_a, final_b = cross_average(a.whole, b.whole, pull_a, pull_b)
    distance = distance_micro(final_a, final_b)
    csls = csls_micro(a.whole, b.whole, *anchors.banks[modalities])
    null_a = cosine_micro(a.whole, anchors.empties[name_b])
    null_b = cosine_micro(b.whole, anchors.empties[name_a])
    beliefs = calibration.beliefs.get(modalities)
    familiarity, domains = (
        (0, ()) if beliefs is None else measure_familiarity(a.whole, b.whole, modalities, beliefs, anchors)
    )
    change_a = a.change_micro if beliefs is not None and name_a in calibration.plain_max_micro else None
    change_b = b.change_micro if beliefs is not None and name_b in calibration.plain_max_micro else None
    numbers = Numbers(null_a, null_b, distance, csls, familiarity, domains, change_a, change_b)
    outcome, reason = decide(numbers, modalities, calibration)
    kept_a, kept_b = (final_a, final_b) if outcome is Outcome.ACCEPTED else (a.whole, b.whole)
    measurement = Measurement(
        raw_distance_micro=distance_micro(a.whole, b.whole),
        distance_micro=distance,
        csls_micro=csls,
        null_a_micro=null_a,
        null_b_micro=null_b,
        loss_a_micro=differential_loss_micro(a.whole, a.masked, a.halves, anchors.references[name_a]),
        loss_b_micro=differential_loss_micro(b.whole, b.masked, b.halves, anchors.references[name_b]),
        pull_a_micro=pull_a,
        pull_b_micro=pull_b,
        embedding_a=embedding_digest(a.whole),
        embedding_b=embedding_digest(b.whole),
        final_a=embedding_digest(kept_a),
        final_b=embedding_digest(kept_b),
    )
    if beliefs is not None:
        measurement = Weighed(
            **vars(measurement),
            familiarity_micro=familiarity,
            belief_micro=beliefs.at(csls, familiarity, domains),
            domains_micro=domains or None,
            change_a_micro=change_a,
            change_b_micro=change_b,
        )
    detail = ""
    if beliefs is not None and reason is Reason.PAIR_UNFAMILIAR:
        stopped = _stopped(numbers, modalities, calibration)
        domain = domains.index(familiarity) if domains else 0
        detail = LESS_FAMILIAR[stopped or _less_familiar(a.whole, b.whole, modalities, domain, anchors)]
    return Opinion(outcome, reason, checkpoint, modalities, measurement, kept_a, kept_b, detail)


def _stopped(numbers: Numbers, modalities: str, calibration: Calibration) -> str:
    """Return which of two items the null gate stops, the one further beyond its bound; empty if none."""
    slack_a, slack_b = _gates(numbers, modalities, calibration)
    if min(slack_a, slack_b) >= -calibration.pairs[modalities].margin_micro:
        return ""
    return "a" if slack_a <= slack_b else "b"


def _less_familiar(a: Quantised, b: Quantised, modalities: str, domain: int, anchors: Anchors) -> str:
    """Return which of two items the references of a domain resemble less, "a" if both do equally."""
    known_a, known_b = (
        nearest_reference_micro(item, anchors.of_domain(name, domain))
        for item, name in zip((a, b), modalities.split("-"), strict=True)
    )
    return "a" if known_a <= known_b else "b"


def rank(opinion: Opinion, *, calibration: Calibration, history: Neighbours, rule: str = DEFAULT_RULE) -> Judged:
    """Measure what an accepted pair adds to the history; it only ranks, and changes no outcome.

    ``history`` holds the joint points known so far, in commit order.
    """
    gap: Gap | None = None
    novel = False
    detail = opinion.detail
    point = opinion.point
    if point is not None:
        limits = calibration.pairs[opinion.modalities]
        gap = history.nearest(point)
        detail = why_not_novel(gap, limits, inside=RULES[rule](point, history, gap, limits))
        novel = not detail
    verdict = Verdict(
        outcome=opinion.outcome,
        reason=opinion.reason,
        checkpoint=opinion.checkpoint,
        # A pair that this checkpoint cannot place may be wrong, or new to it: nobody knows whose fault that is.
        fault=Fault.CONTRIBUTOR if opinion.reason is Reason.ITEM_UNINFORMATIVE else None,
        novel=novel,
        curiosity_micro=curiosity_micro(gap) if novel and gap is not None else 0,
    )
    known = point if novel else None
    return Judged(verdict, opinion.measurement, gap, opinion.final_a, opinion.final_b, known, detail)


def judge(
    a: Embedded,
    b: Embedded,
    *,
    modalities: str,
    checkpoint: bytes,
    calibration: Calibration,
    anchors: Anchors,
    history: Neighbours,
    rule: str = DEFAULT_RULE,
) -> Judged:
    """Return the verdict about a pair: `opine`, which needs no history, then `rank`, which does.

    Raises:
        KeyError: If the checkpoint is not calibrated for ``modalities``.
    """
    opinion = opine(a, b, modalities=modalities, checkpoint=checkpoint, calibration=calibration, anchors=anchors)
    return rank(opinion, calibration=calibration, history=history, rule=rule)


def first_failing(tests: Sequence[tuple[Reason, int]], margin_micro: int, otherwise: Reason) -> tuple[Outcome, Reason]:
    """Return the outcome from (reason, slack) of each test; negative slack fails, slack within the margin is grey.

    ``otherwise`` is the reason of what passes all.
    """
    for reason, slack in tests:
        if slack < -margin_micro:
            return Outcome.REJECTED, reason
    if any(slack < margin_micro for _, slack in tests):
        return Outcome.GREY, Reason.GREY_ZONE
    return Outcome.ACCEPTED, otherwise
