"""`curiosity payouts`."""

import asyncio
from pathlib import Path
from typing import Any

import click

from node.claims import connect
from node.client import ValidatorClient
from node.command import PATH, Session, example, session_options
from node.mirror import fetch_leaves, read_leaves
from node.screen import Screen
from protocol.errors import ProofError, SourceError
from protocol.payouts import EpochPayout, derive
from protocol.rewards import RewardParameters
from protocol.signing import checksum


@click.command(
    epilog=example("curiosity payouts --derive", "curiosity payouts --derive --epoch 1 --entries mirror/ --json")
)
@click.option(
    "--derive", "derived", is_flag=True, default=True, help="Derive from the ledger (the default and only way)."
)
@click.option("--epoch", type=click.IntRange(min=1), help="Only this epoch; by default all.")
@click.option("--entries", type=PATH, help="A mirror folder or its entries.jsonl; by default the validator's ledger.")
@click.option("--check", is_flag=True, help="Compare with the root that the chain holds.")
@session_options(network=True)
def payouts(session: Session, derived: bool, epoch: int | None, entries: Path | None, check: bool) -> None:
    """Recompute amounts and reward roots from the ledger alone, trusting nobody.

    Every paid pair's signature is recovered, every epoch's entry compared with what follows from the pairs before it.
    """
    del derived

    async def fetch() -> list[bytes]:
        async with ValidatorClient(session.settings.node.validator_url, patience_s=10.0) as client:
            return await fetch_leaves(client, session.settings.node.log_vkey)

    leaves = read_leaves(entries) if entries is not None else asyncio.run(fetch())
    found = [one for one in derive(leaves, RewardParameters()) if epoch is None or one.epoch == epoch]
    if not found:
        raise SourceError("EPOCH_MISSING", f"the ledger has no epoch {epoch}", "Ask for one that it has.")
    result: dict[str, Any] = {"entries": len(leaves), "epochs": [_plain(one) for one in found]}
    if check:
        result["chain"] = _compare(session, found)
    session.screen.finish(result, lambda screen: _show(screen, found, result.get("chain")))


def _plain(payout: EpochPayout) -> dict[str, Any]:
    return {
        "epoch": payout.epoch,
        "closed": payout.entry is not None,
        "first": payout.first,
        "size": payout.size,
        "paid_pairs": len(payout.paid),
        "emission_wei": str(payout.emission_wei),
        "cumulative_total_wei": str(payout.cumulative_total_wei),
        "reward_root": "0x" + payout.reward_root.hex(),
        "amounts_wei": {"0x" + account.hex(): str(wei) for account, wei in payout.amounts_wei.items()},
        "cumulative_wei": {"0x" + account.hex(): str(wei) for account, wei in payout.cumulative_wei.items()},
    }


def _compare(session: Session, found: list[EpochPayout]) -> dict[str, Any]:
    """Compare the newest posted epoch with the chain. Raises ProofError CHAIN_ROOT_DIFFERS."""

    async def ask() -> Any:
        async with ValidatorClient(session.settings.node.validator_url, patience_s=10.0) as client:
            return await client.network()

    state = connect(session.settings.chain, asyncio.run(ask())).state()
    for payout in found:
        if payout.epoch == state.latest_epoch and payout.entry is not None:
            if (payout.reward_root, payout.cumulative_total_wei) != (state.latest_root, state.latest_total_wei):
                raise ProofError(
                    "CHAIN_ROOT_DIFFERS",
                    f"epoch {payout.epoch}: derived root 0x{payout.reward_root.hex()} over "
                    f"{payout.cumulative_total_wei} wei, the chain holds 0x{state.latest_root.hex()} over "
                    f"{state.latest_total_wei}",
                )
            return {"epoch": payout.epoch, "equal": True, "active_epoch": state.active_epoch}
    return {"epoch": state.latest_epoch, "equal": None, "active_epoch": state.active_epoch}


def _compared(chain: dict[str, Any]) -> str:
    if chain["equal"] is None:
        return f"Nothing was compared: the chain's latest epoch is {chain['epoch']}, which is not among those above."
    return f"The chain holds the same root and total for epoch {chain['epoch']}; active is {chain['active_epoch']}."


def _show(screen: Screen, found: list[EpochPayout], chain: dict[str, Any] | None) -> None:
    for payout in found:
        state = "closed" if payout.entry is not None else "open, so far"
        rows = [(checksum(account), wei, payout.cumulative_wei[account]) for account, wei in payout.amounts_wei.items()]
        screen.table(
            f"epoch {payout.epoch} ({state}): {len(payout.paid)} pairs share {payout.emission_wei} wei, "
            f"root 0x{payout.reward_root.hex()}",
            ("account", "wei in this epoch", "wei in all"),
            rows,
        )
    if chain is not None:
        screen.line(_compared(chain))
