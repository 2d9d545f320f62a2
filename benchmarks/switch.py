"""How long a pair and a search wait while a validator switches its checkpoint (docs/protocol.md, step 20).

    python -m benchmarks.switch [--pairs N] [--switches N] [--json FILE]

A real validator over HTTP on SQLite, with `--pairs` accepted pairs of handwritten digits and their names. One client
sends pairs, each when the one before was answered, another searches in the same way. They do so first with nothing else
going on, then during each of several switches, which embed everything accepted again. Pictures differ by noise, so that
no embedding is known beforehand. Each time is that of the request, and the client is in the validator's process. What
counts is the ratio of the times during a switch to the idle ones of the same run: the times are those of one machine.
"""

import argparse
import asyncio
import io
import json
import logging
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
from PIL import Image

from benchmarks.command import CACHE
from curiosity.client.client import ValidatorClient
from curiosity.embedding.checkpoint import GENESIS, MODEL, load, save
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.protocol.messages import Network
from curiosity.protocol.pair import Item, SignedPair, sign_pair
from curiosity.sources import load_source
from curiosity.sources.pairset import SourcePair, read_pairs
from validator.app import build, listen
from validator.config import ServiceSettings
from validator.service import Service

KEY: Final = b"\x0a" * 32
CONNECTIONS: Final = 16  # for what is sent before anything is measured


@dataclass(frozen=True)
class Waits:
    """Seconds of each request, in the order sent."""

    pairs: list[float]
    searches: list[float]


def make_pairs(network: Network) -> Iterator[SignedPair]:
    """Yield signed pictures of digits with their names, without end: the same digits with other noise."""
    folder = CACHE / "digits-12"
    load_source("digits")(folder, limit=12, cache=CACHE / "speech")
    sources: list[SourcePair] = [pair for pair in read_pairs(folder) if pair.modalities == "image-text"]
    noise = np.random.default_rng(0)
    while True:
        for source in sources:
            with Image.open(io.BytesIO(source.a.read())) as opened:
                pixels = np.asarray(opened.convert("L"), dtype=np.int16)
            changed = np.clip(pixels + noise.integers(-8, 9, pixels.shape), 0, 255).astype(np.uint8)
            file = io.BytesIO()
            Image.fromarray(changed).save(file, "PNG")
            yield sign_pair(
                Item("image", "image/png", file.getvalue()),
                Item("text", "text/plain", source.b.read()),
                private_key=KEY,
                domain=network.domain,
                network_id=network.network_id,
                nonce=secrets.token_bytes(32),
                expiry=int(time.time()) + 3600,
                license="CC0-1.0",
            )


async def fill(service: Service, url: str, pairs: Iterator[SignedPair], wanted: int) -> int:
    """Send pairs until as many as wanted are accepted, and return how many were sent."""
    sent = 0
    async with ValidatorClient(url) as client:
        while sum(1 for _ in service.store.accepted()) < wanted:
            batch = [next(pairs) for _ in range(CONNECTIONS)]
            await asyncio.gather(*(client.post_pair(one.encode()) for one in batch))
            sent += len(batch)
            if sent > 20 * wanted:
                raise RuntimeError(f"of {sent} pairs too few were accepted")
    return sent


async def use(url: str, pairs: Iterator[SignedPair], is_over: Callable[[int], bool]) -> Waits:
    """Send pairs and searches until ``is_over`` says so of the number of pairs sent."""
    waits = Waits([], [])

    async def send() -> None:
        async with ValidatorClient(url) as client:
            while not is_over(len(waits.pairs)):
                body = next(pairs).encode()
                started = time.perf_counter()
                await client.post_pair(body)
                waits.pairs.append(time.perf_counter() - started)

    async def search(sender: asyncio.Task[None]) -> None:
        async with ValidatorClient(url) as client:
            while not sender.done():
                started = time.perf_counter()
                answer = await client.query("text", "text/plain", b"three", "image", 10)
                waits.searches.append(time.perf_counter() - started)
                if not answer.found:
                    raise RuntimeError("a search found nothing")

    sender = asyncio.create_task(send())
    await asyncio.gather(sender, search(sender))
    return waits


def make_child(service: Service, folder: Path) -> Path:
    """Return a checkpoint with the same weights whose parent is the one in force."""
    genesis = load(GENESIS)
    manifest = replace(genesis.manifest, parent=service.embedder.checkpoint.hex())
    model = (GENESIS / MODEL).read_bytes()
    save(folder, manifest=manifest, model=model, anchors=genesis.anchors, card="for measuring")
    return folder


async def measure(accepted: int, switches: int, folder: Path) -> dict[str, object]:
    """Return the figures."""
    config = ValidatorConfig(
        data_dir=folder / "v",
        port=0,
        decode_workers=1,
        queries_per_minute=0,
        bytes_per_hour=0,
        work_per_hour=0,
        genesis=GENESIS,
    )
    service = await build(ServiceSettings(config))
    runner = await listen(service)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with ValidatorClient(url, patience_s=600, timeout_s=600) as client:
            pairs = make_pairs(await client.network())
            sent = await fill(service, url, pairs, accepted)
            idle_pairs = max(20, accepted // 2)
            await use(url, pairs, lambda done: done >= 20)  # warm
            idle = await use(url, pairs, lambda done: done >= idle_pairs)
            during, taken, reindexed = Waits([], []), [], []
            for number in range(switches):
                child = await asyncio.to_thread(make_child, service, folder / f"child-{number:d}")
                started = time.perf_counter()
                order = client.switch_checkpoint(service.keys.admin_token, str(child), force=True)
                switching = asyncio.create_task(order)
                waits = await use(url, pairs, lambda _, switching=switching: switching.done())  # type: ignore[misc]
                report = await switching
                taken.append(time.perf_counter() - started)
                reindexed.append(report.reindexed)
                during.pairs.extend(waits.pairs)
                during.searches.extend(waits.searches)
    finally:
        await runner.cleanup()
    return {
        "sent_before": sent,
        "embedded_again": reindexed,
        "switch_s": [round(one, 2) for one in taken],
        "pair": compare(idle.pairs, during.pairs),
        "search": compare(idle.searches, during.searches),
    }


def compare(idle: list[float], during: list[float]) -> dict[str, float]:
    """Return medians and longest in milliseconds, and the ratios of what it is during a switch to idle."""
    half, whole = median(during) / median(idle), max(during) / median(idle)
    return {
        "idle": len(idle),
        "idle_median_ms": round(1000 * median(idle), 2),
        "idle_longest_ms": round(1000 * max(idle), 2),
        "during": len(during),
        "during_median_ms": round(1000 * median(during), 2),
        "during_longest_ms": round(1000 * max(during), 2),
        "median_ratio": round(half, 2),
        "longest_to_idle_median": round(whole, 1),
        "longest_ratio": round(max(during) / max(idle), 2),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table of the figures, and write them to a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.switch", description=__doc__)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--switches", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    logging.getLogger("validator").setLevel(logging.ERROR)  # it says of every switch that it was forced
    with tempfile.TemporaryDirectory(prefix="curiosity-switch-") as folder:
        figures = asyncio.run(measure(given.pairs, given.switches, Path(folder)))
    print(f"switches took {figures['switch_s']} s and embedded {figures['embedded_again']} pairs again")
    print(f"{'':8}{'':>8}{'number':>9}{'median ms':>11}{'longest ms':>12}")
    for name in ("pair", "search"):
        row = figures[name]
        assert isinstance(row, dict)
        for when in ("idle", "during"):
            print(f"{name:8}{when:>8}{row[when]:9}{row[f'{when}_median_ms']:11}{row[f'{when}_longest_ms']:12}")
        print(f"{'':8}{'ratio':>8}{'':9}{row['median_ratio']:11}{row['longest_ratio']:12}")
    if given.json is not None:
        command = "python -m benchmarks.switch --json FILE"
        given.json.write_text(json.dumps({"command": command} | figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
