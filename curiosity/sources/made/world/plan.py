"""The gripper's commands over an episode: keyframes from the factors, minimum-jerk motion between them."""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from curiosity.sources.made.world.factors import Factors
from curiosity.sources.made.world.scene import FINGER_KP, OPEN_HALF, PAD_HALF

DURATION_S: Final = 1.6
STEPS: Final = 1600  # one a millisecond
LOWEST: Final = PAD_HALF + 0.003  # tool height at which the pads clear the table


@dataclass(frozen=True)
class _Waypoint:
    """Where the tool is told to be at ``time``; ``gap`` is half the distance between the pads."""

    time: float
    x: float
    y: float
    z: float
    roll: float
    pitch: float
    yaw: float
    gap: float


def plan_commands(factors: Factors) -> NDArray[np.float64]:
    """Return float64[1600, 7] at 1 kHz: x, y, z (m), roll, pitch, yaw (rad), gripper (0 open to 1 closed)."""
    keys = _list_keys(factors)
    times = np.array([key.time for key in keys])
    poses = np.array([[k.x, k.y, k.z, k.roll, k.pitch, k.yaw, 1 - k.gap / OPEN_HALF] for k in keys])
    at = np.arange(STEPS) / 1000.0
    after = np.clip(np.searchsorted(times, at, side="right"), 1, len(keys) - 1)
    span = np.maximum(times[after] - times[after - 1], 1e-6)
    share = np.clip((at - times[after - 1]) / span, 0.0, 1.0)
    smooth = share**3 * (10 - 15 * share + 6 * share**2)  # minimum jerk (Flash and Hogan 1985)
    commands: NDArray[np.float64] = poses[after - 1] + smooth[:, None] * (poses[after] - poses[after - 1])
    commands[:, 6] = np.clip(commands[:, 6], 0.0, 1.0)
    return commands


def _list_keys(factors: Factors) -> list[_Waypoint]:
    """Start, way, hover, down; then what the action is."""
    x, y = factors.position
    width, height = factors.half_size[0], factors.half_size[2]
    along, upward = factors.pad_offset
    x, y = x - along * math.sin(factors.axis), y + along * math.cos(factors.axis)
    low = max(LOWEST, height + upward)
    gap = min(width + factors.opening, OPEN_HALF)
    keys, time = [], 0.0
    for number, (dx, dy, dz, roll, pitch, yaw) in enumerate(factors.waypoints):
        if number:
            time += factors.approach_s[number - 1]
        start = 0.9 * OPEN_HALF if number < 2 else gap
        keys.append(_Waypoint(time, x + dx, y + dy, low + dz, roll, pitch, factors.axis + yaw, start))
    time += factors.approach_s[2]
    down = replace(keys[-1], time=time, x=x, y=y, z=low)
    keys.append(down)
    ready = replace(down, time=time + factors.wait_s)
    keys.append(ready)
    keys += _touch_sideways(factors, ready) if factors.action in ("push", "poke") else _grip(factors, ready)
    return keys


def _touch_sideways(factors: Factors, ready: _Waypoint) -> list[_Waypoint]:
    """Plan a push (one pad moves the object a long way) or a poke (one pad knocks it, one to three times)."""
    east, north = math.cos(factors.axis), math.sin(factors.axis)
    free = ready.gap - factors.half_size[0]
    keys: list[_Waypoint] = []

    def go(time: float, distance: float) -> None:
        far = -factors.side * distance
        keys.append(replace(ready, time=time, x=ready.x + far * east, y=ready.y + far * north))

    if factors.action == "push":
        end = ready.time + factors.stroke_s
        go(end, free + factors.stroke)
        if factors.releases:
            go(end + 0.08, free + factors.stroke)
            go(end + 0.25, free + factors.stroke - 0.02)
        return keys
    time, reached = ready.time, free
    for _ in range(factors.pokes):
        # Each poke starts where the last one left the object, roughly: it goes a third of the stroke deeper.
        reached += 0.006 + factors.stroke / 6
        go(time + 0.3 * factors.poke_gap_s, reached)
        go(time + 0.75 * factors.poke_gap_s, reached - 0.022)
        time += factors.poke_gap_s
        go(time, reached - 0.022)
    return keys


def _grip(factors: Factors, ready: _Waypoint) -> list[_Waypoint]:
    """Close, then hold, raise, drag, drop or turn; the grip force follows ``levels`` meanwhile."""
    width = factors.half_size[0]
    heavy = factors.mass * 9.81 * 1.2  # what friction needs, so that a heavy object is held as well

    def hold(level: float) -> float:
        return max(0.0, width - (factors.force + heavy) * level / FINGER_KP)

    def lift(key: _Waypoint, height: float) -> _Waypoint:
        return replace(key, z=key.z + height)

    levels = factors.levels
    close = ready.time + 0.10 + 0.1 * (factors.stroke_s - 0.22)
    held = replace(ready, time=close, gap=hold(levels[0]))
    keys = [held]
    left = DURATION_S - close
    stroke = min(factors.stroke_s, left - 0.15)
    end = close + 0.04 + stroke
    if factors.action == "grasp":
        for number, level in enumerate(levels[1:], start=1):
            keys.append(replace(held, time=close + stroke * 1.2 * number / 3, gap=hold(level)))
        if factors.releases:
            keys.append(replace(keys[-1], time=min(keys[-1].time + 0.12, DURATION_S), gap=ready.gap))
    elif factors.action == "lift":
        mid = lift(replace(held, time=close + 0.04 + stroke / 2, gap=hold(levels[1])), 0.6 * factors.raise_height)
        keys.append(mid)
        sway = 0.03 * math.sin(factors.heading)
        keys.append(replace(lift(held, factors.raise_height), time=end, gap=hold(levels[2]), x=held.x + sway))
        keys.append(replace(keys[-1], time=DURATION_S, gap=hold(levels[3])))
    elif factors.action == "slide":
        far_x, far_y = factors.stroke * math.cos(factors.heading), factors.stroke * math.sin(factors.heading)
        keys.append(replace(held, time=end, x=held.x + far_x, y=held.y + far_y, gap=hold(levels[1])))
        keys.append(replace(keys[-1], time=DURATION_S, gap=ready.gap if factors.releases else hold(levels[2])))
    elif factors.action == "drop":
        height = 0.03 + 0.6 * factors.raise_height
        top = replace(lift(held, height), time=min(end, 1.22), gap=hold(levels[1]))
        keys += [top, replace(top, time=top.time + 0.05), replace(top, time=top.time + 0.12, gap=ready.gap + 0.008)]
    else:
        clear = replace(lift(held, 0.01), time=close + 0.06)
        keys += [clear, replace(clear, time=clear.time + stroke, yaw=held.yaw + factors.turn, gap=hold(levels[1]))]
        keys.append(replace(keys[-1], time=DURATION_S, gap=hold(levels[2])))
    return keys
