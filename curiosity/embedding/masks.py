"""Deterministic, seeded masks: which natural units of an item are hidden, the same on every machine.

The seed comes from the beacon and the item's digest, so that no contributor chooses it (SCORING, Symbols).
"""

import hashlib

import numpy as np
from numpy.typing import NDArray


def mask_seed(beacon: bytes, item_sha256: bytes) -> int:
    """Return the seed of an item's masks.

    It is the SHA-256 of a tag, the beacon's length in one byte, the beacon, the item's digest.
    """
    digest = hashlib.sha256(b"curiosity/mask/1\x00" + bytes([len(beacon)]) + beacon + item_sha256).digest()
    return int.from_bytes(digest, "big")


def hidden_units(units: int, share: float, seed: int, k: int) -> NDArray[np.bool_]:
    """Return bool[units], True where mask ``k`` hides a unit.

    The units with the smallest 64-bit words of SHAKE-256(seed as 32 bytes, k as 4 bytes) are hidden: ``share`` of
    them, at least one and (of two units or more) never all, so that neither half is the whole item.
    """
    if units == 0:
        return np.zeros(0, dtype=np.bool_)
    words = hashlib.shake_256(seed.to_bytes(32, "big") + k.to_bytes(4, "big")).digest(8 * units)
    order = np.argsort(np.frombuffer(words, dtype=">u8"), kind="stable")
    count = min(max(1, round(share * units)), max(1, units - 1))
    hidden = np.zeros(units, dtype=np.bool_)
    hidden[order[:count]] = True
    return hidden
