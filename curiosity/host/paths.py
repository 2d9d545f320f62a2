"""One way to make a path of a name that comes from outside.

A name in a table, a pair set, an export or a message can be ``/etc/passwd``, ``../../.ssh/id_rsa`` or a link to either.
Joined to a folder without a look, it leads out of it: what lies there is then read and sent, or written over.
"""

import re
from pathlib import Path
from typing import Final

_SEPARATORS: Final = re.compile(r"[/\\]")
_DRIVE: Final = re.compile(r"[A-Za-z]:(?:[/\\]|$)")


class PathRefused(ValueError):
    """A name that is not one below its folder. Its words continue a sentence that starts with the name."""


def inside(folder: Path, name: str, *, one: bool = False, links: bool = False) -> Path:
    """Return the path ``name`` below ``folder``, whether or not something is there.

    ``one`` takes a single name only, without separators. ``links`` is for folders of our own, or of which every byte is
    verified by its hash: their symbolic links may lead where their owner put them. In all others a link may not lead
    out of ``folder``. Who can write to ``folder`` while we read can still swap a file for a link.

    Raises:
        PathRefused: For an empty or absolute name, a drive, ``..``, NUL, a separator in a single name, and for what a
            link leads out of ``folder``.
    """
    parts = _SEPARATORS.split(name)
    if not name or name == ".":
        raise PathRefused("is empty")
    if "\0" in name:
        raise PathRefused("holds the character NUL")
    if not parts[0] or _DRIVE.match(name):
        raise PathRefused("is an absolute path")
    if ".." in parts:
        raise PathRefused("leads out of its folder by '..'")
    if one and len(parts) > 1:
        raise PathRefused("is a path, not a single name")
    path = folder / name
    if not links:
        try:
            real = path.resolve()
        except (OSError, RuntimeError):  # links in a ring
            raise PathRefused("is a link without an end") from None
        if not real.is_relative_to(folder.resolve()):
            raise PathRefused("is a link that leads out of its folder")
    return path
