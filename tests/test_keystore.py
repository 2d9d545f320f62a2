"""Keystores that somebody else wrote: opened, or refused with a code before they cost anything."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from eth_keyfile.keyfile import create_keyfile_json, decode_keyfile_json
from hypothesis import given, settings
from hypothesis import strategies as st

from curiosity.client.keystore import MAX_PBKDF2_ROUNDS, MAX_SCRYPT_BLOCKS, MAX_SCRYPT_WORK, open_keystore
from curiosity.client.wallet import MAX_SCRYPT_N, create_wallet
from curiosity.protocol.errors import WalletError

KEY, PASSWORD, FILE = b"\x01" * 32, "password of theirs", Path("theirs.json")
SCRYPT: Any = json.loads(json.dumps(create_keyfile_json(KEY, PASSWORD.encode(), kdf="scrypt", iterations=2)))
PBKDF2: Any = json.loads(json.dumps(create_keyfile_json(KEY, PASSWORD.encode(), kdf="pbkdf2", iterations=2)))
MISSING = object()

FIELDS = [
    *(("crypto", "kdfparams", name) for name in ("n", "r", "p", "c", "dklen", "salt", "prf")),
    *(("crypto", name) for name in ("kdf", "kdfparams", "cipher", "cipherparams", "ciphertext", "mac")),
    ("crypto", "cipherparams", "iv"),
    ("crypto",),
    ("version",),
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 40),
    st.integers(0, 80).map(lambda power: 2**power),
    st.integers(),
    st.floats(),
    st.text(max_size=70),
    st.text("0123456789abcdefXx", max_size=80),
    st.sampled_from(["\ud800", "scrypt", "pbkdf2", "hmac-sha256", "hmac-", "aes-256-xts", [], [1], {}, {"n": 2}]),
    st.just(MISSING),
)


def changed(keystore: Any, path: tuple[str, ...], value: object) -> Any:
    """A copy with another value in one place, or without it."""
    copied = part = copy.deepcopy(keystore)
    for name in path[:-1]:
        part = part[name]
    if value is MISSING:
        part.pop(path[-1], None)
    else:
        part[path[-1]] = value
    return copied


def code_of(keystore: Any) -> str:
    try:
        key = open_keystore(keystore, PASSWORD, FILE)
    except WalletError as error:
        return error.code if error.remedy.endswith(".") else f"{error.code} without a remedy"
    return "opened" if key == KEY else "another key"


@pytest.mark.parametrize("keystore", [SCRYPT, PBKDF2])
def test_what_other_programs_write_is_opened(keystore: Any) -> None:
    assert code_of(keystore) == "opened"
    capitals = {name.capitalize(): part for name, part in keystore.items()}
    assert code_of(capitals) == "opened"
    prefixed = changed(keystore, ("crypto", "mac"), "0x" + keystore["crypto"]["mac"])
    assert code_of(prefixed) == "opened"
    wrong = changed(keystore, ("crypto", "mac"), "00" * 32)
    assert code_of(wrong) == "WALLET_PASSWORD_WRONG"


def test_a_keystore_that_divides_by_zero_is_refused() -> None:
    hostile = changed(SCRYPT, ("crypto", "kdfparams", "r"), 0)
    with pytest.raises(ZeroDivisionError):  # the other arm: what the library does with it
        decode_keyfile_json(hostile, PASSWORD.encode())
    with pytest.raises(WalletError, match=r"WALLET_UNREADABLE: theirs\.json: its r is not a whole number above 0"):
        open_keystore(hostile, PASSWORD, FILE)


@pytest.mark.parametrize(
    ("keystore", "name", "value"),
    [
        (SCRYPT, "r", 2**20),  # 128 MiB of blocks, and minutes
        (SCRYPT, "r", 2**31),
        (SCRYPT, "n", 2**40),
        (SCRYPT, "p", 2**30),
        (SCRYPT, "dklen", 2**40),
        (PBKDF2, "c", 2**31),
        (PBKDF2, "dklen", 2**31),
    ],
)
def test_a_keystore_that_asks_for_hours_is_refused_at_once(keystore: Any, name: str, value: int) -> None:
    most = f"({MAX_SCRYPT_WORK}|{MAX_SCRYPT_BLOCKS}|{MAX_PBKDF2_ROUNDS})"
    with pytest.raises(WalletError, match=f"WALLET_UNREADABLE: .*(over {most}, the most|its dklen is not 32 to 64)"):
        open_keystore(changed(keystore, ("crypto", "kdfparams", name), value), PASSWORD, FILE)


def test_every_wallet_that_can_be_made_is_within_what_is_opened() -> None:
    assert MAX_SCRYPT_N * SCRYPT["crypto"]["kdfparams"]["r"] == MAX_SCRYPT_WORK


@pytest.mark.parametrize("scrypt_n", [0, 1, -2, 3, 1000, 2 * MAX_SCRYPT_N])
def test_a_wallet_is_not_made_dearer_than_it_is_opened(scrypt_n: int, tmp_path: Path) -> None:
    with pytest.raises(WalletError, match="WALLET_SCRYPT_N"):
        create_wallet(tmp_path, "alice", PASSWORD, scrypt_n=scrypt_n)
    assert not (tmp_path / "wallets").exists()


@pytest.mark.parametrize("keystore", [None, 5, "a", [1], {}, {"version": 3}, {"version": float("inf"), "crypto": {}}])
def test_what_is_not_a_keystore_is_refused(keystore: Any) -> None:
    assert code_of(keystore) == "WALLET_UNREADABLE"


@settings(max_examples=600, deadline=None)
@given(st.sampled_from([SCRYPT, PBKDF2]), st.sampled_from(FIELDS), VALUES)
def test_any_value_in_any_place_is_opened_or_refused(keystore: Any, path: tuple[str, ...], value: object) -> None:
    hostile = changed(keystore, path, value)
    parameters = hostile.get("crypto")
    parameters = parameters.get("kdfparams") if isinstance(parameters, dict) else None
    work = 1
    for name in "nrpc":
        one = parameters.get(name, 1) if isinstance(parameters, dict) else 1
        work *= one if isinstance(one, int) and one > 0 else 1
    if 2**14 < work <= MAX_SCRYPT_WORK:
        return  # allowed, and seconds of work
    allowed = {"opened", "WALLET_UNREADABLE", "WALLET_PASSWORD_WRONG"}
    if path == ("crypto", "cipherparams", "iv"):
        allowed.add("another key")  # the MAC does not cover it: `unlock` compares the address
    assert code_of(hostile) in allowed
