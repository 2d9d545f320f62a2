"""`curiosity submit`."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click

from node.client import ValidatorClient
from node.command import PATH, Session, example, session_options
from node.screen import Meter, Screen
from node.sources.folder import make_pair, read_folder
from node.sources.manifest import read_manifest
from node.sources.media_type import load_item
from node.sources.pairset import SourcePair, read_pairs
from node.submission import Contributor, Rules, Tally, submit_pairs
from node.wallet import find_wallet, read_password, unlock
from protocol.errors import CuriosityError, ExitCode, SourceError, WalletError
from protocol.messages import Decision
from protocol.verdict import Reason


def read_sources(paths: tuple[Path, ...], license: str, split: str) -> Iterator[SourcePair | SourceError]:
    """Yield pairs from what was named: two files, a folder, a manifest, or a pair set.

    Raises SourceError SOURCE_MISSING, SOURCE_UNKNOWN.
    """
    for path in paths:
        if not path.exists():
            raise SourceError("SOURCE_MISSING", f"there is no {path}", "Check the path.")
    if len(paths) == 2 and all(path.is_file() for path in paths):
        yield make_pair(
            load_item(paths[0]),
            load_item(paths[1]),
            id=paths[0].stem,
            set_name="own",
            concept="",
            row={},
            license=license or None,
            where=f"{paths[0].name} and {paths[1].name}",
        )
        return
    for path in paths:
        if path.is_file() and path.suffix == ".jsonl":
            yield from read_manifest(path, license=license or None)
        elif path.is_dir() and (path / "pairs.jsonl").is_file():
            yield from (pair for pair in read_pairs(path) if pair.split == split)
        elif path.is_dir():
            yield from read_folder(path, license=license or None)
        else:
            raise SourceError(
                "SOURCE_UNKNOWN",
                f"{path} is neither a folder nor a .jsonl manifest, and one file alone is no pair",
                "Name two files, a folder of captioned pictures, or a manifest.",
            )


@click.command(
    epilog=example(
        "curiosity submit cat.png cat.txt --wallet alice --license CC-BY-4.0",
        "curiosity submit holiday/ --wallet alice --license CC-BY-4.0",
        "curiosity submit pairs.jsonl --wallet alice",
    )
)
@click.argument("paths", nargs=-1, required=True, type=PATH)
@click.option("--wallet", "wallet_name", help="Wallet that signs and will be paid.")
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@click.option("--license", "license_", default="", help="SPDX expression for what states none, such as CC-BY-4.0.")
@click.option("--split", default="submit", show_default=True, help="Split of a pair set to submit.")
@click.option("--limit", type=click.IntRange(min=1), help="Submit at most so many.")
@click.option("--again", is_flag=True, help="Submit what has a result already, too.")
@click.option("--prove", is_flag=True, help="Fetch an inclusion proof for each receipt at the end.")
@session_options(network=True)
def submit(
    session: Session,
    paths: tuple[Path, ...],
    wallet_name: str | None,
    password_file: Path | None,
    license_: str,
    split: str,
    limit: int | None,
    again: bool,
    prove: bool,
) -> int:
    """Submit pairs: two files, a folder, a JSONL manifest, or a pair set.

    A folder holds pictures or sounds with a text file of the same name beside each (cat.png, cat.txt), or a
    captions.csv, captions.jsonl or metadata.jsonl. Interrupt it at any time and run the same command again: it goes on,
    nothing is submitted twice and no receipt is lost. Metadata such as a camera's position is removed first.
    """
    node = session.settings.node
    name = wallet_name or node.wallet
    if not name:
        raise WalletError("WALLET_NEEDED", "no wallet was named", "Give --wallet NAME, or set [node] wallet.")
    license_ = license_ or node.license
    rows = _take(read_sources(paths, license_, split), limit)
    first = next(rows, None)  # a wrong path should not ask for a password first
    if first is None:
        raise SourceError("SOURCE_EMPTY", f"{paths[0]} holds no pairs", "Put captioned pictures or sounds there.")
    found = find_wallet(session.home, name)
    key = unlock(found, read_password(password_file, prompt=f"Password of {name}"))
    rules = Rules(
        license=license_,
        concurrency=node.concurrency,
        lifetime_s=node.signature_lifetime_s,
        again=again,
        receipt_vkey=node.receipt_vkey,
        log_vkey=node.log_vkey,
        origin=node.origin,
    )

    def chained() -> Iterator[SourcePair | SourceError]:
        assert first is not None
        yield first
        yield from rows

    async def work() -> tuple[Tally, int]:
        async with ValidatorClient(
            node.validator_url, patience_s=node.patience_s, timeout_s=node.request_timeout_s
        ) as client:
            network = await client.network()
            with session.screen.progress("Submitting", None) as meter:
                tally = await submit_pairs(
                    chained(),
                    client=client,
                    network=network,
                    contributor=Contributor(key, found.address, session.home),
                    rules=rules,
                    watch=_Watch(meter),
                )
            proofs = 0
            if prove:
                from node.commands.verify import fetch_proofs

                proofs = await fetch_proofs(client, sorted((session.home / "receipts").glob("*.json")))
            return tally, proofs

    tally, proofs = asyncio.run(work())
    result = tally.to_json() | {"receipts": str(session.home / "receipts")} | ({"proofs": proofs} if prove else {})
    session.screen.finish(result, lambda screen: show_tally(screen, tally, session.home))
    if tally.decided or tally.known:
        return int(ExitCode.OK)
    return int(ExitCode.REJECTED if tally.refused else ExitCode.SOURCE)


def _take(rows: Iterator[SourcePair | SourceError], limit: int | None) -> Iterator[SourcePair | SourceError]:
    for number, row in enumerate(rows):
        if limit is not None and number >= limit:
            return
        yield row


class _Watch:
    """Shows how a run goes: accepted, the rest by reason, pairs per second."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._codes: Counter[str] = Counter()
        self._started = time.monotonic()

    def __call__(self, _source: SourcePair, outcome: Decision | CuriosityError) -> None:
        code = outcome.code if isinstance(outcome, CuriosityError) else outcome.verdict.reason.value
        self._codes["accepted" if code == Reason.BELONGS_TOGETHER else code] += 1
        counts = ", ".join(f"{count} {name}" for name, count in self._codes.most_common())
        rate = self._codes.total() / max(time.monotonic() - self._started, 1e-3)
        self._meter.advance(1, f"{counts}; {rate:.1f} pairs/s")


def show_tally(screen: Screen, tally: Tally, home: Path) -> None:
    """Print what came of a run for people."""
    rows: list[tuple[object, ...]] = [("accepted", tally.accepted, "")]
    rows += [("rejected", count, reason) for reason, count in tally.rejected.most_common()]
    rows += [("refused", count, code) for code, count in tally.refused.most_common()]
    codes = Counter(error.code for error in tally.unreadable)
    rows += [("not readable", count, code) for code, count in codes.most_common()]
    if tally.known:
        rows.append(("known from an earlier run", tally.known, "--again submits them too"))
    screen.table("", ("", "pairs", "why"), rows)
    for error in tally.unreadable[:10]:
        screen.line(f"{error.code}: {error.what}. {error.remedy}")
    if len(tally.unreadable) > 10:
        screen.line(f"... and {len(tally.unreadable) - 10} more that could not be read.")
    rate = tally.decided / tally.seconds if tally.seconds else 0.0
    screen.line(
        f"{tally.receipts_verified} receipts verified and kept in {home / 'receipts'}; {rate:.1f} pairs per second."
    )
