"""Transactions that get stuck, lost, replaced or thrown out of the chain: each intent is carried out once."""

import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import rlp  # type: ignore[import-untyped]
from eth_account import Account
from web3 import Web3

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain, find_anvil
from curiosity.chain.attestation import address_of, sign_attestation
from curiosity.chain.chain import ChainConfig, DeploySettings
from curiosity.chain.evm import ChainClient
from curiosity.chain.evm.connection import Connection, to_checksum
from curiosity.chain.evm.endpoints import Endpoints
from curiosity.chain.evm.journal import Fate, Sent, TransactionJournal
from curiosity.chain.evm.sending import TransactionSender
from curiosity.protocol.errors import ChainError
from curiosity.protocol.rewards import RewardTree
from tests.material.network import DELAY_S, Network, share_of
from tests.material.rpc import RpcProxy
from tests.material.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.skipif(find_anvil() is None, reason="anvil is absent: only it can stop mining and reorganise")


ROOT_POSTED = "RootPosted(uint64,bytes32,bytes32,uint64,bytes32,uint256,uint256)"


@dataclass
class Line:
    """A chain, and a connection that keeps a journal."""

    chain: DevChain
    config: ChainConfig
    key: bytes

    def sender(self, **changes: Any) -> TransactionSender:
        config = replace(self.config, **changes)
        return TransactionSender(config, Endpoints(config))

    def journal(self) -> list[Sent]:
        """What is not known to be done; all that is kept of it, version by version."""
        kept = TransactionJournal(DEFAULT_CHAIN_ID, b"", self.config.journal).kept(address_of(self.key))
        return [sent for versions in kept.values() for sent in versions if sent.fate == Fate.OPEN]

    def sign_and_forget(self, recipient: bytes, wei: int) -> Sent:
        """Mining stops, a transfer is signed and sent, and the chain forgets it, as a node that restarts does."""
        self.chain.request("evm_setAutomine", [False])
        with pytest.raises(ChainError, match="CHAIN_TIMEOUT"):
            self.sender(receipt_timeout_s=0.1).transfer(self.key, recipient, wei)
        (left,) = self.journal()
        self.chain.request("anvil_dropTransaction", ["0x" + left.hash.hex()])
        return left

    def waiting(self) -> int:
        return int(self.chain.request("txpool_status", [])["pending"], 16)

    def is_offered(self, sent: Sent) -> bool:
        """True if the chain's pool has it."""
        return self.chain.request("eth_getTransactionByHash", ["0x" + sent.hash.hex()]) is not None

    def balance(self, account: bytes) -> int:
        return int(self.chain.request("eth_getBalance", ["0x" + account.hex(), "latest"]), 16)


@pytest.fixture
def line(tmp_path: Path) -> Iterator[Line]:
    with DevChain(engine="anvil") as chain:
        config = ChainConfig(
            chain.rpc_url, DEFAULT_CHAIN_ID, receipt_timeout_s=PATIENCE_S, poll_interval_s=0.02, bump_after_s=0.3,
            journal=tmp_path / "journal.json",
        )  # fmt: skip
        yield Line(chain, config, chain.private_key(0))


def test_a_stuck_transaction_is_replaced_by_one_with_higher_fees(line: Line) -> None:
    recipient = os.urandom(20)
    line.chain.request("evm_setAutomine", [False])
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(line.sender().transfer(line.key, recipient, 7)))
    thread.start()
    eventually(lambda: len(line.journal()) >= 3)
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
    thread.join(PATIENCE_S)
    assert len(done) == 1
    assert (line.balance(recipient), line.journal(), line.waiting()) == (7, [], 0)


def test_both_fees_rise_by_an_eighth(line: Line) -> None:
    sent = []
    line.chain.request("evm_setAutomine", [False])
    sender, recipient = line.sender(receipt_timeout_s=1.0), os.urandom(20)
    for _ in range(int(PATIENCE_S)):  # once is enough where nobody else wants the processor
        with pytest.raises(ChainError, match="CHAIN_TIMEOUT"):
            sender.transfer(line.key, recipient, 1)
        if len(line.journal()) >= 3:
            break
    for one in line.journal():
        # EIP-1559: after the type's byte, an RLP list of chain id, nonce, tip, fee, ...
        _, _, tip, fee, *_ = rlp.decode(one.raw[1:])
        sent.append((int.from_bytes(fee, "big"), int.from_bytes(tip, "big")))
    assert len(sent) >= 3
    for before, after in itertools.pairwise(sent):
        assert all(high * 1000 >= low * 1125 for low, high in zip(before, after, strict=True))


def test_fees_rise_to_ten_times_the_present_and_at_once_to_the_present(line: Line) -> None:
    def fees() -> list[tuple[int, int]]:
        fields = [rlp.decode(one.raw[1:]) for one in line.journal()]
        return [(int.from_bytes(fee, "big"), int.from_bytes(tip, "big")) for _, _, tip, fee, *_ in fields]

    line.chain.request("evm_setAutomine", [False])
    recipient = os.urandom(20)
    sender = line.sender(bump_after_s=0.02, receipt_timeout_s=1.0)
    for _ in range(int(PATIENCE_S)):
        with pytest.raises(ChainError, match="CHAIN_TIMEOUT"):
            sender.transfer(line.key, recipient, 1)
        if any(9 * last > 8 * 10 * first for first, last in zip(fees()[0], fees()[-1], strict=True)):
            break  # an eighth more would be beyond ten times
    first, last, count = fees()[0], fees()[-1], len(fees())
    assert 10 < count < 30  # 1.125 to the power of 20 is 10.5
    assert last[0] <= 10 * first[0]
    assert last[1] <= 10 * first[1]
    with pytest.raises(ChainError, match="CHAIN_TIMEOUT"):
        line.sender(bump_after_s=0.02, receipt_timeout_s=0.3).transfer(line.key, recipient, 1)
    assert len(fees()) == count  # it is offered again, and no higher
    # Everything has become a hundred times dearer meanwhile: one step does.
    line.chain.request("anvil_setNextBlockBaseFeePerGas", [hex(100 * first[0])])
    line.chain.request("evm_mine", [])
    thread = threading.Thread(target=lambda: line.sender().transfer(line.key, recipient, 1))
    thread.start()
    eventually(lambda: len(fees()) > count)
    assert fees()[count][0] >= 100 * first[0]
    line.chain.request("evm_setAutomine", [True])
    line.chain.request("evm_mine", [])
    thread.join(PATIENCE_S)
    assert line.balance(recipient) == 1


def test_a_process_that_died_after_signing_is_seen_through_once(line: Line) -> None:
    recipient = os.urandom(20)
    left = line.sign_and_forget(recipient, 5)
    assert line.waiting() == 0
    line.chain.request("evm_setAutomine", [True])
    receipt = line.sender().transfer(line.key, recipient, 5)
    assert receipt.hash == left.hash
    assert (line.balance(recipient), line.journal()) == (5, [])
    # What is wished anew afterwards is another payment.
    assert line.sender().transfer(line.key, recipient, 5).hash != left.hash
    assert line.balance(recipient) == 10


def test_already_known_and_nonce_too_low_are_looked_up(line: Line) -> None:
    recipient = os.urandom(20)
    connection = Connection(line.chain.rpc_url, 10)
    line.chain.request("evm_setAutomine", [False])
    with pytest.raises(ChainError, match="CHAIN_TIMEOUT"):
        line.sender(receipt_timeout_s=0.1).transfer(line.key, recipient, 5)
    (left,) = line.journal()
    assert connection.offer(left.raw) is None  # already known
    line.chain.request("evm_setAutomine", [True])
    line.chain.request("evm_mine", [])
    refusal = connection.offer(left.raw)
    assert refusal is not None
    assert refusal.code == "CHAIN_NONCE"
    receipt = connection.receipt(left.hash)
    assert receipt is not None
    assert receipt.is_success
    # Another process of the same account, without our journal: the nonce is read anew.
    other = line.sender(journal=None)
    assert other.transfer(line.key, recipient, 1).block < line.sender().transfer(line.key, recipient, 2).block
    assert line.balance(recipient) == 8


SEND = """
import sys
from pathlib import Path
from curiosity.chain.chain import ChainConfig
from curiosity.chain.evm.endpoints import Endpoints
from curiosity.chain.evm.sending import TransactionSender
url, chain_id, journal, key, recipient = sys.argv[1:]
config = ChainConfig(url, int(chain_id), journal=Path(journal), poll_interval_s=0.02)
TransactionSender(config, Endpoints(config)).transfer(bytes.fromhex(key), bytes.fromhex(recipient), 5)
"""


def test_a_process_holds_the_journal_until_it_is_killed_and_the_next_sends_its_very_bytes(line: Line) -> None:
    recipient = os.urandom(20)
    line.chain.request("evm_setAutomine", [False])
    arguments = (line.chain.rpc_url, str(DEFAULT_CHAIN_ID), str(line.config.journal), line.key.hex(), recipient.hex())
    with subprocess.Popen([sys.executable, "-c", SEND, *arguments]) as process:
        eventually(lambda: len(line.journal()) == 1 and line.waiting() == 1)
        with pytest.raises(ChainError, match=rf"CHAIN_JOURNAL_BUSY: .* in use by process {process.pid} for 0.2 s"):
            line.sender(receipt_timeout_s=0.2).transfer(line.key, recipient, 1)
        process.kill()
    (left,) = line.journal()
    line.chain.request("anvil_dropTransaction", ["0x" + left.hash.hex()])
    line.chain.request("evm_setAutomine", [True])
    # Whatever is wished next: what was signed first comes first.
    assert line.sender().transfer(line.key, recipient, 1).hash != left.hash
    assert line.chain.request("eth_getTransactionReceipt", ["0x" + left.hash.hex()])["status"] == "0x1"
    assert line.balance(recipient) == 6


def test_a_resumed_transaction_is_replaced_when_its_fees_no_longer_do(line: Line) -> None:
    recipient = os.urandom(20)
    line.sign_and_forget(recipient, 5)
    line.chain.request("anvil_setNextBlockBaseFeePerGas", [hex(3 * 10**9)])  # it offered 3 at most, with the tip
    line.chain.request("evm_mine", [])
    thread = threading.Thread(target=lambda: line.sender().transfer(line.key, recipient, 5))
    thread.start()
    eventually(lambda: len(line.journal()) >= 3)
    line.chain.request("evm_setAutomine", [True])
    line.chain.request("evm_mine", [])
    thread.join(PATIENCE_S)
    assert (line.balance(recipient), line.journal()) == (5, [])


def test_an_underpriced_replacement_is_raised_until_it_replaces(line: Line) -> None:
    ours, theirs = os.urandom(20), os.urandom(20)
    left = line.sign_and_forget(ours, 5)
    # Another wallet of the same key has its own transaction under that nonce, for the same fees.
    with pytest.raises(ChainError, match="CHAIN_TIMEOUT"):
        line.sender(journal=None, receipt_timeout_s=0.1).transfer(line.key, theirs, 6)
    refusal = Connection(line.chain.rpc_url, 10).offer(left.raw)
    assert refusal is not None
    assert (refusal.code, "replacement transaction underpriced" in refusal.what) == ("CHAIN_NONCE", True)
    thread = threading.Thread(target=lambda: line.sender().transfer(line.key, ours, 5))
    thread.start()
    eventually(lambda: any(sent.hash != left.hash and line.is_offered(sent) for sent in line.journal()))
    line.chain.request("evm_setAutomine", [True])
    line.chain.request("evm_mine", [])
    thread.join(PATIENCE_S)
    assert (line.balance(ours), line.balance(theirs), line.journal()) == (5, 0, [])


def test_a_transaction_whose_nonce_another_took_is_given_up_and_sent_anew(line: Line) -> None:
    ours, theirs = os.urandom(20), os.urandom(20)
    left = line.sign_and_forget(ours, 5)
    line.chain.request("evm_setAutomine", [True])
    line.sender(journal=None).transfer(line.key, theirs, 6)
    refusal = Connection(line.chain.rpc_url, 10).offer(left.raw)
    assert refusal is not None
    assert "nonce too low" in refusal.what
    assert line.sender().transfer(line.key, ours, 5).hash != left.hash
    assert (line.balance(ours), line.balance(theirs)) == (5, 6)


def test_a_sender_sees_what_another_has_signed_since_it_began(line: Line) -> None:
    first, second = os.urandom(20), os.urandom(20)
    early = line.sender()
    line.sign_and_forget(first, 5)
    line.chain.request("evm_setAutomine", [True])
    early.transfer(line.key, second, 1)
    assert (line.balance(first), line.balance(second), line.journal()) == (5, 1, [])


def test_a_transaction_is_kept_until_it_is_final_and_comes_back_after_a_reorganisation(line: Line) -> None:
    recipient = os.urandom(20)
    config = {"finality": "depth", "finality_depth": 3}
    first = line.sender(**config).transfer(line.key, recipient, 5)
    line.chain.request("anvil_reorg", [1, []])
    assert line.balance(recipient) == 0
    # The same wish again is another payment; what fell out comes back beside it, by its own bytes.
    second = line.sender(**config).transfer(line.key, recipient, 5)
    assert second.hash != first.hash
    assert line.chain.request("eth_getTransactionReceipt", ["0x" + first.hash.hex()])["status"] == "0x1"
    assert line.balance(recipient) == 10
    kept = TransactionJournal(DEFAULT_CHAIN_ID, b"", line.config.journal).kept(address_of(line.key))
    assert [sent.fate for versions in kept.values() for sent in versions] == [Fate.DONE] * 2
    for _ in range(3):
        line.chain.request("evm_mine", [])
    third = line.sender(**config).transfer(line.key, recipient, 5)
    kept = TransactionJournal(DEFAULT_CHAIN_ID, b"", line.config.journal).kept(address_of(line.key))
    assert [sent.hash for versions in kept.values() for sent in versions] == [third.hash]


def test_what_waits_behind_a_nonce_that_nobody_kept_is_let_through_by_the_next(line: Line) -> None:
    recipient = os.urandom(20)
    sender = line.sender(finality="depth", finality_depth=0)
    first, second = (sender.transfer(line.key, recipient, amount) for amount in (1, 2))
    line.chain.request("anvil_reorg", [2, []])
    # The first was final when the second was sent, and is forgotten: the second could wait for it for ever.
    sender.transfer(line.key, recipient, 4)
    assert line.balance(recipient) == 4
    sender.transfer(line.key, recipient, 8)
    assert line.balance(recipient) == 4 + 2 + 8
    assert line.chain.request("eth_getTransactionReceipt", ["0x" + second.hash.hex()])["status"] == "0x1"
    assert line.chain.request("eth_getTransactionReceipt", ["0x" + first.hash.hex()]) is None


def test_without_a_journal_a_reorganisation_loses_the_payment(line: Line) -> None:
    # The other arm of the test before: what nobody kept does not come back.
    recipient = os.urandom(20)
    line.sender(journal=None).transfer(line.key, recipient, 5)
    line.chain.request("anvil_reorg", [1, []])
    line.sender(journal=None).transfer(line.key, recipient, 6)
    assert line.balance(recipient) == 6


def test_a_journal_of_another_chain_or_a_torn_one_is_refused(line: Line, tmp_path: Path) -> None:
    path = tmp_path / "journal.json"
    TransactionJournal(1, b"", path).add(Sent(b"\x01" * 20, 0, b"", b"", b""))
    with pytest.raises(ChainError, match=r"CHAIN_JOURNAL: .* belongs to chain 1"):
        line.sender()
    path.write_text("{")
    with pytest.raises(ChainError, match="CHAIN_JOURNAL"):
        line.sender()
    with pytest.raises(ChainError, match=r"CHAIN_JOURNAL: .* File exists"):
        TransactionJournal(1, b"", path / "journal.json").add(Sent(b"\x01" * 20, 0, b"", b"", b""))


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


def test_twenty_claims_at_once_from_one_key_pay_once_each(net: Network, tmp_path: Path) -> None:
    accounts = [os.urandom(20) for _ in range(20)]
    tree = net.close_epoch({account: 5 + index for index, account in enumerate(accounts)})
    config = ChainConfig(
        net.chain.rpc_url,
        DEFAULT_CHAIN_ID,
        net.client.addresses,
        journal=tmp_path / "journal.json",
        poll_interval_s=0.02,
    )
    # Four clients, as processes of their own have them, with five threads each: the journal is all that they share.
    clients = [ChainClient.connect(config) for _ in range(4)]
    problems: list[Exception] = []
    hashes: list[bytes] = []

    def take(index: int, account: bytes) -> None:
        try:
            share = share_of(tree, account)
            hashes.append(clients[index % 4].claim(net.owner, [share], account=account).hash)
        except Exception as error:
            problems.append(error)

    threads = [threading.Thread(target=take, args=one) for one in enumerate(accounts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(set(hashes)) == 20
    assert [net.client.balances(account).token_wei for account in accounts] == [5 + index for index in range(20)]
    nonces = {int(net.chain.request("eth_getTransactionByHash", ["0x" + one.hex()])["nonce"], 16) for one in hashes}
    assert len(nonces) == 20


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_lost_answer_posts_once(net: Network, tmp_path: Path, *, is_kept: bool) -> None:
    tree = RewardTree([(b"\x01" * 20, 70)])
    attestation = net.attest(tree)
    with RpcProxy(net.chain.rpc_url) as proxy:
        proxy.loses = lambda method: method == "eth_sendRawTransaction"
        journal = tmp_path / "journal.json" if is_kept else None
        config = ChainConfig(proxy.url, DEFAULT_CHAIN_ID, net.client.addresses, journal=journal, poll_interval_s=0.02)
        client = ChainClient.connect(config)
        assert client.post_root(net.owner, attestation, net.sign(attestation)) is not None
        assert ChainClient.connect(config).post_root(net.owner, attestation, net.sign(attestation)) is None
        # Delivered, the answer lost, in no block yet, and the process died: the next one knows by its journal alone.
        second = net.attest(RewardTree([(b"\x02" * 20, 8)]), ledger_size=20)
        net.chain.request("evm_setAutomine", [False])
        with pytest.raises(ChainError, match="CHAIN_TIMEOUT"):
            ChainClient.connect(replace(config, receipt_timeout_s=0.1)).post_root(net.owner, second, net.sign(second))
        again = ChainClient.connect(config)
        signatures = net.sign(second, 3)  # others, and the same digest
        if not is_kept:
            # It tries to post beside it, and only the contract keeps it from paying for that.
            with pytest.raises(ChainError, match=r"CHAIN_REVERTED: .*RewardsWrongEpoch"):
                again.post_root(net.owner, second, signatures)
            return
        answers: list[object] = []
        thread = threading.Thread(target=lambda: answers.append(again.post_root(net.owner, second, signatures)))
        thread.start()
        eventually(lambda: proxy.seen["eth_sendRawTransaction"] == 3)
        assert int(net.chain.request("txpool_status", [])["pending"], 16) == 1
        net.chain.request("evm_mine", [])
        thread.join(PATIENCE_S)
    assert len(answers) == 1
    assert answers[0] is not None
    assert net.client.state().latest_epoch == 2
    assert posted_by(net, net.owner) == 2


def posted_by(net: Network, key: bytes) -> int:
    """How many transactions of the key called `postRoot` and succeeded."""
    topic = "0x" + bytes(Web3.keccak(text=ROOT_POSTED)).hex()
    logs = net.chain.request(
        "eth_getLogs", [{"fromBlock": "0x0", "address": to_checksum(net.client.addresses.rewards), "topics": [topic]}]
    )
    senders = [
        net.chain.request("eth_getTransactionByHash", [entry["transactionHash"]])["from"].lower() for entry in logs
    ]
    return senders.count("0x" + address_of(key).hex())


def test_two_validators_that_post_at_once_post_once(net: Network, tmp_path: Path) -> None:
    attestation = net.attest(RewardTree([(b"\x01" * 20, 70)]))
    signatures = net.sign(attestation)
    one, two = net.contributors[:2]
    barrier, answers = threading.Barrier(2), []
    net.chain.request("evm_setAutomine", [False])

    def post(name: str, key: bytes) -> None:
        config = ChainConfig(
            net.chain.rpc_url, DEFAULT_CHAIN_ID, net.client.addresses, journal=tmp_path / name, poll_interval_s=0.02
        )
        client = ChainClient.connect(config)
        barrier.wait()
        answers.append(client.post_root(key, attestation, signatures))

    threads = [threading.Thread(target=post, args=given) for given in (("one", one), ("two", two))]
    for thread in threads:
        thread.start()
    # Both found nothing posted, and both transactions wait: one of them is mined first.
    eventually(lambda: int(net.chain.request("txpool_status", [])["pending"], 16) == 2)
    net.chain.request("evm_mine", [])
    for thread in threads:
        thread.join(PATIENCE_S)
    assert sorted(answer is None for answer in answers) == [False, True]
    assert posted_by(net, one) + posted_by(net, two) == 1
    assert net.client.state().latest_epoch == 1


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
        eventually(state_path.exists)
        written = state_path.stat().st_mtime_ns
        client.post_root(key, attestation, signatures)
        eventually(lambda: state_path.stat().st_mtime_ns != written)
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
