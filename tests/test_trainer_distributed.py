"""Several real processes under torchrun (gloo) learn what one process learns from the same batches.

In float64, where rounding hides nothing, losses, gradients, batch statistics and weights agree to 1e-9. In float32 they
agree to 1e-6 of a weight's gradient; one process's own rounding error, against float64, is 1.6e-6 on these batches.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from curiosity.protocol.errors import ConfigError
from tests.material.distributed_worker import CASES, run_case
from trainer.distributed import Group, join_group

TESTS = Path(__file__).parent
PAIRED = [name for name in CASES if not name.startswith("narrow")]
NARROW = [name for name in CASES if name.startswith("narrow")]
Results = dict[str, list[dict[str, Any]]]


def launch(processes: int, names: list[str], folder: Path) -> Results:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command += ["-m", "tests.material.distributed_worker", str(folder), *names]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=TESTS.parent, timeout=600)
    assert done.returncode == 0, done.stderr[-4000:]
    return {
        name: [torch.load(folder / f"{name}.{rank}.pt", weights_only=False) for rank in range(processes)]
        for name in [*names, "threads"]
    }


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return launch(2, [*PAIRED, "collectives"], tmp_path_factory.mktemp("two"))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Results:
    return launch(3, NARROW, tmp_path_factory.mktemp("three"))


def compare(name: str, several: list[dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    one = run_case(CASES[name], Group())
    wide = CASES[name].dtype == torch.float64
    assert sum(float(gradient.square().sum()) for gradient in one["gradients"].values()) > 1e-2
    for got in several:
        assert got["draws"] == one["draws"]
        assert got["losses"] == pytest.approx(one["losses"], abs=1e-9 if wide else 4e-6)
        for key in ("gradients", "state"):
            assert set(got[key]) == set(one[key])  # a tower that nothing was drawn from has no gradient, not a zero one
            for weight, tensor in one[key].items():
                far = float((got[key][weight] - tensor).abs().max())
                assert far <= (1e-9 if wide else 1e-6 * max(1, float(tensor.double().norm()))), f"{key} {weight}: {far}"


@pytest.mark.parametrize("name", PAIRED)
def test_two_processes_do_what_one_does(two: Results, name: str) -> None:
    compare(name, two[name])


@pytest.mark.parametrize("name", NARROW)
def test_a_process_without_a_row_of_a_modality_neither_hangs_nor_skews(three: Results, name: str) -> None:
    """Two rows of audio for three processes."""
    compare(name, three[name])


def test_gathering_has_the_gradient_of_torchs_own(two: Results) -> None:
    for got in two["collectives"]:
        ours, theirs = got["grads"]
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)
        assert float(ours.abs().max()) > 1


def test_small_collectives(two: Results) -> None:
    for got in two["collectives"]:
        assert (got["agree"], got["mean"]) == (7.5, 0.5)
        first, second, third = got["averaged"]
        assert first.tolist() == [0.5, 0.5]
        assert second.tolist() == [0.5] * 3  # only the first process had one
        assert third is None


def test_no_thread_outlives_the_group(two: Results, three: Results) -> None:
    """One that lets go of a tensor while the interpreter ends would abort a process that has done its work."""
    assert [list(left) for left in two["threads"] + three["threads"]] == [[]] * 5


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_cover_every_row_once(size: int) -> None:
    for total in (0, 1, 2, 6, 7, 193):
        bounds = [Group(rank, size).bounds(total) for rank in range(size)]
        assert [row for first, last in bounds for row in range(first, last)] == list(range(total))
        counts = Group(size=size).share(total)
        assert max(counts) - min(counts) <= 1


def test_without_torchrun_one_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_group() as group:
        assert (group, group.is_first) == (Group(0, 1, 0), True)
        assert not torch.distributed.is_initialized()
        rows = torch.ones(2, 3)
        assert group.gather(rows, 2) is rows
        assert (group.agree(3.0), group.mean(4.0)) == (3.0, 4.0)


def test_half_an_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="GROUP_ENVIRONMENT"), join_group():
        pass


def test_a_group_that_nobody_else_joins_ends(monkeypatch: pytest.MonkeyPatch, unused_port: int) -> None:
    values = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**values, "MASTER_PORT": str(unused_port)}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match="GROUP_UNREACHABLE"), join_group(timeout_s=1):
        pass
    assert not torch.distributed.is_initialized()


@pytest.fixture
def unused_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
