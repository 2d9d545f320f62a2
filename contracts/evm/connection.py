"""One JSON-RPC connection: reads, transactions, receipts, and web3's errors turned into ours.

Keys live in memory for the length of a call and are never logged.
"""

import logging
import threading
import time
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
    TransactionNotFound,
    Web3Exception,
    Web3RPCError,
)

from contracts.artifacts import decode_revert, load_artifact
from contracts.attestation import address_of
from contracts.chain import ChainConfig, TransactionReceipt
from contracts.evm.journal import Journal, Sent
from protocol.errors import ChainError
from protocol.signing import keccak

log = logging.getLogger(__name__)

_GAS_MARGIN_PERCENT = 120
# A call that is estimated in one second (or week) and mined in the next may write slots for the first time that the
# estimate wrote over: 22,100 gas each (EIP-2929) in place of 2,900. Two is the most of any function of ours; what is
# not used is not paid.
_GAS_FOR_NEW_SLOTS = 2 * 22_100
_NONCE_ATTEMPTS = 3
# That very transaction is on its way.
_KNOWN_WORDS = ("already known", "already imported", "known transaction")
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
        self._journal = Journal(config.chain_id, config.journal)

    def chain_id(self) -> int:
        """The id that the chain gives itself."""
        return int(self._ask(lambda: self._eth.chain_id))

    def height(self) -> int:
        """Number of the newest block that this endpoint has."""
        return int(self._ask(lambda: self._eth.block_number))

    def code(self, address: bytes) -> bytes:
        """The code of the contract at the address, empty where there is none."""
        return bytes(self._ask(lambda: self._eth.get_code(to_checksum(address))))

    def balance_wei(self, account: bytes) -> int:
        """Coins for gas that the account holds."""
        return int(self._ask(lambda: self._eth.get_balance(to_checksum(account))))

    def read(self, target: Target, function: str, *arguments: Any, block: str | int = "latest") -> Any:
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
        account = address_of(private_key)
        sender = to_checksum(account)
        intent = _intent_of(body)
        # What an earlier call, perhaps of a process that died, had signed and did not see through.
        left = [sent for sent in self._offer_again(account) if sent.intent == intent]
        if left:
            nonce, receipt = left[0].nonce, self._see_through([one.hash for one in left])
        else:
            transaction = self._ask(lambda: self._fill_in(account, body))
            nonce, receipt = transaction["nonce"], self._carry(private_key, account, intent, transaction)
        self._journal.settle(account, nonce)
        if receipt["status"] != 1:
            # It passed when it was tried out: something came in between. Tried again, it says what.
            self._ask(lambda: self._eth.call({**body, "from": sender}, receipt["blockNumber"]))
            raise ChainError(
                "CHAIN_REVERTED",
                f"transaction 0x{bytes(receipt['transactionHash']).hex()} failed in block {receipt['blockNumber']}",
                "Read the state again and repeat; another transaction came first.",
            )
        return TransactionReceipt(
            hash=bytes(receipt["transactionHash"]),
            block=receipt["blockNumber"],
            gas_used=receipt["gasUsed"],
            contract=bytes.fromhex((receipt["contractAddress"] or "0x")[2:]),
            paid_wei=_paid_wei(receipt, body.get("to")),
        )

    def _offer_again(self, account: bytes) -> list[Sent]:
        """Offers what was signed and not seen in a block, and returns it; those of counted nonces are done."""
        counted = self._ask(lambda: self._eth.get_transaction_count(to_checksum(account), "latest"))
        for sent in self._journal.open(account):
            if sent.nonce < counted:
                self._journal.settle(account, sent.nonce)
            else:
                log.info("transaction_offered_again nonce=%d hash=0x%s", sent.nonce, sent.hash.hex())
                self._offer(sent.raw)
        return self._journal.open(account)

    def _see_through(self, hashes: list[bytes]) -> Any:
        """The receipt of a transaction that is on its way. Raises ChainError ``CHAIN_TIMEOUT``."""
        receipt = self._wait_for_receipt(hashes, self._config.receipt_timeout_s)
        if receipt is None:
            raise self._timeout()
        return receipt

    def _timeout(self) -> ChainError:
        return ChainError(
            "CHAIN_TIMEOUT",
            f"the transaction is not in a block after {self._config.receipt_timeout_s:g} s",
            "It may still come: look at the state before sending again.",
        )

    def _carry(self, private_key: bytes, account: bytes, intent: bytes, transaction: dict[str, Any]) -> Any:
        """Signs, keeps and offers until one of the versions is in a block; returns its receipt.

        Raises ChainError ``CHAIN_NONCE`` when somebody else's transaction took the nonce, ``CHAIN_TIMEOUT``.
        """
        deadline = time.monotonic() + self._config.receipt_timeout_s
        hashes: list[bytes] = []
        while True:
            signed = Account.sign_transaction(transaction, private_key)
            sent = Sent(account, transaction["nonce"], intent, bytes(signed.hash), bytes(signed.raw_transaction))
            self._journal.add(sent)
            hashes.append(sent.hash)
            try:
                refusal = self._offer(sent.raw)
            except ChainError as error:
                # A chain that did not answer may have taken it; one that said no has not.
                if error.code != "CHAIN_UNREACHABLE" and len(hashes) == 1:
                    self._journal.settle(account, sent.nonce)
                raise
            if refusal is not None:
                # It may be that very transaction that was counted: an earlier version of it, say.
                receipt = self._find_receipt(hashes)
                if receipt is not None:
                    return receipt
                if len(hashes) == 1:
                    self._journal.settle(account, sent.nonce)
                    raise refusal
            patience_s = min(self._config.bump_after_s, max(deadline - time.monotonic(), 0.0))
            receipt = self._wait_for_receipt(hashes, patience_s)
            if receipt is not None:
                return receipt
            if time.monotonic() >= deadline:
                raise self._timeout()
            transaction = {
                **transaction,
                **{name: _bumped(transaction[name]) for name in ("maxFeePerGas", "maxPriorityFeePerGas")},
            }

    def _offer(self, raw: bytes) -> ChainError | None:
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

    def _wait_for_receipt(self, hashes: list[bytes], patience_s: float) -> Any:
        end = time.monotonic() + patience_s
        while True:
            receipt = self._find_receipt(hashes)
            if receipt is not None or time.monotonic() >= end:
                return receipt
            time.sleep(self._config.poll_interval_s)

    def _find_receipt(self, hashes: list[bytes]) -> Any:
        for one in reversed(hashes):
            try:
                return self._ask(lambda one=one: self._eth.get_transaction_receipt(one))  # type: ignore[misc]
            except ChainError as error:
                if not isinstance(error.__cause__, TransactionNotFound):
                    raise
        return None

    def _fill_in(self, account: bytes, body: dict[str, Any]) -> dict[str, Any]:
        """The transaction with gas, fees and nonce. Raises ChainError ``CHAIN_NO_FUNDS`` before anything is sent."""
        sender = to_checksum(account)
        # Tried on the block to come: the last one may be old, and its time with it.
        gas = self._eth.estimate_gas({**body, "from": sender}, "pending") * _GAS_MARGIN_PERCENT // 100
        if body["data"]:
            gas += _GAS_FOR_NEW_SLOTS
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
            "nonce": self._journal.next_nonce(account, self._eth.get_transaction_count(sender, "pending")),
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


def _intent_of(body: dict[str, Any]) -> bytes:
    data = body["data"]
    raw = bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else bytes(data)
    return keccak(str(body.get("to")).encode() + b"\x00" + body["value"].to_bytes(32, "big") + raw)


def _bumped(fee_wei: int) -> int:
    """The least that replaces a transaction everywhere: an eighth more, rounded up."""
    return fee_wei + -(-fee_wei // 8) + 1


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
