"""Several endpoints of one chain: what decides about money is what all say that answer, and enough must."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain, find_anvil
from curiosity.chain.attestation import address_of, sign_attestation
from curiosity.chain.chain import ChainConfig, DeploySettings
from curiosity.chain.evm import ChainClient
from curiosity.protocol.errors import ChainError
from curiosity.protocol.rewards import RewardTree
from tests.material.network import Network, start_network
from tests.material.rpc import RpcProxy

pytestmark = pytest.mark.skipif(
    find_anvil() is None, reason="anvil is absent: only it has several chains and no limits"
)


@dataclass
class Several:
    """One chain with an active and a posted epoch, behind three endpoints."""

    net: Network
    doors: list[RpcProxy]

    def config(self, count: int, **changes: Any) -> ChainConfig:
        first, *others = (door.url for door in self.doors[:count])
        config = ChainConfig(
            first, DEFAULT_CHAIN_ID, self.net.client.addresses, other_rpc_urls=tuple(others), poll_interval_s=0.01,
            finality="depth", finality_depth=0,
        )  # fmt: skip
        return replace(config, **changes)


@pytest.fixture(scope="module")
def chain() -> Iterator[Network]:
    for net in start_network("anvil"):
        net.close_epoch({address_of(net.contributors[0]): 70})
        attestation = net.attest(RewardTree([(b"\x01" * 20, 7)]), ledger_size=20)
        net.client.post_root(net.owner, attestation, net.sign(attestation))
        yield net


@pytest.fixture
def several(chain: Network) -> Iterator[Several]:
    with ExitStack() as stack:
        yield Several(chain, [stack.enter_context(RpcProxy(chain.chain.rpc_url)) for _ in range(3)])


def flip(result: str) -> str:
    """Another answer of the same shape: no for yes, else the last digit that is not 0 is another."""
    if len(result) == 66 and int(result, 16) in (0, 1):
        return f"0x{1 - int(result, 16):064x}"
    position = max((index for index, digit in enumerate(result) if digit not in "0x"), default=len(result) - 1)
    return result[:position] + ("2" if result[position] != "2" else "3") + result[position + 1 :]


def lie(method: str, _parameters: list[Any], result: Any) -> Any:
    return flip(result) if method in ("eth_call", "eth_getBalance", "eth_getCode") else result


def lie_about_roots(method: str, _parameters: list[Any], result: Any) -> Any:
    is_root = method == "eth_call" and not result.startswith("0x0000")
    return f"0x{'7' if result[2] != '7' else '8'}{result[3:]}" if is_root else result


def lie_about_epochs(method: str, _parameters: list[Any], result: Any) -> Any:
    return f"{result[:65]}7{result[66:]}" if method == "eth_call" else result


LIES = {"epoch": lie_about_roots, "standing": lie_about_epochs}
MONEY: dict[str, Callable[[ChainClient, bytes], Any]] = {
    "state": lambda client, _: client.state(),
    "standing": lambda client, _: client.standing(),
    "pool": lambda client, _: client.pool(1),
    "epoch": lambda client, _: client.epoch(2, client.state()),
    "claimed": lambda client, account: client.claimed(account),
    "is_claimed": lambda client, account: client.is_claimed(account, 1),
    "validators": lambda client, _: client.validators(),
    "claim_nonce": lambda client, account: client.claim_nonce(account),
    "emission": lambda client, _: client.emission(1),
    "balances": lambda client, account: client.balances(account),
    "verify_code": lambda client, _: client.verify_code(),
}


@pytest.mark.parametrize("name", MONEY)
def test_nothing_that_decides_about_money_is_one_endpoints_word(several: Several, name: str) -> None:
    ask, account = MONEY[name], address_of(several.net.contributors[0])
    honest = ask(ChainClient.connect(several.config(2)), account)
    both, alone = ChainClient(several.config(2)), ChainClient(several.config(1))
    assert ask(alone, account) == honest
    several.doors[0].alter = LIES.get(name, lie)
    with pytest.raises(ChainError, match="CHAIN_ENDPOINTS_DISAGREE") as caught:
        ask(both, account)
    assert all(door.url in caught.value.what for door in several.doors[:2])
    # The other arm: who asks one endpoint believes it.
    if name == "verify_code":
        with pytest.raises(ChainError, match="CHAIN_CODE_DIFFERS"):
            ask(alone, account)
    else:
        assert ask(alone, account) != honest


def test_code_at_the_addresses_is_asked_of_all_when_connecting(several: Several) -> None:
    several.doors[1].alter = lambda method, _, result: "0x" if method == "eth_getCode" else result
    with pytest.raises(ChainError, match="CHAIN_ENDPOINTS_DISAGREE: about code of 0x"):
        ChainClient.connect(several.config(2))


def test_an_objection_counts_whatever_the_majority_says(several: Several) -> None:
    client = ChainClient.connect(several.config(3))
    several.doors[2].alter = lie
    with pytest.raises(ChainError, match="CHAIN_ENDPOINTS_DISAGREE"):
        client.state()


def test_what_is_contradicted_only_for_a_moment_is_asked_again(several: Several) -> None:
    client = ChainClient.connect(several.config(2))
    lies = iter([True])
    several.doors[1].alter = lambda method, _, result: (
        flip(result) if method == "eth_call" and next(lies, False) else result
    )
    assert client.state() == several.net.client.state()
    assert next(lies, "told") == "told"


def test_silence_of_a_minority_is_borne_and_of_more_is_not(several: Several, caplog: pytest.LogCaptureFixture) -> None:
    state = several.net.client.state()
    several.doors[0].is_down = True  # the first, through which is sent
    client = ChainClient.connect(several.config(3))
    assert client.state() == state
    assert f"event=endpoint_silent url={several.doors[0].url}" in caplog.text
    client.fund(several.net.owner, os.urandom(20), eth_wei=1)
    assert several.doors[1].seen["eth_sendRawTransaction"] == 1
    several.doors[1].is_down = True
    with pytest.raises(ChainError, match="CHAIN_ENDPOINTS_FEW: 1 of 3 endpoints answer, 2 must") as caught:
        client.state()
    assert several.doors[1].url in caught.value.what
    several.doors[0].is_down = several.doors[1].is_down = False
    assert client.state() == several.net.client.state()  # who was silent is asked when there are too few others

    several.doors[1].is_down = True
    with pytest.raises(ChainError, match=r"CHAIN_ENDPOINTS_FEW: 1 of 2 endpoints answer, 2 must; silent: http"):
        ChainClient.connect(several.config(2))
    assert ChainClient.connect(several.config(2, rpc_quorum=1)).state() == several.net.client.state()
    with pytest.raises(ChainError, match="CHAIN_ENDPOINTS_FEW: 3 endpoints must agree, 2 are named"):
        ChainClient.connect(several.config(2, rpc_quorum=3))


def test_an_endpoint_that_stopped_following_the_chain_does_not_hold_the_others_back(several: Several) -> None:
    several.net.chain.request("anvil_mine", ["0x64"])
    several.doors[2].alter = lambda method, _, result: (
        hex(int(result, 16) - 90) if method == "eth_blockNumber" else result
    )
    best = int(several.net.chain.request("eth_blockNumber", []), 16)
    assert ChainClient.connect(several.config(3)).standing().block == best
    with pytest.raises(ChainError, match="CHAIN_ENDPOINTS_FEW: the endpoints are at different blocks"):
        ChainClient.connect(replace(several.config(3), other_rpc_urls=(several.doors[2].url,)))


def test_what_was_sent_is_known_to_all_endpoints_before_the_next_question(several: Several) -> None:
    net, chain = several.net, several.net.chain
    behind = iter([True] * 3)
    several.doors[1].alter = lambda method, _, result: (
        hex(int(result, 16) - 1) if method == "eth_blockNumber" and sent() and next(behind, False) else result
    )
    before = int(chain.request("eth_blockNumber", []), 16)

    def sent() -> bool:
        return int(chain.request("eth_blockNumber", []), 16) > before

    client = ChainClient.connect(several.config(2))
    receipt = client.set_validators(net.owner, [address_of(key) for key in net.validators], 2)
    # The set changed, which all of them say, also the one that was a block behind.
    assert next(behind, "told") == "told"
    assert client.standing().block == receipt.block


def test_a_url_that_turns_into_another_chain_gets_no_transaction(several: Several) -> None:
    client = ChainClient.connect(several.config(1))
    several.doors[0].alter = lambda method, _, result: "0x5" if method == "eth_chainId" else result
    with pytest.raises(ChainError, match=r"CHAIN_WRONG_ID: .* is chain 5, expected 31337"):
        client.fund(several.net.owner, os.urandom(20), eth_wei=1)
    assert "eth_sendRawTransaction" not in several.doors[0].seen


def test_a_claim_and_a_post_are_not_made_where_endpoints_disagree(several: Several) -> None:
    net = several.net
    client = ChainClient.connect(several.config(2))
    attestation = net.attest(RewardTree([(b"\x02" * 20, 9)]), ledger_size=30)
    several.doors[1].alter = lie
    with pytest.raises(ChainError, match="CHAIN_ENDPOINTS_DISAGREE"):
        client.post_root(net.owner, attestation, net.sign(attestation))
    with pytest.raises(ChainError, match="CHAIN_ENDPOINTS_DISAGREE"):
        client.activate(net.owner, 2)
    assert all("eth_sendRawTransaction" not in door.seen for door in several.doors)


def test_two_chains_that_went_different_ways_are_told_apart(tmp_path: Path) -> None:
    states = [tmp_path / name for name in ("one.json", "other.json")]
    with DevChain(engine="anvil", state_path=states[0]) as chain:
        key = chain.private_key(0)
        settings = DeploySettings((address_of(key),), 1, activation_delay_s=0, min_epoch_interval_s=0)
        addresses = ChainClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID)).deploy(key, settings)
    shutil.copy(*states)
    with DevChain(engine="anvil", state_path=states[0]) as one, DevChain(engine="anvil", state_path=states[1]) as other:
        alone = ChainConfig(one.rpc_url, DEFAULT_CHAIN_ID, addresses)
        both = replace(alone, other_rpc_urls=(other.rpc_url,))
        client = ChainClient.connect(both)
        before = client.state()
        assert before == ChainClient.connect(alone).state()
        attestation = before.next_attestation(
            ledger_size=1, ledger_root=bytes(32), reward_root=b"\x01" * 32, cumulative_total_wei=7
        )
        signature = sign_attestation(attestation, client.domain, key)
        assert ChainClient.connect(alone).post_root(key, attestation, [signature]) is not None
        # Only one has the block so far: what both have is as before.
        assert client.state() == before
        other.request("evm_mine", [])
        with pytest.raises(ChainError, match="CHAIN_ENDPOINTS_DISAGREE"):
            client.state()
        with DevChain(engine="anvil", chain_id=5) as foreign, pytest.raises(ChainError, match="CHAIN_WRONG_ID"):
            ChainClient.connect(replace(alone, other_rpc_urls=(foreign.rpc_url,)))


def test_what_is_final_is_what_no_usual_reorganisation_takes_back(chain: Network) -> None:
    url, addresses = chain.chain.rpc_url, chain.client.addresses

    def standing(**changes: Any) -> Any:
        return ChainClient.connect(ChainConfig(url, DEFAULT_CHAIN_ID, addresses, **changes)).standing()

    block = standing().block
    # anvil calls what is two epochs of 32 slots deep final; a depth of one's own counts from the newest block.
    assert standing().final_block == max(block - 64, 0)
    assert standing(finality="depth", finality_depth=3).final_block == block - 3
    assert standing(finality="depth", finality_depth=0).settled == standing().active == 1
    assert standing(finality="depth", finality_depth=10**6).settled == 0  # nothing is deployed there yet

    # A chain without the word: the depth counts.
    with RpcProxy(url) as proxy:
        proxy.alter = lambda method, parameters, result: (
            None if method == "eth_getBlockByNumber" and parameters[0] == "finalized" else result
        )
        config = ChainConfig(proxy.url, DEFAULT_CHAIN_ID, addresses, finality_depth=5)
        assert ChainClient.connect(config).standing().final_block == block - 5


TIP_WEI = 10**14  # 2.1 coins for a plain transfer


def dear(method: str, _parameters: list[Any], result: Any) -> Any:
    return hex(TIP_WEI) if method == "eth_maxPriorityFeePerGas" else result


def spent_wei(several: Several, config: ChainConfig) -> int:
    """What a transfer of nothing but one wei costs the sender."""
    net = several.net
    account = address_of(net.owner)
    before = net.client.balance_wei(account)
    ChainClient(config).fund(net.owner, b"\xd0" * 20, eth_wei=1)
    return before - net.client.balance_wei(account)


@pytest.mark.parametrize("liar", range(3))
def test_one_of_three_endpoints_sets_no_fee(several: Several, liar: int) -> None:
    several.doors[liar].alter = dear
    assert spent_wei(several, several.config(3)) < 10**16


def test_a_fee_beyond_the_limit_is_refused_before_anything_is_signed(several: Several) -> None:
    several.doors[0].alter = dear
    with pytest.raises(ChainError, match="CHAIN_FEE_TOO_HIGH"):
        spent_wei(several, several.config(1))
    assert "eth_sendRawTransaction" not in several.doors[0].seen
    assert (
        spent_wei(several, several.config(1, max_fee_wei=0)) > 2 * 10**18
    )  # the other arm: without a limit it is paid
