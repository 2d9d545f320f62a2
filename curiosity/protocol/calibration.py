"""What a checkpoint's manifest says about judging: thresholds, null gates, median losses and beliefs."""

from dataclasses import dataclass, field
from typing import Any

from curiosity.protocol.belief import Beliefs


@dataclass(frozen=True)
class PairThresholds:
    """What a pair of two modalities must reach; from trusted pairs that were never trained on."""

    max_distance_micro: int
    min_csls_micro: int
    margin_micro: int  # within this of a threshold the answer is grey
    nearest_floor_micro: int  # nearer than this to a known point is nothing new
    max_ratio_micro: int  # offset over gap, 0.9-quantile of the history's own leave-one-out values


@dataclass(frozen=True)
class Calibration:
    """Every number that a verdict depends on beside the anchors; part of the checkpoint's manifest."""

    pairs: dict[str, PairThresholds]  # by modality pair, "audio-text"
    null_max_micro: dict[str, int]  # "image>text": cosine of a picture with the empty text is at most this
    median_loss_micro: dict[str, int]  # by modality
    alpha_micro: dict[str, int]  # share of honest pairs that the thresholds refuse, by modality pair
    masks: int
    beliefs: dict[str, Beliefs] = field(default_factory=dict)  # by modality pair; none in manifests of the first form
    plain_max_micro: dict[str, int] = field(default_factory=dict)  # by modality: what changes no more than this is junk

    def to_json(self) -> dict[str, Any]:
        """Return the calibration as plain JSON values."""
        value = {
            "pairs": {name: dict(vars(value)) for name, value in sorted(self.pairs.items())},
            "null_max_micro": dict(sorted(self.null_max_micro.items())),
            "median_loss_micro": dict(sorted(self.median_loss_micro.items())),
            "alpha_micro": dict(sorted(self.alpha_micro.items())),
            "masks": self.masks,
        }
        if self.beliefs:
            value["beliefs"] = {name: beliefs.to_json() for name, beliefs in sorted(self.beliefs.items())}
        if self.plain_max_micro:
            value["plain_max_micro"] = dict(sorted(self.plain_max_micro.items()))
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Calibration":
        """Return the calibration that `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: If a field is missing or wrong.
        """
        return cls(
            pairs={name: PairThresholds(**_whole(fields, name)) for name, fields in value["pairs"].items()},
            null_max_micro=_whole(value["null_max_micro"], "null_max_micro"),
            median_loss_micro=_whole(value["median_loss_micro"], "median_loss_micro"),
            alpha_micro=_whole(value["alpha_micro"], "alpha_micro"),
            masks=_whole({"masks": value["masks"]}, "masks")["masks"],
            beliefs={name: Beliefs.from_json(one) for name, one in value.get("beliefs", {}).items()},
            plain_max_micro=_whole(value.get("plain_max_micro", {}), "plain_max_micro"),
        )


def _whole(values: dict[str, Any], what: str) -> dict[str, int]:
    """Return numbers by name; every one must be a whole number that JSON readers hold exactly, below 2^53."""
    wrong = [name for name, value in values.items() if type(value) is not int or abs(value) >= 2**53]
    if wrong:
        raise ValueError(f"{what} of {', '.join(sorted(wrong))} is no whole number below 2^53")
    return dict(values)
