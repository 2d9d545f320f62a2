"""A copied ledger (`curiosity.ledger.layout`), a folder or a tar file, read under its signed head.

Leaves come compared with the head. Pairs are only read here, and whoever uses them compares them with their entries by
`curiosity.protocol.decision`; items come compared with their hashes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from curiosity.ledger.archive import Archive, Folder
from curiosity.ledger.layout import BLOCKED, HEAD, NETWORK, SELECTION, Selection, blob_path, pairs_path
from curiosity.protocol.decision import ExportedPair
from curiosity.protocol.entry import TakedownEntry
from curiosity.protocol.errors import ProofError, Rejected
from curiosity.protocol.license import NO_FILTER, LicenseFilter
from curiosity.protocol.messages import Network
from curiosity.protocol.pair import Item, Part
from curiosity.protocol.takedown import Blocked
from curiosity.protocol.tiles import WIDTH, bundles_for
from curiosity.protocol.tlog import Bundle, TileReader, verify_checkpoint
from curiosity.protocol.tombstones import check_found, find_takedowns
from curiosity.protocol.wire import parse

_MAX_NETWORK_BYTES: Final = 1 << 20
_MAX_NOTE_BYTES: Final = 64 << 10
_MAX_BLOCKED_BYTES: Final = 256 << 20
_MAX_BUNDLE_BYTES: Final = WIDTH * (2 + 65_535)  # the longest leaves, each behind its length
_MAX_PAIRS_BYTES: Final = WIDTH << 18
_PAGES = 64  # bundles in memory while takedowns are held to the entries that they name


class LedgerCopy:
    """A copy's folder or archive. Nothing of it is written anywhere; each file is read up to what it may hold.

    Raises:
        ProofError: IMPORT_MALFORMED if it has no head or network message, or others.
    """

    def __init__(self, source: Path | Archive, log_vkey: str = "") -> None:
        self._source = Folder(source) if isinstance(source, Path) else source
        try:
            self.network = parse(Network, self._source.read(NETWORK, _MAX_NETWORK_BYTES))
            self.note = self._source.read(HEAD, _MAX_NOTE_BYTES).decode()
        except (OSError, UnicodeDecodeError, Rejected) as error:
            raise ProofError(
                "IMPORT_MALFORMED",
                f"{self._source.path} is not an exported ledger: {_why(error)}",
                "Name a folder or a tar file of `curiosity ledger export` that is complete.",
            ) from None
        self.log_vkey = log_vkey or self.network.log_vkey
        self.head = verify_checkpoint(self.note, self.network.origin, [self.log_vkey])
        self.reader = TileReader(self.head, self._fetch)
        self.licenses = self._licenses()

    def _fetch(self, path: str) -> bytes | None:
        try:
            return self._source.read(path, _MAX_BUNDLE_BYTES)
        except FileNotFoundError:
            return None

    def _licenses(self) -> LicenseFilter:
        """Return by which licences the copy was filtered."""
        try:
            return LicenseFilter(parse(Selection, self._source.read(SELECTION, _MAX_NETWORK_BYTES)).licenses)
        except FileNotFoundError:
            return NO_FILTER
        except (OSError, Rejected) as error:
            raise ProofError("IMPORT_MALFORMED", f"{SELECTION}: {error}", "Export again.") from None

    def entries(self, bundle: Bundle) -> list[bytes]:
        """Return the leaves of a bundle.

        Raises:
            ProofError: As `TileReader.entries`, saying from which index on.
        """
        try:
            return self.reader.entries(bundle.index)
        except ProofError as error:
            where = "" if error.what.startswith("entry ") else f"from entry {bundle.index * WIDTH} on, "
            raise ProofError(error.code, f"first bad index: {where}{error.what}", error.remedy) from None

    def leaves(self) -> Iterator[bytes]:
        """Yield all leaves.

        Raises:
            ProofError: As `entries`.
        """
        for bundle in bundles_for(self.head.size):
            yield from self.entries(bundle)

    def blocked(self) -> Blocked | None:
        """Return the list of what must not come back, None without one.

        Raises:
            ProofError: IMPORT_MALFORMED.
        """
        try:
            return parse(Blocked, self._source.read(BLOCKED, _MAX_BLOCKED_BYTES))
        except FileNotFoundError:
            return None
        except (OSError, Rejected) as error:
            raise ProofError(
                "IMPORT_MALFORMED", f"{BLOCKED}: {error}", "Export again: curiosity ledger export --token-file FILE."
            ) from None

    def takedowns(self) -> dict[int, TakedownEntry]:
        """Return the log's takedowns by their own index, each found valid (docs/protocol.md, step 21).

        Raises:
            ProofError: As `curiosity.protocol.tombstones.check_found` and `TileReader`.
        """
        found = dict(find_takedowns(self.leaves()))
        pages = lru_cache(_PAGES)(self.reader.entries)
        check_found(
            found.items(),
            lambda index: pages(index // WIDTH)[index % WIDTH],
            self.network.network_id,
            self.network.domain,
        )
        return found

    def pairs(self, bundle: Bundle) -> dict[int, ExportedPair]:
        """Return the pairs of a bundle by index, not yet checked.

        Raises:
            ProofError: IMPORT_PAIRS naming the first, IMPORT_LICENSE for one that the copy says it leaves out.
        """
        first = bundle.index * WIDTH
        try:
            lines = self._source.read(pairs_path(bundle), _MAX_PAIRS_BYTES).splitlines()
        except OSError as error:
            raise bad_entry(first, "IMPORT_PAIRS", f"{pairs_path(bundle)}: {error.strerror}") from None
        pairs: dict[int, ExportedPair] = {}
        for line in lines:
            try:
                pair = parse(ExportedPair, line)
            except Rejected as error:
                last = max(pairs, default=first - 1)
                raise bad_entry(last + 1, "IMPORT_PAIRS", f"{pairs_path(bundle)}: {error.what}") from None
            if pair.index in pairs or not first <= pair.index < first + bundle.width:
                raise bad_entry(pair.index, "IMPORT_PAIRS", f"{pairs_path(bundle)} has it twice, or not at its place")
            if not self.licenses.permits(pair.submission.license):
                what = f"it is under {pair.submission.license!r}, and {SELECTION} leaves that out"
                raise bad_entry(pair.index, "IMPORT_LICENSE", what)
            pairs[pair.index] = pair
        return pairs

    def item(self, index: int, part: Part) -> Item:
        """Return an item.

        Raises:
            ProofError: IMPORT_ITEM if it is missing or another.
        """
        try:
            data = self._source.read(blob_path(part.sha256), part.size)
        except OSError as error:
            raise bad_entry(index, "IMPORT_ITEM", f"item 0x{part.sha256.hex()}: {error.strerror}") from None
        if sha256(data).digest() != part.sha256:
            raise bad_entry(index, "IMPORT_ITEM", f"item 0x{part.sha256.hex()} has SHA-256 {sha256(data).hexdigest()}")
        return Item(part.modality, part.media_type, data)


def _why(error: OSError | UnicodeDecodeError | Rejected) -> str:
    if isinstance(error, FileNotFoundError):
        return f"it has no {Path(error.filename).name}"
    if isinstance(error, OSError):
        return f"{Path(error.filename).name if error.filename else 'a file'} cannot be read ({error.strerror})"
    return f"{HEAD} is not text" if isinstance(error, UnicodeDecodeError) else error.what


@contextmanager
def opened_copy(path: Path, log_vkey: str = "") -> Iterator[LedgerCopy]:
    """Open an exported folder, or one packed into a tar file, whose members are read where they lie.

    Raises:
        ProofError: IMPORT_MALFORMED, and what `curiosity.ledger.archive.Archive` raises.
    """
    if path.is_dir():
        yield LedgerCopy(path, log_vkey)
        return
    with Archive(path) as archive:
        yield LedgerCopy(archive, log_vkey)


def bad_entry(index: int, code: str, what: str) -> ProofError:
    """Return the error of an export that does not hold, from an index on."""
    return ProofError(
        code, f"first bad index {index}: {what}", "Export again, or remove the bad file and export again."
    )
