"""`curiosity attest`."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click

from curiosity.chain.attestation import sign_attestation
from curiosity.chain.connect import connect
from curiosity.client.client import ValidatorClient
from curiosity.host.console import example
from curiosity.protocol.errors import ChainError, ConfigError, Rejected, ServiceError, SourceError
from curiosity.protocol.messages import EpochAttestation, EpochSignature, Network
from curiosity.protocol.payouts import derive
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import checksum
from curiosity.rewards.attesting import Attested, compare, next_attestation
from node.command import PATH, Session, open_client, session_options, wallet_named
from node.leaves import counted, get_leaves
from node.prompts import unlock_wallet
from node.screen import Screen

T = TypeVar("T")
_PATIENCE_S = 10.0


@click.command(
    epilog=example(
        "curiosity attest --wallet validator-2 --dry-run",
        "curiosity attest --wallet validator-2",
        "curiosity attest --wallet validator-2 --follow --entries mirror/",
    )
)
@click.option("--wallet", "wallet_name", help="Wallet of a validator that the rewards contract names.")
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@click.option("--entries", type=PATH, help="A mirror folder or its entries.jsonl; by default the validator's ledger.")
@click.option("--rpc", "rpc_url", help="JSON-RPC address of the chain: best a node of your own.")
@click.option("--dry-run", is_flag=True, help="Derive and compare; sign nothing.")
@click.option("--follow", is_flag=True, help="Go on: sign whatever waits, until Ctrl-C.")
@click.option("--every", "every_s", type=click.FloatRange(min=0.1), default=30.0, show_default=True,
              help="Seconds between two looks with --follow.")  # fmt: skip
@session_options(network=True)
def attest(
    session: Session,
    wallet_name: str | None,
    password_file: Path | None,
    entries: Path | None,
    rpc_url: str | None,
    dry_run: bool,
    follow: bool,
    every_s: float,
) -> int:
    """Sign the next epoch as one of several validators, once it follows from the ledger.

    Amounts, root and total are derived here from the ledger alone and every earlier epoch is compared with the chain;
    what the validator asks to have signed must be the same, or nothing is signed.
    """
    if follow and dry_run:
        raise click.UsageError("--dry-run looks once: leave --follow out")
    wallet = wallet_named(session, wallet_name)
    key = b"" if dry_run else unlock_wallet(wallet, password_file)
    chain = session.settings.chain
    chain = replace(chain, rpc_url=rpc_url) if rpc_url else chain
    task = _AttestTask(replace(session, settings=replace(session.settings, chain=chain)), wallet.address, key, entries)
    if not follow:
        result = task.look(sign=not dry_run)
        session.screen.finish(result, lambda screen: _show(screen, result))
        return 0
    signed = 0
    try:
        while True:
            try:
                result = task.look(sign=True)
            except (ServiceError, ChainError, SourceError) as error:  # away or behind; a lie is a ProofError
                session.screen.say(f"{error.code}: {error.what}. Trying again in {every_s:g} s.")
            else:
                if result["signed"]:
                    signed += 1
                    _show(session.screen, result)
            time.sleep(every_s)
    except KeyboardInterrupt:
        session.screen.finish({"signed": signed}, lambda screen: screen.line(f"Signed {signed} epochs."))
        return 0


@dataclass(frozen=True)
class _AttestTask:
    session: Session
    signer: bytes
    key: bytes
    entries: Path | None

    def look(self, *, sign: bool) -> dict[str, Any]:
        """Sign what waits, if it is what we derive; return what was found."""
        try:
            offered = self._ask(lambda client: client.attestation())
        except Rejected as refusal:
            if refusal.code != "ATTESTATION_NONE":
                raise
            return {"waits": False, "signed": False}
        found = _plain(offered)
        if sign and self.signer in offered.signers:
            return found | {"signed": False, "signed_before": True}
        network: Network = self._ask(lambda client: client.network())
        chain = connect(self.session.settings.chain, network)
        validators = chain.validators()
        if self.signer not in validators:
            raise ConfigError(
                "ATTEST_NOT_VALIDATOR",
                f"{checksum(self.signer)} is none of the contract's validators "
                f"({', '.join(checksum(one) for one in validators)})",
                "Name the wallet of one that is.",
            )
        parameters = RewardParameters()
        leaves = get_leaves(self.session, self.entries)
        with self.session.screen.progress("Deriving", len(leaves)) as meter:
            derived = list(derive(counted(leaves, meter), parameters))
        closed = sum(payout.entry is not None for payout in derived)
        if offered.epoch > closed:
            what = f"epoch {offered.epoch} waits for signatures, the copy that is derived from has closed {closed}"
            raise SourceError("COPY_BEHIND", what, "Bring it up to date (curiosity ledger mirror).")
        ours = next_attestation(derived, leaves, chain, parameters)
        if ours is None:
            return {"waits": False, "signed": False}  # posted in the meantime
        digest = ours.digest(chain.domain)
        compare(offered, ours, digest)
        if not sign:
            return found | {"signed": False, "signed_before": self.signer in offered.signers}
        Attested(self.session.home, chain.addresses, self.signer).note(ours, digest)
        signature = EpochSignature(digest, sign_attestation(ours, chain.domain, self.key))
        after = self._ask(lambda client: client.sign_attestation(signature))
        return _plain(after) | {"signed": True, "signed_before": False}

    def _ask(self, question: Callable[[ValidatorClient], Coroutine[Any, Any, T]]) -> T:

        async def ask() -> T:
            async with open_client(self.session, patience_s=_PATIENCE_S) as client:
                return await question(client)

        return asyncio.run(ask())


def _plain(offered: EpochAttestation) -> dict[str, Any]:
    return {
        "waits": True,
        "epoch": offered.epoch,
        "digest": "0x" + offered.digest.hex(),
        "reward_root": "0x" + offered.reward_root.hex(),
        "cumulative_total_wei": offered.cumulative_total_wei,
        "ledger_size": offered.ledger_size,
        "signers": [checksum(one) for one in offered.signers],
        "threshold": offered.threshold,
    }


def _show(screen: Screen, result: dict[str, Any]) -> None:
    if not result["waits"]:
        screen.line("No epoch waits for signatures.")
        return
    has = f"{len(result['signers'])} of {result['threshold']} signatures"
    if result["signed"]:
        screen.line(f"Signed epoch {result['epoch']}, root {result['reward_root']}: it has {has}.")
    elif result["signed_before"]:
        screen.line(f"Epoch {result['epoch']} was signed before: it has {has}.")
    else:
        screen.line(f"Epoch {result['epoch']} follows from the ledger and can be signed: it has {has}.")
