"""Requests drawn from an OpenAPI document, good and bad ones, as raw bytes; and what any answer must be."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_from_bytes

from hypothesis import strategies as st

from curiosity.protocol.messages import ErrorMessage
from curiosity.protocol.wire import parse
from tests.material.http import Listening, address

Document = dict[str, Any]
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND")
_ODD = (
    b"",
    b"0",
    b"1",
    b"2",
    b"-1",
    b"00",
    b"1e3",
    b"999999999999999",
    b"999999999999999999",
    b"9" * 40,
    b"true",
    b"text",
)
_BYTES = st.binary(max_size=12) | st.sampled_from(
    (*_ODD, "٣".encode(), b"\xff", b"\x00", b"\r\n", b"../..", b"a" * 3000)
)
_DIGEST = st.binary(min_size=32, max_size=32).map(lambda data: b"0x" + data.hex().encode())
_FIELD = st.binary(max_size=20).map(lambda data: bytes(byte for byte in data if byte not in b"\r\n\x00"))
_CREDENTIALS = (b"Bearer wrong", b"Bearer \xff\xfe", "Bearer é".encode(), b"Basic eA==")
_FIELDS: dict[str, tuple[bytes, ...]] = {
    "Content-Type": (b"application/json", b"image/png", b"text/plain; charset=\xe9", b"a/b/c", b"\xff\xfe", b""),
    "Content-Encoding": (b"gzip", b"identity", b"\xff"),
    "Expect": (b"100-continue", b"200-ok", b"\xff"),
    "Accept-Encoding": (b"gzip", b"*;q=0", b"\xff"),
    "Range": (b"bytes=0-1", b"bytes=9-1", b"\xff"),
    "If-Modified-Since": (b"\xff", b"Thu, 01 Jan 1970 00:00:00 GMT"),
    "X-Forwarded-For": (b"\xff",),
    "Connection": (b"close", b"upgrade"),
    "Upgrade": (b"websocket", b"h2c"),
    "Cookie": (b"a=\xff", b"=;=;"),
}


@dataclass(frozen=True)
class Asked:
    """One request as bytes, and what it was drawn from."""

    method: str
    target: bytes
    fields: tuple[tuple[str, bytes], ...]
    body: bytes = field(repr=False)

    def encode(self) -> bytes:
        lines = [f"{self.method} ".encode() + self.target + b" HTTP/1.1", b"Host: x"]
        lines += [name.encode() + b": " + value for name, value in self.fields]
        lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join(lines) + b"\r\n\r\n" + self.body


@dataclass(frozen=True)
class Given:
    """One answer as it came."""

    status: int
    fields: Mapping[str, str]
    body: bytes


def operations_of(document: Document) -> list[tuple[str, str]]:
    """Method and path of each operation."""
    return [(method.upper(), path) for path, methods in sorted(document["paths"].items()) for method in methods]


@st.composite
def requests(
    draw: st.DrawFn, method: str, path: str, document: Document, known: Mapping[str, tuple[bytes, ...]], token: bytes
) -> Asked:
    """One request for an operation of the document, mostly as it wants it, and bent in one or two places.

    ``known`` are good values by the names of parameters (and bodies, by the path); ``token`` is the operator's.
    """
    operation = document["paths"][path][method.lower()]
    if method == "GET" and draw(st.booleans()):
        method = "HEAD"
    elif draw(st.integers(0, 9)) == 0:
        method = draw(st.sampled_from(_METHODS))

    def value(name: str) -> bytes:
        return draw(st.sampled_from(known[name]) | _BYTES if name in known else st.one_of(_DIGEST, _BYTES))

    target, query = path, []
    for parameter in operation["parameters"]:
        name = parameter["name"]
        if parameter["in"] == "path":
            kept = "/" if name == "path" else ""
            target = target.replace("{" + name + "}", quote_from_bytes(value(name), safe=kept))
        elif draw(st.integers(0, 3)):
            query += [f"{name}={quote_from_bytes(value(name))}"] * draw(st.integers(1, 2))
    if draw(st.integers(0, 19)) == 0:
        target += draw(st.sampled_from(("/", "//", "%2e%2e", "/x", "%FF", "%00")))
    fields = []
    if (credentials := draw(st.sampled_from((b"", b"Bearer " + token, *_CREDENTIALS)))) != b"":
        fields.append(("Authorization", credentials))
    for name, values in _FIELDS.items():
        if draw(st.integers(0, 11)) == 0:
            fields.append((name, draw(st.sampled_from(values) | _FIELD)))
    body = b""
    if (takes := operation.get("requestBody")) is not None:
        (media_type, content), *_ = takes["content"].items()
        if draw(st.integers(0, 3)):
            fields.append(("Content-Type", media_type.encode()))
        body = draw(_bodies(content["schema"], document, known.get(path, ())))
    elif draw(st.integers(0, 9)) == 0:
        body = draw(_BYTES)
    return Asked(method, (target + ("?" + "&".join(query) if query else "")).encode(), tuple(fields), body)


def _bodies(schema: Document, document: Document, good: tuple[bytes, ...]) -> st.SearchStrategy[bytes]:
    nonsense = st.sampled_from(
        (b"", b"{}", b"[]", b"null", b"[" * 5000, b'{"a":' * 5000, b"\xff", b'"\\ud800"', b"1e999")
    )
    spelled = values(schema, document["components"]["schemas"]).map(lambda value: json.dumps(value).encode())
    kinds = [nonsense, st.binary(max_size=200), spelled]
    if good:
        kinds += [
            st.sampled_from(good),
            st.builds(_bent, st.sampled_from(good), st.integers(0, 1 << 16), st.binary(max_size=3)),
        ]
    return st.one_of(*kinds)


def _bent(data: bytes, at: int, piece: bytes) -> bytes:
    at %= len(data) + 1
    return data[:at] + piece + data[at + len(piece) :]


def values(schema: Document, definitions: Document) -> st.SearchStrategy[Any]:
    """JSON values under a schema, as pydantic writes them; now and then one of another type."""
    wrong: st.SearchStrategy[Any] = (
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just([]) | st.just({})
    )
    return st.one_of(_fitting(schema, definitions), _fitting(schema, definitions), _fitting(schema, definitions), wrong)


def _fitting(schema: Document, definitions: Document) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return values(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "anyOf" in schema:
        return st.one_of(*(values(each, definitions) for each in schema["anyOf"]))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    kind = schema.get("type")
    if kind == "object":
        properties = {name: values(each, definitions) for name, each in schema.get("properties", {}).items()}
        return st.fixed_dictionaries(properties)
    if kind == "array":
        return st.lists(values(schema.get("items", {}), definitions), max_size=3)
    if kind == "integer":
        return st.integers(schema.get("minimum"), schema.get("maximum"))
    if kind == "boolean":
        return st.booleans()
    if "pattern" in schema:
        return st.from_regex(schema["pattern"], fullmatch=True)
    return st.text(max_size=12)


async def ask(live: Listening, asked: Asked) -> Given:
    """Send a request on a connection of its own and return the last answer to it (not 100 Continue)."""
    reader, writer = await asyncio.open_connection(*address(live))
    try:
        async with asyncio.timeout(120.0):
            writer.write(asked.encode())
            await writer.drain()
            given = await _read(reader, asked.method)
            while given.status == 100:
                given = await _read(reader, asked.method)
            return given
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader, method: str) -> Given:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    status = int(first.split()[1])
    length = 0 if method == "HEAD" or status in (100, 204, 304) else int(fields.get("content-length", "0"))
    return Given(status, fields, await reader.readexactly(length))


def check_answer(asked: Asked, given: Given) -> None:
    """Hold an answer to what holds for every route: no 5xx, errors that say what they are, nothing to be sniffed."""
    if given.status == 503:
        assert int(given.fields["retry-after"]) > 0
    else:
        assert given.status < 500, given
    if given.status < 400:
        return
    if given.status == 405:
        assert given.fields["allow"]
    assert given.fields["content-type"].startswith("application/json"), given
    if asked.method != "HEAD":
        told = parse(ErrorMessage, given.body)
        assert told.code
        assert told.remedy
        assert told.fault != "validator", told


def check_witness_answer(asked: Asked, given: Given) -> None:
    """The same of a witness, whose errors are one line of text (c2sp.org/tlog-witness), but for the port's own."""
    assert given.status < 500 or int(given.fields["retry-after"]) > 0, given
    if given.status == 405:
        assert given.fields["allow"]
    if given.status < 400 or asked.method == "HEAD":
        return
    if given.fields["content-type"].startswith("application/json"):
        assert parse(ErrorMessage, given.body).code
    elif given.fields["content-type"] != "text/x.tlog.size":
        code, colon, what = given.body.decode().partition(": ")
        assert code.replace("_", "").isalnum(), given
        assert colon, given
        assert what.endswith("\n"), given
