"""Fixtures that several test files share: a validator, a front before it, a user's terminal, a chain, small data sets.

What a fixture needs is imported where it runs, so that a test of a pure rule does not load the encoders.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.material.front import Front
    from tests.material.network import Network
    from tests.material.payment import PaidNetwork, Terminal
    from tests.material.service import Running


@pytest.fixture
async def live(tmp_path: Path) -> AsyncIterator["Running"]:
    """A validator of this test's own, with the settings that one has by default."""
    from tests.material.service import running

    async with running(tmp_path / "validator") as made:
        yield made


@pytest.fixture
async def before(live: "Running") -> AsyncIterator["Front"]:
    """A server before the validator that may refuse, delay or change what passes."""
    from tests.material.front import front

    async with front(live.url) as made:
        yield made


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator["Terminal"]:
    """A user's terminal without a chain."""
    from tests.material.payment import terminal

    with terminal(tmp_path / "home", capsys) as made:
        yield made


@pytest.fixture
def shell_on_chain(net: "PaidNetwork", tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator["Terminal"]:
    """A user's terminal whose settings name the chain and the validator of the file's fixture ``net``."""
    from tests.material.payment import terminal

    with terminal(tmp_path / "home", capsys, net) as made:
        yield made


@pytest.fixture
def net() -> Iterator["Network"]:
    """The contracts on anvil and who signs for them. A file that needs a validator too has a ``net`` of its own."""
    from tests.material.network import start_network

    yield from start_network("anvil")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """While a file's tests run, torch uses one thread."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def speech() -> Path:
    """Where spoken words are kept between runs, by what was asked and the versions of what speaks.

    A test of speech itself needs a folder of its own.
    """
    from curiosity.sources.made.speech import default_cache

    folder = default_cache()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory, speech: Path) -> Path:
    """A folder for what a file's tests make once; its ``speech`` is shared by all tests."""
    folder = tmp_path_factory.mktemp("cache")
    (folder / "speech").symlink_to(speech)
    return folder


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six digits of each kind, for trainings; read only. A file that needs more has ``digits`` of its own."""
    from curiosity.sources.made.digits import make_digits

    folder = tmp_path_factory.mktemp("sets") / "digits"
    make_digits(folder, limit=6)
    return folder


@pytest.fixture(scope="session")
def all_digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole set of digits but for its split ``submit``, which has 200 scans; read only."""
    from curiosity.sources.made.digits import make_digits

    folder = tmp_path_factory.mktemp("all") / "digits"
    make_digits(folder, submit_scans=200)
    return folder
