"""The decode sandbox: hostile bytes, killed workers, and a process that can do nothing else."""

import asyncio
import io
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from embedding.modalities import decode as decode_here
from protocol.errors import Overloaded, Rejected
from validator.decode import Decoder


def png(width: int, height: int) -> bytes:
    """A valid PNG of one colour, tiny however large the picture is."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (1 + width // 8)) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def picture(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def sound(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(seed).normal(0, 0.1, 12_000), 16_000, format="WAV")
    return buffer.getvalue()


@pytest.fixture
async def decoder() -> AsyncIterator[Decoder]:
    decoder = Decoder(2, item_timeout_s=4.0)
    await decoder.start()
    yield decoder
    await decoder.close()


async def test_arrays_equal_those_decoded_in_process(decoder: Decoder) -> None:
    for modality, media_type, data in [
        ("image", "image/png", picture()),
        ("audio", "audio/wav", sound()),
        ("text", "text/plain", "grüne Äpfel 🍏".encode()),
    ]:
        array = await decoder.decode(modality, media_type, data)
        expected = decode_here(modality, data, media_type)
        assert array.dtype == expected.dtype
        assert np.array_equal(array, expected)


async def test_every_protection_is_in_force_here(decoder: Decoder) -> None:
    protections = set(decoder.describe()["protections"])
    assert {"resource-limits", "dies-with-parent", "no-new-privileges", "system-call-filter"} <= protections
    assert "unprivileged-user" in protections or os.geteuid() != 0
    status = await asyncio.to_thread(Path(f"/proc/{decoder.pids[0]}/status").read_text)
    assert "Seccomp:\t2" in status  # the kernel says that a filter is in force
    assert "NoNewPrivs:\t1" in status
    if os.geteuid() == 0:
        assert "Uid:\t65534\t65534" in status


async def test_bombs_are_refused_by_their_header(decoder: Decoder) -> None:
    for width, height in ((13_000, 13_000), (30_000, 30_000)):
        bomb = png(width, height)
        assert len(bomb) < 200_000
        with pytest.raises(Rejected, match="IMAGE_TOO_LARGE"):
            await decoder.decode("image", "image/png", bomb)
    assert len(await decoder.decode("text", "text/plain", b"still alive")) > 0


async def test_mutated_files_never_stop_the_decoder(decoder: Decoder) -> None:
    rng = np.random.default_rng(7)
    outcomes = []
    for round_ in range(240):
        modality, media_type, data = [
            ("image", "image/png", picture(round_)),
            ("audio", "audio/wav", sound(round_)),
            ("text", "text/plain", b"some words to break"),
        ][round_ % 3]
        broken = bytearray(data)
        for at in rng.integers(0, len(broken), 1 + round_ % 12):
            broken[at] = rng.integers(0, 256)
        if round_ % 5 == 0:
            del broken[rng.integers(1, len(broken)) :]
        try:
            await decoder.decode(modality, media_type, bytes(broken))
            outcomes.append("decoded")
        except Rejected as refusal:
            outcomes.append(refusal.code if refusal.status == 422 else "wrong status")
    assert "decoded" in outcomes
    assert "wrong status" not in outcomes
    assert len(set(outcomes)) >= 3  # several rules were broken, each with its own code
    assert len(decoder.pids) == 2


async def test_a_hanging_worker_is_replaced_and_the_others_go_on() -> None:
    decoder = Decoder(2, item_timeout_s=1.0)
    await decoder.start()
    try:
        stopped = decoder.pids[0]
        os.kill(stopped, signal.SIGSTOP)
        results = await asyncio.gather(
            *(decoder.decode("text", "text/plain", f"text {i}".encode()) for i in range(40)), return_exceptions=True
        )
        failures = [r for r in results if isinstance(r, BaseException)]
        assert [type(f) for f in failures] == [Rejected]
        assert "ITEM_TIMEOUT" in str(failures[0])
        assert await decoder.decode("text", "text/plain", b"after") is not None
        await asyncio.gather(*(decoder.decode("text", "text/plain", b"again %d" % i) for i in range(8)))
        assert stopped not in decoder.pids
    finally:
        await decoder.close()


async def test_a_killed_worker_costs_one_item_only() -> None:
    decoder = Decoder(1, item_timeout_s=4.0)
    await decoder.start()
    try:
        os.kill(decoder.pids[0], signal.SIGKILL)
        with pytest.raises(Rejected, match="ITEM_CRASHED_DECODER"):
            await decoder.decode("text", "text/plain", b"one")
        assert len(await decoder.decode("text", "text/plain", b"two")) > 0
    finally:
        await decoder.close()


async def test_a_full_queue_says_when_to_come_back() -> None:
    decoder = Decoder(1, max_waiting=3)
    await decoder.start()
    try:
        os.kill(decoder.pids[0], signal.SIGSTOP)
        waiting = [asyncio.create_task(decoder.decode("text", "text/plain", b"x"))]
        await asyncio.sleep(0.1)  # the stopped worker has taken this one
        waiting += [asyncio.create_task(decoder.decode("text", "text/plain", b"x")) for _ in range(3)]
        await asyncio.sleep(0.1)
        with pytest.raises(Overloaded) as caught:
            await decoder.decode("text", "text/plain", b"x")
        assert caught.value.retry_after_s > 0
        for task in waiting:
            task.cancel()
    finally:
        await decoder.close()


ATTEMPTS = """
import os, socket, subprocess, sys
from validator.sandbox import drop_privileges, filter_system_calls, load_filter_library
target, locked = sys.argv[1], sys.argv[2] == "locked"
server = socket.create_server(("127.0.0.1", 0))
def attempt(name, action):
    try:
        action(); print(name, "done", flush=True)
    except BaseException as error:
        print(name, "refused", flush=True)
library = load_filter_library()
if locked:
    assert "system-call-filter" in drop_privileges() + filter_system_calls(library)
attempt("connect", lambda: socket.create_connection(server.getsockname(), timeout=2))
attempt("write", lambda: open(target, "w").write("x"))
attempt("read", lambda: open("/etc/hostname").read())
attempt("run", lambda: subprocess.run(["true"], check=True))
attempt("fork", lambda: os.waitpid(os.fork() or os._exit(0), 0))
attempt("listen", lambda: socket.create_server(("127.0.0.1", 0)))
os._exit(0)
"""


@pytest.mark.parametrize("arm", ["open", "locked"])
def test_a_locked_process_can_reach_nothing(arm: str, tmp_path: Path) -> None:
    """With the defence off every attempt succeeds; with it on none does."""
    command = [sys.executable, "-c", ATTEMPTS, str(tmp_path / "file"), arm]
    output = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    expected = "done" if arm == "open" else "refused"
    assert [line.split()[1] for line in output.splitlines()] == [expected] * 6


def test_workers_die_with_their_parent() -> None:
    script = (
        "import asyncio, time\nfrom validator.decode import Decoder\n"
        "async def main():\n    d = Decoder(2); await d.start(); print(*d.pids, flush=True); await asyncio.sleep(60)\n"
        "asyncio.run(main())"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    for pid in pids:
        for _ in range(100):
            if not Path(f"/proc/{pid}").exists() or "State:\tZ" in Path(f"/proc/{pid}/status").read_text():
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"worker {pid} outlived its parent")


def test_the_worker_imports_no_torch() -> None:
    check = "import sys, validator.sandbox as s; s.warm_up(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60)
