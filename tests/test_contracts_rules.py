"""What the rewards contract refuses, on real EVM bytecode (anvil): each rule with the attack that it stops."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from contracts.build import compile_contracts
from contracts.devchain import DEFAULT_CHAIN_ID
from curiosity.chain.attestation import (
    Attestation,
    ClaimPermission,
    RewardsDomain,
    address_of,
    order_signatures,
    sign_attestation,
    sign_digest,
)
from curiosity.chain.chain import ChainConfig, DeploySettings, Share, TransactionReceipt
from curiosity.chain.evm import ChainClient
from curiosity.chain.evm.connection import to_checksum
from curiosity.protocol.errors import ChainError, ConfigError
from curiosity.protocol.rewards import RewardParameters, RewardTree, leaf_hash
from tests.material.network import DELAY_S, PARAMETERS, Network, share_of, start_network, wait_for_receipt

needs_node = pytest.mark.skipif(
    shutil.which("node") is None, reason="node is absent: the helper contracts of these tests cannot be compiled"
)
DAY_S = 86_400
ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SOMEBODY = b"\x51" * 20


def post_as_given(net: Network, attestation: Attestation, signatures: list[bytes]) -> TransactionReceipt:
    """Past the client's own checks and ordering: what the contract alone says."""
    fields = (
        attestation.epoch,
        attestation.ledger_size,
        attestation.ledger_root,
        attestation.reward_root,
        attestation.cumulative_total_wei,
        attestation.previous_root,
        attestation.set_id,
        attestation.attempt,
    )
    return net.client._send(net.owner, "postRoot", fields, signatures)


def in_order(net: Network, attestation: Attestation, keys: list[bytes]) -> list[bytes]:
    signatures = [sign_attestation(attestation, net.client.domain, key) for key in keys]
    return [signature for _, signature in order_signatures(attestation, net.client.domain, signatures)]


def refused(action: Callable[[], Any], error_name: str) -> str:
    with pytest.raises(ChainError) as failure:
        action()
    assert failure.value.code == "CHAIN_REVERTED"
    assert f" {error_name}(" in failure.value.what, failure.value.what
    return failure.value.what


def one_leaf(amount_wei: int, account: bytes = SOMEBODY) -> RewardTree:
    return RewardTree([(account, amount_wei)])


# Quorum.


def test_one_signature_less_than_the_threshold(net: Network) -> None:
    attestation = net.attest(one_leaf(1))
    words = refused(
        lambda: net.client.post_root(net.owner, attestation, net.sign(attestation, 1)), "RewardsNotEnoughSignatures"
    )
    assert "given=1, needed=2" in words
    assert net.client.post_root(net.owner, attestation, net.sign(attestation, 2)) is not None


def test_the_same_signer_twice(net: Network) -> None:
    attestation = net.attest(one_leaf(1))
    (signature,) = net.sign(attestation, 1)
    refused(lambda: post_as_given(net, attestation, [signature, signature]), "RewardsSignersNotSorted")


def test_signatures_out_of_order(net: Network) -> None:
    attestation = net.attest(one_leaf(1))
    ordered = in_order(net, attestation, net.validators)
    refused(lambda: post_as_given(net, attestation, ordered[::-1]), "RewardsSignersNotSorted")
    post_as_given(net, attestation, ordered)


def test_an_outsider_beside_a_validator(net: Network) -> None:
    attestation = net.attest(one_leaf(1))
    keys = [net.validators[0], net.contributors[0]]
    refused(lambda: post_as_given(net, attestation, in_order(net, attestation, keys)), "RewardsNotValidator")


def test_the_malleable_twin_and_a_strange_v(net: Network) -> None:
    attestation = net.attest(one_leaf(1))
    first, second = in_order(net, attestation, net.validators[:2])
    high_s = (ORDER - int.from_bytes(second[32:64], "big")).to_bytes(32, "big")
    twin = second[:32] + high_s + bytes([55 - second[64]])
    refused(lambda: post_as_given(net, attestation, [first, twin]), "ECDSAInvalidSignatureS")
    refused(
        lambda: post_as_given(net, attestation, [first, second[:64] + bytes([second[64] - 27])]),
        "ECDSAInvalidSignature",
    )
    refused(lambda: post_as_given(net, attestation, [first, second[:64]]), "ECDSAInvalidSignatureLength")


@pytest.mark.parametrize("field", ["chain_id", "rewards"])
def test_signatures_for_another_chain_or_contract(net: Network, field: str) -> None:
    attestation = net.attest(one_leaf(1))
    home = net.client.domain
    foreign = replace(home, chain_id=1) if field == "chain_id" else replace(home, rewards=b"\x01" * 20)
    signatures = [sign_attestation(attestation, foreign, key) for key in net.validators]
    with pytest.raises(ChainError) as failure:
        net.client.post_root(net.owner, attestation, signatures)
    # Over other bytes, a signature recovers to a stranger.
    assert "RewardsNotValidator(" in failure.value.what


def test_changing_any_field_breaks_the_signatures(net: Network) -> None:
    attestation = net.attest(one_leaf(5))
    signatures = in_order(net, attestation, net.validators)
    other = b"\x77" * 32
    for change in ({"ledger_size": 11}, {"ledger_root": other}, {"reward_root": other}, {"cumulative_total_wei": 6}):
        with pytest.raises(ChainError) as failure:
            post_as_given(net, replace(attestation, **change), signatures)
        assert "RewardsNotValidator(" in failure.value.what or "RewardsSignersNotSorted(" in failure.value.what
    for change, error in (
        ({"epoch": 2}, "RewardsWrongEpoch"),
        ({"previous_root": other}, "RewardsWrongPreviousRoot"),
        ({"set_id": 2}, "RewardsWrongSet"),
        ({"attempt": 1}, "RewardsWrongAttempt"),
    ):
        changed = replace(attestation, **change)
        refused(partial(post_as_given, net, changed, in_order(net, changed, net.validators)), error)


def test_a_removed_validator(net: Network) -> None:
    staying = [address_of(key) for key in (*net.validators[1:], net.contributors[0])]
    refused(lambda: net.client.set_validators(net.guardian, staying, 2), "OwnableUnauthorizedAccount")
    stale = net.attest(one_leaf(1))
    net.client.post_root(net.owner, stale, net.sign(stale))
    net.client.set_validators(net.owner, staying, 2)
    state = net.client.state()
    # What the old set posted is gone with it, and its attestations are dead.
    assert (state.set_id, state.attempt, state.latest_epoch) == (2, 1, 0)
    refused(lambda: net.client.post_root(net.owner, stale, net.sign(stale)), "RewardsWrongSet")
    fresh = net.attest(one_leaf(1))
    refused(lambda: net.client.post_root(net.owner, fresh, net.sign(fresh, 2)), "RewardsNotValidator")
    keys = [net.validators[1], net.contributors[0]]
    assert net.client.post_root(net.owner, fresh, in_order(net, fresh, keys)) is not None


def test_validator_sets_that_make_no_sense(net: Network) -> None:
    addresses = sorted(address_of(key) for key in net.validators)
    for members, threshold in (([], 0), (addresses, 0), (addresses, 1), (addresses, 4)):
        refused(partial(net.client.set_validators, net.owner, members, threshold), "ValidatorSetInvalid")
    refused(lambda: net.client.set_validators(net.owner, [*addresses, addresses[0]], 3), "ValidatorSetNotSorted")
    refused(lambda: net.client.set_validators(net.owner, [bytes(20), *addresses], 3), "ValidatorSetNotSorted")
    assert net.client.validators() == addresses


def test_gas_with_the_largest_set(net: Network) -> None:
    keys = [(index + 1).to_bytes(32, "big") for index in range(128)]
    members = [address_of(key) for key in keys]
    assert net.client.set_validators(net.owner, members, 65).gas_used < 2_000_000
    assert net.client.validators() == sorted(members)
    attestation = net.attest(one_leaf(1))
    receipt = post_as_given(net, attestation, in_order(net, attestation, keys))
    assert receipt.gas_used < 2_000_000
    one_more = [*members, address_of((129).to_bytes(32, "big"))]
    refused(lambda: net.client.set_validators(net.owner, one_more, 65), "ValidatorSetInvalid")


# Epochs and emission.


def test_one_wei_over_the_emission(net: Network) -> None:
    total = 0
    for epoch in (1, 2, 3):
        allowed = PARAMETERS.emission(epoch)
        over = net.attest(one_leaf(allowed + 1))
        words = refused(partial(net.client.post_root, net.owner, over, net.sign(over)), "RewardsEmissionExceeded")
        assert f"requested={allowed + 1}, allowed={allowed}" in words
        total += allowed
        net.close_epoch({SOMEBODY: allowed})
        # Minted is the delta, to the wei, on top of the premint.
        assert net.client._endpoints.read(net.client._token, "totalSupply") == PARAMETERS.premint_wei + total


def test_what_an_epoch_leaves_returns_to_the_pool_and_is_no_windfall(net: Network) -> None:
    for _ in range(3):
        net.close_epoch({SOMEBODY: 1})
    allowed = PARAMETERS.emission_of(PARAMETERS.pool_wei - 3)
    assert allowed <= PARAMETERS.emission(1)
    over = net.attest(one_leaf(allowed + 1))
    refused(lambda: net.client.post_root(net.owner, over, net.sign(over)), "RewardsEmissionExceeded")
    net.close_epoch({SOMEBODY: allowed})


def test_emission_parity_with_other_parameters(net: Network) -> None:
    odd = RewardParameters(
        cap_wei=10**24 + 7, premint_wei=0, decay_numerator=1, decay_denominator=3, epoch_length_s=7_201
    )
    client = ChainClient.connect(ChainConfig(net.chain.rpc_url, DEFAULT_CHAIN_ID))
    client.deploy(net.owner, DeploySettings((address_of(net.owner),), 1, odd))
    for epoch in (1, 2, 4_000):
        assert client.emission(epoch) == odd.emission(1)
    assert client.emission(0) == 0


def test_the_emission_of_a_past_epoch_costs_the_same_for_each(net: Network) -> None:
    for epoch in range(1, 21):
        net.close_epoch({SOMEBODY: epoch})
    chain, target = net.client._endpoints.first(), net.client._rewards

    def gas(epoch: int) -> int:
        data = chain.call_data(target, "emission", epoch)
        return chain.estimate_gas({"to": to_checksum(target.address), "data": data, "value": 0}, address_of(net.owner))

    assert max(map(gas, range(1, 22))) - min(map(gas, range(1, 22))) < 1_000
    assert gas(21) < 40_000
    paid = 0
    for epoch in range(1, 22):  # from its own record
        assert net.client.emission(epoch) == PARAMETERS.emission_of(PARAMETERS.pool_wei - paid)
        paid += epoch


def test_what_the_contracts_would_refuse_is_refused_before_anything_is_sent() -> None:
    """A deployment whose second contract fails has paid for the first."""
    most = {"activation_delay_s": 365 * 86_400, "min_epoch_interval_s": 365 * 86_400, "stake_period_s": 302_400}
    for name, value in most.items():
        DeploySettings((SOMEBODY,), 1, **{name: value})  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=f"DEPLOY_SETTINGS_INVALID: {name} is {value + 1}"):
            DeploySettings((SOMEBODY,), 1, **{name: value + 1})  # type: ignore[arg-type]
    for name in ("stake_period_s", "min_stake_wei"):
        with pytest.raises(ConfigError, match=f"{name} is 0, the contracts take 1 to"):
            DeploySettings((SOMEBODY,), 1, **{name: 0})  # type: ignore[arg-type]


def test_epochs_cannot_be_skipped_or_repeated(net: Network) -> None:
    skip = replace(net.attest(one_leaf(1)), epoch=2)
    refused(lambda: net.client.post_root(net.owner, skip, net.sign(skip)), "RewardsWrongEpoch")
    net.close_epoch({SOMEBODY: 1})
    again = replace(net.attest(one_leaf(2)), epoch=1)
    refused(lambda: net.client.post_root(net.owner, again, net.sign(again)), "RewardsWrongEpoch")


def test_totals_and_ledger_never_shrink(net: Network) -> None:
    net.close_epoch({SOMEBODY: 100}, ledger_size=50)
    lower = net.attest(one_leaf(99), ledger_size=50, minted_wei=-1)
    refused(lambda: net.client.post_root(net.owner, lower, net.sign(lower)), "RewardsTotalDecreased")
    shorter = net.attest(one_leaf(100), ledger_size=49)
    refused(lambda: net.client.post_root(net.owner, shorter, net.sign(shorter)), "RewardsLedgerShrank")
    net.close_epoch({SOMEBODY: 100}, ledger_size=50)


@pytest.fixture
def slow_net() -> Iterator[Network]:
    yield from start_network("anvil", min_epoch_interval_s=5_000)


def test_the_smallest_interval_between_epochs(slow_net: Network) -> None:
    for amount in (1, 2):
        attestation = slow_net.attest(one_leaf(amount))
        post = partial(slow_net.client.post_root, slow_net.owner, attestation, slow_net.sign(attestation))
        refused(post, "RewardsEpochTooSoon")
        slow_net.chain.advance(5_000)
        assert post() is not None


def test_epochs_queue_while_the_delay_is_longer_than_an_epoch(net: Network) -> None:
    for epoch in (1, 2, 3):
        attestation = net.attest(one_leaf(10 * epoch))
        net.client.post_root(net.owner, attestation, net.sign(attestation))
    refused(lambda: net.client.activate(net.owner, 1), "RewardsNotActivatable")
    net.chain.advance(DELAY_S)
    for epoch in (1, 2, 3):
        net.client.activate(net.owner, epoch)
    refused(lambda: net.client.activate(net.owner, 4), "RewardsNothingToActivate")
    assert net.client.state().active_total_wei == 60


# Veto and pause.


def test_a_veto_kills_the_attempt(net: Network) -> None:
    first = net.attest(one_leaf(5))
    net.client.post_root(net.owner, first, net.sign(first))
    second = net.attest(one_leaf(6))
    net.client.post_root(net.owner, second, net.sign(second))
    refused(lambda: net.client.veto(net.owner, 1), "RewardsUnauthorized")
    refused(lambda: net.client.veto(net.guardian, 3), "RewardsNotPending")
    net.client.veto(net.guardian, 1)
    net.chain.advance(DELAY_S)
    refused(lambda: net.client.activate(net.owner, 1), "RewardsNothingToActivate")
    refused(lambda: net.client.post_root(net.owner, first, net.sign(first)), "RewardsWrongAttempt")
    net.close_epoch({SOMEBODY: 4})
    refused(lambda: net.client.veto(net.guardian, 1), "RewardsNotPending")
    assert net.client.state().active_total_wei == 4


def test_a_pause_ends_by_itself_and_needs_a_rest(net: Network) -> None:
    contributor = net.contributors[0]
    tree = net.close_epoch({address_of(contributor): 7})
    waiting = net.attest(RewardTree([(address_of(contributor), 2)]))
    net.client.post_root(net.owner, waiting, net.sign(waiting))
    net.chain.advance(DELAY_S)
    share = share_of(tree, address_of(contributor))

    refused(lambda: net.client.pause(net.owner, DAY_S), "RewardsUnauthorized")
    refused(lambda: net.client.pause(net.guardian, 7 * DAY_S + 1), "RewardsInvalidPause")
    refused(lambda: net.client.pause(net.guardian, 0), "RewardsInvalidPause")
    net.client.pause(net.guardian, 7 * DAY_S)
    refused(lambda: net.client.claim(contributor, [share]), "RewardsPaused")
    refused(lambda: net.client.claim(contributor, [share, share]), "RewardsPaused")
    permission = ClaimPermission(address_of(contributor), SOMEBODY, 0, 2**40)
    signature = sign_digest(permission.digest(net.client.domain), contributor)
    refused(lambda: net.client.claim_to(net.owner, permission, signature, [share]), "RewardsPaused")
    refused(lambda: net.client.activate(net.owner, 2), "RewardsPaused")
    # Posting goes on: a pause stops money, not the record.
    later = net.attest(RewardTree([(address_of(contributor), 1)]))
    assert net.client.post_root(net.owner, later, net.sign(later)) is not None

    net.chain.advance(7 * DAY_S)
    assert net.client.claim(contributor, [share]).paid_wei == 7
    assert net.client.activate(net.owner, 2) is not None
    refused(lambda: net.client.pause(net.guardian, DAY_S), "RewardsPauseCooldown")
    net.chain.advance(23 * DAY_S)
    net.client.pause(net.guardian, DAY_S)


# Claims.


def test_claims_that_the_root_does_not_hold(net: Network) -> None:
    me, other = net.contributors[:2]
    tree = net.close_epoch({address_of(me): 7, address_of(other): 9, SOMEBODY: 3})
    share = share_of(tree, address_of(me))
    proof = share.proof
    refused(lambda: net.client.claim(me, [replace(share, amount_wei=8)]), "RewardsInvalidProof")
    refused(lambda: net.client.claim(other, [share]), "RewardsInvalidProof")
    refused(lambda: net.client.claim(me, [replace(share, proof=proof[:-1])]), "RewardsInvalidProof")
    refused(lambda: net.client.claim(me, [replace(share, proof=(proof[0][::-1], *proof[1:]))]), "RewardsInvalidProof")
    refused(lambda: net.client.claim(me, [replace(share, epoch=2)]), "RewardsInvalidProof")
    assert net.client.claim(me, [share]).paid_wei == 7


def test_nothing_can_be_claimed_before_activation(net: Network) -> None:
    me = net.contributors[0]
    tree = RewardTree([(address_of(me), 7)])
    attestation = net.attest(tree)
    net.client.post_root(net.owner, attestation, net.sign(attestation))
    refused(lambda: net.client.claim(me, [share_of(tree, address_of(me))]), "RewardsInvalidProof")


def test_an_inner_node_is_no_leaf(net: Network) -> None:
    # The root of a two-leaf tree, offered as if its two children were an account and an amount.
    tree = net.close_epoch({SOMEBODY: 7, b"\x52" * 20: 8})
    left, right = sorted((leaf_hash(SOMEBODY, 7), leaf_hash(b"\x52" * 20, 8)))
    assert tree.root not in (left, right)
    forged = Share(1, int.from_bytes(right, "big"), ())
    refused(lambda: net.client.claim(net.owner, [forged], account=left[12:]), "RewardsInvalidProof")


def test_claiming_twice_pays_once(net: Network) -> None:
    me, other = net.contributors[:2]
    tree = net.close_epoch({address_of(me): 70, address_of(other): 5})
    share = share_of(tree, address_of(me))
    assert net.client.claim(me, [share]).paid_wei == 70
    for _ in range(2):
        assert net.client.claim(me, [share]).paid_wei == 0
        assert net.client.claim(me, [share, share]).paid_wei == 0
    later = net.close_epoch({address_of(me): 60})
    # In one transaction with what was paid before, and twice: the new epoch counts once.
    fresh = share_of(later, address_of(me), 2)
    assert net.client.claim(me, [share, fresh, share, fresh]).paid_wei == 60
    assert net.client.claimed(address_of(me)) == net.client.balances(address_of(me)).token_wei == 130


def test_a_lying_quorum_takes_only_its_own_epoch(net: Network) -> None:
    liar, *honest = net.contributors[:3]
    amounts = {address_of(key): 1_000 + index for index, key in enumerate(honest)}
    before = net.close_epoch(amounts)
    # 40 wei are minted, and the liar's leaf says all that the first epoch owes to others: it cannot be had at all.
    lie = net.close_epoch({address_of(liar): sum(amounts.values())}, minted_wei=40)
    words = refused(lambda: net.client.claim(liar, [share_of(lie, address_of(liar), 2)]), "ERC20InsufficientBalance")
    assert "balance=40, needed=2001" in words
    # One within what was minted takes that, and the others still get every wei.
    small = net.close_epoch({address_of(liar): 40}, minted_wei=40)
    assert net.client.claim(liar, [share_of(small, address_of(liar), 3)]).paid_wei == 40
    for key in honest:
        assert net.client.claim(key, [share_of(before, address_of(key))]).paid_wei == amounts[address_of(key)]
    assert [net.client.pool(epoch).unpaid_wei for epoch in (1, 2, 3)] == [0, 40, 0]


def test_only_so_many_epochs_wait(net: Network) -> None:
    for _ in range(31):
        attestation = net.attest(one_leaf(1))
        net.client.post_root(net.owner, attestation, net.sign(attestation))
    over = net.attest(one_leaf(1))
    refused(lambda: net.client.post_root(net.owner, over, net.sign(over)), "RewardsTooManyWaiting")
    net.chain.advance(DELAY_S)
    net.client.activate(net.owner, 1)
    assert net.client.post_root(net.owner, over, net.sign(over)) is not None
    assert net.client.post_root(net.owner, over, net.sign(over)) is None


def test_claim_many_pays_everyone_and_anybody_may_send_it(net: Network) -> None:
    amounts = {address_of(key): 10 + index for index, key in enumerate(net.contributors)}
    tree = net.close_epoch(amounts)
    rows = [(account, share_of(tree, account)) for account in amounts]
    assert net.client.claim(net.owner, [rows[1][1]], account=rows[1][0]).paid_wei == 11
    assert net.client.claim_many(net.owner, [*rows, rows[0]]).paid_wei == sum(amounts.values()) - 11
    for account, amount in amounts.items():
        assert net.client.balances(account).token_wei == amount
    wrong = [rows[0], (SOMEBODY, rows[0][1])]
    refused(lambda: net.client.claim_many(net.owner, wrong), "RewardsInvalidProof")


def test_a_relayed_claim_pays_only_the_named_recipient(net: Network) -> None:
    me, relayer, thief = net.contributors[:3]
    recipient = b"\x61" * 20
    tree = net.close_epoch({address_of(me): 70})
    share = share_of(tree, address_of(me))
    permission = ClaimPermission(address_of(me), recipient, net.client.claim_nonce(address_of(me)), 2**40)
    signature = sign_digest(permission.digest(net.client.domain), me)

    def relay(given: ClaimPermission, signed: bytes = signature) -> TransactionReceipt:
        return net.client.claim_to(relayer, given, signed, [share])

    stolen = replace(permission, recipient=address_of(thief))
    refused(lambda: relay(stolen), "RewardsInvalidSignature")
    refused(lambda: relay(stolen, sign_digest(stolen.digest(net.client.domain), thief)), "RewardsInvalidSignature")
    refused(lambda: relay(replace(permission, deadline=2**41)), "RewardsInvalidSignature")
    expired = replace(permission, deadline=1)
    refused(lambda: relay(expired, sign_digest(expired.digest(net.client.domain), me)), "RewardsExpired")
    trap = replace(permission, recipient=net.client.addresses.rewards)
    refused(lambda: relay(trap, sign_digest(trap.digest(net.client.domain), me)), "RewardsInvalidRecipient")
    elsewhere = RewardsDomain(DEFAULT_CHAIN_ID, b"\x01" * 20)
    refused(lambda: relay(permission, sign_digest(permission.digest(elsewhere), me)), "RewardsInvalidSignature")

    assert relay(permission).paid_wei == 70
    assert net.client.balances(recipient).token_wei == 70
    assert net.client.balances(address_of(me)).token_wei == 0
    # The nonce is spent: the same permission does not redirect the next epoch's rewards.
    refused(lambda: relay(permission), "RewardsInvalidSignature")


@needs_node
def test_a_contract_wallet_signs_through_its_owner(net: Network) -> None:
    owner, relayer, stranger = net.contributors[:3]
    wallet = create_compiled(net, "ContractWallet", owner)
    tree = net.close_epoch({wallet: 33})
    permission = ClaimPermission(wallet, address_of(owner), 0, 2**40)
    digest = permission.digest(net.client.domain)
    share = share_of(tree, wallet)
    refused(
        lambda: net.client.claim_to(relayer, permission, sign_digest(digest, stranger), [share]),
        "RewardsInvalidSignature",
    )
    assert net.client.claim_to(relayer, permission, sign_digest(digest, owner), [share]).paid_wei == 33
    assert net.client.balances(address_of(owner)).token_wei == 33


# Keys of the contracts.


@needs_node
def test_rescue_never_touches_the_reward_token(net: Network) -> None:
    tree = net.close_epoch({SOMEBODY: 40})
    foreign = create_compiled(net, "ForeignToken", net.owner, holder=net.client.addresses.rewards)
    to = b"\x71" * 20
    rescue = ("0x" + foreign.hex(), "0x" + to.hex(), 1_000)
    refused(lambda: net.client._send(net.guardian, "rescue", *checksummed(rescue)), "OwnableUnauthorizedAccount")
    own = ("0x" + net.client.addresses.token.hex(), "0x" + to.hex(), 40)
    refused(lambda: net.client._send(net.owner, "rescue", *checksummed(own)), "RewardsCannotRescue")
    net.client._send(net.owner, "rescue", *checksummed(rescue))
    balance = "0x70a08231" + (bytes(12) + to).hex()
    answer = net.chain.request("eth_call", [{"to": "0x" + foreign.hex(), "data": balance}, "latest"])
    assert int(answer, 16) == 1_000
    assert net.client.claim(net.owner, [share_of(tree, SOMEBODY)], account=SOMEBODY).paid_wei == 40


def test_only_the_rewards_contract_mints_and_pays(net: Network) -> None:
    send, token = net.client._sender.send, net.client._token
    net.close_epoch({SOMEBODY: 40})
    mine = checksummed(("0x" + address_of(net.owner).hex(),))[0]
    for key in (net.owner, net.guardian, *net.validators):
        refused(partial(send, key, token, "mint", 1, 1), "TokenUnauthorized")
        refused(partial(send, key, token, "pay", 1, mine, 1), "TokenUnauthorized")
    assert net.client._endpoints.read(token, "minter") == to_checksum(net.client.addresses.rewards)


def test_constructor_settings_that_cannot_work(net: Network) -> None:
    client = ChainClient.connect(ChainConfig(net.chain.rpc_url, DEFAULT_CHAIN_ID))
    me = address_of(net.owner)
    refused(lambda: client.deploy(net.owner, DeploySettings((me,), 2)), "ValidatorSetInvalid")
    refused(lambda: client.deploy(net.owner, DeploySettings((), 0)), "ValidatorSetInvalid")
    refused(lambda: client.deploy(net.owner, DeploySettings((me,), 1, guardian=bytes(20))), "RewardsInvalidParameter")
    refused(lambda: client.deploy(net.owner, DeploySettings((me,), 1, owner=bytes(20))), "OwnableInvalidOwner")


def test_every_privileged_function_refuses_a_stranger(net: Network) -> None:
    stranger = net.contributors[0]
    me = checksummed(("0x" + address_of(stranger).hex(),))[0]
    for function, arguments, error in (
        ("veto", (1,), "RewardsUnauthorized"),
        ("pause", (60,), "RewardsUnauthorized"),
        ("setGuardian", (me,), "OwnableUnauthorizedAccount"),
        ("setValidators", ([me], 1), "OwnableUnauthorizedAccount"),
        ("rescue", (me, me, 1), "OwnableUnauthorizedAccount"),
        ("transferOwnership", (me,), "OwnableUnauthorizedAccount"),
        ("renounceOwnership", (), "OwnableUnauthorizedAccount"),
        ("acceptOwnership", (), "OwnableUnauthorizedAccount"),
    ):
        refused(partial(net.client._send, stranger, function, *arguments), error)
    # The list above is complete: what else changes state is open to all by design.
    abi = json.loads((Path(__file__).parent.parent / "curiosity/chain/abi/CuriosityRewards.json").read_text())["abi"]
    changing = {e["name"] for e in abi if e["type"] == "function" and e["stateMutability"] != "view"} - {"eip712Domain"}
    open_to_all = {"postRoot", "activate", "claim", "claimMany", "claimTo"}
    privileged = {
        "veto", "pause", "setGuardian", "setValidators", "rescue",
        "transferOwnership", "renounceOwnership", "acceptOwnership",
    }  # fmt: skip
    assert changing == open_to_all | privileged


def create_compiled(net: Network, name: str, key: bytes, *, holder: bytes | None = None) -> bytes:
    """Compiles and deploys a helper contract whose one constructor argument is an address; its address."""
    path = Path("contracts/test") / f"{name}.sol"
    bytecode = compile_contracts([path])[name]["bytecode"]
    argument = (bytes(12) + (holder or address_of(key))).hex()
    digest = net.chain.request(
        "eth_sendTransaction", [{"from": "0x" + address_of(net.owner).hex(), "data": bytecode + argument}]
    )
    receipt = wait_for_receipt(net.chain, digest)
    assert receipt["status"] == "0x1"
    return bytes.fromhex(receipt["contractAddress"][2:])


def checksummed(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(to_checksum(bytes.fromhex(v[2:])) if isinstance(v, str) else v for v in values)
