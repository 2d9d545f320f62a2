"""One JSON-RPC endpoint: what it is asked, and web3's errors turned into ours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import requests
from web3 import HTTPProvider, Web3
from web3.exceptions import BadFunctionCallOutput, Web3Exception
from web3.types import RPCEndpoint, RPCResponse

from curiosity.chain.artifacts import decode_revert, load_artifact
from curiosity.chain.chain import BlockHeader, hide_secrets, show_endpoint
from curiosity.chain.evm.answers import (
    AnswerError,
    Block,
    EndpointRefusal,
    MinedReceipt,
    check_answer,
    octets,
    parse_block,
    parse_receipt,
    printable,
    quantity,
)
from curiosity.chain.evm.exchange import MAX_ANSWER_BYTES, Exchanges
from curiosity.chain.reverts import explain_revert
from curiosity.protocol.errors import ChainError
from curiosity.protocol.json_reader import read_json

T = TypeVar("T")

_PAST_BLOCKS = 10
_LOW_PERCENTILE = 5
# What web3 keeps such an estimate between.
_LEAST_PAST_TIP_WEI = 10**9
_MOST_PAST_TIP_WEI = 15 * 10**8


@dataclass(frozen=True)
class ContractTarget:
    """A deployed contract: the name of its artifact and its address, 20 bytes."""

    name: str
    address: bytes


@dataclass(frozen=True)
class Fees:
    """What a transaction of now offers for a unit of gas, in wei (EIP-1559)."""

    most_wei: int
    tip_wei: int


class _Provider(HTTPProvider):
    """Requests over HTTP whose answers are checked before anything else reads them."""

    # Or else an answer could have us fetch any address (EIP-3668).
    global_ccip_read_enabled = False

    def __init__(self, url: str, request_timeout_s: float) -> None:
        # exception_retry_configuration None: a repeated send could pay twice, and a caller knows when to try again.
        super().__init__(url, exception_retry_configuration=None)
        self._exchanges = Exchanges(url, request_timeout_s)

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        request = self.encode_rpc_request(method, params)
        raw = self._exchanges.post(request, self.get_request_headers())
        try:
            answer = read_json(raw, max_bytes=MAX_ANSWER_BYTES)
        except ValueError as error:
            raise AnswerError(f"the answer is not JSON: {type(error).__name__}") from None
        checked = check_answer(answer, str(self.endpoint_uri))
        if method == "eth_call":  # web3 would fill up half a byte, and make bytes of a number
            octets(checked["result"], method)
        return cast(RPCResponse, checked)


class Connection:
    """Exchanges with one endpoint; safe to share between threads. ``place`` is what may be shown of its URL.

    Raises:
        ChainError: By every method: ``CHAIN_UNREACHABLE``, ``CHAIN_REVERTED``, ``CHAIN_NO_FUNDS``, ``CHAIN_NONCE``,
            ``CHAIN_NO_CONTRACT`` or ``CHAIN_REFUSED``.
    """

    def __init__(self, url: str, request_timeout_s: float) -> None:
        self.url = url
        self.place = show_endpoint(url)
        provider = _Provider(url, request_timeout_s)
        # No middleware: it reads fields of blocks that we do not need and refuses those of other chains.
        web3 = Web3(provider, middleware=[])
        self._manager: Any = web3.manager
        self._eth: Any = web3.eth

    def chain_id(self) -> int:
        """Return the id that the chain gives itself."""
        return self._number("eth_chainId")

    def height(self) -> int:
        """Return the number of the newest block that this endpoint has."""
        return self._number("eth_blockNumber")

    def finalized_height(self) -> int | None:
        """Return the number of the newest block that the chain calls finalised; None where it has no such word."""
        try:
            block = self._block("finalized")
        except ChainError as error:
            if error.code != "CHAIN_REFUSED":
                raise
            return None
        return None if block is None else block.number

    def block_time(self) -> int:
        """Return the time of the block to come, Unix seconds; of the newest one where the chain does not tell."""
        try:
            block = self._block("pending")
        except ChainError as error:
            if error.code != "CHAIN_REFUSED":
                raise
            block = None
        return block.timestamp if block is not None else self._newest().timestamp

    def header(self, block: str | int) -> BlockHeader:
        """Return number, time and hash of a block that is there."""
        found = self._block(_block_name(block))
        if found is None or found.number is None or found.hash is None:
            raise self._failed(f"it has no block {block}")
        return BlockHeader(found.number, found.timestamp, found.hash)

    def code(self, address: bytes, block: str | int = "latest") -> bytes:
        """Return the code of the contract at the address, empty where there is none."""
        what = "eth_getCode"
        parameters = [to_checksum(address), _block_name(block)]
        return self._ask(lambda: octets(self._raw(what, *parameters), what))

    def balance_wei(self, account: bytes, block: str | int = "latest") -> int:
        """Return the coins for gas that the account holds."""
        return self._number("eth_getBalance", to_checksum(account), _block_name(block))

    def nonce(self, account: bytes, block: str | int) -> int:
        """Return how many transactions of the account the chain has counted until that block."""
        return self._number("eth_getTransactionCount", to_checksum(account), _block_name(block))

    def read(self, target: ContractTarget, function: str, *arguments: Any, block: str | int = "latest") -> Any:
        """Return what the contract's function returns for these arguments, without a transaction."""
        return self._ask(lambda: self._bind(target, function, arguments).call(block_identifier=block))

    def call_data(self, target: ContractTarget, function: str, *arguments: Any) -> Any:
        """Return the input of a transaction that calls the contract's function."""
        return self._ask(lambda: self._bind(target, function, arguments)._encode_transaction_data())

    def creation_data(self, name: str, *arguments: Any) -> Any:
        """Return the input of a transaction that deploys the named artifact with these constructor arguments."""
        artifact = load_artifact(name)
        factory = self._eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        return self._ask(lambda: factory.constructor(*arguments).data_in_transaction)

    def _bind(self, target: ContractTarget, function: str, arguments: tuple[Any, ...]) -> Any:
        contract = self._eth.contract(address=to_checksum(target.address), abi=load_artifact(target.name).abi)
        return getattr(contract.functions, function)(*arguments)

    # Transactions.

    def estimate_gas(self, body: dict[str, Any], sender: bytes) -> int:
        """Return the gas that the transaction takes, tried on the block to come.

        The last block may be old, and its time with it.
        """
        return self._number("eth_estimateGas", _call(body, sender), "pending")

    def fees(self) -> Fees:
        """Return what to offer now.

        Twice the base fee lasts for six full blocks in a row (EIP-1559: an eighth more each).
        """
        tip_wei = self._ask(self._tip_wei)
        base_wei = self._newest().base_fee_wei
        return Fees(2 * base_wei + tip_wei, tip_wei)

    def try_at(self, body: dict[str, Any], sender: bytes, block: int) -> None:
        """Do what the transaction does, on the state after that block; for the reason why it fails."""
        self._ask(lambda: self._raw("eth_call", _call(body, sender), _block_name(block)))

    def offer(self, raw: bytes) -> ChainError | None:
        """Hand a signed transaction to the chain. None when it took it or has it; else why its nonce does not do."""
        try:
            # Whatever is answered but a refusal: it may have been taken, which the receipt will tell.
            self._ask(lambda: self._raw("eth_sendRawTransaction", f"0x{raw.hex()}"))
        except ChainError as error:
            if isinstance(error.__cause__, EndpointRefusal) and error.__cause__.is_known:
                return None
            if isinstance(error.__cause__, AnswerError):
                raise ChainError("CHAIN_UNREACHABLE", error.what, error.remedy) from error
            if error.code != "CHAIN_NONCE":
                raise
            return error
        return None

    def receipt(self, digest: bytes) -> MinedReceipt | None:
        """Return the receipt of the transaction with that hash.

        None while it is in no block that the endpoint knows of.
        """
        try:
            return self._ask(lambda: parse_receipt(self._raw("eth_getTransactionReceipt", f"0x{digest.hex()}"), digest))
        except ChainError as error:
            if not isinstance(error.__cause__, EndpointRefusal) or not error.__cause__.is_indexing:
                raise
            return None

    def _tip_wei(self) -> int:
        method = "eth_maxPriorityFeePerGas"
        try:
            return quantity(self._raw(method), method)
        except EndpointRefusal:
            return self._past_tip_wei()

    def _past_tip_wei(self) -> int:
        """Return what a transaction of the last blocks paid that paid little, for chains that have no word for it."""
        history = self._raw("eth_feeHistory", hex(_PAST_BLOCKS), "latest", [_LOW_PERCENTILE])
        if not isinstance(history, Mapping) or not isinstance(history.get("reward"), list):
            raise AnswerError("eth_feeHistory names no fees")
        tips = [quantity(one, "a tip") for block in history["reward"] if isinstance(block, list) for one in block]
        paid = sorted(tip for tip in tips if tip)
        return min(max(paid[len(paid) // 2] if paid else 0, _LEAST_PAST_TIP_WEI), _MOST_PAST_TIP_WEI)

    def _number(self, method: str, *parameters: Any) -> int:
        return self._ask(lambda: quantity(self._raw(method, *parameters), method))

    def _block(self, name: str) -> Block | None:
        return self._ask(lambda: parse_block(self._raw("eth_getBlockByNumber", name, False)))

    def _newest(self) -> Block:
        block = self._block("latest")
        if block is None:
            raise self._failed("it has no newest block")
        return block

    def _raw(self, method: str, *parameters: Any) -> Any:
        """Return the result of a request, as it came."""
        return self._manager.request_blocking(RPCEndpoint(method), parameters)

    def _ask(self, exchange: Callable[[], T]) -> T:
        """Run one exchange with the chain and turn its errors, and web3's, into ours."""
        try:
            return exchange()
        except requests.RequestException as error:
            # Not from it: its words hold the whole URL.
            raise ChainError(
                "CHAIN_UNREACHABLE",
                f"{self.place} did not answer: {_why_silent(error)}",
                "Start the chain or correct the RPC URL, then look at the state before sending again.",
            ) from None
        except EndpointRefusal as error:
            raise self._refused(error) from error
        except BadFunctionCallOutput as error:
            raise ChainError(
                "CHAIN_NO_CONTRACT",
                "the address does not hold the contract expected there",
                "Check the addresses; the chain may have been started anew.",
            ) from error
        except AnswerError as error:
            raise self._failed(str(error)) from error
        # The rest is what web3 and what it uses raise for an answer that they did not expect.
        except (Web3Exception, ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
            raise self._failed(f"{type(error).__name__}: {error}") from None

    def _failed(self, words: str) -> ChainError:
        return ChainError(
            "CHAIN_REFUSED",
            f"the exchange with {self.place} failed: {printable(hide_secrets(words, self.url))}",
            "Check the arguments, and that the URL is an Ethereum JSON-RPC endpoint.",
        )

    def _refused(self, refusal: EndpointRefusal) -> ChainError:
        words = refusal.words
        # Before anything else: a contract's own words may be like those of a client.
        if refusal.is_revert:
            return _reverted(words, refusal.data)
        if refusal.is_funds:
            return no_funds(f"the chain refused the transaction: {words}")
        if refusal.is_nonce:
            return ChainError(
                "CHAIN_NONCE",
                f"the chain refused the transaction's nonce: {words}",
                "Another transaction of this account came first; repeat.",
            )
        remedy = "Check the transaction and the chain."
        if refusal.is_fee:
            remedy = "It offers too little for its gas at present; repeat, or wait until fees are lower."
        elif refusal.is_gas:
            remedy = "It has too little gas, or more than fits in a block; repeat, with fewer epochs or claims at once."
        return ChainError("CHAIN_REFUSED", f"the chain refused: {words}", remedy)


def to_checksum(address: bytes) -> str:
    """Return the address as web3 wants it."""
    return Web3.to_checksum_address(address)


def no_funds(what: str) -> ChainError:
    """Return the error of an account that cannot pay for its gas."""
    return ChainError("CHAIN_NO_FUNDS", what, "Fund the account with coins for gas, for example from the faucet.")


def _call(body: Mapping[str, Any], sender: bytes) -> dict[str, str]:
    data = body["data"] if isinstance(body["data"], str) else f"0x{bytes(body['data']).hex()}"
    call = {"from": to_checksum(sender), "data": data, "value": hex(body["value"])}
    return call | ({"to": body["to"]} if "to" in body else {})


def _why_silent(error: requests.RequestException) -> str:
    """Return what a request came to that brought no answer; never the error's own words, which hold the whole URL."""
    if error.response is not None:
        return f"status {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "it took too long"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not one that this machine trusts"
    if isinstance(error, requests.ConnectionError):
        return "nobody listens there" if "refused" in str(error) else "it cannot be reached"
    return "the answer cannot be read"


def _block_name(block: str | int) -> str:
    return block if isinstance(block, str) else hex(block)


def _reverted(words: str, data: bytes) -> ChainError:
    try:
        revert = decode_revert(data) if data else None
    except ValueError:
        revert = None
    if revert is None:
        shown = f"0x{data[:36].hex()}" if data else ""
        words = f"{words or 'no reason given'} {shown}".strip()
        return ChainError("CHAIN_REVERTED", f"the contract refused: {words}", "Check the arguments and the state.")
    what, remedy = explain_revert(revert)
    return ChainError("CHAIN_REVERTED", f"the contract refused: {what}", remedy)
