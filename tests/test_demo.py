"""The whole network in small: the same command and the same code as `make demo`, fewer pairs."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / ".cache" / "tests" / "demo"
SMALL = ("--no-emoji", "--limit", "160", "--steps", "24")


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "node.cli", *map(str, arguments)]


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CURIOSITY_")}
    return kept | {"OMP_NUM_THREADS": "1"}


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
    assert figures["accepted"] + sum(figures["rejected"].values()) == figures["submitted"]
    assert figures["receipts_verified"] == figures["submitted"] >= 160
    assert figures["by_kind"]["honest"]["BELONGS_TOGETHER"] >= 0.8 * sum(figures["by_kind"]["honest"].values())
    for kind in ("blank picture", "noise picture", "noise sound"):
        codes = figures["by_kind"][kind]
        assert codes.get("BELONGS_TOGETHER", 0) <= 0.2 * sum(codes.values()), kind


def test_no_attack_succeeds(figures: dict[str, Any]) -> None:
    assert set(figures["attacks"]) == {"replayed submission", "copied pair", "broken signature", "malformed file"}
    for name, attack in figures["attacks"].items():
        assert attack["tried"] > 0, name
        assert attack["succeeded"] == 0, name


def test_what_was_claimed_is_what_the_ledger_gives(figures: dict[str, Any]) -> None:
    from protocol.rewards import RewardParameters

    assert figures["claimed_wei"] == figures["derived_wei"]
    assert int(figures["claimed_wei"]) == RewardParameters().emission(1)
    assert all(claim["transaction"] for claim in figures["claims"])


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
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = process.read_bytes()
        except OSError:
            continue
        assert str(FOLDER).encode() not in line, line


def test_up_stays_up_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    from contracts.devchain import find_anvil

    if find_anvil() is None:
        pytest.skip("eth-tester keeps no state, so that a network cannot be taken up again without anvil")
    home = tmp_path / "home"
    ports = ("--port", "0", "--chain-port", "0")
    sizes = []
    for _ in range(2):
        log = tmp_path / "up.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                command("up", *ports, *SMALL, "--folder", tmp_path / "net", "--out", tmp_path / "demo.json"),
                stderr=file, env=environment(),
            )  # fmt: skip
        try:
            deadline = time.monotonic() + 300
            while "Running." not in log.read_text():
                assert process.poll() is None, log.read_text()[-2000:]
                assert time.monotonic() < deadline
                time.sleep(0.2)
            url = log.read_text().split("Validator: ")[1].split()[0]
            asked = subprocess.run(
                command("query", "seven", "--url", url, "--home", home, "--json"),
                capture_output=True, text=True, env=environment(), timeout=60,
            )  # fmt: skip
            answer = json.loads(asked.stdout)
            sizes.append(answer["indexed"])
            assert answer["found"][0]["partner_text"] == "seven"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)
    assert sizes[0] == sizes[1] > 50
