"""Serving an application at an address, each connection under the guard (`curiosity.host.port.guard`)."""

import asyncio
import logging
import resource

from aiohttp import web

from curiosity.host.port.guard import Guard, GuardedConnection
from curiosity.host.port.refusal import refusing
from curiosity.protocol.errors import ConfigError

log = logging.getLogger(__name__)

_LINGERING_S = 2.0  # how long the rest of a refused body is read, so that its sender gets to see the answer
_OWN_FILES = 256  # databases, packs, pipes of worker processes


class GuardedSite(web.BaseSite):
    """Listens at a TCP address, each connection under the guard. Nothing that comes compressed is inflated."""

    __slots__ = ("_host", "_port", "guard")

    def __init__(self, runner: web.BaseRunner, guard: Guard, host: str, port: int) -> None:
        super().__init__(runner, backlog=1024)
        self.guard = guard
        self._host = host
        self._port = port

    @property
    def name(self) -> str:
        """The address as a URL."""
        return url_of(self._host, self._port)

    async def start(self) -> None:
        """Begin to listen.

        Raises:
            OSError: If the address cannot be used.
        """
        make_room_for_connections(self.guard.limits.max_connections)
        await super().start()
        loop = asyncio.get_running_loop()
        manager = self._runner.server
        assert manager is not None

        def connect() -> GuardedConnection:
            return GuardedConnection(
                self.guard,
                manager,
                loop=loop,
                access_log=None,
                auto_decompress=False,
                keepalive_timeout=self.guard.limits.idle_timeout_s,
                lingering_time=_LINGERING_S,
            )

        self._server = await loop.create_server(
            connect, self._host, self._port, backlog=self._backlog, reuse_address=True
        )


def url_of(host: str, port: int) -> str:
    """Return the URL of a listener: an IPv6 address stands in brackets, its zone after ``%25`` (RFC 3986, RFC 6874)."""
    return f"http://[{host.replace('%', '%25')}]:{port}" if ":" in host else f"http://{host}:{port}"


async def listen(app: web.Application, guard: Guard, host: str, port: int, section: str) -> web.AppRunner:
    """Serve an application at an address, each connection under the guard, and return its runner.

    ``section`` of the settings is where the port is set.

    Raises:
        ConfigError: PORT_TAKEN.
    """
    runner = web.AppRunner(app)
    await runner.setup()
    if runner.server is not None:
        runner.server.request_handler = refusing(runner.server.request_handler)
    try:
        await GuardedSite(runner, guard, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            "PORT_TAKEN",
            f"cannot listen on {url_of(host, port).removeprefix('http://')}: {error.strerror}",
            f"Stop the other program, or set [{section}] port (0 picks a free one).",
        ) from None
    return runner


def make_room_for_connections(connections: int) -> None:
    """Raise the process's limit of open files, as far as it may, to hold so many connections and our own files.

    Where that is not far enough a warning says so: the surplus connections would wait unaccepted.
    """
    needed = connections + _OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < needed:
            log.warning("event=few_files limit=%d needed=%d lower=max_connections", allowed, needed)
