"""Transactions: signed once, kept before they leave, replaced when they get stuck, followed until they are final.

Keys live in memory for the length of a call and are never logged.
"""

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes
from web3 import Web3

from curiosity.chain.attestation import address_of
from curiosity.chain.chain import ChainConfig, Quote, TransactionReceipt
from curiosity.chain.evm.answers import MinedReceipt
from curiosity.chain.evm.connection import Connection, ContractTarget, Fees, no_funds, to_checksum
from curiosity.chain.evm.endpoints import Endpoints
from curiosity.chain.evm.journal import Fate, Sent, TransactionJournal
from curiosity.protocol.errors import ChainError
from curiosity.protocol.signing import keccak

log = logging.getLogger(__name__)

_GAS_MARGIN_PERCENT = 120
# A call that is estimated in one second (or week) and mined in the next may write slots for the first time that the
# estimate wrote over: 22,100 gas each (EIP-2929) in place of 2,900. Two is the most of any function of ours; what is
# not used is not paid.
_GAS_FOR_NEW_SLOTS = 2 * 22_100
_NONCE_ATTEMPTS = 3
_MOST_TIMES = 10  # what a stuck transaction offers at most of what a fresh one would
_LEAST_TIP_WEI = 10**9  # where a fresh one would offer less
_CLAIMED_TOPIC = bytes(Web3.keccak(text="Claimed(address,address,uint256)"))


@dataclass(frozen=True)
class _Wish:
    """What a caller wants done: recipient, data and value, and the digest by which it is known.

    ``is_named``: the caller says that there is one such thing, ever: when it falls out of the chain it is brought back
    and not done beside. Otherwise a second wish of the same content is another one, once the first was answered.
    """

    body: dict[str, Any]
    intent: bytes
    is_named: bool


class TransactionSender:
    """Sends through one of the endpoints; safe to share between threads, and between processes by its journal's lock.

    Transactions leave one after the other, so that the nonces of one account follow.

    Raises:
        ChainError: By every method: those of `Connection`, of `TransactionJournal`, and ``CHAIN_TIMEOUT``.
    """

    def __init__(self, config: ChainConfig, endpoints: Endpoints) -> None:
        self._config = config
        self._endpoints = endpoints
        self._lock = threading.Lock()
        rewards = config.addresses.rewards if config.addresses else b""
        self._journal = TransactionJournal(config.chain_id, rewards, config.journal)

    def send(
        self, private_key: bytes, target: ContractTarget, function: str, *arguments: Any, name: bytes = b""
    ) -> TransactionReceipt:
        """Call the contract's function in a transaction and wait for its block.

        ``name``: of what is done only once, however often it is asked for and whatever else the arguments say.
        """
        data = self._endpoints.first().call_data(target, function, *arguments)
        receipt = self._transact(private_key, {"to": to_checksum(target.address), "data": data, "value": 0}, name)
        log.info(
            "event=transaction function=%s gas=%d block=%d hash=0x%s",
            function, receipt.gas_used, receipt.block, receipt.hash.hex(),
        )  # fmt: skip
        self._endpoints.wait_for(receipt.block, self._config.request_timeout_s)
        return receipt

    def quote(self, account: bytes, target: ContractTarget, function: str, *arguments: Any) -> Quote:
        """Return what calling the contract's function would cost an account now; nothing is sent."""
        data = self._endpoints.first().call_data(target, function, *arguments)
        return self._quote(account, {"to": to_checksum(target.address), "data": data, "value": 0})

    def quote_transfer(self, account: bytes, recipient: bytes, amount_wei: int) -> Quote:
        """Return what sending coins would cost an account now, besides the coins; nothing is sent."""
        return self._quote(account, {"to": to_checksum(recipient), "data": b"", "value": amount_wei})

    def _quote(self, account: bytes, body: dict[str, Any]) -> Quote:
        chain = self._endpoints.first()
        gas, fees = chain.estimate_gas(body, account), self._endpoints.fees()
        base_wei = (fees.most_wei - fees.tip_wei) // 2
        return Quote(gas, base_wei + fees.tip_wei, _gas_limit(gas, body) * fees.most_wei)

    def create(self, private_key: bytes, name: str, *arguments: Any) -> TransactionReceipt:
        """Deploy the named artifact with these constructor arguments; the receipt holds the address."""
        data = self._endpoints.first().creation_data(name, *arguments)
        return self._transact(private_key, {"data": data, "value": 0})

    def transfer(self, private_key: bytes, recipient: bytes, amount_wei: int) -> TransactionReceipt:
        """Send coins for gas."""
        return self._transact(private_key, {"to": to_checksum(recipient), "data": b"", "value": amount_wei})

    def _transact(self, private_key: bytes, body: dict[str, Any], name: bytes = b"") -> TransactionReceipt:
        wish = _Wish(body, keccak(b"named\x00" + name) if name else _digest(body), bool(name))
        with self._lock, self._journal.locked(self._config.receipt_timeout_s):
            for _ in range(_NONCE_ATTEMPTS - 1):
                try:
                    return self._submit(private_key, wish)
                except ChainError as error:
                    # Somebody else may use the same account: read the nonce again.
                    if error.code != "CHAIN_NONCE":
                        raise
            return self._submit(private_key, wish)

    def _submit(self, private_key: bytes, wish: _Wish) -> TransactionReceipt:
        account = address_of(private_key)
        chain = self._endpoints.first()
        receipt = self._catch_up(chain, private_key, account, wish)
        if receipt is None:
            transaction = self._fill_in(chain, account, wish.body)
            receipt = self._carry(chain, private_key, wish.intent, transaction, [])
            if receipt is None:
                raise ChainError(
                    "CHAIN_NONCE",
                    f"another transaction of 0x{account.hex()} took nonce {transaction['nonce']}",
                    "Another process uses the same key; repeat.",
                )
        if not receipt.is_success:
            # It passed when it was tried out: something came in between. Tried again, it says what.
            chain.try_at(wish.body, account, receipt.block)
            raise ChainError(
                "CHAIN_REVERTED",
                f"transaction 0x{receipt.hash.hex()} failed in block {receipt.block}",
                "Read the state again and repeat; another transaction came first.",
            )
        return TransactionReceipt(
            hash=receipt.hash,
            block=receipt.block,
            gas_used=receipt.gas_used,
            contract=receipt.contract,
            paid_wei=_paid_wei(receipt, wish.body.get("to")),
        )

    def _catch_up(self, chain: Connection, private_key: bytes, account: bytes, wish: _Wish) -> MinedReceipt | None:
        """See through what earlier calls left, also of processes that died, and what the chain threw out again.

        Returns the receipt of what meets the wish, None when nothing does. Transactions of a later nonce wait for
        those of an earlier, so that nothing new is signed before.
        """
        kept = self._journal.kept(account)
        if not kept:
            return None
        counted, next_ = chain.nonce(account, "latest"), chain.nonce(account, "pending")
        met = None
        for nonce, versions in kept.items():
            if nonce > next_:
                # One before it fell out that was final, and is not kept: what is sent now takes that nonce, and opens
                # the way for this one.
                log.warning("event=nonce_missing account=0x%s missing=%d kept=%d", account.hex(), next_, nonce)
                break
            is_open = any(sent.fate == Fate.OPEN for sent in versions)
            if nonce >= counted:
                receipt = self._carry(chain, private_key, versions[0].intent, _read_back(versions[-1].raw), versions)
                next_ = max(next_, nonce + 1)
            elif is_open:
                receipt = self._look_up(chain, versions)
            else:
                continue  # done, and still so: a wish for the same is a new one, which the contract judges
            if receipt is None:
                self._journal.drop(account, {nonce})  # another transaction has its nonce
            elif versions[0].intent == wish.intent and (is_open or wish.is_named):
                met = receipt
        self._drop_final(account)
        return met

    def _drop_final(self, account: bytes) -> None:
        """Forget what cannot come back: until its block is final it may have to be offered again."""
        try:
            final = self._endpoints.nonce(account, at="final")
        except ChainError as error:
            log.warning("event=finality_unknown code=%s what=%r", error.code, error.what)
            return
        self._journal.drop(account, {nonce for nonce in self._journal.kept(account) if nonce < final})

    def _carry(
        self, chain: Connection, private_key: bytes, intent: bytes, transaction: dict[str, Any], versions: list[Sent]
    ) -> MinedReceipt | None:
        """Offer the newest version, or a first one, and better ones from time to time; return the receipt of one.

        None when somebody else's transaction took the nonce.

        Raises:
            ChainError: ``CHAIN_TIMEOUT`` and what the chain refuses a first version for.
        """
        account = address_of(private_key)
        deadline = time.monotonic() + self._config.receipt_timeout_s
        is_fresh = not versions  # only the very first offer of a fresh one is known to have had no effect if refused
        if versions:
            log.info("event=transaction_offered_again nonce=%d hash=0x%s", versions[-1].nonce, versions[-1].hash.hex())
            versions = list(versions)
        else:
            versions = [self._sign(private_key, account, intent, transaction)]
        nonce = transaction["nonce"]
        while True:
            try:
                refusal = chain.offer(versions[-1].raw)
            except ChainError as error:
                if error.code == "CHAIN_UNREACHABLE":
                    refusal = None  # it may have come through all the same: the receipt will tell
                elif is_fresh:
                    self._journal.drop(account, {nonce})
                    raise
                elif error.code != "CHAIN_REFUSED":
                    raise
                else:
                    refusal = error  # fees that were right once, say
            receipt = self._look_up(chain, versions)
            if receipt is None and refusal is not None and is_fresh:
                self._journal.drop(account, {nonce})
                return None
            is_fresh = False
            end = time.monotonic() + self._config.bump_after_s
            while receipt is None and time.monotonic() < min(end, deadline):
                if chain.nonce(account, "latest") > nonce:
                    # It was counted between two questions, or somebody else's was.
                    return self._look_up(chain, versions)
                time.sleep(self._config.poll_interval_s)
                receipt = self._look_up(chain, versions)
            if receipt is not None:
                return receipt
            if time.monotonic() >= deadline:
                raise ChainError(
                    "CHAIN_TIMEOUT",
                    f"the transaction is not in a block after {self._config.receipt_timeout_s:g} s",
                    "It may still come: look at the state before sending again.",
                )
            better = _raised(transaction, self._endpoints.fees())
            limit_wei = self._config.max_fee_wei
            if better is not None and (not limit_wei or better["gas"] * better["maxFeePerGas"] <= limit_wei):
                transaction = better
                versions.append(self._sign(private_key, account, intent, transaction))

    def _sign(self, private_key: bytes, account: bytes, intent: bytes, transaction: dict[str, Any]) -> Sent:
        """Return a version of a transaction; when this returns it is on disk."""
        signed = Account.sign_transaction(transaction, private_key)
        sent = Sent(account, transaction["nonce"], intent, bytes(signed.hash), bytes(signed.raw_transaction))
        self._journal.add(sent)
        return sent

    def _look_up(self, chain: Connection, versions: Sequence[Sent]) -> MinedReceipt | None:
        """Return the receipt of one of the versions, None while none is in a block; keep what became of it."""
        for sent in reversed(versions):
            receipt = chain.receipt(sent.hash)
            if receipt is not None:
                self._journal.tell(sent.account, sent.nonce, Fate.DONE if receipt.is_success else Fate.FAILED)
                return receipt
        return None

    def _check_cost(self, gas: int, most_wei: int) -> None:
        """Check, before anything is signed, that the transaction costs no more than it may.

        Raises:
            ChainError: ``CHAIN_FEE_TOO_HIGH``.
        """
        limit_wei = self._config.max_fee_wei
        if limit_wei and gas * most_wei > limit_wei:
            raise ChainError(
                "CHAIN_FEE_TOO_HIGH",
                f"{gas} gas at {most_wei} wei could cost {gas * most_wei} wei, at most {limit_wei} are allowed",
                "Wait for lower fees, ask other endpoints ([chain] other_rpc_urls), or raise [chain] max_fee_wei.",
            )

    def _fill_in(self, chain: Connection, account: bytes, body: dict[str, Any]) -> dict[str, Any]:
        """Return the transaction with gas, fees and nonce.

        Raises:
            ChainError: ``CHAIN_NO_FUNDS`` before anything is sent.
        """
        gas, fees = _gas_limit(chain.estimate_gas(body, account), body), self._endpoints.fees()
        self._check_cost(gas, fees.most_wei)
        log.info("event=cost gas=%d most_wei=%d", gas, gas * fees.most_wei)
        needed_wei = gas * fees.most_wei + body["value"]
        balance_wei = chain.balance_wei(account)
        if balance_wei < needed_wei:
            raise no_funds(f"{to_checksum(account)} holds {balance_wei} wei, the transaction may need {needed_wei} wei")
        return {
            **body,
            "chainId": self._config.chain_id,
            "nonce": self._journal.free_nonce(account, chain.nonce(account, "pending")),
            "gas": gas,
            "maxFeePerGas": fees.most_wei,
            "maxPriorityFeePerGas": fees.tip_wei,
            "type": 2,
        }


def _gas_limit(estimate: int, body: dict[str, Any]) -> int:
    return estimate * _GAS_MARGIN_PERCENT // 100 + (_GAS_FOR_NEW_SLOTS if body["data"] else 0)


def _read_back(raw: bytes) -> dict[str, Any]:
    """Return the transaction that was signed, to sign it anew with other fees."""
    content: dict[str, Any] = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    return {name: value for name, value in content.items() if name not in ("v", "r", "s")}


def _paid_wei(receipt: MinedReceipt, called: str | None) -> int:
    """Return the sum of the amounts in the ``Claimed`` events of the contract that was called."""
    return sum(
        int.from_bytes(entry.data[:32], "big")
        for entry in receipt.logs
        if called is not None and to_checksum(entry.address) == called and entry.topics[:1] == (_CLAIMED_TOPIC,)
    )


def _digest(body: dict[str, Any]) -> bytes:
    data = body["data"]
    raw = bytes.fromhex(data.removeprefix("0x")) if isinstance(data, str) else bytes(data)
    return keccak(str(body.get("to")).encode() + b"\x00" + body["value"].to_bytes(32, "big") + raw)


def _raised(transaction: dict[str, Any], now: Fees) -> dict[str, Any] | None:
    """Return the transaction with fees that replace it, at least those of now.

    None when it offers far more than that already: a chain that stands still takes no fee, and the tip, raised for
    ever, would eat the account when it goes on.
    """
    most_wei = max(_bumped(transaction["maxFeePerGas"]), now.most_wei)
    tip_wei = max(_bumped(transaction["maxPriorityFeePerGas"]), now.tip_wei)
    is_far = most_wei > _MOST_TIMES * now.most_wei or tip_wei > _MOST_TIMES * max(now.tip_wei, _LEAST_TIP_WEI)
    if is_far and transaction["maxFeePerGas"] >= now.most_wei:
        return None
    return {**transaction, "maxFeePerGas": most_wei, "maxPriorityFeePerGas": tip_wei}


def _bumped(fee_wei: int) -> int:
    """Return the least that replaces a transaction everywhere: an eighth more, rounded up."""
    return fee_wei + -(-fee_wei // 8) + 1
