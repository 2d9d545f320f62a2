"""The scene of an episode: table, seven-axis gripper, two padded fingers with a force lamp each, one object.

The GL backend of MuJoCo is read when it is imported, so this module sets it first, and everything else of the world
imports MuJoCo from here.
"""

import math
import os
import sys
from ctypes.util import find_library
from typing import Any, Final

if "mujoco" not in sys.modules and sys.platform == "linux":
    # Off screen, without a display server; a backend that the user chose stays. To ask for one whose library is missing
    # would make the import itself fail.
    found = [name for name, library in (("egl", "EGL"), ("osmesa", "OSMesa")) if find_library(library)]
    os.environ.setdefault("MUJOCO_GL", found[0] if found else "disable")

import mujoco as mujoco

from curiosity.sources.made.world.factors import COLOURS, MATERIALS, Factors

TIMESTEP_S: Final = 0.001
PAD_HALF: Final = 0.016  # a pad is 32 mm square: 16 x 16 cells of 2 mm
FINGER_THICK: Final = 0.005
OPEN_HALF: Final = 0.064  # half the gap between the pads at gripper 0; at 1 they would meet
FINGER_KP: Final = 1000.0  # newtons of grip for each metre that a finger is told to go beyond the object
MAT_HALF: Final = 0.16
TABLE_RGB: Final = (0.62, 0.60, 0.56)
MAT_RGB: Final = (0.36, 0.40, 0.44)
# The palm is two lamps, one for each finger, that show how hard its pad is pressed (see ``render.light_lamps``).
# They shine by themselves, in colours that no object has.
LAMP_OFF: Final = (0.10, 0.10, 0.10)
LAMPS_ON: Final = ((0.00, 1.00, 1.00), (1.00, 0.00, 1.00))
LIGHT_DIRECTION: Final = (-0.35, 0.45, -0.82)
JOINTS: Final = ("x", "y", "z", "yaw", "pitch", "roll", "left", "right")
CAMERAS: Final = ("camera1", "camera2")
# Position, target and vertical field of view (in degrees: MJCF knows no other for it).
_CAMERAS: Final = {
    "camera1": ((0.0, -0.50, 0.42), (0.0, 0.005, 0.045), 28.0),
    "camera2": ((0.58, 0.12, 0.24), (0.0, 0.0, 0.055), 28.0),
}
_GEOM_TYPES: Final = {
    "block": ("box", "{x} {y} {z}", ""),
    "ball": ("sphere", "{x}", ""),
    "cylinder": ("cylinder", "{x} {z}", ""),
    "egg": ("ellipsoid", "{x} {y} {z}", ""),
    "capsule": ("capsule", "{x} {straight}", 'zaxis="0 1 0"'),  # lying, across the grip
}


def object_rgb(factors: Factors) -> tuple[float, float, float]:
    """Return the colour of the object, 0 to 1: the named one, a little lighter or darker."""
    red, green, blue = (min(1.0, max(0.0, part * (1 + factors.shade))) for part in COLOURS[factors.colour])
    return red, green, blue


def build_scene(factors: Factors) -> Any:
    """Return a compiled ``mujoco.MjModel``.

    It has a gantry (x, y, z, yaw, pitch, roll), two fingers, the object and two cameras.
    """
    return mujoco.MjModel.from_xml_string(_write_xml(factors))


def _write_xml(factors: Factors) -> str:
    x, y, z = factors.half_size
    kind, size, more = _GEOM_TYPES[factors.shape]
    size = size.format(x=x, y=y, z=z, straight=y - x)
    gloss = MATERIALS[factors.material].gloss
    friction = MATERIALS[factors.material].friction
    rgb = " ".join(f"{part:.6f}" for part in object_rgb(factors))
    yaw = factors.axis + factors.twist
    px, py = factors.position
    light = " ".join(map(str, LIGHT_DIRECTION))
    cameras = "".join(_write_camera(name) for name in CAMERAS)
    position = "".join(
        f'<position name="{name}" joint="{name}" kp="{kp}" dampratio="1"/>'
        for name, kp in zip(JOINTS, (4000, 4000, 4000, 20, 20, 20, FINGER_KP, FINGER_KP), strict=True)
    )
    states = "".join(f'<jointpos joint="{j}"/>' for j in JOINTS) + "".join(f'<jointvel joint="{j}"/>' for j in JOINTS)
    forces = "".join(f'<actuatorfrc actuator="{j}"/>' for j in JOINTS)
    fingers = "".join(
        f"""<body name="{name}" pos="{sign * OPEN_HALF} 0 0">
          <joint name="{name}" type="slide" axis="{-sign} 0 0" range="-0.002 {OPEN_HALF}" damping="2"/>
          <geom name="{name}" type="box" size="{FINGER_THICK} {PAD_HALF} {PAD_HALF + 0.012}"
                pos="{sign * FINGER_THICK} 0 0.012" mass="0.05" rgba="{rgba}" friction="0.9 0.005 0.0001"/>
          <site name="{name}" type="box" size="0.012 {PAD_HALF + 0.004} 0.034" pos="{sign * FINGER_THICK} 0 0.012"
                group="5"/>
        </body>"""
        for name, sign, rgba in (("left", -1, "0.15 0.55 0.60 1"), ("right", 1, "0.85 0.45 0.55 1"))
    )
    half = (OPEN_HALF + 0.012) / 2
    lamps = "".join(
        f'<geom name="lamp_{name}" type="box" size="{half} 0.016 0.012" pos="{sign * half} 0 0.072" mass="0.125" '
        f'material="lamp" rgba="{_rgba(LAMP_OFF)}" contype="0" conaffinity="0"/>'
        for name, sign in (("left", -1), ("right", 1))
    )
    return f"""<mujoco model="world">
  <compiler angle="radian"/>
  <option timestep="{TIMESTEP_S}" integrator="implicitfast" cone="elliptic" impratio="5"/>
  <visual><headlight ambient="0.42 0.42 0.42" diffuse="0 0 0" specular="0 0 0"/><quality shadowsize="0" offsamples="0"/>
    <map znear="0.01" zfar="10"/></visual>
  <asset><material name="object" specular="{gloss}" shininess="0.4"/>
    <material name="lamp" specular="0" emission="0.6"/></asset>
  <worldbody>
    <light directional="true" dir="{light}" diffuse="0.6 0.6 0.6" specular="0.5 0.5 0.5" castshadow="false"/>
    {cameras}
    <geom name="table" type="plane" size="3 3 0.1" rgba="{_rgba(TABLE_RGB)}" group="5"
          friction="{friction} 0.005 0.0001"/>
    <geom name="board" type="box" size="3 3 0.005" pos="0 0 -0.0056" rgba="{_rgba(TABLE_RGB)}" group="4"
          contype="0" conaffinity="0"/>
    <geom name="mat" type="box" size="{MAT_HALF} {MAT_HALF} 0.0005" pos="0 0 -0.0004" rgba="{_rgba(MAT_RGB)}" group="4"
          contype="0" conaffinity="0"/>
    <body name="object" pos="{px} {py} {z}" euler="0 0 {yaw}">
      <freejoint name="object"/>
      <geom name="object" type="{kind}" size="{size}" {more} mass="{factors.mass}" material="object" rgba="{rgb} 1"
            friction="{friction} 0.002 0.0002" condim="4"/>
      <site name="object" type="sphere" size="0.2" group="5"/>
    </body>
    <body name="gantry_x"><joint name="x" type="slide" axis="1 0 0" armature="0.05"/>
     <inertial pos="0 0 0" mass="0.05" diaginertia="1e-5 1e-5 1e-5"/>
     <body><joint name="y" type="slide" axis="0 1 0" armature="0.05"/>
      <inertial pos="0 0 0" mass="0.05" diaginertia="1e-5 1e-5 1e-5"/>
      <body><joint name="z" type="slide" axis="0 0 1" armature="0.05"/>
       <inertial pos="0 0 0" mass="0.05" diaginertia="1e-5 1e-5 1e-5"/>
       <body><joint name="yaw" type="hinge" axis="0 0 1" armature="0.002"/>
        <inertial pos="0 0 0" mass="0.05" diaginertia="1e-5 1e-5 1e-5"/>
        <body><joint name="pitch" type="hinge" axis="0 1 0" armature="0.002"/>
         <inertial pos="0 0 0" mass="0.05" diaginertia="1e-5 1e-5 1e-5"/>
         <body name="tool"><joint name="roll" type="hinge" axis="1 0 0" armature="0.002"/>
          {lamps}
          <geom name="wrist" type="cylinder" size="0.016 0.05" pos="0 0 0.134" mass="0.1" rgba="0.30 0.30 0.34 1"
                contype="0" conaffinity="0"/>
          {fingers}
         </body></body></body></body></body></body>
  </worldbody>
  <actuator>{position}</actuator>
  <sensor>
    <touch site="left"/><touch site="right"/><touch site="object"/>
    {states}{forces}
    <framepos objtype="xbody" objname="object"/><framequat objtype="xbody" objname="object"/>
    <framelinvel objtype="xbody" objname="object"/>
    <framepos objtype="xbody" objname="left"/><framequat objtype="xbody" objname="left"/>
    <framepos objtype="xbody" objname="right"/><framequat objtype="xbody" objname="right"/>
  </sensor>
</mujoco>"""


def _rgba(rgb: tuple[float, float, float]) -> str:
    return " ".join(f"{part}" for part in rgb) + " 1"


def _write_camera(name: str) -> str:
    position, target, fovy = _CAMERAS[name]
    back = [p - t for p, t in zip(position, target, strict=True)]
    length = math.sqrt(sum(b * b for b in back))
    back = [b / length for b in back]
    right = [-back[1], back[0], 0.0]  # up x back: level
    length = math.sqrt(right[0] ** 2 + right[1] ** 2)
    right = [r / length for r in right]
    up = [
        back[1] * right[2] - back[2] * right[1],
        back[2] * right[0] - back[0] * right[2],
        back[0] * right[1] - back[1] * right[0],
    ]
    axes = " ".join(f"{v:.9f}" for v in (*right, *up))
    return f'<camera name="{name}" pos="{" ".join(map(str, position))}" xyaxes="{axes}" fovy="{fovy}"/>'
