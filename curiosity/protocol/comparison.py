"""Whether a checkpoint is worse than its parent, by what its manifest says of both on the same held-out material.

The evaluation of a manifest holds recall by set and direction (``recall``), and that of the parent, measured by the
trainer on the same held-out pairs (``parent``). Shares are in millionths.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from curiosity.protocol.errors import CheckpointError

MOST_FALL_MICRO = 50_000
"""A direction may fall by five points of 100; more makes a checkpoint a worse one."""
MEASURES = {"r1_micro": "at 1", "r10_micro": "at 10"}

Shares = Mapping[tuple[str, str], Mapping[str, int]]
"""By set and direction (``("digits", "audio-image")``) the recall at 1 and at 10."""


@dataclass(frozen=True)
class Fall:
    """A direction that finds less than in the parent: recall ``measure`` (``at 1``) from ``before`` to ``after``."""

    set: str
    direction: str
    measure: str
    before_micro: int
    after_micro: int

    @property
    def points(self) -> float:
        """How far it fell, in points of 100."""
        return (self.before_micro - self.after_micro) / 10_000

    def __str__(self) -> str:
        return (
            f"recall {self.measure} of {self.set} {self.direction} fell from {self.before_micro / 10_000:.1f} to "
            f"{self.after_micro / 10_000:.1f} %"
        )


def find_falls(before: Shares, after: Shares, most_micro: int = MOST_FALL_MICRO) -> list[Fall]:
    """Every direction of ``before`` that lost more than ``most_micro`` in ``after``, the deepest fall first.

    Also directions that were never trained as a pair, such as sound to picture: searches use them like the others.
    Raises KeyError when ``after`` lacks a direction of ``before``.
    """
    falls = [
        Fall(*key, words, shares[measure], after[key][measure])
        for key, shares in before.items()
        for measure, words in MEASURES.items()
        if shares[measure] - after[key][measure] > most_micro
    ]
    return sorted(falls, key=lambda fall: (fall.after_micro - fall.before_micro, fall.set, fall.direction))


def check_comparison(evaluation: Mapping[str, Any], judged: Iterable[str]) -> None:
    """Refuse a checkpoint that is worse than its parent, or of which nothing shows that it is not.

    ``evaluation`` is that of its manifest; ``judged`` are the modality pairs (``audio-text``) that the parent judges:
    both directions of each must have been compared in some set.

    Raises CheckpointError: CHECKPOINT_NOT_COMPARED; CHECKPOINT_WORSE.
    """
    parent = evaluation.get("parent")
    if not isinstance(parent, Mapping):
        raise _not_compared("its manifest has no evaluation of its parent")
    before, after = read_shares(parent.get("recall")), read_shares(evaluation.get("recall"))
    missing = [f"{set_name} {direction}" for set_name, direction in before if (set_name, direction) not in after]
    if missing:
        raise _not_compared(f"it was not evaluated where its parent was: {', '.join(sorted(missing)[:3])}")
    compared = {direction for _, direction in before}
    wanted = {
        f"{a}-{b}" for pair in judged for one, other in [pair.split("-")] for a, b in ((one, other), (other, one))
    }
    if wanted - compared:
        raise _not_compared(f"nothing was compared of {', '.join(sorted(wanted - compared))}")
    falls = find_falls(before, after)
    if falls:
        more = f", and {len(falls) - 3} more" if len(falls) > 3 else ""
        raise CheckpointError(
            "CHECKPOINT_WORSE",
            f"{', '.join(map(str, falls[:3]))}{more}; at most {MOST_FALL_MICRO / 10_000:g} points are allowed",
            "Train longer, or with more replay of the trusted pairs; --force switches to it all the same.",
        )


def read_shares(recall: object) -> Shares:
    """The shares of a manifest's ``recall``. Raises CheckpointError CHECKPOINT_NOT_COMPARED if they cannot be read."""
    found: dict[tuple[str, str], dict[str, int]] = {}
    if not isinstance(recall, Mapping):
        raise _not_compared("its manifest has no recall")
    for set_name, directions in recall.items():
        if not isinstance(directions, Mapping):
            raise _not_compared(f"the recall of {set_name!r} cannot be read")
        for direction, figures in directions.items():
            shares: dict[str, int] = {}
            for measure in MEASURES:
                share = figures.get(measure) if isinstance(figures, Mapping) else None
                if type(share) is not int or not 0 <= share <= 1_000_000:
                    raise _not_compared(f"the recall of {set_name} {direction} cannot be read")
                shares[measure] = share
            found[str(set_name), str(direction)] = shares
    return found


def _not_compared(why: str) -> CheckpointError:
    return CheckpointError(
        "CHECKPOINT_NOT_COMPARED",
        f"nothing shows that it is no worse than its parent: {why}",
        "Make it with `curiosity trainer run`, which evaluates both on the held-out pairs of the --trusted sets; "
        "--force switches to it all the same.",
    )
