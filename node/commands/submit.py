"""`curiosity submit`."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import click

from curiosity.client.outcome import ACCEPTED, PairOutcome, short
from curiosity.client.preview import preview
from curiosity.client.proofs import fetch_proofs
from curiosity.client.submission import Contributor, Rules, Tally, submit_pairs
from curiosity.client.wallet import find_wallet
from curiosity.host.console import example
from curiosity.protocol.errors import CuriosityError, ExitCode, Overloaded, ServiceError, SourceError, WalletError
from curiosity.protocol.messages import Decision, Network
from curiosity.protocol.verdict import Reason
from curiosity.sources.own.own import read_sources
from curiosity.sources.pairset import SourcePair
from node.command import PATH, Session, open_client, session_options
from node.conversion_table import show_conversions
from node.prompts import unlock_wallet
from node.screen import ProgressMeter, Screen

_SHOWN: Final = 20  # pairs listed for people; --json has all


@click.command(
    epilog=example(
        "curiosity submit cat.png cat.txt --wallet alice --license CC-BY-4.0",
        "curiosity submit holiday/ --wallet alice --license CC-BY-4.0",
        "curiosity submit pairs.jsonl --wallet alice",
        "curiosity submit 'train-{000..012}.tar' --wallet alice --pairs video-touch,action-video",
        "curiosity submit photos.parquet --columns image=img,text=caption --license MIT --dry-run",
    )
)
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option("--wallet", "wallet_name", help="Wallet that signs and will be paid.")
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@click.option("--license", "license_", default="", help="SPDX expression for what states none, such as CC-BY-4.0.")
@click.option("--split", default="submit", show_default=True, help="Split of a pair set to submit.")
@click.option("--pairs", default="", help="Pairs of modalities to submit, such as video-touch,image-text; else all.")
@click.option("--columns", default="", help="What the columns of a Parquet file hold: image=img,text=caption.")
@click.option("--limit", type=click.IntRange(min=1), help="Submit at most so many.")
@click.option("--again", is_flag=True, help="Submit what has a result already, too.")
@click.option("--dry-run", is_flag=True, help="Read and check everything, show what would be sent, send nothing.")
@click.option("--prove", is_flag=True, help="Fetch an inclusion proof for each receipt at the end.")
@session_options(network=True)
def submit(
    session: Session,
    paths: tuple[Path, ...],
    wallet_name: str | None,
    password_file: Path | None,
    license_: str,
    split: str,
    pairs: str,
    columns: str,
    limit: int | None,
    again: bool,
    dry_run: bool,
    prove: bool,
) -> int:
    """Submit pairs: files, a folder, a JSONL manifest, WebDataset shards, Parquet, or a pair set.

    In a folder files of one name belong together (cat.png, cat.txt; grasp1.mp4, grasp1.touch.npy), or a captions.csv,
    captions.jsonl or metadata.jsonl says what does. Every two of them that differ in modality are a pair. Interrupt it
    at any time and run the same command again: it goes on, nothing is submitted twice and no receipt is lost. Metadata
    such as a camera's position is removed, HEIC, AVIF, BMP and TIFF become PNG, MP3, M4A and Opus become FLAC, and
    every item is decoded once, before anything is signed.
    """
    node = session.settings.node
    name = wallet_name or node.wallet
    if not name and not dry_run:
        raise WalletError("WALLET_NEEDED", "no wallet was named", "Give --wallet NAME, or set [node] wallet.")
    license_ = license_ or node.license
    rows = _take(_open(paths, license_, split, pairs, columns), limit)
    first = next(rows, None)  # a wrong path should not ask for a password first
    if first is None:
        raise SourceError("SOURCE_EMPTY", f"{paths[0]} holds no such pairs", "Check --split and --pairs.")
    if dry_run:
        return _preview(session, chain([first], rows), license_)
    found = find_wallet(session.home, name)
    key = unlock_wallet(found, password_file)
    rules = Rules(
        license=license_,
        concurrency=node.concurrency,
        lifetime_s=node.signature_lifetime_s,
        again=again,
        receipt_vkey=node.receipt_vkey,
        log_vkey=node.log_vkey,
        origin=node.origin,
    )

    tally = Tally()

    async def work() -> int:
        async with open_client(session) as client:
            network = await client.network()
            with session.screen.progress("Submitting", None) as meter:
                watch = _Watch(meter)
                await submit_pairs(
                    watch.count(chain([first], rows)),
                    client=client,
                    network=network,
                    contributor=Contributor(key, found.address, session.home),
                    rules=rules,
                    watch=watch,
                    tally=tally,
                )
            proofs = 0
            if prove:
                proofs = await fetch_proofs(client, sorted((session.home / "receipts").glob("*.json")))
            return proofs

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


def _open(
    paths: tuple[Path, ...], license: str, split: str, pairs: str, columns: str
) -> Iterator[SourcePair | SourceError]:
    from curiosity.sources.own.group import parse_pairs  # these load NumPy or pyarrow, where they are asked for

    mapping = None
    if columns:
        from curiosity.sources.own.parquet import parse_columns

        mapping = parse_columns(columns)
    wanted = parse_pairs(pairs) if pairs else frozenset()
    return read_sources(paths, license=license or None, split=split, pairs=wanted, columns=mapping)


async def _look(session: Session) -> Network | CuriosityError:
    """What the network says of itself, asked once; or why it says nothing."""
    try:
        async with open_client(session, patience_s=0.0, timeout_s=10.0) as client:
            return await client.network()
    except (ServiceError, Overloaded) as error:
        return error


def _preview(session: Session, rows: Iterable[SourcePair | SourceError], license: str) -> int:
    told = asyncio.run(_look(session))
    network = told if isinstance(told, Network) else None
    with session.screen.progress("Reading", None) as meter:
        found = preview(
            rows, license=license, network=network, watch=lambda so_far: meter.advance(1, f"{so_far.items} items")
        )
    if isinstance(told, CuriosityError):
        checked = f"Licences and modalities were not compared with a network's: {told.code}: {told.what}."
    else:
        checked = f"Licences and modalities are those that {told.name} takes."

    def show(screen: Screen) -> None:
        counts = [(pair, count) for pair, count in sorted(found.pairs.items())]
        screen.table("would be sent", ("modalities", "pairs"), counts)
        for row in found.rows[:_SHOWN]:
            halves = " + ".join(_describe(row[side]) for side in ("a", "b"))
            screen.line(f"{row['id']} ({row['license']}): {halves}")
        if found.pairs.total() > _SHOWN:
            screen.line(f"... and {found.pairs.total() - _SHOWN} more; --json lists them.")
        show_conversions(found.converted, screen)
        _show_unreadable(screen, found.unreadable)
        screen.line(checked)
        screen.line(f"{found.pairs.total()} pairs of {found.items} items, {found.item_bytes} bytes. Nothing was sent.")

    session.screen.finish(found.to_json() | {"network": network.name if network else None}, show)
    return int(ExitCode.OK if found.pairs else ExitCode.SOURCE)


def _describe(half: dict[str, Any]) -> str:
    said = f" {half['text'][:40]!r}" if "text" in half else f", {half['bytes']} bytes"
    return f"{half['modality']}{said}"


def _take(rows: Iterator[SourcePair | SourceError], limit: int | None) -> Iterator[SourcePair | SourceError]:
    for number, row in enumerate(rows):
        if limit is not None and number >= limit:
            return
        yield row


class _Watch:
    """Shows how a run goes: accepted, the rest by reason, pairs per second."""

    def __init__(self, meter: ProgressMeter) -> None:
        self._meter = meter
        self._codes: Counter[str] = Counter()
        self._read = 0
        self._started = time.monotonic()

    def count(self, rows: Iterable[SourcePair | SourceError]) -> Iterator[SourcePair | SourceError]:
        """The same rows; shows how many were read, also while those of an earlier run are passed over."""
        for row in rows:
            self._read += 1
            self._show(0)
            yield row

    def __call__(self, _source: SourcePair, outcome: Decision | CuriosityError) -> None:
        code = outcome.code if isinstance(outcome, CuriosityError) else outcome.verdict.reason.value
        self._codes["accepted" if code == Reason.BELONGS_TOGETHER else code] += 1
        self._show(1)

    def _show(self, by: int) -> None:
        counts = ", ".join(f"{count} {name}" for name, count in self._codes.most_common())
        rate = self._codes.total() / max(time.monotonic() - self._started, 1e-3)
        self._meter.advance(
            by, f"of {self._read} read; {counts}; {rate:.1f} pairs/s" if counts else f"{self._read} read"
        )


def show_tally(screen: Screen, tally: Tally, home: Path) -> None:
    """Print what came of a run for people: each pair that was not accepted with its files, all of a short run."""
    is_short = len(tally.pairs) <= _SHOWN
    listed = [one for one in tally.pairs if is_short or one.outcome != ACCEPTED]
    if listed:
        show_outcomes(screen, "" if is_short else "not accepted", listed[:_SHOWN])
    if len(listed) > _SHOWN:
        screen.line(f"... and {len(listed) - _SHOWN} more: curiosity receipts lists them, --json all.")
    rows: list[tuple[object, ...]] = [("accepted", tally.accepted, "")]
    rows += [("rejected", count, reason) for reason, count in tally.rejected.most_common()]
    if tally.grey:
        rows.append(("grey: undecided, costs nothing", tally.grey, Reason.GREY_ZONE.value))
    rows += [("refused: not decided", count, code) for code, count in tally.refused.most_common()]
    codes = Counter(error.code for error in tally.unreadable)
    rows += [("not readable", count, code) for code, count in codes.most_common()]
    rows += [("not for this validator", count, pair) for pair, count in tally.not_taken.most_common()]
    if tally.known:
        rows.append(("known from an earlier run", tally.known, "--again submits them too"))
    screen.table("", ("", "pairs", "why"), rows)
    show_conversions(tally.converted, screen)
    _show_unreadable(screen, tally.unreadable)
    if tally.not_taken:
        screen.line("What is not for this validator was not sent: its checkpoint does not judge such pairs.")
    fresh = [one for one in tally.pairs if one.outcome == ACCEPTED and not one.is_known]
    paid = sum(one.may_be_paid for one in fresh)
    if fresh:
        screen.line(
            f"{paid} of the {len(fresh)} accepted pairs may be paid when the epoch closes; "
            f"{len(fresh) - paid} are near to what the network knows already."
        )
    rate = tally.decided / tally.seconds if tally.seconds else 0.0
    screen.line(
        f"{tally.receipts_verified} receipts verified and kept in {home / 'receipts'}; {rate:.1f} pairs per second."
    )


def show_unfinished(screen: Screen, tally: Tally, home: Path) -> None:
    """Print how far a run came that ended before its end, and how to go on."""
    show_tally(screen, tally, home)
    screen.line(
        f"The run ended before its end: {tally.decided} pairs were decided by now, the others were not. Run the same "
        "command again: it goes on with these and sends nothing twice. curiosity receipts lists what was decided."
    )


def show_outcomes(screen: Screen, title: str, pairs: Sequence[PairOutcome]) -> None:
    """Print pairs as a table: files, verdict, reason and remedy in words, pay."""
    rows = [
        (f"{short(one.a)} + {short(one.b)}", one.outcome, f"{one.code}: {one.what}", one.remedy, one.pay)
        for one in pairs
    ]
    screen.table(title, ("files", "verdict", "why", "what to do", "pay"), rows)


def _show_unreadable(screen: Screen, errors: Sequence[SourceError]) -> None:
    for error in errors[:10]:
        screen.line(f"{error.code}: {error.what}. {error.remedy}")
    if len(errors) > 10:
        screen.line(f"... and {len(errors) - 10} more that could not be read.")
