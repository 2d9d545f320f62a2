"""`curiosity data`."""

from pathlib import Path
from typing import Any

import click

from node.command import PATH, Session, example, session_options

_SETS = ("digits", "emoji")


@click.group(epilog=example("curiosity data make digits --out pairs/digits"))
def data() -> None:
    """Make pair sets to try the network with."""


@data.command(epilog=example("curiosity data make emoji --out pairs/emoji --voices 2"))
@click.argument("name", type=click.Choice(_SETS))
@click.option("--out", type=PATH, required=True, help="Folder to write.")
@click.option("--seed", type=int, help="Seed of the splits; the default is that of the shipped genesis checkpoint.")
@click.option("--voices", type=click.IntRange(1, 12), default=3, show_default=True, help="Voices a name (emoji).")
@click.option("--cache", type=PATH, help="Folder to keep spoken names in between runs.")
@session_options()
def make(session: Session, name: str, out: Path, seed: int | None, voices: int, cache: Path | None) -> None:
    """Write the pair set NAME: pictures, names and spoken names from installed packages."""
    from node.sources import load_source

    arguments: dict[str, Any] = {"cache": cache} | ({"voices": voices} if name == "emoji" else {})
    if seed is not None:
        arguments["seed"] = seed
    with session.screen.progress(f"Making {name}", None) as meter:
        card = load_source(name)(
            out, progress=lambda what, done, total: meter.advance(0, f"{what} {done}/{total}"), **arguments
        )
    counts = card["counts"]
    session.screen.finish(
        {"out": str(out), "card": card},
        lambda screen: screen.table(
            f"{name} in {out}",
            ("split", "modalities", "pairs"),
            [(split, pair, count) for split, by in counts.items() for pair, count in by.items()],
        ),
    )
