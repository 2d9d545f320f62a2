"""How many frames a video makes a decoder compute, shown or not: a packet may hold frames that nobody sees.

VP9 puts up to eight frames into one packet (Annex B, superframes), AV1 any number of frame headers into a temporal unit
(section 7.5), H.264 and HEVC mark the first slice of each picture in its first bit (H.264 7.3.3, HEVC 7.3.6.1). VP8 has
one frame a packet.
"""

import contextlib
from collections.abc import Iterator

from curiosity.embedding.modalities import video

_AV1_FRAMES = (3, 6)  # OBU_FRAME_HEADER, OBU_FRAME
_H264_SLICES = range(1, 6)
_HEVC_SLICES = range(32)


def count_coded_frames(data: bytes, media_type: str) -> int:
    """Return pixels times coded frames of a container's video track.

    Raises:
        CuriosityError: What FFmpeg raises, and IndexError.
    """
    with contextlib.closing(video._open(data, media_type, video.LIMITS.max_pixels)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        if codec is None:  # a track that FFmpeg has no decoder for, which decoding refuses
            return 0
        pixels = codec.width * codec.height
        name = codec.codec.canonical_name
        extra = codec.extradata or b""
        return pixels * sum(
            max(1, frames_in(name, bytes(packet), extra)) for packet in container.demux(stream) if packet.size
        )


def frames_in(codec: str, packet: bytes, extra: bytes) -> int:
    """Return how many coded frames a packet holds."""
    if codec == "vp9":
        return (packet[-1] & 7) + 1 if packet[-1] & 0xE0 == 0xC0 else 1
    if codec == "av1":
        return sum(kind in _AV1_FRAMES for kind in _obus(packet))
    if codec == "h264":
        return sum(unit[0] & 31 in _H264_SLICES and bool(unit[1] & 0x80) for unit in _units(packet, extra, 4))
    if codec == "hevc":
        return sum(unit[0] >> 1 & 63 in _HEVC_SLICES and bool(unit[2] & 0x80) for unit in _units(packet, extra, 21))
    return 1


def _obus(packet: bytes) -> Iterator[int]:
    """Yield the types of the open bitstream units of a temporal unit (AV1, section 5.3)."""
    at = 0
    while at < len(packet):
        head = packet[at]
        at += 2 if head & 4 else 1
        yield head >> 3 & 15
        if not head & 2:
            return  # it goes to the end
        size = shift = 0
        while True:
            byte = packet[at]
            at += 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128 or shift > 56:
                break
        at += size


def _units(packet: bytes, extra: bytes, at_length: int) -> Iterator[bytes]:
    """Yield the first three bytes of each NAL unit.

    A unit stands behind its length or, in a raw stream, behind a start code.
    """
    if extra[:1] != b"\1":
        starts = packet.split(b"\0\0\1")
        yield from (unit[:3] for unit in starts[1:] if len(unit) > 2)
        return
    width = (extra[at_length] & 3) + 1
    at = 0
    while at + width < len(packet):
        size = int.from_bytes(packet[at : at + width], "big")
        at += width
        if size > 2:
            yield packet[at : at + 3]
        at += size
