"""``python -m validator``: run one validator until it is told to stop."""

import asyncio
import json
import logging
import signal
import sys
from pathlib import Path

import click
from aiohttp import web

from protocol.errors import ConfigError, CuriosityError, ExitCode
from validator.app import build, make_application
from validator.config import Settings, load_settings
from validator.service import Service


async def serve(settings: Settings, *, ready_file: Path | None, as_json: bool) -> None:
    """Listen until SIGINT or SIGTERM, then finish what was admitted."""
    service: Service = await build(settings)
    runner = web.AppRunner(make_application(service), auto_decompress=False, access_log=None)
    await runner.setup()
    config = settings.validator
    site = web.TCPSite(runner, config.host, config.port, reuse_address=True)
    try:
        await site.start()
    except OSError as error:
        await runner.cleanup()
        raise ConfigError(
            "PORT_TAKEN",
            f"cannot listen on {config.host}:{config.port}: {error.strerror}",
            "Stop the other program, or set [validator] port (0 picks a free one).",
        ) from None
    port = runner.addresses[0][1]
    url = f"http://{config.host}:{port}"
    facts = {
        "url": url,
        "origin": config.name,
        "receipt_vkey": service.keys.receipt.verifier.vkey(),
        "checkpoint": "0x" + service.embedder.checkpoint.hex(),
        "device": service.embedder.device,
        "ledger_size": service.ledger.size,
    }
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo(f"Validator {config.name} listens on {url}; ledger of {service.ledger.size} entries.")
        click.echo(f"Receipt key, to pin: {facts['receipt_vkey']}")
    sys.stdout.flush()
    if ready_file is not None:
        await asyncio.to_thread(ready_file.write_text, json.dumps(facts))
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    await stop.wait()
    await runner.cleanup()


@click.command(
    epilog="Example: curiosity validator run --config curiosity.toml",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option("--config", "config_path", type=click.Path(path_type=Path), envvar="CURIOSITY_CONFIG", help="TOML file.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Write the address here once it listens.")
@click.option("--json", "as_json", is_flag=True, help="Print the address as one JSON object.")
@click.option("-v", "--verbose", is_flag=True, help="Log every request.")
def main(config_path: Path | None, ready_file: Path | None, as_json: bool, verbose: bool) -> None:
    """Run a validator: take pairs, judge them, keep the ledger, close epochs, answer searches."""
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s level=%(levelname)s %(message)s"
    )
    try:
        asyncio.run(serve(load_settings(config_path), ready_file=ready_file, as_json=as_json))
    except CuriosityError as error:
        if as_json:
            click.echo(json.dumps({"error": error.to_json()}))
        click.echo(f"{error.code}: {error.what}. {error.remedy}", err=True)
        sys.exit(int(error.exit_code))
    except KeyboardInterrupt:
        sys.exit(int(ExitCode.INTERRUPTED))


if __name__ == "__main__":
    main(prog_name="curiosity validator run")
