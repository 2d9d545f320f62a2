"""Messages of an operator's orders: switch the checkpoint, change the rule of pay, refuse items, let some go."""

from dataclasses import dataclass, field

from curiosity.protocol.entry import Wei
from curiosity.protocol.wire import STRICT, Bytes32, ShortText, Uint53


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
class RuleOrder:
    """Pay by version 2 of the rule from an epoch on, 0 being the first that may be named, with these changes.

    ``changes`` are parameters by name, in decimal digits; all others stay as they are in force. With ``dry_run``
    nothing is written.
    """

    epoch: Uint53 = 0
    changes: dict[ShortText, Wei] = field(default_factory=dict)
    dry_run: bool = False

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class RuleReport:
    """From ``epoch`` on pay follows ``parameters``; until then ``before``. ``entry`` is missing after a dry run."""

    epoch: Uint53
    entry: Uint53 | None
    before: dict[ShortText, Wei]
    parameters: dict[ShortText, Wei]
    digest: Bytes32

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class BlockOrder:
    """Refuse items of this pair from now on, those of ``modalities``: "image", or "image-text" for both."""

    pair: Bytes32
    modalities: ShortText

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class BlockReport:
    """So many lines were added to the operator's list; 0 if all of them were there."""

    added: Uint53

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class ExpiryReport:
    """Items of refused pairs were let go: of so many pairs, so many items that no other pair holds, and their bytes."""

    pairs: int
    items: int
    bytes: int

    __pydantic_config__ = STRICT
