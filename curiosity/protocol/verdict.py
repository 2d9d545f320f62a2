"""What a validator decides about a pair: the verdict, which is public, and the opening, which can be erased.

The log holds the verdict and a commitment to the opening. Whatever anybody could compute from a guess of the two items
under the public checkpoint, such as a distance or the digest of an embedding, belongs into the opening: the salt in it
keeps a guess from being confirmed by the log, and once salt and opening are erased the log proves nothing of the items.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Annotated

from curiosity.protocol.errors import Fault
from curiosity.protocol.wire import LATER, STRICT, Bytes32, Uint53, encode

OPENING_TAG = b"curiosity/opening/1\x00"


class Outcome(StrEnum):
    """The answers to a pair that was admitted."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    HELD = "held"  # the checkpoint cannot tell: not paid, not punished, judged again under the next checkpoints
    GREY = "grey"  # too near to a threshold: not paid, not punished, may be submitted again


class Reason(StrEnum):
    """Why; the first test that failed, in the order in which docs/protocol.md lists them."""

    BELONGS_TOGETHER = "BELONGS_TOGETHER"
    CONTENT_DUPLICATE = "CONTENT_DUPLICATE"  # another pair of the same two contents is in the ledger
    PAIR_COPY = "PAIR_COPY"  # both items are near copies of those of one earlier accepted pair
    ITEM_UNDECODABLE = "ITEM_UNDECODABLE"  # `detail` says which item and which rule
    ITEM_UNINFORMATIVE = "ITEM_UNINFORMATIVE"  # null gate: near to the other modality's empty item
    PAIR_TOO_FAR = "PAIR_TOO_FAR"  # final distance above the threshold
    PAIR_NOT_MUTUAL = "PAIR_NOT_MUTUAL"  # too many others are as near (CSLS)
    PAIR_UNLIKELY = "PAIR_UNLIKELY"  # the belief that the two belong together is below the one to reject at
    PAIR_UNDECIDED = "PAIR_UNDECIDED"  # held: the belief lies between the one to reject at and the one to accept at
    PAIR_UNFAMILIAR = "PAIR_UNFAMILIAR"  # held: unlike everything that the checkpoint was calibrated on
    GREY_ZONE = "GREY_ZONE"
    ITEM_NEW = "ITEM_NEW"  # a single item is taken
    ITEM_COPY = "ITEM_COPY"  # an earlier accepted entry holds a single item, or a near copy of it
    ITEM_NOT_NOVEL = "ITEM_NOT_NOVEL"  # a single item too near to the checkpoint's references, or too far from them


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
class ItemMeasurement:
    """The integers that the decision about a single item came from (`curiosity.protocol.single`).

    A *slack* is how far the item stays below the bound that it comes nearest to, negative beyond it.
    """

    null_slack_micro: int  # of the cosines with the empty items of other modalities
    hub_slack_micro: int  # of the mean cosines with the ten nearest of other modalities' banks
    nearest_micro: int  # distance to the nearest of the checkpoint's references
    embedding: Bytes32
    change_micro: Annotated[int | None, LATER] = None  # how much it changes within itself, where that is asked

    __pydantic_config__ = STRICT


TOO_NEAR = "a known pair is as good as the same"
OUTSIDE = "it lies in no gap between known pairs"
NOT_NOVEL = (TOO_NEAR, OUTSIDE)
LESS_FAMILIAR = {"a": "item a is the less familiar", "b": "item b is the less familiar"}
"""What an opening says of a pair that is held as unlike all that is known, by item."""
"""Why an accepted pair is not novel, as its opening's ``detail`` says it."""

MAX_CROWD = 4_095
"""The largest count in a `CrowdCounts`; a pair that says it earns nothing."""


@dataclass(frozen=True)
class CrowdCounts:
    """How many earlier accepted, novel pairs of the ledger, from any account, share something with this one.

    Each count is at most `MAX_CROWD`, and above 3 rounded down to its two leading bits (`rounded`): the log tells of a
    pair that others hold the same item no more exactly than its pay needs.
    """

    a: Uint53 = 0  # that hold item a, or a near copy of it
    b: Uint53 = 0
    near: Uint53 = 0  # of which both items are those of this pair or near copies of them

    __pydantic_config__ = STRICT

    @property
    def largest(self) -> int:
        """The count that the pay follows."""
        return max(self.a, self.b, self.near)

    @classmethod
    def rounded(cls, a: int, b: int, near: int) -> "CrowdCounts":
        """Return the counts as an entry holds them."""
        return cls(*(_two_bits(min(count, MAX_CROWD)) for count in (a, b, near)))


def _two_bits(count: int) -> int:
    dropped = max(count.bit_length() - 2, 0) if count < MAX_CROWD else 0
    return count >> dropped << dropped


@dataclass(frozen=True)
class Weighed(Measurement):
    """The integers of a decision by belief."""

    familiarity_micro: (
        int  # mean of the two items' highest cosines to the checkpoint's references of the nearest domain
    )
    belief_micro: int  # probability that the two belong together
    domains_micro: Annotated[tuple[int, ...] | None, LATER] = (
        None  # familiarity with each domain, where there are several
    )
    change_a_micro: Annotated[int | None, LATER] = None  # how much item a changes within itself, where that is asked
    change_b_micro: Annotated[int | None, LATER] = None

    __pydantic_config__ = STRICT


BELIEF_STEPS = 40
MOST_BELIEF = 32
"""Beliefs of this many fortieths and more are told as one: no rule of pay asks for more than `MOST_BELIEF`."""


def told_belief(measurement: Measurement) -> int | None:
    """Return what an entry tells of a belief: whole fortieths, at most `MOST_BELIEF`; None where there is no belief."""
    if not isinstance(measurement, Weighed):
        return None
    return min(measurement.belief_micro * BELIEF_STEPS // 1_000_000, MOST_BELIEF)


@dataclass(frozen=True)
class Verdict:
    """One decision under one checkpoint, as the log shows it: no more than is needed to blame, to rank and to pay."""

    outcome: Outcome
    reason: Reason
    checkpoint: Bytes32
    fault: Fault | None = None
    novel: bool = False
    curiosity_micro: Uint53 = 0  # what ranks and pays, the gap's two leading bits; 0 unless accepted and novel
    crowd: Annotated[CrowdCounts | None, LATER] = None  # None in a pair entry of version 2, which has no counts
    belief: Annotated[Uint53 | None, LATER] = None  # of a novel pair, by `told_belief`; None in entries of before
    items: Annotated[Uint53 | None, LATER] = None  # items that no earlier accepted entry holds, in entries of version 6

    __pydantic_config__ = STRICT

    @property
    def is_accepted(self) -> bool:
        """True if the two items belong together."""
        return self.outcome is Outcome.ACCEPTED


@dataclass(frozen=True)
class Opening:
    """What an entry's commitment hides: which items were judged and the numbers behind the verdict.

    The contributor has it with the receipt, mirrors with the submission; a takedown erases it. ``measurement`` is
    missing where the items were never embedded, and of a single item, which has ``item`` instead; its ``b`` is the
    SHA-256 of nothing.
    """

    salt: Bytes32  # random, the validator's; never used twice
    a: Bytes32  # SHA-256 of item a
    b: Bytes32
    detail: str = ""
    measurement: Weighed | Measurement | None = None
    item: Annotated[ItemMeasurement | None, LATER] = None

    __pydantic_config__ = STRICT

    def commitment(self) -> bytes:
        """Return the SHA-256 over a tag, the salt, and the canonical JSON of the rest (docs/protocol.md, step 12)."""
        return self.seal()[0]

    def seal(self) -> tuple[bytes, bytes]:
        """Return the commitment and the canonical JSON of the whole opening, for whoever needs both."""
        whole = encode(self)
        # Canonical keys are sorted, and of these "salt" is the last: without it the rest is spelled as it is here.
        rest = whole[: -len(',"salt":"0x"}') - 2 * len(self.salt)] + b"}"
        return sha256(OPENING_TAG + self.salt + rest).digest(), whole
