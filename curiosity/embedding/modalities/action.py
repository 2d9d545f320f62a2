"""Action: what a gripper does, seven degrees of freedom over time."""

import math
from dataclasses import dataclass

from curiosity.embedding.modalities.arrays import ArrayModality, max_file_bytes
from curiosity.embedding.modality import Column, Contract, Limits

RATE_HZ = 20
MIN_STEPS, MAX_STEPS = 2, 1_000
COLUMNS = (
    Column("x", "m", -2.0, 2.0),
    Column("y", "m", -2.0, 2.0),
    Column("z", "m", -2.0, 2.0),
    Column("roll", "rad", -math.pi, math.pi),
    Column("pitch", "rad", -math.pi, math.pi),
    Column("yaw", "rad", -math.pi, math.pi),
    Column("gripper", "closed", 0.0, 1.0),
)
CONTRACT = Contract(
    "float32",
    ((MIN_STEPS, MAX_STEPS), len(COLUMNS)),
    -math.pi,
    math.pi,
    "steps at 20 Hz of x, y, z (m), roll, pitch, yaw (rad), gripper (0 open, 1 closed)",
    columns=COLUMNS,
)
LIMITS = Limits(max_bytes=max_file_bytes(CONTRACT), max_s=MAX_STEPS / RATE_HZ)


@dataclass(frozen=True)
class Action(ArrayModality):
    """A path of a gripper: where it is, how it is turned, how far it is closed."""

    name: str = "action"
    limits: Limits = LIMITS
    contract: Contract = CONTRACT
    mask_share: float = 0.40
    natural_unit: str = "time steps"


ACTION = Action()
