"""The only home of web3: `ChainClient`, and `StakeClient` for the stake contract, are all that the house needs."""

from contracts.evm.client import ChainClient
from contracts.evm.stake import StakeClient

__all__ = ["ChainClient", "StakeClient"]
