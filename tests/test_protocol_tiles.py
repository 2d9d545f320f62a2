"""Tiles, bundles and their paths, and the client that believes none of them before it has checked it."""

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curiosity.protocol.errors import ProofError
from curiosity.protocol.merkle import leaf_hash, verify_consistency, verify_inclusion
from curiosity.protocol.subtrees import consistency_from, inclusion_from, root_from
from curiosity.protocol.tlog import (
    Bundle,
    Tile,
    TileReader,
    TileWriter,
    TreeHead,
    bundle_path,
    bundles_for,
    entry_bundle,
    parse_bundle,
    parse_tile,
    parse_tile_path,
    tile_path,
    tile_width,
    tiles_for,
)
from tests.material.tlog import ORIGIN, Log

BIG = Log([b"leaf %d" % index for index in range(70_000)])  # three levels of tiles
BIG_FILES = BIG.files()


@cache
def files_of(size: int) -> dict[str, bytes]:
    return BIG.files(size)


def reader_of(log: Log, files: dict[str, bytes]) -> TileReader:
    return TileReader(log.head, files.get)


def refuse(code: str, reader: TileReader, *, index: int = 0) -> ProofError:
    with pytest.raises(ProofError, match=f"^{code}: ") as caught:
        reader.entries(index)
    return caught.value


def test_the_examples_of_the_specification() -> None:
    assert tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert tile_path(63, 0, 1) == "tile/63/000.p/1"
    assert bundle_path(1234067, 255) == "tile/entries/x001/x234/067.p/255"
    tiles = tiles_for(70_000)
    assert [tile for tile in tiles if tile.width < 256] == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert [sum(tile.level == level for tile in tiles) for level in range(3)] == [274, 2, 1]
    assert tiles_for(256) == [Tile(0, 0, 256), Tile(1, 0, 1)]
    assert bundles_for(70_000)[-1] == Bundle(273, 112)
    assert tiles_for(0) == []
    assert bundles_for(0) == []


def test_a_client_reads_a_whole_log_and_makes_every_proof_from_tiles_alone() -> None:
    reader = reader_of(BIG, BIG_FILES)
    read = [entry for bundle in bundles_for(70_000) for entry in reader.entries(bundle.index)]
    assert read == BIG.leaves
    for index in (0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999):
        path = reader.inclusion_path(index)
        assert path == inclusion_from(BIG.read, index, 70_000)
        verify_inclusion(BIG.hashes[index], index, 70_000, path, BIG.head.root)
        first = index + 1
        proof = reader.consistency_path(first)
        assert proof == consistency_from(BIG.read, first, 70_000)
        assert reader.root(first) == root_from(BIG.read, first)
        verify_consistency(first, 70_000, proof, reader.root(first), BIG.head.root)


@pytest.mark.parametrize("step", [1, 7, 256, 1000])
def test_a_writer_makes_each_tile_of_a_growing_tree_once(step: int) -> None:
    size = 70_000 if step > 7 else 3000
    writer, made = TileWriter(), {}
    for start in range(0, size, step):
        for tile, data in writer.append(BIG.hashes[start : start + step][: size - start]):
            assert tile.path not in made
            made[tile.path] = data
    made |= {tile.path: data for tile, data in writer.partial()}
    assert made == {path: data for path, data in BIG.files(size).items() if not path.startswith("tile/entries/")}
    assert writer.frontier.root() == root_from(BIG.read, size)


@pytest.mark.parametrize("size", [*range(1, 301, 7), 255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537, 65_792])
def test_trees_of_many_sizes_are_read_from_their_own_files(size: int) -> None:
    head = TreeHead(ORIGIN, size, root_from(BIG.read, size))
    files = BIG.files(size)
    asked: list[str] = []

    def fetch(path: str) -> bytes | None:
        asked.append(path)
        return files.get(path)

    reader = TileReader(head, fetch)
    for index in {0, size // 2, size - 1}:
        verify_inclusion(BIG.hashes[index], index, size, reader.inclusion_path(index), head.root)
    last = (size - 1) // 256
    assert reader.entries(last) == BIG.leaves[last * 256 : size]
    assert len(asked) == len(set(asked))
    assert set(asked) <= set(files)


def test_new_tiles_are_those_that_the_smaller_tree_did_not_have() -> None:
    for since, size in ((0, 1), (1, 1), (1, 2), (255, 256), (256, 257), (300, 700), (65_000, 66_000), (65_536, 65_536)):
        before = set(tiles_for(since))
        assert tiles_for(size, since) == [tile for tile in tiles_for(size) if tile not in before]
        bundles = set(bundles_for(since))
        assert bundles_for(size, since) == [bundle for bundle in bundles_for(size) if bundle not in bundles]
    for tile in tiles_for(70_000):
        assert tile_width(tile.level, tile.index, 70_000) == tile.width
    assert tile_width(0, 274, 70_000) == tile_width(3, 0, 70_000) == 0


# --- Paths ---


@given(st.integers(0, 63), st.integers(0, 2**63 - 1), st.integers(1, 256))
def test_paths_round_trip(level: int, index: int, width: int) -> None:
    assert parse_tile_path(tile_path(level, index, width)) == Tile(level, index, width)
    assert parse_tile_path(bundle_path(index, width)) == Bundle(index, width)


@pytest.mark.parametrize("path", ["tile/10/x001/x234/067.p/85", "tile/entries/067", "tile/0/000.p/1"])
def test_a_changed_path_is_refused_or_names_another_tile(path: str) -> None:
    for position in range(len(path) + 1):
        for character in "0129x./pe-+_ \n\u0661\u00b2":
            for end in (position, position + 1):  # put in between, put in place of
                changed = path[:position] + character + path[end:]
                try:
                    found = parse_tile_path(changed)
                except ProofError as error:
                    assert error.code == "TILE_PATH"  # noqa: PT017 - most of thousands are refused
                else:
                    assert found.path == changed


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/tile/0/000",
        "tile/64/000",
        "tile/00/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/1000",
        "tile/0/x000/001",  # a leading zero
        "tile/0/001/001",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/257",
        "tile/0/000.p",
        "tile/0/000/",
        "tile/0/../000",
        "tile/data/000",
        "tile/0/x009/x223/x372/x036/x854/x775/808",  # 2 ** 63
        "tile/0/" + "x001/" * 2000 + "000",
    ],
)
def test_paths_that_name_no_tile(path: str) -> None:
    with pytest.raises(ProofError, match="TILE_PATH"):
        parse_tile_path(path)


@pytest.mark.parametrize(
    ("level", "index", "width"), [(64, 0, 1), (-1, 0, 1), (0, -1, 1), (0, 2**63, 1), (0, 0, 0), (0, 0, 257)]
)
def test_tiles_that_cannot_be(level: int, index: int, width: int) -> None:
    with pytest.raises(ProofError, match="TILE_OUT_OF_RANGE"):
        tile_path(level, index, width)


# --- Bytes ---


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_round_trip(entries: list[bytes]) -> None:
    assert parse_bundle(entry_bundle(entries), len(entries)) == entries


def test_a_bundle_holds_entries_of_every_length_that_two_bytes_can_say() -> None:
    entries = [b"", b"x" * 255, b"x" * 256, b"x" * 65_535]
    data = entry_bundle(entries)
    assert data[:4] == b"\0\0\0\xff"
    assert parse_bundle(data, 4) == entries
    for bad in ([b"x" * 65_536], [], [b""] * 257):
        with pytest.raises(ValueError, match="bundle"):
            entry_bundle(bad)


def test_a_bundle_is_read_to_its_last_byte_and_no_further() -> None:
    data = entry_bundle([b"one", b"", b"three"])
    for end in range(len(data)):
        with pytest.raises(ProofError, match="BUNDLE_TRUNCATED"):
            parse_bundle(data[:end], 3)
    for more in (b"\0", b"\0\0", b"\0\1x"):
        with pytest.raises(ProofError, match="BUNDLE_TRAILING"):
            parse_bundle(data + more, 3)
    with pytest.raises(ProofError, match="BUNDLE_TRAILING"):
        parse_bundle(data, 2)
    with pytest.raises(ProofError, match="BUNDLE_TRUNCATED"):
        parse_bundle(data, 4)


def test_a_tile_has_the_length_of_its_width() -> None:
    data = BIG_FILES["tile/0/000"]
    assert parse_tile(data) == BIG.hashes[:256]
    for length, width in ((0, 256), (8191, 256), (8193, 256), (31, 1), (0, 0), (8224, 257), (32, -1)):
        with pytest.raises(ProofError, match="TILE_SIZE"):
            parse_tile(bytes(length), width)


# --- What a client refuses ---


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_changed_bundle_passes_the_parser_and_not_the_client() -> None:
    forged = list(BIG.leaves[512:768])
    forged[100] = b"never logged"
    served = {**BIG_FILES, "tile/entries/002": entry_bundle(forged)}
    assert parse_bundle(served["tile/entries/002"])[100] == b"never logged"  # without the check it is believed
    error = refuse("BUNDLE_MISMATCH", reader_of(BIG, served), index=2)
    assert "entry 612 " in error.what


def test_a_bundle_and_its_tile_changed_together_are_refused() -> None:
    forged = list(BIG.leaves[512:768])
    forged[100] = b"never logged"
    tile = b"".join(map(leaf_hash, forged))
    served = {**BIG_FILES, "tile/entries/002": entry_bundle(forged), "tile/0/002": tile}
    assert [leaf_hash(entry) for entry in parse_bundle(served["tile/entries/002"])] == parse_tile(tile)
    assert "tile/0/002 " in refuse("TILE_MISMATCH", reader_of(BIG, served), index=2).what


@pytest.mark.parametrize(
    ("path", "code", "index"),
    [
        ("tile/0/000", "TILE_MISMATCH", 0),
        ("tile/1/000", "TILE_MISMATCH", 0),
        ("tile/0/273.p/112", "TILE_EDGE", 0),
        ("tile/1/001.p/17", "TILE_EDGE", 0),
        ("tile/2/000.p/1", "TILE_EDGE", 0),
        ("tile/entries/273.p/112", "BUNDLE_", 273),
    ],
)
def test_no_byte_of_what_is_served_can_be_changed(path: str, code: str, index: int) -> None:
    for at in range(0, len(BIG_FILES[path]), 97):
        served = {**BIG_FILES, path: flipped(BIG_FILES[path], at)}
        with pytest.raises(ProofError, match=code):
            reader_of(BIG, served).entries(index)


def test_a_tile_of_another_place_or_length_is_refused() -> None:
    refuse("TILE_MISMATCH", reader_of(BIG, {**BIG_FILES, "tile/0/002": BIG_FILES["tile/0/003"]}), index=2)
    refuse("TILE_SIZE", reader_of(BIG, {**BIG_FILES, "tile/0/002": BIG_FILES["tile/0/002"][:-32]}), index=2)
    refuse("TILE_SIZE", reader_of(BIG, {**BIG_FILES, "tile/1/001.p/17": b""}))
    refuse(
        "BUNDLE_TRAILING",
        reader_of(BIG, {**BIG_FILES, "tile/entries/002": BIG_FILES["tile/entries/002"] + b"\0"}),
        index=2,
    )


def test_files_of_another_tree_do_not_lead_to_this_head() -> None:
    other = TreeHead(ORIGIN, 70_000, BIG.hashes[0])
    refuse("TILE_EDGE", TileReader(other, BIG_FILES.get))
    smaller = TreeHead(ORIGIN, 69_999, BIG.head.root)
    refuse("TILE_EDGE", TileReader(smaller, BIG.files(69_999).get))


@settings(max_examples=120, deadline=None)
@given(st.one_of(st.integers(1, 1500), st.integers(1, 1500), st.sampled_from([65_536, 65_793])), st.data())
def test_a_log_that_lies_about_any_file_is_believed_in_nothing_false(size: int, data: st.DataObject) -> None:
    """One file flipped, cut, lengthened, emptied, gone, or another's: every answer is the true one or a refusal."""
    head = TreeHead(ORIGIN, size, root_from(BIG.read, size))
    files = files_of(size)
    path = data.draw(st.sampled_from(sorted(files)))
    good = files[path]
    at = data.draw(st.integers(0, len(good) - 1))
    other = files[data.draw(st.sampled_from(sorted(files)))]
    bad = data.draw(
        st.sampled_from([flipped(good, at), good[:at], good + b"\0", good + good, b"", None, other, good[32:]])
    )
    served = {name: content for name, content in files.items() if name != path} | (
        {path: bad} if bad is not None else {}
    )
    reader = TileReader(head, served.get)
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    start = index - index % 256
    asked: list[tuple[Callable[[], list[bytes]], list[bytes]]] = [
        (lambda: reader.entries(index // 256), BIG.leaves[start : min(size, start + 256)]),
        (lambda: reader.inclusion_path(index), inclusion_from(BIG.read, index, size)),
        (lambda: reader.consistency_path(first), consistency_from(BIG.read, first, size)),
        (lambda: [reader.root(first)], [root_from(BIG.read, first)]),
    ]
    for ask, truth in asked:
        try:
            answer = ask()
        except ProofError as error:
            assert bad != good
            assert error.code.startswith(("TILE_", "BUNDLE_"))  # noqa: PT017 - which it is depends on what was drawn
        else:
            assert answer == truth


def test_a_dropped_partial_tile_is_read_from_the_full_one() -> None:
    head = TreeHead(ORIGIN, 300, root_from(BIG.read, 300))
    later = {path: data for path, data in BIG_FILES.items() if ".p/" not in path}
    # The level-1 tile of 300 leaves has one hash; the log of 70,000 has it full.
    reader = TileReader(head, later.get)
    assert reader.entries(1) == BIG.leaves[256:300]
    verify_inclusion(BIG.hashes[299], 299, 300, reader.inclusion_path(299), head.root)
    changed = {**later, "tile/0/001": flipped(later["tile/0/001"], 32 * 43)}
    refuse("TILE_EDGE", TileReader(head, changed.get), index=1)
    beyond = {**later, "tile/0/001": flipped(later["tile/0/001"], 32 * 44)}  # not in the tree of 300 leaves
    assert TileReader(head, beyond.get).entries(1) == BIG.leaves[256:300]


def test_a_missing_file_is_named() -> None:
    for path, index in (("tile/0/002", 2), ("tile/entries/002", 2), ("tile/1/001.p/17", 0)):
        error = refuse("TILE_MISSING", reader_of(BIG, {k: v for k, v in BIG_FILES.items() if k != path}), index=index)
        assert path in error.what
    huge = TileReader(TreeHead(ORIGIN, 2**63 - 1, bytes(32)), lambda path: None)
    refuse("TILE_MISSING", huge)


def test_nothing_outside_the_tree_is_answered() -> None:
    reader = reader_of(BIG, BIG_FILES)
    for index in (-1, 274, 2**62):
        refuse("PROOF_INDEX_OUT_OF_RANGE", reader, index=index)
    full = TileReader(TreeHead(ORIGIN, 256, root_from(BIG.read, 256)), BIG.files(256).get)
    assert full.entries(0) == BIG.leaves[:256]
    refuse("PROOF_INDEX_OUT_OF_RANGE", full, index=1)
    for place in ((0, 70_000), (0, -1), (17, 0), (64, 0), (-1, 0), (10**9, 0)):
        with pytest.raises(ProofError, match="PROOF_INDEX_OUT_OF_RANGE"):
            reader.read([place])
    for index in (-1, 70_000):
        with pytest.raises(ProofError, match="PROOF_INDEX_OUT_OF_RANGE"):
            reader.inclusion_path(index)
        with pytest.raises(ProofError, match="PROOF_INDEX_OUT_OF_RANGE"):
            reader.consistency_path(index if index < 0 else index + 1)


def test_a_small_cache_reads_again_and_answers_alike() -> None:
    asked: list[str] = []

    def fetch(path: str) -> bytes | None:
        asked.append(path)
        return BIG_FILES.get(path)

    reader = TileReader(BIG.head, fetch, cached=1)
    for _ in range(2):
        for index in (0, 1000, 66_000):
            verify_inclusion(BIG.hashes[index], index, 70_000, reader.inclusion_path(index), BIG.head.root)
    assert asked.count("tile/0/000") == 2
