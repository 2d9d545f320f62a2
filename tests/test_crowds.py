"""How many earlier pairs share an item with a novel one: what its entry says, and how the validator counts."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from curiosity.protocol.entry import PairEntry, encode_entry, parse_entry
from curiosity.protocol.errors import ProofError
from curiosity.protocol.scoring import quantise
from curiosity.protocol.verdict import MAX_CROWD, CrowdCounts, Outcome, Reason, Verdict
from curiosity.serving.crowds import Crowds
from curiosity.serving.paid import PaidContents
from tests.material.service import pictures, running

VERDICT = Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, b"\x01" * 32, None, True, 98_304)
ENTRY = PairEntry(b"\x02" * 32, b"\x03" * 20, b"\x04" * 65, "image-text", "MIT", VERDICT, b"\x05" * 32)
POINT = quantise(np.random.default_rng(1).normal(size=256))
COUNTED = replace(ENTRY, verdict=replace(VERDICT, crowd=CrowdCounts(1, 0, 6)), v=3)


def test_an_entry_with_counts_is_the_one_before_and_the_counts() -> None:
    before, leaf = encode_entry(ENTRY), encode_entry(COUNTED)
    assert leaf == before.replace(b'"v":2', b'"v":3').replace(
        b'"curiosity_micro"', b'"crowd":{"a":1,"b":0,"near":6},"curiosity_micro"'
    )
    assert (parse_entry(before), parse_entry(leaf)) == (ENTRY, COUNTED)


def test_an_entry_has_counts_in_version_3_and_in_no_other() -> None:
    for wrong in (replace(ENTRY, v=3), replace(COUNTED, v=2)):
        with pytest.raises(ValueError, match=r"version [23] with the fields of version [23]"):
            encode_entry(wrong)
    before, leaf = encode_entry(ENTRY), encode_entry(COUNTED)
    for spelled in (
        before.replace(b'"v":2', b'"v":3'),
        leaf.replace(b'"v":3', b'"v":2'),
        before.replace(b'"curiosity_micro"', b'"crowd":null,"curiosity_micro"'),
        leaf.replace(b'"near":6', b'"near":-6'),
    ):
        with pytest.raises(ProofError, match=r"ENTRY_MALFORMED|ENTRY_NOT_CANONICAL"):
            parse_entry(spelled)


def test_counts_tell_two_bits() -> None:
    counts = [*range(10), 15, 16, 23, 24, 31, 4_094, MAX_CROWD, 10**6]
    rounded = [CrowdCounts.rounded(count, 0, count).near for count in counts]
    assert rounded == [0, 1, 2, 3, 4, 4, 6, 6, 8, 8, 12, 16, 16, 24, 24, 3_072, MAX_CROWD, MAX_CROWD]


def test_an_item_is_counted_on_either_side_and_no_more_when_its_pair_is_gone() -> None:
    crowds, (a, b, c) = Crowds(), (bytes([n]) * 32 for n in range(3))
    for entry, contents in ((1, (a, b)), (2, (c, b)), (3, (b, b)), (3, (b, b))):
        crowds.join(entry, contents, is_novel=True)
    crowds.join(4, (a, c), is_novel=False)
    assert crowds.find((a, b)).crowd == CrowdCounts(1, 3, 1)
    crowds.leave(2)
    crowds.leave(2)
    crowds.leave(99)
    assert crowds.find((b, c)).crowd == CrowdCounts(2, 0, 0)
    assert crowds.find((a, a)).crowd == CrowdCounts(1, 1, 0)


async def test_an_entry_counts_the_novel_pairs_before_it_also_after_a_restart(tmp_path: Path) -> None:
    """The digits have ten names: most of the novel pairs have a name that others had before."""
    seen: Counter[bytes] = Counter()
    told = []
    for start in (0, 14):
        async with running(tmp_path) as live:
            for picture in pictures(14, start):
                signed = live.sign(picture)
                crowd = (await live.client.post_pair(signed.encode())).verdict.crowd
                if crowd is not None:
                    assert crowd == CrowdCounts.rounded(seen[signed.a.digest], seen[signed.b.digest], 0)
                    seen.update((signed.a.digest, signed.b.digest))
                    told.append(crowd.largest)
    assert max(told[len(told) // 2 :]) >= 1
    assert told[0] == 0


def test_what_was_paid_and_is_erased_counts_on_under_its_key() -> None:
    (a, b, c) = (bytes([n]) * 32 for n in range(3))
    paid = PaidContents(b"secret", [bytes([7]) * 32])
    crowds = Crowds(paid)
    keys = paid.keys_of((a, b), POINT)
    assert crowds.find((a, b), (), POINT).crowd == CrowdCounts(0, 0, 0)  # the control arm: it is not taken in
    paid.add(keys)
    more = paid.keys_of((a, c), None)
    more |= paid.keys_of((a, c), None, more)
    paid.add(more)
    noise = np.random.default_rng(2).normal(size=(2, 256))
    near, far = quantise(POINT + 2_000 * 0.1 * noise[0]), quantise(noise[1])
    assert crowds.find((a, b), (), near).crowd == CrowdCounts(3, 1, MAX_CROWD)
    assert crowds.find((c, b), (), far).crowd == CrowdCounts(2, 1, 0)
    again = PaidContents(b"secret", keys | more)  # as a restart reads them
    assert (again.count(a), again.is_near(near), again.is_near(far)) == (3, True, False)
    other = PaidContents(b"another", keys | more)
    assert (other.count(a), other.is_near(POINT)) == (0, False)
