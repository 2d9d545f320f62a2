"""A decode worker: ``python -m curiosity.serving.sandbox``.

Reads items on stdin, writes arrays on stdout, and can do nothing else. Before the first item it gives up everything it
does not need: its user, memory and file limits, new privileges, and, where libseccomp is installed, every system call
but those that computing on pipes takes. Frames in both directions are a 4-byte big-endian length, a JSON header of that
length, and ``header["size"]`` raw bytes. No pickle.
"""

import json
import os
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from curiosity.protocol.json_reader import read_json

# Address space beyond what the libraries take: the largest picture that a modality takes, 50 million RGBA pixels, needs
# 955 MiB. An item within the published limits must not be refused for memory.
MEMORY_BYTES = 1 << 30
MAX_FILES = 64
NOBODY = 65_534
_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38

# What numpy, Pillow, libsndfile and FFmpeg call once they are loaded. Everything else answers EPERM, and so do the
# calls that `filter_system_calls` allows with some arguments only.
_ALLOWED = (
    "lseek", "fstat", "close", "munmap", "mremap", "brk", "madvise", "futex", "rt_sigaction", "rt_sigprocmask",
    "rt_sigreturn", "sigaltstack", "exit", "exit_group", "clock_gettime", "clock_getres", "clock_nanosleep",
    "nanosleep", "gettimeofday", "getrandom", "sched_yield", "sched_getaffinity", "getpid", "gettid", "poll", "ppoll",
    "select", "pselect6", "restart_syscall", "membarrier", "rseq", "set_robust_list", "getrusage",
)  # fmt: skip
_PROT_EXEC = 4


def drop_privileges() -> list[str]:
    """Give up user, limits and new privileges; return the names of the protections that are in force. Linux only."""
    import ctypes

    protections = []
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        protections.append("unprivileged-user")
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0:  # after setuid, which clears it
            protections.append("dies-with-parent")
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            protections.append("no-new-privileges")
    for name, limit in (
        (resource.RLIMIT_AS, _address_space() + MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, MAX_FILES),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(name, (limit, limit))
    os.chdir("/")
    return [*protections, "resource-limits"]


def _address_space() -> int:
    """Return how many bytes of address space the process has mapped."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 1 << 30


def load_filter_library() -> Any:
    """Return pyseccomp, None where libseccomp is missing. Loading it starts a child process, so do it early."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import pyseccomp
    except (ImportError, OSError, RuntimeError, AttributeError):
        return None
    return pyseccomp


def filter_system_calls(pyseccomp: Any) -> list[str]:
    """Allow only what decoding takes; every other system call answers EPERM.

    Beyond `_ALLOWED`: reading from stdin, writing to stdout, memory that is not executable, and signals to itself
    (how ``abort`` ends a process). Returns ["system-call-filter"], [] where libseccomp is missing.
    """
    import errno

    if pyseccomp is None:
        return []
    rules = pyseccomp.SyscallFilter(pyseccomp.ERRNO(errno.EPERM))
    only = pyseccomp.Arg
    restricted = (
        ("read", only(0, pyseccomp.EQ, 0)),
        ("write", only(0, pyseccomp.EQ, 1)),
        ("mmap", only(2, pyseccomp.MASKED_EQ, _PROT_EXEC, 0)),
        ("mprotect", only(2, pyseccomp.MASKED_EQ, _PROT_EXEC, 0)),
        ("tgkill", only(0, pyseccomp.EQ, os.getpid())),
    )
    for name, *arguments in (*((name,) for name in _ALLOWED), *restricted):
        try:
            rules.add_rule(pyseccomp.ALLOW, name, *arguments)
        except (OSError, ValueError):
            continue  # this architecture has no such call
    rules.load()
    return ["system-call-filter"]


def warm_up() -> None:
    """Load every codec and lazy import now: afterwards no file can be opened."""
    import io
    import unicodedata  # noqa: F401 - Python's own parser wants it for a name that is not ASCII, in a header of NumPy's

    import av
    import numpy as np
    import soundfile
    from PIL import Image

    from curiosity.embedding.modalities import BY_NAME
    from curiosity.embedding.modalities import decode as decode_only
    from curiosity.embedding.work import measure
    from curiosity.protocol.errors import Rejected

    def decode(name: str, data: bytes, media_type: str) -> None:
        measure(name, data, media_type)
        decode_only(name, data, media_type)

    Image.init()
    for form in ("PNG", "JPEG", "WEBP"):
        buffer = io.BytesIO()
        Image.new("RGB", (40, 24), (200, 30, 30)).save(buffer, form)
        decode("image", buffer.getvalue(), f"image/{form.lower()}")
    tone = (0.1 * np.sin(np.arange(22_050) / 9.0)).astype(np.float32)
    for form in ("WAV", "FLAC", "OGG"):
        buffer = io.BytesIO()
        soundfile.write(buffer, tone, 22_050, format=form)
        decode("audio", buffer.getvalue(), f"audio/{form.lower()}")
    stills = [Image.new("RGB", (64, 64), (shade, 30, 30)) for shade in (20, 90, 160)]
    buffer = io.BytesIO()
    stills[0].save(buffer, "GIF", save_all=True, append_images=stills[1:])
    decode("video", buffer.getvalue(), "image/gif")
    for form, codec in (("mp4", "libx264"), ("webm", "libvpx")):
        buffer = io.BytesIO()
        with av.open(buffer, "w", format=form) as container:
            stream = cast(av.VideoStream, container.add_stream(codec, rate=10))
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            stream.codec_context.thread_count = 1
            for still in stills:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(still), format="rgb24")))
            container.mux(stream.encode())
        decode("video", buffer.getvalue(), f"video/{form}")
    buffer = io.BytesIO()
    np.save(buffer, np.ones((16, 3), dtype=np.float32))
    decode("point_cloud", buffer.getvalue(), "application/x-npy")
    decode("text", b"warm up", "text/plain")
    for modality in BY_NAME.values():
        for media_type in modality.media_types:
            try:
                decode(modality.name, b"broken", media_type)
            except Rejected:
                continue


def read_frame(stream: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Return the next header and its payload; None at the end of the stream."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    (length,) = struct.unpack(">I", head)
    header = read_json(stream.read(length))
    return header, stream.read(header["size"])


def frame(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """Return a frame's head; ``size`` is filled in. The payload follows it."""
    text = json.dumps(header | {"size": len(payload)}).encode()
    return struct.pack(">I", len(text)) + text


def serve(
    source: BinaryIO,
    sink: BinaryIO,
    decode: Callable[[str, bytes, str], Any],
    measure: Callable[[str, bytes, str], int],
    protections: list[str],
) -> None:
    """Answer frames until the source ends. The first frame out says which protections are in force.

    What an item costs is measured by its headers and compared with the budget that came with it before it is decoded.
    """
    import numpy as np

    from curiosity.embedding.work import Budget, check_spare
    from curiosity.protocol.errors import Rejected

    sink.write(frame({"protections": protections}))
    sink.flush()
    while (received := read_frame(source)) is not None:
        header, data = received
        payload, work = b"", len(data)
        try:
            work = measure(header["modality"], data, header["media_type"])
            if header["budget"] is not None:
                Budget(*header["budget"]).check(work, len(data), header["media_type"])
            if header.get("kept"):
                check_spare(header["modality"], data, header["media_type"])
            array = np.ascontiguousarray(decode(header["modality"], data, header["media_type"]))
            payload = array.tobytes()
            answer = {"dtype": array.dtype.str, "shape": list(array.shape)}
        except Rejected as refusal:
            answer = {"code": refusal.code, "what": refusal.what, "remedy": refusal.remedy}
        except MemoryError:
            answer = {
                "code": "ITEM_NEEDS_TOO_MUCH_MEMORY",
                "what": f"decoding {len(data)} bytes took over {MEMORY_BYTES >> 20} MiB",
                "remedy": "Make the item smaller.",
            }
        except Exception as error:  # noqa: BLE001 - a codec's failure on hostile bytes is the item's fault, whatever it is
            answer = {
                "code": "ITEM_BREAKS_DECODER",
                "what": f"the decoder failed with {type(error).__name__}: {str(error)[:200]}",
                "remedy": "Write the file again with a common program.",
            }
        sink.write(frame(answer | {"work": work}, payload))
        sink.write(payload)
        sink.flush()


def main() -> None:
    """Warm up, lock down, serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes our stdin
    from curiosity.embedding.modalities import decode
    from curiosity.embedding.work import measure

    source, sink = sys.stdin.buffer, sys.stdout.buffer
    warm_up()
    library = load_filter_library()
    # From here on a codec that was taken over could write what it likes into the service's log.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    protections = drop_privileges() + filter_system_calls(library)
    serve(source, sink, decode, measure, protections)


if __name__ == "__main__":
    main()
