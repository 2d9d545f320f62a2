"""What makes one episode unlike another: independent factors, drawn from the seed and the episode's number alone.

Lengths in metres, angles in radians, times in seconds, masses in kilograms, forces in newtons.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

ACTIONS: Final = ("push", "grasp", "lift", "poke", "slide", "drop", "rotate")
SHAPES: Final = ("block", "ball", "cylinder", "egg", "capsule")
COLOURS: Final[dict[str, tuple[float, float, float]]] = {
    "red": (0.86, 0.12, 0.12),
    "green": (0.12, 0.66, 0.20),
    "blue": (0.14, 0.26, 0.88),
    "yellow": (0.95, 0.84, 0.10),
    "purple": (0.56, 0.18, 0.72),
    "orange": (0.96, 0.50, 0.08),
    "white": (0.95, 0.95, 0.95),
    "black": (0.10, 0.10, 0.11),
}


@dataclass(frozen=True)
class Substance:
    """Density (kg/m3, of the solid), friction with the table, gloss (0 to 1), and how it rings.

    ``pitch_hz`` is the lowest mode of a solid of 25 mm half-size, ``decay_s`` its time to fall by e.
    """

    density: float
    friction: float
    gloss: float
    pitch_hz: float
    decay_s: float


# Densities, friction and ring are of the right order for pine, aluminium, nitrile rubber, ABS and soda-lime glass.
MATERIALS: Final[dict[str, Substance]] = {
    "wooden": Substance(600.0, 0.45, 0.05, 700.0, 0.020),
    "metal": Substance(2700.0, 0.30, 0.90, 2400.0, 0.160),
    "rubber": Substance(1200.0, 0.80, 0.00, 240.0, 0.010),
    "plastic": Substance(1050.0, 0.35, 0.35, 1100.0, 0.035),
    "glass": Substance(2500.0, 0.25, 0.70, 3400.0, 0.100),
}


@dataclass(frozen=True)
class Factors:
    """The factors of one episode.

    ``half_size`` are half extents along the object's own axes, ``x`` across the grip; ``axis`` is the yaw of the line
    from the left to the right finger, ``side`` -1 where the left pad acts (and the object goes along +axis), +1 where
    the right one does. ``pad_offset`` moves the grip on the object (along the pad, upwards). ``waypoints`` are start,
    way and hover pose of the tool relative to the object: x, y, z, roll, pitch, yaw each. ``levels`` are factors of
    the grip force over the hold and ``times`` the relative lengths of the phases.
    """

    action: str
    shape: str
    material: str
    colour: str
    half_size: tuple[float, float, float]
    fill: float
    position: tuple[float, float]
    axis: float
    twist: float
    side: int
    pad_offset: tuple[float, float]
    opening: float
    waypoints: tuple[tuple[float, ...], ...]
    approach_s: tuple[float, float, float]
    wait_s: float
    stroke_s: float
    stroke: float
    heading: float
    turn: float
    raise_height: float
    pokes: int
    poke_gap_s: float
    force: float
    levels: tuple[float, ...]
    releases: bool
    shade: float

    @property
    def mass(self) -> float:
        """Kilograms: volume of the shape, density of the material, and how full it is."""
        x, y, z = self.half_size
        volume = {
            "block": 8 * x * y * z,
            "ball": 4 / 3 * math.pi * x**3,
            "cylinder": 2 * math.pi * x**2 * z,
            "egg": 4 / 3 * math.pi * x * y * z,
            "capsule": 4 / 3 * math.pi * x**3 + 2 * math.pi * x**2 * (y - x),
        }[self.shape]
        return volume * MATERIALS[self.material].density * self.fill


def draw_factors(seed: int, episode: int) -> Factors:
    """Return the factors of episode ``episode``.

    They are the same on every machine (PCG64), whatever other episodes are made.
    """
    rng = np.random.default_rng([seed, episode, 0])

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def one_of(names: tuple[str, ...]) -> str:
        return names[int(rng.integers(len(names)))]

    action, shape = one_of(ACTIONS), one_of(SHAPES)
    material, colour = one_of(tuple(MATERIALS)), one_of(tuple(COLOURS))
    size = between(0.018, 0.036)
    half_size = {
        "block": (size, size * between(0.7, 1.3), size * between(0.8, 1.3)),
        "ball": (size, size, size),
        "cylinder": (size, size, size * between(0.8, 1.5)),
        "egg": (size, size * between(1.15, 1.5), size * between(0.85, 1.0)),
        "capsule": (size * 0.85, size * between(1.4, 1.9), size * 0.85),
    }[shape]
    start = (*(between(-0.10, 0.10) for _ in range(2)), between(0.09, 0.18))
    way = (*(between(-0.07, 0.07) for _ in range(2)), between(0.08, 0.15))
    tilts = [tuple(between(-0.3, 0.3) for _ in range(2)) for _ in range(2)] + [
        tuple(between(-0.06, 0.06) for _ in "rp")
    ]
    waypoints = (
        (*start, *tilts[0], between(-0.9, 0.9)),
        (*way, *tilts[1], between(-0.7, 0.7)),
        (0.0, 0.0, between(0.05, 0.08), *tilts[2], 0.0),
    )
    return Factors(
        action=action,
        shape=shape,
        material=material,
        colour=colour,
        half_size=half_size,
        fill=between(0.15, 0.5),
        position=(between(-0.08, 0.08), between(-0.08, 0.08)),
        axis=between(-0.5 * math.pi, 0.5 * math.pi),
        twist=between(-0.10, 0.10),
        side=1 if rng.random() < 0.5 else -1,
        pad_offset=(between(-0.010, 0.010), between(-0.008, 0.008)),
        opening=between(0.012, 0.022),
        waypoints=waypoints,
        approach_s=(between(0.10, 0.20), between(0.10, 0.20), between(0.10, 0.18)),
        wait_s=between(0.0, 0.15),
        stroke_s=between(0.22, 0.60),
        stroke=between(0.03, 0.09),
        heading=between(-math.pi, math.pi),
        turn=between(0.4, 1.2) * (1 if rng.random() < 0.5 else -1),
        raise_height=between(0.03, 0.10),
        pokes=int(rng.integers(1, 4)),
        poke_gap_s=between(0.16, 0.26),
        force=between(2.0, 9.0),
        levels=tuple(between(0.5, 1.6) for _ in range(4)),
        releases=bool(rng.random() < 0.5),
        shade=between(-0.08, 0.08),
    )
