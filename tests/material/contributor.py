"""A contributor who submits pairs to a validator in this process."""

from pathlib import Path
from typing import Any

from curiosity.client.client import ValidatorClient
from curiosity.client.submission import Contributor, Rules, Tally, submit_pairs
from curiosity.protocol.signing import address_of
from tests.material.service import ALICE, Running
from tests.material.waiting import PATIENCE_S

RULES = Rules(concurrency=4)


def contributor(tmp_path: Path) -> Contributor:
    return Contributor(ALICE, address_of(ALICE), tmp_path / "home")


async def submit(
    live: Running, url: str, tmp_path: Path, rows: list[Any], rules: Rules = RULES, patience_s: float = PATIENCE_S
) -> Tally:
    async with ValidatorClient(url, patience_s=patience_s) as client:
        return await submit_pairs(
            rows, client=client, network=live.network, contributor=contributor(tmp_path), rules=rules
        )
