"""`curiosity receipts`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from curiosity.host.console import example
from curiosity.protocol.errors import ExitCode
from curiosity.protocol.rewards import RewardParameters
from node.choices import KEPT_OUTCOMES
from node.command import PATH, Session, ledger_source, open_client, session_options

if TYPE_CHECKING:
    from node.screen import Screen

_SHOWN: Final = 50


@click.command(
    epilog=example(
        "curiosity receipts",
        "curiosity receipts cat.jpg",
        "curiosity receipts --verdict rejected --verdict grey",
        "curiosity receipts '*.png' --pay",
        "curiosity receipts --refresh",
    )
)
@click.argument("files", nargs=-1)
@click.option("--verdict", "verdicts", multiple=True, type=click.Choice(KEPT_OUTCOMES), help="Only these; repeatable.")
@click.option("--code", "codes", multiple=True, help="Only these reasons, such as PAIR_TOO_FAR; repeatable.")
@click.option("--pay", is_flag=True, help="Read the ledger and say whether each accepted pair is paid.")
@click.option("--refresh", is_flag=True, help="First ask the validator what it decided since about held pairs.")
@click.option("--entries", type=PATH, help="With --pay: a mirror to read instead of the validator's ledger.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=_SHOWN, show_default=True, help="Show at most this many pairs."
)
@session_options(network=True)
def receipts(
    session: Session,
    files: tuple[str, ...],
    verdicts: tuple[str, ...],
    codes: tuple[str, ...],
    pay: bool,
    refresh: bool,
    entries: Path | None,
    limit: int,
) -> int:
    """List what was submitted from this machine: the files, the decision, its reason, what to do, and the pay.

    FILES are names, paths or patterns; a file that has been renamed is found by its content. The receipts are kept in
    the folder that `curiosity verify` checks. Of one pair alone the numbers and thresholds are shown too. A held pair
    is judged again under the validator's next checkpoints; --refresh, and --pay where it reads the validator's ledger,
    fetch the receipt of the newest decision.
    """
    from curiosity.client.history import find, pay_by_entry, read_history, with_pay
    from curiosity.ledger.source import counted
    from curiosity.protocol.counts import number_of
    from node.screen import Stages
    from node.submit_report import record_columns, show_numbers, show_outcomes

    refreshed = _refresh(session) if refresh or (pay and entries is None) else 0
    records, problems = read_history(session.home)
    if files:
        wanted = {id(one) for file in files for one in find(records, file)}
        records = [one for one in records if id(one) in wanted]
    records = [one for one in records if not verdicts or one.outcome.outcome in verdicts]
    records = [one for one in records if not codes or one.outcome.code in codes]
    if pay:
        leaves = ledger_source(session, entries).leaves
        with Stages(session.screen) as progress:
            records = with_pay(records, pay_by_entry(counted(leaves(progress), progress), RewardParameters()))
    counts = Counter(one.outcome.outcome for one in records)
    result = {
        "receipts": [one.to_json() for one in records],
        "counts": dict(sorted(counts.items())),
        "refreshed": refreshed,
        "unreadable": [error.to_json() for error in problems],
    }

    def show(screen: Screen) -> None:
        if records:
            shown = records[:limit]
            show_outcomes(screen, "", [one.outcome for one in shown], record_columns(session.home, shown))
        if len(records) == 1:
            show_numbers(screen, records[0].outcome)
        if len(records) > limit:
            screen.line(f"... and {len(records) - limit} more; --limit shows more, --json all.")
        if refreshed:
            screen.line(f"{number_of(refreshed, 'pair')} judged again since.")
        for error in problems:
            screen.line(f"{error.code}: {error.what}. {error.remedy}")
        of = f" of {', '.join(files)}" if files else ""
        said = ", ".join(f"{count} {name}" for name, count in counts.most_common())
        screen.line(f"{number_of(len(records), 'pair')}{of}{': ' + said if said else ''}.")

    session.screen.finish(result, show)
    return int(ExitCode.OK if records or not files else ExitCode.SOURCE)


def _refresh(session: Session) -> int:
    import asyncio

    from curiosity.client.refresh import refresh_receipts

    async def work() -> int:
        async with open_client(session) as client:
            return await refresh_receipts(client, session.home)

    return asyncio.run(work())
