"""Files made to reach further: those that name addresses and files, and those that run code or write elsewhere."""

import asyncio
import contextlib
import ctypes
import io
import json
import os
import pickle
import socket
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from curiosity.embedding.checkpoint import ANCHORS, FILES, GENESIS, MANIFEST, MODEL, load
from curiosity.embedding.modalities import MODALITIES, decode
from curiosity.embedding.weights import read_space
from curiosity.ledger.reader import opened_copy
from curiosity.protocol.errors import CuriosityError, Rejected, SourceError
from curiosity.serving.decode import Decoder
from curiosity.sources.own.own import read_sources
from tests.material.modality import clip, frames, sound
from trainer.feed import read_trusted

KINDS = [(modality.name, media_type) for modality in MODALITIES for media_type in modality.media_types]
SECRET = b"canary" * 400


# -- addresses and other files


@dataclass
class Canary:
    """A server that notes who connects, and a file that notes who opens it."""

    port: int
    path: Path
    connects: int = 0
    _opened: Callable[[], int] = field(default=lambda: 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/canary.ts"

    def reached(self) -> int:
        """How often either was reached since the last time."""
        connects, self.connects = self.connects, 0
        return connects + self._opened()


@contextmanager
def canary(folder: Path) -> Iterator[Canary]:
    server = socket.create_server(("127.0.0.1", 0))
    path = folder / "canary.ts"
    path.write_bytes(SECRET)
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, bytes(path), 0x20) >= 0  # IN_OPEN

    def opened() -> int:
        try:
            return len(os.read(watch, 1 << 16)) // 16  # without names each event has 16 bytes
        except BlockingIOError:
            return 0

    made = Canary(server.getsockname()[1], path, _opened=opened)

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            made.connects += 1
            with contextlib.suppress(OSError), connection:
                connection.settimeout(2.0)
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 6\r\n\r\ncanary")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10.0)
        os.close(watch)


def _with_reference(data: bytes, target: bytes) -> bytes:
    """A film whose data reference (ISO/IEC 14496-12, 8.7.2) is an address in place of "in this file"."""
    box = data.index(b"url \x00\x00\x00\x01")
    return data[: box + 4] + b"\x00\x00\x00\x00" + target[:20].ljust(20, b"\0") + data[box + 8 :]


def payloads(to: Canary) -> dict[str, bytes]:
    playlist = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1.0,\n{}\n#EXT-X-ENDLIST\n"
    xlink = "http://www.w3.org/1999/xlink"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="{xlink}"><image xlink:href="{{}}"/></svg>'
    xxe = '<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "{}">]><x>&e;</x>'
    mpd = (
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT1S">'
        '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{}</BaseURL>'
        "</Representation></AdaptationSet></Period></MPD>"
    )
    sdp = f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {to.port} RTP/AVP 96\n"
    gltf = '{"asset":{"version":"2.0"},"buffers":[{"byteLength":4,"uri":"%s"}],"images":[{"uri":"%s"}]}'
    texts = {
        "playlist of an address.m3u8": playlist.format(to.url),
        "playlist of a file.m3u8": playlist.format(f"file://{to.path}"),
        "list of a file.ffconcat": f"ffconcat version 1.0\nfile '{to.path}'\n",
        "list of an address.ffconcat": f"ffconcat version 1.0\nfile '{to.url}'\n",
        "session.sdp": sdp,
        "manifest.mpd": mpd.format(to.url),
        "picture of an address.svg": svg.format(to.url),
        "picture of a file.svg": svg.format(f"file://{to.path}"),
        "entity.xml": xxe.format(f"file://{to.path}"),
        "model.gltf": gltf % (to.url, to.path.name),
        "postscript.eps": f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n({to.path}) run\n",
        "address": to.url,
        "file": f"file://{to.path}",
        "ftp": f"ftp://127.0.0.1:{to.port}/canary.ts",
        "data": "data:image/png;base64,iVBORw0KGgo=",
        "part of a file": f"subfile,,start,0,end,100,,:{to.path}",
        "path": str(to.path),
    }
    found = {name: text.encode() for name, text in texts.items()}
    found["film with an outer reference.mp4"] = _with_reference(clip(frames()), to.url.encode())
    found["list inside a WAV.wav"] = sound("WAV") + b"LIST" + struct.pack("<I", 60) + playlist.format(to.url).encode()
    return found


WHOLE: dict[str, str] = {"address": "", "file": "", "part of a file": "", "path": ""}
"""Payloads that a program follows which takes what it is given for the name of a file."""

FOLLOWED = {
    "playlist of an address.m3u8", "playlist of a file.m3u8", "list of a file.ffconcat", "list of an address.ffconcat",
    *WHOLE,
}  # fmt: skip


def follow(path: str) -> None:
    """Open it as FFmpeg does where it may use every protocol."""
    free = {"protocol_whitelist": "file,http,tcp,udp,rtp,crypto,data,subfile", "safe": "0", "extension_picky": "0"}
    with contextlib.suppress(av.FFmpegError, OSError), av.open(path, options=free, timeout=5.0) as container:
        next(container.demux(), None)


async def test_no_payload_reaches_an_address_or_a_file(tmp_path: Path) -> None:
    """Nineteen, each as every media type, in the worker and by the decoders alone; FFmpeg left free follows eight."""
    with canary(tmp_path) as to:
        to.path.read_bytes()
        socket.create_connection(("127.0.0.1", to.port)).close()
        await asyncio.to_thread(
            lambda: [None for _ in range(200) if not to.connects and not threading.Event().wait(0.05)]
        )
        assert to.reached() == 2  # the canaries sing

        made, followed = payloads(to), set()
        for name, data in made.items():
            file = tmp_path / f"payload {name}"
            file.write_bytes(data)
            await asyncio.to_thread(follow, data.decode() if name in WHOLE else str(file))
            if to.reached():
                followed.add(name)
        assert followed >= FOLLOWED, followed

        leaked = []
        decoder = Decoder(1)
        await decoder.start()
        try:
            for name, data in made.items():
                for modality, media_type in KINDS:
                    jobs = [
                        decoder.decode(modality, media_type, data),
                        asyncio.to_thread(decode, modality, data, media_type),
                    ]
                    for given in await asyncio.gather(*jobs, return_exceptions=True):
                        assert isinstance(given, np.ndarray | Rejected), (name, media_type, given)
                        if isinstance(given, np.ndarray) and SECRET[:60] in given.tobytes():
                            leaked.append((name, media_type))
            assert decoder.describe()["replaced"] == 0
        finally:
            await decoder.close()
        assert (to.reached(), leaked) == (0, [])
        assert len(made) == 19


# -- code, and names that lead elsewhere


class _Runs:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.path), "w"))


def tensors(header: bytes | dict[str, Any], data: bytes = b"", *, length: int | None = None) -> bytes:
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(head) if length is None else length) + head + data


def of_code(ran: Path) -> dict[str, bytes]:
    """Bytes that run code in a reader which unpickles or evaluates."""
    zipped, old, objects, many = io.BytesIO(), io.BytesIO(), io.BytesIO(), io.BytesIO()
    torch.save(_Runs(ran), zipped)
    torch.save(_Runs(ran), old, _use_new_zipfile_serialization=False)
    np.save(objects, np.array([_Runs(ran)], dtype=object), allow_pickle=True)
    np.savez(many, x=np.array([_Runs(ran)], dtype=object))
    call = f"__import__('pathlib').Path({str(ran)!r}).touch()"
    head = f"{{'descr': {call}, 'fortran_order': False, 'shape': (8, 7)}}".ljust(246).encode() + b"\n"
    return {
        **{f"pickle {n}": pickle.dumps(_Runs(ran), n) for n in (0, 2, 5)},
        "torch": zipped.getvalue(),
        "torch, old": old.getvalue(),
        "array of objects": objects.getvalue(),
        "arrays of objects": many.getvalue(),
        "array with a call": b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(224),
    }


def of_headers() -> dict[str, bytes]:
    """Safetensors that are not what their header says."""
    one = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
    return {
        "huge header": tensors(b"{}", length=1 << 60),
        "negative header": tensors(b"{}", length=(1 << 64) - 1),
        "header beyond the file": tensors(b"{}", length=1000),
        "no JSON": tensors(b"(1,2)"),
        "data beyond the file": tensors({"x": one | {"data_offsets": [0, 1 << 40], "shape": [1 << 38]}}, bytes(16)),
        "negative data": tensors({"x": one | {"data_offsets": [-16, 0]}}, bytes(16)),
        "overlapping data": tensors({"x": one, "y": one}, bytes(16)),
        "shape that overflows": tensors({"x": one | {"shape": [1 << 40, 1 << 40]}}, bytes(16)),
        "unknown numbers": tensors({"x": one | {"dtype": "PICKLE"}}, bytes(16)),
        "deep": tensors(b'{"x":' * 100_000),
    }


def of_members(outside: Path) -> dict[str, Callable[[tarfile.TarFile], None]]:
    """Members of an archive that a plain extraction writes elsewhere."""

    def member(name: str, **changes: Any) -> Callable[[tarfile.TarFile], None]:
        def write(archive: tarfile.TarFile) -> None:
            info = tarfile.TarInfo(name)
            info.size = 0 if changes else 6
            for key, value in changes.items():
                setattr(info, key, value)
            archive.addfile(info, None if changes else io.BytesIO(b"pickle"))

        return write

    def through(archive: tarfile.TarFile) -> None:
        member("blobs", type=tarfile.SYMTYPE, linkname=str(outside))(archive)
        member("blobs/" + "ab" * 32)(archive)

    return {
        "dots": member("../outside/dots"),
        "dots inside": member("blobs/../../outside/inside"),
        "absolute": member(f"{outside}/absolute"),
        "link": member("checkpoint", type=tarfile.SYMTYPE, linkname=str(outside)),
        "hard link": member("checkpoint", type=tarfile.LNKTYPE, linkname="../outside"),
        "link to a folder": through,
        "pipe": member("checkpoint", type=tarfile.FIFOTYPE),
        "device": member("checkpoint", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    }


def forged(folder: Path, name: str, data: bytes) -> Path:
    """Genesis with one file replaced, and a manifest that names what is there now: nothing is wrong but the content."""
    made = load(GENESIS)
    folder.mkdir()
    for each in FILES:
        if (GENESIS / each).is_file():
            (folder / each).write_bytes(data if each == name else (GENESIS / each).read_bytes())
    files = made.manifest.files | {name: sha256(data).hexdigest()}
    (folder / MANIFEST).write_bytes(replace(made.manifest, files=files).encode())
    return folder


def read_all(folder: Path) -> None:
    checkpoint = load(folder)
    read_space(checkpoint)
    checkpoint.anchors  # noqa: B018 - read on first use


def test_no_payload_runs_and_none_writes_outside(tmp_path: Path) -> None:
    """As weights, anchors, items, exports, mirrors and shards; readers that unpickle or extract do it."""
    ran, outside, inside = tmp_path / "ran", tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    code, headers, members = of_code(ran), of_headers(), of_members(outside)
    assert len(code) + len(headers) + len(members) + len(NAMES) == 31

    def executed() -> bool:
        was = ran.exists()
        ran.unlink(missing_ok=True)
        return was

    # Readers that believe: they run it, and write outside.
    pickle.loads(code["pickle 2"])
    assert executed()
    for name in ("torch", "torch, old"):
        torch.load(io.BytesIO(code[name]), weights_only=False)
        assert executed()
    np.load(io.BytesIO(code["array of objects"]), allow_pickle=True)
    assert executed()
    with tarfile.open(write(tmp_path / "arm.tar", members["dots"])) as archive:
        archive.extractall(inside, filter="fully_trusted")
    assert (outside / "dots").exists()
    (outside / "dots").unlink()

    for number, (name, data) in enumerate({**code, **headers}.items()):
        for file in (MODEL, ANCHORS):
            with pytest.raises(CuriosityError):
                read_all(forged(tmp_path / f"checkpoint {number} {file}", file, data))
        for modality, media_type in KINDS:
            with contextlib.suppress(Rejected):
                decode(modality, data, media_type)
        for suffix in ("npy", "pt", "pkl", "safetensors", "png", "parquet"):
            (inside / f"item.{suffix}").write_bytes(data)
        rows = read_sources((inside,), license="MIT")
        with contextlib.suppress(CuriosityError):
            list(rows)
        assert not executed(), name
    for number, (name, forge) in enumerate(members.items()):
        path = write(tmp_path / f"{number}.tar", forge)
        with pytest.raises(CuriosityError), opened_copy(path) as copy:
            copy.blocked()
        with contextlib.suppress(CuriosityError):
            list(read_sources((path,), license="MIT"))
        assert not executed(), name
    for number, name in enumerate(NAMES):
        with pytest.raises((CuriosityError, OSError)):
            read_all(named(tmp_path / f"named {number}", name.format(outside)))
        with pytest.raises(SourceError, match="PAIR_ROW"):
            read_trusted([pair_set(tmp_path / f"set {number}", name.format(outside))], ["genesis"])
    assert not executed()
    assert list(outside.iterdir()) == []


NAMES = ("../outside/{0}", "{0}/absolute", "..", "blobs/../../x", "model.safetensors\0")


def named(folder: Path, name: str) -> Path:
    """A checkpoint whose manifest names a file elsewhere."""
    made = load(GENESIS)
    folder.mkdir()
    (folder / MANIFEST).write_bytes(replace(made.manifest, files=made.manifest.files | {name: "00" * 32}).encode())
    return folder


def pair_set(folder: Path, name: str) -> Path:
    """A pair set with an item that is kept elsewhere."""
    half = {"modality": "text", "media_type": "text/plain", "path": name}
    row = {"set": "s", "split": "genesis", "concept": "c", "a": half, "b": half | {"modality": "image"}}
    folder.mkdir()
    (folder / "pairs.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def write(path: Path, forge: Callable[[tarfile.TarFile], None]) -> Path:
    with tarfile.open(path, "w") as archive:
        forge(archive)
    return path
