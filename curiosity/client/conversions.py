"""Which files of a run are converted before they are signed, and the table that says so."""

from dataclasses import dataclass, field
from typing import Any, Final

from curiosity.client.outcome import name_of, short
from curiosity.sources.own.media_type import CONVERTED
from curiosity.sources.pairset import SourceItem
from node.screen import Screen

_SHOWN: Final = 20


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

    def show(self, screen: Screen) -> None:
        """Print them as a table; nothing where there is none."""
        if not self.listed:
            return
        rows = [
            (
                short(one["file"]),
                _call(one["from_type"]),
                _call(one["to_type"]),
                f"{one['bytes_before']:,}",
                f"{one['bytes_after']:,}",
                "; ".join(one["changes"]),
            )
            for one in self.listed[:_SHOWN]
        ]
        screen.table(
            "converted before signing", ("file", "from", "to", "bytes before", "bytes after", "also changed"), rows
        )
        if len(self.listed) > _SHOWN:
            screen.line(f"... and {len(self.listed) - _SHOWN} more; --json lists them.")


def _call(media_type: str) -> str:
    """What people call a type of file."""
    return CONVERTED.get(media_type) or media_type.partition("/")[2].upper()
