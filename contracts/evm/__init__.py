"""The only home of web3: `ChainClient` is all that the rest of the house needs."""

from contracts.evm.client import ChainClient

__all__ = ["ChainClient"]
