"""What `curiosity check` prints."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from curiosity.client.outcome import ACCEPTED
from curiosity.ledger.forecast import ChosenCheckpoint, Forecast
from curiosity.protocol.counts import number_of
from node.screen import Screen
from node.submit_report import SHOWN, show_numbers, show_outcomes

_DETAILED: Final = 3  # pairs whose numbers are shown; --json has all


def to_json(chosen: ChosenCheckpoint, done: Sequence[Forecast]) -> dict[str, Any]:
    """Return the forecasts as plain JSON values."""
    return {
        "checkpoint": "0x" + chosen.checkpoint.digest,
        "checkpoint_from": chosen.origin,
        "network": chosen.network.name if chosen.network is not None else None,
        "counts": dict(sorted(Counter(one.outcome.outcome for one in done).items())),
        "would_be_novel": sum(one.outcome.may_be_paid for one in done),
        "pairs": [one.to_json() for one in done],
    }


def show_forecasts(screen: Screen, chosen: ChosenCheckpoint, done: Sequence[Forecast]) -> None:
    """Print the forecasts for people: all of a short run, of a longer one what would not be accepted."""
    is_short = len(done) <= SHOWN
    listed = [one for one in done if is_short or one.outcome.outcome != ACCEPTED]
    if listed:
        shown = listed[:SHOWN]
        more = [("nearest accepted pair", [_say_nearest(one) for one in shown])]
        has_nearest = any(one.nearest is not None for one in shown)
        show_outcomes(screen, "", [one.outcome for one in shown], more if has_nearest else ())
    if len(listed) > SHOWN:
        screen.line(f"... and {len(listed) - SHOWN} more; --json has all.")
    if len(done) <= _DETAILED:
        for one in done:
            show_numbers(screen, one.outcome)
    counts = Counter(one.outcome.outcome for one in done)
    said = ", ".join(f"{count} {name}" for name, count in counts.most_common())
    screen.line(f"Checkpoint {chosen.checkpoint.digest[:12]}, {chosen.origin}.")
    single = any(one.outcome.a for one in done) and not any(one.outcome.b for one in done)
    screen.line(f"{number_of(len(done), 'single item' if single else 'pair')}: {said}. Nothing was sent.")


def _say_nearest(one: Forecast) -> str:
    nearest = one.nearest
    if nearest is None:
        return ""
    said = f" {nearest.text[:40]!r}" if nearest.text else ""
    return f"entry {nearest.entry}{said}, {nearest.distance_micro / 1e6:.3f} away"
