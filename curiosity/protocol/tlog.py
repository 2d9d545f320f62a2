"""The ledger's formats, those of C2SP, in one place: everything public is importable from here.

    c2sp.org/signed-note        open_note, sign_note, parse_vkey, Signer   curiosity.protocol.note,
    curiosity.protocol.signed_note c2sp.org/tlog-checkpoint    verify_checkpoint, TreeHead
    curiosity.protocol.tree_head, curiosity.protocol.signed_note c2sp.org/tlog-cosignature   cosign,
    verified_cosignatures              curiosity.protocol.note_signature c2sp.org/tlog-tiles         tile_path,
    parse_tile, parse_bundle,       curiosity.protocol.tiles,
                                TileReader                                 curiosity.protocol.tile_reader
    c2sp.org/tlog-proof         make_proof, verify_proof                   curiosity.protocol.tlog_proof
    c2sp.org/tlog-witness       make_witness_request, ...                  curiosity.protocol.witness_request

Their "checkpoint" is our *tree head*; only names that the specifications give keep the word. Parsers are strict
(canonical decimals, canonical base64, no trailing bytes): whatever the input, they give a value or a ProofError, and
nothing is believed before its signature or its hash was checked.
"""

from curiosity.protocol.note import (
    COSIGNATURE_V1,
    ED25519,
    MAX_SIZE,
    MLDSA44_COSIGNATURE,
    NoteSignature,
    Signer,
    Verifier,
    parse_note,
    parse_vkey,
)
from curiosity.protocol.note_signature import Signed
from curiosity.protocol.signed_note import (
    add_signatures,
    cosign,
    open_note,
    sign_note,
    verified_cosignatures,
    verify_checkpoint,
)
from curiosity.protocol.tile_reader import TileReader
from curiosity.protocol.tiles import (
    Bundle,
    Tile,
    TileWriter,
    bundle_path,
    bundles_for,
    entry_bundle,
    parse_bundle,
    parse_tile,
    parse_tile_path,
    tile_path,
    tile_width,
    tiles_for,
    tiles_from,
)
from curiosity.protocol.tlog_proof import Proof, ProvenEntry, make_proof, parse_proof, verify_proof
from curiosity.protocol.tree_head import TreeHead, parse_tree_head
from curiosity.protocol.witness_request import (
    WitnessRequest,
    make_witness_request,
    parse_witness_request,
    parse_witness_size,
)

__all__ = [
    "COSIGNATURE_V1",
    "ED25519",
    "MAX_SIZE",
    "MLDSA44_COSIGNATURE",
    "Bundle",
    "NoteSignature",
    "Proof",
    "ProvenEntry",
    "Signed",
    "Signer",
    "Tile",
    "TileReader",
    "TileWriter",
    "TreeHead",
    "Verifier",
    "WitnessRequest",
    "add_signatures",
    "bundle_path",
    "bundles_for",
    "cosign",
    "entry_bundle",
    "make_proof",
    "make_witness_request",
    "open_note",
    "parse_bundle",
    "parse_note",
    "parse_proof",
    "parse_tile",
    "parse_tile_path",
    "parse_tree_head",
    "parse_vkey",
    "parse_witness_request",
    "parse_witness_size",
    "sign_note",
    "tile_path",
    "tile_width",
    "tiles_for",
    "tiles_from",
    "verified_cosignatures",
    "verify_checkpoint",
    "verify_proof",
]
