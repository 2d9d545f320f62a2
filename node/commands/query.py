"""`curiosity query`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curiosity.host.console import example
from curiosity.host.files import write_whole
from curiosity.host.paths import inside
from node.command import PATH, Session, open_client, session_options

if TYPE_CHECKING:
    from curiosity.protocol.messages import Answer, Found
    from node.screen import Screen


@click.command(
    epilog=example(
        'curiosity query "a red heart"',
        "curiosity query --image cat.png --to audio",
        "curiosity query --file grasp.touch.npy --to video --save found/",
    )
)
@click.argument("text", required=False)
@click.option("--file", type=PATH, help="Search with this file of any modality, recognised by its content.")
@click.option("--image", type=PATH, help="Search with this picture.")
@click.option("--sound", "--audio", "sound", type=PATH, help="Search with this sound.")
@click.option("--modality", help="Modality of the file, if neither its name nor its content shows it.")
@click.option("--to", default="image", show_default=True, help="Modality to find: image, text, audio, video, touch...")
@click.option("-k", "count", type=click.IntRange(1, 100), default=10, show_default=True, help="How many.")
@click.option("--all", "shows_all", is_flag=True, help="Also what does not fit the query, nearest first.")
@click.option("--save", type=PATH, help="Save what was found into this folder.")
@session_options(network=True)
def query(
    session: Session,
    text: str | None,
    file: Path | None,
    image: Path | None,
    sound: Path | None,
    modality: str | None,
    to: str,
    count: int,
    shows_all: bool,
    save: Path | None,
) -> None:
    """Search the shared space by text, or by a file of any modality.

    Only what fits the query is shown: what is better than the best that nine in ten searches find for what is not
    there. A search that finds nothing that fits says so and ends with status 0; --all shows what is nearest all the
    same, with the probability of each, which knows how many items were searched.
    """
    import asyncio
    from dataclasses import replace

    from curiosity.protocol.counts import number_of
    from curiosity.protocol.wire import to_plain
    from curiosity.sources.own.item import check_item, load_item
    from curiosity.sources.own.media_type import EXTENSIONS

    if sum(given is not None for given in (text, file, image, sound)) != 1:
        raise click.UsageError("give one of TEXT, --file, --image, --sound")
    if modality is not None and file is None:
        raise click.UsageError("--modality goes with --file")
    if text is not None:
        kind, media_type, data = "text", "text/plain", text.encode()
    else:
        stated = "image" if image else "audio" if sound else modality
        item = load_item(file or image or sound or Path(), modality=stated)
        kind, media_type, data = item.modality, item.media_type, item.read()
        check_item(item, data, where="the query")

    def chosen(answer: Answer) -> tuple[Found, ...]:
        return answer.found if shows_all else answer.fitting

    async def work() -> Answer:
        async with open_client(session, patience_s=10.0) as client:
            answer = await client.query(kind, media_type, data, to, count)
            if save is not None:
                await asyncio.to_thread(save.mkdir, parents=True, exist_ok=True)
                for rank, found in enumerate(chosen(answer), start=1):
                    suffix = EXTENSIONS.get(found.media_type, "bin")
                    content = await client.item(found.sha256)
                    file = inside(save, f"{rank:03d}-{found.index}.{suffix}", one=True)
                    await asyncio.to_thread(write_whole, file, content)
            return answer

    answer = asyncio.run(work())
    rows = [
        (
            rank,
            f"{found.cosine_micro / 1e6:.3f}",
            "" if found.probability_micro is None else f"{found.probability_micro / 1e4:.1f} %",
            {True: "yes", False: "no", None: ""}[found.fits],
            found.text or found.partner_text or "",
            found.index,
            found.license,
        )
        for rank, found in enumerate(chosen(answer), start=1)
    ]
    left_out = len(answer.found) - len(rows)
    title = f"{kind} to {to}, {answer.indexed} indexed, checkpoint {answer.checkpoint.hex()[:12]}"

    def show(screen: Screen) -> None:
        if not rows:
            said = f"Nothing fits. {title[0].upper()}{title[1:]}." if left_out else f"Nothing was found: {title}."
            screen.line(said + (f" --all shows the {left_out} nearest." if left_out else ""))
            return
        screen.table(title, ("", "cosine", "probability", "fits", "text or caption", "entry", "licence"), rows)
        if left_out:
            screen.line(f"{left_out} of the {len(answer.found)} nearest did not fit; --all shows them.")
        if save is not None:
            screen.line(f"{number_of(len(rows), 'file')} written to {save}.")

    session.screen.finish(to_plain(replace(answer, found=chosen(answer))) | {"left_out": left_out}, show)
