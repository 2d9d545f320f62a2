"""Attacks on when and to whom an epoch pays: no encoder is asked, except what is a copy in a wash."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.attack_pay import NEWEST_RULE, RULE_1, VESTED_AFTER, Decided, Judging, Network, novel
from benchmarks.attack_streams import CHEAT, HONEST, Scene
from benchmarks.attack_world import PAIR, Sent, Thing, vary
from benchmarks.voids import draw_voids, frame
from curiosity.protocol.errors import ProofError
from curiosity.protocol.rewards import RewardParameters

CROWD = 200  # honest pairs in each epoch
WASHES = 3
VOIDS, AROUND = 40, 0.6
NOTHING = Thing.text("")


@dataclass(frozen=True)
class Found:
    """What an attack gets without the defences and with them, and what it may get."""

    id: str
    attack: str
    undefended: float
    defended: float
    bar: float | None
    limited_by: str = ""


def _ordinary(who: bytes, *, is_wrong: bool = False) -> Decided:
    return Decided(Sent(NOTHING, NOTHING, who, is_wrong), novel())


def _enter(network: Network, one: Decided) -> int:
    if network.replay.book is None:
        one = replace(one, verdict=replace(one.verdict, crowd=None, belief=None))
    return network.add(one)


def _honest_epoch(network: Network) -> None:
    for _ in range(CROWD):
        _enter(network, _ordinary(HONEST))


def wash(scene: Scene, rule: RewardParameters, *, patient: bool) -> float:
    """Get a pair paid, take it down, alter its picture, send it again; in multiples of what it gets once.

    ``patient``: the takedown waits until all of it has vested.
    """
    defended = rule.version > 1
    judging, network = Judging(scene.world, defended=defended), Network(rule)
    picture, text = next(
        (a, b)
        for a, b in scene.own
        if all(Judging(scene.world, defended=d).decide(0, Sent(a, b, CHEAT)).verdict.novel for d in (False, True))
    )
    for turn in range(WASHES):
        _honest_epoch(network)
        index = _enter(network, judging.decide(len(network.entries), Sent(picture, text, CHEAT)))
        network.close()
        for _ in range(VESTED_AFTER if defended and patient else 0):
            network.close()
        if turn < WASHES - 1:
            network.take_down(index)
            paid = any(one.index == index for payout in network.closed for one in payout.paid)
            judging.take_down(index, was_paid=paid)
            picture = vary(picture, "shifted by 2 px")
    for _ in range(VESTED_AFTER):
        network.close()
    return network.got().get(CHEAT, 0) * (CROWD + 1) / _emission(network)


def _emission(network: Network) -> float:
    return RULE_1.emission(1) if network.replay.book is None else NEWEST_RULE.emission_of(NEWEST_RULE.pool_wei)


def operate(rule: RewardParameters) -> float:
    """Return the operator takes down everybody's pair but his own wrong one; in multiples of what it gets otherwise."""
    got = []
    for takes_down in (False, True):
        network = Network(rule)
        _enter(network, _ordinary(CHEAT, is_wrong=True))
        others = [_enter(network, _ordinary(HONEST)) for _ in range(CROWD)]
        for index in others if takes_down else []:
            network.take_down(index)
        for _ in range(VESTED_AFTER):
            network.close()
        got.append(network.got()[CHEAT])
    return got[1] / got[0]


def alone(rule: RewardParameters) -> float:
    """Return one wrong pair in an otherwise empty epoch: its share of it."""
    network = Network(rule)
    _enter(network, _ordinary(CHEAT, is_wrong=True))
    for _ in range(VESTED_AFTER):
        network.close()
    return network.got()[CHEAT] / _emission(network)


def hurry(rule: RewardParameters, closes: int = 5) -> float:
    """Return epochs that can be closed within so many seconds."""
    network = Network(rule)
    for number in range(closes):
        _enter(network, _ordinary(CHEAT, is_wrong=True))
        try:
            network.close(after_s=1)
        except ProofError:
            return float(number)
    return float(closes)


def split_wallets(rule: RewardParameters, wallets: int = 100) -> float:
    """Return what pairs earn from so many wallets, in multiples of what they earn from one."""
    got = []
    for count in (1, wallets):
        network = Network(rule)
        for number in range(CROWD):
            _enter(network, _ordinary(HONEST))
            _enter(network, _ordinary((1 + number % count).to_bytes(20, "big"), is_wrong=True))
        for _ in range(VESTED_AFTER):
            network.close()
        got.append(sum(amount for account, amount in network.got().items() if account != HONEST))
    return got[1] / got[0]


def vouch(scene: Scene, rule: str) -> float:
    """Return the share of voids that pay once the cheat's own pairs, from any wallets, surround them."""
    known, limits = scene.world.anchors.history[PAIR], scene.world.calibration.pairs[PAIR]
    voids = draw_voids(known, limits, VOIDS)
    return frame(voids, known, limits, AROUND, rule) / VOIDS


def every_rule(scene: Scene) -> list[Found]:
    """Choose all of them."""
    copies = "copies: an altered picture of what was taken down counts as new"
    return [
        _found("wash", "paid, taken down, altered, sent again, three times, in multiples of one pay", 1.0, copies,
               lambda rule: wash(scene, rule, patient=False)),
        _found("wash-adaptive", "the same, taken down once all has vested", 1.0, copies,
               lambda rule: wash(scene, rule, patient=True)),
        _found("operator", "the operator takes down all pairs but his own wrong one, in multiples of its pay", 1.0, "",
               operate),
        _found("quiet", "one wrong pair alone in an epoch, share of the epoch", 0.01, "", alone),
        _found("early", "epochs closed within five seconds", 0.0, "", hurry),
        _found("wallets", "100 wallets, in multiples of what one earns", 1.02, "", split_wallets),
        _found("vouch", "own pairs around a void, share of voids that pay", 0.0, "",
               lambda rule: vouch(scene, "pinned" if rule.version > 1 else "loo")),
    ]  # fmt: skip


def _found(id: str, attack: str, bar: float, limited_by: str, measure: Callable[[RewardParameters], float]) -> Found:
    return Found(id, attack, measure(RULE_1), measure(NEWEST_RULE), bar, limited_by)
