"""`curiosity check`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from curiosity.host.console import example
from curiosity.protocol.counts import noun_of
from curiosity.protocol.errors import ExitCode, SourceError
from node.command import PATH, Session, open_client, session_options

if TYPE_CHECKING:
    from curiosity.ledger.forecast import ChosenCheckpoint, Forecast
    from curiosity.ledger.reader import LedgerCopy

_ASSUMED_LICENSE: Final = "CC0-1.0"  # nobody signs it here


@click.command(
    epilog=example(
        "curiosity check cat.png cat.txt",
        "curiosity check holiday/ --copy mirror/",
        "curiosity check --single night.jpg",
        "curiosity check pairs.jsonl --checkpoint checkpoint/ --json",
    )
)
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option("--checkpoint", type=PATH, help="Folder with the checkpoint; by default the validator's is fetched once.")
@click.option("--copy", "copy_path", type=PATH, help="A mirror: say which accepted pair is nearest, and what is novel.")
@click.option(
    "--license", "license_", default="", help="SPDX expression for pairs that state none; else CC0-1.0 is assumed."
)
@click.option("--split", default="submit", show_default=True, help="Split of a pair set to check.")
@click.option("--pairs", default="", help="Pairs of modalities to check, such as video-touch,image-text; else all.")
@click.option("--columns", default="", help="Columns of a Parquet file by modality: image=img,text=caption.")
@click.option("--limit", type=click.IntRange(min=1), help="Check at most this many pairs.")
@click.option("--single", is_flag=True, help="Check each file alone, as a single item.")
@click.option("--device", help='Where the encoders run: "cpu", "cuda"; by default what is there.')
@session_options(network=True)
def check(
    session: Session,
    paths: tuple[Path, ...],
    checkpoint: Path | None,
    copy_path: Path | None,
    license_: str,
    split: str,
    pairs: str,
    columns: str,
    limit: int | None,
    single: bool,
    device: str | None,
) -> int:
    """Say what the judge would say of each pair that `curiosity submit` would make of PATHS. Nothing is sent.

    The items are decoded and embedded on this machine as a validator does it. The checkpoint is the one in force at the
    validator, fetched once and kept; without a validator the genesis one, which comes with the program. Exit status 0:
    all would be accepted. 3: some would not. 8: nothing could be read.
    """
    import asyncio
    from itertools import count

    from curiosity.ledger.forecast import Forecaster, all_accepted, choose_checkpoint
    from curiosity.ledger.reader import opened_copy
    from curiosity.sources.own.own import open_sources, read_singles
    from node.check_report import show_forecasts, to_json
    from node.screen import Stages

    license_ = license_ or session.settings.node.license or _ASSUMED_LICENSE
    if single:
        rows = read_singles(paths, license=license_, limit=limit)
    else:
        rows = open_sources(paths, license=license_, split=split, pairs=pairs, columns=columns, limit=limit)

    async def work(copy: LedgerCopy | None) -> tuple[ChosenCheckpoint, list[Forecast]]:
        async with open_client(session, patience_s=0.0, timeout_s=10.0) as client:
            chosen = await choose_checkpoint(client, session.home, own=checkpoint, copy=copy)
        async with Forecaster(chosen, copy=copy, device=device) as forecaster:
            with Stages(session.screen) as progress:
                await forecaster.read_copy(progress)
            with session.screen.progress("Judging", None) as meter:
                numbers = count(1)
                done = await forecaster.forecast(
                    rows, license=license_, watch=lambda _one: meter.advance(1, noun_of(next(numbers), "pair"))
                )
        return chosen, done

    with ExitStack() as opened:
        copy = opened.enter_context(opened_copy(copy_path, session.settings.node.log_vkey)) if copy_path else None
        chosen, done = asyncio.run(work(copy))
    session.screen.finish(to_json(chosen, done), lambda screen: show_forecasts(screen, chosen, done))
    if all_accepted(done):
        return int(ExitCode.OK)
    read = any(one.outcome.outcome != "unreadable" for one in done)
    return int(ExitCode.REJECTED if read else SourceError.exit_code)
