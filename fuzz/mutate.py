"""Mutations of bytes, which the tests run and which are all there is where atheris cannot be installed; and of JSON."""

import json
import random
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from curiosity.protocol.wire import canonical_json

_TOKENS = (b"\n", b"\n\n", b" ", b"+", b"=", b"/", b"0", b"9" * 20, b"\xe2\x80\x94 ", b"\x00", b"\xff", b"\xed\xa0\x80")


def mutate(data: bytes, seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Return ``data`` changed at one to four places: bits, bytes, pieces doubled, dropped, swapped or from a seed."""
    made = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(made) + 1)
        end = min(len(made), at + chance.choice((1, 1, 2, 4, 32, len(made))))
        kind = chance.randrange(7)
        if kind == 0 and at < len(made):
            made[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            made[at:end] = chance.randbytes(end - at)
        elif kind == 2:
            del made[at:end]
        elif kind == 3:
            made[at:at] = made[at:end]
        elif kind == 4:
            made[at:end] = chance.choice(_TOKENS)
        elif kind == 5:
            other = chance.choice(seeds)
            start = chance.randrange(len(other) + 1)
            made[at:end] = other[start : start + chance.choice((1, 4, 32, 256))]
        elif at < len(made):
            made[at] = chance.randrange(256)
    return bytes(made)


_ODD: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**63, 2**64, 10**400, "", "0x", "0x" + "00" * 32, "0X" + "00" * 32, "\u0661", "\ud800",
    "a\nb", "\x00", "9" * 80, "text" * 100, [], {}, [[]], {"": None},
)  # fmt: skip


def mutate_json(data: bytes, chance: random.Random) -> bytes:
    """Return JSON with one to three of its values changed, dropped, doubled or moved; other bytes as they are."""
    if data.count(b"[") + data.count(b"{") > 80:
        return data  # values moved into themselves, over and over
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return data
    box = [value]
    for _ in range(chance.randint(1, 3)):
        parts = [(holder, key) for holder in _holders(box) for key in _keys(holder)]
        if not parts:
            break
        (holder, key), (other, other_key) = chance.choice(parts), chance.choice(parts)
        kind = chance.randrange(5)
        if kind == 0:
            holder[key] = deepcopy(chance.choice(_ODD))
        elif kind == 1 and holder is not box:
            del holder[key]
        elif kind == 2:
            holder[key] = deepcopy(other[other_key])
        elif kind == 3 and isinstance(holder, dict):
            holder[chance.choice(("", "v", "kind", "\u00e9", "extra"))] = holder[key]
        elif isinstance(holder[key], str) and holder[key]:
            at = chance.randrange(len(holder[key]))
            holder[key] = holder[key][:at] + chance.choice("0aFx+/= \n\u2014") + holder[key][at + 1 :]
        elif isinstance(holder[key], int):
            holder[key] += chance.choice((-1, 1, 2**32))
    try:
        return canonical_json(box[0]) if chance.randrange(4) else json.dumps(box[0]).encode()
    except (ValueError, RecursionError):  # lone surrogates, numbers of too many digits, values put into themselves
        return data


def _holders(value: Any) -> list[Any]:
    found = []
    if isinstance(value, dict | list):
        found.append(value)
        for part in value.values() if isinstance(value, dict) else value:
            found += _holders(part)
    return found


def _keys(holder: Any) -> list[Any]:
    return list(holder) if isinstance(holder, dict) else list(range(len(holder)))
