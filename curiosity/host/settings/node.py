"""Section [node]: a contributor's machine."""

from dataclasses import dataclass
from pathlib import Path

from curiosity.host.settings.declare import setting
from curiosity.protocol.url import check_url


def _check_validator_url(url: str) -> str:
    return check_url(url, "[node] validator_url")


@dataclass(frozen=True)
class NodeSettings:
    """Section [node]. A key given here is pinned: a validator that shows another one is refused."""

    home: Path = setting(Path("~/.curiosity"), "Folder of wallets, receipts, journals and logs.")
    validator_url: str = setting(
        "http://127.0.0.1:8440", "Address of the validator to talk to.", check=_check_validator_url
    )
    wallet: str = setting("", "Wallet to use when a command names none.")
    license: str = setting("", "SPDX expression for pairs whose source states no licence.")
    receipt_vkey: str = setting("", "Pinned key of the validator's receipts; another key is refused.")
    log_vkey: str = setting("", "Pinned key of the ledger's tree heads; another key is refused.")
    origin: str = setting("", "Pinned name of the ledger, the first line of its tree heads; another name is refused.")
    witness_vkeys: tuple[str, ...] = setting((), "Keys of the witnesses that you trust.")
    quorum: int = setting(0, "How many of those witnesses must have cosigned a tree head.")
    concurrency: int = setting(16, "Pairs on their way at a time.")
    patience_s: float = setting(60.0, "Seconds for which a request is repeated while there is no answer.")
    request_timeout_s: float = setting(120.0, "Seconds that one request to the validator may take.")
    signature_lifetime_s: int = setting(12 * 3600, "Seconds for which a signature counts; at most a day.")
    scrypt_n: int = setting(2**18, "Cost of opening a wallet; a power of two.")

    @property
    def folder(self) -> Path:
        """``home`` with ~ spelled out."""
        return self.home.expanduser()
