"""Waiting for what happens, not for a time: a test says what it waits for, and a clock only ends one that hangs."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 240.0
"""A safety stop, far above what anything here takes on a busy machine. No result depends on it."""

_PAUSE_S = 0.01


def eventually(look: Callable[[], T], what: object = "") -> T:
    """Return the first answer of ``look`` that is true; fail with ``what``, called if it can be, if none ever is."""
    end = time.monotonic() + PATIENCE_S
    while True:
        if found := look():
            return found
        assert time.monotonic() < end, what() if callable(what) else what or look
        time.sleep(_PAUSE_S)


async def in_the_end(look: Callable[[], T], what: object = "") -> T:
    """As `eventually`, and the event loop goes on meanwhile."""
    end = time.monotonic() + PATIENCE_S
    while True:
        if found := look():
            return found
        assert time.monotonic() < end, what() if callable(what) else what or look
        await asyncio.sleep(_PAUSE_S)
