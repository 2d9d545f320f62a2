"""What a file proves, whatever it is: a receipt, an offline proof, evidence of a fork. Needs no network."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curiosity.chain.slashing import check_stake_evidence, parse_stake_evidence
from curiosity.client.receipts import describe, parse_saved, proof_path, read_file, verify_saved
from curiosity.client.trust import Trust, describe_key, describe_witnesses
from curiosity.protocol.counts import number_of
from curiosity.protocol.entry import AnyEntry, PairEntry, parse_entry
from curiosity.protocol.errors import ConfigError, ProofError
from curiosity.protocol.evidence import check_evidence, parse_evidence
from curiosity.protocol.tlog import parse_proof, parse_vkey, verify_proof

_PROOF_HEADER = b"c2sp.org/tlog-proof@"
_EVIDENCE_MARK = b'"kind":"curiosity-fork/'
_SLASH_MARK = b'"kind":"curiosity-slash/'


@dataclass(frozen=True)
class Checked:
    """What was proved: one sentence for people, facts for programs, and the keys that it rests on."""

    sentence: str
    facts: dict[str, Any]
    keys: tuple[str, ...]
    has_proof: bool = False  # of an entry in a signed tree


def check_file(path: Path, trust: Trust, leaf: Path | None = None) -> Checked:
    """Return what a file proves, trusting the keys in ``trust``.

    ``leaf`` holds the entry that a tlog-proof is of, where the proof does not carry it.

    Raises:
        SourceError: RECEIPT_UNREADABLE.
        ProofError: With a code for every way of being wrong.
        ConfigError: LOG_KEY_NEEDED for a proof alone, which holds no key that could be trusted.
    """
    data = read_file(path)
    if data.startswith(_PROOF_HEADER):
        return _check_proof(path, data, trust, read_file(leaf) if leaf is not None else None)
    if _EVIDENCE_MARK in data:
        return _check_evidence(data, trust)
    if _SLASH_MARK in data:
        return _check_stake_evidence(data)
    proved = verify_saved(parse_saved(path, data), trust)
    keys = [describe_key(proved.receipt_vkey, proved.is_pinned)]
    if proved.log_vkey is not None:
        keys.append(describe_key(proved.log_vkey, proved.is_log_pinned))
    facts = {"kind": "receipt", **describe(proved)}
    return Checked(proved.sentence(), facts, tuple(keys), proved.tree_size is not None)


def _check_proof(path: Path, data: bytes, trust: Trust, leaf: bytes | None) -> Checked:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise ProofError("PROOF_TEXT", f"{path} is not UTF-8") from None
    log_vkey, origin = trust.log_vkey, trust.origin
    is_pinned = bool(log_vkey)
    beside = path.with_suffix(".json")
    if not log_vkey and path == proof_path(beside) and beside.exists():
        saved = parse_saved(beside, read_file(beside))
        log_vkey, origin = saved.log_vkey, origin or saved.origin
    if not log_vkey:
        raise ConfigError(
            "LOG_KEY_NEEDED", f"{path} holds no key, and none is pinned", "Give --log-vkey, or set [node] log_vkey."
        )
    carried = parse_proof(text).extra
    if leaf is None:
        leaf = carried
    if not leaf:
        raise ProofError("PROOF_LEAF_MISSING", "the proof does not carry the entry that it is of", "Give --leaf FILE.")
    origin = origin or parse_vkey(log_vkey).name
    proven = verify_proof(text, leaf, origin, [log_vkey], trust.witness_vkeys, trust.quorum)
    cosigners = trust.cosigners(parse_proof(text).note)
    key = describe_key(log_vkey, is_pinned)
    facts = {
        "kind": "proof",
        "index": proven.index,
        "tree_size": proven.head.size,
        "root": "0x" + proven.head.root.hex(),
        "origin": origin,
        "log_vkey": log_vkey,
        "is_log_pinned": is_pinned,
        "cosigners": list(cosigners),
        "quorum": trust.quorum,
        "entry": leaf.decode(errors="replace"),
    }
    sentence = (
        f"Entry {proven.index}{_tell(leaf)} is in the signed tree of {number_of(proven.head.size, 'entry')} of "
        f"{origin}, {describe_witnesses(cosigners, trust)}; trusting {key}."
    )
    return Checked(sentence, facts, (key,), has_proof=True)


def _tell(leaf: bytes) -> str:
    try:
        entry: AnyEntry = parse_entry(leaf)
    except ProofError:
        return f" of {number_of(len(leaf), 'byte')}"  # of another log, whose entries are none of ours
    if isinstance(entry, PairEntry):
        return f" (pair 0x{entry.pair.hex()}, {entry.verdict.outcome.value})"
    return f" ({entry.kind})"


def _check_evidence(data: bytes, trust: Trust) -> Checked:
    evidence = parse_evidence(data)
    if trust.origin and trust.origin != evidence.origin:
        raise ProofError("EVIDENCE_OF_ANOTHER", f"the evidence is about {evidence.origin!r}, not {trust.origin!r}")
    checked = check_evidence(evidence, [trust.log_vkey] if trust.log_vkey else ())
    facts = {
        "kind": "evidence",
        "id": evidence.id,
        "origin": evidence.origin,
        "shown": checked.shown.value,
        "is_fork": checked.is_fork,
        "sizes": [checked.first.size, checked.second.size],
        "roots": ["0x" + checked.first.root.hex(), "0x" + checked.second.root.hex()],
        "is_log_pinned": checked.is_pinned,
    }
    vkeys = [trust.log_vkey] if trust.log_vkey else list(evidence.log_vkeys)
    return Checked(checked.sentence(), facts, tuple(describe_key(vkey, checked.is_pinned) for vkey in vkeys))


def _check_stake_evidence(data: bytes) -> Checked:
    fault = check_stake_evidence(parse_stake_evidence(data))
    facts = {
        "kind": "stake-evidence",
        "fault": fault.fault.value,
        "origin": fault.first.origin,
        "signer": "0x" + fault.key.signer.hex(),
        "chain_id": fault.key.domain.chain_id,
        "stake": "0x" + fault.key.domain.stake.hex(),
        "sizes": [fault.first.size, fault.second.size],
        "roots": ["0x" + fault.first.root.hex(), "0x" + fault.second.root.hex()],
        "index": fault.index,
    }
    where = f"the stake contract 0x{fault.key.domain.stake.hex()} on chain {fault.key.domain.chain_id}"
    return Checked(f"{fault.sentence()} It costs the stake in {where}.", facts, (fault.key.name,))
