"""Receipts, entries and payouts: what a contributor and an auditor check offline."""

import base64
import json
import secrets
from dataclasses import replace

import pytest

from curiosity.host.settings.loader import read_section
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.protocol.entry import CheckpointEntry, PairEntry, encode_entry, parse_entry
from curiosity.protocol.epoch_payout import EpochPayout, select_paid
from curiosity.protocol.errors import ConfigError, Fault, ProofError
from curiosity.protocol.merkle import inclusion_path, leaf_hash
from curiosity.protocol.payouts import derive
from curiosity.protocol.receipt import Receipt, issue_receipt, issue_receipts, verify_receipt
from curiosity.protocol.rewards import RewardParameters, verify_claim
from curiosity.protocol.signing import address_of, sign
from curiosity.protocol.tlog import Signer, sign_note
from curiosity.protocol.verdict import Outcome, Reason, Verdict

KEYS = [bytes([i + 1]) * 32 for i in range(4)]
SIGNER = Signer("example.org/ledger/receipt", b"\x05" * 32)
VKEY = SIGNER.verifier.vkey()
PARAMETERS = RewardParameters(top_n=5)


def pair_entry(key: bytes, score: int, *, outcome: Outcome = Outcome.ACCEPTED) -> PairEntry:
    pair = secrets.token_bytes(32)
    accepted = outcome is Outcome.ACCEPTED
    verdict = Verdict(
        outcome=outcome,
        reason=Reason.BELONGS_TOGETHER if accepted else Reason.PAIR_TOO_FAR,
        checkpoint=bytes(32),
        fault=None if accepted else Fault.CONTRIBUTOR,
        novel=score > 0,
        curiosity_micro=score,
    )
    return PairEntry(pair, address_of(key), sign(pair, key), "image-text", "MIT", verdict, secrets.token_bytes(32))


def ledger(*epochs: list[PairEntry], parameters: RewardParameters = PARAMETERS) -> list[bytes]:
    """Leaves of a ledger in which each list of pairs is closed by its epoch's entry, but for the last."""
    leaves = [encode_entry(CheckpointEntry(bytes(32), None))]
    for number, entries in enumerate(epochs, start=1):
        leaves += [encode_entry(entry) for entry in entries]
        if number < len(epochs):
            open_ = list(derive(leaves, parameters))[-1]
            leaves.append(encode_entry(open_.expected_entry(parameters)))
    return leaves


def test_receipt_proves_its_entry_index_and_ledger() -> None:
    leaf = encode_entry(pair_entry(KEYS[0], 7))
    receipt = issue_receipt(leaf, 41, "example.org/ledger", 1_800_000_000, SIGNER)
    checked = verify_receipt(receipt, "example.org/ledger", VKEY)
    assert (checked.index, checked.leaf_hash, checked.issued_at) == (41, leaf_hash(leaf), 1_800_000_000)
    assert checked.entry == parse_entry(leaf)


def test_every_change_to_a_receipt_has_its_code() -> None:
    receipt = issue_receipt(encode_entry(pair_entry(KEYS[0], 7)), 41, "example.org/ledger", 5, SIGNER)
    other = encode_entry(pair_entry(KEYS[1], 7)).decode()
    stranger = Signer("example.org/ledger/receipt", b"\x06" * 32)
    forged = receipt.note.replace("\n41\n", "\n42\n")
    for changed, origin, vkey, code in [
        (replace(receipt, entry=other), "example.org/ledger", VKEY, "RECEIPT_ENTRY"),
        (replace(receipt, entry=receipt.entry + " "), "example.org/ledger", VKEY, "RECEIPT_ENTRY"),
        (replace(receipt, index=40), "example.org/ledger", VKEY, "RECEIPT_INDEX"),
        (replace(receipt, note=forged), "example.org/ledger", VKEY, "SIGNATURE_WRONG"),
        (receipt, "example.org/another", VKEY, "RECEIPT_ORIGIN"),
        (receipt, "example.org/ledger", stranger.verifier.vkey(), "NOTE_UNSIGNED"),
        (replace(receipt, note="x"), "example.org/ledger", VKEY, "RECEIPT_VERSION"),
        (replace(receipt, note="curiosity-receipt/v1\n\nx"), "example.org/ledger", VKEY, "RECEIPT_VERSION"),
        (replace(receipt, note="curiosity-receipt/v2\n\nx"), "example.org/ledger", VKEY, "NOTE_MALFORMED"),
        (replace(receipt, note=receipt.note.partition("\n\n")[2]), "example.org/ledger", VKEY, "RECEIPT_VERSION"),
        (receipt, "example.org/ledger", VKEY[:-3], "VKEY_MALFORMED"),
    ]:
        with pytest.raises(ProofError) as caught:
            verify_receipt(changed, origin, vkey)
        assert caught.value.code == code


@pytest.mark.parametrize(
    ("line", "changed", "code"),
    [
        (0, "curiosity-batch/v2", "RECEIPT_BATCH"),
        (1, "example.org/ledger ", "RECEIPT_ORIGIN"),
        (2, "041", "RECEIPT_NUMBER"),
        (2, "+41", "RECEIPT_NUMBER"),
        (2, " 41", "RECEIPT_NUMBER"),
        (2, "٤١", "RECEIPT_NUMBER"),
        (2, "-1", "RECEIPT_NUMBER"),
        (2, str(2**53), "RECEIPT_NUMBER"),
        (2, "", "RECEIPT_NUMBER"),
        (2, "42", "RECEIPT_INDEX"),
        (2, "40", "RECEIPT_INDEX"),
        (3, "01", "RECEIPT_NUMBER"),
        (3, "0", "RECEIPT_INDEX"),
        (3, "2", "RECEIPT_PATH"),
        (4, "", "RECEIPT_BASE64"),
        (4, "AAAA", "RECEIPT_BASE64"),
        (4, base64.urlsafe_b64encode(b"\xff" * 32).decode(), "RECEIPT_BASE64"),
        (4, "A" * 42 + "B=", "RECEIPT_BASE64"),  # bits that no byte keeps
        (4, base64.b64encode(bytes(32)).decode(), "RECEIPT_ENTRY"),
        (5, "5.0", "RECEIPT_NUMBER"),
        (5, "05", "RECEIPT_NUMBER"),
        (5, "5\n", "RECEIPT_LINES"),
        (5, "5\n6", "RECEIPT_LINES"),
    ],
)
def test_a_receipt_has_one_spelling(line: int, changed: str, code: str) -> None:
    """Even the validator's own key cannot sign another one."""
    leaf = encode_entry(pair_entry(KEYS[0], 7))
    root = base64.b64encode(leaf_hash(leaf)).decode()
    lines = ["curiosity-batch/v1", "example.org/ledger", "41", "1", root, "5"]

    def check() -> None:
        note = sign_note("".join(f"{one}\n" for one in lines), SIGNER)
        receipt = Receipt(leaf.decode(), 41, f"curiosity-receipt/v2\n\n{note}")
        verify_receipt(receipt, "example.org/ledger", VKEY)

    check()
    lines[line] = changed
    with pytest.raises(ProofError) as caught:
        check()
    assert caught.value.code == code


def test_a_receipt_has_one_signature_and_holds_an_entry() -> None:
    receipt = issue_receipt(encode_entry(pair_entry(KEYS[0], 7)), 41, "example.org/ledger", 5, SIGNER)
    text, _, line = receipt.note.rpartition("\n\n")
    other = sign_note(text.partition("\n\n")[2] + "\n", Signer("other", b"\x07" * 32)).partition("\n\n")[2]
    for more in (line + other, other + line, line + line):
        with pytest.raises(ProofError, match=r"RECEIPT_SIGNATURES|NOTE_"):
            verify_receipt(replace(receipt, note=f"{text}\n\n{more}"), "example.org/ledger", VKEY)
    nothing = issue_receipt(b"{}", 41, "example.org/ledger", 5, SIGNER)
    with pytest.raises(ProofError, match="ENTRY_MALFORMED"):
        verify_receipt(nothing, "example.org/ledger", VKEY)
    with pytest.raises(ProofError, match="RECEIPT_ENTRY"):
        verify_receipt(replace(receipt, entry="\ud800"), "example.org/ledger", VKEY)


def test_a_key_cannot_sign_another_kind_of_note_into_a_receipt() -> None:
    leaf = encode_entry(pair_entry(KEYS[0], 7))
    text = f"other/v1\nexample.org/ledger\n1\n1\n{base64.b64encode(leaf_hash(leaf)).decode()}\n5\n"
    note = f"curiosity-receipt/v2\n\n{sign_note(text, SIGNER)}"
    with pytest.raises(ProofError, match="RECEIPT_BATCH"):
        verify_receipt(Receipt(leaf.decode(), 1, note), "example.org/ledger", VKEY)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 13, 33, 64])
def test_receipts_of_a_batch_share_a_signature_and_prove_each_his_own(count: int) -> None:
    leaves = [encode_entry(pair_entry(KEYS[0], number)) for number in range(count)]
    hashes = [leaf_hash(leaf) for leaf in leaves]
    receipts = issue_receipts(leaves, hashes, 10, "example.org/ledger", 5, SIGNER)
    assert len({receipt.note.partition("\n\n")[2] for receipt in receipts}) == 1
    for number, receipt in enumerate(receipts):
        checked = verify_receipt(receipt, "example.org/ledger", VKEY)
        assert (checked.index, checked.leaf_hash) == (10 + number, hashes[number])
        path = receipt.note.partition("\n\n")[0].split("\n")[1:]
        assert path == [base64.b64encode(one).decode() for one in inclusion_path(number, hashes)]
        for other in receipts:
            if other is receipt:
                continue
            for wrong in (
                replace(receipt, index=other.index),
                replace(receipt, entry=other.entry),
                replace(receipt, note=other.note),
            ):
                with pytest.raises(ProofError, match=r"^RECEIPT_(ENTRY|PATH)"):
                    verify_receipt(wrong, "example.org/ledger", VKEY)
    for index in (9, 10 + count):
        with pytest.raises(ProofError, match=r"^RECEIPT_INDEX"):
            verify_receipt(replace(receipts[0], index=index), "example.org/ledger", VKEY)


def test_a_path_has_one_spelling_and_one_length() -> None:
    leaves = [encode_entry(pair_entry(KEYS[0], number)) for number in range(5)]
    receipt = issue_receipts(leaves, [leaf_hash(leaf) for leaf in leaves], 0, "example.org/ledger", 5, SIGNER)[2]
    head, _, note = receipt.note.partition("\n\n")
    header, *path = head.split("\n")
    for lines, code in [
        (path[:-1], "RECEIPT_PATH"),
        ([*path, path[0]], "RECEIPT_PATH"),
        (path * 40, "RECEIPT_PATH"),
        (path[::-1], "RECEIPT_ENTRY"),
        ([path[0] + " ", *path[1:]], "RECEIPT_BASE64"),
        ([path[0][:-1], *path[1:]], "RECEIPT_BASE64"),
        ([path[0][:-2] + ("B=" if path[0][-2] == "A" else "A="), *path[1:]], "RECEIPT_"),
        ([*path, ""], "SIGNATURE_WRONG"),
    ]:
        with pytest.raises(ProofError, match=f"^({code})"):
            verify_receipt(replace(receipt, note="\n".join([header, *lines, "", note])), "example.org/ledger", VKEY)


def test_entries_are_canonical_to_the_byte() -> None:
    """Each of these is JSON that a lax reader takes for the same entry, or for one."""
    leaf = encode_entry(pair_entry(KEYS[0], 7))
    assert parse_entry(leaf)
    changes = [
        (b'"curiosity_micro":7', b'"curiosity_micro":7.0'),
        (b'"curiosity_micro":7', b'"curiosity_micro":-0'),
        (b'"curiosity_micro":7', b'"curiosity_micro":9007199254740992'),
        (b'"curiosity_micro":7', b'"curiosity_micro":1e1'),
        (b'"curiosity_micro":7', b'"curiosity_micro":true'),
        (b'"curiosity_micro":7', b'"curiosity_micro":7,"curiosity_micro":7'),
        (b'"v":2', b'"v":1'),
        (b'"v":2', b'"v":2 '),
        (b'"MIT"', b'"\\u004dIT"'),
        (b'"MIT"', b'"\\ud800"'),
        (b'"MIT"', b'"\xff"'),
        (b'"MIT"', b'"' + b"M" * 129 + b'"'),
        (b'"fault":null,', b""),
        (b'"commitment":"0x', b'"commitment":"0X'),
    ]
    for old, new in changes:
        assert old in leaf
        with pytest.raises(ProofError, match=r"ENTRY_NOT_CANONICAL|ENTRY_MALFORMED"):
            parse_entry(leaf.replace(old, new))
    for extra in (b"\n", b" ", b"\0", b"{}"):
        with pytest.raises(ProofError, match="ENTRY_"):
            parse_entry(leaf + extra)
    with pytest.raises(ProofError, match="ENTRY_TOO_LONG"):
        parse_entry(leaf + b" " * 65_536)


def test_entries_have_one_form_only() -> None:
    leaf = encode_entry(pair_entry(KEYS[0], 7))
    spaced = json.dumps(json.loads(leaf), sort_keys=True).encode()
    with pytest.raises(ProofError, match="ENTRY_NOT_CANONICAL"):
        parse_entry(spaced)
    for broken in (b"", b"{}", leaf[:-1], leaf.replace(b'"kind":"pair"', b'"kind":"pear"'), leaf[:-1] + b',"x":1}'):
        with pytest.raises(ProofError, match="ENTRY_MALFORMED"):
            parse_entry(broken)


def test_payouts_follow_from_the_leaves() -> None:
    first = [pair_entry(KEYS[0], 30), pair_entry(KEYS[1], 10), pair_entry(KEYS[2], 0), pair_entry(KEYS[0], 20)]
    second = [pair_entry(KEYS[1], 5), pair_entry(KEYS[3], 0, outcome=Outcome.REJECTED)]
    one, two, open_ = derive(ledger(first, second, []), PARAMETERS)
    e1, e2 = PARAMETERS.emission(1), PARAMETERS.emission(2)
    a0, a1 = address_of(KEYS[0]), address_of(KEYS[1])
    assert one.amounts_wei == {a0: e1 * 5 // 6, a1: e1 - e1 * 5 // 6} or sum(one.amounts_wei.values()) == e1
    assert abs(one.amounts_wei[a0] * 6 - e1 * 5) <= 6
    assert [p.index for p in one.paid] == [1, 2, 4]
    assert two.amounts_wei == {a1: e2}
    assert two.cumulative_wei == {a1: one.amounts_wei[a1] + e2}
    assert two.cumulative_total_wei == sum(one.amounts_wei.values()) + e2
    assert (one.epoch, two.epoch, open_.epoch) == (1, 2, 3)
    assert open_.amounts_wei == {}
    tree = two.tree()
    assert len(tree) == 1  # an epoch's tree holds only those whom this epoch pays
    for payout in (one, two):
        for account, amount in payout.amounts_wei.items():
            verify_claim(payout.reward_root, account, amount, payout.tree().proof(account))
    assert open_.reward_root == open_.tree().root == bytes(32)


def test_only_the_widest_gaps_are_paid() -> None:
    entries = [pair_entry(KEYS[0], score) for score in (5, 9, 1, 9, 7, 2, 8)]
    (open_,) = derive(ledger(entries), PARAMETERS)
    assert [p.curiosity_micro for p in open_.paid] == [5, 9, 9, 7, 8]


def test_of_equal_gaps_the_earlier_entries_are_paid() -> None:
    """Also where only some of the equal ones fit, and in whatever order they are given."""
    scores = (7, 9, 7, 7, 8, 7, 1, 7)
    (open_,) = derive(ledger([pair_entry(KEYS[n % 4], score) for n, score in enumerate(scores)]), PARAMETERS)
    # The ledger's first entry is the checkpoint's: the pairs begin at 1.
    assert [p.index for p in open_.paid] == [1, 2, 3, 4, 5]
    candidates = list(open_.paid) + [
        replace(open_.paid[0], index=index, curiosity_micro=scores[index - 1]) for index in (6, 7, 8)
    ]
    for top_n, indices in ((1, [2]), (2, [2, 5]), (3, [1, 2, 5]), (6, [1, 2, 3, 4, 5, 6]), (7, [1, 2, 3, 4, 5, 6, 8])):
        for given in (candidates, candidates[::-1], candidates[3:] + candidates[:3]):
            assert [p.index for p in select_paid(given, top_n)] == indices


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("emission_wei", "1"),
        ("cumulative_wei", "999"),
        ("reward_root", b"\x01" * 32),
        ("paid_pairs", 1),
        ("epoch", 2),
        ("first", 3),
        ("parameters", b"\x02" * 32),
    ],
)
def test_an_epoch_entry_that_lies_is_named(field: str, value: object) -> None:
    leaves = ledger([pair_entry(KEYS[0], 3), pair_entry(KEYS[1], 3)], [])
    honest = list(derive(leaves, PARAMETERS))
    assert isinstance(honest[0], EpochPayout)
    lie = replace(parse_entry(leaves[-1]), **{field: value})  # type: ignore[arg-type]
    lied = [*leaves[:-1], encode_entry(lie)]
    with pytest.raises(ProofError) as caught:
        list(derive(lied, PARAMETERS))
    assert caught.value.code == ("PAYOUT_PARAMETERS" if field == "parameters" else "PAYOUT_MISMATCH")
    assert field in caught.value.what
    # Who wants to see all of it goes on, and asks each epoch.
    told = list(derive(lied, PARAMETERS, check_entries=False))
    assert [one.differences(PARAMETERS) for one in honest] == [[], []]
    assert [[str(one) for one in each.differences(PARAMETERS)] for each in told] == [[str(caught.value)], []]


def test_a_validator_cannot_pay_an_account_that_did_not_sign() -> None:
    theft = replace(pair_entry(KEYS[0], 3), contributor=address_of(KEYS[3]))
    leaves = ledger([])
    assert list(derive([*leaves, encode_entry(theft)], PARAMETERS, check_signatures=False))[-1].amounts_wei
    with pytest.raises(ProofError, match="PAYOUT_SIGNATURE"):
        list(derive([*leaves, encode_entry(theft)], PARAMETERS))


def test_settings_refuse_unknown_keys_with_the_nearest_one() -> None:
    cases: list[tuple[dict[str, object], dict[str, str], str, str]] = [
        ({"validator": {"prot": 1}}, {}, "CONFIG_UNKNOWN_KEY", "'port'"),
        ({"validatr": {}}, {}, "CONFIG_UNKNOWN_SECTION", "'validator'"),
        ({"validator": {"port": "many"}}, {}, "CONFIG_INVALID", "port"),
        ({"validator": 5}, {}, "CONFIG_INVALID", "validator"),
        ({}, {"CURIOSITY_VALIDATOR__HOTS": "x"}, "CONFIG_UNKNOWN_KEY", "'host'"),
    ]
    for document, environment, code, hint in cases:
        with pytest.raises(ConfigError) as caught:
            read_section(ValidatorConfig, "validator", document, environment, "file.toml")
        assert caught.value.code == code
        assert hint in str(caught.value)


def test_the_environment_overrides_the_file() -> None:
    document = {"validator": {"port": 1, "name": "a"}, "node": {"anything": 1}}
    read = read_section(ValidatorConfig, "validator", document, {"CURIOSITY_VALIDATOR__PORT": "2", "HOME": "/"}, "f")
    assert (read.port, read.name) == (2, "a")


def test_the_environment_writes_lists_as_the_file_does_or_one_text_bare() -> None:
    for text, expected in [
        ("http://w:1 key+00+A=", ("http://w:1 key+00+A=",)),
        ('["one, two", "three"]', ("one, two", "three")),
        ("[]", ()),
        ("", ()),
    ]:
        read = read_section(ValidatorConfig, "validator", {}, {"CURIOSITY_VALIDATOR__WITNESSES": text}, "f")
        assert read.witnesses == expected
    for wrong in ('["one"', "[1, 2]"):
        with pytest.raises(ConfigError, match=r"CONFIG_INVALID.*witnesses"):
            read_section(ValidatorConfig, "validator", {}, {"CURIOSITY_VALIDATOR__WITNESSES": wrong}, "f")
