"""Pictures and sounds that carry a secret in their metadata."""

import io

import numpy as np
import numpy.typing as npt
import soundfile
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from curiosity.protocol.errors import SourceError
from curiosity.sources.own.strip import strip_metadata

SECRET = "Kilchberg 47.3245"


def draw(seed: int, *, side_px: int = 24) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (side_px, side_px + 8, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((side_px + 8, side_px))


def encode(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=form, **options)
    return buffer.getvalue()


def hum(seed: int, *, seconds: float = 0.3) -> npt.NDArray[np.int16]:
    return (np.random.default_rng(seed).normal(0, 3000, int(16000 * seconds))).astype(np.int16)


def encode_sound(samples: npt.NDArray[np.int16], form: str = "WAV", **tags: str) -> bytes:
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", 16000, 1, format=form) as sound:
        for key, value in tags.items():
            setattr(sound, key, value)
        sound.write(samples)
    return buffer.getvalue()


def make_exif(seed: int, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = f"{SECRET} maker {seed}"
    exif[ExifTags.Base.BodySerialNumber] = f"{SECRET} serial {seed}"
    exif[ExifTags.Base.DateTime] = "2026:01:02 03:04:05"
    exif[ExifTags.Base.Orientation] = orientation
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef] = "N"
    gps[ExifTags.GPS.GPSLatitude] = (47.0, 19.0, 28.2 + seed)
    return exif.tobytes()


def tag_jpeg(seed: int) -> bytes:
    orientation = seed % 8 + 1
    options = {"exif": make_exif(seed, orientation), "comment": SECRET, "quality": 90, "progressive": seed % 2 == 0}
    whole = encode(
        draw(seed), "JPEG", xmp=f"<x>{SECRET}</x>".encode(), icc_profile=b"icc " + SECRET.encode(), **options
    )
    return whole + b"appended video of " + SECRET.encode()


def tag_png(seed: int) -> bytes:
    info = PngInfo()
    info.add_text("Author", SECRET)
    info.add_itxt("XML:com.adobe.xmp", f"<x>{SECRET}</x>", zip=False)
    info.add(b"tIME", b"\x07\xea\x01\x02\x03\x04\x05")
    return encode(draw(seed), "PNG", pnginfo=info, exif=make_exif(seed, 1), icc_profile=b"icc " + SECRET.encode())


def tag_wav(seed: int) -> bytes:
    return encode_sound(hum(seed), "WAV", artist=SECRET, comment=SECRET, title=SECRET) + SECRET.encode()


def strip_or_refuse(data: bytes, media_type: str) -> bytes | None:
    """What is left, or None where the file is refused as broken; any other error goes on."""
    try:
        return strip_metadata(data, media_type)
    except SourceError as error:
        if error.code != "BROKEN_FILE":
            raise
        return None
