"""Parts of a picture that no slice gave: FFmpeg's HEVC decoder says nothing of them and leaves what the memory held."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane

from curiosity.embedding.modality import Array

_LEAST = 16
"""Chroma samples that a gap leaves at least: it has 8 x 8 of the smallest block, of which filters touch a part."""


def has_gap(frame: VideoFrame) -> bool:
    """Return whether a part of the frame was never written; the frame must have been made in fresh memory.

    FFmpeg takes memory of zeros for a new frame, and takes it again once the frame before it is let go. Y, Cb and Cr of
    zero are far outside what any colour gives, a green with negative red and blue, so no camera's picture has them.
    """
    luma, cb, cr = (_rows(plane) for plane in frame.planes)
    empty = (cb == 0) & (cr == 0)
    if np.count_nonzero(empty) < _LEAST:
        return False
    down, right = (-(-whole // part) for whole, part in zip(luma.shape, cb.shape, strict=True))
    return int(np.count_nonzero(empty & (luma[::down, ::right] == 0))) >= _LEAST


def _rows(plane: VideoPlane) -> Array:
    return np.frombuffer(memoryview(plane), dtype=np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
