"""The registered modalities. One file here and one line in ``MODALITIES`` add another.

Packages outside this repository add theirs as ``curiosity.embedding.registration`` says; ``BY_NAME`` holds them too.
"""

from curiosity.embedding.modalities.action import ACTION
from curiosity.embedding.modalities.audio import AUDIO
from curiosity.embedding.modalities.emg import EMG
from curiosity.embedding.modalities.image import IMAGE
from curiosity.embedding.modalities.point_cloud import POINT_CLOUD
from curiosity.embedding.modalities.pressure import PRESSURE
from curiosity.embedding.modalities.text import TEXT
from curiosity.embedding.modalities.touch import TOUCH
from curiosity.embedding.modalities.video import VIDEO
from curiosity.embedding.modality import Array, Modality, check_contract, check_envelope, refuse
from curiosity.embedding.registration import installed
from curiosity.protocol.errors import ConfigError

MODALITIES: tuple[Modality, ...] = (
    TEXT,
    IMAGE,
    AUDIO,
    VIDEO,
    POINT_CLOUD,
    TOUCH,
    PRESSURE,
    EMG,
    ACTION,
)

BY_NAME: dict[str, Modality] = {modality.name: modality for modality in MODALITIES}


def add(modality: Modality) -> None:
    """Make a modality known by its name; call ``curiosity.embedding.extend.register``, which adds its towers too.

    Raises:
        ConfigError: MODALITY_TAKEN, when the name is another's.
    """
    if modality.name in BY_NAME:
        raise ConfigError("MODALITY_TAKEN", f"there is a modality {modality.name!r} already", "Choose another name.")
    BY_NAME[modality.name] = modality


def find(name: str) -> Modality:
    """Return the modality of that name.

    Raises:
        Rejected: MODALITY_UNKNOWN, when none has that name.
    """
    modality = BY_NAME.get(name)
    if modality is None:
        raise refuse("MODALITY_UNKNOWN", f"there is no modality {name!r}", f"Use one of {', '.join(sorted(BY_NAME))}.")
    return modality


def decode(name: str, data: bytes, media_type: str) -> Array:
    """Return the item's array, decoded under the modality's limits and checked against its contract. Imports no torch.

    Raises:
        Rejected: status 422, with the rule that the item breaks.
    """
    modality = find(name)
    check_envelope(modality, data, media_type)
    array = modality.decode(data, media_type)
    check_contract(modality, array)
    return array


def pair_name(a: str, b: str) -> str:
    """Return the name of a modality pair, alphabetical: ``audio-text``."""
    return "-".join(sorted((a, b)))


for _registration in installed():
    add(_registration.modality)
