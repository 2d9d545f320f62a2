"""Settings of a contributor's machine: one TOML file, then the environment over it; typed and frozen.

The file is the first that exists of: ``--config``, ``$CURIOSITY_CONFIG``, ``./curiosity.toml``,
``~/.config/curiosity/curiosity.toml``. The sections of other roles in the same file are theirs to judge.
"""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from curiosity.chain.settings import ChainSettings
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.settings import SETTINGS, check_sections, check_url, read_section

ENV_FILE: Final = "CURIOSITY_CONFIG"
FILE_NAME: Final = "curiosity.toml"
_PREFIX: Final = "CURIOSITY_"


@dataclass(frozen=True)
class NodeSettings:
    """Section [node]. A key given here is pinned: a validator that shows another one is refused."""

    home: Path = Path("~/.curiosity")  # wallets, receipts, journals, logs
    validator_url: str = "http://127.0.0.1:8440"
    wallet: str = ""  # used when a command names none
    license: str = ""  # SPDX expression for pairs whose source states none
    receipt_vkey: str = ""  # pinned key of the validator's receipts
    log_vkey: str = ""  # pinned key of the ledger's tree heads
    origin: str = ""  # pinned origin line of the ledger
    witness_vkeys: tuple[str, ...] = ()  # keys of the witnesses that you trust
    quorum: int = 0  # how many of them must have cosigned a tree head
    concurrency: int = 16  # pairs on their way at once
    patience_s: float = 60.0  # how long one request is repeated while there is no answer
    request_timeout_s: float = 120.0
    signature_lifetime_s: int = 12 * 3600  # how long a signature counts
    scrypt_n: int = 2**18  # cost of opening a wallet; a power of two

    __pydantic_config__ = SETTINGS

    @property
    def folder(self) -> Path:
        """``home`` with ~ spelled out."""
        return self.home.expanduser()


@dataclass(frozen=True)
class Settings:
    """What one command runs with, and the file that it came from."""

    node: NodeSettings
    chain: ChainSettings
    file: Path | None = None


def find_config(given: Path | None = None) -> Path | None:
    """Return the file to read, None if there is none.

    Raises ConfigError CONFIG_NOT_FOUND if one was named, by argument or environment, that does not exist.
    """
    named = given or (Path(os.environ[ENV_FILE]) if os.environ.get(ENV_FILE) else None)
    if named is not None:
        if not named.expanduser().is_file():
            raise ConfigError(
                "CONFIG_NOT_FOUND",
                f"there is no file {named}",
                "Make one with `curiosity config init`, or name another.",
            )
        return named.expanduser()
    candidates = (Path(FILE_NAME), Path("~/.config/curiosity").expanduser() / FILE_NAME)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def load_settings(given: Path | None = None, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of file and environment.

    Raises ConfigError: CONFIG_NOT_FOUND, CONFIG_UNREADABLE, CONFIG_NOT_TOML, and what
    `curiosity.protocol.settings.read_section` raises.
    """
    environment = os.environ if environment is None else environment
    _check_environment(environment)
    file = find_config(given)
    document = _read_toml(file) if file else {}
    source = str(file) if file else "the environment"
    node = read_section(NodeSettings, "node", document, environment, source)
    chain = read_section(ChainSettings, "chain", document, environment, source)
    for url in (chain.rpc_url, *chain.other_rpc_urls):
        check_url(url, "an address in [chain] rpc_url or other_rpc_urls")
    return Settings(node, chain, file)


def _check_environment(environment: Mapping[str, str]) -> None:
    # A variable of a section that nobody reads would go unnoticed, and with it the typing error in its name.
    for name in environment:
        section, separator, _ = name.removeprefix(_PREFIX).partition("__")
        if name.startswith(_PREFIX) and separator:
            check_sections({section.lower(): None}, f"the environment variable {name}")


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError("CONFIG_UNREADABLE", f"{file}: {error.strerror}", "Check the file's permissions.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError("CONFIG_NOT_TOML", f"{file}: {error}", "Correct the line; the format is TOML 1.0.") from None


def template() -> str:
    """Return a file with every setting of this role, commented out at its default."""
    lines = ["# Settings of Curiosity. A line without # counts; CURIOSITY_<SECTION>__<KEY> outweighs it."]
    for section, settings in (("node", NodeSettings()), ("chain", ChainSettings())):
        lines += ["", f"[{section}]"]
        for field in fields(settings):
            value = getattr(settings, field.name)
            plain = isinstance(value, int | float | tuple)
            shown = str(list(value) if isinstance(value, tuple) else value) if plain else f'"{value or ""}"'
            lines.append(f"# {field.name} = {shown}")
    return "\n".join(lines) + "\n"
