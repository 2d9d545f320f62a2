"""Pictures of an episode: by casting rays on the CPU (the default), or by OpenGL off screen.

The rays are cast by MuJoCo (``mj_multiRay``) and shaded here with Lambert's law and a Blinn highlight. They need no
graphics library and give the same bytes on every run, so a pair set made with them is the same wherever its numbers
are. OpenGL rasterisers differ between drivers; they are there for those who want larger pictures.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from curiosity.protocol.errors import SourceError
from curiosity.sources.made.world.physics import Recording
from curiosity.sources.made.world.scene import (
    CAMERAS,
    LAMP_OFF,
    LAMPS_ON,
    LIGHT_DIRECTION,
    MAT_HALF,
    MAT_RGB,
    TABLE_RGB,
    mujoco,
)

RENDERERS: Final = ("auto", "gl", "cpu")
SIDE_PX: Final = 64
AMBIENT: Final = 0.42
DIFFUSE: Final = 0.60
LAMP_MS: Final = 100
_MOVING_GROUP: Final = np.array([1, 1, 1, 1, 0, 0], dtype=np.uint8)  # table and mat (group 4) are planes: cast here


@dataclass(frozen=True)
class View:
    """What one camera sees at one step.

    A picture uint8[S, S, 3]; where each pixel lies in the world, float64[S, S, 3]; True where it is on a moving part
    (gripper or object) rather than the table, bool[S, S].
    """

    picture: NDArray[np.uint8]
    points: NDArray[np.float64]
    moving: NDArray[np.bool_]


class Renderer(Protocol):
    """Makes pictures of a recording; ``name`` goes into the set's parameters."""

    name: str

    def draw(self, recording: Recording, step: int, camera: str) -> NDArray[np.uint8]:
        """Return uint8[64, 64, 3] of the camera at the step (millisecond) of the episode."""


def pick_renderer(name: str) -> Renderer:
    """Return the renderer ``cpu``, ``gl``, or for ``auto`` OpenGL where it works and else the CPU.

    Raises:
        SourceError: UNKNOWN_RENDERER, or NO_GL where ``gl`` was asked for and cannot draw.
    """
    if name not in RENDERERS:
        raise SourceError(
            "UNKNOWN_RENDERER", f"there is no renderer {name!r}", f"Choose one of: {', '.join(RENDERERS)}."
        )
    if name == "cpu":
        return RayRenderer()
    try:
        return GlRenderer()
    except SourceError:
        if name == "gl":
            raise
        return RayRenderer()


def light_lamps(recording: Recording, step: int) -> None:
    """Set the colours of the two force lamps for a step: the mean force of the last 100 ms, on a logarithmic scale.

    A gripper with force display is a design choice of this world: it makes visible what the pads feel.
    """
    force = recording.pad_force[max(0, step - LAMP_MS + 1) : step + 1].mean(axis=0)
    level = np.minimum(1.0, np.log1p(force / 0.05) / math.log1p(10.0 / 0.05))
    for name, on, share in zip(("lamp_left", "lamp_right"), LAMPS_ON, level, strict=True):
        shown = (1 - share) * np.array(LAMP_OFF) + share * np.array(on)
        recording.model.geom(name).rgba[:3] = shown


@dataclass(frozen=True)
class _Backdrop:
    """What a camera sees without gripper and object; the cameras and the table are the same in every episode.

    ``rays`` unit vectors float64[P, 3]; ``distance`` to the table [P]; ``picture`` uint8[P, 3].
    """

    eye: NDArray[np.float64]
    rays: NDArray[np.float64]
    distance: NDArray[np.float64]
    picture: NDArray[np.uint8]


class RayRenderer:
    """Ray casting on the CPU. One ``MjData`` is kept for each recording."""

    name = "cpu"

    def __init__(self) -> None:
        self._model: Any = None
        self._data: Any = None
        self._step = -1
        self._backdrops: dict[str, _Backdrop] = {}

    def draw(self, recording: Recording, step: int, camera: str) -> NDArray[np.uint8]:
        """Return the picture of ``see``."""
        return self.see(recording, step, camera).picture

    def see(self, recording: Recording, step: int, camera: str) -> View:
        """Return the picture, the depth (as points in the world) and what moves, from one camera at one step."""
        self._place(recording, step)
        if camera not in self._backdrops:
            self._backdrops[camera] = _see_table(self._model, self._data, CAMERAS.index(camera))
        back = self._backdrops[camera]
        distance, picture = back.distance.copy(), back.picture.copy()
        chosen = self._cast_moving(back, distance, picture)
        moving = np.zeros(len(distance), dtype=np.bool_)
        moving[chosen] = True
        points = back.eye + back.rays * distance[:, None]
        shape = (SIDE_PX, SIDE_PX)
        return View(picture.reshape(*shape, 3), points.reshape(*shape, 3), moving.reshape(shape))

    def _place(self, recording: Recording, step: int) -> None:
        if recording.model is not self._model:
            self._model, self._data, self._step = recording.model, mujoco.MjData(recording.model), -1
        if step != self._step:
            self._data.qpos[:] = recording.positions[step]
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_camlight(self._model, self._data)
            light_lamps(recording, step)
            self._step = step

    def _cast_moving(
        self, back: _Backdrop, distance: NDArray[np.float64], picture: NDArray[np.uint8]
    ) -> NDArray[np.int64]:
        """Overwrite the pixels where a moving part is nearer than the table, and return which they are."""
        model, data = self._model, self._data
        parts = np.flatnonzero(model.geom_group < 4)
        # Most pixels are table: only rays that pass a part's bounding sphere are cast.
        centres = data.geom_xpos[parts] - back.eye
        off = (centres**2).sum(axis=1) - (back.rays @ centres.T) ** 2
        near = np.flatnonzero((off <= (model.geom_rbound[parts] + 1e-4) ** 2).any(axis=1))
        if not len(near):
            return near
        hit = np.empty(len(near), dtype=np.int32)
        length, normals = np.empty(len(near)), np.empty((len(near), 3))
        mujoco.mj_multiRay(
            model, data, back.eye, back.rays[near].reshape(-1), _MOVING_GROUP, True, -1, hit, length,
            normals.reshape(-1), len(near), 10.0,
        )  # fmt: skip
        seen = (hit >= 0) & (length < distance[near])
        chosen, part = near[seen], hit[seen]
        distance[chosen] = length[seen]
        painted = model.geom_matid[part]
        gloss = np.where(painted >= 0, model.mat_specular[np.maximum(painted, 0)], 0.2)
        rgb = model.geom_rgba[part, :3]
        shines = model.mat_emission[np.maximum(painted, 0)] * (painted >= 0) > 0  # a lamp is as bright from every side
        shaded = _shade(rgb, normals[seen], gloss, back.rays[chosen])
        picture[chosen] = np.where(shines[:, None], np.rint(rgb * 255).astype(np.uint8), shaded)
        return chosen


def _see_table(model: Any, data: Any, camera: int) -> _Backdrop:
    """Return the table (the plane z = 0), the mat on it, and past 3 m more of the same."""
    eye = data.cam_xpos[camera].copy()
    rays = _aim_rays(model, data, camera)
    falls = rays[:, 2] < -1e-3
    distance = np.minimum(np.where(falls, -eye[2] / np.where(falls, rays[:, 2], -1.0), 3.0), 3.0)
    ground = eye[:2] + rays[:, :2] * distance[:, None]
    on_mat = (np.abs(ground) <= MAT_HALF).all(axis=1)
    rgb = np.where(on_mat[:, None], np.array(MAT_RGB), np.array(TABLE_RGB))
    up = np.tile(np.array([0.0, 0.0, 1.0]), (len(rays), 1))
    return _Backdrop(eye, rays, distance, _shade(rgb, up, np.zeros(len(rays)), rays))


def _aim_rays(model: Any, data: Any, camera: int) -> NDArray[np.float64]:
    """Return unit vectors float64[S * S, 3] through the pixels' centres, rows from the top."""
    half = math.tan(math.radians(float(model.cam_fovy[camera])) / 2)
    at = (np.arange(SIDE_PX) + 0.5) / SIDE_PX * 2 - 1
    right, down = np.meshgrid(at * half, at * half)
    local = np.stack([right, -down, -np.ones_like(right)], axis=-1).reshape(-1, 3)
    local /= np.linalg.norm(local, axis=1, keepdims=True)
    aimed: NDArray[np.float64] = local @ data.cam_xmat[camera].reshape(3, 3).T
    return aimed


def _shade(
    rgb: NDArray[np.float64], normals: NDArray[np.float64], gloss: NDArray[np.float64], rays: NDArray[np.float64]
) -> NDArray[np.uint8]:
    """Return the colours uint8[P, 3]: ambient and Lambert's cosine, plus a half-vector highlight (Blinn 1977)."""
    light = -np.array(LIGHT_DIRECTION)
    light /= np.linalg.norm(light)
    lit = np.maximum(0.0, normals @ light)
    middle = light - rays
    middle /= np.linalg.norm(middle, axis=1, keepdims=True)
    shine = 0.6 * gloss * np.maximum(0.0, (normals * middle).sum(axis=1)) ** 24
    bright = rgb * (AMBIENT + DIFFUSE * lit)[:, None] + shine[:, None]
    shaded: NDArray[np.uint8] = np.rint(np.clip(bright, 0.0, 1.0) * 255).astype(np.uint8)
    return shaded


class GlRenderer:
    """OpenGL off screen, shadows and multisampling off. One context serves all episodes: no scene has textures."""

    name = "gl"

    def __init__(self) -> None:
        try:
            self._context = mujoco.GLContext(SIDE_PX, SIDE_PX)
            self._context.make_current()
            blank = mujoco.MjModel.from_xml_string(
                '<mujoco><visual><quality shadowsize="0" offsamples="0"/>'
                f'<global offwidth="{SIDE_PX}" offheight="{SIDE_PX}"/></visual><worldbody/></mujoco>'
            )
            self._target = mujoco.MjrContext(blank, mujoco.mjtFontScale.mjFONTSCALE_50)
            mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._target)
            if self._target.currentBuffer != mujoco.mjtFramebuffer.mjFB_OFFSCREEN:
                raise RuntimeError("no off-screen buffer")
        # Each backend fails in its own way: a missing library is an AttributeError or ImportError of the bindings.
        except (AttributeError, ImportError, RuntimeError, OSError, mujoco.FatalError) as error:
            raise SourceError(
                "NO_GL", f"OpenGL cannot draw off screen here ({error})", "Use --renderer cpu, which needs no OpenGL."
            ) from error
        self._options = mujoco.MjvOption()
        self._options.geomgroup[4] = 1
        self._model: Any = None

    def draw(self, recording: Recording, step: int, camera: str) -> NDArray[np.uint8]:
        """Draw the picture with the driver and read it back."""
        if recording.model is not self._model:
            self._model = recording.model
            self._data = mujoco.MjData(self._model)
            self._scene = mujoco.MjvScene(self._model, maxgeom=64)
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._data.qpos[:] = recording.positions[step]
        mujoco.mj_forward(self._model, self._data)
        light_lamps(recording, step)
        eye = mujoco.MjvCamera()
        eye.type, eye.fixedcamid = mujoco.mjtCamera.mjCAMERA_FIXED, CAMERAS.index(camera)
        mujoco.mjv_updateScene(
            self._model, self._data, self._options, None, eye, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        frame = np.empty((SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        area = mujoco.MjrRect(0, 0, SIDE_PX, SIDE_PX)
        mujoco.mjr_render(area, self._scene, self._target)
        mujoco.mjr_readPixels(frame, None, area, self._target)
        return np.ascontiguousarray(frame[::-1])
