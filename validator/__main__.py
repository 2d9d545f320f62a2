"""``python -m validator run|keys|check|block``."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curiosity.host import console
from curiosity.host.files import make_folder, write_whole
from curiosity.host.settings.loader import find_config
from curiosity.protocol.counts import number_of
from validator.block_command import block
from validator.config import ServiceSettings, load_settings

if TYPE_CHECKING:
    from validator.importer import Imported
    from validator.service import Service


async def serve(settings: ServiceSettings, *, ready_file: Path | None, as_json: bool) -> None:
    """Listen until SIGINT or SIGTERM, then finish what was admitted.

    Raises:
        StoreError: The one that stopped the ledger, once all is closed: only a new start finds out what is durable.
    """
    import asyncio

    from curiosity.host.port.listen import url_of
    from validator.app import build, listen, settle_memory

    service: Service = await build(settings)
    runner = await listen(service)
    settle_memory()
    config = settings.validator
    port = runner.addresses[0][1]
    url = url_of(config.host, port)
    facts = {
        "url": url,
        "origin": service.origin,
        "receipt_vkey": service.receipt_vkey,
        "checkpoint": "0x" + service.embedder.checkpoint.hex(),
        "device": service.embedder.device,
        "ledger_size": service.ledger.size,
    }
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(f"Validator {service.origin} listens on {url}; ledger of {number_of(service.ledger.size, 'entry')}.")
        click.echo(f"Receipt key, to pin: {facts['receipt_vkey']}")
    sys.stdout.flush()
    if ready_file is not None:
        await asyncio.to_thread(write_whole, ready_file, json.dumps(facts).encode())
    ends = [asyncio.create_task(event.wait()) for event in (stop, service.batches.failed)]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for task in ends:
        task.cancel()
    await runner.cleanup()
    if service.batches.failure is not None:
        raise service.batches.failure


_KEYS = ("origin", "receipt_vkey", "log_vkey", "attestation_address")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(context_settings=console.HELP)
def main() -> None:
    """Run a validator, or look at one."""


@main.command(epilog=console.example("curiosity validator run --config curiosity.toml"))
@console.config_option
@click.option("--ready-file", type=click.Path(path_type=Path), help="Write the address here once it listens.")
@_JSON
@click.option("-v", "--verbose", is_flag=True, help="Log every request.")
def run(config_path: Path | None, ready_file: Path | None, as_json: bool, verbose: bool) -> None:
    """Take pairs, judge them, keep the ledger, close epochs, answer searches; until Ctrl-C."""
    import asyncio

    console.log_service(verbose=verbose)
    asyncio.run(serve(load_settings(find_config(config_path)), ready_file=ready_file, as_json=as_json))


@main.command(epilog=console.example("curiosity validator keys --config curiosity.toml"))
@console.config_option
@click.option("--only", type=click.Choice(_KEYS), help="Print this alone, for a file or a script.")
@_JSON
@console.logs_option
def keys(config_path: Path | None, only: str | None, as_json: bool) -> None:
    """Show the public keys, made now if there are none: for contributors to pin and for the contract to register."""
    from curiosity.protocol.signing import address_of, checksum
    from validator.keys import load_keys

    config = load_settings(find_config(config_path)).validator
    made = load_keys(config.data_dir.expanduser() / "keys", config.name)
    facts = {
        "origin": config.name,
        "receipt_vkey": made.receipt.verifier.vkey(),
        "log_vkey": made.log.verifier.vkey(),
        "attestation_address": checksum(address_of(made.attestation)),
    }
    if only is not None:
        click.echo(facts[only])
        return
    click.echo(json.dumps(facts) if as_json else "\n".join(f"{name}: {value}" for name, value in facts.items()))


@main.command(epilog=console.example("curiosity validator check --config curiosity.toml"))
@console.config_option
@click.option(
    "--pairs", is_flag=True, help="Also compare every pair, receipt and item with its entry; reads every item."
)
@_JSON
@console.logs_option
def check(config_path: Path | None, pairs: bool, as_json: bool) -> None:
    """Hash the whole ledger again and compare it with what was signed; stop the validator first."""
    from curiosity.protocol.signing import Domain
    from validator.app import connect_chain
    from validator.importer import read_mark
    from validator.keys import load_keys
    from validator.ledger import Ledger
    from validator.store import Store

    settings = load_settings(find_config(config_path))
    config = settings.validator
    folder = config.data_dir.expanduser().resolve()
    mirrored = read_mark(folder)
    name = config.name if mirrored is None else mirrored.network.name
    made = load_keys(folder / "keys", name)
    with Store.open(config.url) as store:
        ledger = Ledger(
            store,
            origin=name,
            log_signer=made.log,
            receipt_signer=made.receipt,
            head_path=folder / "tree-head.txt",
            clock=lambda: int(time.time()),
        )
        ledger.verify()
        if pairs and mirrored is not None:
            ledger.verify_pairs(mirrored.network.domain, receipt_vkey=mirrored.network.receipt_vkey)
        elif pairs:
            _, addresses = connect_chain(settings)
            ledger.verify_pairs(Domain(addresses.chain_id, addresses.rewards))
        facts = {"entries": ledger.size, "root": "0x" + ledger.root().hex()}
    click.echo(json.dumps(facts) if as_json else f"{number_of(ledger.size, 'entry')} verified; root {facts['root']}.")


@main.command("import", epilog=console.example("curiosity ledger import export/ --config curiosity.toml"))
@click.argument("export", type=click.Path(path_type=Path))
@console.config_option
@click.option("--log-vkey", default="", help="Tree head key to trust; by default the one in the export.")
@click.option("--receipt-vkey", default="", help="Receipt key to trust; by default the one in the export.")
@click.option(
    "--without-blocked", is_flag=True, help="Continue the log although content that was taken down may come back."
)
@_JSON
@console.logs_option
def import_(
    export: Path, config_path: Path | None, log_vkey: str, receipt_vkey: str, without_blocked: bool, as_json: bool
) -> None:
    """Build the store again from an exported ledger, or bring a copy up to date; stop the validator first.

    With the ledger's own keys in the data folder, the validator continues it; with others it is a read-only copy.
    """
    from curiosity.ledger.reader import opened_copy
    from validator.importer import MirrorRecord, import_ledger, write_mark
    from validator.keys import load_keys
    from validator.new_folder import left_as_found
    from validator.store import Store

    config = load_settings(find_config(config_path)).validator
    folder = config.data_dir.expanduser().resolve()

    def tell(done: int, total: int) -> None:
        new.is_kept = True
        click.echo(f"Importing: {done}/{total}", err=True)

    with opened_copy(export, log_vkey) as found, left_as_found(folder) as new:
        make_folder(folder, mode=0o700)
        made = load_keys(folder / "keys", found.network.name)
        with Store.open(config.url) as store:
            done = import_ledger(
                found,
                store,
                keys=made,
                head_path=folder / "tree-head.txt",
                receipt_vkey=receipt_vkey,
                without_blocked=without_blocked,
                progress=tell,
            )
        write_mark(folder, MirrorRecord(found.network, found.note) if done.read_only else None)
    facts = {**vars(done), "root": "0x" + done.root.hex()}
    click.echo(json.dumps(facts) if as_json else _sentences(done))


main.add_command(block)


def _sentences(done: Imported) -> str:
    role = "a read-only copy" if done.read_only else "the ledger of this validator's own key"
    text = f"{number_of(done.size, 'entry')} ({done.entries} new) with {number_of(done.pairs, 'pair')}, root "
    text += f"0x{done.root.hex()}: {role}."
    if done.taken_down:
        known = "is known here" if not done.unknown else f"is not known here for {done.unknown} of them"
        takes = "; a copy takes nothing in" if done.unknown and done.read_only else ""
        text += f"\n{number_of(done.taken_down, 'pair')} taken down; what must not come back {known}{takes}."
    return text


if __name__ == "__main__":
    console.main(main, "curiosity ledger" if sys.argv[1:2] == ["import"] else "curiosity validator")
