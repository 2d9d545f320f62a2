"""The only home of web3: `ChainClient`, and `StakeClient` for the stake contract, are all that the house needs."""

import sys

_LIMIT = sys.getrecursionlimit()

from curiosity.chain.evm.client import ChainClient  # noqa: E402 - the limit is read before web3 raises it
from curiosity.chain.evm.stake import StakeClient  # noqa: E402

# py_ecc, below web3, sets 100,000: then whatever calls itself that deep ends the process and not the call.
sys.setrecursionlimit(_LIMIT)

__all__ = ["ChainClient", "StakeClient"]
