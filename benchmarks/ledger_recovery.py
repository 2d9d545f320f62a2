"""How many signatures a second of processor time recovers, by us and by eth-account; see `benchmarks.ledger`."""

import time
from collections.abc import Callable, Sequence
from statistics import median

from eth_account import Account
from eth_account.messages import encode_typed_data

from curiosity.protocol.pair import Envelope, check_signature
from curiosity.protocol.signing import Domain


def per_cpu_s(work: Callable[[], object], count: int) -> float:
    """Return how many of ``count`` pieces of ``work`` a second of this process's processor time does."""
    started = time.process_time()
    work()
    return count / (time.process_time() - started)


def measure_recovery(envelopes: Sequence[Envelope], domain: Domain, rounds: int = 3) -> dict[str, float]:
    """Return how many signatures of our typed message are checked in a CPU-second, by us and by eth-account."""

    def ours() -> None:
        for envelope in envelopes:
            check_signature(envelope, domain)

    few = envelopes[: max(1, len(envelopes) // 10)]

    def theirs() -> None:
        for envelope in few:
            message = encode_typed_data(full_message=_typed(envelope, domain))
            if bytes.fromhex(Account.recover_message(message, signature=envelope.signature)[2:]) != (
                envelope.submission.contributor
            ):
                raise RuntimeError("eth-account recovers another address")

    return {
        "recover_per_cpu_s": median(per_cpu_s(ours, len(envelopes)) for _ in range(rounds)),
        "eth_account_recover_per_cpu_s": median(per_cpu_s(theirs, len(few)) for _ in range(rounds)),
    }


def _typed(envelope: Envelope, domain: Domain) -> dict[str, object]:
    def part(side: str) -> dict[str, object]:
        p = getattr(envelope.submission, side)
        return {"modality": p.modality, "mediaType": p.media_type, "size": p.size, "sha256": p.sha256}

    def fields(text: str) -> list[dict[str, str]]:
        return [dict(zip(("type", "name"), field.split(), strict=True)) for field in text.split(",")]

    s = envelope.submission
    return {
        "primaryType": "Submission",
        "types": {
            "EIP712Domain": fields("string name,string version,uint256 chainId,address verifyingContract"),
            "Part": fields("string modality,string mediaType,uint64 size,bytes32 sha256"),
            "Submission": fields(
                "bytes32 networkId,address contributor,bytes32 nonce,uint64 expiry,Part a,Part b,string license,"
                "uint64 capturedAt,string client,bytes32 metaHash,bytes32[] refs"
            ),
        },
        "domain": {
            "name": domain.name,
            "version": domain.version,
            "chainId": domain.chain_id,
            "verifyingContract": domain.verifying_contract,
        },
        "message": {
            "networkId": s.network_id,
            "contributor": s.contributor,
            "nonce": s.nonce,
            "expiry": s.expiry,
            "a": part("a"),
            "b": part("b"),
            "license": s.license,
            "capturedAt": s.captured_at,
            "client": s.client,
            "metaHash": s.meta_hash,
            "refs": list(s.refs),
        },
    }
