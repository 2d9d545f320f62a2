"""The leaves that a command derives from: a mirror's or the validator's, with progress on the way."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

from curiosity.ledger.mirror import fetch_leaves, read_leaves
from node.command import Session, open_client
from node.screen import ProgressMeter

_PATIENCE_S = 10.0
_STEP = 1000


def get_leaves(session: Session, entries: Path | None) -> list[bytes]:
    """Return all leaves of a mirror, or of the validator's ledger under its signed head.

    Raises SourceError MIRROR_UNREADABLE; without a mirror ServiceError and what `curiosity.ledger.mirror.fetch_leaves`
    raises.
    """
    if entries is not None:
        return read_leaves(entries)
    node = session.settings.node

    async def fetch() -> list[bytes]:
        async with open_client(session, patience_s=_PATIENCE_S) as client:
            with session.screen.progress("Fetching the ledger", None) as meter:
                shown = 0

                def tell(_what: str, done: int, total: int) -> None:
                    nonlocal shown
                    meter.advance(done - shown, f"of {total} entries")
                    shown = done

                return await fetch_leaves(client, node.log_vkey, tell)

    return asyncio.run(fetch())


def counted(leaves: Sequence[bytes], meter: ProgressMeter) -> Iterator[bytes]:
    """Yield the leaves and tell the meter."""
    for start in range(0, len(leaves), _STEP):
        page = leaves[start : start + _STEP]
        yield from page
        meter.advance(len(page))
