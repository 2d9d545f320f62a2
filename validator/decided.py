"""A pair once steps 2 to 4 are done with it: what the judge is given, what the ledger is given, what is answered."""

import base64
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from curiosity.protocol.entry import PairEntry, encode_entry
from curiosity.protocol.errors import Rejected
from curiosity.protocol.judgement import Embedded, Judged
from curiosity.protocol.messages import Decision, Embeddings
from curiosity.protocol.scoring import Quantised
from curiosity.protocol.verdict import Measurement, Opening, Reason, Verdict
from curiosity.protocol.wire import parse
from validator.intake import Admitted
from validator.ledger import NewEntry, NewSubmission
from validator.store import StoredDecision

_SALTS_DRAWN = 64


@dataclass(frozen=True)
class Ready:
    """A pair with what the judge needs: two embedded items under one checkpoint, or a reason to refuse it."""

    admitted: Admitted
    checkpoint: bytes = b""
    a: Embedded | None = None
    b: Embedded | None = None
    refusal: tuple[Reason, str] | None = None
    fixed: Verdict | None = None


@dataclass(frozen=True)
class Decided:
    """A pair with its verdict and what the entry's commitment hides."""

    ready: Ready
    verdict: Verdict
    opening: Opening
    judged: Judged | None  # None where the items were not embedded

    def new_entry(self, now: int) -> NewEntry:
        """Return the leaf with what the store keeps behind it: of bytes that could not be decoded their hash only.

        ``now`` is when the items came, Unix seconds.
        """
        admitted = self.ready.admitted
        pair, submission = admitted.pair, admitted.pair.envelope.submission
        commitment, opening = self.opening.seal()
        leaf = encode_entry(
            PairEntry(
                pair=admitted.digest,
                contributor=submission.contributor,
                signature=pair.envelope.signature,
                modalities=submission.modalities,
                license=submission.license,
                verdict=self.verdict,
                commitment=commitment,
            )
        )
        return NewEntry(
            leaf,
            NewSubmission(
                pair=admitted.digest,
                contributor=submission.contributor,
                nonce=submission.nonce,
                envelope=admitted.envelope,
                a=pair.a,
                b=pair.b,
                accepted=self.verdict.is_accepted,
                embeddings=self.packed(),
                opening=opening,
                items_since=now if self.ready.refusal is None else None,
            ),
        )

    def packed(self) -> bytes | None:
        """Return both embeddings of both items, None where they were not embedded."""
        ready, judged = self.ready, self.judged
        if judged is None or ready.a is None or ready.b is None:
            return None
        return pack_embeddings(ready.a.whole, ready.b.whole, judged.final_a, judged.final_b)

    def embeddings(self) -> Embeddings | None:
        """Return the same for the answer."""
        return _embeddings(self.packed())


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


def open_for(ready: Ready, salt: bytes, detail: str = "", measurement: Measurement | None = None) -> Opening:
    """Return what the entry's commitment will hide under ``salt``, which nothing else was hidden under."""
    pair = ready.admitted.pair
    return Opening(salt, pair.a.digest, pair.b.digest, detail, measurement)


def _embeddings(packed: bytes | None) -> Embeddings | None:
    if packed is None:
        return None
    return Embeddings(*(base64.b64encode(pack_embeddings(vector)).decode() for vector in unpack_embeddings(packed)))


def replay(decided: StoredDecision) -> Decision:
    """Return the decision that the store holds, with the identical receipt. Raises Rejected PAIR_TAKEN_DOWN."""
    if decided.opening is None:
        raise Rejected(
            "PAIR_TAKEN_DOWN",
            f"entry {decided.index} decided about this pair; what it held was taken down",
            "Its content is erased; the entry of its decision and every proof of it still hold.",
            status=410,
        )
    verdict = parse(PairEntry, decided.leaf).verdict
    opening = parse(Opening, decided.opening)
    return Decision(decided.to_receipt(), verdict, opening, _embeddings(decided.embeddings), replayed=True)
