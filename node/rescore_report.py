"""What `curiosity rescore` prints."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from curiosity.ledger.rescored import AGREES, DIFFERS, UNKNOWN, Rescored
from curiosity.protocol.counts import number_of
from node.screen import Screen


def result_of(done: Sequence[Rescored]) -> str:
    """Return the worst result of all: "differs" before "cannot tell" before "agrees"."""
    results = {one.result for one in done}
    return next((result for result in (DIFFERS, UNKNOWN) if result in results), AGREES if done else UNKNOWN)


def to_json(done: Sequence[Rescored]) -> dict[str, Any]:
    """Return the results as plain JSON values."""
    return {
        "result": result_of(done),
        "agree": sum(one.result == AGREES for one in done),
        "differ": sum(one.result == DIFFERS for one in done),
        "cannot_tell": sum(one.result == UNKNOWN for one in done),
        "largest_micro": max((one.largest_micro for one in done), default=0),
        "entries": [{**asdict(one), "pair": "0x" + one.pair.hex()} for one in done],
    }


def show_rescored(screen: Screen, done: Sequence[Rescored]) -> None:
    """Print the results for people: a line for each entry that does not agree, and the sum."""
    others = [one for one in done if one.result != AGREES]
    if others:
        screen.table(
            "",
            ("entry", "outcome", "result", "step", "why"),
            [(one.index, one.outcome, one.result, one.step, one.why) for one in others],
        )
    if not done:
        screen.line("No accepted pair is in this ledger, so there is nothing to repeat.")
        return
    agree = [one for one in done if one.result == AGREES]
    equal = sum(one.is_equal for one in agree)
    unknown = sum(one.result == UNKNOWN for one in done)
    if unknown:
        screen.line(f"{number_of(unknown, 'verdict')} could not be repeated.")
    if unknown == len(done):
        return
    screen.line(
        f"{len(agree)} of {number_of(len(done), 'verdict')} {'agrees' if len(done) == 1 else 'agree'}; "
        f"the embeddings of {equal} are the recorded ones bit for bit. "
        f"The largest difference of a number is {max((one.largest_micro for one in done), default=0)} millionths."
    )
    screen.line("Whether a pair was novel depends on the pairs before it and is not repeated here.")
