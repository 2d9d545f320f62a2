"""The decode sandbox: hostile bytes, killed workers, and a process that can do nothing else."""

import asyncio
import base64
import contextlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from curiosity.embedding.modalities import BY_NAME, MODALITIES
from curiosity.embedding.modalities import decode as decode_here
from curiosity.embedding.modality import check_contract
from curiosity.protocol.errors import Overloaded, Rejected
from curiosity.serving.decode import Decoder
from curiosity.serving.decode_worker import DecodeWorker
from tests.material.modality import clip, frames, gif, item, npy, png_chunk, sensor
from tests.material.video import tiny_gif
from tests.material.waiting import PATIENCE_S, eventually, in_the_end

VECTORS = json.loads((Path(__file__).parent / "vectors/video.json").read_text())


def is_running(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def png(width: int, height: int) -> bytes:
    """A valid PNG of one colour, tiny however large the picture is."""

    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(b"\0" * (1 + width // 8)) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def picture(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def sound(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, np.random.default_rng(seed).normal(0, 0.1, 12_000), 16_000, format="WAV")
    return buffer.getvalue()


def photo(mode: str, form: str, **options: Any) -> bytes:
    """A noisy picture in a Pillow mode and format."""
    noise = np.random.default_rng(4).integers(0, 256, (90, 130, 4), dtype=np.uint8)
    wide = Image.fromarray(noise[:, :, :2].copy().view(np.uint16)[:, :, 0])
    buffer = io.BytesIO()
    (wide if mode == "I;16" else Image.fromarray(noise).convert(mode)).save(buffer, form, **options)
    return buffer.getvalue()


def tone(form: str, rate_hz: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, 0.5 * np.sin(np.arange(rate_hz) / 20.0), rate_hz, format=form)
    return buffer.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: lies on its side
    return exif


ITEMS = [
    *(("image", "image/png", photo(mode, "PNG")) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")),
    *(("image", "image/jpeg", photo(mode, "JPEG")) for mode in ("L", "RGB", "CMYK")),
    ("image", "image/png", photo("RGB", "PNG", exif=turned())),
    ("image", "image/jpeg", photo("RGB", "JPEG", exif=turned(), progressive=True)),
    *(("image", "image/webp", photo(mode, "WEBP", lossless=True, exif=turned())) for mode in ("RGB", "RGBA")),
    ("image", "image/webp", photo("RGB", "WEBP")),
    *(("audio", f"audio/{form.lower()}", tone(form, 16_000)) for form in ("WAV", "FLAC", "OGG")),
    *(("audio", f"audio/{form.lower()}", tone(form, 44_100)) for form in ("WAV", "FLAC", "OGG")),
    ("text", "text/plain", "grüne Äpfel 🍏".encode()),
    ("text", "text/plain", "\ufeffzwei  Wörter".encode()),
    *(("video", "video/mp4", clip(frames(), codec)) for codec in ("libx264", "libvpx-vp9", "libsvtav1")),
    *(("video", vector["media_type"], base64.b64decode(vector["base64"])) for vector in VECTORS),  # each codec
    ("video", "video/mp4", clip(frames(100, 320, 240))),
    ("video", "image/gif", gif(frames(100))),
    *((name, "application/x-npy", npy(sensor(name))) for name in ("point_cloud", "touch", "pressure", "emg", "action")),
]  # fmt: skip


@asynccontextmanager
async def running(workers: int, **options: Any) -> AsyncIterator[Decoder]:
    decoder = Decoder(workers, **options)
    await decoder.start()
    try:
        yield decoder
    finally:
        await decoder.close()


async def has_waiting(decoder: Decoder, count: int) -> None:
    """Return once so many items wait, those that were just asked for among them, and idle workers have taken theirs."""
    await asyncio.sleep(0)  # every task that was made meanwhile has begun
    await in_the_end(lambda: decoder.describe()["waiting"] == count)


@pytest.fixture
async def decoder() -> AsyncIterator[Decoder]:
    async with running(2, item_timeout_s=60.0) as decoder:
        yield decoder


async def test_arrays_equal_those_decoded_in_process(decoder: Decoder) -> None:
    """In every media type: a codec that opened a file or loaded a module only now would fail behind the filter."""
    taken = {(modality.name, media_type) for modality in MODALITIES for media_type in modality.media_types}
    assert {(modality, media_type) for modality, media_type, _ in ITEMS} == taken
    for modality, media_type, data in ITEMS * 3:  # both workers see each
        array = await decoder.decode(modality, media_type, data)
        expected = decode_here(modality, data, media_type)
        assert array.dtype == expected.dtype
        assert np.array_equal(array, expected)
    assert decoder.describe()["replaced"] == 0


@pytest.fixture(scope="module")
def largest() -> bytes:
    """The largest picture that is taken: more than a second of work."""
    buffer = io.BytesIO()
    Image.new("RGBA", (7_070, 7_070), (250, 0, 0, 128)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


async def test_the_largest_picture_within_the_limits_fits_in_memory(largest: bytes) -> None:
    async with running(1, item_timeout_s=60.0) as decoder:
        assert (await decoder.decode("image", "image/png", largest)).shape == (384, 384, 3)


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


def claiming(shape: str) -> bytes:
    """A .npy file whose header promises this shape, and 64 bytes behind it."""
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(64)


def with_sample_count(data: bytes, count: int) -> bytes:
    """The MP4 with an index that says ``count`` frames of one byte, each a tick long (ISO/IEC 14496-12, stsz, stts)."""
    out = bytearray(data)
    struct.pack_into(">II", out, data.index(b"stsz") + 8, 1, count)
    struct.pack_into(">II", out, data.index(b"stts") + 12, count, 1)
    return bytes(out)


def with_size(data: bytes, width: int, height: int) -> bytes:
    """The MP4 whose description of the track says this size."""
    out = bytearray(data)
    struct.pack_into(">HH", out, data.index(b"avc1", data.index(b"stsd")) + 28, width, height)
    return bytes(out)


MP4 = item("video", "video/mp4")
BOMBS = {
    "gif of 100,000 frames": ("video", "image/gif", tiny_gif(100_000, 1, 1), {"VIDEO_TOO_LONG"}),
    "gif of 65,535 px a side": ("video", "image/gif", tiny_gif(2, 65_535, 65_535), {"VIDEO_TOO_LARGE"}),
    "gif of too many pixels in all": ("video", "image/gif", tiny_gif(1_800, 1_900, 1_080), {"VIDEO_TOO_LARGE"}),
    "mp4 of 2,560 x 1,440": ("video", "video/mp4", clip(np.zeros((2, 1_440, 2_560, 3), np.uint8)), {"VIDEO_TOO_LARGE"}),
    "mp4 of 2^31 frames": (
        "video", "video/mp4", with_sample_count(MP4, 2**31 - 1),
        {"VIDEO_TOO_LONG", "VIDEO_NOT_DECODABLE", "ITEM_NEEDS_TOO_MUCH_MEMORY"},
    ),
    "mp4 of 20 million frames": (
        "video", "video/mp4", with_sample_count(MP4, 20_000_000),
        {"VIDEO_TOO_LONG", "VIDEO_NOT_DECODABLE", "ITEM_NEEDS_TOO_MUCH_MEMORY"},
    ),
    "array of 2^40": ("pressure", "application/x-npy", claiming("(1099511627776,)"), {"ARRAY_TRUNCATED"}),
    "array of 2^64 by 2^64": (
        "touch", "application/x-npy", claiming("(18446744073709551616, 18446744073709551616)"), {"ARRAY_TRUNCATED"}
    ),
}  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
async def test_bombs_in_videos_and_arrays_are_refused(bomb: tuple[str, str, bytes, set[str]], decoder: Decoder) -> None:
    modality, media_type, data, codes = bomb
    assert len(data) < 2_000_000
    with pytest.raises(Rejected) as refused:
        await decoder.decode(modality, media_type, data)
    assert refused.value.status == 422
    assert refused.value.code in codes
    assert decoder.describe()["replaced"] == 0
    for pid in decoder.pids:
        status = await asyncio.to_thread(Path(f"/proc/{pid}/status").read_text)
        (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        assert peak < 512 << 10


async def test_a_size_that_only_the_container_claims_changes_nothing(decoder: Decoder) -> None:
    """The stream says its own size, which is the one that is checked and decoded."""
    array = await decoder.decode("video", "video/mp4", with_size(MP4, 65_535, 65_535))
    assert np.array_equal(array, decode_here("video", MP4, "video/mp4"))


KINDS = [(modality.name, media_type) for modality in MODALITIES for media_type in modality.media_types]


def mutate(data: bytes, number: int, rng: np.random.Generator) -> bytes:
    """Bytes replaced, bits flipped, a stretch zeroed, or the end cut off."""
    broken = bytearray(data)
    if number % 4 == 0:
        for at in rng.integers(0, len(broken), 1 + number % 12):
            broken[at] = rng.integers(0, 256)
    elif number % 4 == 1:
        for at in rng.integers(0, len(broken), 1 + number % 5):
            broken[at] ^= 1 << int(rng.integers(0, 8))
    elif number % 4 == 2:
        at = int(rng.integers(0, len(broken)))
        broken[at : at + 16] = bytes(len(broken[at : at + 16]))
    else:
        del broken[int(rng.integers(1, len(broken) + 1)) :]
    return bytes(broken)


@pytest.mark.parametrize("count", [240, pytest.param(500, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("modality", "media_type"), KINDS, ids=[" ".join(kind) for kind in KINDS])
async def test_damaged_files_are_decoded_or_refused_and_nothing_else(
    modality: str, media_type: str, count: int
) -> None:
    """So many of each kind. What comes back meets the contract (`Decoder` looks), or is a 422 with a code."""
    rng = np.random.default_rng(7)
    data = item(modality, media_type)
    async with running(1) as decoder:
        jobs = (decoder.decode(modality, media_type, mutate(data, number, rng)) for number in range(count))
        results = await asyncio.gather(*jobs, return_exceptions=True)
        assert decoder.describe()["replaced"] == 0
    codes = []
    for result in results:
        if isinstance(result, np.ndarray):
            check_contract(BY_NAME[modality], result)
        else:
            assert isinstance(result, Rejected), result
            assert result.status == 422
            codes.append(result.code)
    assert codes or modality == "text"
    assert not {"ARRAY_NOT_IN_CONTRACT", "ITEM_CRASHED_DECODER", "ITEM_TIMEOUT", "ITEM_BREAKS_DECODER"} & set(codes)


def bombs_of(modality: str) -> list[tuple[str, bytes]]:
    """Twenty items of a modality that say, or unpack to, much more than they have."""
    if modality == "image":
        made = [("image/png", png(8_000 + 1_000 * n, 8_000)) for n in range(8)]
        jpeg = item("image", "image/jpeg")
        at = jpeg.index(b"\xff\xc0") + 5  # height and width in the start of frame (ITU-T T.81, B.2.2)
        sides = [(65_535, 65_535), (60_000, 1_000), (1_000, 60_000), (8_000, 8_000), (30_000, 2_000), (2_000, 30_000)]
        made += [("image/jpeg", jpeg[:at] + struct.pack(">HH", *side) + jpeg[at + 4 :]) for side in sides]
        rows = zlib.compress(bytes(100_000_000), 9)
        plain = png(8, 8)
        sizes = [(65_535, 65_535), (16_384, 16_384), (9_000, 9_000), (1, 2**31 - 1), (2**31 - 1, 1), (50_001, 1_001)]
        for width, height in sizes:
            head = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0))
            made.append(("image/png", plain[:8] + head + png_chunk(b"IDAT", rows) + plain[-12:]))
        return made
    if modality == "audio":
        made = []
        silent = [("FLAC", 8_000, 11), ("FLAC", 16_000, 30), ("FLAC", 48_000, 20), ("WAV", 8_000, 11)]
        for form, rate_hz, minutes in [*silent, ("OGG", 8_000, 11), ("OGG", 16_000, 15)]:
            out = io.BytesIO()
            subtype = "PCM_U8" if form == "WAV" else None
            with soundfile.SoundFile(out, "w", rate_hz, 1, subtype, format=form) as file:
                for _ in range(minutes):  # libsndfile cannot write long stretches of Vorbis at once
                    file.write(np.zeros(rate_hz * 60, np.int16))
            made.append((f"audio/{form.lower()}", out.getvalue()))
        flac, wav = item("audio", "audio/flac"), item("audio", "audio/wav")
        for samples in (2**36 - 1, 2**35, 2**33, 2**32, 2**31, 10**9, 10**8):  # RFC 9639, 8.2: 36 bits
            claimed = bytearray(flac)
            claimed[21] = claimed[21] & 0xF0 | samples >> 32
            struct.pack_into(">I", claimed, 22, samples & 0xFFFFFFFF)
            made.append(("audio/flac", bytes(claimed)))
        at = wav.index(b"data") + 4
        for size in (2**32 - 1, 2**32 - 2, 2**31, 2**31 - 2, 2**30, 10**9, 10**8):
            made.append(("audio/wav", wav[:at] + struct.pack("<I", size) + wav[at + 4 :]))
        return made
    if modality == "video":
        made = [("image/gif", tiny_gif(count, 1, 1)) for count in range(20_000, 120_000, 20_000)]
        sides = [(65_535, 65_535), (65_535, 1_000), (1_000, 65_535), (4_000, 4_000), (3_000, 2_000)]
        made += [("image/gif", tiny_gif(2, *side)) for side in sides]
        made += [("image/gif", tiny_gif(count, 1_900, 1_080)) for count in (600, 1_200, 1_800, 2_400, 3_000)]
        counts = (2**31 - 1, 2**30, 2**28, 2**26, 20_000_000)
        return made + [("video/mp4", with_sample_count(MP4, count)) for count in counts]
    if modality == "text":
        most = BY_NAME["text"].limits.max_bytes
        return [("text/plain", b"a" * (most + 1 + 997 * number)) for number in range(20)]
    shapes = ["(1099511627776,)", "(18446744073709551616, 18446744073709551616)", "(-1,)", "(0, 0, 0, 0)", "()"]
    shapes += [f"({2**power}, 3)" for power in (20, 30, 40, 50, 62)] + [
        f"(8, {10**power})" for power in (7, 9, 12, 15, 18)
    ]
    shapes += [f"({10**power}, 2, 16, 16)" for power in (5, 7, 9, 12, 15)]
    return [("application/x-npy", claiming(shape)) for shape in shapes]


@pytest.mark.slow
@pytest.mark.parametrize("modality", sorted({modality for modality, _ in KINDS}))
async def test_twenty_bombs_of_each_modality_are_refused(modality: str, decoder: Decoder) -> None:
    """Those that only claim much of what they lack may be decoded as what they are; none ends a process."""
    bombs = bombs_of(modality)
    assert len(bombs) == 20
    codes = []
    for media_type, data in bombs:
        try:
            array = await decoder.decode(modality, media_type, data)
        except Rejected as refused:
            codes.append(refused.code)
        else:
            assert array.nbytes < 1 << 20, (media_type, array.shape)
    assert not {"ARRAY_NOT_IN_CONTRACT", "ITEM_CRASHED_DECODER", "ITEM_TIMEOUT", "ITEM_BREAKS_DECODER"} & set(codes)
    assert len(codes) >= (10 if modality == "audio" else 20), codes
    assert decoder.describe()["replaced"] == 0
    for pid in decoder.pids:
        status = await asyncio.to_thread(Path(f"/proc/{pid}/status").read_text)
        (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        assert peak < 512 << 10


async def test_a_hanging_worker_is_replaced_and_the_others_go_on() -> None:
    async with running(2, item_timeout_s=5.0) as decoder:
        stopped = decoder.pids[0]
        os.kill(stopped, signal.SIGSTOP)
        texts = [b"text %d" % i for i in range(40)]
        arrays = await asyncio.gather(*(decoder.decode("text", "text/plain", text) for text in texts))
        assert [array.tobytes() for array in arrays] == texts
        assert stopped not in decoder.pids
        assert not is_running(stopped)
        assert decoder.describe()["replaced"] >= 1


async def test_a_worker_starved_again_and_again_is_not_the_items_fault(largest: bytes) -> None:
    async with running(1, item_timeout_s=2.0) as decoder:
        task = asyncio.create_task(decoder.decode("image", "image/png", largest))
        seen: set[int] = set()
        while not task.done():
            for pid in set(decoder.pids) - seen:
                os.kill(pid, signal.SIGSTOP)
                seen.add(pid)
            await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="DECODER_STALLED"):
            await task
        assert len(seen) == 2
        assert (await decoder.decode("text", "text/plain", b"two")).tobytes() == b"two"


async def test_an_item_that_computes_for_too_long_is_refused(largest: bytes) -> None:
    async with running(1, item_timeout_s=0.3) as decoder:
        end = time.monotonic() + PATIENCE_S
        code = "DECODER_STALLED"
        while code == "DECODER_STALLED" and time.monotonic() < end:
            # A busy test machine may starve the worker: then, as told, the same bytes again.
            with contextlib.suppress(PermissionError):
                for pid in decoder.pids:  # none for as long as the one that stalled is being replaced
                    os.setpriority(os.PRIO_PROCESS, pid, -20)
            with pytest.raises((Rejected, Overloaded)) as caught:
                await decoder.decode("image", "image/png", largest)
            code = caught.value.code
        assert code == "ITEM_TIMEOUT"
        assert (await decoder.decode("text", "text/plain", b"two")).tobytes() == b"two"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT])
async def test_only_a_crash_of_its_own_is_the_items_fault(number: signal.Signals) -> None:
    """No item can send SIGKILL to its worker: the kernel did, for want of memory, or an operator."""
    async with running(1, item_timeout_s=60.0) as decoder:
        before = decoder.pids
        os.kill(before[0], signal.SIGSTOP)
        jobs = [asyncio.create_task(decoder.decode("text", "text/plain", text)) for text in (b"one", b"two", b"three")]
        await has_waiting(decoder, 2)  # the worker holds the first
        os.kill(before[0], number)
        os.kill(before[0], signal.SIGCONT)
        first, *others = await asyncio.gather(*jobs, return_exceptions=True)
        if number == signal.SIGKILL:
            assert isinstance(first, np.ndarray)
        else:
            assert isinstance(first, Rejected)
            assert first.code == "ITEM_CRASHED_DECODER"
            assert f"status {-number}" in first.what
        assert [other.tobytes() for other in others if isinstance(other, np.ndarray)] == [b"two", b"three"]
        assert decoder.pids != before


HOSTILE = """
import struct, sys
source, sink = sys.stdin.buffer, sys.stdout.buffer
text, payload = bytes.fromhex(sys.argv[1]), bytes.fromhex(sys.argv[2])
source.read(1)
sink.write(struct.pack(">I", int(sys.argv[3] or len(text))) + text + payload)
sink.flush()
source.read()
"""


@pytest.mark.parametrize(
    ("header", "payload", "length"),
    [
        ('{"size":3}', b"one", ""),
        ("[1]", b"", ""),
        ("no json", b"", ""),
        ("[" * 60_000, b"", ""),
        ("{}", b"", "4294967295"),
        ('{"size":-1}', b"", ""),
        ('{"size":1e3}', b"", ""),
        ('{"size":9000000000000,"dtype":"|u1","shape":[3]}', b"", ""),
        ('{"size":8,"dtype":"|O","shape":[1]}', b"12345678", ""),
        ('{"size":8,"dtype":"<f8","shape":[1]}', b"\0" * 8, ""),
        ('{"size":3,"dtype":"|u1","shape":[3,9]}', b"one", ""),
        ('{"size":3,"dtype":"|u1","shape":[1,3]}', b"one", ""),
        ('{"size":3,"dtype":"|u1","shape":["3"]}', b"one", ""),
        ('{"size":3,"dtype":"|u1","shape":[36893488147419103232]}', b"one", ""),
        ('{"size":0,"code":1,"what":2,"remedy":3}', b"", ""),
        ('{"size":0,"code":"lower\\n","what":"a","remedy":"b"}', b"", ""),
    ],
)
async def test_what_a_taken_over_worker_answers_hurts_only_its_item(header: str, payload: bytes, length: str) -> None:
    async with running(1, item_timeout_s=60.0) as decoder:
        honest = decoder._workers[0]
        assert honest is not None
        await honest.kill()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", HOSTILE, header.encode().hex(), payload.hex(), length, stdin=-1, stdout=-1
        )
        decoder._workers[0] = DecodeWorker(process)
        with pytest.raises(Rejected, match="ITEM_CRASHED_DECODER"):
            await asyncio.wait_for(decoder.decode("text", "text/plain", b"one"), PATIENCE_S)
        assert process.returncode == -signal.SIGKILL
        after = await asyncio.wait_for(decoder.decode("text", "text/plain", b"two"), PATIENCE_S)
        assert after.tobytes() == b"two"


async def test_waiting_bytes_are_bounded() -> None:
    async with running(1, max_waiting_bytes=10_000) as decoder:
        for _ in range(3):  # what has left the queue no longer counts
            os.kill(decoder.pids[0], signal.SIGSTOP)
            jobs = [asyncio.create_task(decoder.decode("text", "text/plain", b"x"))]
            await has_waiting(decoder, 0)  # the stopped worker has taken this one
            jobs += [asyncio.create_task(decoder.decode("text", "text/plain", b"x" * 3_000)) for _ in range(3)]
            await has_waiting(decoder, 3)
            with pytest.raises(Overloaded, match="DECODER_BUSY"):
                await decoder.decode("text", "text/plain", b"x" * 3_000)
            os.kill(decoder.pids[0], signal.SIGCONT)
            await asyncio.gather(*jobs)


async def test_closing_answers_everybody_and_leaves_no_process() -> None:
    decoder = Decoder(1)
    with pytest.raises(Overloaded, match="DECODER_STOPPED"):
        await decoder.decode("text", "text/plain", b"too early")
    await decoder.start()
    (pid,) = decoder.pids
    os.kill(pid, signal.SIGSTOP)
    jobs = [asyncio.create_task(decoder.decode("text", "text/plain", b"x")) for _ in range(5)]
    await has_waiting(decoder, 4)
    await decoder.close()
    results = await asyncio.wait_for(asyncio.gather(*jobs, return_exceptions=True), PATIENCE_S)
    assert [getattr(result, "code", result) for result in results] == ["DECODER_STOPPED"] * 5
    with pytest.raises(Overloaded, match="DECODER_STOPPED"):
        await decoder.decode("text", "text/plain", b"too late")
    assert not is_running(pid)


async def test_memory_stays_bounded_under_bombs(decoder: Decoder) -> None:
    """A picture that claims little and unpacks to much: 900 MB of text chunk, 4 GB of pixel data."""
    zeros = zlib.compressobj(9)
    big = b"".join(zeros.compress(b"\0" * (1 << 24)) for _ in range(56)) + zeros.flush()
    plain = png(8, 8)
    ztxt = png_chunk(b"zTXt", b"Comment\0\0" + big)
    bombs = [plain[:33] + ztxt + plain[33:], plain[:33] + png_chunk(b"IDAT", big) + plain[-12:]]
    jobs = (decoder.decode("image", "image/png", bomb) for bomb in bombs)
    results = await asyncio.gather(*jobs, return_exceptions=True)
    allowed = {"IMAGE_NOT_DECODABLE", "ITEM_NEEDS_TOO_MUCH_MEMORY"}
    assert all(isinstance(r, np.ndarray) or (isinstance(r, Rejected) and r.code in allowed) for r in results), results
    for pid in decoder.pids:
        status = await asyncio.to_thread(Path(f"/proc/{pid}/status").read_text)
        (peak,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        assert peak < 512 << 10


async def test_a_full_queue_says_when_to_come_back() -> None:
    decoder = Decoder(1, max_waiting=3)
    await decoder.start()
    try:
        os.kill(decoder.pids[0], signal.SIGSTOP)
        waiting = [asyncio.create_task(decoder.decode("text", "text/plain", b"x"))]
        await has_waiting(decoder, 0)  # the stopped worker has taken this one
        waiting += [asyncio.create_task(decoder.decode("text", "text/plain", b"x")) for _ in range(3)]
        await has_waiting(decoder, 3)
        with pytest.raises(Overloaded) as caught:
            await decoder.decode("text", "text/plain", b"x")
        assert caught.value.retry_after_s > 0
        for task in waiting:
            task.cancel()
    finally:
        await decoder.close()


ATTEMPTS = """
import ctypes, mmap, os, signal, socket, subprocess, sys
from curiosity.serving.sandbox import drop_privileges, filter_system_calls, load_filter_library
target, arm = sys.argv[1:]
server = socket.create_server(("127.0.0.1", 0))
opened = os.open(target + ".open", os.O_CREAT | os.O_RDWR, 0o666)
os.write(opened, b"secret")
sibling = subprocess.Popen(["sleep", "5"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
libc = ctypes.CDLL(None, use_errno=True)
def thread_signal():
    if libc.syscall(234, sibling.pid, sibling.pid, 0) != 0:  # tgkill
        raise OSError(ctypes.get_errno())
def attempt(name, action):
    try:
        action(); print(name, "done", flush=True)
    except BaseException as error:
        print(name, "refused", flush=True)
library = load_filter_library()
if arm == "locked":
    drop_privileges()
if arm in ("locked", "filter"):
    assert filter_system_calls(library) == ["system-call-filter"]
attempt("connect", lambda: socket.create_connection(server.getsockname(), timeout=2))
attempt("write", lambda: open(target, "w").write("x"))
attempt("read", lambda: open("/etc/hostname").read())
attempt("write-open-file", lambda: os.write(opened, b"x"))
attempt("read-open-file", lambda: os.read(opened, 1))
attempt("executable-memory", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
attempt("signal", lambda: os.kill(os.getppid(), 0))
attempt("signal-thread", thread_signal)
attempt("trace", lambda: libc.ptrace(0x4206, sibling.pid, 0, 0) == 0 or 1 / 0)  # PTRACE_SEIZE
attempt("run", lambda: subprocess.run(["true"], check=True))
attempt("fork", lambda: os.waitpid(os.fork() or os._exit(0), 0))
attempt("listen", lambda: socket.create_server(("127.0.0.1", 0)))
if arm == "open":
    sibling.kill()
os._exit(0)
"""


@pytest.mark.parametrize("arm", ["open", "filter", "locked"])
def test_a_locked_process_can_reach_nothing(arm: str, tmp_path: Path) -> None:
    """With the defence off every attempt succeeds; with it on none does, and the filter alone is enough."""
    command = [sys.executable, "-c", ATTEMPTS, str(tmp_path / "file"), arm]
    output = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True).stdout
    expected = "done" if arm == "open" else "refused"
    assert [line.split()[1] for line in output.splitlines()] == [expected] * 12, output


def test_workers_die_with_their_parent() -> None:
    script = (
        "import asyncio, time\nfrom curiosity.serving.decode import Decoder\n"
        "async def main():\n    d = Decoder(2); await d.start(); print(*d.pids, flush=True); await asyncio.Future()\n"
        "asyncio.run(main())"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    for pid in pids:
        eventually(lambda pid=pid: not is_running(pid), f"worker {pid} outlived its parent")  # type: ignore[misc]


def test_the_worker_imports_no_torch() -> None:
    check = "import sys, curiosity.serving.sandbox as s; s.warm_up(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True, timeout=PATIENCE_S)
