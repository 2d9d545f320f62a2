"""Good and bad pairs before the judge: sent once, and those that it held judged again under the next checkpoint."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from curiosity.client.client import ValidatorClient
from curiosity.client.submission import Contributor, Rules, Tally, submit_pairs
from curiosity.ledger.leaves import fetch_leaves
from curiosity.protocol.counts import number_of
from curiosity.protocol.entry import PairEntry, parse_entry
from curiosity.protocol.errors import CuriosityError, ServiceError
from curiosity.protocol.messages import Decision
from curiosity.protocol.verdict import Outcome
from curiosity.sources.pairset import SourcePair
from node.demo.material import Cast, deal
from node.demo.mischief import KINDS, attack, kind_of, make_bad_pairs
from node.demo.stage import Stage

HONEST, SWAPPED = "honest", KINDS[0]
SWAPPED_MOST = 300
BAD_EACH = 30
ATTACKS_EACH = 12
# Of what is accepted, where a third of what is sent has swapped captions. The genesis checkpoint is calibrated to 0.9;
# with 300 swapped pairs chance moves the figure by 0.015. A judge that accepts everything has 0.67.
TRUE_SHARE = 0.85
_TELLING = 100  # held pairs of a kind; of fewer a share says little
_POLL_S = 0.5  # between two looks at what is waited for


@dataclass
class SentPairs:
    """What was sent: of every kind the reasons and outcomes by count, and of every pair of what kind it is."""

    reasons: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in (HONEST, *KINDS)})
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in (HONEST, *KINDS)})
    kind_by_digest: dict[bytes, str] = field(default_factory=dict)
    accepted: list[SourcePair] = field(default_factory=list)  # honest ones

    def take(self, pair: SourcePair, outcome: Decision | CuriosityError) -> None:
        """Take in what came of a pair."""
        kind = kind_of(pair)
        if isinstance(outcome, CuriosityError):
            self.reasons[kind][outcome.code] += 1
            return
        self.reasons[kind][outcome.verdict.reason.value] += 1
        self.outcomes[kind][outcome.verdict.outcome.value] += 1
        entry = parse_entry(outcome.receipt.entry.encode())
        if isinstance(entry, PairEntry):
            self.kind_by_digest[entry.pair] = kind
        if kind == HONEST and outcome.verdict.is_accepted:
            self.accepted.append(pair)

    def summary(self) -> str:
        """Return accepted, held and rejected so far, in a line."""
        total: Counter[str] = sum(self.outcomes.values(), Counter())
        return ", ".join(f"{outcome} {count}" for outcome, count in total.most_common())


def true_share(outcomes: dict[str, Counter[str]]) -> float:
    """Return the share of true pairs among the accepted ones of a stream of which a third has swapped captions."""
    honest, swapped = (_share(outcomes[kind], Outcome.ACCEPTED) for kind in (HONEST, SWAPPED))
    return 2 * honest / (2 * honest + swapped) if honest else 0.0


def _share(counts: Counter[str], outcome: Outcome) -> float:
    return counts[outcome.value] / max(counts.total(), 1)


async def submit(
    made: Stage, cast: Sequence[Cast], client: ValidatorClient, honest: Sequence[SourcePair], seed: int
) -> SentPairs:
    """Send honest pairs and bad ones, each contributor a part of both, and try what is not about quality."""
    assert made.network is not None
    report, sent = made.report, SentPairs()
    bad = make_bad_pairs(honest, min(SWAPPED_MOST, len(honest) // 4), max(2, min(BAD_EACH, len(honest) // 40)), seed)
    hands = deal(honest, bad, len(cast), seed)
    with made.screen.progress("   Submitting", len(honest) + len(bad)) as meter:

        def watch(pair: SourcePair, outcome: Decision | CuriosityError) -> None:
            sent.take(pair, outcome)
            meter.advance(1, sent.summary())

        tallies = await asyncio.gather(
            *(
                submit_pairs(
                    hand,
                    client=client,
                    network=made.network,
                    contributor=Contributor(one.key, one.wallet.address, one.home),
                    rules=Rules(concurrency=24),
                    watch=watch,
                )
                for one, hand in zip(cast, hands, strict=True)
            )
        )
    attacks = await attack(client, made.network, cast, sent.accepted, min(ATTACKS_EACH, max(2, len(honest) // 100)))
    _tell_tallies(made, tallies, len(honest) + len(bad))
    _tell_outcomes(made, sent)
    rows = [
        (one.kind, one.tried, ", ".join(f"{code} {n}" for code, n in one.answers.most_common()), one.succeeded)
        for one in attacks
    ]
    made.screen.note_table("attacks", ("attack", "tried", "answers", "succeeded"), rows)
    report.figures["attacks"] = {
        one.kind: {"tried": one.tried, "answers": dict(one.answers), "succeeded": one.succeeded} for one in attacks
    }
    for one in attacks:
        report.check(f"no {one.kind} succeeds ({one.tried} tried)", one.succeeded == 0)
    return sent


def _tell_tallies(made: Stage, tallies: Sequence[Tally], sent: int) -> None:
    report = made.report
    rejected: Counter[str] = sum((tally.rejected for tally in tallies), Counter())
    refused: Counter[str] = sum((tally.refused for tally in tallies), Counter())
    accepted = sum(tally.accepted for tally in tallies)
    known = sum(tally.known for tally in tallies)
    held, grey = sum(tally.held for tally in tallies), sum(tally.grey for tally in tallies)
    seconds = max(tally.seconds for tally in tallies)
    report.figures |= {
        "submitted": sent,
        "accepted": accepted,
        "rejected": dict(rejected + refused),
        "held": held,
        "grey": grey,
        "receipts_at_once": sum(tally.receipts_verified for tally in tallies),
        "pairs_per_second": round(sent / seconds, 1),
    }
    made.screen.say(f"   {sent / seconds:.1f} pairs per second")
    decided = accepted + rejected.total() + held + grey
    report.check("every pair sent was decided", decided + known == sent and not refused)


def _tell_outcomes(made: Stage, sent: SentPairs) -> None:
    report, outcomes = made.report, sent.outcomes
    report.figures["by_kind"] = {kind: dict(codes) for kind, codes in sent.reasons.items()}
    report.figures["outcomes"] = {kind: dict(counts) for kind, counts in outcomes.items()}
    report.figures["true_share"] = round(true_share(outcomes), 4)
    rows = [
        (
            kind,
            counts.total(),
            *(counts[one.value] for one in (Outcome.ACCEPTED, Outcome.HELD, Outcome.REJECTED)),
            ", ".join(f"{code} {n}" for code, n in sent.reasons[kind].most_common() if code != "BELONGS_TOGETHER"),
        )
        for kind, counts in outcomes.items()
    ]
    made.screen.note_table("pairs", ("kind", "sent", "accepted", "held", "rejected", "not accepted, by reason"), rows)
    honest, swapped = outcomes[HONEST], outcomes[SWAPPED]
    report.check(
        f"with a third of swapped captions {100 * true_share(outcomes):.1f} % of what is accepted is true, at least 85 "
        f"(of the swapped ones {_of(swapped, Outcome.ACCEPTED)} are accepted)",
        true_share(outcomes) >= TRUE_SHARE,
    )
    junk: Counter[str] = sum((outcomes[kind] for kind in KINDS[1:]), Counter())
    report.check(
        f"of the blank and noisy items {_of(junk, Outcome.ACCEPTED)} are accepted, at most one in twenty",
        _share(junk, Outcome.ACCEPTED) <= 0.05,
    )
    report.check(
        f"of the honest pairs {_of(honest, Outcome.ACCEPTED)} are accepted, at least a quarter",
        _share(honest, Outcome.ACCEPTED) >= 0.25,
    )
    report.check(
        f"what cannot be told is held: of the honest pairs {_of(honest, Outcome.REJECTED)} rejected, at most an eighth",
        _share(honest, Outcome.REJECTED) <= 0.125,
    )


def _of(counts: Counter[str], outcome: Outcome) -> str:
    return f"{counts[outcome.value]} of {counts.total()}"


async def judge_again(made: Stage, client: ValidatorClient, sent: SentPairs, limit_s: float) -> None:
    """Wait until the validator has judged what it held again under the checkpoint in force, and tell what came of it.

    What the ledger says of it is checked: an entry for each held pair, which names the one that it follows.
    """
    report, checkpoint = made.report, (await client.network()).checkpoint
    size, entries = await _pair_entries(client)
    held = {
        index: entry
        for index, entry in entries.items()
        if entry.verdict.outcome is Outcome.HELD and entry.verdict.checkpoint != checkpoint
    }
    if report.figures["switch"]["refused"]:
        made.screen.say(f"   {number_of(len(held), 'pair')} wait for a better checkpoint.")
        report.check("every held pair is judged again", False)
        return
    first = size - len(_again(held, entries))
    with made.screen.progress("   Judging again", len(held)) as meter:
        until = time.monotonic() + limit_s
        done = 0
        while done < len(held):
            if time.monotonic() >= until:
                what = f"incomplete: the safety stop of {limit_s:g} s is over, and {len(held) - done} held pairs wait"
                raise ServiceError("HELD_NOT_JUDGED", what, "See the validator's log.")
            known, done = done, (await client.health()).ledger_size - first
            meter.advance(done - known)
            await asyncio.sleep(_POLL_S)
    again = _again(held, (await _pair_entries(client))[1])
    _tell_again(made, sent, again)
    report.check(
        f"every held pair is judged again by an entry that names the one before ({len(again)} of {len(held)})",
        again.keys() == held.keys()
        and all(one.pair == held[index].pair and one.verdict.checkpoint == checkpoint for index, one in again.items()),
    )


async def _pair_entries(client: ValidatorClient) -> tuple[int, dict[int, PairEntry]]:
    """Return how many entries the ledger has, and those about pairs by their index."""
    leaves = await fetch_leaves(client)
    entries = {index: parse_entry(leaf) for index, leaf in enumerate(leaves)}
    return len(leaves), {index: entry for index, entry in entries.items() if isinstance(entry, PairEntry)}


def _again(held: Mapping[int, PairEntry], entries: Mapping[int, PairEntry]) -> dict[int, PairEntry]:
    """Return the entries that decide again about held ones, by the index of the one that they follow."""
    return {entry.again: entry for entry in entries.values() if entry.again is not None and entry.again in held}


def _tell_again(made: Stage, sent: SentPairs, again: Mapping[int, PairEntry]) -> None:
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in (HONEST, *KINDS)}
    for entry in again.values():
        if (kind := sent.kind_by_digest.get(entry.pair)) is not None:  # else of an attack
            counts[kind][entry.verdict.outcome.value] += 1
    made.report.figures["held_again"] = {kind: dict(some) for kind, some in counts.items() if some}
    rows = [
        (kind, some.total(), *(some[one.value] for one in (Outcome.ACCEPTED, Outcome.HELD, Outcome.REJECTED)))
        for kind, some in counts.items()
        if some
    ]
    made.screen.note_table("held pairs", ("kind", "held", "now accepted", "held again", "rejected"), rows)
    if min(counts[kind].total() for kind in (HONEST, SWAPPED)) >= _TELLING:
        true, wrong = (_share(counts[kind], Outcome.ACCEPTED) for kind in (HONEST, SWAPPED))
        made.report.check(
            f"of what was held {100 * true:.0f} % of the honest pairs are accepted then and {100 * wrong:.0f} % of the "
            "swapped captions, at most half as many",
            true > 0 and 2 * wrong <= true,
        )
