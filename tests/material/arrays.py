"""Arrays, meshes and archives as files of the formats that contributors hold."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from curiosity.sources.own.array import encode_array
from tests.material.own import draw, encode, tag_jpeg, tag_wav
from tests.material.video import film

SHAPES = {
    "point_cloud": (32, 3),
    "touch": (4, 2, 16, 16),
    "pressure": (64,),
    "emg": (8, 64),
    "action": (8, 7),  # eight steps: as many as EMG has channels
}


def array(name: str, seed: int = 0) -> bytes:
    values = np.random.default_rng(seed).uniform(0, 0.9, SHAPES[name])
    return encode_array(values.tolist())


def scene() -> dict[str, bytes]:
    return {
        "grasp.mp4": film(),
        "grasp.touch.npy": array("touch"),
        "grasp.points.npy": array("point_cloud"),
        "grasp.emg.npy": array("emg"),
        "grasp.action.npy": array("action"),
        "grasp.pressure.npy": array("pressure"),
        "grasp.camera1.png": encode(draw(1)),
        "grasp.camera2.jpg": tag_jpeg(2),
        "grasp.wav": tag_wav(1),
        "grasp.txt": b"a red cube is grasped",
    }


def pack(path: Path, members: Iterable[tuple[str, bytes] | tarfile.TarInfo], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as shard:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                shard.addfile(member, io.BytesIO(b"x" * member.size) if member.isreg() else None)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            shard.addfile(info, io.BytesIO(member[1]))
    return path
