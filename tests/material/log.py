"""A transparency log in memory, a fork of it at any entry in O(log n), and a web server for its tiles.

Hashes, proofs and tiles are made here by plain recursion from RFC 6962 section 2.1 and c2sp.org/tlog-tiles, so that the
tests compare our code with a second one.
"""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256

from aiohttp import web

from curiosity.protocol.tlog import Signer
from tests.material.rfc6962_plain import hash_children, hash_leaf

ORIGIN = "log.example/test"
LOG_SIGNER = Signer(ORIGIN, b"\x21" * 32)
LOG_VKEY = LOG_SIGNER.verifier.vkey()


def split(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


class Log:
    """Leaves ``leaf(0)`` to ``leaf(size - 1)``; complete subtrees are kept. ``signer`` signs heads of any size."""

    def __init__(
        self,
        size: int,
        leaf: Callable[[int], bytes] = lambda index: b"leaf %d" % index,
        *,
        origin: str = ORIGIN,
        signer: Signer = LOG_SIGNER,
    ) -> None:
        self.size, self.leaf, self.origin, self.signer = 0, leaf, origin, signer
        self._nodes: list[bytearray] = []
        self.grow(size)

    def grow(self, size: int) -> None:
        for index in range(self.size, size):
            hash_, level, place = hash_leaf(self.leaf(index)), 0, index
            while True:
                if level == len(self._nodes):
                    self._nodes.append(bytearray())
                self._nodes[level] += hash_
                if not place & 1:
                    break
                hash_ = hash_children(self.node(level, place - 1), hash_)
                level, place = level + 1, place >> 1
        self.size = max(self.size, size)

    def node(self, level: int, place: int) -> bytes:
        return bytes(self._nodes[level][32 * place : 32 * place + 32])

    def span(self, low: int, high: int) -> bytes:
        """MTH of leaves ``low`` to ``high - 1``; ``low`` is a multiple of the next power of two."""
        if low == high:
            return sha256(b"").digest()
        width = high - low
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self.node(level, low >> level)
        return hash_children(self.span(low, low + split(width)), self.span(low + split(width), high))

    def root(self, size: int | None = None) -> bytes:
        return self.span(0, self.size if size is None else size)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        def path(low: int, high: int) -> list[bytes]:
            if high - low == 1:
                return []
            middle = low + split(high - low)
            if index < middle:
                return [*path(low, middle), self.span(middle, high)]
            return [*path(middle, high), self.span(low, middle)]

        return path(0, size)

    def consistency(self, first: int, size: int) -> list[bytes]:
        def subproof(low: int, high: int, whole: bool) -> list[bytes]:
            if first == high:
                return [] if whole else [self.span(low, high)]
            middle = low + split(high - low)
            if first <= middle:
                return [*subproof(low, middle, whole), self.span(middle, high)]
            return [*subproof(middle, high, False), self.span(low, middle)]

        return subproof(0, size, True) if 0 < first < size else []

    def head(self, size: int | None = None, *extra: str) -> str:
        """A tree head signed by the log, its text made by hand."""
        size = self.size if size is None else size
        lines = [self.origin, str(size), base64.b64encode(self.root(size)).decode(), *extra]
        text = "".join(line + "\n" for line in lines)
        from curiosity.protocol.tlog import sign_note

        return sign_note(text, self.signer)

    def fork(self, index: int) -> "Fork":
        """The same log with another leaf at ``index``."""
        return Fork(self, index)


class Fork(Log):
    """A log that differs from ``base`` in one leaf; everything else is the base's."""

    def __init__(self, base: Log, index: int) -> None:
        self.base, self.index = base, index
        self.origin, self.signer, self.size = base.origin, base.signer, base.size
        self.leaf = lambda i: b"forged" if i == index else base.leaf(i)
        self._changed = {(0, index): hash_leaf(b"forged")}
        self.grow(base.size)

    def grow(self, size: int) -> None:
        """Grow the base, which has all leaves but one, and hash what lies above that one."""
        self.base.grow(size)
        self.size = self.base.size
        level, place = 0, self.index
        while ((place | 1) + 1) << level <= self.size:
            pair = [self.node(level, place & ~1), self.node(level, place | 1)]
            level, place = level + 1, place >> 1
            self._changed[level, place] = hash_children(*pair)

    def node(self, level: int, place: int) -> bytes:
        return self._changed.get((level, place)) or self.base.node(level, place)


def add_checkpoint(log: Log, old: int, size: int | None = None, *, proof: list[bytes] | None = None) -> bytes:
    """The body of a request to cosign the log's head of ``size``, made by hand."""
    size = log.size if size is None else size
    proof = log.consistency(old, size) if proof is None else proof
    lines = [f"old {old}", *(base64.b64encode(hash_).decode() for hash_ in proof), ""]
    return ("\n".join(lines) + "\n" + log.head(size)).encode()


def path_of(number: int) -> str:
    """A tile's number as in c2sp.org/tlog-tiles."""
    digits = f"{number:0{(len(str(number)) + 2) // 3 * 3}d}"
    parts = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    return "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])


@dataclass
class TileServer:
    """What a web server shows of a log: any log may be put in its place while it runs."""

    log: Log
    url: str = ""
    size: int | None = None  # of the head that is shown
    note: str | None = None  # shown in place of a head
    asked: list[str] = field(default_factory=list)
    spoil: dict[str, bytes | None] = field(default_factory=dict)  # path: other content, None for 404

    def content(self, path: str) -> bytes | None:
        """The file at a path, None if there is none."""
        if path in self.spoil:
            return self.spoil[path]
        size = self.log.size if self.size is None else self.size
        if path == "checkpoint":
            return (self.note or self.log.head(size)).encode()
        if not path.startswith("tile/"):
            return None
        kind, _, rest = path.removeprefix("tile/").partition("/")
        number_text, _, width_text = rest.partition(".p/")
        level = 0 if kind == "entries" else int(kind)
        number = int(number_text.replace("x", "").replace("/", ""))
        width = int(width_text) if width_text else 256
        first = 256 * number
        if first + width > size >> (8 * level):
            return None
        if kind == "entries":
            leaves = [self.log.leaf(index) for index in range(first, first + width)]
            return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)
        return b"".join(self.log.node(8 * level, place) for place in range(first, first + width))


@asynccontextmanager
async def tile_server(log: Log) -> AsyncIterator[TileServer]:
    """Serve a log's tiles on a free port."""
    made = TileServer(log)

    async def get(request: web.Request) -> web.Response:
        path = request.path.lstrip("/")
        made.asked.append(path)
        content = made.content(path)
        return web.Response(status=404) if content is None else web.Response(body=content)

    app = web.Application()
    app.router.add_get("/{path:.*}", get)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
