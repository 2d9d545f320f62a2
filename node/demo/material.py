"""What the demo plays with: pair sets, the three contributors, and who submits what."""

import random
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curiosity.client.wallet import Wallet, create_wallet
from curiosity.host.paths import inside
from curiosity.protocol.errors import SourceError
from curiosity.sources import load_source
from curiosity.sources.pairset import SourcePair, read_pairs

NAMES = ("ada", "grace", "hedy")
DIGIT_SCANS = 500  # of the about 1,190 that may be submitted: they teach in seconds
SCRYPT_N = 2**14  # throw-away wallets; `curiosity wallet new` takes 2**18


@dataclass(frozen=True)
class Cast:
    """One contributor of the demo with the unlocked key."""

    wallet: Wallet
    home: Path
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class DemoMaterial:
    """The pair sets that could be made here, and what may be submitted."""

    folders: list[Path]
    cards: dict[str, dict[str, Any]]
    submit: list[SourcePair]


def make_material(folder: Path, *, emoji: bool, voices: int, progress: Callable[[str, int, int], None]) -> DemoMaterial:
    """Make the pair sets in ``folder`` (left alone if they are there) and read what may be submitted.

    Their splits are the default ones, which the shipped genesis checkpoint was made from: nothing that it saw is
    submitted or held out.
    Without the emoji packages the digits alone are made; with no packages at all SourceError is raised.
    """
    cards: dict[str, dict[str, Any]] = {}
    cache = folder / "cache"
    digits = folder / "digits"
    cards["digits"] = load_source("digits")(digits, submit_scans=DIGIT_SCANS, cache=cache, progress=progress)
    folders = [digits]
    if emoji:
        try:
            out = folder / "emoji"
            cards["emoji"] = load_source("emoji")(out, voices=voices, cache=cache, progress=progress)
            folders.append(out)
        except SourceError as error:
            cards["emoji"] = {"missing": error.to_json()}
    submit = [pair for one in folders for pair in read_pairs(one) if pair.split == "submit"]
    return DemoMaterial(folders, cards, submit)


def make_cast(home: Path) -> list[Cast]:
    """Make three contributors, each with an encrypted wallet and a home of their own."""
    cast = []
    for name in NAMES:
        own = inside(home, name, one=True)
        key = secrets.token_bytes(32)
        password = secrets.token_urlsafe(18)
        wallet = create_wallet(own, name, password, scrypt_n=SCRYPT_N, private_key=key)
        password_file = own / "password.txt"
        password_file.touch(mode=0o600)
        password_file.write_text(password)
        cast.append(Cast(wallet, own, key))
    return cast


def choose(pairs: Sequence[SourcePair], limit: int, seed: int) -> Sequence[SourcePair]:
    """Return at most ``limit`` of the pairs, drawn alike from all of them."""
    if limit >= len(pairs):
        return pairs
    return random.Random(seed).sample(list(pairs), limit)  # noqa: S311 - a repeatable demo


def deal(pairs: Sequence[SourcePair], bad: Sequence[SourcePair], hands: int, seed: int) -> list[list[SourcePair]]:
    """Deal the pairs: each concept to one contributor, the digits before the emoji, the bad ones mixed in."""
    draw = random.Random(seed)  # noqa: S311 - a repeatable demo
    hand_of: dict[str, int] = {}
    dealt: list[list[SourcePair]] = [[] for _ in range(hands)]
    for set_name in ("digits", "emoji"):
        chosen = [pair for pair in (*pairs, *bad) if pair.set == set_name]
        draw.shuffle(chosen)
        for number, pair in enumerate(chosen):
            key = pair.id if set_name == "digits" else pair.concept
            dealt[hand_of.setdefault(key, number % hands)].append(pair)
    return dealt
