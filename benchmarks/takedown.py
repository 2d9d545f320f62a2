"""How long a takedown takes in a store of many pairs: what must be done within 60 s (docs/protocol.md, step 21).

    python -m benchmarks.takedown [--pairs N] [--json FILE]

A real validator over HTTP on SQLite. Its store is filled with refused pairs of the usual length, one transaction each
10,000, as an import does it; they hold every content but those that are taken down, and so must be told apart from
them. Then pairs are submitted, judged, and taken down: their own, one half everywhere by the operator (first half,
second half). Each time is that of the request: when it is answered, everything is gone. Beside it stands the search
that looks at every pair, as it was before the indexes of contents answered it.
"""

import argparse
import asyncio
import json
import secrets
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from benchmarks.command import CACHE
from benchmarks.ledger_append import make_entries
from curiosity.client.client import ValidatorClient
from curiosity.client.takedowns import ask, take_down
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.protocol.entry import PairEntry, encode_entry, parse_entry
from curiosity.protocol.merkle import leaf_hash
from curiosity.protocol.messages import Network
from curiosity.protocol.pair import Item, SignedPair, sign_pair
from curiosity.protocol.receipt import issue_receipt
from curiosity.protocol.takedown import TakedownReason
from curiosity.protocol.tlog import Signer
from curiosity.protocol.verdict import Outcome, Reason, Verdict
from curiosity.sources import load_source
from curiosity.sources.pairset import read_pairs
from validator.app import build, listen
from validator.config import ServiceSettings
from validator.service import Service
from validator.store import NewRow, NewSubmission, Store
from validator.store.hashes import TreeHashes

BATCH = 10_000
EACH = 5  # takedowns of a kind
KEY = b"\x0a" * 32


def fill(url: str, pairs: int) -> float:
    """Add refused pairs of a real one's length to a store, and return the seconds that it took."""
    (made,) = make_entries(1, 64)
    entry, sample = parse_entry(made.leaf), made.submission
    assert isinstance(entry, PairEntry)
    assert isinstance(sample, NewSubmission)
    entry = replace(entry, verdict=Verdict(Outcome.REJECTED, Reason.PAIR_TOO_FAR, bytes(32)))
    note = issue_receipt(made.leaf, pairs, "bench.example/ledger", 1, Signer("bench.example", bytes(32))).note
    started = time.perf_counter()
    with Store.open(url) as store:
        first = store.size()
        edge = TreeHashes(store).load_edge(first)
        for start in range(first, first + pairs, BATCH):
            rows = []
            for index in range(start, min(start + BATCH, first + pairs)):
                digest = secrets.token_bytes(32)
                submission = replace(
                    sample,
                    pair=digest,
                    nonce=secrets.token_bytes(32),
                    a=Item("image", "image/png", b"picture %d" % index),
                    b=Item("text", "text/plain", b"caption %d" % index),
                    accepted=False,
                )
                rows.append(NewRow(index, encode_entry(replace(entry, pair=digest)), note, submission))
            store.append(rows, edge.append([leaf_hash(row.leaf) for row in rows]))
    return time.perf_counter() - started


def real_pairs(network: Network, count: int) -> list[SignedPair]:
    """Return pictures of digits with a caption of their own each, so that both halves are one pair's."""
    folder = CACHE / "digits-12"
    load_source("digits")(folder, limit=12, cache=CACHE / "speech")
    sources = [pair for pair in read_pairs(folder) if pair.modalities == "image-text"][:count]
    return [
        sign_pair(
            Item("image", pair.a.media_type, pair.a.read()),
            Item("text", "text/plain", pair.b.read() + b" " + secrets.token_hex(4).encode()),
            private_key=KEY,
            domain=network.domain,
            network_id=network.network_id,
            nonce=secrets.token_bytes(32),
            expiry=int(time.time()) + 3600,
            license="CC0-1.0",
        )
        for pair in sources
    ]


async def take_down_all(service: Service, url: str) -> dict[str, object]:
    """Submit pairs, take them down and return the seconds of each request."""
    token = service.keys.admin_token
    seconds: dict[str, list[float]] = {}
    async with ValidatorClient(url) as client:
        network = await client.network()
        signed = real_pairs(network, 3 * EACH)
        for one in signed:
            await client.post_pair(one.encode())
        for number, one in enumerate(signed):
            kind = ("own", "first_half_everywhere", "second_half_everywhere")[number % 3]
            everywhere = {"own": "", "first_half_everywhere": "image", "second_half_everywhere": "text"}[kind]
            digest = one.envelope.submission.digest(network.domain)
            key, expiry = (KEY, int(time.time()) + 3600) if kind == "own" else (None, 0)
            asked = ask(network, digest, TakedownReason.PRIVACY, everywhere, private_key=key, expiry=expiry)
            started = time.perf_counter()
            await take_down(client, network, asked, token="" if key else token)
            seconds.setdefault(kind, []).append(time.perf_counter() - started)
            gone = [service.store.item(item.digest) for item in (one.a, one.b)]
            assert gone == [None, None], "not erased"
    return {
        name: {"median_s": round(median(taken), 4), "longest_s": round(max(taken), 4)}
        for name, taken in seconds.items()
    }


def look_at_every_pair(store: Store) -> float:
    """Return the seconds of one search for a content in the table of pairs itself."""
    started = time.perf_counter()
    store._database.rows(
        "SELECT leaf_index FROM pairs NOT INDEXED WHERE a_sha256 = ? OR b_sha256 = ?", (bytes(32), bytes(32))
    )
    return time.perf_counter() - started


async def measure(pairs: int, folder: Path) -> dict[str, object]:
    """Return the figures for a store of so many pairs."""
    settings = ServiceSettings(ValidatorConfig(data_dir=folder, port=0, decode_workers=1, genesis=Path("tiny")))
    service = await build(settings)  # makes keys and the first entry
    runner = await listen(service)
    await runner.cleanup()
    filled_s = await asyncio.to_thread(fill, settings.validator.url, pairs)
    started = time.perf_counter()
    service = await build(settings)
    started_s = time.perf_counter() - started
    runner = await listen(service)
    try:
        taken = await take_down_all(service, f"http://127.0.0.1:{runner.addresses[0][1]}")
        scan_s = await asyncio.to_thread(look_at_every_pair, service.store)
    finally:
        await runner.cleanup()
    return {
        "pairs": pairs,
        "database_bytes": (folder / "ledger.sqlite").stat().st_size,
        "fill_s": round(filled_s, 1),
        "start_s": round(started_s, 1),
        "takedown": taken,
        "one_look_at_every_pair_s": round(scan_s, 3),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures, and keep them in a file beside those of other sizes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.takedown", description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="curiosity-takedown-") as folder:
        figures = asyncio.run(measure(given.pairs, Path(folder)))
    print(json.dumps(figures, indent=1))
    if given.json is not None:
        kept = json.loads(given.json.read_text())["stores"] if given.json.exists() else []
        stores = sorted([one for one in kept if one["pairs"] != given.pairs] + [figures], key=lambda one: one["pairs"])
        command = "python -m benchmarks.takedown --pairs N --json FILE"
        given.json.write_text(json.dumps({"command": command, "stores": stores}, indent=1) + "\n")


if __name__ == "__main__":
    main()
