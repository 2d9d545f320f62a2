"""`curiosity submit`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curiosity.host.console import example
from curiosity.protocol.counts import noun_of, number_of
from curiosity.protocol.errors import CuriosityError, ExitCode, SourceError
from node.command import PATH, Session, open_client, session_options, wallet_named
from node.completion import WALLET_NAME

if TYPE_CHECKING:
    from curiosity.protocol.messages import Network
    from curiosity.sources.pairset import SourcePair


@click.command(
    epilog=example(
        "curiosity submit cat.png cat.txt --wallet alice --license CC-BY-4.0",
        "curiosity submit holiday/ --wallet alice --license CC-BY-4.0",
        "curiosity submit pairs.jsonl --wallet alice",
        "curiosity submit --single night.jpg --wallet alice --license CC-BY-4.0",
        "curiosity submit 'train-{000..012}.tar' --wallet alice --pairs video-touch,action-video",
        "curiosity submit photos.parquet --columns image=img,text=caption --license MIT --dry-run",
    )
)
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option("--wallet", "wallet_name", type=WALLET_NAME, help="Wallet that signs and will be paid.")
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@click.option("--license", "license_", default="", help="SPDX expression for pairs that state none, such as CC-BY-4.0.")
@click.option("--generated", is_flag=True, help="Declare that a program generated an item of every pair.")
@click.option("--split", default="submit", show_default=True, help="Split of a pair set to submit.")
@click.option("--pairs", default="", help="Pairs of modalities to submit, such as video-touch,image-text; else all.")
@click.option("--columns", default="", help="Columns of a Parquet file by modality: image=img,text=caption.")
@click.option("--limit", type=click.IntRange(min=1), help="Submit at most this many pairs.")
@click.option("--single", is_flag=True, help="Submit each file alone, as a single item.")
@click.option("--again", is_flag=True, help="Also submit pairs that have a decision already.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, show what would be sent, send nothing.")
@click.option("--prove", is_flag=True, help="Fetch an inclusion proof for each receipt at the end.")
@session_options(network=True)
def submit(
    session: Session,
    paths: tuple[Path, ...],
    wallet_name: str | None,
    password_file: Path | None,
    license_: str,
    generated: bool,
    split: str,
    pairs: str,
    columns: str,
    limit: int | None,
    single: bool,
    again: bool,
    dry_run: bool,
    prove: bool,
) -> int:
    """Submit pairs: files, a folder, a JSONL manifest, WebDataset shards, Parquet, or a pair set.

    In a folder, files of one name belong together (cat.png, cat.txt; grasp1.mp4, grasp1.touch.npy), or a captions.csv,
    captions.jsonl or metadata.jsonl says which do. Every two items that belong together and differ in modality are a
    pair. You can interrupt the command at any time and run it again: it continues, submits nothing twice and loses no
    receipt. A single item (--single) is taken where the rule of pay has a pool for items. Before anything is signed,
    metadata such as a camera's position is removed, HEIC, AVIF, BMP and TIFF become PNG, MP3, M4A and Opus become FLAC,
    and every item is decoded once.

    If a file's metadata says that a program generated it, the pair is sent as generated; declare it with --generated
    where the file says nothing. All generated pairs together earn at most a share of each epoch.
    """
    import asyncio

    from curiosity.client.submission import Contributor, Rules, Tally
    from curiosity.client.submit import submit as send
    from curiosity.sources.own.own import open_sources, read_singles
    from node.prompts import unlock_wallet
    from node.submit_report import SubmissionWatch, show_tally, show_unfinished

    node = session.settings.node
    license_ = license_ or node.license
    # A wrong path is said before a wallet is asked for.
    if single:
        rows = read_singles(paths, license=license_, limit=limit)
    else:
        rows = open_sources(paths, license=license_, split=split, pairs=pairs, columns=columns, limit=limit)
    if dry_run:
        return _preview(session, rows, license_, generated)
    wallet = wallet_named(session, wallet_name)
    contributor = Contributor(unlock_wallet(wallet, password_file), wallet.address, session.home)
    rules = Rules(
        license=license_,
        concurrency=node.concurrency,
        lifetime_s=node.signature_lifetime_s,
        again=again,
        generated=generated,
        receipt_vkey=node.receipt_vkey,
        log_vkey=node.log_vkey,
        origin=node.origin,
    )

    tally = Tally()

    async def work() -> int:
        async with open_client(session) as client:
            with session.screen.progress("Submitting", None) as meter:
                watch = SubmissionWatch(meter)
                return await send(client, rows, contributor, rules, tally=tally, watch=watch, proves=prove)

    try:
        proofs = asyncio.run(work())
    except (CuriosityError, KeyboardInterrupt):
        if tally.pairs and not session.screen.as_json:
            show_unfinished(session.screen, tally, session.home)
        raise
    result = tally.to_json() | {"receipts": str(session.home / "receipts")} | ({"proofs": proofs} if prove else {})
    session.screen.finish(result, lambda screen: show_tally(screen, tally, session.home))
    if tally.decided or tally.known:
        return int(ExitCode.OK)
    return int(ExitCode.REJECTED if tally.refused or tally.not_taken else ExitCode.SOURCE)


def _preview(session: Session, rows: Iterable[SourcePair | SourceError], license: str, generated: bool) -> int:
    import asyncio

    from curiosity.client.preview import preview
    from curiosity.client.submit import ask_network
    from curiosity.protocol.messages import Network
    from node.submit_report import show_preview

    async def look() -> Network | CuriosityError:
        async with open_client(session, patience_s=0.0, timeout_s=10.0) as client:
            return await ask_network(client)

    told = asyncio.run(look())
    network = told if isinstance(told, Network) else None
    with session.screen.progress("Reading", None) as meter:
        found = preview(
            rows,
            license=license,
            generated=generated,
            network=network,
            watch=lambda so_far: meter.advance(
                1, f"{noun_of(so_far.looked_at + 1, 'pair')}, {number_of(so_far.items, 'item')}"
            ),
        )
    if isinstance(told, CuriosityError):
        checked = f"Licences and modalities were not compared with a network's: {told.code}: {told.what}."
    else:
        checked = f"Licences and modalities are those that {told.name} takes."

    session.screen.finish(
        found.to_json() | {"network": network.name if network else None},
        lambda screen: show_preview(screen, found, checked),
    )
    if found.pairs:
        return int(ExitCode.OK)
    return int(ExitCode.REJECTED if found.not_taken else ExitCode.SOURCE)
