"""Pictures in several slices or tiles: taken when sound, refused when a part is missing, for each codec taken."""

import io

import av
import numpy as np
import pytest
from av.codec.codec import UnknownCodecError

from curiosity.embedding.modalities import decode
from curiosity.embedding.modalities.gaps import has_gap
from curiosity.embedding.modality import Array
from curiosity.protocol.errors import Rejected
from tests.material.modality import clip

HEVC = [
    ((256, 256), "slices=4"),
    ((320, 192), "slices=3:ctu=16"),
    ((512, 256), "slices=2:no-sao=1:no-deblock=1"),
]
# Encoder, container, its options for pictures in one part, those for several, and the size: VP9 and AV1 have least
# widths of a tile. No encoder here makes tiles in HEVC; libaom is not among those of PyAV.
PARTED: list[tuple[str, str, dict[str, str], dict[str, str], tuple[int, int]]] = [
    ("libx264", "mp4", {}, {"slices": "4"}, (256, 256)),
    *(("libx265", "mp4", {"x265-params": "log-level=none"}, {"x265-params": f"{how}:log-level=none"}, size)
      for size, how in HEVC),
    ("libvpx", "webm", {"slices": "1"}, {"slices": "8"}, (256, 256)),
    ("libvpx-vp9", "webm", {"tile-columns": "0"}, {"tile-columns": "2", "row-mt": "1"}, (1088, 256)),
    ("libvpx-vp9", "mp4", {"tile-columns": "0"}, {"tile-columns": "1", "tile-rows": "2"}, (544, 512)),
    ("libsvtav1", "mp4", {"preset": "10"}, {"preset": "10", "svtav1-params": "tile-columns=2:tile-rows=1"}, (512, 512)),
    ("libsvtav1", "webm", {"preset": "10"}, {"preset": "10", "svtav1-params": "tile-rows=2"}, (256, 512)),
]  # fmt: skip


def scene(size: tuple[int, int], count: int = 6) -> Array:
    """uint8[count, height, width, 3]: slopes of colour that move, no two parts alike."""
    across, down, time = np.meshgrid(np.arange(size[0]), np.arange(size[1]), np.arange(count), indexing="ij")
    red, green, blue = across // 3 + 5 * time, down // 3 + 3 * time, (across + down) // 5 + 7 * time
    return np.ascontiguousarray((np.stack([red, green, blue], axis=-1) % 200 + 20).T.transpose(1, 2, 3, 0), np.uint8)


def coded(codec: str, container: str, options: dict[str, str], size: tuple[int, int]) -> bytes:
    try:
        av.codec.Codec(codec, "w")
    except UnknownCodecError:  # pragma: no cover - every build of PyAV for Linux has them
        pytest.skip(f"no encoder {codec}")
    return clip(scene(size), codec, container, options=options)


def outcome(data: bytes, container: str) -> Array | str:
    try:
        return decode("video", data, f"video/{container}")
    except Rejected as refusal:
        return refusal.code if refusal.remedy else "no remedy"


def packets(data: bytes) -> list[tuple[int, int]]:
    """Where each coded frame stands in the file, and how long it is."""
    with av.open(io.BytesIO(data), "r") as container:
        found = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    return [(data.find(packet), len(packet)) for packet in found]


def slices(data: bytes) -> list[list[int]]:
    """Where in an MP4 file each slice of each HEVC picture starts, at its NAL header."""
    pictures = []
    for first, size in packets(data):
        at, starts = first, []
        while at < first + size:
            if data[at + 4] >> 1 & 63 < 32:
                starts.append(at + 4)
            at += 4 + int.from_bytes(data[at : at + 4], "big")
        pictures.append(starts)
    return pictures


def decoded_plainly(data: bytes) -> list[av.VideoFrame]:
    """What FFmpeg gives when nobody looks for gaps; all frames held, as in `video._decode`."""
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": "explode+crccheck+bitstream+buffer"}
        return list(container.decode(stream))


@pytest.mark.parametrize(("codec", "container", "whole", "parted", "size"), PARTED)
def test_pictures_in_several_parts_are_taken(
    codec: str, container: str, whole: dict[str, str], parted: dict[str, str], size: tuple[int, int]
) -> None:
    data = coded(codec, container, parted, size)
    assert data != coded(codec, container, whole, size)  # the option did something
    array, plain = outcome(data, container), outcome(coded(codec, container, whole, size), container)
    assert isinstance(array, np.ndarray)
    assert isinstance(plain, np.ndarray)
    assert array.shape == plain.shape
    assert np.abs(array.astype(int) - plain).mean() < 6


@pytest.mark.parametrize(("size", "how"), HEVC)
def test_no_slice_of_an_hevc_picture_may_be_missing(size: tuple[int, int], how: str) -> None:
    """FFmpeg alone takes what lacks any slice but the first, and calls no frame damaged."""
    data = coded("libx265", "mp4", {"x265-params": f"{how}:log-level=none"}, size)
    assert not any(has_gap(frame) for frame in decoded_plainly(data))
    for starts in slices(data):
        assert len(starts) == int(how[7])
        for number, at in enumerate(starts):
            broken = bytearray(data)
            broken[at] = broken[at] & 0x81 | 38 << 1  # filler: no decoder reads it
            if number:
                taken = decoded_plainly(bytes(broken))
                assert [frame.is_corrupt for frame in taken] == [False] * 6
            assert outcome(bytes(broken), "mp4") == "VIDEO_NOT_DECODABLE"


def test_a_gap_is_seen_in_every_layout_of_pixels() -> None:
    for form in ("yuv420p", "yuvj420p", "yuv422p", "yuv440p", "yuv444p"):
        frame = av.VideoFrame(64, 48, form)
        for plane in frame.planes:
            plane.update(bytes([16 if plane is frame.planes[0] else 128]) * plane.buffer_size)
        assert not has_gap(frame)
        for plane in frame.planes:
            rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size).copy()
            down, right = 48 // plane.height, 64 // plane.width
            rows[20 // down : 28 // down, 20 // right : 28 // right] = 0
            plane.update(rows.tobytes())
        assert has_gap(frame), form


@pytest.mark.parametrize(
    ("codec", "container", "whole", "parted", "size"), [each for each in PARTED if each[:2] != ("libsvtav1", "webm")]
)
def test_a_picture_that_lost_half_its_parts_is_refused(
    codec: str, container: str, whole: dict[str, str], parted: dict[str, str], size: tuple[int, int]
) -> None:
    """The largest frame lacks its second half, in a container whose lengths fit what is left.

    FFmpeg writes no such AV1 into WebM: it looks into the frame first.
    """
    data = coded(codec, container, parted, size)
    largest = max(length for _, length in packets(data))
    out = io.BytesIO()
    with av.open(io.BytesIO(data), "r") as source, av.open(out, "w", format=container) as file:
        track = source.streams.video[0]
        stream = file.add_stream_from_template(track, opaque=True)
        for packet in source.demux(track):
            if packet.size:
                kept = av.Packet(bytes(packet)[: largest // 2] if packet.size == largest else bytes(packet))
                kept.pts, kept.dts, kept.time_base = packet.pts, packet.dts, packet.time_base
                kept.is_keyframe, kept.stream = packet.is_keyframe, stream
                file.mux(kept)
    assert isinstance(outcome(data, container), np.ndarray)
    assert outcome(out.getvalue(), container) == "VIDEO_NOT_DECODABLE"
