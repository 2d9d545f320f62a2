"""How fast a monitor re-checks a whole log: ``python -m benchmarks.audit --json FILE``.

A log of entries as large as ours is written as static files and served by another process over HTTP on this machine.
*hashes*: every tile and leaf hash of all entries, beside a bare loop that only hashes the same leaves and nodes.
*rules*: what every entry means too, signatures recovered, on a sample of really signed entries.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from curiosity.client.trust import KEPT_KEYS
from curiosity.ledger.audit import Target, audit
from curiosity.ledger.state import MonitorState
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.entry import CheckpointEntry, PairEntry, encode_entry
from curiosity.protocol.merkle import leaf_hash
from curiosity.protocol.signing import address_of, sign
from curiosity.protocol.tiles import TileWriter, bundle_path, entry_bundle
from curiosity.protocol.tlog import Signer, TreeHead, sign_note
from curiosity.protocol.verdict import Outcome, Reason, Verdict

ORIGIN = "benchmark.example/log"
SIGNER = Signer(ORIGIN, b"\x01" * 32)
TARGET = Target(ORIGIN, (SIGNER.verifier.vkey(),), KEPT_KEYS)
KEY = b"\x02" * 32
WIDTH = 256


def signed_entry(number: int) -> bytes:
    """Return the entry ``number`` of a ledger: a pair that was really signed, 0 the first checkpoint."""
    if number == 0:
        return encode_entry(CheckpointEntry(b"\x03" * 32, None))
    pair = sha256(b"pair %d" % number).digest()
    verdict = Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, b"\x03" * 32)
    return encode_entry(
        PairEntry(pair, address_of(KEY), sign(pair, KEY), "image-text", "CC0-1.0", verdict, sha256(pair).digest())
    )


def write_log(folder: Path, size: int, leaf: Callable[[int], bytes]) -> None:
    """Write a log's tiles, bundles and head."""
    writer = TileWriter()

    def put(path: str, data: bytes) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)

    for start in range(0, size, WIDTH):
        leaves = [leaf(index) for index in range(start, min(start + WIDTH, size))]
        for tile, data in writer.append([leaf_hash(one) for one in leaves]):
            put(tile.path, data)
        put(bundle_path(start // WIDTH, len(leaves)), entry_bundle(leaves))
    for tile, data in writer.partial():
        put(tile.path, data)
    put("checkpoint", sign_note(TreeHead(ORIGIN, size, writer.frontier.root()).text(), SIGNER).encode())


_SERVER = """
import sys
from aiohttp import web
app = web.Application()
app.router.add_static("/", sys.argv[1])
web.run_app(app, host="127.0.0.1", port=int(sys.argv[2]), access_log=None, print=None)
"""


def seconds_to_audit(folder: Path, where: str, *, rules: bool, expect: int) -> float:
    """Return how long one round over a whole log takes, in seconds, and hold its result to what was written."""

    async def work() -> int:
        async with LogFiles(where) as files:
            target = Target(TARGET.origin, TARGET.log_vkeys, TARGET.trust, rules=rules)
            done = await audit(files, MonitorState(folder, ORIGIN, TARGET.log_vkeys), target)
            assert done.finding is None, done.finding
            return done.size

    started = time.perf_counter()
    assert asyncio.run(work()) == expect
    return time.perf_counter() - started


def seconds_to_hash(size: int, leaf: bytes) -> float:
    """Return how long a bare loop takes for as many leaf and node hashes, in seconds."""
    started = time.perf_counter()
    for _ in range(size):
        sha256(b"\0" + leaf).digest()
        sha256(b"\1" + leaf[:32] + leaf[32:64]).digest()
    return time.perf_counter() - started


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--signed", type=int, default=20_000, help="entries of the sample for the rules")
    parser.add_argument("--port", type=int, default=8471)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    typical = signed_entry(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder / "long", arguments.entries, lambda index: typical[:-9] + b"%08d}" % index)
        write_log(folder / "signed", arguments.signed, signed_entry)
        server = subprocess.Popen([sys.executable, "-c", _SERVER, str(folder), str(arguments.port)])
        try:
            time.sleep(1.5)
            url = f"http://127.0.0.1:{arguments.port}"
            over_http = seconds_to_audit(folder / "a", f"{url}/long", rules=False, expect=arguments.entries)
            from_files = seconds_to_audit(folder / "b", str(folder / "long"), rules=False, expect=arguments.entries)
            rules = seconds_to_audit(folder / "c", f"{url}/signed", rules=True, expect=arguments.signed)
        finally:
            server.terminate()
            server.wait()
        bare = seconds_to_hash(arguments.entries, typical)
    figures = {
        "entries": arguments.entries,
        "entry_bytes": len(typical),
        "hashes_over_http_seconds": round(over_http, 2),
        "hashes_from_files_seconds": round(from_files, 2),
        "bare_hashing_seconds": round(bare, 2),
        "entries_per_second_with_rules": round(arguments.signed / rules),
    }
    print(json.dumps(figures, indent=2))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
