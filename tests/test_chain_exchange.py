"""An endpoint that is large, slow or compressed holds nobody up, in its head or in its body."""

import socket
import threading
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests

from curiosity.chain.chain import ChainConfig
from curiosity.chain.evm.answers import AnswerError
from curiosity.chain.evm.connection import Connection
from curiosity.chain.evm.endpoints import Endpoints
from curiosity.chain.evm.exchange import MAX_ANSWER_BYTES, Exchanges
from curiosity.protocol.errors import ChainError
from tests.material.rpc import BLOCK, OddEndpoint
from tests.material.waiting import PATIENCE_S

Answer = Callable[[socket.socket], None]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def read_request(connection: socket.socket) -> bytes:
    """Read one request whole, since hanging up on what is unread resets the connection; empty at the end."""
    file = connection.makefile("rb")
    length = 0
    start = line = file.readline()
    while line.strip():
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
        line = file.readline()
    file.read(length)
    return start


@contextmanager
def endpoint(answer: Answer, *, keep: bool = False) -> Iterator[str]:
    """A server that reads a request, says what ``answer`` says, and hangs up, or with ``keep`` reads the next."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve_one(connection: socket.socket) -> None:
        with connection:
            try:
                while read_request(connection):
                    answer(connection)
                    if not keep:
                        return
            except OSError:
                return

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve_one, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def drip(start: bytes, each: bytes) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:  # until the other side hangs up
            connection.sendall(each)
            time.sleep(0.1)

    return answer


DRIPS = {
    "status": drip(b"", b"H"),
    "interim answers": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "header": drip(HEAD + b"X: ", b"x"),
    "headers": drip(HEAD, b"X: x\r\n"),
    "body": drip(HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "body of a connection that closes": drip(HEAD + b"Connection: close\r\nContent-Length: 100000\r\n\r\n", b" "),
    "body without a length": drip(HEAD + b"Connection: close\r\n\r\n", b" "),
    "chunks": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "line of a chunk": drip(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1"),
}


@pytest.mark.parametrize("name", DRIPS)
def test_the_time_is_that_of_the_whole_answer(name: str) -> None:
    with endpoint(DRIPS[name]) as url, pytest.raises(requests.RequestException):
        Exchanges(url, 1.0).post(b"{}", {})


def test_a_time_per_read_never_ends() -> None:
    """The other arm: what ``requests`` limits by itself goes on for as long as the other side sends."""
    sent = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: 20\r\n\r\n")
        for _ in range(20):
            connection.sendall(b" ")
            time.sleep(0.2)
        sent.set()

    with endpoint(answer) as url:
        assert len(requests.post(url, data=b"{}", timeout=1.0).content) == 20
        assert sent.wait(PATIENCE_S)


def test_connections_are_kept_and_no_alarm_reaches_the_next_request() -> None:
    used = []

    def answer(connection: socket.socket) -> None:
        used.append(connection.getpeername())
        body = b'{"jsonrpc":"2.0","id":0,"result":"0x5"}'
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    with endpoint(answer, keep=True) as url:
        connection = Connection(url, 1.0)
        end = time.monotonic() + 2.5
        while time.monotonic() < end:  # beyond the time of the first
            assert connection.chain_id() == 5
            time.sleep(0.05)
    assert len(set(used)) == 1


def squeeze(mebibytes: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(b'{"jsonrpc":"2.0","id":0,"result":"0x')]
    parts += [packer.compress(b"0" * (1 << 20)) for _ in range(mebibytes)]
    return b"".join([*parts, packer.compress(b'"}'), packer.flush()])


def peak_bytes(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_a_compressed_answer_is_not_unpacked() -> None:
    body = squeeze(128)
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)

    def refused(url: str) -> None:
        with pytest.raises(ChainError, match="compressed"):
            Connection(url, PATIENCE_S).chain_id()

    with endpoint(lambda connection: connection.sendall(head + body)) as url:
        assert peak_bytes(lambda: refused(url)) < 8 << 20
        assert (
            peak_bytes(lambda: requests.post(url, data=b"{}", timeout=PATIENCE_S).content) > 128 << 20
        )  # the other arm


@pytest.mark.parametrize("length", [b"Content-Length: 1073741824\r\n", b""])
def test_a_long_answer_is_read_up_to_its_limit(length: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Connection: close\r\n" + length + b"\r\n")
        for _ in range(1024):
            connection.sendall(bytes(1 << 20))

    def refused(url: str) -> None:
        with pytest.raises(AnswerError, match="longer than"):
            Exchanges(url, PATIENCE_S).post(b"{}", {})

    with endpoint(answer) as url:
        assert peak_bytes(lambda: refused(url)) < 3 * MAX_ANSWER_BYTES


def test_one_slow_endpoint_of_three_rests_and_the_others_decide() -> None:
    with OddEndpoint() as one, OddEndpoint() as other, endpoint(DRIPS["body"]) as slow:
        for odd in (one, other):
            odd.results |= {"eth_maxPriorityFeePerGas": "0x1", "eth_getBlockByNumber": BLOCK, "eth_chainId": "0x7a69"}
        config = ChainConfig(one.url, 31337, None, request_timeout_s=1.0, other_rpc_urls=(other.url, slow))
        endpoints = Endpoints(config)
        assert endpoints.fees().tip_wei == 1
        assert slow in endpoints._rests_until
