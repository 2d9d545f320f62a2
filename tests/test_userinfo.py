"""User name and password in an address go to its server and to nobody else: not into errors, logs or answers."""

import os
import subprocess
from pathlib import Path

import pytest

from curiosity.client.client import ValidatorClient
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.errors import ConfigError, ServiceError
from curiosity.protocol.url import without_userinfo
from tests.material.log import LOG_VKEY
from tests.material.up import command
from validator.witnesses import Peer, WitnessAddress, parse_witnesses

URL = "http://user:hunter2@127.0.0.1:9"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://user:hunter2@host:8440/a", "http://host:8440/a"),
        ("http://user@[::1]/", "http://[::1]/"),
        ("no https://u:p@ss:w@host/x?y=a@b, http://host/a@b", "no https://host/x?y=a@b, http://host/a@b"),
        ("http://host?x=@y", "http://host?x=@y"),
        ("mail to me@host", "mail to me@host"),
        ("./folder@home", "./folder@home"),
    ],
)
def test_user_name_and_password_are_taken_out_of_urls(text: str, shown: str) -> None:
    assert without_userinfo(text) == shown


async def test_no_error_of_a_client_shows_the_password() -> None:
    async with ValidatorClient(URL, patience_s=0.0) as client:
        with pytest.raises(ServiceError, match=r"SERVICE_UNREACHABLE: http://127.0.0.1:9 did not answer") as caught:
            await client.health()
    assert "hunter2" not in str(caught.value)
    async with LogFiles(URL, patience_s=0.0) as files:
        with pytest.raises(ServiceError, match=r"LOG_UNREACHABLE: http://127.0.0.1:9/checkpoint did") as unreachable:
            await files.head()
    assert "hunter2" not in str(unreachable.value)


@pytest.mark.parametrize("arguments", [("config", "show", "--json"), ("ledger", "audit", URL)])
def test_no_command_shows_the_password(arguments: tuple[str, ...], tmp_path: Path) -> None:
    settings = {"CURIOSITY_NODE__VALIDATOR_URL": URL, "CURIOSITY_NODE__PATIENCE_S": "0"}
    done = subprocess.run(
        command(*arguments, "--home", tmp_path), capture_output=True, text=True, env=os.environ | settings
    )
    assert "127.0.0.1:9" in done.stdout + done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_a_witness_is_shown_without_the_password_of_its_address() -> None:
    with pytest.raises(ConfigError, match=r"WITNESS_LINE.*witness.example") as caught:
        parse_witnesses(["https://user:hunter2@witness.example/w no-key"], 0)
    assert "hunter2" not in str(caught.value)
    peer = Peer(WitnessAddress("https://user:hunter2@witness.example/w", (LOG_VKEY,)))
    assert peer.status().url == "https://witness.example/w"
