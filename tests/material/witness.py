"""Real witnesses in this process, for tests of whoever asks them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from curiosity.host.settings.witness import WitnessConfig
from tests.material.log import LOG_VKEY
from witness.app import build, list_evidence, listen
from witness.evidence import EVIDENCE_FOLDER
from witness.heads import Memory
from witness.keys import WitnessKeys
from witness.service import Witness

NAME = "witness.example/w1"


@dataclass
class Live:
    """A witness that listens."""

    url: str
    keys: WitnessKeys
    config: WitnessConfig
    session: aiohttp.ClientSession
    memory: Memory
    witness: Witness

    @property
    def line(self) -> str:
        """How a validator's settings name it."""
        return f"{self.url} {self.keys.vkeys[0]}"

    async def post(self, body: bytes) -> tuple[int, str, str]:
        """Status, content type and text of the answer to add-checkpoint."""
        async with self.session.post(self.url + "/add-checkpoint", data=body) as answer:
            return answer.status, answer.headers["Content-Type"], await answer.text()

    async def latest(self, hashed_origin: str) -> str:
        """The head that it shows to monitors, empty if there is none."""
        async with self.session.get(f"{self.url}/{hashed_origin}/checkpoint") as answer:
            return await answer.text() if answer.status == 200 else ""

    def evidence(self) -> list[dict[str, object]]:
        return list_evidence(self.config.folder / EVIDENCE_FOLDER)


@asynccontextmanager
async def witnessing(
    folder: Path, logs: tuple[str, ...] = (LOG_VKEY,), *, name: str = NAME, port: int = 0, **changes: object
) -> AsyncIterator[Live]:
    """Run a witness in ``folder`` on a free port, or on one that it had."""
    config = WitnessConfig(name=name, data_dir=folder, port=port, logs=logs, **changes)  # type: ignore[arg-type]
    witness, memory, keys = build(config)
    runner = await listen(config, witness)
    try:
        async with aiohttp.ClientSession() as session:
            yield Live(f"http://127.0.0.1:{runner.addresses[0][1]}", keys, config, session, memory, witness)
    finally:
        await runner.cleanup()
        memory.close()
