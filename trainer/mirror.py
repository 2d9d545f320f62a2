"""The accepted pairs of a copied ledger, as a trainer learns from them.

Step 19 of docs/protocol.md: the leaves lead to the signed root; each submission has its entry's digest and signature;
each item has its signed hash (checked when it is read).
"""

from pathlib import Path

from curiosity.host.paths import inside
from curiosity.ledger.layout import HEAD, OLD_LEAVES, blob_path
from curiosity.ledger.reader import LedgerCopy
from curiosity.protocol.decision import check_submission
from curiosity.protocol.entry import is_accepted
from curiosity.protocol.errors import ProofError, SourceError
from curiosity.protocol.messages import IndexedSubmission
from curiosity.protocol.pair import Part
from curiosity.protocol.tiles import WIDTH, bundles_for
from trainer.feed import FedItem, FedPair, LedgerSlice

_REMEDY = "Run `curiosity ledger mirror --out DIR`: it fetches what is missing."


def read_mirror(folder: Path, *, log_vkey: str = "") -> tuple[LedgerSlice, list[FedPair]]:
    """Return the whole ledger as a slice, and its accepted pairs in ledger order, without those that are taken down.

    Args:
        folder: What `curiosity ledger mirror` or `curiosity ledger export` writes.
        log_vkey: Key that must have signed the tree head; empty trusts the one that the copy names.

    Raises:
        SourceError: MIRROR_MISSING, MIRROR_OLD for a folder in the layout of an earlier version.
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
    pairs = []
    for bundle in bundles_for(copy.head.size):
        leaves, rows = copy.entries(bundle), copy.pairs(bundle)
        for index, leaf in enumerate(leaves, start=bundle.index * WIDTH):
            if index in erased or not is_accepted(leaf):
                continue
            if index not in rows:
                raise ProofError("MIRROR_SUBMISSION", f"nothing is there of the accepted entry {index}", _REMEDY)
            row = rows[index]
            given = IndexedSubmission(index, row.submission, row.signature, row.decision.opening)
            digest = check_submission(given, leaf, copy.network.domain)
            pairs.append(FedPair(digest, _item(folder, row.submission.a), _item(folder, row.submission.b)))
    return LedgerSlice(copy.network.origin, 0, copy.head.size, copy.head.root.hex(), tuple(takedowns)), pairs


def _item(folder: Path, part: Part) -> FedItem:
    path = inside(folder, blob_path(part.sha256), links=True)
    return FedItem(part.modality, part.media_type, part.sha256.hex(), path.read_bytes)
