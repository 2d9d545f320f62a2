"""The witness's HTTP interface (c2sp.org/tlog-witness), and its process: the only place that knows aiohttp here."""

import asyncio
import json
import logging
import signal
import time
from pathlib import Path
from typing import Any

from aiohttp import web

import curiosity.host.port.listen
from curiosity.host.files import write_whole
from curiosity.host.port.body import read_body
from curiosity.host.port.guard import Guard, GuardLimits
from curiosity.host.port.refusal import http_headers, printable
from curiosity.host.settings.witness import WitnessConfig
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import CuriosityError, Overloaded, Rejected
from curiosity.protocol.evidence import check_evidence
from curiosity.protocol.witness_request import SIZE_MEDIA_TYPE
from witness.config import trusted_logs
from witness.evidence import EVIDENCE_FOLDER, find_evidence, read_evidence
from witness.heads import Memory
from witness.keys import WitnessKeys, load_keys
from witness.service import Conflict, Witness

log = logging.getLogger(__name__)

WITNESS = web.AppKey("witness", Witness)
CONFIG = web.AppKey("config", WitnessConfig)
MAX_BODY_BYTES = 512 * 1024  # a note of 128 Ki characters, in UTF-8, and 63 hashes
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


async def post_checkpoint(request: web.Request) -> web.Response:
    """Answer add-checkpoint: cosignature lines, or the status that says why not."""
    lines = await request.app[WITNESS].add_checkpoint(await read_body(request, MAX_BODY_BYTES))
    return web.Response(text=lines)


async def get_checkpoint(request: web.Request) -> web.Response:
    """Answer with the latest cosigned head of the log with this hash of its origin.

    Source: section "Monitor Retrieval Mechanism".
    """
    note = request.app[WITNESS].latest(request.match_info["origin"])
    if note is None:
        raise Rejected("HEAD_NONE", "no head of such a log was cosigned here", "Check the origin.", status=404)
    return web.Response(text=note)


async def get_evidence(request: web.Request) -> web.Response:
    """Answer with the ids of the forks that were seen, and what each shows: anybody may know."""
    folder = request.app[CONFIG].folder / EVIDENCE_FOLDER
    return web.json_response({"evidence": await asyncio.to_thread(list_evidence, folder)})


async def get_one_evidence(request: web.Request) -> web.Response:
    """Answer with one piece of evidence, as `curiosity verify` checks it."""
    folder = request.app[CONFIG].folder / EVIDENCE_FOLDER
    found = await asyncio.to_thread(find_evidence, folder, request.match_info["id"])
    if found is not None:
        return web.Response(body=found, content_type="application/json")
    raise Rejected("EVIDENCE_NONE", "no such evidence is kept here", "GET /evidence lists it.", status=404)


async def get_health(request: web.Request) -> web.Response:
    """Answer whether the witness works; 503 if the heads of a log could not be kept any more."""
    stopped = request.app[WITNESS].stopped
    status = {"status": "stopped" if stopped else "ok", "name": request.app[CONFIG].name, "stopped": stopped}
    return web.json_response(status, status=503 if stopped else 200)


def list_evidence(folder: Path) -> list[dict[str, Any]]:
    """Return what is kept below an evidence folder: id, origin, sizes and what it shows."""
    rows = []
    for path, evidence in read_evidence(folder):
        checked = check_evidence(evidence)
        rows.append(
            {
                "id": evidence.id,
                "origin": evidence.origin,
                "shown": checked.shown.value,
                "is_fork": checked.is_fork,
                "sizes": [checked.first.size, checked.second.size],
                "file": path.name,
            }
        )
    return rows


@web.middleware
async def edge(request: web.Request, handler: Any) -> web.StreamResponse:
    """Answer every error as the specification says, in one line of text; nothing else may escape."""
    response: web.StreamResponse
    try:
        response = await handler(request)
    except Conflict as conflict:
        response = web.Response(status=409, body=b"%d\n" % conflict.size, headers={"Content-Type": SIZE_MEDIA_TYPE})
    except CuriosityError as error:
        status = error.status if isinstance(error, Rejected) else 503 if isinstance(error, Overloaded) else 500
        response = web.Response(status=status, text=printable(f"{error.code}: {error.what}. {error.remedy}\n"))
        if isinstance(error, Overloaded):
            response.headers["Retry-After"] = str(error.retry_after_s)
    except web.HTTPException as error:
        text = f"HTTP_{error.status}: {error.reason}\n"
        response = web.Response(status=error.status, text=text, headers=http_headers(error))
    except ConnectionError:
        raise
    except Exception:  # the process edge: logged once, told without a traceback
        log.exception("event=request_failed path=%s", request.path)
        response = web.Response(status=500, text="INTERNAL: the witness failed on this request\n")
    response.headers.update(_HEADERS)
    log.info("event=request method=%s path=%s status=%d", request.method, request.path[:100], response.status)
    return response


def make_application(config: WitnessConfig, witness: Witness) -> web.Application:
    """Return the aiohttp application over a wired witness. Submission and monitoring prefix are both the root."""
    app = web.Application(middlewares=[edge], client_max_size=MAX_BODY_BYTES)
    app[WITNESS], app[CONFIG] = witness, config
    app.router.add_post("/add-checkpoint", post_checkpoint)
    app.router.add_get("/{origin:[0-9a-f]{64}}/checkpoint", get_checkpoint)
    app.router.add_get("/evidence", get_evidence)
    app.router.add_get("/evidence/{id:[0-9a-f]{16}}", get_one_evidence)
    app.router.add_get("/health", get_health)
    return app


def build(config: WitnessConfig) -> tuple[Witness, Memory, WitnessKeys]:
    """Return a wired witness, the memory to close at the end, and its keys.

    Raises:
        ConfigError: WITNESS_LOGS.
        StoreError: WITNESS_ and KEY_FILE codes.
    """
    logs = trusted_logs(config.logs)
    keys = load_keys(config.folder, config.name)
    memory = Memory(config.folder, logs, max_evidence=config.max_evidence)
    return Witness(memory, keys, logs, lambda: int(time.time())), memory, keys


async def listen(config: WitnessConfig, witness: Witness) -> web.AppRunner:
    """Listen at the configured address and return the runner.

    Raises:
        ConfigError: PORT_TAKEN.
    """
    guard = Guard(GuardLimits.of(config), lambda code: log.info("event=connection_cut code=%s", code))
    return await curiosity.host.port.listen.listen(
        make_application(config, witness), guard, config.host, config.port, "witness"
    )


async def serve(config: WitnessConfig, *, ready_file: Path | None, as_json: bool) -> None:
    """Listen until SIGINT or SIGTERM."""
    witness, memory, keys = build(config)
    try:
        runner = await listen(config, witness)
    except BaseException:
        memory.close()
        raise
    try:
        url = curiosity.host.port.listen.url_of(config.host, runner.addresses[0][1])
        facts = {"url": url, "name": config.name, "vkeys": list(keys.vkeys), "logs": sorted(trusted_logs(config.logs))}
        stop = asyncio.Event()
        for name in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        line = f"Witness {config.name} listens on {url}; key {keys.vkeys[0]}; {number_of(len(facts['logs']), 'log')}."
        print(json.dumps(facts) if as_json else line, flush=True)
        if ready_file is not None:
            await asyncio.to_thread(write_whole, ready_file, json.dumps(facts).encode())
        await stop.wait()
    finally:
        await runner.cleanup()
        memory.close()
