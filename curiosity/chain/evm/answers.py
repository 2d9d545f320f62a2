"""What a JSON-RPC endpoint answers, read strictly: clients of many makes, and now and then a liar.

Only the fields that we use are read, so that a block with more of them, or with longer ones than Ethereum's own (the
seals of proof of authority), is as good as any. A value of the wrong type is an `AnswerError`, whatever it was; what a
client refuses is a `EndpointRefusal`, in whose words it says so.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from web3.exceptions import Web3RPCError

from curiosity.chain.chain import hide_secrets

_MAX_UINT256 = 2**256 - 1
_MAX_WORDS = 300
_MAX_NESTED = 3
_HEX = re.compile(r"0x[0-9a-fA-F]*")
_REVERT_DATA = re.compile(r"(?:Reverted )?(0x(?:[0-9a-fA-F]{2})+)")  # the prefix is OpenEthereum's and Nethermind's
# Where clients put what a contract reverted with, besides `data` itself: Hardhat, Ganache, OpenEthereum.
_NESTED = ("data", "result", "return", "output")
_REVERT_CODES = (3, -32015)  # geth, Erigon, Reth, anvil; Nethermind
_REVERT_WORDS = ("revert", "vm exception", "vm execution error")
# Of the method that asks for a receipt: geth has not looked through its newest blocks, so that it may still come.
_INDEXING_WORDS = ("indexing is in progress", "indexer is still")

# The words of geth, Erigon, Reth, Nethermind, Besu, Hardhat, anvil, Ganache, OpenEthereum, py-evm and Arbitrum, in
# small letters. That very transaction is on its way:
_KNOWN_WORDS = ("already known", "already imported", "known transaction", "alreadyknown", "alreadyimported")
# Another one has its nonce, or one before it is missing:
_NONCE_WORDS = (
    "nonce too low",
    "nonce too high",
    "nonce is too low",
    "nonce is too distant",
    "oldnonce",
    "noncegap",
    "nonce gap",
    "ownnoncealreadyused",
    "invalid transaction nonce",
    "wrong transaction nonce",
    "invalid transaction with a lower nonce",
    "replacement transaction underpriced",
    "could not replace existing tx",
    "replacementnotallowed",
    "replace a pooled transaction",
    "another transaction with same nonce",
    "another transaction with the same nonce",
)
_FUNDS_WORDS = (
    "insufficient funds",
    "insufficientfunds",
    "insufficient balance",
    "insufficient sender balance",
    "insufficient maxfeepergas for sender balance",
    "cannot afford",
    "upfront cost",
    "up-front cost",
    "enough funds",
    "lack of funds",
)
_FEE_WORDS = (
    "underpriced",
    "feetoolow",
    "less than block base fee",
    "below configured minimum gas price",
    "gas price is too low",
    "gas price too low",
    "too low for the next block",
    "fee too low",
)
_GAS_WORDS = (
    "intrinsic gas",
    "exceeds block gas limit",
    "gas limit exceeds",
    "gaslimitexceeded",
    "transaction requires",
)


class AnswerError(ValueError):
    """The answer is none that the method can give."""


class EndpointRefusal(Web3RPCError):
    """The endpoint refused: ``words`` of its own, and the ``data`` that a contract reverted with, empty if none did."""

    def __init__(self, words: str, code: int, data: bytes) -> None:
        super().__init__(words)
        self.words = words
        self.data = data
        lowered = words.lower()
        self._lowered = lowered
        self.is_revert = bool(data) or code in _REVERT_CODES or any(part in lowered for part in _REVERT_WORDS)

    @property
    def is_known(self) -> bool:
        """That very transaction is on its way."""
        return self._says(_KNOWN_WORDS)

    @property
    def is_nonce(self) -> bool:
        """Another transaction has the nonce, or one before it is missing."""
        return self._says(_NONCE_WORDS)

    @property
    def is_funds(self) -> bool:
        """The account cannot pay."""
        return self._says(_FUNDS_WORDS)

    @property
    def is_fee(self) -> bool:
        """The transaction offers too little for its gas."""
        return self._says(_FEE_WORDS)

    @property
    def is_gas(self) -> bool:
        """The transaction has too little gas, or more than a block."""
        return self._says(_GAS_WORDS)

    @property
    def is_indexing(self) -> bool:
        """The transaction may be in a block all the same."""
        return self._says(_INDEXING_WORDS)

    def _says(self, parts: tuple[str, ...]) -> bool:
        return any(part in self._lowered for part in parts)


def check_answer(answer: object, url: str) -> dict[str, Any]:
    """Return the answer to one request, which has a result.

    Raises:
        EndpointRefusal: In words without the URL's secrets.
        AnswerError: For what is not an answer.
    """
    if not isinstance(answer, dict):
        raise AnswerError(f"the answer is {show(answer)}, not a JSON-RPC object")
    error = answer.get("error")
    if error is not None:
        raise _refusal(error, url)
    if "result" not in answer:
        raise AnswerError("the answer has neither a result nor an error")
    return {"jsonrpc": "2.0", "id": answer.get("id"), "result": answer["result"]}


def _refusal(error: object, url: str) -> EndpointRefusal:
    code, words, data = 0, show(error), b""
    if isinstance(error, Mapping):
        code = error["code"] if type(error.get("code")) is int else 0
        words = error["message"] if isinstance(error.get("message"), str) else words
        data = _revert_data(error.get("data"), _MAX_NESTED)
    elif isinstance(error, str):
        words = error
    return EndpointRefusal(printable(hide_secrets(words, url)), code, data)


def _revert_data(value: object, depth: int) -> bytes:
    if isinstance(value, str):
        found = _REVERT_DATA.fullmatch(value)
        return bytes.fromhex(found[1][2:]) if found else b""
    if isinstance(value, Mapping) and depth:
        inner = [value[name] for name in _NESTED if name in value]
        inner += [one for one in value.values() if isinstance(one, Mapping)]
        return next((data for one in inner[:16] if (data := _revert_data(one, depth - 1))), b"")
    return b""


def printable(words: str) -> str:
    """Return a stranger's words in one line of at most 300 characters without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in words[: 4 * _MAX_WORDS]).split())[:_MAX_WORDS]


def show(value: object) -> str:
    """Return what a wrong value is, in a few words: its kind, and the beginning of a short one."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return repr(printable(value[:40]))
    if isinstance(value, bool | int | float):
        return repr(value)[:40]
    return "a list" if isinstance(value, list) else "an object"


def quantity(value: object, what: str) -> int:
    """Return the number that an endpoint names: hex with 0x, or a JSON number.

    Raises:
        AnswerError: For anything else.
    """
    if isinstance(value, str) and 3 <= len(value) <= 66 and _HEX.fullmatch(value):
        return int(value, 16)
    if type(value) is int and 0 <= value <= _MAX_UINT256:
        return value
    raise AnswerError(f"{what} is {show(value)}, not a number")


def octets(value: object, what: str, length: int | None = None) -> bytes:
    """Return the bytes that an endpoint names, as many as ``length`` says.

    Raises:
        AnswerError: For anything else.
    """
    if isinstance(value, str) and len(value) % 2 == 0 and _HEX.fullmatch(value):
        found = bytes.fromhex(value[2:])
        if length in (None, len(found)):
            return found
    raise AnswerError(f"{what} is {show(value)}, not {length or 'any number of'} bytes")


@dataclass(frozen=True)
class Block:
    """Of a block: number (None of one to come), Unix seconds, the price of gas in wei (0 where there is none), hash."""

    number: int | None
    timestamp: int
    base_fee_wei: int
    hash: bytes | None = None  # of one to come


def parse_block(value: object) -> Block | None:
    """Return what is needed of a block, None when there is none.

    Raises:
        AnswerError: For what is not a block.
    """
    if value is None:
        return None
    fields = _object(value, "the block")
    number, base_fee, digest = fields.get("number"), fields.get("baseFeePerGas"), fields.get("hash")
    return Block(
        None if number is None else quantity(number, "the block's number"),
        quantity(fields.get("timestamp"), "the block's time"),
        0 if base_fee is None else quantity(base_fee, "the block's base fee"),
        None if digest is None else octets(digest, "the block's hash", 32),
    )


@dataclass(frozen=True)
class Log:
    """One event: the contract that wrote it, its topics and its data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class MinedReceipt:
    """What became of a transaction that is in a block. ``contract``: the address that it created, else empty."""

    hash: bytes
    block: int
    gas_used: int
    is_success: bool
    contract: bytes
    logs: tuple[Log, ...]


def parse_receipt(value: object, digest: bytes) -> MinedReceipt | None:
    """Return the receipt of that transaction, None while it is in no block.

    Raises:
        AnswerError: For what is not its receipt.
    """
    if value is None:
        return None
    fields = _object(value, "the receipt")
    if fields.get("blockNumber") is None:
        return None  # some give a receipt of what still waits
    if octets(fields.get("transactionHash"), "the receipt's transaction", 32) != digest:
        raise AnswerError("the receipt is another transaction's")
    contract = fields.get("contractAddress")
    status = quantity(fields.get("status"), "the receipt's status")
    if status > 1:
        raise AnswerError(f"the receipt's status is {status}, not 0 or 1")
    return MinedReceipt(
        digest,
        quantity(fields["blockNumber"], "the receipt's block"),
        quantity(fields.get("gasUsed"), "the receipt's gas"),
        status == 1,
        b"" if contract is None else octets(contract, "the created contract", 20),
        tuple(_log(one) for one in _list(fields.get("logs"), "the receipt's events")),
    )


def _log(value: object) -> Log:
    fields = _object(value, "an event")
    topics = _list(fields.get("topics"), "the topics of an event")
    return Log(
        octets(fields.get("address"), "the contract of an event", 20),
        tuple(octets(one, "a topic", 32) for one in topics),
        octets(fields.get("data"), "the data of an event"),
    )


def _object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise AnswerError(f"{what} is {show(value)}, not an object")
    return value


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise AnswerError(f"{what} are {show(value)}, not a list")
    return value
