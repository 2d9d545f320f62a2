"""A small log whose every good answer is known, so that a forged one is noticed."""

from curiosity.chain.attestation import address_of
from curiosity.chain.evidence import ChainTreeHead, StakeDomain
from curiosity.chain.slashing import Leaf, StakeEvidence, encode_stake_evidence
from curiosity.chain.stake_note import StakeKey, sign_head
from curiosity.protocol.merkle import Frontier, inclusion_proof, leaf_hash, root
from curiosity.protocol.subtrees import Place, inclusion_from
from curiosity.protocol.tlog import (
    MLDSA44_COSIGNATURE,
    Signer,
    TreeHead,
    bundles_for,
    cosign,
    entry_bundle,
    make_proof,
    sign_note,
    tiles_from,
)

ORIGIN = "fuzz.example/log"
SIZE = 600
INDEX = 300
LEAVES = [b"leaf %d" % index for index in range(SIZE)]
LOG = Signer(ORIGIN, b"\x01" * 32)
WITNESSES = [Signer("witness.example", b"\x02" * 32), Signer("pq.example", b"\x03" * 32, MLDSA44_COSIGNATURE)]
LOG_VKEY = LOG.verifier.vkey()
WITNESS_VKEYS = [witness.witness.vkey() for witness in WITNESSES]
TIME = 1_700_000_000

_frontier = Frontier()
SUBTREES: dict[Place, bytes] = {
    (run.level, run.first + number): hash_
    for run in _frontier.extend(map(leaf_hash, LEAVES))
    for number, hash_ in enumerate(run.hashes)
}
HEAD = TreeHead(ORIGIN, SIZE, _frontier.root())
NOTE = sign_note(HEAD.text(), LOG)
COSIGNED = cosign(cosign(NOTE, WITNESSES[0], TIME), WITNESSES[1], TIME)
PATH = inclusion_from(lambda places: [SUBTREES[place] for place in places], INDEX, SIZE)
PROOF = make_proof(INDEX, PATH, cosign(NOTE, WITNESSES[0], TIME))
PROOF_WITH_EXTRA = make_proof(INDEX, PATH, NOTE, b"more")
FILES = {tile.path: data for tile, data in tiles_from(lambda places: [SUBTREES[place] for place in places], SIZE)} | {
    bundle.path: entry_bundle(LEAVES[bundle.index * 256 : bundle.index * 256 + bundle.width])
    for bundle in bundles_for(SIZE)
}

_STAKE_SIGNER = b"\x04" * 32
STAKE_KEY = StakeKey(f"{ORIGIN}/stake", StakeDomain(31_337, b"\x05" * 20), address_of(_STAKE_SIGNER))
_BRANCHES = [[b"a", b"b", b"c"], [b"a", b"x", b"c", b"d"]]
_HEADS = [TreeHead(ORIGIN, len(leaves), root(leaves)) for leaves in _BRANCHES]
FORKED_HEADS = {ChainTreeHead(ORIGIN, head.size, head.root) for head in _HEADS}
_NOTES = [sign_head(sign_note(head.text(), LOG), STAKE_KEY, _STAKE_SIGNER) for head in _HEADS]
_FIRST, _SECOND = (Leaf(leaf_hash(leaves[1]), tuple(inclusion_proof(1, leaves))) for leaves in _BRANCHES)
SLASH = encode_stake_evidence(StakeEvidence(STAKE_KEY.vkey(), _NOTES[0], _NOTES[1], 1, _FIRST, _SECOND))
