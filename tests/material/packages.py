"""Small trees in the form of the Debian packages that pair sets are made from."""

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

STAMPS_COPYRIGHT = "Format: 1.0\nUpstream-Name: tuxpaint-stamps\n\nFiles: *\nCopyright: somebody\nLicense: GPL-2\n"
SVG = """<?xml version="1.0"?>
<svg xmlns="http://www.w3.org/2000/svg"><metadata>
<rdf:RDF xmlns:cc="http://web.resource.org/cc/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
 <cc:Work rdf:about=""><dc:title>{title}</dc:title><dc:description>{description}</dc:description>
 <dc:creator><cc:Agent><dc:title>{author}</dc:title></cc:Agent></dc:creator>
 {license}</cc:Work></rdf:RDF></metadata></svg>"""
PUBLIC_DOMAIN = "http://web.resource.org/cc/PublicDomain"


def draw_png(seed: int, *, side: int = 40, near: int = 0) -> bytes:
    """A PNG with alpha of coarse noise; with ``near`` a little different, but nearly the same."""
    pixels = np.random.default_rng(seed).integers(0, 255, (5, 5, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[0, 0, 0] ^= near
    picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def record(seed: int, *, seconds: float = 0.2, form: str = "OGG", rate_hz: int = 16_000) -> bytes:
    """A sound file of noise."""
    samples = np.random.default_rng(seed).normal(0, 0.1, int(seconds * rate_hz)).astype(np.float32)
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format=form)
    return buffer.getvalue()


def write(root: Path, contents: Mapping[str, bytes | str]) -> Path:
    """Write files below ``root`` and return it."""
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def write_stamps(root: Path, stamps: Mapping[str, str | None], *, copyright: str | None = STAMPS_COPYRIGHT) -> Path:
    """Tux Paint's stamps: path without extension -> captions file, None for a picture without one."""
    files: dict[str, bytes | str] = {}
    for number, (stem, captions) in enumerate(stamps.items()):
        files[f"usr/share/tuxpaint/stamps/{stem}.png"] = draw_png(number)
        if captions is not None:
            files[f"usr/share/tuxpaint/stamps/{stem}.txt"] = captions
    if copyright is not None:
        files["usr/share/doc/tuxpaint-stamps-default/copyright"] = copyright
    return write(root, files)


def describe(
    title: str, *, licenses: tuple[str, ...] = (PUBLIC_DOMAIN,), author: str = "Ann", description: str = ""
) -> str:
    """An SVG with the RDF of the Open Clip Art Library."""
    named = "".join(f'<cc:license rdf:resource="{each}"/>' for each in licenses)
    return SVG.format(title=title, description=description, author=author, license=named)


def write_clipart(root: Path, clipart: Mapping[str, str | None]) -> Path:
    """openclipart-png and -svg: path without extension -> SVG, None for a picture without one."""
    files: dict[str, bytes | str] = {}
    for number, (stem, svg) in enumerate(clipart.items()):
        files[f"usr/share/openclipart/png/{stem}.png"] = draw_png(1000 + number)
        if svg is not None:
            files[f"usr/share/openclipart/svg/{stem}.svg"] = svg
    files["usr/share/openclipart/svg/empty"] = ""
    return write(root, files)


def build_rcc(files: Mapping[str, bytes], *, version: int = 3) -> bytes:
    """A Qt resource archive; every second file is compressed."""
    tree: dict[str, Any] = {}
    for path, content in files.items():
        *folders, name = path.strip("/").split("/")
        at = tree
        for folder in folders:
            at = at.setdefault(folder, {})
        at[name] = content
    nodes: list[tuple[int, int, Any]] = [(0, 2, tree)]
    names, payload = bytearray(), bytearray()
    rows: list[bytes] = []
    time = b"" if version == 1 else bytes(8)
    for name_at, flags, content in nodes:  # grows while it is read: breadth first, as Qt writes it
        if isinstance(content, dict):
            rows.append(struct.pack(">IHII", name_at, flags, len(content), len(nodes)) + time)
            for name, child in content.items():
                nodes.append((len(names), 2 if isinstance(child, dict) else len(nodes) % 2, child))
                names += struct.pack(">HI", len(name), 0) + name.encode("utf-16-be")
        else:
            assert isinstance(content, bytes)
            stored = struct.pack(">I", len(content)) + zlib.compress(content) if flags & 1 else content
            rows.append(struct.pack(">IHHHI", name_at, flags, 0, 0, len(payload)) + time)
            payload += struct.pack(">I", len(stored)) + stored
    start = 24
    at_names = start + len(payload)
    header = struct.pack(">4s4I", b"qres", version, at_names + len(names), start, at_names) + bytes(4)
    return header + bytes(payload) + bytes(names) + b"".join(rows)


def write_sounds(root: Path, *, samples: Mapping[str, bytes], sample_copyright: str) -> Path:
    """GCompris with two instruments and a cow, and Sonic Pi with ``samples``; the stamps are written apart."""
    activities = "/gcompris/src/activities"
    script = "".join(
        f'"text": qsTr("Find the {name}"),\n"audio": getAudioFilePath("qrc:/x/resource/{file}.$CA")\n'
        for name, file in (("transverse flute", "flute"), ("drum kit", "drum_kit"))
    )
    board = '"title": qsTr("Cow"),\n"text": qsTr("Moo."),\n"audio": getAudioFilePath("qrc:/x/animals/cow.$CA"),\n'
    here = f"{activities}/instruments"
    farm = f"{activities}/explore_farm_animals"
    files: dict[str, bytes | str] = {
        "usr/share/gcompris-qt/rcc/instruments.rcc": build_rcc(
            {
                f"{here}/instruments.js": script.encode(),
                f"{here}/resource/flute.ogg": record(1),
                f"{here}/resource/drum_kit.ogg": record(2),
            }
        ),
        "usr/share/gcompris-qt/rcc/explore_farm_animals.rcc": build_rcc(
            {f"{farm}/resource/board/board1.qml": board.encode(), f"{farm}/resource/animals/cow.ogg": record(3)}
        ),
        "usr/share/gcompris-qt/rcc/memory-sound.rcc": build_rcc(
            {f"{activities}/memory-sound/resource/LRRing_01_LA.ogg": record(4)}
        ),
        "usr/share/doc/gcompris-qt-data/copyright": (
            "Files: *\nLicense: GPL-3+\n\nFiles: src/activities/instruments/resource/drum_kit.ogg\n"
            "License: CC-sampling-plus-1.0\n\nFiles: src/activities/memory-sound/resource/*_LA.ogg\nLicense: free-art\n"
        ),
        "usr/share/doc/sonic-pi-samples/copyright": sample_copyright,
    }
    return write(root, files | {f"usr/share/sonic-pi/samples/{name}": data for name, data in samples.items()})
