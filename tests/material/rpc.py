"""A proxy in front of a real chain: loses answers, lies, is silent, or does something to the chain on the way.

And an endpoint without a chain, which answers whatever it was told to.
"""

import json
import threading
import urllib.request
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from tests.material.waiting import PATIENCE_S

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class _Quiet(BaseHTTPRequestHandler):
    def log_message(self, _format: str, *_arguments: Any) -> None:
        return


class _LocalServer:
    """A web server at ``url`` on a free port of this machine, which answers as long as the context lasts."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class RpcProxy(_LocalServer):
    """JSON-RPC over HTTP at ``url``, handed on to ``target``; a context manager.

    ``before`` is called with method and parameters before a request is handed on. ``alter`` turns (method, parameters,
    result) into the result that is answered. ``loses`` says of which methods the answer is lost once they were handed
    on. ``is_down`` cuts every connection. ``seen`` counts what was handed on, by method.
    """

    def __init__(self, target: str) -> None:
        self.target = target
        self.before: Callable[[str, list[Any]], None] | None = None
        self.alter: Callable[[str, list[Any], Any], Any] | None = None
        self.loses: Callable[[str], bool] = lambda _method: False
        self.is_down = False
        self.seen: dict[str, int] = {}
        proxy = self

        class Handler(_Quiet):
            def do_POST(self) -> None:
                proxy._hand_on(self)

        super().__init__(Handler)

    def _hand_on(self, handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True
        body = handler.rfile.read(int(handler.headers["Content-Length"]))
        if self.is_down:
            return
        request = json.loads(body)
        method, parameters = request["method"], request.get("params", [])
        if self.before is not None:
            self.before(method, parameters)
        onward = urllib.request.Request(self.target, body, {"Content-Type": "application/json"})
        with _OPENER.open(onward, timeout=PATIENCE_S) as reply:
            answer = json.load(reply)
        self.seen[method] = self.seen.get(method, 0) + 1
        if self.loses(method):
            return
        if self.alter is not None and "result" in answer:
            answer["result"] = self.alter(method, parameters, answer["result"])
        content = json.dumps(answer).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


BLOCK = {
    "number": "0x10", "hash": "0x" + "11" * 32, "parentHash": "0x" + "22" * 32, "miner": "0x" + "00" * 20,
    "extraData": "0x", "timestamp": "0x65000000", "transactions": [], "baseFeePerGas": "0x7",
}  # fmt: skip


class OddEndpoint(_LocalServer):
    """JSON-RPC at ``url`` that gives ``results`` by method, or an ``errors`` object, or the ``whole`` answer.

    What is asked and not named gets ``0x0``. ``asked`` are the methods in order, ``paths`` what else was fetched.
    """

    def __init__(self) -> None:
        self.results: dict[str, Any] = {"eth_chainId": "0x7a69", "eth_getBlockByNumber": BLOCK}
        self.errors: dict[str, Any] = {}
        self.whole: bytes | None = None
        self.asked: list[str] = []
        self.paths: list[str] = []
        odd = self

        class Handler(_Quiet):
            def do_GET(self) -> None:
                odd.paths.append(self.path)
                self.send_error(404)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if "method" not in body:
                    odd.paths.append(self.path)
                    self.send_error(404)
                    return
                odd.asked.append(body["method"])
                content = odd._answer(body["method"])
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        super().__init__(Handler)

    def _answer(self, method: str) -> bytes:
        if self.whole is not None:
            return self.whole
        head = {"jsonrpc": "2.0", "id": 0}
        if method in self.errors:
            return json.dumps(head | {"error": self.errors[method]}).encode()
        return json.dumps(head | {"result": self.results.get(method, "0x0")}).encode()
