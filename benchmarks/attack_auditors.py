"""What checkpoints that come with the program find as second judges of pairs that caption search made and pay awards.

The search ran against another encoder, the one that the pairs were accepted by. A pair fails its audit if the second
judge rejects it; ``found_at_tenth`` is what it would find by a threshold of its own that condemns a tenth of the true
pairs, whatever its beliefs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.attack_pay import Decided
from benchmarks.attack_world import BATCH, PAIR, Thing
from curiosity.embedding.modalities import decode
from curiosity.protocol.judgement import Embedded, opine
from curiosity.protocol.scoring import Quantised, quantise
from curiosity.protocol.verdict import Outcome
from curiosity.serving.in_force import InForce, load

CONDEMNED = 0.1


def measure_auditors(decided: Sequence[Decided], auditors: Mapping[str, Path]) -> list[dict[str, Any]]:
    """Return a row for each second judge, over the decided pairs that are novel: `_measure`."""
    paid = [one for one in decided if one.verdict.novel]
    return [{"judge": name} | _measure(paid, load(path, "cpu", "pinned")) for name, path in auditors.items()]


def _measure(paid: Sequence[Decided], second: InForce) -> dict[str, float]:
    """Return the shares of wrong and of true pairs that the judge rejects, and how well its scores part them."""
    anchors = second.judge.anchors
    embedded = _embed([thing for one in paid for thing in (one.sent.a, one.sent.b)], second)
    scores: dict[bool, list[int]] = {False: [], True: []}
    rejected = {False: 0, True: 0}
    for one in paid:
        a, b = embedded[one.sent.a.digest], embedded[one.sent.b.digest]
        opinion = opine(
            a, b, modalities=PAIR, checkpoint=second.digest, calibration=second.calibration, anchors=anchors
        )  # fmt: skip
        scores[one.sent.is_wrong].append(opinion.measurement.csls_micro)
        rejected[one.sent.is_wrong] += opinion.outcome is Outcome.REJECTED
    true, wrong = (np.array(scores[is_wrong]) for is_wrong in (False, True))
    return {
        "found": round(rejected[True] / len(wrong), 4),
        "condemned": round(rejected[False] / len(true), 4),
        "auc": round(float(np.mean(true[:, None] > wrong[None, :])), 4),
        "found_at_tenth": round(float(np.mean(wrong < np.quantile(true, CONDEMNED))), 4),
    }


def _embed(things: Sequence[Thing], second: InForce) -> dict[bytes, Embedded]:
    """Return embeddings by content; of masks, which decide nothing, there are none."""
    done: dict[bytes, Embedded] = {}
    for modality in sorted({thing.modality for thing in things}):
        here = list({thing.digest: thing for thing in things if thing.modality == modality}.values())
        for start in range(0, len(here), BATCH):
            some = here[start : start + BATCH]
            arrays = [decode(modality, thing.data, thing.media_type) for thing in some]
            whole: Quantised = quantise(second.space.embed(modality, arrays))
            unmasked = np.zeros((1, 2, whole.shape[1]), dtype=np.int16)
            for thing, vector in zip(some, whole, strict=True):
                done[thing.digest] = Embedded(vector, second.judge.anchors.empties[modality], unmasked)
    return done
