"""Text: UTF-8 in, the normalised UTF-8 bytes out. Tokens are the tower's business."""

from dataclasses import dataclass

import numpy as np

from curiosity.embedding.modalities import unicode
from curiosity.embedding.modality import Array, Contract, Limits, refuse

LIMITS = Limits(max_bytes=16_384, max_chars=4_000)
CONTRACT = Contract("uint8", (None,), 1, 255, "UTF-8 bytes of the normalised text", "UTF-8 bytes")


@dataclass(frozen=True)
class Text:
    """Sentences and names. Composed form (NFC), white space collapsed, no control characters."""

    name: str = "text"
    media_types: tuple[str, ...] = ("text/plain",)
    limits: Limits = LIMITS
    contract: Contract = CONTRACT
    mask_share: float = 0.15
    natural_unit: str = "tokens"
    preparation: str = (
        "Byte order mark dropped, composed form (NFC), every run of white space one space; control and unassigned "
        f"characters are refused. All by the tables of Unicode {unicode.VERSION}, whatever the machine has."
    )

    def decode(self, data: bytes, media_type: str) -> Array:  # noqa: ARG002 - one media type
        """Return uint8[n], the UTF-8 bytes of the normalised text.

        Raises:
            Rejected: TEXT_NOT_UTF8, TEXT_CONTROL_CHARACTER, TEXT_EMPTY or TEXT_TOO_LONG.
        """
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise refuse(
                "TEXT_NOT_UTF8", f"byte {error.start} of {len(data)} is not UTF-8", "Save the text as UTF-8."
            ) from error
        text = unicode.normalize(text)
        position = unicode.find_refused(text)
        if position is not None:
            raise refuse(
                "TEXT_CONTROL_CHARACTER",
                f"character {position} is U+{ord(text[position]):04X}, a control or unassigned character",
                "Remove it.",
            )
        if not text:
            raise refuse("TEXT_EMPTY", "the text has no character but white space", "Write what the other item shows.")
        if len(text) > self.limits.max_chars:
            raise refuse(
                "TEXT_TOO_LONG",
                f"the text has {len(text)} characters, the limit is {self.limits.max_chars}",
                "Send the sentence that describes the other item.",
            )
        return np.frombuffer(text.encode(), dtype=np.uint8)


def to_string(array: Array) -> str:
    """Return the text of a decoded item."""
    return array.tobytes().decode()


TEXT = Text()
