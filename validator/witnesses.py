"""Asking witnesses for cosignatures (c2sp.org/tlog-witness), beside the spine and never in its way.

Once in ``interval_s`` the newest tree head becomes the *target*. One task for each witness posts it with the
consistency proof from what that witness has, and adds what comes back. A witness that is down or slow holds up neither
the others nor any pair; it is asked again later, at the latest after a minute. The newest head that a quorum cosigned
is kept in a file, so that a restart goes on showing it.

An answer that speaks against *this* log is more than a failure: `Peer.alarm` keeps it, the log tells the operator.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import aiohttp

from curiosity.host.files import write_whole
from curiosity.host.terminal import one_line
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import ConfigError, CuriosityError, Overloaded, ProofError, ServiceError
from curiosity.protocol.messages import WitnessStatus
from curiosity.protocol.tlog import (
    ED25519,
    TreeHead,
    add_signatures,
    make_witness_request,
    parse_note,
    parse_tree_head,
    parse_vkey,
    parse_witness_size,
    verify_checkpoint,
)
from curiosity.protocol.url import without_userinfo
from validator.ledger import Ledger

log = logging.getLogger(__name__)

TIMEOUT_S = 10.0
LONGEST_WAIT_S = 60.0
_KEPT_TARGETS = 16  # late cosignatures still count for so many heads
_MAX_ANSWER_BYTES = 128 * 1024


@dataclass(frozen=True)
class WitnessAddress:
    """A witness: where it takes add-checkpoint, and the keys of its that count."""

    url: str
    vkeys: tuple[str, ...]

    @property
    def place(self) -> str:
        """The URL as others may see it, without user name and password."""
        return without_userinfo(self.url)


def parse_witnesses(lines: Sequence[str], quorum: int) -> tuple[WitnessAddress, ...]:
    """Return the witnesses of the setting: each line is a URL and one or more vkeys, apart by spaces.

    Raises:
        ConfigError: WITNESS_LINE for anything else, WITNESS_QUORUM if more are needed than there are.
    """
    addresses = []
    for line in lines:
        url, *vkeys = line.split()
        try:
            is_witness = bool(vkeys) and all(parse_vkey(vkey).algorithm != ED25519 for vkey in vkeys)
        except ProofError as error:
            raise ConfigError("WITNESS_LINE", f"{without_userinfo(line)!r}: {error.what}", "Write URL VKEY.") from None
        if not url.startswith(("http://", "https://")) or not is_witness:
            raise ConfigError(
                "WITNESS_LINE",
                f"{without_userinfo(line)!r} is not a URL and a key that cosigns",
                "Write URL VKEY, as `curiosity witness keys` shows it.",
            )
        addresses.append(WitnessAddress(url.rstrip("/"), tuple(vkeys)))
    if not 0 <= quorum <= len(addresses):
        raise ConfigError(
            "WITNESS_QUORUM",
            f"a quorum of {quorum} of {number_of(len(addresses), 'witness')}",
            "Lower it, or name more witnesses.",
        )
    return tuple(addresses)


@dataclass
class Peer:
    """One witness and what we know of it."""

    address: WitnessAddress
    size: int | None = None
    done: str = ""  # the target that it cosigned last
    failures: int = 0
    error: str | None = None
    alarm: str | None = None

    def status(self) -> WitnessStatus:
        """Return it as the service shows it."""
        name = parse_vkey(self.address.vkeys[0]).name
        return WitnessStatus(self.address.place, name, self.size, self.failures, self.error, self.alarm)


@dataclass(frozen=True)
class CosignedHead:
    """A head of our log that enough witnesses cosigned."""

    head: TreeHead
    note: str = field(repr=False)


class Witnesses:
    """Gets heads of ``ledger`` cosigned. ``read`` runs a blocking function off the event loop.

    ``published`` is set where the ledger is a read-only copy: the owner's head, which is shown in place of our own.
    ``seal`` adds the signature for the stake contract to a head of ours, the same to the same head.
    """

    def __init__(
        self,
        ledger: Ledger,
        *,
        origin: str,
        log_vkey: str,
        addresses: Sequence[WitnessAddress],
        quorum: int,
        path: Path,
        interval_s: float,
        read: Callable[[Callable[[], Any]], Any],
        published: str = "",
        seal: Callable[[str], str] = lambda note: note,
    ) -> None:
        self._ledger = ledger
        self._origin = origin
        self._log_vkey = log_vkey
        self._quorum = quorum
        self._path = path
        self._interval_s = interval_s
        self._read = read
        self._published = published
        self._seal = lru_cache(_KEPT_TARGETS)(seal)
        self._vkeys = [vkey for address in addresses for vkey in address.vkeys]
        self._peers = [Peer(address) for address in addresses]
        self._targets: OrderedDict[str, str] = OrderedDict()  # our own note: the same with cosignatures
        self._aimed = asyncio.Condition()
        self._keeping = asyncio.Lock()
        self.cosigned: CosignedHead | None = self._load() if addresses else None

    @property
    def quorum(self) -> int:
        """How many witnesses make a head a cosigned one; 0 asks for none."""
        return self._quorum

    def status(self) -> list[WitnessStatus]:
        """Return how it stands with each witness."""
        return [peer.status() for peer in self._peers]

    def newest(self) -> str:
        """Return the newest signed tree head, a note, with what cosignatures it has."""
        if self._published:
            return self._published
        note = self._seal(self._ledger.tree_head())
        return self._targets.get(note, note)

    def head_at(self, size: int) -> str | None:
        """Return a signed head of that size, None where the ledger is not ours to sign and its owner's is another."""
        if not self._published:
            note = self._ledger.tree_head_at(size)
            return note if note is None else self._seal(note)
        return self._published if _head_of(self._published).size == size else None

    def provable(self) -> CosignedHead:
        """Return the head to prove against: with a quorum the newest that has it, else the newest.

        Raises:
            Overloaded: HEAD_NOT_COSIGNED if a quorum is asked for and no head has it yet.
        """
        if self._quorum == 0:
            note = self.newest()
            return CosignedHead(_head_of(note), note)
        if self.cosigned is None:
            raise Overloaded("HEAD_NOT_COSIGNED", "no tree head has its quorum of witnesses yet", "Ask again later.")
        return self.cosigned

    def _load(self) -> CosignedHead | None:
        """Return the kept head, if it is one of this ledger with this quorum; else the next round makes one."""
        try:
            note = self._path.read_text()
            head = verify_checkpoint(note, self._origin, [self._log_vkey], self._vkeys, self._quorum)
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, ProofError) as error:
            log.warning("event=cosigned_head_ignored file=%s reason=%s", self._path, error)
            return None
        if head.size > self._ledger.size or self._ledger.root_at(head.size) != head.root:
            log.error("event=cosigned_head_foreign file=%s size=%d ledger=%d", self._path, head.size, self._ledger.size)
            return None
        return CosignedHead(head, note)

    # -- the rounds

    async def run(self) -> None:
        """Ask for ever. Ends only by being cancelled; no failure of a witness leaves it."""
        if not self._peers:
            return
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._aim())
            for peer in self._peers:
                tasks.create_task(self._follow(session, peer))

    async def _aim(self) -> None:
        while True:
            note = self._seal(self._ledger.tree_head())
            if note not in self._targets:
                async with self._aimed:
                    self._targets[note] = note
                    while len(self._targets) > _KEPT_TARGETS:
                        self._targets.popitem(last=False)
                    self._aimed.notify_all()
            await asyncio.sleep(self._interval_s)

    async def _follow(self, session: aiohttp.ClientSession, peer: Peer) -> None:
        while True:
            async with self._aimed:
                await self._aimed.wait_for(lambda: bool(self._targets) and next(reversed(self._targets)) != peer.done)
            target = next(reversed(self._targets))
            try:
                lines = await self._ask(session, peer, target)
                await self._add(target, lines, peer.address.vkeys)
            except (CuriosityError, aiohttp.ClientError, TimeoutError, OSError) as error:
                peer.failures += 1
                words = f"{error.code}: {error.what}" if isinstance(error, CuriosityError) else repr(error)
                peer.error = without_userinfo(one_line(words))
                log.warning(
                    "event=witness_failed url=%s failures=%d error=%s", peer.address.place, peer.failures, peer.error
                )
                await asyncio.sleep(min(LONGEST_WAIT_S, self._interval_s * 2.0 ** min(peer.failures, 16)))
            else:
                peer.size = _head_of(target).size
                peer.failures, peer.error, peer.alarm, peer.done = 0, None, None, target

    async def _ask(self, session: aiohttp.ClientSession, peer: Peer, target: str) -> str:
        """Return the signature lines of a witness for a head; a first 409 tells from where it needs the proof."""
        size = _head_of(target).size
        old = min(peer.size or 0, size)
        for _ in range(2):
            path = await self._read(partial(self._ledger.consistency_proof, old, size))
            status, body = await _post(session, peer.address.url, make_witness_request(old, path, target))
            if status == 200:
                return body
            if status != 409:
                said = one_line(body.strip())[:300]
                if status == 422:
                    self._alarm(peer, f"it refuses the proof from {old} to {number_of(size, 'entry')}: {said}")
                raise ServiceError("WITNESS_REFUSED", f"status {status}: {said}", "Ask its operator.")
            old = peer.size = parse_witness_size(body)
            if old > self._ledger.size:
                self._alarm(peer, f"it cosigned {number_of(old, 'entry')} of this log, which holds {self._ledger.size}")
            if old > size:
                raise ServiceError(
                    "WITNESS_AHEAD", f"it has {number_of(old, 'entry')}, the head {size}", "The next head will do."
                )
        raise ServiceError("WITNESS_BUSY", "its latest head changed meanwhile", "The next try will do.")

    def _alarm(self, peer: Peer, what: str) -> None:
        if peer.alarm != what:
            peer.alarm = what
            log.error("event=witness_alarm url=%s what=%s", peer.address.place, what)

    async def _add(self, target: str, lines: str, vkeys: Sequence[str]) -> None:
        merged = add_signatures(self._targets.get(target, target), lines, vkeys)
        if target in self._targets:
            self._targets[target] = merged
        try:
            head = verify_checkpoint(merged, self._origin, [self._log_vkey], self._vkeys, self._quorum)
        except ProofError as error:
            if error.code != "HEAD_QUORUM":
                raise
            return
        async with self._keeping:  # one writer of the file, and never an older head over a newer one
            if self.cosigned is not None and head.size < self.cosigned.head.size:
                return
            note = self._targets.get(target, merged)  # with what another witness has added meanwhile
            await self._read(partial(write_whole, self._path, note.encode()))
            self.cosigned = CosignedHead(head, note)


def _head_of(own_note: str) -> TreeHead:
    return parse_tree_head(parse_note(own_note)[0])


async def _post(session: aiohttp.ClientSession, url: str, request: str) -> tuple[int, str]:
    async with session.post(f"{url}/add-checkpoint", data=request.encode(), allow_redirects=False) as answer:
        body = bytearray()
        async for chunk in answer.content.iter_chunked(1 << 14):
            body += chunk
            if len(body) > _MAX_ANSWER_BYTES:
                raise ServiceError("WITNESS_ANSWER", f"over {_MAX_ANSWER_BYTES} bytes", "Check its address.")
        return answer.status, body.decode(errors="replace")
