"""How a run learns: one frozen dataclass with every setting of the training step and its loop."""

import math
from dataclasses import dataclass

from curiosity.protocol.errors import ConfigError

LOSSES = ("infonce", "siglip")
SHARDINGS = ("ddp", "fsdp")
PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class Recipe:
    """How a run learns. ``steps`` alone ends it and sets the schedule: no clock decides what is learned.

    ``stop_after_s`` is a safety stop in wall seconds, far above what the steps should take: a run that it ends is
    incomplete, and says so.

    Raises:
        ConfigError: LOSS_UNKNOWN; LOSS_COLLAPSES, for a loss that every constant encoder minimises; SHARDING_UNKNOWN;
            PRECISION_UNKNOWN; RECIPE_RANGE, for a weight below zero.
    """

    steps: int = 260
    batch: int = 160  # pairs of each stream in a step, over all processes together
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_share: float = 0.05
    null_weight: float = 0.3
    junk_each: int = 32  # junk items of each modality in a step
    junk_pool: int = 256  # items made of each family
    augment: bool = True
    seed: int = 0
    stop_after_s: float = math.inf
    loss: str = "infonce"  # or "siglip"
    mse_weight: float = 0.0  # squared distance of the halves of a pair
    differential_weight: float = 0.0  # docs/scoring.md, "Differential loss"
    distillation_weight: float = 0.0  # towards the cross-averaged embeddings
    probes_each: int = 8  # items of each modality in a step whose halves the differential loss looks at
    probe_pool: int = 128
    probe_masks: int = 1
    chunk: int = 0  # rows that a tower takes at once, by gradient caching; 0: all
    sharding: str = "ddp"  # or "fsdp": weights and optimizer state are split over the processes
    precision: str = "fp32"  # of the towers' passes; weights, their gradients and the loss are float32 in any case
    clip_norm: float = 0.0  # longest gradient of a step over all weights together; 0: any length

    def __post_init__(self) -> None:
        if self.loss == "mse":
            raise ConfigError(
                "LOSS_COLLAPSES",
                "squared distance alone is smallest where every item has the same embedding",
                f"Choose the loss {' or '.join(LOSSES)} and set mse_weight above 0.",
            )
        for value, known, code in (
            (self.loss, LOSSES, "LOSS_UNKNOWN"),
            (self.sharding, SHARDINGS, "SHARDING_UNKNOWN"),
            (self.precision, PRECISIONS, "PRECISION_UNKNOWN"),
        ):
            if value not in known:
                raise ConfigError(code, f"there is no {value!r}", f"Use one of {', '.join(known)}.")
        weights = ("null_weight", "mse_weight", "differential_weight", "distillation_weight")
        for name in (*weights, "chunk", "junk_each", "clip_norm"):
            if getattr(self, name) < 0:
                raise ConfigError("RECIPE_RANGE", f"{name} is {getattr(self, name)}", "Give 0 or more.")


GENESIS_RECIPE = Recipe(steps=400)
ROUND_RECIPE = Recipe(steps=320, junk_pool=96)
SAFETY_STOP_S = 6 * 3600.0  # the steps take minutes on two cores; far above what they take on a busy machine
