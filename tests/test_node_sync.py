"""A log copied as static files: the same bytes, gone on with, mended, never shrunk."""

from pathlib import Path

import pytest

from curiosity.ledger.sync import check_not_shrunk, copy_tiles
from curiosity.ledger.tiles import LogFiles
from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import Frontier, leaf_hash
from curiosity.protocol.tlog import TileReader, verify_checkpoint
from tests.material.log import LOG_VKEY, ORIGIN, Log, tile_server

pytestmark = pytest.mark.asyncio(loop_scope="module")
LOG = Log(1500)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


async def copy(url: str, out: Path, note: str, **arguments: object) -> int:
    async with LogFiles(url, patience_s=0.0) as files:
        head = verify_checkpoint(note, ORIGIN, [LOG_VKEY])
        check_not_shrunk(out, head, LOG_VKEY)
        return (await copy_tiles(files, out, note, head, **arguments)).fetched  # type: ignore[arg-type]


async def test_static_files_are_those_of_the_log_and_grow_with_it(tmp_path: Path) -> None:
    async with tile_server(LOG) as server:
        fetched = [await copy(server.url, tmp_path / "static", LOG.head(size)) for size in (1, 256, 700, 1500, 1500)]
        assert fetched[-1] == 0
        copied = files_below(tmp_path / "static")
        server.log = Log(1500)
        assert copied == {path: server.content(path) for path in copied}
        head = verify_checkpoint(copied["checkpoint"].decode(), ORIGIN, [LOG_VKEY])
        reader = TileReader(head, copied.get)
        assert [leaf for n in range(6) for leaf in reader.entries(n)] == [LOG.leaf(n) for n in range(1500)]
        assert {path for path in copied if ".p/" in path} == {
            "tile/0/005.p/220", "tile/1/000.p/5", "tile/entries/005.p/220",
        }  # fmt: skip
    async with LogFiles(str(tmp_path / "static")) as files:  # and a copy of the copy
        again = await copy_tiles(files, tmp_path / "again", LOG.head(), head)
        assert again.root == LOG.root()
    with pytest.raises(ProofError, match="SYNC_SHRANK"):
        await copy(server.url, tmp_path / "static", LOG.head(700))


async def test_the_log_of_these_tests_and_its_fork_grow_alike() -> None:
    growing, leaves = Log(3), [b"leaf %d" % number for number in range(700)]
    fork = growing.fork(1)
    for size in (3, 4, 255, 256, 700):
        fork.grow(size)
        assert growing.size == fork.size == size
        assert growing.root() == Log(size).root()
        frontier = Frontier()
        frontier.extend(leaf_hash(b"forged" if number == 1 else leaf) for number, leaf in enumerate(leaves[:size]))
        assert fork.root() == frontier.root()


async def test_a_copy_goes_on_where_it_stopped_and_mends_what_was_torn(tmp_path: Path) -> None:
    async with tile_server(LOG) as server:
        server.spoil["tile/entries/004"] = None
        with pytest.raises(ProofError, match="TILE_MISSING"):
            await copy(server.url, tmp_path, LOG.head())
        assert not (tmp_path / "checkpoint").exists()
        server.spoil = {}
        for path, content in (("tile/0/001", b""), ("tile/entries/002", b"\0\1"), ("tile/0/003", b"\1" * 8192)):
            (tmp_path / path).write_bytes(content)
        server.asked.clear()
        await copy(server.url, tmp_path, LOG.head())
        assert "tile/entries/000" not in server.asked
        assert {"tile/0/001", "tile/entries/002", "tile/0/003"} < set(server.asked)
        copied = files_below(tmp_path)
        assert copied == {path: server.content(path) for path in copied}
        server.spoil["tile/entries/001"] = LOG.fork(300).head().encode()
        (tmp_path / "tile/entries/001").unlink()
        with pytest.raises(ProofError, match="BUNDLE_"):
            await copy(server.url, tmp_path, LOG.head())
