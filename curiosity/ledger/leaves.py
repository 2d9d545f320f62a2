"""All leaves of a ledger: of a copy on disk, or of the validator under its signed head."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from curiosity.client.client import ValidatorClient
from curiosity.ledger.layout import HEAD, NETWORK, OLD_LEAVES
from curiosity.ledger.reader import LedgerCopy
from curiosity.ledger.tiles import Ahead, LogFiles, read_entries
from curiosity.protocol.errors import Rejected, SourceError
from curiosity.protocol.messages import Network
from curiosity.protocol.tlog import TileReader, verify_checkpoint
from curiosity.protocol.wire import parse

Progress = Callable[[str, int, int], None]
_REMEDY = "Make one with `curiosity ledger mirror --out DIR`, which also repairs one."


def read_leaves(path: Path) -> list[bytes]:
    """Return the leaves of a copied ledger, or those in a file that has one a line.

    A copy's leaves are compared with its signed head. Those of a file, and of a folder that an earlier version wrote,
    are taken as they are.

    Raises:
        SourceError: MIRROR_UNREADABLE.
        ProofError: IMPORT_MALFORMED if the copy has no usable head, and what `TileReader.entries` raises.
    """
    if (path / HEAD).is_file():
        return list(LedgerCopy(path).leaves())
    file = path / OLD_LEAVES if path.is_dir() else path
    try:
        return [line for line in file.read_bytes().split(b"\n") if line]
    except OSError as error:
        raise SourceError("MIRROR_UNREADABLE", f"{file}: {error.strerror}", _REMEDY) from None


async def fetch_leaves(client: ValidatorClient, log_vkey: str = "", progress: Progress | None = None) -> list[bytes]:
    """Return all leaves of a validator's ledger, checked against its signed tree head.

    An empty ``log_vkey`` trusts the key that the validator shows.
    """
    tell = progress or (lambda *_: None)
    network = await client.network()
    head = verify_checkpoint(await client.tree_head(), network.origin, [log_vkey or network.log_vkey])
    async with LogFiles(client.url, patience_s=client.patience_s) as files:
        ahead = Ahead(files)
        try:
            return await asyncio.to_thread(_read_all, TileReader(head, ahead.fetch), ahead, head.size, tell)
        finally:
            await ahead.close()


def _read_all(reader: TileReader, ahead: Ahead, size: int, tell: Progress) -> list[bytes]:
    leaves: list[bytes] = []
    for _, page, _ in read_entries(reader, ahead, 0):
        leaves += page
        tell("leaves", len(leaves), size)
    return leaves


def read_network(folder: Path) -> Network:
    """Return the network message that a mirror holds.

    Raises:
        SourceError: MIRROR_UNREADABLE.
    """
    try:
        return parse(Network, (folder / NETWORK).read_bytes())
    except OSError as error:
        raise SourceError("MIRROR_UNREADABLE", f"{folder}: {error.strerror}", _REMEDY) from None
    except Rejected as error:
        raise SourceError(
            "MIRROR_UNREADABLE",
            f"{folder}: {error.what}",
            _REMEDY,
        ) from None
