"""What a file is: told by its first bytes, and what its name says of it."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from curiosity.protocol.errors import SourceError
from curiosity.sources.own.array import read_header

if TYPE_CHECKING:
    from curiosity.embedding.modality import Contract

EXTENSIONS: Final = {
    "application/x-npy": "npy",
    "audio/flac": "flac",
    "audio/wav": "wav",
    "image/gif": "gif",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "text/plain": "txt",
    "video/mp4": "mp4",
    "video/webm": "webm",
}
"""Media type of an item in a pair set -> the extension of its file."""

ARRAY: Final = "application/x-npy"
TEXT_SUFFIX: Final = ".txt"
HEAD_BYTES: Final = 4096  # enough for the header of an array
# Suffix -> modality; an array's is told by its shape.
SUFFIXES: Final = {
    ".png": "image", ".jpg": "image", ".jpeg": "image", ".webp": "image",
    ".heic": "image", ".heif": "image", ".hif": "image", ".avif": "image", ".bmp": "image", ".tif": "image",
    ".tiff": "image",
    ".wav": "audio", ".flac": "audio", ".ogg": "audio", ".oga": "audio",
    ".mp3": "audio", ".m4a": "audio", ".opus": "audio",
    ".mp4": "video", ".m4v": "video", ".mov": "video", ".webm": "video", ".gif": "video",
    ".npy": "", TEXT_SUFFIX: "text",
}  # fmt: skip
# Media types that no network takes and `curiosity.sources.own.convert` turns into one that it does -> what people call
# them.
CONVERTED: Final = {
    "image/heic": "HEIC", "image/avif": "AVIF", "image/bmp": "BMP", "image/tiff": "TIFF",
    "audio/mpeg": "MP3", "audio/mp4": "M4A", "audio/opus": "Opus",
}  # fmt: skip
_ALIASES: Final = {"points": "point_cloud", "pointcloud": "point_cloud", "actions": "action"}
# What a file must be -> code and words of the refusal when it is not.
_WANTED: Final = {
    "image": ("NOT_AN_IMAGE", "a picture"),
    "audio": ("NOT_A_SOUND", "a sound"),
    "video": ("NOT_A_VIDEO", "a video"),
    "": ("NOT_AN_ARRAY", "a NumPy array"),
}
# Known and refused: where the mark stands, the mark, what has it, what to make of it.
_REFUSED: Final = (
    (0, b"\x1a\x45\xdf\xa3", "a Matroska film", "Convert it to MP4 (H.264)."),
    (8, b"AVI ", "an AVI film", "Convert it to MP4 (H.264)."),
    (0, b"%PDF", "a PDF document", "Save its text as .txt, or a page as PNG."),
    (0, b"PK\x03\x04", "a ZIP archive, as .npz is", "Save each array alone, with numpy.save."),
)


def sniff(head: bytes) -> str | None:
    """Return the media type of a file that starts with ``head`` (64 bytes are enough); None for what is not accepted.

    A QuickTime film is told as MP4: the two differ in their first bytes, and those are written anew. So is a sound in a
    container that does not say it holds a sound alone. Types in `CONVERTED` are accepted to be converted.
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"RIFF") and head[8:12] in (b"WEBP", b"WAVE"):
        return "image/webp" if head[8:12] == b"WEBP" else "audio/wav"
    if head.startswith(b"fLaC"):
        return "audio/flac"
    if head.startswith(b"OggS"):
        return "audio/opus" if head[28:36] == b"OpusHead" else "audio/ogg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head[4:8] == b"ftyp":
        return _tell_brand(head)
    if head.startswith(b"BM"):
        return "image/bmp"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "image/tiff"
    if head.startswith(b"ID3") or _is_mp3_frame(head):
        return "audio/mpeg"
    if head.startswith(b"\x1a\x45\xdf\xa3") and b"webm" in head[:64]:
        return "video/webm"
    if head.startswith(b"\x93NUMPY"):
        return ARRAY
    return None


def _tell_brand(head: bytes) -> str:
    """Return what a file of ISO/IEC 14496-12 holds, by the brands that it begins with."""
    brand = head[8:12]
    brands = head[8 : min(int.from_bytes(head[:4], "big"), 256)]
    if brand in (b"avif", b"avis") or (brand in (b"mif1", b"msf1") and b"avif" in brands):
        return "image/avif"
    if brand in (b"mif1", b"msf1") or brand[:2] == b"he":
        return "image/heic"
    return "audio/mp4" if brand in (b"M4A ", b"M4B ") else "video/mp4"


def _is_mp3_frame(head: bytes) -> bool:
    """Return whether ``head`` starts with a frame of MPEG layer III (ISO/IEC 11172-3, 2.4.1.3)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:  # eleven ones, layer III
        return False
    version, bit_rate, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    return version != 1 and bit_rate not in (0, 15) and rate != 3


def _find_refused(head: bytes) -> tuple[str, str] | None:
    """Return what is known and refused, and what to do."""
    found = ((kind, remedy) for offset, mark, kind, remedy in _REFUSED if head[offset : offset + len(mark)] == mark)
    return next(found, None)


def tell(head: bytes, *, where: str, modality: str | None = None) -> tuple[str, str]:
    """Return (modality, media type) of content that starts with ``head``, which is not text.

    ``modality`` is what it is said to be: for an array the name of the sensor or "" for whichever fits its shape,
    None where nothing is said.

    Raises:
        SourceError: FILE_EMPTY, NOT_AN_IMAGE, NOT_A_SOUND, NOT_A_VIDEO, NOT_AN_ARRAY, NOT_ACCEPTED, MODALITY_UNKNOWN,
            MODALITY_UNCLEAR, BROKEN_FILE.
    """
    if modality is not None and modality not in _WANTED and modality not in sensors():
        raise SourceError(
            "MODALITY_UNKNOWN",
            f"{where}: there is no modality {modality!r}",
            f"Use one of text, {', '.join(sorted({*_WANTED, *sensors()} - {''}))}.",
        )
    if not head:
        raise SourceError("FILE_EMPTY", f"{where} is empty (0 bytes)", "Copy it again or leave it out.")
    media_type = sniff(head)
    wanted = None if modality is None else modality if modality in _WANTED else ""
    if wanted == "audio" and media_type == "video/mp4":
        media_type = "audio/mp4"  # recorders write .m4a files with the brand of films
    kind = _kind_of(media_type)
    if media_type is None or (wanted is not None and kind != wanted):
        raise _mismatch(where, wanted, media_type, head)
    if kind == "":
        return modality or tell_sensor(_read_shape(head, where), where=where), ARRAY
    return str(kind), media_type


def _kind_of(media_type: str | None) -> str | None:
    """Return the modality of a media type, "" for an array."""
    if media_type is None:
        return None
    return {"image/gif": "video", ARRAY: ""}.get(media_type, media_type.partition("/")[0])


def _mismatch(where: str, wanted: str | None, media_type: str | None, head: bytes) -> SourceError:
    code, thing = _WANTED[wanted] if wanted is not None else ("NOT_ACCEPTED", "anything that is accepted")
    if media_type is not None:
        return SourceError(code, f"{where} holds {media_type}, not {thing}", "Give the file its right extension.")
    refused = _find_refused(head)
    if refused is not None:
        return SourceError(code, f"{where} is {refused[0]}, which is not accepted", refused[1])
    return SourceError(
        code,
        f"{where} does not start as {thing} does (first bytes {head[:8].hex(' ')})",
        "Check that it opens in a viewer or player, and save it again.",
    )


# -- arrays of sensors


@cache
def sensors() -> dict[str, "Contract"]:
    """Return the modalities whose items are arrays, with what each array must be."""
    from curiosity.embedding.modalities import MODALITIES  # loads NumPy: not before it is needed

    return {each.name: each.contract for each in MODALITIES if ARRAY in each.media_types}


def tell_sensor(shape: tuple[int, ...], *, where: str) -> str:
    """Return the modality that an array of this shape can only be.

    Raises:
        SourceError: MODALITY_UNCLEAR.
    """
    for is_loose in (False, True):  # an array that is too short is still told what it is too short for
        fitting = [name for name, contract in sensors().items() if _fits(contract.shape, shape, is_loose)]
        if len(fitting) == 1:
            return fitting[0]
    raise SourceError(
        "MODALITY_UNCLEAR",
        f"{where} holds an array of shape {str(shape)[:80]}, which fits {', '.join(fitting) or 'no sensor'}",
        f"Say what it is in its name, such as x.{next(iter(sensors()))}.npy: {', '.join(sensors())}.",
    )


def _fits(wanted: tuple[int | tuple[int, int] | None, ...], shape: tuple[int, ...], is_loose: bool) -> bool:
    return len(wanted) == len(shape) and all(
        got == want if isinstance(want, int) else is_loose or want is None or want[0] <= got <= want[1]
        for want, got in zip(wanted, shape, strict=True)
    )


def _read_shape(head: bytes, where: str) -> tuple[int, ...]:
    try:
        return read_header(head)[0]
    except ValueError as error:
        raise SourceError(
            "BROKEN_FILE", f"{where} has no header of an array of numbers ({error})", "Write it with numpy.save."
        ) from error


# -- names


@dataclass(frozen=True)
class Name:
    """What a file name says: which files belong together, the suffix, and what stands between the two.

    ``modality`` is None where the name says none, "" for an array of a sensor that it does not name.
    """

    stem: str
    suffix: str
    modality: str | None
    stream: str | None = None


def read_name(name: str) -> Name:
    """Return what ``name`` says, such as ``scene1.touch.npy``, ``scene1.camera2.png``, ``scene1.mp4``."""
    stem, dot, suffix = name.rpartition(".")
    suffix = dot + suffix.lower()
    if not stem:
        return Name(name, "", None)
    modality = SUFFIXES.get(suffix)
    rest, _, middle = stem.rpartition(".")
    middle = middle.lower()
    if rest and suffix == ".npy" and _ALIASES.get(middle, middle) in sensors():
        return Name(rest, suffix, _ALIASES.get(middle, middle))
    if rest and modality == "image" and middle.startswith("camera") and middle[6:].isdecimal():
        return Name(rest, suffix, modality, middle)
    return Name(stem, suffix, modality)
