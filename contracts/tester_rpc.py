"""JSON-RPC over HTTP for eth-tester's in-process EVM: the embedded chain where there is no anvil binary.

It serves the methods that our client and a wallet need, mines each transaction at once, and lets block time follow the
clock of this machine (eth-tester's own stands still between blocks). State is gone when the process ends.
"""

import ast
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from curiosity.protocol.errors import ConfigError
from curiosity.protocol.json_reader import read_json

_MAX_REQUEST_BYTES = 4 * 1024 * 1024
_REVERTED = 3  # error code for a revert with data (EIP-1474's successor, execution-apis)
_METHOD_MISSING = -32601
_INVALID = -32602
_REFUSED = -32000
# The same derivation as anvil and most wallets (BIP-44, first account).
_HD_PATH = "m/44'/60'/0'/0"
_TIP_WEI = 10**9


class RpcRefusal(Exception):
    """An answer with an error: JSON-RPC code, message, revert data."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data


class TesterChain:
    """One in-process EVM with the given chain id, its accounts derived from a mnemonic and rich in coins.

    Raises:
        ConfigError: ``CHAIN_FALLBACK_MISSING`` when eth-tester or py-evm is not installed.
    """

    def __init__(self, chain_id: int, mnemonic: str, accounts: int) -> None:
        try:
            from eth_tester import EthereumTester, PyEVMBackend
        except ImportError as error:
            raise ConfigError(
                "CHAIN_FALLBACK_MISSING",
                f"neither anvil nor eth-tester is here ({error})",
                "Run `npm ci` for anvil, or `pip install 'curiosity[dev]'` for eth-tester.",
            ) from error
        backend = PyEVMBackend.from_mnemonic(mnemonic, num_accounts=accounts, hd_path=_HD_PATH)
        # eth-tester makes a class for each chain and fixes its id there; transactions and CHAINID read it from it.
        type(backend.chain).chain_id = chain_id
        tester = EthereumTester(backend)
        self._tester = tester
        self._backend = backend
        self._chain_id = chain_id
        self._offset_s = 0
        # py-evm is not made for threads.
        self._lock = threading.Lock()
        self._methods: dict[str, Callable[..., Any]] = {
            "eth_accounts": tester.get_accounts,
            "eth_blockNumber": lambda: tester.get_block_by_number("latest")["number"],
            "eth_call": self._call,
            "eth_chainId": lambda: chain_id,
            "eth_estimateGas": self._estimate_gas,
            "eth_gasPrice": lambda: tester.get_block_by_number("pending")["base_fee_per_gas"] + _TIP_WEI,
            "eth_getBalance": lambda account, block="latest": tester.get_balance(account, _block(block)),
            "eth_getBlockByHash": lambda digest, full=False: tester.get_block_by_hash(digest, full),
            "eth_getBlockByNumber": lambda block, full=False: tester.get_block_by_number(_block(block), full),
            "eth_getCode": lambda account, block="latest": tester.get_code(account, _block(block)),
            "eth_getTransactionByHash": tester.get_transaction_by_hash,
            "eth_getTransactionCount": lambda account, block="latest": tester.get_nonce(account, _block(block)),
            "eth_getTransactionReceipt": tester.get_transaction_receipt,
            "eth_maxPriorityFeePerGas": lambda: _TIP_WEI,
            "eth_sendRawTransaction": self._send_raw,
            "eth_syncing": lambda: False,
            "evm_increaseTime": self._increase_time,
            "evm_mine": self._mine,
            "net_version": lambda: str(chain_id),
            "web3_clientVersion": lambda: "curiosity/eth-tester",
        }

    def answer(self, method: str, parameters: list[Any]) -> Any:
        """Return the JSON-ready result of one request.

        Raises:
            RpcRefusal: If the chain refuses the request.
        """
        from eth.exceptions import PyEVMError
        from eth_tester.exceptions import (
            BlockNotFound,
            TransactionFailed,
            TransactionNotFound,
            ValidationError,
        )
        from eth_utils.exceptions import ValidationError as EvmValidationError

        action = self._methods.get(method)
        if action is None:
            raise RpcRefusal(_METHOD_MISSING, f"the method {method} is not offered by this chain")
        with self._lock:
            self._follow_clock()
            try:
                return _to_json(action(*parameters))
            except (BlockNotFound, TransactionNotFound):
                return None
            except TransactionFailed as error:
                raise _describe_failure(error) from error
            except (ValidationError, EvmValidationError, PyEVMError, TypeError, ValueError) as error:
                raise RpcRefusal(_REFUSED, f"{type(error).__name__}: {error}") from error

    def _follow_clock(self) -> None:
        header = self._backend.chain.header
        if header.timestamp < self._now():
            self._backend.chain.header = header.copy(timestamp=self._now())

    def _now(self) -> int:
        return int(time.time()) + self._offset_s

    def _call(self, transaction: dict[str, Any], block: Any = "latest") -> Any:
        # The newest state on the block to come: the last block is as old as the last transaction.
        return self._tester.call(self._to_tester(transaction), "pending" if block == "latest" else _block(block))

    def _estimate_gas(self, transaction: dict[str, Any], _block: Any = "latest") -> Any:
        # eth-tester estimates only on a mined block, one second after it: bring that up to the clock first.
        if self._tester.get_block_by_number("latest")["timestamp"] < self._now():
            self._tester.mine_block()
        return self._tester.estimate_gas(self._to_tester(transaction), "latest")

    def _to_tester(self, transaction: dict[str, Any]) -> dict[str, Any]:
        """Return the parts that decide the outcome; fees do not, and eth-tester would demand that they fit together."""
        # py-evm charges the caller even for a call: without a sender a rich one stands in.
        result: dict[str, Any] = {"from": transaction.get("from") or self._tester.get_accounts()[0]}
        if transaction.get("to"):
            result["to"] = transaction["to"]
        result["data"] = transaction.get("data") or transaction.get("input") or "0x"
        result["value"] = int(transaction.get("value", "0x0"), 16)
        return result

    def _send_raw(self, raw: str) -> Any:
        # py-evm takes a signature for any chain; a real one refuses it.
        builder = self._backend.chain.get_vm().get_transaction_builder()
        signed_for = builder.decode(bytes.fromhex(raw.removeprefix("0x"))).chain_id
        if signed_for not in (None, self._chain_id):
            raise RpcRefusal(_REFUSED, f"the transaction is signed for chain {signed_for}, this is {self._chain_id}")
        return self._tester.send_raw_transaction(raw)

    def _increase_time(self, seconds: int | str) -> int:
        self._offset_s += int(seconds, 0) if isinstance(seconds, str) else seconds
        return self._offset_s

    def _mine(self) -> str:
        self._tester.mine_block()
        return "0x0"


def serve_tester(chain: TesterChain, port: int) -> ThreadingHTTPServer:
    """Return a JSON-RPC server for the chain, bound to the loopback address; the caller runs ``serve_forever``."""

    class RpcHandler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            try:
                length = int(self.headers.get("Content-Length", ""))
            except ValueError:
                length = -1
            if not 0 <= length <= _MAX_REQUEST_BYTES:
                self.send_error(413 if length > 0 else 411)
                return
            body = json.dumps(_answer_body(chain, self.rfile.read(length))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, _format: str, *_args: Any) -> None:
            return

    return ThreadingHTTPServer(("127.0.0.1", port), RpcHandler)


def _answer_body(chain: TesterChain, body: bytes) -> Any:
    try:
        content = read_json(body)
    except ValueError:
        return _error(None, RpcRefusal(-32700, "the request is not JSON"))
    if isinstance(content, list):
        return [_answer_one(chain, request) for request in content]
    return _answer_one(chain, content)


def _answer_one(chain: TesterChain, request: Any) -> dict[str, Any]:
    if not isinstance(request, dict) or not isinstance(request.get("params", []), list):
        return _error(None, RpcRefusal(_INVALID, "a request is an object with method and params"))
    number = request.get("id")
    try:
        result = chain.answer(str(request.get("method")), request.get("params", []))
    except RpcRefusal as refusal:
        return _error(number, refusal)
    return {"jsonrpc": "2.0", "id": number, "result": result}


def _error(number: Any, refusal: RpcRefusal) -> dict[str, Any]:
    error: dict[str, Any] = {"code": refusal.code, "message": str(refusal)}
    if refusal.data is not None:
        error["data"] = refusal.data
    return {"jsonrpc": "2.0", "id": number, "error": error}


def _describe_failure(error: Exception) -> RpcRefusal:
    """Return the refusal with the revert data.

    eth-tester hands the data over as bytes, as their ``repr``, or wrapped in py-evm's own error.
    """
    value: Any = error
    while isinstance(value, Exception):
        value = value.args[0] if value.args else ""
    if isinstance(value, str) and value.startswith(("b'", 'b"')):
        value = ast.literal_eval(value)
    if isinstance(value, bytes):
        return RpcRefusal(_REVERTED, "execution reverted", f"0x{value.hex()}")
    return RpcRefusal(_REVERTED, f"execution reverted: {value}", "0x")


def _block(block: Any) -> Any:
    return int(block, 16) if isinstance(block, str) and block.startswith("0x") else block


def _to_json(value: Any) -> Any:
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return hex(value)
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, dict) or hasattr(value, "items"):
        return {_camel(key): _to_json(item) for key, item in value.items()}
    return [_to_json(item) for item in value]


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
