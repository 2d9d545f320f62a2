"""How a picture is turned: the one thing that its notes (EXIF, XMP) say of its pixels.

EXIF is read here only as far as the entry of the orientation goes. A file may hold thousands of entries that all name
the same bytes, and a reader that copies each of them does work that no length of the file bounds.
"""

import re
import struct
from typing import Any, Final

from PIL import Image as Pillow

_ORIENTATION: Final = 0x0112
# Bytes of one value by type (TIFF 6.0, section 2; 13 and 16 are those of its supplements).
_UNIT: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8}
_LONGEST: Final = 8  # bytes of the longest single value
_XMP: Final = re.compile(rb'tiff:Orientation(="|>)([0-9])')
_WAYS: Final = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}


def find_turn(exif: bytes, xmp: bytes) -> Pillow.Transpose | None:
    """Return what stands the picture upright, None where it does; XMP counts where EXIF does not say.

    EXIF that is broken says nothing.
    """
    found = _find_entry(exif)
    if found is None:
        match = _XMP.search(xmp)
        return _WAYS.get(int(match[2])) if match else None
    order, entry, far = found
    # A directory of that entry alone: what its number means is for Pillow to say.
    at = struct.pack(order + "I", 8 + 2 + 12 + 4)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    notes = Pillow.Exif()
    notes.load(head + entry[:8] + (at if far else entry[8:]) + bytes(4) + far)
    value: Any = notes.get(_ORIENTATION)  # a number, or a tuple or text that is none of those
    return _WAYS.get(value)


def _find_entry(exif: bytes) -> tuple[str, bytes, bytes] | None:
    """Return byte order, the last entry of the orientation and what it names elsewhere; None without one.

    Entries behind one that names bytes past the end do not count, as in Pillow.
    """
    start = 0
    while exif.startswith(b"Exif\0\0", start):
        start += 6
    tiff = memoryview(exif)[start:]
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(bytes(tiff[:4]), "")
    if not order or len(tiff) < 8:
        return None
    (at,) = struct.unpack_from(order + "I", tiff, 4)
    if at + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(order + "H", tiff, at)
    found = None
    for number in range(count):
        place = at + 2 + 12 * number
        if place + 12 > len(tiff):
            break
        tag, kind, values, offset = struct.unpack_from(order + "HHII", tiff, place)
        size = values * _UNIT.get(kind, 0)
        if size == 0:
            continue
        if size > 4 and offset + size > len(tiff):
            break
        if tag == _ORIENTATION:
            entry, far = bytes(tiff[place : place + 12]), b""
            if size > _LONGEST:  # no single number, so it turns nothing; told as text of one byte
                entry = struct.pack(order + "HHI4s", tag, 2, 1, b"")
            elif size > 4:
                far = bytes(tiff[offset : offset + size])
            found = (order, entry, far)
    return found
