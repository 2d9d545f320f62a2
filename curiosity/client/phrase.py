"""BIP-39 words and the keys below them (BIP-32, BIP-44). No error ever shows a word or a passphrase."""

import re
import unicodedata

from curiosity.protocol.errors import WalletError

WORD_COUNTS = (12, 15, 18, 21, 24)
_FIRST_ACCOUNT = "m/44'/60'/0'/0"  # BIP-44: coin 60 is Ether, account 0, external chain
_HARDENED = 2**31
_STEP = re.compile(r"(0|[1-9][0-9]{0,9})(')?")
_MAX_STEPS = 10


def account_path(index: int) -> str:
    """Return the derivation path of the account with that number, as other Ethereum wallets count them from 0.

    Raises:
        WalletError: WALLET_PATH for one that is none.
    """
    return check_path(f"{_FIRST_ACCOUNT}/{index}")


def check_path(path: str) -> str:
    """Return a BIP-32 derivation path as it was given.

    Raises:
        WalletError: WALLET_PATH for anything else.
    """
    steps = path.split("/")
    found = [_STEP.fullmatch(step) for step in steps[1:]]
    if (
        steps[0] != "m"
        or not 1 <= len(found) <= _MAX_STEPS
        or not all(match is not None and int(match[1]) < _HARDENED for match in found)
    ):
        raise WalletError(
            "WALLET_PATH",
            f"{path[:80]!r} is not a derivation path",
            f"Give one as in {_FIRST_ACCOUNT}/1: numbers below 2^31, hardened ones with '.",
        )
    return path


def new_phrase(words: int = 12) -> str:
    """Return new words, from the system's random source.

    Raises:
        WalletError: WALLET_MNEMONIC_LENGTH.
    """
    from eth_account.hdaccount.mnemonic import Mnemonic

    if words not in WORD_COUNTS:
        raise _wrong_length(words)
    return str(Mnemonic().generate(words))


def check_phrase(text: str) -> str:
    """Return the words, separated by single spaces, once their checksum holds.

    Raises:
        WalletError: WALLET_MNEMONIC_LENGTH, WALLET_MNEMONIC_WORD, which gives the place of the first that no list of
            BIP-39 has beside the others, WALLET_MNEMONIC_CHECKSUM.
    """
    from eth_account.hdaccount.mnemonic import Mnemonic

    words = unicodedata.normalize("NFKD", text).split()
    if len(words) not in WORD_COUNTS:
        raise _wrong_length(len(words))
    lists = [Mnemonic(language) for language in Mnemonic.list_languages_enum()]
    known = {one.language: {unicodedata.normalize("NFKD", word) for word in one.wordlist} for one in lists}
    prefixes = {name: next((i for i, word in enumerate(words) if word not in known[name]), -1) for name in known}
    whole = [one for one in lists if prefixes[one.language] == -1]
    if not whole:
        raise WalletError(
            "WALLET_MNEMONIC_WORD",
            f"word {max(prefixes.values()) + 1} of {len(words)} is in no BIP-39 list that has those before it",
            "Check how it is written; it is not shown here, since others may read this.",
        )
    phrase = " ".join(words)
    if not any(one.is_mnemonic_valid(phrase) for one in whole):
        raise WalletError(
            "WALLET_MNEMONIC_CHECKSUM",
            f"all {len(words)} words are known, but their checksum is wrong",
            "Check their order, and that none was taken for another.",
        )
    return phrase


def key_of_phrase(phrase: str, passphrase: str, path: str) -> bytes:
    """Return the key at a path below the words; any passphrase gives some key, and there is no wrong one.

    Raises:
        WalletError: What `check_phrase` and `check_path` raise.
    """
    from eth_account.hdaccount import key_from_seed
    from eth_account.hdaccount.mnemonic import Mnemonic

    # The derivation is a library's; its errors hold the words, so that everything was checked before.
    return bytes(key_from_seed(Mnemonic.to_seed(check_phrase(phrase), passphrase), check_path(path)))


def list_accounts(phrase: str, passphrase: str, count: int) -> list[tuple[str, bytes]]:
    """Return derivation path and address of the first accounts below the words.

    Raises:
        WalletError: What `check_phrase` raises.
    """
    paths = [account_path(index) for index in range(count)]
    from curiosity.protocol.signing import address_of  # here: it loads pydantic, and help needs the word counts

    return [(path, address_of(key_of_phrase(phrase, passphrase, path))) for path in paths]


def _wrong_length(count: int) -> WalletError:
    return WalletError(
        "WALLET_MNEMONIC_LENGTH",
        f"{count} words",
        f"BIP-39 knows {', '.join(map(str, WORD_COUNTS[:-1]))} or {WORD_COUNTS[-1]}.",
    )
