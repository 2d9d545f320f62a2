"""Intake: everything about a submission that can be refused without decoding an item (docs/protocol.md, step 4)."""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from curiosity.embedding.modality import Modality
from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import Fault, Rejected
from curiosity.protocol.license import match_license
from curiosity.protocol.pair import (
    MAX_LIFETIME_S,
    Envelope,
    SignedPair,
    Submission,
    check_modalities,
    check_signature,
    check_size,
    read_envelope,
    read_items,
)
from curiosity.protocol.signing import Domain
from curiosity.serving.quotas import OWN, Payer, QuotaLimits, Quotas

_MAX_TRACKED = 100_000


@dataclass(frozen=True)
class Admitted:
    """A submission that may be judged: its digest, its content, the envelope as it came (JSON), and who pays."""

    digest: bytes
    pair: SignedPair
    envelope: bytes
    payer: Payer


@dataclass(frozen=True)
class IntakeRules:
    """What this validator takes."""

    network_id: bytes
    domain: Domain
    modalities: Mapping[str, Modality]
    pairs: Callable[[], frozenset[str]]  # modality pairs that the checkpoint in force can judge
    licenses: frozenset[str]
    pairs_per_minute: int = 0
    takes_items: Callable[[], bool] = lambda: False  # whether the rule of pay has a pool for single items


class RateLimit:
    """At most ``per_minute`` events a key in any 60 seconds; 0 means no limit. Remembers the 100,000 latest keys."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._events: OrderedDict[object, deque[float]] = OrderedDict()

    def retry_after_s(self, key: object) -> int:
        """Count an event. Return 0 if it is within the limit, else the seconds until one would be."""
        if self._per_minute <= 0:
            return 0
        now = self._clock()
        events = self._events.setdefault(key, deque())
        self._events.move_to_end(key)
        while events and events[0] <= now - 60.0:
            events.popleft()
        if len(events) >= self._per_minute:
            return max(1, int(events[0] + 60.0 - now) + 1)
        events.append(now)
        if len(self._events) > _MAX_TRACKED:
            self._events.popitem(last=False)
        return 0


class Intake:
    """Admits submissions by the rules. Decodes nothing, reads nothing, writes nothing."""

    def __init__(
        self, rules: IntakeRules, clock: Callable[[], float] = time.time, quotas: Quotas | None = None
    ) -> None:
        self.rules = rules
        self.quotas = quotas or Quotas(QuotaLimits())
        self._clock = clock
        self._quota = RateLimit(rules.pairs_per_minute)

    def check_envelope(self, body: bytes) -> tuple[Envelope, int, bytes]:
        """Return the envelope, where the items begin, and the pair's digest, once it is signed for this network.

        Raises:
            Rejected: BODY_, ENVELOPE_ and MESSAGE_ codes, WRONG_NETWORK, SIGNATURE_ codes.
        """
        envelope, offset = read_envelope(body)
        submission = envelope.submission
        if submission.network_id != self.rules.network_id:
            raise Rejected(
                "WRONG_NETWORK",
                f"signed for network 0x{submission.network_id.hex()}, this is 0x{self.rules.network_id.hex()}",
                "Fetch /v1/network again and sign for it.",
            )
        return envelope, offset, check_signature(envelope, self.rules.domain)

    def check_terms(self, envelope: Envelope, offset: int, length: int | None, payer: Payer) -> None:
        """Refuse what the envelope, and the body's length where the sender tells it, show to be refused.

        Raises:
            Rejected: PAIR_SAME_MODALITY, PAIR_NOT_ORDERED, PAIR_UNSUPPORTED, ITEM_ALONE, ITEM_UNSUPPORTED,
                MEDIA_TYPE_UNKNOWN, ITEM_TOO_LARGE, ITEM_EMPTY, SIGNATURE_EXPIRED, EXPIRY_TOO_FAR, LICENSE_NOT_ALLOWED,
                BODY_SIZE, QUOTA_EXCEEDED.
        """
        self._check_form(envelope)
        self._check_time(envelope)
        self._check_license(envelope.submission.license)
        if length is not None:
            check_size(envelope, offset, length)
        self.quotas.check(payer)

    def admit(self, body: bytes, envelope: Envelope, offset: int, digest: bytes, payer: Payer = OWN) -> Admitted:
        """Return the submission with its items, if it may be judged.

        Raises:
            Rejected: As `check_terms`, ITEM_HASH.
        """
        self.check_terms(envelope, offset, len(body), payer)
        pair = read_items(body, envelope, offset)
        wait_s = self._quota.retry_after_s(envelope.submission.contributor)
        if wait_s:
            raise Rejected(
                "QUOTA_EXCEEDED",
                f"more than {number_of(self.rules.pairs_per_minute, 'pair')} a minute from one contributor",
                f"Send the next one in {wait_s} s.",
                status=429,
                retry_after_s=wait_s,
            )
        return Admitted(digest, pair, body[4:offset], payer)

    def check_judged(self, submission: Submission) -> None:
        """Check that the checkpoint in force can judge the modality pair, or the modality of a single item.

        If it cannot, the sender is not at fault: the network has not learned it yet.

        Raises:
            Rejected: PAIR_UNSUPPORTED, ITEM_ALONE, ITEM_UNSUPPORTED (422).
        """
        pairs, modalities = self.rules.pairs(), submission.modalities
        if submission.is_single:
            self._check_single(modalities, {name for pair in pairs for name in pair.split("-")})
        elif modalities not in pairs:
            raise Rejected(
                "PAIR_UNSUPPORTED",
                f"{modalities} cannot be judged: the checkpoint in force judges {', '.join(sorted(pairs))}",
                "Submit one of these, or wait for a checkpoint that knows more.",
                status=422,
                fault=Fault.INFRASTRUCTURE,
            )

    def _check_single(self, modality: str, judged: Collection[str]) -> None:
        if not self.rules.takes_items():
            raise Rejected(
                "ITEM_ALONE",
                "this network's rule of pay has no pool for single items",
                "Submit it with another item that belongs to it, as a pair.",
                status=422,
                fault=Fault.INFRASTRUCTURE,
            )
        if modality not in judged:
            raise Rejected(
                "ITEM_UNSUPPORTED",
                f"{modality} cannot be judged: the checkpoint in force knows {', '.join(sorted(judged))}",
                "Submit an item of one of these, or wait for a checkpoint that knows more.",
                status=422,
                fault=Fault.INFRASTRUCTURE,
            )

    def _check_form(self, envelope: Envelope) -> None:
        submission = envelope.submission
        check_modalities(submission)
        self.check_judged(submission)
        for part in submission.parts:
            modality = self.rules.modalities[part.modality]
            if part.media_type not in modality.media_types:
                raise Rejected(
                    "MEDIA_TYPE_UNKNOWN",
                    f"{part.modality} takes {', '.join(modality.media_types)}, got {part.media_type!r}",
                    "Convert the item to one of these media types.",
                    status=422,
                )
            if not 0 < part.size <= modality.limits.max_bytes:
                raise Rejected(
                    "ITEM_EMPTY" if part.size == 0 else "ITEM_TOO_LARGE",
                    f"the {part.modality} item has {part.size} bytes, allowed are 1 to {modality.limits.max_bytes}",
                    "Send the item's content, within the limit.",
                    status=413 if part.size else 422,
                )

    def _check_time(self, envelope: Envelope) -> None:
        left_s = envelope.submission.expiry - int(self._clock())
        if left_s < 0:
            raise Rejected("SIGNATURE_EXPIRED", f"the signature expired {-left_s} s ago", "Sign again.", status=422)
        if left_s > MAX_LIFETIME_S:
            raise Rejected(
                "EXPIRY_TOO_FAR",
                f"the signature expires in {left_s} s, at most {MAX_LIFETIME_S} s are allowed",
                "Sign with an earlier expiry, or correct this machine's clock.",
                status=422,
            )

    def _check_license(self, expression: str) -> None:
        spelled = match_license(expression, self.rules.licenses)
        if spelled != expression:
            raise Rejected(
                "LICENSE_SPELLING",
                f"licence {expression!r} is not spelled as the network spells it",
                f"Sign it as {spelled!r}.",
                status=422,
            )


def nonce_reused(envelope: Envelope, earlier: bytes) -> Rejected:
    """Return the refusal of a nonce that the contributor has used for another pair (HTTP 409)."""
    return Rejected(
        "NONCE_REUSED",
        f"nonce 0x{envelope.submission.nonce.hex()} belongs to pair 0x{earlier.hex()}",
        "Use a fresh random nonce for each pair.",
        status=409,
    )
