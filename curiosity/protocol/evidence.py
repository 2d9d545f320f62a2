"""Evidence that a log forked: two tree heads that it signed and that cannot both be of one append-only tree.

A fork is shown positively, in one of two ways:

- the two heads have one size and different roots;
- the sizes differ, and an RFC 6962 consistency proof leads to the second head from another root than the first one.
  Whoever holds the tiles of the second tree can make it: a proof that ends in a signed root pins every subtree that it
  names, so the log has signed two histories of the first ``first.size`` entries.

A consistency proof that merely fails shows nothing, since anybody can send a wrong one with a head that he found. Such
a refusal is kept too, and says of itself that it accuses nobody.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Literal

from curiosity.protocol.errors import ProofError, Rejected
from curiosity.protocol.merkle import node_hash, verify_consistency
from curiosity.protocol.tlog import TreeHead, verify_checkpoint
from curiosity.protocol.wire import STRICT, Bytes32, encode, parse

MAX_EVIDENCE_BYTES = 256 * 1024  # two notes of 64 Ki characters and the proof


class Shown(StrEnum):
    """What a piece of evidence shows of its log."""

    TWO_ROOTS = "two-roots"  # one size, two roots: the log forked
    REWRITTEN = "rewritten"  # the second tree holds another history of the first entries: the log forked
    NOTHING = "nothing"  # a proof failed; an honest log can always give a right one


@dataclass(frozen=True)
class Evidence:
    """Two signed heads of one log, the smaller tree first, and what leads from one to the other.

    ``proof`` leads to the second head from ``other_root`` of the first head's size; without ``other_root`` it is a
    proof that failed. Both are empty for heads of one size.
    """

    origin: str
    log_vkeys: tuple[str, ...]  # that the collector trusts; whoever checks should bring his own
    first: str  # signed note
    second: str
    proof: tuple[Bytes32, ...] = ()
    other_root: Bytes32 | None = None
    kind: Literal["curiosity-fork/v1"] = "curiosity-fork/v1"

    __pydantic_config__ = STRICT

    @property
    def id(self) -> str:
        """16 hex digits that name the two heads, whatever signatures they carry."""
        bodies = [note.rpartition("\n\n")[0] for note in (self.first, self.second)]
        return sha256("\n\n".join(bodies).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class CheckedEvidence:
    """What a piece of evidence was found to be."""

    shown: Shown
    first: TreeHead
    second: TreeHead
    is_pinned: bool  # the log's keys came from whoever checked, not from the evidence

    @property
    def is_fork(self) -> bool:
        """True if the log's own signatures convict it."""
        return self.shown is not Shown.NOTHING

    def sentence(self) -> str:
        """Return the finding in one sentence."""
        whence = "as pinned" if self.is_pinned else "as kept in the evidence"
        sizes = f"{self.first.size} and {self.second.size}"
        said = {
            Shown.TWO_ROOTS: f"signed two trees of size {self.first.size} with different roots: it forked",
            Shown.REWRITTEN: f"signed trees of sizes {sizes} that differ in the first {self.first.size}: it forked",
            Shown.NOTHING: f"signed trees of sizes {sizes}, and a consistency proof between them failed, "
            "which accuses nobody: ask the log for a right one",
        }[self.shown]
        return f"The log {self.first.origin} (key {whence}) {said}."


def collect(
    origin: str, log_vkeys: Sequence[str], one: str, other: str, proof: Sequence[bytes] = (), other_root: bytes = b""
) -> Evidence:
    """Return evidence of two notes, put in order of size, with a consistency proof from the smaller tree that failed.

    ``other_root`` is that of the smaller size under the larger tree, where the caller knows it; else it is taken from
    the proof, if the proof holds it.

    Raises:
        ProofError: As `check_evidence`.
    """
    heads = {note: verify_checkpoint(note, origin, log_vkeys) for note in (one, other)}
    first, second = sorted((one, other), key=lambda note: heads[note].size)
    size1, size2 = heads[first].size, heads[second].size
    if size1 == size2:
        proof, other_root = (), b""
    elif not other_root:
        other_root = _leads_from(size1, size2, proof, heads[second].root)
        if other_root == heads[first].root:
            other_root = b""
    evidence = Evidence(origin, tuple(log_vkeys), first, second, tuple(proof), other_root or None)
    check_evidence(evidence, log_vkeys)
    return evidence


def _leads_from(size1: int, size2: int, proof: Sequence[bytes], root2: bytes) -> bytes:
    """Return the root of the first ``size1`` leaves that the proof names if it ends in ``root2``, else nothing.

    Follows SUBPROOF of RFC 6962 section 2.1.2 backwards. Where ``size1`` is a power of two the proof does not name it.
    """
    hashes = iter(proof)

    def fold(size: int, of: int, whole: bool) -> tuple[bytes, bytes]:
        if size == of:
            if whole:
                raise StopIteration
            node = next(hashes)
            return node, node
        left_size = 1 << ((of - 1).bit_length() - 1)
        if size <= left_size:
            old, new = fold(size, left_size, whole)
            return old, node_hash(new, next(hashes))
        old, new = fold(size - left_size, of - left_size, False)
        left = next(hashes)
        return node_hash(left, old), node_hash(left, new)

    try:
        old, new = fold(size1, size2, True) if size1 else (b"", b"")
    except StopIteration:
        return b""
    return old if new == root2 and next(hashes, None) is None else b""


def check_evidence(evidence: Evidence, log_vkeys: Sequence[str] = ()) -> CheckedEvidence:
    """Return what the evidence shows, trusting ``log_vkeys``, by default those kept in it.

    Raises:
        ProofError: What `verify_checkpoint` raises for a head that the log did not sign, EVIDENCE_ORDER if the larger
            tree comes first, EVIDENCE_HARMLESS if the two heads agree, PROOF_ codes if ``other_root`` does not lead to
            the second head.
    """
    vkeys = log_vkeys or evidence.log_vkeys
    first, second = (verify_checkpoint(note, evidence.origin, vkeys) for note in (evidence.first, evidence.second))
    if first.size > second.size:
        raise ProofError("EVIDENCE_ORDER", f"the first tree has size {first.size}, the second {second.size}")
    if first.size == second.size:
        if first.root == second.root:
            raise ProofError("EVIDENCE_HARMLESS", f"both heads have size {first.size} and one root")
        shown = Shown.TWO_ROOTS
    elif evidence.other_root is not None:
        if evidence.other_root == first.root:
            raise ProofError("EVIDENCE_HARMLESS", f"the proof starts from the root that was signed at {first.size}")
        verify_consistency(first.size, second.size, evidence.proof, evidence.other_root, second.root)
        shown = Shown.REWRITTEN
    else:
        if is_consistent(first, second, evidence.proof):
            raise ProofError("EVIDENCE_HARMLESS", f"the proof from size {first.size} to size {second.size} holds")
        shown = Shown.NOTHING
    return CheckedEvidence(shown, first, second, bool(log_vkeys))


def is_consistent(first: TreeHead, second: TreeHead, proof: Sequence[bytes]) -> bool:
    """Return whether the proof shows that the first tree is a prefix of the second."""
    try:
        verify_consistency(first.size, second.size, proof, first.root, second.root)
    except ProofError:
        return False
    return True


def parse_evidence(data: bytes) -> Evidence:
    """Return the evidence that a file spells.

    Raises:
        ProofError: EVIDENCE_MALFORMED.
    """
    if len(data) > MAX_EVIDENCE_BYTES:
        raise ProofError("EVIDENCE_MALFORMED", f"{len(data)} bytes, at most {MAX_EVIDENCE_BYTES}")
    try:
        return parse(Evidence, data)
    except Rejected as error:
        raise ProofError("EVIDENCE_MALFORMED", error.what, "Name a file that a witness or a monitor wrote.") from None


def encode_evidence(evidence: Evidence) -> bytes:
    """Return the content of an evidence file: canonical JSON."""
    return encode(evidence)
