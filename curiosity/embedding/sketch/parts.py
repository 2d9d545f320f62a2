"""What a sketch is made of, whatever the modality."""

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint64]
"""Rows of 256 bits, uint64[n, 4]."""

Parts = tuple[Bits, Bits, bytes]
"""Probes, bank, and what is kept of an item to look again at what its bank lets through."""

NO_BITS: Bits = np.zeros((0, 4), np.uint64)
NOTHING: Parts = (NO_BITS, NO_BITS, b"")
"""Of an item that is too plain to be compared."""
