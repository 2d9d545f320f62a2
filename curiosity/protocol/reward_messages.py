"""What a validator and its callers say to each other about rewards: leaves, claims, attestations and closed epochs.

`curiosity.protocol.messages` lists the routes.
"""

from dataclasses import dataclass

from curiosity.protocol.entry import Wei
from curiosity.protocol.wire import STRICT, Bytes20, Bytes32, Bytes65, Uint53


@dataclass(frozen=True)
class ClaimShare:
    """What an account earned in one epoch, and the proof that leads from its leaf to the epoch's reward root."""

    epoch: int
    amount_wei: Wei
    proof: tuple[Bytes32, ...]
    reward_root: Bytes32

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class ClaimTicket:
    """What an account earned in the closed epochs, oldest first: compare it with `curiosity payouts --derive`.

    ``next`` is the epoch to ask for the following page from (``?first=``), null at the end.
    """

    account: Bytes20
    shares: tuple[ClaimShare, ...]
    next: int | None = None

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class RewardLeaf:
    """One leaf of a reward tree."""

    account: Bytes20
    amount_wei: Wei

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class EpochLeaves:
    """All leaves of a closed epoch's reward tree, by account, as the validator that answers attests it."""

    epoch: int
    entry: int  # index of the ledger entry that closes the epoch
    reward_root: Bytes32
    leaves: tuple[RewardLeaf, ...]

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class EpochAttestation:
    """What a quorum has to sign so that the next closed epoch is paid, as the validator that answers would post it.

    The fields of the EIP-712 struct `Attestation` (docs/protocol.md, step 18); ``digest`` is what is signed.
    ``signers`` are the validators whose signatures it has, of ``threshold`` that the contract wants.
    """

    epoch: Uint53
    ledger_size: Uint53
    ledger_root: Bytes32
    reward_root: Bytes32
    cumulative_total_wei: Wei
    previous_root: Bytes32
    set_id: Uint53
    attempt: Uint53
    digest: Bytes32
    threshold: Uint53
    signers: tuple[Bytes20, ...]

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class EpochSignature:
    """A validator's signature under the attestation with this digest, r || s || v."""

    digest: Bytes32
    signature: Bytes65

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class EpochReport:
    """An epoch that was closed and posted."""

    epoch: int
    entry: int  # index of the epoch's entry
    paid_pairs: int
    emission_wei: Wei
    cumulative_wei: Wei
    reward_root: Bytes32
    transaction: str | None  # hash of the posting, null without a chain
    activates_at: int | None  # Unix seconds of the chain's clock

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class EpochStanding:
    """How far the closed epochs are on the chain, as the validator last saw it.

    ``posted`` and ``active`` are of the newest block and can fall out of the chain; ``settled`` is the newest epoch
    whose activation is final. ``trouble``: code of what went wrong at the last look. ``signatures`` of ``threshold``
    are there for the epoch that waits for a quorum; both 0 where none does.
    """

    closed: int
    posted: int
    active: int
    settled: int
    block: int
    final_block: int
    trouble: str | None
    signatures: int = 0
    threshold: int = 0

    __pydantic_config__ = STRICT
