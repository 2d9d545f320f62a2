"""Metadata taken out of a contributor's files before they are hashed: places, serial numbers, thumbnails, tags.

Lossless: pixels and samples stay as they are. Containers are parsed, and only what is needed to decode is kept.
"""

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Final

from curiosity.protocol.errors import SourceError
from curiosity.sources.own.array import strip_array
from curiosity.sources.own.strip_video import strip_video

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# Critical chunks, transparency, and the three chunks that say how numbers become colours.
_PNG_KEPT: Final = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB"}
_ORIENTATION: Final = 0x0112
_UNREADABLE: Final = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, KeyError, IndexError, TypeError,
    OverflowError, ArithmeticError,
)  # fmt: skip
_BLOCK_SAMPLES: Final = 1 << 16
_UNKNOWN_FROM: Final = 0x7FFFF000
"""From here on the size of a WAV's data says that its writer did not know it: SoX writes this number to a pipe, arecord
0x80000000, FFmpeg 0xFFFFFFFF. No file of 2 GiB is taken, so that one cut short on its way says less and is refused."""
_SAMPLES_AT: Final = 8 + 13  # where the last 36 bits of the stream information before the MD5 count samples
_PNG_NOTES: Final = {b"eXIf", b"tEXt", b"zTXt", b"iTXt"}  # where an orientation may stand


def strip_metadata(data: bytes, media_type: str, *, where: str = "the file") -> bytes:
    """Return ``data`` without metadata; the same bytes again for text, or for a file that has none.

    PNG keeps the chunks that decide pixels. JPEG keeps JFIF (without its thumbnail) and Adobe's colour marker. WebP
    loses its EXIF, XMP and ICC chunks. Where one of the three says that it is turned, new EXIF says that and no more,
    so that the picture still stands as it was seen. WAV keeps ``fmt`` and ``data``, FLAC its stream information and
    frames, without whatever stands before and behind them. A GIF keeps its frames and how often they are shown; of MP4
    and WebM see ``strip_video``. The header of a NumPy array is written anew.

    Raises:
        SourceError: BROKEN_FILE (cannot be parsed), CANNOT_STRIP (no rule for this media type).
    """
    if media_type == "text/plain":
        return data
    if media_type not in _STRIPPERS:
        raise SourceError(
            "CANNOT_STRIP",
            f"{where}: metadata of {media_type} cannot be taken out",
            f"Convert it to one of: {', '.join(sorted(_STRIPPERS))}.",
        )
    try:
        return _STRIPPERS[media_type](data)
    except (struct.error, IndexError, ValueError) as error:
        raise SourceError(
            "BROKEN_FILE",
            f"{where}: not a whole {media_type} file ({error}, {len(data)} bytes)",
            "Check that it opens in a viewer or player, and save it again.",
        ) from error


def _strip_png(data: bytes) -> bytes:
    if not data.startswith(_PNG_SIGNATURE):
        raise ValueError("no PNG signature")
    kept, position, kind, notes = [_PNG_SIGNATURE], len(_PNG_SIGNATURE), b"", False
    while kind != b"IEND":  # what follows IEND is dropped
        size, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + size
        if end > len(data):
            raise ValueError(f"chunk {kind!r} ends at byte {end}")
        (crc,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(data[position + 4 : end - 4]) != crc:
            raise ValueError(f"wrong checksum in chunk {kind!r}")
        if kind in _PNG_KEPT:
            kept.append(data[position:end])
        notes = notes or kind in _PNG_NOTES
        position = end
    orientation = _read_orientation(data, "PNG") if notes else 1
    if orientation != 1:
        chunk = b"eXIf" + _encode_orientation(orientation)
        kept.insert(2, struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)))  # behind IHDR
    return b"".join(kept)


def _strip_jpeg(data: bytes) -> bytes:
    if not data.startswith(b"\xff\xd8"):
        raise ValueError("no JPEG start marker")
    head, body, position, notes = [b"\xff\xd8"], bytearray(), 2, False
    while True:
        if data[position] != 0xFF:
            raise ValueError(f"no marker at byte {position}")
        while data[position + 1] == 0xFF:  # fill bytes
            position += 1
        marker = data[position + 1]
        if marker == 0xD9:  # end of image: previews and videos appended by cameras are dropped
            break
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            raise ValueError(f"marker {marker:#x} outside a scan")
        (size,) = struct.unpack_from(">H", data, position + 2)
        end = position + 2 + size
        if size < 2 or end > len(data):
            raise ValueError(f"segment {marker:#x} ends at byte {end}")
        payload = data[position + 4 : end]
        if marker == 0xE1:
            notes = True
        elif marker == 0xE0 and payload.startswith(b"JFIF\0") and len(payload) >= 12:
            head.append(b"\xff\xe0\x00\x10" + payload[:12] + b"\0\0")
        elif marker == 0xEE and payload.startswith(b"Adobe"):
            body += b"\xff" + data[position + 1 : end]
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            body += b"\xff" + data[position + 1 : end]
            if marker == 0xDA:
                scan_end = _find_scan_end(data, end)
                body += data[end:scan_end]
                end = scan_end
        position = end
    orientation = _read_orientation(data, "JPEG") if notes else 1
    if orientation != 1:
        payload = b"Exif\0\0" + _encode_orientation(orientation)
        head.append(b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload)
    return b"".join(head) + bytes(body) + b"\xff\xd9"


def _find_scan_end(data: bytes, position: int) -> int:
    """Return where the next marker stands that is neither a stuffed byte nor a restart."""
    while True:
        position = data.index(b"\xff", position)
        following = data[position + 1]
        if following == 0xFF:
            position += 1
        elif following == 0x00 or 0xD0 <= following <= 0xD7:
            position += 2
        else:
            return position


def _read_orientation(data: bytes, kind: str) -> int:
    """Return the orientation, 1 (upright) to 8, as Pillow reads it.

    What turns the picture for a validator turns it here, EXIF or XMP.
    """
    from PIL import Image, UnidentifiedImageError  # slow to load, and few pictures carry notes

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=[kind]) as picture:
                value = picture.getexif().get(_ORIENTATION)
    except (UnidentifiedImageError, Image.DecompressionBombError, *_UNREADABLE):
        # Broken EXIF is metadata all the same: it is dropped, and the picture stands as its pixels do.
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _encode_orientation(orientation: int) -> bytes:
    """Return a TIFF directory that holds nothing but the orientation."""
    return b"MM\0\x2a" + struct.pack(">IHHHIHHI", 8, 1, _ORIENTATION, 3, 1, orientation, 0, 0)


def _strip_webp(data: bytes) -> bytes:
    chunks = _read_riff(data, b"WEBP")
    kept = []
    notes = {b"EXIF", b"XMP "} & {kind for kind, _ in chunks}
    orientation = _read_orientation(data, "WEBP") if notes else 1
    for kind, payload in chunks:
        if kind == b"VP8X":
            # Flag bits of RFC 9649: 0x20 ICC profile, 0x08 EXIF, 0x04 XMP.
            payload = bytes([payload[0] & ~0x2C | (0x08 if orientation != 1 else 0)]) + payload[1:]
        if kind in {b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF"}:
            kept.append((kind, payload))
    if not {b"VP8 ", b"VP8L", b"ANMF"} & {kind for kind, _ in kept}:
        raise ValueError("no picture chunk")
    if orientation != 1:
        kept.append((b"EXIF", _encode_orientation(orientation)))
    return _encode_riff(b"WEBP", kept)


def _strip_wav(data: bytes) -> bytes:
    chunks = dict(reversed(_read_riff(data, b"WAVE")))  # the first of each kind
    if b"fmt " not in chunks or b"data" not in chunks:
        raise ValueError("no fmt or no data chunk")
    return _encode_riff(b"WAVE", [(b"fmt ", chunks[b"fmt "]), (b"data", chunks[b"data"])])


def _read_riff(data: bytes, form: bytes) -> list[tuple[bytes, bytes]]:
    if data[:4] != b"RIFF" or data[8:12] != form:
        raise ValueError(f"no RIFF {form.decode()} header")
    stated = int.from_bytes(data[4:8], "little")
    end = min(len(data), 8 + stated) if stated else len(data)
    chunks, position = [], 12
    while position + 8 <= end:
        kind, size = struct.unpack_from("<4sI", data, position)
        if kind == b"data" and (
            size >= _UNKNOWN_FROM or (size == 0 and (stated == 0 or stated >= _UNKNOWN_FROM))
        ):  # written to a pipe: the length was not known
            size = len(data) - position - 8
        if position + 8 + size > len(data):
            raise ValueError(f"chunk {kind!r} says {size} bytes, {len(data) - position - 8} are there")
        chunks.append((kind, data[position + 8 : position + 8 + size]))
        position += 8 + size + size % 2
    return chunks


def _encode_riff(form: bytes, chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = form + b"".join(
        kind + len(payload).to_bytes(4, "little") + payload + b"\0" * (len(payload) % 2) for kind, payload in chunks
    )
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def _strip_flac(data: bytes) -> bytes:
    data = data[find_id3_end(data) :]
    if not data.startswith(b"fLaC"):
        raise ValueError("no FLAC signature")
    position, last, stream_info = 4, False, b""
    while not last:
        head = data[position]
        size = int.from_bytes(data[position + 1 : position + 4], "big")
        if position + 4 + size > len(data):
            raise ValueError(f"metadata block ends at byte {position + 4 + size}")
        if head & 0x7F == 0:
            stream_info = data[position + 4 : position + 4 + size]
        last = bool(head & 0x80)
        position += 4 + size
    if len(stream_info) != 34:
        raise ValueError("no stream information")
    return _cut_behind_frames(b"fLaC\x80\x00\x00\x22" + stream_info + data[position:])


def find_id3_end(head: bytes) -> int:
    """Return where the ID3v2 tags at the start of a file end (ID3v2.4 section 3).

    It is 0 without any, else maybe past ``head``.
    """
    position = 0
    while head[position : position + 3] == b"ID3" and len(head) >= position + 10:
        digits = head[position + 6 : position + 10]
        if max(digits) > 0x7F:
            break
        size = sum(digit << shift for digit, shift in zip(digits, (21, 14, 7, 0), strict=True))
        position += 10 + size + (10 if head[position + 5] & 0x10 else 0)
    return position


def _cut_behind_frames(flac: bytes) -> bytes:
    """Return the shortest start of ``flac`` that still gives every sample: tags behind the last frame have many forms.

    A frame ends with a checksum, so a start that is one byte too short loses the samples of its last frame.
    """
    if int.from_bytes(flac[_SAMPLES_AT : _SAMPLES_AT + 5], "big") & (1 << 36) - 1 == 0:
        flac = _state_samples(flac)
    wanted = _count_samples(flac)
    if wanted == 0 or _count_samples(flac[:-1]) < wanted:
        return flac  # nothing to cut; or damaged, which decoding will refuse
    short, whole = 42, len(flac) - 1
    while whole - short > 1:
        middle = (short + whole) // 2
        if _count_samples(flac[:middle]) < wanted:
            short = middle
        else:
            whole = middle
    return flac[:whole]


def _state_samples(flac: bytes) -> bytes:
    """Return the same stream with its number of samples in its header: a stream that was written to a pipe says 0.

    Raises:
        ValueError: Where nothing can be decoded, or something in the middle cannot.
    """
    import av  # slow to load, and only a FLAC of unknown length needs it

    try:
        with av.open(io.BytesIO(flac), "r", format="flac") as container:
            count = sum(frame.samples for frame in container.decode(audio=0))
    except (av.FFmpegError, IndexError):
        count = 0
    first = flac[_SAMPLES_AT] & 0xF0
    stated = flac[:_SAMPLES_AT] + (first << 32 | count).to_bytes(5, "big") + flac[_SAMPLES_AT + 5 :]
    if not count or _count_samples(stated) != count:
        raise ValueError("its header counts no samples, and they cannot all be decoded")
    return stated


def _count_samples(flac: bytes) -> int:
    """Return how many samples of each channel a decoder gets out; 0 if it fails on the way."""
    import soundfile  # slow to load, and only FLAC needs it

    count = 0
    try:
        with soundfile.SoundFile(io.BytesIO(flac)) as sound:
            while got := len(sound.read(_BLOCK_SAMPLES, dtype="int16")):
                count += got
    except (soundfile.LibsndfileError, RuntimeError, ValueError):
        return 0
    return count


def _strip_gif(data: bytes) -> bytes:
    """Return the blocks to keep, as in the GIF89a specification, sections 17 to 27."""
    if data[:6] not in (b"GIF87a", b"GIF89a"):
        raise ValueError("no GIF signature")
    position = 13 + _gif_table_bytes(data[10])
    kept = [data[:position]]
    while data[position] != 0x3B:  # what follows the trailer is dropped
        start, kind = position, data[position]
        if kind == 0x2C:
            position = _skip_gif_blocks(data, position + 11 + _gif_table_bytes(data[position + 9]))
        elif kind == 0x21:
            position = _skip_gif_blocks(data, position + 2)
        else:
            raise ValueError(f"byte {position} is {kind:#04x}, which starts no block")
        is_loop = data[start + 1] == 0xFF and data[start + 3 : start + 14] == b"NETSCAPE2.0" and position == start + 19
        if kind == 0x2C or data[start + 1] == 0xF9 or is_loop:
            kept.append(data[start:position])
    return b"".join(kept) + b"\x3b"


def _gif_table_bytes(flags: int) -> int:
    """Return how many bytes the colour table takes that the flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_gif_blocks(data: bytes, position: int) -> int:
    """Return where the chain of sub-blocks that starts at ``position`` ends."""
    while data[position]:
        position += data[position] + 1
    return position + 1


_STRIPPERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "image/png": _strip_png,
    "image/jpeg": _strip_jpeg,
    "image/webp": _strip_webp,
    "audio/wav": _strip_wav,
    "audio/flac": _strip_flac,
    "image/gif": _strip_gif,
    "video/mp4": lambda data: strip_video(data, "video/mp4"),
    "video/webm": lambda data: strip_video(data, "video/webm"),
    "application/x-npy": strip_array,
}
