"""Make a modality from outside this repository known to this process. Imports no torch."""

from curiosity.embedding import modalities, presets
from curiosity.embedding.registration import Registration, check


def register(registration: Registration) -> None:
    """Make a modality known to this process; every other modality's weights and embeddings stay bit for bit.

    Raises:
        ConfigError: MODALITY_TAKEN, MODALITY_INVALID or PRESET_UNKNOWN; nothing is registered then.
    """
    check(registration)
    for preset in registration.towers:
        presets.find_preset(preset)
    modalities.add(registration.modality)
    presets.add_towers(registration)
