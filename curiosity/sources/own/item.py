"""One item from a file or from bytes: told what it is, without metadata, and decoded once before anybody signs it."""

import io
import re
import wave
from pathlib import Path
from typing import Final

from curiosity.protocol.counts import number_of
from curiosity.protocol.errors import Rejected, SourceError
from curiosity.sources.own.convert import Conversion, convert
from curiosity.sources.own.media_type import CONVERTED, HEAD_BYTES, SUFFIXES, read_name, tell
from curiosity.sources.own.provenance import says_generated
from curiosity.sources.own.strip import find_id3_end, strip_metadata
from curiosity.sources.pairset import SourceItem

# Characters that nobody sees (Default_Ignorable_Code_Point, Unicode 15.1) and the empty Braille cell.
_INVISIBLE: Final = re.compile(
    "[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001-\U000e01ef]"
)
MAX_TEXT_BYTES: Final = 65_536
MAX_FILE_BYTES: Final = 256 << 20  # with sound and metadata; what is left is held to the modality's own limit


def load_item(path: Path, *, modality: str | None = None, stream: str | None = None, where: str = "") -> SourceItem:
    """Return the item in a file; ``where`` (a table and line) is told in errors.

    ``modality`` says what an array is; else its name or its shape does. Types in `CONVERTED` are converted, and an Ogg
    sound becomes WAV, because its tags cannot be taken out without decoding.

    Raises:
        SourceError: FILE_MISSING, CANNOT_READ, FILE_EMPTY, FILE_LARGE, UNKNOWN_EXTENSION, BROKEN_FILE, and those of
            ``tell``, ``convert``, ``make_text_item`` and ``decode_text``.
    """
    where = f"{where}: {path.name}" if where else str(path)
    name = read_name(path.name)
    if name.modality is None:
        raise unknown_extension(where, name.suffix)
    try:
        with path.open("rb") as file:
            if (modality or name.modality) == "text":
                return make_item(file.read(MAX_TEXT_BYTES + 1), path, modality="text", where=where)
            head = file.read(HEAD_BYTES)
            at, behind = 0, head
            while tag := find_id3_end(behind):
                at += tag
                file.seek(at)
                behind = file.read(HEAD_BYTES)
            head = _skip_id3(head, behind)
            size = file.seek(0, io.SEEK_END)
    except FileNotFoundError as error:
        raise SourceError("FILE_MISSING", f"{where} is not there", "Check the name and the folder.") from error
    except OSError as error:
        raise SourceError(
            "CANNOT_READ", f"{where} cannot be read: {error.strerror}", "Check that it is a file that you may read."
        ) from error
    _check_size(size, where)
    told, media_type = tell(head, where=where, modality=name.modality if modality is None else modality)
    if media_type in CONVERTED or media_type == "audio/ogg":
        return _convert(path.read_bytes(), told, media_type, path, stream or name.stream, where)
    return SourceItem(told, media_type, path, None, stream or name.stream)


def make_item(data: bytes, path: Path, *, modality: str | None, stream: str | None = None, where: str) -> SourceItem:
    """Return the item in ``data``, without metadata; ``path`` is what to call it.

    Raises:
        CuriosityError: What `load_item` does.
    """
    _check_size(len(data), where)
    if modality == "text":
        if len(data) > MAX_TEXT_BYTES:  # before it is cut, which may be within a character
            raise _too_long(where)
        return make_text_item(path, decode_text(data, where=where), where=where)
    behind = data[find_id3_end(data) :][:HEAD_BYTES]
    told, media_type = tell(_skip_id3(data[:HEAD_BYTES], behind), where=where, modality=modality)
    if media_type in CONVERTED or media_type == "audio/ogg":
        return _convert(data, told, media_type, path, stream, where)
    stripped = strip_metadata(data, media_type, where=where)
    return SourceItem(told, media_type, path, stripped, stream, generated=says_generated(data))


def _convert(data: bytes, modality: str, media_type: str, path: Path, stream: str | None, where: str) -> SourceItem:
    """Return the item that is signed in place of a file.

    The network does not take that file, or its tags cannot be taken out.
    """
    if media_type in CONVERTED:
        content, conversion = convert(data, media_type, where=where)
    else:
        content = convert_to_wav(data, where=where)
        conversion = Conversion(media_type, "audio/wav", len(data), len(content))
    return SourceItem(modality, conversion.to_type, path, content, stream, conversion, says_generated(data))


def check_item(item: SourceItem, data: bytes, *, where: str) -> None:
    """Decode ``data``, what `SourceItem.read` gave, as a validator will.

    A modality that this version does not know passes: what a network takes it says itself.

    Raises:
        SourceError: With the decoder's own code.
    """
    from curiosity.embedding.modalities import BY_NAME, decode  # loads NumPy: not before it is needed

    if item.modality not in BY_NAME:
        return
    try:
        decode(item.modality, data, item.media_type)
    except Rejected as error:
        raise SourceError(error.code, f"{where}, {item.path.name}: {error.what}", error.remedy) from error


def decode_text(data: bytes, *, where: str) -> str:
    """Return ``data`` as UTF-8 (with or without byte order mark), or UTF-16 with one.

    Raises:
        SourceError: NOT_TEXT.
    """
    try:
        return data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise SourceError(
            "NOT_TEXT",
            f"{where} is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}",
            "Save it as UTF-8.",
        ) from error


def make_text_item(path: Path, text: str, *, where: str) -> SourceItem:
    """Return the item of ``text`` without space at its ends.

    Raises:
        SourceError: TEXT_EMPTY, TEXT_LONG, NOT_TEXT.
    """
    stripped = text.strip().removeprefix("\ufeff")
    content = stripped.encode("utf-8", "surrogatepass")
    if all(sign.isspace() or _INVISIBLE.match(sign) for sign in stripped):
        raise SourceError("TEXT_EMPTY", f"{where} holds an empty text", "Write what the other item shows or says.")
    if len(content) > MAX_TEXT_BYTES:
        raise _too_long(where)
    if not is_unicode(stripped) or any(ord(sign) < 32 and sign not in "\t\r\n" for sign in stripped):
        raise SourceError("NOT_TEXT", f"{where} holds control characters", "Save it as plain UTF-8 text.")
    return SourceItem("text", "text/plain", path, content)


def is_unicode(text: str) -> bool:
    """Return whether ``text`` can be written as UTF-8.

    Half a surrogate pair, such as JSON and file names may hold, cannot.
    """
    return not any(0xD800 <= ord(sign) <= 0xDFFF for sign in text)


def convert_to_wav(data: bytes, *, where: str) -> bytes:
    """Return the sound as 16-bit PCM in a WAV file, rate and channels as they are.

    Raises:
        SourceError: BROKEN_FILE.
    """
    import soundfile  # slow to load, and only Ogg needs it

    try:
        samples, rate_hz = soundfile.read(io.BytesIO(data), dtype="int16", always_2d=True)
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


def unknown_extension(where: str, suffix: str) -> SourceError:
    """Return the refusal of a file whose name says nothing that is known."""
    return SourceError(
        "UNKNOWN_EXTENSION",
        f"{where} has the extension {suffix or '(none)'}, which no rule reads",
        f"Use one of {', '.join(sorted(SUFFIXES))}, or move it away.",
    )


def _skip_id3(head: bytes, behind: bytes) -> bytes:
    """Return where the ID3 tags end of a file that starts with ``head`` and goes on with ``behind``.

    Tags stand before FLAC as well as before MP3, and cover art makes them longer than any head.
    """
    return behind if behind.startswith(b"fLaC") else head


def _too_long(where: str) -> SourceError:
    return SourceError(
        "TEXT_LONG", f"{where} holds more than {MAX_TEXT_BYTES} bytes of text", "Shorten it to what belongs."
    )


def _check_size(size: int, where: str) -> None:
    if size > MAX_FILE_BYTES:
        raise SourceError(
            "FILE_LARGE",
            f"{where} has {number_of(size, 'byte')}, at most {MAX_FILE_BYTES} are read",
            "Cut it, or scale it down.",
        )
