"""A submission from beginning to end: what the network takes, every pair, and the proofs of their receipts."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from curiosity.client.proofs import fetch_proofs
from curiosity.client.submission import Contributor, Rules, Tally, submit_pairs
from curiosity.protocol.errors import CuriosityError, Overloaded, ServiceError, SourceError
from curiosity.protocol.messages import Decision, Network
from curiosity.sources.pairset import SourcePair

if TYPE_CHECKING:
    from curiosity.client.client import ValidatorClient


class Watch(Protocol):
    """Told of each pair that was read, and of what came of it."""

    def count(self, rows: Iterable[SourcePair | SourceError]) -> Iterable[SourcePair | SourceError]:
        """Return the same rows, counted as they are read."""

    def __call__(self, source: SourcePair, outcome: Decision | CuriosityError, /) -> None:
        """Take note of one outcome."""


async def submit(
    client: "ValidatorClient",
    rows: Iterable[SourcePair | SourceError],
    contributor: Contributor,
    rules: Rules,
    *,
    tally: Tally,
    watch: Watch,
    proves: bool = False,
) -> int:
    """Submit every pair, and return how many proofs were fetched.

    Args:
        client: The validator.
        rows: The pairs.
        contributor: Who signs and is paid.
        rules: How to submit.
        tally: Filled on the way, so that it says what was done if this is cut short.
        watch: Told how far it is.
        proves: Fetch a proof for every receipt of the contributor that has none.

    Raises:
        CuriosityError: What `submit_pairs` and `fetch_proofs` raise.
    """
    network = await client.network()
    await submit_pairs(
        watch.count(rows), client=client, network=network, contributor=contributor, rules=rules, watch=watch,
        tally=tally,
    )  # fmt: skip
    return await fetch_proofs(client, list_receipts(contributor.home)) if proves else 0


def list_receipts(home: Path) -> list[Path]:
    """Return the receipt files of a home, oldest name first."""
    return sorted((home / "receipts").glob("*.json"))


async def ask_network(client: "ValidatorClient") -> Network | CuriosityError:
    """Return what the network says of itself, or why it says nothing: a preview does without."""
    try:
        return await client.network()
    except (ServiceError, Overloaded) as error:
        return error
