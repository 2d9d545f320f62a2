"""`curiosity ledger`."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import click

from curiosity.client.client import ValidatorClient
from curiosity.client.items import fetch_item
from curiosity.client.takedowns import find_digest
from curiosity.client.trust import Trust
from curiosity.client.wallet import find_wallet
from curiosity.host.console import example
from curiosity.host.files import write_whole
from curiosity.ledger.audit import Audited, Target, audit, state_folder
from curiosity.ledger.export import Exported, export, pack
from curiosity.ledger.mirror import Mirrored, mirror
from curiosity.ledger.state import MonitorState
from curiosity.ledger.sync import Copied, check_not_shrunk, copy_tiles
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.errors import ConfigError, ProofError, Rejected, ServiceError, SourceError
from curiosity.protocol.messages import IndexedSubmission, Network
from curiosity.protocol.tlog import parse_vkey, verify_checkpoint
from curiosity.protocol.wire import from_hex, parse
from node.command import PATH, Session, open_client, session_options
from node.commands.roles import PASS, become, read_token
from node.commands.slash import slash
from node.commands.verify import trust_options
from node.prompts import unlock_wallet
from node.screen import ProgressMeter


@click.group(epilog=example("curiosity ledger audit", "curiosity ledger mirror --out mirror/"))
def ledger() -> None:
    """Look at a ledger without trusting who keeps it."""


ledger.add_command(slash)


@ledger.command("mirror", epilog=example("curiosity ledger mirror --out mirror/"))
@click.option("--out", type=PATH, required=True, help="Folder to copy to; goes on from what is there.")
@click.option("--log-vkey", default="", help="Tree head key to trust; by default the pinned one, else what is shown.")
@session_options(network=True)
def mirror_(session: Session, out: Path, log_vkey: str) -> None:
    """Copy leaves, submissions and items, and verify all of it against the signed tree head."""

    async def work() -> Mirrored:
        node = session.settings.node
        async with open_client(session) as client:
            with session.screen.progress("Mirroring", None) as meter:
                return await mirror(
                    client,
                    out,
                    log_vkey=log_vkey or node.log_vkey,
                    progress=lambda what, done, total: meter.advance(0, f"{what} {done}/{total}"),
                )

    done = asyncio.run(work())
    result = {**vars(done), "root": "0x" + done.root.hex(), "out": str(out)}
    session.screen.finish(
        result,
        lambda screen: screen.line(
            f"{done.size} entries lead to root 0x{done.root.hex()}; {done.accepted} accepted pairs with "
            f"{done.items} items in {out} ({done.fetched} fetched now), {done.taken_down} taken down."
        ),
    )


@ledger.command(
    "audit",
    epilog=example(
        "curiosity ledger audit --follow",
        "curiosity ledger audit https://log.example.org --log-vkey KEY --foreign",
        "curiosity ledger audit --witness http://127.0.0.1:8450 --witness-vkey KEY --quorum 1",
    ),
)
@click.argument("where", required=False)
@click.option("--witness", "witnesses", multiple=True, help="Address of a witness to compare heads with; repeatable.")
@click.option("--state", "state_dir", type=PATH, help="Folder of what was verified; by default below the home.")
@click.option("--foreign", is_flag=True, help="Check the log only, not what its entries mean: for logs not of ours.")
@click.option("--follow", is_flag=True, help="Go on, a round each --interval seconds, until something does not hold.")
@click.option("--interval", "interval_s", default=10.0, show_default=True, help="Seconds between rounds.")
@session_options(network=True)
@trust_options
def audit_(
    session: Session,
    where: str | None,
    trust: Trust,
    witnesses: tuple[str, ...],
    state_dir: Path | None,
    foreign: bool,
    follow: bool,
    interval_s: float,
) -> int:
    """Follow a log by its tiles (URL or folder) and check everything again; name the first entry that is wrong."""
    where = where or session.settings.node.validator_url

    async def work() -> int:
        async with AsyncExitStack() as stack:
            files = await stack.enter_async_context(_log_at(session, where))
            target = await _target(stack, files, trust, foreign=foreign)
            folder = state_dir or state_folder(session.home, target.origin)
            state = MonitorState(folder, target.origin, target.log_vkeys)
            others = [
                await stack.enter_async_context(LogFiles(url, patience_s=2.0, timeout_s=10.0)) for url in witnesses
            ]
            while True:
                seen, silent = await _ask_witnesses(others, target.origin)
                with session.screen.progress("Auditing", None) as meter:
                    show = partial(_advance, meter, [state.size])
                    done = await audit(files, state, target, seen=seen, progress=show)
                _tell(session, done, silent, bool(trust.log_vkey))
                if done.finding is not None:
                    return int(ProofError.exit_code)
                if not follow:
                    return 0
                await asyncio.sleep(interval_s)

    return asyncio.run(work())


def _advance(meter: ProgressMeter, shown: list[int], done: int, total: int) -> None:
    meter.advance(done - shown[0], f"of {total} entries")
    shown[0] = done


@ledger.command(
    "tiles",
    epilog=example("curiosity ledger tiles --out static/", "curiosity ledger tiles URL --out static/"),
)
@click.argument("where", required=False)
@click.option("--out", type=PATH, required=True, help="Folder to write to; goes on from what is there.")
@session_options(network=True)
@trust_options
def tiles_(session: Session, where: str | None, out: Path, trust: Trust) -> None:
    """Copy a log as static files, verified, for any web server to serve it (c2sp.org/tlog-tiles)."""
    where = where or session.settings.node.validator_url

    async def work() -> Copied:
        async with AsyncExitStack() as stack:
            files = await stack.enter_async_context(_log_at(session, where))
            target = await _target(stack, files, trust, foreign=False)
            note = await files.head()
            head = verify_checkpoint(note, target.origin, target.log_vkeys, trust.witness_vkeys, trust.quorum)
            check_not_shrunk(out, head, target.log_vkeys[0])
            with session.screen.progress("Copying", None) as meter:
                return await copy_tiles(files, out, note, head, progress=_words(meter))

    done = asyncio.run(work())
    session.screen.finish(
        {**vars(done), "root": "0x" + done.root.hex(), "out": str(out)},
        lambda screen: screen.line(
            f"{done.size} entries lead to root 0x{done.root.hex()}; {done.files} files in {out} "
            f"({done.fetched} fetched now)."
        ),
    )


@ledger.command(
    "export", epilog=example("curiosity ledger export --out export/", "curiosity ledger export --out l.tar")
)
@click.option("--out", type=PATH, required=True, help="Folder, or a file ending in .tar; goes on from what is there.")
@click.option("--log-vkey", default="", help="Tree head key to trust; by default the pinned one, else what is shown.")
@click.option("--vkey", default="", help="Receipt key to trust, likewise.")
@click.option(
    "--token-file", type=PATH, help="keys/admin.token, for the operator: also export what must not come back."
)
@session_options(network=True)
def export_(session: Session, out: Path, log_vkey: str, vkey: str, token_file: Path | None) -> None:
    """Copy a whole ledger, verified, from which a validator or a read-only copy can be built (ledger import).

    Of what was taken down only the operator gets the list that keeps it out: a validator that is to go on with the log
    needs it. Keep such an export like the keys.
    """
    token = read_token(token_file) if token_file is not None else ""
    is_packed = out.suffix == ".tar"
    folder = out.with_suffix(".export") if is_packed else out

    async def work() -> Exported:
        node = session.settings.node
        async with open_client(session) as client:
            with session.screen.progress("Exporting", None) as meter:
                return await export(
                    client,
                    folder,
                    log_vkey=log_vkey or node.log_vkey,
                    receipt_vkey=vkey or node.receipt_vkey,
                    token=token,
                    progress=_words(meter),
                )

    done = asyncio.run(work())
    if is_packed:
        pack(folder, out)
    session.screen.finish(
        {**vars(done), "root": "0x" + done.root.hex(), "out": str(out)},
        lambda screen: screen.line(
            f"{done.size} entries lead to root 0x{done.root.hex()}; {done.pairs} pairs with {done.items} items "
            f"in {out}, {done.taken_down} taken down. {_of_blocked(done)}".rstrip()
        ),
    )


@ledger.command(
    "item",
    epilog=example(
        "curiosity ledger item ~/.curiosity/receipts/RECEIPT.json 0xSHA256 --out item.png --wallet alice",
    ),
)
@click.argument("pair")
@click.argument("sha256", metavar="SHA256")
@click.option("--out", type=PATH, required=True, help="File to write.")
@click.option("--wallet", "wallet_name", help="Wallet that submitted the pair, or an auditor's; for refused pairs.")
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@session_options(network=True)
def item_(
    session: Session, pair: str, sha256: str, out: Path, wallet_name: str | None, password_file: Path | None
) -> None:
    """Fetch one item by its hash, checked. PAIR is a digest or a receipt; the receipt's opening tells both hashes.

    Items of accepted pairs are everybody's. Those of refused pairs are kept for a while, for their contributor and for
    auditors: --wallet signs the request.
    """
    digest = find_digest(pair, session.home)
    try:
        wanted = from_hex(sha256 if sha256.startswith("0x") else "0x" + sha256, 32)
    except ValueError as error:
        raise click.UsageError(f"SHA256: {error}") from None
    key = None
    if wallet_name is not None:
        wallet = find_wallet(session.home, wallet_name)
        key = unlock_wallet(wallet, password_file)

    async def work() -> bytes:
        node = session.settings.node
        async with ValidatorClient(node.validator_url, patience_s=node.patience_s) as client:
            return await fetch_item(client, await client.network(), digest, wanted, private_key=key)

    data = asyncio.run(work())
    try:
        write_whole(out, data)
    except OSError as error:
        raise SourceError("ITEM_NOT_WRITTEN", f"{out}: {error.strerror}", "Choose another file.") from None
    session.screen.finish(
        {"pair": "0x" + digest.hex(), "sha256": "0x" + wanted.hex(), "bytes": len(data), "out": str(out)},
        lambda screen: screen.line(f"{len(data)} bytes with that hash in {out}."),
    )


@ledger.command("import", context_settings=PASS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def import_(arguments: tuple[str, ...]) -> None:
    """Build a validator's store from an exported ledger, or bring a copy up to date (see --help)."""
    become("validator", ("import", *arguments))


def _log_at(session: Session, where: str) -> LogFiles:
    return LogFiles(where, patience_s=session.settings.node.patience_s, on_wait=session.screen.say)


def _of_blocked(done: Exported) -> str:
    if done.blocked is not None:
        return f"With {done.blocked} contents that must not come back: keep it like the keys."
    return "What must not come back of these is only told with --token-file." if done.taken_down else ""


def _words(meter: ProgressMeter) -> Callable[[str, int, int], None]:
    return lambda what, done, total: meter.advance(0, f"{what} {done}/{total}")


async def _target(stack: AsyncExitStack, files: LogFiles, trust: Trust, *, foreign: bool) -> Target:
    """What is known of the log at an address: by our own validators' word, else by the keys that are trusted."""
    network = None if foreign else await _network(files)
    key = trust.log_vkey or (network.log_vkey if network is not None else "")
    if not key:
        raise ConfigError("LOG_KEY_NEEDED", f"{files.place} does not say whose log it is", "Give --log-vkey.")
    origin = trust.origin or (network.origin if network is not None else parse_vkey(key).name)
    if network is None or files.is_folder:
        known, stake = ((network.network_id, network.domain), network.stake_vkey) if network is not None else (None, "")
        return Target(origin, (key,), trust, rules=not foreign, network=known, stake_vkey=stake)
    client = await stack.enter_async_context(ValidatorClient(files.where))
    loop = asyncio.get_running_loop()

    def openings(first: int, end: int) -> Sequence[IndexedSubmission]:
        page = asyncio.run_coroutine_threadsafe(client.submissions(first, end - first), loop).result()
        return [row for row in page.submissions if row.index < end]

    return Target(
        origin,
        (key,),
        trust,
        network=(network.network_id, network.domain),
        openings=openings,
        stake_vkey=network.stake_vkey,
    )


async def _network(files: LogFiles) -> Network | None:
    data = await files.get("network.json" if files.is_folder else "v1/network")
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


def _tell(session: Session, done: Audited, silent: Sequence[str], is_pinned: bool) -> None:
    finding = done.finding
    result: dict[str, Any] = {
        **vars(done),
        "root": "0x" + done.root.hex(),
        "is_log_pinned": is_pinned,
        "silent_witnesses": list(silent),
        "finding": None
        if finding is None
        else {
            **vars(finding),
            "evidence": str(finding.evidence) if finding.evidence is not None else None,
            "slash": str(finding.slash) if finding.slash is not None else None,
        },
    }
    notes = [note for note in (*done.notes, *(f"the witness {url} does not answer" for url in silent)) if note]

    def show(screen: Any) -> None:
        key = "as pinned" if is_pinned else "as shown"
        inside = "" if done.pairs is None else f", {done.pairs} pairs decided, {done.epochs} epochs paid as derived"
        screen.line(
            f"{done.origin}: {done.size} entries hold ({done.checked} new){inside}; root 0x{done.root.hex()}, "
            f"cosigned by {len(done.cosigners)} trusted witnesses; trusting the log's key {key}."
        )
        for note in notes:
            screen.line(f"Note: {note}.")
        if done.withheld:
            screen.line(f"Note: no opening of accepted entries {', '.join(map(str, done.withheld))}.")
        if finding is not None:
            where = f" (first bad index {finding.index})" if finding.index is not None else ""
            screen.line(f"{finding.code}{where}: {finding.what}")
            if finding.evidence is not None:
                screen.line(f"Evidence for others: {finding.evidence} (curiosity verify checks it).")
            if finding.slash is not None:
                screen.line(f"Evidence for the stake contract: {finding.slash} (curiosity ledger slash sends it).")

    session.screen.finish(result, show)
