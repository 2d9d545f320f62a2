"""Bad pairs, made on purpose: what a network must cope with from its first day."""

import io
import random
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from curiosity.client.client import ValidatorClient
from curiosity.protocol.errors import Rejected
from curiosity.protocol.messages import Decision, Network
from curiosity.protocol.pair import Envelope, Item, SignedPair, sign_pair
from curiosity.sources.pairset import SourceItem, SourcePair
from node.demo.material import Cast

KINDS = ("swapped caption", "blank picture", "noise picture", "noise sound")


def _png(pixels: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _wav(samples: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 16_000, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _with(pair: SourcePair, kind: str, *, a: SourceItem | None = None, b: SourceItem | None = None) -> SourcePair:
    return replace(pair, id=f"bad/{kind}/{pair.id}", a=a or pair.a, b=b or pair.b)


def kind_of(pair: SourcePair) -> str:
    """Return what is wrong with a pair, "honest" if nothing."""
    return pair.id.split("/")[1] if pair.id.startswith("bad/") else "honest"


def make_bad_pairs(honest: Sequence[SourcePair], swapped: int, each: int, seed: int) -> list[SourcePair]:
    """Return bad pairs of honest ones: ``swapped`` with a wrong caption of their set, ``each`` of any other kind."""
    draw, noise = random.Random(seed), np.random.default_rng(seed)  # noqa: S311 - a repeatable demo
    pictures = [pair for pair in honest if pair.modalities == "image-text"]
    sounds = [pair for pair in honest if pair.modalities == "audio-text"]
    bad: list[SourcePair] = []
    for _ in range(swapped):
        pair, other = draw.choice(honest), draw.choice(honest)
        while other.concept == pair.concept or other.set != pair.set:
            other = draw.choice(honest)
        bad.append(_with(pair, KINDS[0], b=other.b))
    for _ in range(each):
        picture = draw.choice(pictures)
        flat = np.full((64, 64, 3), noise.integers(0, 256, 3), dtype=np.uint8)
        blank = SourceItem("image", "image/png", Path("blank.png"), _png(flat))
        bad.append(_with(picture, KINDS[1], a=blank))
        grain = SourceItem(
            "image", "image/png", Path("noise.png"), _png(noise.integers(0, 256, (64, 64, 3), dtype=np.uint8))
        )
        bad.append(_with(draw.choice(pictures), KINDS[2], a=grain))
        hiss = SourceItem("audio", "audio/wav", Path("noise.wav"), _wav(noise.normal(0.0, 0.2, 16_000)))
        bad.append(_with(draw.choice(sounds), KINDS[3], a=hiss))
    return bad


@dataclass(frozen=True)
class Attack:
    """What came of one kind of attack: answers by code, and how many got what they wanted."""

    kind: str
    tried: int
    answers: Counter[str]
    succeeded: int


async def attack(
    client: ValidatorClient, network: Network, cast: Sequence[Cast], accepted: Sequence[SourcePair], each: int
) -> list[Attack]:
    """Try what is not about quality: replays, copies, broken signatures, malformed files.

    Replayed: the same bytes twice must give one decision. Copied: another contributor's accepted contents under the
    own name. Broken: a signature that does not fit. Malformed: bytes that are no picture.
    """
    victim, thief = cast[0], cast[1]
    pictures = [pair for pair in accepted if pair.modalities == "image-text"]
    draw = random.Random(7)  # noqa: S311 - a repeatable demo
    chosen = draw.sample(pictures, min(each, len(pictures)))

    def sign(who: Cast, a: Item, b: Item, license: str) -> SignedPair:
        return sign_pair(
            a, b, private_key=who.key, domain=network.domain, network_id=network.network_id,
            nonce=secrets.token_bytes(32), expiry=int(time.time()) + 3600, license=license, client="mischief",
        )  # fmt: skip

    def items(pair: SourcePair) -> tuple[Item, Item]:
        return tuple(Item(p.modality, p.media_type, p.read()) for p in (pair.a, pair.b))  # type: ignore[return-value]

    replayed = Attack("replayed submission", 0, Counter(), 0)
    copied = Attack("copied pair", 0, Counter(), 0)
    broken = Attack("broken signature", 0, Counter(), 0)
    malformed = Attack("malformed file", 0, Counter(), 0)
    for pair in chosen:
        a, b = items(pair)
        first = sign(victim, a, b, pair.license)
        one, two = await client.post_pair(first.encode()), await client.post_pair(first.encode())
        replayed.answers["same receipt" if one.receipt == two.receipt else "another decision"] += 1
        stolen = await client.post_pair(sign(thief, a, b, pair.license).encode())
        copied.answers[stolen.verdict.reason.value] += 1
        turned = bytearray(first.envelope.signature)
        turned[10] ^= 1
        forged = SignedPair(Envelope(first.envelope.submission, bytes(turned)), a, b)
        broken.answers[await _code(client, forged)] += 1
        junk = Item("image", "image/png", b"\x89PNG\r\n\x1a\n" + secrets.token_bytes(200))
        malformed.answers[await _code(client, sign(thief, junk, b, pair.license))] += 1
    count = len(chosen)
    return [
        Attack(replayed.kind, count, replayed.answers, count - replayed.answers["same receipt"]),
        Attack(copied.kind, count, copied.answers, copied.answers["BELONGS_TOGETHER"]),
        Attack(broken.kind, count, broken.answers, sum(n for c, n in broken.answers.items() if "SIGNATURE" not in c)),
        Attack(malformed.kind, count, malformed.answers, count - malformed.answers["ITEM_UNDECODABLE"]),
    ]


async def _code(client: ValidatorClient, pair: SignedPair) -> str:
    try:
        decision: Decision = await client.post_pair(pair.encode())
    except Rejected as refusal:
        return refusal.code
    return decision.verdict.reason.value
