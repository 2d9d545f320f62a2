"""What lies beside the tree, held to it: every pair's row, receipt, signature, opening, embeddings and items.

`Ledger.verify` proves the leaves; everything else that a store gives out is tied to a leaf by a hash or a signature, so
that a single changed bit shows. This takes about a quarter of a millisecond an entry, and reads every item.
"""

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import select

from curiosity.protocol.entry import PairEntry, parse_entry
from curiosity.protocol.errors import CuriosityError
from curiosity.protocol.pair import Envelope, check_signature
from curiosity.protocol.receipt import Receipt, verify_receipt
from curiosity.protocol.signing import Domain
from curiosity.protocol.verdict import Opening
from curiosity.protocol.wire import parse
from validator.store import schema
from validator.store.store import Store

_PAGE = 256
_KNOWN_ITEMS = 100_000  # whose hashes were good; more would only be read again


class PairAudit:
    """Compares the pairs of a store with its leaves, which have been proven before.

    ``origin`` and ``receipt_vkey`` are those of the receipts, ``domain`` that of the contributors' signatures.
    """

    def __init__(self, store: Store, *, origin: str, receipt_vkey: str, domain: Domain) -> None:
        self._store = store
        self._origin = origin
        self._receipt_vkey = receipt_vkey
        self._domain = domain
        self._good_items: set[bytes] = set()

    def first_damage(self, size: int, progress: Callable[[int, int], None] | None = None) -> tuple[int, str] | None:
        """Return the first index below ``size`` whose pair is not what its entry says, and what is wrong with it.

        A refused pair whose row is missing is not damage: a copy of a ledger need not have it.
        """
        c = schema.pairs.c
        for start in range(0, size, _PAGE):
            end = min(start + _PAGE, size)
            rows = self._store.read(select(schema.pairs).where(c.leaf_index.between(start, end - 1)))
            pairs = {row["leaf_index"]: dict(row) for row in rows}
            pairs |= self._earlier(start, end)
            for index, leaf, note in self._store.entries(start, end - start):
                try:
                    what = self._damage(index, leaf, note, pairs.get(index))
                except (CuriosityError, ValueError) as error:
                    what = str(error)
                if what:
                    return index, what
            if progress is not None:
                progress(end, size)
        return None

    def _earlier(self, start: int, end: int) -> dict[int, dict[str, Any]]:
        """Return what is held of pairs that were judged again, as their earlier entries saw them."""
        c = schema.earlier.c
        kept = self._store.read(select(schema.earlier).where(c.leaf_index.between(start, end - 1)))
        pairs = schema.pairs.c.pair.in_([row["pair"] for row in kept])
        newest = {row["pair"]: row for row in self._store.read(select(schema.pairs).where(pairs))} if kept else {}
        gone = {name.name: None for name in schema.pairs.c}
        return {
            row["leaf_index"]: {**newest.get(row["pair"], gone), **row, "is_accepted": False, "items_since": None}
            for row in kept
        }

    def _damage(self, index: int, leaf: bytes, note: str, pair: Mapping[str, Any] | None) -> str:
        if b'"kind":"pair"' not in leaf:
            return "an entry that decides about no pair has one" if pair is not None else ""
        entry = parse_entry(leaf)
        if not isinstance(entry, PairEntry):
            raise ValueError("a leaf that names the kind pair is of another")
        if pair is None:
            return "its pair is missing" if entry.verdict.is_accepted else ""
        if note or not pair["is_erased"]:  # a read-only copy was given no receipt of what had been taken down before
            verify_receipt(Receipt(leaf.decode(), index, note), self._origin, self._receipt_vkey)
        said = pair["pair"], pair["contributor"], bool(pair["is_accepted"])
        if said != (entry.pair, entry.contributor, entry.verdict.is_accepted):
            return "digest, contributor or verdict of the pair are not the entry's"
        if pair["is_erased"]:
            held = ("nonce", "a_sha256", "b_sha256", "envelope", "embeddings", "opening")
            return "" if all(pair[name] is None for name in held) else "the pair is erased and still holds something"
        return self._difference(entry, pair)

    def _difference(self, entry: PairEntry, pair: Mapping[str, Any]) -> str:
        envelope = parse(Envelope, pair["envelope"])
        s = envelope.submission
        if check_signature(envelope, self._domain) != entry.pair or envelope.signature != entry.signature:
            return "the envelope is another pair's"
        contents = pair["a_sha256"], pair["b_sha256"]
        if (pair["nonce"], *contents) != (s.nonce, s.a.sha256, s.b.sha256):
            return "nonce or contents of the pair are not those that were signed"
        opening = parse(Opening, pair["opening"])
        if opening.commitment() != entry.commitment or (opening.a, opening.b) != contents:
            return "the opening is not what the entry commits to"
        if (measured := opening.measurement) is not None:
            packed = pair["embeddings"] or b""
            quarter = len(packed) // 4
            digests = tuple(sha256(packed[quarter * n : quarter * (n + 1)]).digest() for n in range(4))
            if digests != (measured.embedding_a, measured.embedding_b, measured.final_a, measured.final_b):
                return "the embeddings are not those that were measured"
        if pair["items_since"] is None:  # refused undecoded, or expired
            return "the pair is accepted, and its items are not kept" if entry.verdict.is_accepted else ""
        for digest in (part.sha256 for part in s.parts):
            if digest not in self._good_items:
                if self._store.blob(digest) is None:  # its hash is checked there
                    return f"the item {digest.hex()} is missing"
                if len(self._good_items) < _KNOWN_ITEMS:
                    self._good_items.add(digest)
        return ""
