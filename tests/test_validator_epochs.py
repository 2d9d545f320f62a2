"""Epochs on a chain that forgets: reorganised, killed, lied to. Exactly one activation, nobody is paid twice."""

import asyncio
import json
import logging
import os
import random
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from web3 import Web3

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain, find_anvil
from curiosity.chain.attestation import address_of, sign_attestation
from curiosity.chain.chain import MAX_WAITING_EPOCHS, Addresses, ChainConfig, Share, journal_path
from curiosity.chain.evm import ChainClient
from curiosity.chain.evm.journal import TransactionJournal
from curiosity.host.settings.chain import ChainSettings
from curiosity.protocol.errors import ChainError, CuriosityError
from tests.material.epoch import DELAY_S, EARNER, KEY, EpochsOnChain, deploy, open_epochs
from tests.material.payment import paid_network
from tests.material.rpc import RpcProxy
from tests.material.service import running
from tests.material.waiting import eventually
from validator.importer import MirrorRecord, write_mark

pytestmark = pytest.mark.skipif(find_anvil() is None, reason="anvil is absent: only it can stop mining and reorganise")

ROOT = Path(__file__).resolve().parent.parent
ACTIVATED = "RootActivated(uint64,bytes32,uint256)"
POSTED = "RootPosted(uint64,bytes32,bytes32,uint64,bytes32,uint256,uint256)"


@dataclass
class Ground:
    chain: DevChain
    addresses: Addresses
    folder: Path

    def open(self, **changes: Any) -> Any:
        return open_epochs(self.folder, changes.pop("url", self.chain.rpc_url), self.addresses, **changes)

    def events(self, signature: str) -> int:
        topic = "0x" + bytes(Web3.keccak(text=signature)).hex()
        return len(self.chain.request("eth_getLogs", [{"fromBlock": "0x0", "topics": [topic]}]))

    def mine(self, blocks: int) -> None:
        self.chain.request("anvil_mine", [hex(blocks)])


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    with DevChain(engine="anvil", slots_in_an_epoch=3) as chain:
        addresses = deploy(chain)
        (tmp_path / "addresses.json").write_text(json.dumps(addresses.to_json()))
        yield Ground(chain, addresses, tmp_path)


def claim_twice(closing: EpochsOnChain) -> int:
    """Claim everything two times over; return what the earner got in all."""
    ticket = closing.epochs.ticket(address_of(EARNER))
    shares = [Share(share.epoch, int(share.amount_wei), share.proof) for share in ticket.shares]
    closing.client.claim(EARNER, shares)
    assert closing.client.claim(EARNER, shares).paid_wei == 0
    return closing.client.balances(address_of(EARNER)).token_wei


def owed(closing: EpochsOnChain) -> int:
    return sum(int(share.amount_wei) for share in closing.epochs.ticket(address_of(EARNER)).shares)


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_reorganisation_of_depth_5_is_posted_again_and_activated_once(
    ground: Ground, caplog: pytest.LogCaptureFixture, *, is_kept: bool
) -> None:
    changes = {} if is_kept else {"journal": None}
    with ground.open(**changes) as closing:
        ground.mine(3)
        first = closing.close()
        ground.mine(1)
        ground.chain.request("anvil_reorg", [5, []])  # the posting and four blocks more
        assert closing.client.state().latest_epoch == 0
        closing.look()
        assert "event=epochs_fell_out" in caplog.text
        assert closing.client.state().latest_epoch == 1
        # With the journal it is that very transaction, whatever else would be signed by now.
        found = ground.chain.request("eth_getTransactionReceipt", [first.transaction])
        assert found["status"] == "0x1"

        second = closing.close(5, 6)  # in the middle of the next posting: one epoch is posted, one falls out
        ground.mine(4)
        ground.chain.request("anvil_reorg", [5, []])
        assert closing.client.state().latest_epoch == 1
        closing.look()
        assert closing.client.state().latest_epoch == second.epoch == 2

        ground.chain.advance(DELAY_S)
        for _ in range(2):
            closing.look()
        assert closing.client.state().active_epoch == 2
        ground.mine(3)
        ground.chain.request("anvil_reorg", [5, []])  # both activations fall out
        assert closing.client.state().active_epoch == 0
        ground.chain.advance(DELAY_S)
        for _ in range(3):
            closing.look()
        assert closing.client.state().active_epoch == 2
        assert (ground.events(POSTED), ground.events(ACTIVATED)) == (2, 2)
        assert claim_twice(closing) == owed(closing)


def test_epochs_that_fall_out_together_come_back_each_in_its_place(ground: Ground) -> None:
    ground.mine(3)
    with ground.open() as closing:
        for scores in ((7,), (5, 6), (4,)):
            closing.close(*scores)
        ground.chain.request("anvil_reorg", [5, []])
        assert closing.client.state().latest_epoch == 0
        # The first that is sent brings the others back with it: none may be signed as the one after.
        closing.look()
        assert closing.epochs.standing is not None
        assert (closing.epochs.standing.posted, closing.epochs.standing.trouble) == (3, None)
        assert closing.client.state().latest_root == closing.epochs._closed[2].reward_root
        assert ground.events(POSTED) == 3


@pytest.mark.parametrize("rule", [{"finality": "depth", "finality_depth": 6}, {"finality": "finalized"}])
def test_an_epoch_is_settled_when_its_activation_is_final_and_not_before(
    ground: Ground, caplog: pytest.LogCaptureFixture, rule: dict[str, Any]
) -> None:
    caplog.set_level(logging.INFO, "validator.posting")
    with ground.open(**rule) as closing:
        closing.close()
        ground.chain.advance(DELAY_S)
        closing.look()
        closing.look()
        standing = closing.epochs.standing
        assert standing is not None
        assert (standing.closed, standing.posted, standing.active, standing.settled) == (1, 1, 1, 0)
        assert standing.block - standing.final_block == 6
        assert not closing.poster.is_at_rest(1)
        # Not final, so that it may come to this: the validator must not have forgotten it.
        ground.chain.request("anvil_reorg", [1, []])
        ground.chain.advance(DELAY_S)
        closing.look()
        assert closing.client.state().active_epoch == 1
        ground.mine(6)
        assert "event=epoch_settled" not in caplog.text
        closing.look()
        assert f"event=epoch_settled epoch=1 final_block={closing.poster.standing.final_block}" in caplog.text
        assert closing.poster.is_at_rest(1)
        assert not closing.poster.is_at_rest(2)  # another was closed


def test_more_epochs_than_may_wait_are_posted_when_the_first_are_active(ground: Ground) -> None:
    with ground.open(finality="depth", finality_depth=0) as closing:
        for _ in range(MAX_WAITING_EPOCHS + 2):  # as while the chain is away
            closing.earn(7)
            closing.epochs._append_closing(None)
        closing.look()
        assert closing.epochs.standing is not None
        assert (closing.client.state().latest_epoch, closing.epochs.standing.trouble) == (MAX_WAITING_EPOCHS, None)
        closing.look()
        assert closing.client.state().latest_epoch == MAX_WAITING_EPOCHS
        ground.chain.advance(DELAY_S)
        for _ in range(2):
            closing.look()
        state = closing.client.state()
        assert (state.active_epoch, state.latest_epoch) == (2, MAX_WAITING_EPOCHS + 2)


def test_a_chain_that_goes_back_behind_its_own_finality_is_posted_to_again(
    ground: Ground, caplog: pytest.LogCaptureFixture
) -> None:
    ground.mine(3)
    with ground.open(finality="depth", finality_depth=0) as closing:
        closing.close()
        ground.chain.advance(DELAY_S)
        closing.look()
        closing.look()
        assert closing.poster.settled == 1
        ground.chain.request("anvil_reorg", [5, []])
        closing.look()
        assert "event=settled_epochs_fell_out active=0 settled=1" in caplog.text
        assert (closing.poster.settled, closing.client.state().latest_epoch) == (0, 1)
        ground.chain.advance(DELAY_S)
        closing.look()
        closing.look()
        assert (closing.poster.settled, closing.client.state().active_epoch) == (1, 1)


def test_a_killed_validator_posts_the_very_same_bytes(ground: Ground) -> None:
    ground.chain.request("evm_setAutomine", [False])
    command = [sys.executable, "-m", "tests.material.epoch", str(ground.folder), ground.chain.rpc_url]
    path = journal_path(ground.folder, ground.addresses)

    def kept() -> list[bytes]:
        by_nonce = TransactionJournal(DEFAULT_CHAIN_ID, ground.addresses.rewards, path).kept(address_of(KEY))
        return [sent.hash for versions in by_nonce.values() for sent in versions]

    with subprocess.Popen(command, cwd=ROOT) as process:
        pool = ground.chain.request
        eventually(lambda: (kept() and int(pool("txpool_status", [])["pending"], 16) > 0) or process.poll() is not None)
        assert process.poll() is None
        process.kill()
    (sent,) = kept()
    ground.chain.request("anvil_dropTransaction", ["0x" + sent.hex()])
    ground.chain.request("evm_setAutomine", [True])
    with ground.open() as closing:
        posted = closing.poster.post(tuple(closing.epochs._closed))
        assert posted.transaction == "0x" + sent.hex()
        assert closing.poster.post(tuple(closing.epochs._closed)).transaction is None
        assert ground.events(POSTED) == 1


def test_an_answer_that_is_lost_does_not_post_twice(ground: Ground) -> None:
    with RpcProxy(ground.chain.rpc_url) as proxy, ground.open(url=proxy.url) as closing:
        # The chain takes the transaction and dies to us in the same moment.
        def die(method: str) -> bool:
            proxy.is_down = method == "eth_sendRawTransaction"
            return proxy.is_down

        proxy.loses = die
        with pytest.raises(ChainError, match="CHAIN_UNREACHABLE"):
            closing.close()
        assert closing.epochs.standing is not None
        assert closing.epochs.standing.trouble == "CHAIN_UNREACHABLE"
        proxy.loses = lambda _method: False
        proxy.is_down = False
        closing.look()
        closing.look()
        assert closing.epochs.standing.trouble is None
        assert ground.events(POSTED) == 1
        assert proxy.seen["eth_sendRawTransaction"] == 1


def post_a_lie(closing: EpochsOnChain) -> None:
    """Post the next epoch with a root that no ledger gives, under the quorum's key."""
    lie = closing.client.state().next_attestation(
        ledger_size=1, ledger_root=bytes(32), reward_root=b"\x66" * 32, cumulative_total_wei=1
    )
    closing.client.post_root(KEY, lie, [sign_attestation(lie, closing.client.domain, KEY)])


def test_nothing_is_signed_on_top_of_an_epoch_that_the_ledger_does_not_give(ground: Ground) -> None:
    with ground.open() as closing:
        closing.earn(7)
        # A quorum that lies posts first.
        post_a_lie(closing)
        with pytest.raises(ChainError, match=r"CHAIN_ROOT_DIFFERS: epoch 1 is posted with root 0x6666.* gives root 0x"):
            closing.close()
        with pytest.raises(ChainError, match="CHAIN_ROOT_DIFFERS"):
            closing.close()  # the second epoch is closed, and not posted on top of the first
        assert closing.client.state().latest_epoch == 1
        assert closing.epochs.standing is not None
        assert closing.epochs.standing.trouble == "CHAIN_ROOT_DIFFERS"
        # The guardian throws it away; the next look posts what is true.
        closing.client.veto(ground.chain.private_key(0), 1)
        closing.look()
        assert closing.client.state().latest_epoch == 2
        assert closing.client.state().latest_root == closing.epochs._closed[1].reward_root


def test_an_epoch_that_the_ledger_has_not_closed_is_told(ground: Ground) -> None:
    with ground.open() as closing:
        closing.earn(7)
        post_a_lie(closing)
        with pytest.raises(ChainError, match=r"CHAIN_ROOT_DIFFERS: .* this ledger closed 0 epochs"):
            closing.look()


def test_a_chain_that_is_killed_in_the_middle_of_an_epoch_is_posted_to_again(tmp_path: Path) -> None:
    state = tmp_path / "chain" / "state.json"
    with DevChain(engine="anvil", state_path=state) as chain:
        addresses = deploy(chain)
        written = _next_dump(state, 0)
        with open_epochs(tmp_path, chain.rpc_url, addresses) as closing:
            first = closing.close()
            written = _next_dump(state, written)
            second = closing.close(5)
            assert chain._process is not None
            os.kill(chain._process.pid, signal.SIGKILL)
            chain._process.wait()
            with pytest.raises(ChainError, match="CHAIN_UNREACHABLE"):
                closing.look()
    with DevChain(engine="anvil", state_path=state) as chain:
        ground = Ground(chain, addresses, tmp_path)
        with ground.open() as closing:
            assert closing.client.state().latest_epoch == 1  # the second fell after the last dump
            closing.look()
            assert closing.client.state().latest_epoch == 2
            found = chain.request("eth_getTransactionReceipt", [second.transaction])
            assert found["status"] == "0x1"  # by its own bytes, out of the journal
            chain.advance(DELAY_S)
            for _ in range(3):
                closing.look()
            assert closing.client.state().active_epoch == 2
            assert ground.events(ACTIVATED) == 2
            assert claim_twice(closing) == owed(closing)
            assert first.transaction != second.transaction


def _next_dump(state: Path, before: int) -> int:
    """Wait until anvil has written its state again; return when it did."""
    eventually(lambda: state.exists() and state.stat().st_mtime_ns != before)
    return state.stat().st_mtime_ns


def test_a_service_keeps_a_journal_and_tells_how_far_its_epochs_are_and_a_copy_posts_nothing(tmp_path: Path) -> None:
    with paid_network(tmp_path) as net:
        net.earn(EARNER, 7)
        net.close()
        health = net.call(net.live.client.health())
        assert health.epochs is not None
        assert (health.epochs.closed, health.epochs.posted, health.epochs.active) == (1, 1, 0)
        assert (health.epochs.settled, health.epochs.trouble) == (0, None)
        assert health.epochs.block == int(net.dev.request("eth_blockNumber", []), 16)
        with urllib.request.urlopen(f"{net.live.url}/metrics") as reply:
            metrics = reply.read().decode()
        for line in (
            'curiosity_epochs{state="posted"} 1.0',
            'curiosity_epochs{state="settled"} 0.0',
            f'curiosity_chain_block{{kind="latest"}} {health.epochs.block}.0',
            "curiosity_chain_trouble 0.0",
        ):
            assert line in metrics
        # Posted and not final: kept, in a file of this network's own.
        addresses = net.client.addresses
        kept = TransactionJournal(DEFAULT_CHAIN_ID, addresses.rewards, journal_path(tmp_path / "v", addresses))
        signer = address_of(net.live.service.keys.attestation)
        assert [sent.nonce for versions in kept.kept(signer).values() for sent in versions] == [0]

        network, note = net.live.network, net.live.service.witnesses.newest()
        (tmp_path / "copy").mkdir()
        write_mark(tmp_path / "copy", MirrorRecord(network, note))

        async def look_at_copy() -> None:
            chain = ChainSettings(net.dev.rpc_url, DEFAULT_CHAIN_ID, tmp_path / "addresses.json")
            async with running(tmp_path / "copy", chain=chain, activation_poll_s=3600.0) as copy:
                assert copy.service.epochs.standing is None
                assert copy.network.stake_vkey == network.stake_vkey != ""
                assert copy.service.witnesses.newest() == note
                await copy.service.epochs.close()  # as nobody can ask it to
                assert await copy.service.epochs.post_missing() == (None, None)

        asyncio.run(look_at_copy())


def go_through_trouble(ground: Ground, rounds: int, seed: int) -> None:
    """Close, post, activate and claim while answers are lost, the chain is away, blocks fall out, and processes end."""
    chance, trouble = random.Random(seed), Counter[str]()
    ground.mine(10)  # what is deployed stays
    with RpcProxy(ground.chain.rpc_url) as proxy:
        changes: dict[str, Any] = {"url": proxy.url, "receipt_timeout_s": 3.0, "bump_after_s": 0.2}
        claimer = journal_path(ground.folder / "claimer", ground.addresses)
        for number in range(rounds):
            proxy.loses = lambda _method: False
            with ground.open(**changes) as closing:  # every round begins as after a start
                purse = ChainClient.connect(
                    ChainConfig(
                        ground.chain.rpc_url, DEFAULT_CHAIN_ID, ground.addresses, journal=claimer, poll_interval_s=0.02
                    )
                )
                losing = 0.05 + chance.random() / 4

                def loses(_method: str, losing: float = losing) -> bool:
                    is_lost = chance.random() < losing
                    trouble["lost answers"] += is_lost
                    return is_lost

                proxy.loses = loses
                for step in range(chance.randint(2, 4)):
                    try:
                        match chance.randrange(4) if step or number % 2 else 0:
                            case 0:
                                closing.close()
                            case 1:
                                take(closing, purse)
                            case _:
                                closing.look()
                    except CuriosityError as error:
                        trouble[error.code] += 1
                    if chance.random() < 0.3:
                        ground.chain.advance(DELAY_S)
                    if chance.random() < 0.3 or step == number == 0:
                        ground.chain.request("anvil_reorg", [chance.randint(1, 5), []])
                        trouble["reorganisations"] += 1
        proxy.loses = lambda _method: False
        with ground.open(**changes) as closing:
            closing.close()
            closed = len(closing.epochs._closed)
            for _ in range(4 * closed + 8):
                with suppress(ChainError):  # what fell out comes back first, and may find itself done
                    closing.look()
                if closing.poster.settled == closed:
                    break
                ground.chain.advance(DELAY_S)
                ground.mine(1 + 5 * (closing.client.state().active_epoch == closed))
            closing.look()
            standing = closing.epochs.standing
            assert standing is not None
            assert (standing.closed, standing.settled, standing.trouble) == (closed, closed, None)
            for _ in range(3):
                with suppress(ChainError):
                    take(closing, purse)
            assert (ground.events(POSTED), ground.events(ACTIVATED)) == (closed, closed)
            assert closing.client.balances(address_of(EARNER)).token_wei == owed(closing)
            assert closing.client.balances(ground.addresses.rewards).token_wei == 0
            # There was some.
            assert trouble["lost answers"] > 0
            assert trouble["reorganisations"] > 0
            assert closed > rounds // 2
            print(f"seed={seed} rounds={rounds} epochs={closed} {dict(trouble)}")


def take(closing: EpochsOnChain, purse: ChainClient) -> None:
    """Claim what is active and was not claimed."""
    active = purse.state().active_epoch
    ticket = closing.epochs.ticket(address_of(EARNER))
    due = [share for share in ticket.shares if share.epoch <= active]
    due = [share for share in due if not purse.is_claimed(address_of(EARNER), share.epoch)]
    if due:
        purse.claim(EARNER, [Share(share.epoch, int(share.amount_wei), share.proof) for share in due])


def test_no_trouble_pays_twice_or_not_at_all(ground: Ground) -> None:
    go_through_trouble(ground, 4, 1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 7))
def test_no_trouble_pays_twice_or_not_at_all_in_150_rounds(ground: Ground, seed: int) -> None:
    go_through_trouble(ground, 30, seed)
