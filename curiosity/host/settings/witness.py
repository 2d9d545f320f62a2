"""Section [witness]: a service that cosigns tree heads."""

from dataclasses import dataclass
from pathlib import Path

from curiosity.host.settings.declare import setting


@dataclass(frozen=True)
class WitnessConfig:
    """Section [witness]: every setting and limit of a witness."""

    name: str = setting(
        "curiosity-witness",
        "Name of the key. Better a host name and path of yours, such as example.org/witness; it must not change later.",
    )
    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(8450, "Port to listen on. 0 picks a free one and prints it.", least=0, most=65535)
    data_dir: Path = setting(Path("~/.curiosity/witness"), "Folder of keys, tree heads and evidence.")
    logs: tuple[str, ...] = setting(
        (), 'Trusted logs: "VKEY" each, or "ORIGIN VKEY" where the key is not named like the log.'
    )
    max_connections: int = setting(512, "Connections that may be open at a time.")
    max_connections_per_address: int = setting(
        128, "Connections of one address at a time. 0 means no limit: behind a proxy all come from one address."
    )
    evict_when_full: bool = setting(
        True, "true: one connection more ends an idle one of the network that holds most; false: it gets 503."
    )
    header_timeout_s: float = setting(
        4.0, "Seconds from connecting, or from the first byte of a request, to the end of its head."
    )
    body_timeout_s: float = setting(10.0, "Seconds from the end of a request's head to the end of its body.")
    min_body_bytes_per_s: int = setting(1024, "Bytes a second that a body must bring, over any 3.5 seconds.")
    answer_timeout_s: float = setting(20.0, "Seconds after which an answer of which nothing was fetched is given up.")
    idle_timeout_s: float = setting(75.0, "Seconds that a connection may rest between two requests.")
    max_evidence: int = setting(
        1000,
        "Forks of each log of which evidence is kept; of proofs that failed, at most 64 are kept.",
    )

    @property
    def folder(self) -> Path:
        """``data_dir`` with ~ spelled out."""
        return self.data_dir.expanduser().resolve()
