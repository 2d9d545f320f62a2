"""One file of each type that a contributor may convert."""

from pathlib import Path

from tests.material.convert import PICTURES, SOUNDS, scene, tones, write_picture, write_sound

TYPES = {"heic": "image/heic", "avif": "image/avif", "bmp": "image/bmp", "tiff": "image/tiff"} | {
    "mp3": "audio/mpeg", "m4a": "audio/mp4", "opus": "audio/opus"
}  # fmt: skip


def make(extension: str) -> bytes:
    if extension in PICTURES:
        return write_picture(scene(), extension)
    return write_sound(tones(1.0, SOUNDS[extension][2]), extension)


def everything(folder: Path) -> dict[str, bytes]:
    """A folder with a captioned file of each format."""
    folder.mkdir()
    files = {f"{extension}.{extension}": make(extension) for extension in TYPES}
    for name, data in files.items():
        (folder / name).write_bytes(data)
        (folder / name).with_suffix(".txt").write_text(f"a thing as {name}")
    return files
