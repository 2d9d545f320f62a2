"""Settings of a contributor's machine, out of the file that serves every program (`curiosity.host.settings`)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from curiosity.host.settings.chain import LOCAL_RPC_URL, ChainSettings
from curiosity.host.settings.loader import check_environment, find_config, read_document, read_section
from curiosity.host.settings.node import NodeSettings


@dataclass(frozen=True)
class CommandSettings:
    """What one command runs with, and the file that it came from."""

    node: NodeSettings
    chain: ChainSettings
    file: Path | None = None


def load_settings(given: Path | None = None, environment: Mapping[str, str] | None = None) -> CommandSettings:
    """Return the settings of file and environment.

    Raises:
        ConfigError: CONFIG_NOT_FOUND, CONFIG_UNREADABLE, CONFIG_NOT_TOML, and what
            `curiosity.host.settings.loader.read_section` raises.
    """
    environment = os.environ if environment is None else environment
    check_environment(environment)
    file = find_config(given)
    document = read_document(file)
    source = str(file) if file else "the environment"
    node = read_section(NodeSettings, "node", document, environment, source)
    chain = read_section(ChainSettings, "chain", document, environment, source)
    return CommandSettings(node, replace(chain, rpc_url=chain.rpc_url or LOCAL_RPC_URL), file)
