"""`python -m contracts.deploy` on a real chain."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contracts.deploy import main
from contracts.devchain import DEFAULT_CHAIN_ID, DevChain, find_anvil
from curiosity.chain.attestation import address_of
from curiosity.chain.chain import Addresses, ChainConfig
from curiosity.chain.evm import ChainClient
from curiosity.protocol.errors import ExitCode
from curiosity.protocol.signing import checksum
from tests.material.waiting import eventually

VALIDATORS = tuple(bytes([n]) * 20 for n in (0xA1, 0xB2, 0xC3))


@dataclass
class Case:
    chain: DevChain
    folder: Path
    capture: pytest.CaptureFixture[str]

    @property
    def out(self) -> Path:
        return self.folder / "addresses.json"

    def run(self, *options: str) -> tuple[int, Any, str]:
        """Exit status, JSON printed and last line on standard error."""
        given = ["--rpc-url", self.chain.rpc_url, "--key-file", str(self.folder / "key"), "--out", str(self.out)]
        chain_id = [] if "--chain-id" in options else ["--chain-id", str(DEFAULT_CHAIN_ID)]
        status = main([*given, *chain_id, *options, "--json"])
        printed = self.capture.readouterr()
        return status, json.loads(printed.out or "null"), printed.err

    def named(self, count: int = 3) -> list[str]:
        return [word for one in VALIDATORS[:count] for word in ("--validator", checksum(one))]

    def blocks(self) -> int:
        return int(self.chain.request("eth_blockNumber", []), 16)


@pytest.fixture
def case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Case]:
    with DevChain() as chain:
        (tmp_path / "key").write_text(chain.private_key(0).hex() + "\n")
        yield Case(chain, tmp_path, capsys)


def test_contracts_are_deployed_once_with_a_majority_as_quorum(case: Case) -> None:
    status, facts, _ = case.run(*case.named())
    assert (status, facts["deployed"]) == (0, True)
    addresses = Addresses.from_json(json.loads(case.out.read_text()))
    client = ChainClient.connect(ChainConfig(case.chain.rpc_url, DEFAULT_CHAIN_ID, addresses))
    assert client.state().threshold == 2
    blocks = case.blocks()
    status, again, _ = case.run(*case.named())
    assert (status, again["deployed"], again["rewards"]) == (0, False, facts["rewards"])
    assert case.blocks() == blocks


def test_the_code_on_the_chain_is_compared_with_the_committed_build(case: Case) -> None:
    assert case.run(*case.named())[0] == 0
    facts = json.loads(case.out.read_text())
    code = case.chain.request("eth_getCode", [facts["rewards"], "latest"])
    # One bit of one instruction, far from what the constructor filled in.
    case.chain.request("anvil_setCode", [facts["rewards"], code[:-1] + ("0" if code[-1] != "0" else "1")])
    status, failure, _ = case.run(*case.named())
    assert (status, failure["error"]["code"]) == (ExitCode.CHAIN, "CHAIN_CODE_DIFFERS")
    case.chain.request("anvil_setCode", [facts["rewards"], code])
    assert case.run(*case.named())[0] == 0


def test_anybody_checks_what_is_deployed_and_on_what_terms(case: Case) -> None:
    assert case.run(*case.named(), "--activation-delay-s", "77")[0] == 0
    given = ["--rpc-url", case.chain.rpc_url, "--chain-id", str(DEFAULT_CHAIN_ID), "--out", str(case.out)]
    blocks = case.blocks()
    assert main([*given, "--check", "--json"]) == 0
    found = json.loads(case.capture.readouterr().out)
    assert (found["is_committed_code"], found["emits_as_committed"]) == (True, True)
    assert found["validators"] == [checksum(one) for one in VALIDATORS]
    assert (found["threshold"], found["activation_delay_s"], found["cap_wei"]) == (2, 77, str(10**24))
    assert found["guardian"] == checksum(address_of(case.chain.private_key(0)))
    assert main([*given, "--check"]) == 0
    assert f"owner: {found['owner']}\n" in case.capture.readouterr().out
    assert case.blocks() == blocks
    assert main([*given, "--json"]) == ExitCode.USAGE  # to deploy, it takes a key and validators


def test_contracts_of_two_networks_are_not_one(case: Case) -> None:
    assert case.run(*case.named())[0] == 0
    first = json.loads(case.out.read_text())
    case.out.unlink()
    assert case.run(*case.named(2))[0] == 0
    second = json.loads(case.out.read_text())
    # Each of them is the committed code, only made for another: the mint of one network behind the claims of another.
    for name in ("token", "rewards", "stake"):
        case.out.write_text(json.dumps(second | {name: first[name]}))
        status, failure, _ = case.run("--check")
        assert (status, failure["error"]["code"]) == (ExitCode.CHAIN, "CHAIN_LINK_DIFFERS"), name
    case.out.write_text(json.dumps(second))
    assert case.run("--check")[0] == 0


def test_a_folder_has_a_file_for_each_chain(case: Case) -> None:
    folder = case.folder / "networks"
    folder.mkdir()
    status, facts, _ = case.run(*case.named(), "--out", str(folder))
    assert (status, facts["out"]) == (0, str(folder / f"{DEFAULT_CHAIN_ID}.json"))
    with DevChain(chain_id=5) as other:
        (case.folder / "key").write_text(other.private_key(0).hex())
        options = [*case.named(), "--rpc-url", other.rpc_url, "--chain-id", "5", "--out", str(folder)]
        assert case.run(*options)[0] == 0
        # The file of one chain is not taken for another's.
        (folder / "5.json").write_text((folder / f"{DEFAULT_CHAIN_ID}.json").read_text())
        status, failure, _ = case.run(*options)
        assert (status, failure["error"]["code"]) == (ExitCode.CHAIN, "CHAIN_WRONG_ID")


def test_a_dry_run_tries_what_the_constructor_would_refuse(case: Case) -> None:
    zero = "0x" + "00" * 20
    for options in (["--validator", zero], [*case.named(), "--guardian", zero]):
        blocks = case.blocks()
        status, failure, _ = case.run(*options, "--dry-run")
        assert (status, failure["error"]["code"]) == (ExitCode.CHAIN, "CHAIN_REVERTED"), options
        assert case.blocks() == blocks


def test_a_dry_run_sends_nothing(case: Case) -> None:
    status, planned, _ = case.run(*case.named(2), "--dry-run", "--threshold", "2")
    assert status == 0
    assert planned["deployer"] == checksum(address_of(case.chain.private_key(0)))
    assert (planned["threshold"], len(planned["validators"]), planned["exists"]) == (2, 2, False)
    assert int(planned["deployer_wei"]) > 0
    assert 1_000_000 < planned["rewards_gas"] < 10_000_000
    assert case.blocks() == 0
    assert not case.out.exists()


@pytest.mark.skipif(find_anvil() is None, reason="anvil is absent: only it can stop mining")
@pytest.mark.parametrize("mined", [0, 1])
def test_a_deployment_that_is_killed_is_gone_on_with(case: Case, mined: int) -> None:
    """Killed once it has sent the first contract, or the second: neither is deployed again."""
    deployer = checksum(address_of(case.chain.private_key(0)))

    def sent(block: str = "pending") -> int:
        return int(case.chain.request("eth_getTransactionCount", [deployer, block]), 16)

    case.chain.request("evm_setAutomine", [False])
    options = ["--rpc-url", case.chain.rpc_url, "--chain-id", str(DEFAULT_CHAIN_ID), "--out", str(case.out)]
    command = [sys.executable, "-m", "contracts.deploy", *options, "--key-file", str(case.folder / "key")]
    process = subprocess.Popen([*command, *case.named()], stdout=subprocess.DEVNULL)
    for number in range(mined):
        eventually(lambda number=number: sent() > number)  # type: ignore[misc]
        case.chain.request("evm_mine", [])
    eventually(lambda: sent() > mined)
    process.kill()
    process.wait()
    assert not case.out.exists()

    if mined:
        status, error, _ = case.run(*case.named(2))  # on other terms it is another deployment
        assert (status, error["error"]["code"]) == (int(ExitCode.CONFIG), "DEPLOYMENT_BEGUN")
        assert case.run(*case.named(), "--dry-run")[1]["is_begun"] is True
    case.chain.request("evm_setAutomine", [True])
    case.chain.request("evm_mine", [])
    status, facts, _ = case.run(*case.named())
    assert (status, facts["deployed"]) == (0, True)
    assert sent("latest") == 2
    assert case.run("--check")[0] == 0
    assert [path.name for path in case.folder.glob(".addresses*")] == [".addresses.json.sent.lock"]
    assert case.run(*case.named())[1]["deployed"] is False


def test_coins_are_given_and_topped_up(case: Case) -> None:
    key = os.urandom(32)
    (case.folder / "key").write_text(key.hex())
    assert case.run(*case.named(1))[0] == ExitCode.CHAIN  # nobody pays for the gas
    assert not case.out.exists()
    coins = ["--dev-balance-wei", str(10**20), "--gas-wei", str(10**18)]
    assert case.run(*case.named(1), *coins)[0] == 0
    client = ChainClient.connect(ChainConfig(case.chain.rpc_url, DEFAULT_CHAIN_ID, _read(case.out)))
    assert client.balances(VALIDATORS[0]).eth_wei == 10**18
    coins[-1] = str(3 * 10**18)
    assert case.run(*case.named(2), *coins)[0] == 0
    assert [client.balances(one).eth_wei for one in VALIDATORS[:2]] == [3 * 10**18] * 2


def _read(path: Path) -> Addresses:
    return Addresses.from_json(json.loads(path.read_text()))


def test_validators_come_from_what_the_keys_command_prints(case: Case) -> None:
    keys = case.folder / "validator.json"
    keys.write_text(json.dumps({"origin": "x", "attestation_address": checksum(VALIDATORS[2])}))
    _, planned, _ = case.run("--validator-keys", str(keys), *case.named(), "--dry-run")
    assert planned["validators"] == [checksum(one) for one in VALIDATORS]
    keys.write_text("[]")
    status, error, _ = case.run("--validator-keys", str(keys))
    assert (status, error["error"]["code"]) == (ExitCode.CONFIG, "VALIDATOR_KEYS_INVALID")


def test_a_chain_that_forgot_its_contracts_is_not_deployed_to_again(case: Case) -> None:
    assert case.run(*case.named())[0] == 0
    before = case.out.read_bytes()
    with DevChain() as other:
        status, error, _ = Case(other, case.folder, case.capture).run(*case.named())
    assert (status, error["error"]["code"]) == (ExitCode.CHAIN, "CHAIN_NO_CONTRACT")
    assert case.out.read_bytes() == before


def test_coins_by_decree_need_a_chain_that_allows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "key").write_text(os.urandom(32).hex())
    with DevChain(engine="eth-tester") as chain:
        case = Case(chain, tmp_path, capsys)
        status, error, _ = case.run(*case.named(), "--dev-balance-wei", "1")
    assert (status, error["error"]["code"]) == (ExitCode.CHAIN, "CHAIN_REFUSED")


def test_mistakes_are_told_before_anything_is_sent(case: Case) -> None:
    wrong = checksum(VALIDATORS[0])
    wrong = wrong.swapcase().replace("0X", "0x")
    for options, status, code in (
        ([], ExitCode.USAGE, "USAGE"),
        ([*case.named(2), "--threshold", "1"], ExitCode.USAGE, "USAGE"),
        ([*case.named(2), "--threshold", "3"], ExitCode.USAGE, "USAGE"),
        (["--validator", "0x12"], ExitCode.CONFIG, "ADDRESS_INVALID"),
        (["--validator", wrong], ExitCode.CONFIG, "ADDRESS_INVALID"),
        ([*case.named(), "--chain-id", "1"], ExitCode.CHAIN, "CHAIN_WRONG_ID"),
        ([*case.named(), "--out", str(case.folder / "no" / "a.json")], ExitCode.CONFIG, "ADDRESSES_NOT_WRITTEN"),
    ):
        given, _, err = case.run(*options)
        assert (given, err.partition(":")[0]) == (status, code), options
    case.out.write_text("not JSON")
    assert case.run(*case.named())[1]["error"]["code"] == "ADDRESSES_INVALID"
    assert case.blocks() == 0


@pytest.mark.parametrize("content", ["", "ab" * 31, "zz" * 32, "\xff"])
def test_a_key_file_that_holds_no_key_is_never_shown(case: Case, content: str) -> None:
    (case.folder / "key").write_bytes(content.encode("latin-1"))
    status, error, err = case.run(*case.named())
    assert (status, error["error"]["code"]) == (ExitCode.WALLET, "WALLET_KEY_FILE")
    assert not content or content not in err
