"""Answers of endpoints of every make: what clients say, what is not an answer at all, and what nobody may be shown."""

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode

from contracts.deployment import give_coins
from curiosity.chain.chain import ChainConfig, hide_secrets, show_endpoint
from curiosity.chain.evm import ChainClient
from curiosity.chain.evm.answers import printable, quantity
from curiosity.chain.evm.connection import Connection, ContractTarget
from curiosity.host.port.listen import url_of
from curiosity.host.settings.chain import ChainSettings
from curiosity.host.settings.loader import read_section
from curiosity.protocol.errors import ChainError, ConfigError
from curiosity.protocol.signing import keccak
from node.cli import run
from tests.material.rpc import BLOCK, OddEndpoint

ACCOUNT = b"\x11" * 20
REWARDS = ContractTarget("CuriosityRewards", b"\x22" * 20)
DIGEST = b"\x33" * 32
SECRET = "hunter2-0123456789abcdef"
RECEIPT: dict[str, Any] = {
    "transactionHash": "0x" + DIGEST.hex(), "blockNumber": "0x5", "gasUsed": "0x5208", "status": "0x1",
    "contractAddress": None, "logs": [],
}  # fmt: skip


@pytest.fixture
def odd() -> Iterator[OddEndpoint]:
    with OddEndpoint() as endpoint:
        yield endpoint


def told(exchange: Callable[[], object]) -> ChainError:
    with pytest.raises(ChainError) as caught:
        exchange()
    return caught.value


def body() -> dict[str, Any]:
    return {"to": "0x" + "22" * 20, "data": "0x", "value": 0}


# Every method that the connection asks, by what it is called for here.
EXCHANGES: dict[str, Callable[[Connection], object]] = {
    "eth_chainId": lambda one: one.chain_id(),
    "eth_blockNumber": lambda one: one.height(),
    "eth_getBlockByNumber": lambda one: one.block_time(),
    "eth_getCode": lambda one: one.code(ACCOUNT),
    "eth_getBalance": lambda one: one.balance_wei(ACCOUNT, 5),
    "eth_getTransactionCount": lambda one: one.nonce(ACCOUNT, "pending"),
    "eth_call": lambda one: one.read(REWARDS, "emission", 1),
    "eth_estimateGas": lambda one: one.estimate_gas(body(), ACCOUNT),
    "eth_maxPriorityFeePerGas": lambda one: one.fees(),
    "eth_getTransactionReceipt": lambda one: one.receipt(DIGEST),
}
NO_ANSWERS: tuple[Any, ...] = (
    None,
    "",
    "0x",
    "10",
    "-0x1",
    "0xzz",
    -1,
    1.5,
    True,
    [],
    ["0x1"],
    {},
    {"number": None},
    "0x" + "f" * 65,
)
NO_ERRORS: tuple[Any, ...] = (
    "words", 5, [], {}, {"code": 3}, {"code": "x", "message": 7}, {"code": 1, "message": None, "data": {"data": 5}},
    {"code": 3, "message": "execution reverted", "data": "0x4e487b71" + "ff" * 32},
    {"code": 3, "message": "execution reverted", "data": "0x556f1830" + "ff" * 32},
    {"code": 3, "message": "execution reverted", "data": "0x556f1830"},
    {"code": -32000, "message": "nothing", "data": "Reverted 0x"},
    {"code": 3, "message": "x", "data": [{"data": "0x12"}]},
)  # fmt: skip


@pytest.mark.parametrize("method", EXCHANGES)
def test_an_answer_of_the_wrong_kind_is_an_error_of_ours(odd: OddEndpoint, method: str) -> None:
    connection = Connection(odd.url, 60.0)
    for result in NO_ANSWERS:
        odd.results[method] = result
        if method == "eth_getTransactionReceipt" and (result is None or result == {} or result == {"number": None}):
            assert EXCHANGES[method](connection) is None  # no receipt yet, or one of no block
        elif method == "eth_getCode" and result == "0x":
            assert EXCHANGES[method](connection) == b""
        else:
            error = told(lambda: EXCHANGES[method](connection))
            assert error.code in ("CHAIN_REFUSED", "CHAIN_NO_CONTRACT"), (result, error)
    for refusal in NO_ERRORS:
        odd.errors[method] = refusal
        if method == "eth_maxPriorityFeePerGas":
            odd.results["eth_feeHistory"] = None  # asked in its place
        error = told(lambda: EXCHANGES[method](connection))
        assert error.code in ("CHAIN_REFUSED", "CHAIN_REVERTED"), (refusal, error)


@pytest.mark.parametrize(
    "whole", [b"", b"[]", b"null", b'"x"', b"{", b"{}", b'{"result"', b"\xff\xfe", b'{"error":null}']
)
def test_what_is_not_json_rpc_is_an_error_of_ours(odd: OddEndpoint, whole: bytes) -> None:
    odd.whole = whole
    connection = Connection(odd.url, 60.0)
    for exchange in EXCHANGES.values():
        assert told(lambda exchange=exchange: exchange(connection)).code == "CHAIN_REFUSED"  # type: ignore[misc]
    # What was sent may have arrived: nobody may take it for refused.
    assert told(lambda: connection.offer(b"\x02")).code == "CHAIN_UNREACHABLE"


def test_a_block_is_read_for_what_is_needed_of_it(odd: OddEndpoint) -> None:
    """Chains with proof of authority, of QBFT and Clique, keep seals in a field that Ethereum gives 32 bytes."""
    odd.results["eth_maxPriorityFeePerGas"] = "0x1"
    sealed = {
        **BLOCK, "extraData": "0x" + "ab" * 700, "nonce": None, "miner": None, "mixHash": None,
        "logsBloom": "0x" + "01" * 300,
        "totalDifficulty": None, "difficulty": "x", "withdrawals": 5, "transactions": None, "uncles": None,
    }  # fmt: skip
    odd.results["eth_getBlockByNumber"] = sealed
    connection = Connection(odd.url, 60.0)
    assert (connection.fees().tip_wei, connection.fees().most_wei) == (1, 15)
    assert connection.block_time() == 0x65000000
    assert connection.finalized_height() == 16
    for base_fee in ({}, {"baseFeePerGas": None}):  # before EIP-1559
        odd.results["eth_getBlockByNumber"] = {"timestamp": "0x5", "number": None, **base_fee}
        assert connection.fees().most_wei == 1
        assert connection.finalized_height() is None
    odd.results["eth_getBlockByNumber"] = {"timestamp": 7, "number": 3}  # of a client that writes numbers plainly
    assert connection.block_time() == 7


def test_a_chain_without_a_word_for_tips_is_asked_for_past_fees(odd: OddEndpoint) -> None:
    odd.errors["eth_maxPriorityFeePerGas"] = {"code": -32601, "message": "Method not found"}
    connection = Connection(odd.url, 60.0)
    for rewards, tip_wei in (
        ([["0x0"], ["0x0"]], 10**9),
        ([["0x0"], [hex(12 * 10**8)], [hex(13 * 10**8)], [hex(14 * 10**8)]], 13 * 10**8),
        ([[hex(10**15)]] * 10, 15 * 10**8),
    ):
        odd.results["eth_feeHistory"] = {"reward": rewards}
        assert connection.fees().tip_wei == tip_wei


def test_a_receipt_comes_when_its_block_is_known(odd: OddEndpoint) -> None:
    connection = Connection(odd.url, 60.0)
    odd.results["eth_getTransactionReceipt"] = RECEIPT
    found = connection.receipt(DIGEST)
    assert found is not None
    assert (found.block, found.gas_used, found.is_success, found.contract) == (5, 21_000, True, b"")
    odd.results["eth_getTransactionReceipt"] = {**RECEIPT, "blockNumber": None}
    assert connection.receipt(DIGEST) is None
    for words in ("transaction indexing is in progress", "Transaction indexing is in progress"):
        odd.errors["eth_getTransactionReceipt"] = {"code": -32000, "message": words, "data": words}
        assert connection.receipt(DIGEST) is None
    odd.errors["eth_getTransactionReceipt"] = {"code": -32000, "message": "something else"}
    assert told(lambda: connection.receipt(DIGEST)).code == "CHAIN_REFUSED"
    del odd.errors["eth_getTransactionReceipt"]
    changes: tuple[dict[str, Any], ...] = (
        {"transactionHash": "0x" + "44" * 32}, {"status": None}, {"status": "0x2"}, {"gasUsed": None}, {"logs": None},
        {"contractAddress": "0x12"}, {"logs": [{"address": None, "topics": [], "data": "0x"}]},
        {"logs": [{"address": "0x" + "11" * 20, "topics": ["0x1"], "data": "0x"}]},
    )  # fmt: skip
    for wrong in changes:
        odd.results["eth_getTransactionReceipt"] = {**RECEIPT, **wrong}
        assert told(lambda: connection.receipt(DIGEST)).code == "CHAIN_REFUSED", wrong


FUNDS = (
    "insufficient funds for gas * price + value",  # geth, Erigon, Reth
    "insufficient funds for gas * price + value: address 0x12 have 0 want 5",
    "Insufficient funds for gas * price + value",  # anvil
    "Upfront cost exceeds account balance",  # Besu
    "transaction up-front cost 0x1 exceeds transaction sender account balance 0x0",
    "InsufficientFunds, Account balance: 0, cumulative cost: 5",  # Nethermind
    "InsufficientFunds, Balance is 0 less than sending value + gas 5",
    "insufficient MaxFeePerGas for sender balance",
    "insufficient sender balance for gas * price + value",
    "sender doesn't have enough funds to send tx. The max upfront cost is: 5 and the sender's account only has: 0",
    "Insufficient funds. The account you tried to send transaction from does not have enough funds.",  # OpenEthereum
    "not enough funds for gas",  # Arbitrum
    "lack of funds (0) for max fee (5)",  # revm
)
NONCE = (
    "nonce too low",
    "nonce too low: address 0x12, tx: 0 state: 5",
    "nonce too low: next nonce 5, tx nonce 0",  # Reth
    "Nonce too low",  # Besu
    "Nonce too low. Expected nonce to be 5 but got 0.",  # Hardhat
    "nonce too high",
    "Transaction nonce is too distant from current sender nonce",  # Besu
    "OldNonce, Current nonce: 5, nonce of rejected tx: 0",  # Nethermind
    "NonceGap, Future nonce. Expected nonce: 5",
    "OwnNonceAlreadyUsed",
    "wrong transaction nonce",
    "Transaction nonce is too low. Try incrementing the nonce.",  # OpenEthereum
    "replacement transaction underpriced",  # geth, Erigon, Reth, anvil
    "Replacement transaction underpriced",  # Besu
    "Replacement transaction underpriced. A gasPrice/maxFeePerGas of at least 5 is necessary to replace it.",  # Hardhat
    "INTERNAL_ERROR: could not replace existing tx",  # Erigon
    "ReplacementNotAllowed",  # Nethermind
    "Transaction gas price 5wei is too low. There is another transaction with same nonce in the queue.",
)
KNOWN = (
    "already known",  # geth, Erigon, Reth
    "known transaction: 0x12",
    "Known transaction",  # Besu
    "Known transaction: 0x12",  # Hardhat
    "AlreadyKnown",  # Nethermind
    "transaction already imported",  # anvil
    "Transaction with the same hash was already imported.",  # OpenEthereum
    "ALREADY_EXISTS: already known",  # Erigon
)
FEES = (
    "transaction underpriced",
    "max fee per gas less than block base fee: address 0x12, maxFeePerGas: 1, baseFee: 5",
    "Gas price below configured minimum gas price",  # Besu
    "FeeTooLow, MaxFeePerGas too low. MaxFeePerGas: 1, BaseFee: 5",  # Nethermind
    "Transaction maxFeePerGas (1) is too low for the next block, which has a baseFeePerGas of 5",  # Hardhat
)
GAS = (
    "intrinsic gas too low",
    "intrinsic gas too low: have 5, want 21000",
    "Intrinsic gas exceeds gas limit",  # Besu
    "Transaction requires at least 21000 gas but got 5",  # Hardhat
    "exceeds block gas limit",
    "GasLimitExceeded, Gas limit: 5, gas limit of rejected tx: 6",  # Nethermind
)


@pytest.mark.parametrize(
    ("words", "code", "remedy"),
    [
        *((one, "CHAIN_NO_FUNDS", "Fund the account") for one in FUNDS),
        *((one, "CHAIN_NONCE", "repeat") for one in NONCE),
        *((one, None, "") for one in KNOWN),
        *((one, "CHAIN_REFUSED", "too little for its gas") for one in FEES),
        *((one, "CHAIN_REFUSED", "too little gas") for one in GAS),
        ("method not found", "CHAIN_REFUSED", "Check"),
    ],
)
def test_the_words_of_every_client_are_understood(odd: OddEndpoint, words: str, code: str | None, remedy: str) -> None:
    odd.errors["eth_sendRawTransaction"] = {"code": -32000, "message": words}
    connection = Connection(odd.url, 60.0)
    if code in (None, "CHAIN_NONCE"):
        said = connection.offer(b"\x02")
        assert (said.code if said is not None else None) == code
        assert said is None or remedy in said.remedy
    else:
        error = told(lambda: connection.offer(b"\x02"))
        assert (error.code, remedy in error.remedy) == (code, True), error
        assert words[:40] in error.what


def _paused() -> str:
    return "0x" + (keccak(b"RewardsPaused(uint256)")[:4] + encode(["uint256"], [77])).hex()


@pytest.mark.parametrize(
    "error",
    [
        {"code": 3, "message": "execution reverted", "data": _paused()},  # geth, Erigon, Reth
        {"code": 3, "message": "execution reverted: custom error 0x12", "data": _paused()},  # anvil
        {"code": -32000, "message": "Execution reverted", "data": _paused()},  # Besu
        {"code": -32015, "message": "VM execution error.", "data": "Reverted " + _paused()},  # Nethermind, OpenEthereum
        {
            "code": -32603,
            "message": "VM Exception while processing transaction: reverted",
            "data": _paused(),
        },  # Hardhat
        {"code": -32603, "message": "Error: reverted", "data": {"message": "Error: reverted", "data": _paused()}},
        {
            "code": -32000,
            "message": "VM Exception",
            "data": {"0x12": {"error": "revert", "return": _paused()}},
        },  # Ganache
        {"code": -32000, "message": "VM Exception", "data": {"hash": "0x12", "result": _paused(), "reason": None}},
    ],
)
@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas"])
def test_a_contracts_refusal_is_read_out_of_every_clients_answer(
    odd: OddEndpoint, method: str, error: dict[str, Any]
) -> None:
    odd.errors[method] = error
    refused = told(lambda: EXCHANGES[method](Connection(odd.url, 60.0)))
    assert refused.code == "CHAIN_REVERTED"
    assert "RewardsPaused" in refused.what
    assert "77" in refused.what


def test_a_contracts_own_words_are_no_clients(odd: OddEndpoint) -> None:
    odd.errors["eth_call"] = {
        "code": 3,
        "message": "execution reverted: insufficient funds, nonce too low",
        "data": None,
    }
    assert told(lambda: EXCHANGES["eth_call"](Connection(odd.url, 60.0))).code == "CHAIN_REVERTED"


def test_nothing_is_fetched_because_an_answer_says_so(odd: OddEndpoint) -> None:
    """EIP-3668: a contract, or whoever answers in its name, names addresses that a client would ask by itself."""
    lookup = encode(
        ["address", "string[]", "bytes", "bytes4", "bytes"],
        ["0x" + "22" * 20, [f"{odd.url}/inside/{{sender}}/{{data}}", f"{odd.url}/inside"], b"", b"\x01" * 4, b""],
    )
    odd.errors["eth_call"] = {"code": 3, "message": "execution reverted", "data": "0x556f1830" + lookup.hex()}
    assert told(lambda: EXCHANGES["eth_call"](Connection(odd.url, 60.0))).code == "CHAIN_REVERTED"
    assert odd.paths == []


def test_a_strangers_words_cannot_move_the_terminal(odd: OddEndpoint) -> None:
    odd.errors["eth_blockNumber"] = {"code": -32000, "message": "a\x1b]0;b\x07\nc" + "d" * 1_000}
    what = told(lambda: Connection(odd.url, 60.0).height()).what
    assert what.startswith("the chain refused: a ]0;b c")
    assert what.isprintable()
    assert len(what) < 340
    assert printable("\x9b31m\u202e") == "31m"


@pytest.mark.parametrize(
    "value", [None, "", "0x", "1", "0x-1", " 0x1", "0x1\n", True, 1.0, -1, 2**256, "0x1" + "0" * 64]
)
def test_what_is_not_a_number(value: object) -> None:
    with pytest.raises(ValueError, match=r"^it is .*, not a number$"):
        quantity(value, "it")


def test_numbers_may_have_zeros_in_front_or_be_plain() -> None:
    assert [quantity(one, "it") for one in ("0x0", "0x0a", "0xFf", 7, "0x" + "f" * 64)] == [0, 10, 255, 7, 2**256 - 1]


# What nobody may be shown.


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://user:{SECRET}@rpc.example:8545/v3/{SECRET}?key={SECRET}#{SECRET}", "https://rpc.example:8545"),
        (f"https://rpc.example/v3/{SECRET}", "https://rpc.example"),
        (f"http://{SECRET}@[::1]:8545", "http://[::1]:8545"),
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        (f"rpc.example/{SECRET}", "the RPC URL"),
        (f"http://rpc.example:{SECRET}/", "the RPC URL"),
        (f"http://[::1/{SECRET}", "the RPC URL"),
        ("", "the RPC URL"),
    ],
)
def test_of_a_url_only_scheme_host_and_port_are_shown(url: str, shown: str) -> None:
    assert show_endpoint(url) == shown
    assert SECRET not in hide_secrets(f"there is no {url}, and {SECRET if SECRET in url else 'nothing'} is wrong", url)


def test_words_of_an_endpoint_stay_but_for_its_secrets() -> None:
    url = f"https://rpc.example/v3/{SECRET}"
    assert hide_secrets("rpc.example: execution of v3 failed", url) == "rpc.example: execution of v3 failed"


def test_no_error_and_no_log_holds_the_key_of_a_url(
    odd: OddEndpoint, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.INFO)
    dead = f"http://user:{SECRET}@127.0.0.1:9/v3/{SECRET}?key={SECRET}"
    alive = odd.url.replace("://", f"://user:{SECRET}@") + f"/v3/{SECRET}"
    shown = []
    for url in (dead, alive, f"http://127.0.0.1:x/{SECRET}", f"nowhere/{SECRET}"):
        odd.errors = {"eth_blockNumber": {"code": 1, "message": f"project {SECRET} at /v3/{SECRET} is over its limit"}}
        for exchange in (
            lambda url=url: Connection(url, 60.0).height(),
            lambda url=url: give_coins(url, ACCOUNT, 1),
            lambda url=url: ChainClient.connect(ChainConfig(url, 5, other_rpc_urls=(url + "2", url + "3"))),
            lambda url=url: ChainClient(ChainConfig(url, 5, other_rpc_urls=(url + "2",))).now(),
        ):
            try:
                exchange()
            except (ChainError, ConfigError):
                shown.append(traceback.format_exc())  # as a crash report has it, with all causes
    assert len(shown) >= 12
    assert SECRET not in "".join(shown) + caplog.text


def test_no_command_shows_the_key_of_a_url(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    url = f"http://user:{SECRET}@127.0.0.1:9/v3/{SECRET}"
    file = tmp_path / "curiosity.toml"
    file.write_text(f'[node]\nhome = "{tmp_path}"\n[chain]\nrpc_url = "{url}"\nother_rpc_urls = ["{url}", "{url}2"]\n')
    for command in (["config", "show"], ["config", "show", "--json"], ["doctor"], ["doctor", "--json"]):
        run([*command, "--config", str(file)])
    out, err = capfd.readouterr()
    assert "http://127.0.0.1:9" in out
    assert SECRET not in out + err


@pytest.mark.parametrize("text", [f'rpc_url = ["http://x/{SECRET}"]', f'other_rpc_urls = "http://x/{SECRET}"'])
def test_a_setting_that_is_refused_is_not_shown_if_it_is_a_url(text: str) -> None:
    key, _, value = text.partition(" = ")
    with pytest.raises(ConfigError, match="CONFIG_INVALID") as caught:
        read_section(ChainSettings, "chain", {"chain": {key: json.loads(value)}}, {}, "a file")
    assert SECRET not in str(caught.value)
    assert key in str(caught.value)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8440"),
        ("validator.example", "http://validator.example:8440"),
        ("::1", "http://[::1]:8440"),
        ("::", "http://[::]:8440"),
        ("fe80::1%eth0", "http://[fe80::1%25eth0]:8440"),
    ],
)
def test_the_url_of_a_listener_is_a_url(host: str, url: str) -> None:
    assert url_of(host, 8440) == url
