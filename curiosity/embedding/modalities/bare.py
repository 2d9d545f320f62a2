"""Pictures cut down to the bytes that decide about their pixels, before a decoder sees them.

Decoders read texts, colour profiles, comments and thumbnails too: they inflate and join them, which no header declares,
and then throw them away. What is left out is counted: ``spare`` bytes travel with a picture and are served, and say
nothing. `curiosity.sources.own.strip` takes them out of what contributors send.
"""

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Final

from PIL import Image as Pillow

from curiosity.embedding.modalities.turn import find_turn

_PNG: Final = b"\x89PNG\r\n\x1a\n"
# Bytes of content that chunks in front of the pixels need. Those of an animation stay: it is refused by them.
_PNG_NEEDED: Final = {b"IHDR": 13, b"PLTE": 768, b"tRNS": 256, b"acTL": 8, b"fcTL": 26}
_PNG_PIXELS: Final = (b"IDAT", b"DDAT", b"fdAT")  # what Pillow takes for pixels once the first has come
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_CHUNK_NAME: Final = re.compile(rb"[A-Za-z0-9_]{4}")
_MAX_NOTE_BYTES: Final = 1 << 20  # a compressed text that is longer says nothing
_XMP_KEY, _PROFILE_KEY, _EXIF_KEY = b"XML:com.adobe.xmp", b"Raw profile type exif", b"exif"
_JPEG_MARKER: Final = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # neither a stuffed byte nor a restart
_JFIF_BYTES, _ADOBE_BYTES = 18, 16  # with marker and length
_JPEG_LINES: Final = 0xDC  # the number of lines, which decoders skip
_WEBP_KEPT: Final = {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}
_WEBP_HEADS: Final = {b"VP8X": 10, b"ANIM": 6}  # bytes of content
_WEBP_NOTES: Final = 0x20 | 0x08 | 0x04  # flags of an ICC profile, EXIF and XMP (RFC 9649, section 2.7.1)


@dataclass(frozen=True)
class Bare:
    """A picture without what does not decide about its pixels.

    Attributes:
        data: The file as it goes to the decoder.
        spare: Bytes of the whole file that the pixels do not need.
        turn: What stands the picture upright; None where it does.
    """

    data: bytes
    spare: int
    turn: Pillow.Transpose | None = None


def bare_picture(data: bytes, media_type: str) -> Bare:
    """Return a PNG, JPEG or WebP cut down.

    Raises:
        ValueError: a part that stands before the pixels is damaged (struct.error and IndexError too).
    """
    if media_type == "image/png":
        return _bare_png(data)
    return _bare_jpeg(data) if media_type == "image/jpeg" else _bare_webp(data)


def bare_gif(data: bytes) -> Bare:
    """Return a GIF with its frames and their timing alone (GIF89a, sections 17 to 27).

    Raises:
        IndexError: it ends within a block. ValueError: a byte starts no block.
    """
    at = 13 + _table_bytes(data[10])
    kept, needed = [data[:at]], at + 1
    while (kind := data[at]) != 0x3B:
        start = at
        if kind == 0x2C:
            wide, high, flags = struct.unpack_from("<HHB", data, at + 5)
            table = _table_bytes(flags)
            at = _skip_blocks(data, at + 11 + table)
            kept.append(data[start:at])
            # No code is longer than 12 bits, and a writer clears its table at most once a pixel.
            needed += min(at - start, 11 + table + 4 * wide * high + 1024)
        elif kind == 0x21:
            at = _skip_blocks(data, at + 2)
            if data[start + 1] == 0xF9:
                size = data[start + 2]
                block = data[start : start + 3 + size] + b"\0" * (size > 0)
                kept.append(block)
                needed += min(len(block), 8)
        else:
            raise ValueError(f"byte {at} is {kind:#04x}, no block")
    return Bare(b"".join(kept) + b"\x3b", len(data) - needed)


def _table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(data: bytes, at: int) -> int:
    while data[at]:
        at += data[at] + 1
    return at + 1


def _bare_png(data: bytes) -> Bare:
    if not data.startswith(_PNG):
        raise ValueError("no PNG signature")
    kept, notes, seen = [_PNG], dict[bytes, tuple[bytes, bytes]](), set[bytes]()
    at, needed, header, kind = len(_PNG), len(_PNG), b"", b""
    while True:  # in front of the pixels, where every checksum counts
        size, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + size
        if not _CHUNK_NAME.fullmatch(kind):
            raise ValueError(f"chunk {kind!r}")
        if kind in _PNG_PIXELS or kind == b"IEND":
            break
        content = data[at + 8 : end - 4]
        if end > len(data) or zlib.crc32(content, zlib.crc32(kind)) != int.from_bytes(data[end - 4 : end], "big"):
            raise ValueError(f"wrong checksum in chunk {kind!r}")
        if kind in _PNG_NEEDED:
            kept.append(data[at:end])
            needed += 12 + min(size, _PNG_NEEDED[kind]) if kind not in seen else 0
            seen.add(kind)
            header = content if kind == b"IHDR" else header
        else:
            _take_note(notes, kind, content)
        at = end
    start, pixels = at, 0
    while at < len(data):  # the pixels: chunks in one row, whatever is wrong with them is for the decoder to say
        size, kind = struct.unpack_from(">I4s", data.ljust(at + 8, b"\0") if at + 8 > len(data) else data, at)
        if kind not in _PNG_PIXELS:
            break
        pixels += size
        at = min(at + 12 + size, len(data))
    kept += [data[start:at], b"\0\0\0\0IEND\xaeB`\x82" if at < len(data) else b""]
    needed += at - start - max(0, pixels - _most_png_bytes(header)) + (12 if at < len(data) else 0)
    while at + 12 <= len(data):  # behind the pixels only notes count
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"IEND" or at + 12 + size > len(data):
            break
        _take_note(notes, kind, data[at + 8 : at + 8 + size])
        at += 12 + size
    exif = _read_note(notes, _EXIF_KEY) if _EXIF_KEY in notes else _unhex(_read_note(notes, _PROFILE_KEY))
    return Bare(b"".join(kept), len(data) - needed, find_turn(exif, _read_note(notes, _XMP_KEY)))


def _most_png_bytes(header: bytes) -> int:
    """Return the most that a writer makes of pixels that it cannot compress; interlacing adds bytes to every row."""
    if len(header) < 13:
        return 0
    wide, high, depth, colours = struct.unpack_from(">IIBB", header)
    rows = high * (5 + (wide * depth * _PNG_CHANNELS.get(colours, 4) + 7) // 8)
    return int(rows + rows // 64 + 1024)


def count_behind_pixels(data: bytes) -> int:
    """Return how many bytes of a sound PNG's pixel chunks stand behind the end of what unpacks to pixels.

    Raises:
        zlib.error: They do not unpack. struct.error: it ends within a chunk.
    """
    at, pixels = len(_PNG), list[bytes]()
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        if kind in _PNG_PIXELS:
            pixels.append(data[at + 8 : at + 8 + size])
        elif pixels:
            break
        at += 12 + size
    wide, high, depth, colours = struct.unpack_from(">IIBB", data, len(_PNG) + 8)
    # Seven passes of an interlaced picture have their own filter byte in each row, and rows filled up to bytes.
    most = 2 * high * (wide + 8 + (wide * depth * _PNG_CHANNELS.get(colours, 4) + 7) // 8)
    unpacking, packed, done = zlib.decompressobj(), b"".join(pixels), 0
    while packed and not unpacking.eof and done <= most:
        done += len(unpacking.decompress(packed, _MAX_NOTE_BYTES))
        packed = unpacking.unconsumed_tail
    return len(unpacking.unused_data) + len(packed)


def _take_note(notes: dict[bytes, tuple[bytes, bytes]], kind: bytes, content: bytes) -> None:
    """Keep what may say how the picture is turned; of two that say it in the same place the later counts."""
    if kind == b"eXIf":
        notes[_EXIF_KEY] = (kind, content)
    elif kind in (b"tEXt", b"zTXt", b"iTXt"):
        key, _, rest = content.partition(b"\0")
        if key in (_XMP_KEY, _PROFILE_KEY) or (key == _EXIF_KEY and kind == b"tEXt"):
            notes[key] = (kind, rest)


def _read_note(notes: dict[bytes, tuple[bytes, bytes]], key: bytes) -> bytes:
    """Return the text of a note, inflated where it is compressed; empty where it cannot be, or is too long."""
    kind, text = notes.get(key, (b"", b""))
    if kind not in (b"zTXt", b"iTXt"):
        return text
    if kind == b"zTXt":
        packed, method, body = True, text[:1], text[1:]
    else:
        packed, method = text[:1] != b"\0", text[1:2]
        parts = text[2:].split(b"\0", 2)
        body = parts[2] if len(parts) == 3 else b""
    if not packed:
        return body
    if method != b"\0":
        return b""
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(body, _MAX_NOTE_BYTES)
    except zlib.error:
        return b""
    return b"" if unpacking.unconsumed_tail else plain


def _unhex(profile: bytes) -> bytes:
    """Return the EXIF in a profile as ImageMagick writes it: three lines, then hexadecimal digits."""
    try:
        return bytes.fromhex(b"".join(profile.split(b"\n")[3:]).decode("ascii"))
    except ValueError:
        return b""


def _bare_jpeg(data: bytes) -> Bare:
    if not data.startswith(b"\xff\xd8\xff"):
        raise ValueError("no JPEG start marker")
    kept, at, needed, exif, xmp, seen = [b"\xff\xd8"], 2, 2, list[bytes](), b"", set[int]()
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):  # what stands between segments is passed over
        marker = data[at + 1]
        if marker in (0x00, 0xFF):
            at += 1
            continue
        if marker == 0xD9:
            kept.append(b"\xff\xd9")
            needed += 2
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            kept.append(data[at : at + 2])
            at += 2
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if end < at + 4:
            raise ValueError(f"segment {marker:#x} has no length")
        content = data[at + 4 : end]
        if marker == 0xE1 and content.startswith(b"Exif\0\0"):
            exif.append(content[6:])
        elif marker == 0xE1 and content.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            xmp = content.partition(b"\0")[2]
        elif content.startswith({0xE0: b"JFIF\0", 0xEE: b"Adobe"}.get(marker, b"\0" * 8 + b"none")):
            kept.append(data[at:end])
            needed += min(end - at, _JFIF_BYTES if marker == 0xE0 else _ADOBE_BYTES) if marker not in seen else 0
            seen.add(marker)
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            if marker == 0xDA:
                following = _JPEG_MARKER.search(data, end)
                end = following.start() if following else len(data)
            kept.append(data[at:end])
            needed += end - at if marker != _JPEG_LINES else 0
        at = end
    return Bare(b"".join(kept), len(data) - min(needed, len(data)), find_turn(b"".join(exif), xmp))


def _bare_webp(data: bytes) -> Bare:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise ValueError("no WebP header")
    end = 8 + int.from_bytes(data[4:8], "little")
    kept, notes, flags, at = list[bytes](), dict[bytes, bytes](), 0, 12
    needed, seen = 12, set[bytes]()
    while at + 8 <= min(end, len(data)):
        kind, size = struct.unpack_from("<4sI", data, at)
        content = data[at + 8 : at + 8 + size]
        if len(content) < size or end > len(data):
            raise ValueError(f"chunk {kind!r} ends past the file")
        if kind == b"VP8X" and size:
            flags = flags or content[0]
            content = bytes([content[0] & ~_WEBP_NOTES]) + content[1:]
        if kind in _WEBP_KEPT:
            kept.append(data[at : at + 8] + content + b"\0" * (size % 2))
            if kind not in seen or kind == b"ANMF":
                needed += 8 + min(size + size % 2, _WEBP_HEADS.get(kind, size + 1))
            seen |= {b"VP8 ", b"VP8L"} if kind in (b"VP8 ", b"VP8L") else {kind}
        else:
            notes.setdefault(kind, content)
        at += 8 + size + size % 2
    body = b"WEBP" + b"".join(kept)
    exif = notes.get(b"EXIF", b"") if flags & 0x08 else b""
    xmp = notes.get(b"XMP ", b"") if flags & 0x04 else b""
    whole = b"RIFF" + len(body).to_bytes(4, "little") + body
    return Bare(whole, max(0, len(data) - needed), find_turn(exif, xmp))
