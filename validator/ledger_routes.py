"""Routes of whoever checks: leaves, submissions, tree heads, proofs and items."""

import asyncio

from aiohttp import web

from curiosity.embedding.modalities import BY_NAME
from curiosity.host.port.body import read_body
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import Rejected
from curiosity.protocol.item_request import SignedItemRequest
from curiosity.protocol.merkle import leaf_hash
from curiosity.protocol.messages import ConsistencyProof, EntryPage, InclusionProof, IndexedSubmission, SubmissionPage
from curiosity.protocol.pair import MAX_ENVELOPE_BYTES, Envelope
from curiosity.protocol.verdict import Opening
from curiosity.protocol.wire import parse
from validator.checkpoints import find_file
from validator.edge import SERVICE, answer, expect, hex_in_path, not_found, number

MAX_PAGE = 1000
_USUAL_LEAF_BYTES = 1 << 10  # what a page holds is counted by these until it is read, and then by its length
_USUAL_SUBMISSION_BYTES = 1 << 12
_LARGEST_ITEM_BYTES = max(modality.limits.max_bytes for modality in BY_NAME.values())


async def get_entries(request: web.Request) -> web.Response:
    """Answer with leaves of the ledger."""
    s = request.app[SERVICE]
    start, count = number(request, "start", 0), number(request, "count", 100, most=MAX_PAGE)
    expect(request, _rows(s.ledger.size, start, count) * _USUAL_LEAF_BYTES)
    leaves = await s.threads.on_reader(lambda: s.store.leaves(start, count))
    return answer(EntryPage(start, s.ledger.size, tuple(leaf.decode() for leaf in leaves)))


async def get_submissions(request: web.Request) -> web.Response:
    """Answer with signed submissions."""
    s = request.app[SERVICE]
    start, count = number(request, "start", 0), number(request, "count", 100, most=MAX_PAGE)
    expect(request, _rows(s.ledger.size, start, count) * _USUAL_SUBMISSION_BYTES)
    rows = await s.threads.on_reader(lambda: s.store.submissions(start, count))
    shown = []
    for row in rows:
        envelope = parse(Envelope, row.envelope)
        opening = parse(Opening, row.opening)
        shown.append(IndexedSubmission(row.index, envelope.submission, envelope.signature, opening))
    following = None
    if len(rows) == count:
        following = rows[-1].index + 1 if rows else start
    return answer(SubmissionPage(start, following, tuple(shown)))


async def get_inclusion(request: web.Request) -> web.Response:
    """Answer with an inclusion proof (RFC 6962)."""
    s = request.app[SERVICE]
    size = number(request, "size", s.ledger.size)
    index = number(request, "index")

    def prove() -> InclusionProof:
        if not 0 <= index < size <= s.ledger.size:
            raise not_found(f"entry {index} in a tree of {size}; the ledger has {s.ledger.size}")
        (leaf,) = s.store.leaves(index, 1)
        root = s.ledger.root_at(size)
        path = tuple(s.ledger.inclusion_proof(index, size))
        return InclusionProof(index, size, leaf_hash(leaf), path, root, s.witnesses.head_at(size))

    return answer(await s.threads.on_reader(prove))


async def get_consistency(request: web.Request) -> web.Response:
    """Answer with a consistency proof (RFC 6962)."""
    s = request.app[SERVICE]
    size = number(request, "size", s.ledger.size)
    first = number(request, "first")
    if not 0 < first <= size <= s.ledger.size:
        raise not_found(f"no proof from {first} to {size}; the ledger has {number_of(s.ledger.size, 'entry')}")
    path = await s.threads.on_reader(lambda: tuple(s.ledger.consistency_proof(first, size)))
    return answer(ConsistencyProof(first, size, path))


async def get_checkpoint_file(request: web.Request) -> web.Response:
    """Answer with a file of a checkpoint that entries of this ledger were judged under."""
    s = request.app[SERVICE]
    digest, name = hex_in_path(request, "digest", 32), request.match_info["name"]
    path = await asyncio.to_thread(find_file, s.data_dir, s.embedder.in_force.checkpoint, digest, name)
    if path is None:
        raise not_found(f"file {name[:80]!r} of checkpoint 0x{digest.hex()}")
    expect(request, path.stat().st_size)
    return _as_file(await asyncio.to_thread(path.read_bytes), "application/octet-stream", "public, max-age=31536000")


async def get_item(request: web.Request) -> web.Response:
    """Answer with the bytes of an item of an accepted pair."""
    s = request.app[SERVICE]
    digest = hex_in_path(request, "sha256", 32)

    item = await s.threads.on_reader(lambda: s.store.item(digest))
    content = None
    if item is not None and item.accepted_uses > 0:
        expect(request, item.size)
        content = await s.threads.on_reader(lambda: s.store.blob(digest))
    if item is None or content is None:
        raise Rejected(
            "ITEM_GONE",
            f"item 0x{digest.hex()} is not here for everybody: no accepted pair has it, or it was taken down",
            "Nobody is told which: the answer would confirm a guess. Its contributor signs a request (POST /v1/items).",
            status=410,
        )
    # However immutable it is: a takedown must reach whoever keeps copies on the way.
    return _as_file(content, item.media_type, "public, max-age=60")


async def post_item(request: web.Request) -> web.Response:
    """Answer with an item of a refused pair, to whoever submitted it and to auditors."""
    signed = parse(SignedItemRequest, await read_body(request, MAX_ENVELOPE_BYTES))
    expect(request, _LARGEST_ITEM_BYTES)  # not its own size, which would tell a stranger that it is here
    return _as_file(await request.app[SERVICE].refused_items.read(signed), "application/octet-stream", "no-store")


def _rows(size: int, start: int, count: int) -> int:
    return max(0, min(count, size - start))


def _as_file(content: bytes, media_type: str, caching: str) -> web.Response:
    """Return somebody's bytes so that no browser shows them, guesses what they are, or runs anything in them."""
    return web.Response(
        body=content,
        content_type=media_type,
        headers={
            "Cache-Control": caching,
            "Content-Disposition": "attachment",
            "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
        },
    )
