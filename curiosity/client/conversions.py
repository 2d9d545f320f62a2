"""Which files of a run are converted before they are signed."""

from dataclasses import dataclass, field
from typing import Any

from curiosity.client.outcome import name_of
from curiosity.sources.pairset import SourceItem


@dataclass
class Conversions:
    """Converted items, each once, in the order in which they were read."""

    listed: list[dict[str, Any]] = field(default_factory=list)
    _seen: set[tuple[str, bytes]] = field(default_factory=set)

    def note(self, item: SourceItem, digest: bytes) -> None:
        """Take down what became of an item, if it was converted; ``digest`` is that of the bytes to sign."""
        name = name_of(item)
        if item.conversion is not None and (name, digest) not in self._seen:
            self._seen.add((name, digest))
            self.listed.append({"file": name, "sha256": digest.hex()} | item.conversion.to_json())
