"""The store: entries, tree nodes, pairs, items and epochs in one database, behind plain values.

Thread-safe. Reads go through a pool of read-only connections, writes through one connection under a lock; the ledger is
the only caller of `Store.append`. Every database error leaves as a StoreError with its remedy.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from types import TracebackType

from sqlalchemy import Connection, RowMapping, delete, func, insert, select, tuple_, update

from protocol.errors import StoreError
from protocol.pair import Item
from validator.store import schema
from validator.store.blobs import MAX_INLINE_BYTES, BlobFiles
from validator.store.database import Database
from validator.store.rows import (
    EpochStatus,
    NewRow,
    NewSubmission,
    Node,
    StoredDecision,
    StoredEpoch,
    StoredItem,
    StoredSubmission,
)

_PAGE = 256  # rows that an iterator holds at a time
_KEYS_PER_QUERY = 500


class Store:
    """One open store. Made by `Store.open`."""

    def __init__(self, database: Database, blob_files: BlobFiles | None) -> None:
        self._database = database
        self._blob_files = blob_files

    @classmethod
    def open(cls, url: str, *, blob_folder: Path | None = None) -> "Store":
        """Return the store at ``url``, its schema brought up to date.

        ``sqlite:///path`` keeps items above 100 KiB in files under ``<path>.blobs``; ``postgresql+psycopg://...`` keeps
        all in the database unless ``blob_folder`` names a folder for the large ones. Raises StoreError as `Database`.
        """
        database = Database(url)
        if blob_folder is None and database.file is not None:
            blob_folder = database.file.with_name(database.file.name + ".blobs")
        return cls(database, BlobFiles(blob_folder) if blob_folder is not None else None)

    def close(self) -> None:
        """Close every connection and let another process write the ledger."""
        self._database.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def claim_ledger(self) -> None:
        """Make this process the only writer of the ledger until it closes the store or ends.

        Raises StoreError LEDGER_IN_USE if another one is.
        """
        self._database.claim_ledger()

    def append(self, rows: Sequence[NewRow], new_nodes: Sequence[Node]) -> None:
        """Make entries, tree nodes, pairs and items durable in one transaction. Only the ledger calls this.

        Large items are durable as files before it begins. Raises StoreError; then none of the rows are there, except
        after STORE_UNREACHABLE during the commit, when nobody can know.
        """
        submissions = [row.submission for row in rows if row.submission is not None]
        for submission in submissions:
            for item in (submission.a, submission.b):
                if self._is_large(item):
                    self._files().write(item.digest, item.data)
        with self._database.write() as connection:
            connection.execute(
                insert(schema.entries), [{"leaf_index": r.index, "leaf": r.leaf, "note": r.note} for r in rows]
            )
            connection.execute(
                insert(schema.nodes), [{"level": n.level, "position": n.position, "hash": n.hash} for n in new_nodes]
            )
            self._put_items(connection, submissions)
            pairs = [_pair_values(r.index, r.submission) for r in rows if r.submission is not None]
            if pairs:
                connection.execute(insert(schema.pairs), pairs)

    def size(self) -> int:
        """Return the number of entries: one more than the highest index."""
        (row,) = self._database.read(select(func.max(schema.entries.c.leaf_index).label("last")))
        return 0 if row["last"] is None else int(row["last"]) + 1

    def entries(self, start: int, count: int) -> list[tuple[int, bytes, str]]:
        """Return (index, leaf, receipt note) of the entries from ``start`` on, at most ``count``; gaps stay gaps."""
        c = schema.entries.c
        rows = self._database.read(
            select(c.leaf_index, c.leaf, c.note)
            .where(c.leaf_index.between(start, start + count - 1))
            .order_by(c.leaf_index)
        )
        return [(row["leaf_index"], row["leaf"], row["note"]) for row in rows]

    def leaves(self, start: int, count: int) -> list[bytes]:
        """Return the leaves from ``start`` on, at most ``count``."""
        return [leaf for _, leaf, _ in self.entries(start, count)]

    def nodes_between(self, level: int, start: int, count: int) -> dict[int, bytes]:
        """Return the hashes of one level by position, from ``start`` on, at most ``count``."""
        c = schema.nodes.c
        rows = self._database.read(
            select(c.position, c.hash).where(c.level == level, c.position.between(start, start + count - 1))
        )
        return {row["position"]: row["hash"] for row in rows}

    def leaf_hashes(self, start: int, count: int) -> list[bytes]:
        """Return the leaf hashes from ``start`` on, at most ``count``."""
        return [hash_ for _, hash_ in sorted(self.nodes_between(0, start, count).items())]

    def nodes(self, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], bytes]:
        """Return the hashes of the nodes at (level, position), by place; missing ones are left out."""
        c = schema.nodes.c
        found: dict[tuple[int, int], bytes] = {}
        for start in range(0, len(places), _KEYS_PER_QUERY):
            wanted = list(places[start : start + _KEYS_PER_QUERY])
            rows = self._database.read(
                select(c.level, c.position, c.hash).where(tuple_(c.level, c.position).in_(wanted))
            )
            found.update({(row["level"], row["position"]): row["hash"] for row in rows})
        return found

    def find_nonce(self, contributor: bytes, nonce: bytes) -> StoredDecision | None:
        """Return what was answered to the contributor's submission with this nonce."""
        return self.find_nonces([(contributor, nonce)]).get((contributor, nonce))

    def find_nonces(self, keys: Sequence[tuple[bytes, bytes]]) -> dict[tuple[bytes, bytes], StoredDecision]:
        """Return what was answered to each known (contributor, nonce)."""
        c = schema.pairs.c
        found: dict[tuple[bytes, bytes], StoredDecision] = {}
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            wanted = list(keys[start : start + _KEYS_PER_QUERY])
            for row in self._database.read(_DECISIONS.where(tuple_(c.contributor, c.nonce).in_(wanted))):
                found[row["contributor"], row["nonce"]] = _decision(row)
        return found

    def find_pair(self, pair: bytes) -> StoredDecision | None:
        """Return what was answered to the pair with this digest."""
        rows = self._database.read(_DECISIONS.where(schema.pairs.c.pair == pair))
        return _decision(rows[0]) if rows else None

    def is_content_known(self, sha_a: bytes, sha_b: bytes) -> int | None:
        """Return the index of the accepted pair of these two contents, None if there is none."""
        return self.known_contents([(sha_a, sha_b)]).get((sha_a, sha_b))

    def known_contents(self, keys: Sequence[tuple[bytes, bytes]]) -> dict[tuple[bytes, bytes], int]:
        """Return the index of the accepted pair of each (SHA-256 of a, SHA-256 of b) that has one."""
        c = schema.pairs.c
        found: dict[tuple[bytes, bytes], int] = {}
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            wanted = list(keys[start : start + _KEYS_PER_QUERY])
            rows = self._database.read(
                select(c.leaf_index, c.a_sha256, c.b_sha256).where(
                    c.is_accepted, tuple_(c.a_sha256, c.b_sha256).in_(wanted)
                )
            )
            found.update({(row["a_sha256"], row["b_sha256"]): row["leaf_index"] for row in rows})
        return found

    def submissions(self, start: int, count: int) -> list[StoredSubmission]:
        """Return the pairs behind the entries from index ``start`` on, at most ``count`` pairs, in order."""
        return self._submissions(start, count, only_accepted=False)

    def accepted(self, start: int = 0, count: int | None = None) -> Iterator[StoredSubmission]:
        """Yield the accepted pairs from index ``start`` on in order, at most ``count``, a page at a time."""
        left = count
        while left is None or left > 0:
            page = self._submissions(start, _PAGE if left is None else min(_PAGE, left), only_accepted=True)
            if not page:
                return
            yield from page
            start = page[-1].index + 1
            left = None if left is None else left - len(page)

    def _submissions(self, start: int, count: int, *, only_accepted: bool) -> list[StoredSubmission]:
        c = schema.pairs.c
        statement = (
            select(c.leaf_index, c.pair, c.is_accepted, c.envelope, c.embeddings, c.opening, schema.entries.c.leaf)
            .join(schema.entries, schema.entries.c.leaf_index == c.leaf_index)
            .where(c.leaf_index >= start)
            .order_by(c.leaf_index)
            .limit(count)
        )
        rows = self._database.read(statement.where(c.is_accepted) if only_accepted else statement)
        return [
            StoredSubmission(
                index=row["leaf_index"],
                pair=row["pair"],
                accepted=row["is_accepted"],
                envelope=row["envelope"],
                leaf=row["leaf"],
                embeddings=row["embeddings"],
                opening=row["opening"],
            )
            for row in rows
        ]

    def item(self, digest: bytes) -> StoredItem | None:
        """Return what is known of the content with this SHA-256."""
        c = schema.items.c
        rows = self._database.read(select(c.sha256, c.modality, c.media_type, c.size).where(c.sha256 == digest))
        return StoredItem(**rows[0]) if rows else None

    def blob(self, digest: bytes) -> bytes | None:
        """Return the content with this SHA-256. Raises StoreError BLOB_CORRUPT if what we hold is not it."""
        rows = self._database.read(select(schema.items.c.data).where(schema.items.c.sha256 == digest))
        if not rows:
            return None
        data: bytes | None = rows[0]["data"]
        if data is None:
            data = self._files().read(digest)
        if data is None or sha256(data).digest() != digest:
            raise StoreError(
                "BLOB_CORRUPT",
                f"the content {digest.hex()} is {'missing' if data is None else f'changed ({len(data)} bytes)'}",
                "Restore it from a copy; its name is its SHA-256.",
            )
        return data

    def _is_large(self, item: Item) -> bool:
        return self._blob_files is not None and len(item.data) > MAX_INLINE_BYTES

    def _files(self) -> BlobFiles:
        if self._blob_files is None:
            raise StoreError("BLOB_FOLDER", "the content lies in a file, no folder is set", "Set the blob folder.")
        return self._blob_files

    def _put_items(self, connection: Connection, submissions: Sequence[NewSubmission]) -> None:
        """Insert unknown items; let the first accepted pair say what an item is, not a refused one."""
        c = schema.items.c
        described: dict[bytes, tuple[Item, bool]] = {}
        for submission in submissions:
            for item in (submission.a, submission.b):
                known = described.get(item.digest)
                if known is None or (submission.accepted and not known[1]):
                    described[item.digest] = (item, submission.accepted)
        digests = list(described)
        for start in range(0, len(digests), _KEYS_PER_QUERY):
            wanted = digests[start : start + _KEYS_PER_QUERY]
            stored = {
                row.sha256: row.is_accepted
                for row in connection.execute(select(c.sha256, c.is_accepted).where(c.sha256.in_(wanted)))
            }
            new = [
                _item_values(*described[d], inline=not self._is_large(described[d][0]))
                for d in wanted
                if d not in stored
            ]
            if new:
                connection.execute(insert(schema.items), new)
            for digest in wanted:
                item, is_accepted = described[digest]
                if is_accepted and stored.get(digest) is False:
                    connection.execute(
                        update(schema.items)
                        .where(c.sha256 == digest)
                        .values(modality=item.modality, media_type=item.media_type, is_accepted=True)
                    )

    def save_epoch(self, epoch: StoredEpoch, cumulative_wei: Mapping[bytes, int]) -> None:
        """Write a closed epoch and its reward leaves in place of what was there, so that closing may be repeated."""
        c = schema.epochs.c
        with self._database.write() as connection:
            connection.execute(delete(schema.rewards).where(schema.rewards.c.epoch == epoch.epoch))
            connection.execute(delete(schema.epochs).where(c.epoch == epoch.epoch))
            connection.execute(
                insert(schema.epochs).values(
                    epoch=epoch.epoch,
                    entry=epoch.entry,
                    first=epoch.first,
                    paid_pairs=epoch.paid_pairs,
                    emission_wei=str(epoch.emission_wei),
                    cumulative_wei=str(epoch.cumulative_wei),
                    reward_root=epoch.reward_root,
                    status=epoch.status.value,
                    transaction=epoch.transaction,
                    activates_at=epoch.activates_at,
                )
            )
            leaves = [
                {"epoch": epoch.epoch, "account": account, "cumulative_wei": str(amount_wei)}
                for account, amount_wei in cumulative_wei.items()
            ]
            if leaves:
                connection.execute(insert(schema.rewards), leaves)

    def mark_epoch(
        self, epoch: int, status: EpochStatus, *, transaction: str | None = None, activates_at: int | None = None
    ) -> None:
        """Note how far an epoch has come; a ``transaction`` or ``activates_at`` of None leaves what was known.

        Raises StoreError EPOCH_UNKNOWN if that epoch was never saved.
        """
        values: dict[str, object] = {"status": status.value}
        if transaction is not None:
            values["transaction"] = transaction
        if activates_at is not None:
            values["activates_at"] = activates_at
        with self._database.write() as connection:
            done = connection.execute(update(schema.epochs).where(schema.epochs.c.epoch == epoch).values(**values))
            if done.rowcount != 1:
                raise StoreError("EPOCH_UNKNOWN", f"epoch {epoch} is not in the store", "Save it before marking it.")

    def epochs(self) -> list[StoredEpoch]:
        """Return all closed epochs in order."""
        return [_epoch(row) for row in self._database.read(select(schema.epochs).order_by(schema.epochs.c.epoch))]

    def latest_epoch(self) -> StoredEpoch | None:
        """Return the last closed epoch."""
        rows = self._database.read(select(schema.epochs).order_by(schema.epochs.c.epoch.desc()).limit(1))
        return _epoch(rows[0]) if rows else None

    def rewards(self, epoch: int) -> dict[bytes, int]:
        """Return the cumulative wei of each account in the epoch's reward tree, by account."""
        c = schema.rewards.c
        rows = self._database.read(select(c.account, c.cumulative_wei).where(c.epoch == epoch).order_by(c.account))
        return {row["account"]: int(row["cumulative_wei"]) for row in rows}

    def meta_get(self, name: str) -> str | None:
        """Return the small value of that name."""
        rows = self._database.read(select(schema.meta.c.value).where(schema.meta.c.name == name))
        return str(rows[0]["value"]) if rows else None

    def meta_set(self, name: str, value: str) -> None:
        """Set the small value of that name, durably."""
        with self._database.write() as connection:
            connection.execute(delete(schema.meta).where(schema.meta.c.name == name))
            connection.execute(insert(schema.meta).values(name=name, value=value))


_DECISIONS = select(
    schema.pairs.c.leaf_index,
    schema.pairs.c.pair,
    schema.pairs.c.contributor,
    schema.pairs.c.nonce,
    schema.pairs.c.embeddings,
    schema.pairs.c.opening,
    schema.entries.c.leaf,
    schema.entries.c.note,
).join(schema.entries, schema.entries.c.leaf_index == schema.pairs.c.leaf_index)


def _decision(row: RowMapping) -> StoredDecision:
    return StoredDecision(
        pair=row["pair"],
        index=row["leaf_index"],
        leaf=row["leaf"],
        note=row["note"],
        embeddings=row["embeddings"],
        opening=row["opening"],
    )


def _pair_values(index: int, submission: NewSubmission) -> dict[str, object]:
    return {
        "leaf_index": index,
        "pair": submission.pair,
        "contributor": submission.contributor,
        "nonce": submission.nonce,
        "a_sha256": submission.a.digest,
        "b_sha256": submission.b.digest,
        "is_accepted": submission.accepted,
        "envelope": submission.envelope,
        "embeddings": submission.embeddings,
        "opening": submission.opening,
    }


def _item_values(item: Item, is_accepted: bool, *, inline: bool) -> dict[str, object]:
    return {
        "sha256": item.digest,
        "modality": item.modality,
        "media_type": item.media_type,
        "size": len(item.data),
        "is_accepted": is_accepted,
        "data": item.data if inline else None,
    }


def _epoch(row: RowMapping) -> StoredEpoch:
    return StoredEpoch(
        epoch=row["epoch"],
        entry=row["entry"],
        first=row["first"],
        paid_pairs=row["paid_pairs"],
        emission_wei=int(row["emission_wei"]),
        cumulative_wei=int(row["cumulative_wei"]),
        reward_root=row["reward_root"],
        status=EpochStatus(row["status"]),
        transaction=row["transaction"],
        activates_at=row["activates_at"],
    )
