"""Every setting and limit of a validator, in one frozen value. The environment is read here and nowhere else."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from curiosity.chain.chain import Finality
from curiosity.protocol.settings import SETTINGS, parse_document, read_section

DEFAULT_LICENSES = (
    "Apache-2.0",
    "BSD-3-Clause",
    "CC-BY-4.0",
    "CC0-1.0",
    "GPL-3.0-or-later",
    "MIT",
    "OFL-1.1",
    "Unicode-3.0",
    "Unlicense",
)


@dataclass(frozen=True)
class ValidatorConfig:
    """Section [validator] of the configuration file."""

    name: str = "curiosity-local"  # of the network; no spaces, no plus sign
    host: str = "127.0.0.1"
    port: int = 8440  # 0 picks a free one and prints it
    data_dir: Path = Path("~/.curiosity/validator")
    store_url: str = ""  # SQLAlchemy URL; empty is SQLite in data_dir
    genesis: Path | None = None  # checkpoint folder of a new network; None is the shipped one
    device: str = ""  # "cuda", "cpu"; empty picks cuda where there is one
    decode_workers: int = 2
    curiosity_rule: str = "loo"
    licenses: tuple[str, ...] = DEFAULT_LICENSES
    max_queue_pairs: int = 1024  # admitted and not yet decided; beyond it 503 with Retry-After
    max_batch_pairs: int = 256  # decided in one transaction
    pairs_per_minute: int = 0  # for each contributor; 0 is no limit
    queries_per_minute: int = 600  # for each remote address
    bytes_per_hour: int = 2 << 30  # that one contributor may send; 0 is no limit
    work_per_hour: int = 36_000_000_000  # units of work (`curiosity.embedding.work`) of one contributor; 0 is no limit
    quota_address_share: int = 2  # times them for an address; 0 is no limit: behind a proxy all come from one
    quota_network_share: int = 4  # times them for a network, 24 bits of IPv4 or 48 of IPv6; 0 is no limit
    pair_budget: tuple[int, int, int] = (1_000_000, 300, 64_000_000)  # units of an item: base, a byte, at most
    search_budget: tuple[int, int, int] = (400_000, 300, 16_000_000)  # the same of a search, which nobody signs
    max_body_bytes: int = 256 << 20  # of all bodies that are held; 0 is no limit
    max_answer_bytes: int = 256 << 20  # of all answers over 64 KiB that wait to be fetched; 0 is no limit
    fair_queues: bool = True  # by network, address and contributor; False: first come, first served
    max_results: int = 100  # k of a search
    max_connections: int = 1024  # open at a time
    max_connections_per_address: int = 256  # 0 is no limit: behind a proxy all come from one
    evict_when_full: bool = True  # one connection more ends an idle one of the network with most; False: it gets 503
    header_timeout_s: float = 4.0  # from connecting, or from the first byte, to the end of the head
    body_timeout_s: float = 20.0  # from the end of the head to the end of the body
    min_body_bytes_per_s: int = 1024  # over any 3.5 s of a body
    answer_timeout_s: float = 20.0  # an answer of which so long nothing was fetched
    idle_timeout_s: float = 75.0  # a connection between two requests
    keep_refused_days: int = 14  # items of rejected and grey pairs, for their contributor and auditors; 0 is not at all
    expiry_interval_s: float = 600.0  # how often those kept long enough are let go
    auditors: tuple[
        str, ...
    ] = ()  # addresses, 0x and 40 hex digits, that may see them besides the contract's validators
    witnesses: tuple[str, ...] = ()  # "URL VKEY [VKEY]" each, as `curiosity witness keys` shows them
    quorum: int = 0  # how many of them make a tree head a cosigned one, which offline proofs are made against
    witness_interval_s: float = 1.0  # how often a new head is sent to them, at most
    epoch_s: int = 0  # close the epoch by itself after so many seconds; 0 waits for the operator
    activation_poll_s: float = 2.0

    __pydantic_config__ = SETTINGS

    @property
    def url(self) -> str:
        """The store's SQLAlchemy URL."""
        return self.store_url or f"sqlite:///{self.data_dir.expanduser().resolve() / 'ledger.sqlite'}"


@dataclass(frozen=True)
class ChainSettings:
    """Section [chain]: the EVM chain that orders and pays. Without an RPC URL rewards are derived but not posted."""

    rpc_url: str = ""
    chain_id: int = 31337
    addresses: Path | None = None  # JSON with token and rewards, written by the deployment
    request_timeout_s: float = 10.0
    other_rpc_urls: tuple[str, ...] = ()  # more endpoints of the chain: none may contradict
    rpc_quorum: int = 0  # how many endpoints must answer; 0 is more than half
    finality: Finality = "finalized"  # "depth" counts blocks where the chain's own word is not wanted
    finality_depth: int = 64  # blocks on top of a final one, also where the chain has no word for it
    max_fee_wei: int = 10**18  # what one transaction may cost in gas at most; 0 is no limit

    __pydantic_config__ = SETTINGS


@dataclass(frozen=True)
class Settings:
    """What one validator process runs with."""

    validator: ValidatorConfig = field(default_factory=ValidatorConfig)
    chain: ChainSettings = field(default_factory=ChainSettings)


def load_settings(path: Path | None, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings from a TOML file and the environment.

    Raises ConfigError as `curiosity.protocol.settings.parse_document` and `read_section`.
    """
    environment = os.environ if environment is None else environment
    source = str(path) if path else "the environment"
    document = parse_document(path.read_text, source) if path is not None else {}
    return Settings(
        read_section(ValidatorConfig, "validator", document, environment, source),
        read_section(ChainSettings, "chain", document, environment, source),
    )
