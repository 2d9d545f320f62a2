"""Following a ledger: every entry in order, checked against a tree head that the log signed, from any place on."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from curiosity.client.trust import Trust
from curiosity.ledger.tiles import Ahead, LogFiles, newest_head, read_entries
from curiosity.protocol.counts import number_of
from curiosity.protocol.entry import AnyEntry, parse_entry
from curiosity.protocol.errors import ProofError, Rejected, SourceError
from curiosity.protocol.tlog import TileReader, TreeHead, verify_checkpoint
from curiosity.protocol.wire import STRICT, Uint53, encode, parse


@dataclass(frozen=True)
class Position:
    """Where a follower stands: the index of the next entry, and the signed head that the earlier ones are under."""

    next: Uint53
    note: str

    __pydantic_config__ = STRICT

    def encode(self) -> str:
        """Return it as one line of text, to store; `parse` reads it again."""
        return encode(self).decode()

    @classmethod
    def parse(cls, text: str) -> "Position":
        """Return the position that a text spells.

        Raises:
            SourceError: FOLLOW_POSITION for anything else than the text of a position.
        """
        try:
            return parse(cls, text.encode())
        except Rejected as error:
            raise SourceError(
                "FOLLOW_POSITION", f"this is not a position in a ledger: {error.what}", "Follow from the beginning."
            ) from None


@dataclass(frozen=True)
class Followed:
    """One entry of a ledger. ``leaf`` is its canonical JSON, ``note`` the signed head of the tree that holds it."""

    index: int
    entry: AnyEntry
    leaf: bytes
    note: str

    @property
    def position(self) -> Position:
        """Where to go on after this entry."""
        return Position(self.index + 1, self.note)


async def follow(
    files: LogFiles,
    origin: str,
    trust: Trust,
    *,
    after: Position | None = None,
    wait: bool = False,
    poll_s: float = 2.0,
) -> AsyncGenerator[Followed, None]:
    """Yield the entries of a ledger from a position on, each checked against a signed head.

    Every head must continue the one before, also the one that ``after`` was stored with. An older head than that is
    taken for a cache that lags, and yields nothing.

    Args:
        files: The log, open.
        origin: Origin line of its tree heads.
        trust: ``log_vkey`` must be set; with a quorum only heads count that so many witnesses cosigned.
        after: The ``position`` of the last entry that was seen. None begins with entry 0.
        wait: Go on for ever and ask for a new head every ``poll_s`` seconds. False ends with the newest entry.
        poll_s: Seconds between two questions.

    Yields:
        The entries, in order and without gaps.

    Raises:
        ProofError: FOLLOW_FORKED if a head does not continue the one before; FOLLOW_POSITION_AHEAD for a position
            behind the end of its own tree; what `TileReader`, `verify_checkpoint` and `parse_entry` raise.
        ServiceError: What `LogFiles` raises.
        SourceError: What `LogFiles` raises.
    """
    kept = after
    head = _verify(kept.note, origin, trust) if kept is not None else None
    if kept is not None and head is not None and kept.next > head.size:
        raise ProofError(
            "FOLLOW_POSITION_AHEAD",
            f"the position is entry {kept.next}, its signed tree has {number_of(head.size, 'entry')}",
        )
    start = kept.next if kept is not None else 0
    while True:
        note = await newest_head(files, origin, [trust.log_vkey], trust)
        shown = _verify(note, origin, trust)
        if head is None or shown.size >= head.size:
            ahead = Ahead(files)
            try:
                reader = TileReader(shown, ahead.fetch)
                if head is not None:
                    await asyncio.to_thread(_check_continues, reader, head)
                pages = read_entries(reader, ahead, start)
                while (page := await asyncio.to_thread(next, pages, None)) is not None:
                    for index, leaf in enumerate(page[1], page[0]):
                        yield Followed(index, parse_entry(leaf), leaf, note)
                        start = index + 1
            finally:
                await ahead.close()
            head = shown
        if not wait:
            return
        await asyncio.sleep(poll_s)


def _verify(note: str, origin: str, trust: Trust) -> TreeHead:
    return verify_checkpoint(note, origin, [trust.log_vkey], trust.witness_vkeys, trust.quorum)


def _check_continues(reader: TileReader, before: TreeHead) -> None:
    head = reader.head
    root = head.root if head.size == before.size else reader.root(before.size)
    if root != before.root:
        raise ProofError(
            "FOLLOW_FORKED",
            f"the log signed trees of {before.size} and {number_of(head.size, 'entry')}, "
            f"and the first {before.size} differ",
            "Keep both heads: curiosity ledger audit makes evidence of them for others.",
        )
