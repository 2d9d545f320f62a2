"""How little plainly empty items change within themselves: the bound that a checkpoint publishes beside its null gate.

Source: docs/scoring.md, "Null gate".
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

import numpy as np

from curiosity.embedding.change import MEASURES
from curiosity.protocol.scoring import conformal_high
from trainer.null import TRAINED, make_junk

PLAIN: Mapping[str, Sequence[str]] = {"audio": ("silence", "noise", "tone")}
"""By modality the families of junk that are the same from beginning to end."""
PLAIN_EACH = 256  # items of a family
MISSED_MICRO = 20_000  # share of the family that changes most that lies above the bound
_STEP_MICRO = 10_000  # the bound is rounded up to this, so that all machines come to the same
_SEED = 20_260_101


def plain_max_micro(modalities: Iterable[str]) -> dict[str, int]:
    """Return by modality, of those that have a measure, what 98 of 100 plainly empty items change no more than."""
    return {name: _most(name) for name in modalities if name in MEASURES}


@cache
def _most(modality: str) -> int:
    measure, limits = MEASURES[modality], []
    nothing = [np.zeros(1, dtype=np.float32)]  # none of these families is cut from real items
    for number, family in enumerate(PLAIN[modality]):
        items = make_junk(TRAINED[modality][family], PLAIN_EACH, _SEED + number, nothing)
        limits.append(conformal_high([measure(item) for item in items], MISSED_MICRO))
    return -(-max(limits) // _STEP_MICRO) * _STEP_MICRO
