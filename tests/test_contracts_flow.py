"""An epoch from deployment to the claimed token, on anvil and on eth-tester; the client's clear errors."""

import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain, find_anvil
from curiosity.chain.artifacts import decode_revert, load_artifact
from curiosity.chain.attestation import address_of
from curiosity.chain.chain import Addresses, ChainConfig, DeploySettings, Share
from curiosity.chain.evm import ChainClient
from curiosity.protocol.errors import ChainError, ConfigError, ProofError
from curiosity.protocol.rewards import RewardTree, allocate
from tests.material.network import DELAY_S, PARAMETERS, Network, share_of, start_network


@pytest.fixture(scope="module", params=["anvil", "eth-tester"])
def network(request: pytest.FixtureRequest) -> Iterator[Network]:
    yield from start_network(request.param)


def test_both_engines_are_present() -> None:
    # Without this the parametrised tests would only fail one by one where `npm ci` was forgotten.
    assert find_anvil() is not None


def test_epochs_pay_exactly_what_was_allocated(network: Network) -> None:
    client, (first, second, *_) = network.client, network.contributors
    assert client.balances(address_of(first)).token_wei == 0
    scores = [(address_of(first), 3), (address_of(second), 1), (os.urandom(20), 5)]
    trees, paid = [], 0
    for epoch in (1, 2):
        amounts = allocate(scores, PARAMETERS.emission(epoch))
        tree = network.close_epoch(amounts, ledger_size=10 * epoch)
        trees.append(tree)
        state = client.state()
        assert (state.active_epoch, state.active_root) == (epoch, tree.root)
        assert state.active_total_wei == PARAMETERS.emitted_until(epoch)
        assert client.pool(epoch).unpaid_wei == tree.total_wei == PARAMETERS.emission(epoch)

        share = share_of(tree, address_of(first), epoch)
        receipt = client.claim(first, [share])
        assert receipt.gas_used < 110_000
        paid += receipt.paid_wei
        assert receipt.paid_wei == share.amount_wei > 0
        assert client.balances(address_of(first)).token_wei == paid
        assert client.claim(first, [share]).paid_wei == 0
        assert client.is_claimed(address_of(first), epoch)
        assert client.balances(address_of(first)).token_wei == paid == client.claimed(address_of(first))
    # The second contributor skipped an epoch and loses nothing: one transaction collects both.
    shares = [share_of(tree, address_of(second), epoch) for epoch, tree in enumerate(trees, start=1)]
    receipt = client.claim(second, shares)
    assert receipt.paid_wei == sum(share.amount_wei for share in shares) == client.claimed(address_of(second))


def test_emission_is_the_same_in_python_and_solidity(network: Network) -> None:
    for amount in (0, 5, PARAMETERS.emission(1) // 2):
        state = network.client.state()
        epoch, paid = state.latest_epoch + 1, state.latest_total_wei
        assert network.client.emission(epoch) == PARAMETERS.emission_of(PARAMETERS.pool_wei - paid)
        amounts = {address_of(network.contributors[0]): amount} if amount else {}
        network.close_epoch(amounts, ledger_size=state.latest_ledger_size)


def test_fund_sends_coins_and_tokens(network: Network) -> None:
    account = os.urandom(20)
    network.client.fund(network.owner, account, eth_wei=12, token_wei=34)
    balances = network.client.balances(account)
    assert (balances.eth_wei, balances.token_wei) == (12, 34)


def test_posting_again_and_activating_again_do_nothing(net: Network) -> None:
    tree = RewardTree([(b"\x01" * 20, 7)])
    attestation = net.attest(tree)
    signatures = net.sign(attestation)
    assert net.client.post_root(net.owner, attestation, signatures[::-1]) is not None
    assert net.client.post_root(net.owner, attestation, signatures) is None
    net.chain.advance(DELAY_S)
    assert net.client.activate(net.owner, 1) is not None
    assert net.client.activate(net.owner, 1) is None
    assert net.client.post_root(net.owner, attestation, signatures) is None


def test_wait_until_activatable_follows_block_time(network: Network) -> None:
    client = network.client
    tree = RewardTree([(b"\x02" * 20, 5)])
    attestation = network.attest(tree, ledger_size=100)
    client.post_root(network.owner, attestation, network.sign(attestation))
    with pytest.raises(ChainError) as failure:
        client.wait_until_activatable(0.2)
    assert failure.value.code == "CHAIN_TIMEOUT"
    # All but one second by travel, the last one by waiting.
    network.chain.advance(DELAY_S - 2)
    client.wait_until_activatable(20)
    assert client.activate(network.owner, attestation.epoch) is not None


def test_a_revert_names_the_error_and_its_arguments(network: Network) -> None:
    with pytest.raises(ChainError) as failure:
        network.client.claim(network.contributors[2], [Share(1, 5, ())])
    assert failure.value.code == "CHAIN_REVERTED"
    account = "0x" + address_of(network.contributors[2]).hex()
    assert f"RewardsInvalidProof(account={account}, epoch=1, amount=5, rewardRoot=0x" in failure.value.what


def test_an_account_without_coins_is_told_so(network: Network) -> None:
    with pytest.raises(ChainError) as failure:
        network.client.fund(os.urandom(32), os.urandom(20), eth_wei=1)
    assert failure.value.code == "CHAIN_NO_FUNDS"
    # Enough for the amount and not for the gas: found out before anything is signed, where estimates ask for no fee.
    poor = os.urandom(32)
    network.client.fund(network.owner, address_of(poor), eth_wei=1_000)
    with pytest.raises(ChainError) as failure:
        network.client.fund(poor, os.urandom(20), eth_wei=1)
    assert failure.value.code == "CHAIN_NO_FUNDS"
    if network.chain.engine == "anvil":
        assert "holds 1000 wei, the transaction may need" in failure.value.what


def test_a_wrong_chain_id_is_refused(network: Network) -> None:
    with pytest.raises(ChainError) as failure:
        ChainClient.connect(ChainConfig(network.chain.rpc_url, 1))
    assert failure.value.code == "CHAIN_WRONG_ID"
    assert "31337" in failure.value.what
    addresses = replace(network.client.addresses, chain_id=5)
    with pytest.raises(ChainError) as failure:
        ChainClient.connect(ChainConfig(network.chain.rpc_url, DEFAULT_CHAIN_ID, addresses))
    assert failure.value.code == "CHAIN_WRONG_ID"


def test_addresses_without_code_are_refused(network: Network) -> None:
    missing = replace(network.client.addresses, rewards=b"\x09" * 20)
    with pytest.raises(ChainError) as failure:
        ChainClient.connect(ChainConfig(network.chain.rpc_url, DEFAULT_CHAIN_ID, missing))
    assert failure.value.code == "CHAIN_NO_CONTRACT"
    with pytest.raises(ChainError) as failure:
        ChainClient.connect(ChainConfig(network.chain.rpc_url, DEFAULT_CHAIN_ID)).state()
    assert failure.value.code == "CHAIN_NO_CONTRACT"


def test_no_server_is_a_clear_error() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(ChainError) as failure:
        ChainClient.connect(ChainConfig(url, DEFAULT_CHAIN_ID))
    assert failure.value.code == "CHAIN_UNREACHABLE"
    assert failure.value.what == f"{url} did not answer: nobody listens there"


def test_arguments_that_do_not_fit_are_refused_before_sending(network: Network) -> None:
    with pytest.raises(ChainError) as failure:
        network.client.claim(network.owner, [Share(1, -1, ())])
    assert failure.value.code == "CHAIN_REFUSED"
    attestation = network.attest(RewardTree([(b"\x01" * 20, 1)]))
    with pytest.raises(ProofError) as proof_failure:
        network.client.post_root(network.owner, attestation, [b"\x01" * 64])
    assert proof_failure.value.code == "SIGNATURE_INVALID"


def test_threads_share_one_account(network: Network) -> None:
    recipients = [os.urandom(20) for _ in range(6)]
    threads = [
        threading.Thread(target=network.client.fund, args=(network.owner, recipient), kwargs={"eth_wei": 1})
        for recipient in recipients
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [network.client.balances(recipient).eth_wei for recipient in recipients] == [1] * 6


def test_addresses_survive_json(network: Network) -> None:
    addresses = network.client.addresses
    assert Addresses.from_json(addresses.to_json()) == addresses
    for broken in ({}, {**addresses.to_json(), "token": "0x12"}, {**addresses.to_json(), "rewards": 5}):
        with pytest.raises(ConfigError):
            Addresses.from_json(broken)


def test_revert_data_is_decoded() -> None:
    # Error(string) and Panic(uint256), as Solidity's documentation gives them.
    word = (0x20).to_bytes(32, "big")
    text = bytes.fromhex("08c379a0") + word + (3).to_bytes(32, "big") + b"why".ljust(32, b"\x00")
    assert str(decode_revert(text)) == "Error(message=why)"
    panic = bytes.fromhex("4e487b71") + (0x11).to_bytes(32, "big")
    assert str(decode_revert(panic)) == "Panic(code=17)"
    assert decode_revert(b"\x01\x02\x03\x04") is None
    assert decode_revert(text[:40]) is None
    assert decode_revert(b"") is None


def test_a_missing_artifact_is_a_clear_error() -> None:
    with pytest.raises(ChainError) as failure:
        load_artifact("NoSuchContract")
    assert failure.value.code == "ABI_MISSING"


def test_state_file_survives_a_restart(tmp_path: Path) -> None:
    state_path = tmp_path / "chain" / "state.json"
    with DevChain(engine="anvil", state_path=state_path) as chain:
        client = ChainClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID))
        key = chain.private_key(0)
        addresses = client.deploy(key, DeploySettings(validators=(address_of(key),), threshold=1))
        supply = client.balances(address_of(key)).token_wei
    with DevChain(engine="anvil", state_path=state_path) as chain:
        client = ChainClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID, addresses))
        assert client.balances(address_of(key)).token_wei == supply == PARAMETERS.premint_wei
