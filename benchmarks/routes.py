"""What each route costs for the bytes that it is sent: ``python -m benchmarks.routes --json FILE``.

A real validator, its decode workers included, and raw requests to it. Of each request: bytes sent, processor seconds of
all its processes (and of the client, which lives in the same one), and how much memory they took at most. Each route
is asked what an honest client asks, and what an attacker would: the largest pages, forged bodies, items that are small
and dear to unpack, on both sides of the budget. The last column is the attacker's seconds, less those of three honest
requests of the same run, for each MB sent. With ``--no-defence`` the budgets are off: what the same items cost then.
"""

import argparse
import asyncio
import io
import json
import os
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from benchmarks import dear
from curiosity.embedding.checkpoint import MODEL
from curiosity.embedding.work import Budget, measure
from curiosity.host.settings.chain import ChainSettings
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.protocol.messages import Network
from curiosity.protocol.pair import Item, SignedPair, sign_pair
from curiosity.protocol.wire import parse
from validator.app import build, listen
from validator.config import ServiceSettings
from validator.service import Service

MOST_CPU_S_PER_MB = 20.0
_REPEATS = 7
_KEY = b"\x0c" * 32
_OFF = (10**15, 0, 10**15)


@dataclass(frozen=True)
class Ask:
    """One kind of request: ``make`` returns it as bytes, anew each time. An attack is compared with ``honest``."""

    route: str
    what: str
    make: Callable[[], bytes]
    is_attack: bool = False


@dataclass(frozen=True)
class Row:
    """What a kind of request cost: bytes sent, median processor seconds, most MiB of memory beyond those before."""

    route: str
    what: str
    status: int
    bytes_in: int
    cpu_s: float
    memory_mib: float
    cpu_s_per_mb_beyond_three_honest: float | None


def picture(seed: int = 0) -> bytes:
    """Return an ordinary picture: 640 x 480, smooth with some noise, about 60 KB of JPEG."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:480, 0:640]
    shade = 128 + 80 * np.sin(rows / 50 + seed) * np.cos(columns / 70)
    pixels = (shade[..., None] + rng.normal(0, 10, (480, 640, 3))).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=75)
    return buffer.getvalue()


def sound() -> bytes:
    """Return three seconds of a noisy tone at 16 kHz."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.2 * np.sin(np.arange(48_000) / 9) + rng.normal(0, 0.05, 48_000), 16_000, format="WAV")
    return buffer.getvalue()


def request(method: str, path: str, body: bytes = b"", *fields: str) -> bytes:
    """Return one request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: v", f"Content-Length: {len(body)}", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def largest_within(budget: Budget, modality: str, media_type: str, make: Callable[[int], bytes], most: int) -> bytes:
    """Return the dearest item of a kind that a budget allows: ``make`` grows with its number, at most ``most``."""
    low, high = 1, most
    while low < high:
        middle = (low + high + 1) // 2
        data = make(middle)
        if measure(modality, data, media_type) <= budget.units(len(data)):
            low = middle
        else:
            high = middle - 1
    return make(low)


class Meter:
    """Sends requests to a service in this process and weighs them."""

    def __init__(self, service: Service, address: tuple[str, int]) -> None:
        self._service = service
        self._address = address

    async def weigh(self, ask: Ask) -> Row:
        """Send one kind of request several times, one after another."""
        seconds, grown, status, size = [], [], 0, 0
        for _ in range(_REPEATS):
            data = ask.make()
            before_mib = self._start_peaks()
            started = self._processor_s()
            status = await self._send(data)
            seconds.append(self._processor_s() - started)
            grown.append(self._peaks_mib() - before_mib)
            size = len(data)
        return Row(ask.route, ask.what, status, size, statistics.median(seconds), round(max(grown), 1), None)

    async def _send(self, data: bytes) -> int:
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            writer.write(data)
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].split()[0])
            await reader.readexactly(length)
        finally:
            writer.close()
        return int(head.split()[1])

    def _processor_s(self) -> float:
        """Return the processor time of this process to the microsecond, and of the workers as the scheduler counts it.

        The scheduler's account is in nanoseconds.
        """
        workers = (Path(f"/proc/{pid}/schedstat").read_text() for pid in self._service.decoder.pids)
        return time.process_time() + sum(int(line.split()[0]) for line in workers) / 1e9

    def _start_peaks(self) -> float:
        for pid in (os.getpid(), *self._service.decoder.pids):
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        return self._peaks_mib()

    def _peaks_mib(self) -> float:
        total = 0
        for pid in (os.getpid(), *self._service.decoder.pids):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
        return total / 1024


def asks(service: Service, network: Network, first: SignedPair) -> Iterator[Ask]:
    """Yield every route, honest and hostile; of one route the honest requests come first."""

    def signed(a: Item, b: Item) -> SignedPair:
        return sign_pair(
            a,
            b,
            private_key=_KEY,
            domain=network.domain,
            network_id=network.network_id,
            nonce=secrets.token_bytes(32),
            expiry=int(time.time()) + 3600,
            license="CC0-1.0",
        )

    def pair(a: Item, b: Item) -> Callable[[], bytes]:
        return lambda: request("POST", "/v1/pairs", signed(a, b).encode())

    def query(modality: str, media_type: str, data: bytes) -> Callable[[], bytes]:
        path = f"/v1/query?modality={modality}&to=image"
        return lambda: request("POST", path, data, f"Content-Type: {media_type}")

    def get(path: str, *fields: str) -> Callable[[], bytes]:
        return lambda: request("GET", path, b"", *fields)

    words = Item("text", "text/plain", b"waves of light")
    chance = iter(range(1, 10**6))
    pairs, searches = "POST /v1/pairs", "POST /v1/query"
    yield Ask(
        pairs,
        "an ordinary picture and its caption",
        lambda: pair(Item("image", "image/jpeg", picture(next(chance))), words)(),
    )
    yield Ask(searches, "an ordinary picture", query("image", "image/jpeg", picture()))
    for name, (modality, media_type, make, most) in dear.growing().items():
        kind = service.embedder.modalities
        if modality not in kind:
            continue
        for route, budget in (
            (pairs, service.settings.validator.pair_budget),
            (searches, service.settings.validator.search_budget),
        ):
            within = largest_within(Budget(*budget), modality, media_type, make, most)
            beyond = make(most)
            for what, data in ((f"{name}, the dearest within the budget", within), (f"{name}, beyond it", beyond)):
                ask = (
                    query(modality, media_type, data)
                    if route == searches
                    else pair(Item(modality, media_type, data), words)
                )
                yield Ask(route, what, ask, is_attack=True)
    noise = Item("image", "image/png", os.urandom(4 << 20))
    other = signed(noise, words)
    forged = replace(signed(noise, words), envelope=replace(other.envelope, signature=first.envelope.signature))
    yield Ask(pairs, "4 MiB that nobody signed", lambda: request("POST", "/v1/pairs", forged.encode()), is_attack=True)
    yield Ask(pairs, "4 MiB of noise, signed", pair(noise, words), is_attack=True)
    yield Ask(searches, "4 MiB of noise", query("image", "image/png", noise.data), is_attack=True)
    yield Ask(searches, "a long text", query("text", "text/plain", ("ab " * 1_333).encode()), is_attack=True)
    yield Ask(
        searches,
        "4,000 combining marks",
        query("text", "text/plain", ("a" + "\u0301\u0316" * 1_990).encode()),
        is_attack=True,
    )
    yield Ask(
        searches, "100 results", lambda: request("POST", "/v1/query?modality=text&to=image&k=100", b"a"), is_attack=True
    )
    digest, size = f"0x{first.envelope.submission.digest(network.domain).hex()}", service.ledger.size
    checkpoint = f"0x{service.embedder.checkpoint.hex()}"
    account, item = f"0x{first.envelope.submission.contributor.hex()}", f"0x{first.a.digest.hex()}"
    for path, hostile in (
        ("/health", "/health"),
        ("/metrics", "/metrics"),
        ("/openapi.json", "/openapi.json"),
        ("/v1/network", "/v1/network"),
        (f"/v1/receipts/{digest}", f"/v1/receipts/0x{'0' * 64}"),
        ("/v1/entries?start=0&count=100", "/v1/entries?start=0&count=1000000"),
        ("/v1/submissions?start=0&count=100", "/v1/submissions?start=0&count=1000000"),
        ("/checkpoint", "/checkpoint"),
        ("/v1/checkpoint/cosigned", "/v1/checkpoint/cosigned"),
        ("/v1/proof/tlog?index=1", f"/v1/proof/tlog?index={size - 1}"),
        (f"/tile/entries/000.p/{size}", f"/tile/entries/000.p/{size}"),
        (f"/tile/0/000.p/{size}", f"/tile/0/000.p/{size - 1}"),
        ("/v1/witnesses", "/v1/witnesses"),
        (f"/v1/proof/inclusion?index=1&size={size}", f"/v1/proof/inclusion?index=0&size={size - 1}"),
        (f"/v1/proof/consistency?first=1&size={size}", f"/v1/proof/consistency?first=3&size={size - 1}"),
        (f"/v1/checkpoints/{checkpoint}/{MODEL}", f"/v1/checkpoints/{checkpoint}/{'a' * 3_000}"),
        (f"/v1/items/{item}", f"/v1/items/0x{'f' * 64}"),
        (f"/v1/claims/{account}", f"/v1/claims/0x{'0' * 40}?first=1"),
        ("/v1/epochs/1/leaves", "/v1/epochs/999999999999999/leaves"),
        ("/v1/attestation", "/v1/attestation"),
        ("/v1/admin/blocked", "/v1/admin/blocked"),
        ("/no/such/route", "/" + "a" * 3_000),
    ):
        route = (
            f"GET {path.partition('?')[0]}".replace(digest, "{pair}")
            .replace(checkpoint, "{digest}")
            .replace(account, "{account}")
            .replace(item, "{sha256}")
        )
        yield Ask(route, path.partition("?")[2] or "as it is", get(path))
        yield Ask(route, "the dearest", get(hostile, "Accept-Encoding: gzip"), is_attack=True)
    for path, most in (
        ("/v1/attestation", 1_024),
        ("/v1/items", 16_000),
        ("/v1/takedowns", 16_000),
        ("/v1/admin/epochs", 16_000),
        ("/v1/admin/expiries", 16_000),
        ("/v1/admin/checkpoints", 16_000),
        ("/v1/admin/rules", 16_000),
        ("/v1/admin/blocked-items", 16_000),
    ):
        yield Ask(f"POST {path}", "an empty object", lambda path=path: request("POST", path, b"{}"))  # type: ignore[misc]
        deep = b"[" * (most // 2) + b"]" * (most // 2)
        yield Ask(f"POST {path}", "brackets", lambda path=path, deep=deep: request("POST", path, deep), is_attack=True)  # type: ignore[misc]


async def run(folder: Path, *, has_defence: bool) -> list[Row]:
    """Start a validator with some pairs in its ledger, and weigh every kind of request."""
    config = ValidatorConfig(
        rule2_epoch=0, data_dir=folder, port=0, decode_workers=1, queries_per_minute=0, genesis=Path("tiny")
    )
    off = {} if has_defence else {"pair_budget": _OFF, "search_budget": _OFF}
    service = await build(ServiceSettings(config, ChainSettings()))
    runner = await listen(service)
    address = ("127.0.0.1", int(runner.addresses[0][1]))
    meter = Meter(service, address)
    try:
        network = await _network(address)
        first = None
        for seed in range(40):
            a, b = (
                Item("image", "image/jpeg", picture(1_000 + seed)),
                Item("text", "text/plain", b"waves of light %d" % seed),
            )
            one = sign_pair(
                a, b, private_key=_KEY, domain=network.domain, network_id=network.network_id,
                nonce=secrets.token_bytes(32), expiry=int(time.time()) + 3600, license="CC0-1.0",
            )  # fmt: skip
            await service.pipeline.validate(one.encode())
            first = first or one
        await service.epochs.close()
        assert first is not None
        every = list(asks(service, network, first))
        if off:  # what is asked is chosen under the budgets that are in force by default
            service.pipeline._budget = service.search._budget = Budget(*_OFF)
            every = [ask for ask in every if ask.route in ("POST /v1/pairs", "POST /v1/query")]
        rows: list[Row] = []
        for ask in every:
            row = await meter.weigh(ask)
            if ask.is_attack:
                honest = next(one for one in rows if one.route == ask.route)
                beyond = max(0.0, row.cpu_s - 3 * honest.cpu_s) / row.bytes_in * 1e6
                row = replace(row, cpu_s_per_mb_beyond_three_honest=round(beyond, 2))
            rows.append(replace(row, cpu_s=round(row.cpu_s, 5)))
            print(_line(rows[-1]), flush=True)
        return rows
    finally:
        await runner.cleanup()


async def _network(address: tuple[str, int]) -> Network:
    reader, writer = await asyncio.open_connection(*address)
    writer.write(request("GET", "/v1/network", b"", "Connection: close"))
    answer = await reader.read()
    writer.close()
    return parse(Network, answer.partition(b"\r\n\r\n")[2])


def _line(row: Row) -> str:
    beyond = row.cpu_s_per_mb_beyond_three_honest
    return (
        f"{row.route[:34]:34} {row.what[:44]:44} {row.status} {row.bytes_in:9} B {1000 * row.cpu_s:8.2f} ms "
        f"{row.memory_mib:7.1f} MiB {'honest' if beyond is None else format(beyond, '8.2f')}"
    )


def main() -> None:
    """Measure, print the table, write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--no-defence", action="store_true", help="budgets off")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = asyncio.run(run(Path(name), has_defence=not arguments.no_defence))
    worst = max(
        (row for row in rows if row.cpu_s_per_mb_beyond_three_honest is not None),
        key=lambda row: row.cpu_s_per_mb_beyond_three_honest or 0.0,
    )
    figures = {
        "most_cpu_s_per_mb": MOST_CPU_S_PER_MB,
        "worst_cpu_s_per_mb": worst.cpu_s_per_mb_beyond_three_honest,
        "worst": f"{worst.route}, {worst.what}",
        "rows": [asdict(row) for row in rows],
    }
    print(f"worst: {figures['worst_cpu_s_per_mb']} CPU s per MB beyond three honest requests: {figures['worst']}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
