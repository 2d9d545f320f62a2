"""Prints tests/vectors/tlog.json: our own vectors of the ledger's formats, for other implementations.

python -m tests.vectors.make_tlog > tests/vectors/tlog.json
"""

import json
from typing import Any

from curiosity.protocol.note import to_base64
from curiosity.protocol.note_signature import cosigned_message
from curiosity.protocol.subtrees import consistency_from, inclusion_from, root_from
from curiosity.protocol.tlog import (
    MLDSA44_COSIGNATURE,
    Signer,
    bundle_path,
    make_proof,
    make_witness_request,
    tile_path,
    tiles_for,
)
from tests.material.tlog import LOG, LOG_VKEY, ORIGIN, WITNESS_VKEYS, WITNESSES, Log

TIME = 1_700_000_000
SIZE, INDEX, OLD = 300, 137, 200
PQ = Signer("pq.example", b"\x03" * 32, MLDSA44_COSIGNATURE)
PLACES = [(0, 0, 256), (0, 999, 1), (2, 1000, 255), (63, 1_234_067, 256), (7, 2**63 - 1, 17)]


def vectors() -> dict[str, Any]:
    """Return the vectors as JSON values."""
    log = Log([b"leaf %d" % index for index in range(SIZE)])
    note = log.cosigned(2, TIME)
    path = inclusion_from(log.read, INDEX, SIZE)
    return {
        "origin": ORIGIN,
        "keys": {
            "log_seed": LOG.seed.hex(),
            "log_vkey": LOG_VKEY,
            "witness_seeds": [witness.seed.hex() for witness in WITNESSES],
            "witness_vkeys": WITNESS_VKEYS,
            "ml_dsa_seed": PQ.seed.hex(),
            "ml_dsa_vkey": PQ.witness.vkey(),
        },
        "tree": {
            "leaf": "leaf <index in decimal>",
            "roots": {str(size): to_base64(root_from(log.read, size)) for size in (1, 2, 3, 255, 256, 257, SIZE)},
        },
        "head": {"size": SIZE, "time": TIME, "cosigned": note},
        "ml_dsa_message": cosigned_message(PQ.name, log.head, TIME).hex(),
        "proof": {"index": INDEX, "text": make_proof(INDEX, path, note, b"extra")},
        "witness_request": make_witness_request(OLD, consistency_from(log.read, OLD, SIZE), note),
        "paths": [[level, n, width, tile_path(level, n, width), bundle_path(n, width)] for level, n, width in PLACES],
        "tiles": [[tile.level, tile.index, tile.width] for tile in tiles_for(70_000) if tile.width < 256],
        "files": {path: data.hex() for path, data in sorted(log.files().items()) if ".p/" in path},
    }


if __name__ == "__main__":
    print(json.dumps(vectors(), indent=1, ensure_ascii=False))
