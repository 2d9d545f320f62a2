"""One JSON-RPC connection: reads, transactions, receipts, and web3's errors turned into ours.

Keys live in memory for the length of a call and are never logged.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
from eth_account import Account
from web3 import HTTPProvider, Web3
from web3.exceptions import (
    BadFunctionCallOutput,
    BadResponseFormat,
    ContractLogicError,
    TimeExhausted,
    Web3Exception,
    Web3RPCError,
)

from contracts.artifacts import decode_revert, load_artifact
from contracts.attestation import address_of
from contracts.chain import ChainConfig, TransactionReceipt
from protocol.errors import ChainError

log = logging.getLogger(__name__)

_GAS_MARGIN_PERCENT = 120
_NONCE_ATTEMPTS = 3
# Not "already known": that very transaction is on its way, and sending it anew would pay twice.
_NONCE_WORDS = ("nonce too low", "nonce too high", "replacement transaction underpriced", "invalid transaction nonce")
_FUNDS_WORDS = ("insufficient funds", "cannot afford", "insufficient balance")
_CLAIMED_TOPIC = bytes(Web3.keccak(text="Claimed(address,address,uint256)"))


@dataclass(frozen=True)
class Target:
    """A deployed contract: the name of its artifact and its address, 20 bytes."""

    name: str
    address: bytes


class Connection:
    """Exchanges with one chain; safe to share between threads.

    Transactions leave one after the other, so that the nonces of one account follow. Every method raises ChainError:
    ``CHAIN_UNREACHABLE``, ``CHAIN_REVERTED``, ``CHAIN_NO_FUNDS``, ``CHAIN_NONCE``, ``CHAIN_TIMEOUT``,
    ``CHAIN_NO_CONTRACT`` or ``CHAIN_REFUSED``.
    """

    def __init__(self, config: ChainConfig) -> None:
        self._config = config
        # exception_retry_configuration None: a repeated send could pay twice, and a caller knows when to try again.
        provider = HTTPProvider(
            config.rpc_url,
            request_kwargs={"timeout": config.request_timeout_s},
            exception_retry_configuration=None,
        )
        self._eth: Any = Web3(provider).eth
        self._lock = threading.Lock()

    def chain_id(self) -> int:
        """The id that the chain gives itself."""
        return int(self._ask(lambda: self._eth.chain_id))

    def has_code(self, address: bytes) -> bool:
        """Whether a contract lives at the address."""
        return bool(self._ask(lambda: self._eth.get_code(to_checksum(address))))

    def balance_wei(self, account: bytes) -> int:
        """Coins for gas that the account holds."""
        return int(self._ask(lambda: self._eth.get_balance(to_checksum(account))))

    def read(self, target: Target, function: str, *arguments: Any, block: str = "latest") -> Any:
        """What the contract's function returns for these arguments, without a transaction."""
        return self._ask(lambda: self._bind(target, function, arguments).call(block_identifier=block))

    def send(self, private_key: bytes, target: Target, function: str, *arguments: Any) -> TransactionReceipt:
        """Calls the contract's function in a transaction and waits for its block."""
        data = self._ask(lambda: self._bind(target, function, arguments)._encode_transaction_data())
        receipt = self._transact(private_key, {"to": to_checksum(target.address), "data": data, "value": 0})
        log.info("transaction function=%s gas=%d hash=0x%s", function, receipt.gas_used, receipt.hash.hex())
        return receipt

    def create(self, private_key: bytes, name: str, *arguments: Any) -> TransactionReceipt:
        """Deploys the named artifact with these constructor arguments; the receipt holds the address."""
        artifact = load_artifact(name)
        factory = self._eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        data = self._ask(lambda: factory.constructor(*arguments).data_in_transaction)
        return self._transact(private_key, {"data": data, "value": 0})

    def transfer(self, private_key: bytes, recipient: bytes, amount_wei: int) -> TransactionReceipt:
        """Sends coins for gas."""
        return self._transact(private_key, {"to": to_checksum(recipient), "data": b"", "value": amount_wei})

    def _bind(self, target: Target, function: str, arguments: tuple[Any, ...]) -> Any:
        contract = self._eth.contract(address=to_checksum(target.address), abi=load_artifact(target.name).abi)
        return getattr(contract.functions, function)(*arguments)

    def _transact(self, private_key: bytes, body: dict[str, Any]) -> TransactionReceipt:
        with self._lock:
            for _ in range(_NONCE_ATTEMPTS - 1):
                try:
                    return self._submit(private_key, body)
                except ChainError as error:
                    # Another process may use the same account: read the nonce again.
                    if error.code != "CHAIN_NONCE":
                        raise
            return self._submit(private_key, body)

    def _submit(self, private_key: bytes, body: dict[str, Any]) -> TransactionReceipt:
        sender = to_checksum(address_of(private_key))
        transaction = self._ask(lambda: self._fill_in(sender, body))
        signed = Account.sign_transaction(transaction, private_key)
        transaction_hash = self._ask(lambda: self._eth.send_raw_transaction(signed.raw_transaction))
        receipt = self._ask(
            lambda: self._eth.wait_for_transaction_receipt(
                transaction_hash,
                timeout=self._config.receipt_timeout_s,
                poll_latency=self._config.poll_interval_s,
            )
        )
        if receipt["status"] != 1:
            # It passed when it was tried out: something came in between. Tried again, it says what.
            self._ask(lambda: self._eth.call({**body, "from": sender}, receipt["blockNumber"]))
            raise ChainError(
                "CHAIN_REVERTED",
                f"transaction 0x{bytes(transaction_hash).hex()} failed in block {receipt['blockNumber']}",
                "Read the state again and repeat; another transaction came first.",
            )
        return TransactionReceipt(
            hash=bytes(transaction_hash),
            block=receipt["blockNumber"],
            gas_used=receipt["gasUsed"],
            contract=bytes.fromhex((receipt["contractAddress"] or "0x")[2:]),
            paid_wei=_paid_wei(receipt, body.get("to")),
        )

    def _fill_in(self, sender: str, body: dict[str, Any]) -> dict[str, Any]:
        """The transaction with gas, fees and nonce. Raises ChainError ``CHAIN_NO_FUNDS`` before anything is sent."""
        # Tried on the block to come: the last one may be old, and its time with it.
        gas = self._eth.estimate_gas({**body, "from": sender}, "pending") * _GAS_MARGIN_PERCENT // 100
        tip_wei = self._eth.max_priority_fee
        # Twice the base fee lasts for six full blocks in a row (EIP-1559 raises it by an eighth each).
        fee_wei = 2 * self._eth.get_block("latest").get("baseFeePerGas", 0) + tip_wei
        needed_wei = gas * fee_wei + body["value"]
        balance_wei = self._eth.get_balance(sender)
        if balance_wei < needed_wei:
            raise _no_funds(f"{sender} holds {balance_wei} wei, the transaction may need {needed_wei} wei")
        return {
            **body,
            "chainId": self._config.chain_id,
            "nonce": self._eth.get_transaction_count(sender, "pending"),
            "gas": gas,
            "maxFeePerGas": fee_wei,
            "maxPriorityFeePerGas": tip_wei,
            "type": 2,
        }

    def _ask(self, exchange: Callable[[], Any]) -> Any:
        """Runs one exchange with the chain and turns web3's errors into ours."""
        try:
            return exchange()
        except ContractLogicError as error:
            raise _reverted(error) from error
        except requests.RequestException as error:
            raise ChainError(
                "CHAIN_UNREACHABLE",
                f"{self._config.rpc_url} does not answer: {type(error).__name__}",
                "Start the chain or correct the RPC URL, then look at the state before sending again.",
            ) from error
        except TimeExhausted as error:
            raise ChainError(
                "CHAIN_TIMEOUT",
                f"the transaction is not in a block after {self._config.receipt_timeout_s:g} s",
                "It may still come: look at the state before sending again.",
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
                f"the exchange with {self._config.rpc_url} failed: {type(error).__name__}: {str(error)[:300]}",
                "Check the arguments, and that the URL is an Ethereum JSON-RPC endpoint.",
            ) from error


def to_checksum(address: bytes) -> str:
    """The address as web3 wants it."""
    return Web3.to_checksum_address(address)


def _paid_wei(receipt: Any, called: str | None) -> int:
    """Sum of the amounts in the ``Claimed`` events of the contract that was called."""
    return sum(
        int.from_bytes(bytes(entry["data"])[:32], "big")
        for entry in receipt["logs"]
        if entry["address"] == called and bytes(entry["topics"][0]) == _CLAIMED_TOPIC
    )


def _no_funds(what: str) -> ChainError:
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
        return _no_funds(f"the chain refused the transaction: {words[:300]}")
    if any(part in lowered for part in _NONCE_WORDS):
        return ChainError(
            "CHAIN_NONCE",
            f"the chain refused the transaction's nonce: {words[:300]}",
            "Another transaction of this account came first; repeat.",
        )
    return ChainError("CHAIN_REFUSED", f"the chain refused: {words[:300]}", "Check the transaction and the chain.")
