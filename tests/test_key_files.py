"""Every file with a key, a token or a password that a command reads or makes."""

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from contracts.deploy import read_key
from contracts.deployment import write_addresses
from curiosity.chain.chain import Addresses
from curiosity.client.admin import read_token
from curiosity.client.key_files import read_key_file
from curiosity.client.wallet import create_wallet, find_wallet, list_wallets, survey_wallets, unlock
from curiosity.protocol.errors import CuriosityError, ExitCode, StoreError, WalletError
from curiosity.protocol.signing import SECP256K1_N, address_of, parse_private_key, sign
from tests.material.file import full_disk, ordinary_user
from tests.material.payment import PASSWORD, Terminal
from validator.keys import load_keys as load_validator_keys
from witness.keys import load_keys as load_witness_keys

KEY = bytes(range(1, 33))
make = partial(create_wallet, scrypt_n=2)


# -- what is no key


NO_KEYS = {
    "empty": "",
    "prefix alone": "0x\n",
    "a digit short": "0" * 62 + "7",
    "a byte long": "07" * 33,
    "spaces inside": "07 " * 32,
    "no hex": "zz" * 32,
    "other digits": "\u0663" * 64,
}
NO_PRIVATE_KEYS = {"zero": "0" * 64, "order": f"{SECP256K1_N:064x}", "beyond": "f" * 64}


def _of_validator(name: str, path: Path) -> object:
    (path.parent / "keys").mkdir()
    path.rename(path.parent / "keys" / name)
    return load_validator_keys(path.parent / "keys", "curiosity-test")


def _of_witness(name: str, path: Path) -> object:
    (path.parent / "w" / "logs").mkdir(parents=True)
    path.rename(path.parent / "w" / name)
    return load_witness_keys(path.parent / "w", "witness.example")


SEEDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "admin token": (read_token, "TOKEN_FILE"),
    "validator": (partial(_of_validator, "log.key"), "KEY_FILE"),
    "validator token": (partial(_of_validator, "admin.token"), "KEY_FILE"),
    "witness": (partial(_of_witness, "ed25519.key"), "KEY_FILE"),
    "witness 2": (partial(_of_witness, "ml-dsa-44.key"), "KEY_FILE"),
}
PRIVATE_KEYS: dict[str, tuple[Callable[[Path], object], str]] = {
    "wallet": (lambda path: read_key_file(path, lambda: ""), "WALLET_KEY_INVALID"),
    "deployer": (read_key, "WALLET_KEY_FILE"),
    "attestation": (partial(_of_validator, "attestation.key"), "KEY_FILE"),
}


@pytest.mark.parametrize("content", NO_KEYS.values(), ids=NO_KEYS)
@pytest.mark.parametrize(("reader", "code"), (SEEDS | PRIVATE_KEYS).values(), ids=SEEDS | PRIVATE_KEYS)
def test_a_file_that_holds_no_key_is_refused_by_name_and_not_shown(
    tmp_path: Path, reader: Callable[[Path], object], code: str, content: str
) -> None:
    (tmp_path / "file").write_text(content, encoding="utf-8")
    with pytest.raises(CuriosityError, match=rf"^{code}: .*\d+ (digits|characters)") as caught:
        reader(tmp_path / "file")
    assert len(content) < 10 or content.strip() not in str(caught.value)


@pytest.mark.parametrize("content", NO_PRIVATE_KEYS.values(), ids=NO_PRIVATE_KEYS)
@pytest.mark.parametrize(("reader", "code"), PRIVATE_KEYS.values(), ids=PRIVATE_KEYS)
def test_a_number_that_is_no_private_key_is_refused(
    tmp_path: Path, reader: Callable[[Path], object], code: str, content: str
) -> None:
    (tmp_path / "file").write_text(content)
    with pytest.raises(CuriosityError, match=f"^{code}: .*secp256k1"):
        reader(tmp_path / "file")


@pytest.mark.parametrize(("reader", "code"), (SEEDS | PRIVATE_KEYS).values(), ids=SEEDS | PRIVATE_KEYS)
def test_a_key_is_read_whatever_an_editor_put_around_it(
    tmp_path: Path, reader: Callable[[Path], object], code: str
) -> None:
    (tmp_path / "file").write_bytes(b"\xef\xbb\xbf" + KEY.hex().upper().encode() + b"\r\n")
    assert reader(tmp_path / "file")
    (tmp_path / "utf16").write_text(KEY.hex(), encoding="utf-16")
    code = code.replace("KEY_INVALID", "KEY_FILE")
    for folder in ("keys", "w"):
        if (tmp_path / folder).exists():
            (tmp_path / folder).rename(tmp_path / f"{folder}-read")
    with pytest.raises(CuriosityError, match=f"^{code}: .*UTF-16"):
        reader(tmp_path / "utf16")


@pytest.mark.parametrize("length", [0, 1, 31, 33, 64])
def test_keys_of_other_lengths_neither_sign_nor_have_an_address(tmp_path: Path, length: int) -> None:
    """The library below makes a random key of none, and a padded one of few."""
    for use in (address_of, partial(sign, b"d" * 32), lambda key: make(tmp_path, "alice", PASSWORD, private_key=key)):
        with pytest.raises((ValueError, WalletError), match=f"{length} bytes"):
            use(b"\1" * length)
    assert parse_private_key(f" 0x{KEY.hex()}\n") == parse_private_key(KEY.hex()) == KEY


def test_an_empty_key_file_makes_no_wallet(shell: Terminal, tmp_path: Path) -> None:
    for content in ("", "0x\n", "\ufeff0x"):
        (tmp_path / "key").write_text(content, encoding="utf-8")
        for more in ((), ("--address", "0x" + "11" * 20)):
            said = shell.run("wallet", "import", "w", "--key-file", tmp_path / "key", "--json", *more)
            assert (said.status, said.json["error"]["code"]) == (ExitCode.WALLET, "WALLET_KEY_INVALID")
    assert not (shell.home / "wallets").exists()


# -- passwords


@pytest.mark.parametrize("password", ["", "x", "1234567", " 1234567 ", "        "])
def test_short_passwords_are_refused(shell: Terminal, tmp_path: Path, password: str) -> None:
    (tmp_path / "pw").write_text(password + "\n")
    code = "WALLET_PASSWORD_SHORT" if password else "WALLET_PASSWORD_EMPTY"
    (tmp_path / "key").write_text(KEY.hex())
    for command in (("new", "w"), ("new", "w", "--mnemonic"), ("import", "w", "--key-file", tmp_path / "key")):
        said = shell.run("wallet", *command, "--password-file", tmp_path / "pw", "--json")
        assert (said.status, said.json["error"]["code"]) == (ExitCode.WALLET, code)
        assert not password.strip() or repr(password) not in said.out + said.err
    assert list_wallets(shell.home) == []
    make(shell.home, "w", "12345678")


def test_a_wallet_of_before_opens_with_a_short_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("curiosity.client.wallet.MIN_PASSWORD_CHARACTERS", 1)
        made = make(tmp_path, "old", "x", private_key=KEY)
    assert unlock(made, "x") == KEY


def test_a_password_file_with_a_byte_order_mark_opens_the_wallet(shell: Terminal, tmp_path: Path) -> None:
    shell.wallet("alice", KEY)
    (tmp_path / "pw").write_bytes(b"\xef\xbb\xbf" + PASSWORD.encode() + b"\r\n")
    said = shell.run(
        "wallet", "export", "alice", "--private-key", "--yes", "--password-file", tmp_path / "pw", "--json"
    )
    assert said.json["private_key"] == "0x" + KEY.hex()


# -- a full disk


def _new_wallet(folder: Path) -> object:
    return make(folder, "alice", PASSWORD)


def _validator_keys(folder: Path) -> object:
    return load_validator_keys(folder / "keys", "curiosity-test")


def _witness_keys(folder: Path) -> object:
    return load_witness_keys(folder, "witness.example/full-disk")


def _contract_addresses(folder: Path) -> None:
    write_addresses(folder / "addresses.json", Addresses(31337, b"t" * 20, b"r" * 20))


@pytest.mark.parametrize("room", [0, 20])
@pytest.mark.parametrize(
    ("write", "code"),
    [
        (_new_wallet, "WALLET_NOT_WRITTEN"),
        (_validator_keys, "KEY_FILE"),
        (_witness_keys, "KEY_FILE"),
        (_contract_addresses, "ADDRESSES_NOT_WRITTEN"),
    ],
)
def test_a_full_disk_leaves_no_torn_file_and_the_next_try_works(
    tmp_path: Path, write: Callable[[Path], object], code: str, room: int
) -> None:
    with full_disk(room), pytest.raises(CuriosityError, match=f"^{code}: "):
        write(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    write(tmp_path)
    assert all(path.stat().st_size > 20 for path in tmp_path.rglob("*") if path.is_file())


def test_commands_leave_nothing_torn_on_a_full_disk(shell: Terminal, tmp_path: Path) -> None:
    out = tmp_path / "curiosity.toml"
    with full_disk(20):
        said = shell.run("config", "init", "--out", out, "--json")
    assert (said.status, said.json["error"]["code"]) == (ExitCode.FAILED, "SYSTEM")
    assert list(tmp_path.glob("*curiosity.toml*")) == []
    assert shell.run("config", "init", "--out", out).status == 0
    assert shell.run("config", "init", "--out", out, "--json").json["error"]["code"] == "CONFIG_EXISTS"


def test_an_empty_file_of_before_is_called_that(tmp_path: Path) -> None:
    """Older versions left one on a full disk."""
    (tmp_path / "wallets").mkdir()
    (tmp_path / "wallets" / "alice.json").touch()
    with pytest.raises(WalletError, match=r"WALLET_EXISTS: .* is empty. Remove that file"):
        make(tmp_path, "alice", PASSWORD)
    with pytest.raises(WalletError, match=r"WALLET_UNREADABLE: .* is empty"):
        find_wallet(tmp_path, "alice")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "log.key").touch()
    with pytest.raises(StoreError, match=r"KEY_FILE: .*log\.key .*0 digits.*Remove it only if"):
        load_validator_keys(tmp_path / "keys", "curiosity-test")


# -- other people's files


@pytest.mark.parametrize(
    "content",
    [b"[1,2,3]", b"7", b"null", b"{}", b'{"address": 7}', b'{"address": "zz"}', b'{"address": "0x11"}', b"", b"\xff"],
)
def test_a_foreign_file_in_the_folder_of_wallets_hides_no_other(shell: Terminal, content: bytes) -> None:
    address = shell.wallet("alice", KEY)
    (shell.home / "wallets" / "id.json").write_bytes(content)
    told = shell.run("wallet", "list", "--json").json
    assert [one["address"] for one in told["wallets"]] == [address]
    assert [one["code"] for one in told["unusable"]] == ["WALLET_UNREADABLE"]
    assert "id.json" in shell.run("wallet", "list").out
    for command in (("wallet", "show", "id"), ("wallet", "export", "id", "--private-key", "--yes")):
        assert shell.run(*command, "--json").json["error"]["code"] == "WALLET_UNREADABLE"
    assert "alice" in shell.run("wallet", "show", "nobody").err


def test_another_users_wallet_is_called_that() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's folder is closed to others
        home = Path(name)
        home.chmod(0o755)
        made = make(home, "alice", PASSWORD)
        made.path.parent.chmod(0o755)
        made.path.chmod(0o600 if os.geteuid() == 0 else 0)
        with ordinary_user():
            whose = "belongs to user" if os.geteuid() == 65534 else "has the mode 000"
            with pytest.raises(WalletError, match=f"WALLET_FORBIDDEN: .*alice.json {whose}"):
                find_wallet(home, "alice")
            with pytest.raises(WalletError, match="WALLET_FORBIDDEN"):
                unlock(made, PASSWORD)
            assert [error.code for error in survey_wallets(home)[1]] == ["WALLET_FORBIDDEN"]
        made.path.parent.chmod(0o700 if os.geteuid() == 0 else 0)
        with ordinary_user(), pytest.raises(WalletError, match="WALLET_FORBIDDEN"):
            list_wallets(home)
        made.path.parent.chmod(0o700)


def test_a_settings_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    from node.config import load_settings as node_settings
    from validator.config import load_settings as validator_settings
    from witness.config import load_config as witness_settings

    file = tmp_path / "curiosity.toml"
    file.write_bytes(b'\xef\xbb\xbf[node]\nwallet = "alice"\n[validator]\nport = 7\n[witness]\nport = 8\n')
    assert node_settings(file, {}).node.wallet == "alice"
    assert validator_settings(file, {}).validator.port == 7
    assert witness_settings(file, {}).port == 8
