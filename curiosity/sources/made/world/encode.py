"""Arrays of an episode as files: MP4, PNG and NumPy's own format, the same bytes for the same values."""

import io
from typing import Any, Final

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from curiosity.sources.own.strip_video import strip_video

FRAME_RATE: Final = 10


def encode_video(frames: NDArray[np.uint8]) -> bytes:
    """Return MP4 (H.264, 4:2:0, no sound, no times of making) of uint8[T, H, W, 3] at 10 frames a second."""
    buffer = io.BytesIO()
    flags = {"fflags": "+bitexact"}
    with av.open(buffer, mode="w", format="mp4", options=flags) as out:
        # One thread and no look-ahead: x264 then gives the same bytes whatever the machine's load and cores.
        stream: Any = out.add_stream("libx264", rate=FRAME_RATE)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        stream.options = {
            "crf": "16",
            "preset": "veryfast",
            "x264-params": "threads=1:lookahead-threads=1:sync-lookahead=0:rc-lookahead=0:deterministic=1:info=0",
            "flags": "+bitexact",
        }
        for picture in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                out.mux(packet)
        for packet in stream.encode(None):
            out.mux(packet)
    # As a contributor's file is sent: so the item has one digest in the set and in the ledger.
    return strip_video(buffer.getvalue(), "video/mp4")


def encode_picture(picture: NDArray[np.uint8]) -> bytes:
    """Return PNG of uint8[H, W, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()


def encode_array(array: NDArray[np.float32]) -> bytes:
    """Return ``.npy``, version 1, little-endian, C order, nothing pickled."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array, dtype="<f4"), version=(1, 0), allow_pickle=False)
    return buffer.getvalue()
