"""From the settings to a client of the chain. Who only derives or asks for help never loads web3."""

from pathlib import Path
from typing import TYPE_CHECKING

from curiosity.chain.chain import Addresses, ChainConfig, journal_path
from curiosity.host.settings.chain import LOCAL_RPC_URL, ChainSettings
from curiosity.protocol.messages import Network

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient, StakeClient


def connect(settings: ChainSettings, network: Network, journal_folder: Path | None = None) -> "ChainClient":
    """Return a client of the network's contracts; what it sends is kept in the folder until it is final.

    Raises:
        ChainError: CHAIN_UNREACHABLE, CHAIN_WRONG_ID, CHAIN_NO_CONTRACT.
    """
    addresses = Addresses(network.domain.chain_id, network.token, network.domain.verifying_contract)
    return connect_to(settings, addresses, journal_folder)


def connect_to(settings: ChainSettings, addresses: Addresses, journal_folder: Path | None = None) -> "ChainClient":
    """Return a client of these contracts, as `connect` does."""
    from curiosity.chain.evm import ChainClient  # here, because it imports web3

    journal = journal_path(journal_folder, addresses) if journal_folder else None
    return ChainClient.connect(_config(settings, settings.chain_id or addresses.chain_id, addresses, journal))


def connect_stake(settings: ChainSettings, chain_id: int, stake: bytes, journal: Path) -> "StakeClient":
    """Return a client of the stake contract at that address; ``journal`` keeps what it sends until it is final.

    Raises:
        ChainError: CHAIN_UNREACHABLE, CHAIN_WRONG_ID, CHAIN_NO_CONTRACT, CHAIN_CODE_DIFFERS.
    """
    from curiosity.chain.evm import StakeClient  # here, because it imports web3

    return StakeClient.connect(_config(settings, chain_id, None, journal), stake)


def _config(settings: ChainSettings, chain_id: int, addresses: Addresses | None, journal: Path | None) -> ChainConfig:
    return ChainConfig(
        settings.rpc_url or LOCAL_RPC_URL,
        chain_id,
        addresses,
        request_timeout_s=settings.request_timeout_s,
        other_rpc_urls=settings.other_rpc_urls,
        rpc_quorum=settings.rpc_quorum,
        finality=settings.finality,
        finality_depth=settings.finality_depth,
        max_fee_wei=settings.max_fee_wei,
        journal=journal,
    )
