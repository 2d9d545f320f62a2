"""Where pairs come from: made sets (digits, emoji, world) and a contributor's own files.

A new source is one module with a ``make_<name>(out, *, seed, ...)`` function and one line in ``SOURCES``. The modules
are loaded when asked for, so that listing the sources costs no numpy, scipy, scikit-learn or MuJoCo.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from curiosity.protocol.errors import SourceError

SOURCES: Final[dict[str, str]] = {
    "digits": "curiosity.sources.made.digits:make_digits",
    "emoji": "curiosity.sources.made.emoji:make_emoji",
    "clipart": "curiosity.sources.made.clipart:make_clipart",
    "photos": "curiosity.sources.made.photos:make_photos",
    "sounds": "curiosity.sources.made.sounds:make_sounds",
    "world": "curiosity.sources.made.world.make:make_world",
}
"""Name of a pair set -> ``module:function`` that makes it."""


def load_source(name: str) -> Callable[..., Any]:
    """Return the function that makes the pair set ``name``.

    Raises:
        SourceError: UNKNOWN_SOURCE for a name not listed.
    """
    if name not in SOURCES:
        raise SourceError(
            "UNKNOWN_SOURCE", f"there is no pair source {name!r}", f"Choose one of: {', '.join(sorted(SOURCES))}."
        )
    module, function = SOURCES[name].split(":")
    made: Callable[..., Any] = getattr(import_module(module), function)
    return made
