"""`curiosity query`."""

import asyncio
from pathlib import Path

import click

from node.client import ValidatorClient
from node.command import PATH, Session, example, session_options
from node.sources.media_type import load_item
from protocol.messages import Answer
from protocol.wire import to_plain


@click.command(
    epilog=example('curiosity query "a red heart"', "curiosity query --image cat.png --to audio", "curiosity query two")
)
@click.argument("text", required=False)
@click.option("--image", type=PATH, help="Search with this picture.")
@click.option("--sound", type=PATH, help="Search with this sound.")
@click.option("--to", default="image", show_default=True, help="Modality to find: image, text, audio.")
@click.option("-k", "count", type=click.IntRange(1, 100), default=10, show_default=True, help="How many.")
@click.option("--save", type=PATH, help="Save what was found into this folder.")
@session_options(network=True)
def query(
    session: Session, text: str | None, image: Path | None, sound: Path | None, to: str, count: int, save: Path | None
) -> None:
    """Search the shared space by text, picture or sound."""
    if sum(given is not None for given in (text, image, sound)) != 1:
        raise click.UsageError("give one of TEXT, --image, --sound")
    if text is not None:
        modality, media_type, data = "text", "text/plain", text.encode()
    else:
        item = load_item(image or sound or Path())
        modality, media_type, data = item.modality, item.media_type, item.read()
    node = session.settings.node

    async def work() -> Answer:
        async with ValidatorClient(node.validator_url, patience_s=min(node.patience_s, 10.0)) as client:
            answer = await client.query(modality, media_type, data, to, count)
            if save is not None:
                await asyncio.to_thread(save.mkdir, parents=True, exist_ok=True)
                for rank, found in enumerate(answer.found, start=1):
                    suffix = found.media_type.split("/")[1].replace("plain", "txt")
                    content = await client.item(found.sha256)
                    await asyncio.to_thread((save / f"{rank:03d}-{found.index}.{suffix}").write_bytes, content)
            return answer

    answer = asyncio.run(work())
    rows = [
        (rank, f"{found.cosine_micro / 1e6:.3f}", found.text or found.partner_text or "", found.index, found.license)
        for rank, found in enumerate(answer.found, start=1)
    ]
    title = f"{modality} to {to}, {answer.indexed} indexed, checkpoint {answer.checkpoint.hex()[:12]}"
    session.screen.finish(
        to_plain(answer),
        lambda screen: screen.table(title, ("", "cosine", "text or caption", "entry", "licence"), rows),
    )
