"""`curiosity demo` and `curiosity up`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from curiosity.host.console import example
from curiosity.protocol.errors import ExitCode
from node.command import PATH, Session, session_options

_FOLDER = Path(".cache/curiosity")
_PORT = click.IntRange(0, 65_535)
_OPTIONS = (
    click.option("--out", type=PATH, default=Path("demo.json"), show_default=True, help="Where to write the figures."),
    click.option(
        "--folder", type=PATH, default=_FOLDER, show_default=True, help="Where to keep pair sets and the run."
    ),
    click.option("--seed", type=int, default=1, show_default=True, help="Seed of the bad pairs and of the training."),
    click.option(
        "--limit",
        type=click.IntRange(min=100),
        default=3_000,
        show_default=True,
        help="Submit at most this many honest pairs.",
    ),
    click.option(
        "--emoji/--no-emoji", default=True, show_default=True, help="With the emoji set, or the digits alone."
    ),
    click.option(
        "--voices", type=click.IntRange(1, 12), default=2, show_default=True, help="Voices for each name (emoji)."
    ),
    click.option(
        "--steps", type=click.IntRange(min=1), default=320, show_default=True, help="Steps of the training round."
    ),
    click.option(
        "--stop-after-s",
        type=click.FloatRange(min=0),
        default=21_600.0,
        show_default=True,
        help="Safety stop of each long step, in seconds; a step that it ends is incomplete.",
    ),
)


def _demo_options(callback: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        callback = option(callback)
    return callback


@click.command(epilog=example("curiosity demo", "curiosity demo --limit 300 --no-emoji --out quick.json"))
@_demo_options
@session_options()
def demo(session: Session, out: Path, folder: Path, **choices: Any) -> int:
    """Run the whole network end to end on real pairs, then stop everything that was started.

    Chain, contracts, wallets, validation, receipts, a training round, searches before and after, and days in which pay
    vests and is claimed. Writes the figures as JSON. Ends with status 1 if one of its checks fails.
    """
    from node.demo.run import Options, run

    figures = run(Options(folder=folder.resolve(), out=out, **choices), session.screen)
    session.screen.finish(figures, lambda _screen: None)
    return int(ExitCode.OK if all(figures["checks"].values()) else ExitCode.FAILED)


@click.command(epilog=example("curiosity up", "curiosity up --fresh"))
@click.option("--port", type=_PORT, default=8440, show_default=True, help="Port of the validator; 0: a free one.")
@click.option("--chain-port", type=_PORT, default=8545, show_default=True, help="Port of the chain; 0: a free one.")
@click.option(
    "--epoch-s",
    type=click.IntRange(min=0),
    default=60,
    show_default=True,
    help="Close an epoch after this many seconds; 0: only by curiosity validator close-epoch.",
)
@click.option("--fresh", is_flag=True, help="Delete the network that was up before and start with an empty one.")
@click.option("--folder", type=PATH, default=_FOLDER, show_default=True, help="Where to keep the network.")
@session_options()
def up(session: Session, port: int, chain_port: int, epoch_s: int, fresh: bool, folder: Path) -> None:
    """Keep a chain and a validator up on this machine until Ctrl-C; the next run continues from there.

    The first run starts from the network that `curiosity demo` made in the same folder, if there is one.
    """
    from node.demo.up import UpOptions
    from node.demo.up import up as stay_up

    stay_up(UpOptions(folder.resolve(), port, chain_port, epoch_s, fresh), session.screen)
