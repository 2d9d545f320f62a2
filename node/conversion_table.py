"""The table of files that are converted before they are signed."""

from typing import Final

from curiosity.client.conversions import Conversions
from curiosity.client.outcome import short
from curiosity.sources.own.media_type import CONVERTED
from node.screen import Screen

_SHOWN: Final = 20


def show_conversions(conversions: Conversions, screen: Screen) -> None:
    """Print the converted files as a table; nothing where there is none."""
    if not conversions.listed:
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
        for one in conversions.listed[:_SHOWN]
    ]
    screen.table(
        "converted before signing", ("file", "from", "to", "bytes before", "bytes after", "also changed"), rows
    )
    if len(conversions.listed) > _SHOWN:
        screen.line(f"... and {len(conversions.listed) - _SHOWN} more; --json lists them.")


def _call(media_type: str) -> str:
    """Return what people call a type of file."""
    return CONVERTED.get(media_type) or media_type.partition("/")[2].upper()
