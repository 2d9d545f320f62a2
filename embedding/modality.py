"""What a modality is: its name, what it accepts, and how its bytes become one array.

A modality is data. One file in ``embedding/modalities`` and one line in its tuple register it; the tower that embeds
it stands in ``embedding/towers`` and is chosen by the preset. Nothing here imports torch: the sandboxed decode
processes of a validator import this module and ``embedding.modalities`` only.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from protocol.errors import Rejected

Array = NDArray[Any]


@dataclass(frozen=True)
class Limits:
    """The largest item that a modality decodes; 0 where a limit does not apply."""

    max_bytes: int
    max_pixels: int = 0
    max_chars: int = 0
    max_s: float = 0.0


@dataclass(frozen=True)
class Contract:
    """What a decoded array must be: dtype, shape (None: any positive length), closed range of its values."""

    dtype: str
    shape: tuple[int | None, ...]
    low: float
    high: float
    meaning: str


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

    def decode(self, data: bytes, media_type: str) -> Array:
        """The item as one array that meets ``contract``.

        Raises:
            Rejected: status 422, when the bytes are not an item of this media type or exceed a limit.
        """


def refuse(code: str, what: str, remedy: str) -> Rejected:
    """The refusal of an item that cannot be decoded: HTTP 422, the contributor's fault."""
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
            "Convert the item to one of these media types",
        )
    if not data:
        raise refuse("ITEM_EMPTY", f"the {modality.name} item has 0 bytes", "Send the content of the item")
    if len(data) > modality.limits.max_bytes:
        raise refuse(
            "ITEM_TOO_LARGE",
            f"the {modality.name} item has {len(data)} bytes, the limit is {modality.limits.max_bytes}",
            "Make the item smaller",
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
    elif array.ndim != len(contract.shape) or any(
        got == 0 or (want is not None and got != want) for got, want in zip(array.shape, contract.shape, strict=True)
    ):
        problem = f"shape {array.shape}, expected {contract.shape}"
    elif array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
        problem = "values that are not finite"
    elif array.size and (array.min() < contract.low or array.max() > contract.high):
        problem = f"values from {array.min()} to {array.max()}, expected {contract.low} to {contract.high}"
    if problem:
        raise refuse(
            "ARRAY_NOT_IN_CONTRACT", f"{modality.name}: {problem}", f"Decode the item first: {contract.meaning}"
        )
