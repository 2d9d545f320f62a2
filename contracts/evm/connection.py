"""One JSON-RPC endpoint: what it is asked, and web3's errors turned into ours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
from web3 import HTTPProvider, Web3
from web3.exceptions import (
    BadFunctionCallOutput,
    BadResponseFormat,
    ContractLogicError,
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)

from contracts.artifacts import decode_revert, load_artifact
from protocol.errors import ChainError

# The words of geth, anvil, OpenEthereum, py-evm and Nethermind. That very transaction is on its way:
_KNOWN_WORDS = ("already known", "already imported", "known transaction", "alreadyknown")
_NONCE_WORDS = (
    "nonce too low",
    "nonce too high",
    "oldnonce",
    "invalid transaction nonce",
    "replacement transaction underpriced",
)
_FUNDS_WORDS = ("insufficient funds", "cannot afford", "insufficient balance")


@dataclass(frozen=True)
class Target:
    """A deployed contract: the name of its artifact and its address, 20 bytes."""

    name: str
    address: bytes


@dataclass(frozen=True)
class Fees:
    """What a transaction of now offers for a unit of gas, in wei (EIP-1559)."""

    most_wei: int
    tip_wei: int


class Connection:
    """Exchanges with one endpoint; safe to share between threads.

    Every method raises ChainError: ``CHAIN_UNREACHABLE``, ``CHAIN_REVERTED``, ``CHAIN_NO_FUNDS``, ``CHAIN_NONCE``,
    ``CHAIN_NO_CONTRACT`` or ``CHAIN_REFUSED``.
    """

    def __init__(self, url: str, request_timeout_s: float) -> None:
        self.url = url
        # exception_retry_configuration None: a repeated send could pay twice, and a caller knows when to try again.
        provider = HTTPProvider(url, request_kwargs={"timeout": request_timeout_s}, exception_retry_configuration=None)
        self._eth: Any = Web3(provider).eth

    def chain_id(self) -> int:
        """The id that the chain gives itself."""
        return int(self._ask(lambda: self._eth.chain_id))

    def height(self) -> int:
        """Number of the newest block that this endpoint has."""
        return int(self._ask(lambda: self._eth.block_number))

    def finalized_height(self) -> int | None:
        """Number of the newest block that the chain calls finalised; None where it has no such word."""
        try:
            return int(self._ask(lambda: self._eth.get_block("finalized")["number"]))
        except ChainError as error:
            if error.code != "CHAIN_REFUSED":
                raise
            return None

    def block_time(self) -> int:
        """Time of the block to come, Unix seconds; of the newest one where the chain has no word for the other."""
        try:
            return int(self._ask(lambda: self._eth.get_block("pending")["timestamp"]))
        except ChainError as error:
            if error.code != "CHAIN_REFUSED":
                raise
            return int(self._ask(lambda: self._eth.get_block("latest")["timestamp"]))

    def code(self, address: bytes, block: str | int = "latest") -> bytes:
        """The code of the contract at the address, empty where there is none."""
        return bytes(self._ask(lambda: self._eth.get_code(to_checksum(address), block)))

    def balance_wei(self, account: bytes, block: str | int = "latest") -> int:
        """Coins for gas that the account holds."""
        return int(self._ask(lambda: self._eth.get_balance(to_checksum(account), block)))

    def nonce(self, account: bytes, block: str | int) -> int:
        """How many transactions of the account the chain has counted until that block."""
        return int(self._ask(lambda: self._eth.get_transaction_count(to_checksum(account), block)))

    def read(self, target: Target, function: str, *arguments: Any, block: str | int = "latest") -> Any:
        """What the contract's function returns for these arguments, without a transaction."""
        return self._ask(lambda: self._bind(target, function, arguments).call(block_identifier=block))

    def call_data(self, target: Target, function: str, *arguments: Any) -> Any:
        """The input of a transaction that calls the contract's function."""
        return self._ask(lambda: self._bind(target, function, arguments)._encode_transaction_data())

    def creation_data(self, name: str, *arguments: Any) -> Any:
        """The input of a transaction that deploys the named artifact with these constructor arguments."""
        artifact = load_artifact(name)
        factory = self._eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        return self._ask(lambda: factory.constructor(*arguments).data_in_transaction)

    def _bind(self, target: Target, function: str, arguments: tuple[Any, ...]) -> Any:
        contract = self._eth.contract(address=to_checksum(target.address), abi=load_artifact(target.name).abi)
        return getattr(contract.functions, function)(*arguments)

    # Transactions.

    def estimate_gas(self, body: dict[str, Any], sender: bytes) -> int:
        """Gas that the transaction takes, tried on the block to come: the last one may be old, and its time with it."""
        return int(self._ask(lambda: self._eth.estimate_gas({**body, "from": to_checksum(sender)}, "pending")))

    def fees(self) -> Fees:
        """What to offer now. Twice the base fee lasts for six full blocks in a row (EIP-1559: an eighth more each)."""
        tip_wei = int(self._ask(lambda: self._eth.max_priority_fee))
        base_wei = int(self._ask(lambda: self._eth.get_block("latest").get("baseFeePerGas", 0)))
        return Fees(2 * base_wei + tip_wei, tip_wei)

    def try_at(self, body: dict[str, Any], sender: bytes, block: int) -> None:
        """Does what the transaction does, on the state after that block; for the reason why it fails."""
        self._ask(lambda: self._eth.call({**body, "from": to_checksum(sender)}, block))

    def offer(self, raw: bytes) -> ChainError | None:
        """Hands a signed transaction to the chain. None when it took it or has it; else why its nonce does not do."""
        try:
            self._ask(lambda: self._eth.send_raw_transaction(raw))
        except ChainError as error:
            if any(words in error.what.lower() for words in _KNOWN_WORDS):
                return None
            if error.code != "CHAIN_NONCE":
                raise
            return error
        return None

    def receipt(self, digest: bytes) -> Any:
        """The receipt of the transaction with that hash, None while it is in no block."""
        try:
            return self._ask(lambda: self._eth.get_transaction_receipt(digest))
        except ChainError as error:
            if not isinstance(error.__cause__, TransactionNotFound):
                raise
            return None

    def _ask(self, exchange: Callable[[], Any]) -> Any:
        """Runs one exchange with the chain and turns web3's errors into ours."""
        try:
            return exchange()
        except ContractLogicError as error:
            raise _reverted(error) from error
        except requests.RequestException as error:
            raise ChainError(
                "CHAIN_UNREACHABLE",
                f"{self.url} does not answer: {type(error).__name__}",
                "Start the chain or correct the RPC URL, then look at the state before sending again.",
            ) from error
        except Web3RPCError as error:
            raise _refused(str(error)) from error
        except BadFunctionCallOutput as error:
            raise ChainError(
                "CHAIN_NO_CONTRACT",
                "the address does not hold the contract expected there",
                "Check the addresses; the chain may have been started anew.",
            ) from error
        except (BadResponseFormat, Web3Exception, ValueError, TypeError) as error:
            raise ChainError(
                "CHAIN_REFUSED",
                f"the exchange with {self.url} failed: {type(error).__name__}: {str(error)[:300]}",
                "Check the arguments, and that the URL is an Ethereum JSON-RPC endpoint.",
            ) from error


def to_checksum(address: bytes) -> str:
    """The address as web3 wants it."""
    return Web3.to_checksum_address(address)


def no_funds(what: str) -> ChainError:
    """The error of an account that cannot pay for its gas."""
    return ChainError("CHAIN_NO_FUNDS", what, "Fund the account with coins for gas, for example from the faucet.")


def _reverted(error: ContractLogicError) -> ChainError:
    data = error.data if isinstance(error.data, str) else ""
    try:
        revert = decode_revert(bytes.fromhex(data.removeprefix("0x")))
    except ValueError:
        revert = None
    if revert is None:
        words = f"{error.message or 'no reason given'} {data[:74]}".strip()
        return ChainError("CHAIN_REVERTED", f"the contract refused: {words}", "Check the arguments and the state.")
    return ChainError(
        "CHAIN_REVERTED",
        f"the contract refused: {revert}",
        "The error names the rule; the state says what would fit.",
    )


def _refused(words: str) -> ChainError:
    lowered = words.lower()
    if any(part in lowered for part in _FUNDS_WORDS):
        return no_funds(f"the chain refused the transaction: {words[:300]}")
    if any(part in lowered for part in _NONCE_WORDS):
        return ChainError(
            "CHAIN_NONCE",
            f"the chain refused the transaction's nonce: {words[:300]}",
            "Another transaction of this account came first; repeat.",
        )
    return ChainError("CHAIN_REFUSED", f"the chain refused: {words[:300]}", "Check the transaction and the chain.")
