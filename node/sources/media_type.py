"""What a file is, told by its first bytes and never by its name, and the item it becomes."""

import io
import wave
from pathlib import Path
from typing import Final

from node.sources.pairset import SourceItem
from protocol.errors import SourceError

MAX_TEXT_BYTES: Final = 65_536
IMAGE_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
SOUND_SUFFIXES: Final = frozenset({".wav", ".flac", ".ogg"})
TEXT_SUFFIX: Final = ".txt"
_HEAD_BYTES: Final = 64
# Known and refused: what they are and what to make of them.
_REFUSED: Final = (
    (0, b"GIF8", "a GIF picture", "Save it as PNG."),
    (0, b"BM", "a BMP picture", "Save it as PNG."),
    (0, b"II*\0", "a TIFF picture", "Save it as PNG."),
    (0, b"MM\0*", "a TIFF picture", "Save it as PNG."),
    (4, b"ftyphei", "a HEIC picture", "Save it as JPEG."),
    (4, b"ftypavif", "an AVIF picture", "Save it as PNG."),
    (4, b"ftyp", "an MP4 or QuickTime file", "Take out a picture (PNG) or the sound (WAV)."),
    (0, b"ID3", "an MP3 sound", "Convert it to WAV or FLAC."),
    (0, b"\xff\xfb", "an MP3 sound", "Convert it to WAV or FLAC."),
    (0, b"%PDF", "a PDF document", "Save its text as .txt, or a page as PNG."),
)


def sniff(head: bytes) -> str | None:
    """Media type of a file that starts with ``head`` (64 bytes are enough); None for what is not accepted."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return "audio/wav"
    if head.startswith(b"fLaC"):
        return "audio/flac"
    if head.startswith(b"OggS"):
        return "audio/ogg"
    return None


def load_item(path: Path, *, where: str = "") -> SourceItem:
    """The item in a picture, sound or ``.txt`` file; ``where`` (a file and line) is told in errors.

    An Ogg sound becomes WAV, because its tags cannot be taken out without decoding. Raises ``SourceError``:
    FILE_MISSING, CANNOT_READ, FILE_EMPTY, UNKNOWN_EXTENSION, NOT_AN_IMAGE, NOT_A_SOUND, BROKEN_FILE, and those of
    ``load_text``.
    """
    name = f"{where}: {path.name}" if where else str(path)
    suffix = path.suffix.lower()
    if suffix not in IMAGE_SUFFIXES | SOUND_SUFFIXES | {TEXT_SUFFIX}:
        raise SourceError(
            "UNKNOWN_EXTENSION",
            f"{name} has the extension {suffix or '(none)'}, which no rule reads",
            f"Use one of {', '.join(sorted(IMAGE_SUFFIXES | SOUND_SUFFIXES | {TEXT_SUFFIX}))}, or move it away.",
        )
    try:
        if suffix == TEXT_SUFFIX:
            with path.open("rb") as file:
                return make_text_item(path, decode_text(file.read(MAX_TEXT_BYTES + 1), where=name), where=name)
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except FileNotFoundError as error:
        raise SourceError("FILE_MISSING", f"{name} is not there", "Check the name; it is relative.") from error
    except OSError as error:
        raise SourceError(
            "CANNOT_READ", f"{name} cannot be read: {error.strerror}", "Check that it is a file that you may read."
        ) from error
    if not head:
        raise SourceError("FILE_EMPTY", f"{name} has 0 bytes", "Copy it again or leave it out.")
    media_type = sniff(head)
    wanted = "image" if suffix in IMAGE_SUFFIXES else "audio"
    if media_type is None or media_type.partition("/")[0] != wanted:
        raise _mismatch(name, wanted, media_type, head)
    if media_type == "audio/ogg":
        return SourceItem("audio", "audio/wav", path, convert_to_wav(path, where=name))
    return SourceItem(wanted, media_type, path)


def decode_text(data: bytes, *, where: str) -> str:
    """``data`` as UTF-8 (with or without byte order mark). Raises ``SourceError`` NOT_TEXT."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            "NOT_TEXT",
            f"{where} is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}",
            "Save it as UTF-8.",
        ) from error


def make_text_item(path: Path, text: str, *, where: str) -> SourceItem:
    """The item of ``text`` without space at its ends. Raises ``SourceError``: TEXT_EMPTY, TEXT_LONG, NOT_TEXT."""
    stripped = text.strip()
    content = stripped.encode("utf-8", "surrogatepass")
    if not stripped:
        raise SourceError("TEXT_EMPTY", f"{where} holds an empty text", "Write what the other item shows or says.")
    if len(content) > MAX_TEXT_BYTES:
        raise SourceError(
            "TEXT_LONG", f"{where} holds more than {MAX_TEXT_BYTES} bytes of text", "Shorten it to what belongs."
        )
    if any((ord(sign) < 32 and sign not in "\t\r\n") or 0xD800 <= ord(sign) <= 0xDFFF for sign in stripped):
        raise SourceError("NOT_TEXT", f"{where} holds control characters", "Save it as plain UTF-8 text.")
    return SourceItem("text", "text/plain", path, content)


def convert_to_wav(path: Path, *, where: str) -> bytes:
    """The sound at ``path`` as 16-bit PCM in a WAV file, rate and channels as they are. Raises BROKEN_FILE."""
    import soundfile  # slow to load, and only Ogg needs it

    try:
        samples, rate_hz = soundfile.read(path, dtype="int16", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise SourceError(
            "BROKEN_FILE", f"{where} cannot be decoded: {error}", "Check that it opens in a player, and save it again."
        ) from error
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(samples.shape[1])
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes(samples.astype("<i2").tobytes())
    return buffer.getvalue()


def _mismatch(name: str, wanted: str, media_type: str | None, head: bytes) -> SourceError:
    code, thing = ("NOT_AN_IMAGE", "a picture") if wanted == "image" else ("NOT_A_SOUND", "a sound")
    if media_type is not None:
        return SourceError(code, f"{name} holds {media_type}, not {thing}", "Give the file its right extension.")
    for offset, magic, kind, remedy in _REFUSED:
        if head[offset : offset + len(magic)] == magic:
            return SourceError(code, f"{name} is {kind}, which is not accepted", remedy)
    return SourceError(
        code,
        f"{name} does not start as {thing} does (first bytes {head[:8].hex(' ')})",
        "Check that it opens in a viewer or player, and save it again.",
    )
