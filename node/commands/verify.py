"""`curiosity verify` and `curiosity prove`."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from node.command import PATH, Session, example, session_options
from node.receipts import SavedReceipt, check_proof, describe, read_saved, verify_saved, write_saved
from protocol.errors import ProofError, SourceError
from protocol.receipt import verify_receipt


def find_receipts(paths: Sequence[Path]) -> list[Path]:
    """Return the receipt files among files and folders. Raises SourceError RECEIPT_MISSING if there are none."""
    found: list[Path] = []
    for path in paths:
        found += sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not found:
        raise SourceError("RECEIPT_MISSING", f"no receipts in {', '.join(map(str, paths))}", "Submit something first.")
    return found


@click.command(epilog=example("curiosity verify ~/.curiosity/receipts", "curiosity verify receipt.json --json"))
@click.argument("paths", nargs=-1, type=PATH)
@click.option("--vkey", default="", help="Receipt key to trust; by default the pinned one, else the receipt's own.")
@click.option("--log-vkey", default="", help="Tree head key to trust, likewise.")
@session_options()
def verify(session: Session, paths: tuple[Path, ...], vkey: str, log_vkey: str) -> int:
    """Check receipts with no network: signature, entry, contributor's signature, inclusion proof if there is one."""
    files = find_receipts(paths or (session.home / "receipts",))
    proved, wrong = [], []
    for file in files:
        try:
            keys = (vkey or session.settings.node.receipt_vkey, log_vkey or session.settings.node.log_vkey)
            proved.append(verify_saved(read_saved(file), receipt_vkey=keys[0], log_vkey=keys[1]))
        except ProofError as error:
            wrong.append((file, error))
    if len(files) == 1 and wrong:
        raise wrong[0][1]
    result = {
        "verified": len(proved),
        "with_proof": sum(one.tree_size is not None for one in proved),
        "wrong": [{"file": str(file), **error.to_json()} for file, error in wrong],
    }
    if len(proved) == 1:
        result |= describe(proved[0])

    def show(_screen: object) -> None:
        if len(proved) == 1:
            session.screen.line(proved[0].sentence())
        else:
            trusted = {
                f"{one.receipt_vkey.split('+')[0]} ({'as pinned' if one.is_pinned else 'as kept beside the receipts'})"
                for one in proved
            }
            session.screen.line(
                f"{len(proved)} of {len(files)} receipts hold, {result['with_proof']} of them with an inclusion proof; "
                f"trusting {', '.join(sorted(trusted)) or 'no key'}."
            )
        for file, error in wrong:
            session.screen.line(f"{file.name}: {error.code}: {error.what}")

    session.screen.finish(result, show)
    return int(ProofError.exit_code) if wrong else 0


async def fetch_proofs(client: object, files: Sequence[Path]) -> int:
    """Fetch, check and save an inclusion proof for each receipt that has none; return how many were added."""
    from node.client import ValidatorClient

    assert isinstance(client, ValidatorClient)
    size = (await client.network()).ledger_size
    added = 0
    for file in files:
        saved: SavedReceipt = read_saved(file)
        if saved.proof is not None:
            continue
        checked = verify_receipt(saved.decision.receipt, saved.origin, saved.receipt_vkey)
        proof = await client.inclusion(checked.index, size)
        check_proof(proof, checked, saved.origin, saved.log_vkey)
        write_saved(file, replace(saved, proof=proof))
        added += 1
    return added


@click.command(epilog=example("curiosity prove ~/.curiosity/receipts"))
@click.argument("paths", nargs=-1, type=PATH)
@session_options(network=True)
def prove(session: Session, paths: tuple[Path, ...]) -> None:
    """Fetch inclusion proofs for receipts and keep them in the receipt files, for `verify` to check offline."""
    from node.client import ValidatorClient

    files = find_receipts(paths or (session.home / "receipts",))

    async def work() -> int:
        node = session.settings.node
        async with ValidatorClient(node.validator_url, patience_s=node.patience_s) as client:
            return await fetch_proofs(client, files)

    added = asyncio.run(work())
    session.screen.finish(
        {"receipts": len(files), "proofs_added": added},
        lambda screen: screen.line(f"{added} inclusion proofs fetched and checked, {len(files)} receipts in all."),
    )
