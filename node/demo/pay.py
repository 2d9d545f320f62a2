"""Pay by version 2 of the rule: days pass on the chain, epochs close, awards vest, a takedown stops one, all claim."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TypeVar

from curiosity.client.amounts import show_tokens
from curiosity.client.client import ValidatorClient
from curiosity.client.takedowns import ask, take_down
from curiosity.ledger.leaves import fetch_leaves
from curiosity.ledger.source import LedgerSource
from curiosity.protocol.counts import number_of
from curiosity.protocol.epoch_payout import EpochPayout, PaidPair
from curiosity.protocol.errors import Rejected, ServiceError
from curiosity.protocol.payouts import derive
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.takedown import TakedownReason
from curiosity.protocol.vesting import Award
from curiosity.rewards.check import compare_epochs
from curiosity.rewards.claim import ClaimOrder, claim
from curiosity.rewards.claims import Claimed
from node.demo.material import Cast
from node.demo.stage import Stage

T = TypeVar("T")

TAKEN_DOWN_AFTER = 4  # epochs: two of the four parts of what the first one pays have vested by then
_FIRST_PART = 3  # epoch whose close pays the first part of what is awarded for the first one
_LIFETIME_S = 3600  # of a signed request
_POLL_S = 0.5  # between two looks at what is waited for


@dataclass
class PaySteps:
    """The steps of a run in which epochs close and are paid; ``limit_s`` is the safety stop of each wait."""

    made: Stage
    cast: Sequence[Cast]
    client: ValidatorClient
    limit_s: float

    async def close_first(self) -> None:
        """Close the first epoch; before its day has passed the validator refuses."""
        try:
            early = f"closed epoch {(await self.client.close_epoch(self.made.admin_token())).epoch}"
        except Rejected as refusal:
            early = refusal.code
        self.made.report.check("no epoch closes before its day has passed", early == "EPOCH_EARLY")
        await self.close()

    async def close(self) -> None:
        """Let a day pass on the chain, close the open epoch, and wait until the chain pays what it pays."""
        made = self.made
        await asyncio.to_thread(made.pass_a_day)
        closed = await self.client.close_epoch(made.admin_token())
        made.screen.say(
            f"   day {closed.epoch}: epoch {closed.epoch} closes and pays {show_tokens(int(closed.emission_wei))} "
            f"for {number_of(closed.paid_pairs, 'pair')}"
        )
        await self._wait_until_active(closed.epoch)

    async def pay_out(self) -> None:
        """Close epochs until all that was earned has vested, have a pair taken down meanwhile, and have all claimed."""
        for _ in range(TAKEN_DOWN_AFTER + 1 - (await self.client.health()).epoch):
            await self.close()
        claims = await self._claim_all()
        stopped = await self._take_down((await self._payouts())[_FIRST_PART - 1])
        while _is_owed((payouts := await self._payouts())[-1]):
            await self.close()
        claims += await self._claim_all()
        await self._tell(payouts, claims, stopped)

    async def _payouts(self) -> list[EpochPayout]:
        """Return what every epoch pays by the ledger alone, the open one last."""
        leaves = await fetch_leaves(self.client)
        return await asyncio.to_thread(lambda: list(derive(leaves, RewardParameters())))

    async def _claim_all(self) -> list[Claimed]:
        claims = []
        for one in self.cast:
            done = await self._claim(one)
            self.made.screen.say(
                f"   {one.wallet.name} claims {show_tokens(done.paid_wei)} of {number_of(len(done.epochs), 'epoch')} "
                f"for {done.gas_used} gas"
            )
            claims.append(done)
        return claims

    async def _claim(self, one: Cast) -> Claimed:
        """Claim as the command does: derive from the ledger, compare with the chain, and have it paid."""
        url, limit_s = self.client.url, self.limit_s

        def ask_it(
            question: Callable[[ValidatorClient], Coroutine[object, object, T]], *, patience_s: float = limit_s
        ) -> T:
            async def work() -> T:
                async with ValidatorClient(url, patience_s=max(patience_s, limit_s), timeout_s=limit_s) as client:
                    return await question(client)

            return asyncio.run(work())

        order = ClaimOrder(one.wallet.address, payer=one.wallet.address)
        chain = self.made.client
        outcome = await asyncio.to_thread(claim, LedgerSource(ask_it), lambda _network: chain, order, lambda: one.key)
        if outcome.error is not None:
            raise outcome.error
        return outcome.done

    async def _wait_until_active(self, epoch: int) -> None:
        """Wait until the validator has posted and activated the epoch, however long it takes it."""
        made, until = self.made, time.monotonic() + self.limit_s
        while (await asyncio.to_thread(made.client.state)).active_epoch < epoch:
            if time.monotonic() >= until:
                raise ServiceError(
                    "EPOCH_NOT_ACTIVE",
                    f"incomplete: the safety stop of {self.limit_s:g} s is over, and epoch {epoch} is not active",
                    "See the validator's log.",
                )
            await asyncio.to_thread(made.chain.advance, 1)  # eth-tester mines only when asked
            await asyncio.sleep(_POLL_S)

    async def _take_down(self, paid: EpochPayout) -> PaidPair | None:
        """Have the first contributor withdraw a pair of which a part has vested; None if none of theirs has."""
        made, one = self.made, self.cast[0]
        pair = next((pair for pair in paid.paid if pair.contributor == one.wallet.address), None)
        if pair is None or made.network is None:
            return None
        expiry = int(time.time()) + _LIFETIME_S
        signed = ask(made.network, pair.pair, TakedownReason.WITHDRAWN, "", private_key=one.key, expiry=expiry)
        await take_down(self.client, made.network, signed)
        made.screen.say(f"   {one.wallet.name} takes entry {pair.index} down: what of it has not vested is lost")
        return pair

    async def _tell(self, payouts: Sequence[EpochPayout], claims: Sequence[Claimed], stopped: PaidPair | None) -> None:
        report, rule = self.made.report, RewardParameters(version=2)
        awards = [award for payout in payouts for award in payout.awarded]
        parts = {award.index: _parts(award, payouts) for award in awards}
        lost = stopped.index if stopped is not None else -1
        accounts = {one.wallet.address for one in self.cast}
        derived = {who: sum(payout.amounts_wei.get(who, 0) for payout in payouts) for who in accounts}
        paid = {who: sum(one.paid_wei for one in claims if one.account == who) for who in accounts}
        balances = {one.account: one.balance_after_wei for one in claims}
        rows = [
            (one.epoch, len(one.awarded), len(one.paid), show_tokens(one.emission_wei), show_tokens(_unvested(one)))
            for one in payouts[:-1]
        ]
        self.made.screen.note_table("pay", ("epoch", "pairs awarded", "pairs paid", "paid", "still to vest"), rows)
        report.figures |= {
            "epochs": [
                {
                    "number": one.epoch,
                    "awarded_pairs": len(one.awarded),
                    "paid_pairs": len(one.paid),
                    "emission_wei": str(one.emission_wei),
                    "unvested_wei": str(_unvested(one)),
                    "reward_root": "0x" + one.reward_root.hex(),
                }
                for one in payouts[:-1]
            ],
            "takedown": None if stopped is None else {"entry": lost, "parts_paid": len(parts[lost])},
            "claimed_wei": str(sum(balances.values())),
            "derived_wei": str(sum(derived.values())),
            "claims": [one.to_json() for one in claims],
        }
        report.check("nobody is paid by an epoch that closes or by the next", not (payouts[0].paid or payouts[1].paid))
        report.check(
            f"each award vests in {rule.vest_epochs} equal parts",
            bool(awards)
            and all(parts[one.index] == [one.part_wei] * rule.vest_epochs for one in awards if one.index != lost),
        )
        report.check(
            "a takedown stops what of its pair has not vested",
            stopped is not None and parts[lost] == [stopped.amount_wei] * (TAKEN_DOWN_AFTER - _FIRST_PART + 1),
        )
        most = rule.emission(1) // rule.least_pairs
        report.check("no pair is awarded over a hundredth of an epoch", all(one.unvested_wei <= most for one in awards))
        report.check(
            "token balances on the chain are what was claimed and what follows from the ledger alone",
            balances == paid == derived and sum(derived.values()) == sum(sum(one) for one in parts.values()) > 0,
        )
        same = await asyncio.to_thread(compare_epochs, self.made.client, payouts, RewardParameters(), is_whole=True)
        report.check("the chain has every epoch as the ledger gives it, with its time and beacon", same.error is None)


def _is_owed(payout: EpochPayout) -> bool:
    """Return whether the open epoch pays anything, or leaves anything to vest."""
    return bool(payout.paid or payout.unvested)


def _unvested(payout: EpochPayout) -> int:
    return sum(one.unvested_wei for one in payout.unvested)


def _parts(award: Award, payouts: Sequence[EpochPayout]) -> list[int]:
    """Return in wei what was paid for the award's pair, epoch by epoch."""
    return [pair.amount_wei or 0 for payout in payouts for pair in payout.paid if pair.index == award.index]
