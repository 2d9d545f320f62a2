"""Generated material: declared in what is signed, shown by the ledger, and paid no more than its share of an epoch."""

import io
import json
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from curiosity.client.client import ValidatorClient
from curiosity.client.journal import SubmissionJournal
from curiosity.client.preview import preview
from curiosity.client.submission import Contributor, Rules, Tally, submit_pairs
from curiosity.ledger.copy import copy_ledger
from curiosity.protocol.decision import check_decision, check_submission
from curiosity.protocol.entry import PairEntry, encode_entry, parse_entry, version_of
from curiosity.protocol.errors import ProofError, SourceError
from curiosity.protocol.messages import IndexedSubmission
from curiosity.protocol.payouts import derive
from curiosity.protocol.pools import limit_of, rates, take
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.signing import address_of
from curiosity.protocol.verdict import CrowdCounts
from curiosity.protocol.vesting import spell_rule
from curiosity.sources.own.item import load_item, make_item
from curiosity.sources.own.own import read_sources
from curiosity.sources.pairset import SourcePair
from tests.material.service import ALICE, Running, pictures, running
from tests.material.takedown import digest_of
from tests.material.vesting import RULE_1, RULE_2, PaidLedger, account
from trainer.mirror import read_mirror

MAKER, MAKES_TOO, HONEST = account(1), account(2), account(3)
CAPPED = RewardParameters(version=3, generated_micro=250_000)
BEGUN_WITH = replace(CAPPED, version=4, spoken_micro=50_000, full_belief=30)
TERM = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


# What pays


def earn(ledger: PaidLedger, who: bytes, count: int, *, generated: bool = False) -> None:
    """Novel pairs, declared as generated or not."""
    before = PaidLedger(None)
    for pair in before.earn(who, count):
        entry = replace(pair, generated=True if generated else None)
        ledger.append(replace(entry, v=version_of(entry)))


def paid(rule: RewardParameters, generated: int, honest: int, *, declares: bool = True) -> tuple[int, int, int]:
    """Wei that two makers of generated pairs and an honest account get for epoch 1, and the budget of that epoch."""
    ledger = PaidLedger(rule)
    earn(ledger, MAKER, generated - generated // 3, generated=declares)
    earn(ledger, MAKES_TOO, generated // 3, generated=declares)
    earn(ledger, HONEST, honest)
    ledger.close()
    ledger.vest()
    assert [one.amounts_wei for one in ledger.derived()[:-1]] == [one.amounts_wei for one in ledger.closed]
    return ledger.got(MAKER) + ledger.got(MAKES_TOO), ledger.got(HONEST), rule.emission_of(rule.pool_wei)


@pytest.mark.parametrize(("generated", "honest"), [(300, 0), (101, 200), (1_200, 100)])
def test_generated_pairs_earn_their_share_and_not_a_wei_more(generated: int, honest: int) -> None:
    made, real, budget = paid(CAPPED, generated, honest)
    limit = budget * 250_000 // 1_000_000
    assert limit - 4 * generated < made <= limit  # parts of pairs are rounded down
    assert real <= budget - limit
    # The network does not find pairs that nobody declares: without the declaration there is no limit.
    undeclared, less, _ = paid(CAPPED, generated, honest, declares=False)
    assert undeclared > limit
    assert less <= real
    assert paid(RULE_2, generated, honest)[0] > limit  # nor has version 2 one


def test_a_share_that_is_not_reached_changes_nothing() -> None:
    made, real, budget = paid(CAPPED, 30, 170)
    assert made == 30 * (budget // (200 * 4)) * 4
    assert real == 170 * (budget // (200 * 4)) * 4
    assert paid(CAPPED, 20, 0)[0] == 20 * (budget // 400) * 4  # a hundredth each, as any pair


def test_a_flood_of_generated_pairs_takes_a_quarter_from_the_others_and_no_more() -> None:
    _, alone, budget = paid(CAPPED, 0, 200)
    made, beside, _ = paid(CAPPED, 2_500, 200)  # more than an epoch pays
    assert alone == 200 * (budget // 800) * 4
    assert beside >= Fraction(3, 4) * alone - 800
    assert made <= budget // 4
    undeclared, less, _ = paid(CAPPED, 2_500, 200, declares=False)
    assert undeclared > Fraction(4, 5) * budget
    assert less < Fraction(1, 5) * budget


def test_a_network_can_pay_nothing_for_generated_pairs() -> None:
    made, real, budget = paid(replace(CAPPED, generated_micro=0), 500, 200)
    assert (made, real) == (0, 200 * (budget // 800) * 4)


def test_version_3_without_a_limit_pays_as_version_2() -> None:
    """The same leaves but for the rule: what was drawn, awarded and vested is the same to the wei."""
    ledgers = []
    for rule in (RULE_2, RewardParameters(version=3)):
        ledger = PaidLedger(replace(rule, top_n=40))
        ledgers.append(ledger)
    pairs = PaidLedger(None).earn(HONEST, 60, crowd=[CrowdCounts(number % 4, 0, 0) for number in range(60)])
    for ledger in ledgers:
        ledger.append(*pairs)
        for number in range(7):
            ledger.close(beacon=bytes([number]) * 32)
    first, second = ([(one.amounts_wei, one.reward_root) for one in ledger.closed] for ledger in ledgers)
    assert first == second
    assert ledgers[0].got(HONEST) > 0


def test_a_network_of_version_2_goes_over_and_never_back() -> None:
    ledger = PaidLedger(RULE_2)
    ledger.close()
    ledger.name_rule(CAPPED, 8)
    for _ in range(7):
        ledger.close()
    assert [one.rule.version for one in ledger.closed if one.rule] == [2] * 7 + [3]
    with pytest.raises(ProofError, match="PAYOUT_RULE"):
        ledger.name_rule(RULE_2, 99)
    assert set(spell_rule(CAPPED)) - set(spell_rule(RULE_2)) >= {"generated_micro"}
    assert RULE_2.digest() == replace(RULE_2, generated_micro=7).digest() != CAPPED.digest()


def test_pools_share_out_exactly() -> None:
    """Drawn pools and limits: none gets more than its limit, none below its limit gets less than the others."""
    draw = np.random.default_rng(1)
    for _ in range(2_000):
        names = ["", *"abc"[: draw.integers(0, 4)]]
        weights = {name: int(draw.integers(0, 1_000)) for name in names}
        shares = {name: int(draw.integers(0, 1_000_001)) for name in names if name and draw.random() < 0.9}
        budget, least = int(draw.integers(0, 10**9)), int(draw.integers(1, 2_000))
        found = rates(weights, shares, budget, least)
        rate = {name: Fraction(*found[name]) for name in names if found[name][1]}
        got = {name: weights[name] * rate.get(name, 0) for name in names}
        assert sum(got.values()) <= budget
        assert all(got[name] <= limit_of(budget, shares[name]) for name in shares if weights[name])
        free = {rate[name] for name in names if name in rate and got[name] < limit_of(budget, shares.get(name, 10**6))}
        assert len(free) <= 1 or got[""] == budget  # those below their limits are paid alike
        assert all(rate[name] <= Fraction(budget, least) for name in rate if weights[name])
        others = max(sum(weights.values()), least)
        assert rate.get("", 0) >= Fraction(budget, others)  # a limit never takes from those without one
    assert rates({"": 5}, {"a": 0}, 100, 7) == {"": (100, 7)}


def test_places_are_limited_too() -> None:
    order = [("a", 0), ("a", 1), ("", 2), ("a", 3), ("", 4), ("", 5)]
    assert take(order, 4, {"a": 500_000}) == [0, 1, 2, 4]
    assert take(order, 4, {"a": 0}) == [2, 4, 5]
    assert take(order, 4, {"a": 1_000_000}) == take(order, 4, {}) == [0, 1, 2, 3]


# What is signed and logged


def test_an_entry_says_it_in_version_5_and_in_no_other() -> None:
    (plain,) = PaidLedger(None).earn(HONEST)
    declared = replace(plain, generated=True, v=5)
    leaf = encode_entry(declared)
    assert leaf == encode_entry(plain).replace(b'"v":3', b'"v":5').replace(b'"kind"', b'"generated":true,"kind"')
    assert parse_entry(leaf) == declared
    for wrong in (replace(plain, v=5), replace(declared, v=3)):
        with pytest.raises(ValueError, match="a pair entry of version"):
            encode_entry(wrong)
    with pytest.raises(ProofError, match="ENTRY_MALFORMED"):
        parse_entry(leaf.replace(b'"generated":true', b'"generated":false'))


async def test_a_validator_logs_what_was_declared_and_nobody_can_hide_it(tmp_path: Path) -> None:
    async with running(tmp_path / "v", rule2_epoch=1, min_epoch_s=0) as live:
        signed = [live.sign(pair, generated=bool(number % 3 == 0)) for number, pair in enumerate(pictures(9))]
        decided = [await live.client.post_pair(one.encode()) for one in signed]
        parsed = [parse_entry(one.receipt.entry.encode()) for one in decided]
        entries = [one for one in parsed if isinstance(one, PairEntry)]
        assert [one.generated for one in entries] == [True if number % 3 == 0 else None for number in range(9)]
        both = Counter(bool(one.generated) for one in entries if one.verdict.is_accepted)
        assert min(both[True], both[False])  # or nothing below is tested
        first = decided[0]
        check_decision(
            first, signed[0].envelope, digest_of(live, signed[0]), live.network.origin, live.network.receipt_vkey
        )
        told = replace(signed[0].envelope, submission=replace(signed[0].envelope.submission, meta_hash=bytes(32)))
        with pytest.raises(ProofError, match="RECEIPT_OF_ANOTHER"):
            check_decision(first, told, digest_of(live, signed[0]), live.network.origin, live.network.receipt_vkey)
        hidden = replace(entries[0], generated=None)
        row = IndexedSubmission(0, signed[0].envelope.submission, signed[0].envelope.signature, first.opening)
        check_submission(row, encode_entry(entries[0]), live.network.domain)
        with pytest.raises(ProofError, match=r"MIRROR_SUBMISSION.*generated"):
            check_submission(row, encode_entry(replace(hidden, v=version_of(hidden))), live.network.domain)

        assert (await live.client.network()).accepted_pairs == 0
        await live.service.epochs.close()
        network = await live.client.network()
        assert (network.accepted_pairs, network.generated_pairs) == (both.total(), both[True])

        async with ValidatorClient(live.url, patience_s=0.0) as client:
            await copy_ledger(client, tmp_path / "mirror", log_vkey=live.network.log_vkey)
        _, fed = read_mirror(tmp_path / "mirror")
        assert Counter(pair.generated for pair in fed) == both
        leaves = list(live.service.store.leaves(0, live.service.ledger.size))
        assert next(derive(leaves, RULE_1)).rule == replace(BEGUN_WITH, min_epoch_s=0)


# What a contributor says, and what his files say


def packet(term: str = TERM) -> bytes:
    """An XMP packet as a generator writes it."""
    return (
        '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        f'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" Iptc4xmpExt:DigitalSourceType="{term}"/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def picture(kind: str, xmp: bytes) -> bytes:
    """A picture with XMP, as the format keeps it."""
    seen = Image.fromarray(np.random.default_rng(3).integers(0, 255, (40, 40, 3), dtype=np.uint8))
    data = io.BytesIO()
    if kind == "PNG":
        note = PngImagePlugin.PngInfo()
        note.add_itxt("XML:com.adobe.xmp", xmp.decode())
        seen.save(data, kind, pnginfo=note)
    elif kind == "TIFF":
        seen.save(data, kind, tiffinfo={700: xmp})
    else:
        seen.save(data, kind, xmp=xmp)
    return data.getvalue()


def manifest(term: str) -> bytes:
    """A PNG with the chunk of a C2PA manifest, whose actions name the term in CBOR."""
    told = b"\x72digitalSourceType\x78" + bytes([len(term)]) + term.encode()
    chunk = b"caBX" + b"\0\0\0\0jumb" + b"c2pa.actions" + told
    whole = picture("PNG", b"x")
    return whole[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[33:]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "C2PA"])
def test_a_file_says_that_it_is_generated_before_its_metadata_is_stripped(kind: str, tmp_path: Path) -> None:
    for term, says in (
        (TERM, True),
        (TERM.replace("trained", "compositeWithTrained"), True),
        (TERM.replace("trainedAlgorithmicMedia", "digitalCapture"), False),
        (TERM.replace("trainedAlgorithmicMedia", "algorithmicMedia"), False),  # a fractal: no model was trained
    ):
        data = manifest(term) if kind == "C2PA" else picture(kind, packet(term))
        path = tmp_path / f"{says}-{len(term)}.{'png' if kind == 'C2PA' else kind.lower()}"
        path.write_bytes(data)
        for item in (load_item(path), make_item(data, path, modality=None, where="here")):
            assert item.is_generated is says
            assert b"lgorithmicMedia" not in item.read()
            assert b"digitalCapture" not in item.read()


def test_a_row_says_that_it_is_generated(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture("PNG", b"x"))
    row: dict[str, object] = {"a": "a.png", "b": {"text": "a cat"}, "license": "MIT"}
    said_in = [{"generated": said} for said in (True, False, "", "true", [1], 2)]
    lines = [json.dumps(row | said) for said in said_in]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines))
    read = list(read_sources((tmp_path / "pairs.jsonl",), license=None))
    said = [row.code if isinstance(row, SourceError) else row.is_generated for row in read]
    assert said == [True, False, False, True, "ROW_VALUE", "ROW_VALUE"]


def folder_of(tmp_path: Path, *, generated: Sequence[bool]) -> Path:
    """Pictures of digits with their names, of which some say that they are generated."""
    folder = tmp_path / "given"
    folder.mkdir()
    for number, (pair, says) in enumerate(zip(pictures(len(generated)), generated, strict=True)):
        note = PngImagePlugin.PngInfo()
        if says:
            note.add_itxt("XML:com.adobe.xmp", packet().decode())
        Image.open(io.BytesIO(pair.a.read())).save(folder / f"{number}.png", pnginfo=note)
        (folder / f"{number}.txt").write_bytes(pair.b.read())
    return folder


async def test_a_submission_declares_what_its_files_say_or_all(tmp_path: Path) -> None:
    generated = [True, False, False, True]
    folder = folder_of(tmp_path, generated=generated)

    def rows() -> list[SourcePair | SourceError]:
        return list(read_sources((folder,), license="MIT"))

    assert (preview(rows(), license="").generated, preview(rows(), license="", generated=True).generated) == (2, 4)
    async with running(tmp_path / "v") as live:
        for rules, expected in ((Rules(), generated), (Rules(generated=True, again=True), [True] * 4)):
            before = live.service.ledger.size
            tally = await send(live, tmp_path, rows(), rules)
            assert (tally.generated, tally.decided) == (sum(expected), 4)
            leaves = live.service.store.leaves(before, 4)
            said = {
                entry.pair: bool(entry.generated)
                for leaf in leaves
                if isinstance(entry := parse_entry(leaf), PairEntry)
            }
            by_file = {one.a: said[bytes.fromhex(one.pair)] for one in tally.pairs}
            assert by_file == {str(folder / f"{number}.png"): says for number, says in enumerate(expected)}
        paid_for = [one.pay for one in (await send(live, tmp_path, rows(), Rules())).pairs]
        assert paid_for
    with SubmissionJournal.of(tmp_path / "home", address_of(ALICE), live.network.network_id) as journal:
        assert all(plan.generated for plan in journal.plans.values())  # so that a repeated one has the same bytes


async def send(live: Running, tmp_path: Path, rows: list[SourcePair | SourceError], rules: Rules) -> Tally:
    who = Contributor(ALICE, address_of(ALICE), tmp_path / "home")
    return await submit_pairs(rows, client=live.client, network=live.network, contributor=who, rules=rules)
