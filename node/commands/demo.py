"""`curiosity demo` and `curiosity up`."""

from pathlib import Path

import click

from node.command import PATH, Session, example, session_options
from protocol.errors import ExitCode

_FOLDER = Path(".cache/curiosity")


@click.command(epilog=example("curiosity demo", "curiosity demo --limit 300 --no-emoji --out quick.json"))
@click.option("--out", type=PATH, default=Path("demo.json"), show_default=True, help="Where to write the figures.")
@click.option("--folder", type=PATH, default=_FOLDER, show_default=True, help="Where to keep pair sets and the run.")
@click.option("--seed", type=int, default=1, show_default=True, help="Seed of the bad pairs and of the training.")
@click.option("--limit", type=click.IntRange(min=100), help="Submit at most so many honest pairs.")
@click.option("--emoji/--no-emoji", default=True, show_default=True, help="With the emoji set, or the digits alone.")
@click.option("--voices", type=click.IntRange(1, 12), default=3, show_default=True, help="Voices a name (emoji).")
@click.option("--training-s", type=float, default=85.0, show_default=True, help="Bound on the training, in seconds.")
@session_options()
def demo(
    session: Session,
    out: Path,
    folder: Path,
    seed: int,
    limit: int | None,
    emoji: bool,
    voices: int,
    training_s: float,
) -> int:
    """Run the whole network end to end on real pairs, then stop everything that was started.

    Chain, contracts, wallets, validation, receipts, an epoch paid and claimed, a training round, and searches before
    and after. Writes the figures as JSON. Ends with status 1 if something that must hold does not.
    """
    from node.demo.run import Options, run

    options = Options(
        folder=folder.resolve(), out=out, seed=seed, limit=limit, emoji=emoji, voices=voices, training_s=training_s
    )
    figures = run(options, session.screen)
    session.screen.finish(figures, lambda _screen: None)
    return int(ExitCode.OK if all(figures["checks"].values()) else ExitCode.FAILED)


@click.command(epilog=example("curiosity up"))
@click.option("--folder", type=PATH, default=_FOLDER, show_default=True, help="Where to keep pair sets and the run.")
@click.option("--port", type=int, default=8440, show_default=True, help="Port of the validator.")
@click.option("--chain-port", type=int, default=8545, show_default=True, help="Port of the chain.")
@click.option("--epoch-s", type=int, default=60, show_default=True, help="Close an epoch after so many seconds.")
@session_options()
def up(session: Session, folder: Path, port: int, chain_port: int, epoch_s: int) -> None:
    """Start chain and validator and leave them running until Ctrl-C; what was there before is kept."""
    from node.demo.up import up as stay_up

    stay_up(folder.resolve(), session.screen, port=port, chain_port=chain_port, epoch_s=epoch_s)
