"""What of a batch the ledger does not hold yet: the rows to write, and the receipt of each entry."""

from collections.abc import Mapping, Sequence

from curiosity.protocol.counts import number_of
from curiosity.protocol.entry import MAX_ENTRY_BYTES
from curiosity.protocol.errors import Rejected, StoreError
from curiosity.protocol.merkle import leaf_hash
from curiosity.protocol.receipt import Receipt, issue_receipts
from curiosity.protocol.tlog import Signer
from validator.store import NewEntry, NewRow, NewSubmission, Store

Answered = Mapping[tuple[bytes, bytes], tuple[bytes, Receipt]]
"""By contributor and nonce, the pair's digest and its receipt."""


def answered_before(store: Store, entries: Sequence[NewEntry]) -> Answered:
    """Return what was answered to these pairs, and to others under their nonces.

    Pairs that were erased are among them, although their nonces are gone.
    """
    submissions = [submission for entry in entries if (submission := entry.submission) is not None]
    keys = {one.pair: (one.contributor, one.nonce) for one in submissions}
    pairs = {keys[pair]: (pair, known.to_receipt()) for pair, known in store.find_pairs(list(keys)).items()}
    nonces = store.find_nonces([(one.contributor, one.nonce) for one in submissions])
    return pairs | {key: (known.pair, known.to_receipt()) for key, known in nonces.items()}


def plan_rows(
    entries: Sequence[NewEntry], known_before: Answered, first: int, origin: str, now_s: int, signer: Signer
) -> tuple[list[tuple[NewRow, bytes]], list[Receipt]]:
    """Return the rows to write with their leaf hashes, and the receipt of each entry.

    Args:
        entries: The batch, in order.
        known_before: What was answered before; such an entry gets its old receipt and no row, unless it decides again.
        first: Index of the first new row.
        origin: Name of the log.
        now_s: Unix seconds that the receipts name.
        signer: Signs the receipts.

    Raises:
        Rejected: NONCE_REUSED for a known (contributor, nonce) with another pair digest.
        ValueError: For a leaf above 65,535 bytes or an erasure of an entry that is not there yet.
    """
    answered: dict[tuple[bytes, bytes], tuple[bytes, Receipt | int]] = dict(known_before)
    fresh: list[NewEntry] = []
    slots: list[Receipt | int] = []  # a receipt that was issued, or a place among the fresh entries
    for entry in entries:
        submission, index = entry.submission, first + len(fresh)
        if submission is not None and not submission.again:
            known = answered.get((submission.contributor, submission.nonce))
            if known is not None:
                _check_same_pair(submission, known[0])
                slots.append(known[1])
                continue
            answered[submission.contributor, submission.nonce] = (submission.pair, len(fresh))
        if len(entry.leaf) > MAX_ENTRY_BYTES:
            raise ValueError(f"a leaf of {number_of(len(entry.leaf), 'byte')}, at most {MAX_ENTRY_BYTES}")
        if any(not 0 <= erased < index for erased in entry.erases):
            raise ValueError(f"entry {index} cannot erase {entry.erases}, only earlier entries")
        slots.append(len(fresh))
        fresh.append(entry)
    leaves = [entry.leaf for entry in fresh]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    issued = issue_receipts(leaves, hashes, first, origin, now_s, signer)
    rows = [
        (NewRow(receipt.index, entry.leaf, receipt.note, entry.submission, entry.erases), hash_)
        for entry, hash_, receipt in zip(fresh, hashes, issued, strict=True)
    ]
    return rows, [issued[slot] if isinstance(slot, int) else slot for slot in slots]


def _check_same_pair(submission: NewSubmission, known: bytes) -> None:
    if submission.pair != known:
        raise Rejected(
            "NONCE_REUSED",
            f"nonce 0x{submission.nonce.hex()} was used for pair 0x{known.hex()}, now for 0x{submission.pair.hex()}",
            "Sign each pair with a nonce of its own.",
            status=409,
        )


def check_contents(store: Store, rows: Sequence[NewRow]) -> None:
    """Check that no two contents are accepted twice, in the store or among these rows.

    Raises:
        StoreError: CONTENT_TWICE.
    """
    keys = {
        row.index: (pair.a.digest, pair.b.digest)
        for row in rows
        if isinstance(pair := row.submission, NewSubmission) and pair.accepted
    }
    known = store.known_contents(list(keys.values()))
    for index, key in keys.items():
        if key in known:
            raise StoreError(
                "CONTENT_TWICE",
                f"entries {known[key]} and {index} accept the same two contents {key[0].hex()}, {key[1].hex()}",
                "Judge a pair only after looking up its contents, those of its own batch included.",
            )
        known[key] = index
