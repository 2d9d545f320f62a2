"""What a contributor is told of a decision: the numbers with the checkpoint's thresholds, fetched once and verified."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from curiosity.client.history import read_history
from curiosity.client.manifests import Manifests
from curiosity.client.submission import Contributor, Rules, Tally, submit_pairs
from curiosity.protocol.entry import parse_entry
from curiosity.protocol.signing import address_of
from curiosity.protocol.verdict import NOT_NOVEL
from tests.material.believing import believing
from tests.material.service import ALICE, Running, pictures, running
from tests.material.shell import Shell


async def submit(live: Running, home: Path, count: int) -> Tally:
    contributor = Contributor(ALICE, address_of(ALICE), home)
    rows = pictures(count)
    return await submit_pairs(rows, client=live.client, network=live.network, contributor=contributor, rules=Rules())


async def test_numbers_and_thresholds_are_told_at_once_and_later_without_a_network(tmp_path: Path) -> None:
    home, asked = tmp_path / "home", []
    async with running(tmp_path / "v", genesis=believing(tmp_path / "believing")) as live:
        honest = live.client.checkpoint_file

        async def counted(digest: bytes, name: str) -> bytes:
            asked.append(name)
            return await honest(digest, name)

        live.client.checkpoint_file = counted  # type: ignore[method-assign]
        told = (await submit(live, home, 6)).pairs
        leaves = [entry.encode() for entry in (await live.client.entries(0, 100)).entries]
    assert asked == ["manifest.json"], "once for all pairs"
    accepted = [one for one in told if one.outcome == "accepted"]
    assert accepted
    for one in told:
        assert one.belief_micro is not None
        assert f"probability {one.belief_micro / 1e4:.0f} %" in one.what
        (belief,) = [number for number in one.numbers if number.name == "belief_micro"]
        assert (belief.value_micro, belief.least_micro) == (one.belief_micro, 800_000)
        assert one.problem == ("" if one.outcome == "accepted" else "pair")
    why = [one.pay.removeprefix("not paid: ") for one in accepted if not one.is_novel]
    assert why
    assert {*why} <= {*NOT_NOVEL}
    log = b"".join(leaves)
    assert not any(words.encode() in log for words in NOT_NOVEL), "the commitment hides it"
    assert all(parse_entry(leaf) for leaf in leaves)

    records, _ = read_history(home)
    key = [(one.pair, one.what, one.numbers) for one in told]
    assert sorted(key) == sorted((one.outcome.pair, one.outcome.what, one.outcome.numbers) for one in records)
    said = await asyncio.to_thread(Shell(home).run, "receipts", Path(told[0].a).name)
    assert said.status == 0, said.err
    assert "probability that they belong together" in said.out
    (kept,) = (home / "manifests").iterdir()
    kept.unlink()
    records, _ = read_history(home)
    assert all(one.outcome.numbers and one.outcome.numbers[0].most_micro is None for one in records)


@pytest.mark.parametrize("change", [b" ", b""])
async def test_thresholds_that_are_not_the_checkpoint_s_are_neither_told_nor_kept(
    tmp_path: Path, change: bytes
) -> None:
    async with running(tmp_path / "v", genesis=believing(tmp_path / "believing")) as live:
        honest: Any = live.client.checkpoint_file

        async def another(digest: bytes, name: str) -> bytes:
            return bytes(await honest(digest, name)) + change

        live.client.checkpoint_file = another  # type: ignore[method-assign]
        digest = live.service.embedder.checkpoint
        found = await Manifests(tmp_path / "home").fetched(live.client, digest)
    is_honest = change == b""
    assert (found is not None) == is_honest
    assert (tmp_path / "home" / "manifests").exists() == is_honest
    assert (Manifests(tmp_path / "home").kept(digest) is not None) == is_honest
