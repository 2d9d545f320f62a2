"""`curiosity doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from curiosity.host.console import example
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import CuriosityError, ExitCode
from curiosity.protocol.url import without_userinfo
from node.command import Session, session_options

if TYPE_CHECKING:
    from node.doctor import Diagnosis


@click.command(epilog=example("curiosity doctor"))
@session_options(network=True)
def doctor(session: Session) -> int:
    """Look at everything that a node needs; say what is wrong and what to do.

    The line of the judge names the best and the worst of what it was measured on; -v and --json list all.
    """
    import asyncio

    from node.doctor import examine

    findings: list[Diagnosis] = []
    for finding in (*examine(session.settings), *asyncio.run(_validator(session))):
        findings.append(finding)
        if not session.screen.as_json:
            session.screen.line(f"{finding.state:5} {finding.name}: {finding.what}. {finding.remedy}".rstrip())
            for one in finding.more if click.get_current_context().params["verbose"] else ():
                session.screen.line(f"      {one}")
    failed = sum(finding.state == "fail" for finding in findings)
    session.screen.finish({"findings": [vars(finding) for finding in findings], "failed": failed}, lambda _screen: None)
    return int(ExitCode.FAILED if failed else ExitCode.OK)


async def _validator(session: Session) -> list[Diagnosis]:
    from curiosity.client.client import ValidatorClient
    from node.doctor import Diagnosis, tell_separation

    url = session.settings.node.validator_url
    try:
        async with ValidatorClient(url, patience_s=0.0, timeout_s=5.0) as client:
            health = await client.health()
            network = await client.network()
    except CuriosityError as error:
        return [Diagnosis("validator", "warn", f"{error.code}: {error.what}", "Start one: make up, or set --url.")]
    place = without_userinfo(url)
    told = f"{place}: {number_of(health.ledger_size, 'entry')}, epoch {health.epoch}, {health.device}"
    return [Diagnosis("validator", "ok", told), tell_separation(network.separation)]
