"""The numbers of a decision beside the thresholds of its checkpoint: what decided, and which item it was about."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from curiosity.protocol.verdict import LESS_FAMILIAR, ItemMeasurement, Measurement, Reason, Weighed

if TYPE_CHECKING:
    from curiosity.protocol.calibration import Calibration
    from curiosity.protocol.single import ItemLimits


@dataclass(frozen=True)
class Compared:
    """One number in millionths and what it is compared with; a bound that is missing does not count.

    ``item`` is "a" or "b" for a number of one item, empty for one of the pair. A belief of at least ``least_micro`` is
    accepted, and one below ``reject_below_micro`` rejected.
    """

    name: str  # as in the measurement
    value_micro: int
    least_micro: int | None = None
    most_micro: int | None = None
    reject_below_micro: int | None = None
    item: str = ""

    @property
    def has_bound(self) -> bool:
        """True if the number is compared with something."""
        return self.least_micro is not None or self.most_micro is not None

    @property
    def slack_micro(self) -> int:
        """How far the number is on the right side of its bound; negative on the wrong one, 0 where it has none."""
        slacks = [self.value_micro - self.least_micro] if self.least_micro is not None else []
        slacks += [self.most_micro - self.value_micro] if self.most_micro is not None else []
        return min(slacks, default=0)

    @property
    def holds(self) -> bool:
        """True unless the number is on the wrong side of its bound."""
        return self.slack_micro >= 0


@dataclass(frozen=True)
class Weighing:
    """What a decision came from.

    ``problem`` is "a" or "b" where one item was the problem, "pair" where only the two together were, and empty for an
    accepted pair. ``belief_micro`` is the probability that the two belong together, None under a checkpoint without
    beliefs. A number within ``margin_micro`` of its bound decides nothing.
    """

    numbers: tuple[Compared, ...]
    margin_micro: int
    belief_micro: int | None
    problem: str

    def of(self, name: str) -> Compared:
        """Return the number of this name.

        Raises:
            KeyError: If it is not among them.
        """
        for one in self.numbers:
            if one.name == name:
                return one
        raise KeyError(name)


def weigh(
    measurement: Measurement,
    reason: Reason,
    modalities: str,
    calibration: "Calibration",
    detail: str = "",
) -> Weighing:
    """Return the numbers of a decision beside their thresholds (docs/protocol.md, step 9).

    ``detail`` is that of the opening, which names the less familiar item: a measurement holds the mean of both.

    Raises:
        KeyError: If the checkpoint is not calibrated for ``modalities``.
    """
    name_a, name_b = modalities.split("-")
    limits, beliefs = calibration.pairs[modalities], calibration.beliefs.get(modalities)
    most_a, most_b = calibration.null_max_micro[f"{name_a}>{name_b}"], calibration.null_max_micro[f"{name_b}>{name_a}"]
    numbers = [
        Compared("null_a_micro", measurement.null_a_micro, most_micro=most_a, item="a"),
        Compared("null_b_micro", measurement.null_b_micro, most_micro=most_b, item="b"),
        Compared("distance_micro", measurement.distance_micro, most_micro=limits.max_distance_micro),
    ]
    belief: int | None = None
    if beliefs is None or not isinstance(measurement, Weighed):
        numbers.append(Compared("csls_micro", measurement.csls_micro, least_micro=limits.min_csls_micro))
    else:
        domain, _ = beliefs.nearest(measurement.domains_micro or ())
        belief, known = measurement.belief_micro, domain.range_of(measurement.familiarity_micro)
        changes = ((name_a, measurement.change_a_micro), (name_b, measurement.change_b_micro))
        numbers += [
            Compared(
                f"change_{null.item}_micro", change, least_micro=calibration.plain_max_micro.get(name), item=null.item
            )
            for null, (name, change) in zip(numbers[:2], changes, strict=True)
            if change is not None and null.slack_micro < limits.margin_micro
        ]
        numbers += [
            Compared("csls_micro", measurement.csls_micro),
            Compared("familiarity_micro", measurement.familiarity_micro, least_micro=domain.least_familiar_micro),
            Compared(
                "belief_micro", belief, least_micro=known.accept_micro, reject_below_micro=known.reject_micro
            ),
        ]  # fmt: skip
    problem = _problem(reason, numbers, limits.margin_micro, detail)
    return Weighing(tuple(numbers), limits.margin_micro, belief, problem)


def weigh_item(measured: ItemMeasurement, reason: Reason, limits: "ItemLimits | None" = None) -> Weighing:
    """Return the numbers of a decision about a single item; the bound of a slack is 0.

    ``limits`` are those of its modality, for who has the checkpoint.
    """
    near, far = (limits.near_micro, limits.far_micro) if limits is not None else (None, None)
    numbers: tuple[Compared, ...] = (
        Compared("null_slack_micro", measured.null_slack_micro, least_micro=0),
        Compared("hub_slack_micro", measured.hub_slack_micro, least_micro=0),
        Compared("nearest_micro", measured.nearest_micro, least_micro=near, most_micro=far),
    )
    if measured.change_micro is not None:
        numbers += (Compared("change_micro", measured.change_micro),)
    problem = "a" if reason in (Reason.ITEM_UNINFORMATIVE, Reason.ITEM_NOT_NOVEL) else ""
    return Weighing(numbers, limits.margin_micro if limits is not None else 0, None, problem)


def without_bounds(measurement: Measurement, reason: Reason, detail: str = "") -> Weighing:
    """Return the numbers of a decision where the checkpoint that has their thresholds is not known."""
    numbers = [
        Compared("null_a_micro", measurement.null_a_micro, item="a"),
        Compared("null_b_micro", measurement.null_b_micro, item="b"),
        Compared("distance_micro", measurement.distance_micro),
        Compared("csls_micro", measurement.csls_micro),
    ]
    belief: int | None = None
    if isinstance(measurement, Weighed):
        belief = measurement.belief_micro
        numbers += [
            Compared("familiarity_micro", measurement.familiarity_micro),
            Compared("belief_micro", belief),
        ]  # fmt: skip
    problem = "" if reason is Reason.BELONGS_TOGETHER else _unfamiliar(reason, detail) or "pair"
    if reason is Reason.ITEM_UNINFORMATIVE:
        problem = "a" if measurement.null_a_micro >= measurement.null_b_micro else "b"
    return Weighing(tuple(numbers), 0, belief, problem)


def _emptiness(numbers: list[Compared], null: Compared) -> int:
    """Return how far an item is from being refused as empty, by likeness to nothing and, where asked, by change."""
    own = [one for one in numbers if one.name == f"change_{null.item}_micro"]
    return max([null.slack_micro, *(one.slack_micro for one in own)])


def _problem(reason: Reason, numbers: list[Compared], margin_micro: int, detail: str) -> str:
    if reason is Reason.BELONGS_TOGETHER:
        return ""
    null_a, null_b = numbers[:2]
    if reason is Reason.ITEM_UNINFORMATIVE:
        return "a" if _emptiness(numbers, null_a) <= _emptiness(numbers, null_b) else "b"
    if reason is Reason.GREY_ZONE:
        near = [one.item for one in (null_a, null_b) if one.slack_micro < margin_micro]
        return near[0] if len(near) == 1 else "pair"
    return _unfamiliar(reason, detail) or "pair"


def _unfamiliar(reason: Reason, detail: str) -> str:
    """Return the item that an opening names as the less familiar, empty if none."""
    named = [item for item, said in LESS_FAMILIAR.items() if said == detail]
    return named[0] if named and reason is Reason.PAIR_UNFAMILIAR else ""
