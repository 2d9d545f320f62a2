"""Training in phases: plans are read strictly, every phase is reported, the checkpoint and the curves are usable."""

import json
import re
import shlex
import struct
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboardX.proto.event_pb2 import Event
from torch.distributed.run import get_args_parser

from curiosity.embedding.checkpoint import load
from curiosity.embedding.losses import MAX_LOG_SCALE
from curiosity.embedding.modalities import BY_NAME
from curiosity.embedding.retrieval import Recall
from curiosity.embedding.weights import read_space
from curiosity.protocol.errors import ConfigError, ExitCode, SourceError
from tests.material.phase import PLAN, read_streams, short_plan
from trainer import phases
from trainer.evaluation import evaluate
from trainer.feed import read_trusted
from trainer.library import Library
from trainer.phase_material import read_training_pairs
from trainer.phase_report import from_plain, make_table, measure_falls, to_plain
from trainer.plan import CONFIGS, TINY, parse_plan, read_plan
from trainer.progressive import Training
from trainer.recipe import Recipe
from trainer.spill import Spill
from trainer.train import TrainingRun, train

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished training of two phases, with what the command printed in ``printed``."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "plan.yaml").write_text(PLAN)
    with pytest.MonkeyPatch.context() as patch, (folder / "printed").open("w") as printed:
        patch.setattr("sys.stdout", printed)
        code = phases.main(
            ["--config", str(folder / "plan.yaml"), "--pairs", str(digits), "--out", str(folder / "run")]
        )
    assert code == ExitCode.OK
    return folder


def read_report(trained: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((trained / "run" / "report.json").read_text())
    return report


def test_every_phase_reports_every_pair_so_far_in_both_directions(trained: Path) -> None:
    first, second = read_report(trained)["phases"]
    assert set(first["recall"]["digits"]) == {"image-text", "text-image"}
    own = {"image-text", "text-image", "audio-text", "text-audio"}
    emergent = {"audio-image", "image-audio"}
    found = {name: one["emergent"] for name, one in second["recall"]["digits"].items() if "@" not in name}
    assert found == dict.fromkeys(own, False) | dict.fromkeys(emergent, True)
    assert second["replayed"] == ["image-text"]
    assert (first["steps"], second["steps"]) == (25, 25)
    assert first["recall"]["digits"]["image-text"]["r1"] > 0.5  # chance is a tenth
    assert second["recall"]["digits"]["text-audio"]["r1"] > 0.5
    assert json.loads((trained / "run" / "phases" / "2-heard.json").read_text()) == second


def test_what_it_prints_is_json_and_ends_with_the_report(trained: Path) -> None:
    events = [json.loads(line) for line in (trained / "printed").read_text().splitlines()]
    assert events[-1]["event"] == "done"
    assert {key: value for key, value in events[-1].items() if key != "event"} == read_report(trained)
    steps = [event for event in events if event.get("what") == "train"]
    assert {event["phase"] for event in steps} == {"seen", "heard"}
    assert steps[-1]["done"] == steps[-1]["total"] == 25
    assert {"loss", "learning_rate", "temperature", "gradient_norm"} <= set(steps[0])


def test_the_checkpoint_is_what_was_reported(trained: Path, digits: Path) -> None:
    report = read_report(trained)
    checkpoint = load(trained / "run" / "checkpoint", expected=report["checkpoint"]["digest"])
    assert set(checkpoint.calibration.pairs) >= {"image-text", "audio-text"}
    assert checkpoint.manifest.recipe["phases"][1]["name"] == "heard"
    voices = checkpoint.manifest.data["voices"]
    held_out = read_trusted([digits], ["held-out"])
    recall = evaluate(read_space(checkpoint), held_out, trained=["image-text", "audio-text"], known_voices=voices)
    assert to_plain(recall) == report["phases"][-1]["recall"]
    assert to_plain(from_plain(to_plain(recall))) == to_plain(recall)


def read_events(folder: Path) -> dict[str, dict[int, float]]:
    """Scalars by tag and step, from the records of TensorBoard's files: length, its CRC, data, its CRC."""
    out: dict[str, dict[int, float]] = {}
    for file in sorted(folder.iterdir()):
        data, at = file.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                out.setdefault(value.tag, {})[event.step] = value.simple_value
    return out


def test_curves_can_be_read_back(trained: Path) -> None:
    events, report = read_events(trained / "run" / "events"), read_report(trained)
    for name in ("loss", "learning_rate", "temperature", "gradient_norm"):
        assert sorted(events[f"train/{name}"]) == list(range(1, 51))
    assert np.mean(list(events["train/loss"].values())[20:25]) < events["train/loss"][1] / 2
    found = report["phases"][1]["recall"]["digits"]["image-text"]["r10"]
    assert events["r10/digits/image-text"][50] == pytest.approx(found)
    picture = np.asarray(Image.open(trained / "run" / "curves.png").convert("L"))
    assert min(picture.shape) > 500
    assert (picture < 128).mean() > 0.005  # lines and letters


def report_of(name: str, pairs: list[str], **r10: float) -> dict[str, Any]:
    made = {key.replace("_", "-"): Recall(0, 0, value, 1, 9, 99, 0.01, 0.05, 0.1, 9) for key, value in r10.items()}
    return {"name": name, "pairs": pairs, "recall": to_plain({"s": made})}


def test_falls_count_from_the_last_phase_that_trained_a_pair() -> None:
    reports = [
        report_of("one", ["image-text", "audio-text"], image_text=0.5, text_image=0.5, text_audio=0.9),
        report_of("two", ["image-text"], image_text=0.8, text_image=0.6, text_audio=0.95, audio_image=0.7),
        report_of("three", ["emg-text"], image_text=0.79, text_image=0.7, text_audio=0.85, emg_text=0.3),
    ]
    found = measure_falls(reports)
    assert found["pairs"]["s"] == {
        "text-audio": {"from_own": 5.0, "from_best": 10.0},
        "image-text": {"from_own": 1.0, "from_best": 1.0},
        "text-image": {"from_own": -10.0, "from_best": 0.0},
    }
    assert found["largest"] == 5.0
    assert measure_falls(reports[:1])["largest"] is None
    table = make_table(reports)
    assert table[0] == ["set", "direction", "one", "two", "three", "lost", "chance", "gallery"]
    assert ["s", "text-audio", "90.0", "95.0", "85.0", "+5.0", "10.0", "99"] in table


@pytest.mark.parametrize(
    ("text", "code", "path"),
    [
        ("phases: [{name: a, pairs: [text-imgae], steps: 1}]", "MODALITY_UNKNOWN", "phases[0].pairs[0]"),
        ("phases: [{name: a, pairs: [text-text], steps: 1}]", "CONFIG_VALUE", "phases[0].pairs[0]"),
        ("phases: [{name: a, pairs: [text-image, image-text], steps: 1}]", "CONFIG_VALUE", "phases[0].pairs[1]"),
        ("phases: [{name: a, pairs: [], steps: 1}]", "CONFIG_TYPE", "phases[0].pairs"),
        ("phases: [{name: a, pairs: [text-image], stesp: 1}]", "CONFIG_KEY_UNKNOWN", "phases[0].stesp"),
        ("phases: [{name: a, pairs: [text-image], steps: 1.5}]", "CONFIG_TYPE", "phases[0].steps"),
        ("phases: [{name: a, pairs: [text-image], steps: true}]", "CONFIG_TYPE", "phases[0].steps"),
        ("phases: [{name: a, pairs: [text-image], steps: 0}]", "CONFIG_VALUE", "phases[0].steps"),
        ("phases: [{name: a, pairs: [text-image]}]", "CONFIG_KEY_MISSING", "phases[0]"),
        ("phases: [{pairs: [text-image], steps: 1}]", "CONFIG_KEY_MISSING", "phases[0].name"),
        ("phases: [{name: ../a, pairs: [text-image], steps: 1}]", "CONFIG_VALUE", "phases[0].name"),
        ("phases: [{name: a, pairs: [text-image], steps: 1, replay: 1}]", "CONFIG_VALUE", "phases[0].replay"),
        ("phases: [{name: a, pairs: [text-image], steps: 1, loss: mse}]", "LOSS_COLLAPSES", "phases[0]"),
        (
            "phases: [{name: a, pairs: [text-image], steps: 1, frozen: [imgae]}]",
            "MODALITY_UNKNOWN",
            "phases[0].frozen[0]",
        ),
        (
            "phases: [{name: a, pairs: [text-image], steps: 1, loss_weights: {text-audio: 1}}]",
            "CONFIG_VALUE",
            "phases[0].loss_weights.text-audio",
        ),
        ("phases: [{name: a, pairs: [text-image], stop_after_s: .nan}]", "CONFIG_TYPE", "phases[0].stop_after_s"),
        ("phases: [{name: a, pairs: [text-image], stop_after_s: 9}]", "CONFIG_KEY_MISSING", "phases[0].steps"),
        ("phases: [{name: a, pairs: [text-image], max_cpu_s: 9}]", "CONFIG_KEY_UNKNOWN", "phases[0].max_cpu_s"),
        ("phases: [1]", "CONFIG_TYPE", "phases[0]"),
        ("phases: []", "CONFIG_TYPE", "phases"),
        ("preset: huge\nphases: [1]", "PRESET_UNKNOWN", "preset"),
        ("precision: fp8\nphases: [{name: a, pairs: [text-image], steps: 1}]", "PRECISION_UNKNOWN", "phases[0]"),
        (
            "preset: tiny-scratch\nphases: [{name: a, pairs: [text-emg], steps: 1}]",
            "MODALITY_NOT_IN_PRESET",
            "pairs[0]",
        ),
        ("splits: [held-out]\nphases: [{name: a, pairs: [text-image], steps: 1}]", "CONFIG_VALUE", "splits"),
        ("seed: -1\nphases: [{name: a, pairs: [text-image], steps: 1}]", "CONFIG_VALUE", "seed"),
        ("defaults: {bacth: 3}\nphases: [1]", "CONFIG_KEY_UNKNOWN", "defaults.bacth"),
        ("defaults: {batch: x}\nphases: [{name: a, pairs: [text-image], steps: 1}]", "CONFIG_TYPE", "defaults.batch"),
        ("phases: [}", "CONFIG_NOT_YAML", "line 1"),
        ("seed: 1\nseed: 2\nphases: []", "CONFIG_NOT_YAML", "twice"),
        ("!!python/object/apply:os.getcwd []", "CONFIG_NOT_YAML", "python/object"),
        ("", "CONFIG_TYPE", "the file"),
    ],
)
def test_a_wrong_plan_is_refused_with_the_path_of_what_is_wrong(text: str, code: str, path: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_plan(text, "p.yaml")
    assert caught.value.code == code
    assert caught.value.what.startswith("p.yaml: ")
    assert path in caught.value.what
    assert caught.value.remedy


def test_the_remedy_knows_yaml_s_traps() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_plan("phases: [{name: a, pairs: [text-image], steps: 1, learning_rate: 2e-3}]")
    assert "2.0e-3" in caught.value.remedy


def test_shipped_plans_are_read_and_the_first_phase_is_language() -> None:
    assert sorted(path.name for path in CONFIGS.glob("*.yaml")) == ["balanced.yaml", "tiny.yaml"]
    for path in CONFIGS.glob("*.yaml"):
        plan = read_plan(path)
        assert {"audio-text", "image-text"} <= set(plan.phases[0].pairs)
        assert len({phase.recipe.seed for phase in plan.phases}) == len(plan.phases) > 1
        assert plan.modalities == tuple(sorted(BY_NAME))
        assert plan.with_seed(9).with_seed(plan.seed) == plan


def test_pairs_that_the_data_lacks_are_skipped_or_refused(digits: Path) -> None:
    plan, _ = read_training_pairs([digits], read_plan(TINY))
    assert [phase.pairs for phase in plan.phases] == [("image-text", "audio-text")]
    with pytest.raises(ConfigError, match="PAIRS_MISSING") as caught:
        read_training_pairs([digits], replace(read_plan(TINY), missing="refuse"))
    assert "phases[2].pairs: touch-video" in caught.value.what
    with pytest.raises(ConfigError, match="PAIRS_MISSING"):
        read_training_pairs([digits], parse_plan("missing: skip\nphases: [{name: a, pairs: [emg-action], steps: 1}]"))


def test_a_set_without_held_out_rows_is_refused(digits: Path, tmp_path: Path) -> None:
    lines = (digits / "pairs.jsonl").read_text().splitlines()
    (tmp_path / "pairs.jsonl").write_text("\n".join(line for line in lines if '"held-out"' not in line))
    with pytest.raises(SourceError, match="HELD_OUT_MISSING"):
        read_training_pairs([tmp_path], short_plan())


def test_the_command_says_what_is_wrong_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.yaml").write_text("phases: 3")
    assert phases.main(["--config", str(tmp_path / "plan.yaml"), "--pairs", str(tmp_path)]) == ExitCode.CONFIG
    said = json.loads(capsys.readouterr().out)
    assert (said["event"], said["error"]["code"]) == ("error", "CONFIG_TYPE")


def test_replay_takes_turns_and_its_share(digits: Path) -> None:
    space, library, streams = read_streams(digits)
    recipe = Recipe(steps=40, batch=16, junk_each=4, junk_pool=4)
    run = TrainingRun(space, library, streams[:1], recipe, replay=[streams[1], streams[1]], replay_share=0.25)
    drawn = []
    for _ in range(12):
        drawn.append([len(rows) for rows in run._draw()])
        run.taken.append(run.taken[-1] if run.taken else run.take_step())
    counts = np.array(drawn)
    assert (counts[:, 0] == 16).all()
    assert counts[:, 1:].sum() / counts.sum() == pytest.approx(0.25, abs=0.03)
    assert abs(counts[:, 1].sum() - counts[:, 2].sum()) <= 16


def test_bf16_learns_with_float32_weights(digits: Path) -> None:
    found = {}
    for precision in ("fp32", "bf16"):
        space, library, streams = read_streams(digits)
        recipe = Recipe(steps=25, batch=24, junk_each=4, junk_pool=4, precision=precision)
        first = TrainingRun(space, library, streams, replace(recipe, steps=1)).take_step().loss
        space, library, streams = read_streams(digits)
        found[precision] = first, train(space, library, streams, recipe).loss
        assert {parameter.dtype for parameter in space.parameters()} == {torch.float32}
        held_out = read_trusted([digits], ["held-out"])
        recall = evaluate(space, held_out, trained=["image-text"], known_voices=[])["digits"]
        assert recall["image-text"].r1 > 0.5  # chance is a tenth
    assert found["bf16"][0] == pytest.approx(found["fp32"][0], rel=0.02)
    assert found["bf16"][0] != found["fp32"][0]  # the towers did run in bfloat16
    assert found["bf16"][1] < 0.6 * found["bf16"][0]


def test_fp16_is_for_cuda(digits: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    space, library, streams = read_streams(digits)
    with pytest.raises(ConfigError, match="PRECISION_NEEDS_CUDA"):
        TrainingRun(space, library, streams, Recipe(precision="fp16"))


def test_gradients_are_clipped_and_the_temperature_neither_decays_nor_leaves_its_range(digits: Path) -> None:
    space, library, streams = read_streams(digits)
    recipe = Recipe(steps=4, batch=16, junk_each=4, junk_pool=4, clip_norm=0.5, learning_rate=0.5, warmup_share=0.0)
    run = TrainingRun(space, library, streams, recipe)
    taken = run.take_step()
    assert taken.gradient_norm > 1
    left = sum(float(g.square().sum()) for g in run._gradients()) ** 0.5
    assert left == pytest.approx(0.5, rel=1e-3)
    decay = {id(p): group["weight_decay"] for group in run._optimizer.param_groups for p in group["params"]}
    assert decay[id(space.log_scale)] == 0
    assert max(decay.values()) > 0
    with torch.no_grad():
        space.log_scale.fill_(50.0)
    assert run.take_step().temperature == pytest.approx(np.exp(-MAX_LOG_SCALE))


def test_frozen_encoders_stay_and_projections_learn(digits: Path, tmp_path: Path) -> None:
    text = """
publish: false
phases:
  - {name: one, pairs: [text-image], steps: 2, batch: 8, junk_each: 2, junk_pool: 2, frozen: [image]}
  - {name: two, pairs: [text-image], steps: 2, batch: 8, junk_each: 2, junk_pool: 2, unfrozen: [image]}
"""
    plan, material = read_training_pairs([digits], parse_plan(text))
    weights: list[dict[str, torch.Tensor]] = []
    training: Training

    def tell(event: dict[str, Any]) -> None:
        if event["event"] == "saved" and event["phase"] < 2:
            encoder = training.space.tower("image")._modules.get("encoder")
            named = encoder.named_parameters() if encoder is not None else []
            weights.append({name: tensor.detach().clone() for name, tensor in named})

    training = Training(plan, material, tmp_path, tell=tell)
    training.run()
    before, after_one, _, after_two = weights
    assert before, "the tiny image tower calls its convolutions its encoder"
    assert all(torch.equal(before[name], after_one[name]) for name in before)
    assert not all(torch.equal(before[name], after_two[name]) for name in before)


def test_a_library_that_spills_gives_the_same_tensors(digits: Path) -> None:
    pairs = read_trusted([digits], ["genesis"])
    space, library, _ = read_streams(digits)
    spilling = Library(space, spill=Spill(max_bytes=10_000))
    spilling.add(pairs)
    one, other = library.tensors(), spilling.tensors()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert spilling.spill.in_memory <= 10_000 < spilling.spill.in_files
    assert library.spill.in_files == 0
    again = Library(space, library._prepared)  # keeps no decoded item of what another prepared, but can get it
    again.add(pairs)
    for name, kept in library.kept.items():
        assert all(np.array_equal(a, b) for a, b in zip(kept, again.kept[name], strict=True))


def test_threads_change_neither_rows_nor_refusals(digits: Path) -> None:
    pairs = read_trusted([digits], ["genesis"])
    pairs[3] = replace(pairs[3], a=replace(pairs[3].a, media_type="image/gif"))
    space, _, _ = read_streams(digits)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        library = Library(space)
        kept = library.add(pairs)
        found.append((kept, library.refused, library.digests))
    torch.set_num_threads(1)
    assert found[0] == found[1]
    assert len(found[0][1]) == 1


DOCUMENT = (Path(__file__).parents[1] / "docs" / "training.md").read_text(encoding="utf-8")


def test_commands_in_the_document_parse() -> None:
    lines = [line for line in DOCUMENT.splitlines() if "-m trainer.phases " in line and not line.startswith("|")]
    assert len(lines) >= 4
    for line in lines:
        launcher, _, rest = line.partition("-m trainer.phases ")
        given = phases.phases.make_context("phases", shlex.split(rest)).params
        assert given["config"] is None or (CONFIGS.parents[1] / given["config"]).is_file()
        if launcher.startswith("torchrun"):
            get_args_parser().parse_args([*shlex.split(launcher)[1:], "-m", "trainer.phases"])


def test_the_document_s_plan_is_read_and_names_every_key() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    plan = parse_plan(text)
    assert [phase.name for phase in plan.phases] == ["language", "sound", "all"]
    for key in {field.name for field in fields(Recipe)} - {"seed"}:
        assert f"`{key}`" in DOCUMENT, key
    for field in fields(Recipe):
        row = re.search(rf"^\| `{field.name}` \| ([\d.]+) \|", DOCUMENT, re.MULTILINE)
        if row and field.name != "replay":
            assert float(row[1]) == field.default, field.name
