"""`curiosity config`."""

from collections.abc import Mapping
from pathlib import Path

import click

from curiosity.host.console import example
from curiosity.host.files import write_new
from curiosity.host.settings.chain import ChainSettings
from curiosity.host.settings.loader import FILE_NAME, load_section, read_document
from curiosity.host.settings.sections import ROLES
from curiosity.host.settings.shown import shown_sections
from curiosity.host.settings.write import template
from curiosity.protocol.errors import ConfigError
from node.command import PATH, Session, session_options


@click.group(epilog=example("curiosity config show"))
def config() -> None:
    """Show or write the settings file."""


@config.command(epilog=example("curiosity config show --json"))
@session_options()
def show(session: Session) -> None:
    """Show every setting in force, without passwords in URLs and with only scheme, host and port of a chain's URLs."""
    settings = session.settings
    document = read_document(settings.file)
    # A validator without rpc_url has no chain; the default address is the contributor's.
    chain = load_section(ChainSettings, "chain", settings.file) if _is_validators(document) else settings.chain
    sections = shown_sections(settings.file, {"node": settings.node, "chain": chain})
    rows = [
        (f"[{section}] {name}", _shown(value)) for section, part in sections.items() for name, value in part.items()
    ]
    file = str(settings.file) if settings.file else None
    session.screen.finish(
        {"file": file, **sections}, lambda screen: screen.table(file or "no file", ("setting", "value"), rows)
    )


@config.command(epilog=example("curiosity config init --role validator --out validator.toml"))
@click.option("--out", type=PATH, default=Path(FILE_NAME), show_default=True, help="File to write.")
@click.option(
    "--role",
    type=click.Choice(list(ROLES)),
    default="contributor",
    show_default=True,
    help="Role whose settings to write.",
)
@session_options(reads_settings=False)
def init(session: Session, out: Path, role: str) -> None:
    """Write a file with every setting of a role, explained, and commented out at its default."""
    try:
        write_new(out, template(role).encode())
    except FileExistsError:
        raise ConfigError("CONFIG_EXISTS", f"{out} exists", "Choose another name; nothing was overwritten.") from None
    session.screen.finish({"file": str(out), "role": role}, lambda screen: screen.line(f"Wrote {out}."))


def _is_validators(document: Mapping[str, object]) -> bool:
    return "validator" in document and "node" not in document


def _shown(value: object) -> str:
    """Return a value as people read it: what is empty is not set."""
    if value is None or value in ("", []):
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
