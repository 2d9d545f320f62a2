"""A real validator in this process, real pairs and keys, for tests that speak HTTP with it."""

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import pytest

from curiosity.client.client import ValidatorClient
from curiosity.host.port.guard import Guard
from curiosity.host.port.listen import GuardedSite
from curiosity.host.settings.chain import ChainSettings
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.protocol.errors import Rejected
from curiosity.protocol.messages import Network
from curiosity.protocol.pair import Item, SignedPair, sign_pair
from curiosity.sources import load_source
from curiosity.sources.pairset import SourcePair, read_pairs
from tests.material.waiting import PATIENCE_S
from validator.app import build, listen
from validator.config import ServiceSettings
from validator.service import Service

ALICE, BOB = b"\x0a" * 32, b"\x0b" * 32


@lru_cache(maxsize=1)
def digit_pairs() -> Sequence[SourcePair]:
    """Pairs of handwritten digits and their names that may be submitted, a few of each digit."""
    folder = Path(__file__).parents[2] / ".cache" / "tests" / "digits"
    load_source("digits")(folder, limit=12, cache=folder.parent / "speech")
    return tuple(pair for pair in read_pairs(folder) if pair.split == "submit")


def pictures(count: int, start: int = 0) -> list[SourcePair]:
    """Picture-text pairs."""
    return [pair for pair in digit_pairs() if pair.modalities == "image-text"][start : start + count]


@dataclass(frozen=True)
class Running:
    """A service that listens."""

    service: Service
    client: ValidatorClient
    network: Network
    url: str
    guard: Guard | None = None

    def set_clock_forward(self, seconds: int) -> None:
        """From now on the validator takes the time of day to be later."""
        self.service.pipeline.intake._clock = lambda: time.time() + seconds

    def sign(
        self, pair: SourcePair | tuple[Item, Item], key: bytes = ALICE, *, nonce: bytes | None = None, **changes: object
    ) -> SignedPair:
        """Sign a pair for this network; ``changes`` replace what `sign_pair` is given."""
        a, b = pair if isinstance(pair, tuple) else (item_of(pair, "a"), item_of(pair, "b"))
        arguments: dict[str, object] = {
            "private_key": key,
            "domain": self.network.domain,
            "network_id": self.network.network_id,
            "nonce": nonce or secrets.token_bytes(32),
            "expiry": int(time.time()) + 3600,
            "license": "CC0-1.0",
        } | changes
        return sign_pair(a, b, **arguments)  # type: ignore[arg-type]


def item_of(pair: SourcePair, side: str) -> Item:
    """One half of a pair with its content."""
    source = getattr(pair, side)
    return Item(source.modality, source.media_type, source.read())


@asynccontextmanager
async def running(data_dir: Path, **changes: object) -> AsyncIterator[Running]:
    """Run a validator in ``data_dir`` on a free port; ``changes`` are settings, ``chain`` those of the chain.

    A new network starts with `tiny`: most tests are about the protocol, and it is the fastest.
    """
    chain = changes.pop("chain", ChainSettings())
    assert isinstance(chain, ChainSettings)
    config = ValidatorConfig(data_dir=data_dir, port=0, decode_workers=1, rule2_epoch=0, genesis=Path("tiny"))
    config = replace(config, **changes)  # type: ignore[arg-type]
    service = await build(ServiceSettings(config, chain))
    runner = await listen(service)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    (site,) = runner.sites
    assert isinstance(site, GuardedSite)
    try:
        async with ValidatorClient(url, patience_s=PATIENCE_S) as client:
            yield Running(service, client, await client.network(), url, site.guard)
    finally:
        await runner.cleanup()


async def code_of(asked: object) -> tuple[str, int]:
    """Code and status with which what is asked is rejected."""
    with pytest.raises(Rejected) as caught:
        await asked  # type: ignore[misc]
    return caught.value.code, caught.value.status
