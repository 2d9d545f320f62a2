"""Sensor items: every rule of the .npy reader has its own code, and nothing is mended, cut or clamped."""

import math
import struct
import tracemalloc
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

from curiosity.embedding.modalities import MODALITIES, decode, find
from curiosity.embedding.modality import check_contract
from curiosity.protocol.errors import Rejected
from tests.material import modality
from tests.material.modality import npy, sensor

MEDIA_TYPE = "application/x-npy"
SENSORS = tuple(modality.name for modality in MODALITIES if modality.media_types == (MEDIA_TYPE,))


def lying(header: str, payload: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    """A file whose header is this text."""
    text = header.encode("latin1")
    length = struct.pack("<H" if version[0] == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + payload


def claim(shape: object, descr: str = "<f4", order: object = False) -> str:
    return f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': {shape}, }}"


def changed(name: str, index: tuple[int, ...], value: float) -> bytes:
    array = sensor(name)
    array[index] = value
    return npy(array)


code_of = partial(modality.code_of, media_type=MEDIA_TYPE)


def test_every_sensor_of_the_project_is_here() -> None:
    assert SENSORS == ("point_cloud", "touch", "pressure", "emg", "action")


@pytest.mark.parametrize("name", SENSORS)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_what_numpy_writes_is_read_bit_for_bit(name: str, version: tuple[int, int]) -> None:
    array = decode(name, npy(sensor(name), version), MEDIA_TYPE)
    assert array.dtype == np.float32
    assert array.flags.c_contiguous
    assert array.flags.aligned
    assert array.tobytes() == sensor(name).tobytes()
    check_contract(find(name), array)


LONGEST: dict[str, tuple[int, ...]] = {
    "point_cloud": (16_384, 3),
    "touch": (1_000, 2, 16, 16),
    "pressure": (30_000,),
    "emg": (8, 30_000),
    "action": (1_000, 7),
}
SHORTEST: dict[str, tuple[int, ...]] = {
    "point_cloud": (16, 3),
    "touch": (1, 2, 16, 16),
    "pressure": (16,),
    "emg": (8, 16),
    "action": (2, 7),
}


@pytest.mark.parametrize("name", SENSORS)
def test_lengths_are_taken_up_to_their_ends_and_refused_beyond(name: str) -> None:
    for shapes, step, code in ((LONGEST, 1, "ARRAY_TOO_LONG"), (SHORTEST, -1, "ARRAY_TOO_SHORT")):
        shape = shapes[name]
        assert decode(name, npy(np.zeros(shape, dtype="<f4")), MEDIA_TYPE).shape == shape
        axis = len(shape) - 1 if name == "emg" else 0
        beyond = tuple(length + step * (at == axis) for at, length in enumerate(shape))
        assert code_of(name, npy(np.zeros(beyond, dtype="<f4"))) == code


@pytest.mark.parametrize("name", SENSORS)
def test_the_largest_array_fits_in_max_bytes(name: str) -> None:
    limit = find(name).limits.max_bytes
    size = len(npy(np.zeros(LONGEST[name], dtype="<f4")))
    assert size <= limit < size + 4_097
    assert code_of(name, bytes(limit + 1)) == "ITEM_TOO_LARGE"


@pytest.mark.parametrize(
    ("name", "shape", "code"),
    [
        ("point_cloud", (40,), "ARRAY_RANK"),
        ("point_cloud", (40, 4), "ARRAY_SHAPE"),
        ("touch", (2, 16, 16), "ARRAY_RANK"),
        ("touch", (3, 3, 16, 16), "ARRAY_SHAPE"),
        ("touch", (3, 2, 16, 8), "ARRAY_SHAPE"),
        ("pressure", (50, 1), "ARRAY_RANK"),
        ("emg", (50,), "ARRAY_RANK"),
        ("emg", (20, 8), "ARRAY_SHAPE"),
        ("action", (7,), "ARRAY_RANK"),
        ("action", (12, 6), "ARRAY_SHAPE"),
        ("action", (0, 7), "ARRAY_TOO_SHORT"),
        ("pressure", (0,), "ARRAY_TOO_SHORT"),
        ("pressure", (), "ARRAY_RANK"),
    ],
)
def test_wrong_ranks_and_shapes(name: str, shape: tuple[int, ...], code: str) -> None:
    assert code_of(name, npy(np.zeros(shape, dtype="<f4"))) == code


@pytest.mark.parametrize("name", SENSORS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(name: str, value: float) -> None:
    assert code_of(name, changed(name, (0,) * sensor(name).ndim, value)) == "ARRAY_NOT_FINITE"


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("point_cloud", -100.0, 100.0),
        ("touch", 0.0, 1_000.0),
        ("pressure", -1_000.0, 1_000.0),
        ("emg", -10_000.0, 10_000.0),
    ],
)
def test_ranges_are_closed_and_nothing_is_clamped(name: str, low: float, high: float) -> None:
    first = (0,) * sensor(name).ndim
    for end, beyond in ((low, -np.inf), (high, np.inf)):
        assert decode(name, changed(name, first, end), MEDIA_TYPE)[first] == np.float32(end)
        outside = np.nextafter(np.float32(end), np.float32(beyond))
        assert code_of(name, changed(name, first, outside)) == "ARRAY_OUT_OF_RANGE"


@pytest.mark.parametrize("column", range(7))
def test_every_column_of_an_action_has_its_own_range(column: int) -> None:
    low, high = [*[(-2.0, 2.0)] * 3, *[(-math.pi, math.pi)] * 3, (0.0, 1.0)][column]
    for end, beyond in ((low, -np.inf), (high, np.inf)):
        assert decode("action", changed("action", (3, column), end), MEDIA_TYPE)[3, column] == np.float32(end)
        outside = np.nextafter(np.float32(end), np.float32(beyond))
        with pytest.raises(Rejected, match="ARRAY_COLUMN_OUT_OF_RANGE") as refused:
            decode("action", changed("action", (3, column), outside), MEDIA_TYPE)
        name = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")[column]
        assert f"{name} is " in refused.value.what
        assert "at step 3" in refused.value.what
        array = sensor("action")
        array[3, column] = outside
        with pytest.raises(Rejected, match="ARRAY_NOT_IN_CONTRACT") as refused:
            check_contract(find("action"), array)
        assert f"{name} " in refused.value.what


DTYPES = ["<f8", "<f2", ">f4", "<i4", "|u1", "|b1", "<c8", "|S4", "<U1", "|V4", "<M8[s]"]


@pytest.mark.parametrize("descr", DTYPES)
def test_other_types_are_refused_and_not_converted(descr: str) -> None:
    array = np.zeros(50, dtype=descr)
    data = lying(claim((50,), descr), array.tobytes())
    assert code_of("pressure", data) == "ARRAY_DTYPE"


def test_objects_and_structures_are_refused() -> None:
    assert code_of("pressure", lying(claim((50,), "|O"), bytes(400))) == "ARRAY_DTYPE"
    structured = np.zeros(50, dtype=[("a", "<f4")])
    for version in ((1, 0), (2, 0)):
        assert code_of("pressure", npy(structured, version)) == "ARRAY_DTYPE"
    assert code_of("pressure", npy(np.zeros(50, dtype=[("ä€", "<f4")]), (3, 0))) == "ARRAY_DTYPE"
    sub = "{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (25,), }"
    assert code_of("pressure", lying(sub, bytes(200))) == "ARRAY_DTYPE"


def test_fortran_order_is_refused() -> None:
    assert code_of("point_cloud", npy(np.asfortranarray(sensor("point_cloud")))) == "ARRAY_ORDER"


@pytest.mark.parametrize("name", SENSORS)
def test_missing_and_trailing_bytes(name: str) -> None:
    data = npy(sensor(name))
    assert code_of(name, data[:-1]) == "ARRAY_TRUNCATED"
    assert code_of(name, data[: len(data) // 2]) == "ARRAY_TRUNCATED"
    assert code_of(name, data + b"\0") == "ARRAY_TRAILING_BYTES"
    assert code_of(name, data * 2) == "ARRAY_TRAILING_BYTES"


@pytest.mark.parametrize("shape", ["(1099511627776,)", "(4294967296, 4294967296)", f"({'9' * 400},)", "(3,)"])
def test_a_header_that_lies_about_the_shape_allocates_nothing(shape: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Rejected, match="ARRAY_TRUNCATED") as refused:
            decode("pressure", lying(claim(shape), bytes(8)), MEDIA_TYPE)
        assert len(refused.value.what) < 200
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**20


UNREADABLE = {
    "no magic": b"numbers",
    "magic alone": b"\x93NUMPY\x01\x00",
    "version 4": lying(claim((50,)), bytes(200), (4, 0)),
    "header longer than the file": b"\x93NUMPY\x01\x00\xff\xff{",
    "header of 60 KB": lying(claim((50,)) + " " * 60_000, bytes(200)),
    "no dictionary": lying("[1, 2]", bytes(200)),
    "a call": lying("__import__('os').getcwd()", bytes(200)),
    "deep nesting": lying("(" * 900, bytes(200)),
    "missing key": lying("{'descr': '<f4', 'shape': (50,)}", bytes(200)),
    "key too many": lying("{'descr': '<f4', 'fortran_order': False, 'shape': (50,), 'x': 1}", bytes(200)),
    "python 2 numbers": lying(claim("(50L,)"), bytes(200)),
    "negative length": lying(claim("(-50,)"), bytes(200)),
    "true for a length": lying(claim("(True,)"), bytes(4)),
    "shape no tuple": lying(claim("50"), bytes(200)),
    "order no truth": lying(claim("(50,)", order=2), bytes(200)),
    "no such type": lying(claim("(50,)", "no-type"), bytes(200)),
}


@pytest.mark.parametrize("data", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_files_that_are_none(data: bytes) -> None:
    assert code_of("pressure", data) == "ARRAY_UNREADABLE"


def test_an_unaligned_header_still_gives_an_aligned_array() -> None:
    values: NDArray[np.float32] = sensor("pressure")
    for spaces in range(4):
        array = decode("pressure", lying(claim((50,)) + " " * spaces + "\n", values.tobytes()), MEDIA_TYPE)
        assert array.flags.aligned
        assert np.array_equal(array, values)
