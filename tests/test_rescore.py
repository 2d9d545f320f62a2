"""Repeating verdicts: an honest validator's agree, and each way of lying is found at its step."""

import asyncio
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from curiosity.embedding.checkpoint import MANIFEST, MODEL
from curiosity.ledger.rescore import Rescorer, check_rescored, choose, fetch_checkpoint, rescore_all
from curiosity.ledger.rescored import Rescored
from curiosity.protocol.belief import Curve, DomainBeliefs, Range
from curiosity.protocol.errors import CheckpointError, ProofError, Rejected, SourceError
from curiosity.protocol.pair import Item
from curiosity.protocol.verdict import Outcome, Reason
from node.rescore_report import show_rescored
from node.screen import Screen
from tests.material.believing import BELIEFS, believing
from tests.material.child_checkpoint import child_of_genesis
from tests.material.command import Said
from tests.material.lying_judge import lie
from tests.material.service import ALICE, BOB, Running, pictures, running
from tests.material.shell import Shell
from tests.material.takedown import forget, submit
from validator.service import switch_checkpoint


async def submit_all(live: Running, count: int = 6, start: int = 0) -> None:
    for pair in pictures(count, start):
        await live.client.post_pair(live.sign(pair).encode())


async def look(live: Running, home: Path, **given: Any) -> list[Rescored]:
    leaves = [entry.encode() for entry in (await live.client.entries(0, 1000)).entries]
    indices = [i for i, leaf in enumerate(leaves) if b'"kind":"pair"' in leaf]
    async with Rescorer(live.client, live.network, home, **given) as rescorer:
        return await rescore_all(rescorer, live.client, indices, leaves.__getitem__)


async def test_an_honest_validators_verdicts_agree_also_under_a_checkpoint_that_is_no_longer_in_force(
    tmp_path: Path,
) -> None:
    child = child_of_genesis(tmp_path / "child", fit=True)
    async with running(tmp_path / "v") as live:
        await submit_all(live, 4)
        await switch_checkpoint(live.service, child, force=True)
        await submit_all(live, 2, start=4)
        done = await look(live, tmp_path / "home")
    accepted = [one for one in done if one.outcome == "accepted"]
    assert accepted
    assert {one.result for one in accepted} == {"agrees"}
    assert max(one.largest_micro for one in done) <= 1
    kept = [folder for folder in (tmp_path / "home" / "checkpoints").iterdir() if (folder / MODEL).is_file()]
    assert len(kept) == 2, "the parent's files and the child's"
    check_rescored(done, [])


LIES: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"outcome": Outcome.REJECTED, "reason": Reason.PAIR_TOO_FAR}, "9", "the recorded numbers give accepted"),
    ({"csls_micro": 900_000}, "9", "csls_micro is 900000"),
    ({"null_a_micro": -900_000}, "9", "null_a_micro is -900000"),
    ({"raw_distance_micro": 1}, "8", "raw_distance_micro is 1"),
    ({"pull_a_micro": 1}, "8", "pull_a_micro is 1"),
    ({"loss_b_micro": 1}, "7", "loss_b_micro is 1"),
)


async def test_each_lie_is_found_at_its_step(tmp_path: Path) -> None:
    async with running(tmp_path / "v") as live:
        for number, (changes, _, _) in enumerate(LIES):
            with pytest.MonkeyPatch.context() as patch:
                lie(patch, **changes)
                await submit_all(live, 1, start=number)
        done = await look(live, tmp_path / "home", private_key=ALICE)
    for one, (_, step, words) in zip(done, LIES, strict=True):
        assert (one.result, one.step) == ("differs", step), one.why
        assert words in one.why
        with pytest.raises(ProofError, match=r"RESCORE_DIFFERS"):
            check_rescored([one], [])


async def test_a_lie_about_the_domain_that_a_pair_was_judged_by_is_found(tmp_path: Path) -> None:
    """Whoever names another domain has another curve; the familiarity with each is measured again."""
    sure = DomainBeliefs((), (Range(Curve((0,), (999_000,)), 0, 0),), -1_000_000)
    genesis = believing(tmp_path / "genesis", replace(BELIEFS, others=(sure,)))
    async with running(tmp_path / "v", genesis=genesis) as live:
        await submit_all(live, 2)
        honest = await look(live, tmp_path / "honest", private_key=ALICE)
        with pytest.MonkeyPatch.context() as patch:
            lie(patch, domains_micro=(1, 2, 3))
            await submit_all(live, 1, start=2)
        with pytest.MonkeyPatch.context() as patch:
            lie(patch, domains_micro=(0, 900_000), familiarity_micro=900_000, belief_micro=999_000)
            await submit_all(live, 1, start=3)
        with pytest.MonkeyPatch.context() as patch:
            lie(patch, domains_micro=())
            await submit_all(live, 1, start=4)
        done = await look(live, tmp_path / "home", private_key=ALICE)
    assert {one.result for one in honest} == {"agrees"}, [one.why for one in honest]
    assert [one.result for one in done[2:]] == ["differs"] * 3
    assert "names 0 domains" in done[4].why
    assert "names 3 domains, the checkpoint has 2" in done[2].why
    assert "_micro is" in done[3].why


@pytest.mark.parametrize("told", [0, 31, None])
async def test_a_lie_about_the_belief_that_pays_is_found(tmp_path: Path, told: int | None) -> None:
    """Honest ones agree, and so do entries without a belief of before the rule paid by it."""
    genesis = believing(tmp_path / "genesis", max_ratio_micro=10_000_000)
    differ = []
    for name, paying in (("old", {}), ("new", {"rule2_epoch": 1})):
        async with running(tmp_path / name, genesis=genesis, **paying) as live:
            await submit_all(live, 5)
            honest = await look(live, tmp_path / "home", private_key=ALICE)
            assert {one.result for one in honest} == {"agrees"}, [one.why for one in honest]
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("curiosity.serving.judge.told_belief", lambda _: told)
                await submit_all(live, 5, start=5)
            done = (await look(live, tmp_path / "home", private_key=ALICE))[5:]
            differ.append([one.why for one in done if one.result == "differs"])
    assert bool(differ[0]) is (told is not None)
    assert differ[1]
    said = "no belief" if told is None else f"a belief of {told}"
    assert all(f"the entry tells {said}, the recorded numbers give" in why for why in differ[1])


async def test_what_was_taken_down_or_belongs_to_a_refused_pair_cannot_be_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path / "v") as live:
        ((signed, _),) = await submit(live, 1)
        assert [one.result for one in await look(live, tmp_path / "home")] == ["agrees"]
        await forget(live, signed)
        lie(monkeypatch, null_a_micro=900_000, outcome=Outcome.REJECTED, reason=Reason.ITEM_UNINFORMATIVE)
        await submit_all(live, 1, start=1)
        monkeypatch.undo()
        gone, refused = await look(live, tmp_path / "home")
        own = (await look(live, tmp_path / "home", private_key=ALICE))[-1]
        leaves = [entry.encode() for entry in (await live.client.entries(0, 1000)).entries]
    assert (gone.result, gone.why) == ("cannot tell", "nothing is given out of this pair: it was taken down")
    assert (refused.result, refused.step) == ("cannot tell", "5")
    assert "ITEM_GONE" in refused.why
    assert refused.why.endswith("name that wallet (--wallet)")
    show_rescored(Screen(), [refused])
    assert capsys.readouterr().out.splitlines()[-1] == "1 verdict could not be repeated."
    assert own.result == "differs", "its contributor can repeat it"
    with pytest.raises(ProofError, match=r"RESCORE_WITHHELD"):
        check_rescored([gone], leaves[:2])
    check_rescored([gone], leaves)


async def test_of_a_near_copy_it_is_told_which_entry_it_was_refused_as_a_copy_of(tmp_path: Path) -> None:
    async with running(tmp_path / "v") as live:
        original, decided = next(one for one in await submit(live, 4) if one[1].verdict.is_accepted)
        file = io.BytesIO()
        Pillow.open(io.BytesIO(original.a.data)).save(file, "PNG", compress_level=0)
        copy = live.sign((Item("image", "image/png", file.getvalue()), original.b), BOB)
        assert (await live.client.post_pair(copy.encode())).verdict.reason is Reason.PAIR_COPY
        told = (await look(live, tmp_path / "home", private_key=BOB))[-1]
    assert told.result == "cannot tell"
    assert told.why == (
        f"the pair was refused as a near copy of entry {decided.receipt.index}; "
        "this command does not repeat that comparison"
    )


async def test_files_of_another_checkpoint_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path / "v") as live:
        digest = live.service.embedder.checkpoint
        for name in ("../../keys/admin.token", "..%2F..%2Fkeys%2Fadmin.token", "keys"):
            with pytest.raises(Rejected) as caught:
                await live.client.checkpoint_file(digest, name)
            assert caught.value.status == 404
        with pytest.raises(Rejected, match=r"NOT_FOUND"):
            await live.client.checkpoint_file(bytes(32), MANIFEST)
        whole = await fetch_checkpoint(live.client, digest, tmp_path / "home")
        assert whole.digest == digest.hex()
        honest = live.client.checkpoint_file

        async def other(asked: bytes, name: str) -> bytes:
            return await honest(asked, name) + (b" " if name == MODEL else b"")

        live.client.checkpoint_file = other  # type: ignore[method-assign, assignment]
        with pytest.raises(CheckpointError, match=r"CHECKPOINT_DIFFERS"):
            await fetch_checkpoint(live.client, digest, tmp_path / "another")
    assert not (tmp_path / "another" / "checkpoints").exists()


async def test_a_sample_follows_from_the_ledger_alone(tmp_path: Path) -> None:
    async with running(tmp_path / "v") as live:
        await submit_all(live, 8)
        leaves = [entry.encode() for entry in (await live.client.entries(0, 1000)).entries]
    some = choose(leaves, sample=3).indices
    assert len(some) == 3
    assert some == choose(list(leaves), sample=3).indices
    assert choose(leaves, sample=100).indices == tuple(
        i for i, leaf in enumerate(leaves) if b'"outcome":"accepted"' in leaf
    )
    assert {choose(leaves[:-less], sample=3).indices for less in (1, 2, 3)} != {some}, "another root draws others"
    with pytest.raises(SourceError, match=r"ENTRY_UNKNOWN"):
        choose(leaves, index=len(leaves))
    with pytest.raises(SourceError, match=r"ENTRY_UNKNOWN"):
        choose(leaves, pair=bytes(32))


async def test_the_command_tells_agreement_difference_and_doubt_by_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "v") as live:
        await submit_all(live, 2)

        shell = Shell(tmp_path / "home", live.url)

        async def run(*arguments: str) -> Said:
            return await asyncio.to_thread(shell.run, "rescore", *arguments, "--json", timeout_s=600)

        assert (await run("--sample", "5")).status == 0
        said = await run("--index", "0")
        assert (said.status, said.json["result"]) == (14, "cannot tell"), said.err
        lie(monkeypatch, csls_micro=900_000)
        await live.client.post_pair(live.sign(pictures(1, 5)[0], BOB).encode())
        monkeypatch.undo()
        said = await run("--sample", "50")
        assert (said.status, said.json["differ"]) == (5, 1)
        assert (await run("--sample", "1", "--index", "1")).status == 2
