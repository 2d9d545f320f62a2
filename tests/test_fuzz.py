"""A short round of the fuzzing of every parser; `python -m fuzz` runs the long ones, with coverage."""

import base64
import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from curiosity.protocol.errors import CuriosityError
from curiosity.protocol.evidence import Shown, check_evidence
from curiosity.protocol.tlog import parse_tile_path, parse_tree_head, parse_vkey
from curiosity.protocol.wire import encode
from fuzz import given, run
from fuzz.targets import TARGETS, Target, mutated


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_parser_gives_a_value_or_our_error(target: Target) -> None:
    chance = random.Random(20_260_101)
    for seed in target.seeds:
        target.check(seed)
    for _ in range(400):
        target.check(mutated(target, chance))


def test_the_seeds_are_good_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A target whose seeds are refused would test nothing but its first refusal."""
    for name, read in (("vkey", parse_vkey), ("tree-head", parse_tree_head), ("tile-path", parse_tile_path)):
        for seed in TARGETS[name].seeds:
            read(seed.decode())
    shown = [check_evidence(one, [given.LIAR_VKEY]).shown for one in given.FORKS]
    assert shown == [Shown.TWO_ROOTS, Shown.REWRITTEN, Shown.NOTHING]
    # What holds and is not what was signed would be found: the examples get as far as being compared.
    for check, name in ((given.check_takedown_request, "TAKEDOWN"), (given.check_exported_line, "EXPORTED")):
        good = getattr(given, name)
        changed = replace(good, signature=bytes(65))
        monkeypatch.setattr(given, name, changed)
        with pytest.raises(AssertionError):
            check(encode(good))
    with pytest.raises(CuriosityError):
        parse_vkey(mutated(TARGETS["vkey"], random.Random(1)).decode("utf-8", "surrogateescape"))


def test_a_lenient_parser_would_be_found() -> None:
    """What Python's own parsers take: spaces, underscores and leading zeros in numbers, unused bits in base64."""

    def check_lenient_size(data: bytes) -> None:
        try:
            size = int(data.decode("utf-8", "surrogateescape"))
        except ValueError:
            return
        assert f"{size}".encode() == data

    def check_lenient_base64(data: bytes) -> None:
        try:
            value = base64.b64decode(data, validate=True)
        except ValueError:
            return
        assert base64.b64encode(value) == data

    for check, seed in ((check_lenient_size, b"20852014"), (check_lenient_base64, base64.b64encode(bytes(32)))):
        lenient, chance = Target("lenient", check, (seed,)), random.Random(20_260_101)
        check(seed)
        found = 0
        for _ in range(2000):
            try:
                check(mutated(lenient, chance))
            except AssertionError:
                found += 1
        assert found > 0


def test_an_input_that_takes_long_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(data: bytes) -> None:
        until = time.process_time() + len(data) / 1000
        while time.process_time() < until:
            pass

    monkeypatch.setattr(run, "SLOW_S", 0.02)
    run.timed(slow)(b"x")
    with pytest.raises(AssertionError, match="processor time"):
        run.timed(slow)(bytes(50))


def test_the_campaign_counts_processor_time_and_keeps_what_it_said_of_others(tmp_path: Path) -> None:
    kept = {"executions": 5, "edges": 1, "corpus": 1, "cpu_seconds": 600, "wall_seconds": 700, "found": []}
    (tmp_path / "f.json").write_text(json.dumps({"targets": {"vkey": kept, "gone": kept}}))
    command = [sys.executable, "-m", "fuzz", "tile-path", "--seconds", "1", "--folder", str(tmp_path)]
    subprocess.run([*command, "--json", str(tmp_path / "f.json")], check=True, capture_output=True)
    report = json.loads((tmp_path / "f.json").read_text())
    assert list(report["targets"]) == ["vkey", "tile-path"]  # what is no target any more is not told of
    assert report["targets"]["vkey"] == kept
    told = report["targets"]["tile-path"]
    assert told["cpu_seconds"] >= 1
    assert told["wall_seconds"] >= told["cpu_seconds"] - 1
    assert report["executions"] == 5 + told["executions"] > 1000


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_minute_with_coverage_finds_nothing(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", name, "--seconds", "60", "--folder", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
