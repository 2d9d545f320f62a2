"""Embeddings and judged pairs for the rules of scoring."""

import math

import numpy as np

from curiosity.protocol.calibration import Calibration, PairThresholds
from curiosity.protocol.judgement import Anchors, Embedded, judge
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.scoring import Quantised, dequantise, quantise

D = 64


def cloud(seed: int, count: int, dim: int = D) -> Quantised:
    return quantise(np.random.default_rng(seed).normal(size=(count, dim)))


def embedded(vector: Quantised) -> Embedded:
    return Embedded(vector, cloud(11, 1)[0], np.stack([np.stack([vector, cloud(12, 1)[0]])] * 2))


def judged(a: Quantised, b: Quantised, *, limits: PairThresholds, null: int = 500_000, rule: str = "pinned") -> object:
    history = cloud(6, 300, 2 * D)
    return judge(
        embedded(a),
        embedded(b),
        modalities="image-text",
        checkpoint=b"\x01" * 32,
        calibration=Calibration(
            {"image-text": limits}, {"image>text": null, "text>image": null}, {"image": 400_000, "text": 600_000}, {}, 2
        ),
        anchors=Anchors(
            {"image": cloud(20, 30), "text": cloud(21, 30)},
            {"image-text": (cloud(22, 60), cloud(23, 60))},
            {"image": cloud(24, 1)[0], "text": cloud(25, 1)[0]},
            {"image-text": history},
        ),
        history=Neighbours(history),
        rule=rule,
    )


LIMITS = PairThresholds(120_000, 200_000, 1_000, 1, 10**9)


def near(vector: Quantised, seed: int, noise: float) -> Quantised:
    return quantise(dequantise(vector) + noise * np.random.default_rng(seed).normal(size=D) / math.sqrt(D))
