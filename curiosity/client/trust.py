"""Whose signatures a check believes: keys given by hand, pinned in the settings, or kept beside what is checked."""

from collections.abc import Sequence
from dataclasses import dataclass

from curiosity.protocol.errors import ConfigError, ProofError
from curiosity.protocol.tlog import ED25519, parse_vkey, verified_cosignatures


@dataclass(frozen=True)
class Trust:
    """The keys that count. An empty receipt or log key means the one kept beside what is checked, and is told so."""

    receipt_vkey: str = ""
    log_vkey: str = ""
    origin: str = ""  # of the ledger; empty takes the one that goes with the log key
    witness_vkeys: tuple[str, ...] = ()
    quorum: int = 0

    def check(self) -> "Trust":
        """Return it.

        Raises:
            ConfigError: VKEY_UNUSABLE or QUORUM_UNREACHABLE if nothing could ever satisfy it.
        """
        for vkey in filter(None, (self.receipt_vkey, self.log_vkey)):
            _check_key(vkey, cosigns=False)
        for vkey in self.witness_vkeys:
            _check_key(vkey, cosigns=True)
        witnesses = {parse_vkey(vkey).name for vkey in self.witness_vkeys}
        if not 0 <= self.quorum <= len(witnesses):
            raise ConfigError(
                "QUORUM_UNREACHABLE",
                f"a quorum of {self.quorum}, {len(witnesses)} witnesses are trusted",
                "Name more witnesses (--witness-vkey, in a program witness_vkeys), or lower the quorum (--quorum).",
            )
        return self

    def cosigners(self, note: str) -> tuple[str, ...]:
        """Return the names of the trusted witnesses that cosigned a verified head."""
        return tuple(sorted({signed.verifier.name for signed in verified_cosignatures(note, self.witness_vkeys)}))


def _check_key(vkey: str, *, cosigns: bool) -> None:
    try:
        algorithm = parse_vkey(vkey).algorithm
    except ProofError as error:
        raise ConfigError("VKEY_UNUSABLE", error.what, error.remedy) from None
    if (algorithm != ED25519) != cosigns:
        raise ConfigError(
            "VKEY_UNUSABLE",
            f"{vkey[:60]} is of type {algorithm:02x}",
            "Witnesses have keys of type 04 or 06, receipts and logs of type 01.",
        )


KEPT_KEYS = Trust()
"""No key from outside: what is checked is held to the keys beside it."""


def describe_key(vkey: str, is_pinned: bool) -> str:
    """Return how a sentence names a key and where it came from."""
    verifier = parse_vkey(vkey)
    return f"{verifier.name} (key {verifier.key_id.hex()}, {'as pinned' if is_pinned else 'as kept beside it'})"


def describe_witnesses(cosigners: Sequence[str], trust: Trust) -> str:
    """Return how a sentence tells which witnesses stand behind a head."""
    if not trust.witness_vkeys:
        return "no witness was asked for"
    known = len({parse_vkey(vkey).name for vkey in trust.witness_vkeys})
    return f"cosigned by {len(cosigners)} of {known} trusted witnesses (quorum {trust.quorum})"
