"""Transactions that were signed and are not known to be in a block: on disk before they leave.

A process that dies between signing and the receipt finds them again and offers the very same bytes anew, so that an
intent is carried out once: the nonce makes the second offer the first transaction, or nothing.
"""

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from protocol.errors import ChainError


@dataclass(frozen=True)
class Sent:
    """A signed transaction: whose, with which nonce, its hash and its bytes, which are meant for everybody.

    ``intent``: digest of what it does (recipient, data, value), by which a repeated wish finds the first.
    """

    account: bytes
    nonce: int
    intent: bytes
    hash: bytes
    raw: bytes


class Journal:
    """The open transactions of one chain; kept in memory only when there is no path.

    Raises ChainError ``CHAIN_JOURNAL`` when the file cannot be read or written, or belongs to another chain.
    """

    def __init__(self, chain_id: int, path: Path | None) -> None:
        self._chain_id = chain_id
        self._path = path
        self._open: list[Sent] = self._read()

    def open(self, account: bytes) -> list[Sent]:
        """The account's open transactions by nonce; a nonce may have several, which replace each other."""
        return sorted((one for one in self._open if one.account == account), key=lambda one: one.nonce)

    def next_nonce(self, account: bytes, counted: int) -> int:
        """The nonce after every transaction that the chain counted and every open one."""
        return max([counted, *(one.nonce + 1 for one in self._open if one.account == account)])

    def add(self, sent: Sent) -> None:
        """Keep it; when this returns it is on disk."""
        self._open.append(sent)
        self._write()

    def settle(self, account: bytes, nonce: int) -> None:
        """Forget what was open under that nonce: a transaction with it is in a block."""
        left = [one for one in self._open if (one.account, one.nonce) != (account, nonce)]
        if len(left) != len(self._open):
            self._open = left
            self._write()

    def _read(self) -> list[Sent]:
        if self._path is None or not self._path.exists():
            return []
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
            chain_id = content["chain_id"]
            kept = [
                Sent(nonce=one.pop("nonce"), **{name: bytes.fromhex(value) for name, value in one.items()})
                for one in content["open"]
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ChainError("CHAIN_JOURNAL", f"{self._path}: {error}", "Restore the file or remove it.") from error
        if chain_id != self._chain_id:
            raise ChainError(
                "CHAIN_JOURNAL",
                f"{self._path} belongs to chain {chain_id}, this is chain {self._chain_id}",
                "Name another file for each chain.",
            )
        return kept

    def _write(self) -> None:
        if self._path is None:
            return
        rows = [
            {name: value if name == "nonce" else value.hex() for name, value in vars(one).items()} for one in self._open
        ]
        try:
            with tempfile.NamedTemporaryFile(
                "w", dir=self._path.parent, prefix=self._path.name, delete=False, encoding="utf-8"
            ) as file:
                json.dump({"chain_id": self._chain_id, "open": rows}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(file.name, self._path)
        except OSError as error:
            raise ChainError(
                "CHAIN_JOURNAL", f"{self._path}: {error.strerror}", "Make the folder writable; nothing was sent."
            ) from error
