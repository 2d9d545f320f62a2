"""Signed evidence: the digests of eth-account's generic encoder, and a stake contract that believes them."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from eth_account.messages import _hash_eip191_message, encode_typed_data
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain, find_anvil
from curiosity.chain.attestation import address_of, sign_digest
from curiosity.chain.chain import ChainConfig, DeploySettings
from curiosity.chain.evidence import ChainTreeHead, StakeDomain, VerdictCommit, VerdictReveal
from curiosity.chain.evm import ChainClient
from curiosity.chain.evm.connection import ContractTarget, to_checksum
from curiosity.protocol.errors import ChainError, ConfigError
from tests.material.rpc import RpcProxy

words = st.binary(min_size=32, max_size=32)
uint64s = st.integers(0, 2**64 - 1)
domains = st.builds(StakeDomain, st.integers(0, 2**256 - 1), st.binary(min_size=20, max_size=20))
MIN_WEI = 10**18


def generic(domain: StakeDomain, name: str, types: str, message: dict[str, Any]) -> bytes:
    fields = [dict(zip(("type", "name"), one.split(), strict=True)) for one in types.split(",")]
    return bytes(
        _hash_eip191_message(
            encode_typed_data(
                domain_data={
                    "name": "CuriosityStake",
                    "version": "1",
                    "chainId": domain.chain_id,
                    "verifyingContract": "0x" + domain.stake.hex(),
                },
                message_types={name: fields},
                message_data=message,
            )
        )
    )


@settings(max_examples=40, deadline=None)
@given(domains, st.text(max_size=40), uint64s, words, words, words)
def test_digests_are_those_of_the_generic_encoder(
    domain: StakeDomain, origin: str, number: int, first: bytes, second: bytes, third: bytes
) -> None:
    head = ChainTreeHead(origin, number, first)
    said = {"origin": head.origin_digest, "size": number, "root": first}
    assert head.digest(domain) == generic(domain, "TreeHead", "bytes32 origin,uint64 size,bytes32 root", said)
    commit = VerdictCommit(first, number, second)
    said = {"pair": first, "round": number, "commitment": second}
    types = "bytes32 pair,uint64 round,bytes32 commitment"
    assert commit.digest(domain) == generic(domain, "VerdictCommit", types, said)
    reveal = VerdictReveal(first, number, second, third)
    said = {"pair": first, "round": number, "verdict": second, "salt": third}
    types = "bytes32 pair,uint64 round,bytes32 verdict,bytes32 salt"
    assert reveal.digest(domain) == generic(domain, "VerdictReveal", types, said)


def test_values_out_of_range_are_refused() -> None:
    domain = StakeDomain(1, bytes(20))
    for wrong in (ChainTreeHead("a", 2**64, bytes(32)), ChainTreeHead("a", 1, bytes(31)), ChainTreeHead("a", -1, b"")):
        with pytest.raises(ConfigError, match="ATTESTATION_INVALID"):
            wrong.digest(domain)
    with pytest.raises(ConfigError, match="ATTESTATION_INVALID"):
        ChainTreeHead("a", 1, bytes(32)).digest(StakeDomain(1, bytes(19)))


@dataclass
class Bonded:
    """A chain on which one validator has bonded."""

    client: ChainClient
    reporter: bytes
    key: bytes

    @property
    def target(self) -> ContractTarget:
        return ContractTarget("CuriosityStake", self.client.addresses.stake)

    @property
    def domain(self) -> StakeDomain:
        return StakeDomain(DEFAULT_CHAIN_ID, self.client.addresses.stake)

    def bonded_wei(self) -> int:
        record = self.client._endpoints.read(self.target, "validatorOf", to_checksum(address_of(self.key)))
        return int(record[1])

    def report(self, function: str, *arguments: Any) -> None:
        self.client._sender.send(self.reporter, self.target, function, *arguments)

    def sign(self, digest: bytes) -> bytes:
        return sign_digest(digest, self.key)


def bond(chain: DevChain) -> Bonded:
    """Deploys, and bonds 100 times the least stake for a key."""
    owner, reporter = chain.private_key(0), chain.private_key(1)
    client = ChainClient.connect(ChainConfig(chain.rpc_url, DEFAULT_CHAIN_ID))
    client.deploy(owner, DeploySettings((address_of(owner),), 1, min_stake_wei=MIN_WEI))
    case = Bonded(client, reporter, os.urandom(32))
    send = client._sender.send
    send(owner, client._token, "approve", to_checksum(client.addresses.stake), 100 * MIN_WEI)
    send(owner, case.target, "bond", to_checksum(address_of(case.key)), 100 * MIN_WEI)
    return case


@pytest.fixture(scope="module")
def bonded() -> Iterator[Bonded]:
    with DevChain() as chain:
        yield bond(chain)


def test_the_stake_contract_judges_what_was_signed_here(bonded: Bonded) -> None:
    reveal = VerdictReveal(b"\x01" * 32, 3, b"\x02" * 32, b"\x03" * 32)
    commit = reveal.commit(address_of(bonded.key))
    other = VerdictReveal(b"\x01" * 32, 3, b"\x04" * 32, b"\x03" * 32)

    def opened(one: VerdictReveal) -> None:
        bonded.report(
            "reportBrokenCommit",
            (commit.pair, commit.round, commit.commitment), bonded.sign(commit.digest(bonded.domain)),
            (one.pair, one.round, one.verdict, one.salt), bonded.sign(one.digest(bonded.domain)),
        )  # fmt: skip

    with pytest.raises(ChainError, match="the commitment holds"):
        opened(reveal)
    opened(other)
    assert bonded.bonded_wei() == 95 * MIN_WEI

    first, second = (ChainTreeHead("example.org/ledger", 7, root * 32) for root in (b"\x01", b"\x02"))

    def heads(a: ChainTreeHead, b: ChainTreeHead) -> None:
        bonded.report(
            "reportDoubleHead",
            (a.origin_digest, a.size, a.root), bonded.sign(a.digest(bonded.domain)),
            (b.origin_digest, b.size, b.root), bonded.sign(b.digest(bonded.domain)),
        )  # fmt: skip

    with pytest.raises(ChainError, match="roots are equal"):
        heads(first, first)
    heads(first, second)
    assert bonded.bonded_wei() == 0
    assert bonded.client.balances(address_of(bonded.reporter)).token_wei == MIN_WEI // 20 + 95 * MIN_WEI // 100


@pytest.mark.skipif(find_anvil() is None, reason="anvil is absent: only it can stop the clock")
def test_what_is_mined_a_second_after_its_estimate_does_not_run_out_of_gas() -> None:
    with DevChain(engine="anvil") as chain, RpcProxy(chain.rpc_url) as proxy:
        case = bond(chain)
        # Estimated in the second in which the stake was written last, so that its checkpoints would be written over;
        # mined later, where each needs a slot of its own.
        chain.request("anvil_setBlockTimestampInterval", [0])

        def tick(method: str, _parameters: list[Any]) -> None:
            if method == "eth_sendRawTransaction":
                chain.request("anvil_removeBlockTimestampInterval", [])
                chain.request("evm_increaseTime", [2])

        proxy.before = tick
        client = ChainClient.connect(ChainConfig(proxy.url, DEFAULT_CHAIN_ID, case.client.addresses))
        reveal = VerdictReveal(b"\x01" * 32, 3, b"\x02" * 32, b"\x03" * 32)
        commit = VerdictCommit(reveal.pair, reveal.round, bytes(32))
        Bonded(client, case.reporter, case.key).report(
            "reportBrokenCommit",
            (commit.pair, commit.round, commit.commitment), case.sign(commit.digest(case.domain)),
            (reveal.pair, reveal.round, reveal.verdict, reveal.salt), case.sign(reveal.digest(case.domain)),
        )  # fmt: skip
        assert case.bonded_wei() == 95 * MIN_WEI
