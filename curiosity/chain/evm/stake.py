"""The stake contract as whoever reports a fault, or asks for weights, sees it."""

from dataclasses import dataclass

from curiosity.chain.artifacts import load_artifact
from curiosity.chain.chain import ChainConfig, TransactionReceipt
from curiosity.chain.evidence import ChainTreeHead
from curiosity.chain.evm.connection import ContractTarget, to_checksum
from curiosity.chain.evm.endpoints import Endpoints
from curiosity.chain.evm.sending import TransactionSender
from curiosity.chain.slashing import CheckedFault, Leaf, SlashableFault
from curiosity.protocol.errors import ChainError
from curiosity.protocol.signing import keccak


@dataclass(frozen=True)
class Stake:
    """What a validator has in the stake contract, in wei. A banned one signed two histories and cannot bond again."""

    owner: bytes
    bonded_wei: int
    exiting_wei: int
    is_banned: bool


class StakeClient:
    """The stake contract at ``address`` on the chain of the configuration.

    Raises:
        ChainError: As `ChainClient` does.
    """

    def __init__(self, config: ChainConfig, address: bytes) -> None:
        self._endpoints = Endpoints(config)
        self._sender = TransactionSender(config, self._endpoints)
        self._target = ContractTarget("CuriosityStake", address)

    @classmethod
    def connect(cls, config: ChainConfig, address: bytes) -> "StakeClient":
        """Return a client, once the chain is the right one and holds the committed build's code there.

        Raises:
            ChainError: ``CHAIN_WRONG_ID``, ``CHAIN_NO_CONTRACT``, ``CHAIN_CODE_DIFFERS``.
        """
        client = cls(config, address)
        client._endpoints.check_chain()
        code = client._endpoints.code(address)
        if not code:
            raise ChainError(
                "CHAIN_NO_CONTRACT",
                f"chain {config.chain_id} has no code at the stake address 0x{address.hex()}",
                "The evidence is about another chain, or the chain was started anew.",
            )
        if not load_artifact("CuriosityStake").is_code(code):
            raise ChainError(
                "CHAIN_CODE_DIFFERS",
                f"the code at 0x{address.hex()} is not that of the committed CuriosityStake",
                "Trust nothing there: it is another version or somebody else's contract.",
            )
        return client

    def stake(self, validator: bytes) -> Stake:
        """Return what the validator has there."""
        owner, bonded, exiting, _exits_at, _empty_since, is_banned = self._endpoints.read(
            self._target, "validatorOf", to_checksum(validator)
        )
        return Stake(bytes.fromhex(owner[2:]), bonded, exiting, is_banned)

    def period(self) -> int:
        """Return the number of the period that runs now; the first is 1."""
        return int(self._endpoints.read(self._target, "currentPeriod"))

    def weights(self, period: int) -> dict[bytes, int]:
        """Return the wei that count for each validator in a period, frozen when the period before began.

        Validators without any are left out.

        Raises:
            ChainError: ``CHAIN_REVERTED`` (StakeNotFrozen) for a period that is too far ahead.
        """
        listed = [bytes.fromhex(one[2:]) for one in self._endpoints.read(self._target, "validators")]
        weights = {
            validator: int(self._endpoints.read(self._target, "weight", to_checksum(validator), period))
            for validator in listed
        }
        return {validator: weight for validator, weight in weights.items() if weight}

    def report(self, private_key: bytes, fault: CheckedFault) -> TransactionReceipt:
        """Hand in checked evidence. The reporter gets a hundredth of what it costs the signer, a signer nothing."""
        name = keccak(b"report" + fault.first_signature + fault.second_signature)
        if fault.fault is SlashableFault.DOUBLE_HEAD:
            arguments = (*_side(fault.first, fault.first_signature), *_side(fault.second, fault.second_signature))
            return self._sender.send(private_key, self._target, "reportDoubleHead", *arguments, name=name)
        branches = (
            _branch(fault.first, fault.first_signature, fault.first_leaf),
            _branch(fault.second, fault.second_signature, fault.second_leaf),
        )
        return self._sender.send(private_key, self._target, "reportFork", fault.index, *branches, name=name)


def _side(head: ChainTreeHead, signature: bytes) -> tuple[tuple[bytes, int, bytes], bytes]:
    return (head.origin_digest, head.size, head.root), signature


def _branch(head: ChainTreeHead, signature: bytes, leaf: Leaf) -> tuple[object, ...]:
    # `ICuriosityStake.Branch` in order.
    return (*_side(head, signature), leaf.hash, list(leaf.proof))
