"""Receipts on disk: what is needed to check a decision later, with no network and no trust in the validator."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curiosity.client.trust import KEPT_KEYS, Trust, describe_key, describe_witnesses
from curiosity.host.files import make_folder, write_whole
from curiosity.protocol.counts import number_of
from curiosity.protocol.decision import check_decision
from curiosity.protocol.errors import ProofError, Rejected, SourceError
from curiosity.protocol.merkle import verify_inclusion
from curiosity.protocol.messages import Decision, InclusionProof, Network
from curiosity.protocol.pair import Envelope
from curiosity.protocol.receipt import CheckedReceipt
from curiosity.protocol.signing import Domain, checksum, recover
from curiosity.protocol.tlog import parse_proof, verify_checkpoint, verify_proof
from curiosity.protocol.wire import STRICT, encode, parse

BROKEN_SUFFIX = ".broken.json"
"""Of a receipt that is kept with the proof that its promise was broken: evidence for others."""


@dataclass(frozen=True)
class SavedReceipt:
    """A decision with the facts to check it against: the contributor's own envelope and the keys that were pinned."""

    decision: Decision
    envelope: Envelope
    domain: Domain
    origin: str
    receipt_vkey: str
    log_vkey: str
    proof: str | None = None  # the second receipt: c2sp.org/tlog-proof, with what cosignatures the head had

    __pydantic_config__ = STRICT

    @property
    def pair(self) -> bytes:
        """The pair's digest."""
        return self.envelope.submission.digest(self.domain)


@dataclass(frozen=True)
class Proved:
    """What a saved receipt proved."""

    pair: bytes
    contributor: bytes
    index: int
    issued_at: int
    outcome: str
    reason: str
    tree_size: int | None  # of the signed tree head that holds the entry; None without a proof
    receipt_vkey: str
    is_pinned: bool  # the receipt key was given from outside, not read from the receipt's own file
    log_vkey: str | None = None  # of that tree head
    is_log_pinned: bool = False
    cosigners: tuple[str, ...] = ()  # trusted witnesses that cosigned it
    trust: Trust = KEPT_KEYS

    def sentence(self) -> str:
        """Return it in one sentence, with the keys that were trusted."""
        proof = ""
        if self.tree_size is not None and self.log_vkey is not None:
            proof = (
                f" and is in the signed tree of {number_of(self.tree_size, 'entry')}, "
                f"{describe_witnesses(self.cosigners, self.trust)}"
            )
        log = f" and log {describe_key(self.log_vkey, self.is_log_pinned)}" if self.log_vkey is not None else ""
        return (
            f"Pair 0x{self.pair.hex()} of {checksum(self.contributor)} was {self.outcome} ({self.reason}) as entry "
            f"{self.index}{proof}; trusting {describe_key(self.receipt_vkey, self.is_pinned)}{log}."
        )


def check_proof(proof: InclusionProof, checked: CheckedReceipt, origin: str, log_vkey: str) -> int:
    """Check that the receipted entry is in a tree that the log key signed; return the tree's size.

    Raises:
        ProofError: PROOF_ codes, PROOF_OF_ANOTHER, PROOF_WITHOUT_HEAD, and what `verify_checkpoint` raises.
    """
    if proof.tree_head is None:
        raise ProofError("PROOF_WITHOUT_HEAD", "the proof comes without a signed tree head", "Ask for another size.")
    head = verify_checkpoint(proof.tree_head, origin, [log_vkey])
    if proof.index != checked.index:
        raise ProofError("PROOF_OF_ANOTHER", f"the proof is of entry {proof.index}, the receipt of {checked.index}")
    verify_inclusion(checked.leaf_hash, checked.index, head.size, proof.path, head.root)
    return head.size


def check_second(text: str, checked: CheckedReceipt, leaf: bytes, origin: str, log_vkey: str, trust: Trust) -> int:
    """Check the second receipt: the entry is in a tree that the log signed and a quorum cosigned; return its size.

    Raises:
        ProofError: PROOF_OF_ANOTHER for another entry's proof; PROMISE_BROKEN if the proof holds, but of another entry
            at the promised place: then receipt and proof together convict the validator; and what
            `curiosity.protocol.tlog.verify_proof` raises.
    """
    proof = parse_proof(text)
    if proof.index != checked.index:
        raise ProofError("PROOF_OF_ANOTHER", f"the proof is of entry {proof.index}, the receipt of {checked.index}")

    def prove(entry: bytes) -> int:
        return verify_proof(text, entry, origin, [log_vkey], trust.witness_vkeys, trust.quorum).head.size

    try:
        return prove(leaf)
    except ProofError as error:
        if error.code != "PROOF_MISMATCH" or not proof.extra or proof.extra == leaf:
            raise
        mismatch = error
    try:
        size = prove(proof.extra)
    except ProofError:
        raise mismatch from None
    raise ProofError(
        "PROMISE_BROKEN",
        f"the receipt promises entry {checked.index}, and the log's signed tree of {number_of(size, 'entry')} has "
        "another there",
        "Keep the file: whoever holds the validator's keys can check that it broke its word.",
    )


def verify_saved(saved: SavedReceipt, trust: Trust = KEPT_KEYS) -> Proved:
    """Check a saved receipt offline; keys in ``trust`` override those kept in it.

    Raises:
        ProofError: With a code for every way of being wrong: PAIR_SIGNATURE if the contributor did not sign, what
            `check_decision` and `check_second` raise, RECEIPT_ORIGIN for another ledger's than ``trust`` names, and
            PROOF_MISSING if a quorum is asked for and there is no second receipt.
    """
    vkey, log_vkey = trust.receipt_vkey or saved.receipt_vkey, trust.log_vkey or saved.log_vkey
    if trust.origin and trust.origin != saved.origin:
        raise ProofError("RECEIPT_ORIGIN", f"the receipt is of ledger {saved.origin!r}, expected {trust.origin!r}")
    digest = saved.pair
    try:
        signer = recover(digest, saved.envelope.signature)
    except Rejected as error:
        raise ProofError("PAIR_SIGNATURE", error.what) from None
    if signer != saved.envelope.submission.contributor:
        raise ProofError("PAIR_SIGNATURE", f"the pair was signed by 0x{signer.hex()}, not by its contributor")
    checked = check_decision(saved.decision, saved.envelope, digest, saved.origin, vkey)
    verdict = saved.decision.verdict
    proved = Proved(
        pair=digest,
        contributor=signer,
        index=checked.index,
        issued_at=checked.issued_at,
        outcome=verdict.outcome.value,
        reason=verdict.reason.value,
        tree_size=None,
        receipt_vkey=vkey,
        is_pinned=bool(trust.receipt_vkey),
        trust=trust,
    )
    if saved.proof is None:
        if trust.quorum:
            raise ProofError(
                "PROOF_MISSING",
                f"the receipt has no proof that {trust.quorum} witnesses saw its entry",
                "Fetch it with `curiosity prove`.",
            )
        return proved
    leaf = saved.decision.receipt.entry.encode()
    size = check_second(saved.proof, checked, leaf, saved.origin, log_vkey, trust)
    return replace(
        proved,
        tree_size=size,
        log_vkey=log_vkey,
        is_log_pinned=bool(trust.log_vkey),
        cosigners=trust.cosigners(parse_proof(saved.proof).note),
    )


def save_receipt(folder: Path, decision: Decision, envelope: Envelope, network: Network) -> Path:
    """Write a receipt file named by the pair's digest and return its path; durable when this returns."""
    saved = SavedReceipt(
        replace(decision, replayed=False),
        envelope,
        network.domain,
        network.origin,
        network.receipt_vkey,
        network.log_vkey,
    )
    return write_saved(receipt_path(folder, saved.pair), saved)


def receipt_path(folder: Path, pair: bytes) -> Path:
    """Return where the receipt of a pair is kept, by the pair's digest."""
    return folder / f"{pair.hex()}.json"


def proof_path(receipt: Path) -> Path:
    """Return where the second receipt lies as a file of its own, which other tools read (c2sp.org/tlog-proof)."""
    return receipt.with_suffix(".tlog-proof")


def write_saved(path: Path, saved: SavedReceipt) -> Path:
    """Replace a receipt file in one step, and the second receipt beside it.

    Raises:
        SourceError: RECEIPT_NOT_WRITTEN.
    """
    _replace(path, encode(saved))
    if saved.proof is not None:
        _replace(proof_path(path), saved.proof.encode())
    return path


def _replace(path: Path, data: bytes) -> None:
    try:
        make_folder(path.parent)
        write_whole(path, data)
    except OSError as error:
        raise SourceError(
            "RECEIPT_NOT_WRITTEN",
            f"{path}: {error.strerror}",
            "Free space or permissions there and submit again: the same receipt comes back.",
        ) from None


def read_file(path: Path) -> bytes:
    """Return a file's content.

    Raises:
        SourceError: RECEIPT_UNREADABLE.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise SourceError("RECEIPT_UNREADABLE", f"{path}: {error.strerror}", "Name a receipt file.") from None


def parse_saved(path: Path, data: bytes) -> SavedReceipt:
    """Return the receipt that a file's content spells.

    Raises:
        ProofError: RECEIPT_MALFORMED.
    """
    try:
        return parse(SavedReceipt, data)
    except Rejected as error:
        raise ProofError("RECEIPT_MALFORMED", f"{path}: {error.what}", "Name a file of the receipts folder.") from None


def read_saved(path: Path) -> SavedReceipt:
    """Return a saved receipt.

    Raises:
        SourceError: RECEIPT_UNREADABLE.
        ProofError: RECEIPT_MALFORMED.
    """
    return parse_saved(path, read_file(path))


def describe(proved: Proved) -> dict[str, Any]:
    """Return what was proved as plain JSON values."""
    values = {name: value for name, value in vars(proved).items() if name != "trust"}
    plain: dict[str, Any] = json.loads(json.dumps(values, default=lambda value: "0x" + value.hex()))
    return plain | {"quorum": proved.trust.quorum}
