"""Messages of an operator's orders: switch the checkpoint, let items of refused pairs go."""

from dataclasses import dataclass

from curiosity.protocol.wire import STRICT, Bytes32


@dataclass(frozen=True)
class CheckpointOrder:
    """Switch to the checkpoint in this folder on the validator's machine.

    ``force``: also if it is worse than its parent on held-out pairs, or nothing shows that it is not.
    """

    path: str
    force: bool = False

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class CheckpointReport:
    """The validator switched and re-embedded its index."""

    checkpoint: Bytes32
    entry: int
    reindexed: int
    seconds: int

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class ExpiryReport:
    """Items of refused pairs were let go: of so many pairs, so many items that no other pair holds, and their bytes."""

    pairs: int
    items: int
    bytes: int

    __pydantic_config__ = STRICT
