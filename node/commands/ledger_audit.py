"""`curiosity ledger audit`."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curiosity.host.console import example
from curiosity.protocol.errors import ExitCode, ProofError
from node.command import PATH, Session, session_options
from node.commands.verify import trust_options

if TYPE_CHECKING:
    from curiosity.client.trust import Trust
    from curiosity.ledger.tiles import LogFiles


@click.command(
    "audit",
    epilog=example(
        "curiosity ledger audit --follow",
        "curiosity ledger audit https://log.example.org --log-vkey KEY --foreign",
        "curiosity ledger audit --witness http://127.0.0.1:8450 --witness-vkey KEY --quorum 1",
    ),
)
@click.argument("where", required=False)
@click.option("--witness", "witnesses", multiple=True, help="Address of a witness to compare heads with; repeatable.")
@click.option("--state", "state_dir", type=PATH, help="Folder for what was verified; by default below the home.")
@click.option(
    "--foreign", is_flag=True, help="Check the log only, not what its entries mean; for logs of other programs."
)
@click.option("--follow", is_flag=True, help="Repeat every --interval seconds until a check fails.")
@click.option("--interval", "interval_s", default=10.0, show_default=True, help="Seconds between rounds.")
@session_options(network=True)
@trust_options
def audit(
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
    import asyncio

    from curiosity.ledger.monitor import monitor
    from node.audit_report import round_json, show_round
    from node.screen import Stages

    async def work() -> int:
        with Stages(session.screen) as progress:
            async with (
                log_at(session, where) as files,
                aclosing(
                    monitor(
                        files,
                        trust,
                        session.home,
                        state_dir=state_dir,
                        witnesses=witnesses,
                        is_foreign=foreign,
                        every_s=interval_s if follow else None,
                        progress=progress,
                    )
                ) as rounds,
            ):
                async for one in rounds:
                    progress.close()
                    session.screen.finish(
                        round_json(one, is_pinned=bool(trust.log_vkey)),
                        partial(show_round, done=one, is_pinned=bool(trust.log_vkey)),
                    )
                    if one.audited.finding is not None:
                        return int(ProofError.exit_code)
        return int(ExitCode.OK)

    return asyncio.run(work())


def log_at(session: Session, where: str | None) -> LogFiles:
    """Return the log at an address or in a folder, by default the validator's, which tells when it has to wait."""
    from curiosity.ledger.tiles import LogFiles

    node = session.settings.node
    return LogFiles(where or node.validator_url, patience_s=node.patience_s, on_wait=session.screen.say)
