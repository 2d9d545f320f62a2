"""A ledger exported and imported: the same root, proofs, answers and refusals; what is torn is refused."""

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from curiosity.client.client import ValidatorClient
from curiosity.ledger.copy import copy_ledger
from curiosity.ledger.packing import pack
from curiosity.ledger.reader import LedgerCopy, opened_copy
from curiosity.protocol.decision import ExportedPair
from curiosity.protocol.errors import ConfigError, ProofError, Rejected, ServiceError, StoreError
from curiosity.protocol.tlog import Signer, verify_proof
from curiosity.protocol.wire import encode, parse
from tests.material.export import bring
from tests.material.front import front
from tests.material.log import ORIGIN
from tests.material.service import Running, pictures, running
from tests.material.takedown import forget
from validator.importer import check_checkpoint, read_mark
from validator.store import Store

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ledger(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Running, Path]]:
    """A validator with accepted, rejected and forgotten pairs and a closed epoch, and an export of its ledger."""
    folder = tmp_path_factory.mktemp("owner")
    async with running(folder / "validator", decode_workers=2) as live:
        signed = [live.sign(pair) for pair in pictures(7)]
        for one in signed:
            await live.client.post_pair(one.encode())
        await forget(live, signed[2])
        await live.client.close_epoch(live.service.keys.admin_token)
        await live.client.post_pair(live.sign(pictures(1, 7)[0]).encode())
        await copy_ledger(live.client, folder / "export")
        yield live, folder / "export"


async def test_a_copy_serves_the_same_and_takes_nothing_in(ledger: tuple[Running, Path], tmp_path: Path) -> None:
    owner, exported = ledger
    done = bring(exported, tmp_path)
    assert (done.size, done.root, done.read_only) == (owner.service.ledger.size, owner.service.ledger.root(), True)
    async with running(tmp_path) as mirror:
        assert mirror.network == await owner.client.network()
        proofs = [f"/v1/proof/tlog?index={n}" for n in range(done.size)]
        pages = ["/checkpoint", "/v1/entries?count=50", "/v1/submissions?count=50", "/tile/entries/000.p/11"]
        for path in [*pages, *proofs, "/v1/proof/consistency?first=4"]:
            async with aiohttp.ClientSession() as session:
                answers = []
                for one in (owner, mirror):
                    async with session.get(one.url + path) as answer:
                        answers.append((answer.status, await answer.read()))
            assert answers[0] == answers[1], path
        for words in ("three", "seven"):
            questions = [one.client.query("text", "text/plain", words.encode(), "image", 5) for one in (owner, mirror)]
            theirs, ours = await asyncio.gather(*questions)
            assert theirs == ours
            assert len(theirs.found) > 0
        text = await mirror.client.tlog_proof(3)
        leaf = mirror.service.store.leaves(3, 1)[0]
        assert verify_proof(text, leaf, owner.network.origin, [owner.network.log_vkey]).index == 3
        new = mirror.sign(pictures(1, 8)[0])
        with pytest.raises(Rejected, match="READ_ONLY"):
            await mirror.client.post_pair(new.encode())
        with pytest.raises(Rejected, match="READ_ONLY"):
            await mirror.client.close_epoch(mirror.service.keys.admin_token)
        assert mirror.service.ledger.size == done.size
        assert (await mirror.client.inclusion(2, 5)).tree_head is None  # not ours to sign


async def test_a_copy_shows_its_owners_receipt_key_when_it_starts(ledger: tuple[Running, Path], tmp_path: Path) -> None:
    owner, exported = ledger
    bring(exported, tmp_path / "v")
    config = tmp_path / "curiosity.toml"
    config.write_text(
        f'[validator]\nport = 0\nname = "mine.example"\ndata_dir = "{tmp_path / "v"}"\ngenesis = "tiny"\n'
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "validator", "run", "--config", str(config), "--json", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    facts = json.loads(await process.stdout.readline())
    process.terminate()
    await process.wait()
    network = await owner.client.network()
    assert (facts["receipt_vkey"], facts["origin"]) == (network.receipt_vkey, network.origin)


async def test_a_copy_is_brought_up_to_date_and_forgets_what_was_taken_down(
    ledger: tuple[Running, Path], tmp_path: Path
) -> None:
    """The copy was made before the takedown: the next import erases what the first one brought."""
    owner, exported = ledger
    async with running(tmp_path / "other") as live:
        signed = [live.sign(pair) for pair in pictures(3)]
        for one in signed:
            await live.client.post_pair(one.encode())
        await copy_ledger(live.client, tmp_path / "export")
        first = bring(tmp_path / "export", tmp_path / "copy")
        item = signed[1].envelope.submission.a.sha256
        await forget(live, signed[1])
        assert (tmp_path / "export" / "blobs" / item.hex()).exists()
        done = await copy_ledger(live.client, tmp_path / "export")
        assert done.taken_down == 1
        assert not (tmp_path / "export" / "blobs" / item.hex()).exists()
        second = bring(tmp_path / "export", tmp_path / "copy")
        assert (second.size, second.root) == (first.size + 1, live.service.ledger.root())
        with Store.open(f"sqlite:///{tmp_path / 'copy' / 'ledger.sqlite'}") as store:
            assert store.item(item) is None
    async with front(owner.url) as other:
        other.change = lambda path, answer: (
            answer | {"network_id": "0x" + "99" * 32} if path == "/v1/network" else answer
        )
        async with ValidatorClient(other.url) as client:
            with pytest.raises(ProofError, match="SYNC_OF_ANOTHER"):
                await copy_ledger(client, exported)


async def test_the_owner_goes_on_with_the_log_and_replays_its_receipts(
    ledger: tuple[Running, Path], tmp_path: Path
) -> None:
    owner, exported = ledger
    shutil.copytree(owner.service.settings.validator.data_dir / "keys", tmp_path / "keys")
    done = bring(exported, tmp_path, without_blocked=True)
    assert not done.read_only
    assert read_mark(tmp_path) is None
    async with running(tmp_path) as again:
        assert again.network == await owner.client.network()
        for row in owner.service.store.submissions(0, 50):
            theirs, ours = await asyncio.gather(owner.client.receipt(row.pair), again.client.receipt(row.pair))
            assert ours == theirs  # the identical receipt, with opening and embeddings
        assert await again.client.tree_head() == await owner.client.tree_head()
        decided = await again.client.post_pair(again.sign(pictures(1, 9)[0]).encode())
        assert decided.receipt.index == done.size
    # The ledger has signed more than the export holds now: going back would fork it.
    with pytest.raises(StoreError, match="IMPORT_OLDER"):
        bring(exported, tmp_path)


async def test_postgresql_takes_an_import_and_goes_on_from_it(
    ledger: tuple[Running, Path], tmp_path: Path, postgres_url: str
) -> None:
    owner, exported = ledger
    first = bring(exported, tmp_path, postgres_url)
    assert (first.root, first.entries) == (owner.service.ledger.root(), first.size)
    assert bring(exported, tmp_path, postgres_url).entries == 0
    with Store.open(postgres_url) as store:
        theirs = owner.service.store.submissions(0, 50)
        assert [row.pair for row in store.submissions(0, 50)] == [row.pair for row in theirs]
        assert [row.embeddings for row in store.submissions(0, 50)] == [row.embeddings for row in theirs]


# -- what is torn, tampered with, interrupted


def _rows(exported: Path) -> tuple[Path, list[ExportedPair]]:
    (path,) = (exported / "pairs").rglob("*.jsonl")
    return path, [parse(ExportedPair, line) for line in path.read_bytes().splitlines()]


def _write_rows(path: Path, rows: list[ExportedPair]) -> None:
    path.write_bytes(b"".join(encode(row) + b"\n" for row in rows))


async def test_a_torn_or_tampered_export_is_refused_with_the_first_bad_index(
    ledger: tuple[Running, Path], tmp_path: Path
) -> None:
    _, exported = ledger

    def refused(code: str, index: int | None = None) -> None:
        with pytest.raises(ProofError) as caught:
            bring(tmp_path / "bad", tmp_path / "data")
        assert caught.value.code == code, caught.value
        if index is not None:
            assert f"first bad index {index}:" in caught.value.what
        shutil.rmtree(tmp_path / "bad")
        shutil.rmtree(tmp_path / "data", ignore_errors=True)

    def fresh() -> tuple[Path, list[ExportedPair]]:
        shutil.copytree(exported, tmp_path / "bad")
        return _rows(tmp_path / "bad")

    path, rows = fresh()
    third = rows[2]
    bundle = next((tmp_path / "bad" / "tile" / "entries").rglob("*.p/*"))
    data = bundle.read_bytes()
    bundle.write_bytes(data[:700] + bytes([data[700] ^ 1]) + data[701:])
    refused("BUNDLE_MISMATCH")
    fresh()
    bundle.write_bytes(data[:-5])
    refused("BUNDLE_TRUNCATED")
    fresh()
    (tmp_path / "bad" / "checkpoint").unlink()
    refused("IMPORT_MALFORMED")
    fresh()
    (tmp_path / "bad" / "blobs" / third.submission.a.sha256.hex()).write_bytes(b"another")
    refused("IMPORT_ITEM", third.index)
    fresh()
    (tmp_path / "bad" / "blobs" / third.submission.a.sha256.hex()).unlink()
    refused("IMPORT_ITEM", third.index)
    path, rows = fresh()
    _write_rows(path, [row for row in rows if row != third])
    refused("IMPORT_MISSING", third.index)
    path, rows = fresh()
    path.write_bytes(path.read_bytes()[:-30])
    refused("IMPORT_PAIRS")
    path, rows = fresh()
    _write_rows(path, [*rows, rows[0]])
    refused("IMPORT_PAIRS", rows[0].index)
    path, rows = fresh()
    _write_rows(path, [replace(rows[0], signature=rows[1].signature), *rows[1:]])
    refused("EXPORT_SUBMISSION", rows[0].index)
    path, rows = fresh()
    _write_rows(path, [replace(rows[0], decision=rows[1].decision), *rows[1:]])
    refused("EXPORT_ENTRY", rows[0].index)
    path, rows = fresh()
    opening = replace(rows[0].decision.opening, salt=b"\1" * 32)
    _write_rows(path, [replace(rows[0], decision=replace(rows[0].decision, opening=opening)), *rows[1:]])
    refused("OPENING_DIFFERS", rows[0].index)
    path, rows = fresh()
    embeddings = rows[0].decision.embeddings
    assert embeddings is not None
    wrong = replace(rows[0].decision, embeddings=replace(embeddings, a=embeddings.final_b))
    _write_rows(path, [replace(rows[0], decision=wrong), *rows[1:]])
    refused("EMBEDDING_DIFFERS", rows[0].index)
    shutil.copytree(exported, tmp_path / "bad")
    with pytest.raises(ProofError, match="NOTE_UNSIGNED"):
        LedgerCopy(tmp_path / "bad", Signer(ORIGIN, b"\1" * 32).verifier.vkey())


async def test_another_history_in_the_store_is_named(ledger: tuple[Running, Path], tmp_path: Path) -> None:
    _, exported = ledger
    async with running(tmp_path) as other:
        await other.client.post_pair(other.sign(pictures(1)[0]).encode())
    with pytest.raises(ProofError, match="IMPORT_DIFFERS: first bad index 1:"):
        bring(exported, tmp_path)


async def test_a_packed_export_is_one_file_and_the_same_bytes(ledger: tuple[Running, Path], tmp_path: Path) -> None:
    owner, exported = ledger
    for name in ("one", "two"):
        shutil.copytree(exported, tmp_path / name)
        pack(tmp_path / name, tmp_path / f"{name}.tar")
        assert not (tmp_path / name).exists()
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with opened_copy(tmp_path / "one.tar") as found:
        assert found.head.root == owner.service.ledger.root()
    (tmp_path / "one.tar").write_bytes(b"no archive")
    with pytest.raises(ProofError, match="IMPORT_MALFORMED"), opened_copy(tmp_path / "one.tar"):
        pass


async def test_weights_that_the_ledger_does_not_name_are_refused(ledger: tuple[Running, Path], tmp_path: Path) -> None:
    _, exported = ledger
    bring(exported, tmp_path)
    with (
        Store.open(f"sqlite:///{tmp_path / 'ledger.sqlite'}") as store,
        pytest.raises(ConfigError, match="CHECKPOINT_NEEDED"),
    ):
        check_checkpoint(store, b"\1" * 32)


async def test_a_validator_that_stops_answering_is_told(ledger: tuple[Running, Path], tmp_path: Path) -> None:
    owner, _ = ledger
    async with front(owner.url) as before:
        before.deny = lambda path, number: "drop" if path.startswith("/v1/receipts") else None
        async with ValidatorClient(before.url, patience_s=0.0) as client:
            with pytest.raises(ServiceError, match="SERVICE_UNREACHABLE"):
                await copy_ledger(client, tmp_path / "export")
        assert not (tmp_path / "export" / "checkpoint").exists()
        before.deny = lambda path, number: None
        async with ValidatorClient(before.url, patience_s=0.0) as client:
            done = await copy_ledger(client, tmp_path / "export")
        assert done.root == owner.service.ledger.root()
