"""Settings: declared once, read by one loader, written and shown by one command."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from curiosity.chain.chain import Addresses
from curiosity.host.settings.chain import LOCAL_RPC_URL, ChainSettings
from curiosity.host.settings.declare import said_of
from curiosity.host.settings.loader import read_section
from curiosity.host.settings.node import NodeSettings
from curiosity.host.settings.sections import ROLES, SECTIONS, Section
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.host.settings.write import page, template
from curiosity.protocol.errors import ConfigError
from node.cli import run
from node.config import load_settings as contributor_settings
from tests.material.command import Said
from validator.config import load_settings as validator_settings
from witness.config import load_config as witness_settings

ROOT = Path(__file__).resolve().parent.parent
DECLARED = [(name, section) for name, section in SECTIONS.items() if section is not None]


@pytest.mark.parametrize("role", ROLES)
def test_a_role_s_file_says_every_default_and_explains_it(role: str) -> None:
    text = template(role)
    assert set(tomllib.loads(text)) == set(ROLES[role])  # as it stands it sets nothing
    document = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    for name in ROLES[role]:
        section = cast(Any, SECTIONS[name])
        if section is None:
            continue
        assert set(document[name]) == {field.name for field in fields(section)}
        assert read_section(section, name, document, {}, "f") == section()
    before = [one for one, line in zip(text.splitlines(), text.splitlines()[1:], strict=False) if " = " in line]
    assert all(one.startswith("## ") for one in before)


@pytest.mark.parametrize(("name", "section"), DECLARED)
def test_every_setting_has_a_sentence(name: str, section: Section) -> None:
    assert is_dataclass(section), name
    for field in fields(section):
        sentence = said_of(field).sentence
        assert sentence.endswith("."), field.name
        assert sentence[0].isupper() or sentence.startswith("true: "), field.name


def test_the_page_is_current() -> None:
    made = subprocess.run(
        [sys.executable, "-m", "curiosity.host.settings"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert made == page()
    assert (ROOT / "docs/settings.md").read_text() == made


def test_settings_in_shipped_files_exist() -> None:
    for file in (ROOT / "deploy/validator.toml",):
        for name, table in tomllib.loads(file.read_text()).items():
            assert set(table) <= {field.name for field in fields(cast(Any, SECTIONS[name]))}


@pytest.mark.parametrize(
    ("section", "type_", "key", "value", "expected"),
    [
        ("node", NodeSettings, "concurrency", "x", "'x', which is not a whole number"),
        ("node", NodeSettings, "concurrency", 1.5, "1.5, which is not a whole number"),
        ("node", NodeSettings, "patience_s", [], "[], which is not a number"),
        ("node", NodeSettings, "patience_s", float("nan"), "nan, which is not a number"),
        ("node", NodeSettings, "wallet", 3, "3, which is not a text in quotes"),
        ("node", NodeSettings, "home", True, "True, which is not a path in quotes"),
        ("node", NodeSettings, "witness_vkeys", "a", "'a', which is not a list of texts"),
        ("node", NodeSettings, "witness_vkeys", ["a", 1], "['a', 1], which is not a list of texts"),
        ("validator", ValidatorConfig, "pair_budget", [1, 2], "[1, 2], which is not a list of 3 whole numbers"),
        ("validator", ValidatorConfig, "fair_queues", "maybe", "'maybe', which is not true or false"),
        ("validator", ValidatorConfig, "port", 65536, "65536, which is not a whole number from 0 to 65535"),
        ("validator", ValidatorConfig, "max_held_bytes", 0, f"0, which is not a whole number from 1 to {1 << 60}"),
        (
            "validator",
            ValidatorConfig,
            "max_held_bytes",
            1 << 61,
            f"{1 << 61}, which is not a whole number from 1 to {1 << 60}",
        ),
        ("validator", ValidatorConfig, "store_url", 5, "not a text in quotes"),
        ("chain", ChainSettings, "finality", "never", """'never', which is not "finalized" or "depth\""""),
    ],
)
def test_a_wrong_value_is_refused_in_plain_words(
    section: str, type_: Section, key: str, value: object, expected: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_section(cast(Any, type_), section, {section: {key: value}}, {}, "a.toml")
    assert (caught.value.code, caught.value.what) == ("CONFIG_INVALID", f"a.toml: [{section}] {key} is {expected}")
    assert f"The default is written so: {key} = " in caught.value.remedy
    assert caught.value.remedy.endswith(".")


def test_a_wrong_variable_is_named_and_what_it_may_hold_is_not_shown() -> None:
    with pytest.raises(ConfigError, match="the environment variable CURIOSITY_NODE__QUORUM is 'x'"):
        read_section(NodeSettings, "node", {}, {"CURIOSITY_NODE__QUORUM": "x"}, "a.toml")
    with pytest.raises(ConfigError) as caught:
        read_section(ValidatorConfig, "validator", {"validator": {"store_url": ["a://u:secret@h"]}}, {}, "a.toml")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("port", "8441", 8441),
        ("port", 8441.0, 8441),
        ("header_timeout_s", 3, 3.0),
        ("header_timeout_s", "2.5", 2.5),
        ("fair_queues", "off", False),
        ("fair_queues", 1, True),
        ("genesis", "", None),
        ("genesis", "a/b", Path("a/b")),
        ("licenses", ["MIT"], ("MIT",)),
        ("pair_budget", ["1", 2, 3], (1, 2, 3)),
    ],
)
def test_values_are_read_as_they_were(key: str, value: object, read: object) -> None:
    found = getattr(read_section(ValidatorConfig, "validator", {"validator": {key: value}}, {}, "f"), key)
    assert (found, type(found)) == (read, type(read))


def test_an_address_without_a_scheme_is_refused_when_it_is_read() -> None:
    with pytest.raises(ConfigError, match=r"URL_INVALID: \[node\] validator_url is '127.0.0.1:1'"):
        read_section(NodeSettings, "node", {"node": {"validator_url": "127.0.0.1:1"}}, {}, "f")
    with pytest.raises(ConfigError, match=r"URL_INVALID: .*\[chain\]"):
        read_section(ChainSettings, "chain", {"chain": {"other_rpc_urls": ["http://a", "b:1"]}}, {}, "f")


def test_one_class_of_chain_settings_serves_both_roles(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text("[chain]\nfinality_depth = 3\n")
    assert contributor_settings(file, {}).chain.rpc_url == LOCAL_RPC_URL
    assert validator_settings(file, {}).chain == ChainSettings(finality_depth=3)
    from validator.app import connect_chain  # here: it imports torch

    assert connect_chain(validator_settings(file, {})) == (None, Addresses(31337, bytes(20), bytes(20)))


def test_all_programs_find_a_named_file_missing_in_the_same_words(tmp_path: Path) -> None:
    def load(read: Any) -> str:
        with pytest.raises(ConfigError) as caught:
            read(tmp_path / "none.toml", {})
        return str(caught.value)

    assert len({load(read) for read in (contributor_settings, validator_settings, witness_settings)}) == 1


@dataclass(frozen=True)
class Shell:
    """The command, run in a folder without settings."""

    capture: pytest.CaptureFixture[str]

    def run(self, *arguments: object) -> Said:
        self.capture.readouterr()
        status = run([str(one) for one in arguments])
        said = self.capture.readouterr()
        return Said(status, said.out, said.err)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Shell(capsys)


def write(file: Path, tables: Mapping[str, str]) -> Path:
    file.write_text("".join(f"[{name}]\n{text}\n" for name, text in tables.items()))
    return file


def test_config_shows_every_section_of_the_file_and_no_secret(shell: Shell, tmp_path: Path) -> None:
    file = write(
        tmp_path / "all.toml",
        {
            "node": "quorum = 2",
            "validator": 'store_url = "postgresql://u:secret1@db:5/c?password=secret2"',
            "witness": 'name = "w"',
            "chain": 'rpc_url = "https://h:1/secret3"',
        },
    )
    done = shell.run("config", "show", "--config", file, "--json")
    shown = done.json
    assert list(shown) == ["file", "node", "validator", "witness", "chain"]
    assert (shown["node"]["quorum"], shown["witness"]["name"]) == (2, "w")
    assert shown["validator"]["store_url"] == "postgresql://db:5"
    assert shown["chain"]["rpc_url"] == "https://h:1"
    assert "secret" not in done.out + shell.run("config", "show", "--config", file).out
    wrong = write(tmp_path / "wrong.toml", {"validator": "port = 'x'"})
    assert shell.run("config", "show", "--config", wrong, "--json").json["error"]["code"] == "CONFIG_INVALID"


def test_config_shows_a_validator_the_chain_that_it_uses(shell: Shell, tmp_path: Path) -> None:
    """Without rpc_url a validator has no chain; only a contributor's command has a default address."""
    for tables, rpc_url in (
        ({"validator": ""}, ""),
        ({"validator": "", "chain": 'rpc_url = "http://h:2"'}, "http://h:2"),
        ({"node": ""}, "http://127.0.0.1:8545"),
    ):
        file = write(tmp_path / "one.toml", tables)
        assert shell.run("config", "show", "--config", file, "--json").json["chain"]["rpc_url"] == rpc_url


@pytest.mark.parametrize("role", ROLES)
def test_config_init_writes_each_role_s_file(shell: Shell, tmp_path: Path, role: str) -> None:
    out = tmp_path / f"{role}.toml"
    assert shell.run("config", "init", "--role", role, "--out", out, "--json").json == {"file": str(out), "role": role}
    assert out.read_text() == template(role)
    assert shell.run("config", "show", "--config", out).status == 0


def test_config_init_does_not_need_a_file_that_can_be_read(shell: Shell, tmp_path: Path) -> None:
    broken = write(tmp_path / "broken.toml", {"node": "quorum = 'x'"})
    out = tmp_path / "new.toml"
    assert shell.run("config", "init", "--out", out, "--config", broken).status == 0
