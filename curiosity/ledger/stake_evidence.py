"""What a monitor makes of a fork for the stake contract: heads carry its signature as a line of their notes."""

from pathlib import Path

from curiosity.chain.slashing import Leaf, StakeEvidence, encode_stake_evidence
from curiosity.chain.stake_note import parse_stake_vkey, signature_for_stake
from curiosity.host.files import write_whole
from curiosity.host.paths import inside
from curiosity.ledger.state import MonitorState
from curiosity.protocol.errors import ProofError
from curiosity.protocol.evidence import Evidence
from curiosity.protocol.merkle import inclusion_path
from curiosity.protocol.tiles import WIDTH
from curiosity.protocol.tlog import TileReader


def check_stake_line(note: str, stake_vkey: str, kept_vkey: str) -> str:
    """Return what there is to tell of a head's signature for the stake, empty if it is as it should be.

    ``kept_vkey`` is the key that the log named first.

    Raises:
        ProofError: STAKE_SIGNATURE for one that does not hold, STAKE_VKEY for a key that is none.
    """
    if not stake_vkey and not kept_vkey:
        return ""
    key = parse_stake_vkey(kept_vkey or stake_vkey)
    if signature_for_stake(note, key) is None:
        return f"the head carries no signature of {key.name} for the stake contract: a fork of it costs nobody a stake"
    if stake_vkey and stake_vkey != kept_vkey and kept_vkey:
        return "the log names another key for the stake contract than it did first"
    return ""


def write_stake_evidence(
    folder: Path,
    evidence: Evidence,
    stake_vkey: str,
    *,
    state: MonitorState | None = None,
    reader: TileReader | None = None,
    index: int | None = None,
) -> Path | None:
    """Write what the stake contract takes of a fork, and return its path; None if it would take nothing.

    Two heads of one size speak for themselves. For other sizes ``index`` is where the kept leaves of ``state`` and
    those under the head of ``reader`` differ. Heads without the key's signature are no evidence there.
    """
    if not stake_vkey:
        return None
    try:
        made = StakeEvidence(stake_vkey, evidence.first, evidence.second)
        if evidence.proof or evidence.other_root is not None:
            if state is None or state.head is None or reader is None or index is None:
                return None
            kept = Leaf(state.hashes(index, 1)[0], tuple(inclusion_path(index, state.hashes(0, state.size))))
            shown = Leaf(reader.leaf_hashes(index // WIDTH)[index % WIDTH], tuple(reader.inclusion_path(index)))
            leaves = (kept, shown) if state.size <= reader.head.size else (shown, kept)
            made = StakeEvidence(stake_vkey, evidence.first, evidence.second, index, *leaves)
        content = encode_stake_evidence(made)
    except ProofError:
        return None
    path = inside(folder, f"slash-{evidence.id}.json", one=True, links=True)
    write_whole(path, content)
    return path
