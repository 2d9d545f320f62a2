"""A pair in the line for the writer (`validator.batches`)."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from curiosity.embedding.sketch import Sketch
from curiosity.protocol.errors import Rejected
from curiosity.protocol.judgement import Embedded
from curiosity.protocol.messages import Decision
from curiosity.serving.crowds import Packed
from validator.intake import Admitted

PAIR_BYTES = 4096
"""What a pair costs the writer beside its items, in bytes written."""


def _future() -> "asyncio.Future[Any]":
    return asyncio.get_running_loop().create_future()


@dataclass(frozen=True, eq=False)
class Turn:
    """A pair or single item in the line for the writer: what it is judged by, its embedded items or why there are none.

    ``sketches`` are those of its items, by which copies of it and of others are found.
    """

    admitted: Admitted
    embedded: tuple[Embedded, ...] | Rejected
    sketches: tuple[Sketch, ...] = ()
    judged: "asyncio.Future[None]" = field(default_factory=_future)
    decision: "asyncio.Future[Decision]" = field(default_factory=_future)

    def packed(self) -> Packed:
        """Return what of the sketches is kept of an accepted pair."""
        return tuple((sketch.modality, sketch.pack()) for sketch in self.sketches)

    @property
    def is_single(self) -> bool:
        """True if it is an item alone."""
        return self.admitted.pair.envelope.submission.is_single

    @property
    def cost(self) -> int:
        """What the pair costs the writer: its bytes, which are written, and a constant beside them."""
        return PAIR_BYTES + len(self.admitted.pair.a.data) + len(self.admitted.pair.b.data)

    def is_stale(self, checkpoint: bytes) -> bool:
        """Return whether an item was embedded under another checkpoint."""
        return not isinstance(self.embedded, Rejected) and any(one.checkpoint != checkpoint for one in self.embedded)

    def fail(self, error: Exception) -> None:
        """Fail the step that is not done: whoever waits for it gets ``error``."""
        waited = self.decision if self.judged.done() else self.judged
        if not waited.done():
            waited.set_exception(error)
            waited.exception()  # nobody has to be waiting for it
