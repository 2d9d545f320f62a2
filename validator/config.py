"""Settings of a validator, out of the file that serves every program (`curiosity.host.settings`)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from curiosity.host.settings.chain import ChainSettings
from curiosity.host.settings.loader import read_document, read_section
from curiosity.host.settings.validator import ValidatorConfig


@dataclass(frozen=True)
class ServiceSettings:
    """What one validator process runs with."""

    validator: ValidatorConfig = field(default_factory=ValidatorConfig)
    chain: ChainSettings = field(default_factory=ChainSettings)


def load_settings(path: Path | None, environment: Mapping[str, str] | None = None) -> ServiceSettings:
    """Return the settings from a TOML file, if one is named, and the environment.

    Raises:
        ConfigError: As `curiosity.host.settings.loader.read_document` and `read_section`.
    """
    environment = os.environ if environment is None else environment
    source = str(path) if path else "the environment"
    document = read_document(path)
    return ServiceSettings(
        read_section(ValidatorConfig, "validator", document, environment, source),
        read_section(ChainSettings, "chain", document, environment, source),
    )
