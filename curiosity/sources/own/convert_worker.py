"""A child process that decodes one picture or sound: the file on stdin, limits in its argument, the answer on stdout.

It runs apart because the decoders are C libraries: what crashes one, or makes it take too much, ends this process and
not its caller. So this file imports nothing but the standard library and those decoders, and is started as a script in
isolated mode.

Answer  one line of JSON, {"changes", ...} and then PNG or interleaved 16-bit samples, or {"code", "what", "remedy"}.
"""

import io
import json
import resource
import struct
import sys
import warnings
import zlib
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from av.container import InputContainer
    from PIL.Image import Image

_PICTURES = {"image/heic": "HEIF", "image/avif": "AVIF", "image/bmp": "BMP", "image/tiff": "TIFF"}
# Media type -> FFmpeg's name of the container, and the codecs that are taken in it.
_SOUNDS = {
    "audio/mpeg": ("mp3", {"mp3"}),
    "audio/mp4": ("mov", {"aac", "alac", "mp3"}),
    "audio/opus": ("ogg", {"opus"}),
}
_NAMES = {"audio/mpeg": "MP3", "audio/mp4": "M4A", "audio/opus": "Opus"}
_SUBFILE_TYPE = 254  # TIFF 6.0: bit 0 says that a page is a smaller version of another
_MISSING_FRAMES = 3  # that a whole file may lack: encoders state their padding in different ways
_BROKEN = (
    OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, KeyError, IndexError, TypeError, RuntimeError,
    OverflowError, ArithmeticError,
)  # fmt: skip
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class ConversionRefusal(Exception):
    """Why a file is not converted: code, what, remedy."""


def refuse(code: str, what: str, remedy: str) -> NoReturn:
    """Refuse the file.

    Raises:
        ConversionRefusal: Always, with these words.
    """
    raise ConversionRefusal(code, what, remedy)


# -- pictures


def convert_picture(data: bytes, limits: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return PNG without metadata, upright, in sRGB; and what was changed.

    Raises:
        ConversionRefusal: With the rule that the picture breaks.
    """
    from PIL import Image, ImageOps

    form = _PICTURES[limits["media_type"]]
    if form == "HEIF":
        _register_heif()
    try:
        with Image.open(io.BytesIO(data), formats=[form]) as picture:
            width, height = picture.size
            if width * height > limits["max_pixels"]:
                refuse(
                    "IMAGE_TOO_LARGE",
                    f"{width} x {height} pixels, the limit is {limits['max_pixels']} pixels",
                    "Scale the picture down.",
                )
            changes = _choose_frame(picture, form)
            picture.load()
            upright = ImageOps.exif_transpose(picture)
    except Image.DecompressionBombError as error:
        refuse("IMAGE_TOO_LARGE", f"{error}; the limit is {limits['max_pixels']} pixels", "Scale the picture down.")
    except _BROKEN as error:
        refuse(
            "BROKEN_FILE",
            f"not a whole {form} picture ({type(error).__name__}: {error}, {len(data)} bytes)"[:500],
            "Check that it opens in a viewer, and save it again as PNG.",
        )
    plain, colours = _make_plain(upright)
    png, factor = _encode_png(plain, limits["max_bytes"])
    changes += colours
    if factor > 1:
        sides = f"{-(-plain.width // factor)} x {-(-plain.height // factor)}"
        changes.append(f"scaled down from {plain.width} x {plain.height} to {sides} pixels, to fit an item")
    return {"changes": changes}, png


def _register_heif() -> None:
    try:
        import pi_heif
    except ImportError as error:
        refuse("CONVERTER_MISSING", f"HEIC needs the package pi-heif ({error})", "Install it, or save as JPEG.")
    pi_heif.register_heif_opener(thumbnails=False)


def _choose_frame(picture: "Image", form: str) -> list[str]:
    """Return words on what else the file holds.

    Raises:
        ConversionRefusal: IMAGE_NOT_STILL.
    """
    count = getattr(picture, "n_frames", 1) if form in ("HEIF", "AVIF") else 1
    if form == "HEIF":  # the opener stands at the primary picture
        return [f"the main one of {count} pictures"] if count > 1 else []
    if form == "TIFF":
        try:  # not n_frames: that walks through all
            picture.seek(1)
        except EOFError:
            return []
        is_preview = int(getattr(picture, "tag_v2", {}).get(_SUBFILE_TYPE, 0)) & 1
        picture.seek(0)
        count = 1 if is_preview else 2
    if count > 1:
        words = "more than one page" if form == "TIFF" else f"{count} frames"
        refuse("IMAGE_NOT_STILL", f"the picture has {words}", "Save one of them as PNG.")
    return []


def _make_plain(picture: "Image") -> tuple["Image", list[str]]:
    """Return the picture as L, LA, RGB, RGBA or I;16 in sRGB, with no metadata; and words on its colours."""
    changes: list[str] = []
    profile = None
    if picture.mode.startswith("I"):
        low, high = picture.convert("I").getextrema()
        if not 0 <= low <= high <= 0xFFFF:  # type: ignore[operator]  # one band
            refuse("IMAGE_DEPTH", f"32-bit grey from {low} to {high}", "Save it as PNG with 8 or 16 bits a channel.")
        picture = picture.convert("I").convert("I;16")
    elif picture.mode == "F":
        refuse("IMAGE_DEPTH", "its pixels are fractions", "Save it as PNG with 8 or 16 bits a channel.")
    else:
        profile = picture.info.get("icc_profile")
        if picture.has_transparency_data:
            picture = picture.convert("LA" if picture.mode in ("LA", "La") else "RGBA")
        elif picture.mode == "1":
            picture = picture.convert("L")
    if profile:
        picture, changes = _apply_profile(picture, profile)
    if picture.mode not in ("L", "LA", "RGB", "RGBA", "I;16"):
        changes = changes or ([f"{picture.mode} to RGB"] if picture.mode in ("CMYK", "LAB", "YCbCr") else [])
        picture = picture.convert("RGB")
    picture.info = {}  # what Pillow would write into the PNG
    return picture, changes


def _apply_profile(picture: "Image", profile: bytes) -> tuple["Image", list[str]]:
    """Return the colours that the ICC profile means, in sRGB."""
    from PIL import ImageCms

    alpha = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
    plain = picture.convert(picture.mode[:-1]) if alpha is not None else picture
    if plain.mode == "P":
        plain = plain.convert("RGB")
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        name = "".join(sign for sign in ImageCms.getProfileDescription(source).strip() if sign.isprintable())[:60]
        if name.lower().startswith("srgb"):
            return picture, []
        turned = ImageCms.profileToProfile(plain, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, *_BROKEN):
        return picture, ["colours as they are: the ICC profile cannot be used"]
    if turned is None:  # never: only with inPlace
        return picture, []
    if alpha is not None:
        turned.putalpha(alpha)
    return turned, [f"colours turned from {name or 'an ICC profile'} to sRGB"]


class _Bounded(io.BytesIO):
    """A sink that takes no more than ``limit`` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit

    def write(self, data: Any) -> int:
        """Write, or raise ``_FullError``."""
        if self.tell() + len(data) > self._limit:
            raise _FullError
        return super().write(data)


class _FullError(Exception):
    pass


def _encode_png(picture: "Image", max_bytes: int) -> tuple[bytes, int]:
    """Return PNG of at most that size, and by what each side was divided."""
    factor = 1
    while True:
        sink = _Bounded(max_bytes)
        try:
            _reduce(picture, factor).save(sink, "PNG")
        except _FullError:
            factor += 1
        else:
            return sink.getvalue(), factor


def _reduce(picture: "Image", factor: int) -> "Image":
    """Return the picture with each side divided, every pixel the mean of a square."""
    if factor == 1:
        return picture
    if picture.mode == "I;16":
        return picture.convert("I").reduce(factor).convert("I;16")
    return picture.reduce(factor)


# -- sounds


def convert_sound(data: bytes, limits: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    """Return interleaved 16-bit samples in the machine's byte order, their rate and channels.

    Raises:
        ConversionRefusal: With the rule that the sound breaks.
    """
    import av

    name = _NAMES[limits["media_type"]]
    form, codecs = _SOUNDS[limits["media_type"]]
    # Nothing but ``data`` is ever read.
    options = {"protocol_whitelist": "", "max_streams": "64"} | ({"enable_drefs": "0"} if form == "mov" else {})
    try:
        if form == "ogg":
            _check_pages(data)
        with av.open(io.BytesIO(data), "r", format=form, options=options, metadata_errors="ignore") as source:
            return _decode_sound(source, codecs, limits, is_stated=form == "mov" or _has_frame_count(data))
    except (av.FFmpegError, *_BROKEN) as error:
        refuse(
            "BROKEN_FILE",
            f"not a whole {name} sound ({getattr(error, 'strerror', None) or error}, {len(data)} bytes)"[:500],
            "Check that it opens in a player, and save it again as FLAC.",
        )


def _decode_sound(
    source: "InputContainer", codecs: set[str], limits: dict[str, Any], *, is_stated: bool
) -> tuple[dict[str, Any], bytes]:
    """Decode a sound; ``is_stated``: the file says how long it is, and must be that long."""
    import av
    from av.stream import Disposition

    tracks = source.streams.audio
    films = [track for track in source.streams.video if not track.disposition & Disposition.attached_pic]
    if len(tracks) != 1 or films:
        refuse(
            "NOT_A_SOUND",
            f"it has {len(tracks)} sound tracks and {len(films)} video tracks, one sound track is taken",
            "Save the sound alone, as FLAC.",
        )
    track = tracks[0]
    codec = track.codec_context.codec.canonical_name if track.codec_context is not None else "unknown"
    if codec not in codecs:
        refuse("AUDIO_FORMAT", f"its codec is {codec}, taken are {', '.join(sorted(codecs))}", "Save it as FLAC.")
    stated_s = float(track.duration * track.time_base) if track.duration and track.time_base else 0.0
    if is_stated and stated_s > limits["max_s"] + 1.0:  # with padding that decoding cuts off
        _refuse_long(f"{stated_s:.1f} s", limits)
    sound, count, longest, resampler, rate_hz, channels = bytearray(), 0, 0, None, 0, 0
    for packet in source.demux(track):
        for frame in packet.decode():
            if not isinstance(frame, av.AudioFrame):
                continue
            if resampler is None:
                rate_hz, channels = frame.sample_rate, frame.layout.nb_channels
                _check_form(rate_hz, channels, limits)
                resampler = av.AudioResampler(format="s16", layout=frame.layout, rate=rate_hz)
            longest = max(longest, frame.samples)
            for plain in resampler.resample(frame):
                count += plain.samples
                if count > limits["max_s"] * rate_hz:
                    _refuse_long(f"over {limits['max_s']:.0f} s", limits)
                sound += memoryview(plain.planes[0])[: plain.samples * channels * 2]
    if not count:
        refuse("AUDIO_EMPTY", "the recording has no sample", "Send a recording that lasts a moment.")
    if is_stated and count + _MISSING_FRAMES * longest < stated_s * rate_hz:
        raise ValueError(f"it says {stated_s:.2f} s, {count / rate_hz:.2f} s are there")
    return {"changes": [], "rate_hz": rate_hz, "channels": channels}, bytes(sound)


def _check_form(rate_hz: int, channels: int, limits: dict[str, Any]) -> None:
    lowest, highest = limits["rates_hz"]
    if not lowest <= rate_hz <= highest or not 1 <= channels <= limits["max_channels"]:
        refuse(
            "AUDIO_FORMAT",
            f"{rate_hz} Hz and {channels} channels; taken are {lowest} to {highest} Hz and at most "
            f"{limits['max_channels']} channels",
            "Convert the recording, for example to FLAC at 48 kHz in stereo.",
        )


def _refuse_long(length: str, limits: dict[str, Any]) -> NoReturn:
    refuse("AUDIO_TOO_LONG", f"{length}, the limit is {limits['max_s']:.0f} s", "Cut the recording.")


def _has_frame_count(data: bytes) -> bool:
    """Return whether an MP3 states its length: else FFmpeg guesses it from the first bit rate."""
    start = 0
    while data[start : start + 3] == b"ID3" and len(data) >= start + 10:
        start += 10 + sum(
            (digit & 0x7F) << shift for digit, shift in zip(data[start + 6 : start + 10], (21, 14, 7, 0), strict=True)
        )
    return any(mark in data[start : start + 4096] for mark in (b"Xing", b"Info"))


def _check_pages(data: bytes) -> None:
    """Check that every page of an Ogg file is whole (RFC 3533 section 6); FFmpeg ignores what is not.

    Raises:
        ValueError: For a file with a cut or damaged page.
    """
    position = 0
    while data[position : position + 4] == b"OggS":
        count = data[position + 26]
        end = position + 27 + count + sum(data[position + 27 : position + 27 + count])
        if end > len(data):
            raise ValueError(f"a page ends at byte {end}")
        page = data[position : position + 22] + bytes(4) + data[position + 26 : end]
        if _ogg_checksum(page) != int.from_bytes(data[position + 22 : position + 26], "little"):
            raise ValueError(f"wrong checksum of the page at byte {position}")
        position = end


def _ogg_checksum(page: bytes) -> int:
    """Return CRC-32 with the highest bit first, from 0.

    It is zlib's on mirrored bytes, mirrored, without its two inversions.
    """
    mirrored = zlib.crc32(page.translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)


def main() -> None:
    """Answer the one request."""
    limits = json.loads(sys.argv[1])
    for kind, limit in (
        (resource.RLIMIT_AS, limits["max_memory_bytes"]),
        (resource.RLIMIT_CPU, limits["max_processor_s"]),
        (resource.RLIMIT_FSIZE, limits["max_output_bytes"]),
        (resource.RLIMIT_CORE, 0),
    ):
        _, highest = resource.getrlimit(kind)
        resource.setrlimit(kind, (limit if highest == resource.RLIM_INFINITY else min(limit, highest),) * 2)
    warnings.simplefilter("ignore")
    work = convert_picture if limits["media_type"] in _PICTURES else convert_sound
    try:
        header, payload = work(sys.stdin.buffer.read(), limits)
    except ConversionRefusal as refusal:
        header, payload = dict(zip(("code", "what", "remedy"), refusal.args, strict=True)), b""
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + payload)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
