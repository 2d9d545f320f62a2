"""What a validator and its callers say to each other over HTTP, beside the pair itself. OpenAPI is made from these.

| route | in | out |
|---|---|---|
| GET /v1/network | | Network |
| POST /v1/pairs | body of `curiosity.protocol.pair.SignedPair.encode` | Decision |
| GET /v1/receipts/{pair digest}?index= | | Decision: the newest about the pair, or that of an entry |
| GET /v1/entries?start=&count= | | EntryPage |
| GET /v1/submissions?start=&count= | | SubmissionPage |
| GET /v1/proof/inclusion?index=&size= | | InclusionProof |
| GET /v1/proof/consistency?first=&size= | | ConsistencyProof |
| GET /checkpoint | | newest tree head, a signed note with what cosignatures it has (text) |
| GET /v1/checkpoint/cosigned | | newest tree head that a quorum of witnesses cosigned (text) |
| GET /v1/proof/tlog?index= | | tlog-proof under that head (text) |
| GET /tile/... | | tiles and entry bundles of c2sp.org/tlog-tiles |
| GET /v1/witnesses | | WitnessPage |
| GET /v1/items/{sha256} | | the bytes of an item of an accepted pair |
| POST /v1/items (signed) | `curiosity.protocol.item_request.SignedItemRequest` | an item's bytes |
| POST /v1/query?modality=&to=&k= | item bytes | Answer |
| GET /v1/claims/{account}?first= | | ClaimTicket |
| GET /v1/epochs/{epoch}/leaves | | EpochLeaves |
| GET /v1/attestation | | EpochAttestation |
| POST /v1/attestation | EpochSignature | EpochAttestation |
| POST /v1/takedowns (signed, or bearer token) | `curiosity.protocol.takedown.SignedTakedown` | TakedownReport |
| GET /v1/admin/blocked (bearer token) | | `curiosity.protocol.takedown.Blocked` |
| POST /v1/admin/epochs (bearer token) | | EpochReport |
| POST /v1/admin/expiries (bearer token) | | ExpiryReport |
| POST /v1/admin/checkpoints (bearer token) | CheckpointOrder | CheckpointReport |
| GET /health, /metrics, /openapi.json | | Health, Prometheus text, OpenAPI |

Every error is an ErrorMessage with a 4xx or 503 status.
"""

from dataclasses import dataclass, field
from typing import Annotated

from curiosity.protocol.pair import Submission
from curiosity.protocol.receipt import Receipt
from curiosity.protocol.reward_messages import EpochStanding
from curiosity.protocol.signing import Domain
from curiosity.protocol.verdict import Opening, Verdict
from curiosity.protocol.wire import LATER, STRICT, Bytes20, Bytes32, Bytes65


@dataclass(frozen=True)
class Network:
    """What a contributor needs to know before signing. Compare ``receipt_vkey`` with one you got elsewhere."""

    name: str
    network_id: Bytes32
    domain: Domain  # EIP-712; its verifying contract is the rewards contract
    origin: str  # first line of the ledger's tree heads
    receipt_vkey: str  # signed-note key that signs receipts
    log_vkey: str  # signed-note key that signs tree heads
    token: Bytes20  # address of the token contract
    checkpoint: Bytes32  # pairs are judged under this
    checkpoint_parent: Bytes32 | None
    modalities: tuple[str, ...]
    pairs: tuple[str, ...]  # modality pairs that can be judged
    max_item_bytes: dict[str, int]  # by modality
    media_types: dict[str, tuple[str, ...]]
    licenses: tuple[str, ...]  # SPDX ids accepted; an expression joins them with AND, OR
    epoch: int  # open epoch
    ledger_size: int
    stake_vkey: str = ""  # key of the line on tree heads that the stake contract judges; empty without one
    # By held-out set and modality pair, such as emoji/image-text: curiosity.protocol.comparison.read_separation of the
    # checkpoint; empty for checkpoints that do not say it.
    separation: dict[str, dict[str, int]] = field(default_factory=dict)
    curiosity_rule: str = ""  # how novelty is measured: a name of curiosity.protocol.curiosity.RULES; empty: not told
    accepted_pairs: int = 0  # in the closed epochs
    generated_pairs: int = 0  # of them those that were declared as generated
    # Share of an epoch's pay for new items, in millionths; missing where no item is taken alone.
    item_micro: Annotated[int | None, LATER] = None

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Embeddings:
    """Base64 of little-endian int16 components: as the encoder gave them, and final (equal if not accepted)."""

    a: str
    b: str
    final_a: str
    final_b: str

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Decision:
    """The answer to a pair.

    It holds a receipt, the verdict in it, what its commitment hides, and both embeddings where the items were embedded.
    """

    receipt: Receipt
    verdict: Verdict
    opening: Opening  # of the commitment in the entry
    embeddings: Embeddings | None = None
    replayed: bool = False  # the same submission was decided before; this is that receipt

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class EntryPage:
    """Leaves ``start`` to ``start + len(entries)`` of the ledger, canonical JSON texts."""

    start: int
    size: int  # of the ledger now
    entries: tuple[str, ...]

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class IndexedSubmission:
    """The signed submission behind the pair entry at ``index``, and what its commitment hides."""

    index: int
    submission: Submission
    signature: Bytes65
    opening: Opening

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class SubmissionPage:
    """Submissions behind the pair entries from ``start`` on; ``next`` is where to go on, null at the end."""

    start: int
    next: int | None
    submissions: tuple[IndexedSubmission, ...]

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class InclusionProof:
    """RFC 6962 audit path of ``index`` in the tree of ``size`` leaves, and that tree's signed head if known."""

    index: int
    size: int
    leaf_hash: Bytes32
    path: tuple[Bytes32, ...]
    root: Bytes32
    tree_head: str | None  # signed note

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class ConsistencyProof:
    """RFC 6962 proof that the tree of ``first`` leaves is a prefix of the tree of ``size``."""

    first: int
    size: int
    path: tuple[Bytes32, ...]

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class WitnessStatus:
    """How it stands with one witness: the tree that it cosigned last, and why not the newest."""

    url: str
    name: str
    size: int | None  # null: it has never answered
    failures: int  # in a row
    error: str | None  # of the last try
    alarm: str | None  # an answer that speaks against this log

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class WitnessPage:
    """The witnesses that a validator asks; ``quorum`` of them make a head a cosigned one."""

    quorum: int
    cosigned_size: int | None  # of the newest cosigned head
    witnesses: tuple[WitnessStatus, ...]

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Found:
    """One item found. ``cosine_micro`` is of the final embeddings; ``text`` is the item itself if it is short text.

    ``fits``: it reaches the answer's floor; null where there is none. Scores are rounded to thousandths.
    """

    index: int  # of the ledger entry
    sha256: Bytes32
    modality: str
    media_type: str
    cosine_micro: int
    license: str
    text: str | None
    partner_text: str | None  # what the item was paired with, if that was text
    fits: Annotated[bool | None, LATER] = None
    belief_micro: Annotated[int | None, LATER] = None  # in query and item as a pair that somebody sent
    probability_micro: Annotated[int | None, LATER] = None  # that it belongs to the query, of so many searched

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class AnswerFloor:
    """What an item must reach to fit a query, a "probability" or a "cosine" (docs/scoring.md, "The floor")."""

    measure: str
    least_micro: int

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Answer:
    """Items of modality ``to`` nearest to the query, nearest first; those that do not fit are marked."""

    modality: str
    to: str
    checkpoint: Bytes32
    indexed: int  # items of modality `to` that were searched
    found: tuple[Found, ...]
    floor: Annotated[AnswerFloor | None, LATER] = None  # null under a checkpoint without beliefs

    @property
    def fitting(self) -> tuple[Found, ...]:
        """What fits the query: nothing, where all that is known is about other things."""
        return tuple(one for one in self.found if one.fits is not False)

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class TakedownReport:
    """A pair is taken down: receipts of the entries that say so, that of the pair which was named first.

    ``replayed``: it was taken down before; this is the receipt of that entry.
    """

    pair: Bytes32
    receipts: tuple[Receipt, ...]
    replayed: bool

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Health:
    """Liveness and what is served. ``status`` is "ok" or "draining"."""

    status: str
    version: str
    device: str
    checkpoint: Bytes32
    ledger_size: int
    queue: int
    epoch: int
    epochs: EpochStanding | None = None  # null without a chain
    held: int = 0  # pairs that wait to be judged again under a later checkpoint

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class ErrorMessage:
    """A refusal: stable code, what happened with its numbers, what to do, whose fault."""

    code: str
    what: str
    remedy: str
    fault: str

    __pydantic_config__ = STRICT
