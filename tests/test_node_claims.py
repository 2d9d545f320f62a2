"""Claiming from real contracts on a development chain: what is paid, and each way of not being paid."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain
from curiosity.chain.attestation import address_of, sign_attestation
from curiosity.chain.chain import ChainConfig, DeploySettings
from curiosity.chain.connect import connect
from curiosity.chain.evm import ChainClient
from curiosity.host.settings.chain import ChainSettings
from curiosity.protocol.errors import ChainError, ProofError
from curiosity.protocol.messages import Network
from curiosity.protocol.reward_messages import ClaimShare, ClaimTicket
from curiosity.protocol.rewards import RewardTree
from curiosity.protocol.signing import Domain
from curiosity.rewards.claims import Claimed, check_offer, pay, refusal, view
from curiosity.rewards.earnings import earnings_of_ticket

DELAY_S = 600
EARNER, POOR = b"\x21" * 32, b"\x22" * 32
EARNED_WEI = 5 * 10**18


@dataclass
class Chain:
    """A chain with contracts, and the keys that act on it."""

    dev: DevChain
    client: ChainClient
    owner: bytes
    validator: bytes

    @property
    def network(self) -> Network:
        """What a validator on this chain would say of itself."""
        addresses = self.client.addresses
        return Network(
            name="test", network_id=b"\1" * 32, domain=Domain(DEFAULT_CHAIN_ID, addresses.rewards), origin="test",
            receipt_vkey="", log_vkey="", token=addresses.token, checkpoint=b"\2" * 32, checkpoint_parent=None,
            modalities=(), pairs=(), max_item_bytes={}, media_types={}, licenses=(), epoch=1, ledger_size=1,
        )  # fmt: skip

    def post(self, amounts: dict[bytes, int], ledger_size: int) -> tuple[RewardTree, int]:
        """Post an epoch, not yet active; return its tree and number."""
        tree = RewardTree(list(amounts.items()))
        state = self.client.state()
        attestation = state.next_attestation(
            ledger_size=ledger_size,
            ledger_root=bytes([ledger_size]) * 32,
            reward_root=tree.root,
            cumulative_total_wei=state.latest_total_wei + tree.total_wei,
        )
        signature = sign_attestation(attestation, self.client.domain, self.validator)
        self.client.post_root(self.owner, attestation, [signature])
        return tree, attestation.epoch

    def activate(self, epoch: int) -> None:
        self.dev.advance(DELAY_S)
        self.client.activate(self.owner, epoch)


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with DevChain() as dev:
        owner, validator = dev.private_key(0), dev.private_key(1)
        client = ChainClient.connect(ChainConfig(dev.rpc_url, DEFAULT_CHAIN_ID))
        settings = DeploySettings((address_of(validator),), 1, activation_delay_s=DELAY_S, min_epoch_interval_s=0)
        client.deploy(owner, settings)
        client.fund(owner, address_of(EARNER), eth_wei=10**17)
        yield Chain(dev, client, owner, validator)


def ticket_of(key: bytes, *epochs: tuple[RewardTree, int]) -> ClaimTicket:
    account = address_of(key)
    return ClaimTicket(
        account,
        tuple(
            ClaimShare(epoch, str(tree.amount_wei(account)), tuple(tree.proof(account)), tree.root)
            for tree, epoch in epochs
        ),
    )


def claim(client: ChainClient, ticket: ClaimTicket, key: bytes, *, dry_run: bool = False) -> Claimed:
    """Have paid what a ticket says, or raise why nothing is."""
    seen = view(client, earnings_of_ticket(ticket))
    refused = refusal(seen)
    if refused is not None:
        raise refused
    return pay(client, seen, key, dry_run=dry_run)


def test_a_claim_waits_for_activation_is_paid_once_and_costs_gas(chain: Chain) -> None:
    client = connect(ChainSettings(rpc_url=chain.dev.rpc_url), chain.network)
    account = address_of(EARNER)
    tree, epoch = chain.post({account: EARNED_WEI, address_of(POOR): 7}, 10)
    first = (tree, epoch)
    ticket = ticket_of(EARNER, first)
    with pytest.raises(ChainError, match=rf"CLAIM_NOT_ACTIVE: epoch {epoch} is not active.* Claim after \d{{4}}-"):
        claim(client, ticket, EARNER)
    chain.activate(epoch)

    tried = claim(client, ticket, b"", dry_run=True)
    assert (tried.due_wei, tried.paid_wei, tried.gas_used, tried.transaction) == (EARNED_WEI, 0, 0, None)
    assert client.balances(account).token_wei == 0

    done = claim(client, ticket, EARNER)
    assert done.paid_wei == done.due_wei == EARNED_WEI
    assert (done.balance_before_wei, done.balance_after_wei) == (0, EARNED_WEI)
    assert client.balances(account).token_wei == EARNED_WEI
    assert done.gas_used > 21_000
    assert done.to_json()["paid_wei"] == str(EARNED_WEI)

    again = claim(client, ticket, EARNER)
    assert (again.due_wei, again.paid_wei, again.transaction) == (0, 0, None)

    # Two more epochs, one of which waits: what is active is paid in one transaction, the rest is told.
    second = chain.post({account: 3, address_of(POOR): 7}, 20)
    third = chain.post({account: 4, address_of(POOR): 1}, 30)
    chain.activate(second[1])
    fourth = chain.post({account: 100}, 40)
    chain.activate(third[1])
    done = claim(client, ticket_of(EARNER, first, second, third, fourth), EARNER)
    assert (done.epochs, done.paid_wei, done.waiting_wei) == ((second[1], third[1]), 7, 100)
    assert done.earned_wei == EARNED_WEI + 107

    with pytest.raises(ChainError) as caught:
        claim(client, ticket_of(POOR, second, third), POOR)  # owed 8 wei, but without coins for gas
    assert caught.value.code == "CHAIN_NO_FUNDS"
    with pytest.raises(ProofError, match="CLAIM_ROOT_DIFFERS"):
        claim(client, ticket_of(POOR, (third[0], second[1])), POOR)


def test_a_ticket_is_compared_with_the_ledger_epoch_by_epoch() -> None:
    account = address_of(EARNER)
    trees = [RewardTree([(account, 5), (address_of(POOR), 6)]), RewardTree([(account, 7)])]
    honest = ticket_of(EARNER, (trees[0], 1), (trees[1], 2))
    derived = replace(earnings_of_ticket(honest), closed_epochs=3)
    check_offer(earnings_of_ticket(honest), derived)
    raised = replace(honest.shares[1], amount_wei="8")
    for shares in (honest.shares[:1], (honest.shares[0], raised), (*honest.shares, replace(raised, epoch=3))):
        with pytest.raises(ProofError, match="TICKET_DIFFERS"):
            check_offer(earnings_of_ticket(replace(honest, shares=shares)), derived)
    # An epoch that was closed after the ledger was read is nobody's lie.
    check_offer(earnings_of_ticket(replace(honest, shares=(*honest.shares, replace(raised, epoch=4)))), derived)


def test_a_wrong_chain_a_silent_one_and_an_empty_one_are_told_apart(chain: Chain) -> None:
    with pytest.raises(ChainError, match="CHAIN_WRONG_ID"):
        connect(ChainSettings(rpc_url=chain.dev.rpc_url, chain_id=1), chain.network)
    with pytest.raises(ChainError, match="CHAIN_UNREACHABLE"):
        connect(ChainSettings(rpc_url="http://127.0.0.1:9", request_timeout_s=2.0), chain.network)
    elsewhere = Network(**(vars(chain.network) | {"token": b"\x99" * 20}))
    with pytest.raises(ChainError, match="CHAIN_NO_CONTRACT"):
        connect(ChainSettings(rpc_url=chain.dev.rpc_url), elsewhere)
