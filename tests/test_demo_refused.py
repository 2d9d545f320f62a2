"""The demo's path where training came to nothing: the trainer says so, the validator refuses, the parent stays."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curiosity.embedding.checkpoint import GENESIS, load, save
from curiosity.ledger.copy import copy_ledger
from curiosity.protocol.errors import ExitCode, Rejected
from node.demo.report import Report
from node.demo.run import switch
from node.screen import Screen
from tests.material.service import pictures, running
from trainer import round_training as training
from trainer.feed import LedgerSlice, read_trusted
from trainer.round import main
from trainer.step import Recipe

pytestmark = pytest.mark.usefixtures("one_thread")
FEW = Recipe(steps=3, batch=16, junk_each=4, junk_pool=4)


def spoil(all_digits: Path, out: Path, learning_rate: float, parent: Path = GENESIS) -> training.RoundResult:
    """Train the parent so fast that it forgets: the more, the higher the rate."""
    return training.run(
        parent,
        read_trusted([all_digits], ["submit"])[:20],
        [all_digits],
        out,
        ledger=LedgerSlice("log.example", 0, 100, "ab" * 32),
        recipe=replace(FEW, learning_rate=learning_rate),
    )


@pytest.mark.parametrize(("learning_rate", "code"), [(0.004, "CHECKPOINT_WORSE"), (0.03, "CHECKPOINT_UNFIT")])
async def test_a_child_that_learned_too_little_is_told_refused_and_not_recommended(
    learning_rate: float, code: str, all_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = spoil(all_digits, tmp_path / "child", learning_rate)
    result: dict[str, Any] = json.loads(json.dumps(made.to_json()))
    assert made.exit_code == ExitCode.CHECKPOINT
    assert made.fit == (code == "CHECKPOINT_WORSE")
    assert result["recommended"] == {"digest": load(GENESIS).digest, "path": str(GENESIS)}
    assert "worse than its parent: recall at 1 of digits" in result["problem"]
    assert str(GENESIS) in result["remedy"]
    assert "## Worse than its parent" in (tmp_path / "child/README.md").read_text()
    report = Report(Screen())
    async with running(tmp_path / "v") as live:
        await live.client.post_pair(live.sign(pictures(1)[0]).encode())
        size = live.service.ledger.size
        await switch(report, live.client, live.service.keys.admin_token, result)
        assert report.figures["switch"] == {"in_force": load(GENESIS).digest, "refused": code}
        assert report.failed == ["the validator judges under the trainer's checkpoint"]
        assert live.service.ledger.size == size
        after = await live.client.post_pair(live.sign(pictures(2)[1]).encode())
        assert after.verdict.checkpoint.hex() == load(GENESIS).digest
        if code == "CHECKPOINT_WORSE":  # the other arm: by force the validator judges under it
            told = await live.client.switch_checkpoint(
                live.service.keys.admin_token, str(tmp_path / "child"), force=True
            )
            assert told.checkpoint.hex() == made.digest
    said = capsys.readouterr().err
    assert code in said
    assert "keep its parent" in said


async def test_a_child_that_is_as_good_is_recommended_where_it_was_compared(
    all_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Genesis was evaluated on digits and emoji: without the emoji set a child of it is switched to only by force."""
    made = spoil(all_digits, tmp_path / "partly", 0.0)
    result: dict[str, Any] = json.loads(json.dumps(made.to_json()))
    assert (made.exit_code, result["worse"], len(result["uncompared"])) == (ExitCode.CHECKPOINT, [], 10)
    assert "was not compared where its parent was evaluated: emoji audio-image, " in made.problem
    assert "every set that it was evaluated on as --trusted" in made.remedy
    async with running(tmp_path / "v") as live:
        with pytest.raises(Rejected, match="CHECKPOINT_NOT_COMPARED"):
            await live.client.switch_checkpoint(live.service.keys.admin_token, result["path"])
        report = Report(Screen())
        await switch(report, live.client, live.service.keys.admin_token, result)
        assert (report.figures["switch"], report.failed) == ({"in_force": made.digest, "refused": ""}, [])
    assert ", by force" in capsys.readouterr().err

    genesis = load(GENESIS)
    evaluation = {**genesis.manifest.evaluation, "recall": {"digits": genesis.manifest.evaluation["recall"]["digits"]}}
    model = (GENESIS / "model.safetensors").read_bytes()
    parent = tmp_path / "parent"
    save(
        parent,
        manifest=replace(genesis.manifest, evaluation=evaluation),
        model=model,
        anchors=genesis.anchors,
        card="of digits",
    )
    made = spoil(all_digits, tmp_path / "child", 0.0, parent)
    assert (made.exit_code, made.problem, made.remedy) == (ExitCode.OK, "", "")
    assert made.to_json()["recommended"] == {"digest": made.digest, "path": str(tmp_path / "child")}
    assert "Worse than" not in (tmp_path / "child/README.md").read_text()
    cut = replace(made, complete=False, steps=1)
    assert cut.to_json()["recommended"]["path"] == str(parent)
    assert "after 1 of 3 steps" in cut.problem
    assert "--stop-after-s" in cut.remedy


async def test_the_command_says_on_standard_error_that_the_parent_is_to_be_kept(
    all_digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(tmp_path / "v") as live:
        for pair in pictures(4):
            await live.client.post_pair(live.sign(pair).encode())
        await copy_ledger(live.client, tmp_path / "mirror")
    sets = ["--trusted", all_digits, "--out", tmp_path / "child"]
    arguments = ["--parent", GENESIS, "--ledger", tmp_path / "mirror", *sets]
    status = main([*map(str, arguments), "--stop-after-s", "1e-9"])
    printed, said = capsys.readouterr()
    done = json.loads(printed.splitlines()[-1])
    assert (done["event"], status) == ("done", ExitCode.INCOMPLETE)
    assert done["recommended"]["path"] == str(GENESIS)
    assert f"NOT RECOMMENDED: {done['problem']}. {done['remedy']}" in said
    assert "Keep the parent" in said
