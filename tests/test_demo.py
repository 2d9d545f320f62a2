"""The whole network in small: the same command and the same code as `make demo`, fewer pairs."""

import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from curiosity.protocol.rewards import RewardParameters
from node.demo.judging import TRUE_SHARE, true_share
from node.demo.mischief import KINDS
from tests.material.up import command, environment, network, running_below

FOLDER = Path(__file__).parent.parent / ".cache" / "tests" / "demo"
SMALL = ("--no-emoji", "--limit", "160", "--steps", "24")


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("demo") / "demo.json"
    done = subprocess.run(
        command("demo", *SMALL, "--folder", FOLDER, "--out", out),
        capture_output=True, text=True, timeout=400, env=environment(),
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert out.exists(), done.stderr[-2000:]
    content: dict[str, Any] = json.loads(out.read_text())
    assert done.returncode == (0 if all(content["checks"].values()) else 1)
    return content


def test_every_pair_is_decided_and_every_receipt_verifies(figures: dict[str, Any]) -> None:
    decided = figures["accepted"] + sum(figures["rejected"].values()) + figures["held"] + figures["grey"]
    assert decided == figures["submitted"]
    assert figures["receipts_verified"] == figures["submitted"] >= 160
    outcomes = figures["outcomes"]
    assert outcomes["honest"]["accepted"] >= 0.8 * sum(outcomes["honest"].values()) >= 0.8 * 160
    for kind in ("blank picture", "noise picture", "noise sound"):
        assert outcomes[kind].get("accepted", 0) <= 0.2 * sum(outcomes[kind].values()), kind
    assert figures["true_share"] >= 0.8  # of 40 swapped captions; a judge that accepts all has 0.67


def test_digits_are_decided_at_once_and_what_is_held_all_the_same_is_judged_again(figures: dict[str, Any]) -> None:
    """The judge has beliefs of their own for digits. `test_validator_held` shows the judging again, with both arms."""
    assert figures["held"] <= 0.1 * figures["submitted"]
    held = {kind: counts["held"] for kind, counts in figures["outcomes"].items() if "held" in counts}
    assert {kind: sum(counts.values()) for kind, counts in figures["held_again"].items()} == held
    (check,) = [name for name in figures["checks"] if name.startswith("every held pair is judged again")]
    assert figures["checks"][check]


@pytest.mark.parametrize(
    ("honest", "swapped", "holds"),
    [
        ((1668, 2008, 190), (22, 241, 34), True),  # of ``offline`` on digits and emoji
        ((4130, 0, 792), (29, 0, 31), False),  # of ``tiny``, which holds nothing
        ((4922, 0, 0), (300, 0, 0), False),  # of a judge that accepts all
    ],
)
def test_accepting_what_cannot_be_told_does_not_hold(
    honest: tuple[int, int, int], swapped: tuple[int, int, int], *, holds: bool
) -> None:
    names = ("accepted", "held", "rejected")
    outcomes = {
        kind: Counter(dict(zip(names, counts, strict=True)))
        for kind, counts in (("honest", honest), (KINDS[0], swapped))
    }
    assert (true_share(outcomes) >= TRUE_SHARE) is holds


def test_no_attack_succeeds(figures: dict[str, Any]) -> None:
    assert set(figures["attacks"]) == {"replayed submission", "copied pair", "broken signature", "malformed file"}
    for name, attack in figures["attacks"].items():
        assert attack["tried"] > 0, name
        assert attack["succeeded"] == 0, name


def test_what_vested_is_what_was_claimed_and_what_the_ledger_gives(figures: dict[str, Any]) -> None:
    rule = RewardParameters(version=2)
    assert figures["claimed_wei"] == figures["derived_wei"]
    epochs = figures["epochs"]
    assert [one["number"] for one in epochs] == list(range(1, len(epochs) + 1))
    assert [int(one["emission_wei"]) for one in epochs[:2]] == [0, 0]
    assert sum(int(one["emission_wei"]) for one in epochs) == int(figures["claimed_wei"]) < rule.emission(1)
    assert epochs[-1]["unvested_wei"] == "0" != epochs[1]["unvested_wei"]
    claims = figures["claims"]
    assert all(claim["transaction"] for claim in claims)
    by_account = Counter(claim["account"] for claim in claims)
    assert len(by_account) == 3
    assert all(count == 2 for count in by_account.values())  # once while it vests, and once for the rest
    before, after = epochs[3], epochs[4]
    assert figures["takedown"]["parts_paid"] == 2
    assert after["paid_pairs"] >= before["paid_pairs"] - 1


def test_the_round_made_a_child_that_the_validator_took(figures: dict[str, Any]) -> None:
    assert (figures["training"]["steps"], figures["training"]["complete"]) == (24, True)
    assert figures["training"]["pairs"] == figures["accepted"]
    assert figures["checks"]["the validator judges under the trainer's checkpoint"]
    for moment in ("before", "after"):
        for direction in ("text-image", "image-text", "text-audio", "audio-text", "image-audio", "audio-image"):
            assert set(figures["recall"][moment][direction]) == {"r1", "r10", "gallery", "chance10"}
            assert figures["recall"][moment]["digits"][direction]["r1"] > 0.5


def test_it_leaves_nothing_running(figures: dict[str, Any]) -> None:
    assert figures["seconds"]["total"] > 0
    assert running_below(FOLDER) == []


def test_up_goes_on_with_what_the_demo_made(figures: dict[str, Any], tmp_path: Path) -> None:
    shutil.rmtree(FOLDER / "up", ignore_errors=True)
    with network(FOLDER, tmp_path) as up:
        assert "Going on with a copy of what the demo made" in up.said()
        asked = subprocess.run(
            command("query", "seven", "--url", up.url(), "--home", tmp_path / "home", "--json"),
            capture_output=True, text=True, env=environment(), timeout=600,
        )  # fmt: skip
        answer = json.loads(asked.stdout)
        assert answer["indexed"] == figures["searches"]["after"][0]["indexed"] > 50
        assert answer["found"][0]["partner_text"] == "seven"
    assert (FOLDER / "run" / "validator").is_dir()  # copied, not taken away
    assert running_below(FOLDER) == []
