"""What a validator takes in over HTTP for a second of its processor time, on a machine without a device.

    python -m benchmarks.ledger_ingest [--pairs N] [--rounds N] [--connections N] [--runs N] [--json FILE]

A real validator in a process of its own (`validator.app`: HTTP, intake, group commit into the real store, receipts),
except that decoder, encoders and judge are ones that cost nothing and give every pair the same verdict: they are passed
to the constructors that take the real ones (`benchmarks.fixed_verdict`), and nothing is patched. Beside it, in another
process, the plainest handler of the same HTTP library that reads the same body and answers "ok". This process is the
client of both, over connections that stay open; rounds alternate and each figure is their median; every body is sent to
each of them once, and nobody's processor time but the server's counts: user and system time of all its threads. Each
answer is checked once the clock has stopped.

`ingest_ratio_bound` is the ratio that a validator would reach whose only costs beyond the bare handler were to hash the
body once, to recover the contributor's signature and to issue the receipt in a batch of as many as there are
connections, each measured in the same run.
"""

import argparse
import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from aiohttp import web

from benchmarks.ledger_recovery import measure_recovery, per_cpu_s
from curiosity.protocol.merkle import leaf_hash
from curiosity.protocol.messages import Decision, Network
from curiosity.protocol.pair import Item, SignedPair, sign_pair
from curiosity.protocol.receipt import issue_receipts, verify_receipt
from curiosity.protocol.tlog import Signer
from curiosity.protocol.verdict import Outcome, Reason, Verdict
from curiosity.protocol.wire import parse

BODY_BYTES = 80_000
_CAPTION = b"what is to be seen in picture %08d"
_WALLETS = 32
_CPUCLOCK_SCHED = 2  # clock_getcpuclockid(3): a process's clock is (~pid << 3) | 2


# -- the servers, each in a process of its own


def _serve_bare(pipe: Connection, _folder: str) -> None:
    async def read(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=b"ok")

    async def serve() -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/v1/pairs", read)
        runner = web.AppRunner(app, auto_decompress=False, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        await _until_told(pipe, runner.addresses[0][1])
        await runner.cleanup()

    asyncio.run(serve())


def _serve_validator(pipe: Connection, folder: str) -> None:
    from benchmarks.fixed_verdict import build_fixed
    from curiosity.host.settings.validator import ValidatorConfig
    from validator.app import listen, settle_memory
    from validator.config import ServiceSettings

    fixed = Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, bytes(32))

    async def serve() -> None:
        config = ValidatorConfig(data_dir=Path(folder), port=0, decode_workers=1, genesis=Path("tiny"))
        runner = await listen(await build_fixed(ServiceSettings(config), fixed))
        settle_memory()
        await _until_told(pipe, runner.addresses[0][1])
        await runner.cleanup()

    asyncio.run(serve())


async def _until_told(pipe: Connection, port: int) -> None:
    pipe.send(port)
    told = asyncio.Event()
    asyncio.get_running_loop().add_reader(pipe.fileno(), told.set)
    await told.wait()


@dataclass
class _Server:
    """A server process: where it listens, and what it has used."""

    pid: int
    port: int

    def cpu_s(self) -> float:
        """Return user and system time of all threads of the process so far, in seconds."""
        return time.clock_gettime((~self.pid << 3) | _CPUCLOCK_SCHED)


def _start(serve: Callable[[Connection, str], None], folder: Path) -> tuple[_Server, Callable[[], None]]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, str(folder)))
    process.start()
    assert process.pid is not None
    theirs.close()
    port = ours.recv()

    def stop() -> None:
        ours.send(None)
        process.join(30)
        if process.is_alive():
            process.terminate()

    return _Server(process.pid, port), stop


# -- the client


class _Sender(asyncio.Protocol):
    """One connection that stays open: sends the next body as soon as the last one is answered."""

    def __init__(self, bodies: Iterator[tuple[int, bytes]], answers: dict[int, tuple[int, bytes]]) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bodies = bodies
        self._answers = answers
        self._number = 0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def _send(self) -> None:
        following = next(self._bodies, None)
        if following is None:
            self._transport.close()
            self.done.set_result(None)
            return
        self._number, body = following
        head = b"POST /v1/pairs HTTP/1.1\r\nHost: validator\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._transport.writelines((head, body))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        fields = head.lower().split(b"\r\n")
        length = next(int(field[15:]) for field in fields if field.startswith(b"content-length:"))
        if len(body) < length:
            return
        self._answers[self._number] = (int(fields[0].split()[1]), body[:length])
        self._buffer = body[length:]
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the server hung up"))


async def _send_all(port: int, bodies: Sequence[bytes], connections: int) -> dict[int, tuple[int, bytes]]:
    """Send every body once; return status and content of each answer."""
    answers: dict[int, tuple[int, bytes]] = {}
    loop = asyncio.get_running_loop()
    queue = iter(enumerate(bodies))
    senders = [
        (await loop.create_connection(lambda: _Sender(queue, answers), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    await asyncio.gather(*(sender.done for sender in senders))
    return answers


# -- what is measured


def make_bodies(count: int, network: Network, body_bytes: int = BODY_BYTES) -> list[SignedPair]:
    """Return signed pairs whose request body has about ``body_bytes`` bytes, no two with a content in common."""
    wallets = [sha256(b"wallet %d" % number).digest() for number in range(_WALLETS)]
    expiry = int(time.time()) + 3600
    return [
        sign_pair(
            Item("image", "image/png", secrets.token_bytes(body_bytes - 850)),
            Item("text", "text/plain", _CAPTION % number),
            private_key=wallets[number % _WALLETS],
            domain=network.domain,
            network_id=network.network_id,
            nonce=secrets.token_bytes(32),
            expiry=expiry,
            license="CC0-1.0",
        )
        for number in range(count)
    ]


def _measure_floor(bodies: Sequence[bytes], recover_per_cpu_s: float, batch: int) -> dict[str, float]:
    """Return what hashing, recovering and a receipt of a batch cost for one pair, in microseconds of processor time."""
    signer = Signer("floor", bytes(32))
    leaves = [b"{}" * 300] * batch
    hashes = [leaf_hash(leaf) for leaf in leaves]
    batches = max(1, len(bodies) // batch)
    hashing = per_cpu_s(lambda: [sha256(body).digest() for body in bodies], len(bodies))
    signing = per_cpu_s(
        lambda: [issue_receipts(leaves, hashes, 1, "floor", 1, signer) for _ in range(batches)], batches * batch
    )
    return {
        "hash_us": 1e6 / hashing,
        "recover_us": 1e6 / recover_per_cpu_s,
        "receipt_us": 1e6 / signing,
    }


def check_answers(answers: dict[int, tuple[int, bytes]], pairs: Sequence[SignedPair], network: Network) -> list[int]:
    """Return the index of every pair's entry.

    Raises:
        RuntimeError: Unless each answer holds a receipt of its pair.
    """
    indices = []
    for number, pair in enumerate(pairs):
        status, body = answers[number]
        if status != 200:
            raise RuntimeError(f"pair {number} was answered with {status}: {body[:200]!r}")
        receipt = parse(Decision, body).receipt
        entry = verify_receipt(receipt, network.origin, network.receipt_vkey).entry
        if getattr(entry, "pair", b"") != pair.envelope.submission.digest(network.domain):
            raise RuntimeError(f"the receipt of pair {number} is another pair's")
        indices.append(receipt.index)
    return indices


def measure_ingest(
    pairs: int = 4000, rounds: int = 4, connections: int = 64, folder: Path | None = None
) -> dict[str, float]:
    """Return the figures of docs at the top of this module; ``pairs`` is the number of all rounds together.

    Raises:
        RuntimeError: If an answer is wrong: nothing is reported of a server that does not do its work.
    """
    with tempfile.TemporaryDirectory(prefix="ingest-", dir=folder) as made:
        bare, stop_bare = _start(_serve_bare, Path(made))
        validator, stop_validator = _start(_serve_validator, Path(made) / "validator")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{validator.port}/v1/network") as answer:
                network = parse(Network, answer.read())
            signed = make_bodies(pairs, network)
            figures = asyncio.run(_alternate(bare, validator, signed, network, rounds, connections))
        finally:
            stop_validator()
            stop_bare()
    return figures


def measure_often(
    times: int, pairs: int = 4000, rounds: int = 4, connections: int = 64, folder: Path | None = None
) -> dict[str, float]:
    """Return the figures of the run in the middle of so many, each with new processes, and what all of them spanned.

    Two processes of the same code differ by a tenth and more: by how their memory came to lie, and by who else uses the
    machine's caches just then.
    """
    runs = [measure_ingest(pairs, rounds, connections, folder) for _ in range(times)]
    runs.sort(key=lambda figures: figures["ingest_per_cpu_s"])
    return runs[times // 2] | {
        "ingest_runs": times,
        "ingest_per_cpu_s_lowest": runs[0]["ingest_per_cpu_s"],
        "ingest_per_cpu_s_highest": runs[-1]["ingest_per_cpu_s"],
    }


async def _alternate(
    bare: _Server, validator: _Server, signed: Sequence[SignedPair], network: Network, rounds: int, connections: int
) -> dict[str, float]:
    bodies = [pair.encode() for pair in signed]
    spent: dict[str, list[float]] = {"bare": [], "validator": []}
    indices: list[int] = []
    wall_s = 0.0
    share = len(bodies) // rounds
    # What a process does only once (caches, pools, the first growth of the heap) is in neither figure.
    warm = make_bodies(2 * connections, network)
    for server in (bare, validator):
        await _send_all(server.port, [pair.encode() for pair in warm], connections)
    for number in range(rounds):
        part = slice(number * share, (number + 1) * share)
        for name, server in (("bare", bare), ("validator", validator)):
            before, started = server.cpu_s(), time.monotonic()
            answers = await _send_all(server.port, bodies[part], connections)
            spent[name].append(server.cpu_s() - before)
            if name == "validator":
                wall_s += time.monotonic() - started
                indices += check_answers(answers, signed[part], network)
    if sorted(indices) != list(range(min(indices), min(indices) + share * rounds)):
        raise RuntimeError("the entries of the pairs do not follow one another")
    bare_s, validator_s = median(spent["bare"]) / share, median(spent["validator"]) / share
    recovery = measure_recovery([pair.envelope for pair in signed], network.domain)
    floor = _measure_floor(bodies[:1000], recovery["recover_per_cpu_s"], connections)
    return {
        "ingest_per_cpu_s": 1 / validator_s,
        "bare_handler_per_cpu_s": 1 / bare_s,
        "ingest_ratio": bare_s / validator_s,
        "ingest_ratio_bound": bare_s / (bare_s + 1e-6 * sum(floor.values())),
        "ingest_per_wall_s": share * rounds / wall_s,
        "bare_us": 1e6 * bare_s,
        "ingest_us": 1e6 * validator_s,
        "rest_us": 1e6 * (validator_s - bare_s) - sum(floor.values()),  # store, JSON, judging order, metrics
        "pairs": share * rounds,
        "rounds": rounds,
        "connections": connections,
        "body_bytes": len(bodies[0]),
        "load_average": os.getloadavg()[0],  # who else uses the machine makes every figure but the crypto's worse
        **floor,
        **recovery,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write the JSON. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--runs", type=int, default=1, help="with new processes each; the one in the middle counts")
    parser.add_argument("--json", type=Path, dest="json_path")
    options = parser.parse_args(arguments)
    figures = measure_often(options.runs, options.pairs, options.rounds, options.connections)
    text = json.dumps({name: round(value, 4) for name, value in figures.items()}, indent=2)
    print(
        "Decoding, embedding and judging are replaced by a fixed verdict; everything else is the validator that serves."
    )
    print(text)
    if options.json_path is not None:
        options.json_path.write_text(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
