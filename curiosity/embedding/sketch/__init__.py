"""Sketches of items: few bits that a copy shares with its original, though its bytes differ.

A sketch has `Sketch.probes`, by which an item is looked for among others, and a `Sketch.bank`, by which others find it:
the bank holds what cuts and turns of the item would look like, so that a cut copy finds the whole original. Both are
rows of 256 bits, and two items are compared by the fewest bits in which a probe of the later differs from a row of the
earlier. numpy only: validators sketch on threads that hold no device.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from curiosity.embedding.modality import Array
from curiosity.embedding.sketch.parts import NO_BITS, NOTHING, Bits, Parts
from curiosity.embedding.sketch.pictures import recheck_picture, sketch_picture
from curiosity.embedding.sketch.sounds import recheck_sound, sketch_sound
from curiosity.embedding.sketch.texts import sketch_text

_ROW_BYTES = 32
_FORM = b"\x03"  # of what `Sketch.pack` returns; another one for other waves, banks or words


@dataclass(frozen=True, eq=False)
class Sketch:
    """One item. ``canonical`` is SHA-256 over what was decoded: the same for the same pixels in another file.

    ``kept`` is what a second look needs: a small plane of a picture or a sound, the words of a text.
    """

    modality: str
    canonical: bytes
    probes: Bits
    bank: Bits
    kept: bytes

    def pack(self) -> bytes:
        """Return what is needed to be found by others."""
        count = len(self.bank).to_bytes(2, "big")
        return _FORM + self.canonical + count + self.bank.astype("<u8").tobytes() + self.kept


@dataclass(frozen=True, eq=False)
class Kept:
    """What is left of an earlier item's sketch: all but the probes."""

    canonical: bytes
    bank: Bits
    kept: bytes


def is_of_this_form(packed: bytes) -> bool:
    """Return whether `unpack` can read it; what another version packed has to be made again."""
    return packed[:1] == _FORM


def unpack(packed: bytes) -> Kept:
    """Return what `Sketch.pack` holds.

    Raises:
        ValueError: If it is not of that form.
    """
    start = 35
    end = start + _ROW_BYTES * int.from_bytes(packed[33:start], "big")
    if not is_of_this_form(packed) or len(packed) < end:
        raise ValueError(f"a sketch of form {packed[:1].hex()} has {len(packed)} bytes, expected at least {end}")
    bank = np.frombuffer(packed[start:end], "<u8").astype(np.uint64).reshape(-1, 4)
    return Kept(packed[1:33], bank, packed[end:])


_SKETCHES: Mapping[str, Callable[[Array], Parts]] = {
    "image": sketch_picture,
    "audio": sketch_sound,
    "text": sketch_text,
}
_RECHECKS = {"image": recheck_picture, "audio": recheck_sound}


def sketch_item(modality: str, array: Array) -> Sketch:
    """Return the sketch of a decoded item that is in its modality's contract.

    Items of other modalities than image, audio and text, and those that are too plain, have no bits: they are near only
    to what decodes to the same array.
    """
    head = f"{modality} {array.dtype.str} {array.shape}\x00".encode()
    canonical = sha256(head + np.ascontiguousarray(array).tobytes()).digest()
    sketch = _SKETCHES.get(modality)
    return Sketch(modality, canonical, *(sketch(array) if sketch is not None else NOTHING))


def recheck(later: Sketch, kept: bytes, fewest: int) -> int:
    """Return in how few bits a picture or a sound differs from an earlier one when many more cuts are compared.

    Args:
        later: The sketch of the later item.
        kept: What is kept of the earlier one.
        fewest: Bits in which the bank differs.
    """
    look = _RECHECKS.get(later.modality)
    return fewest if look is None or not kept else min(fewest, look(later.probes, kept))


__all__ = ["NO_BITS", "Bits", "Kept", "Sketch", "is_of_this_form", "recheck", "sketch_item", "unpack"]
