"""What the version before left on disk is read by this one: ledger, copies, wallet, receipts, journals, settings."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from curiosity.chain.attestation import Attestation, RewardsDomain, address_of
from curiosity.chain.chain import Addresses
from curiosity.chain.evm.journal import TransactionJournal
from curiosity.client.journal import SubmissionJournal
from curiosity.client.receipts import read_saved, receipt_path
from curiosity.client.wallet import find_wallet, unlock
from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import verify_consistency
from curiosity.protocol.messages import TakedownReport
from curiosity.protocol.tlog import verified_cosignatures, verify_checkpoint
from curiosity.protocol.wire import encode, parse
from curiosity.rewards.attest import Attested
from curiosity.rewards.permits import read_permit
from node.config import load_settings
from tests.material.service import ALICE, Running, running
from tests.material.waiting import in_the_end
from tests.material.witness import NAME as WITNESS_NAME
from tests.material.witness import witnessing
from validator.config import load_settings as load_validator_settings
from validator.keys import load_keys
from witness.config import load_config as load_witness_settings
from witness.keys import load_keys as load_witness_keys

pytestmark = pytest.mark.asyncio(loop_scope="module")
BEFORE = Path(__file__).parent / "fixtures" / "before"
PASSWORD = (BEFORE / "password").read_text().strip()
FACTS: dict[str, Any] = json.loads((BEFORE / "facts.json").read_text())
ADDRESS = bytes.fromhex(FACTS["address"])
NETWORK_ID = bytes.fromhex(FACTS["network_id"])
PAIRS, ACCEPTED, TAKEN_DOWN = 6, 5, 1
CURIOSITY = str(Path(sys.executable).parent / "curiosity")


def unpack(folder: Path) -> Path:
    """A copy of the files with the modes that they had."""
    shutil.copytree(BEFORE, folder, dirs_exist_ok=True)
    for secret in (*folder.glob("validator/keys/*"), *folder.glob("home/wallets/*"), *folder.glob("witness/*.key")):
        secret.chmod(0o600)
    return folder


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return unpack(tmp_path / "before")


def command(
    folder: Path, *arguments: object, url: str = "http://127.0.0.1:9", settings: dict[str, str] | None = None
) -> dict[str, Any]:
    """Run the command in the folder as its user does, with the settings file of the version before."""
    environment = (os.environ | (settings or {})) | {
        "CURIOSITY_NODE__VALIDATOR_URL": url,
        "CURIOSITY_PASSWORD_FILE": str(folder / "password"),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(BEFORE.parents[2]), os.environ.get("PYTHONPATH")))),
    }
    done = subprocess.run(
        [CURIOSITY, *map(str, arguments), "--json"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


# -- what needs no network


async def test_the_whole_ledger_holds(before: Path) -> None:
    no_chain = {"CURIOSITY_CHAIN__RPC_URL": "", "CURIOSITY_CHAIN__OTHER_RPC_URLS": "[]"}
    said = command(before, "validator", "check", "--pairs", "--config", "curiosity.toml", settings=no_chain)
    assert (said["entries"], said["root"]) == (FACTS["size"], "0x" + FACTS["root"])


async def test_keys_are_the_same(before: Path) -> None:
    keys = load_keys(before / "validator" / "keys", FACTS["origin"])
    assert keys.log.verifier.vkey() == FACTS["log_vkey"]
    assert keys.receipt.verifier.vkey() == FACTS["receipt_vkey"]
    assert list(load_witness_keys(before / "witness", WITNESS_NAME).vkeys) == FACTS["witness_vkeys"]


async def test_an_export_becomes_the_ledger_again(before: Path) -> None:
    fresh = before / "fresh"
    shutil.copytree(before / "validator" / "keys", fresh / "keys")
    (before / "fresh.toml").write_text(f'[validator]\nname = "{FACTS["origin"]}"\ndata_dir = "fresh"\n')
    said = command(before, "ledger", "import", "export", "--config", "fresh.toml")
    assert (said["size"], said["root"], said["read_only"]) == (FACTS["size"], "0x" + FACTS["root"], False)
    assert (said["taken_down"], said["unknown"]) == (TAKEN_DOWN, 0)
    command(before, "validator", "check", "--pairs", "--config", "fresh.toml")


async def test_an_export_is_audited_as_a_log(before: Path) -> None:
    said = command(before, "ledger", "audit", "export", "--log-vkey", FACTS["log_vkey"], "--home", "other")
    assert (said["size"], said["pairs"], said["epochs"], said["finding"]) == (FACTS["size"], PAIRS, 1, None)


async def test_payouts_are_derived_from_a_mirror(before: Path) -> None:
    said = command(before, "payouts", "--derive", "--entries", "mirror")
    closed = [(epoch["closed"], epoch["size"]) for epoch in said["epochs"]]
    assert closed == [(True, FACTS["size"] - 2), (False, FACTS["size"])]


async def test_receipts_hold_and_are_listed_with_their_files(before: Path) -> None:
    said = command(before, "verify", "home/receipts", "--log-vkey", FACTS["log_vkey"])
    assert (said["verified"], said["with_proof"], said["wrong"]) == (PAIRS, PAIRS - 1, [])
    receipts = command(before, "receipts")["receipts"]
    assert {Path(one["a"]).stem for one in receipts} >= {"0", "1", "2", "3", "4", "5"}
    ((path, report),) = [
        (path, parse(TakedownReport, path.read_bytes())) for path in (before / "home" / "takedowns").iterdir()
    ]
    assert encode(report) == path.read_bytes()


async def test_a_wallet_opens(before: Path) -> None:
    wallet = find_wallet(before / "home", "alice")
    assert (wallet.address, unlock(wallet, PASSWORD)) == (ADDRESS, ALICE)


async def test_journals_of_transactions_hold_what_was_sent(before: Path) -> None:
    addresses = Addresses.from_json(json.loads((before / "addresses.json").read_text()))
    for folder in ("chain", "home/chain"):
        (path,) = (before / folder).glob("transactions-*.json")
        written = json.loads(path.read_text())["kept"]
        account = bytes.fromhex(written[0]["account"])
        journal = TransactionJournal(addresses.chain_id, addresses.rewards, path)
        with journal.locked(60.0):
            kept = [one for same in journal.kept(account).values() for one in same]
            assert [one.raw.hex() for one in kept] == [one["raw"] for one in written]


async def test_a_key_remembers_what_it_has_attested(before: Path) -> None:
    addresses = Addresses.from_json(json.loads((before / "addresses.json").read_text()))
    attested = Attested(before / "home", addresses, address_of(b"\x0b" * 32))
    signed = Attestation(1, 7, b"\x01" * 32, b"\x02" * 32, 10**18, bytes(32), 0, 0)
    domain = RewardsDomain(addresses.chain_id, addresses.rewards)
    attested.note(signed, signed.digest(domain))
    with pytest.raises(ProofError, match="was signed of epoch 1 before"):
        attested.note(signed, bytes(32))


async def test_a_permission_to_claim_is_read(before: Path) -> None:
    permit = read_permit(before / "alice.permit")
    assert (permit.account, [one.epoch for one in permit.shares]) == (ADDRESS, [1])
    assert permit.signature is not None


async def test_settings_of_every_role_are_read(before: Path) -> None:
    file = before / "curiosity.toml"
    settings = load_settings(file, {})
    node, chain = settings.node, settings.chain
    assert (node.home, node.wallet, node.license, node.patience_s) == (Path("home"), "alice", "CC0-1.0", 20.5)
    assert (node.log_vkey, node.scrypt_n) == (FACTS["log_vkey"], 1024)
    assert (chain.rpc_url, chain.other_rpc_urls) == ("http://127.0.0.1:8545", ("http://127.0.0.1:8546",))
    assert (chain.finality, chain.finality_depth) == ("depth", 3)
    config = load_validator_settings(file, {}).validator
    assert (config.name, config.data_dir, config.port) == (FACTS["origin"], Path("validator"), 0)
    assert (config.pair_budget, config.licenses) == ((1_000_000, 300, 64_000_000), ("CC0-1.0", "MIT"))
    assert (config.keep_refused_days, config.evict_when_full) == (3, False)
    witness = load_witness_settings(file, {})
    assert (witness.name, witness.logs, witness.max_evidence) == (WITNESS_NAME, (FACTS["log_vkey"],), 7)


# -- what goes on with it


@dataclass(frozen=True)
class GoingOn:
    """A validator and a witness of this version that go on with what is in ``folder``; ``said``: of `submit`."""

    folder: Path
    live: Running
    said: dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def going_on(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GoingOn]:
    folder = unpack(tmp_path_factory.mktemp("before"))
    async with witnessing(folder / "witness", (FACTS["log_vkey"],)) as witness:
        witnesses = (f"{witness.url} {FACTS['witness_vkeys'][0]}",)
        async with running(
            folder / "validator", name=FACTS["origin"], witnesses=witnesses, quorum=1, witness_interval_s=0.1
        ) as live:
            live.set_clock_forward(FACTS["made_at"] - int(time.time()))  # the planned pair's signature still counts
            said = await asyncio.to_thread(command, folder, "submit", "pictures", "--wallet", "alice", url=live.url)
            yield GoingOn(folder, live, said)


async def test_a_journal_goes_on_where_it_stopped(going_on: GoingOn) -> None:
    """Six pairs have their decision; the seventh is sent with the nonce that was planned."""
    assert (going_on.said["known"], going_on.said["accepted"]) == (PAIRS, 1)
    with SubmissionJournal.of(going_on.folder / "home", ADDRESS, NETWORK_ID) as journal:
        (planned,) = [plan for plan in journal.plans.values() if plan.nonce == FACTS["planned_nonce"]]
        result = journal.results[planned.row]
    assert result.index == FACTS["size"]
    saved = read_saved(receipt_path(going_on.folder / "home" / "receipts", bytes.fromhex(result.pair)))
    assert saved.envelope.submission.nonce.hex() == FACTS["planned_nonce"]


async def test_the_ledger_grows_from_what_was_signed(going_on: GoingOn) -> None:
    client = going_on.live.client
    head = verify_checkpoint(await client.tree_head(), FACTS["origin"], [FACTS["log_vkey"]])
    assert head.size == FACTS["size"] + 1
    proof = await client.consistency(FACTS["size"], head.size)
    verify_consistency(FACTS["size"], head.size, proof.path, bytes.fromhex(FACTS["root"]), head.root)


async def test_a_receipt_of_before_comes_again(going_on: GoingOn) -> None:
    receipts = [read_saved(path) for path in sorted((BEFORE / "home" / "receipts").glob("*.json"))]
    taken_down = {path.stem for path in (BEFORE / "home" / "takedowns").iterdir()}
    for saved in receipts:
        if saved.pair.hex() not in taken_down:
            assert (await going_on.live.client.receipt(saved.pair)).receipt == saved.decision.receipt


async def test_the_witness_cosigns_what_continues(going_on: GoingOn) -> None:
    witnesses = going_on.live.service.witnesses
    assert witnesses is not None
    note = await in_the_end(
        lambda: note if (note := witnesses.newest()).split("\n")[1] == str(FACTS["size"] + 1) else ""
    )
    assert verified_cosignatures(note, FACTS["witness_vkeys"])


async def test_copies_and_audits_go_on_from_those_of_before(going_on: GoingOn) -> None:
    folder, url = going_on.folder, going_on.live.url
    audited = await asyncio.to_thread(command, folder, "ledger", "audit", url, url=url)
    assert (audited["checked"], audited["size"], audited["finding"]) == (1, FACTS["size"] + 1, None)
    for kind in ("mirror", "export"):
        said = await asyncio.to_thread(command, folder, "ledger", kind, "--out", kind, url=url)
        assert (said["size"], said["taken_down"]) == (FACTS["size"] + 1, TAKEN_DOWN), kind
        assert said.get("fetched", 1) == 1  # what is new of the new pair, and nothing that was there
    copied = [
        {path.relative_to(folder / kind): path.read_bytes() for path in (folder / kind).rglob("*") if path.is_file()}
        for kind in ("mirror", "export")
    ]
    assert copied[0] == {path: data for path, data in copied[1].items() if path.name != "blocked.json"}
