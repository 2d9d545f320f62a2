"""One episode simulated: what every sensor of the scene measured, a thousand times a second."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from curiosity.sources.made.world.factors import Factors
from curiosity.sources.made.world.plan import STEPS, plan_commands
from curiosity.sources.made.world.scene import OPEN_HALF, build_scene, mujoco

# What `rollout` needs lies in a module of its own.
from mujoco import rollout as _rollout  # isort: skip

SETTLE_STEPS: Final = 40  # before the recording, so that the object lies and the gripper hangs in its drives


@dataclass(frozen=True)
class Recording:
    """T = 1,600 steps of a millisecond; forces in newtons, lengths in metres, quaternions as w, x, y, z.

    ``commands`` float64[T, 7]; ``pad_force`` [T, 2] normal force on the left and right pad; ``object_force`` [T] sum of
    normal forces on the object (table and pads); ``joints``, ``joint_speeds``, ``drive_forces`` [T, 8] in the order
    of ``scene.JOINTS``; poses float64[T, 3] and [T, 4]; ``positions`` [T, nq] is what a renderer needs.
    """

    factors: Factors
    model: Any
    commands: NDArray[np.float64]
    pad_force: NDArray[np.float64]
    object_force: NDArray[np.float64]
    joints: NDArray[np.float64]
    joint_speeds: NDArray[np.float64]
    drive_forces: NDArray[np.float64]
    object_position: NDArray[np.float64]
    object_turn: NDArray[np.float64]
    object_speed: NDArray[np.float64]
    pad_position: NDArray[np.float64]
    pad_turn: NDArray[np.float64]
    positions: NDArray[np.float64]


def simulate(factors: Factors) -> Recording:
    """Return the episode's recording. The same factors and the same MuJoCo build give the same numbers."""
    model = build_scene(factors)
    data = mujoco.MjData(model)
    commands = plan_commands(factors)
    drive = _to_drive(np.concatenate([np.repeat(commands[:1], SETTLE_STEPS, axis=0), commands]))
    data.qpos[7:15] = drive[0]
    mujoco.mj_forward(model, data)
    spec = mujoco.mjtState.mjSTATE_FULLPHYSICS
    initial = np.empty(mujoco.mj_stateSize(model, spec))
    mujoco.mj_getState(model, data, initial, spec)
    states, sensed = _rollout.rollout(model, data, initial[None], drive[None])
    states, sensed = states[0, SETTLE_STEPS:], sensed[0, SETTLE_STEPS:]
    parts = np.split(sensed, np.cumsum([2, 1, 8, 8, 8, 3, 4, 3, 3, 4, 3])[:], axis=1)
    pads, touched, joints, speeds, forces, place, turn, speed, left, left_turn, right, right_turn = parts
    return Recording(
        factors=factors,
        model=model,
        commands=commands,
        pad_force=pads,
        object_force=touched[:, 0],
        joints=joints,
        joint_speeds=speeds,
        drive_forces=forces,
        object_position=place,
        object_turn=turn,
        object_speed=speed,
        pad_position=np.stack([left, right], axis=1),
        pad_turn=np.stack([left_turn, right_turn], axis=1),
        positions=states[:STEPS, 1 : 1 + model.nq],
    )


def _to_drive(commands: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn commands [T, 7] (roll, pitch, yaw, gripper) into drive targets [T, 8] (yaw, pitch, roll, left, right)."""
    x, y, z, roll, pitch, yaw, grip = commands.T
    inward = grip * OPEN_HALF
    return np.stack([x, y, z, yaw, pitch, roll, inward, inward], axis=1)
