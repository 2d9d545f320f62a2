"""Section [chain]: how a contributor or a validator reaches the chain."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from curiosity.host.settings.declare import setting
from curiosity.protocol.url import check_url

LOCAL_RPC_URL: Final = "http://127.0.0.1:8545"
LOCAL_CHAIN_ID: Final = 31337


def _check_rpc_url(url: str) -> str:
    return check_url(url, "an address in [chain] rpc_url or other_rpc_urls") if url else url


@dataclass(frozen=True)
class ChainSettings:
    """Section [chain]: the EVM chain that orders and pays."""

    rpc_url: str = setting(
        "",
        f"JSON-RPC address of the chain. Empty: a contributor uses {LOCAL_RPC_URL}; a validator derives rewards and "
        "posts none.",
        check=_check_rpc_url,
        secret=True,
    )
    chain_id: int = setting(
        0,
        f"Id that the chain must have. 0: the id that stands beside the contracts' addresses, else {LOCAL_CHAIN_ID}.",
        least=0,
    )
    addresses: Path | None = setting(
        None,
        "JSON file with the contracts' addresses, as the deployment writes it. A validator with an rpc_url needs it; a "
        "contributor has them from the validator.",
    )
    request_timeout_s: float = setting(10.0, "Seconds that one request to the chain may take.")
    other_rpc_urls: tuple[str, ...] = setting(
        (),
        "More endpoints of the chain. An answer that one of them contradicts does not count.",
        check=_check_rpc_url,
        secret=True,
    )
    rpc_quorum: int = setting(0, "How many endpoints must answer. 0: more than half.")
    finality: Literal["finalized", "depth"] = setting(
        "finalized", "When a block is final: when the chain says so, or at a depth of finality_depth blocks."
    )
    finality_depth: int = setting(
        64, "Blocks on top of a final one; also used where the chain does not say which block is final."
    )
    max_fee_wei: int = setting(
        10**18, "The most that one transaction may cost in gas, in wei (CHAIN_FEE_TOO_HIGH). 0 means no limit."
    )
