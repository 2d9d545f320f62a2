"""Pools: kinds of pairs that together earn no more than a share of an epoch (docs/protocol.md, step 15).

A kind below its share is paid like every other pair. Above it, its pairs divide the share by weight, and the other
pairs divide the rest: a flood of one kind takes nothing from them beyond the share. All in integers.
"""

from collections.abc import Mapping, Sequence

MILLION = 1_000_000

Rate = tuple[int, int]
"""Wei of a unit of weight, as (numerator, denominator)."""


def limit_of(whole: int, share_micro: int) -> int:
    """Return a share of ``whole`` in millionths, rounded down."""
    return whole * share_micro // MILLION


def rates(
    weights: Mapping[str, int], shares_micro: Mapping[str, int], budget_wei: int, least_weight: int
) -> dict[str, Rate]:
    """Return what a unit of weight gets in each pool.

    A pool whose pairs would get more than its share gets the share, and what is left is divided among the others,
    which can take another one above its own: so it goes round until none is.

    Args:
        weights: Summed weights of the pairs of each pool.
        shares_micro: Largest share of each pool in millionths; a pool that is not named has no limit.
        budget_wei: What all pairs may get together.
        least_weight: A unit of weight gets at most ``budget_wei`` divided by this.
    """
    limits = {name: limit_of(budget_wei, shares_micro[name]) for name in weights if name in shares_micro}
    capped: set[str] = set()
    while True:
        rest_wei = budget_wei - sum(limits[name] for name in capped)
        others = sum(weight for name, weight in weights.items() if name not in capped)
        over = {
            name
            for name, limit_wei in limits.items()
            if name not in capped
            and weights[name] * rest_wei > limit_wei * others
            and weights[name] * budget_wei > limit_wei * least_weight
        }
        if not over:
            break
        capped |= over
    is_many = rest_wei * least_weight < budget_wei * others  # else the largest share of one pair decides
    other: Rate = (rest_wei, others) if is_many else (budget_wei, least_weight)
    return {name: (limits[name], weights[name]) if name in capped else other for name in weights}


def divide(
    counted: Sequence[tuple[int, str, int]], shares_micro: Mapping[str, int], budget_wei: int, least: int, parts: int
) -> dict[int, int]:
    """Return by number the wei of one of so many equal parts of what each gets, in proportion to its count.

    Args:
        counted: Number, pool and count of each; who counts nothing gets nothing and is left out.
        shares_micro: As for `rates`.
        budget_wei: As for `rates`.
        least: As for `rates`, in the unit of the counts.
        parts: How many parts there are.
    """
    whole: dict[str, int] = {}
    for _, pool, count in counted:
        whole[pool] = whole.get(pool, 0) + count
    rate = rates(whole, shares_micro, budget_wei, least)
    return {number: rate[pool][0] * count // (rate[pool][1] * parts) for number, pool, count in counted if count}


def take(ordered: Sequence[tuple[str, int]], places: int, shares_micro: Mapping[str, int]) -> list[int]:
    """Return the numbers of the first pairs that get a place, where each pool has its share of the places at most.

    Args:
        ordered: Pool and number of each pair, in the order of the draw.
        places: How many there are.
        shares_micro: As for `rates`.
    """
    free = {name: limit_of(places, share) for name, share in shares_micro.items()}
    taken: list[int] = []
    for pool, number in ordered:
        if len(taken) == places:
            break
        if free.get(pool, places) <= 0:
            continue
        if pool in free:
            free[pool] -= 1
        taken.append(number)
    return taken
