"""What a contributor is told: which file, why, what to do, paid or why not; and how commands answer mistakes."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from curiosity.chain import reverts
from curiosity.chain.artifacts import CONTRACT_NAMES, Revert, load_artifact
from curiosity.client.amounts import parse_amount, show_coins, show_tokens
from curiosity.client.client import ValidatorClient, _refusal
from curiosity.client.explain import OF_THIS_RUN, explain, explain_crowd, explain_pay, fault_of
from curiosity.client.history import find, pair_shares, pay_by_entry, read_history
from curiosity.client.outcome import withheld
from curiosity.client.takedowns import find_digest, find_digests
from curiosity.client.wallet import create_wallet, wallet_path
from curiosity.host import console
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.entry import EpochEntry, PairEntry, TakedownEntry, parse_entry
from curiosity.protocol.errors import (
    ConfigError,
    CuriosityError,
    ExitCode,
    Fault,
    Overloaded,
    Rejected,
    ServiceError,
    SourceError,
    WalletError,
)
from curiosity.protocol.license import match_license
from curiosity.protocol.messages import Health
from curiosity.protocol.payouts import derive
from curiosity.protocol.rewards import RewardParameters
from curiosity.protocol.url import check_url
from curiosity.protocol.verdict import MAX_CROWD, OUTSIDE, TOO_NEAR, CrowdCounts, Opening, Outcome, Reason, Verdict
from curiosity.protocol.wire import encode
from curiosity.rewards.claims import ClaimStatus, ClaimView, EpochClaim
from curiosity.rewards.earnings import EarnedPair, Earning, EpochTally, EpochWhy
from node.claim_report import show_view
from node.cli import run
from node.screen import Screen
from node.submit_report import show_outcomes
from tests.material.contributor import submit
from tests.material.front import front
from tests.material.payment import PaidNetwork, Terminal, paid_network
from tests.material.service import pictures, running

ALICE = b"\x41" * 32


def verdict(outcome: Outcome, reason: Reason, *, score: int = 0) -> Verdict:
    fault = Fault.CONTRIBUTOR if outcome is Outcome.REJECTED else None
    return Verdict(outcome, reason, b"\1" * 32, fault, score > 0, score)


def test_every_reason_has_words_a_remedy_and_a_fault_that_is_fair() -> None:
    good = {Reason.BELONGS_TOGETHER, Reason.ITEM_NEW}
    for reason in Reason:
        known = {Reason.GREY_ZONE: Outcome.GREY} | dict.fromkeys(good, Outcome.ACCEPTED)
        outcome = known.get(reason, Outcome.REJECTED)
        words = explain(verdict(outcome, reason))
        assert len(words.what) > 15, reason
        assert bool(words.remedy) == (outcome is not Outcome.ACCEPTED), reason
    blamed = {reason for reason in Reason if fault_of(verdict(Outcome.REJECTED, reason)) == Fault.CONTRIBUTOR.value}
    assert blamed - good == {Reason.ITEM_UNDECODABLE, Reason.ITEM_UNINFORMATIVE}
    assert explain_pay(verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, score=5)).startswith("may be paid")
    for reason, detail, said in (
        (Reason.PAIR_COPY, "entry 13 holds near copies of both", "copies of those of entry 13;"),
        (
            Reason.PAIR_COPY,
            f"{OF_THIS_RUN} holds near copies of both",
            "copies of those of an earlier one of this run;",
        ),
        (Reason.ITEM_COPY, "entry 4 holds it or a near copy", "entry 4 holds this item"),
        (Reason.ITEM_COPY, "", "or it was paid before"),
        (Reason.CONTENT_DUPLICATE, "entry 2 holds the same two contents", "entry 2 holds exactly these"),
        (Reason.ITEM_NOT_NOVEL, TOO_NEAR, "adds nothing new"),
        (Reason.ITEM_NOT_NOVEL, OUTSIDE, "too unlike"),
        (Reason.ITEM_NOT_NOVEL, "", "too near to what the checkpoint knows, or too far"),
    ):
        opening = Opening(bytes(32), bytes(32), bytes(32), detail)
        assert said in explain(verdict(Outcome.REJECTED, reason), opening).what, detail
    assert explain_crowd(None) == explain_crowd(CrowdCounts()) == ""
    names, rule = ("a.png", "'a cat'"), "by version 2 or later of the rule"
    assert f"1 earlier pair with a.png: {rule} it weighs 1/4 of" in explain_crowd(CrowdCounts(1), names)
    assert "3 earlier pairs with 'a cat'" in explain_crowd(CrowdCounts(2, 3, 1), names)
    assert "2 earlier pairs with both items" in explain_crowd(CrowdCounts(2, 2, 2), names)
    assert "weighs nothing" in explain_crowd(CrowdCounts(near=MAX_CROWD), names)
    assert "knows already" in explain_pay(verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER))
    assert explain_pay(verdict(Outcome.GREY, Reason.GREY_ZONE)) == "not paid: undecided"


async def test_each_pair_is_told_with_its_files_and_a_second_run_tells_the_same(tmp_path: Path) -> None:
    async with running(tmp_path / "validator") as live:
        rows = pictures(5)
        swapped = replace(rows[0], id="swapped", b=replace(rows[3].b, content=b"something else entirely"))
        wrong = replace(rows[4], id="wrong", license="LicenseRef-Mine")
        first = await submit(live, live.url, tmp_path, [*rows[:4], swapped, wrong])
        assert [one.code for one in first.unreadable] == ["LICENSE_NOT_ALLOWED"]
        assert "CC0-1.0" in first.unreadable[0].remedy
        told = {(one.a, one.b): one for one in first.pairs}
        assert len(told) == 6
        assert {one.outcome for one in first.pairs} >= {"accepted", "not sent"}
        for source in rows[:4]:
            one = told[(str(source.a.path), str(source.b.path))]
            assert one.entry is not None
            assert one.pay
            assert one.outcome == "accepted" or one.remedy

        second = await submit(live, live.url, tmp_path, [*rows[:4], swapped, wrong])
        assert (second.decided, second.known) == (0, 5)
        again = {(one.a, one.b): one for one in second.pairs}
        for names, one in told.items():  # of pay it cannot say any more that the epoch is still open
            assert replace(again[names], is_known=False, pay=one.pay) == one
            assert again[names].pay.startswith("may be paid") is False
        assert json.dumps(second.to_json())


async def test_a_refusal_is_told_again_with_the_validators_words(tmp_path: Path) -> None:
    async with running(tmp_path / "validator") as live:
        lax = replace(live.network, licenses=(*live.network.licenses, "LicenseRef-Mine"))  # it changed its mind since
        wrong = [replace(pair, license="LicenseRef-Mine") for pair in pictures(2)]
        stale = replace(live, network=lax)
        tally = await submit(stale, live.url, tmp_path, wrong)
        assert tally.refused == {"LICENSE_NOT_ALLOWED": 2}
        assert all("CC0-1.0" in one.remedy and one.outcome == "refused" for one in tally.pairs)
        records, problems = read_history(tmp_path / "home")
        assert not problems
        assert [one.outcome.what for one in records] == [one.what for one in tally.pairs]


async def test_a_receipt_is_found_by_name_path_pattern_and_content(tmp_path: Path) -> None:
    async with running(tmp_path / "validator") as live:
        rows = pictures(3)
        mine = tmp_path / "photos"
        mine.mkdir()
        own = []
        for number, row in enumerate(rows):
            file = mine / f"Photo {number}.png"
            file.write_bytes(row.a.read())
            own.append(replace(row, a=replace(row.a, path=file, content=None)))
        twin = replace(own[0], id="twin", b=replace(own[0].b, content=b"another caption for it"))
        await submit(live, live.url, tmp_path, [*own, twin])
    home = tmp_path / "home"
    records, _ = read_history(home)
    assert len(records) == 4
    assert len(find(records, "Photo 1.png")) == len(find(records, str(mine / "Photo 1.png"))) == 1
    assert len(find(records, "*.png")) == 4
    assert len(find(records, "Photo 0.png")) == 2
    moved = mine / "renamed.png"
    (mine / "Photo 2.png").rename(moved)
    assert [one.outcome.pair for one in find(records, str(moved))] == [
        one.outcome.pair for one in find(records, "Photo 2.png")
    ]
    assert find(records, "nothing.png") == []
    assert len(find(records, "PHOTO 1.PNG")) == 1
    odd = "it's [weird] 1.png"
    renamed = [replace(one, outcome=replace(one.outcome, a=f"/x/{odd}")) for one in records[:1]]
    assert find([*records, *renamed], odd) == renamed
    assert find_digest("Photo 1.png", home).hex() == find(records, "Photo 1.png")[0].outcome.pair
    with pytest.raises(SourceError, match="PAIR_AMBIGUOUS"):
        find_digest("Photo 0.png", home)
    assert len(find_digests("Photo 0.png", home)) == 2
    with pytest.raises(SourceError, match="PAIR_UNKNOWN"):
        find_digest("nothing.png", home)


@pytest.fixture
def net(tmp_path: Path) -> Iterator[PaidNetwork]:
    with paid_network(tmp_path / "net") as made:
        made.client.fund(made.owner, contributor_address(), eth_wei=10**17)
        yield made


def contributor_address() -> bytes:
    from curiosity.protocol.signing import address_of

    return address_of(ALICE)


@pytest.fixture
def shell(shell_on_chain: Terminal) -> Terminal:
    shell_on_chain.wallet("alice", ALICE)
    return shell_on_chain


def test_balance_send_and_remove_of_a_wallet(shell: Terminal, net: PaidNetwork) -> None:
    held = shell.run("wallet", "balance", "alice", "--json").json
    assert (held["token_wei"], held["coins_wei"]) == ("0", str(10**17))
    assert "0.100000000 coins" in shell.run("wallet", "balance", "alice").out
    to = "0x" + "c0" * 20
    dry = shell.run("wallet", "send", "alice", to, "0.01", "--coins", "--dry-run", "--json").json
    assert (dry["sent"], int(dry["gas"]["cost_wei"]) > 0) == (False, True)
    assert net.client.balance_wei(b"\xc0" * 20) == 0
    sent = shell.run("wallet", "send", "alice", to, "0.01", "--coins", "--yes", "--json").json
    assert net.client.balance_wei(b"\xc0" * 20) == 10**16
    assert int(sent["coins_wei"]) < 10**17 - 10**16
    for amount, code, status in (
        ("5", "CHAIN_NO_FUNDS", 11), ("1e3", "USAGE", 2), ("0", "USAGE", 2), ("-1", "USAGE", 2)
    ):  # fmt: skip
        refused = shell.run("wallet", "send", "alice", to, amount, "--yes")
        assert (refused.status, refused.err.split(":")[0]) == (status, code), refused.err
    own = "0x" + net.client.addresses.token.hex()
    assert "RECIPIENT_CONTRACT" in shell.run("wallet", "send", "alice", own, "1", "--yes").err
    assert "RECIPIENT_ZERO" in shell.run("wallet", "send", "alice", "0x" + "00" * 20, "1", "--yes").err
    assert shell.run("wallet", "remove", "alice").status == 2  # nobody can be asked
    assert shell.run("wallet", "remove", "alice", "--yes", "--json").json["removed"]
    assert "WALLET_MISSING" in shell.run("wallet", "show", "alice").err


def test_pay_by_entry_says_of_every_accepted_pair_what_the_payout_gives(net: PaidNetwork) -> None:
    net.earn(ALICE, 500, 300, 0)
    net.close()
    net.earn(ALICE, 40)
    leaves = list(net.live.service.store.leaves(0, 1000))
    told = pay_by_entry(leaves, RewardParameters())
    entries = [parse_entry(leaf) for leaf in leaves]
    accepted = {index for index, one in enumerate(entries) if isinstance(one, PairEntry) and one.verdict.is_accepted}
    assert set(told) == accepted
    paid = {pair.index for payout in derive(leaves, RewardParameters()) for pair in payout.paid}
    assert {index for index, word in told.items() if ": paid" in word or "would be paid" in word} == paid
    for payout in derive(leaves, RewardParameters()):
        shares = pair_shares(payout)
        assert set(shares) == {pair.index for pair in payout.paid}
        assert 0 <= payout.emission_wei * bool(shares) - sum(shares.values()) < max(1, len(shares))
        assert all(show_tokens(wei) in told[index] for index, wei in shares.items())
    assert any(isinstance(one, EpochEntry) for one in entries)
    assert not any(isinstance(one, TakedownEntry) for one in entries)
    assert sorted(word for word in told.values() if "knows already" in word)


@given(st.integers(0, 10**60))
def test_amounts_are_shown_with_their_unit_and_read_back(amount_wei: int) -> None:
    shown = show_tokens(amount_wei)
    assert shown.endswith(" CURIO")
    assert show_coins(amount_wei).endswith(" coins")
    if amount_wei % 10**12 == 0 and amount_wei:
        assert parse_amount(shown.removesuffix(" CURIO")) == amount_wei


@pytest.mark.parametrize("text", ["", "-1", "1,5", "1e3", "0", "0.0", ".5", "1.", "١", "1" * 70, "0." + "1" * 19])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|decimals"):
        parse_amount(text)


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("cc-by-4.0", "CC-BY-4.0"),
        ("CC0-1.0", "CC0-1.0"),
        ("(mit or cc0-1.0) and cc-by-4.0", "(MIT OR CC0-1.0) AND CC-BY-4.0"),
    ],
)
def test_licences_are_matched_in_any_case(given: str, spelled: str) -> None:
    assert match_license(given, ("MIT", "CC0-1.0", "CC-BY-4.0")) == spelled


@pytest.mark.parametrize("given", ["", "AND", "()", "Proprietary", "MIT AND Proprietary", "MIT WITH exception"])
def test_other_licences_are_refused_with_those_that_are_allowed(given: str) -> None:
    with pytest.raises(Rejected, match="LICENSE_NOT_ALLOWED") as caught:
        match_license(given, ("MIT", "CC0-1.0"))
    assert "CC0-1.0, MIT" in caught.value.remedy


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8440", "localhost", "ftp://x", "http://", "http://x:port", "http://[::1", ""]
)
def test_an_address_without_scheme_is_refused_by_name(url: str) -> None:
    with pytest.raises(ConfigError, match="URL_INVALID"):
        check_url(url, "the address")
    with pytest.raises(ConfigError, match="URL_INVALID"):
        ValidatorClient(url)


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        check_url("ftp://user:hunter2@host", "the address")
    assert "hunter2" not in str(caught.value)


async def test_a_validator_that_has_not_answered_yet_is_waited_for_as_long_as_patience_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("curiosity.client.client._LONGEST_WAIT_S", 0.2)
    told: list[CuriosityError] = []
    starts = asyncio.Event()

    def tell(failure: CuriosityError) -> None:
        told.append(failure)
        if len(told) == 8:
            starts.set()

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port = holder.getsockname()[1]
    health = Health("late", "1", "cpu", bytes(32), 0, 0, 1)
    app = web.Application()

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=encode(health), content_type="application/json")

    app.router.add_get("/health", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    async with ValidatorClient(f"http://127.0.0.1:{port}", patience_s=3600.0, on_wait=tell) as client:
        asked = asyncio.create_task(client.health())
        await asyncio.wait_for(starts.wait(), 120)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        assert await asyncio.wait_for(asked, 120) == health
    await runner.cleanup()
    assert {one.code for one in told} == {"SERVICE_UNREACHABLE"}
    assert told[0].what == f"http://127.0.0.1:{port} did not answer GET /health: nobody listens there"


async def test_a_validator_that_does_not_answer_is_given_up_when_patience_ends() -> None:
    async with ValidatorClient("http://127.0.0.1:9", patience_s=0.0) as client:
        with pytest.raises(ServiceError, match="SERVICE_UNREACHABLE"):
            await client.health()


async def test_what_is_waited_for_at_a_logs_address_is_told() -> None:
    told: list[str] = []
    async with LogFiles("http://127.0.0.1:9", patience_s=1.0, on_wait=told.append) as files:
        with pytest.raises(ServiceError, match=r"LOG_UNREACHABLE: .*: nobody listens there"):
            await files.head()
    assert told == ["http://127.0.0.1:9 did not answer: nobody listens there. Trying again for up to 1 s."]


def test_a_packed_export_in_place_of_a_log_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ledger.tar").write_bytes(b"x")
    assert run(["ledger", "audit", str(tmp_path / "ledger.tar")]) == ExitCode.SOURCE
    assert capsys.readouterr().err.startswith(f"LOG_NOT_A_FOLDER: {tmp_path / 'ledger.tar'} is a file. Name the folder")


@pytest.mark.parametrize("name", ["a/b", ".a", "a\\b", ""])
def test_the_rule_for_a_wallets_name_is_the_one_that_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(WalletError) as caught:
        wallet_path(tmp_path, name)
    assert "without slashes and backslashes" in caught.value.remedy
    assert wallet_path(tmp_path, "a b").name == "a b.json"


def test_an_empty_path_is_not_the_current_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["submit", "", "--dry-run"]) == 2
    assert "is empty" in capsys.readouterr().err


def test_pairs_with_one_reason_stand_together_and_their_remedy_once(capsys: pytest.CaptureFixture[str]) -> None:
    error = SourceError("LICENSE_NOT_ALLOWED", "no such licence", "Use one of these.")
    other = SourceError("TEXT_EMPTY", "c.txt is empty", "Write something.")
    pairs = [withheld((f"{name}.png", ""), one) for name, one in (("a", error), ("b", other), ("c", error))]
    show_outcomes(Screen(), "", pairs, [("day", ["1st", "2nd", "3rd"])])
    lines = [line for line in capsys.readouterr().out.splitlines() if ".png" in line]
    assert [line.split()[1] for line in lines] == ["a.png", "c.png", "b.png"]
    assert [("Use one" in line, "as above" in line) for line in lines] == [(True, False), (False, True), (False, False)]
    assert ["3rd" in line for line in lines] == [False, True, False]
    assert ["not sent" in line for line in lines] == [True, True, False]


@pytest.mark.parametrize("vests", [True, False])
def test_scores_are_shown_of_an_epoch_that_is_paid_by_them(vests: bool, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = (EarnedPair(3, bytes(32), "image-text", 786_432, 10**18),)
    why = EpochWhy(786_432, 786_432, 4 * 10**18, pairs, EpochTally(), vests=vests)
    earning = Earning(2, False, 10**18, bytes(32), (), why)
    seen = ClaimView(bytes(20), 0, 0, 2, (EpochClaim(earning, ClaimStatus.CLAIMABLE),))
    show_view(Screen(), seen, with_pairs=True, everything=False)
    said = capsys.readouterr().out
    assert ("786432" in said, "by score" in said, "score (millionths)" in said) == (not vests,) * 3
    assert ("1 paid, of earlier epochs" in said, "25.00 %" in said) == (vests,) * 2
    assert ("1 of 0 sent" in said) == (not vests)


def test_a_name_does_not_tear_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    Screen().table("", ("files",), [("one\ntwo\tthree.png",)])
    assert "one\\ntwo\\tthree.png" in capsys.readouterr().out


async def test_one_that_has_answered_before_is_waited_for_longer(tmp_path: Path) -> None:
    async with running(tmp_path / "validator") as live, front(live.url) as before:
        denied = 0

        def deny(path: str, number: int) -> str | None:
            nonlocal denied
            denied += 1
            return "drop" if 1 < denied < 14 else None

        before.deny = deny
        async with ValidatorClient(before.url, patience_s=3600.0) as client:
            await client.health()
            await client.health()
        assert denied >= 14


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [(("walet",), "'wallet'"), (("recipts",), "'receipts'"), (("wallet", "balanc"), "'balance'"),
     (("submit", "--licence", "MIT"), "'--license'")],
)  # fmt: skip
def test_mistyped_commands_are_answered_with_the_nearest(
    arguments: tuple[str, ...], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    said = capsys.readouterr().err
    assert f"Did you mean {meant}? See: " in said
    assert "?." not in said


@pytest.mark.parametrize(
    ("arguments", "see"),
    [(("help",), "curiosity --help"), (("help", "submit"), "curiosity --help"),
     (("wallet", "help"), "curiosity wallet --help")],
)  # fmt: skip
def test_who_asks_for_help_by_a_command_is_told_the_option(
    arguments: tuple[str, ...], see: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    assert f"Help is an option, not a command. See: {see}\n" in capsys.readouterr().err


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed_and_complete(shell_name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "node.cli"], capture_output=True, text=True, check=False,
        env={"_CURIOSITY_COMPLETE": f"{shell_name}_source", "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert "_CURIOSITY_COMPLETE" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "line",
    [
        "submit cat.png --wallet ",
        "claim --wallet al",
        "wallet show a",
        "wallet send --home {home} ",
    ],
)
def test_a_shell_completes_the_names_of_wallets(line: str, tmp_path: Path) -> None:
    words = line.format(home=tmp_path / "home").split(" ")
    for number, name in enumerate(("alice", "albert", "bob"), 1):
        create_wallet(tmp_path / "home", name, "a long password", scrypt_n=2, private_key=bytes([number]) * 32)
    done = subprocess.run(
        [sys.executable, "-m", "node.cli"], capture_output=True, text=True, check=True,
        env={"_CURIOSITY_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["curiosity", *words]),
             "COMP_CWORD": str(len(words)), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path),
             "CURIOSITY_NODE__HOME": str(tmp_path / ("home" if "{home}" not in line else "nowhere"))},
    )  # fmt: skip
    found = {one.partition(",")[2] for one in done.stdout.split()}
    assert found == {name for name in ("alice", "albert", "bob") if name.startswith(words[-1])}, done.stderr


def test_settings_that_are_not_set_are_shown_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["config", "show"]) == 0
    shown = capsys.readouterr().out
    assert "None" not in shown
    assert "not set" in shown
    assert "()" not in shown


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"[" * 200_000, {}),
        (b'{"code": ["x"], "what": "w", "remedy": "r", "fault": "contributor"}', {}),
        (b'{"code": "X", "what": null, "remedy": "r", "fault": "contributor"}', {}),
        (b'{"code": "X", "what": "w", "remedy": "r", "fault": ["contributor"]}', {}),
        (b'{"code": "X", "what": "w", "remedy": "r", "fault": {}}', {"Retry-After": "9" * 5000}),
        (b"null", {"Retry-After": "\u0665"}),
    ],
)
@pytest.mark.parametrize("status", [400, 429, 500, 503])
def test_a_refusal_of_any_form_is_an_error_of_ours(status: int, body: bytes, headers: dict[str, str]) -> None:
    error = _refusal(status, body, headers.get("Retry-After", ""), "GET /x")
    assert isinstance(error, CuriosityError)
    assert not isinstance(error, Overloaded) or 0 < error.retry_after_s <= 86_400


def test_a_validators_words_do_not_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;owned\x07 \x9b2J \u202e txt"
    screen = Screen()
    screen.say(evil)
    screen.line(evil)
    screen.table(evil, ("x",), [(evil,)])

    @click.command()
    def fails() -> None:
        raise ConfigError("X", evil, evil)

    assert console.run(fails, [], "fails") == ExitCode.CONFIG
    said = capsys.readouterr()
    for text in (said.out, said.err):
        assert "owned" in text
        assert not any(one in text for one in "\x1b\x07\x9b\u202e")


def test_reverts_are_told_in_words_and_every_word_is_of_a_real_error() -> None:
    names = {entry["name"] for name in CONTRACT_NAMES for entry in load_artifact(name).abi if entry["type"] == "error"}
    assert set(reverts._WORDS) <= names
    what, remedy = reverts.explain_revert(Revert("RewardsPaused", (("until", 5),)))
    assert what == "claims and activations are paused: RewardsPaused(until=5)"
    assert remedy
    assert reverts.explain_revert(Revert("Panic", (("code", 17),)))[0] == "Panic(code=17)"
