"""Where a ledger is read from: a copy on disk, else the validator, which signs what it shows."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from curiosity.ledger.layout import NETWORK
from curiosity.ledger.leaves import fetch_leaves, read_leaves, read_network

if TYPE_CHECKING:
    from curiosity.client.client import ValidatorClient
    from curiosity.protocol.messages import Network

T = TypeVar("T")
Progress = Callable[[str, int, int], None]
"""Called with what is done now, how much of it is done, and how much there is."""

PATIENCE_S = 10.0
_STEP = 1000


class Ask(Protocol):
    """Puts one question to the validator and waits for the answer, for at most ``patience_s`` while there is none."""

    def __call__(
        self, question: "Callable[[ValidatorClient], Coroutine[object, object, T]]", *, patience_s: float = PATIENCE_S
    ) -> T:
        """Return the answer."""


def untold(_what: str, _done: int, _total: int) -> None:
    """Tell nobody how far it is."""


@dataclass(frozen=True)
class LedgerSource:
    """A validator that can be asked, and a copy of its ledger that is read instead where there is one.

    ``copy``: a mirror's folder, or a file with one leaf a line. ``log_vkey``: the key that must have signed the
    validator's tree head; empty takes the one that it shows.
    """

    ask: Ask
    copy: Path | None = None
    log_vkey: str = ""

    @property
    def name(self) -> str:
        """The copy's path, or ``validator``."""
        return str(self.copy or "validator")

    @property
    def knows_network(self) -> bool:
        """True if the copy says whose ledger it is, so that no validator needs to be asked."""
        return self.copy is not None and (self.copy / NETWORK).is_file()

    def leaves(self, progress: Progress = untold) -> list[bytes]:
        """Return all leaves, of the validator's ledger those under its signed head.

        Raises:
            SourceError: MIRROR_UNREADABLE.
            ServiceError: Without a copy, if the validator cannot be reached.
            ProofError: Without a copy, what `curiosity.ledger.leaves.fetch_leaves` raises.
        """
        if self.copy is not None:
            return read_leaves(self.copy)
        return self.ask(
            lambda client: fetch_leaves(
                client, self.log_vkey, lambda _what, done, total: progress("Fetching the ledger", done, total)
            )
        )

    def network(self) -> "Network":
        """Return what the network says of itself, from the copy if it knows.

        Raises:
            SourceError: MIRROR_UNREADABLE.
            ServiceError: If the validator is asked and cannot be reached.
        """
        if self.copy is not None and self.knows_network:
            return read_network(self.copy)
        return self.ask(lambda client: client.network())


def counted(leaves: Sequence[bytes], progress: Progress) -> Iterator[bytes]:
    """Yield the leaves, telling how many of them were taken."""
    for start in range(0, len(leaves), _STEP):
        page = leaves[start : start + _STEP]
        yield from page
        progress("Deriving", start + len(page), len(leaves))
