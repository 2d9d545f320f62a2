"""Small films and animations that carry a secret in their metadata."""

import functools
import io
import struct
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from PIL import Image

from tests.material.own import SECRET

CODECS = {
    "h264": ("libx264", "video/mp4"),
    "hevc": ("libx265", "video/mp4"),
    "av1": ("libsvtav1", "video/mp4"),
    "vp8": ("libvpx", "video/webm"),
    "vp9": ("libvpx-vp9", "video/webm"),
}
TEXTS = {"title": SECRET, "comment": SECRET, "location": "+47.3245+008.5460/", "creation_time": "2026-01-02T03:04:05Z"}


@functools.cache
def film(
    codec: str = "h264", *, frames: int = 10, turned: int = 0, cover: bool = False, tagged: bool = True, form: str = ""
) -> bytes:
    """A moving bar with sound, cover picture and texts as asked for."""
    encoder, media_type = CODECS[codec]
    buffer = io.BytesIO()
    form = form or media_type.partition("/")[2]
    options = {"movflags": "use_metadata_tags"} if form == "mp4" and not cover else {}
    with av.open(buffer, "w", format=form, options=options) as out:
        track: Any = out.add_stream(encoder, rate=10)
        track.width, track.height, track.pix_fmt = 64, 48, "yuv420p"
        if encoder == "libx265":
            # Without a pool of threads: a run of the suite stood for ever in the test that encodes one.
            track.options = {"x265-params": "log-level=none:pools=none:frame-threads=1"}
        if turned:
            track.set_display_rotation(turned)
        sound: Any = out.add_stream("aac" if form != "webm" else "libopus", rate=48_000)
        if cover:
            pictures: Any = out.add_stream("png")
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "rgb24"
            pictures.disposition = Disposition.attached_pic
        if tagged:
            out.metadata.update(TEXTS)
            track.metadata["handler_name"] = sound.metadata["handler_name"] = SECRET
            track.metadata["title"] = sound.metadata["title"] = SECRET
        for packet in (packet for number in range(frames) for packet in track.encode(draw(number))):
            out.mux(packet)
        for packet in track.encode():
            out.mux(packet)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 4_800), np.float32), format="fltp", layout="mono")
        silence.sample_rate, silence.pts = 48_000, 0
        for packet in (*sound.encode(silence), *sound.encode()):
            out.mux(packet)
        if cover:
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24")
            for packet in (*pictures.encode(picture), *pictures.encode()):
                out.mux(packet)
    return buffer.getvalue()


def draw(number: int) -> av.VideoFrame:
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[number : number + 20, 4 * number : 4 * number + 12] = (200, 120, 20 * (number % 10))
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    frame.pts = number
    return frame


def gif(*, comment: bytes = b"", frames: int = 4, loops: int | None = 0) -> bytes:
    buffer = io.BytesIO()
    pictures = [Image.new("P", (20, 16), number) for number in range(frames)]
    for number, picture in enumerate(pictures):
        picture.putpalette([number * 40, 20, 90] * 256)
    options: dict[str, Any] = {"comment": comment} if comment else {}
    if loops is not None:
        options["loop"] = loops
    pictures[0].save(buffer, "GIF", save_all=True, append_images=pictures[1:], duration=100, **options)
    return buffer.getvalue()


def tiny_gif(count: int, width: int = 1, height: int = 1) -> bytes:
    """A GIF of ``count`` frames of one pixel, 15 bytes each, on a canvas of any size."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * count + b"\x3b"
