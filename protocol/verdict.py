"""What a validator decides about a pair: outcome, public reason, whose fault, and every number behind it."""

from dataclasses import dataclass
from enum import StrEnum

from protocol.errors import Fault
from protocol.scoring import Gap
from protocol.wire import STRICT, Bytes32


class Outcome(StrEnum):
    """The three answers to a pair that was admitted."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    GREY = "grey"  # too near to a threshold: not paid, not punished, may be submitted again


class Reason(StrEnum):
    """Why; the first test that failed, in the order in which docs/protocol.md lists them."""

    BELONGS_TOGETHER = "BELONGS_TOGETHER"
    CONTENT_DUPLICATE = "CONTENT_DUPLICATE"  # another pair of the same two contents is in the ledger
    ITEM_UNDECODABLE = "ITEM_UNDECODABLE"  # `detail` says which item and which rule
    ITEM_UNINFORMATIVE = "ITEM_UNINFORMATIVE"  # null gate: near to the other modality's empty item
    PAIR_TOO_FAR = "PAIR_TOO_FAR"  # final distance above the threshold
    PAIR_NOT_MUTUAL = "PAIR_NOT_MUTUAL"  # too many others are as near (CSLS)
    GREY_ZONE = "GREY_ZONE"


@dataclass(frozen=True)
class Measurement:
    """The integers that the decision came from. Digests are SHA-256 over little-endian int16 embeddings."""

    raw_distance_micro: int
    distance_micro: int  # of the final embeddings
    csls_micro: int
    null_a_micro: int  # cosine of item a with the empty item of b's modality
    null_b_micro: int
    loss_a_micro: int  # differential loss
    loss_b_micro: int
    pull_a_micro: int
    pull_b_micro: int
    embedding_a: Bytes32  # as the encoder gave it
    embedding_b: Bytes32
    final_a: Bytes32  # cross-averaged if accepted, else the original
    final_b: Bytes32

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Verdict:
    """One decision under one checkpoint. ``measurement`` is missing where the items were never embedded."""

    outcome: Outcome
    reason: Reason
    checkpoint: Bytes32
    fault: Fault | None = None
    detail: str = ""
    measurement: Measurement | None = None
    gap: Gap | None = None
    novel: bool = False
    curiosity_micro: int = 0  # what ranks and pays; 0 unless accepted and novel

    __pydantic_config__ = STRICT

    @property
    def is_accepted(self) -> bool:
        """True if the two items belong together."""
        return self.outcome is Outcome.ACCEPTED
