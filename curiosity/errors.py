"""The errors that `curiosity` raises. Each has a stable ``code``, ``what`` happened, and the ``remedy``.

`curiosity.protocol.errors` draws the tree.
"""

from curiosity.protocol.errors import (
    ChainError,
    CheckpointError,
    ConfigError,
    CuriosityError,
    Fault,
    NotYet,
    Overloaded,
    ProofError,
    Rejected,
    ServiceError,
    SourceError,
    StoreError,
    WalletError,
)

__all__ = [
    "ChainError",
    "CheckpointError",
    "ConfigError",
    "CuriosityError",
    "Fault",
    "NotYet",
    "Overloaded",
    "ProofError",
    "Rejected",
    "ServiceError",
    "SourceError",
    "StoreError",
    "WalletError",
]
