"""Videos without metadata: one video track copied into a new container, its coded frames as they are.

What a phone writes beside the frames stays behind: places, makes, titles, times, sound, subtitles, cover pictures and
tracks of positions. Encoders and cameras also hide text between the frames (SEI user data); that goes too.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

# FFmpeg's names: for reading, for writing.
_CONTAINERS: Final = {"video/mp4": ("mov", "mp4"), "video/webm": ("matroska", "webm")}
# Bit-exact: no version of the program, no random number, no time. The bit rate is a reader's guess, which changes with
# what was dropped: without it, a second pass gives the same bytes.
_WRITING: Final = {"mp4": {"fflags": "+bitexact", "write_btrt": "0"}, "webm": {"fflags": "+bitexact"}}
# Payload types of ITU-T H.274: registered (captions, HDR10+) and unregistered (anything) user data.
_USER_DATA: Final = frozenset({4, 5})
_HEVC_SEI: Final = frozenset({39, 40})
_AVC_SEI: Final = 6


def strip_video(data: bytes, media_type: str) -> bytes:
    """Return the same frames in a container without anything else; what was stripped before comes back as it is.

    Turned frames stay turned (the display matrix is kept).

    Raises:
        ValueError: For what is not a whole file of ``media_type`` with a video track.
    """
    import av  # slow to load, and only videos need it

    readable, writable = _CONTAINERS[media_type]
    sink = io.BytesIO()
    try:
        with contextlib.closing(_open(_drop_header_sei(data, readable), readable)) as source:
            track = _find_track(source)
            with av.open(sink, "w", format=writable, options=_WRITING[writable]) as target:
                copied = target.add_stream_from_template(track, opaque=True)
                copied.metadata.clear()
                for packet in source.demux(track):
                    content = _drop_sei(bytes(packet), track)
                    if packet.size == 0 or packet.dts is None or not content:
                        continue
                    kept = av.Packet(content)
                    kept.pts, kept.dts, kept.time_base = packet.pts, packet.dts, packet.time_base
                    # WebM does not state durations of blocks: those that a reader guesses differ from file to file.
                    kept.duration = packet.duration or 0 if writable == "mp4" else 0
                    kept.is_keyframe = packet.is_keyframe
                    kept.stream = copied
                    target.mux(kept)
    except (av.FFmpegError, EOFError, OverflowError) as error:
        raise ValueError(str(error)) from error
    return sink.getvalue()


def _open(data: bytes, form: str) -> "InputContainer":
    """Return the container of that kind, whatever the bytes look like; nothing but ``data`` is ever read."""
    import av

    options = {"protocol_whitelist": "", "enable_drefs": "0", "max_streams": "64"}
    return av.open(io.BytesIO(data), "r", format=form, options=options, metadata_errors="ignore")


def _find_track(source: "InputContainer") -> "VideoStream":
    """Return the one video track that is not a cover picture.

    Raises:
        ValueError: If there is none, or more than one.
    """
    from av.stream import Disposition

    tracks = [track for track in source.streams.video if not track.disposition & Disposition.attached_pic]
    if len(tracks) != 1:
        raise ValueError(f"{len(tracks)} video tracks, one is taken")
    return tracks[0]


def _drop_sei(content: bytes, track: "VideoStream") -> bytes:
    """Return the coded frame without the SEI units that carry user data; unchanged for codecs that have none."""
    context: Any = track.codec_context  # None for a codec that this build cannot decode
    name = context.codec.canonical_name if context is not None else ""
    header = (context.extradata or b"") if context is not None else b""
    if name not in ("h264", "hevc") or header[:1] != b"\x01":
        return content
    length_bytes = (header[4 if name == "h264" else 21] & 3) + 1
    units = [unit for unit in _split_units(content, length_bytes) if not _is_user_data(unit, name)]
    return b"".join(len(unit).to_bytes(length_bytes, "big") + unit for unit in units)


def _split_units(content: bytes, length_bytes: int) -> Iterator[bytes]:
    """Yield the units of a frame, each behind its length (ISO/IEC 14496-15, 5.3.2).

    Raises:
        ValueError: For a cut one.
    """
    position = 0
    while position < len(content):
        start = position + length_bytes
        position = start + int.from_bytes(content[position:start], "big")
        if position > len(content) or start > len(content):
            raise ValueError(f"a unit ends at byte {position} of a frame of {len(content)}")
        yield content[start:position]


def _is_user_data(unit: bytes, codec: str) -> bool:
    """Return True for an SEI unit with a message of user data in it."""
    if not unit:
        return False
    if codec == "h264":
        is_sei, body = unit[0] & 0x1F == _AVC_SEI, unit[1:]
    else:
        is_sei, body = (unit[0] >> 1) & 0x3F in _HEVC_SEI, unit[2:]
    if not is_sei:
        return False
    body, position = body.replace(b"\0\0\x03", b"\0\0"), 0
    # Messages follow one another until the stop bit (H.264 7.3.2.3): type and size in bytes, 255 means "and more".
    while position + 2 <= len(body):
        numbers = []
        for _ in range(2):
            value = 0
            while position < len(body) and body[position] == 0xFF:
                value, position = value + 255, position + 1
            if position >= len(body):
                return True  # cannot be read: nobody needs it
            numbers.append(value + body[position])
            position += 1
        if numbers[0] in _USER_DATA:
            return True
        position += numbers[1]
    return False


def _drop_header_sei(data: bytes, form: str) -> bytes:
    """Return ``data`` with the SEI units of an HEVC decoder configuration (hvcC) turned into free space.

    The length stays the same.
    """
    if form != "mov":
        return data
    with contextlib.closing(_open(data, form)) as source:
        context: Any = _find_track(source).codec_context
        if context is None or context.codec.canonical_name != "hevc" or (context.extradata or b"")[:1] != b"\x01":
            return data
        header = bytes(context.extradata)
    at = data.find(b"hvcC" + header)
    cleaned = _clean_hvcc(header)
    spare = len(header) - len(cleaned)
    if at < 4 or not spare:
        return data
    box = (8 + len(cleaned)).to_bytes(4, "big") + b"hvcC" + cleaned + spare.to_bytes(4, "big") + b"free"
    return data[: at - 4] + box + bytes(spare - 8) + data[at + 4 + len(header) :]


def _clean_hvcc(header: bytes) -> bytes:
    """Return the configuration (ISO/IEC 14496-15, 8.3.3.1) without its arrays of SEI units.

    Raises:
        ValueError: If it cannot be read.
    """
    kept, position = [], 23
    for _ in range(header[22]):
        start = position
        kind, count = header[start] & 0x3F, int.from_bytes(header[start + 1 : start + 3], "big")
        position += 3
        for _ in range(count):
            position += 2 + int.from_bytes(header[position : position + 2], "big")
        if position > len(header):
            raise ValueError(f"the decoder configuration ends at byte {position} of {len(header)}")
        if kind not in _HEVC_SEI:
            kept.append(header[start:position])
    return header[:22] + bytes([len(kept)]) + b"".join(kept)
