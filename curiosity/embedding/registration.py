"""One modality more, from outside this repository: how its bytes are read, and its tower in the presets.

Either call ``curiosity.embedding.extend.register`` before the first space is made, or let an installed package name a
``Registration`` as an entry point of the group ``curiosity.modalities``; then every process knows it, the sandboxed
decoders too. It stands in a module of its own, which is loaded with ``curiosity.embedding.modalities``: nothing imports
it before, and of this package it imports ``modality``, ``modalities.arrays``, ``registration`` and ``tower_spec`` only.
Imports no torch.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points

import numpy as np

from curiosity.embedding.modality import Modality
from curiosity.embedding.tower_spec import TowerSpec
from curiosity.protocol.errors import ConfigError

log = logging.getLogger(__name__)

GROUP = "curiosity.modalities"
# Names stand in pair names (``audio-text``), thresholds and checkpoints.
_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
MAX_NAME_CHARS = 32


@dataclass(frozen=True)
class Registration:
    """A modality, and for each preset that shall know it (by name) its tower."""

    modality: Modality
    towers: Mapping[str, TowerSpec]


def check(registration: Registration) -> None:
    """Refuse a declaration that could not work.

    Raises:
        ConfigError: MODALITY_INVALID with what is wrong.
    """
    modality = registration.modality
    name, contract = modality.name, modality.contract
    problem = ""
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
        problem = f"the name must be words of small letters joined by _, at most {MAX_NAME_CHARS} characters"
    elif not modality.media_types:
        problem = "it takes no media type"
    elif modality.limits.max_bytes <= 0:
        problem = f"max_bytes is {modality.limits.max_bytes}"
    elif not 0.0 < modality.mask_share < 1.0:
        problem = f"mask_share is {modality.mask_share}, it must be between 0 and 1"
    elif not contract.shape or not contract.low < contract.high:
        problem = f"the contract has shape {contract.shape} and values from {contract.low} to {contract.high}"
    elif np.dtype(contract.dtype).kind not in "uif":
        problem = f"the contract's dtype is {contract.dtype}, it must be a number's"
    elif contract.columns and len(contract.columns) != contract.shape[-1]:
        problem = f"the contract has {len(contract.columns)} columns and a last axis of {contract.shape[-1]}"
    if problem:
        raise ConfigError("MODALITY_INVALID", f"modality {name!r}: {problem}", "Correct its declaration.")


@cache
def installed() -> tuple[Registration, ...]:
    """Return what installed packages register, in the order of their names.

    What cannot be loaded is logged and left out.
    """
    found = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            registration = point.load()
            if not isinstance(registration, Registration):
                raise ConfigError("MODALITY_INVALID", f"{point.value} is no Registration", "Name a Registration.")
            check(registration)
        except (ImportError, AttributeError, ConfigError) as error:
            log.warning("event=modality_not_loaded entry_point=%s why=%r", point.name, str(error))
        else:
            found.append(registration)
    return tuple(found)
