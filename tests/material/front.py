"""A front before a real validator that misbehaves on purpose: refuses, drops connections, changes answers."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web


@dataclass
class Front:
    """What the front does to requests, and what it saw. ``deny`` gives (status, headers, message) or "drop"."""

    upstream: str
    url: str = ""
    bodies: list[bytes] = field(default_factory=list)  # of POST /v1/pairs, in order of arrival
    seen: Counter[str] = field(default_factory=Counter)
    deny: Callable[[str, int], tuple[int, dict[str, str], Any] | str | None] = lambda path, number: None
    drop_answer: Callable[[int], bool] = lambda number: False  # the validator decides, the answer is lost
    change: Callable[[str, Any], Any] = lambda path, answer: answer  # of JSON answers
    change_bytes: Callable[[str, bytes], bytes] = lambda path, answer: answer  # of the others


@asynccontextmanager
async def front(upstream: str) -> AsyncIterator[Front]:
    """Run a front before the validator at ``upstream``."""
    made = Front(upstream)

    async def handle(request: web.Request) -> web.StreamResponse:
        made.seen[request.path] += 1
        number = made.seen[request.path]
        body = await request.read()
        if request.path == "/v1/pairs":
            made.bodies.append(body)
        denied = made.deny(request.path, number)
        if denied == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(denied, tuple):
            status, headers, message = denied
            return web.Response(status=status, headers=headers, body=json.dumps(message).encode())
        headers = {"Content-Type": request.content_type} if body else {}
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, made.upstream + request.path_qs, data=body or None, headers=headers
            ) as answered,
        ):
            content = await answered.read()
            if answered.content_type == "application/json" and answered.status == 200:
                content = json.dumps(made.change(request.path, json.loads(content))).encode()
            elif answered.status == 200:
                content = made.change_bytes(request.path, content)
            if request.path == "/v1/pairs" and made.drop_answer(number):
                assert request.transport is not None
                request.transport.abort()
            return web.Response(status=answered.status, body=content, content_type=answered.content_type)

    application = web.Application(client_max_size=1 << 26)
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield made
    finally:
        await runner.cleanup()
