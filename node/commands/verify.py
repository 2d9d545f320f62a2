"""`curiosity verify` and `curiosity prove`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curiosity.host.console import example
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import ProofError
from node.command import PATH, Callback, Session, open_client, session_options

if TYPE_CHECKING:
    from curiosity.client.check import Checked
    from curiosity.client.trust import Trust


def trust_options(callback: Callback) -> Callback:
    """Add ``--log-vkey``, ``--origin``, ``--witness-vkey`` and ``--quorum``, each outweighing the settings.

    Goes below `session_options`. The command is given ``trust``, whom it says to trust, with its ``--vkey`` if it has
    that; ConfigError VKEY_UNUSABLE or QUORUM_UNREACHABLE is raised before it begins.
    """

    @functools.wraps(callback)
    def with_trust(
        session: Session,
        *args: Any,
        log_vkey: str,
        origin: str,
        witness_vkeys: tuple[str, ...],
        quorum: int | None,
        vkey: str = "",
        **kwargs: Any,
    ) -> Any:
        from curiosity.client.trust import Trust

        node = session.settings.node
        trust = Trust(
            receipt_vkey=vkey or node.receipt_vkey,
            log_vkey=log_vkey or node.log_vkey,
            origin=origin or node.origin,
            witness_vkeys=witness_vkeys or node.witness_vkeys,
            quorum=node.quorum if quorum is None else quorum,
        ).check()
        return callback(session, *args, trust=trust, **kwargs)

    wrapped: Any = with_trust
    for option in (
        click.option("--quorum", type=click.IntRange(0), help="How many trusted witnesses must have cosigned."),
        click.option("--witness-vkey", "witness_vkeys", multiple=True, help="Key of a trusted witness; repeatable."),
        click.option("--origin", default="", help="Origin of the ledger, if its key has another name."),
        click.option("--log-vkey", default="", help="Tree head key to trust; by default the pinned one."),
    ):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


@click.command(
    epilog=example(
        "curiosity verify ~/.curiosity/receipts",
        "curiosity verify receipt.json --witness-vkey KEY --quorum 1",
        "curiosity verify receipt.tlog-proof --log-vkey KEY --json",
        "curiosity verify fork.json --log-vkey KEY",
    )
)
@click.argument("paths", nargs=-1, type=PATH)
@click.option("--vkey", default="", help="Receipt key to trust; by default the pinned one, else the receipt's own.")
@click.option("--leaf", type=PATH, help="The entry of a tlog-proof, if the proof does not contain it.")
@session_options()
@trust_options
def verify(session: Session, paths: tuple[Path, ...], trust: Trust, leaf: Path | None) -> int:
    """Check receipts, offline proofs (.tlog-proof) and evidence of a fork without a network; say what each proves."""
    from curiosity.client.check import check_file
    from curiosity.client.proofs import find_receipts

    files = find_receipts(paths or (session.home / "receipts",))
    checked: list[Checked] = []
    wrong: list[tuple[Path, ProofError]] = []
    for file in files:
        try:
            checked.append(check_file(file, trust, leaf))
        except ProofError as error:
            wrong.append((file, error))
    if len(files) == 1 and wrong:
        raise wrong[0][1]
    result: dict[str, Any] = {
        "verified": len(checked),
        "with_proof": sum(one.has_proof for one in checked),
        "wrong": [{"file": str(file), **error.to_json()} for file, error in wrong],
    }
    if len(checked) == 1:
        result |= checked[0].facts

    def show(_screen: object) -> None:
        if len(checked) == 1:
            session.screen.line(checked[0].sentence)
        else:
            trusted = sorted({key for one in checked for key in one.keys})
            session.screen.line(
                f"{len(checked)} of {len(files)} hold, {result['with_proof']} of them with a proof of being in the "
                f"ledger's tree; trusting {', '.join(trusted) or 'no key'}."
            )
        for file, error in wrong:
            session.screen.line(f"{file.name}: {error.code}: {error.what}")

    session.screen.finish(result, show)
    return int(ProofError.exit_code) if wrong else 0


@click.command(epilog=example("curiosity prove ~/.curiosity/receipts", "curiosity prove --witness-vkey KEY --quorum 1"))
@click.argument("paths", nargs=-1, type=PATH)
@session_options(network=True)
@trust_options
def prove(session: Session, paths: tuple[Path, ...], trust: Trust) -> None:
    """Fetch a second receipt for each pair: a proof that its entry is in the tree, which `verify` checks offline."""
    import asyncio

    from curiosity.client.proofs import fetch_proofs, find_receipts

    files = find_receipts(paths or (session.home / "receipts",))

    async def work() -> int:
        async with open_client(session) as client:
            return await fetch_proofs(client, files, trust)

    added = asyncio.run(work())
    session.screen.finish(
        {"receipts": len(files), "proofs_added": added},
        lambda screen: screen.line(
            f"{number_of(added, 'proof')} fetched and checked, {number_of(len(files), 'receipt')} in all."
        ),
    )
