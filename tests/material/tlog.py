"""A whole log in memory: leaves, the subtrees and files that a log keeps, signed and cosigned tree heads."""

from collections.abc import Sequence

from curiosity.protocol.merkle import Frontier, leaf_hash
from curiosity.protocol.subtrees import Place
from curiosity.protocol.tlog import Signer, TreeHead, bundles_for, cosign, entry_bundle, sign_note, tiles_from

ORIGIN = "log.example/curiosity"
LOG = Signer(ORIGIN, b"\x01" * 32)
WITNESSES = [Signer(f"witness-{number}.example", bytes([16 + number]) * 32) for number in range(3)]
LOG_VKEY = LOG.verifier.vkey()
WITNESS_VKEYS = [witness.witness.vkey() for witness in WITNESSES]


class Log:
    """A log of the given leaves and everything that one can ask of it."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self.leaves = list(leaves)
        self.hashes = [leaf_hash(leaf) for leaf in leaves]
        self.subtrees: dict[Place, bytes] = {}
        frontier = Frontier()
        for run in frontier.extend(self.hashes):
            self.subtrees.update({(run.level, run.first + n): hash_ for n, hash_ in enumerate(run.hashes)})
        self.head = TreeHead(ORIGIN, len(self.leaves), frontier.root())
        self.note = sign_note(self.head.text(), LOG)

    def read(self, places: Sequence[Place]) -> list[bytes]:
        """Return the hashes of complete subtrees."""
        return [self.subtrees[place] for place in places]

    def cosigned(self, count: int, timestamp: int = 1_700_000_000) -> str:
        """Return the signed head with the cosignatures of the first ``count`` witnesses."""
        note = self.note
        for witness in WITNESSES[:count]:
            note = cosign(note, witness, timestamp)
        return note

    def files(self, size: int | None = None) -> dict[str, bytes]:
        """Return what is served for the tree of ``size`` leaves: path to bytes."""
        size = len(self.leaves) if size is None else size
        files = {tile.path: data for tile, data in tiles_from(self.read, size)}
        for bundle in bundles_for(size):
            first = bundle.index * 256
            files[bundle.path] = entry_bundle(self.leaves[first : first + bundle.width])
        return files
