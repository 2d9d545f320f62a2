"""The operator's list of refused items: the file that it is kept in, read again whenever it has changed."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from curiosity.embedding.modality import Array
from curiosity.embedding.sketch import sketch_item
from curiosity.host.files import folder_locked, make_folder, write_whole
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.protocol.errors import ConfigError
from curiosity.serving.block_list import BlockedItem, BlockList, read_blocked

if TYPE_CHECKING:
    from validator.threads import Threads

log = logging.getLogger(__name__)

_HEAD: Final = "# Items that this validator refuses; `curiosity validator block` adds, lists and removes them."
_REMEDY: Final = "Make the file, or correct [validator] blocked_items."


def find_list(config: ValidatorConfig) -> Path:
    """Return the file of the list: that of the settings, else one in the data folder."""
    named = config.blocked_items
    return (named if named is not None else config.data_dir / "blocked-items.txt").expanduser().resolve()


def read_list(path: Path, *, must_exist: bool = True) -> list[BlockedItem]:
    """Return the items of the list; none if there is no file and ``must_exist`` is false.

    Raises:
        ConfigError: BLOCK_LIST_UNREADABLE, BLOCK_LIST_INVALID.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError as error:
        if not must_exist:
            return []
        raise ConfigError("BLOCK_LIST_UNREADABLE", f"{path}: {error.strerror}", _REMEDY) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("BLOCK_LIST_UNREADABLE", f"{path}: {error}", _REMEDY) from None
    return list(read_blocked(text, str(path)))


def change_list(path: Path, *, add: Iterable[BlockedItem] = (), remove: Collection[tuple[str, bytes]] = ()) -> int:
    """Add items that are not listed yet, or remove listed ones; return how many lines that makes or takes.

    Lines that stay are kept as they are. One process at a time; the file is always whole.

    Raises:
        ConfigError: What `read_list` raises; BLOCK_LIST_NOT_WRITTEN.
    """
    try:
        make_folder(path.parent)
        with folder_locked(path.parent):
            known = {(one.kind, one.value) for one in read_list(path, must_exist=False)}
            lines = path.read_text("utf-8").splitlines() if known else [_HEAD]
            fresh = {(one.kind, one.value): one for one in add if (one.kind, one.value) not in known}
            kept = [line for line in lines if not any((o.kind, o.value) in remove for o in read_blocked(line, ""))]
            written = [*kept, *(one.line() for one in fresh.values())]
            write_whole(path, "".join(f"{line}\n" for line in written).encode(), mode=0o600)
    except OSError as error:
        raise ConfigError("BLOCK_LIST_NOT_WRITTEN", f"{path}: {error.strerror}", _REMEDY) from None
    return len(fresh) + len(lines) - len(kept)


class BlockedItems:
    """The list as it is in its file now. Nothing else of a validator knows it, and it is in no export.

    Raises:
        ConfigError: What `read_list` raises.
    """

    def __init__(self, path: Path, threads: Threads, *, must_exist: bool) -> None:
        self.path = path
        self._threads = threads
        self._stamp = _stamp(path)
        self._list = BlockList.of(read_list(path, must_exist=must_exist))
        self._reading = asyncio.Lock()

    async def current(self) -> BlockList:
        """Return the list, read again if the file has changed.

        A file that is gone or has a wrong line changes nothing: the list that was read before stays in force.
        """
        if _stamp(self.path) != self._stamp:
            async with self._reading:
                if (stamp := _stamp(self.path)) != self._stamp:
                    await self._read()
                    self._stamp = stamp
        return self._list

    async def _read(self) -> None:
        try:
            items = await self._threads.on_reader(lambda: read_list(self.path))
        except ConfigError as error:
            log.error("event=block_list_kept code=%s what=%s", error.code, error.what)
            return
        self._list = BlockList.of(items)
        log.info("event=block_list_read items=%d", len(items))

    async def check_decoded(self, modality: str, array: Array) -> None:
        """Refuse an item that decodes to what is listed, or a picture that looks like a listed one.

        Raises:
            Rejected: ITEM_BLOCKED.
        """
        if listed := await self.current():
            await self._threads.on_reader(lambda: listed.check_sketches([sketch_item(modality, array)]))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
