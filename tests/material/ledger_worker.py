"""Processes that append to a ledger until they are killed or a fault stops them, started in milliseconds.

Run as a program it loads everything once and then forks a child for each line on its input; the child appends and
prints what it has promised. A campaign can so afford a new process for every one of its thousand rounds.
"""

import ctypes
import json
import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from curiosity.protocol.errors import StoreError
from curiosity.protocol.merkle import verify_inclusion
from curiosity.protocol.receipt import Receipt, verify_receipt
from curiosity.protocol.wire import encode, parse
from tests.material.ledger import ORIGIN, RECEIPT_VKEY, Opened, make_entry, open_ledger, submission_of
from tests.material.waiting import PATIENCE_S


class Worker:
    """The program that forks: at most one child at a time."""

    def __init__(self, preload: Path | None = None) -> None:
        environment = dict(os.environ) | ({"LD_PRELOAD": str(preload)} if preload is not None else {})
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.material.ledger_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=environment,
        )

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise ValueError("the worker has no pipes")
        return self._process.stdin, self._process.stdout

    def append(
        self,
        url: str,
        head: Path,
        number: int,
        *,
        kill_after_s: float | None = None,
        kill_after: int = 0,
        **options: object,
    ) -> tuple[dict[int, Receipt], str]:
        """Let a child append the pairs from ``number`` on; kill it so long after its first promise, or at a promise.

        Return what it promised, and the code of the error that stopped it, empty if it was killed.
        """
        to, out = self._pipes()
        to.write(json.dumps({"url": url, "head": str(head), "number": number, **options}) + "\n")
        to.flush()
        child = int(out.readline())
        promised: dict[int, Receipt] = {}
        stopped = ""
        if kill_after_s is not None:
            if not select.select([out], [], [], PATIENCE_S)[0]:
                raise TimeoutError("no promise")
            time.sleep(kill_after_s)
            os.kill(child, signal.SIGKILL)
        for line in out:
            if line == "ended\n":
                break
            try:
                what, value = json.loads(line)
            except ValueError:
                continue  # the last line of a killed process may be cut short: nobody has seen it whole
            if what == "stopped":
                stopped = value
            else:
                promised[what] = parse(Receipt, value)
                if len(promised) == kill_after:
                    os.kill(child, signal.SIGKILL)
        return promised, stopped

    def close(self) -> None:
        """End the program."""
        to, out = self._pipes()
        to.close()
        self._process.wait(timeout=PATIENCE_S)
        out.close()


@contextmanager
def worker(preload: Path | None = None) -> Iterator[Worker]:
    """A worker, ended at the end."""
    made = Worker(preload)
    try:
        yield made
    finally:
        made.close()


def check_promises(opened: Opened, promised: Mapping[int, Receipt], first: int = 0) -> None:
    """Every receipt verifies, is in the tree and in the store with its contents, and is what a replay gets.

    Pair n must be entry ``n - first``; asking again appends nothing.
    """
    ledger, root, size = opened.ledger, opened.ledger.root(), opened.ledger.size
    numbers = sorted(promised)
    for number in numbers:
        receipt = promised[number]
        checked = verify_receipt(receipt, ORIGIN, RECEIPT_VKEY)
        assert checked.index == number - first
        verify_inclusion(checked.leaf_hash, checked.index, size, ledger.inclusion_proof(checked.index, size), root)
        submission = submission_of(make_entry(number))
        key = (submission.contributor, submission.nonce)
        decision = opened.store.find_nonces([key]).get(key)
        assert decision is not None, f"pair {number} was promised and is lost"
        assert decision.to_receipt() == receipt
        assert opened.store.blob(submission.a.digest) == submission.a.data
        assert opened.store.blob(submission.b.digest) == submission.b.data
    assert ledger.append([make_entry(number) for number in numbers]) == [promised[number] for number in numbers]
    assert ledger.size == size


def _append(command: dict[str, Any]) -> None:
    number = command["number"]
    chance = random.Random(number)
    with open_ledger(command["url"], Path(command["head"])) as opened:
        if command.get("unsafe"):
            opened.store._database._connection.connection.cursor().execute("PRAGMA synchronous=OFF")
        if fault := command.get("fault"):
            path, kind, countdown = fault
            ctypes.CDLL(None).fault_arm(path.encode(), kind.encode(), ctypes.c_long(countdown))
        for _ in range(command.get("batches", 1 << 30)):
            numbers = range(number, number + chance.randint(1, 8))
            entries = [make_entry(n) for n in numbers]
            try:
                receipts = opened.ledger.append(entries)
            except StoreError as error:
                _stop(opened, error)
                return
            lines = [json.dumps([n, encode(receipt).decode()]) for n, receipt in zip(numbers, receipts, strict=True)]
            os.write(1, ("\n".join(lines) + "\n").encode())
            number = numbers.stop


def _stop(opened: Opened, error: StoreError) -> None:
    """After the first error nothing may be promised, not even what was promised before."""
    for again in (make_entry(0), make_entry(1_000_000_000)):
        try:
            opened.ledger.append([again])
        except StoreError as second:
            if second.code == "LEDGER_STOPPED" and error.code in second.what:
                continue
        os.write(1, json.dumps(["stopped", f"{error.code}, and then it went on"]).encode() + b"\n")
        return
    os.write(1, json.dumps(["stopped", error.code]).encode() + b"\n")


def main() -> None:
    """Fork a child for each command; see the module."""
    for line in sys.stdin:
        command = json.loads(line)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            os.write(1, b"%d\n" % os.getpid())
            status = 1
            try:
                _append(command)
                status = 0
            except StoreError as error:  # while opening or closing
                os.write(1, json.dumps(["stopped", error.code]).encode() + b"\n")
            finally:
                os._exit(status)
        os.waitpid(child, 0)
        os.write(1, b"\nended\n")


if __name__ == "__main__":
    main()
