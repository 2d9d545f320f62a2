"""The reward side of a validator without its encoders: a real ledger, a real chain, and what closes, posts, activates.

``python -m tests.material.epoch FOLDER URL`` closes an epoch and posts it, for a test that kills it meanwhile.
"""

import asyncio
import json
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain
from curiosity.chain.attestation import address_of
from curiosity.chain.chain import Addresses, ChainConfig, DeploySettings, Share, journal_path
from curiosity.chain.evm import ChainClient
from curiosity.protocol.entry import PairEntry, encode_entry
from curiosity.protocol.orders import RuleOrder, RuleReport
from curiosity.protocol.reward_messages import EpochReport
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import sign
from curiosity.protocol.verdict import Outcome, Reason, Verdict
from tests.material.ledger import open_ledger
from tests.material.waiting import PATIENCE_S
from validator.epochs import Epochs
from validator.ledger import Ledger, NewEntry
from validator.posting import Poster
from validator.threads import Threads

KEY, EARNER = b"\x31" * 32, b"\x32" * 32
DELAY_S = 600


@dataclass
class EpochsOnChain:
    """A ledger's epochs and the chain that they are posted on."""

    epochs: Epochs
    ledger: Ledger
    client: ChainClient

    @property
    def poster(self) -> Poster:
        assert self.epochs.poster is not None
        return self.epochs.poster

    def earn(self, *scores: int) -> None:
        """Write accepted pairs into the ledger."""
        verdicts = [Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, bytes(32), None, True, one) for one in scores]
        self.ledger.append([NewEntry(encode_entry(_entry(verdict)), None) for verdict in verdicts])

    def close(self, *scores: int) -> EpochReport:
        """Earn, close and post."""
        self.earn(*scores or (7,))
        return asyncio.run(self.epochs.close())

    def close_as_it_is(self) -> EpochReport:
        """Close and post."""
        return asyncio.run(self.epochs.close())

    def name_rule(self, epoch: int, rule: RewardParameters) -> int | None:
        """Log from which epoch on version 2 of the rule pays."""
        return asyncio.run(self.epochs.name_rule(epoch, rule))

    def announce(self, changes: dict[str, str], *, epoch: int = 0, dry_run: bool = False) -> RuleReport:
        """Announce a rule as the operator does."""
        return asyncio.run(self.epochs.announce(RuleOrder(epoch, changes, dry_run)))

    def leaves(self) -> list[bytes]:
        """All of the ledger."""
        return list(self.epochs._leaves(0, self.ledger.size))

    def claim(self) -> int:
        """Claim everything; return what the earner holds then."""
        ticket = self.epochs.ticket(address_of(EARNER))
        shares = [Share(share.epoch, int(share.amount_wei), share.proof) for share in ticket.shares]
        self.client.claim(EARNER, shares)
        return self.client.balances(address_of(EARNER)).token_wei

    def look(self) -> None:
        """One round of what a running validator does."""
        self.poster.look(tuple(self.epochs._closed))


def _entry(verdict: Verdict) -> PairEntry:
    pair = secrets.token_bytes(32)
    signature = sign(pair, EARNER)
    return PairEntry(pair, address_of(EARNER), signature, "image-text", "MIT", verdict, secrets.token_bytes(32))


def deploy(chain: DevChain) -> Addresses:
    """Deploy for one validator, and give it and the earner coins for gas."""
    owner = chain.private_key(0)
    client = ChainClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID))
    settings = DeploySettings((address_of(KEY),), 1, activation_delay_s=DELAY_S, min_epoch_interval_s=0)
    addresses = client.deploy(owner, settings)
    for key in (KEY, EARNER):
        client.fund(owner, address_of(key), eth_wei=10**19)
    return addresses


@contextmanager
def open_epochs(folder: Path, url: str, addresses: Addresses, **changes: Any) -> Iterator[EpochsOnChain]:
    """A validator's epochs in a folder, as after a start."""
    settings: dict[str, Any] = {
        "poll_interval_s": 0.02,
        "receipt_timeout_s": PATIENCE_S,
        "journal": journal_path(folder, addresses),
    } | changes
    client = ChainClient.connect(ChainConfig(url, DEFAULT_CHAIN_ID, addresses, **settings))
    with open_ledger(f"sqlite:///{folder / 'ledger.db'}", folder / "head") as opened:
        threads = Threads()
        epochs = Epochs(
            store=opened.store,
            ledger=opened.ledger,
            threads=threads,
            parameters=RewardParameters(),
            chain=client,
            attestation_key=KEY,
        )
        try:
            yield EpochsOnChain(epochs, opened.ledger, client)
        finally:
            threads.close()


if __name__ == "__main__":
    run_folder, run_url = Path(sys.argv[1]), sys.argv[2]
    known = Addresses.from_json(json.loads((run_folder / "addresses.json").read_text()))
    with open_epochs(run_folder, run_url, known) as closing:
        closing.close()
