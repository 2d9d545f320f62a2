"""PNG of every colour type, bit depth and kind of transparency, beside a decoder that is written out here."""

import struct
import zlib
from itertools import product

import numpy as np
import pytest

from curiosity.embedding.modalities import decode
from curiosity.embedding.modality import Array
from curiosity.embedding.work import measure
from curiosity.sources.own.strip import strip_metadata
from tests.material.modality import png_chunk

GREY, COLOUR, PALETTE, GREY_ALPHA, COLOUR_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, COLOUR: 3, PALETTE: 1, GREY_ALPHA: 2, COLOUR_ALPHA: 4}
# PNG, section 11.2.2: the bit depths that each colour type may have.
DEPTHS = {GREY: (1, 2, 4, 8, 16), COLOUR: (8, 16), PALETTE: (1, 2, 4, 8), GREY_ALPHA: (8, 16), COLOUR_ALPHA: (8, 16)}
TYPES = [(kind, depth) for kind, depths in DEPTHS.items() for depth in depths]
CASES = [
    (kind, depth, clear)
    for kind, depth in TYPES
    for clear in ((False, True) if kind not in (GREY_ALPHA, COLOUR_ALPHA) else (False,))
]
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def rows(samples: Array, depth: int) -> bytes:
    """The samples of some rows, each behind its filter: none and "sub" in turn (PNG, section 9.2)."""
    high, wide, channels = samples.shape
    bits = (samples[..., None] >> np.arange(depth)[::-1] & 1).reshape(high, wide * channels * depth).astype(np.uint8)
    packed = np.packbits(bits, axis=1)
    step = max(1, channels * depth // 8)
    out = b""
    for number, row in enumerate(packed):
        before = np.concatenate([np.zeros(step, dtype=np.uint8), row])[: len(row)]
        out += b"\1" + (row - before).tobytes() if number % 2 else b"\0" + row.tobytes()
    return out


def write(samples: Array, kind: int, depth: int, *chunks: bytes, interlaced: bool = False) -> bytes:
    high, wide, _ = samples.shape
    passes = PASSES if interlaced else ((0, 0, 1, 1),)
    parts = (samples[top::down, left::right] for left, top, right, down in passes)
    content = b"".join(rows(part, depth) for part in parts if part.size)
    header = struct.pack(">IIBBBBB", wide, high, depth, kind, 0, 0, interlaced)
    between = b"".join(chunks)
    data = png_chunk(b"IDAT", zlib.compress(content))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + between + data + png_chunk(b"IEND", b"")


def levels(depth: int) -> int:
    return (1 << depth) - 1


def on_white(samples: Array, kind: int, depth: int, clear: Array | None, palette: Array) -> Array:
    """float[height, width, 3]: what the samples mean by the standard, 16 bits as their high byte, laid on white."""
    eight = (samples >> 8 if depth == 16 else samples * 255 // levels(depth)).astype(float)
    alpha = np.full(samples.shape[:2], 255.0)
    if kind == PALETTE:
        colours = palette[samples[..., 0]].astype(float)
        if clear is not None:
            alpha = np.concatenate([clear, np.full(256, 255)])[samples[..., 0]].astype(float)
    elif kind in (GREY_ALPHA, COLOUR_ALPHA):
        colours, alpha = eight[..., :-1], eight[..., -1]
    else:
        colours = eight
        if clear is not None:
            alpha = np.where((samples == clear).all(axis=2), 0.0, 255.0)
    laid: Array = np.broadcast_to(colours, (*alpha.shape, 3)) * alpha[..., None] / 255 + 255 - alpha[..., None]
    return laid


def example(kind: int, depth: int, *, clear: bool) -> tuple[Array, Array | None, Array, list[bytes]]:
    """Samples, the transparent colour (or the opacities of a palette), the palette, and the chunks that say so."""
    random = np.random.default_rng(kind * 100 + depth)
    samples = random.integers(0, levels(depth), (11, 13, CHANNELS[kind]), endpoint=True)
    palette = random.integers(0, 256, (1 << min(depth, 8), 3), dtype=np.uint8)
    chunks = [png_chunk(b"PLTE", palette.tobytes())] if kind == PALETTE else []
    if not clear:
        return samples, None, palette, chunks
    if kind == PALETTE:
        opacities = random.integers(0, 256, max(1, len(palette) // 2), dtype=np.uint8)
        return samples, opacities, palette, [*chunks, png_chunk(b"tRNS", opacities.tobytes())]
    samples[3, 4] = levels(depth) // 2 + 1
    colour = samples[3, 4].copy()
    samples[5, 6] = colour
    samples[7, 8] = colour ^ 1  # its neighbour, which differs in the lowest bit alone
    return samples, colour, palette, [*chunks, png_chunk(b"tRNS", struct.pack(f">{len(colour)}H", *colour))]


@pytest.mark.parametrize(("kind", "depth", "clear"), CASES)
def test_every_kind_of_png_is_what_the_standard_says(kind: int, depth: int, clear: bool) -> None:
    samples, colour, palette, chunks = example(kind, depth, clear=clear)
    want = on_white(samples, kind, depth, colour, palette)
    for interlaced, stripped in product((False, True), repeat=2):
        data = write(samples, kind, depth, *chunks, interlaced=interlaced)
        data = strip_metadata(data, "image/png") if stripped else data
        assert np.abs(decode("image", data, "image/png") - want).max() <= 1  # alpha is rounded


@pytest.mark.parametrize(("kind", "depth", "clear"), CASES)
def test_every_kind_of_png_is_turned_and_keeps_that_when_it_is_cleaned(kind: int, depth: int, clear: bool) -> None:
    samples, colour, palette, chunks = example(kind, depth, clear=clear)
    want = np.rot90(on_white(samples, kind, depth, colour, palette), -1)
    turn = png_chunk(b"eXIf", b"MM\0\x2a" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0))
    data = write(samples, kind, depth, *chunks, turn, png_chunk(b"tEXt", b"Author\0somebody"))
    cleaned = strip_metadata(data, "image/png")
    assert b"somebody" not in cleaned
    for each in (data, cleaned):
        assert np.abs(decode("image", each, "image/png") - want).max() <= 1


@pytest.mark.parametrize(("kind", "depth"), [each for each in TYPES if each[0] not in (GREY_ALPHA, COLOUR_ALPHA)])
def test_a_transparent_colour_behind_the_pixels_is_out_of_place(kind: int, depth: int) -> None:
    """Section 5.6 has tRNS before the pixels; programs pass it over elsewhere, and all validators must."""
    samples, _, _, (*before, clear) = example(kind, depth, clear=True)
    plain = write(samples, kind, depth, *before)
    end = png_chunk(b"IEND", b"")
    late = plain.removesuffix(end) + clear + end
    assert np.array_equal(decode("image", late, "image/png"), decode("image", plain, "image/png"))


@pytest.mark.parametrize(("kind", "depth"), [(GREY, 2), (GREY, 4), (GREY, 8), (COLOUR, 8)])
def test_only_the_bits_of_a_sample_count_in_the_transparent_colour(kind: int, depth: int) -> None:
    samples, colour, palette, _ = example(kind, depth, clear=True)
    assert colour is not None
    high = png_chunk(b"tRNS", struct.pack(f">{len(colour)}H", *(colour | 0xFF << 8)))
    got = decode("image", write(samples, kind, depth, high), "image/png")
    assert np.abs(got - on_white(samples, kind, depth, colour, palette)).max() <= 1


@pytest.mark.parametrize(("kind", "depth"), [(GREY, 16), (COLOUR, 16), (GREY_ALPHA, 16), (COLOUR_ALPHA, 16)])
def test_large_pictures_of_sixteen_bits_shrink_behind_their_transparency(kind: int, depth: int) -> None:
    """Every second column is transparent: white and grey are mixed, not what lies beneath."""
    samples = np.full((8, 768, CHANNELS[kind]), 0x4000)
    samples[:, ::2] = 0x0040 if kind in (GREY, COLOUR) else 0
    clear = [] if kind in (GREY_ALPHA, COLOUR_ALPHA) else [png_chunk(b"tRNS", struct.pack(">H", 0x40) * CHANNELS[kind])]
    if not clear:
        samples[:, 1::2, -1] = 0xFFFF
    array = decode("image", write(samples, kind, depth, *clear), "image/png")
    assert array.shape == (4, 384, 3)
    assert np.abs(array.astype(int) - (255 + 0x40) // 2).max() <= 1


def test_a_picture_that_is_unpacked_twice_costs_twice() -> None:
    samples, _, _, chunks = example(COLOUR, 16, clear=True)
    once, twice = write(samples, COLOUR, 16), write(samples, COLOUR, 16, *chunks)
    pixels = samples.shape[0] * samples.shape[1]
    assert measure("image", once, "image/png") - len(once) == pixels
    assert measure("image", twice, "image/png") - len(twice) == 2 * pixels
