"""Pictures and sounds of packages, turned into what a pair set holds, in a process of its own."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, Final, Self, cast

import numpy as np
import numpy.typing as npt

from curiosity.protocol.errors import SourceError
from curiosity.protocol.json_reader import read_json

SIDE_PX: Final = 384
"""Longest side of a picture in a set: more than a tower looks at."""
MAX_S: Final = 30.0
"""Longest sound: more is not taken as an item."""
_TIMEOUT_S: Final = 120.0


class MediaConverter:
    """One converting child process, started when first needed and again after a file that ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def convert_picture(self, data: bytes, *, where: str) -> tuple[bytes, npt.NDArray[np.float32]]:
        """Return PNG on white with no side over `SIDE_PX`, and float32[1728]: the picture at 24 px, for `find_twins`.

        Raises:
            SourceError: BROKEN_FILE, IMAGE_TOO_LARGE, IMAGE_EMPTY, CONVERT_FAILED (the decoder died or hung).
        """
        png, small = self._ask({"kind": "picture", "side_px": SIDE_PX}, data, where, parts=2)
        return png, np.frombuffer(small, np.uint8).astype(np.float32)

    def convert_sound(self, data: bytes, *, where: str) -> bytes:
        """Return FLAC of 16 bits at the sound's own rate.

        Raises:
            SourceError: BROKEN_FILE, AUDIO_FORMAT, AUDIO_TOO_LONG, AUDIO_EMPTY, CONVERT_FAILED.
        """
        return self._ask({"kind": "sound", "max_s": MAX_S}, data, where, parts=1)[0]

    def _ask(self, request: dict[str, Any], data: bytes, where: str, *, parts: int) -> list[bytes]:
        answered = self._exchange(json.dumps(request | {"bytes": len(data)}).encode() + b"\n" + data)
        if answered is None:
            self.stop()
            raise SourceError(
                "CONVERT_FAILED",
                f"{where}: its decoder ended or took over {_TIMEOUT_S:.0f} s on {len(data)} bytes",
                "Leave the file out, or save it again.",
            )
        header, made = answered
        if "code" in header:
            raise SourceError(
                header["code"], f"{where}: {header['what']}", "Check that it opens in a viewer or player."
            )
        if len(made) != parts:
            raise SourceError("CONVERT_FAILED", f"{where}: {len(made)} parts, not {parts}", "Leave the file out.")
        return made

    def _exchange(self, request: bytes) -> tuple[dict[str, Any], list[bytes]] | None:
        """Return header and parts of the answer; None when the process died or was killed because it took too long."""
        process = self._start()
        to_worker, from_worker = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
        hung = threading.Timer(_TIMEOUT_S, process.kill)
        hung.start()
        try:
            to_worker.write(request)
            to_worker.flush()
            line = from_worker.readline()
            header = read_json(line) if line.endswith(b"\n") else None
            if not isinstance(header, dict):
                return None
            sizes = header.get("sizes", [])
            made = [from_worker.read(size) for size in sizes]
            return (header, made) if [len(part) for part in made] == sizes else None
        except (BrokenPipeError, ValueError):
            return None
        finally:
            hung.cancel()

    def _start(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            script = Path(__file__).with_name("media_worker.py")
            # Isolated (-I): the worker sees the standard library and installed packages, nothing of ours.
            self._process = subprocess.Popen(
                [sys.executable, "-I", str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath, "OPENBLAS_NUM_THREADS": "1"},
            )
        return self._process

    def stop(self) -> None:
        """End the child process, if one runs."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()
