"""Section [chain] of the settings: how a contributor reaches the chain."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from curiosity.protocol.settings import SETTINGS


@dataclass(frozen=True)
class ChainSettings:
    """Section [chain]. Addresses come from the validator's network message, the chain id is checked against it."""

    rpc_url: str = "http://127.0.0.1:8545"
    chain_id: int = 0  # 0 takes the network's
    addresses: Path | None = None
    request_timeout_s: float = 10.0
    other_rpc_urls: tuple[str, ...] = ()  # more endpoints of the chain: none may contradict
    rpc_quorum: int = 0  # how many endpoints must answer; 0 is more than half
    finality: Literal["finalized", "depth"] = "finalized"  # when a block is final: the chain says so, or "depth"
    finality_depth: int = 64  # blocks on top of a final one
    max_fee_wei: int = 10**18  # what one transaction may cost in gas at most; 0 is no limit

    __pydantic_config__ = SETTINGS
