"""Who a program acts for: an unlocked wallet, and where its receipts and journals are kept."""

from pathlib import Path

from curiosity.client.submission import Contributor
from curiosity.client.wallet import create_wallet, find_wallet, unlock

HOME = Path("~/.curiosity")


def open_wallet(name: str, password: str, *, home: Path | str = HOME) -> Contributor:
    """Return the account of a wallet, unlocked. It takes a second or so, on purpose.

    Args:
        name: The wallet's name, as `curiosity wallet list` shows it.
        password: Its password.
        home: Folder of wallets, receipts and journals.

    Raises:
        WalletError: WALLET_MISSING, WALLET_PASSWORD_WRONG, WALLET_FORBIDDEN, WALLET_UNREADABLE.
    """
    folder = Path(home).expanduser()
    wallet = find_wallet(folder, name)
    return Contributor(unlock(wallet, password), wallet.address, folder)


def new_wallet(name: str, password: str, *, home: Path | str = HOME) -> Contributor:
    """Make a wallet with a random key, encrypted in a file of mode 0600, and return its account.

    Args:
        name: A name for it: letters, digits, - and _.
        password: At least 8 characters. Nobody can recover it.
        home: Folder of wallets, receipts and journals.

    Raises:
        WalletError: WALLET_EXISTS, WALLET_NAME, WALLET_PASSWORD_SHORT, WALLET_NOT_WRITTEN.
    """
    create_wallet(Path(home).expanduser(), name, password)
    return open_wallet(name, password, home=home)
