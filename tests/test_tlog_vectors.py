"""The vectors of the ledger's formats: other projects' are read as they do, ours are made again to the byte."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import EMPTY_ROOT, verify_consistency
from curiosity.protocol.note_signature import make_cosignature
from curiosity.protocol.tlog import (
    TileReader,
    cosign,
    open_note,
    parse_vkey,
    parse_witness_request,
    sign_note,
    verified_cosignatures,
    verify_checkpoint,
    verify_proof,
)
from tests.material.tlog import LOG, WITNESSES, Log
from tests.vectors.make_tlog import PQ, vectors

FOLDER = Path(__file__).parent / "vectors"
PUBLISHED = json.loads((FOLDER / "tlog_published.json").read_text())
OURS = json.loads((FOLDER / "tlog.json").read_text())


@pytest.mark.parametrize("vector", PUBLISHED["notes"], ids=lambda vector: vector["source"])
def test_published_notes_open(vector: dict[str, Any]) -> None:
    note, vkeys = vector["note"], vector["vkeys"]
    text = open_note(note, vkeys)
    assert note.startswith(text + "\n\u2014 ")
    assert [parse_vkey(vkey).vkey() for vkey in vkeys] == vkeys
    with pytest.raises(ProofError, match="SIGNATURE_WRONG"):
        open_note("X" + note[1:], vkeys)


@pytest.mark.parametrize("vector", PUBLISHED["heads"], ids=lambda vector: str(vector["size"]))
def test_published_tree_heads_verify(vector: dict[str, Any]) -> None:
    head = verify_checkpoint(vector["note"], vector["origin"], [vector["vkey"]])
    assert head.size == vector["size"]
    with pytest.raises(ProofError, match="SIGNATURE_WRONG"):
        verify_checkpoint(vector["note"].replace(str(vector["size"]), "1"), vector["origin"], [vector["vkey"]])


def test_a_published_exchange_with_a_witness() -> None:
    """A log that grows from 0 over 1 and 3 to 5 leaves; what another witness refused is refused here."""
    exchange = PUBLISHED["witness"]
    root, held = EMPTY_ROOT, 0
    for request in exchange["requests"]:
        try:
            asked = parse_witness_request(request["body"])
            head = verify_checkpoint(asked.note, exchange["origin"], [exchange["vkey"]])
            verify_consistency(asked.old_size, head.size, asked.path, root, head.root)
        except ProofError:
            assert not request["holds"]
        else:
            assert request["holds"]
            root, held = head.root, held + 1
    assert held == 3
    assert len(exchange["requests"]) == 7


def test_our_vectors_are_made_again_to_the_byte() -> None:
    assert vectors() == OURS


def test_our_vectors_hold_by_themselves() -> None:
    """Read as somebody else would: from the file alone."""
    keys, head = OURS["keys"], OURS["head"]
    checked = verify_checkpoint(head["cosigned"], OURS["origin"], [keys["log_vkey"]], keys["witness_vkeys"], 2)
    assert checked.size == head["size"]
    index = OURS["proof"]["index"]
    leaf = OURS["tree"]["leaf"].replace("<index in decimal>", str(index)).encode()
    proven = verify_proof(OURS["proof"]["text"], leaf, OURS["origin"], [keys["log_vkey"]], keys["witness_vkeys"], 2)
    assert (proven.index, proven.head, proven.extra) == (index, checked, b"extra")
    files = {path: bytes.fromhex(data) for path, data in OURS["files"].items()}
    assert TileReader(checked, files.get).leaf_hashes(1) == Log([b"leaf %d" % n for n in range(300)]).hashes[256:]


def test_the_ml_dsa_key_of_the_vectors_signs_their_message() -> None:
    note = sign_note(verify_checkpoint(OURS["head"]["cosigned"], OURS["origin"], [LOG.verifier.vkey()]).text(), LOG)
    cosigned = cosign(note, PQ, OURS["head"]["time"])
    (signed,) = verified_cosignatures(cosigned, [OURS["keys"]["ml_dsa_vkey"]])
    assert signed.timestamp == OURS["head"]["time"]
    PQ.ml_dsa_key.public_key().verify(
        make_cosignature(signed_text(note), PQ, OURS["head"]["time"]).signature[8:],
        bytes.fromhex(OURS["ml_dsa_message"]),
    )
    assert [witness.seed.hex() for witness in WITNESSES] == OURS["keys"]["witness_seeds"]


def signed_text(note: str) -> str:
    return note.rpartition("\n\n")[0] + "\n"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is absent: the vectors are not read in another language")
def test_another_language_reads_our_vectors_with_nothing_of_ours() -> None:
    command = [str(shutil.which("node")), str(FOLDER / "check_tlog.mjs")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["checked"][-2:] == ["proof", "tiles"]
    assert len(answer["checked"]) == 2 + len(PUBLISHED["notes"])
    assert answer["refused"] == ["leaf", "index", "size"]
