"""`curiosity attest`: several validators sign an epoch, each having derived it; who lies finds no second signature."""

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from curiosity.chain.attestation import Attestation, address_of, sign_digest
from curiosity.chain.chain import Addresses
from curiosity.ledger.source import LedgerSource
from curiosity.protocol.errors import ChainError, CuriosityError, ExitCode, ProofError, Rejected, StoreError
from curiosity.protocol.reward_messages import EpochAttestation, EpochSignature
from curiosity.protocol.signing import checksum
from curiosity.protocol.verdict import Outcome, Reason
from curiosity.rewards.attest import Attestant, Attested, attest
from tests.material.lying_judge import lie
from tests.material.payment import PaidNetwork, Terminal, lying, paid_network
from tests.material.service import pictures
from tests.material.waiting import PATIENCE_S, eventually

ALICE, BOB, SECOND, THIRD, STRANGER = (bytes([number]) * 32 for number in (0x31, 0x32, 0x41, 0x42, 0x43))
A, B = address_of(ALICE), address_of(BOB)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[PaidNetwork]:
    """Two of three validators must sign."""
    with paid_network(tmp_path / "net", others=(SECOND, THIRD), threshold=2) as made:
        yield made


@pytest.fixture
def shell(shell_on_chain: Terminal) -> Terminal:
    shell_on_chain.wallet("second", SECOND)
    shell_on_chain.wallet("third", THIRD)
    return shell_on_chain


def post(net: PaidNetwork) -> str | None:
    """What the validator's next look posts."""
    return net.call(net.live.service.epochs.post_missing())[0]


def offer(net: PaidNetwork, key: bytes, digest: bytes | None = None) -> EpochAttestation:
    """Hand in a signature as anybody may."""
    asked = net.call(net.live.client.attestation()) if digest is None else None
    signed = digest or (asked.digest if asked else b"")
    return net.call(net.live.client.sign_attestation(EpochSignature(signed, sign_digest(signed, key))))


def test_an_epoch_is_posted_once_a_quorum_derived_and_signed_it(net: PaidNetwork, shell: Terminal) -> None:
    assert shell.run("attest", "--wallet", "second", "--json").json == {"waits": False, "signed": False}
    net.earn(ALICE, 500, 300)
    net.earn(BOB, 200)
    assert net.close().transaction is None
    assert post(net) is None
    assert net.client.state().latest_epoch == 0
    standing = net.call(net.live.client.health()).epochs
    assert standing is not None
    assert (standing.signatures, standing.threshold, standing.posted, standing.trouble) == (1, 2, 0, None)
    with urllib.request.urlopen(f"{net.live.url}/metrics") as answer:
        counted = answer.read().decode()
    assert 'curiosity_epoch_signatures{kind="has"} 1.0' in counted
    assert 'curiosity_epoch_signatures{kind="wants"} 2.0' in counted

    tried = shell.run("attest", "--wallet", "second", "--dry-run", "--json")
    assert (tried.status, tried.json["signed"], len(tried.json["signers"])) == (0, False, 1)
    signed = shell.run("attest", "--wallet", "second", "--json")
    assert (signed.status, signed.json["signed"]) == (0, True)
    assert checksum(address_of(SECOND)) in signed.json["signers"]
    again = shell.run("attest", "--wallet", "second", "--json")
    assert (again.json["signed"], again.json["signed_before"]) == (False, True)

    assert post(net)
    assert net.client.state().latest_root == net.latest.reward_root
    assert shell.run("attest", "--wallet", "third", "--json").json == {"waits": False, "signed": False}
    assert net.activate() == 1

    net.earn(BOB, 100)  # the next epoch is signed on top of that one
    net.close()
    assert "2 of 2 signatures" in shell.run("attest", "--wallet", "third").out
    assert post(net)
    assert net.client.state().latest_epoch == 2


def test_a_lie_finds_no_second_signature(net: PaidNetwork, shell: Terminal) -> None:
    net.earn(ALICE, 500)
    net.earn(BOB, 500)
    with lying(lambda honest: {A: sum(honest.values())}, honest_entry=True):
        net.close()  # an honest ledger, and another root for the chain
    refused = shell.run("attest", "--wallet", "second", "--json")
    assert (refused.status, refused.json["error"]["code"]) == (5, "ATTESTATION_DIFFERS")
    assert "reward_root is 0x" in refused.err
    assert "cumulative_total_wei" not in refused.err  # the sum is the same, only the leaves are others
    assert post(net) is None
    assert net.client.state().latest_epoch == 0
    assert not (shell.home / "attested").exists()


def test_the_steps_of_a_signature_are_derive_compare_note_sign(net: PaidNetwork, tmp_path: Path) -> None:
    """Each step is made to fail while those behind it would fail too, and nothing leaves before all are done."""

    def refused(source: LedgerSource) -> str:
        with pytest.raises(CuriosityError) as caught:
            attest(source, lambda _network: net.client, me)
        assert address_of(SECOND) not in net.call(net.live.client.attestation()).signers
        return caught.value.code

    def copy_ledger(end: int) -> None:
        copy.write_bytes(b"".join(leaf + b"\n" for leaf in net.live.service.store.leaves(0, end)))

    home, copy = tmp_path / "signer", tmp_path / "entries.jsonl"
    home.mkdir()
    in_the_way = home / "attested"
    in_the_way.write_text("a file in place of the folder: nothing can be noted")
    me = Attestant(address_of(SECOND), SECOND, home)
    net.earn(ALICE, 500)
    net.earn(BOB, 500)
    net.close()
    poster = net.live.service.epochs.poster
    assert poster is not None
    assert poster.waiting is not None
    honest = poster.waiting
    lie = replace(honest.attestation, reward_root=b"\x01" * 32)
    poster.waiting = replace(honest, attestation=lie, digest=lie.digest(net.client.domain))
    copy_ledger(2)
    assert refused(net.source(copy)) == "COPY_BEHIND"
    assert refused(net.source()) == "ATTESTATION_DIFFERS"
    poster.waiting = honest
    assert refused(net.source()) == "ATTESTED_UNREADABLE"
    in_the_way.unlink()
    signed = attest(net.source(), lambda _network: net.client, me)
    assert signed.is_signed
    assert signed.waiting is not None
    assert address_of(SECOND) in signed.waiting.signers
    assert honest.digest.hex() in next(in_the_way.iterdir()).read_text()
    assert post(net)


def test_a_lie_in_the_ledger_finds_no_second_signature(net: PaidNetwork, shell: Terminal) -> None:
    net.earn(ALICE, 500)
    with lying(lambda honest: honest | {B: 1}):
        net.close()
    refused = shell.run("attest", "--wallet", "second", "--json")
    assert (refused.status, refused.json["error"]["code"]) == (5, "PAYOUT_MISMATCH")
    assert post(net) is None


def test_nothing_is_signed_on_top_of_a_lie(net: PaidNetwork, shell: Terminal) -> None:
    """The first epoch was posted by two who lied; the third validator refuses the honest one behind it."""
    net.earn(ALICE, 500)
    with lying(lambda honest: {B: sum(honest.values())}, honest_entry=True):
        net.close()
    offer(net, SECOND)  # without looking
    assert post(net)
    net.earn(ALICE, 100)
    net.close()
    refused = shell.run("attest", "--wallet", "third", "--json")
    assert (refused.status, refused.json["error"]["code"]) == (5, "CHAIN_ROOT_DIFFERS")


def test_only_validators_are_heard_and_only_on_what_would_be_posted(net: PaidNetwork, shell: Terminal) -> None:
    def refused(key: bytes, digest: bytes | None = None) -> tuple[str, int]:
        with pytest.raises(Rejected) as caught:
            offer(net, key, digest)
        return caught.value.code, caught.value.status

    assert refused(SECOND, b"\x01" * 32) == ("ATTESTATION_NONE", 404)
    net.earn(ALICE, 500)
    net.close()
    assert refused(STRANGER) == ("ATTESTATION_SIGNER", 403)
    assert refused(SECOND, b"\x01" * 32) == ("ATTESTATION_DIFFERS", 409)
    asked = net.call(net.live.client.attestation())
    high_s = sign_digest(asked.digest, SECOND)[:64] + b"\x05"
    with pytest.raises(Rejected, match="SIGNATURE_INVALID"):
        net.call(net.live.client.sign_attestation(EpochSignature(asked.digest, high_s)))
    assert len(net.call(net.live.client.attestation()).signers) == 1
    assert post(net) is None
    shell.wallet("stranger", STRANGER)
    told = shell.run("attest", "--wallet", "stranger", "--json")
    assert told.json["error"]["code"] == "ATTEST_NOT_VALIDATOR"
    assert len(offer(net, THIRD).signers) == 2
    assert post(net)


def test_a_copy_that_is_behind_is_told_and_one_that_is_not_suffices(net: PaidNetwork, shell: Terminal) -> None:
    def copy_ledger() -> None:
        copy.write_bytes(b"".join(leaf + b"\n" for leaf in net.live.service.store.leaves(0, 1000)))

    copy = shell.home / "entries.jsonl"
    net.earn(ALICE, 500)
    copy_ledger()
    net.close()
    behind = shell.run("attest", "--wallet", "second", "--entries", copy, "--json")
    assert behind.json["error"]["code"] == "COPY_BEHIND"
    copy_ledger()
    assert shell.run("attest", "--wallet", "second", "--entries", copy, "--json").json["signed"] is True


def test_what_somebody_else_posted_does_not_wait_any_more(net: PaidNetwork) -> None:
    net.earn(ALICE, 500)
    net.close()
    epochs = net.live.service.epochs
    assert epochs.poster is not None
    waiting = epochs.poster.waiting
    assert waiting is not None
    signatures = [sign_digest(waiting.digest, key) for key in (SECOND, THIRD)]
    assert net.client.post_root(net.owner, waiting.attestation, signatures)
    assert post(net) is None
    with pytest.raises(Rejected, match="ATTESTATION_NONE"):
        epochs.attestation()


def test_a_signature_does_not_outlive_its_signer(net: PaidNetwork) -> None:
    """The owner replaces a validator between its signature and the posting: another set, so another digest."""
    net.earn(ALICE, 500)
    net.close()
    offer(net, SECOND)
    own = address_of(net.live.service.keys.attestation)
    net.client.set_validators(net.owner, [own, address_of(THIRD)], 2)
    assert post(net) is None
    assert net.call(net.live.client.attestation()).signers == (own,)
    offer(net, THIRD)
    assert post(net)


def test_who_is_no_validator_says_so_and_posts_what_a_quorum_signed(tmp_path: Path) -> None:
    with paid_network(tmp_path / "net", others=(SECOND, THIRD), threshold=2, signs=False) as net:
        net.earn(ALICE, 500)
        with pytest.raises(ChainError, match="CHAIN_NOT_VALIDATOR"):
            net.call(net.live.service.epochs.close())
        standing = net.live.service.epochs.standing
        assert standing is not None
        assert (standing.trouble, standing.signatures, standing.threshold) == ("CHAIN_NOT_VALIDATOR", 0, 2)
        for key in (SECOND, THIRD):
            offer(net, key)
        assert post(net)
        assert net.client.state().latest_epoch == 1


def test_a_key_signs_one_attestation_of_an_epoch(tmp_path: Path) -> None:
    addresses = Addresses(31_337, b"\x01" * 20, b"\x02" * 20)
    first = Attestation(1, 10, b"\x03" * 32, b"\x04" * 32, 5, bytes(32), 1, 0)
    Attested(tmp_path, addresses, A).note(first, b"\x05" * 32)
    again = Attested(tmp_path, addresses, A)
    again.note(first, b"\x05" * 32)
    with pytest.raises(ProofError, match="ATTESTED_ANOTHER"):
        again.note(first, b"\x06" * 32)
    again.note(Attestation(1, 10, b"\x03" * 32, b"\x04" * 32, 5, bytes(32), 1, 1), b"\x06" * 32)  # after a veto
    Attested(tmp_path, addresses, B).note(first, b"\x06" * 32)  # another key
    again.path.write_text("{")
    with pytest.raises(StoreError, match="ATTESTED_UNREADABLE"):
        Attested(tmp_path, addresses, A)


def test_a_follower_signs_whatever_waits_until_it_is_stopped(net: PaidNetwork, shell: Terminal) -> None:
    command = [sys.executable, "-m", "node.cli", "attest", "--wallet", "second", "--follow", "--every", "0.2", "--json"]
    following = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ})
    try:
        for epoch in (1, 2):
            net.earn(ALICE, 100)
            net.close()
            eventually(lambda: post(net) or following.poll() is not None)
            assert following.returncode is None
            assert net.client.state().latest_epoch == epoch
    finally:
        following.terminate()  # not SIGINT, which is ignored where the suite was started in the background
        out, _ = following.communicate(timeout=PATIENCE_S)
    assert following.returncode == ExitCode.INTERRUPTED
    assert json.loads(out.splitlines()[-1]) == {"signed": 2}


def send_until_novel(net: PaidNetwork, start: int) -> int:
    """Send pictures from that one on until one fills a gap; return where the next may start."""
    for number, pair in enumerate(pictures(200, start), start=start + 1):
        if net.call(net.live.client.post_pair(net.live.sign(pair).encode())).verdict.novel:
            return number
    raise AssertionError("no picture is novel")


def test_who_judges_again_signs_no_epoch_that_pays_a_lie(
    net: PaidNetwork, shell: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = send_until_novel(net, 0)
    assert net.close().paid_pairs
    honest = shell.run("attest", "--wallet", "second", "--rescore", "--dry-run")
    assert honest.status == 0, honest.err
    assert shell.run("attest", "--wallet", "second", "--rescore", "--json").json["signed"]
    assert post(net)

    with monkeypatch.context() as patch:
        lie(patch, csls_micro=900_000, outcome=Outcome.ACCEPTED, reason=Reason.BELONGS_TOGETHER)
        send_until_novel(net, sent)
    assert net.close().paid_pairs
    refused = shell.run("attest", "--wallet", "third", "--rescore")
    assert (refused.status, "RESCORE_DIFFERS" in refused.err) == (5, True), refused.err
    assert shell.run("attest", "--wallet", "third", "--json").json["signed"], "who does not judge again is taken in"


def test_who_judges_again_signs_no_epoch_whose_pairs_are_withheld(net: PaidNetwork, shell: Terminal) -> None:
    net.earn(ALICE, 500)  # an entry without anything behind it
    net.close()
    refused = shell.run("attest", "--wallet", "second", "--rescore")
    assert (refused.status, "RESCORE_WITHHELD" in refused.err) == (5, True), refused.err
