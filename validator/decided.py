"""A decision as the ledger is given it, as it is answered, and as it is answered again."""

import base64
import secrets
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from curiosity.protocol.entry import PairEntry, encode_entry, version_of
from curiosity.protocol.errors import Rejected
from curiosity.protocol.messages import Decision, Embeddings
from curiosity.protocol.pair import Item, Part
from curiosity.protocol.scoring import Quantised
from curiosity.protocol.verdict import Opening, Outcome, Verdict
from curiosity.protocol.wire import parse
from curiosity.serving.crowds import Packed
from validator.intake import Admitted
from validator.ledger import NewEntry, NewSubmission
from validator.store import StoredDecision

_SALTS_DRAWN = 64


def seal_entry(
    admitted: Admitted,
    verdict: Verdict,
    opening: Opening,
    embeddings: bytes | None,
    came: int | None,
    again: int | None = None,
    sketches: Packed = (),
) -> NewEntry:
    """Return the leaf with what the store keeps behind it.

    Args:
        admitted: The pair.
        verdict: What the entry says about it.
        opening: What the entry's commitment hides.
        embeddings: Both embeddings of both items (`pack_embeddings`), None where they were not embedded.
        came: When the items came, Unix seconds; None keeps of them their hash only.
        again: Index of the newest entry about the pair, which holds it; None for a pair that was not decided before.
        sketches: The items' packed sketches, of what is accepted.
    """
    pair, submission = admitted.pair, admitted.pair.envelope.submission
    commitment, sealed = opening.seal()
    entry = PairEntry(
        pair=admitted.digest,
        contributor=submission.contributor,
        signature=pair.envelope.signature,
        modalities=submission.modalities,
        license=submission.license,
        verdict=verdict,
        commitment=commitment,
        again=again,
        generated=True if submission.is_generated else None,
    )
    leaf = encode_entry(replace(entry, v=version_of(entry)))
    return NewEntry(
        leaf,
        NewSubmission(
            pair=admitted.digest,
            contributor=submission.contributor,
            nonce=submission.nonce,
            envelope=admitted.envelope,
            a=pair.a,
            b=pair.b,
            accepted=verdict.is_accepted,
            embeddings=embeddings,
            opening=sealed,
            items_since=came,
            again=again is not None,
            held_under=verdict.checkpoint if verdict.outcome is Outcome.HELD else None,
            sketches=(sketches[0][1], sketches[1][1] if len(sketches) > 1 else b"") if sketches else None,
        ),
    )


def without_bytes(part: Part) -> Item:
    """Return the item that a part of a submission names, without its bytes."""
    item = Item(part.modality, part.media_type, b"")
    vars(item)["digest"] = part.sha256  # of the bytes that are not here
    return item


def pack_embeddings(*vectors: Quantised) -> bytes:
    """Return int16 vectors as little-endian bytes, one after another."""
    return b"".join(vector.astype("<i2").tobytes() for vector in vectors)


def unpack_embeddings(data: bytes, count: int = 4) -> list[Quantised]:
    """Return ``count`` int16 vectors of equal length from `pack_embeddings`."""
    return list(np.frombuffer(data, dtype="<i2").astype(np.int16).reshape(count, -1))


def fresh_salts() -> Iterator[bytes]:
    """Yield salts of 32 random bytes, each once; drawn many at a time, since each draw is a system call."""
    while True:
        drawn = secrets.token_bytes(32 * _SALTS_DRAWN)
        for start in range(0, len(drawn), 32):
            yield drawn[start : start + 32]


def to_embeddings(packed: bytes | None) -> Embeddings | None:
    """Return embeddings from `pack_embeddings` as they are answered."""
    if packed is None:
        return None
    return Embeddings(*(base64.b64encode(pack_embeddings(vector)).decode() for vector in unpack_embeddings(packed)))


def replay(decided: StoredDecision) -> Decision:
    """Return the decision that the store holds, with the identical receipt.

    Raises:
        Rejected: PAIR_TAKEN_DOWN.
    """
    if decided.opening is None:
        raise Rejected(
            "PAIR_TAKEN_DOWN",
            f"entry {decided.index} decided about this pair; what it held was taken down",
            "Its content is erased; the entry of its decision and every proof of it still hold.",
            status=410,
        )
    verdict = parse(PairEntry, decided.leaf).verdict
    opening = parse(Opening, decided.opening)
    return Decision(decided.to_receipt(), verdict, opening, to_embeddings(decided.embeddings), replayed=True)
