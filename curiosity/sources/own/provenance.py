"""Whether a file says of itself that a program generated it: the IPTC term in XMP, or in a C2PA manifest.

Looked for in the bytes, before metadata is stripped: XMP is text in every container, and the assertions of a C2PA
manifest hold the term as plain text too. A manifest's signature is not checked: nobody forges one to earn less. What is
compressed (zTXt in PNG) is not found, and a file without a word of its origin is taken for real.
"""

import re
from typing import Final

# Terms of https://cv.iptc.org/newscodes/digitalsourcetype/ for material that a trained model made, wholly or partly;
# C2PA has one of its own for data. In CBOR any byte may follow the term.
_GENERATED: Final = re.compile(
    rb"digitalsourcetype[/:](?:trainedAlgorithmicMedia|compositeWithTrainedAlgorithmicMedia|trainedAlgorithmicData)",
    re.IGNORECASE,
)


def says_generated(data: bytes) -> bool:
    """Return whether the file says that a trained model generated it, or a part of it."""
    return _GENERATED.search(data) is not None
