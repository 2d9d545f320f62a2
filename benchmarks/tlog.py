"""What the formats of the ledger cost, in CPU time of this process, each beside the bare operations that it stands on.

    python -m benchmarks.tlog [--size 1000000] [--json FILE]

- growing a tree by batches of 100 and of 1,000 leaf hashes, against as many bare SHA-256 over 65 bytes as it has nodes;
- reading a whole log from tiles and bundles with every hash checked (an audit without its transport), against the bare
  hashes of the same entries and nodes;
- an inclusion proof from tiles that no cache holds, and one checked; notes signed, opened and cosigned.
"""

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from curiosity.protocol.merkle import Frontier, leaf_hash, verify_inclusion
from curiosity.protocol.tlog import (
    MLDSA44_COSIGNATURE,
    Signer,
    TileReader,
    TileWriter,
    TreeHead,
    bundles_for,
    cosign,
    entry_bundle,
    make_proof,
    open_note,
    sign_note,
    verify_checkpoint,
    verify_proof,
)

ENTRY_BYTES = 620
"""About what an entry of a pair takes."""
ORIGIN = "bench.example/log"
LOG = Signer(ORIGIN, b"\x01" * 32)
WITNESS = Signer("witness.example", b"\x02" * 32)
PQ = Signer("pq.example", b"\x03" * 32, MLDSA44_COSIGNATURE)


def spent(work: Callable[[], Any]) -> float:
    """Return the CPU seconds that ``work`` takes."""
    start = time.process_time()
    work()
    return time.process_time() - start


def entry(index: int) -> bytes:
    """Return an entry of the benchmark's log."""
    return b"%0*d" % (ENTRY_BYTES, index)


def per_call(work: Callable[[], Any], times: int = 500) -> float:
    """Return the CPU microseconds of one call, the best of three rounds."""

    def round_() -> None:
        for _ in range(times):
            work()

    return round(min(spent(round_) for _ in range(3)) / times * 1e6, 2)


def measure_growth(size: int) -> dict[str, Any]:
    """Measure leaf hashes appended in batches."""
    hashes = [sha256(b"%d" % index).digest() for index in range(min(size, 200_000))]
    pair = bytes(65)

    def bare() -> None:
        for _ in hashes:
            sha256(pair).digest()

    bare_s = min(spent(bare) for _ in range(3))
    made: dict[str, Any] = {"bare_node_hash_us": round(bare_s / len(hashes) * 1e6, 3)}
    for step in (1, 100, 1000):

        def grow(step: int = step) -> None:
            frontier = Frontier()
            if step == 1:
                for hash_ in hashes:
                    frontier.append(hash_)
                return
            for start in range(0, len(hashes), step):
                frontier.extend(hashes[start : start + step])

        seconds = min(spent(grow) for _ in range(3))
        made[f"append_{step}_us"] = round(seconds / len(hashes) * 1e6, 3)
        made[f"append_{step}_ratio"] = round(bare_s / seconds, 3)
    return made


def measure_audit(size: int) -> dict[str, Any]:
    """Measure a log of ``size`` entries, read to its last byte through tiles in memory, every hash checked."""
    files: dict[str, bytes] = {}
    writer = TileWriter()
    for bundle in bundles_for(size):
        entries = [entry(index) for index in range(bundle.index * 256, bundle.index * 256 + bundle.width)]
        files[bundle.path] = entry_bundle(entries)
        files.update((tile.path, data) for tile, data in writer.append(list(map(leaf_hash, entries))))
    files.update((tile.path, data) for tile, data in writer.partial())
    head = TreeHead(ORIGIN, size, writer.frontier.root())
    reader = TileReader(head, files.get)
    seen = 0

    def audit() -> None:
        nonlocal seen
        for bundle in bundles_for(size):
            seen += len(reader.entries(bundle.index))

    leaf_input, node_input = bytes(1 + ENTRY_BYTES), bytes(65)

    def bare() -> None:
        for _ in range(size):
            sha256(leaf_input).digest()
            sha256(node_input).digest()

    audit_s = spent(audit)
    if seen != size:
        raise RuntimeError(f"read {seen} of {size} entries")
    bare_s = spent(bare)
    chance = random.Random(7)
    indices = [chance.randrange(size) for _ in range(1000)]

    def prove() -> None:
        for index in indices:
            TileReader(head, files.get).inclusion_path(index)

    paths = {index: reader.inclusion_path(index) for index in indices}

    def check() -> None:
        for index, path in paths.items():
            verify_inclusion(leaf_hash(entry(index)), index, size, path, head.root)

    note = cosign(sign_note(head.text(), LOG), WITNESS, 1_700_000_000)
    text = make_proof(indices[0], paths[indices[0]], note)
    leaf = entry(indices[0])
    trusted = (ORIGIN, [LOG.verifier.vkey()], [WITNESS.witness.vkey()], 1)
    return {
        "entries": size,
        "entry_bytes": ENTRY_BYTES,
        "audit_cpu_s": round(audit_s, 2),
        "audit_per_cpu_s": round(size / audit_s),
        "audit_ratio": round(bare_s / audit_s, 3),
        "cold_proof_us": round(spent(prove) / len(indices) * 1e6, 1),
        "check_path_us": round(spent(check) / len(paths) * 1e6, 1),
        "verify_proof_us": per_call(lambda: verify_proof(text, leaf, *trusted)),
    }


def measure_notes() -> dict[str, Any]:
    """Measure tree heads signed, opened and cosigned."""
    head = TreeHead(ORIGIN, 1_000_000, bytes(range(32)))
    note = sign_note(head.text(), LOG)
    vkey = LOG.verifier.vkey()
    both = cosign(cosign(note, WITNESS, 1_700_000_000), PQ, 1_700_000_000)
    witnesses = [WITNESS.witness.vkey(), PQ.witness.vkey()]
    text, key = head.text().encode(), LOG.private_key
    signature, public = key.sign(text), key.public_key()
    return {
        "bare_sign_us": per_call(lambda: key.sign(text)),
        "bare_verify_us": per_call(lambda: public.verify(signature, text)),
        "sign_us": per_call(lambda: sign_note(head.text(), LOG)),
        "open_us": per_call(lambda: open_note(note, [vkey])),
        "cosign_ed25519_us": per_call(lambda: cosign(note, WITNESS, 1_700_000_000)),
        "cosign_ml_dsa_us": per_call(lambda: cosign(note, PQ, 1_700_000_000), 100),
        "verify_head_of_two_witnesses_us": per_call(lambda: verify_checkpoint(both, ORIGIN, [vkey], witnesses, 2), 200),
    }


def main() -> int:
    """Measure, print, and write the figures where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tlog")
    parser.add_argument("--size", type=int, default=1_000_000, help="entries of the log that is audited")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    figures = {
        "tree": measure_growth(arguments.size),
        "log": measure_audit(arguments.size),
        "notes": measure_notes(),
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
