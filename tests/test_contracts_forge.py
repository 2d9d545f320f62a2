"""The contracts' own tests under forge, the mutants that they kill, and what the analyser and the prover say."""

import json
import random
import shutil
from pathlib import Path

import pytest

from contracts import mutate
from contracts.audit import TOOLS, analyse, judge, prove
from contracts.forge import ROOT, SEEDS, find_forge, measure_coverage, play_tests, run_forge
from contracts.mutate import SOURCES, Mutant, make_mutants, named_mutants, play
from curiosity.protocol.errors import ChainError

needs_forge = pytest.mark.skipif(
    find_forge() is None or shutil.which("node") is None, reason="forge or node is absent: `npm ci` fetches the one"
)
needs_tools = pytest.mark.skipif(not TOOLS.is_dir(), reason="the audit tools are absent: `make audit` fetches them")


@needs_forge
def test_every_test_of_the_contracts_passes() -> None:
    report = play_tests()
    assert report.failed == ()
    assert report.passed >= 83
    assert report.calls >= 400


@needs_forge
@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_invariants_hold_for_thousands_of_steps_on_the_committed_bytecode(seed: int) -> None:
    report = play_tests(full=True, seed=seed)
    assert report.failed == ()
    assert report.calls >= 8_000
    built = json.loads((ROOT / ".cache/forge/out/CuriosityRewards.sol/CuriosityRewards.json").read_text())
    committed = json.loads((ROOT / "curiosity/chain/abi/CuriosityRewards.json").read_text())
    assert built["bytecode"]["object"] == committed["bytecode"]


@needs_forge
@pytest.mark.slow
def test_nearly_every_branch_is_taken() -> None:
    taken, branches = measure_coverage()
    assert branches > 70
    assert taken / branches >= 0.95


@needs_forge
@pytest.mark.slow
def test_no_mutant_survives() -> None:
    drawn = random.Random(1).sample(make_mutants(), 40)
    outcome = play(drawn)
    assert outcome.survived == ()
    assert len(outcome.killed) >= 30


@needs_forge
@pytest.mark.slow
def test_no_named_mutant_survives() -> None:
    """Each bends a rule as an attack would, or as the tests once did not notice."""
    named = named_mutants()
    outcome = play(named)
    assert outcome.survived == outcome.refused == ()
    assert len(outcome.killed) == len(named) >= 18


def test_mutants_are_many_and_each_is_one_change() -> None:
    mutants = make_mutants()
    assert len(mutants) > 200
    assert {one.source for one in mutants} == set(SOURCES)
    for one in mutants:
        text = (ROOT / f"contracts/src/{one.source}.sol").read_text().split("\n")
        assert text[one.line - 1] == one.before != one.after
    assert str(Mutant("A", 3, "x", "    b;", "    ")) == "A:3: x: b;"


def test_every_source_has_tests_that_are_asked_first() -> None:
    files = {path.name for path in (ROOT / "contracts/test").glob("*.t.sol")}
    for names in mutate._NEAR.values():
        assert {f"{name}.t.sol" for name in names.strip("{}").split(",")} <= files


def test_without_forge_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contracts.forge.find_forge", lambda: None)
    with pytest.raises(ChainError, match="FORGE_MISSING: forge is absent"):
        play_tests()


@needs_forge
def test_forge_that_cannot_build_gives_its_words(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    with pytest.raises(ChainError, match="FORGE_FAILED"):
        play_tests(root=tmp_path)
    assert run_forge(["--version"], root=tmp_path).stdout.startswith("forge Version: 1.")


def test_an_analysers_finding_needs_its_explanation_and_the_other_way_round() -> None:
    grave = {"impact": "High", "check": "reentrancy", "description": "A.f() calls out\n..."}
    light = {"impact": "Low", "check": "timestamp", "description": "A.g() compares"}
    words = {"check": "reentrancy", "where": "A.f()", "why": "It is guarded."}
    assert judge([grave, light], [words]) == []
    assert judge([grave], []) == ["High reentrancy: A.f() calls out"]
    assert judge([light], [words]) == ["explains nothing: reentrancy in A.f()"]
    assert len(judge([grave], [{**words, "why": ""}])) == 2


@needs_forge
@needs_tools
@pytest.mark.slow
def test_the_analyser_finds_nothing_unexplained() -> None:
    assert analyse() == []


@needs_forge
@needs_tools
@pytest.mark.slow
def test_the_arithmetic_is_proven() -> None:
    assert prove() == []
