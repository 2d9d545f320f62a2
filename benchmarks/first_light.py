"""What the spine's parts cost beside the bare operation, as ratios in one run.

    python -m benchmarks.first_light [--json FILE]

Absolute figures depend on the machine and on who else uses it; the ratios are what to quote.
"""

import argparse
import json
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pysqlite3.dbapi2 as sqlite
from eth_account import Account

from protocol.entry import PairEntry, encode_entry
from protocol.errors import Fault
from protocol.pair import Item, check_signature, sign_pair
from protocol.signing import Domain, address_of
from protocol.tlog import Signer
from protocol.verdict import Opening, Outcome, Reason, Verdict
from protocol.wire import encode
from validator.ledger import Ledger, NewEntry, NewSubmission
from validator.store import Store

BATCH = 100
ROUNDS = 3


@dataclass(frozen=True)
class Figure:
    """One measurement: how many a CPU-second (or a second, for what waits on a disk), and the bare peer's."""

    name: str
    per_s: float
    peer: str
    peer_per_s: float

    @property
    def ratio(self) -> float:
        """Ours over the peer's."""
        return self.per_s / self.peer_per_s


def rate(work: Callable[[], int], clock: Callable[[], float], rounds: int = ROUNDS) -> float:
    """Return the median of how many units ``work`` does in a second of ``clock``."""
    rates = []
    for _ in range(rounds):
        started = clock()
        done = work()
        rates.append(done / (clock() - started))
    return sorted(rates)[len(rates) // 2]


def measure_recovery(count: int = 1000) -> Figure:
    """Recovering a submission's signer, our encoder against eth-account's generic one. Both must agree first."""
    key, domain = secrets.token_bytes(32), Domain(31337, bytes(20))
    signed = sign_pair(
        Item("image", "image/png", b"a"), Item("text", "text/plain", b"b"), private_key=key, domain=domain,
        network_id=bytes(32), nonce=secrets.token_bytes(32), expiry=1, license="MIT",
    )  # fmt: skip
    s = signed.envelope.submission

    def part(value: object) -> dict[str, object]:
        plain = vars(value)
        return {"modality": plain["modality"], "mediaType": plain["media_type"]} | {
            name: plain[name] for name in ("size", "sha256")
        }

    types = {
        "Submission": [
            {"name": name, "type": type_}
            for name, type_ in (
                ("networkId", "bytes32"), ("contributor", "address"), ("nonce", "bytes32"), ("expiry", "uint64"),
                ("a", "Part"), ("b", "Part"), ("license", "string"), ("capturedAt", "uint64"), ("client", "string"),
                ("metaHash", "bytes32"), ("refs", "bytes32[]"),
            )
        ],
        "Part": [
            {"name": name, "type": type_}
            for name, type_ in (
                ("modality", "string"), ("mediaType", "string"), ("size", "uint64"), ("sha256", "bytes32"),
            )
        ],
    }  # fmt: skip
    message = {
        "networkId": s.network_id, "contributor": s.contributor, "nonce": s.nonce, "expiry": s.expiry, "a": part(s.a),
        "b": part(s.b), "license": s.license, "capturedAt": 0, "client": "", "metaHash": s.meta_hash, "refs": [],
    }  # fmt: skip
    from eth_account.messages import encode_typed_data

    typed = {"name": "Curiosity", "version": "1", "chainId": 31337, "verifyingContract": bytes(20)}

    def theirs(times: int) -> int:
        for _ in range(times):
            signable = encode_typed_data(typed, types, message)
            signer = Account.recover_message(signable, signature=signed.envelope.signature)
            if bytes.fromhex(signer[2:]) != address_of(key):
                raise SystemExit("eth-account recovers another signer")
        return times

    def ours() -> int:
        for _ in range(count):
            check_signature(signed.envelope, domain)
        return count

    return Figure(
        "signatures recovered per CPU-second", rate(ours, time.process_time), "eth-account",
        rate(lambda: theirs(count // 10), time.process_time),
    )  # fmt: skip


def measure_append(folder: Path, batches: int = 10) -> Figure:
    """Appending decided pairs durably, against plain inserts of the same leaves and items with the same settings."""
    entries = [_entry() for _ in range(BATCH)]
    connection = sqlite.connect(str(folder / "bare.db"))
    connection.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE e (i INTEGER PRIMARY KEY, leaf BLOB); CREATE TABLE b (k BLOB, v BLOB);"
    )

    def bare() -> int:
        for _ in range(batches):
            with connection:
                connection.executemany("INSERT INTO e (leaf) VALUES (?)", [(entry.leaf,) for entry in entries])
                connection.executemany(
                    "INSERT INTO b VALUES (?, ?)",
                    [(item.digest, item.data) for e in entries if (s := e.submission) for item in (s.a, s.b)],
                )
        return batches * BATCH

    with Store.open(f"sqlite:///{folder / 'ledger.db'}") as store:
        keys = Signer("bench", secrets.token_bytes(32)), Signer("bench/receipt", secrets.token_bytes(32))
        ledger = Ledger(
            store, origin="bench", log_signer=keys[0], receipt_signer=keys[1], head_path=folder / "head",
            clock=lambda: 0,
        )  # fmt: skip

        ready = iter([[_entry() for _ in range(BATCH)] for _ in range(batches * ROUNDS)])

        def ours() -> int:
            for _ in range(batches):
                ledger.append(next(ready))
            return batches * BATCH

        figure = Figure("pairs appended per second", rate(ours, time.monotonic), "plain inserts", 1.0)
        ledger.verify()
    peer = rate(bare, time.monotonic)
    connection.close()
    return Figure(figure.name, figure.per_s, figure.peer, peer)


def _entry() -> NewEntry:
    key, domain = secrets.token_bytes(32), Domain(31337, bytes(20))
    signed = sign_pair(
        Item("image", "image/png", secrets.token_bytes(3_000)), Item("text", "text/plain", secrets.token_bytes(20)),
        private_key=key, domain=domain, network_id=bytes(32), nonce=secrets.token_bytes(32), expiry=1, license="MIT",
    )  # fmt: skip
    s = signed.envelope.submission
    verdict = Verdict(Outcome.REJECTED, Reason.ITEM_UNDECODABLE, bytes(32), Fault.CONTRIBUTOR)
    digest = s.digest(domain)
    opening = Opening(secrets.token_bytes(32), signed.a.digest, signed.b.digest)
    leaf = encode_entry(
        PairEntry(
            digest, s.contributor, signed.envelope.signature, s.modalities, s.license, verdict, opening.commitment()
        )
    )
    return NewEntry(
        leaf,
        NewSubmission(
            digest,
            s.contributor,
            s.nonce,
            encode(signed.envelope),
            signed.a,
            signed.b,
            accepted=False,
            embeddings=None,
            opening=encode(opening),
        ),
    )


def main() -> None:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_light")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = [measure_recovery(), measure_append(Path(folder))]
    for one in figures:
        print(f"{one.name:40} {one.per_s:10.0f}   {one.peer:16} {one.peer_per_s:10.0f}   ratio {one.ratio:6.2f}")
    if given.json:
        given.json.write_text(json.dumps([asdict(one) | {"ratio": round(one.ratio, 3)} for one in figures], indent=1))


if __name__ == "__main__":
    main()
