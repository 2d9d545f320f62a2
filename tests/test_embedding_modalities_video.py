"""Videos: what is taken, what every refusal says, which frames are kept, and that each machine gets the same bits."""

import base64
import hashlib
import io
import json
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from curiosity.embedding.modalities import decode, find
from curiosity.embedding.modalities.frames import MAX_DECODED_PIXELS, fit, sample
from curiosity.embedding.modalities.gif import scan
from curiosity.embedding.modalities.video import BT601, BT709, yuv_to_rgb
from curiosity.embedding.modality import Array, check_contract
from curiosity.protocol.errors import Rejected
from tests.material import modality
from tests.material.modality import clip, frames, gif, item
from tests.material.video import tiny_gif

VECTORS = json.loads((Path(__file__).parent / "vectors/video.json").read_text())
# HEVC comes from the vectors: the encoder x265 writes past its memory on pictures as small as these.
KINDS = [
    ("libx264", "mp4"),
    ("libvpx", "webm"),
    ("libvpx-vp9", "webm"),
    ("libvpx-vp9", "mp4"),
    ("libsvtav1", "mp4"),
    ("libsvtav1", "webm"),
]


def code_of(data: bytes, media_type: str = "video/mp4") -> str:
    return modality.code_of("video", data, media_type)


def number_of(frame: Array) -> int:
    """Which of ``frames`` it is, from its red."""
    return round((float(frame[..., 0].mean()) - 2) / 4)


@pytest.mark.parametrize(("codec", "container"), KINDS)
def test_every_codec_keeps_frames_order_and_colours(codec: str, container: str) -> None:
    pixels = frames(12, 96, 64)
    array = decode("video", clip(pixels, codec, container), f"video/{container}")
    check_contract(find("video"), array)
    assert array.shape == pixels.shape
    assert np.abs([number_of(frame) for frame in array] - np.arange(12)).max() <= (codec == "libvpx")
    assert np.abs(array.astype(int) - pixels).mean() < 6


def test_a_gif_is_a_video() -> None:
    pixels = frames(12, 96, 64)
    array = decode("video", gif(pixels), "image/gif")
    assert array.shape == pixels.shape
    assert np.abs(array.astype(int) - pixels).mean() < 3


@pytest.mark.parametrize("count", [2, 63, 64, 65, 100, 127, 128, 200])
def test_over_sixty_four_frames_are_sampled_at_even_distances(count: int) -> None:
    expected = list(range(count)) if count <= 64 else [int((i + 0.5) * count / 64) for i in range(64)]
    assert list(sample(count)) == expected
    assert len(set(expected)) == min(count, 64)
    bits = np.arange(count)[:, None] >> np.arange(8) & 1  # eight bars, black or white, spell the number of the frame
    pixels = np.repeat((255 * bits).astype(np.uint8), 4, axis=1)[:, None, :, None].repeat(32, 1).repeat(3, 3)
    for data, media_type in ((gif(pixels), "image/gif"), (clip(pixels, options={"qp": "10"}), "video/mp4")):
        bars = decode("video", data, media_type)[:, 5, 2::4, 1] > 127
        assert (bars * (1 << np.arange(8))).sum(axis=1).tolist() == expected, media_type


def test_large_frames_shrink_and_keep_their_shape() -> None:
    wide = np.full((2, 180, 320, 3), 77, dtype=np.uint8)
    wide[1] = 99  # Pillow would merge equal frames
    assert decode("video", clip(wide), "video/mp4").shape == (2, 144, 256, 3)
    assert decode("video", gif(wide), "image/gif").shape == (2, 144, 256, 3)
    assert decode("video", clip(wide.transpose(0, 2, 1, 3)), "video/mp4").shape == (2, 256, 144, 3)
    assert fit(1920, 1080) == (256, 144)
    assert fit(4_000, 1) == (256, 1)
    assert fit(256, 256) == (256, 256)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 2), (17, 31), (33, 256)])
def test_odd_sizes(width: int, height: int) -> None:
    pixels = np.full((3, height, width, 3), 120, dtype=np.uint8)
    array = decode("video", clip(pixels, "libvpx-vp9", "webm"), "video/webm")
    assert array.shape == pixels.shape
    assert np.abs(array.astype(int) - 120).max() <= 3


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj444p"])
def test_every_layout_of_pixels(pixel_format: str) -> None:
    pixels = frames(4, 64, 64)
    array = decode("video", clip(pixels, pixel_format=pixel_format, options={"qp": "4"}), "video/mp4")
    assert np.abs(array.astype(int) - pixels).mean() < 4


# -- colours


@pytest.mark.parametrize(("matrix", "full_range"), [(BT601, False), (BT601, True), (BT709, False), (BT709, True)])
def test_colours_equal_the_standards_formula_in_floating_point(matrix: tuple[float, float], full_range: bool) -> None:
    random = np.random.default_rng(3)
    y, cb, cr = planes = list(random.integers(0, 256, (3, 200, 200), dtype=np.uint8))
    kr, kb = matrix
    luma = y / 255 if full_range else (y - 16.0) / 219
    blue, red = ((plane - 128.0) / (255 if full_range else 224) for plane in (cb, cr))
    r, b = luma + 2 * (1 - kr) * red, luma + 2 * (1 - kb) * blue
    g = (luma - kr * r - kb * b) / (1 - kr - kb)
    expected = (np.stack([r, g, b], axis=2) * 255).clip(0, 255)
    assert np.abs(yuv_to_rgb(planes, matrix, full_range=full_range) - expected).max() < 0.51


@pytest.mark.parametrize(("named", "rows", "matrix"), [("bt709", 64, BT709), ("smpte170m", 64, BT601)])
def test_the_matrix_that_the_file_names_is_used(named: str, rows: int, matrix: tuple[float, float]) -> None:
    data = clip(
        np.full((2, rows, 64, 3), (200, 40, 60), np.uint8), options={"qp": "1", "x264-params": f"colormatrix={named}"}
    )
    with av.open(io.BytesIO(data), "r") as container:
        frame = next(container.decode(video=0))
    planes = [int(np.frombuffer(memoryview(plane), np.uint8)[0]) for plane in frame.planes]
    expected = yuv_to_rgb([np.full((1, 1), level, np.uint8) for level in planes], matrix, full_range=False)
    assert decode("video", data, "video/mp4")[0, 0, 0].tolist() == expected[0, 0].tolist()


def test_without_a_name_the_matrix_follows_the_rows() -> None:
    red = np.full((2, 720, 64, 3), (200, 40, 60), np.uint8)
    seen = []
    for rows in (64, 720):
        data = clip(red[:, :rows], options={"qp": "1", "preset": "ultrafast"})
        seen.append(decode("video", data, "video/mp4")[0, 0, 0].astype(int))
    # The encoder wrote both with BT.601; read as BT.709 the larger one is off.
    assert np.abs(seen[0] - (200, 40, 60)).max() <= 3
    assert np.abs(seen[1] - (200, 40, 60)).max() > 5


def turned(data: bytes, a: int, b: int, c: int, d: int) -> bytes:
    """The MP4 with its track's display matrix replaced (ISO/IEC 14496-12, track header box)."""
    at = data.index(b"tkhd") + 4 + 40
    return data[:at] + struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30) + data[at + 36 :]


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_a_telephones_quarter_turns_are_applied(matrix: tuple[int, int, int, int], turns: int) -> None:
    data = item("video", "video/mp4")
    upright = decode("video", data, "video/mp4")
    array = decode("video", turned(data, *matrix), "video/mp4")
    assert np.array_equal(array, np.rot90(upright, turns, axes=(1, 2)))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_same_bytes_give_the_same_bits_everywhere(vector: dict[str, Any]) -> None:
    """The digests were written by ``python tests/vectors/make_video.py`` on another machine than yours."""
    array = decode("video", base64.b64decode(vector["base64"]), vector["media_type"])
    assert list(array.shape) == vector["shape"]
    assert hashlib.sha256(array.tobytes()).hexdigest() == vector["sha256"]
    if vector["media_type"] != "image/gif":  # the same scene in every codec
        first = decode("video", base64.b64decode(VECTORS[0]["base64"]), VECTORS[0]["media_type"])
        assert np.abs(array.astype(int) - first).mean() < 6


# -- refusals


def test_nothing_but_the_named_container_and_codecs() -> None:
    mp4, webm, animation = (item("video", kind) for kind in ("video/mp4", "video/webm", "image/gif"))
    for data, media_type in (
        (mp4, "video/webm"),
        (webm, "video/mp4"),
        (animation, "video/mp4"),
        (mp4, "image/gif"),
        (clip(frames(), "libx264", "avi"), "video/mp4"),
        (clip(frames(), "libx264", "mpegts"), "video/mp4"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "video/mp4"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "video/mp4"),
    ):
        assert code_of(data, media_type) == "VIDEO_NOT_DECODABLE"
    for codec in ("mpeg4", "mjpeg"):
        data = clip(frames(), codec, "mp4", pixel_format="yuvj420p" if codec == "mjpeg" else "yuv420p")
        assert code_of(data) == "VIDEO_FORMAT"
    assert code_of(clip(frames(), pixel_format="yuv420p10le")) == "VIDEO_FORMAT"
    assert code_of(item("video", "video/mp4"), "video/x-msvideo") == "MEDIA_TYPE_UNKNOWN"


def test_one_video_track_of_one_size() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        streams = [file.add_stream("libx264", rate=20, width=32, height=32, pix_fmt="yuv420p") for _ in range(2)]
        for stream in streams:
            for rgb in frames(3, 32, 32):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            file.mux(stream.encode())
    assert code_of(out.getvalue()) == "VIDEO_FORMAT"
    # Two streams of packets in one track: the picture changes its size half way.
    small, large = clip(frames(6), "libvpx", "webm"), clip(frames(6, 64, 64), "libvpx", "webm")
    out = io.BytesIO()
    with (
        av.open(io.BytesIO(small), "r") as first,
        av.open(io.BytesIO(large), "r") as second,
        av.open(out, "w", format="webm") as file,
    ):
        stream = file.add_stream_from_template(first.streams.video[0])
        for source, offset in ((first, 0), (second, 1_000)):
            for packet in source.demux(video=0):
                if packet.pts is not None and packet.dts is not None:
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    packet.stream = stream
                    file.mux(packet)
    with pytest.raises(Rejected, match="one size"):
        decode("video", out.getvalue(), "video/webm")


def test_one_frame_is_no_video() -> None:
    for data, media_type in (
        (clip(frames(1)), "video/mp4"),
        (clip(frames(1), "libvpx", "webm"), "video/webm"),
        (gif(frames(1)), "image/gif"),
    ):
        assert code_of(data, media_type) == "VIDEO_TOO_SHORT"


def test_sound_alone_is_no_video() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=16_000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1_024), dtype=np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16_000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())
    assert code_of(out.getvalue()) == "VIDEO_FORMAT"


def test_a_video_with_sound_gives_its_pictures() -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("libx264", rate=20, width=48, height=32, pix_fmt="yuv420p")
        voice = file.add_stream("aac", rate=16_000)
        for rgb in frames():
            file.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1_024), dtype=np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16_000
        file.mux(voice.encode(sound))
        for one in (stream, voice):
            file.mux(one.encode())
    assert decode("video", out.getvalue(), "video/mp4").shape == (12, 32, 48, 3)


def test_seconds_are_limited() -> None:
    slow = clip(frames(62), rate_hz=1)
    assert code_of(slow) == "VIDEO_TOO_LONG"
    assert code_of(clip(frames(62), "libvpx", "webm", rate_hz=1), "video/webm") == "VIDEO_TOO_LONG"
    assert code_of(gif(frames(3), duration_ms=21_000), "image/gif") == "VIDEO_TOO_LONG"
    assert len(decode("video", clip(frames(59), rate_hz=1), "video/mp4")) == 59


def test_frames_are_limited_before_any_is_decoded() -> None:
    assert len(decode("video", tiny_gif(100), "image/gif")) == 64
    assert scan(tiny_gif(1_800), 1_800)[2] == 1_800
    assert scan(tiny_gif(100_000), 1_800)[2] == 1_801
    assert code_of(tiny_gif(100_000), "image/gif") == "VIDEO_TOO_LONG"
    many = np.zeros((1_801, 16, 16, 3), dtype=np.uint8)
    assert code_of(clip(many, rate_hz=60, options={"preset": "ultrafast"})) == "VIDEO_TOO_LONG"
    assert code_of(clip(many, "libvpx", "webm", rate_hz=60, options={"deadline": "realtime"}), "video/webm") == (
        "VIDEO_TOO_LONG"
    )


def test_pixels_are_limited_by_the_header() -> None:
    assert code_of(tiny_gif(2, 65_535, 65_535), "image/gif") == "VIDEO_TOO_LARGE"
    count = MAX_DECODED_PIXELS // (1_920 * 1_080) + 1
    with pytest.raises(Rejected, match=f"{count} frames of 1920 x 1080"):
        decode("video", tiny_gif(count, 1_920, 1_080), "image/gif")
    large = np.zeros((2, 1_440, 2_560, 3), dtype=np.uint8)
    data = clip(large, options={"preset": "ultrafast"})
    assert code_of(data) == "VIDEO_TOO_LARGE"


def test_a_stream_larger_than_its_container_says_is_refused_before_a_frame_is_made() -> None:
    data = clip(np.zeros((2, 1_440, 2_560, 3), dtype=np.uint8), "libvpx", "webm", options={"deadline": "realtime"})
    width, height = b"\xb0\x82\x0a\x00", b"\xba\x82\x05\xa0"  # PixelWidth and PixelHeight (RFC 9559)
    assert data.count(width) == data.count(height) == 1
    assert code_of(data, "video/webm") == "VIDEO_TOO_LARGE"  # the container tells
    lying = data.replace(width, b"\xb0\x82\x00\x30").replace(height, b"\xba\x82\x00\x20")
    # The decoder itself refuses: VIDEO_TOO_LARGE would mean that it gave a frame of 2560 x 1440 first.
    assert code_of(lying, "video/webm") == "VIDEO_NOT_DECODABLE"


def test_no_other_decoder_looks_at_a_track_while_the_file_is_opened() -> None:
    data = clip(frames(), "mpeg4")
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as lines:
            assert code_of(data) == "VIDEO_FORMAT"
    finally:
        av.logging.set_level(None)
    assert any("not on whitelist" in text for _, _, text in lines), lines


def test_damage_that_the_codec_sees_is_refused_and_not_painted_over() -> None:
    """H.264 pictures of noise: what reads as no picture must not come back as what a decoder would guess."""
    pixels = np.random.default_rng(5).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)
    data = clip(pixels, options={"qp": "20"})
    outcomes = []
    for at in np.random.default_rng(6).integers(900, len(data) - 900, 40):
        broken = bytearray(data)
        broken[at : at + 12] = bytes(12)
        try:
            outcomes.append(hashlib.sha256(decode("video", bytes(broken), "video/mp4").tobytes()).hexdigest())
        except Rejected as refusal:
            outcomes.append(refusal.code)
    assert outcomes.count("VIDEO_NOT_DECODABLE") > 10  # the others read as another picture


def slices_of(data: bytes) -> list[int]:
    """Where in an MP4 file each coded slice of an H.264 track starts, at its NAL header."""
    starts = []
    with av.open(io.BytesIO(data), "r") as container:
        for packet in container.demux(video=0):
            unit, first = bytes(packet), data.find(bytes(packet))
            at = 0
            while at < len(unit):
                if unit[at + 4] & 31 in (1, 5):
                    starts.append(first + at + 4)
                at += 4 + int.from_bytes(unit[at : at + 4], "big")
    return starts


def test_pictures_of_several_slices_are_taken_and_none_may_be_missing() -> None:
    """Streaming encoders and screen recorders cut each picture into slices; see `video._decode`."""
    pixels = frames(6, 64, 64)
    data = clip(pixels, options={"slices": "4", "qp": "4"})
    array = decode("video", data, "video/mp4")
    assert array.shape == pixels.shape
    assert np.abs(array.astype(int) - pixels).mean() < 4
    starts = slices_of(data)
    assert len(starts) == 4 * len(pixels)
    for at in starts:
        broken = bytearray(data)
        broken[at] = broken[at] & 0xE0 | 12  # filler: no decoder reads it
        assert code_of(bytes(broken)) == "VIDEO_NOT_DECODABLE", at


@pytest.mark.parametrize("kind", ["video/mp4", "video/webm", "image/gif"])
def test_half_a_file_is_refused_or_is_the_start(kind: str) -> None:
    """A WebM file has no end mark: what is cut off after some frames is a shorter video."""
    data = item("video", kind)
    whole = decode("video", data, kind)
    refused = []
    for part in (0.3, 0.6, 0.9):
        try:
            array = decode("video", data[: int(len(data) * part)], kind)
        except Rejected as refusal:
            refused.append(refusal.code)
        else:
            assert 2 <= len(array) < len(whole)
            assert np.array_equal(array, whole[: len(array)])
    assert set(refused) <= {"VIDEO_NOT_DECODABLE", "VIDEO_TOO_SHORT", "VIDEO_FORMAT"}
    assert len(refused) == 3 or kind == "video/webm"


def test_gif_frames_that_leave_the_canvas_are_refused() -> None:
    data = bytearray(tiny_gif(3))
    at = data.index(b"\x2c")
    struct.pack_into("<HH", data, at + 5, 9, 9)
    with pytest.raises(Rejected, match="leaves the canvas of 1 x 1"):
        decode("video", bytes(data), "image/gif")


def test_a_recording_in_fragments_is_taken_whole_and_refused_when_cut_within_a_frame() -> None:
    """What browsers record: the index comes first and in pieces, so a cut shows in the last frame only."""
    plain, out = item("video", "video/mp4"), io.BytesIO()
    with (
        av.open(io.BytesIO(plain), "r") as source,
        av.open(out, "w", format="mp4", container_options={"movflags": "frag_keyframe+empty_moov"}) as file,
    ):
        stream = file.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                file.mux(packet)
    whole = out.getvalue()
    assert np.array_equal(decode("video", whole, "video/mp4"), decode("video", plain, "video/mp4"))
    last = whole.index(b"mdat") + struct.unpack_from(">I", whole, whole.index(b"mdat") - 4)[0] - 4
    with pytest.raises(Rejected, match="ends within a frame"):
        decode("video", whole[: last - 3], "video/mp4")


def test_transparent_gif_frames_lie_on_white() -> None:
    out = io.BytesIO()
    clear = [Image.new("RGBA", (8, 8), (shade, 0, 0, 0)) for shade in (1, 2)]
    for number, picture in enumerate(clear):
        picture.putpixel((number, 0), (255, 0, 0, 255))
    clear[0].save(out, "GIF", save_all=True, append_images=clear[1:], disposal=2)
    array = decode("video", out.getvalue(), "image/gif")
    assert array[:, 4:].min() == 255
    assert array[1, 0, 1].tolist() == [255, 0, 0]
