"""One request to an endpoint and its answer, within a time and a size, whatever the endpoint does.

``requests`` limits the time of each read, not of the answer: a byte now and then holds the caller for ever. It also
unpacks a compressed answer whole before anybody can count it: 1 MB became 1.5 GiB. Here the connection is shut when the
time is over, in its head as in its body, and what is compressed is not read.
"""

import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from curiosity.chain.evm.answers import AnswerError

MAX_ANSWER_BYTES: Final = 8 << 20
"""More than any answer that we ask for; a value of JSON may take forty times its bytes in memory."""

_STEP_BYTES: Final = 64 << 10
_current = threading.local()  # its ``alarm`` is that of the request which this thread is making


class Exchanges:
    """Requests to one URL, which may keep connections open between them. Safe to share between threads."""

    def __init__(self, url: str, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._session = requests.Session()
        adapter = _Adapter()
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

    def post(self, data: bytes, headers: Mapping[str, str]) -> bytes:
        """Return the body of the answer.

        Raises:
            requests.RequestException: No connection, no answer within the time, or an error status.
            AnswerError: The answer is compressed, or longer than `MAX_ANSWER_BYTES`.
        """
        alarm = _Alarm(self._timeout_s)
        _current.alarm = alarm
        try:
            body = self._exchange(data, {**headers, "Accept-Encoding": "identity"})
        except (requests.RequestException, HTTPError, OSError) as error:
            if alarm.has_rung:
                raise requests.Timeout("no whole answer within the time") from None
            if isinstance(error, requests.RequestException):
                raise
            raise requests.ConnectionError(type(error).__name__) from None
        finally:
            _current.alarm = None
            alarm.stop()
        if alarm.has_rung:  # an answer without a length ends where its connection does
            raise requests.Timeout("no whole answer within the time")
        return body

    def _exchange(self, data: bytes, headers: Mapping[str, str]) -> bytes:
        with self._session.post(
            self._url, data=data, headers=headers, timeout=self._timeout_s, stream=True
        ) as response:
            response.raise_for_status()
            encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
            if encoding not in ("", "identity"):
                raise AnswerError("the answer is compressed, which was not asked for")
            body = bytearray()
            while step := response.raw.read(_STEP_BYTES, decode_content=False):
                body += step
                if len(body) > MAX_ANSWER_BYTES:
                    raise AnswerError(f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
            return bytes(body)


class _Alarm:
    """Shuts the connection of a request when its time is over."""

    def __init__(self, after_s: float) -> None:
        self.has_rung = False
        self._connection: HTTPConnection | None = None
        self._socket: Any = None  # kept, because a connection that ends with its answer gives it away
        self._lock = threading.Lock()
        self._timer = threading.Timer(after_s, self._ring)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, connection: HTTPConnection) -> None:
        """Shut this connection from now on, at once if the time is over."""
        with self._lock:
            self._connection = connection
            self._socket = connection.sock
        if self.has_rung:
            raise requests.Timeout("no whole answer within the time")

    def stop(self) -> None:
        """Leave the connection alone from now on: it may serve another request."""
        self._timer.cancel()
        with self._lock:
            self._connection = self._socket = None

    def _ring(self) -> None:
        with self._lock:
            self.has_rung = True
            current = self._socket or getattr(self._connection, "sock", None)
            if isinstance(current, socket.socket):
                with suppress(OSError):  # it is closed, or not connected yet
                    socket.socket.shutdown(current, socket.SHUT_RDWR)  # below TLS, which would wait for the other side


def _watch(connection: HTTPConnection) -> None:
    alarm: _Alarm | None = getattr(_current, "alarm", None)
    if alarm is not None:
        alarm.watch(connection)


class _Plain(HTTPConnection):
    def connect(self) -> None:
        _watch(self)
        super().connect()

    def request(self, *arguments: Any, **named: Any) -> None:
        _watch(self)
        super().request(*arguments, **named)

    def getresponse(self) -> Any:
        _watch(self)
        return super().getresponse()


class _Secure(HTTPSConnection):
    def connect(self) -> None:
        _watch(self)
        super().connect()

    def request(self, *arguments: Any, **named: Any) -> None:
        _watch(self)
        super().request(*arguments, **named)

    def getresponse(self) -> Any:
        _watch(self)
        return super().getresponse()


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class _Adapter(HTTPAdapter):
    """Connections of which the alarm of their request knows."""

    def init_poolmanager(self, *arguments: Any, **named: Any) -> None:
        super().init_poolmanager(*arguments, **named)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def proxy_manager_for(self, *arguments: Any, **named: Any) -> Any:
        manager = super().proxy_manager_for(*arguments, **named)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
        return manager
