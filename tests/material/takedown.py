"""Items that a validator is told to forget."""

import time
from dataclasses import replace

from curiosity.client.takedowns import ask, take_down
from curiosity.protocol.messages import Decision, TakedownReport
from curiosity.protocol.pair import SignedPair
from curiosity.protocol.takedown import SignedTakedown, TakedownReason, sign_takedown
from tests.material.service import ALICE, Running, pictures


def digest_of(live: Running, signed: SignedPair) -> bytes:
    return signed.envelope.submission.digest(live.network.domain)


def request(
    live: Running, signed: SignedPair, *, key: bytes | None = ALICE, everywhere: str = "", **changes: object
) -> SignedTakedown:
    """A request about a pair, signed by ``key``; None is the operator's. ``changes`` replace what is asked."""
    made = ask(live.network, digest_of(live, signed), TakedownReason.PRIVACY, everywhere, private_key=None)
    expiry = int(time.time()) + 60 if key else 0
    changed = replace(made.request, expiry=expiry, **changes)  # type: ignore[arg-type]
    return sign_takedown(changed, live.network.domain, key) if key else SignedTakedown(changed, None)


async def forget(
    live: Running, signed: SignedPair, *, key: bytes | None = ALICE, everywhere: str = ""
) -> TakedownReport:
    token = "" if key else live.service.keys.admin_token
    asked = request(live, signed, key=key, everywhere=everywhere)
    report, _ = await take_down(live.client, live.network, asked, token=token)
    return report


async def submit(live: Running, count: int, key: bytes = ALICE) -> list[tuple[SignedPair, Decision]]:
    """Send pairs of pictures and their names, and return the accepted ones."""
    sent = [live.sign(pair, key) for pair in pictures(count)]
    answers = [await live.client.post_pair(one.encode()) for one in sent]
    return [(one, answer) for one, answer in zip(sent, answers, strict=True) if answer.verdict.is_accepted]
