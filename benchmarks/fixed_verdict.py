"""A validator with a decoder, encoders and a judge that cost nothing; all else is the one that serves.

For measuring and for tests that need many pairs: an item may hold any bytes, and every pair whose contents are new gets
the same verdict. The parts are passed to the constructors that take the real ones.
"""

# ruff: noqa: ARG002 - what is overridden takes more than is used here

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from curiosity.embedding.modality import Array
from curiosity.embedding.work import Budget
from curiosity.protocol.judgement import Anchors, Embedded, Judged, Opinion, embedding_digest
from curiosity.protocol.scoring import Quantised
from curiosity.protocol.verdict import CrowdCounts, Measurement, Verdict
from curiosity.serving.decode import Decoder
from curiosity.serving.embedder import Embedder
from curiosity.serving.in_force import InForce
from curiosity.serving.judge import Judge
from curiosity.serving.quotas import OWN, Payer
from validator.app import build
from validator.config import ServiceSettings
from validator.pipeline import Pipeline
from validator.service import Service


class UnreadItems(Decoder):
    """Gives an empty array for whatever it is handed. Needs no processes: it is never started."""

    async def decode(
        self,
        modality: str,
        media_type: str,
        data: bytes,
        payer: Payer = OWN,
        budget: Budget | None = None,
        *,
        kept: bool = False,
    ) -> Array:
        """Return an empty array."""
        return np.zeros(0, dtype=np.int16)


class OneEmbedding(Embedder):
    """Embeds every item alike, under the checkpoint in force. Needs no thread."""

    def __init__(self, in_force: InForce) -> None:
        self.in_force = in_force
        vector = _vector(in_force)
        self._only = Embedded(vector, vector, vector[None, None].repeat(2, axis=1), in_force.digest)

    async def embed(self, modality: str, digest: bytes, array: Array) -> Embedded:
        """Return the one embedding."""
        return self._only


class FixedJudge(Judge):
    """Gives every pair the verdict that was fixed beforehand, and adds none to the history."""

    def __init__(self, in_force: InForce, verdict: Verdict) -> None:
        super().__init__(in_force.digest, in_force.calibration, Anchors.from_arrays(in_force.anchors), "pinned")
        vector = _vector(in_force)
        digest = embedding_digest(vector)
        measurement = Measurement(0, 0, 0, 0, 0, 0, 0, 0, 0, digest, digest, digest, digest)
        self._opinion = Opinion(verdict.outcome, verdict.reason, verdict.checkpoint, "", measurement, vector, vector)
        self._judged = Judged(
            verdict=verdict,
            measurement=measurement,
            gap=None,
            final_a=vector,
            final_b=vector,
            joint=None,
        )

    def opine(self, modalities: str, a: Embedded, b: Embedded) -> Opinion:
        """Return the fixed opinion."""
        return self._opinion

    def look_ahead(self, opinions: Iterable[Opinion]) -> None:
        """Search for nothing."""

    def rank(self, opinion: Opinion, entry: int, crowd: CrowdCounts) -> Judged:
        """Return the fixed verdict."""
        return self._judged


async def build_fixed(settings: ServiceSettings, verdict: Verdict) -> Service:
    """Return the wired service of these settings, with ``verdict`` about every pair whose contents are new.

    Raises:
        CuriosityError: What `validator.app.build` raises.
    """
    service = await build(settings)
    judge = FixedJudge(service.embedder.in_force, verdict)
    service.embedder.switch(replace(service.embedder.in_force, judge=judge))
    pipeline = Pipeline(
        intake=service.pipeline.intake,
        decoder=UnreadItems(workers=1),
        embedder=OneEmbedding(service.embedder.in_force),
        batches=service.batches,
        forgotten=service.forgotten,
        blocked=service.blocked_items,
        threads=service.threads,
    )
    return replace(service, pipeline=pipeline)


def _vector(in_force: InForce) -> Quantised:
    """Return a unit vector of the space, int16[d]."""
    vector = np.zeros(in_force.dim, dtype=np.int16)
    vector[0] = 32_767
    return vector
