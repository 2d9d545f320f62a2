"""Writes ``video.json``: short clips, and the digest of the array that each must give on every machine.

``python tests/vectors/make_video.py`` encodes new clips, so the digests change with the encoders; run it when the
decoding itself is meant to change, and raise the preprocessing version of the presets with it. Each entry is
``{"name", "media_type", "base64", "shape", "sha256"}``; the digest is of the array's bytes in C order.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))

from curiosity.embedding.modalities import decode  # noqa: E402
from tests.material.modality import clip, gif  # noqa: E402

CLIPS = (
    ("h264", "video/mp4", "libx264", {"crf": "30"}),
    ("hevc", "video/mp4", "libx265", {"crf": "30", "x265-params": "log-level=none:info=0"}),
    ("vp8", "video/webm", "libvpx", {"b": "200k"}),
    ("vp9", "video/webm", "libvpx-vp9", {"crf": "40", "b": "0"}),
    ("av1", "video/webm", "libsvtav1", {"crf": "45"}),
)


def moving(count: int = 6, width: int = 320, height: int = 180) -> np.ndarray:
    """uint8[count, height, width, 3] of slanted colour waves that drift."""
    y, x = np.mgrid[:height, :width]
    out = [
        [
            (128 + 120 * np.sin((x * a + y * b) / 40 + number * c))
            for a, b, c in ((1, 2, 0.4), (2, 1, 0.7), (3, -1, 1.1))
        ]
        for number in range(count)
    ]
    return np.array(out).transpose(0, 2, 3, 1).astype(np.uint8)


def main() -> None:
    """Encode, decode, write."""
    vectors = []
    for name, media_type, codec, options in CLIPS:
        data = clip(moving(), codec, media_type.removeprefix("video/"), options=options)
        vectors.append((name, media_type, data))
    vectors.append(("gif", "image/gif", gif(moving(3, 270, 60))))
    entries = []
    for name, media_type, data in vectors:
        array = decode("video", data, media_type)
        entries.append(
            {
                "name": name,
                "media_type": media_type,
                "shape": list(array.shape),
                "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
                "base64": base64.b64encode(data).decode(),
            }
        )
        print(name, len(data), array.shape)
    (HERE / "video.json").write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
