"""Ledger entries: the leaves of the log. Canonical JSON of hashes, integers and ids; never content.

A pair's digest covers a random nonce, so that nobody can confirm a guess of its content from the entry alone.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from protocol.errors import ProofError
from protocol.verdict import Verdict
from protocol.wire import STRICT, Bytes20, Bytes32, Bytes65, ShortText, Uint64, adapter, encode

MAX_ENTRY_BYTES = 65_535  # c2sp.org/tlog-tiles: an entry's length is a uint16

Wei = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,77})$")]
"""An amount of the smallest token unit, in decimal digits: JSON numbers would lose precision."""


@dataclass(frozen=True)
class PairEntry:
    """A decision about a pair. The signature over ``pair`` recovers to ``contributor``."""

    pair: Bytes32
    contributor: Bytes20
    signature: Bytes65
    modalities: ShortText
    license: ShortText
    verdict: Verdict
    kind: Literal["pair"] = "pair"
    v: Literal[1] = 1

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class CheckpointEntry:
    """From here on pairs are judged under ``checkpoint``."""

    checkpoint: Bytes32
    parent: Bytes32 | None
    kind: Literal["checkpoint"] = "checkpoint"
    v: Literal[1] = 1

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class EpochEntry:
    """An epoch was closed: it covers the entries from ``first`` up to the one before this."""

    epoch: Uint64
    first: Uint64
    parameters: Bytes32  # digest of the RewardParameters in force
    paid_pairs: Uint64
    emission_wei: Wei
    cumulative_wei: Wei
    reward_root: Bytes32
    kind: Literal["epoch"] = "epoch"
    v: Literal[1] = 1

    __pydantic_config__ = STRICT


Entry = Annotated[PairEntry | CheckpointEntry | EpochEntry, Field(discriminator="kind")]
AnyEntry = PairEntry | CheckpointEntry | EpochEntry


def encode_entry(entry: AnyEntry) -> bytes:
    """Return the leaf: canonical JSON. Raises ValueError if it is longer than 65,535 bytes."""
    leaf = encode(entry)
    if len(leaf) > MAX_ENTRY_BYTES:
        raise ValueError(f"an entry of {len(leaf)} bytes, at most {MAX_ENTRY_BYTES}")
    return leaf


def parse_entry(leaf: bytes) -> AnyEntry:
    """Return the entry that a leaf spells. Raises ProofError ENTRY_MALFORMED unless it is one, in canonical form."""
    try:
        entry: AnyEntry = adapter(Entry).validate_json(leaf)
    except ValueError as error:
        raise ProofError("ENTRY_MALFORMED", f"not a ledger entry: {str(error).splitlines()[0]}") from None
    if encode(entry) != leaf:
        raise ProofError("ENTRY_NOT_CANONICAL", f"the entry's JSON is not in canonical form ({len(leaf)} bytes)")
    return entry
