"""A monitor that watches a ledger over HTTP."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from curiosity.client.trust import KEPT_KEYS
from curiosity.ledger.audit import Audited, Target, audit
from curiosity.ledger.state import MonitorState
from curiosity.ledger.tiles import LogFiles
from tests.material.log import LOG_VKEY, ORIGIN, Log, TileServer, tile_server

FOREIGN = Target(ORIGIN, (LOG_VKEY,), KEPT_KEYS, rules=False)


@asynccontextmanager
async def monitoring(folder: Path, log: Log, target: Target = FOREIGN) -> AsyncIterator["Monitor"]:
    async with tile_server(log) as server, LogFiles(server.url, patience_s=1.0) as files:
        yield Monitor(server, files, folder, target)


class Monitor:
    """A monitor of whatever a tile server shows; every round begins with the state read from its folder."""

    def __init__(self, server: TileServer, files: LogFiles, folder: Path, target: Target) -> None:
        self.server, self.files, self.folder, self.target = server, files, folder, target

    async def round(self, log: Log | None = None, size: int | None = None, *, seen: Sequence[str] = ()) -> Audited:
        if log is not None:
            self.server.log = log
        self.server.size = size
        state = MonitorState(self.folder, self.target.origin, self.target.log_vkeys)
        return await audit(self.files, state, self.target, seen=seen)
