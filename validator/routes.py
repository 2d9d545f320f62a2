"""The table of the HTTP routes, from which OpenAPI is made. Each reads, calls one method, and writes a message."""

import json
from functools import cache
from hashlib import sha256

from aiohttp import web

from curiosity.protocol.item_request import SignedItemRequest
from curiosity.protocol.messages import (
    Answer,
    ConsistencyProof,
    Decision,
    EntryPage,
    Health,
    InclusionProof,
    Network,
    SubmissionPage,
    TakedownReport,
    WitnessPage,
)
from curiosity.protocol.orders import (
    BlockOrder,
    BlockReport,
    CheckpointOrder,
    CheckpointReport,
    ExpiryReport,
    RuleOrder,
    RuleReport,
)
from curiosity.protocol.reward_messages import ClaimTicket, EpochAttestation, EpochLeaves, EpochReport, EpochSignature
from curiosity.protocol.takedown import Blocked, SignedTakedown
from validator.admin_routes import (
    VERSION,
    get_health,
    get_metrics,
    post_blocked_items,
    post_checkpoint,
    post_epoch,
    post_expiry,
    post_rule,
)
from validator.contributor_routes import (
    PAIRS_PATH,
    get_attestation,
    get_claim,
    get_epoch_leaves,
    get_network,
    get_receipt,
    post_attestation,
    post_pair,
    post_query,
)
from validator.edge import Handler
from validator.ledger_routes import (
    get_checkpoint_file,
    get_consistency,
    get_entries,
    get_inclusion,
    get_item,
    get_submissions,
    post_item,
)
from validator.log_routes import get_cosigned_head, get_tile, get_tlog_proof, get_tree_head, get_witnesses
from validator.openapi import PAIR_MEDIA_TYPE, Operation, describe
from validator.takedown_routes import get_blocked, post_takedown


@cache
def openapi_document() -> tuple[bytes, str]:
    """Return the OpenAPI document as JSON and its entity tag. Made once: making it takes a thousand answers."""
    body = json.dumps(describe(tuple(operation for operation, _ in ROUTES), VERSION)).encode()
    return body, sha256(body).hexdigest()[:32]


async def get_openapi(request: web.Request) -> web.Response:
    """Answer with the OpenAPI document."""
    body, tag = openapi_document()
    headers = {"Cache-Control": "public, max-age=300", "ETag": f'"{tag}"'}
    if any(known.value in (tag, "*") for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)


_TEXT = "text/plain"
_BYTES = "application/octet-stream"
ROUTES: tuple[tuple[Operation, Handler], ...] = (
    (Operation("GET", "/health", "Liveness and what is served", Health), get_health),
    (Operation("GET", "/metrics", "Counters for Prometheus", _TEXT), get_metrics),
    (Operation("GET", "/openapi.json", "This document", "application/json"), get_openapi),
    (Operation("GET", "/v1/network", "What a contributor needs to know before signing", Network), get_network),
    (Operation("POST", PAIRS_PATH, "Submit a signed pair", Decision, takes=PAIR_MEDIA_TYPE), post_pair),
    (
        Operation("GET", "/v1/receipts/{pair}", "The newest decision about a pair, again", Decision, query=("index",)),
        get_receipt,
    ),
    (Operation("GET", "/v1/entries", "Leaves of the ledger", EntryPage, query=("start", "count")), get_entries),
    (
        Operation("GET", "/v1/submissions", "Signed submissions", SubmissionPage, query=("start", "count")),
        get_submissions,
    ),
    (Operation("GET", "/checkpoint", "Newest signed tree head, c2sp.org/tlog-checkpoint", _TEXT), get_tree_head),
    (Operation("GET", "/v1/checkpoint/cosigned", "Newest head with a quorum of witnesses", _TEXT), get_cosigned_head),
    (Operation("GET", "/v1/proof/tlog", "Offline proof, c2sp.org/tlog-proof", _TEXT, query=("index",)), get_tlog_proof),
    (
        Operation("GET", "/tile/{path}", "Tile or bundle, c2sp.org/tlog-tiles", _BYTES, pattern="/tile/{path:.+}"),
        get_tile,
    ),
    (Operation("GET", "/v1/witnesses", "The witnesses that are asked for cosignatures", WitnessPage), get_witnesses),
    (
        Operation("GET", "/v1/proof/inclusion", "RFC 6962 inclusion proof", InclusionProof, query=("index", "size")),
        get_inclusion,
    ),
    (
        Operation("GET", "/v1/proof/consistency", "RFC 6962 consistency", ConsistencyProof, query=("first", "size")),
        get_consistency,
    ),
    (
        Operation("GET", "/v1/checkpoints/{digest}/{name}", "A file of a checkpoint that judged entries", _BYTES),
        get_checkpoint_file,
    ),
    (Operation("GET", "/v1/items/{sha256}", "The bytes of an item of an accepted pair", _BYTES), get_item),
    (
        Operation("POST", "/v1/items", "An item, to its contributor or an auditor", _BYTES, takes=SignedItemRequest),
        post_item,
    ),
    (
        Operation(
            "POST",
            "/v1/query",
            "Search by any modality",
            Answer,
            query=("modality", "to", "k"),
            takes="application/octet-stream",
        ),
        post_query,
    ),
    (
        Operation("GET", "/v1/claims/{account}", "What an account may claim", ClaimTicket, query=("first",)),
        get_claim,
    ),
    (Operation("GET", "/v1/epochs/{epoch}/leaves", "Leaves of a reward tree", EpochLeaves), get_epoch_leaves),
    (
        Operation("GET", "/v1/attestation", "What a quorum has to sign for the next epoch", EpochAttestation),
        get_attestation,
    ),
    (
        Operation(
            "POST", "/v1/attestation", "Sign it, as one of the validators", EpochAttestation, takes=EpochSignature
        ),
        post_attestation,
    ),
    (
        Operation("POST", "/v1/takedowns", "Have a pair forgotten", TakedownReport, takes=SignedTakedown),
        post_takedown,
    ),
    (Operation("GET", "/v1/admin/blocked", "Contents that must not come back", Blocked, admin=True), get_blocked),
    (
        Operation("POST", "/v1/admin/expiries", "Let items of refused pairs go", ExpiryReport, admin=True),
        post_expiry,
    ),
    (
        Operation(
            "POST", "/v1/admin/blocked-items", "Refuse items of a pair", BlockReport, takes=BlockOrder, admin=True
        ),
        post_blocked_items,
    ),
    (Operation("POST", "/v1/admin/epochs", "Close the open epoch", EpochReport, admin=True), post_epoch),
    (
        Operation("POST", "/v1/admin/rules", "Announce a rule of pay", RuleReport, takes=RuleOrder, admin=True),
        post_rule,
    ),
    (
        Operation(
            "POST",
            "/v1/admin/checkpoints",
            "Switch the checkpoint",
            CheckpointReport,
            takes=CheckpointOrder,
            admin=True,
        ),
        post_checkpoint,
    ),
)
