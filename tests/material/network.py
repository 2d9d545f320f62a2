"""A validator and a chain that pays its contributors."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain, Engine
from curiosity.chain.attestation import Attestation, address_of, sign_attestation
from curiosity.chain.chain import ChainConfig, DeploySettings, Share
from curiosity.chain.evm import ChainClient
from curiosity.protocol.rewards import RewardParameters, RewardTree
from tests.material.waiting import eventually

DELAY_S = 600
PARAMETERS = RewardParameters()


@dataclass
class Network:
    """A development chain with deployed contracts and the accounts that play on it."""

    chain: DevChain
    client: ChainClient
    owner: bytes
    guardian: bytes
    validators: list[bytes]
    contributors: list[bytes]

    def attest(self, tree: RewardTree, *, ledger_size: int = 10, minted_wei: int | None = None) -> Attestation:
        """The attestation of an epoch that pays the tree's sum, or what is said in its place."""
        state = self.client.state()
        return state.next_attestation(
            ledger_size=ledger_size,
            ledger_root=bytes([ledger_size]) * 32,
            reward_root=tree.root,
            cumulative_total_wei=state.latest_total_wei + (tree.total_wei if minted_wei is None else minted_wei),
        )

    def sign(self, attestation: Attestation, count: int = 2) -> list[bytes]:
        return [sign_attestation(attestation, self.client.domain, key) for key in self.validators[:count]]

    def close_epoch(
        self, amounts: dict[bytes, int], *, ledger_size: int = 10, minted_wei: int | None = None
    ) -> RewardTree:
        """Posts and activates one epoch in which the given amounts are earned."""
        tree = RewardTree(list(amounts.items()))
        attestation = self.attest(tree, ledger_size=ledger_size, minted_wei=minted_wei)
        self.client.post_root(self.owner, attestation, self.sign(attestation))
        self.chain.advance(DELAY_S)
        self.client.activate(self.owner, attestation.epoch)
        return tree


def share_of(tree: RewardTree, account: bytes, epoch: int = 1) -> Share:
    """What the account earned in the epoch that closed with this tree."""
    return Share(epoch, tree.amount_wei(account), tuple(tree.proof(account)))


def start_network(engine: Engine, *, min_epoch_interval_s: int = 0) -> Iterator[Network]:
    with DevChain(engine=engine) as chain:
        keys = [chain.private_key(index) for index in range(10)]
        client = ChainClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID))
        client.deploy(
            keys[0],
            DeploySettings(
                validators=tuple(address_of(key) for key in keys[2:5]),
                threshold=2,
                activation_delay_s=DELAY_S,
                min_epoch_interval_s=min_epoch_interval_s,
                guardian=address_of(keys[1]),
            ),
        )
        yield Network(chain, client, keys[0], keys[1], keys[2:5], keys[5:])


def wait_for_receipt(chain: DevChain, digest: str) -> dict[str, Any]:
    """anvil answers a transaction before its block is there."""
    receipt: dict[str, Any] = eventually(lambda: chain.request("eth_getTransactionReceipt", [digest]), digest)
    return receipt
