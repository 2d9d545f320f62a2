"""A monitor of any C2SP log.

One round compares the head that is shown now with what was verified before, and checks everything new, down to what
each entry of a ledger of ours means.

In order: signature and cosignatures of the head; consistency with the last head and with what witnesses saw; every tile
and leaf hash; the rules of the ledger; the openings of the new pairs. The first thing that does not hold ends the round
with a `Finding`; what was verified before stays.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from curiosity.client.trust import Trust
from curiosity.host.files import write_whole
from curiosity.host.paths import inside
from curiosity.ledger.rules import NO_PAIR, BadEntry, LedgerRules
from curiosity.ledger.stake_evidence import check_stake_line, write_stake_evidence
from curiosity.ledger.state import MonitorState
from curiosity.ledger.tiles import Ahead, LogFiles, newest_head, read_entries
from curiosity.protocol.counts import number_of
from curiosity.protocol.decision import check_submission
from curiosity.protocol.entry import is_accepted
from curiosity.protocol.errors import ProofError
from curiosity.protocol.evidence import Evidence, collect, encode_evidence
from curiosity.protocol.merkle import Frontier, consistency_path
from curiosity.protocol.messages import IndexedSubmission
from curiosity.protocol.signing import Domain
from curiosity.protocol.tiles import HEIGHT, WIDTH
from curiosity.protocol.tlog import TileReader, TreeHead, verify_checkpoint

EntryProgress = Callable[[int, int], None]
Openings = Callable[[int, int], Sequence[IndexedSubmission]]
"""Returns what is given out of the pairs with an index from the first up to, without, the second. Blocks."""


@dataclass(frozen=True)
class Finding:
    """What does not hold: a stable code, the first bad index where one is known, and what is wrong there."""

    code: str
    what: str
    index: int | None = None
    evidence: Path | None = None  # of a fork, for others to check
    slash: Path | None = None  # of a fork, for the stake contract


@dataclass(frozen=True)
class Audited:
    """One round. ``size`` and ``root`` are those of the last head that holds."""

    origin: str
    size: int
    root: bytes
    shown_size: int  # of the head that the log showed
    checked: int  # entries that were new
    cosigners: tuple[str, ...] = ()
    pairs: int | None = None  # decided so far; None where entries are not looked into
    accepted: int | None = None
    epochs: int | None = None
    openings: int = 0  # commitments of new pairs that were opened
    withheld: tuple[int, ...] = ()  # accepted new pairs without an opening that nobody took down, at most ten
    notes: tuple[str, ...] = ()
    finding: Finding | None = None


@dataclass(frozen=True)
class Target:
    """A log to monitor. ``network`` (id and domain) and ``openings`` are known of our own validators."""

    origin: str
    log_vkeys: tuple[str, ...]
    trust: Trust
    rules: bool = True  # look into entries
    network: tuple[bytes, Domain] | None = None
    openings: Openings | None = field(default=None, compare=False)
    stake_vkey: str = ""  # of heads' signatures for the stake contract


class _Found(Exception):
    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.code)
        self.finding = finding


async def audit(
    files: LogFiles,
    state: MonitorState,
    target: Target,
    *,
    seen: Sequence[str] = (),
    progress: EntryProgress | None = None,
) -> Audited:
    """Run one round; ``seen`` are heads of the log that others hold, notes.

    What the log did wrong is not raised but found.

    Raises:
        ServiceError, SourceError: As `LogFiles`.
        OSError: If the state cannot be written.
    """
    note = await newest_head(files, target.origin, target.log_vkeys, target.trust)
    ahead = Ahead(files)
    try:
        return await asyncio.to_thread(_round, ahead, state, target, note, tuple(seen), progress or (lambda *_: None))
    finally:
        await ahead.close()


def _round(
    ahead: Ahead, state: MonitorState, target: Target, note: str, seen: Sequence[str], progress: EntryProgress
) -> Audited:
    kept = state.head
    done = Audited(target.origin, state.size, state.root_at(0) if kept is None else kept.root, 0, 0)
    try:
        head = verify_checkpoint(note, target.origin, target.log_vkeys, target.trust.witness_vkeys, target.trust.quorum)
        done = replace(done, shown_size=head.size, cosigners=target.trust.cosigners(note))
        reader = TileReader(head, ahead.fetch)
        if kept is not None and state.note is not None:
            _compare_with_kept(reader, state, kept, note, target)
        notes = [told for other in seen if (told := _compare_with_seen(reader, ahead, state, note, other, target))]
        if told := check_stake_line(note, target.stake_vkey, state.stake_vkey):
            notes.append(told)
        done = replace(done, notes=tuple(notes))
        if head.size < state.size:
            return replace(done, notes=(*notes, f"the log shows an older head, of {number_of(head.size, 'entry')}"))
        return _check_new(reader, ahead, state, target, note, done, progress)
    except _Found as found:
        return replace(done, finding=found.finding)
    except ProofError as error:
        index = error.index if isinstance(error, BadEntry) else _index_in(error)
        return replace(done, finding=Finding(error.code, error.what, index))


def _index_in(error: ProofError) -> int | None:
    """Return the first entry that an error of the tile reader is about."""
    if (entry := re.match(r"entry (\d+)", error.what)) is not None:
        return int(entry[1])
    return None


# -- heads


def _compare_with_kept(reader: TileReader, state: MonitorState, kept: TreeHead, note: str, target: Target) -> None:
    """Check that one of the two trees is a prefix of the other.

    Raises:
        _Found: With evidence, unless it is.
    """
    head = reader.head
    assert state.note is not None
    if head.size >= kept.size:
        other = reader.root(kept.size) if head.size > kept.size else head.root
        if other == kept.root:
            return
        proof = reader.consistency_path(kept.size) if 0 < kept.size < head.size else []
        evidence = collect(target.origin, target.log_vkeys, state.note, note, proof, other)
    else:
        other = state.root_at(head.size)
        if other == head.root:
            return
        proof = consistency_path(head.size, state.hashes(0, kept.size)) if head.size else []
        evidence = collect(target.origin, target.log_vkeys, note, state.note, proof, other)
    size = min(head.size, kept.size)
    index = _first_difference(reader, state, size)
    where = f"entry {index} is not the one that was there" if index is not None else "which entry cannot be told"
    raise _Found(
        Finding(
            "LOG_FORKED",
            f"the log signed trees of {kept.size} and {number_of(head.size, 'entry')}, which differ in the first "
            f"{size}: {where}",
            index,
            _write(state.folder, evidence),
            write_stake_evidence(
                state.folder,
                evidence,
                state.stake_vkey or target.stake_vkey,
                state=state,
                reader=reader,
                index=index,
            ),
        )
    )


def _compare_with_seen(
    reader: TileReader, ahead: Ahead, state: MonitorState, note: str, seen: str, target: Target
) -> str:
    """Compare the head with those that others hold; return what there is to tell.

    Raises:
        _Found: If one of them is of another history.
    """
    try:
        other = verify_checkpoint(seen, target.origin, target.log_vkeys)
    except ProofError as error:
        return f"a witness shows a head that the log did not sign ({error.code})"
    head = reader.head
    if other.size <= head.size:
        root, proof = reader.root(other.size), reader.consistency_path(other.size) if other.size else []
        if root == other.root:
            return ""
        evidence = collect(target.origin, target.log_vkeys, seen, note, proof, root)
    else:
        longer = TileReader(other, ahead.fetch)
        try:
            root, proof = longer.root(head.size), longer.consistency_path(head.size) if head.size else []
        except ProofError:
            seen = number_of(other.size, "entry")
            return f"a witness has seen {seen}, the log shows {head.size} and no tiles of the others"
        if root == head.root:
            return ""
        evidence = collect(target.origin, target.log_vkeys, note, seen, proof, root)
    raise _Found(
        Finding(
            "LOG_SPLIT",
            f"a witness was shown a tree of {number_of(other.size, 'entry')} that is not of one history with the "
            f"{head.size} here",
            None,
            _write(state.folder, evidence),
            write_stake_evidence(state.folder, evidence, state.stake_vkey or target.stake_vkey),
        )
    )


def _first_difference(reader: TileReader, state: MonitorState, size: int) -> int | None:
    """Return the first of ``size`` entries whose kept leaf hash is not the log's; None if its tiles cannot be had."""
    try:
        for first in range(0, size, WIDTH):
            mine = state.hashes(first, min(WIDTH, size - first))
            if len(mine) == WIDTH:
                frontier = Frontier()
                frontier.extend(mine)
                if reader.read([(HEIGHT, first // WIDTH)]) == [frontier.root()]:
                    continue
            for offset, (one, other) in enumerate(zip(mine, reader.leaf_hashes(first // WIDTH), strict=False)):
                if one != other:
                    return first + offset
    except ProofError:
        return None
    return None


def _write(folder: Path, evidence: Evidence) -> Path:
    path = inside(folder, f"fork-{evidence.id}.json", one=True, links=True)
    write_whole(path, encode_evidence(evidence))
    return path


# -- entries


def _check_new(
    reader: TileReader,
    ahead: Ahead,
    state: MonitorState,
    target: Target,
    note: str,
    done: Audited,
    progress: EntryProgress,
) -> Audited:
    head, start = reader.head, state.size

    def leaf_at(index: int) -> bytes:
        return reader.entries(index // WIDTH)[index % WIDTH]

    rules = None
    if target.rules:
        if start and state.rules is None:  # entries were not looked into before: begin with the first
            state.restart()
            start = 0
        rules = LedgerRules(leaf_at, network=target.network, kept=state.rules)
        rules.remember(0, state.prefixes())
    openings = 0
    withheld: list[int] = []
    for first, leaves, hashes in read_entries(reader, ahead, start):
        prefixes = [rules.take(leaf) for leaf in leaves] if rules is not None else [NO_PAIR] * len(leaves)
        if rules is not None and target.openings is not None and target.network is not None:
            opened, missing = _check_openings(target.openings, target.network[1], first, leaves)
            openings, withheld = openings + opened, withheld + missing
        state.append(hashes, prefixes)
        progress(first + len(leaves), head.size)
    gone = rules.finish() if rules is not None else set()
    state.finish(head, note, rules.keep() if rules is not None else None, target.stake_vkey)
    done = replace(done, size=head.size, root=head.root, checked=head.size - start, openings=openings)
    if rules is None:
        return done
    return replace(
        done,
        pairs=rules.pairs,
        accepted=rules.accepted,
        epochs=rules.closed_epochs,
        withheld=tuple(index for index in withheld if index not in gone)[:10],
    )


def _check_openings(openings: Openings, domain: Domain, first: int, leaves: Sequence[bytes]) -> tuple[int, list[int]]:
    """Return how many commitments were opened rightly, and the accepted pairs without an opening."""
    given = {row.index: row for row in openings(first, first + len(leaves))}
    for index, row in given.items():
        try:
            check_submission(row, leaves[index - first], domain)
        except ProofError as error:
            raise BadEntry(index, error.code, error.what) from None
    missing = [
        first + offset for offset, leaf in enumerate(leaves) if first + offset not in given and is_accepted(leaf)
    ]
    return len(given), missing


def state_folder(home: Path, origin: str) -> Path:
    """Return where a monitor keeps what it verified of a log."""
    return home / "monitor" / sha256(origin.encode()).hexdigest()[:16]
