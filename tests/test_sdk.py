"""`import curiosity` against a real validator and a real chain: what programs submit, search, claim and follow."""

import asyncio
import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

import curiosity
from curiosity.client.receipts import read_saved
from curiosity.client.takedowns import ask
from curiosity.client.wallet import create_wallet
from curiosity.errors import ConfigError, NotYet, ProofError, Rejected, ServiceError, SourceError, WalletError
from curiosity.protocol.entry import PairEntry
from curiosity.protocol.signing import address_of
from curiosity.protocol.takedown import TakedownReason
from curiosity.protocol.wire import encode
from tests.material.front import front
from tests.material.payment import PASSWORD, PaidNetwork, lying, paid_network, terminal
from tests.material.service import ALICE, pictures

ROOT = Path(__file__).parent.parent
CAROL = b"\x0c" * 32


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PaidNetwork]:
    with paid_network(tmp_path_factory.mktemp("sdk")) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path) -> Path:
    create_wallet(tmp_path / "home", "alice", PASSWORD, scrypt_n=2, private_key=ALICE)
    return tmp_path / "home"


@pytest.fixture
def account(home: Path) -> curiosity.Contributor:
    return curiosity.open_wallet("alice", PASSWORD, home=home)


@pytest.fixture
def client(net: PaidNetwork, account: curiosity.Contributor) -> Iterator[curiosity.Client]:
    chain = curiosity.ChainSettings(rpc_url=net.dev.rpc_url)
    with curiosity.Client(net.live.url, account=account, chain=chain) as made:
        yield made


def picture(number: int) -> tuple[bytes, str]:
    """A picture of a digit, a PNG, and its name."""
    pair = pictures(1, number)[0]
    image, text = (pair.a, pair.b) if pair.a.modality == "image" else (pair.b, pair.a)
    return image.read(), text.read().decode()


def with_note(png: bytes) -> bytes:
    """The same picture, saved by a program that leaves a note in it."""
    note = PngImagePlugin.PngInfo()
    note.add_text("Author", "a secret name")
    with Image.open(io.BytesIO(png)) as opened:
        out = io.BytesIO()
        opened.save(out, "PNG", pnginfo=note)
    return out.getvalue()


# -- pairs


def test_a_pair_is_decided_and_its_receipt_holds(client: curiosity.Client, net: PaidNetwork) -> None:
    png, text = picture(0)
    done = client.submit(png, text, license="CC0-1.0")
    assert (done.outcome, done.code, done.is_known) == ("accepted", "BELONGS_TOGETHER", False)
    proved = client.verify(done)
    assert (proved.index, proved.contributor, proved.outcome) == (done.entry, address_of(ALICE), "accepted")
    assert curiosity.verify_receipt(client.receipt_file(done)) == proved
    assert proved.tree_size is None
    assert (client.prove(done).tree_size or 0) > proved.index
    assert client.decision(done.pair).receipt.index == done.entry
    again = client.submit(png, text, license="CC0-1.0")
    assert (again.is_known, again.entry, again.pair) == (True, done.entry, done.pair)


def test_what_the_command_does_to_files_is_done_to_bytes(
    client: curiosity.Client, net: PaidNetwork, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Metadata is removed, formats are converted, licences spelled: the command finds its own rows decided."""
    png, text = picture(1)
    noted = with_note(png)
    bitmap = io.BytesIO()
    with Image.open(io.BytesIO(picture(2)[0])) as opened:
        opened.convert("RGB").save(bitmap, "BMP")
    (tmp_path / "1.png").write_bytes(noted)
    (tmp_path / "1.txt").write_text(text)
    (tmp_path / "2.bmp").write_bytes(bitmap.getvalue())
    (tmp_path / "2.txt").write_text(picture(2)[1] + "\n")
    first = client.submit(noted, text, license="cc0-1.0")
    second = client.submit(tmp_path / "2.bmp", tmp_path / "2.txt", license="CC0-1.0")
    assert b"a secret name" in noted
    opening = read_saved(client.receipt_file(first)).decision.opening
    assert sha256(noted).digest() not in (opening.a, opening.b)
    assert b"a secret name" not in client.content(opening.a)
    assert Path(second.a).name == "2.bmp"
    assert client.content(read_saved(client.receipt_file(second)).decision.opening.a)[:4] == b"\x89PNG"
    with terminal(home, capsys, net) as shell:
        said = shell.run("submit", tmp_path, "--wallet", "alice", "--license", "CC0-1.0", "--json").json
    assert (said["known"], said["receipts_verified"]) == (2, 0)


def test_what_cannot_be_a_pair_is_refused_before_anything_is_signed(
    client: curiosity.Client, net: PaidNetwork, tmp_path: Path
) -> None:
    png, text = picture(3)
    (tmp_path / "cat.png").write_bytes(png)
    size = net.live.service.ledger.size
    for a, b, license, code in (
        (png, text, "All-Rights-Reserved", "LICENSE_NOT_ALLOWED"),
        (png, text, "", "LICENSE_MISSING"),
        (png, png, "CC0-1.0", "SAME_MODALITY"),
        (png[:60], text, "CC0-1.0", "BROKEN_FILE"),
        (b"no picture", text, "CC0-1.0", "NOT_ACCEPTED"),
        (png, " ", "CC0-1.0", "TEXT_EMPTY"),
        (png, str(tmp_path / "cat.png"), "CC0-1.0", "TEXT_IS_FILE"),
        (tmp_path / "dog.png", text, "CC0-1.0", "FILE_MISSING"),
    ):
        with pytest.raises(SourceError) as refused:
            client.submit(a, b, license=license)
        assert refused.value.code == code, (refused.value, code)
    assert net.live.service.ledger.size == size


def test_a_pair_that_the_network_does_not_judge_is_refused(client: curiosity.Client) -> None:
    import numpy as np

    out = io.BytesIO()
    np.save(out, np.zeros((64,), np.float32))
    with pytest.raises(SourceError) as refused:
        client.submit(curiosity.item(out.getvalue(), modality="pressure"), "a step", license="CC0-1.0")
    assert refused.value.code == "PAIR_NOT_TAKEN", refused.value


def test_a_refusal_of_the_validator_is_raised(client: curiosity.Client, net: PaidNetwork) -> None:
    png, text = picture(4)
    done = client.submit(png, text, license="CC0-1.0")
    forget = ask(net.live.network, bytes.fromhex(done.pair), TakedownReason.RIGHTS, "", private_key=None)
    net.call(net.live.client.takedown(forget, net.live.service.keys.admin_token))
    with pytest.raises(Rejected) as refused:
        client.submit(png, text, license="CC0-1.0", again=True)
    assert refused.value.code == "CONTENT_TAKEN_DOWN"


def test_many_callers_are_served_at_once_and_equal_pairs_are_one(
    net: PaidNetwork, account: curiosity.Contributor
) -> None:
    async def work() -> list[curiosity.PairOutcome]:
        async with curiosity.AsyncClient(net.live.url, account=account) as client:
            wanted = [picture(5 + number % 4) for number in range(12)]
            licenses = ("CC0-1.0", "cc0-1.0", "CC0-1.0")
            return await asyncio.gather(
                *(client.submit(*one, license=licenses[place // 4]) for place, one in enumerate(wanted))
            )

    done = asyncio.run(work())
    entries = [one.entry for one in done]
    assert entries == entries[:4] * 3
    assert len({*entries}) == 4


def test_a_folder_is_submitted_as_the_command_reads_it(client: curiosity.Client, tmp_path: Path) -> None:
    """One bad file does not stop the others, and a second run finds what the first one decided."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in (16, 17):
        png, text = picture(number)
        (folder / f"{number}.png").write_bytes(png)
        (folder / f"{number}.txt").write_text(text)
    (folder / "alone.png").write_bytes(picture(18)[0])
    with ThreadPoolExecutor(1) as pool:
        beside = pool.submit(client.submit, *picture(19), license="CC0-1.0")
        done = client.submit_files(folder, license="cc0-1.0")
        assert beside.result(600.0).entry is not None
    assert sorted(Path(one.a).name for one in done.pairs) == ["16.png", "17.png"]
    assert [error.code for error in done.unreadable] == ["CAPTION_MISSING"]
    again = client.submit_files(folder, license="CC0-1.0")
    assert {(one.entry, one.is_known) for one in again.pairs} == {(one.entry, True) for one in done.pairs}
    with pytest.raises(SourceError, match="SOURCE_MISSING"):
        client.submit_files(tmp_path / "nowhere", license="CC0-1.0")
    assert client.submit_files(str(folder), license="CC0-1.0").pairs == again.pairs
    with pytest.raises(SourceError, match="SOURCE_EMPTY"):
        client.submit_files(license="CC0-1.0")


def test_threads_share_a_client(client: curiosity.Client) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda number: client.submit(*picture(number), license="CC0-1.0"), range(9, 13)))
    assert len({one.entry for one in done}) == 4


def test_a_decision_is_waited_for(client: curiosity.Client, net: PaidNetwork) -> None:
    signed = net.live.sign(pictures(1, 13)[0], CAROL)
    digest = signed.envelope.submission.digest(net.live.network.domain)
    with pytest.raises(Rejected) as refused:
        client.decision(digest)
    assert refused.value.code == "NOT_FOUND"
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.decision, "0x" + digest.hex(), wait_s=600.0)
        net.call(net.live.client.post_pair(signed.encode()))
        assert waiting.result(600.0).verdict.is_accepted
    with pytest.raises(ConfigError, match="PAIR_DIGEST"):
        client.decision("0x12")


async def test_what_is_lost_on_the_way_is_sent_again_and_what_is_changed_is_refused(
    net: PaidNetwork, account: curiosity.Contributor
) -> None:
    """The same bytes, until an answer comes."""
    async with front(net.live.url) as before, curiosity.AsyncClient(before.url, account=account) as client:
        before.deny = lambda path, number: "drop" if path == "/v1/pairs" and number < 3 else None
        before.drop_answer = lambda number: number == 3
        done = await client.submit(*picture(20), license="CC0-1.0")
        assert (len(before.bodies), len({*before.bodies})) == (4, 1)
        assert (await client.decision(done.pair)).receipt.index == done.entry
        other = await client.submit(*picture(21), license="CC0-1.0")
        theirs = json.loads(encode(await client.decision(other.pair)))
        for changes, code in (
            ({"verdict": theirs["verdict"] | {"curiosity_micro": 77}}, "VERDICT_DIFFERS"),
            ({"opening": theirs["opening"]}, "OPENING_DIFFERS"),
            (theirs, "RECEIPT_OF_ANOTHER"),
        ):
            before.change = partial(_change_receipt, changes)
            with pytest.raises(ProofError) as refused:
                await client.decision(done.pair)
            assert refused.value.code == code


def _change_receipt(changes: dict[str, Any], path: str, answer: Any) -> Any:
    return answer | changes if path.startswith("/v1/receipts/") else answer


def test_a_changed_receipt_does_not_hold(client: curiosity.Client) -> None:
    done = client.submit(*picture(0), license="CC0-1.0")
    file = client.receipt_file(done)
    assert client.verify(done).reason == client.verify(str(file)).reason == done.code
    file.write_bytes(file.read_bytes().replace(done.code.encode(), b"PAIR_TOO_FAR"))
    with pytest.raises(ProofError):
        client.verify(done)


# -- searching


def test_any_modality_searches_any_other(client: curiosity.Client, tmp_path: Path) -> None:
    png, text = picture(14)
    client.submit(png, text, license="CC0-1.0")
    (tmp_path / "seen.png").write_bytes(png)
    by_text = client.search(text, to="image", k=5)
    assert (by_text.modality, by_text.to, len(by_text.found)) == ("text", "image", 5)
    by_picture = client.search(tmp_path / "seen.png", to="text", k=3)
    assert text in {one.text for one in by_picture.found}
    by_bytes = client.search(png, to="image", k=5).found
    assert by_bytes == client.search(curiosity.item(tmp_path / "seen.png"), to="image", k=5).found
    assert sha256(client.content(by_bytes[0])).digest() == by_bytes[0].sha256
    with pytest.raises(Rejected):
        client.search(text, to="smell")
    with pytest.raises(SourceError, match="THING_UNKNOWN"):
        client.search(5)  # type: ignore[arg-type]


# -- rewards


def test_what_is_earned_is_seen_and_claimed(client: curiosity.Client, net: PaidNetwork) -> None:
    net.earn(ALICE, 5, 9)
    earned = client.earnings()
    assert earned.epochs[-1].is_open
    assert earned.epochs[-1].amount_wei > 0
    net.close()
    seen = client.claims()
    assert seen.epochs[-1].status is curiosity.ClaimStatus.PENDING
    with pytest.raises(NotYet) as waits:
        client.claim()
    assert waits.value.code == "CLAIM_NOT_ACTIVE"
    assert waits.value.seconds is not None
    net.activate()
    net.client.fund(net.owner, address_of(ALICE), eth_wei=10**18)
    due_wei = client.claims().sum_wei(curiosity.ClaimStatus.CLAIMABLE)
    paid = client.claim().done
    assert paid.paid_wei == due_wei == paid.balance_after_wei - paid.balance_before_wei > 0
    assert (client.claim().state, client.claim().done.paid_wei) == ("nothing due", 0)
    assert net.client.balances(address_of(ALICE)).token_wei == paid.balance_after_wei
    net.earn(ALICE, 3)
    net.close()
    net.activate()
    cold = address_of(CAROL)
    elsewhere = client.claim(to=cold)
    assert net.client.balances(cold).token_wei == elsewhere.done.paid_wei > 0


def test_what_a_lying_validator_closed_is_not_claimed(client: curiosity.Client, net: PaidNetwork) -> None:
    """The chain holds what the lie gives: nothing is sent, and the error says whose word differs."""
    net.earn(ALICE, 4)
    with lying(lambda amounts: {account: wei // 2 for account, wei in amounts.items()}):
        net.close()
    net.activate()
    with pytest.raises(ProofError):
        client.earnings()
    with pytest.raises(ProofError):
        client.claim()


# -- the ledger


def test_a_ledger_is_followed_and_gone_on_with(client: curiosity.Client, net: PaidNetwork) -> None:
    client.submit(*picture(0), license="CC0-1.0")
    seen = list(client.follow())
    assert [one.index for one in seen] == list(range(net.live.service.ledger.size))
    assert [one.leaf for one in seen] == net.live.service.store.leaves(0, len(seen))
    stored = seen[-1].position.encode()
    waiting = client.follow(curiosity.Position.parse(stored), wait=True, poll_s=0.05)
    net.earn(CAROL, 1)
    one = next(waiting)
    assert (one.index, isinstance(one.entry, PairEntry)) == (len(seen), True)
    waiting.close()  # type: ignore[attr-defined]
    assert list(client.follow(one.position)) == list(client.follow(one.position.encode())) == []
    with pytest.raises(SourceError, match="FOLLOW_POSITION"):
        next(client.follow("entry 3"))


# -- clients


async def test_the_waiting_client_works_within_a_running_loop(net: PaidNetwork, account: curiosity.Contributor) -> None:
    """As in a notebook."""
    client = curiosity.Client(net.live.url, account=account)
    assert client.network().name == net.live.network.name
    assert client.submit(*picture(15), license="CC0-1.0").entry is not None
    client.close()
    client.close()
    with pytest.raises(ConfigError, match="CLIENT_CLOSED"):
        client.network()
    assert not [one for one in threading.enumerate() if one.name == "curiosity-client"]


def test_who_waits_for_entries_is_told_that_the_client_was_closed(net: PaidNetwork) -> None:
    client = curiosity.Client(net.live.url)
    waiting = client.follow(wait=True, poll_s=600.0)
    for _ in range(net.live.service.ledger.size):
        next(waiting)
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, waiting)
        client.close()
        with pytest.raises(ConfigError, match="CLIENT_CLOSED"):
            coming.result(600.0)


def test_errors_say_what_is_wrong_with_a_client(net: PaidNetwork, home: Path, account: curiosity.Contributor) -> None:
    with pytest.raises(ConfigError, match="URL_INVALID"):
        curiosity.Client("not an address")
    with pytest.raises(ConfigError, match="VKEY_UNUSABLE"):
        curiosity.Client(net.live.url, trust=curiosity.Trust(log_vkey="x"))
    with pytest.raises(WalletError, match="WALLET_PASSWORD_WRONG"):
        curiosity.open_wallet("alice", "another password", home=home)
    with pytest.raises(WalletError, match="WALLET_MISSING"):
        curiosity.open_wallet("bob", PASSWORD, home=home)
    with curiosity.Client(net.live.url) as nobody:
        with pytest.raises(ConfigError, match="ACCOUNT_NEEDED"):
            nobody.submit(*picture(0), license="CC0-1.0")
        with pytest.raises(ConfigError, match="ACCOUNT_NEEDED"):
            nobody.claim()
    pinned = curiosity.Trust(receipt_vkey=net.live.network.log_vkey)
    with curiosity.Client(net.live.url, account=account, trust=pinned) as wrong:
        with pytest.raises(ProofError, match="KEY_NOT_PINNED"):
            wrong.submit(*picture(0), license="CC0-1.0")
        with pytest.raises(ProofError, match="KEY_NOT_PINNED"):
            next(wrong.follow())
    with (
        curiosity.Client("http://127.0.0.1:9", account=account, patience_s=0.0) as alone,
        pytest.raises(ServiceError, match="SERVICE_UNREACHABLE"),
    ):
        alone.submit(*picture(0), license="CC0-1.0")


def test_a_new_wallet_is_one_of_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = curiosity.new_wallet("bob", PASSWORD, home=tmp_path)
    with terminal(tmp_path, capsys) as shell:
        assert made.address.hex() in shell.run("wallet", "show", "bob", "--json").out.lower()
    assert made.private_key.hex() not in repr(made)


# -- what an import costs


def modules_after(program: str) -> set[str]:
    program += "\nimport sys; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


def test_importing_loads_nothing_and_the_names_nothing_heavy() -> None:
    assert not {"pydantic", "aiohttp", "numpy"} & modules_after("import curiosity")
    names = "import curiosity\nfor name in curiosity.__all__: getattr(curiosity, name)"
    heavy = {"torch", "web3", "click", "sqlalchemy", "transformers", "pyarrow", "av", "node", "rich"}
    assert not heavy & modules_after(names)


def test_every_name_is_listed_once_and_others_are_refused() -> None:
    assert sorted(curiosity.__all__) == sorted(set(curiosity.__all__))
    assert set(curiosity.__all__) == {*curiosity._HOME_OF, "errors"}
    assert set(curiosity.__all__) <= set(dir(curiosity))
    with pytest.raises(AttributeError):
        _ = curiosity.nothing  # type: ignore[attr-defined]
