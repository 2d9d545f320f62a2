"""Sending tokens, or coins for gas, from a wallet to an address: checked and quoted, then sent."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from curiosity.chain.chain import Balances, Quote
from curiosity.client.amounts import show_coins, show_tokens
from curiosity.client.wallet import Wallet
from curiosity.protocol.errors import ChainError, WalletError
from curiosity.protocol.signing import checksum

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient


@dataclass(frozen=True)
class Transfer:
    """What is to be sent from whom to whom, in wei of coins or of tokens, and what sending it costs now."""

    sender: Wallet
    recipient: bytes
    amount_wei: int
    is_coins: bool
    quote: Quote

    @property
    def shown(self) -> str:
        """The amount for people."""
        return show_coins(self.amount_wei) if self.is_coins else show_tokens(self.amount_wei)


def plan_transfer(
    chain: "ChainClient", sender: Wallet, recipient: bytes, amount_wei: int, *, is_coins: bool = False
) -> Transfer:
    """Return the transfer, once it is certain that it can be sent and is not lost.

    Raises:
        WalletError: RECIPIENT_CONTRACT for one of the network's own contracts, RECIPIENT_ZERO for address 0.
        ChainError: CHAIN_NO_FUNDS if the wallet holds less, and other CHAIN_ codes.
    """
    if recipient in (chain.addresses.token, chain.addresses.rewards):
        raise WalletError(
            "RECIPIENT_CONTRACT",
            f"{checksum(recipient)} is one of the network's own contracts: what it is sent is lost",
            "Give the address of a wallet.",
        )
    if recipient == bytes(20):
        raise WalletError(
            "RECIPIENT_ZERO",
            f"{checksum(recipient)} belongs to nobody: what it is sent is lost",
            "Give the address of a wallet.",
        )
    held = chain.balances(sender.address)
    has_wei = held.eth_wei if is_coins else held.token_wei
    if has_wei < amount_wei:
        show = show_coins if is_coins else show_tokens
        what = f"{sender.name} holds {show(has_wei)}, {show(amount_wei)} were asked for"
        raise ChainError("CHAIN_NO_FUNDS", what, "Send less.")
    coins_wei, token_wei = (amount_wei, 0) if is_coins else (0, amount_wei)
    quote = chain.quote_transfer(sender.address, recipient, eth_wei=coins_wei, token_wei=token_wei)
    return Transfer(sender, recipient, amount_wei, is_coins, quote)


def send_transfer(chain: "ChainClient", transfer: Transfer, private_key: bytes) -> Balances:
    """Send it, and return what the sender holds then.

    Raises:
        ChainError: CHAIN_ codes.
    """
    coins_wei, token_wei = (transfer.amount_wei, 0) if transfer.is_coins else (0, transfer.amount_wei)
    chain.fund(private_key, transfer.recipient, eth_wei=coins_wei, token_wei=token_wei)
    return chain.balances(transfer.sender.address)
