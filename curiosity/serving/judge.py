"""The judge: the rule of `curiosity.protocol.judgement` with its state, in commit order. Used by one thread."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from curiosity.protocol.calibration import Calibration
from curiosity.protocol.errors import Fault
from curiosity.protocol.judgement import Anchors, Embedded, Judged, Opinion, opine, rank
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.scoring import Quantised
from curiosity.protocol.single import ItemOpinion, ItemRule
from curiosity.protocol.verdict import CrowdCounts, Outcome, Reason, Verdict, told_belief


class Judge:
    """Decides pair after pair under one checkpoint; each novel pair joins the history before the next is ranked."""

    def __init__(self, checkpoint: bytes, calibration: Calibration, anchors: Anchors, rule: str) -> None:
        self.checkpoint = checkpoint
        self.calibration = calibration
        self.anchors = anchors
        self.rule = rule
        self.items = ItemRule(calibration, anchors)
        self._history: Mapping[str, Neighbours] = {name: Neighbours(points) for name, points in anchors.history.items()}
        self._lock = threading.Lock()  # the index is rebuilt on another thread than pairs are judged and forgotten on

    @property
    def pairs(self) -> frozenset[str]:
        """Modality pairs that this checkpoint can judge."""
        return frozenset(self.calibration.pairs)

    def known(self, modalities: str) -> int:
        """Return how many joint points of this modality pair the history holds."""
        return len(self._history[modalities])

    def opine(self, modalities: str, a: Embedded, b: Embedded) -> Opinion:
        """Return what the checkpoint alone says of a pair. Thread-safe."""
        return opine(
            a,
            b,
            modalities=modalities,
            checkpoint=self.checkpoint,
            calibration=self.calibration,
            anchors=self.anchors,
        )

    def opine_item(self, modality: str, item: Embedded) -> ItemOpinion:
        """Return what the checkpoint alone says of a single item. Thread-safe."""
        return self.items.opine(modality, item)

    def look_ahead(self, opinions: Iterable[Opinion]) -> None:
        """Search the history once for all pairs that are about to be ranked; it changes no verdict."""
        points: dict[str, list[Quantised]] = {}
        for opinion in opinions:
            if (point := opinion.point) is not None:
                points.setdefault(opinion.modalities, []).append(point)
        with self._lock:
            for modalities, asked in points.items():
                self._history[modalities].look_ahead(np.stack(asked))

    def rank(self, opinion: Opinion, entry: int, crowd: CrowdCounts) -> Judged:
        """Return the verdict about the pair of ledger index ``entry`` and, if it is novel, add it to the history.

        Args:
            opinion: What the checkpoint says of the pair.
            entry: The index.
            crowd: What a novel pair shares with earlier ones.
        """
        with self._lock:
            history = self._history[opinion.modalities]
            judged = rank(opinion, calibration=self.calibration, history=history, rule=self.rule)
            if judged.joint is None:
                return judged
            history.add(judged.joint, entry)
            told = replace(judged.verdict, crowd=crowd, belief=told_belief(judged.measurement))
            return replace(judged, verdict=told)

    def place(self, modalities: str, ranked: int, index: int | None) -> None:
        """Keep a novel pair that was ranked as entry ``ranked`` under the ``index`` that it was given.

        It is forgotten if it was given none, because nothing was written or it was decided before.
        """
        with self._lock:
            if index is None:
                self._history[modalities].forget(ranked)
            else:
                self._history[modalities].rename(ranked, index)

    def remember(self, modalities: str, point: Quantised, entry: int) -> None:
        """Add the joint point of a novel pair that was judged before."""
        with self._lock:
            self._history[modalities].add(point, entry)

    def forget(self, modalities: str, entry: int) -> None:
        """Remove the pair of ledger index ``entry`` from the history: its place is free again."""
        with self._lock:
            if modalities in self._history:
                self._history[modalities].forget(entry)

    def refuse(self, reason: Reason, fault: Fault | None = Fault.CONTRIBUTOR) -> Verdict:
        """Return the verdict about a pair that something else than its embeddings decides."""
        return Verdict(Outcome.REJECTED, reason, self.checkpoint, fault)
