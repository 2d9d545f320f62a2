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
from curiosity.protocol.verdict import Outcome, Reason, Verdict
from curiosity.serving.crowds import Crowds
from curiosity.serving.paid import PaidContents


class Judge:
    """Decides pair after pair under one checkpoint; each novel pair joins the history before the next is ranked."""

    def __init__(self, checkpoint: bytes, calibration: Calibration, anchors: Anchors, rule: str) -> None:
        self.checkpoint = checkpoint
        self.calibration = calibration
        self.anchors = anchors
        self._rule = rule
        self._history: Mapping[str, Neighbours] = {name: Neighbours(points) for name, points in anchors.history.items()}
        self._crowds = Crowds()
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

    def look_ahead(self, opinions: Iterable[Opinion]) -> None:
        """Search the history once for all pairs that are about to be ranked; it changes no verdict."""
        points: dict[str, list[Quantised]] = {}
        for opinion in opinions:
            if (point := opinion.point) is not None:
                points.setdefault(opinion.modalities, []).append(point)
        with self._lock:
            for modalities, asked in points.items():
                self._history[modalities].look_ahead(np.stack(asked))

    def rank(self, opinion: Opinion, entry: int, contents: tuple[bytes, bytes]) -> Judged:
        """Return the verdict about the pair of ledger index ``entry`` and, if it is novel, add it to the history.

        ``contents`` are the SHA-256 of item a and of item b.
        """
        with self._lock:
            history = self._history[opinion.modalities]
            judged = rank(opinion, calibration=self.calibration, history=history, rule=self._rule)
            if judged.joint is None:
                return judged
            crowd = self._crowds.count(contents, judged.joint)
            history.add(judged.joint, entry)
            self._crowds.join(entry, contents)
            return replace(judged, verdict=replace(judged.verdict, crowd=crowd))

    def place(self, modalities: str, ranked: int, index: int | None, contents: tuple[bytes, bytes]) -> None:
        """Keep a novel pair that was ranked as entry ``ranked`` under the ``index`` that it was given.

        It is forgotten if it was given none, because nothing was written or it was decided before.
        """
        with self._lock:
            self._crowds.leave(ranked)
            if index is None:
                self._history[modalities].forget(ranked)
            else:
                self._history[modalities].rename(ranked, index)
                self._crowds.join(index, contents)

    def remember(self, modalities: str, point: Quantised, entry: int, contents: tuple[bytes, bytes]) -> None:
        """Add a novel pair that was judged before: its joint point and the SHA-256 of its two items."""
        with self._lock:
            self._history[modalities].add(point, entry)
            self._crowds.join(entry, contents)

    def forget(self, modalities: str, entry: int) -> None:
        """Remove the pair of ledger index ``entry`` from the history: its place is free again."""
        with self._lock:
            if modalities in self._history:
                self._history[modalities].forget(entry)
            self._crowds.leave(entry)

    def count_paid(self, paid: PaidContents) -> None:
        """Let what was paid and taken down count among the earlier pairs."""
        self._crowds.paid = paid

    def refuse(self, reason: Reason) -> Verdict:
        """Return the verdict about a pair whose items are not embedded."""
        return Verdict(Outcome.REJECTED, reason, self.checkpoint, Fault.CONTRIBUTOR)
