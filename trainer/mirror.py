"""The accepted pairs of a copied ledger, as a trainer learns from them.

Step 19 of docs/protocol.md: the leaves lead to the signed root; each submission has its entry's digest and signature;
each item has its signed hash (checked when it is read).
"""

from collections.abc import Collection
from pathlib import Path

from curiosity.host.paths import inside
from curiosity.ledger.layout import HEAD, OLD_LEAVES, blob_path
from curiosity.ledger.reader import LedgerCopy
from curiosity.protocol.decision import check_submission
from curiosity.protocol.entry import PairEntry, parse_entry
from curiosity.protocol.errors import ProofError, SourceError
from curiosity.protocol.license import NO_FILTER, LicenseFilter
from curiosity.protocol.messages import IndexedSubmission
from curiosity.protocol.pair import Part
from curiosity.protocol.tiles import WIDTH, bundles_for
from trainer.feed import FedItem, FedPair, LedgerSlice

_REMEDY = "Run `curiosity ledger mirror --out DIR`: it fetches what is missing."


def read_mirror(
    folder: Path, *, log_vkey: str = "", licenses: Collection[str] = ()
) -> tuple[LedgerSlice, list[FedPair]]:
    """Return the whole ledger as a slice, and its accepted pairs in ledger order, without those that are taken down.

    Which licences count is the entries' word, which the signed head covers: a copy that lacks a pair which its own
    filter and the one asked for let through is refused.

    Args:
        folder: What `curiosity ledger mirror` or `curiosity ledger export` writes.
        log_vkey: Key that must have signed the tree head; empty trusts the one that the copy names.
        licenses: Pairs are fed that these let one use; none: all that the copy was made for.

    Raises:
        SourceError: MIRROR_MISSING, MIRROR_OLD for a folder in the layout of an earlier version, LICENSE_UNKNOWN,
            LICENSE_NOT_COPIED for licences that the copy leaves out.
        ProofError: MIRROR_SUBMISSION, also for an accepted pair that is missing and not taken down, MIRROR_OPENING, and
            what `LedgerCopy` raises.
    """
    if not (folder / HEAD).is_file():
        if (folder / OLD_LEAVES).is_file():
            raise SourceError("MIRROR_OLD", f"{folder} is a mirror of an earlier version", _REMEDY)
        raise SourceError("MIRROR_MISSING", f"{folder} holds no copy of a ledger", _REMEDY)
    copy = LedgerCopy(folder, log_vkey)
    takedowns = copy.takedowns()
    erased = {entry.index for entry in takedowns.values()}
    wanted = NO_FILTER
    if licenses:
        stated = [entry.license for leaf in copy.leaves() if isinstance(entry := parse_entry(leaf), PairEntry)]
        wanted = LicenseFilter.named(licenses, [*stated, *copy.network.licenses])
    wanted = wanted.within(copy.licenses)
    pairs, left_out = [], 0
    for bundle in bundles_for(copy.head.size):
        leaves, rows = copy.entries(bundle), copy.pairs(bundle)
        for index, leaf in enumerate(leaves, start=bundle.index * WIDTH):
            entry = parse_entry(leaf)
            if index in erased or not isinstance(entry, PairEntry) or not entry.verdict.is_accepted:
                continue
            if not wanted.permits(entry.license):
                left_out += 1
                continue
            if index not in rows:
                raise ProofError("MIRROR_SUBMISSION", f"nothing is there of the accepted entry {index}", _REMEDY)
            row = rows[index]
            given = IndexedSubmission(index, row.submission, row.signature, row.decision.opening)
            digest = check_submission(given, leaf, copy.network.domain)
            if row.submission.is_single:  # an item alone says nothing of what belongs together
                continue
            a, b = _item(folder, row.submission.a), _item(folder, row.submission.b)
            pairs.append(FedPair(digest, a, b, license=entry.license, generated=row.submission.is_generated))
    size, root = copy.head.size, copy.head.root.hex()
    return LedgerSlice(copy.network.origin, 0, size, root, tuple(takedowns), wanted, left_out), pairs


def _item(folder: Path, part: Part) -> FedItem:
    path = inside(folder, blob_path(part.sha256), links=True)
    return FedItem(part.modality, part.media_type, part.sha256.hex(), path.read_bytes)
