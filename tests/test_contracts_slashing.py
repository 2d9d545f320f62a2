"""Tree heads signed for the stake contract, forks turned into evidence, and a forked validator that loses its stake."""

import asyncio
import base64
import json
import os
import random
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain, find_anvil
from curiosity.chain.attestation import address_of
from curiosity.chain.chain import ChainConfig, DeploySettings
from curiosity.chain.evidence import StakeDomain
from curiosity.chain.evm import ChainClient, StakeClient
from curiosity.chain.evm.connection import to_checksum
from curiosity.chain.slashing import (
    Leaf,
    SlashableFault,
    StakeEvidence,
    check_stake_evidence,
    encode_stake_evidence,
    parse_stake_evidence,
)
from curiosity.chain.stake_note import StakeKey, parse_stake_vkey, sign_head, signature_for_stake
from curiosity.client.trust import KEPT_KEYS
from curiosity.host.settings.chain import ChainSettings
from curiosity.ledger.audit import Target
from curiosity.protocol.entry import PairEntry, encode_entry
from curiosity.protocol.errors import ChainError, ProofError
from curiosity.protocol.merkle import inclusion_proof, root
from curiosity.protocol.signing import sign
from curiosity.protocol.tlog import (
    NoteSignature,
    Signer,
    TreeHead,
    add_signatures,
    cosign,
    sign_note,
    verify_checkpoint,
)
from curiosity.protocol.verdict import Outcome, Reason, Verdict
from tests.material.log import LOG_VKEY, ORIGIN, Log, add_checkpoint
from tests.material.monitor import monitoring
from tests.material.payment import PASSWORD, Terminal, terminal
from tests.material.service import Running, running
from tests.material.witness import witnessing
from validator.keys import load_keys
from validator.ledger import NewEntry
from witness.evidence import EVIDENCE_FOLDER, read_evidence

LOG = Signer("ledger.example/test", b"\x11" * 32)
WITNESS = Signer("witness.example", b"\x12" * 32)
SIGNER = b"\x41" * 32
KEY = StakeKey(f"{LOG.name}/stake", StakeDomain(31_337, b"\x22" * 20), address_of(SIGNER))
STAKE_WEI = 1_000 * 10**18


def note_of(leaves: list[bytes], origin: str = LOG.name) -> str:
    return sign_note(TreeHead(origin, len(leaves), root(leaves)).text(), LOG)


def sealed(leaves: list[bytes], origin: str = LOG.name) -> str:
    return sign_head(note_of(leaves, origin), KEY, SIGNER)


def leaf_of(leaves: list[bytes], index: int) -> Leaf:
    from curiosity.protocol.merkle import leaf_hash

    return Leaf(leaf_hash(leaves[index]), tuple(inclusion_proof(index, leaves)))


ONE = [b"a%d" % number for number in range(9)]
OTHER = [*ONE[:4], b"another", *ONE[5:], b"more", b"and more"]


# -- the line in the note


def test_any_reader_of_notes_passes_over_the_line_and_ours_finds_it() -> None:
    note = sealed(ONE)
    assert verify_checkpoint(note, LOG.name, [LOG.verifier.vkey()]).size == 9
    signature = signature_for_stake(note, KEY)
    assert signature is not None
    assert signature_for_stake(note_of(ONE), KEY) is None
    # Witnesses cosign it, and what is merged keeps it.
    cosigned = cosign(note, WITNESS, 5)
    line = cosigned.removeprefix(note)
    assert signature_for_stake(add_signatures(note, line, [WITNESS.witness.vkey()]), KEY) == signature
    # The same head has the same line for ever: RFC 6979.
    assert sealed(ONE) == note
    # Of another signer, contract or chain it is somebody else's line.
    for other in (
        replace(KEY, signer=b"\x01" * 20),
        replace(KEY, domain=StakeDomain(1, KEY.domain.stake)),
        replace(KEY, domain=StakeDomain(KEY.domain.chain_id, b"\x23" * 20)),
    ):
        assert signature_for_stake(note, other) is None


def test_a_line_that_does_not_hold_is_refused() -> None:
    note, text = sealed(ONE), note_of(ONE)
    *rest, line = note[:-1].split("\n")
    data = bytearray(base64.b64decode(line.rpartition(" ")[2]))
    for position in (4, 40, 68):
        wrong = bytearray(data)
        wrong[position] ^= 1
        spelled = base64.b64encode(wrong).decode()
        with pytest.raises(ProofError, match="STAKE_SIGNATURE"):
            signature_for_stake("\n".join([*rest, f"{line.rpartition(' ')[0]} {spelled}\n"]), KEY)
    short = base64.b64encode(data[:-1]).decode()
    with pytest.raises(ProofError, match=r"STAKE_SIGNATURE: .* 64 bytes"):
        signature_for_stake(f"{text}{line.rpartition(' ')[0]} {short}\n", KEY)
    # A line of another head: what was signed is this one.
    with pytest.raises(ProofError, match="STAKE_SIGNATURE"):
        signature_for_stake(note_of(OTHER) + line + "\n", KEY)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**64 - 1), st.binary(min_size=20, max_size=20), st.binary(min_size=20, max_size=20))
def test_a_stake_key_has_one_spelling(chain_id: int, stake: bytes, signer: bytes) -> None:
    key = StakeKey("example.org/log/stake", StakeDomain(chain_id, stake), signer)
    text = key.vkey()
    assert parse_stake_vkey(text) == key
    for position in range(len(text)):
        changed = text[:position] + ("A" if text[position] != "A" else "B") + text[position + 1 :]
        with pytest.raises(ProofError, match="STAKE_VKEY"):
            parse_stake_vkey(changed)
    for wrong in ("", "a", "a+b", text + "\n", text + "+", LOG.verifier.vkey(), text.rpartition("+")[0]):
        with pytest.raises(ProofError, match="STAKE_VKEY"):
            parse_stake_vkey(wrong)


# -- evidence


def double_head() -> StakeEvidence:
    return StakeEvidence(KEY.vkey(), sealed(ONE), sealed(OTHER[:9]))


def fork() -> StakeEvidence:
    return StakeEvidence(KEY.vkey(), sealed(ONE), sealed(OTHER), 4, leaf_of(ONE, 4), leaf_of(OTHER, 4))


def test_evidence_shows_a_fork_and_nothing_else() -> None:
    checked = check_stake_evidence(parse_stake_evidence(encode_stake_evidence(double_head())))
    assert (checked.fault, checked.key.signer) == (SlashableFault.DOUBLE_HEAD, address_of(SIGNER))
    checked = check_stake_evidence(parse_stake_evidence(encode_stake_evidence(fork())))
    assert (checked.fault, checked.index) == (SlashableFault.FORK, 4)
    assert "differ at entry 4" in checked.sentence()
    grown = [*ONE, b"one more"]
    for wrong, code in (
        (StakeEvidence(KEY.vkey(), sealed(ONE), sealed(ONE)), "EVIDENCE_HARMLESS"),
        (StakeEvidence(KEY.vkey(), sealed(ONE), sealed(grown)), "EVIDENCE_HARMLESS"),
        (replace(fork(), index=None), "EVIDENCE_HARMLESS"),
        (StakeEvidence(KEY.vkey(), sealed(ONE), sealed(grown), 3, leaf_of(ONE, 3), leaf_of(grown, 3)), "EVIDENCE_HARM"),
        (StakeEvidence(KEY.vkey(), sealed(ONE), sealed(OTHER[:9], "another.example")), "EVIDENCE_HARMLESS"),
        (replace(double_head(), second=note_of(OTHER[:9])), "EVIDENCE_UNSIGNED"),
        (replace(double_head(), stake_vkey=replace(KEY, signer=b"\x01" * 20).vkey()), "EVIDENCE_UNSIGNED"),
        (replace(fork(), index=3), "PROOF_MISMATCH"),
        (replace(fork(), first_leaf=leaf_of(ONE, 5)), "PROOF_MISMATCH"),
        (replace(fork(), second_leaf=None), "PROOF_"),
        (replace(double_head(), stake_vkey="x"), "STAKE_VKEY"),
    ):
        with pytest.raises(ProofError, match=code):
            check_stake_evidence(wrong)
    for data in (b"", b"{}", encode_stake_evidence(fork()).replace(b"slash/v1", b"slash/v2"), b" " * 600_000):
        with pytest.raises(ProofError, match="EVIDENCE_MALFORMED"):
            parse_stake_evidence(data)


@contextmanager
def staked(signer: bytes) -> Iterator[tuple[DevChain, ChainClient, StakeClient]]:
    """A chain on which a signer has bonded."""
    with DevChain() as chain:
        owner = chain.private_key(0)
        client = ChainClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID))
        client.deploy(owner, DeploySettings((signer,), 1, activation_delay_s=600, min_epoch_interval_s=0))
        addresses = client.addresses
        chain.advance(5)  # what is bonded in the second of the deployment counts from the first frozen period on
        stake = StakeClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID), addresses.stake)
        send = client._sender.send
        send(owner, client._token, "approve", to_checksum(addresses.stake), STAKE_WEI)
        send(owner, stake._target, "bond", to_checksum(signer), STAKE_WEI)
        yield chain, client, stake


def test_the_contract_takes_what_holds_here_and_nothing_else() -> None:
    with staked(address_of(SIGNER)) as (chain, client, stake):
        key = replace(KEY, domain=StakeDomain(DEFAULT_CHAIN_ID, client.addresses.stake))
        reporter = chain.private_key(1)

        def head(leaves: list[bytes]) -> str:
            return sign_head(note_of(leaves), key, SIGNER)

        # What is refused here is refused there, told past the check.
        harmless = replace(check_stake_evidence(fork_of(key, head)), first_leaf=leaf_of(OTHER, 4))
        with pytest.raises(ChainError, match="StakeNoFault"):
            stake.report(reporter, harmless)
        assert stake.stake(key.signer).bonded_wei == STAKE_WEI

        before = chain.request("evm_snapshot", []) if find_anvil() else None
        for evidence in (
            fork_of(key, head),
            StakeEvidence(key.vkey(), head(ONE), head(OTHER[:9])),
        ):
            fault = check_stake_evidence(evidence)
            stake.report(reporter, fault)
            assert (stake.stake(key.signer).bonded_wei, stake.stake(key.signer).is_banned) == (0, True)
            assert client.balances(address_of(reporter)).token_wei == STAKE_WEI // 100
            with pytest.raises(ChainError, match="StakeNothingToSlash"):
                stake.report(reporter, fault)
            if before is None:
                break
            chain.request("evm_revert", [before])
            before = chain.request("evm_snapshot", [])
            stake = StakeClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID), client.addresses.stake)


def fork_of(key: StakeKey, head: Callable[[list[bytes]], str]) -> StakeEvidence:
    return StakeEvidence(key.vkey(), head(ONE), head(OTHER), 4, leaf_of(ONE, 4), leaf_of(OTHER, 4))


def test_weights_are_those_that_were_bonded_before_the_period_before() -> None:
    with staked(address_of(SIGNER)) as (chain, client, stake):
        assert (stake.period(), stake.weights(1), stake.weights(2)) == (1, {}, {})
        with pytest.raises(ChainError, match="StakeNotFrozen"):
            stake.weights(3)
        chain.advance(86_400)
        assert (stake.period(), stake.weights(2), stake.weights(3)) == (2, {}, {address_of(SIGNER): STAKE_WEI})
        # What is bonded in a period counts in the one after the next, and changes nothing that is frozen.
        owner, more = chain.private_key(0), b"\x55" * 20
        client._sender.send(owner, client._token, "approve", to_checksum(client.addresses.stake), STAKE_WEI)
        client._sender.send(owner, stake._target, "bond", to_checksum(more), STAKE_WEI)
        assert stake.weights(3) == {address_of(SIGNER): STAKE_WEI}
        chain.advance(86_400)
        assert stake.weights(4) == {address_of(SIGNER): STAKE_WEI, more: STAKE_WEI}


# -- a monitor that is shown a fork

MONITORED = StakeKey(f"{ORIGIN}/stake", KEY.domain, KEY.signer)
LONG = Log(700)
TARGET = Target(ORIGIN, (LOG_VKEY,), KEPT_KEYS, rules=False, stake_vkey=MONITORED.vkey())


def seal(log: Log) -> Log:
    """The same log, whose heads are signed for the stake too."""
    plain = log.head
    setattr(log, "head", lambda *given: sign_head(plain(*given), MONITORED, SIGNER))  # noqa: B010
    return log


async def test_of_every_fork_a_monitor_makes_what_the_contract_takes(tmp_path: Path) -> None:
    chance, known, faults = random.Random(5), 0, []
    async with monitoring(tmp_path, seal(Log(700)), TARGET) as monitor:
        honest = monitor.server.log
        for number in range(25):
            known = chance.randint(known + 1, 700 * (number + 1) // 25)
            done = await monitor.round(honest, known)
            assert (done.finding, done.notes) == (None, ())
            index = chance.randrange(known)
            later = chance.choice([known, chance.randint(index + 1, known), chance.randint(known, 700)])
            done = await monitor.round(seal(LONG.fork(index)), later)
            assert done.finding is not None
            assert done.finding.slash is not None
            fault = check_stake_evidence(parse_stake_evidence(done.finding.slash.read_bytes()))
            faults.append(fault.fault)
            assert {fault.first.size, fault.second.size} == {known, later}
            assert fault.index == (None if later == known else index)
    assert set(faults) == {SlashableFault.DOUBLE_HEAD, SlashableFault.FORK}


async def test_heads_without_the_line_cost_no_stake_and_the_monitor_says_so(tmp_path: Path) -> None:
    async with monitoring(tmp_path, seal(Log(300)), TARGET) as monitor:
        assert (await monitor.round(size=200)).notes == ()
        done = await monitor.round(Log(300), 250)
        assert "carries no signature" in done.notes[0]
        done = await monitor.round(Log(300).fork(7), 300)
        assert done.finding is not None
        assert (done.finding.code, done.finding.slash) == ("LOG_FORKED", None)
        # A line that does not hold is a finding of its own; the key is the one that was named first.
        wrong = seal(Log(300))
        head = wrong.head()
        setattr(wrong, "head", lambda *_given: head[:-20] + ("A" if head[-20] != "A" else "B") + head[-19:])  # noqa: B010
        done = await monitor.round(wrong)
        assert done.finding is not None
        assert done.finding.code == "STAKE_SIGNATURE"
        monitor.target = replace(TARGET, stake_vkey=replace(MONITORED, signer=b"\x01" * 20).vkey())
        done = await monitor.round(seal(Log(300)), 300)
        assert done.finding is None
        assert "another key for the stake contract" in done.notes[0]


async def test_two_heads_that_a_witness_and_a_monitor_were_shown_cost_the_stake(tmp_path: Path) -> None:
    async with monitoring(tmp_path, seal(Log(300)), TARGET) as monitor:
        done = await monitor.round(size=200, seen=[seal(LONG.fork(7)).head(200)])
        assert done.finding is not None
        assert done.finding.code == "LOG_SPLIT"
        assert done.finding.slash is not None
        fault = check_stake_evidence(parse_stake_evidence(done.finding.slash.read_bytes()))
        assert fault.fault is SlashableFault.DOUBLE_HEAD


async def test_a_witness_keeps_the_line_and_its_evidence_costs_the_stake_too(tmp_path: Path) -> None:
    log, fork = seal(Log(300)), seal(LONG.fork(7))
    stranger = NoteSignature("stranger.example/stake", b"abcd", bytes(65)).line()
    second = NoteSignature(MONITORED.name, b"abcd", bytes(65)).line()
    async with witnessing(tmp_path) as live:
        status, _, lines = await live.post(add_checkpoint(log, 0, 200) + (stranger + second).encode())
        assert status == 200
        kept = await live.latest(sha256(ORIGIN.encode()).hexdigest())
        assert kept == log.head(200) + lines  # the log's line and the one for its stake, nobody else's
        assert signature_for_stake(kept, MONITORED) is not None
        assert (await live.post(add_checkpoint(fork, 200, 200)))[0] == 422
        ((_, shown),) = read_evidence(live.config.folder / EVIDENCE_FOLDER)
    fault = check_stake_evidence(StakeEvidence(MONITORED.vkey(), shown.first, shown.second))
    assert (fault.fault, fault.first.size) == (SlashableFault.DOUBLE_HEAD, 200)


# -- a validator that forks, and the tools


def earn(live: Running, *scores: int) -> None:
    service, key = live.service, b"\x51" * 32
    entries = []
    for score in scores:
        verdict = Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, live.network.checkpoint, None, score > 0, score)
        pair = secrets.token_bytes(32)
        entry = PairEntry(pair, address_of(key), sign(pair, key), "image-text", "MIT", verdict, secrets.token_bytes(32))
        entries.append(NewEntry(encode_entry(entry), None))
    service.ledger.append(entries)


async def test_a_validator_that_forked_loses_its_stake_by_what_the_tools_wrote(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").mkdir()
    signer = address_of(load_keys(tmp_path / "one" / "keys", "curiosity-local").attestation)
    with staked(signer) as (chain, client, stake):
        (tmp_path / "addresses.json").write_text(json.dumps(client.addresses.to_json()))
        settings = ChainSettings(chain.rpc_url, DEFAULT_CHAIN_ID, tmp_path / "addresses.json")
        shown: dict[str, Any] = {"chain": settings, "activation_poll_s": 3600.0}
        with terminal(tmp_path / "home", capsys, CURIOSITY_CHAIN__RPC_URL=chain.rpc_url) as user:
            # Somebody starts another beside it with the same keys: both begin with the same entry.
            shutil.copytree(tmp_path / "one", tmp_path / "other")
            async with running(tmp_path / "one", **shown) as live:
                key = parse_stake_vkey(live.network.stake_vkey)
                assert (key.signer, key.domain) == (signer, StakeDomain(DEFAULT_CHAIN_ID, client.addresses.stake))
                earn(live, 7, 8, 9)
                assert signature_for_stake(live.service.witnesses.newest(), key) is not None
                said = await audit(user, live.url)
                assert (said.status, said.json["finding"], said.json["size"]) == (0, None, 4)
                assert said.json["notes"] == []
            async with running(tmp_path / "other", **shown) as live:
                earn(live, 5, 5, 5)
                said = await audit(user, live.url)
                assert (said.status, said.json["finding"]["code"], said.json["finding"]["index"]) == (
                    5,
                    "LOG_FORKED",
                    1,
                )
                same_size, for_people = (Path(said.json["finding"][name]) for name in ("slash", "evidence"))
                earn(live, 4)
                said = await audit(user, live.url)
                longer = Path(said.json["finding"]["slash"])
        assert same_size != longer

        with terminal(tmp_path / "home", capsys, CURIOSITY_CHAIN__RPC_URL=chain.rpc_url) as user:
            reporter = os.urandom(32)
            client.fund(chain.private_key(0), address_of(reporter), eth_wei=10**18)
            user.wallet("watch", reporter)
            told = user.run("verify", longer, "--json").json
            assert told["kind"] == "stake-evidence"
            tried = user.run("ledger", "slash", longer, "--dry-run", "--json").json
            assert (tried["fault"], tried["index"], tried["sizes"]) == ("fork", 1, [4, 5])
            assert (tried["at_stake_wei"], tried["transaction"]) == (str(STAKE_WEI), None)
            kept = user.run("ledger", "slash", for_people, "--stake-vkey", key.vkey(), "--dry-run", "--json").json
            assert (kept["fault"], kept["sizes"], kept["at_stake_wei"]) == ("double head", [4, 4], str(STAKE_WEI))
            before = chain.request("evm_snapshot", [])
            done = user.run("ledger", "slash", longer, "--wallet", "watch", "--json").json
            assert (done["left_wei"], done["is_banned"], done["signer"]) == ("0", True, "0x" + signer.hex())
            assert client.balances(address_of(reporter)).token_wei == STAKE_WEI // 100
            again = user.run("ledger", "slash", same_size, "--wallet", "watch")
            assert (again.status, "StakeNothingToSlash" in again.err) == (11, True)
            assert user.run("ledger", "slash", same_size).err.startswith("WALLET_NEEDED")
            chain.request("evm_revert", [before])
        # From another home: this one would bring back the report that fell out of the chain.
        with terminal(tmp_path / "elsewhere", capsys, CURIOSITY_CHAIN__RPC_URL=chain.rpc_url) as user:
            user.wallet("watch", reporter)
            done = user.run("ledger", "slash", same_size, "--wallet", "watch", "--json").json
            assert (done["fault"], done["index"], done["left_wei"]) == ("double head", None, "0")
            assert stake.stake(signer).is_banned
    assert PASSWORD not in capsys.readouterr().out


async def audit(user: Terminal, url: str) -> Any:
    return await asyncio.to_thread(user.run, "ledger", "audit", url, "--json")
