"""`curiosity data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curiosity.host.console import example
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import ExitCode, Rejected
from curiosity.sources import SOURCES
from node.command import PATH, Session, session_options

if TYPE_CHECKING:
    from curiosity.sources.pairset import SourceItem
    from node.screen import Screen

# Options that not every set knows, and the sets that do.
_FROM_PACKAGES = ("clipart", "photos", "sounds")
_ONLY = {
    "voices": ("emoji",), "episodes": ("world",), "renderer": ("world",), "languages": ("photos",),
    "spoken": ("sounds",), "given": _FROM_PACKAGES,
}  # fmt: skip
_SPELT = {"given": "from", "languages": "language"}


@click.group(epilog=example("curiosity data make digits --out pairs/digits"))
def data() -> None:
    """Make pair sets to try the network with, and look at them."""


@data.command(
    epilog=example(
        "curiosity data make emoji --out pairs/emoji --voices 2",
        "curiosity data make world --out pairs/world --episodes 600 --cache pairs/episodes",
        "curiosity data make photos --out pairs/photos --language de --language uk",
        "curiosity data make clipart --out pairs/clipart --from unpacked",
    )
)
@click.argument("name", type=click.Choice(sorted(SOURCES)))
@click.option("--out", type=PATH, required=True, help="Folder to write.")
@click.option("--seed", type=int, help="Seed of the splits; the default is that of the shipped genesis checkpoint.")
@click.option("--voices", type=click.IntRange(1, 12), help="Voices for each name (emoji; 3 if not given).")
@click.option("--episodes", type=click.IntRange(min=1), help="Episodes to simulate (world; 2,400 if not given).")
@click.option(
    "--renderer", type=click.Choice(["cpu", "gl", "auto"]), help="Renderer of the world's pictures (cpu if not given)."
)
@click.option(
    "--from",
    "given",
    type=PATH,
    help="Folder with an unpacked or installed copy of the Debian packages (clipart, photos, sounds).",
)
@click.option("--language", "languages", multiple=True, help="Captions in this language too, such as de (photos).")
@click.option("--spoken", multiple=True, help="Captions that people read out in this language, such as fr (sounds).")
@click.option("--limit", type=click.IntRange(min=1), help="Make a small set: at most this many things in each split.")
@click.option("--cache", type=PATH, help="Folder that keeps spoken names, episodes or packages for the next run.")
@session_options()
def make(
    session: Session, name: str, out: Path, seed: int | None, limit: int | None, cache: Path | None, **some: Any
) -> None:
    """Write the pair set NAME.

    digits, emoji (pictures, names, spoken names), world (a simulated gripper), or of Debian packages: photos, clipart,
    sounds. Without --from, these packages are downloaded with apt-get and unpacked into the cache; nothing is
    installed.
    """
    from curiosity.sources import load_source

    asked = {option: value for option, value in some.items() if value not in (None, ())}
    for option in asked:
        if name not in _ONLY[option]:
            raise click.UsageError(f"--{_SPELT.get(option, option)} is for {', '.join(_ONLY[option])}, not for {name}")
    if name in _FROM_PACKAGES:
        asked["say"] = session.screen.say
    arguments = asked | ({} if seed is None else {"seed": seed}) | ({} if limit is None else {"limit": limit})
    with session.screen.progress(f"Making {name}", None) as meter:
        card = load_source(name)(
            out,
            cache=cache,
            progress=lambda what, done, total: meter.advance(0, f"{what} {done}/{total}"),
            **arguments,
        )
    session.screen.finish({"out": str(out), "card": card}, lambda screen: _show_counts(screen, out, card))


@data.command(epilog=example("curiosity data show pairs/world"))
@click.argument("folder", type=PATH)
@session_options()
def show(session: Session, folder: Path) -> None:
    """Print the card of a pair set: what it holds, where it comes from, under which licences."""
    from curiosity.sources.pairset import read_card

    card = read_card(folder)

    def print_card(screen: Screen) -> None:
        _show_counts(screen, folder, card)
        screen.table("licences", ("SPDX", "pairs"), list(card["licenses"].items()))
        columns = ("package", "version", "takes", "license", "stated_in")
        screen.table("sources", columns, [[source[key] for key in columns] for source in card["sources"]])
        screen.line(f"made with {card['parameters']}")
        for what, said in card.get("about", {}).items():
            if what != "use":  # stands beside the counts
                screen.line(f"{what.replace('_', ' ')}: {_tell(said)}")
        screen.line(f"{number_of(card['media_files'], 'file')}, digest {card['digest']}")

    session.screen.finish({"folder": str(folder), "card": card}, print_card)


@data.command(epilog=example("curiosity data check pairs/world"))
@click.argument("folder", type=PATH)
@session_options()
def check(session: Session, folder: Path) -> int:
    """Hash every file of a pair set again and decode every item as a validator does."""
    from curiosity.embedding.modalities import decode
    from curiosity.sources.pairset import check_pair_set, read_pairs

    pairs = check_pair_set(folder)
    items: dict[tuple[str, Path], SourceItem] = {
        (item.modality, item.path): item for pair in read_pairs(folder) for item in (pair.a, pair.b)
    }
    broken: list[dict[str, str]] = []
    with session.screen.progress("Decoding", len(items)) as meter:
        for item in items.values():
            try:
                decode(item.modality, item.read(), item.media_type)
            except Rejected as error:
                broken.append({"path": str(item.path), "code": error.code, "what": error.what})
            meter.advance(1, f"{len(broken)} broken" if broken else "")

    def print_result(screen: Screen) -> None:
        screen.line(
            f"Checked the digests of {number_of(pairs, 'pair')} with {number_of(len(items), 'item')}; "
            f"{len(broken)} cannot be decoded."
        )
        for one in broken[:20]:
            screen.line(f"{one['code']}: {one['path']}: {one['what']}")

    session.screen.finish({"pairs": pairs, "items": len(items), "broken": broken}, print_result)
    return int(ExitCode.SOURCE if broken else ExitCode.OK)


def _tell(said: object) -> str:
    """Return a part of a card in words: a list's sentences, a dictionary's counts."""
    if isinstance(said, dict):
        return ", ".join(f"{name} {count}" for name, count in said.items()) or "nothing"
    return " ".join(map(str, said)) if isinstance(said, list) else str(said)


def _show_counts(screen: Screen, folder: Path, card: dict[str, Any]) -> None:
    counts: dict[str, dict[str, int]] = card["counts"]
    kinds = dict.fromkeys(kind for by in counts.values() for kind in by)
    screen.table(
        f"{card['set']} in {folder}",
        ("", *counts),
        [(kind, *(by.get(kind, 0) for by in counts.values())) for kind in kinds],
    )
    if "about" in card:
        screen.line(f"use: {card['about']['use']}")
