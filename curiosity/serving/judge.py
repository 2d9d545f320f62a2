"""The judge: the rule of `curiosity.protocol.judgement` with its state, in commit order. Used by one thread."""

import threading
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from curiosity.protocol.calibration import Calibration
from curiosity.protocol.errors import Fault
from curiosity.protocol.judgement import Anchors, Embedded, Judged
from curiosity.protocol.judgement import judge as decide
from curiosity.protocol.scoring import Quantised
from curiosity.protocol.verdict import Outcome, Reason, Verdict
from curiosity.serving.crowds import Crowds

_INITIAL_ROWS = 1024


class History:
    """Joint points int16[N, 2d] of trusted pairs, then of entries; room is doubled, so that adding one is cheap."""

    def __init__(self, points: Quantised) -> None:
        self._rows = np.zeros((max(_INITIAL_ROWS, 2 * len(points)), points.shape[1]), dtype=np.int16)
        self._rows[: len(points)] = points
        self._size = self._trusted = len(points)
        self._entries: list[int] = []  # whose points the rows behind the trusted ones are

    def append(self, point: Quantised, entry: int) -> None:
        """Add the joint point of the pair at ledger index ``entry``."""
        if self._size == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._size] = point
        self._size += 1
        self._entries.append(entry)

    def forget(self, entry: int) -> None:
        """Remove the point of that entry, if there is one; the others keep their order."""
        if entry not in self._entries:
            return
        place = self._entries.index(entry)
        row = self._trusted + place
        self._rows[row : self._size - 1] = self._rows[row + 1 : self._size]
        self._size -= 1
        self._rows[self._size] = 0
        del self._entries[place]

    @property
    def points(self) -> Quantised:
        """All points, in the order in which they were added."""
        return self._rows[: self._size]


class Judge:
    """Decides pair after pair under one checkpoint; each novel pair joins the history before the next is judged."""

    def __init__(self, checkpoint: bytes, calibration: Calibration, anchors: Anchors, rule: str) -> None:
        self.checkpoint = checkpoint
        self.calibration = calibration
        self.anchors = anchors
        self._rule = rule
        self._history: Mapping[str, History] = {name: History(points) for name, points in anchors.history.items()}
        self._crowds = Crowds()
        self._lock = threading.Lock()  # the index is rebuilt on another thread than pairs are judged and forgotten on

    @property
    def pairs(self) -> frozenset[str]:
        """Modality pairs that this checkpoint can judge."""
        return frozenset(self.calibration.pairs)

    def known(self, modalities: str) -> int:
        """Return how many joint points of this modality pair the history holds."""
        return len(self._history[modalities].points)

    def judge(self, modalities: str, a: Embedded, b: Embedded, entry: int, contents: tuple[bytes, bytes]) -> Judged:
        """Return the verdict about the pair of ledger index ``entry`` and, if it is novel, add it to the history.

        ``contents`` are the SHA-256 of item a and of item b.
        """
        with self._lock:
            judged = decide(
                a,
                b,
                modalities=modalities,
                checkpoint=self.checkpoint,
                calibration=self.calibration,
                anchors=self.anchors,
                history=self._history[modalities].points,
                rule=self._rule,
            )
            if judged.joint is None:
                return judged
            crowd = self._crowds.count(contents)
            self._history[modalities].append(judged.joint, entry)
            self._crowds.join(entry, contents)
            return replace(judged, verdict=replace(judged.verdict, crowd=crowd))

    def remember(self, modalities: str, point: Quantised, entry: int, contents: tuple[bytes, bytes]) -> None:
        """Add a novel pair that was judged before: its joint point and the SHA-256 of its two items."""
        with self._lock:
            self._history[modalities].append(point, entry)
            self._crowds.join(entry, contents)

    def forget(self, modalities: str, entry: int) -> None:
        """Remove the pair of ledger index ``entry`` from the history: its place is free again."""
        with self._lock:
            if modalities in self._history:
                self._history[modalities].forget(entry)
            self._crowds.leave(entry)

    def refuse(self, reason: Reason) -> Verdict:
        """Return the verdict about a pair whose items are not embedded."""
        return Verdict(Outcome.REJECTED, reason, self.checkpoint, Fault.CONTRIBUTOR)
