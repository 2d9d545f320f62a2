"""What is said beside the log: evidence of a fork, a request to forget a pair, and a line of an export.

Each has one good example and what must hold of whatever else is read in its place.
"""

from collections.abc import Sequence
from contextlib import suppress

from curiosity.protocol.decision import ExportedPair, check_exported
from curiosity.protocol.entry import PairEntry, encode_entry
from curiosity.protocol.errors import CuriosityError, ProofError
from curiosity.protocol.evidence import Shown, check_evidence, collect, encode_evidence, parse_evidence
from curiosity.protocol.merkle import EMPTY_ROOT
from curiosity.protocol.messages import Decision
from curiosity.protocol.pair import Item, sign_pair
from curiosity.protocol.receipt import issue_receipt
from curiosity.protocol.signing import Domain
from curiosity.protocol.subtrees import Place, consistency_from, root_from
from curiosity.protocol.takedown import SignedTakedown, TakedownReason, TakedownRequest, check_takedown, sign_takedown
from curiosity.protocol.tlog import Signer, TreeHead, sign_note
from curiosity.protocol.verdict import Opening, Outcome, Reason, Verdict
from curiosity.protocol.wire import parse
from fuzz import log

LIAR = Signer("liar.example/log", b"\x0c" * 32)
LIAR_VKEY = LIAR.verifier.vkey()
LIES = [
    TreeHead(LIAR.name, log.SIZE, log.HEAD.root),
    TreeHead(LIAR.name, log.SIZE, EMPTY_ROOT),
    TreeHead(LIAR.name, log.INDEX, EMPTY_ROOT),
]
"""Heads that it signed: no two of them can be of one log."""


def _read(places: Sequence[Place]) -> list[bytes]:
    return [log.SUBTREES[place] for place in places]


_notes = [sign_note(lie.text(), LIAR) for lie in LIES]
_proof, _root = consistency_from(_read, log.INDEX, log.SIZE), root_from(_read, log.INDEX)
FORKS = (
    collect(LIAR.name, [LIAR_VKEY], _notes[0], _notes[1]),
    collect(LIAR.name, [LIAR_VKEY], _notes[2], _notes[0], _proof, _root),
    collect(LIAR.name, [LIAR_VKEY], _notes[2], _notes[0], [EMPTY_ROOT]),
)
"""Two roots, a rewritten history, and a proof that failed, which accuses nobody."""


def check_fork(data: bytes) -> None:
    """Check that evidence survives being written and convicts only the log that forked, of what it signed."""
    try:
        evidence = parse_evidence(data)
    except ProofError:
        return
    assert parse_evidence(encode_evidence(evidence)) == evidence
    with suppress(ProofError):
        checked = check_evidence(evidence, [LIAR_VKEY])
        assert checked.first in LIES
        assert checked.second in LIES
        assert (checked.shown is Shown.TWO_ROOTS) == (checked.first.size == checked.second.size)
        assert checked.shown is not Shown.REWRITTEN or evidence.other_root == _root


_KEY, DOMAIN = b"\x07" * 32, Domain(31_337, b"\x33" * 20)
_PAIR = sign_pair(
    Item("audio", "audio/wav", b"a sound"),
    Item("text", "text/plain", b"a word"),
    private_key=_KEY,
    domain=DOMAIN,
    network_id=b"\x44" * 32,
    nonce=b"\x55" * 32,
    expiry=1_800_000_000,
    license="CC0-1.0",
)
_SUBMISSION = _PAIR.envelope.submission
_DIGEST = _SUBMISSION.digest(DOMAIN)
TAKEDOWN = sign_takedown(
    TakedownRequest(_SUBMISSION.network_id, _DIGEST, TakedownReason.PRIVACY, "audio", 1_800_000_000), DOMAIN, _KEY
)


def check_takedown_request(data: bytes) -> None:
    """Check that a request to forget a pair counts for nothing but what its contributor signed."""
    try:
        signed = parse(SignedTakedown, data)
        check_takedown(signed, DOMAIN, _SUBMISSION.contributor)
    except CuriosityError:
        return
    assert signed == TAKEDOWN


_RECEIPTS = Signer("receipts.example", b"\x09" * 32)
_OPENING = Opening(b"\x08" * 32, _PAIR.a.digest, _PAIR.b.digest)
_VERDICT = Verdict(Outcome.REJECTED, Reason.ITEM_UNDECODABLE, bytes(32))
_LEAF = encode_entry(
    PairEntry(
        _DIGEST,
        _SUBMISSION.contributor,
        _PAIR.envelope.signature,
        _SUBMISSION.modalities,
        _SUBMISSION.license,
        _VERDICT,
        _OPENING.commitment(),
    )
)
EXPORTED = ExportedPair(
    7,
    _SUBMISSION,
    _PAIR.envelope.signature,
    Decision(issue_receipt(_LEAF, 7, log.ORIGIN, log.TIME, _RECEIPTS), _VERDICT, _OPENING),
)


def check_exported_line(data: bytes) -> None:
    """Check that a line of an export holds for its entry only as it was given out.

    That is the pair, its receipt, and what was hidden.
    """
    try:
        pair = parse(ExportedPair, data)
        check_exported(pair, _LEAF, DOMAIN, log.ORIGIN, _RECEIPTS.verifier.vkey())
    except CuriosityError:
        return
    was, given = pair.decision, EXPORTED.decision
    assert (pair.index, pair.submission, pair.signature) == (7, EXPORTED.submission, EXPORTED.signature)
    assert (was.receipt, was.verdict, was.opening) == (given.receipt, given.verdict, given.opening)
    assert was.embeddings is None
