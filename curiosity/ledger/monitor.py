"""Watching a log round after round: whose it is, what witnesses saw of it, and what an audit finds."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from curiosity.client.client import ValidatorClient
from curiosity.client.trust import Trust
from curiosity.host.files import write_whole
from curiosity.ledger.audit import Audited, Target, audit, state_folder
from curiosity.ledger.layout import NETWORK
from curiosity.ledger.source import Progress, untold
from curiosity.ledger.state import MonitorState
from curiosity.ledger.sync import Copied, check_not_shrunk, copy_tiles, not_written
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.errors import ConfigError, Rejected, ServiceError, SourceError
from curiosity.protocol.messages import IndexedSubmission, Network
from curiosity.protocol.tlog import parse_vkey, verify_checkpoint
from curiosity.protocol.wire import parse


@dataclass(frozen=True)
class Round:
    """One round: what the audit came to, and the addresses of the witnesses that did not answer."""

    audited: Audited
    silent: tuple[str, ...]


async def monitor(
    files: LogFiles,
    trust: Trust,
    home: Path,
    *,
    state_dir: Path | None = None,
    witnesses: Sequence[str] = (),
    is_foreign: bool = False,
    every_s: float | None = None,
    progress: Progress = untold,
) -> AsyncGenerator[Round, None]:
    """Audit a log, and go on with what is new every ``every_s`` seconds until something does not hold.

    Args:
        files: The log, open.
        trust: Whom to believe.
        home: What was verified is kept below it, unless ``state_dir`` names another folder.
        state_dir: That folder.
        witnesses: Addresses of witnesses to compare heads with.
        is_foreign: Check the log only, not what its entries mean.
        every_s: None ends after one round.
        progress: Told how many entries were checked.

    Yields:
        Each round. The last one has a finding, unless it is the only one.

    Raises:
        ConfigError: LOG_KEY_NEEDED.
        ServiceError: LOG_UNREACHABLE, LOG_ANSWER.
        SourceError: LOG_UNREADABLE; MONITOR_STATE if what was kept does not fit together.
    """
    async with AsyncExitStack() as stack:
        target = await find_target(stack, files, trust, is_foreign=is_foreign)
        state = MonitorState(state_dir or state_folder(home, target.origin), target.origin, target.log_vkeys)
        others = [await stack.enter_async_context(LogFiles(url, patience_s=2.0, timeout_s=10.0)) for url in witnesses]
        while True:
            seen, silent = await _ask_witnesses(others, target.origin)
            done = await audit(
                files, state, target, seen=seen, progress=lambda checked, total: progress("Auditing", checked, total)
            )
            yield Round(done, tuple(silent))
            if done.finding is not None or every_s is None:
                return
            await asyncio.sleep(every_s)


async def copy_log(files: LogFiles, out: Path, trust: Trust, *, progress: Progress = untold) -> Copied:
    """Copy a log as static files into a folder, verified under the head that it shows now.

    Raises:
        ConfigError: LOG_KEY_NEEDED.
        ServiceError: LOG_UNREACHABLE, LOG_ANSWER.
        SourceError: LOG_UNREADABLE; if the folder cannot be written.
        ProofError: What `verify_checkpoint`, `check_not_shrunk` and `copy_tiles` raise.
    """
    async with AsyncExitStack() as stack:
        target = await find_target(stack, files, trust)
        note = await files.head()
        head = verify_checkpoint(note, target.origin, target.log_vkeys, trust.witness_vkeys, trust.quorum)
        check_not_shrunk(out, head, target.log_vkeys[0])
        copied = await copy_tiles(files, out, note, head, progress=progress)
        data = await files.get(_network_path(files)) if target.network is not None else None
        if data is not None:  # so that an audit of the folder knows whose log it is
            try:
                await asyncio.to_thread(write_whole, out / NETWORK, data)
            except OSError as error:
                raise not_written(out, error) from None
        return copied


async def find_target(stack: AsyncExitStack, files: LogFiles, trust: Trust, *, is_foreign: bool = False) -> Target:
    """Return what is known of the log at an address: by our own validator's word, else by the keys that are trusted.

    A client that its ``openings`` need is open until ``stack`` is closed.

    Raises:
        ConfigError: LOG_KEY_NEEDED if neither says whose log it is.
    """
    network = None if is_foreign else await _network(files)
    key = trust.log_vkey or (network.log_vkey if network is not None else "")
    if not key:
        raise ConfigError("LOG_KEY_NEEDED", f"{files.place} does not say whose log it is", "Give --log-vkey.")
    origin = trust.origin or (network.origin if network is not None else parse_vkey(key).name)
    if network is None:
        return Target(origin, (key,), trust, rules=not is_foreign)
    known = (network.network_id, network.domain)
    if files.is_folder:
        return Target(origin, (key,), trust, network=known, stake_vkey=network.stake_vkey)
    client = await stack.enter_async_context(ValidatorClient(files.where))
    loop = asyncio.get_running_loop()

    def openings(first: int, end: int) -> Sequence[IndexedSubmission]:
        page = asyncio.run_coroutine_threadsafe(client.submissions(first, end - first), loop).result()
        return [row for row in page.submissions if row.index < end]

    return Target(origin, (key,), trust, network=known, openings=openings, stake_vkey=network.stake_vkey)


def _network_path(files: LogFiles) -> str:
    return NETWORK if files.is_folder else "v1/network"


async def _network(files: LogFiles) -> Network | None:
    data = await files.get(_network_path(files))
    try:
        return parse(Network, data) if data is not None else None
    except Rejected:
        return None


async def _ask_witnesses(witnesses: Sequence[LogFiles], origin: str) -> tuple[list[str], list[str]]:
    """Return the heads that witnesses show of a log, and the addresses of those that do not answer."""
    seen, silent = [], []
    for witness in witnesses:
        try:
            data = await witness.get(f"{sha256(origin.encode()).hexdigest()}/checkpoint")
        except (ServiceError, SourceError):
            silent.append(witness.place)
        else:
            seen += [data.decode(errors="replace")] if data is not None else []
    return seen, silent
