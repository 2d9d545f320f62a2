"""``python -m validator block``: the operator's list of refused items, on the validator's own machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curiosity.host import console
from curiosity.host.settings.loader import find_config
from curiosity.host.terminal import printable
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import Rejected, SourceError
from validator.config import load_settings

if TYPE_CHECKING:
    from curiosity.serving.block_list import BlockedItem

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group(context_settings=console.HELP, epilog=console.example("curiosity validator block add picture.jpg"))
def block() -> None:
    """Refuse items by their hashes; a running validator reads the list again when it has changed."""


@block.command(
    epilog=console.example(
        "curiosity validator block add picture.jpg --note 'case 12'",
        "curiosity validator block add --hash sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    )
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--hash", "hashes", multiple=True, help="sha256:, sha1: or md5: and the hex digits of a file; repeatable."
)
@click.option("--note", default="", help="What the list says beside each line.")
@console.config_option
@_JSON
@console.logs_option
def add(files: tuple[Path, ...], hashes: tuple[str, ...], note: str, config_path: Path | None, as_json: bool) -> None:
    """List files: their bytes, what they decode to, and what a picture looks like."""
    from curiosity.serving.block_list import read_blocked
    from validator.blocking import change_list, find_list

    path = find_list(load_settings(find_config(config_path)).validator)
    listed = list(read_blocked("".join(f"{one.replace(':', ' ', 1)} {note}\n" for one in hashes), "--hash"))
    for file in files:
        listed += _describe(file, note)
    added = change_list(path, add=listed)
    _say(as_json, {"added": added, "path": str(path)}, f"{number_of(added, 'line')} added to {path}.")


@block.command(epilog=console.example("curiosity validator block remove picture.jpg"))
@click.argument("what", nargs=-1, required=True)
@console.config_option
@_JSON
@console.logs_option
def remove(what: tuple[str, ...], config_path: Path | None, as_json: bool) -> None:
    """Take lines off the list: those of a file, or one by its hash in hex digits."""
    from curiosity.serving.block_list import KINDS
    from validator.blocking import change_list, find_list

    path = find_list(load_settings(find_config(config_path)).validator)
    wanted: set[tuple[str, bytes]] = set()
    for one in what:
        try:
            value = bytes.fromhex(one.rpartition(":")[2])
        except ValueError:
            wanted |= {(item.kind, item.value) for item in _describe(Path(one), "")}
        else:
            wanted |= {(kind, value) for kind in KINDS}
    removed = change_list(path, remove=wanted)
    said = f"{number_of(removed, 'line')} removed from {path}." if removed else f"{path} does not list it."
    _say(as_json, {"removed": removed, "path": str(path)}, said)


@block.command("list", epilog=console.example("curiosity validator block list --json"))
@console.config_option
@_JSON
@console.logs_option
def list_(config_path: Path | None, as_json: bool) -> None:
    """Show the list."""
    from validator.blocking import find_list, read_list

    config = load_settings(find_config(config_path)).validator
    items = read_list(find_list(config), must_exist=config.blocked_items is not None)
    plain = [{"kind": one.kind, "value": one.value.hex(), "note": one.note} for one in items]
    _say(as_json, {"items": plain}, "\n".join(one.line() for one in items) or "Nothing is listed.")


def _describe(file: Path, note: str) -> list[BlockedItem]:
    """Return the lines of a file; of one that cannot be decoded here its bytes only."""
    from curiosity.embedding.modalities import decode
    from curiosity.serving.block_list import describe_item
    from curiosity.sources.own.media_type import HEAD_BYTES, tell

    try:
        data = file.read_bytes()
    except OSError as error:
        raise SourceError("FILE_MISSING", f"{file}: {error.strerror}", "Give the path of a file.") from None
    try:
        modality, media_type = (
            ("text", "text/plain") if file.suffix == ".txt" else tell(data[:HEAD_BYTES], where=str(file))
        )
        return describe_item(data, modality, decode(modality, data, media_type), note)
    except (SourceError, Rejected) as error:
        click.echo(printable(f"{file}: listed by its bytes only ({error.code}: {error.what})."), err=True)
        return describe_item(data, "", None, note)


def _say(as_json: bool, facts: dict[str, object], words: str) -> None:
    click.echo(json.dumps(facts) if as_json else words)
