"""The ledger for any tool that reads C2SP logs: tree head, tiles, bundles, offline proofs; and how witnesses stand."""

import gzip

from aiohttp import web

from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import Fault, Overloaded, ProofError, Rejected
from curiosity.protocol.messages import WitnessPage
from curiosity.protocol.tiles import WIDTH
from curiosity.protocol.tlog import Bundle, entry_bundle, make_proof, parse_tile_path, tile_width
from validator.edge import SERVICE, Handler, answer, expect, not_found, number

IMMUTABLE = "public, max-age=31536000, immutable"
_GZIP_LEVEL = 1


async def get_tree_head(request: web.Request) -> web.Response:
    """Answer with the newest signed head with what cosignatures it has (c2sp.org/tlog-tiles, "Checkpoints")."""
    note = request.app[SERVICE].witnesses.newest()
    return web.Response(text=note, content_type="text/plain", charset="utf-8")


async def get_cosigned_head(request: web.Request) -> web.Response:
    """Answer with the newest head that the validator's quorum of witnesses cosigned; without witnesses the newest."""
    note = request.app[SERVICE].witnesses.provable().note
    return web.Response(text=note, content_type="text/plain", charset="utf-8")


async def get_tlog_proof(request: web.Request) -> web.Response:
    """Answer with the offline proof of an entry (c2sp.org/tlog-proof), the entry itself in its line of extra data."""
    s = request.app[SERVICE]
    index = number(request, "index")
    if index >= s.ledger.size:
        raise not_found(f"entry {index}; the ledger has {s.ledger.size}")
    against = s.witnesses.provable()
    if index >= against.head.size:
        raise Overloaded(
            "HEAD_NOT_COSIGNED",
            f"entry {index} is newer than the last cosigned tree of {number_of(against.head.size, 'entry')}",
            "Ask again in a few seconds.",
        )

    def prove() -> str:
        (leaf,) = s.store.leaves(index, 1)
        return make_proof(index, s.ledger.inclusion_proof(index, against.head.size), against.note, leaf)

    return web.Response(text=await s.threads.on_reader(prove), content_type="text/plain", charset="utf-8")


async def get_tile(request: web.Request) -> web.Response:
    """Answer with a tile or an entry bundle (c2sp.org/tlog-tiles). Full or partial, it never changes."""
    s = request.app[SERVICE]
    try:
        wanted = parse_tile_path(request.path.removeprefix("/"))
    except ProofError as error:
        raise not_found(error.what) from None
    level = 0 if isinstance(wanted, Bundle) else wanted.level
    if wanted.width > tile_width(level, wanted.index, s.ledger.size):
        raise not_found(f"{wanted.path} in a tree of {number_of(s.ledger.size, 'entry')}")
    headers = {"Cache-Control": IMMUTABLE}
    if isinstance(wanted, Bundle):
        expect(request, wanted.width << 10)
        body = await s.threads.on_reader(lambda: entry_bundle(s.store.leaves(wanted.index * WIDTH, wanted.width)))
        headers["Vary"] = "Accept-Encoding"
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            body = await s.threads.on_reader(lambda: gzip.compress(body, _GZIP_LEVEL, mtime=0))
            headers["Content-Encoding"] = "gzip"
    else:
        body = await s.threads.on_reader(lambda: s.ledger.tile(wanted.level, wanted.index, wanted.width))
    return web.Response(body=body, content_type="application/octet-stream", headers=headers)


async def get_witnesses(request: web.Request) -> web.Response:
    """Answer with how it stands with the witnesses that this validator asks."""
    witnesses = request.app[SERVICE].witnesses
    cosigned = witnesses.cosigned
    return answer(
        WitnessPage(witnesses.quorum, cosigned.head.size if cosigned is not None else None, tuple(witnesses.status()))
    )


@web.middleware
async def read_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse everything that would change a ledger which is another's, of which this is a copy."""
    mirrored = request.app[SERVICE].mirrored
    if mirrored is not None and request.method not in ("GET", "HEAD") and request.path != "/v1/query":
        raise Rejected(
            "READ_ONLY",
            f"this is a copy of the ledger {mirrored.network.origin!r}",
            "Send it to the validator that keeps that ledger.",
            status=403,
            fault=Fault.INFRASTRUCTURE,
        )
    return await handler(request)
