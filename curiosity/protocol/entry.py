"""Ledger entries: the leaves of the log. Canonical JSON of hashes, integers and ids; never content.

Nobody can confirm a guess of a pair's content from its entry: the pair's digest covers a random nonce, the commitment
a random salt, and the verdict holds only what pays.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from curiosity.protocol.errors import ProofError
from curiosity.protocol.takedown import Asker, SignedTakedown, TakedownReason, TakedownRequest
from curiosity.protocol.verdict import MOST_BELIEF, Verdict
from curiosity.protocol.wire import LATER, STRICT, Bytes20, Bytes32, Bytes65, ShortText, Uint53, adapter, encode

MAX_ENTRY_BYTES = 65_535  # c2sp.org/tlog-tiles: an entry's length is a uint16
MAX_TRIES = 3
"""How often a held pair is judged again, each time under a later checkpoint."""

Wei = Annotated[str, Field(pattern=r"^(0|[1-9][0-9]{0,77})$")]
"""An amount of the smallest token unit, in decimal digits: JSON numbers would lose precision."""


@dataclass(frozen=True)
class PairEntry:
    """A decision about a pair. The signature over ``pair`` recovers to ``contributor``.

    Version 3, of accepted novel pairs, is version 2 with the counts in ``verdict.crowd``, and with ``verdict.belief``
    under a checkpoint that has beliefs; entries of before have none. Version 4 decides again about
    a held pair: ``again`` is the index of the entry that it follows, the newest one about that pair. Version 5 is any
    of them with ``generated``, which is true: the contributor declares that a program generated an item. Version 6 is
    any with ``verdict.items``: how many of its items are new, which pays where the rule has a pool for items. An entry
    that names one modality is of version 6 and about a single item.
    """

    pair: Bytes32
    contributor: Bytes20
    signature: Bytes65
    modalities: ShortText
    license: ShortText
    verdict: Verdict
    commitment: Bytes32  # of the curiosity.protocol.verdict.Opening
    again: Annotated[Uint53 | None, LATER] = None
    generated: Annotated[Literal[True] | None, LATER] = None
    kind: Literal["pair"] = "pair"
    v: Literal[2, 3, 4, 5, 6] = 2

    __pydantic_config__ = STRICT

    @property
    def is_single(self) -> bool:
        """True if it is about a single item."""
        return "-" not in self.modalities


@dataclass(frozen=True)
class CheckpointEntry:
    """From here on pairs are judged under ``checkpoint``."""

    checkpoint: Bytes32
    parent: Bytes32 | None
    kind: Literal["checkpoint"] = "checkpoint"
    v: Literal[1] = 1

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Closing:
    """When an epoch was closed: the newest block of the chain then, its time in Unix seconds, and the beacon.

    ``beacon`` is the hash of the block that the close of the epoch before appointed, all zero where none was. Without a
    chain ``block`` is 0, ``time`` is the validator's clock and ``beacon`` are random bytes of the validator's.
    """

    block: Uint53
    time: Uint53
    beacon: Bytes32 = bytes(32)

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class EpochEntry:
    """An epoch was closed: it covers the entries from ``first`` up to the one before this.

    Version 2, of epochs that are paid by version 2 of the rule, is version 1 with ``closing``.
    """

    epoch: Uint53
    first: Uint53
    parameters: Bytes32  # digest of the RewardParameters in force
    paid_pairs: Uint53
    emission_wei: Wei
    cumulative_wei: Wei
    reward_root: Bytes32
    closing: Annotated[Closing | None, LATER] = None
    kind: Literal["epoch"] = "epoch"
    v: Literal[1, 2] = 1

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class RuleEntry:
    """From epoch ``epoch`` on pay follows these parameters; no pair of that epoch comes before this entry.

    ``parameters`` are the fields of `curiosity.protocol.rewards.RewardParameters` by name, in decimal digits. ``block``
    and ``time`` say when, as in `Closing`.
    """

    epoch: Uint53
    parameters: dict[ShortText, Wei]
    block: Uint53
    time: Uint53
    kind: Literal["rule"] = "rule"
    v: Literal[1] = 1

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class AuditEntry:
    """The pair at ``index``, which a beacon drew, was judged again."""

    index: Uint53
    pair: Bytes32
    passed: bool
    kind: Literal["audit"] = "audit"
    v: Literal[1] = 1

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class TakedownEntry:
    """The content of the pair at ``index`` is erased: items, embeddings, envelope, salt and opening.

    ``named`` is the pair that the request names: ``pair`` itself, unless it went because the request reached further
    (``everywhere``, or a copy that was refused as a duplicate). ``signature`` is the contributor's over a
    `curiosity.protocol.takedown.TakedownRequest` of these values; the operator's takedowns have none, and 0 for
    ``expiry``.
    """

    index: Uint53
    pair: Bytes32
    named: Bytes32
    reason: TakedownReason
    everywhere: ShortText
    asker: Asker
    expiry: Uint53
    signature: Bytes65 | None
    kind: Literal["takedown"] = "takedown"
    v: Literal[1] = 1

    __pydantic_config__ = STRICT

    def signed(self, network_id: bytes) -> SignedTakedown:
        """Return the request behind it, for `curiosity.protocol.takedown.check_takedown`."""
        request = TakedownRequest(network_id, self.named, self.reason, self.everywhere, self.expiry)
        return SignedTakedown(request, self.signature)


AnyEntry = PairEntry | CheckpointEntry | EpochEntry | TakedownEntry | RuleEntry | AuditEntry
Entry = Annotated[AnyEntry, Field(discriminator="kind")]


def encode_entry(entry: AnyEntry) -> bytes:
    """Return the leaf: canonical JSON.

    Raises:
        ValueError: If it is longer than 65,535 bytes, or its version does not have the fields that it has.
    """
    if wrong := _version_differs(entry):
        raise ValueError(wrong)
    leaf = encode(entry)
    if len(leaf) > MAX_ENTRY_BYTES:
        raise ValueError(f"an entry of {len(leaf)} bytes, at most {MAX_ENTRY_BYTES}")
    return leaf


def parse_entry(leaf: bytes) -> AnyEntry:
    """Return the entry that a leaf spells.

    Raises:
        ProofError: ENTRY_TOO_LONG, ENTRY_MALFORMED if it is none, ENTRY_NOT_CANONICAL if it is one in another spelling
            than the one that `encode_entry` gives.
    """
    if len(leaf) > MAX_ENTRY_BYTES:
        raise ProofError("ENTRY_TOO_LONG", f"an entry of {len(leaf)} bytes, at most {MAX_ENTRY_BYTES}")
    try:
        entry: AnyEntry = adapter(Entry).validate_json(leaf)
    except ValueError as error:
        raise ProofError("ENTRY_MALFORMED", f"not a ledger entry: {str(error).splitlines()[0]}") from None
    if wrong := _version_differs(entry):
        raise ProofError("ENTRY_MALFORMED", f"not a ledger entry: {wrong}")
    if encode(entry) != leaf:
        raise ProofError("ENTRY_NOT_CANONICAL", f"the entry's JSON is not in canonical form ({len(leaf)} bytes)")
    return entry


def _version_differs(entry: AnyEntry) -> str:
    """Return what is wrong with an entry whose version does not fit its fields; "" if nothing is."""
    if isinstance(entry, PairEntry):
        if entry.v != (fits := version_of(entry)):
            return f"a pair entry of version {entry.v} with the fields of version {fits}"
        return _verdict_differs(entry) or (_single_differs(entry) if entry.is_single else "")
    if isinstance(entry, EpochEntry) and (entry.closing is None) is not (entry.v == 1):
        return f"an epoch entry of version {entry.v} {'without' if entry.v > 1 else 'with'} closing"
    return ""


def _verdict_differs(entry: PairEntry) -> str:
    """Return what no verdict says that pays; "" if nothing is wrong."""
    verdict = entry.verdict
    if verdict.curiosity_micro and not (verdict.novel and verdict.is_accepted):
        return f"a pair entry with the score {verdict.curiosity_micro} that is not accepted and novel"
    if verdict.belief is not None and verdict.crowd is None:
        return "a pair entry with verdict.belief and without verdict.crowd"
    if (verdict.belief or 0) > MOST_BELIEF:
        return f"a pair entry with verdict.belief {verdict.belief}, at most {MOST_BELIEF} is told"
    most = verdict.is_accepted * (1 if entry.is_single else 2)
    if (verdict.items or 0) > most:
        return f"a pair entry with {verdict.items} new items, at most {most} can be"
    return ""


def _single_differs(entry: PairEntry) -> str:
    """Return what an entry about a single item cannot say; "" if nothing is wrong."""
    verdict = entry.verdict
    if entry.v != 6 or entry.again is not None:
        wrong = "not of 6" if entry.again is None else "decided again"
        return f"an entry of version {entry.v} about a single item, {wrong}"
    if verdict.items != verdict.is_accepted:
        return f"an entry about a single item that is {verdict.outcome.value}, with {verdict.items} new items"
    if verdict.curiosity_micro or verdict.crowd is not None or verdict.belief is not None:
        return "an entry about a single item with a score, verdict.crowd or verdict.belief, which pairs have"
    return ""


def version_of(entry: PairEntry) -> Literal[2, 3, 4, 5, 6]:
    """Return the version of a pair entry with these fields."""
    if entry.verdict.items is not None:
        return 6
    if entry.generated:
        return 5
    if entry.again is not None:
        return 4
    return 2 if entry.verdict.crowd is None else 3


def is_accepted(leaf: bytes) -> bool:
    """Return True if the leaf is the entry of an accepted pair."""
    entry = parse_entry(leaf)
    return isinstance(entry, PairEntry) and entry.verdict.is_accepted
