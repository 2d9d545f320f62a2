"""`curiosity ledger`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curiosity.host.console import example
from curiosity.protocol.counts import number_of
from node.command import PATH, Session, open_client, session_options
from node.commands.ledger_audit import audit, log_at
from node.commands.ledger_item import item
from node.commands.roles import PASS, become
from node.commands.slash import slash
from node.commands.verify import trust_options

if TYPE_CHECKING:
    from curiosity.client.trust import Trust
    from curiosity.ledger.copy import CopiedLedger
    from curiosity.ledger.sync import Copied
    from node.screen import ProgressMeter


_license = click.option(
    "--license",
    "licenses",
    multiple=True,
    help="SPDX id, such as CC0-1.0: copy only pairs that the ids given let you use; repeatable.",
)


@click.group(epilog=example("curiosity ledger audit", "curiosity ledger mirror --out mirror/"))
def ledger() -> None:
    """Look at a ledger without trusting who keeps it."""


ledger.add_command(audit)
ledger.add_command(item)
ledger.add_command(slash)


@ledger.command("mirror", epilog=example("curiosity ledger mirror --out mirror/"))
@click.option("--out", type=PATH, required=True, help="Folder to copy to; continues from what is there.")
@click.option("--log-vkey", default="", help="Tree head key to trust; by default the pinned one, else the validator's.")
@_license
@session_options(network=True)
def mirror_(session: Session, out: Path, log_vkey: str, licenses: tuple[str, ...]) -> None:
    """Copy leaves, submissions and items, and verify all of it against the signed tree head."""
    import asyncio

    from curiosity.ledger.copy import copy_ledger

    async def work() -> CopiedLedger:
        node = session.settings.node
        async with open_client(session) as client:
            with session.screen.progress("Mirroring", None) as meter:
                return await copy_ledger(
                    client,
                    out,
                    log_vkey=log_vkey or node.log_vkey,
                    licenses=licenses,
                    progress=_words(meter),
                )

    done = asyncio.run(work())
    result = {name: value for name, value in vars(done).items() if name != "blocked"}
    session.screen.finish(
        {**result, "root": "0x" + done.root.hex(), "out": str(out)},
        lambda screen: screen.line(
            f"{number_of(done.size, 'entry')} verified, root 0x{done.root.hex()}; "
            f"{number_of(done.accepted, 'accepted pair')} with {number_of(done.items, 'different item')} in {out} "
            f"({done.fetched} fetched now), {done.taken_down} taken down.{_of_licenses(done)}"
        ),
    )


@ledger.command(
    "tiles",
    epilog=example("curiosity ledger tiles --out static/", "curiosity ledger tiles URL --out static/"),
)
@click.argument("where", required=False)
@click.option("--out", type=PATH, required=True, help="Folder to write to; continues from what is there.")
@session_options(network=True)
@trust_options
def tiles_(session: Session, where: str | None, out: Path, trust: Trust) -> None:
    """Copy a log as static files, verified, for any web server to serve it (c2sp.org/tlog-tiles)."""
    import asyncio

    from curiosity.ledger.monitor import copy_log

    async def work() -> Copied:
        async with log_at(session, where) as files:
            with session.screen.progress("Copying", None) as meter:
                return await copy_log(files, out, trust, progress=_words(meter))

    done = asyncio.run(work())
    session.screen.finish(
        {**vars(done), "root": "0x" + done.root.hex(), "out": str(out)},
        lambda screen: screen.line(
            f"{number_of(done.size, 'entry')} verified, root 0x{done.root.hex()}; {number_of(done.files, 'file')} in "
            f"{out} ({done.fetched} fetched now)."
        ),
    )


@ledger.command(
    "export", epilog=example("curiosity ledger export --out export/", "curiosity ledger export --out l.tar")
)
@click.option("--out", type=PATH, required=True, help="Folder, or a file ending in .tar; continues from what is there.")
@click.option("--log-vkey", default="", help="Tree head key to trust; by default the pinned one, else the validator's.")
@click.option("--vkey", default="", help="Receipt key to trust; by default the pinned one, else the validator's.")
@click.option(
    "--token-file", type=PATH, help="keys/admin.token, for the operator: also export what must not come back."
)
@_license
@session_options(network=True)
def export_(
    session: Session, out: Path, log_vkey: str, vkey: str, token_file: Path | None, licenses: tuple[str, ...]
) -> None:
    """Copy a whole ledger, verified, from which a validator or a read-only copy can be built (ledger import).

    With --license it holds all entries and proofs and only the pairs that you may use, for a trainer; it cannot be
    imported then.

    With the operator's token, the export also lists what must not come back after a takedown. A validator that is to
    continue the log needs that list. Keep such an export like the keys.
    """
    import asyncio

    from curiosity.client.admin import read_token
    from curiosity.ledger.copy import copy_ledger
    from curiosity.ledger.packing import pack

    token = read_token(token_file) if token_file is not None else ""
    is_packed = out.suffix == ".tar"
    folder = out.with_suffix(".export") if is_packed else out

    async def work() -> CopiedLedger:
        node = session.settings.node
        async with open_client(session) as client:
            with session.screen.progress("Exporting", None) as meter:
                return await copy_ledger(
                    client,
                    folder,
                    log_vkey=log_vkey or node.log_vkey,
                    receipt_vkey=vkey or node.receipt_vkey,
                    token=token,
                    licenses=licenses,
                    progress=_words(meter),
                )

    done = asyncio.run(work())
    if is_packed:
        pack(folder, out)
    result = {name: value for name, value in vars(done).items() if name not in ("accepted", "fetched")}
    session.screen.finish(
        {**result, "root": "0x" + done.root.hex(), "out": str(out)},
        lambda screen: screen.line(
            f"{number_of(done.size, 'entry')} verified, root 0x{done.root.hex()}; {number_of(done.pairs, 'pair')}, "
            f"{done.accepted} of them accepted with {number_of(done.items, 'different item')}, in {out}; "
            f"{done.taken_down} taken down.{_of_licenses(done)} {_of_blocked(done)}".rstrip()
        ),
    )


@ledger.command("import", context_settings=PASS, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def import_(arguments: tuple[str, ...]) -> None:
    """Build a validator's store from an exported ledger, or bring a copy up to date (see --help)."""
    become("validator", ("import", *arguments))


def _of_licenses(done: CopiedLedger) -> str:
    if not done.licenses:
        return ""
    return (
        f" {number_of(done.left_out, 'accepted pair')} under other licences than {', '.join(done.licenses)} left out."
    )


def _of_blocked(done: CopiedLedger) -> str:
    if done.blocked is not None:
        return f"It lists {number_of(done.blocked, 'content')} that must not come back: keep it like the keys."
    return "Only an export with --token-file lists what must not come back." if done.taken_down else ""


def _words(meter: ProgressMeter) -> Callable[[str, int, int], None]:
    return lambda what, done, total: meter.advance(0, f"{what} {done}/{total}")
