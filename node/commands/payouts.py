"""`curiosity payouts`."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import click

from curiosity.chain.connect import connect
from curiosity.client.amounts import show_tokens
from curiosity.client.client import ValidatorClient
from curiosity.host.console import example
from curiosity.ledger.mirror import read_network
from curiosity.protocol.errors import CuriosityError, ProofError, SourceError
from curiosity.protocol.messages import EpochLeaves, Network
from curiosity.protocol.payouts import EpochPayout, derive
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import checksum
from curiosity.rewards.payouts import ChainCheck, EpochCheck, blame_leaves, check_emission, check_epoch, without_leaves
from node.command import PATH, Session, open_client, session_options
from node.leaves import counted, get_leaves
from node.screen import Screen

_PATIENCE_S = 10.0
_SHOWN = 20  # differing leaves that people are shown; --json has all


@click.command(
    epilog=example(
        "curiosity payouts --derive",
        "curiosity payouts --derive --check",
        "curiosity payouts --derive --epoch 1 --entries mirror/ --json",
    )
)
@click.option(
    "--derive", "derived", is_flag=True, default=True, help="Derive from the ledger (the default and only way)."
)
@click.option("--epoch", type=click.IntRange(min=1), help="Only this epoch, with its pairs; by default all.")
@click.option("--entries", type=PATH, help="A mirror folder or its entries.jsonl; by default the validator's ledger.")
@click.option("--check", is_flag=True, help="Compare each of them with the chain, and say which leaf differs.")
@click.option("--rpc", "rpc_url", help="JSON-RPC address of the chain, for --check.")
@session_options(network=True)
def payouts(
    session: Session, derived: bool, epoch: int | None, entries: Path | None, check: bool, rpc_url: str | None
) -> int:
    """Recompute amounts and reward roots from the ledger alone, trusting nobody.

    Every paid pair's signature is recovered, every epoch's entry compared with what follows from the pairs before it.
    """
    del derived
    parameters = RewardParameters()
    leaves = get_leaves(session, entries)
    with session.screen.progress("Deriving", len(leaves)) as meter:
        # What --check finds is told epoch by epoch; without it the first lie of the ledger ends the derivation.
        every = list(derive(counted(leaves, meter), parameters, check_entries=not check))
    found = [one for one in every if epoch in (None, one.epoch)]
    if not found:
        what = f"the ledger has no epoch {epoch}, the open one is {every[-1].epoch}"
        raise SourceError("EPOCH_MISSING", what, "Ask for one that it has.")
    checked = _compare(session, found, parameters, entries, rpc_url, only=epoch) if check else None
    epochs = [_plain(one, with_pairs=epoch is not None) for one in found]
    result: dict[str, object] = {
        "entries": len(leaves),
        "parameters": {"version": parameters.version, "digest": "0x" + parameters.digest().hex()},
        "epochs": epochs,
    }
    error = checked.error if checked is not None else None
    if checked is not None:
        result["chain"] = checked.to_json()
        for plain, one in zip(epochs, checked.epochs, strict=True):
            plain["check"] = one.to_json()
        result["error"] = error.to_json() if error is not None else None
    session.screen.finish(result, lambda screen: _show(screen, found, checked, with_pairs=epoch is not None))
    if error is None:
        return 0
    session.screen.say(f"{error.code}: {error.what}. {error.remedy}")
    return int(error.exit_code)


def _plain(payout: EpochPayout, *, with_pairs: bool) -> dict[str, object]:
    pairs = [
        {
            "entry": pair.index,
            "pair": "0x" + pair.pair.hex(),
            "account": "0x" + pair.contributor.hex(),
            "score_micro": pair.curiosity_micro,
        }
        for pair in payout.paid
    ]
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
    } | ({"pairs": pairs} if with_pairs else {})


def _compare(
    session: Session,
    found: Sequence[EpochPayout],
    parameters: RewardParameters,
    entries: Path | None,
    rpc_url: str | None,
    *,
    only: int | None,
) -> ChainCheck:
    """Hold each epoch against the chain, and what differs against the leaves that the validator serves."""
    settings = session.settings.chain
    chain = connect(replace(settings, rpc_url=rpc_url) if rpc_url else settings, _network(session, entries))
    state = chain.state()
    last = found[-1].epoch
    problems: list[ProofError] = []
    checks = []
    with session.screen.progress("Comparing with the chain", len(found)) as meter:
        for payout in found:
            checks.append(check_epoch(payout, parameters, chain.epoch(payout.epoch, state)))
            meter.advance()
    compared = [one.epoch for one in checks if one.is_compared]
    if compared:
        problems += check_emission(parameters, compared[-1], chain.emission(compared[-1]))
    if only is None and state.latest_epoch > last:
        problems.append(
            ProofError(
                "CHAIN_EPOCH_UNKNOWN",
                f"the chain holds epochs up to {state.latest_epoch}, the ledger has closed none after {last - 1}",
                "Bring the copy of the ledger up to date; if it is, the validators attested what no entry says.",
            )
        )
    blamed = _blame(session, checks, found)
    return ChainCheck(state.active_epoch, state.latest_epoch, tuple(blamed), tuple(problems))


def _network(session: Session, entries: Path | None) -> Network:
    """Return what is known of the network: from a mirror where one is given, so that no validator is needed."""
    if entries is not None and (entries / "network.json").is_file():
        return read_network(entries)

    async def ask() -> Network:
        async with open_client(session, patience_s=_PATIENCE_S) as client:
            return await client.network()

    return asyncio.run(ask())


def _blame(session: Session, checks: Sequence[EpochCheck], found: Sequence[EpochPayout]) -> Iterable[EpochCheck]:
    """Return the checks, those with another root with the leaves to blame."""

    async def ask(epochs: Sequence[int]) -> dict[int, EpochLeaves | CuriosityError]:
        said: dict[int, EpochLeaves | CuriosityError] = {}
        async with ValidatorClient(session.settings.node.validator_url, patience_s=1.0) as client:
            for epoch in epochs:
                try:
                    said[epoch] = await client.epoch_leaves(epoch)
                except CuriosityError as error:
                    said[epoch] = error
        return said

    wanted = [one.epoch for one in checks if one.roots]
    said = asyncio.run(ask(wanted)) if wanted else {}
    for check, payout in zip(checks, found, strict=True):
        leaves = said.get(check.epoch)
        if leaves is None:
            yield check
        elif isinstance(leaves, CuriosityError):
            yield without_leaves(check, f"{leaves.code}: {leaves.what}")
        else:
            yield blame_leaves(check, payout, [(one.account, int(one.amount_wei)) for one in leaves.leaves])


def _show(screen: Screen, found: Sequence[EpochPayout], checked: ChainCheck | None, *, with_pairs: bool) -> None:
    checks = checked.epochs if checked is not None else (None,) * len(found)
    for payout, check in zip(found, checks, strict=True):
        state = "closed" if payout.entry is not None else "open, so far"
        rows = [
            (checksum(account), show_tokens(wei), show_tokens(payout.cumulative_wei[account]))
            for account, wei in payout.amounts_wei.items()
        ]
        title = (
            f"epoch {payout.epoch} ({state}): {len(payout.paid)} pairs share {show_tokens(payout.emission_wei)}, "
            f"root 0x{payout.reward_root.hex()}"
        )
        if rows:
            screen.table(title, ("account", "wei in this epoch", "wei in all"), rows)
        else:
            screen.line(f"epoch {payout.epoch} ({state}): pays nobody")
        if with_pairs and payout.paid:
            screen.table(
                "the pairs that it pays",
                ("entry", "pair", "account", "score (millionths)"),
                [(p.index, "0x" + p.pair.hex(), checksum(p.contributor), p.curiosity_micro) for p in payout.paid],
            )
        if check is not None:
            _show_check(screen, check)
    if checked is not None:
        screen.line(_summary(checked))


def _show_check(screen: Screen, check: EpochCheck) -> None:
    words = {
        "open": "is open and was not compared",
        "closed": "is not on the chain yet",
        "waiting": "waits for activation; the chain holds the same root and total",
        "active": "is active; the chain holds the same root and total",
    }
    note = f" ({check.note})" if check.note else ""
    if not check.problems:
        screen.line(f"Epoch {check.epoch} {words[check.state]}{note}.")
        return
    for problem in check.problems:
        screen.line(f"{problem.code}: {problem.what}.")
    if check.leaves:
        screen.table(
            f"epoch {check.epoch}: the leaves that differ",
            ("account", "wei by the ledger", "wei by the validator"),
            [(checksum(one.account), _wei(one.derived_wei), _wei(one.said_wei)) for one in check.leaves[:_SHOWN]],
        )
        if len(check.leaves) > _SHOWN:
            screen.line(f"... and {len(check.leaves) - _SHOWN} more (--json lists all).")
    if check.note:
        screen.line(f"Epoch {check.epoch}: {check.note}.")


def _wei(amount: int | None) -> str:
    return "no leaf" if amount is None else str(amount)


def _summary(checked: ChainCheck) -> str:
    compared = [one for one in checked.epochs if one.is_compared]
    wrong = [one.epoch for one in checked.epochs if one.problems]
    missing = [one.epoch for one in checked.epochs if one.state == "closed"]
    words = []
    if compared:
        numbers = f"{len(compared)} of {len(checked.epochs)} epochs"
        words.append(f"Compared with the chain, where {checked.active_epoch} is active: {numbers}")
    else:
        words.append(f"Nothing was compared: the chain's latest epoch is {checked.latest_epoch}")
    if missing:
        words.append(f"not posted yet: {', '.join(map(str, missing))}")
    if wrong:
        words.append(f"NOT as the ledger gives it: {', '.join(map(str, wrong))}")
    elif compared and not checked.problems:
        words.append("all agree with the ledger")
    words += [f"{one.code}: {one.what}" for one in checked.problems]
    return "; ".join(words) + "."
