"""`curiosity up`: ready without a demo, sure of what is its own, and gone without a trace."""

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from contracts.devchain import DevChain
from curiosity.embedding.checkpoint import SHIPPED, load
from node.demo.processes import ValidatorProcess
from tests.material.up import command, environment, network, running_below
from tests.material.waiting import eventually


def refused(*options: str | Path) -> tuple[int, str]:
    """Exit status and words of a `curiosity up` that does not come up."""
    done = subprocess.run(command("up", *options), capture_output=True, text=True, env=environment(), timeout=600)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def close_epoch(settings: Path) -> dict[str, Any]:
    """What the operator's command says; a day of the chain may still be passing."""

    def close() -> dict[str, Any]:
        token = settings.parent / "validator" / "keys" / "admin.token"
        arguments = command("validator", "close-epoch", "--config", settings, "--token-file", token, "--json")
        done = subprocess.run(arguments, capture_output=True, text=True, env=environment(), timeout=600)
        assert "Traceback" not in done.stderr
        answer: dict[str, Any] = json.loads(done.stdout or "{}")
        assert done.returncode == 0 or "EPOCH_EARLY" in done.stdout + done.stderr, done.stderr
        return answer if done.returncode == 0 else {}

    return eventually(close)


def pid_of_validator(folder: Path) -> int:
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        line = file.read_bytes().split(b"\0")
        if b"validator" in line and any(str(folder).encode() in part for part in line):
            return int(file.parent.name)
    raise AssertionError("no validator runs there")


def test_it_comes_up_empty_and_goes_on_after_every_kind_of_end(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    with network(folder, tmp_path) as up:
        assert "A new network: an empty ledger" in up.said()
        assert not (folder / "pairs").exists()  # no demo was needed
        assert Path(up.line("admin token")).read_text()
        settings = Path(up.line("settings"))
        assert f"curiosity submit my-pictures/ --wallet alice --license CC-BY-4.0 --config {settings}" in up.said()
        asked = subprocess.run(
            [*command("query", "a red heart", "--config", settings, "--json")],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=600,
        )
        assert json.loads(asked.stdout)["indexed"] == 0, asked.stderr  # of this network, not of one on the default port
        with urlopen(f"{up.url()}/v1/network", timeout=600) as answer:
            begun = json.loads(answer.read())["checkpoint"]
        assert begun == f"0x{load(SHIPPED['offline']).digest}"
        for epoch in (1, 2):  # a day has always passed on the chain, and the block of the beacon is there
            assert close_epoch(settings)["epoch"] == epoch
        key, contracts = up.line("receipt key"), json.loads(Path(up.line("contracts")).read_text())
        status, words = refused("--port", "0", "--chain-port", "0", "--folder", folder)
        assert (status, words.split(":")[0]) == (6, "ALREADY_UP")
        assert f"process {up.process.pid}" in words
        assert up.url() in words
        os.kill(pid_of_validator(folder), signal.SIGKILL)
        assert up.process.wait(600) == 12
        assert "VALIDATOR_ENDED: the validator ended with status -9" in up.said()
    assert running_below(folder) == []
    (folder / "up" / "chain" / "state.json").unlink()  # as if it had been killed before the chain wrote its first state
    with network(folder, tmp_path) as up:
        assert "Going on with the network in" in up.said()
        assert "The chain has no state: deploying again" in up.said()
        again = json.loads(Path(up.line("contracts")).read_text())
        assert {name: again[name] for name in ("token", "rewards", "stake")} == {
            name: contracts[name] for name in ("token", "rewards", "stake")
        }
        assert up.line("receipt key") == key
        assert close_epoch(settings)["epoch"] == 3  # also on a chain that lacks the days of two epochs
        up.end(signal.SIGKILL)
    assert running_below(folder) == []
    with network(folder, tmp_path, ignore_interrupt=True) as up:
        assert "deploying again" not in up.said()
        assert up.line("receipt key") == key
        assert up.end(signal.SIGINT) == 0
    assert running_below(folder) == []


@pytest.mark.parametrize(("option", "whose"), [("--chain-port", "chain"), ("--port", "validator")])
def test_a_taken_port_is_told_with_its_option_before_anything_is_made(tmp_path: Path, option: str, whose: str) -> None:
    ports = {"--chain-port": "0", "--port": "0"}
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        ports[option] = str(holder.getsockname()[1])
        status, words = refused("--folder", tmp_path / "net", *(one for pair in ports.items() for one in pair))
    assert status == 6
    assert words.startswith(f"PORT_TAKEN: the {whose} cannot listen on 127.0.0.1:{ports[option]}")
    assert f"{option} N" in words
    assert not (tmp_path / "net" / "up").exists()


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        (("--port", "99999"), 2, "USAGE"),
        (("--chain-port", "-1"), 2, "USAGE"),
        (("--epoch-s", "-5"), 2, "USAGE"),
        (("--port", "8641", "--chain-port", "8641"), 6, "PORTS_EQUAL"),
        (("--folder", "/proc/x"), 6, "FOLDER_NOT_WRITABLE"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_starts(
    tmp_path: Path, options: tuple[str, ...], status: int, code: str
) -> None:
    found, words = refused("--folder", tmp_path / "net", *options)
    assert (found, words.split(":")[0]) == (status, code)
    assert words.strip().endswith(".") or code == "USAGE"
    assert not (tmp_path / "net" / "up").exists()


def test_somebody_elses_chain_on_the_port_is_left_alone(tmp_path: Path) -> None:
    with DevChain() as other:
        port = other.rpc_url.rpartition(":")[2]
        status, words = refused("--folder", tmp_path / "net", "--port", "0", "--chain-port", port)
        assert (status, words.split(":")[0]) == (6, "PORT_TAKEN")
        assert int(other.request("eth_blockNumber", []), 16) == 0


def test_a_validator_that_does_not_start_is_told_with_its_own_words_of_this_start(tmp_path: Path) -> None:
    config, log = tmp_path / "curiosity.toml", tmp_path / "validator.log"
    config.write_text("[validator]\nprot = 1\n")
    log.write_text("words of an earlier start\n")
    with pytest.raises(Exception, match="VALIDATOR_NOT_STARTING") as caught, ValidatorProcess(config, log) as validator:
        validator.start()
    assert "earlier" not in str(caught.value)
    assert "prot" in str(caught.value)
    assert ".." not in str(caught.value)


def test_told_to_stop_while_it_starts_it_says_so_at_once(tmp_path: Path) -> None:
    log = tmp_path / "said"
    with log.open("wb") as file:
        process = subprocess.Popen(
            command("up", "--port", "0", "--chain-port", "0", "--folder", tmp_path / "net"),
            stdout=file,
            stderr=file,
            env=environment(),
        )
    eventually(lambda: "The validator:" in log.read_text() or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    assert process.wait(600) == 130
    assert "Stopping" in log.read_text()
    assert "Running." not in log.read_text()
    assert running_below(tmp_path / "net") == []
