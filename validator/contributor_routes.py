"""Routes of contributors, claimers and searchers."""

from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import hdrs, web

from curiosity.embedding.modalities import BY_NAME
from curiosity.host.port.address import sender_of
from curiosity.host.port.body import Body, read_body
from curiosity.protocol.comparison import read_separation
from curiosity.protocol.errors import Rejected
from curiosity.protocol.messages import Network
from curiosity.protocol.pair import MAX_ENVELOPE_BYTES
from curiosity.protocol.reward_messages import EpochSignature
from curiosity.protocol.wire import parse
from curiosity.serving.quotas import Payer
from validator.decided import replay
from validator.edge import SERVICE, answer, at_the_edge, hex_in_path, not_found, number
from validator.service import Service

PAIRS_PATH = "/v1/pairs"
_MAX_SIGNATURE_BYTES = 1024
_MAX_UNASKED_BYTES = 1 << 16  # a larger body is read only once its envelope was checked
_MAX_BODY_BYTES = 4 + MAX_ENVELOPE_BYTES + 2 * max(modality.limits.max_bytes for modality in BY_NAME.values())


async def get_network(request: web.Request) -> web.Response:
    """Answer with what a contributor needs to know before signing."""
    s = request.app[SERVICE]
    if s.mirrored is not None:
        return answer(s.mirrored.network)  # as its owner showed it
    in_force = s.embedder.in_force
    judge = in_force.judge
    modalities = sorted({name for pair in judge.pairs for name in pair.split("-")})
    return answer(
        Network(
            name=s.settings.validator.name,
            network_id=s.network_id,
            domain=s.domain,
            origin=s.settings.validator.name,
            receipt_vkey=s.receipt_vkey,
            log_vkey=s.keys.log.verifier.vkey(),
            token=s.addresses.token,
            checkpoint=judge.checkpoint,
            checkpoint_parent=in_force.parent,
            modalities=tuple(modalities),
            pairs=tuple(sorted(judge.pairs)),
            max_item_bytes={name: BY_NAME[name].limits.max_bytes for name in modalities},
            media_types={name: tuple(BY_NAME[name].media_types) for name in modalities},
            licenses=tuple(s.settings.validator.licenses),
            epoch=s.epochs.open_epoch,
            stake_vkey=s.stake_vkey,
            ledger_size=s.ledger.size,
            separation=read_separation(in_force.checkpoint.manifest.evaluation),
            curiosity_rule=judge.rule,
            accepted_pairs=s.epochs.accepted_pairs,
            generated_pairs=s.epochs.generated_pairs,
            item_micro=s.epochs.item_micro or None,
        )
    )


async def post_pair(request: web.Request) -> web.Response:
    """Take a pair in: the front door of the spine."""
    return await _take_pair(request.app[SERVICE], request)


async def _take_pair(service: Service, request: web.BaseRequest) -> web.Response:
    sender = sender_of(request.remote)
    async with Body(request, _MAX_BODY_BYTES, service.bodies) as body:
        checked = None
        if body.length is None or body.length > _MAX_UNASKED_BYTES:
            needed = 4 + int.from_bytes((await body.first(4))[:4], "big")
            first = await body.first(min(needed, 4 + MAX_ENVELOPE_BYTES))
            checked = await service.pipeline.check_first(first, body.length, sender)
        data = await body.whole()
        with service.quotas.charging_bytes(Payer(sender), len(data)):
            return answer(await service.pipeline.validate(data, sender, checked))


def straight_to_pairs(service: Service, router: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    """Return a handler of requests that takes a pair by itself and leaves all others to ``router``.

    Pairs come in thousands, and finding their route anew each time costs as much as checking an envelope's JSON. What
    is asked in any other than the one plain spelling goes the long way, to the same answer.
    """

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path == PAIRS_PATH and request.method == "POST" and hdrs.EXPECT not in request.headers:
            return await at_the_edge(service, request, _take_pair(service, request), PAIRS_PATH)
        response: web.StreamResponse = await router(request)
        return response

    return handle


async def get_receipt(request: web.Request) -> web.Response:
    """Answer again with the newest decision about a pair, or with that of the entry at an index."""
    s = request.app[SERVICE]
    digest, index = hex_in_path(request, "pair", 32), number(request, "index", -1)
    s.forgotten.check_pair(digest)
    decided = await s.threads.on_reader(lambda: s.store.find_pair(digest))
    if decided is None:
        raise not_found(f"pair 0x{digest.hex()} is not in this ledger")
    if index not in (-1, decided.index):
        decided = await s.threads.on_reader(lambda: s.store.find_earlier(digest, index))
        if decided is None:
            raise not_found(f"entry {index} about pair 0x{digest.hex()}")
    return answer(replay(decided))


async def get_claim(request: web.Request) -> web.Response:
    """Answer with what an account may claim."""
    s = request.app[SERVICE]
    account, first = hex_in_path(request, "account", 20), number(request, "first", 1)
    return answer(await s.threads.on_reader(lambda: s.epochs.ticket(account, first)))


async def get_epoch_leaves(request: web.Request) -> web.Response:
    """Answer with the leaves of an epoch's reward tree."""
    s = request.app[SERVICE]
    text = request.match_info["epoch"]
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise Rejected("QUERY_INVALID", f"the epoch is {text[:80]!r}", "Give its number.")
    return answer(await s.threads.on_reader(lambda: s.epochs.leaves(int(text))))


async def get_attestation(request: web.Request) -> web.Response:
    """Answer with what a quorum has to sign for the next epoch."""
    return answer(request.app[SERVICE].epochs.attestation())


async def post_attestation(request: web.Request) -> web.Response:
    """Take the signature of one of the validators."""
    given = parse(EpochSignature, await read_body(request, _MAX_SIGNATURE_BYTES))
    return answer(request.app[SERVICE].epochs.take_signature(given))


async def post_query(request: web.Request) -> web.Response:
    """Search for what is near an item of any modality."""
    s = request.app[SERVICE]
    payer = Payer(sender_of(request.remote))
    wait_s = s.query_limit.retry_after_s(payer.sender.address)
    if wait_s:
        limit = s.settings.validator.queries_per_minute
        remedy = f"Ask again in {wait_s} s."
        raise Rejected("QUOTA_EXCEEDED", f"over {limit} queries a minute", remedy, status=429, retry_after_s=wait_s)
    modality = request.query.get("modality", "text")
    known = BY_NAME.get(modality)
    if known is None:
        raise Rejected("QUERY_INVALID", f"modality is {modality!r}", f"Use one of {', '.join(sorted(BY_NAME))}.")
    default = known.media_types[0]
    media_type = default if request.content_type == "application/octet-stream" else request.content_type
    to, k = request.query.get("to", "image"), number(request, "k", 10)
    s.search.check(modality, to, k)
    s.quotas.check(payer)
    async with Body(request, known.limits.max_bytes, s.bodies) as body:
        data = await body.whole()
        with s.quotas.charging_bytes(payer, len(data)):
            return answer(await s.search.search(modality, media_type, data, to, k, payer))
