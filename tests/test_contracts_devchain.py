"""The embedded chain as a process: found, started, refused, and gone when its parent is."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from eth_account import Account

from contracts.devchain import ANVIL_VARIABLE, DevChain, Engine, find_anvil, main
from curiosity.chain.attestation import address_of
from curiosity.chain.chain import ChainConfig
from curiosity.chain.evm import ChainClient
from curiosity.protocol.errors import ChainError, ConfigError, ExitCode
from tests.material.network import wait_for_receipt
from tests.material.waiting import PATIENCE_S, eventually

ENGINES: tuple[Engine, ...] = ("anvil", "eth-tester")
ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("engine", ENGINES)
def test_both_engines_know_the_same_accounts_and_answer_alike(engine: Engine) -> None:
    with DevChain(engine=engine, chain_id=4242, accounts=3) as chain:
        client = ChainClient.connect(ChainConfig(chain.rpc_url, 4242))
        # First account of the well-known development phrase.
        assert address_of(chain.private_key(0)).hex() == "f39fd6e51aad88f6f4ce6ab8827279cfffb92266"
        for index in range(3):
            assert client.balance_wei(address_of(chain.private_key(index))) >= 10**21
        assert client.balance_wei(address_of(chain.private_key(3))) == 0
        before = int(chain.request("eth_getBlockByNumber", ["latest", False])["timestamp"], 16)
        chain.advance(10_000)
        after = int(chain.request("eth_getBlockByNumber", ["latest", False])["timestamp"], 16)
        assert 10_000 <= after - before < 10_060
        assert chain.request("net_version", []) == "4242"
        assert chain.request("eth_getTransactionReceipt", ["0x" + "12" * 32]) is None
        with pytest.raises(ChainError) as failure:
            chain.request("no_suchMethod", [])
        assert failure.value.code == "CHAIN_REFUSED"
        url = chain.rpc_url
    with pytest.raises(ChainError) as failure:
        ChainClient.connect(ChainConfig(url, 4242))
    assert failure.value.code == "CHAIN_UNREACHABLE"


@pytest.mark.parametrize("engine", ENGINES)
def test_a_transaction_for_another_chain_id_is_refused(engine: Engine) -> None:
    with DevChain(engine=engine) as chain:
        key = chain.private_key(0)
        fields = {"to": "0x" + "11" * 20, "value": 1, "nonce": 0, "gas": 21_000, "type": 2}
        fees = {"maxFeePerGas": 10**10, "maxPriorityFeePerGas": 1}
        foreign = Account.sign_transaction({**fields, **fees, "chainId": 1}, key).raw_transaction.hex()
        with pytest.raises(ChainError):
            chain.request("eth_sendRawTransaction", ["0x" + foreign])
        home = Account.sign_transaction({**fields, **fees, "chainId": 31337}, key).raw_transaction.hex()
        wait_for_receipt(chain, chain.request("eth_sendRawTransaction", ["0x" + home]))
        assert int(chain.request("eth_getBalance", ["0x" + "11" * 20, "latest"]), 16) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child whose parent died without a word")
@pytest.mark.parametrize("engine", ENGINES)
def test_the_chain_dies_with_a_killed_parent(engine: Engine) -> None:
    script = textwrap.dedent(
        f"""
        import time
        from contracts.devchain import DevChain
        with DevChain(engine="{engine}") as chain:
            print(chain._process.pid, flush=True)
            time.sleep(3600)
        """
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=ROOT)
    assert parent.stdout is not None
    child_id = int(parent.stdout.readline())
    os.kill(child_id, 0)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    eventually(lambda: not _is_running(child_id), "the chain outlived its parent")


def _is_running(process_id: int) -> bool:
    try:
        # A zombie that nobody has waited for yet is not running.
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("engine", ENGINES)
def test_a_taken_port_is_a_clear_error(engine: Engine) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(ChainError) as failure, DevChain(engine=engine, port=port):
            pass
    assert failure.value.code == "DEVCHAIN_FAILED"
    assert str(port) in failure.value.what


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stranger", ENGINES)
def test_somebody_elses_chain_of_the_same_id_is_not_adopted(engine: Engine, stranger: Engine) -> None:
    with DevChain(engine=stranger) as other:
        port = int(other.rpc_url.rpartition(":")[2])
        for _ in range(3):  # on the former code it depended on who was faster
            with pytest.raises(ChainError, match="DEVCHAIN_FAILED"), DevChain(engine=engine, port=port):
                pass
        assert int(other.request("eth_chainId", []), 16) == other.chain_id


def test_the_variable_names_the_binary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    native = find_anvil()
    assert native is not None
    link = tmp_path / "my-anvil"
    link.symlink_to(native)
    monkeypatch.setenv(ANVIL_VARIABLE, str(link))
    assert find_anvil() == link
    monkeypatch.setenv(ANVIL_VARIABLE, str(tmp_path))
    with pytest.raises(ConfigError) as failure:
        find_anvil()
    assert failure.value.code == "ANVIL_NOT_FOUND"


def test_without_anvil_the_fallback_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contracts.devchain.find_anvil", lambda: None)
    assert DevChain().engine == "eth-tester"
    with pytest.raises(ConfigError) as failure, DevChain(engine="anvil"):
        pass
    assert failure.value.code == "ANVIL_NOT_FOUND"


def test_the_fallback_keeps_no_state(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as failure:
        DevChain(engine="eth-tester", state_path=tmp_path / "state.json")
    assert failure.value.code == "DEVCHAIN_STATE_UNSUPPORTED"


@pytest.mark.parametrize("words", [[], ["--fallback"]])
def test_a_taken_port_in_the_foreground(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        assert main([*words, "--json", "--port", str(holder.getsockname()[1])]) == ExitCode.CHAIN
    printed, said = capsys.readouterr()
    assert json.loads(printed)["error"]["code"] == "DEVCHAIN_FAILED"
    assert said.startswith("DEVCHAIN_FAILED: ")


@pytest.mark.parametrize("words", [[], ["--fallback"]])
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_in_the_foreground_it_says_where_it_answers_until_it_is_stopped(words: list[str], stop: signal.Signals) -> None:
    command = [sys.executable, "-m", "contracts.devchain", *words, "--json", "--port", "0", "--chain-id", "4242"]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
    try:
        started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)
    finally:
        signal.signal(signal.SIGINT, before)
    with started as chain:
        try:
            assert chain.stdout is not None
            assert chain.stderr is not None
            facts = json.loads(chain.stdout.readline())
            assert facts["engine"] == ("eth-tester" if words else "anvil")
            ChainClient.connect(ChainConfig(facts["url"], 4242))  # refuses a chain of another id
            chain.send_signal(stop)
            assert chain.wait(PATIENCE_S) == ExitCode.OK
            assert (chain.stdout.read(), chain.stderr.read()) == (b"", b"")
        finally:
            chain.kill()  # else leaving the block would wait for it
