"""Words that an option may have, where help shows them: `--help` must not load what the library says them with.

A test compares them with the library's.
"""

from typing import Final

KEPT_OUTCOMES: Final = ("accepted", "rejected", "held", "grey", "refused")
"""`curiosity.client.outcome.KEPT_OUTCOMES`."""
REASONS: Final = ("withdrawn", "privacy", "rights", "illegal", "other")
"""`curiosity.protocol.takedown.TakedownReason`, in small letters."""
