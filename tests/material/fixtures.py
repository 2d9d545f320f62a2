"""Fixtures that several test files share: a validator, a front before it, a user's terminal.

What a fixture needs is imported where it runs, so that a test of a pure rule does not load the encoders.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.material.front import Front
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
