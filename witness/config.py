"""Every setting and limit of a witness, in one frozen value. The environment is read here and nowhere else."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from curiosity.protocol.errors import ConfigError, ProofError
from curiosity.protocol.settings import SETTINGS, parse_document, read_section
from curiosity.protocol.tlog import parse_vkey


@dataclass(frozen=True)
class WitnessConfig:
    """Section [witness] of the configuration file."""

    name: str = "curiosity-witness"  # of the key; better a host name and path of yours, such as example.org/witness
    host: str = "127.0.0.1"
    port: int = 8450  # 0 picks a free one and prints it
    data_dir: Path = Path("~/.curiosity/witness")
    logs: tuple[str, ...] = ()  # "VKEY", or "ORIGIN VKEY" where the key is not named like the log
    max_connections: int = 512  # open at a time
    max_connections_per_address: int = 128  # 0 is no limit: behind a proxy all come from one
    evict_when_full: bool = True  # one connection more ends an idle one of the network with most; False: it gets 503
    header_timeout_s: float = 4.0  # from connecting, or from the first byte, to the end of the head
    body_timeout_s: float = 10.0  # from the end of the head to the end of the body
    min_body_bytes_per_s: int = 1024  # over any 3.5 s of a body
    answer_timeout_s: float = 20.0  # an answer of which so long nothing was fetched
    idle_timeout_s: float = 75.0  # a connection between two requests
    max_evidence: int = 1000  # forks kept of each log; one that forks more often than that is convicted already

    __pydantic_config__ = SETTINGS

    @property
    def folder(self) -> Path:
        """``data_dir`` with ~ spelled out."""
        return self.data_dir.expanduser().resolve()


def load_config(path: Path | None, environment: Mapping[str, str] | None = None) -> WitnessConfig:
    """Return the settings from a TOML file and the environment.

    Raises ConfigError as `curiosity.protocol.settings.parse_document` and `read_section`.
    """
    source = str(path) if path else "the environment"
    document = parse_document(path.read_text, source) if path is not None else {}
    return read_section(WitnessConfig, "witness", document, os.environ if environment is None else environment, source)


def trusted_logs(lines: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Return the keys of each log by its origin. A line is a vkey, or an origin, a space and a vkey.

    Raises ConfigError WITNESS_LOGS for a line that is neither, and if there is none at all.
    """
    logs: dict[str, tuple[str, ...]] = {}
    for line in lines:
        origin, _, vkey = line.strip().rpartition(" ")
        try:
            verifier = parse_vkey(vkey)
        except ProofError as error:
            raise ConfigError("WITNESS_LOGS", f"{line!r}: {error.what}", "Write VKEY, or ORIGIN and VKEY.") from None
        origin = origin.strip() or verifier.name
        logs[origin] = (*logs.get(origin, ()), vkey)
    if not logs:
        raise ConfigError(
            "WITNESS_LOGS",
            "no log is trusted, so nothing can be cosigned",
            "Give --log VKEY (a validator shows its log_vkey with `curiosity validator keys`), or set [witness] logs.",
        )
    return logs
