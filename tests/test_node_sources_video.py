"""Videos without metadata: real files of every codec, tagged in every place that a phone or an encoder writes to."""

import io
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
from av.stream import Disposition
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curiosity.embedding.modalities import decode
from curiosity.protocol.errors import SourceError
from curiosity.sources.made.world.encode import encode_video
from curiosity.sources.own.strip import strip_metadata
from tests.material.own import SECRET, strip_or_refuse
from tests.material.video import CODECS, draw, film, gif


def read_frames(data: bytes) -> list[npt.NDArray[np.uint8]]:
    with av.open(io.BytesIO(data), "r") as source:
        return [frame.to_ndarray().astype(np.uint8) for frame in source.decode(video=0)]


def assert_same(one: list[npt.NDArray[np.uint8]], other: list[npt.NDArray[np.uint8]]) -> None:
    assert len(one) == len(other) > 1
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("codec", sorted(CODECS))
def test_texts_sound_and_places_are_gone_and_the_frames_are_the_same(codec: str) -> None:
    tagged, media_type = film(codec), CODECS[codec][1]
    assert SECRET.encode() in tagged  # with the defence off, it leaks
    assert codec in ("vp8", "vp9", "av1") or b"x26" in tagged  # what the encoder hides between the frames
    stripped = strip_metadata(tagged, media_type)
    for secret in (SECRET.encode(), b"47.3245", b"x264", b"x265", b"2026", b"Lavf6", b"Lavc"):
        assert secret not in stripped
    assert_same(read_frames(stripped), read_frames(tagged))
    with av.open(io.BytesIO(stripped)) as source:
        assert [track.type for track in source.streams] == ["video"]
        assert not {"title", "comment", "location", "creation_time"} & {key.lower() for key in source.metadata}
    assert np.array_equal(decode("video", stripped, media_type), decode("video", tagged, media_type))
    assert strip_metadata(stripped, media_type) == stripped


def test_a_turned_video_still_stands_as_it_was_seen() -> None:
    turned = film(turned=90)
    stripped = strip_metadata(turned, "video/mp4")
    seen = decode("video", stripped, "video/mp4")
    assert seen.shape == (10, 64, 48, 3)
    assert np.array_equal(seen, decode("video", turned, "video/mp4"))


def test_a_cover_picture_goes() -> None:
    tagged = film(cover=True)
    with av.open(io.BytesIO(tagged)) as source:
        assert [track.disposition for track in source.streams.video] == [Disposition.default, Disposition.attached_pic]
    stripped = strip_metadata(tagged, "video/mp4")
    assert b"\x89PNG" in tagged
    assert b"\x89PNG" not in stripped
    assert_same(read_frames(stripped), read_frames(tagged))


def test_user_data_within_a_frame_goes_and_other_units_stay() -> None:
    """A camera may write anything into an SEI unit; the recovery point in front of it must stay."""
    from curiosity.sources.own.strip_video import _is_user_data

    place = b"\x06\x05\x12" + b"u" * 16 + b"hi" + b"\x80"
    captions = b"\x06\x04\x03abc\x80"
    recovery = b"\x06\x06\x01\xc4\x80"
    long = b"\x06\x06\xff\x02" + b"r" * 257 + b"\x05\x01x\x80"  # user data behind a message of 257 bytes
    assert [_is_user_data(unit, "h264") for unit in (place, captions, recovery, long, b"\x65\x05\x01", b"")] == [
        True, True, False, True, False, False,
    ]  # fmt: skip
    assert _is_user_data(b"\x4e\x01\x05\x01x\x80", "hevc")
    assert not _is_user_data(b"\x4e\x01\x88\x01x\x80", "hevc")


def test_quicktime_becomes_mp4() -> None:
    clip = film(form="mov")
    assert clip[4:12] == b"ftypqt  "
    stripped = strip_metadata(clip, "video/mp4")
    assert stripped[4:12] == b"ftypisom"
    assert_same(read_frames(stripped), read_frames(clip))


def test_a_fragmented_file_is_taken() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"movflags": "frag_keyframe+empty_moov"}) as out:
        track: Any = out.add_stream("libx264", rate=10)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        out.metadata["title"] = SECRET
        for number in range(8):
            for packet in track.encode(draw(number)):
                out.mux(packet)
        for packet in track.encode():
            out.mux(packet)
    stripped = strip_metadata(buffer.getvalue(), "video/mp4")
    assert SECRET.encode() not in stripped
    assert_same(read_frames(stripped), read_frames(buffer.getvalue()))


def test_a_made_video_is_left_as_it_is() -> None:
    """So that an item of the set `world` has one digest, on disk and in the ledger."""
    pixels = np.random.default_rng(1).integers(0, 255, (6, 64, 64, 3)).astype(np.uint8)
    made = encode_video(pixels)
    assert strip_metadata(made, "video/mp4") == made


@pytest.mark.parametrize("codec", ["h264", "hevc", "vp9"])
def test_cut_videos_give_a_video_or_an_error(codec: str) -> None:
    whole, media_type = film(codec), CODECS[codec][1]
    refused = 0
    for size in range(0, len(whole), len(whole) // 40):
        refused += strip_or_refuse(whole[:size], media_type) is None
    assert refused > 3


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 2_000), value=st.integers(0, 255), codec=st.sampled_from(["h264", "hevc"]))
def test_damaged_videos_give_a_video_or_an_error(at: int, value: int, codec: str) -> None:
    data = bytearray(_FILMS[codec])
    data[at % len(data)] = value
    strip_or_refuse(bytes(data), "video/mp4")


_FILMS = {codec: film(codec, frames=3) for codec in ("h264", "hevc")}


def test_a_film_without_frames_is_refused() -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        sound: Any = out.add_stream("aac", rate=48_000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4_800), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 48_000
        for packet in (*sound.encode(silence), *sound.encode()):
            out.mux(packet)
    with pytest.raises(SourceError, match=r"BROKEN_FILE.*0 video tracks"):
        strip_metadata(buffer.getvalue(), "video/mp4")


def test_a_gif_loses_comments_and_keeps_frames_and_times() -> None:
    tagged = gif(comment=SECRET.encode()) + SECRET.encode()
    xmp = b"\x21\xff\x0bXMP DataXMP" + bytes([len(SECRET)]) + SECRET.encode() + b"\0"
    tagged = tagged[: 13 + 3 * 2 ** ((tagged[10] & 7) + 1)] + xmp + tagged[13 + 3 * 2 ** ((tagged[10] & 7) + 1) :]
    assert tagged.count(SECRET.encode()) == 3
    stripped = strip_metadata(tagged, "image/gif")
    assert SECRET.encode() not in stripped
    assert np.array_equal(decode("video", stripped, "image/gif"), decode("video", gif(), "image/gif"))
    before, after = Image.open(io.BytesIO(tagged)), Image.open(io.BytesIO(stripped))
    assert after.info["duration"] == before.info["duration"] == 100
    assert after.info["loop"] == 0
    assert stripped[-1] == 0x3B
    assert strip_metadata(stripped, "image/gif") == stripped
    for size in range(0, len(tagged) - len(SECRET), 5):
        with pytest.raises(SourceError, match="BROKEN_FILE"):
            strip_metadata(tagged[:size], "image/gif")
