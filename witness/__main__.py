"""``python -m witness run|keys|evidence``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from curiosity.host import console
from curiosity.host.files import write_whole
from curiosity.host.settings.witness import WitnessConfig
from curiosity.protocol.errors import SourceError

_PATH = click.Path(path_type=Path)
_DATA = click.option("--data-dir", type=_PATH, help="Folder of keys, heads and evidence.")
_NAME = click.option("--name", help="Name of the key, such as example.org/witness; must not change later.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def _settings(config_path: Path | None, **changes: object) -> WitnessConfig:
    from curiosity.host.settings.loader import find_config
    from witness.config import load_config

    given = {name: value for name, value in changes.items() if value}
    return replace(load_config(find_config(config_path)), **given)  # type: ignore[arg-type]


@click.group(context_settings=console.HELP)
def main() -> None:
    """Cosign the tree heads of logs that only grow, and keep evidence of those that do not."""


@main.command(epilog=console.example("curiosity witness run --name example.org/witness --log VKEY"))
@console.config_option
@_DATA
@_NAME
@click.option("--log", "logs", multiple=True, help="VKEY of a trusted log, or 'ORIGIN VKEY'; repeatable.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on; 0 picks a free one.")
@click.option("--ready-file", type=_PATH, help="Write the address here once it listens.")
@_JSON
@click.option("-v", "--verbose", is_flag=True, help="Log every request.")
def run(
    config_path: Path | None,
    data_dir: Path | None,
    name: str | None,
    logs: tuple[str, ...],
    host: str | None,
    port: int | None,
    ready_file: Path | None,
    as_json: bool,
    verbose: bool,
) -> None:
    """Answer add-checkpoint for the trusted logs (c2sp.org/tlog-witness), until Ctrl-C."""
    import asyncio

    from witness.app import serve

    console.log_service(verbose=verbose)
    config = _settings(config_path, data_dir=data_dir, name=name, logs=logs, host=host)
    if port is not None:
        config = replace(config, port=port)
    asyncio.run(serve(config, ready_file=ready_file, as_json=as_json))


@main.command(epilog=console.example("curiosity witness keys --name example.org/witness"))
@console.config_option
@_DATA
@_NAME
@click.option("--only", type=click.Choice(["vkey", "ml_dsa_vkey"]), help="Print this alone, for a file or a script.")
@_JSON
@console.logs_option
def keys(config_path: Path | None, data_dir: Path | None, name: str | None, only: str | None, as_json: bool) -> None:
    """Show the public keys, made now if there are none: for logs to ask under, and for whoever verifies to trust."""
    from witness.keys import load_keys

    config = _settings(config_path, data_dir=data_dir, name=name)
    ed25519, ml_dsa = load_keys(config.folder, config.name).vkeys
    facts = {"vkey": ed25519, "ml_dsa_vkey": ml_dsa}
    if only is not None:
        click.echo(facts[only])
    elif as_json:
        click.echo(json.dumps({"name": config.name, **facts}))
    else:
        click.echo("\n".join(f"{key}: {value}" for key, value in facts.items()))


@main.command(epilog=console.example("curiosity witness evidence --export 0123456789abcdef --out fork.json"))
@console.config_option
@_DATA
@click.option("--export", "id_", help="Write the evidence with this id.")
@click.option("--out", type=_PATH, help="Where to write it; by default standard output.")
@_JSON
@console.logs_option
def evidence(config_path: Path | None, data_dir: Path | None, id_: str | None, out: Path | None, as_json: bool) -> None:
    """List the forks that this witness has seen, or export one for others to check with `curiosity verify`."""
    from curiosity.protocol.evidence import check_evidence, encode_evidence
    from witness.evidence import EVIDENCE_FOLDER, read_evidence

    folder = _settings(config_path, data_dir=data_dir).folder / EVIDENCE_FOLDER
    kept = {one.id: one for _, one in read_evidence(folder)}
    if id_ is not None:
        if id_ not in kept:
            raise SourceError("EVIDENCE_NONE", f"no evidence {id_!r} in {folder}", "Leave --export out to list it.")
        data = encode_evidence(kept[id_])
        if out is None:
            click.echo(data.decode())
        else:
            write_whole(out, data)
            click.echo(json.dumps({"id": id_, "out": str(out)}) if as_json else f"Wrote {out}.")
        return
    found = [(one_id, check_evidence(one)) for one_id, one in kept.items()]
    if as_json:
        rows = [
            {
                "id": one_id,
                "origin": one.first.origin,
                "shown": one.shown.value,
                "is_fork": one.is_fork,
                "sizes": [one.first.size, one.second.size],
            }
            for one_id, one in found
        ]
        click.echo(json.dumps({"evidence": rows}))
    else:
        click.echo("\n".join(f"{one_id}  {one.sentence()}" for one_id, one in found) or "No evidence of any fork.")


if __name__ == "__main__":
    console.main(main, "curiosity witness")
