"""A data folder that a refused import leaves as it found it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curiosity.protocol.errors import ProofError


class NewFolder:
    """A validator's data folder during an import. Keys and a store are made in it before the export is read to its end.

    ``is_kept``: set it once something was imported, or the next run could not continue.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._had_keys = (folder / "keys").exists()
        self._before = frozenset(folder.iterdir()) if folder.exists() else None
        self.is_kept = False

    def undo(self) -> None:
        """Remove what was made since; nothing where there were keys before, whose store is somebody's ledger."""
        if self.is_kept or self._had_keys:
            return
        if self._before is None:
            shutil.rmtree(self._folder, ignore_errors=True)
            return
        for path in self._folder.iterdir():
            if path not in self._before:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


@contextmanager
def left_as_found(folder: Path) -> Iterator[NewFolder]:
    """Undo what is made in a data folder if the export is refused (ProofError) before anything of it was imported."""
    found = NewFolder(folder)
    try:
        yield found
    except ProofError:
        found.undo()
        raise
