"""Transactions that get stuck, lost, replaced or thrown out of the chain: each intent is carried out once."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import rlp  # type: ignore[import-untyped]
from eth_account import Account

from contracts.attestation import address_of, sign_attestation
from contracts.chain import ChainConfig, DeploySettings
from contracts.devchain import DEFAULT_CHAIN_ID, DevChain, find_anvil
from contracts.evm import ChainClient
from contracts.evm.connection import Connection
from contracts.evm.journal import Journal, Sent
from protocol.errors import ChainError
from protocol.rewards import RewardTree
from tests.test_contracts_flow import DELAY_S, Network, share_of, start_network

pytestmark = pytest.mark.skipif(find_anvil() is None, reason="anvil is absent: only it can stop mining and reorganise")


@dataclass
class Line:
    """A chain, and a connection that keeps a journal."""

    chain: DevChain
    config: ChainConfig
    key: bytes

    def connection(self) -> Connection:
        return Connection(self.config)

    def journal(self) -> list[Sent]:
        return Journal(DEFAULT_CHAIN_ID, self.config.journal).open(address_of(self.key))

    def waiting(self) -> int:
        return int(self.chain.request("txpool_status", [])["pending"], 16)

    def balance(self, account: bytes) -> int:
        return int(self.chain.request("eth_getBalance", ["0x" + account.hex(), "latest"]), 16)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with DevChain(engine="anvil") as chain:
        config = ChainConfig(
            chain.rpc_url, DEFAULT_CHAIN_ID, receipt_timeout_s=20, poll_interval_s=0.02, bump_after_s=0.3,
            journal=tmp_path / "journal.json",
        )  # fmt: skip
        yield Line(chain, config, chain.private_key(0))


def until(condition: object, *, timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def test_a_stuck_transaction_is_replaced_by_one_with_higher_fees(line: Line) -> None:
    recipient = os.urandom(20)
    line.chain.request("evm_setAutomine", [False])
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(line.connection().transfer(line.key, recipient, 7)))
    thread.start()
    until(lambda: len(line.journal()) >= 3)
    versions = [Account.recover_transaction(sent.raw) for sent in line.journal()]
    assert len(set(versions)) == 1
    assert len({sent.nonce for sent in line.journal()}) == 1
    fees = []
    for sent in line.journal():
        found = line.chain.request("eth_getTransactionByHash", ["0x" + sent.hash.hex()])
        fees.append((int(found["maxFeePerGas"], 16), int(found["maxPriorityFeePerGas"], 16)) if found else None)
    seen = [one for one in fees if one is not None]
    assert seen[-1] == max(seen)
    line.chain.request("evm_setAutomine", [True])
    line.chain.request("evm_mine", [])
    thread.join(20)
    assert len(done) == 1
    assert (line.balance(recipient), line.journal(), line.waiting()) == (7, [], 0)


def test_both_fees_rise_by_an_eighth(line: Line) -> None:
    sent = []
    line.chain.request("evm_setAutomine", [False])
    connection = Connection(replace(line.config, receipt_timeout_s=1.0))
    with pytest.raises(ChainError, match="CHAIN_TIMEOUT"):
        connection.transfer(line.key, os.urandom(20), 1)
    for one in line.journal():
        # EIP-1559: after the type's byte, an RLP list of chain id, nonce, tip, fee, ...
        _, _, tip, fee, *_ = rlp.decode(one.raw[1:])
        sent.append((int.from_bytes(fee, "big"), int.from_bytes(tip, "big")))
    assert len(sent) >= 3
    for before, after in itertools.pairwise(sent):
        assert all(high * 1000 >= low * 1125 for low, high in zip(before, after, strict=True))


def test_a_process_that_died_after_signing_is_seen_through_once(line: Line) -> None:
    recipient = os.urandom(20)
    line.chain.request("evm_setAutomine", [False])
    with pytest.raises(ChainError, match="CHAIN_TIMEOUT"):
        Connection(replace(line.config, receipt_timeout_s=0.1)).transfer(line.key, recipient, 5)
    (left,) = line.journal()
    # The chain forgot it, as a node that restarts does; the next process has the bytes.
    line.chain.request("anvil_dropTransaction", ["0x" + left.hash.hex()])
    assert line.waiting() == 0
    line.chain.request("evm_setAutomine", [True])
    receipt = line.connection().transfer(line.key, recipient, 5)
    assert receipt.hash == left.hash
    assert (line.balance(recipient), line.journal()) == (5, [])
    # What is wished anew afterwards is another payment.
    assert line.connection().transfer(line.key, recipient, 5).hash != left.hash
    assert line.balance(recipient) == 10


def test_already_known_and_nonce_too_low_are_looked_up(line: Line) -> None:
    recipient = os.urandom(20)
    connection = line.connection()
    line.chain.request("evm_setAutomine", [False])
    with pytest.raises(ChainError, match="CHAIN_TIMEOUT"):
        Connection(replace(line.config, receipt_timeout_s=0.1)).transfer(line.key, recipient, 5)
    (left,) = line.journal()
    assert connection._offer(left.raw) is None  # already known
    line.chain.request("evm_setAutomine", [True])
    line.chain.request("evm_mine", [])
    refusal = connection._offer(left.raw)
    assert refusal is not None
    assert refusal.code == "CHAIN_NONCE"
    assert connection._find_receipt([left.hash])["status"] == 1
    # Another process of the same account, without our journal: the nonce is read anew.
    other = Connection(replace(line.config, journal=None))
    assert other.transfer(line.key, recipient, 1).block < connection.transfer(line.key, recipient, 2).block
    assert line.balance(recipient) == 8


def test_a_journal_of_another_chain_or_a_torn_one_is_refused(line: Line, tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    Journal(1, path).add(Sent(b"\x01" * 20, 0, b"", b"", b""))
    with pytest.raises(ChainError, match=r"CHAIN_JOURNAL: .* belongs to chain 1"):
        line.connection()
    path.write_text("{")
    with pytest.raises(ChainError, match="CHAIN_JOURNAL"):
        line.connection()
    with pytest.raises(ChainError, match=r"CHAIN_JOURNAL: .* No such file"):
        Journal(1, tmp_path / "nowhere" / "journal.json").add(Sent(b"\x01" * 20, 0, b"", b"", b""))


@pytest.fixture
def net() -> Iterator[Network]:
    yield from start_network("anvil")


def test_a_reorganised_chain_gets_the_root_again_and_pays_once(net: Network) -> None:
    me = net.contributors[0]
    tree = RewardTree([(address_of(me), 70)])
    attestation = net.attest(tree)
    for _ in range(3):
        net.chain.request("evm_mine", [])
    assert net.client.post_root(net.owner, attestation, net.sign(attestation)) is not None
    net.chain.request("evm_mine", [])
    net.chain.request("anvil_reorg", [5, []])
    assert net.client.state().latest_epoch == 0  # it is gone
    assert net.client.post_root(net.owner, attestation, net.sign(attestation)) is not None
    assert net.client.post_root(net.owner, attestation, net.sign(attestation)) is None
    net.chain.advance(DELAY_S)
    assert net.client.activate(net.owner, 1) is not None
    net.chain.request("anvil_reorg", [1, []])
    state = net.client.state()
    if state.active_epoch == 0:
        net.chain.advance(DELAY_S)
        assert net.client.activate(net.owner, 1) is not None
    assert net.client.activate(net.owner, 1) is None
    share = share_of(tree, address_of(me))
    assert net.client.claim(me, [share]).paid_wei == 70
    assert net.client.claim(me, [share]).paid_wei == 0
    assert net.client.balances(address_of(me)).token_wei == 70


def test_twenty_claims_at_once_from_one_key_pay_once_each(net: Network) -> None:
    accounts = [os.urandom(20) for _ in range(20)]
    tree = net.close_epoch({account: 5 + index for index, account in enumerate(accounts)})
    problems: list[Exception] = []

    def take(account: bytes) -> None:
        try:
            net.client.claim(net.owner, [share_of(tree, account)], account=account)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=take, args=(account,)) for account in accounts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert [net.client.balances(account).token_wei for account in accounts] == [5 + index for index in range(20)]


def test_a_chain_that_was_killed_goes_on_from_its_state(tmp_path: Path) -> None:
    state_path = tmp_path / "state.json"
    with DevChain(engine="anvil", state_path=state_path) as chain:
        key = chain.private_key(0)
        client = ChainClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID))
        addresses = client.deploy(
            key, DeploySettings((address_of(key),), 1, activation_delay_s=0, min_epoch_interval_s=0)
        )
        tree = RewardTree([(address_of(key), 70)])
        attestation = client.state().next_attestation(
            ledger_size=1, ledger_root=bytes(32), reward_root=tree.root, cumulative_total_wei=70
        )
        signatures = [sign_attestation(attestation, client.domain, key)]
        until(state_path.exists)
        written = state_path.stat().st_mtime_ns
        client.post_root(key, attestation, signatures)
        until(lambda: state_path.stat().st_mtime_ns != written)
        assert chain._process is not None
        os.kill(chain._process.pid, signal.SIGKILL)
        chain._process.wait()
        with pytest.raises(ChainError, match="CHAIN_UNREACHABLE"):
            client.activate(key, 1)
    with DevChain(engine="anvil", state_path=state_path) as chain:
        client = ChainClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID, addresses))
        # Whether the last dump had the root or not: posting is safe to repeat.
        client.post_root(key, attestation, signatures)
        before = client.balances(address_of(key)).token_wei
        assert client.activate(key, 1) is not None
        assert client.activate(key, 1) is None
        assert client.claim(key, [share_of(tree, address_of(key))]).paid_wei == 70
        assert client.claim(key, [share_of(tree, address_of(key))]).paid_wei == 0
        assert client.balances(address_of(key)).token_wei == before + 70


def test_endpoints_must_agree_on_the_rewards(net: Network) -> None:
    with DevChain(engine="anvil") as fork:
        second = ChainClient.connect(ChainConfig(fork.rpc_url, DEFAULT_CHAIN_ID))
        second.deploy(net.owner, settings_of(net))
        both = ChainConfig(net.chain.rpc_url, DEFAULT_CHAIN_ID, net.client.addresses, other_rpc_urls=(fork.rpc_url,))
        # Two chains that went the same way so far, but for a second or two of time, are one to the contract's users.
        honest = replace(both, other_rpc_urls=(net.chain.rpc_url,))
        assert ChainClient.connect(honest).state() == net.client.state()
        attestation = net.attest(RewardTree([(b"\x01" * 20, 7)]))
        net.client.post_root(net.owner, attestation, net.sign(attestation))
        fork.request("evm_mine", [])
        with pytest.raises(ChainError, match="CHAIN_ENDPOINTS_DISAGREE"):
            ChainClient.connect(both).state()
    with DevChain(engine="anvil", chain_id=5) as foreign, pytest.raises(ChainError, match="CHAIN_WRONG_ID"):
        ChainClient.connect(replace(both, other_rpc_urls=(foreign.rpc_url,)))


def settings_of(net: Network) -> DeploySettings:
    return DeploySettings(
        tuple(address_of(key) for key in net.validators), 2, activation_delay_s=DELAY_S, min_epoch_interval_s=0,
        guardian=address_of(net.guardian),
    )  # fmt: skip
