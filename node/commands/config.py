"""`curiosity config`."""

from dataclasses import replace
from pathlib import Path

import click

from curiosity.chain.chain import show_endpoint
from curiosity.host.console import example
from curiosity.host.files import write_new
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.settings import without_userinfo
from node.command import PATH, Session, session_options
from node.config import FILE_NAME, template


@click.group(epilog=example("curiosity config show"))
def config() -> None:
    """Show or write the settings file."""


@config.command(epilog=example("curiosity config show --json"))
@session_options()
def show(session: Session) -> None:
    """Show every setting in force, without passwords in URLs; of a chain's URLs only scheme, host and port."""
    settings = session.settings
    node = replace(settings.node, validator_url=without_userinfo(settings.node.validator_url))
    chain = replace(
        settings.chain,
        rpc_url=show_endpoint(settings.chain.rpc_url),
        other_rpc_urls=tuple(map(show_endpoint, settings.chain.other_rpc_urls)),
    )
    values = {
        "file": str(settings.file) if settings.file else None,
        "node": {name: _plain(value) for name, value in vars(node).items()},
        "chain": {name: _plain(value) for name, value in vars(chain).items()},
    }
    rows = [
        (f"[{section}] {name}", _shown(value))
        for section, part in (("node", node), ("chain", chain))
        for name, value in vars(part).items()
    ]
    session.screen.finish(
        values, lambda screen: screen.table(str(values["file"] or "no file"), ("setting", "value"), rows)
    )


@config.command(epilog=example("curiosity config init"))
@click.option("--out", type=PATH, default=Path(FILE_NAME), show_default=True, help="File to write.")
@session_options()
def init(session: Session, out: Path) -> None:
    """Write a file with every setting, commented out at its default."""
    try:
        write_new(out, template().encode())
    except FileExistsError:
        raise ConfigError("CONFIG_EXISTS", f"{out} exists", "Choose another name; nothing was overwritten.") from None
    session.screen.finish({"file": str(out)}, lambda screen: screen.line(f"Wrote {out}."))


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, int | float | str) or value is None else str(value)


def _shown(value: object) -> str:
    """A value as people read it: what is empty is not set."""
    if value is None or value in ("", ()):
        return "not set"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
