"""A disk whose power can be cut at any moment: it then has what was synced, and of the rest any part.

While a `Disk` watches a folder, every call of this process that syncs or names a file is an event. The power could go
before and after each of them. What a file system may show afterwards is between three extremes:

- *late*: names and contents as they were synced, nothing more;
- *early*: every name as it is now, every content as it was synced: empty, if it never was;
- *torn*: every name as it is now, and of a content that was not synced the first half.

The kernel is asked for nothing here, so this runs anywhere and finds the same each time. The ledger's own power cuts
(`tests/test_validator_ledger_power.py`) run on a real file system.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

EVENTS = ("fsync", "fdatasync", "replace", "rename", "link", "unlink", "remove", "mkdir", "rmdir", "truncate")
State = dict[str, bytes | None]
"""Content by relative path; None for a folder."""


@dataclass
class Disk:
    """What was synced of the folder ``root``. Files that were synced stay open, so that no inode number comes again."""

    root: Path
    states: list[State] = field(default_factory=list)
    _contents: dict[int, bytes] = field(default_factory=dict)
    _names: dict[int, dict[str, int]] = field(default_factory=dict)
    _folders: set[int] = field(default_factory=set)
    _kept_open: list[int] = field(default_factory=list)

    def sync_all(self) -> None:
        """Everything that is there now was synced long ago."""
        self._synced(self.root)
        for path in self.root.rglob("*"):
            self._synced(path)

    def _synced(self, path: Path | str) -> None:
        inode = os.stat(path).st_ino
        self._kept_open.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        if os.path.isdir(path):
            self._names[inode] = {entry.name: entry.inode() for entry in os.scandir(path)}
            self._folders |= {inode} | {entry.inode() for entry in os.scandir(path) if entry.is_dir()}
        else:
            self._contents[inode] = Path(path).read_bytes()

    def look(self) -> list[State]:
        """Return what could be on the disk if the power went now."""
        return [self._late(self.root.stat().st_ino), self._now(torn=False), self._now(torn=True)]

    def _late(self, folder: int, where: str = "") -> State:
        state: State = {}
        for name, inode in self._names.get(folder, {}).items():
            path = where + name
            if inode in self._folders:
                state |= {path: None} | self._late(inode, path + "/")
            else:
                state[path] = self._contents.get(inode, b"")
        return state

    def _now(self, *, torn: bool) -> State:
        state: State = {}
        for path in self.root.rglob("*"):
            if path.is_dir():
                state[str(path.relative_to(self.root))] = None
                continue
            synced, data = self._contents.get(path.stat().st_ino, b""), path.read_bytes()
            if torn and data != synced:
                kept = len(synced) if data.startswith(synced) else 0
                synced = data[: kept + (len(data) - kept) // 2]
            state[str(path.relative_to(self.root))] = synced
        return state

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Collect in ``states`` what the disk may have before and after every event in the block."""
        with pytest.MonkeyPatch.context() as patch:
            for name in EVENTS:
                patch.setattr(os, name, self._around(getattr(os, name), syncs="sync" in name))
            yield
        for descriptor in self._kept_open:
            os.close(descriptor)
        self._kept_open.clear()

    def _around(self, call: Callable[..., Any], *, syncs: bool) -> Callable[..., Any]:
        def event(*arguments: Any, **more: Any) -> Any:
            self._add()
            done = call(*arguments, **more)
            if syncs:
                descriptor = arguments[0] if isinstance(arguments[0], int) else arguments[0].fileno()
                self._synced(f"/proc/self/fd/{descriptor}")
            self._add()
            return done

        return event

    def _add(self) -> None:
        self.states += [state for state in self.look() if state not in self.states]


def lay_out(state: State, folder: Path) -> Path:
    """Write a state of the disk to a new folder."""
    folder.mkdir()
    for name, content in sorted(state.items()):
        path = folder / name
        if content is None:
            path.mkdir(exist_ok=True)
        else:
            path.write_bytes(content)
            path.chmod(0o600)
    return folder


def cut_power(
    folder: Path, write: Callable[[Path], object], read: Callable[[Path], object], scratch: Path
) -> list[object]:
    """Let ``write`` change ``folder``, cut the power at every moment of it, and return what ``read`` then finds.

    The last three are what it finds if the power goes once ``write`` has returned. What ``read`` raises comes in place
    of what it returns.
    """
    disk = Disk(folder)
    disk.sync_all()
    with disk.watched():
        write(folder)
        after = disk.look()

    def found(number: int, state: State) -> object:
        try:
            return read(lay_out(state, scratch / str(number)))
        except Exception as error:  # what a reader makes of a torn file is what the test looks at
            return error

    scratch.mkdir()
    return [found(number, state) for number, state in enumerate([*disk.states, *after])]
