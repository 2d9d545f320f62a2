"""All nine modalities from a contributor's file to a search, and what a checkpoint says that knows only three."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from curiosity.client.submission import Contributor, Rules, Tally, submit_pairs
from curiosity.embedding.modalities import BY_NAME
from curiosity.protocol.errors import CheckpointError, Fault, Rejected
from curiosity.protocol.pair import Item
from curiosity.protocol.signing import address_of
from curiosity.sources.own.media_type import EXTENSIONS
from curiosity.sources.own.own import read_sources
from curiosity.sources.pairset import SourcePair
from tests.material.checkpoint import write_checkpoint
from tests.material.service import ALICE, Running, running
from validator.service import switch_checkpoint


@pytest.fixture(scope="module")
def nine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoints") / "nine").path


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two recorded scenes as a contributor would keep them: files of one name."""
    from curiosity.sources.made.world.episode import record_episode
    from curiosity.sources.made.world.render import pick_renderer

    folder = tmp_path_factory.mktemp("scenes")
    for number in range(2):
        for item in record_episode(7, number, pick_renderer("cpu")).items.values():
            named = f".{item.stream}" if item.modality == "image" else ""
            named += f".{item.modality}" if item.media_type == "application/x-npy" else ""
            (folder / f"scene{number}{named}.{EXTENSIONS[item.media_type]}").write_bytes(item.content)
    assert len(list(folder.iterdir())) == 20
    return folder


@pytest.fixture
async def live(tmp_path: Path, nine: Path) -> AsyncIterator[Running]:
    async with running(tmp_path / "validator", genesis=nine) as made:
        yield made


def read(scenes: Path, pairs: frozenset[str] = frozenset()) -> list[SourcePair]:
    found = list(read_sources((scenes,), license="CC0-1.0", pairs=pairs))
    assert all(isinstance(each, SourcePair) for each in found), found
    return [each for each in found if isinstance(each, SourcePair)]


async def submit(live: Running, rows: list[SourcePair], home: Path) -> Tally:
    contributor = Contributor(ALICE, address_of(ALICE), home)
    return await submit_pairs(rows, client=live.client, network=live.network, contributor=contributor, rules=Rules())


async def test_every_modality_goes_from_a_folder_to_a_search(live: Running, scenes: Path, tmp_path: Path) -> None:
    rows = read(scenes)
    assert {row.modalities for row in rows} == set(live.network.pairs)
    assert len(rows) == 2 * (36 + 8)  # every two of nine, and those of the second camera
    chosen = [row for row in rows if "text" in row.modalities or row.modalities == "touch-video"]
    tally = await submit(live, chosen, tmp_path / "home")
    assert (tally.accepted, tally.decided, tally.unreadable) == (len(chosen), len(chosen), [])
    again = await submit(live, chosen, tmp_path / "home")
    assert (again.known, again.decided) == (len(chosen), 0)

    items = {item.modality: item for row in chosen for item in (row.a, row.b)}
    assert set(items) == set(BY_NAME)
    for name, item in items.items():
        answer = await live.client.query(name, item.media_type, item.read(), name, 1)
        assert [found.modality for found in answer.found] == [name]
        found = await live.client.item(answer.found[0].sha256)
        assert answer.indexed >= 2
        assert found in {each.read() for row in chosen for each in (row.a, row.b) if each.modality == name}
        other = await live.client.query(name, item.media_type, item.read(), "text" if name != "text" else "emg", 5)
        assert other.found

    # The same by command, from a file that is told by its content.
    for name in ("touch", "video"):
        query = ["query", "--file", str(items[name].path), "--to", "video", "--save", str(tmp_path / name)]
        command = [sys.executable, "-m", "node.cli", *query, "--url", live.url, "--json"]
        done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["modality"] == name
        assert {each.suffix for each in (tmp_path / name).iterdir()} == {".mp4"}


async def test_what_the_shipped_checkpoint_cannot_judge_is_refused_and_costs_nobody_anything(
    scenes: Path, tmp_path: Path
) -> None:
    async with running(tmp_path / "validator") as live:
        assert live.network.modalities == ("audio", "image", "text")
        (row,) = read(scenes, frozenset({"touch-video"}))[:1]
        item_a, item_b = (Item(half.modality, half.media_type, half.read()) for half in (row.a, row.b))
        with pytest.raises(Rejected) as caught:
            await live.client.post_pair(live.sign((item_a, item_b)).encode())
        assert (caught.value.code, caught.value.status) == ("PAIR_UNSUPPORTED", 422)
        assert caught.value.fault is Fault.INFRASTRUCTURE
        assert "touch-video cannot be judged" in caught.value.what
        for known in live.network.pairs:
            assert known in caught.value.what
        for item, to in ((item_a, "image"), (Item("text", "text/plain", b"a red cube"), "video")):
            with pytest.raises(Rejected) as caught:
                await live.client.query(item.modality, item.media_type, item.data, to, 3)
            assert (caught.value.code, caught.value.status) == ("MODALITY_UNSUPPORTED", 422)
            assert caught.value.fault is Fault.INFRASTRUCTURE
            assert "audio, image, text" in caught.value.what
        # A node does not even sign it; what the checkpoint knows goes through.
        rows = read(scenes, frozenset({"touch-video", "image-text", "action-emg"}))
        tally = await submit(live, rows, tmp_path / "home")
        assert tally.not_taken == {"touch-video": 2, "action-emg": 2}
        assert tally.decided == 4
        assert live.service.ledger.size == 1 + 4


async def test_a_child_that_knows_more_is_asked_for_more_at_once(scenes: Path, tmp_path: Path) -> None:
    few = write_checkpoint(tmp_path / "few", ("image", "text"))
    child = write_checkpoint(tmp_path / "child", ("image", "text", "touch"), parent=few.digest)
    narrow = write_checkpoint(tmp_path / "narrow", ("text", "touch"), parent=few.digest)
    async with running(tmp_path / "validator", genesis=few.path) as live:
        rows = read(scenes, frozenset({"text-touch", "image-text"}))
        assert (await submit(live, rows, tmp_path / "home")).not_taken == {"text-touch": 2}
        with pytest.raises(CheckpointError, match=r"CHECKPOINT_FORGETS.*image-text"):
            await switch_checkpoint(live.service, narrow.path)
        assert live.service.embedder.checkpoint.hex() == few.digest
        await switch_checkpoint(live.service, child.path)
        touch = next(row for row in rows if row.modalities == "text-touch")
        decision = await live.client.post_pair(live.sign(touch, license="CC0-1.0").encode())
        assert decision.verdict.is_accepted
        assert decision.verdict.checkpoint.hex() == child.digest
