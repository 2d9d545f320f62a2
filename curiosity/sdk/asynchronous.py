"""The client for programs that run an event loop."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import replace
from math import inf
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from curiosity.chain.connect import connect
from curiosity.client.client import ValidatorClient
from curiosity.client.items import fetch_item
from curiosity.client.outcome import PairOutcome
from curiosity.client.proofs import fetch_proofs
from curiosity.client.receipts import Proved, receipt_path
from curiosity.client.submission import Contributor, Rules, check_network
from curiosity.client.trust import KEPT_KEYS, Trust
from curiosity.host.settings.chain import ChainSettings
from curiosity.ledger.follow import Followed, Position, follow
from curiosity.ledger.source import LedgerSource
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.messages import Answer, Decision, Found, Network
from curiosity.rewards.claim import ClaimOutcome
from curiosity.rewards.claims import ClaimView
from curiosity.rewards.earnings import Earnings
from curiosity.sdk.claiming import claim_due, learn_earned, look_at_claims
from curiosity.sdk.outbox import Outbox, Submitted
from curiosity.sdk.receipts import fetch_decision, verify_receipt
from curiosity.sdk.things import Thing, item, pair_of, paths_of, read_digest
from curiosity.sources.own.own import read_sources

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient

T = TypeVar("T")
URL = "http://127.0.0.1:8440"


class AsyncClient:
    """A validator, for programs that run an event loop. Use it as an asynchronous context manager.

    A request without an answer is repeated, the same bytes, for ``patience_s``, with growing pauses; one that was
    refused for good is not. Whatever comes back is checked before you get it.

    Args:
        url: The validator's address.
        account: Who submits and claims, from `open_wallet`. Searching and following need none.
        trust: Keys that you have from elsewhere. What is left empty is taken from the validator's own word.
        chain: How to reach the chain, for claims.
        patience_s: How long one request is repeated while there is no answer.
        timeout_s: How long one try of a request may take.
        concurrency: Pairs on their way at once.

    Raises:
        ConfigError: URL_INVALID, VKEY_UNUSABLE, QUORUM_UNREACHABLE.
    """

    def __init__(
        self,
        url: str = URL,
        *,
        account: Contributor | None = None,
        trust: Trust = KEPT_KEYS,
        chain: ChainSettings | None = None,
        patience_s: float = 60.0,
        timeout_s: float = 120.0,
        concurrency: int = 16,
    ) -> None:
        self._url, self._patience_s, self._timeout_s = url, patience_s, timeout_s
        self._account = account
        self._trust = trust.check()
        self._chain = chain or ChainSettings()
        self._concurrency = concurrency
        self._validator = self._connect()
        self._outbox = Outbox(account, self._connect) if account is not None else None
        self._network: Network | None = None

    def _connect(self, patience_s: float | None = None) -> ValidatorClient:
        patience_s = self._patience_s if patience_s is None else patience_s
        return ValidatorClient(self._url, patience_s=patience_s, timeout_s=self._timeout_s)

    async def __aenter__(self) -> Self:
        await self._validator.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.settle()
        finally:
            await self._validator.__aexit__(kind, error, trace)

    async def settle(self) -> None:
        """Wait until every pair that is on its way has come to its end, also where whoever sent it has given up."""
        if self._outbox is not None:
            await self._outbox.close()

    # -- pairs

    async def network(self) -> Network:
        """Return what the validator says of its network: its keys, and the pairs, formats and licences that it takes.

        Raises:
            ProofError: KEY_NOT_PINNED if it shows other keys than ``trust`` has.
        """
        network = await self._validator.network()
        check_network(network, self._rules())
        self._network = network
        return network

    async def submit(
        self,
        a: Thing,
        b: Thing,
        *,
        license: str,
        captured_at: int | None = None,
        again: bool = False,
        generated: bool = False,
    ) -> PairOutcome:
        """Sign a pair, send it, and return what was decided once the receipt was checked and saved.

        Safe to repeat: the same two things under the same licence are one submission, also after a crash. Metadata is
        removed and formats are converted before anything is signed, as `item` says. Many calls may run at once.

        Args:
            a: One of the two things: a `Path`, a text as `str`, `bytes`, or what `item` returned.
            b: The other one, of another modality.
            license: SPDX expression that you may give, such as ``"CC-BY-4.0"``.
            captured_at: When the material was captured, in Unix seconds, if you want to say so.
            again: Submit a pair that has a decision already once more.
            generated: Declare that a program generated one of the things; else what a file's metadata says counts.

        Returns:
            The outcome, the reason in words, and the entry. ``is_known``: it was decided before.

        Raises:
            SourceError: If a thing cannot be read, or the network does not take such pairs or this licence.
            Rejected: If the validator refuses to decide; nothing is logged.
            ProofError: If what comes back does not hold.
            ServiceError: If the validator cannot be reached; call again, nothing is sent twice.
            ConfigError: ACCOUNT_NEEDED without an account.
        """
        self._contributor()
        assert self._outbox is not None  # made with the account
        pair = await asyncio.to_thread(pair_of, a, b, license, captured_at, generated)
        return await self._outbox.submit(pair, self._rules(again=again))

    async def submit_files(self, *paths: Path | str, license: str = "", again: bool = False) -> Submitted:
        """Submit all pairs of folders, manifests, shards and Parquet files, as `curiosity submit` reads them.

        Safe to repeat: what has a decision is not sent again. A row or a file's metadata may say that it is generated.

        Args:
            paths: Folders and files. Two plain files are one pair.
            license: SPDX expression for what states none.
            again: Submit pairs that have a decision already once more.

        Returns:
            What came of each pair, and what could not be read. One bad row does not stop the others.

        Raises:
            SourceError: If there is nothing to read, or the journal cannot be written.
            ProofError: If a receipt does not hold.
            ServiceError: If the validator cannot be reached; call again to continue.
        """
        self._contributor()
        assert self._outbox is not None  # made with the account
        rows = read_sources(paths_of(paths), license=license or None)
        return await self._outbox.submit_all(rows, replace(self._rules(again=again), license=license))

    async def decision(self, pair: bytes | str, *, wait_s: float = 0.0) -> Decision:
        """Return the decision about a pair, its receipt checked; wait for it if it was not made yet.

        Args:
            pair: The pair's digest: 32 bytes, or hex digits.
            wait_s: How long to wait for a decision.

        Raises:
            Rejected: NOT_FOUND if there is none after ``wait_s``.
            ProofError: If the receipt does not hold, or is about another pair.
        """
        network = await self._known_network()
        vkey = self._trust.receipt_vkey or network.receipt_vkey
        return await fetch_decision(self._validator, read_digest(pair), network.origin, vkey, wait_s)

    async def verify(self, receipt: PairOutcome | Path | str) -> Proved:
        """Check a saved receipt, with no network: `verify_receipt` with this client's keys.

        Args:
            receipt: The file of a receipt, or what `submit` returned.
        """
        path = self.receipt_file(receipt) if isinstance(receipt, PairOutcome) else Path(receipt)
        return await asyncio.to_thread(verify_receipt, path, self._trust)

    async def prove(self, receipt: PairOutcome | Path | str) -> Proved:
        """Fetch the proof that a decision is in the log, keep it in the receipt, and return what that proves now.

        Args:
            receipt: The file of a receipt, or what `submit` returned.

        Raises:
            ProofError: PROMISE_BROKEN if the log has another entry in its place; as `verify`.
            Rejected: If the log's quorum of witnesses has not cosigned the entry yet.
        """
        path = self.receipt_file(receipt) if isinstance(receipt, PairOutcome) else Path(receipt)
        await fetch_proofs(self._validator, [path], self._trust)
        return await self.verify(path)

    def receipt_file(self, outcome: PairOutcome) -> Path:
        """Return where the receipt of a decided pair is kept.

        Raises:
            ConfigError: ACCOUNT_NEEDED.
        """
        return receipt_path(self._contributor().home / "receipts", bytes.fromhex(outcome.pair))

    # -- searching

    async def search(self, thing: Thing, *, to: str = "image", k: int = 10) -> Answer:
        """Return the items nearest to a thing in the shared space, nearest first.

        Args:
            thing: A text as `str`, a `Path`, `bytes`, or what `item` returned; of any modality that the network knows.
            to: Modality to find.
            k: How many, 1 to 100.

        Raises:
            SourceError: If the thing cannot be read.
            Rejected: If the network does not know one of the modalities.
        """
        asked = await asyncio.to_thread(item, thing)
        data = await asyncio.to_thread(asked.read)
        return await self._validator.query(asked.modality, asked.media_type, data, to, k)

    async def content(self, found: Found | bytes) -> bytes:
        """Return the bytes of an item of an accepted pair, compared with its SHA-256.

        Args:
            found: What `search` found, or the item's SHA-256.

        Raises:
            Rejected: ITEM_GONE if it was taken down or is not given to everybody.
            ProofError: ITEM_DIFFERS if the bytes have another hash.
        """
        digest = found if isinstance(found, bytes) else found.sha256
        return await fetch_item(self._validator, await self._known_network(), bytes(32), digest)

    # -- rewards

    async def earnings(self, account: bytes | None = None, *, copy: Path | None = None) -> Earnings:
        """Derive from the whole ledger what an account earned, epoch by epoch and pair by pair.

        Args:
            account: Its address, 20 bytes; by default that of this client's account.
            copy: Folder of a mirror to derive from, in place of the validator's ledger.

        Raises:
            ProofError: If the ledger does not hold, or TICKET_DIFFERS if the validator offers something else.
        """
        whose = account or self._contributor().address
        return (await asyncio.to_thread(learn_earned, self._ledger(copy), whose)).earnings

    async def claims(self, account: bytes | None = None, *, copy: Path | None = None) -> ClaimView:
        """Return where the money of each epoch is: derived from the ledger, compared with the chain.

        Args:
            account: Address, 20 bytes; by default that of this client's account.
            copy: Folder of a mirror to derive from, in place of the validator's ledger.

        Raises:
            ChainError: If the chain cannot be reached or is another one.
            ProofError: As `earnings`.
        """
        whose = account or self._contributor().address
        return await asyncio.to_thread(look_at_claims, self._ledger(copy), self._connect_chain, whose)

    async def claim(self, *, to: bytes | None = None, copy: Path | None = None) -> ClaimOutcome:
        """Have everything paid that is due to this client's account, and return what was paid.

        Only epochs are claimed of which the chain holds the root that the ledger gives. If nothing was earned or all is
        paid, nothing is sent and ``done.paid_wei`` is 0.

        Args:
            to: Address to be paid in place of the account, such as a cold wallet's.
            copy: Folder of a mirror to derive from, in place of the validator's ledger.

        Returns:
            What was paid, and where the money of each epoch is now. ``problems`` are what did not hold beside that.

        Raises:
            NotYet: CLAIM_NOT_ACTIVE, CLAIM_NOT_POSTED, CLAIM_PAUSED: it says when.
            ProofError: If nothing could be claimed because something does not hold, such as CLAIM_ROOT_DIFFERS.
            ChainError: If the chain cannot be reached or refuses, CHAIN_NO_FUNDS without coins for gas.
        """
        account = self._contributor()
        return await asyncio.to_thread(claim_due, self._ledger(copy), self._connect_chain, account, to)

    # -- the ledger

    async def follow(
        self, after: Position | str | None = None, *, wait: bool = False, poll_s: float = 2.0
    ) -> AsyncGenerator[Followed, None]:
        """Yield the entries of the ledger in order, each checked against a tree head that the log signed.

        Args:
            after: The ``position`` of the last entry that you have seen, or its encoded text; None begins with entry 0.
            wait: Go on for ever, asking for new entries every ``poll_s`` seconds; else end with the newest one.
            poll_s: Seconds between two questions.

        Yields:
            Entries. Store ``position.encode()`` of one to go on after it, also in another process.

        Raises:
            ProofError: FOLLOW_FORKED if the log has rewritten its history; TILE_, BUNDLE_ and HEAD_ codes.
            ServiceError: LOG_UNREACHABLE after ``patience_s`` without an answer.
        """
        if isinstance(after, str):
            after = Position.parse(after)
        network = await self._known_network()
        trust = Trust(
            log_vkey=self._trust.log_vkey or network.log_vkey,
            witness_vkeys=self._trust.witness_vkeys,
            quorum=self._trust.quorum,
        )
        async with (
            LogFiles(self._validator.url, patience_s=self._patience_s) as files,
            aclosing(follow(files, network.origin, trust, after=after, wait=wait, poll_s=poll_s)) as entries,
        ):
            async for one in entries:
                yield one

    # -- how

    async def _known_network(self) -> Network:
        return self._network or await self.network()

    def _rules(self, *, again: bool = False) -> Rules:
        return Rules(
            concurrency=self._concurrency,
            again=again,
            receipt_vkey=self._trust.receipt_vkey,
            log_vkey=self._trust.log_vkey,
            origin=self._trust.origin,
        )

    def _contributor(self) -> Contributor:
        if self._account is None:
            raise ConfigError("ACCOUNT_NEEDED", "this client has no account", "Give account=open_wallet(...).")
        return self._account

    def _connect_chain(self, network: Network) -> "ChainClient":
        journals = self._account.home / "chain" if self._account is not None else None
        return connect(self._chain, network, journals)

    def _ledger(self, copy: Path | None) -> LedgerSource:
        return LedgerSource(self._ask, copy, self._trust.log_vkey)

    def _ask(
        self, question: Callable[[ValidatorClient], Coroutine[object, object, T]], *, patience_s: float = inf
    ) -> T:
        """Put one question from a thread without an event loop."""

        async def ask() -> T:
            async with self._connect(min(patience_s, self._patience_s)) as client:
                check_network(await client.network(), self._rules())
                return await question(client)

        return asyncio.run(ask())
