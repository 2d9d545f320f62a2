"""Second receipts: fetched for the receipts on disk, checked, and kept beside the first."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from curiosity.client.receipts import BROKEN_SUFFIX, SavedReceipt, check_second, read_saved, write_saved
from curiosity.client.trust import KEPT_KEYS, Trust
from curiosity.protocol.errors import ProofError, SourceError
from curiosity.protocol.receipt import verify_receipt

if TYPE_CHECKING:
    from curiosity.client.client import ValidatorClient


def find_receipts(paths: Sequence[Path]) -> list[Path]:
    """Return the receipt files among files and folders.

    Raises:
        SourceError: RECEIPT_MISSING if there are none.
    """
    found: list[Path] = []
    for path in paths:
        in_folder = [file for file in path.glob("*.json") if not file.name.endswith(BROKEN_SUFFIX)]
        found += sorted(in_folder) if path.is_dir() else [path]
    if not found:
        raise SourceError("RECEIPT_MISSING", f"no receipts in {', '.join(map(str, paths))}", "Submit something first.")
    return found


async def fetch_proofs(client: "ValidatorClient", files: Sequence[Path], trust: Trust = KEPT_KEYS) -> int:
    """Fetch, check and save the second receipt for each that has none good enough; return how many were added.

    Raises:
        ProofError: What `check_second` raises; with PROMISE_BROKEN both receipts are kept as evidence beside the file.
    """
    added = 0
    for file in files:
        saved: SavedReceipt = read_saved(file)
        receipt = saved.decision.receipt
        checked = verify_receipt(receipt, saved.origin, trust.receipt_vkey or saved.receipt_vkey)
        log_vkey, leaf = trust.log_vkey or saved.log_vkey, receipt.entry.encode()
        if saved.proof is not None:
            try:
                check_second(saved.proof, checked, leaf, saved.origin, log_vkey, trust)
            except ProofError as error:
                if error.code != "HEAD_QUORUM":
                    raise
            else:
                continue
        proof = await client.tlog_proof(checked.index)
        try:
            check_second(proof, checked, leaf, saved.origin, log_vkey, trust)
        except ProofError as error:
            if error.code == "PROMISE_BROKEN":
                kept = write_saved(file.with_suffix(BROKEN_SUFFIX), replace(saved, proof=proof))
                raise ProofError(error.code, f"{error.what} (kept as {kept})", error.remedy) from None
            raise
        write_saved(file, replace(saved, proof=proof))
        added += 1
    return added
