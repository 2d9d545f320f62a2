"""What the sensors of an episode report, from the forces and poses that were simulated.

Touch and pressure are measured on the pads. **EMG is synthesised**: nobody's muscles were recorded. It is what the
muscles of an arm that held the tool would show, from the forces of the tool's drives.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curiosity.sources.made.world.factors import Factors
from curiosity.sources.made.world.physics import Recording
from curiosity.sources.made.world.plan import STEPS
from curiosity.sources.made.world.render import RayRenderer
from curiosity.sources.made.world.scene import CAMERAS, PAD_HALF

Floats = NDArray[np.float64]

CELLS: Final = 16
TOUCH_STEP_MS: Final = 50  # 20 Hz
CELL_M2: Final = (2 * PAD_HALF / CELLS) ** 2
# A soft layer of 4 mm with a modulus of 0.4 MPa: pressure for each metre of indentation (Winkler foundation).
PAD_KPA_PER_M: Final = 100_000.0
PAD_LIMIT_KPA: Final = 1000.0  # a real cell saturates; so does this one
TOUCH_NOISE_KPA: Final = 0.02
PRESSURE_NOISE_KPA: Final = 0.03
PRESSURE_LAG_S: Final = 0.003
CLOUD_POINTS: Final = 512
CLOUD_NOISE_M: Final = 0.0005
EMG_LIMIT_UV: Final = 5000.0


def sense_action(recording: Recording) -> NDArray[np.float32]:
    """Return float32[32, 7]: the commands at 20 Hz.

    They are x, y, z in m, roll, pitch, yaw in rad within [-pi, pi], and the gripper from 0 to 1.
    """
    sampled = recording.commands[::TOUCH_STEP_MS].copy()
    sampled[:, 3:6] = (sampled[:, 3:6] + math.pi) % (2 * math.pi) - math.pi
    return sampled.astype(np.float32)


def sense_touch(recording: Recording, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return float32[32, 2, 16, 16] kPa: left and right pad, row 0 at the top, column 0 at the pad's -y edge.

    The pad's force is the simulated one, averaged over 50 ms; how it is spread over the cells follows from the gap
    between each cell and the object (elastic foundation: pressure grows with indentation, none where there is a gap).
    """
    frames = STEPS // TOUCH_STEP_MS
    force = recording.pad_force.reshape(frames, TOUCH_STEP_MS, 2).mean(axis=1)
    # The geometry is that of the moment within the frame at which the pad is pressed hardest.
    hardest = recording.pad_force.reshape(frames, TOUCH_STEP_MS, 2).argmax(axis=1)
    out = np.zeros((frames, 2, CELLS, CELLS))
    for frame, pad in np.argwhere(force > 1e-4):
        gap = measure_gaps(recording, frame * TOUCH_STEP_MS + int(hardest[frame, pad]), int(pad))
        out[frame, pad] = _spread(gap, float(force[frame, pad]))
    out += rng.normal(0.0, TOUCH_NOISE_KPA, out.shape)
    return np.round(np.clip(out, 0.0, PAD_LIMIT_KPA), 2).astype(np.float32)


def sense_pressure(recording: Recording, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return float32[1600] kPa at 1 kHz: mean pressure under both pads, with the sensor's lag of 3 ms and noise."""
    area = CELLS * CELLS * CELL_M2
    squeezed = recording.pad_force.sum(axis=1) / area / 1000.0
    lagged = _lag(squeezed[:, None], PRESSURE_LAG_S)[:, 0]
    noisy = lagged + rng.normal(0.0, PRESSURE_NOISE_KPA, STEPS)
    return np.round(np.clip(noisy, -PAD_LIMIT_KPA, PAD_LIMIT_KPA), 3).astype(np.float32)


def sense_cloud(
    recording: Recording, renderer: RayRenderer, step: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return float32[512, 3] metres in the world: both cameras' depth at one step, table cut to what fills up.

    Seeded choice of the points on gripper and object; sensor noise of half a millimetre. The order says nothing.
    """
    views = [renderer.see(recording, step, camera) for camera in CAMERAS]
    moving = np.concatenate([view.points[view.moving] for view in views])
    table = np.concatenate([view.points[~view.moving] for view in views])
    table = table[(np.abs(table[:, :2]) < 0.16).all(axis=1)]
    kept = moving[rng.permutation(len(moving))[: CLOUD_POINTS * 7 // 8]]
    fill = table[rng.permutation(len(table))[: CLOUD_POINTS - len(kept)]]
    cloud = np.concatenate([kept, fill])
    cloud = cloud[rng.permutation(len(cloud))] + rng.normal(0.0, CLOUD_NOISE_M, (len(cloud), 3))
    return np.round(cloud, 5).astype(np.float32)


def sense_emg(recording: Recording, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return float32[8, 1600] microvolts at 1 kHz, synthesised.

    Channels: shoulder forward/back, shoulder out/in, elbow bend/stretch, forearm turn, grip. The envelope is the
    activation that the joint torque asks of the muscle; the carrier is seeded noise of 20 to 450 Hz, as surface EMG
    is modelled (De Luca 1979: amplitude-modulated band-limited Gaussian noise).
    """
    activation = _lag(_activate(recording), 0.030)
    spectrum = np.fft.rfft(rng.normal(0.0, 1.0, (8, STEPS)), axis=1)
    hertz = np.fft.rfftfreq(STEPS, 0.001)
    # Surface EMG is strongest near 100 Hz.
    spectrum *= np.where((hertz > 20) & (hertz < 450), 1.0 / (1.0 + (np.abs(hertz - 100) / 150) ** 2), 0.0)
    carrier = np.fft.irfft(spectrum, n=STEPS, axis=1)
    carrier /= carrier.std(axis=1, keepdims=True)
    signal = 400.0 * activation.T * carrier + rng.normal(0.0, 4.0, (8, STEPS))
    return np.round(np.clip(signal, -EMG_LIMIT_UV, EMG_LIMIT_UV), 1).astype(np.float32)


def measure_gaps(recording: Recording, step: int, pad: int) -> Floats:
    """Return the metres from each cell of a pad, along its normal, to the object: float64[16, 16], inf where it misses.

    Negative inside the object (contacts are soft and overlap a little).
    """
    centres = (np.arange(CELLS) + 0.5) / CELLS * 2 * PAD_HALF - PAD_HALF
    across, down = np.meshgrid(centres, -centres)
    back = 0.02  # rays start behind the pad's face, so that an overlap is seen as a negative gap
    toward = 1.0 if pad == 0 else -1.0
    cells = np.stack([np.full(across.shape, -toward * back), across, down], axis=-1).reshape(-1, 3)
    turn = _matrix(recording.pad_turn[step, pad])
    own = _matrix(recording.object_turn[step])
    origins = (recording.pad_position[step, pad] + cells @ turn.T - recording.object_position[step]) @ own
    direction = own.T @ (turn @ np.array([toward, 0.0, 0.0]))
    return (_enter(recording.factors, origins, direction) - back).reshape(CELLS, CELLS)


def _enter(factors: Factors, origins: Floats, direction: Floats) -> Floats:
    """Return the distance at which rays from ``origins`` [P, 3] enter the object; inf where they miss.

    The origins are in the object's frame.
    """
    x, y, z = factors.half_size
    if factors.shape == "block":
        return _enter_slabs(origins, direction, (x, y, z))
    if factors.shape in ("ball", "egg"):
        scale = np.array([x, y, z])
        return _enter_ball(origins / scale, direction / scale)
    if factors.shape == "cylinder":
        round_part = _enter_tube(origins, direction, x, z, axis=2)
        flat = _enter_slabs(origins, direction, (1.0, 1.0, z))
        at = origins + np.where(np.isfinite(flat), flat, 0.0)[:, None] * direction
        return np.minimum(round_part, np.where(np.hypot(at[:, 0], at[:, 1]) <= x, flat, np.inf))
    straight = y - x
    ends = [_enter_ball((origins - np.array([0.0, end, 0.0])) / x, direction / x) for end in (-straight, straight)]
    return np.minimum(_enter_tube(origins, direction, x, straight, axis=1), np.minimum(*ends))


def _enter_slabs(origins: Floats, direction: Floats, half: tuple[float, float, float]) -> Floats:
    safe = np.where(np.abs(direction) < 1e-9, 1e-9, direction)
    low, high = (-np.array(half) - origins) / safe, (np.array(half) - origins) / safe
    enter, leave = np.minimum(low, high).max(axis=1), np.maximum(low, high).min(axis=1)
    return np.where(enter <= leave, enter, np.inf)


def _enter_ball(origins: Floats, direction: Floats) -> Floats:
    """Return where rays enter the unit ball at the origin; ``direction`` need not be of unit length."""
    square, half = float(direction @ direction), origins @ direction
    root = half**2 - square * ((origins**2).sum(axis=1) - 1.0)
    return np.where(root >= 0, (-half - np.sqrt(np.maximum(root, 0.0))) / square, np.inf)


def _enter_tube(origins: Floats, direction: Floats, radius: float, half: float, axis: int) -> Floats:
    """Return where rays enter the side of a cylinder along ``axis``."""
    flat = np.ones(3)
    flat[axis] = 0.0
    side = direction * flat
    square = max(float(side @ side), 1e-12)
    middle = (origins * flat) @ side
    root = middle**2 - square * (((origins * flat) ** 2).sum(axis=1) - radius**2)
    enter = (-middle - np.sqrt(np.maximum(root, 0.0))) / square
    at = origins[:, axis] + enter * direction[axis]
    return np.where((root >= 0) & (np.abs(at) <= half), enter, np.inf)


def _spread(gap: Floats, force: float) -> Floats:
    """Return the pressure in kPa of each cell so that the cells carry ``force`` (N).

    It is k * max(0, depth - gap), exact by sorting.
    """
    order = np.sort(gap[np.isfinite(gap)])
    if not len(order):
        # The ray model misses what the simulation's contact margin still touched: all of the pad carries it.
        return np.full(gap.shape, force / (gap.size * CELL_M2) / 1000.0)
    total = force / (CELL_M2 * PAD_KPA_PER_M * 1000.0)  # sum of indentations, metres
    depths = (total + np.cumsum(order)) / np.arange(1, len(order) + 1)
    pressed = int(np.flatnonzero(depths > order)[-1])
    pressure = PAD_KPA_PER_M * np.maximum(0.0, depths[pressed] - gap)
    return np.where(np.isfinite(gap), pressure, 0.0)


def _activate(recording: Recording) -> Floats:
    """Return the activation of the eight muscles, 0 to about 2: float64[1600, 8].

    It comes from the torques of an arm that holds the tool. Upper arm and forearm of 0.33 and 0.30 m hang from a
    shoulder behind the table; torques are those of the drive forces (transposed Jacobian), of the arm's own weight (1.9
    and 1.3 kg), and of passive joint stiffness.
    """
    shoulder, upper, fore = np.array([-0.05, -0.52, 0.30]), 0.33, 0.30
    hand = recording.joints[:, :3] - shoulder
    azimuth = np.arctan2(hand[:, 0], hand[:, 1])
    reach, height = np.hypot(hand[:, 0], hand[:, 1]), hand[:, 2]
    span = np.clip(np.hypot(reach, height), 0.05, upper + fore - 0.005)
    elbow = np.arccos(np.clip((span**2 - upper**2 - fore**2) / (2 * upper * fore), -1.0, 1.0))  # 0: stretched
    inner = np.arccos(np.clip((span**2 + upper**2 - fore**2) / (2 * span * upper), -1.0, 1.0))
    raised = np.arctan2(height, reach) - inner  # of the upper arm above the level; the elbow points down
    pushed = recording.drive_forces
    outward = pushed[:, 0] * np.sin(azimuth) + pushed[:, 1] * np.cos(azimuth)
    sideways = pushed[:, 0] * np.cos(azimuth) - pushed[:, 1] * np.sin(azimuth)
    forearm = raised + elbow
    weight = 9.81 * np.stack([(1.9 * 0.16 + 1.3 * upper) * np.cos(raised), 1.3 * 0.14 * np.cos(forearm)])
    lift_shoulder = -outward * height + pushed[:, 2] * reach + weight.sum(axis=0)
    tip_out, tip_up = fore * np.cos(forearm), fore * np.sin(forearm)
    bend_elbow = -outward * tip_up + pushed[:, 2] * tip_out + weight[1] + 1.5 * (elbow - 1.2)
    swing = sideways * reach + 4.0 * azimuth
    twist = pushed[:, 3] + 0.8 * (recording.joints[:, 3])
    grip = np.abs(pushed[:, 6]) + np.abs(pushed[:, 7])
    base = 0.06  # co-contraction
    drawn = [
        (lift_shoulder, 8.0), (-lift_shoulder + 6.0, 8.0), (swing, 1.5), (-swing, 1.5),
        (bend_elbow, 3.0), (-bend_elbow + 3.0, 3.0), (twist + 1.3, 1.5), (grip, 10.0),
    ]  # fmt: skip
    return np.stack([base + _soften(torque / most) for torque, most in drawn], axis=1)


def _soften(asked: Floats) -> Floats:
    """Return the positive part, growing ever more slowly: muscles do not pull without bound."""
    return 2.0 * np.tanh(np.maximum(0.0, asked) / 2.0)


def _lag(signal: Floats, seconds: float) -> Floats:
    """Return the values with a first-order lag along the first axis, by its impulse response.

    It starts at rest at the first value.
    """
    count = len(signal)
    response = np.exp(-np.arange(count) * 0.001 / seconds)
    response /= response.sum()
    first = signal[:1]
    size = 2 * count
    spectrum = np.fft.rfft(signal - first, n=size, axis=0) * np.fft.rfft(response, n=size)[:, None]
    lagged: Floats = np.fft.irfft(spectrum, n=size, axis=0)[:count] + first
    return lagged


def _matrix(turn: Floats) -> Floats:
    """Return the rotation matrix of a unit quaternion w, x, y, z."""
    w, x, y, z = turn
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
