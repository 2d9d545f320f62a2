"""Curiosity for programs: submit pairs, verify receipts, search, claim, follow a ledger. docs/api.md describes it.

A name is loaded when it is asked for, so that `import curiosity` costs nothing and loads no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curiosity import errors
    from curiosity.client.outcome import PairOutcome
    from curiosity.client.receipts import Proved
    from curiosity.client.submission import Contributor
    from curiosity.client.trust import Trust
    from curiosity.host.settings.chain import ChainSettings
    from curiosity.ledger.follow import Followed, Position
    from curiosity.protocol.errors import CuriosityError
    from curiosity.protocol.messages import Answer, Decision, Found, Network
    from curiosity.rewards.claim import ClaimOutcome
    from curiosity.rewards.claims import Claimed, ClaimStatus, ClaimView, EpochClaim
    from curiosity.rewards.earnings import Earning, Earnings
    from curiosity.sdk.accounts import new_wallet, open_wallet
    from curiosity.sdk.asynchronous import AsyncClient
    from curiosity.sdk.outbox import Submitted
    from curiosity.sdk.receipts import verify_receipt
    from curiosity.sdk.synchronous import Client
    from curiosity.sdk.things import Thing, item
    from curiosity.sources.pairset import SourceItem

_HOMES = {
    "curiosity.host.settings.chain": ("ChainSettings",),
    "curiosity.client.outcome": ("PairOutcome",),
    "curiosity.client.receipts": ("Proved",),
    "curiosity.client.submission": ("Contributor",),
    "curiosity.client.trust": ("Trust",),
    "curiosity.ledger.follow": ("Followed", "Position"),
    "curiosity.protocol.errors": ("CuriosityError",),
    "curiosity.protocol.messages": ("Answer", "Decision", "Found", "Network"),
    "curiosity.rewards.claim": ("ClaimOutcome",),
    "curiosity.rewards.claims": ("ClaimStatus", "ClaimView", "Claimed", "EpochClaim"),
    "curiosity.rewards.earnings": ("Earning", "Earnings"),
    "curiosity.sdk.accounts": ("new_wallet", "open_wallet"),
    "curiosity.sdk.asynchronous": ("AsyncClient",),
    "curiosity.sdk.outbox": ("Submitted",),
    "curiosity.sdk.receipts": ("verify_receipt",),
    "curiosity.sdk.synchronous": ("Client",),
    "curiosity.sdk.things": ("Thing", "item"),
    "curiosity.sources.pairset": ("SourceItem",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Answer",
    "AsyncClient",
    "ChainSettings",
    "ClaimOutcome",
    "ClaimStatus",
    "ClaimView",
    "Claimed",
    "Client",
    "Contributor",
    "CuriosityError",
    "Decision",
    "Earning",
    "Earnings",
    "EpochClaim",
    "Followed",
    "Found",
    "Network",
    "PairOutcome",
    "Position",
    "Proved",
    "SourceItem",
    "Submitted",
    "Thing",
    "Trust",
    "errors",
    "item",
    "new_wallet",
    "open_wallet",
    "verify_receipt",
]


if not TYPE_CHECKING:  # else a type checker would take every misspelt name

    def __getattr__(name: str) -> object:
        if name == "errors":
            return import_module("curiosity.errors")
        if name not in _HOME_OF:
            raise AttributeError(f"module 'curiosity' has no attribute {name!r}")
        value = getattr(import_module(_HOME_OF[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
