"""`curiosity validator rule`: the operator announces by which parameters pay follows from an epoch on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curiosity.host.console import example
from curiosity.protocol.errors import ConfigError
from node.command import PATH, Session, session_options

if TYPE_CHECKING:
    from curiosity.protocol.orders import RuleReport
    from node.screen import Screen


@click.command(
    "rule",
    epilog=example(
        "curiosity validator rule --dry-run --token-file keys/admin.token",
        "curiosity validator rule --epoch 40 --set unpaid_returns=0 --token-file keys/admin.token",
    ),
)
@click.option(
    "--epoch", type=click.IntRange(1), help="The first epoch that is paid so; else the first one that may be named."
)
@click.option(
    "--set", "changes", multiple=True, metavar="NAME=NUMBER", help="A parameter to change; may be given again."
)
@click.option("--dry-run", is_flag=True, help="Say what would change and write nothing.")
@click.option("--token-file", type=PATH, required=True, help="keys/admin.token in the validator's data folder.")
@session_options(network=True)
def rule(session: Session, epoch: int | None, changes: tuple[str, ...], dry_run: bool, token_file: Path) -> None:
    """Have a running validator write into the ledger by which rule and parameters pay follows from an epoch on.

    A network on an earlier version of the rule moves to version 4, whose parameters step 17 of docs/protocol.md lists.
    What is named stands in the ledger for ever: try --dry-run first. Epochs before are paid by the rule that they had.
    """
    import asyncio

    from curiosity.client.admin import read_token
    from curiosity.client.client import ValidatorClient
    from curiosity.protocol.orders import RuleOrder
    from curiosity.protocol.wire import to_plain

    order = RuleOrder(epoch or 0, read_changes(changes), dry_run)
    token, node = read_token(token_file), session.settings.node

    async def ask() -> RuleReport:
        async with ValidatorClient(node.validator_url, patience_s=0.0, timeout_s=node.request_timeout_s) as client:
            return await client.announce_rule(token, order)

    report = asyncio.run(ask())
    session.screen.finish(to_plain(report), lambda screen: _show(screen, report))


def read_changes(changes: tuple[str, ...]) -> dict[str, str]:
    """Return the parameters that the arguments change, and their values.

    Raises:
        ConfigError: RULE_CHANGE, also for two values of one parameter.
    """
    found: dict[str, str] = {}
    for name, value in map(read_change, changes):
        if name in found:
            raise ConfigError("RULE_CHANGE", f"--set names {name!r} more than once", "Give each parameter once.")
        found[name] = value
    return found


def read_change(change: str) -> tuple[str, str]:
    """Return the parameter that an argument changes, and its value.

    Raises:
        ConfigError: RULE_CHANGE.
    """
    name, equals, value = change.partition("=")
    if not (equals and name and value.isascii() and value.isdecimal() and len(value) <= 78):
        raise ConfigError("RULE_CHANGE", f"{change!r} changes no parameter", "Give it as NAME=NUMBER (--set).")
    return name, str(int(value))


def _show(screen: Screen, report: RuleReport) -> None:
    would = "would follow" if report.entry is None else "follows"
    screen.line(f"From epoch {report.epoch} on pay {would} version {report.parameters['version']} of the rule:")
    for name, value in report.parameters.items():
        before = report.before.get(name)
        screen.line(f"  {name} {value}" + (f", before {before}" if before not in (None, value) else ""))
    written = "Nothing was written." if report.entry is None else f"Entry {report.entry} says so."
    screen.line(f"{written} Digest of the parameters: 0x{report.digest.hex()}")
