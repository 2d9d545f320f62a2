"""Evidence against logs, kept for others to check.

The files are ``evidence/<SHA-256 of the origin>/<id>.json``, one `curiosity.protocol.evidence.Evidence` each.

A fork convicts its log and is kept. A consistency proof that failed accuses nobody, and anybody who has two heads of a
log can send one: of such refusals few are kept, apart from the forks, so that no flood of them takes a fork's place.
"""

from collections.abc import Iterator
from pathlib import Path

from curiosity.host.files import make_folder, write_whole
from curiosity.host.paths import PathRefused, inside
from curiosity.protocol.errors import ProofError, StoreError
from curiosity.protocol.evidence import Evidence, check_evidence, encode_evidence, parse_evidence
from curiosity.protocol.tlog import TreeHead
from witness.files import origin_hash

EVIDENCE_FOLDER = "evidence"
MAX_REFUSALS = 64
"""Kept for each log. Each is looked at again when its head is cosigned after all."""


class KeptEvidence:
    """The evidence against one log below a witness's folder. One writer.

    Raises:
        StoreError: WITNESS_STATE_DAMAGED for a file that is none.
    """

    def __init__(self, folder: Path, origin: str, *, max_forks: int) -> None:
        self._folder = inside(folder / EVIDENCE_FOLDER, origin_hash(origin), one=True, links=True)
        make_folder(self._folder, mode=0o700)
        self._max_forks = max_forks
        self._forks: set[str] = set()
        self._refused: dict[str, TreeHead] = {}  # the head that was not continued, by the id of the evidence
        try:
            for _, evidence in read_evidence(self._folder):
                self._note(evidence)
        except ProofError as error:
            raise StoreError("WITNESS_STATE_DAMAGED", error.what, error.remedy) from None

    def _note(self, evidence: Evidence) -> None:
        checked = check_evidence(evidence)
        if checked.is_fork:
            self._refused.pop(evidence.id, None)
            self._forks.add(evidence.id)
        else:
            self._refused[evidence.id] = checked.second

    def keep(self, evidence: Evidence) -> Path | None:
        """Write evidence once, durably, and return its file; None if there is as much of its kind as is kept."""
        path = inside(self._folder, f"{evidence.id}.json", one=True, links=True)
        if evidence.id in self._forks:
            return path
        if check_evidence(evidence).is_fork:
            if len(self._forks) >= self._max_forks:
                return None
        elif evidence.id not in self._refused and len(self._refused) >= min(MAX_REFUSALS, self._max_forks):
            return None
        write_whole(path, encode_evidence(evidence))
        self._note(evidence)
        return path

    def clear(self, cosigned: TreeHead) -> None:
        """Remove kept refusals of this very head: it was shown to be consistent after all."""
        for id_ in [id_ for id_, head in self._refused.items() if head == cosigned]:
            inside(self._folder, f"{id_}.json", one=True, links=True).unlink(missing_ok=True)
            del self._refused[id_]


def find_evidence(folder: Path, id_: str) -> bytes | None:
    """Return the evidence of that id against any log below a witness's folder of evidence; None if there is none."""
    for log in sorted(folder.glob("*")):
        try:
            return inside(log, f"{id_}.json", one=True, links=True).read_bytes()
        except (FileNotFoundError, NotADirectoryError, PathRefused):
            continue
    return None


def read_evidence(folder: Path) -> Iterator[tuple[Path, Evidence]]:
    """Yield the evidence files below a folder in order of their names.

    Raises:
        ProofError: EVIDENCE_MALFORMED.
    """
    for path in sorted(folder.rglob("*.json")):
        try:
            data = path.read_bytes()
        except FileNotFoundError:  # cleared meanwhile
            continue
        try:
            yield path, parse_evidence(data)
        except ProofError as error:
            raise ProofError(error.code, f"{path}: {error.what}", "Move that file away.") from None
