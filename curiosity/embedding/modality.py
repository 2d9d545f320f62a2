"""What a modality is: its name, what it accepts, and how its bytes become one array.

A modality is data. One file in ``curiosity/embedding/modalities`` and one line in its tuple register it; the tower that
embeds it stands in ``curiosity/embedding/towers`` and is chosen by the preset. Nothing here imports torch: the
sandboxed decode processes of a validator import this module and ``curiosity.embedding.modalities`` only.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import Rejected

Array = NDArray[Any]


@dataclass(frozen=True)
class Limits:
    """The largest item that a modality decodes; 0 where a limit does not apply."""

    max_bytes: int
    max_pixels: int = 0
    max_chars: int = 0
    max_s: float = 0.0
    max_frames: int = 0


@dataclass(frozen=True)
class Column:
    """One column of the last axis that has a unit and a closed range of its own."""

    name: str
    unit: str
    low: float
    high: float


@dataclass(frozen=True)
class Contract:
    """What a decoded array must be: dtype, shape, closed range of its values.

    A length in ``shape`` is fixed, or a closed span ``(shortest, longest)``, or None: any positive length. Where the
    columns of the last axis differ, ``columns`` has one for each and ``low`` and ``high`` enclose them all.
    """

    dtype: str
    shape: tuple[int | tuple[int, int] | None, ...]
    low: float
    high: float
    meaning: str
    unit: str = ""
    columns: tuple[Column, ...] = ()

    @property
    def max_array_bytes(self) -> int:
        """Bytes of the largest array, 0 where some length has no limit."""
        longest = (length[1] if isinstance(length, tuple) else length or 0 for length in self.shape)
        return int(math.prod(longest)) * np.dtype(self.dtype).itemsize


class Modality(Protocol):
    """One kind of item. Implementations hold no state and import nothing heavy."""

    @property
    def name(self) -> str:
        """Name in pairs, thresholds and checkpoints; lower-case."""

    @property
    def media_types(self) -> tuple[str, ...]:
        """Media types that ``decode`` takes; every other is refused."""

    @property
    def limits(self) -> Limits:
        """The largest item that is decoded."""

    @property
    def contract(self) -> Contract:
        """What ``decode`` returns and the towers take."""

    @property
    def mask_share(self) -> float:
        """Share of the natural units that a seeded mask hides (SCORING, Symbols)."""

    @property
    def natural_unit(self) -> str:
        """What a mask hides one of, in words; plural."""

    @property
    def preparation(self) -> str:
        """What happens between the bytes and the array, in words, for people."""

    def decode(self, data: bytes, media_type: str) -> Array:
        """Return the item as one array that meets ``contract``.

        Raises:
            Rejected: status 422, when the bytes are not an item of this media type or exceed a limit.
        """


def refuse(code: str, what: str, remedy: str) -> Rejected:
    """Return the refusal of an item that cannot be decoded: HTTP 422, the contributor's fault."""
    return Rejected(code, what, remedy, status=422)


def check_envelope(modality: Modality, data: bytes, media_type: str) -> None:
    """Refuse what can be refused before any decoder sees the bytes.

    Raises:
        Rejected: MEDIA_TYPE_UNKNOWN, ITEM_EMPTY or ITEM_TOO_LARGE.
    """
    if media_type not in modality.media_types:
        raise refuse(
            "MEDIA_TYPE_UNKNOWN",
            f"{modality.name} takes {', '.join(modality.media_types)}, got {media_type!r}",
            "Convert the item to one of these media types.",
        )
    if not data:
        raise refuse("ITEM_EMPTY", f"the {modality.name} item has 0 bytes", "Send the content of the item.")
    if len(data) > modality.limits.max_bytes:
        raise refuse(
            "ITEM_TOO_LARGE",
            f"the {modality.name} item has {number_of(len(data), 'byte')}, the limit is {modality.limits.max_bytes}",
            "Make the item smaller.",
        )


def check_contract(modality: Modality, array: Array) -> None:
    """Refuse an array that does not meet the modality's contract; nothing is clamped or converted.

    Raises:
        Rejected: ARRAY_NOT_IN_CONTRACT with the first thing that differs.
    """
    contract = modality.contract
    problem = ""
    if array.dtype != np.dtype(contract.dtype):
        problem = f"dtype {array.dtype}, expected {contract.dtype}"
    elif array.ndim != len(contract.shape) or not all(map(_has_length, array.shape, contract.shape)):
        problem = f"shape {array.shape}, expected {contract.shape}"
    elif array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
        problem = "values that are not finite"
    elif (where := find_outside_column(contract, array)) is not None:
        column, value = contract.columns[where[-1]], array[where]
        problem = f"{column.name} {value} at {where[:-1]}, expected {column.low} to {column.high} {column.unit}"
    elif array.size and (array.min() < contract.low or array.max() > contract.high):
        problem = f"values from {array.min()} to {array.max()}, expected {contract.low} to {contract.high}"
    if problem:
        raise refuse(
            "ARRAY_NOT_IN_CONTRACT", f"{modality.name}: {problem}", f"Decode the item first: {contract.meaning}."
        )


def find_outside_column(contract: Contract, array: Array) -> tuple[int, ...] | None:
    """Return the index of the first value that is outside its own column's range; None where there is none."""
    if not contract.columns:
        return None
    low = np.array([column.low for column in contract.columns], dtype=array.dtype)
    high = np.array([column.high for column in contract.columns], dtype=array.dtype)
    outside = np.argwhere((array < low) | (array > high))
    return tuple(int(index) for index in outside[0]) if len(outside) else None


def _has_length(got: int, want: int | tuple[int, int] | None) -> bool:
    if isinstance(want, tuple):
        return want[0] <= got <= want[1]
    return got == want if want is not None else got > 0
