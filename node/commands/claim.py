"""`curiosity claim`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curiosity.chain.attestation import ClaimPermission, sign_digest
from curiosity.chain.chain import Quote, Share, TransactionReceipt
from curiosity.chain.connect import connect, connect_to
from curiosity.chain.settings import ChainSettings
from curiosity.client.amounts import show_tokens
from curiosity.client.wallet import Wallet
from curiosity.host.console import example
from curiosity.protocol.errors import ChainError, CuriosityError, ExitCode, NotYet
from curiosity.protocol.messages import ClaimShare
from curiosity.protocol.signing import checksum
from curiosity.protocol.wire import from_hex
from curiosity.rewards.claims import (
    AT_ONCE,
    Claimed,
    ClaimStatus,
    ClaimView,
    EpochClaim,
    pay,
    refusal,
    root_differs,
    view,
)
from curiosity.rewards.permits import (
    Permit,
    check_recipient,
    make_permit,
    parse_address,
    payable,
    read_permit,
    write_permit,
)
from node.claim_report import (
    error_json,
    list_epochs,
    permit_json,
    quote_json,
    show_permit,
    show_quote,
    show_state,
    show_trust,
    show_view,
    view_json,
)
from node.claim_source import Known, learn
from node.command import PATH, Session, session_options, wallet_named
from node.prompts import unlock_wallet
from node.screen import Screen, tell_errors

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient

_OWN_PERMISSION_S = 3600  # one that we relay ourselves at once
_DAY_S = 86_400
_JOURNALS = "chain"  # below the home
PERMISSION_GAS = 30_000
"""What a permission adds to a claim at most: the account's first nonce, and the recovery of its signature."""


@click.command(
    epilog=example(
        "curiosity claim --wallet alice --dry-run",
        "curiosity claim --wallet alice",
        "curiosity claim --wallet alice --to 0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "curiosity claim --wallet alice --permit alice.permit",
        "curiosity claim --wallet bob --relay alice.permit",
    )
)
@click.option(
    "--wallet", "wallet_name", help="Wallet that earned; with --relay or --account the one that pays the gas."
)
@click.option("--account", help="Address that earned, if it is not the wallet's: it is paid, the wallet pays the gas.")
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@click.option("--dry-run", is_flag=True, help="Say what would be paid and what it costs; send nothing.")
@click.option(
    "--derive/--no-derive",
    "derived",
    default=None,
    help="Derive the amounts from the ledger, or fail; or take the validator's word. By default: derive if possible.",
)
@click.option(
    "--entries", type=PATH, help="A mirror folder or its entries.jsonl, to derive from without the validator."
)
@click.option("--rpc", "rpc_url", help="JSON-RPC address of the chain.")
@click.option("--to", "to", metavar="ADDRESS", help="Have it paid to another address, such as a cold wallet's.")
@click.option("--permit", type=PATH, metavar="FILE", help="Write a signed permission that anybody can relay; no gas.")
@click.option("--valid-days", type=click.IntRange(1, 365), default=30, show_default=True, help="How long it counts.")
@click.option("--relay", type=PATH, metavar="FILE", help="Send somebody's permission and pay its gas.")
@click.option("--signature", help="What the account's wallet signed, for a permission that was written unsigned.")
@click.option("--activate", is_flag=True, help="First activate epochs whose delay is over, if nobody did.")
@click.option("--as-posted", is_flag=True, help="Also claim epochs whose root is another than the ledger gives.")
@click.option("--all", "everything", is_flag=True, help="Show every epoch with its pairs, claimed ones too.")
@session_options(network=True)
def claim(
    session: Session,
    wallet_name: str | None,
    account: str | None,
    password_file: Path | None,
    dry_run: bool,
    derived: bool | None,
    entries: Path | None,
    rpc_url: str | None,
    to: str | None,
    permit: Path | None,
    valid_days: int,
    relay: Path | None,
    signature: str | None,
    activate: bool,
    as_posted: bool,
    everything: bool,
) -> int:
    """Show what a wallet earned, for which pairs and where it is; claim what is due in one transaction."""
    if relay is not None and (account or to or permit or activate):
        raise click.UsageError("--relay sends a permission as it is; leave --account, --to, --permit, --activate out")
    if account is not None and to and permit is None:
        raise click.UsageError("only the account itself can say where its money goes: write a --permit for it to sign")
    if permit is not None and dry_run:
        raise click.UsageError("--permit sends nothing as it is; leave --dry-run out")
    if signature is not None and relay is None:
        raise click.UsageError("--signature belongs to a permission: give --relay")
    node = session.settings.node
    chain_settings = session.settings.chain
    chain_settings = replace(chain_settings, rpc_url=rpc_url) if rpc_url else chain_settings
    sends = not dry_run and (permit is None or activate)
    wallet = _wallet(session, wallet_name or node.wallet, needed=account is None or sends)
    if relay is not None:
        assert wallet is not None
        return _relay(session, chain_settings, wallet, password_file, (relay, signature), dry_run=dry_run)
    earner = parse_address(account) if account is not None else _address(wallet)
    recipient = parse_address(to) if to is not None else None
    known = learn(session, earner, entries, derived, as_posted=as_posted)
    chain = connect(chain_settings, known.network, session.home / _JOURNALS)
    if recipient is not None:
        check_recipient(recipient, chain.addresses)
    key = _Key(wallet, password_file)
    activated = _activate(chain, key) if activate and not dry_run else []
    with session.screen.progress("Reading the chain", len(known.earnings.epochs)) as meter:
        seen = view(chain, known.earnings, offered=known.offered if as_posted else None, told=meter.advance)
    if known.earnings.is_behind(seen.latest_epoch):
        known = replace(known, notes=(*known.notes, _behind(known, seen.latest_epoch)))
    task = _Task(session, chain, known, seen, wallet, key, recipient, dry_run, everything, activated)
    if permit is not None:
        return task.permit(permit, valid_days * _DAY_S)
    return task.claim(dry_run=dry_run)


def _behind(known: Known, latest_epoch: int) -> str:
    return (
        f"{known.source} ends with epoch {known.earnings.closed_epochs}, the chain is at {latest_epoch}: what "
        "came after is not shown here. Bring the copy up to date (curiosity ledger mirror)."
    )


def _signature(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return from_hex(text.lower(), 65)
    except ValueError as error:
        raise click.UsageError(f"--signature: {error}") from None


class _Key:
    """The wallet's key, asked for when it is needed and no sooner, and once."""

    def __init__(self, wallet: Wallet | None, password_file: Path | None) -> None:
        self._wallet, self._password_file = wallet, password_file
        self._key: bytes | None = None

    def get(self) -> bytes:
        """Return the key. Raises WalletError."""
        if self._key is None:
            assert self._wallet is not None  # who sends anything was asked for a wallet
            self._key = unlock_wallet(self._wallet, self._password_file)
        return self._key


def _wallet(session: Session, name: str, *, needed: bool) -> Wallet | None:
    return wallet_named(session, name) if name or needed else None


def _address(wallet: Wallet | None) -> bytes:
    assert wallet is not None
    return wallet.address


def _activate(chain: "ChainClient", key: _Key) -> list[int]:
    """Activate every epoch whose delay is over; return them."""
    done: list[int] = []
    state = chain.state()
    while state.active_epoch < state.latest_epoch and state.activates_at <= chain.now() >= state.paused_until:
        epoch = state.active_epoch + 1
        chain.activate(key.get(), epoch)
        done.append(epoch)
        state = chain.state()
    return done


# -- what is done


@dataclass(frozen=True)
class _Task:
    """A claim with all that it needs."""

    session: Session
    chain: "ChainClient"
    known: Known
    seen: ClaimView
    wallet: Wallet | None
    key: _Key
    recipient: bytes | None
    with_pairs: bool
    everything: bool
    activated: Sequence[int]

    def claim(self, *, dry_run: bool) -> int:
        """Pay what is due, show everything, and return the status."""
        refused = refusal(self.seen)
        due = self.seen.of(ClaimStatus.CLAIMABLE)
        is_sent = bool(due) and refused is None and not dry_run
        quote = self._quote(due) if due and refused is None and dry_run else None
        done = self._pay(is_sent=is_sent)
        state = (
            "paid" if is_sent else "dry run" if quote else "waiting" if isinstance(refused, NotYet) else "nothing due"
        )
        return self._finish(state, done, refused, quote)

    def _pay(self, *, is_sent: bool) -> Claimed:
        if not is_sent:
            return pay(self.chain, self.seen, b"", recipient=self.recipient, dry_run=True)
        private_key = self.key.get()
        send = None
        if self.recipient is not None:
            send = partial(self._send_to, self.recipient, private_key)
        try:
            return pay(self.chain, self.seen, private_key, send=send, recipient=self.recipient)
        except ChainError as error:
            if error.code != "CHAIN_NO_FUNDS":
                raise
            remedy = "Fund it with coins for gas, or let somebody relay the claim: curiosity claim --permit FILE."
            raise ChainError(error.code, error.what, remedy) from None

    def _send_to(self, recipient: bytes, private_key: bytes, shares: Sequence[Share]) -> TransactionReceipt:
        permission = self._permission(recipient, _OWN_PERMISSION_S)
        signature = sign_digest(permission.digest(self.chain.domain), private_key)
        return self.chain.claim_to(private_key, permission, signature, shares)

    def _permission(self, recipient: bytes, lifetime_s: int) -> ClaimPermission:
        account = self.seen.account
        return ClaimPermission(account, recipient, self.chain.claim_nonce(account), self.chain.now() + lifetime_s)

    @property
    def _payer(self) -> bytes:
        return self.wallet.address if self.wallet is not None else self.seen.account

    def _quote(self, due: Sequence[EpochClaim]) -> Quote:
        """What all transactions would cost together; a permission's own gas is added as it was measured."""
        parts = [[one.share for one in due[start : start + AT_ONCE]] for start in range(0, len(due), AT_ONCE)]
        quotes = [self.chain.quote_claim(self._payer, self.seen.account, part) for part in parts]
        extra = PERMISSION_GAS * len(parts) if self.recipient is not None else 0
        gas = sum(one.gas for one in quotes) + extra
        most_per_gas = max(-(-one.most_wei // one.gas) for one in quotes)
        return Quote(gas, max(one.fee_wei for one in quotes), gas * most_per_gas)

    def permit(self, path: Path, lifetime_s: int) -> int:
        """Write a permission for all that is not claimed, active or not, and return the status."""
        wanted = self.seen.of(ClaimStatus.CLAIMABLE, ClaimStatus.PENDING, ClaimStatus.UNPOSTED)[:AT_ONCE]
        if not wanted:
            return self._finish("nothing due", self._pay(is_sent=False), None, None)
        shares = tuple(
            ClaimShare(one.epoch, str(one.amount_wei), one.earning.proof, one.earning.reward_root) for one in wanted
        )
        permission = self._permission(self.recipient or self.seen.account, lifetime_s)
        made = make_permit(self.chain.addresses, permission, shares)
        if self.wallet is not None and self.wallet.address == self.seen.account:
            made = made.signed_with(self.key.get())
        write_permit(path, made)
        return self._finish("permitted", self._pay(is_sent=False), None, None, (path, made))

    def _finish(
        self,
        state: str,
        done: Claimed,
        refused: CuriosityError | None,
        quote: Quote | None,
        permitted: tuple[Path, Permit] | None = None,
    ) -> int:
        seen = self.seen.after(done.epochs if done.transactions else ())
        problems = [*self.known.problems, *(root_differs(one) for one in seen.of(ClaimStatus.DIFFERS))]
        error = refused if isinstance(refused, NotYet) or not problems else problems[0]
        balance_wei = self.chain.balances(self._payer).eth_wei if quote is not None else 0
        result = done.to_json() | {
            "wallet": self.wallet.name if self.wallet is not None else None,
            "payer": "0x" + self._payer.hex(),
            "recipient": "0x" + (self.recipient or self.seen.account).hex(),
            "state": state,
            "source": self.known.source,
            "notes": list(self.known.notes),
            "due_epochs": list(done.epochs),
            "activated": list(self.activated),
            "gas": quote_json(quote, balance_wei) if quote is not None else None,
            "permit": permit_json(*permitted) if permitted is not None else None,
            **view_json(seen),
            "problems": [error_json(one) for one in problems],
            "error": error_json(error) if error is not None else None,
        }

        def show(screen: Screen) -> None:
            show_view(screen, seen, with_pairs=self.with_pairs, everything=self.everything)
            for line in [*self.known.notes, *(f"Epoch {epoch} was activated." for epoch in self.activated)]:
                screen.line(line)
            show_state(screen, state, self.seen, done, self.recipient)
            show_trust(screen, self.known.source, self.seen, problems)
            if permitted is not None:
                show_permit(screen, *permitted)
            if quote is not None:
                payer = self.wallet.name if self.wallet is not None else checksum(self._payer)
                show_quote(screen, quote, balance_wei, payer)

        self.session.screen.finish(result, show)
        return tell_errors(self.session.screen, problems, error)


def _relay(
    session: Session,
    settings: ChainSettings,
    wallet: Wallet,
    password_file: Path | None,
    given: tuple[Path, str | None],
    *,
    dry_run: bool,
) -> int:
    """Send a permission that somebody signed; the wallet pays the gas and gets nothing for it."""
    path = given[0]
    permit = read_permit(path, _signature(given[1]))
    assert permit.signature is not None  # it was checked
    chain = connect_to(settings, permit.addresses, session.home / _JOURNALS)
    chain.verify_code()  # the file names the contract: it must be the one that we know
    due = payable(chain, permit)
    quote = chain.quote_claim_to(wallet.address, permit.permission, permit.signature, due) if due and dry_run else None
    before = chain.balances(permit.recipient).token_wei
    receipt = None
    if due and not dry_run:
        private_key = unlock_wallet(wallet, password_file)
        receipt = chain.claim_to(private_key, permit.permission, permit.signature, due)
    balance_wei = chain.balances(wallet.address).eth_wei
    due_wei = sum(share.amount_wei for share in due)
    result = {
        "state": "relayed" if receipt else "dry run" if due else "nothing due",
        "wallet": wallet.name,
        "payer": "0x" + wallet.address.hex(),
        "account": "0x" + permit.account.hex(),
        "recipient": "0x" + permit.recipient.hex(),
        "due_epochs": [share.epoch for share in due],
        "left_epochs": sorted({one.epoch for one in permit.shares} - {share.epoch for share in due}),
        "due_wei": str(due_wei),
        "paid_wei": str(receipt.paid_wei if receipt else 0),
        "balance_before_wei": str(before),
        "balance_after_wei": str(chain.balances(permit.recipient).token_wei if receipt else before),
        "gas_used": receipt.gas_used if receipt else 0,
        "transactions": ["0x" + receipt.hash.hex()] if receipt else [],
        "gas": quote_json(quote, balance_wei) if quote is not None else None,
        "permit": permit_json(path, permit),
        "error": None,
    }

    def show(screen: Screen) -> None:
        epochs = list_epochs([share.epoch for share in due])
        whom = f"{checksum(permit.account)} earned, to {checksum(permit.recipient)}"
        if receipt is not None:
            screen.line(
                f"Relayed: {show_tokens(receipt.paid_wei)} ({receipt.paid_wei} wei; {epochs}) that {whom}, "
                f"with {receipt.gas_used} gas of {wallet.name} in 0x{receipt.hash.hex()}."
            )
        elif due:
            screen.line(f"Would pay {show_tokens(due_wei)} ({due_wei} wei; {epochs}) that {whom}; nothing was sent.")
        else:
            screen.line("Nothing is due: what the permission names is claimed, or not active yet. It stays good.")
        if quote is not None:
            show_quote(screen, quote, balance_wei, wallet.name)

    session.screen.finish(result, show)
    return int(ExitCode.OK)
