"""Tree heads: the text that a log signs over the state of its tree (c2sp.org/tlog-checkpoint, "Note text").

The specification calls it a checkpoint; here that word is for model weights.
"""

from dataclasses import dataclass

from curiosity.protocol.errors import ProofError
from curiosity.protocol.note import from_base64, from_decimal, to_base64


@dataclass(frozen=True)
class TreeHead:
    """A root of the ledger: its origin line, its size in leaves and its RFC 6962 root of 32 bytes."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the body of the note, ending in a newline."""
        lines = [self.origin, str(self.size), to_base64(self.root), *self.extensions]
        return "".join(line + "\n" for line in lines)


def parse_tree_head(text: str) -> TreeHead:
    """Return the tree head that a note's text spells, whoever signed it (c2sp.org/tlog-checkpoint, "Note text").

    Raises:
        ProofError: HEAD_MALFORMED unless it is three or more lines, none empty; HEAD_SIZE for a size that is not a
            canonical decimal; HEAD_ROOT for a root that is not the base64 of 32 bytes.
    """
    lines = text.split("\n")
    if len(lines) < 4 or lines[-1] != "" or "" in lines[:-1]:
        raise ProofError("HEAD_MALFORMED", "a tree head has an origin, a size and a root, a line each, no empty line")
    origin, size_text, root_text, *extensions = lines[:-1]
    size = from_decimal(size_text, "HEAD_SIZE", "the size")
    root = from_base64(root_text, "HEAD_ROOT", "the root")
    if len(root) != 32:
        raise ProofError("HEAD_ROOT", f"the root has {len(root)} bytes, expected 32")
    return TreeHead(origin, size, root, tuple(extensions))
