"""Presets: which tower stands for which modality, and the dimension of the space."""

from collections.abc import Callable
from dataclasses import dataclass

from embedding.towers.audio import TinyAudio
from embedding.towers.base import Tower
from embedding.towers.image import TinyImage
from embedding.towers.text import MiniLmText, ScratchText
from protocol.errors import ConfigError


@dataclass(frozen=True)
class Preset:
    """A named choice of towers. ``towers`` maps a modality to what builds its tower for a dimension."""

    name: str
    dim: int
    towers: dict[str, Callable[[int], Tower]]
    # Rises when the same bytes would give other features: a checkpoint of another version is refused.
    preprocessing: str


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("tiny", 128, {"text": MiniLmText, "image": TinyImage, "audio": TinyAudio}, "tiny/1"),
        Preset("tiny-scratch", 128, {"text": ScratchText, "image": TinyImage, "audio": TinyAudio}, "tiny-scratch/1"),
    )
}


def find_preset(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ConfigError: PRESET_UNKNOWN, when there is none.
    """
    if name not in PRESETS:
        raise ConfigError("PRESET_UNKNOWN", f"there is no preset {name!r}", f"Use one of {', '.join(sorted(PRESETS))}")
    return PRESETS[name]
