"""What checkpoints say about judging, for whoever explains a verdict: fetched once, kept below home, without torch."""

import asyncio
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from curiosity.host.files import make_folder, write_whole
from curiosity.protocol.errors import CheckpointError, CuriosityError

if TYPE_CHECKING:
    from curiosity.client.client import ValidatorClient
    from curiosity.protocol.calibration import Calibration

_MANIFEST = "manifest.json"


class Manifests:
    """Calibrations by the digest of their checkpoint: of one that comes with the program, kept, or fetched."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._known: dict[bytes, Calibration | None] = {}
        self._asked: set[bytes] = set()
        self._sole = asyncio.Lock()

    def kept(self, digest: bytes) -> "Calibration | None":
        """Return the calibration of a checkpoint if its manifest is on this machine."""
        if digest not in self._known:
            self._known[digest] = self._read(digest)
        return self._known[digest]

    async def fetched(self, client: "ValidatorClient", digest: bytes) -> "Calibration | None":
        """Return the calibration of a checkpoint, asking the validator once where it is not on this machine.

        None where the validator does not give it out, or gives out something else: what a verdict means can be said
        without, and `curiosity rescore` tells of a validator that gives out other files.
        """
        async with self._sole:
            if self.kept(digest) is None and digest not in self._asked:
                self._asked.add(digest)
                with suppress(CuriosityError, OSError):
                    data = await client.checkpoint_file(digest, _MANIFEST)
                    self._known[digest] = _decode(data, digest)
                    self._keep(digest, data)
        return self._known[digest]

    def _path(self, digest: bytes) -> Path:
        return self._home / "manifests" / f"{digest.hex()}.json"

    def _keep(self, digest: bytes, data: bytes) -> None:
        path = self._path(digest)
        make_folder(path.parent)
        write_whole(path, data)

    def _read(self, digest: bytes) -> "Calibration | None":
        from curiosity.embedding.checkpoint import SHIPPED  # here: only whoever explains a verdict needs arrays

        folders = (*SHIPPED.values(), self._home / "checkpoints" / digest.hex())
        for path in (*(folder / _MANIFEST for folder in folders), self._path(digest)):
            try:
                return _decode(path.read_bytes(), digest)
            except (OSError, CheckpointError):
                continue
        return None


def _decode(data: bytes, digest: bytes) -> "Calibration":
    """Return the calibration in a manifest.

    Raises:
        CheckpointError: CHECKPOINT_DIFFERS if it is not the manifest with this digest, MANIFEST_NOT_READABLE.
    """
    from curiosity.embedding.checkpoint import Manifest

    if (got := sha256(data).hexdigest()) != digest.hex():
        raise CheckpointError(
            "CHECKPOINT_DIFFERS", f"the manifest has SHA-256 {got}, expected {digest.hex()}", "Fetch it again."
        )
    return Manifest.decode(data).calibration
