"""Every route of the HTTP ports under requests that nobody should send: drawn from the OpenAPI document."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from curiosity.embedding.checkpoint import MANIFEST
from curiosity.host.port.address import sender_of
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.protocol.messages import ErrorMessage
from curiosity.protocol.orders import CheckpointOrder
from curiosity.protocol.takedown import SignedTakedown, TakedownReason, TakedownRequest
from curiosity.protocol.wire import encode, parse
from tests.material.http import Listening
from tests.material.log import ORIGIN, Log, add_checkpoint
from tests.material.route import Asked, Document, ask, check_answer, check_witness_answer, operations_of, requests
from tests.material.service import Running, pictures, running
from tests.material.witness import witnessing
from validator.app import build, make_application
from validator.config import ServiceSettings
from validator.importer import MirrorRecord
from validator.routes import ROUTES
from witness.app import make_application as make_witness_application

FAST, MANY = 30, 500  # requests for each operation
Known = dict[str, tuple[bytes, ...]]


async def read(live: Listening, path: str, method: str = "GET", *fields: tuple[str, bytes]) -> Any:
    return await ask(live, Asked(method, path.encode(), fields, b""))


async def known_of(live: Running) -> Known:
    """Good values for the parameters and bodies of the routes, of two pairs that were decided."""
    bodies, pairs, items = [], [], []
    for pair in pictures(2):
        signed = live.sign(pair)
        bodies.append(signed.encode())
        pairs.append(b"0x" + signed.envelope.submission.digest(live.network.domain).hex().encode())
        items.append(b"0x" + signed.a.digest.hex().encode())
        await live.client.post_pair(bodies[-1])
    request = TakedownRequest(live.network.network_id, bytes(32), TakedownReason.OTHER, "", 1)
    return {
        "pair": tuple(pairs),
        "sha256": tuple(items),
        "path": (b"0/000", b"0/000.p/2", b"entries/000.p/3", b"9/999"),
        "start": (b"0", b"1"),
        "count": (b"0", b"1", b"1000"),
        "index": (b"0", b"2"),
        "size": (b"0", b"3"),
        "first": (b"0", b"1"),
        "k": (b"0", b"5", b"101"),
        "modality": (b"text", b"image"),
        "to": (b"text", b"image"),
        "/v1/pairs": tuple(bodies),
        "/v1/query": (b"three",),
        "/v1/takedowns": (encode(SignedTakedown(request, None)),),
        "/v1/admin/checkpoints": (encode(CheckpointOrder("/nowhere")), encode(CheckpointOrder("\0"))),
    }


def campaign(
    loop: asyncio.AbstractEventLoop,
    examples: int,
    strategy: st.SearchStrategy[Asked],
    send: Callable[[Asked], Coroutine[Any, Any, None]],
) -> None:
    """Send so many requests, always the same ones."""

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def each(asked: Asked) -> None:
        loop.run_until_complete(send(asked))

    each()


def fuzz_validator(folder: Path, examples: int) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        opened = running(folder, queries_per_minute=0)
        live = loop.run_until_complete(opened.__aenter__())
        try:
            document = json.loads(loop.run_until_complete(read(live, "/openapi.json")).body)
            known = loop.run_until_complete(known_of(live))
            token = live.service.keys.admin_token.encode()

            async def send(asked: Asked) -> None:
                check_answer(asked, await ask(live, asked))

            for method, path in operations_of(document):
                campaign(loop, examples, requests(method, path, document, known, token), send)
            assert live.service.batches.failure is None
            loop.run_until_complete(live.client.network())
        finally:
            loop.run_until_complete(opened.__aexit__(None, None, None))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_no_request_breaks_a_route_of_the_validator(tmp_path: Path) -> None:
    fuzz_validator(tmp_path, FAST)


@pytest.mark.slow
def test_no_request_of_many_breaks_a_route_of_the_validator(tmp_path: Path) -> None:
    fuzz_validator(tmp_path, MANY)


def witness_document(app: web.Application) -> Document:
    """What an OpenAPI document would say of a witness's routes, read from its router."""
    paths: Document = {}
    for route in app.router.routes():
        assert route.resource is not None
        if route.method == "HEAD":
            continue
        path = route.resource.canonical
        names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
        operation: Document = {"parameters": [{"name": name, "in": "path"} for name in names]}
        if route.method == "POST":
            operation["requestBody"] = {"content": {"text/plain": {"schema": {"type": "string"}}}}
        paths.setdefault(path, {})[route.method.lower()] = operation
    return {"paths": paths, "components": {"schemas": {}}}


def fuzz_witness(folder: Path, examples: int) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    log = Log(300)
    try:
        opened = witnessing(folder)
        live = loop.run_until_complete(opened.__aenter__())
        try:
            loop.run_until_complete(live.post(add_checkpoint(log, 0, 20)))
            known = {
                "origin": (sha256(ORIGIN.encode()).hexdigest().encode(), b"0" * 64),
                "id": (b"0" * 16,),
                "/add-checkpoint": (add_checkpoint(log, 20, 300), add_checkpoint(log, 0, 7)),
            }
            app = make_witness_application(live.config, live.witness)

            async def send(asked: Asked) -> None:
                check_witness_answer(asked, await ask(live, asked))

            document = witness_document(app)
            for method, path in operations_of(document):
                campaign(loop, examples, requests(method, path, document, known, b"none"), send)
            assert loop.run_until_complete(read(live, "/health")).status == 200
        finally:
            loop.run_until_complete(opened.__aexit__(None, None, None))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_no_request_breaks_a_route_of_a_witness(tmp_path: Path) -> None:
    fuzz_witness(tmp_path, FAST)


@pytest.mark.slow
def test_no_request_of_many_breaks_a_route_of_a_witness(tmp_path: Path) -> None:
    fuzz_witness(tmp_path, MANY)


async def test_what_broke_a_route_once_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as live:
        await known_of(live)
        page = await live.client.submissions(1, 0)
        assert (page.submissions, page.next) == ((), 1)
        for value in (b"Bearer \xff\xfe", "Bearer é".encode(), b"\x80"):
            for operation, _ in ROUTES:
                if operation.admin:
                    given = await read(live, operation.path, operation.method, ("Authorization", value))
                    assert (given.status, parse(ErrorMessage, given.body).code) == (401, "ADMIN_TOKEN")
        token = f"Bearer {live.service.keys.admin_token}".encode()
        for path, status in (("/nowhere", 422), ("a" * 5000, 422), (str(tmp_path), 422), ("\0", 400)):
            order = encode(CheckpointOrder(path))
            given = await ask(live, Asked("POST", b"/v1/admin/checkpoints", (("Authorization", token),), order))
            assert given.status == status, given


async def test_head_answers_as_get_does_without_the_body(tmp_path: Path) -> None:
    async with running(tmp_path) as live:
        known = await known_of(live)
        token = f"Bearer {live.service.keys.admin_token}".encode()
        seen = 0
        for operation, _ in ROUTES:
            path = operation.path
            for name in ("pair", "sha256", "path"):
                path = path.replace("{" + name + "}", known[name][0].decode())
            path = path.replace("{account}", "0x" + "11" * 20).replace("{epoch}", "1")
            path = path.replace("{digest}", "0x" + live.service.embedder.checkpoint.hex()).replace("{name}", MANIFEST)
            query = "?" + "&".join(f"{name}={known[name][0].decode()}" for name in operation.query if name in known)
            if operation.method == "GET":
                seen += 1
                got = await read(live, path + query, "GET", ("Authorization", token))
                head = await read(live, path + query, "HEAD", ("Authorization", token))
                assert (head.status, head.body) == (got.status, b""), path
                assert head.fields["content-type"] == got.fields["content-type"]
            wrong = await read(live, path, "PUT")
            assert (wrong.status, parse(ErrorMessage, wrong.body).code) == (405, "HTTP_405"), path
            assert operation.method in wrong.fields["allow"]
            odd = await read(live, path, operation.method, ("Expect", b"miracles"))
            assert (odd.status, parse(ErrorMessage, odd.body).code) == (417, "HTTP_417"), path
    assert seen > 15


async def test_a_copy_of_a_ledger_answers_head_too(tmp_path: Path) -> None:
    """What would change a copy is refused, and HEAD changes nothing."""
    async with running(tmp_path) as live:
        (tmp_path / "mirror.json").write_bytes(encode(MirrorRecord(live.network, await live.client.tree_head())))
    async with running(tmp_path) as copy:
        assert (await read(copy, "/v1/network", "HEAD")).status == 200
        refused = await read(copy, "/v1/admin/epochs", "POST")
        assert (refused.status, parse(ErrorMessage, refused.body).code) == (403, "READ_ONLY")


def test_addresses_are_counted_by_who_has_them() -> None:
    same = ["2001:db8:1:2::1", "2001:db8:1:2:ffff::", "2001:db8:1:2::9%eth0"]
    assert {sender_of(address).address for address in same} == {"2001:db8:1:2::/64"}
    assert sender_of("2001:db8:1:3::1").address == "2001:db8:1:3::/64"
    assert sender_of("::ffff:192.0.2.7") == sender_of("192.0.2.7")
    assert sender_of("192.0.2.8").address != sender_of("192.0.2.7").address == "192.0.2.7"
    assert sender_of(None) == sender_of("/run/socket")


@pytest.mark.parametrize("is_one_network", [True, False], ids=["one /64", "three /64"])
async def test_queries_are_limited_by_ipv6_network(tmp_path: Path, *, is_one_network: bool) -> None:
    """Whoever has one address of a /64 has all of them; another network has a limit of its own."""
    service = await build(
        ServiceSettings(
            ValidatorConfig(data_dir=tmp_path, decode_workers=1, queries_per_minute=2, genesis=Path("tiny"))
        )
    )
    app = make_application(service)
    addresses = [f"2001:db8:0:{0 if is_one_network else number}::{number + 1}" for number in range(3)]

    @web.middleware
    async def from_there(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        return await handler(request.clone(remote=request.headers["X-From"]))

    app.middlewares.append(from_there)
    async with TestClient(TestServer(app)) as client:
        statuses = []
        for address in addresses:
            async with client.post("/v1/query", data=b"three", headers={"X-From": address}) as answer:
                statuses.append(answer.status)
    assert statuses == ([200, 200, 429] if is_one_network else [200, 200, 200])
