"""The command's edges, without a validator: errors in one line, settings, keystores, doctor."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import pytest

import node.commands.config
from curiosity.client.keystore import open_keystore
from curiosity.client.wallet import create_wallet, find_wallet, unlock
from curiosity.protocol.errors import ConfigError, ExitCode, WalletError
from curiosity.protocol.signing import address_of
from node.cli import run
from node.config import load_settings
from node.doctor import examine

KEY = b"\x31" * 32


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, whatever settings this machine has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CURIOSITY_NODE__HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CURIOSITY_NODE__SCRYPT_N", "16")


def test_without_a_command_it_shows_help_and_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == ExitCode.USAGE
    shown = capsys.readouterr()
    assert shown.err.startswith("Usage: curiosity")
    assert "Traceback" not in shown.err


def test_listing_the_commands_loads_none_of_them() -> None:
    listed = subprocess.run(
        [sys.executable, "-c", "import sys, node.cli as c; c.run(['--help']); print(sorted(sys.modules))"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "node.commands" not in listed  # no sub-command was loaded for it
    assert all(heavy not in listed for heavy in ("'aiohttp'", "'numpy'", "'torch'", "'web3'"))


@pytest.mark.parametrize(
    ("failure", "code", "status"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "curiosity.toml"), "SYSTEM", 1),
        (KeyboardInterrupt(), None, 130),
        (ZeroDivisionError("division by zero"), "INTERNAL", 1),
    ],
)
def test_what_nobody_foresaw_is_one_line_and_a_log(
    failure: BaseException,
    code: str | None,
    status: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(_role: str) -> str:
        raise failure

    monkeypatch.setattr(node.commands.config, "template", fail)
    assert run(["config", "init", "--out", "new.toml"]) == status
    shown = capsys.readouterr().err.strip()
    assert "\n" not in shown
    assert shown.partition(":")[0] == code if code else "Interrupted" in shown
    if code == "INTERNAL":
        log = Path(shown.partition("details in ")[2].partition(".log")[0] + ".log")
        assert "ZeroDivisionError: division by zero" in log.read_text()
        log.unlink()


def test_settings_are_file_then_environment_and_misspelt_ones_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('[node]\nconcurrency = 3\nwallet = "a"\n[trainer]\nx = 1\n')
    found = load_settings(file, {"CURIOSITY_NODE__CONCURRENCY": "5", "CURIOSITY_VALIDATOR__PORT": "1"})
    assert (found.node.concurrency, found.node.wallet, found.file) == (5, "a", file)
    for environment, code in (
        ({"CURIOSITY_NODES__HOME": "x"}, "CONFIG_UNKNOWN_SECTION: .*CURIOSITY_NODES__HOME.*'node'"),
        ({"CURIOSITY_NODE__HOMES": "x"}, "CONFIG_UNKNOWN_KEY: .*CURIOSITY_NODE__HOMES.*'home'"),
        ({"CURIOSITY_NODE__CONCURRENCY": "many"}, "CONFIG_INVALID: .*'many'"),
    ):
        with pytest.raises(ConfigError, match=code):
            load_settings(file, environment)
    for text, code in (
        ("[node]\nhome = ", "CONFIG_NOT_TOML"),
        ("[nodee]\n", "CONFIG_UNKNOWN_SECTION"),
        ("[chain]\nrpc_ulr = 'x'", "CONFIG_UNKNOWN_KEY: .*'rpc_url'"),
        ("node = 3", "CONFIG_INVALID"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=code):
            load_settings(file, {})


def test_a_keystore_whose_address_was_changed_does_not_sign(tmp_path: Path) -> None:
    made = create_wallet(tmp_path, "alice", "password of theirs", scrypt_n=16, private_key=KEY)
    assert unlock(find_wallet(tmp_path, "alice"), "password of theirs") == KEY
    keystore = json.loads(made.path.read_text())
    made.path.write_text(json.dumps(keystore | {"address": "11" * 20}))
    with pytest.raises(WalletError, match=r"WALLET_UNREADABLE: .* names 0x1111.* its key is of"):
        unlock(find_wallet(tmp_path, "alice"), "password of theirs")
    made.path.write_text(json.dumps(keystore | {"crypto": {}}))
    with pytest.raises(WalletError, match="WALLET_UNREADABLE"):
        unlock(find_wallet(tmp_path, "alice"), "password of theirs")
    with pytest.raises(WalletError, match="WALLET_PASSWORD_WRONG"):
        open_keystore(keystore, "other", made.path)


def test_a_keystore_of_another_program_can_be_imported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from eth_account import Account

    theirs = tmp_path / "UTC--their-wallet"
    theirs.write_text(json.dumps(Account.encrypt(KEY, "password of theirs", kdf="pbkdf2", iterations=10)))
    (tmp_path / "password").write_text("password of theirs\n")
    arguments = ["wallet", "import", "mine", "--key-file", str(theirs), "--password-file", str(tmp_path / "password")]
    assert run([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["address"].lower() == "0x" + address_of(KEY).hex()
    assert unlock(find_wallet(tmp_path / "home", "mine"), "password of theirs") == KEY
    assert run(arguments) == ExitCode.WALLET
    assert capsys.readouterr().err.startswith("WALLET_EXISTS: ")
    (tmp_path / "password").write_text("wrong")
    assert run([*arguments[:2], "other", *arguments[3:]]) == ExitCode.WALLET
    assert capsys.readouterr().err.startswith("WALLET_PASSWORD_WRONG: ")
    theirs.write_text("{broken")
    assert run([*arguments[:2], "other", *arguments[3:]]) == ExitCode.WALLET
    assert capsys.readouterr().err.startswith("WALLET_KEY_FILE: ")


def test_doctor_looks_at_this_machine_and_calls_an_absent_chain_a_warning(tmp_path: Path) -> None:
    settings = load_settings(None, {"CURIOSITY_CHAIN__RPC_URL": "http://127.0.0.1:9", "CURIOSITY_NODE__HOME": "."})
    findings = {finding.name: finding for finding in examine(settings)}
    assert {"python", "packages", "sqlite", "device", "sandbox", "speech", "disk", "config"} <= set(findings)
    assert findings["chain"].state == "warn"
    assert "http://127.0.0.1:9" in findings["chain"].what
    assert [finding for finding in findings.values() if finding.state == "fail"] == []
    assert all(finding.remedy for finding in findings.values() if finding.state != "ok")


def test_the_document_names_every_status() -> None:
    page = (Path(__file__).parent.parent / "docs" / "cli.md").read_text()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line.startswith("|")]
    assert {row[0] for row in rows if row[0].isdecimal()} == {str(int(code)) for code in ExitCode}
