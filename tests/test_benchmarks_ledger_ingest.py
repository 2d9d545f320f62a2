"""The ingest benchmark on few pairs: what it reports, and that it believes no answer unseen."""

from pathlib import Path

import pytest

from benchmarks.ledger_ingest import check_answers, make_bodies, measure_often
from benchmarks.ledger_recovery import measure_recovery
from curiosity.protocol.errors import ProofError
from curiosity.protocol.messages import Network
from curiosity.protocol.receipt import issue_receipt
from curiosity.protocol.signing import Domain
from curiosity.protocol.tlog import Signer
from curiosity.protocol.wire import canonical_json, to_plain
from tests.material.ledger import make_entry

KEY = Signer("validator", b"\x07" * 32)
NETWORK = Network(
    "n", bytes(32), Domain(31_337, b"\x33" * 20), "validator", KEY.verifier.vkey(), "", bytes(20), bytes(32), None,
    (), (), {}, {}, (), 0, 0,
)  # fmt: skip


def test_it_reports_what_a_real_validator_takes_in(tmp_path: Path) -> None:
    figures = measure_often(3, pairs=480, rounds=2, connections=6, folder=tmp_path)
    assert figures["ingest_ratio"] == pytest.approx(
        figures["ingest_per_cpu_s"] / figures["bare_handler_per_cpu_s"], rel=1e-6
    )
    assert figures["ingest_ratio"] > 0
    assert 0 < figures["ingest_ratio_bound"] < 1
    assert figures["body_bytes"] == pytest.approx(80_000, rel=0.01)
    assert figures["pairs"] == 480  # fewer take no longer than a tick of the clock that is read
    lowest, highest = figures["ingest_per_cpu_s_lowest"], figures["ingest_per_cpu_s_highest"]
    assert 0 < lowest <= figures["ingest_per_cpu_s"] <= highest
    assert lowest < highest
    assert figures["ingest_runs"] == 3
    assert min(figures["recover_per_cpu_s"], figures["eth_account_recover_per_cpu_s"]) > 0


def test_bodies_have_nothing_in_common_and_recover_to_their_wallets() -> None:
    pairs = make_bodies(40, NETWORK, 2_000)
    assert len({pair.a.digest for pair in pairs} | {pair.b.digest for pair in pairs}) == 80
    assert all(1_800 < len(pair.encode()) < 2_200 for pair in pairs)
    rates = measure_recovery([pair.envelope for pair in pairs], NETWORK.domain, rounds=1)
    assert rates["recover_per_cpu_s"] > 0


def test_a_wrong_answer_is_not_measured() -> None:
    pairs = make_bodies(1, NETWORK, 2_000)
    leaf = make_entry(1).leaf  # another pair's
    receipt = to_plain(issue_receipt(leaf, 1, "validator", 1, KEY))
    verdict = {"outcome": "accepted", "reason": "BELONGS_TOGETHER", "checkpoint": "0x" + "55" * 32}
    opening = dict.fromkeys(("salt", "a", "b"), "0x" + "11" * 32)
    body = canonical_json({"receipt": receipt, "verdict": verdict, "opening": opening})
    with pytest.raises(RuntimeError, match="another pair's"):
        check_answers({0: (200, body)}, pairs, NETWORK)
    with pytest.raises(RuntimeError, match="answered with 503"):
        check_answers({0: (503, b"{}")}, pairs, NETWORK)
    forged = canonical_json({"receipt": receipt | {"index": 2}, "verdict": verdict, "opening": opening})
    with pytest.raises(ProofError, match="RECEIPT_INDEX"):
        check_answers({0: (200, forged)}, pairs, NETWORK)
