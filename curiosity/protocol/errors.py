"""The error tree of Curiosity.

    CuriosityError            code, what happened with its numbers, what to do next
    ├── Rejected              the sender's fault: a public reason code, HTTP 4xx; never retried unchanged
    ├── Overloaded            our load: HTTP 503 with Retry-After; retry the same bytes later
    ├── ProofError            a signature, proof, receipt or digest that does not hold; do not trust the thing
    ├── ConfigError           a setting that cannot be used
    ├── WalletError           a keystore that cannot be opened or written
    ├── SourceError           a file or manifest row that cannot become an item
    ├── CheckpointError       model weights that are not what their manifest says
    ├── StoreError            a database or blob store that cannot be used, or is not the one we left
    ├── ChainError            the EVM chain refused or could not be reached
    │   └── NotYet            nothing is wrong but the time: it says when it can be done
    └── ServiceError          a validator could not be reached or answered what we cannot read

Each error says three things: a stable code, what happened (expected against actual), and the remedy. The command line
prints them without a traceback; the service sends them as JSON.
"""

from enum import IntEnum, StrEnum


class Fault(StrEnum):
    """Whose fault a refusal is. Only ``CONTRIBUTOR`` may ever cost a contributor anything."""

    CONTRIBUTOR = "contributor"
    VALIDATOR = "validator"
    INFRASTRUCTURE = "infrastructure"


class ExitCode(IntEnum):
    """Exit status of the command line, one for each family of errors."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REJECTED = 3
    OVERLOADED = 4
    PROOF = 5
    CONFIG = 6
    WALLET = 7
    SOURCE = 8
    CHECKPOINT = 9
    STORE = 10
    CHAIN = 11
    SERVICE = 12
    NOT_YET = 13
    INCOMPLETE = 14  # a safety stop ended the work before all of it was done
    INTERRUPTED = 130


class CuriosityError(Exception):
    """Base of every error that a user may see.

    ``code`` is stable and upper-case, ``what`` gives the numbers, ``remedy`` the next action.
    """

    exit_code = ExitCode.FAILED
    fault = Fault.CONTRIBUTOR

    def __init__(self, code: str, what: str, remedy: str) -> None:
        super().__init__(f"{code}: {what}. {remedy}")
        self.code = code
        self.what = what
        self.remedy = remedy

    def to_json(self) -> dict[str, str]:
        """Return the error as the service sends it and ``--json`` prints it."""
        return {"code": self.code, "what": self.what, "remedy": self.remedy, "fault": self.fault.value}


class Rejected(CuriosityError):
    """A submission that cannot become a decision as it stands: HTTP ``status``, nothing is logged, nothing is owed.

    ``fault`` is the sender's unless the network is not yet able to judge what was sent.
    """

    exit_code = ExitCode.REJECTED

    def __init__(
        self,
        code: str,
        what: str,
        remedy: str,
        *,
        status: int = 400,
        retry_after_s: int = 0,
        fault: Fault = Fault.CONTRIBUTOR,
    ) -> None:
        super().__init__(code, what, remedy)
        self.fault = fault
        self.status = status
        self.retry_after_s = retry_after_s  # 0: the same bytes will be refused again


class Overloaded(CuriosityError):
    """The validator cannot take the request now: HTTP 503, the same bytes may be sent again after ``retry_after_s``."""

    exit_code = ExitCode.OVERLOADED
    fault = Fault.INFRASTRUCTURE

    def __init__(self, code: str, what: str, remedy: str, *, retry_after_s: int = 1) -> None:
        super().__init__(code, what, remedy)
        self.retry_after_s = retry_after_s


class ProofError(CuriosityError):
    """Something that should be checkable does not hold."""

    exit_code = ExitCode.PROOF
    fault = Fault.VALIDATOR

    def __init__(
        self,
        code: str,
        what: str,
        remedy: str = "Do not rely on it; ask for a fresh one and keep this as evidence.",
    ) -> None:
        super().__init__(code, what, remedy)


class ConfigError(CuriosityError):
    """A setting or an argument that cannot be used."""

    exit_code = ExitCode.CONFIG


class WalletError(CuriosityError):
    """A wallet file that cannot be opened or written."""

    exit_code = ExitCode.WALLET


class SourceError(CuriosityError):
    """A file or a manifest row that cannot become an item."""

    exit_code = ExitCode.SOURCE


class CheckpointError(CuriosityError):
    """A checkpoint that is missing, incomplete, or differs from its manifest."""

    exit_code = ExitCode.CHECKPOINT
    fault = Fault.VALIDATOR


class StoreError(CuriosityError):
    """A store that cannot be used; the service refuses to run rather than to lose or to change an entry."""

    exit_code = ExitCode.STORE
    fault = Fault.VALIDATOR


class ChainError(CuriosityError):
    """The chain could not be reached, is not the one expected, or refused a transaction."""

    exit_code = ExitCode.CHAIN
    fault = Fault.INFRASTRUCTURE


class NotYet(ChainError):
    """What was asked can be done later and nothing is lost: ``seconds`` from now, at Unix time ``at``, by the chain.

    Both are None where nobody knows yet.
    """

    exit_code = ExitCode.NOT_YET

    def __init__(self, code: str, what: str, remedy: str, *, at: int | None, seconds: int | None) -> None:
        super().__init__(code, what, remedy)
        self.at = at
        self.seconds = seconds


class ServiceError(CuriosityError):
    """A validator could not be reached, or its answer is not one that the protocol knows."""

    exit_code = ExitCode.SERVICE
    fault = Fault.INFRASTRUCTURE
