"""The judge: the rule of `protocol.judgement` with the state it needs, in commit order. Used by one thread."""

from collections.abc import Mapping

import numpy as np

from protocol.errors import Fault
from protocol.judgement import Anchors, Embedded, Judged
from protocol.judgement import judge as decide
from protocol.scoring import Calibration, Quantised
from protocol.verdict import Outcome, Reason, Verdict

_INITIAL_ROWS = 1024


class History:
    """Joint points int16[N, 2d] that only grow; room is doubled, so that adding one is cheap."""

    def __init__(self, points: Quantised) -> None:
        self._rows = np.zeros((max(_INITIAL_ROWS, 2 * len(points)), points.shape[1]), dtype=np.int16)
        self._rows[: len(points)] = points
        self._size = len(points)

    def append(self, point: Quantised) -> None:
        """Add one joint point."""
        if self._size == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._size] = point
        self._size += 1

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

    @property
    def pairs(self) -> frozenset[str]:
        """Modality pairs that this checkpoint can judge."""
        return frozenset(self.calibration.pairs)

    def known(self, modalities: str) -> int:
        """How many joint points of this modality pair the history holds."""
        return len(self._history[modalities].points)

    def judge(self, modalities: str, a: Embedded, b: Embedded) -> Judged:
        """Return the verdict about a pair and, if it is novel, add it to the history."""
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
        if judged.joint is not None:
            self._history[modalities].append(judged.joint)
        return judged

    def remember(self, modalities: str, point: Quantised) -> None:
        """Add the joint point of a pair that was paid before this checkpoint."""
        self._history[modalities].append(point)

    def refuse(self, reason: Reason) -> Verdict:
        """Return the verdict about a pair whose items are not embedded."""
        return Verdict(Outcome.REJECTED, reason, self.checkpoint, Fault.CONTRIBUTOR)
