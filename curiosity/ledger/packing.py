"""A copied ledger as one tar file."""

import shutil
import tarfile
from pathlib import Path

from curiosity.host.files import replacing
from curiosity.ledger.layout import BLOCKED
from curiosity.ledger.sync import not_written


def pack(folder: Path, out: Path) -> None:
    """Put a copied ledger into a tar file, the same bytes for the same ledger, and remove the folder.

    Raises:
        SourceError: SYNC_NOT_WRITTEN.
    """

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        member.mode = 0o755 if member.isdir() else 0o600 if member.name == BLOCKED else 0o644
        return member

    try:
        with (
            replacing(out, mode=0o600 if (folder / BLOCKED).exists() else 0o666) as part,
            tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for path in sorted(folder.rglob("*")):
                archive.add(path, str(path.relative_to(folder)), recursive=False, filter=plain)
        shutil.rmtree(folder)
    except OSError as error:
        raise not_written(out, error) from None
