"""Words and the keys below them: the standards' own vectors, a second implementation, and errors that keep secrets."""

import hashlib
import hmac
import json
import random
import unicodedata
from pathlib import Path

import coincurve
import pytest
from eth_account.hdaccount import key_from_seed
from eth_account.hdaccount.mnemonic import Mnemonic

from curiosity.client.phrase import WORD_COUNTS, account_path, check_path, check_phrase, key_of_phrase, new_phrase
from curiosity.client.wallet import find_wallet, unlock
from curiosity.protocol.errors import WalletError
from curiosity.protocol.signing import SECP256K1_N, address_of, checksum
from tests.material.payment import PASSWORD, Terminal

ABANDON = "abandon " * 11 + "about"
JUNK = "test " * 11 + "junk"
VECTORS = json.loads((Path(__file__).parent / "vectors/phrase.json").read_text())
# "bip39": vectors of the reference implementation, the seed under the passphrase TREZOR; "japanese": one of those in
# Japanese; "bip32": test vector 1 of that standard, keys below the seed 000102...0f; "bip44": accounts that every
# Ethereum wallet shows for these words.


def seed_of(phrase: str, passphrase: str) -> bytes:
    """BIP-39 written anew."""
    words, salt = (unicodedata.normalize("NFKD", text) for text in (phrase, "mnemonic" + passphrase))
    return hashlib.pbkdf2_hmac("sha512", " ".join(words.split()).encode(), salt.encode(), 2048)


def key_below(seed: bytes, path: str) -> bytes:
    """BIP-32 written anew."""
    whole = hmac.digest(b"Bitcoin seed", seed, "sha512")
    for step in path.split("/")[1:]:
        number = int(step.rstrip("'")) + (2**31 if step.endswith("'") else 0)
        key, code = whole[:32], whole[32:]
        data = b"\0" + key if number >= 2**31 else coincurve.PrivateKey(key).public_key.format()
        made = hmac.digest(code, data + number.to_bytes(4, "big"), "sha512")
        child = (int.from_bytes(made[:32], "big") + int.from_bytes(key, "big")) % SECP256K1_N
        whole = child.to_bytes(32, "big") + made[32:]
    return whole[:32]


def test_the_vectors_of_the_standards() -> None:
    for one in VECTORS["bip39"]:
        assert Mnemonic().to_mnemonic(bytes.fromhex(one["entropy"])) == check_phrase(one["words"])
        assert Mnemonic.to_seed(check_phrase(one["words"]), "TREZOR").hex() == one["seed"]
        assert seed_of(one["words"], "TREZOR").hex() == one["seed"]
    japanese = VECTORS["japanese"]
    for seed in (
        Mnemonic.to_seed(check_phrase(japanese["words"]), japanese["passphrase"]),
        seed_of(japanese["words"], japanese["passphrase"]),
    ):
        assert seed.hex() == japanese["seed"]
    for one in VECTORS["bip32"]:
        assert key_from_seed(bytes(range(16)), check_path(one["path"])).hex() == one["key"]
        assert key_below(bytes(range(16)), one["path"]).hex() == one["key"]
    for one in VECTORS["bip44"]:
        assert checksum(address_of(key_of_phrase(one["words"], "", account_path(one["index"])))) == one["address"]


def test_new_words_lead_to_the_keys_that_a_second_implementation_finds() -> None:
    draw = random.Random(5)
    for count in WORD_COUNTS:
        phrase = new_phrase(count)
        assert len(phrase.split()) == count
        path, passphrase = f"m/44'/60'/{draw.randrange(9)}'/0/{draw.randrange(2**31)}", draw.choice(["", "ünï ç"])
        assert key_of_phrase(phrase, passphrase, path) == key_below(seed_of(phrase, passphrase), path)
    assert new_phrase() != new_phrase()
    with pytest.raises(WalletError, match="WALLET_MNEMONIC_LENGTH"):
        new_phrase(13)


def test_spaces_and_forms_of_letters_do_not_count() -> None:
    spaced = "\n ".join(JUNK.split()) + "\n"
    assert key_of_phrase(spaced, "", account_path(0)) == key_of_phrase(JUNK, "", account_path(0))


@pytest.mark.parametrize(
    ("phrase", "code"),
    [
        ("", "WALLET_MNEMONIC_LENGTH: 0 words"),
        (ABANDON + " about", "WALLET_MNEMONIC_LENGTH: 13 words"),
        ("abandon " * 11 + "secretword", "WALLET_MNEMONIC_WORD: word 12 of 12"),
        ("abandon secretword " + "abandon " * 10, "WALLET_MNEMONIC_WORD: word 2 of 12"),
        ("abandon " * 12, "WALLET_MNEMONIC_CHECKSUM: all 12 words"),
        ("zoo " * 12, "WALLET_MNEMONIC_CHECKSUM"),
    ],
)
def test_what_is_wrong_with_words_is_said_without_a_word_of_them(phrase: str, code: str) -> None:
    with pytest.raises(WalletError) as caught:
        key_of_phrase(phrase, "", account_path(0))
    assert str(caught.value).startswith(code)
    assert not {word for word in phrase.split() if len(word) > 3} & set(str(caught.value).split())


@pytest.mark.parametrize(
    "path", ["", "m", "44'/60'", "m/44h/60h", "m/2147483648", "m/-1", "m/01", "m/ 1", "m" + "/1" * 11]
)
def test_paths_have_one_spelling(path: str) -> None:
    with pytest.raises(WalletError, match="WALLET_PATH"):
        check_path(path)
    assert account_path(7) == "m/44'/60'/0'/0/7"


def test_a_wallet_is_made_and_restored_from_its_words_and_passphrase(shell: Terminal, tmp_path: Path) -> None:
    beside = tmp_path / "passphrase"
    beside.write_text("a 25th word\n")
    made = shell.run(
        "wallet", "new", "alice", "--mnemonic", "--words", "24", "--account-index", "3", "--passphrase-file", beside,
        "--json",
    ).json  # fmt: skip
    assert (len(made["mnemonic"].split()), made["path"]) == (24, "m/44'/60'/0'/0/3")
    words = tmp_path / "words"
    words.write_text(made["mnemonic"])
    restore = ("wallet", "import", "--mnemonic-file", words, "--address", made["address"], "--json")
    back = shell.run(*restore, "--account-index", "3", "--passphrase-file", beside, "bob").json
    assert (back["address"], back["path"]) == (made["address"], made["path"])
    assert unlock(find_wallet(shell.home, "alice"), PASSWORD) == unlock(find_wallet(shell.home, "bob"), PASSWORD)
    by_path = shell.run(*restore, "--path", made["path"], "--passphrase-file", beside, "carol")
    assert by_path.json["address"] == made["address"]
    # Without the passphrase, or at another place, it is another wallet: only the address can tell.
    for wrong in (("--account-index", "3"), ("--account-index", "2", "--passphrase-file", beside)):
        refused = shell.run(*restore, *wrong, "dave")
        assert (refused.status, refused.json["error"]["code"]) == (7, "WALLET_ADDRESS_DIFFERS")
    shown = shell.run("wallet", "addresses", "--mnemonic-file", words, "--passphrase-file", beside, "--json").json
    assert [one["index"] for one in shown["addresses"] if one["address"] == made["address"]] == [3]
    assert {one["name"] for one in shell.run("wallet", "list", "--json").json["wallets"]} == {"alice", "bob", "carol"}
    assert "mnemonic" not in json.loads((shell.home / "wallets" / "alice.json").read_text())


def test_nobody_is_asked_where_nobody_is(shell: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115 - closed with the process
    for arguments in (
        ("wallet", "import", "bob", "--mnemonic"),
        ("wallet", "addresses"),
        ("wallet", "new", "bob", "--mnemonic", "--passphrase"),
    ):
        refused = shell.run(*arguments, "--json")
        assert (refused.status, refused.json["error"]["code"]) == (7, "WALLET_PASSWORD_NEEDED")
