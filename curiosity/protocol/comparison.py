"""Whether a checkpoint is worse than its parent, by what its manifest says of both on the same held-out material.

The evaluation of a manifest holds recall by set and direction (``recall``), and that of the parent, measured by the
trainer on the same held-out pairs (``parent``). The parent's own manifest says in which sets and directions it was
evaluated: a child must be compared in each of them. Shares are in millionths.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from curiosity.protocol.errors import CheckpointError

MOST_FALL_MICRO = 50_000
"""A direction may fall by five points of 100; more makes a checkpoint a worse one."""
MEASURES = {"r1_micro": "at 1", "r10_micro": "at 10"}

RecallTable = Mapping[tuple[str, str], Mapping[str, int]]
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


def find_falls(before: RecallTable, after: RecallTable, most_micro: int = MOST_FALL_MICRO) -> list[Fall]:
    """Return every direction of ``before`` that lost more than ``most_micro`` in ``after``, the deepest fall first.

    Also directions that were never trained as a pair, such as sound to picture: searches use them like the others.

    Raises:
        KeyError: When ``after`` lacks a direction of ``before``.
    """
    falls = [
        Fall(*key, words, shares[measure], after[key][measure])
        for key, shares in before.items()
        for measure, words in MEASURES.items()
        if shares[measure] - after[key][measure] > most_micro
    ]
    return sorted(falls, key=lambda fall: (fall.after_micro - fall.before_micro, fall.set, fall.direction))


def take_higher(one: RecallTable, other: RecallTable) -> RecallTable:
    """Return every direction of either with its higher shares: a parent found at least what one of them says."""
    return {
        key: {measure: max(found.get(key, {}).get(measure, 0) for found in (one, other)) for measure in MEASURES}
        for key in {**one, **other}
    }


def find_missing(before: RecallTable, after: RecallTable) -> list[str]:
    """Return the directions of ``before`` that ``after`` lacks, as ``digits audio-image``, in order."""
    return sorted(f"{set_name} {direction}" for set_name, direction in before.keys() - after.keys())


def check_comparison(evaluation: Mapping[str, Any], judged: Iterable[str], of_parent: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that is worse than its parent, or of which nothing shows that it is not.

    Args:
        evaluation: That of its manifest: its own recall, and its parent's on the same held-out pairs.
        judged: The modality pairs (``audio-text``) that the parent judges: both directions of each must have been
            compared in some set.
        of_parent: The evaluation of the parent's own manifest. Every set and direction in it must have been compared,
            and of its figure and the one that the child's manifest gives to the parent the higher counts. A parent
            without any recall demands nothing.

    Raises:
        CheckpointError: CHECKPOINT_NOT_COMPARED; CHECKPOINT_WORSE, which comes first where both are true.
    """
    parent = evaluation.get("parent")
    if not isinstance(parent, Mapping):
        raise _not_compared("its manifest has no evaluation of its parent")
    measured, after = read_shares(parent.get("recall")), read_shares(evaluation.get("recall"))
    own = read_shares(of_parent["recall"]) if "recall" in of_parent else {}
    before = take_higher(measured, own)
    falls = find_falls({key: shares for key, shares in before.items() if key in after}, after)
    if falls:
        more = f", and {len(falls) - 3} more" if len(falls) > 3 else ""
        raise CheckpointError(
            "CHECKPOINT_WORSE",
            f"{', '.join(map(str, falls[:3]))}{more}; at most {MOST_FALL_MICRO / 10_000:g} points are allowed",
            "Train longer, or with more replay of the trusted pairs; --force switches to it all the same.",
        )
    missing = find_missing(before, after) or find_missing(own, measured)
    if missing:
        more = f", and {len(missing) - 3} more" if len(missing) > 3 else ""
        raise _not_compared(f"it was not compared where its parent was evaluated: {', '.join(missing[:3])}{more}")
    compared = {direction for _, direction in before}
    wanted = {
        f"{a}-{b}" for pair in judged for one, other in [pair.split("-")] for a, b in ((one, other), (other, one))
    }
    if wanted - compared:
        raise _not_compared(f"nothing was compared of {', '.join(sorted(wanted - compared))}")


def read_shares(recall: object) -> RecallTable:
    """Return the shares of a manifest's ``recall``.

    Raises:
        CheckpointError: CHECKPOINT_NOT_COMPARED if they cannot be read.
    """
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
        "Make it with `curiosity trainer run`, which evaluates both on the held-out pairs of the --trusted sets; give "
        "it every set that the parent was evaluated on; --force switches to it all the same.",
    )


SEPARATION = ("auc_micro", "wrong_at_5_micro", "wrong_at_10_micro", "pairs")


def read_separation(evaluation: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """Return how well a checkpoint tells true pairs from wrong ones, by set and modality pair (``emoji/image-text``).

    ``auc_micro`` is the chance that a true held-out pair scores above a wrong one; ``wrong_at_5_micro`` and
    ``wrong_at_10_micro`` are the shares of wrong pairs that pass where 5 and 10 % of true ones are refused, over
    ``pairs`` pairs. Manifests made before say nothing of it; what is not of this form is left out.
    """
    out = {}
    sets = evaluation.get("alignment")
    for set_name, pairs in sorted(sets.items()) if isinstance(sets, Mapping) else ():
        for pair, told in sorted(pairs.items()) if isinstance(pairs, Mapping) else ():
            found = told.get("separation") if isinstance(told, Mapping) else None
            if isinstance(found, Mapping) and all(type(found.get(key)) is int for key in SEPARATION):
                out[f"{set_name}/{pair}"] = {key: int(found[key]) for key in SEPARATION}
    return out
