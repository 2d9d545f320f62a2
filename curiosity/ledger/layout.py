"""The files of a copy of a ledger, as `curiosity ledger mirror` and `curiosity ledger export` write it.

checkpoint                      the signed tree head; written last: a copy without it was interrupted
tile/...                        the log's static files, as c2sp.org/tlog-tiles names them
network.json                    what the validator said of itself
selection.json                  in a copy of only some licences: which, and how many pairs that leaves out
pairs/<as its bundle>.jsonl     what is given out beside the pair entries of one bundle, an `ExportedPair` a line
blobs/<sha256>                  items of accepted pairs; those of others are not given to everybody
blocked.json                    with the operator's token only: what must not come back, for his own validator

Nothing in it is believed before it was checked against the head.
"""

import re
from dataclasses import dataclass
from typing import Final

from curiosity.protocol.takedown import BLOCKED_FILE
from curiosity.protocol.tiles import Bundle
from curiosity.protocol.wire import STRICT, ShortText, Uint53

HEAD: Final = "checkpoint"
NETWORK: Final = "network.json"
SELECTION: Final = "selection.json"
BLOCKED: Final = BLOCKED_FILE
BLOBS: Final = "blobs"
PAIRS: Final = "pairs"

OLD_LEAVES: Final = "entries.jsonl"
OLD_HEAD: Final = "tree-head.txt"
OLD_FILES: Final = (OLD_LEAVES, "submissions.jsonl", OLD_HEAD)
"""Of the layout that `curiosity ledger mirror` wrote before 0.1: one leaf a line, one submission a line, the head."""

PATTERN: Final = re.compile(
    rf"{re.escape(NETWORK)}|{re.escape(SELECTION)}|{HEAD}|{re.escape(BLOCKED)}|{BLOBS}/[0-9a-f]{{64}}"
    r"|tile/([0-9]{1,2}|entries)(/x?[0-9]{3})+(\.p/[0-9]{1,3})?"
    rf"|{PAIRS}(/x?[0-9]{{3}})+(\.p/[0-9]{{1,3}})?\.jsonl"
)
"""Every name that a file of a copy may have."""


@dataclass(frozen=True)
class Selection:
    """What ``selection.json`` holds: the accepted pairs of a copy that has only those which ``licenses`` let one use.

    ``pairs`` counts them by licence, ``left_out`` the others. Entries and proofs are there of all.
    """

    licenses: tuple[ShortText, ...]
    pairs: dict[ShortText, Uint53]
    left_out: Uint53

    __pydantic_config__ = STRICT


def pairs_path(bundle: Bundle) -> str:
    """Return where the pairs of a bundle are."""
    return f"{PAIRS}/{bundle.path.removeprefix('tile/entries/')}.jsonl"


def blob_path(digest: bytes) -> str:
    """Return where an item is, by its SHA-256."""
    return f"{BLOBS}/{digest.hex()}"
