"""`curiosity ledger slash`."""

from dataclasses import replace
from pathlib import Path

import click

from curiosity.chain.connect import connect_stake
from curiosity.chain.slashing import StakeEvidence, check_stake_evidence, parse_stake_evidence
from curiosity.client.amounts import show_tokens
from curiosity.client.receipts import read_file
from curiosity.client.wallet import find_wallet
from curiosity.host.console import example
from curiosity.protocol.errors import WalletError
from curiosity.protocol.evidence import parse_evidence
from node.command import PATH, Session, session_options
from node.prompts import unlock_wallet


@click.command("slash", epilog=example("curiosity ledger slash slash-0123.json --wallet alice --dry-run"))
@click.argument("file", type=PATH)
@click.option("--wallet", "wallet_name", help="Wallet that pays the gas and gets the reporter's hundredth.")
@click.option("--password-file", type=PATH, help="File with the wallet's password; else you are asked.")
@click.option("--rpc", "rpc_url", help="JSON-RPC address of the chain.")
@click.option("--stake-vkey", default="", help="Key of the heads' stake lines, for evidence that a witness kept.")
@click.option("--dry-run", is_flag=True, help="Check the evidence and what it would cost the signer, send nothing.")
@session_options()
def slash(
    session: Session,
    file: Path,
    wallet_name: str | None,
    password_file: Path | None,
    rpc_url: str | None,
    stake_vkey: str,
    dry_run: bool,
) -> None:
    """Hand evidence of a fork, as the audit wrote it, to the stake contract: the signer loses its stake."""
    data = read_file(file)
    if stake_vkey:  # two heads as evidence for people, which a witness keeps
        shown = parse_evidence(data)
        evidence = StakeEvidence(stake_vkey, shown.first, shown.second)
    else:
        evidence = parse_stake_evidence(data)
    fault = check_stake_evidence(evidence)
    name = wallet_name or session.settings.node.wallet
    if not name and not dry_run:
        raise WalletError("WALLET_NEEDED", "no wallet was named", "Give --wallet NAME, or set [node] wallet.")
    found = find_wallet(session.home, name) if name else None
    domain, chain = fault.key.domain, session.settings.chain
    journal = session.home / "chain" / f"reports-{domain.chain_id:d}.json"
    client = connect_stake(replace(chain, rpc_url=rpc_url or chain.rpc_url), domain.chain_id, domain.stake, journal)
    before = client.stake(fault.key.signer)
    receipt = None
    if found is not None and not dry_run:
        key = unlock_wallet(found, password_file)
        receipt = client.report(key, fault)
    after = client.stake(fault.key.signer)
    at_stake_wei, left_wei = (one.bonded_wei + one.exiting_wei for one in (before, after))
    facts = {
        "fault": fault.fault.value,
        "signer": "0x" + fault.key.signer.hex(),
        "chain_id": domain.chain_id,
        "stake": "0x" + domain.stake.hex(),
        "sizes": [fault.first.size, fault.second.size],
        "index": fault.index,
        "at_stake_wei": str(at_stake_wei),
        "left_wei": str(left_wei),
        "is_banned": after.is_banned,
        "gas_used": receipt.gas_used if receipt else 0,
        "transaction": "0x" + receipt.hash.hex() if receipt else None,
    }

    def show(_screen: object) -> None:
        session.screen.line(fault.sentence())
        if receipt is None:
            what = f"It has {show_tokens(at_stake_wei)} at stake" if at_stake_wei else "It has nothing at stake"
            session.screen.line(f"{what} in 0x{domain.stake.hex()}; nothing was sent.")
        else:
            session.screen.line(
                f"It lost {show_tokens(at_stake_wei - left_wei)} of {show_tokens(at_stake_wei)}, "
                f"with {receipt.gas_used} gas in 0x{receipt.hash.hex()}."
            )

    session.screen.finish(facts, show)
