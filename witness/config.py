"""Settings of a witness, out of the file that serves every program (`curiosity.host.settings`)."""

from collections.abc import Mapping
from pathlib import Path

from curiosity.host.settings.loader import load_section
from curiosity.host.settings.witness import WitnessConfig
from curiosity.protocol.errors import ConfigError, ProofError
from curiosity.protocol.tlog import parse_vkey


def load_config(path: Path | None, environment: Mapping[str, str] | None = None) -> WitnessConfig:
    """Return the settings from a TOML file, if one is named, and the environment.

    Raises:
        ConfigError: As `curiosity.host.settings.loader.load_section`.
    """
    return load_section(WitnessConfig, "witness", path, environment)


def trusted_logs(lines: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the keys of each log by its origin. A line is a vkey, or an origin, a space and a vkey.

    Raises:
        ConfigError: WITNESS_LOGS for a line that is neither, and if there is none at all.
    """
    logs: dict[str, tuple[str, ...]] = {}
    for line in lines:
        origin, _, vkey = line.strip().rpartition(" ")
        try:
            verifier = parse_vkey(vkey)
        except ProofError as error:
            raise ConfigError(
                "WITNESS_LOGS",
                f"a log to trust is not named by its key: {error.what}",
                "Give the log's key (`curiosity validator keys --only log_vkey`), or its origin and its key.",
            ) from None
        origin = origin.strip() or verifier.name
        logs[origin] = (*logs.get(origin, ()), vkey)
    if not logs:
        raise ConfigError(
            "WITNESS_LOGS",
            "no log is trusted, so nothing can be cosigned",
            "Give --log VKEY (a validator shows its log_vkey with `curiosity validator keys`), or set [witness] logs.",
        )
    return logs
