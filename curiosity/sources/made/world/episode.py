"""One episode in every modality: simulated once, seen by every sensor at the same time."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from curiosity.sources.made.world.encode import encode_array, encode_picture, encode_video
from curiosity.sources.made.world.factors import Factors, draw_factors
from curiosity.sources.made.world.physics import simulate
from curiosity.sources.made.world.plan import STEPS
from curiosity.sources.made.world.render import RayRenderer, Renderer
from curiosity.sources.made.world.scene import CAMERAS
from curiosity.sources.made.world.sensors import sense_action, sense_cloud, sense_emg, sense_pressure, sense_touch
from curiosity.sources.made.world.sentence import say
from curiosity.sources.made.world.sound import make_sound

FRAMES: Final = 16
FRAME_STEP: Final = STEPS // FRAMES
SNAPSHOT_STEP: Final = 1000  # the moment of the two pictures and of the point cloud


@dataclass(frozen=True)
class EpisodeItem:
    """One recording of an episode. ``stream`` tells apart items of one modality: ``camera1`` and ``camera2``."""

    modality: str
    stream: str
    media_type: str
    extension: str
    content: bytes


@dataclass(frozen=True)
class Episode:
    """``items`` by stream: video, camera1, camera2, point_cloud, touch, pressure, emg, audio, action, text."""

    factors: Factors
    items: dict[str, EpisodeItem]


STREAMS: Final[dict[str, tuple[str, str, str]]] = {
    "video": ("video", "video/mp4", "mp4"),
    "camera1": ("image", "image/png", "png"),
    "camera2": ("image", "image/png", "png"),
    "point_cloud": ("point_cloud", "application/x-npy", "npy"),
    "touch": ("touch", "application/x-npy", "npy"),
    "pressure": ("pressure", "application/x-npy", "npy"),
    "emg": ("emg", "application/x-npy", "npy"),
    "action": ("action", "application/x-npy", "npy"),
    "audio": ("audio", "audio/wav", "wav"),
    "text": ("text", "text/plain", "txt"),
}
"""Stream -> modality, media type, extension."""


def record_episode(seed: int, episode: int, renderer: Renderer) -> Episode:
    """Return episode ``episode`` of the seed; what it is does not depend on which others are made."""
    recording = simulate(draw_factors(seed, episode))
    noise = np.random.default_rng([seed, episode, 1])  # of the sensors, in the order below
    frames = np.stack(
        [renderer.draw(recording, step, CAMERAS[0]) for step in range(FRAME_STEP // 2, STEPS, FRAME_STEP)]
    )
    caster = renderer if isinstance(renderer, RayRenderer) else RayRenderer()  # depth needs no light
    contents = {
        "video": encode_video(frames),
        **{camera: encode_picture(renderer.draw(recording, SNAPSHOT_STEP, camera)) for camera in CAMERAS},
        "point_cloud": encode_array(sense_cloud(recording, caster, SNAPSHOT_STEP, noise)),
        "touch": encode_array(sense_touch(recording, noise)),
        "pressure": encode_array(sense_pressure(recording, noise)),
        "emg": encode_array(sense_emg(recording, noise)),
        "action": encode_array(sense_action(recording)),
        "audio": make_sound(recording, noise),
        "text": say(recording, np.random.default_rng([seed, episode, 2])).encode(),
    }
    items = {
        stream: EpisodeItem(modality, stream, media_type, extension, contents[stream])
        for stream, (modality, media_type, extension) in STREAMS.items()
    }
    return Episode(recording.factors, items)
