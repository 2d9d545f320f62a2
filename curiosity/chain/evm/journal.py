"""Transactions that were signed and are not in a final block: on disk before they leave.

A process that dies between signing and the receipt finds them again and offers the very same bytes anew, and so does
one whose chain threw a block away. An intent is carried out once: the nonce makes the second offer the first
transaction, or nothing. A lock lets one process at a time send from a journal.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from io import FileIO
from pathlib import Path
from typing import Any

from curiosity.host.files import make_folder, open_locked, write_whole
from curiosity.protocol.errors import ChainError
from curiosity.protocol.json_reader import read_json


class Fate(StrEnum):
    """What is known of a signed transaction."""

    OPEN = "open"  # its caller has not been told of a receipt
    DONE = "done"  # in a block, which may yet fall out of the chain
    FAILED = "failed"  # likewise, and reverted


@dataclass(frozen=True)
class Sent:
    """A signed transaction: whose, with which nonce, its hash and its bytes, which are meant for everybody.

    ``intent``: digest of what it is for, by which a repeated wish finds the first.
    """

    account: bytes
    nonce: int
    intent: bytes
    hash: bytes
    raw: bytes
    fate: Fate = Fate.OPEN


class TransactionJournal:
    """The transactions of one network that are not final; kept in memory only when there is no path.

    Raises:
        ChainError: ``CHAIN_JOURNAL`` when the file cannot be read or written, or belongs to another chain or rewards
            contract, ``CHAIN_JOURNAL_BUSY`` naming the process that holds it.
    """

    def __init__(self, chain_id: int, contract: bytes, path: Path | None) -> None:
        self._chain_id = chain_id
        self._contract = contract
        self._path = path
        self._kept: list[Sent] = self._read()

    @contextmanager
    def locked(self, patience_s: float) -> Iterator[None]:
        """Keep others from sending from this journal within the block, which begins with what is on disk."""
        if self._path is None:
            yield
            return
        with self._lock(self._path.with_name(self._path.name + ".lock"), patience_s) as file:
            file.truncate(0)
            file.write(f"process {os.getpid()}\n".encode())
            self._kept = self._read()
            yield

    def kept(self, account: bytes) -> dict[int, list[Sent]]:
        """Return the account's transactions by nonce, lowest first.

        A nonce may have several, which replace each other.
        """
        by_nonce: dict[int, list[Sent]] = {}
        for one in sorted((one for one in self._kept if one.account == account), key=lambda one: one.nonce):
            by_nonce.setdefault(one.nonce, []).append(one)
        return by_nonce

    def free_nonce(self, account: bytes, counted: int) -> int:
        """Return the first nonce from ``counted`` on that no transaction here has."""
        taken = self.kept(account)
        while counted in taken:
            counted += 1
        return counted

    def add(self, sent: Sent) -> None:
        """Keep it; when this returns it is on disk."""
        self._write([*self._kept, sent])

    def tell(self, account: bytes, nonce: int, fate: Fate) -> None:
        """Keep what became of the transactions with that nonce."""
        told = [replace(one, fate=fate) if (one.account, one.nonce) == (account, nonce) else one for one in self._kept]
        if told != self._kept:
            self._write(told)

    def drop(self, account: bytes, nonces: set[int]) -> None:
        """Forget what has one of these nonces: another transaction has it, or one of these for good."""
        left = [one for one in self._kept if one.account != account or one.nonce not in nonces]
        if left != self._kept:
            self._write(left)

    def _lock(self, path: Path, patience_s: float) -> FileIO:
        try:
            make_folder(path.parent, mode=0o700)
            return open_locked(path, patience_s=patience_s)
        except BlockingIOError:
            holder = path.read_text().strip() or "another process"
            raise ChainError(
                "CHAIN_JOURNAL_BUSY",
                f"{self._path} has been in use by {holder} for {patience_s:g} s",
                "It waits for a transaction: let it end, or end it. What it sent is kept.",
            ) from None
        except OSError as error:
            raise self._unusable(error) from error

    def _unusable(self, error: OSError) -> ChainError:
        return ChainError(
            "CHAIN_JOURNAL", f"{self._path}: {error.strerror}", "Make the folder writable; nothing was sent."
        )

    def _read(self) -> list[Sent]:
        if self._path is None or not self._path.exists():
            return []
        try:
            content = read_json(self._path.read_text(encoding="utf-8"))
            owner = (content["chain_id"], bytes.fromhex(content["rewards"]))
            kept = [_parse_row(row) for row in content["kept"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ChainError("CHAIN_JOURNAL", f"{self._path}: {error}", "Restore the file or remove it.") from error
        if owner != (self._chain_id, self._contract):
            raise ChainError(
                "CHAIN_JOURNAL",
                f"{self._path} belongs to chain {owner[0]} and rewards contract 0x{owner[1].hex()}, "
                f"this is chain {self._chain_id} and 0x{self._contract.hex()}",
                "Name another file for each network.",
            )
        return kept

    def _write(self, kept: list[Sent]) -> None:
        if self._path is not None:
            rows = [
                {name: value.hex() if isinstance(value, bytes) else value for name, value in vars(one).items()}
                for one in kept
            ]
            content = {"chain_id": self._chain_id, "rewards": self._contract.hex(), "kept": rows}
            try:
                make_folder(self._path.parent, mode=0o700)
                write_whole(self._path, json.dumps(content).encode(), mode=0o600)
            except OSError as error:
                raise self._unusable(error) from error
        self._kept = kept


def _parse_row(row: dict[str, Any]) -> Sent:
    account, intent, digest, raw = (bytes.fromhex(row[name]) for name in ("account", "intent", "hash", "raw"))
    return Sent(account, int(row["nonce"]), intent, digest, raw, Fate(row["fate"]))
