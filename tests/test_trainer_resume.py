"""A training that is killed, stopped or fed broken states goes on as if nothing had been, or says why it cannot."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from curiosity.embedding.modalities import decode
from curiosity.embedding.space import EmbeddingSpace
from curiosity.protocol.errors import CheckpointError, ConfigError, ExitCode
from tests.material.phase import SHORT_PLAN, read_streams, short_plan
from trainer.feed import read_trusted
from trainer.phase_material import read_training_pairs
from trainer.phase_training import _Stop
from trainer.plan import TrainingPlan, parse_plan
from trainer.progressive import Interrupted, SafetyStop, Saving, Training
from trainer.recipe import Recipe
from trainer.state import NEWEST, PREVIOUS, read_state, write_state
from trainer.train import Capture, TrainingRun

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("one_thread")


def make_training(digits: Path, out: Path, plan: TrainingPlan | None = None, **options: Any) -> Training:
    plan, material = read_training_pairs([digits], plan or short_plan())
    return Training(plan, material, out, **options)


@pytest.fixture(scope="module")
def whole(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "run"
    make_training(digits, out).run()
    return out


def weights(out: Path) -> dict[str, torch.Tensor]:
    state = read_state(out / "state")
    assert state is not None
    assert state.facts["phase"] == 2  # both phases are over
    return {name: tensor for name, tensor in state.tensors.items() if name.startswith("model/") or name == "history"}


def assert_equal_runs(one: Path, other: Path) -> None:
    left, right = weights(one), weights(other)
    assert set(left) == set(right)
    assert [name for name in left if not torch.equal(left[name], right[name])] == []
    reports = [json.loads((out / "report.json").read_text()) for out in (one, other)]
    assert [p["drawn"] for p in reports[0]["phases"]] == [p["drawn"] for p in reports[1]["phases"]]
    assert [p["recall"] for p in reports[0]["phases"]] == [p["recall"] for p in reports[1]["phases"]]


def start(digits: Path, config: Path, out: Path, processes: int = 1, resume: bool = False) -> subprocess.Popen[str]:
    launcher = ["-m", "trainer.phases"]
    if processes > 1:
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", *launcher]
    command = [sys.executable, *launcher, "--config", str(config), "--pairs", str(digits), "--out", str(out)]
    command += ["--threads", "1", "--save-steps", "2", *(["--resume"] if resume else [])]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )


def wait_for_save(process: subprocess.Popen[str], phase: int, step: int) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line) if line.startswith("{") else {}
        if (event.get("event"), event.get("phase"), event.get("step")) == ("saved", phase, step):
            return
    raise AssertionError("it ended before that state was saved")


def test_a_killed_training_goes_on_to_the_same_weights_bit_for_bit(digits: Path, tmp_path: Path) -> None:
    config, out, whole = tmp_path / "plan.yaml", tmp_path / "run", tmp_path / "whole"
    config.write_text(SHORT_PLAN)
    # All in processes of their own: what other tests did to this one must not matter.
    with start(digits, config, whole) as process:
        process.communicate(timeout=300)
    assert process.returncode == 0
    with start(digits, config, out) as process:
        wait_for_save(process, 1, 4)
        process.kill()  # in the second phase, between step 4 and the end
    assert process.returncode == -signal.SIGKILL
    found = read_state(out / "state")
    assert found is not None
    assert found.facts["phase"] == 1
    assert 4 <= found.facts["steps"] < 6
    with start(digits, config, out, resume=True) as process:
        said, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    resumed = {"event": "resumed", "phase": 1, "step": found.facts["steps"]}
    assert resumed in [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert_equal_runs(whole, out)


def test_what_was_embedded_before_does_not_change_a_training(digits: Path, whole: Path, tmp_path: Path) -> None:
    space = EmbeddingSpace("tiny", modalities=["text"])
    space.tower("text").forget()
    read = read_trusted([digits], ["genesis", "submit"])
    texts = {pair.item("text").load() for pair in read if "text" in pair.name}
    for text in sorted(texts):  # alone: in another company than in the training, so other in the last bits
        space.embed("text", [decode("text", text, "text/plain")])
    make_training(digits, tmp_path / "run").run()
    assert_equal_runs(whole, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("sharding", ["ddp", "fsdp"])
def test_two_processes_that_are_stopped_go_on_to_the_same_weights(digits: Path, tmp_path: Path, sharding: str) -> None:
    config = tmp_path / "plan.yaml"
    config.write_text(SHORT_PLAN.replace("{batch", f"{{sharding: {sharding}, batch"))
    for out, stopped in ((tmp_path / "whole", False), (tmp_path / "stopped", True)):
        with start(digits, config, out, 2) as process:
            if stopped:
                wait_for_save(process, 1, 2)
                process.terminate()  # torchrun passes it on to both
            process.communicate(timeout=300)
        assert (process.returncode == 0) is not stopped
    assert [read.facts["phase"] for read in [read_state(tmp_path / "stopped" / "state")] if read] == [1]
    with start(digits, config, tmp_path / "stopped", 2, resume=True) as process:
        process.communicate(timeout=300)
    assert process.returncode == 0
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "stopped")
    for name, tensor in one.items():  # split sums may round otherwise: not bit for bit
        assert torch.allclose(tensor.double(), other[name].double(), rtol=1e-4, atol=1e-5), name


def test_a_stop_is_to_the_step_and_costs_nothing(digits: Path, whole: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "run", list[dict[str, Any]]()

    def has_taken(steps: int) -> bool:
        return any(e.get("what") == "train" and e["done"] == steps for e in said)

    with pytest.raises(Interrupted, match="after step 3") as caught:
        make_training(digits, out, tell=said.append, should_stop=lambda: has_taken(3)).run()
    assert caught.value.exit_code == ExitCode.INTERRUPTED
    state = read_state(out / "state")
    assert state is not None
    assert (state.facts["phase"], state.facts["steps"]) == (0, 3)
    make_training(digits, out).run(resume=True)
    assert_equal_runs(whole, out)


def test_a_training_that_is_over_is_only_reported_again(digits: Path, whole: Path) -> None:
    before, said = (whole / "state" / NEWEST).read_bytes(), list[dict[str, Any]]()
    make_training(digits, whole, tell=said.append).run(resume=True)
    assert not any(event.get("what") == "train" for event in said)
    assert (whole / "state" / NEWEST).read_bytes() == before


def test_signals_ask_to_stop_and_handlers_come_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    for number in (signal.SIGTERM, signal.SIGINT):
        stop = _Stop()
        assert not stop.is_asked()
        os.kill(os.getpid(), number)
        assert stop.is_asked()
        stop.close()
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


@pytest.mark.parametrize(
    ("changed", "code", "named"),
    [
        (SHORT_PLAN.replace("batch: 24", "batch: 20"), "STATE_OTHER_PLAN", "phases[0].recipe.batch: 20, was 24"),
        (SHORT_PLAN.replace("seed: 3", "seed: 4"), "STATE_OTHER_PLAN", "seed: 4, was 3"),
        (SHORT_PLAN.replace("replay: 0.4", "replay: 0.2"), "STATE_OTHER_PLAN", "phases[1].replay: 0.2, was 0.4"),
    ],
)
def test_another_plan_is_refused_by_name(digits: Path, whole: Path, changed: str, code: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_training(digits, whole, parse_plan(changed)).run(resume=True)
    assert caught.value.code == code
    assert named in caught.value.what


def test_other_data_is_refused_and_so_is_a_run_over_another(digits: Path, whole: Path) -> None:
    plan, material = read_training_pairs([digits], short_plan())
    fewer = replace(material, trained=material.trained[:-1])
    with pytest.raises(ConfigError, match="STATE_OTHER_DATA") as caught:
        Training(plan, fewer, whole).run(resume=True)
    assert f"trained.pairs: {len(fewer.trained)}, was {len(material.trained)}" in caught.value.what
    with pytest.raises(ConfigError, match="RUN_EXISTS"):
        make_training(digits, whole).run()


def test_the_safety_stop_saves_the_state_and_a_resumed_training_takes_the_rest(
    digits: Path, whole: Path, tmp_path: Path
) -> None:
    plan = short_plan()
    late = replace(plan.phases[1], recipe=replace(plan.phases[1].recipe, stop_after_s=1e-9))
    with pytest.raises(SafetyStop, match="phase heard took 0 of 6 steps") as failure:
        make_training(digits, tmp_path, replace(plan, phases=(plan.phases[0], late))).run()
    assert failure.value.exit_code == ExitCode.INCOMPLETE
    # The safety stop is no part of what is learned: the state is that of the same plan with another one.
    make_training(digits, tmp_path).run(resume=True)
    assert_equal_runs(tmp_path, whole)


def test_a_loss_that_is_no_number_ends_the_run_and_spares_the_state(digits: Path, tmp_path: Path) -> None:
    plan = parse_plan(SHORT_PLAN.replace("2.0e-3", "1.0e+20").replace("clip_norm: 10", "warmup_share: 0.0"))
    with pytest.raises(ConfigError, match="TRAINING_DIVERGED"):
        make_training(digits, tmp_path, plan, saving=Saving(every_steps=1)).run()
    state = read_state(tmp_path / "state")
    assert state is not None
    assert all(bool(torch.isfinite(t).all()) for t in state.tensors.values() if t.is_floating_point())


def test_a_restored_run_takes_the_same_steps_with_every_option(digits: Path) -> None:
    recipe = Recipe(steps=8, batch=16, junk_each=4, junk_pool=4, loss="siglip", clip_norm=1.0, differential_weight=0.1)
    space, library, streams = read_streams(digits)
    run = TrainingRun(space, library, streams[:1], recipe, replay=streams[1:], replay_share=0.4)
    for _ in range(4):
        run.take_step()
    taken = run.capture()
    went_on = [run.take_step() for _ in range(4)]
    space, library, streams = read_streams(digits)
    again = TrainingRun(space, library, streams[:1], recipe, replay=streams[1:], replay_share=0.4)
    again.restore(taken)
    assert [again.take_step() for _ in range(4)] == went_on
    assert again.is_done()
    assert again.drawn == run.drawn
    one, other = run.capture(), again.capture()
    assert {"bias", "optimizer/bias/exp_avg"} <= set(one.tensors)
    assert [name for name, tensor in one.tensors.items() if not torch.equal(tensor, other.tensors[name])] == []
    assert one.facts["random"] == other.facts["random"]


CAPTURE = Capture({"model/w": torch.arange(6.0), "random/torch": torch.get_rng_state()}, {"steps": 7, "phase": 0})


def test_a_broken_state_gives_way_to_the_one_before(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    write_state(tmp_path, CAPTURE)
    write_state(tmp_path, replace(CAPTURE, facts={"steps": 8}))
    (tmp_path / f".{NEWEST}.part").write_bytes(b"half of a file")  # what a kill while writing leaves
    found = read_state(tmp_path)
    assert found is not None
    assert found.facts == {"steps": 8}
    data = bytearray((tmp_path / NEWEST).read_bytes())
    for broken in (data[:-9] + bytes([data[-9] ^ 1]) + data[-8:], data[: len(data) // 2], b""):
        (tmp_path / NEWEST).write_bytes(broken)
        found = read_state(tmp_path)
        assert found is not None
        assert found.facts == CAPTURE.facts
        assert torch.equal(found.tensors["model/w"], CAPTURE.tensors["model/w"])
    (tmp_path / PREVIOUS).write_bytes(data[:100])
    with pytest.raises(CheckpointError, match="STATE_BROKEN"):
        read_state(tmp_path)


def test_a_state_that_is_not_finite_never_replaces_a_good_one(tmp_path: Path) -> None:
    write_state(tmp_path, CAPTURE)
    broken = {"model/w": torch.tensor([1.0, float("nan")])}
    with pytest.raises(CheckpointError, match="STATE_NOT_FINITE"):
        write_state(tmp_path, Capture(broken, {}))
    found = read_state(tmp_path)
    assert found is not None
    assert found.facts == CAPTURE.facts
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="STATE_NOT_WRITTEN"):
        write_state(tmp_path / "file", CAPTURE)
