"""English sentences that say what happens in an episode: words are drawn by the seed, facts are the factors'."""

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from curiosity.sources.made.world.factors import Factors
from curiosity.sources.made.world.physics import Recording

_Chooser = Callable[[tuple[str, ...]], str]

_NOUNS: Final = {
    "block": ("block", "box", "brick"),
    "ball": ("ball", "sphere"),
    "cylinder": ("cylinder", "can"),
    "egg": ("egg", "ellipsoid"),
    "capsule": ("capsule", "pill"),
}
_MADE_OF: Final = {"wooden": "wood", "metal": "metal", "rubber": "rubber", "plastic": "plastic", "glass": "glass"}
_VERBS: Final = {
    "push": ("pushes", "shoves"),
    "grasp": ("grasps", "squeezes", "clutches"),
    "lift": ("lifts", "picks up", "raises"),
    "poke": ("pokes", "taps", "prods"),
    "slide": ("slides", "drags"),
    "drop": ("drops", "lets fall"),
    "rotate": ("rotates", "turns", "twists"),
}
_COUNTS: Final = {1: "once", 2: "twice", 3: "three times"}
_HEADINGS: Final = (
    "to the right", "to the back right", "to the back", "to the back left",
    "to the left", "to the front left", "to the front", "to the front right",
)  # fmt: skip
_TEMPLATES: Final = (
    "The gripper {verb} {thing} {where}{how}.",
    "A robot hand {verb} {thing} that lies {where}{how}.",
    "{Where}, the robot {verb} {thing}{how}.",
    "Two fingers come down {where} and the hand {verb} {thing}{how}.",
    "{Thing} {where}: the gripper {verb} it{how}.",
    "The robot {verb} {thing}{how}; it lies {where}.",
)


def say(recording: Recording, rng: np.random.Generator) -> str:
    """Return one sentence about the episode; ``rng`` chooses words, never facts."""
    factors = recording.factors

    def one_of(words: tuple[str, ...]) -> str:
        return words[int(rng.integers(len(words)))]

    thing = _describe(factors, one_of)
    where = _place(factors.position)
    template = one_of(_TEMPLATES)
    return template.format(
        verb=one_of(_VERBS[factors.action]),
        thing=thing,
        Thing=thing[0].upper() + thing[1:],
        where=where,
        Where=where[0].upper() + where[1:],
        how=_tell_how(recording),
    )


def _describe(factors: Factors, one_of: _Chooser) -> str:
    width = factors.half_size[0]
    size = "small" if width < 0.023 else "large" if width > 0.030 else "medium-sized"
    noun = one_of(_NOUNS[factors.shape])
    if one_of(("before", "after")) == "before":
        return f"the {size} {factors.colour} {factors.material} {noun}"
    return f"the {size} {factors.colour} {noun} made of {_MADE_OF[factors.material]}"


def _place(position: tuple[float, float]) -> str:
    x, y = position
    side = "left" if x < -0.03 else "right" if x > 0.03 else ""
    depth = "front" if y < -0.03 else "back" if y > 0.03 else ""
    if not side and not depth:
        return "in the middle of the mat"
    return f"at the {' '.join(filter(None, (depth, side)))} of the mat"


def _tell_how(recording: Recording) -> str:
    """Return the direction, amount and speed, where the action has them."""
    factors = recording.factors
    moved = recording.object_position[-1] - recording.object_position[0]
    fast = " quickly" if factors.stroke_s < 0.33 else " slowly" if factors.stroke_s > 0.48 else ""
    if factors.action in ("push", "slide"):
        return f"{fast} {_head(float(moved[0]), float(moved[1]))}" if np.hypot(moved[0], moved[1]) > 0.01 else fast
    if factors.action == "poke":
        heading = factors.axis + (0.0 if factors.side < 0 else math.pi)
        return f" {_COUNTS[factors.pokes]} {_head(math.cos(heading), math.sin(heading))}"
    if factors.action in ("lift", "drop"):
        height = "a little" if factors.raise_height < 0.055 else "high" if factors.raise_height > 0.08 else ""
        if factors.action == "drop":
            return {"a little": " from low down", "high": " from high up", "": " from above"}[height]
        return f"{fast} {height}".rstrip()
    if factors.action == "rotate":
        return f"{fast} {'counterclockwise' if factors.turn > 0 else 'clockwise'}"
    return " firmly" if factors.force > 6.5 else " gently" if factors.force < 4.0 else ""


def _head(x: float, y: float) -> str:
    return _HEADINGS[round(math.atan2(y, x) / (math.pi / 4)) % 8]
