"""What audits by a second judge do to caption search, by the share of pairs audited and by how wallets are used.

The second judge is assumed: it finds wrong pairs with a probability, and condemns true ones with another. Decisions,
awards, draws, audits and stops are the product's. A failed audit stops its pair. ``stops`` "wallet" is another
rule, for comparison: it stops all that the pair's wallet has not got.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.attack_pay import NEWEST_RULE, VESTED_AFTER, Decided, Network

FOUND, CONDEMNED = 0.7, 0.1  # of wrong pairs, and of true ones
SETTINGS = (("pair", 10, 10), ("wallet", 10, 1), ("wallet", 10, 10))
"""What a failed audit stops, and how many pairs are in an honest wallet and in a cheat's."""
SHARES = (0.0, 0.1, 0.2, 0.35, 0.5, 1.0)
DRAWS = 10
MILLION = 1_000_000
CHEATS = 1 << 80  # wallets from this number on are the cheat's


@dataclass(frozen=True)
class Audited:
    """What a cheating pair earns in multiples of an honest one, and what of their pay honest pairs keep."""

    stops: str  # "pair" or "wallet"
    share: float
    honest_wallet: int  # pairs in each honest wallet
    cheat_wallet: int
    cheat: float
    honest_kept: float


def audit_search(decided: Sequence[Decided], seed: int, draws: int = DRAWS) -> list[Audited]:
    """Pay the decided pairs for each audited share: stopping pairs, and stopping wallets of one pair and of ten."""
    rows = []
    for stops, honest_wallet, cheat_wallet in SETTINGS:
        owned = _share_out(decided, honest_wallet, cheat_wallet)
        whole = 0.0
        for share in SHARES:
            got = [_pay(owned, share, seed * 1_000 + draw, stops) for draw in range(draws if share else 1)]
            honest, cheat = (sum(side) / len(got) for side in zip(*got, strict=True))
            whole = whole or honest
            counts = [sum(one.sent.is_wrong is wrong for one in decided) for wrong in (False, True)]
            rows.append(
                Audited(
                    stops,
                    share,
                    honest_wallet,
                    cheat_wallet,
                    round(cheat / counts[1] / (honest / counts[0]), 4),
                    round(honest / whole, 4),
                )
            )
    return rows


def _share_out(decided: Sequence[Decided], honest_wallet: int, cheat_wallet: int) -> list[Decided]:
    given = {False: 0, True: 0}
    owned = []
    for one in decided:
        number = given[one.sent.is_wrong] // (cheat_wallet if one.sent.is_wrong else honest_wallet)
        given[one.sent.is_wrong] += 1
        who = (number + 1 + (CHEATS if one.sent.is_wrong else 0)).to_bytes(20, "big")
        owned.append(replace(one, sent=replace(one.sent, who=who)))
    return owned


def _pay(owned: Sequence[Decided], share: float, seed: int, stops: str) -> tuple[int, int]:
    """Return wei that honest and cheating wallets got, once everything has vested."""
    generator = np.random.default_rng(seed)
    network = Network(replace(NEWEST_RULE, audit_micro=round(MILLION * share)), start=seed)
    wrong = {network.add(one): one.sent.is_wrong for one in owned}
    for _ in range(VESTED_AFTER):
        network.close()
        while (drawn := network.drawn()) is not None:
            passed = generator.random() >= (FOUND if wrong[drawn] else CONDEMNED)
            network.audit(drawn, passed=passed)
            if not passed and stops == "wallet":
                network.stop_all(drawn)
    got = network.got()
    cheat = sum(amount for account, amount in got.items() if int.from_bytes(account, "big") >= CHEATS)
    return sum(got.values()) - cheat, cheat
