"""What the chain says of the token and the rewards contract, without a key and without a transaction.

Accounts, roots and proofs are bytes; amounts are wei.
"""

import logging
import time
from typing import Any, Self

from curiosity.chain.attestation import Attestation, RewardsDomain
from curiosity.chain.chain import (
    Addresses,
    Balances,
    BlockHeader,
    ChainConfig,
    DeploySettings,
    EpochRecord,
    Pool,
    RewardsState,
    Standing,
    Terms,
)
from curiosity.chain.evm.connection import ContractTarget, to_checksum
from curiosity.chain.evm.endpoints import At, Endpoints
from curiosity.chain.evm.verifying import creation_arguments, read_terms, verify_code
from curiosity.protocol.errors import ChainError
from curiosity.protocol.rewards import RewardParameters

log = logging.getLogger(__name__)

_REMEMBERED = 32  # epochs whose records `CuriosityRewards.posted` still has


class ChainReader:
    """A connection to one chain and, once they are deployed, to the token and the rewards contract on it.

    Safe to share between threads.

    Raises:
        ChainError: By every method: ``CHAIN_UNREACHABLE``, ``CHAIN_REVERTED`` (with the contract's error and its
            arguments), ``CHAIN_NO_CONTRACT``, ``CHAIN_REFUSED``; where there are several endpoints
            ``CHAIN_ENDPOINTS_DISAGREE`` and ``CHAIN_ENDPOINTS_FEW``.
    """

    def __init__(self, config: ChainConfig) -> None:
        self._config = config
        self._endpoints = Endpoints(config)

    @classmethod
    def connect(cls, config: ChainConfig) -> Self:
        """Return a client of this chain, which has code at the addresses where they are given.

        Raises:
            ChainError: ``CHAIN_WRONG_ID`` when it is another chain, ``CHAIN_NO_CONTRACT``.
        """
        client = cls(config)
        client._endpoints.check_chain()
        addresses = config.addresses
        if addresses is not None:
            for name in ("token", "rewards", "stake"):
                address: bytes = getattr(addresses, name)
                if address and not client._endpoints.code(address):
                    raise ChainError(
                        "CHAIN_NO_CONTRACT",
                        f"chain {config.chain_id} has no code at the {name} address 0x{address.hex()}",
                        "The chain was started anew or the address belongs to another one; deploy again.",
                    )
        return client

    def try_deployment(self, deployer: bytes, settings: DeploySettings) -> int:
        """Return the gas that creating the rewards contract would take.

        Raises:
            ChainError: ``CHAIN_REVERTED`` if it refuses.
        """
        chain = self._endpoints.first()
        data = chain.creation_data("CuriosityRewards", creation_arguments(deployer, settings))
        return chain.estimate_gas({"data": data, "value": 0}, deployer)

    def verify_code(self) -> None:
        """Compare the code at each address with the committed build, and the contracts with each other.

        Raises:
            ChainError: ``CHAIN_CODE_DIFFERS``, ``CHAIN_LINK_DIFFERS``.
        """
        verify_code(self._endpoints, self.addresses)

    def terms(self) -> Terms:
        """Return what the network was deployed with."""
        return read_terms(self._endpoints, self.addresses, RewardParameters())

    @property
    def addresses(self) -> Addresses:
        """Where the contracts are.

        Raises:
            ChainError: ``CHAIN_NO_CONTRACT`` when none are deployed or configured.
        """
        if self._config.addresses is None:
            raise ChainError(
                "CHAIN_NO_CONTRACT",
                f"no contract addresses are set for chain {self._config.chain_id}",
                "Deploy first, or give the addresses in the configuration.",
            )
        return self._config.addresses

    @property
    def domain(self) -> RewardsDomain:
        """The EIP-712 domain of the rewards contract."""
        return RewardsDomain(self._config.chain_id, self.addresses.rewards)

    def balance_wei(self, account: bytes) -> int:
        """Return the coins for gas that the account holds. Needs no contracts."""
        return self._endpoints.balance_wei(account)

    def balances(self, account: bytes) -> Balances:
        """Return the coins for gas and reward tokens of an account."""
        return Balances(
            eth_wei=self._endpoints.balance_wei(account),
            token_wei=self._endpoints.read(self._token, "balanceOf", to_checksum(account)),
        )

    def claimed(self, account: bytes) -> int:
        """Return the wei that the account has been paid since the first epoch."""
        return int(self._read("claimed", to_checksum(account)))

    def is_claimed(self, account: bytes, epoch: int) -> bool:
        """Return whether the account was paid for that epoch."""
        return bool(self._read("isClaimed", to_checksum(account), epoch))

    def pool(self, epoch: int) -> Pool:
        """Return the pool of an epoch; all zero when it is not active."""
        root, unpaid_wei, total_wei, attempt = self._read("pool", epoch)
        return Pool(bytes(root), unpaid_wei, total_wei, attempt)

    def epoch(self, epoch: int, state: RewardsState) -> EpochRecord | None:
        """Return what is held of an epoch, None when it is not posted; ``state`` is a recent one."""
        if not 1 <= epoch <= state.latest_epoch:
            return None
        is_active = epoch <= state.active_epoch
        if epoch + _REMEMBERED <= state.latest_epoch:
            pool = self.pool(epoch)
            return EpochRecord(epoch, pool.reward_root, pool.cumulative_total_wei, is_active, None, None)
        root, total_wei, ledger_size, posted_at = self._read("posted", epoch)
        activates_at = posted_at + self._read("activationDelay")
        return EpochRecord(epoch, bytes(root), total_wei, is_active, ledger_size, activates_at)

    def validators(self) -> list[bytes]:
        """Return the present validators, in increasing order."""
        return [bytes.fromhex(one[2:]) for one in self._read("validators")]

    def now(self) -> int:
        """Return the time of the block to come, Unix seconds of the chain's clock."""
        return self._endpoints.first().block_time()

    def block(self, number: int | None = None) -> BlockHeader:
        """Return the block of that number, the newest without one."""
        return self._endpoints.header("latest" if number is None else number)

    def final_height(self) -> int:
        """Return the number of the newest block that is final."""
        return self._endpoints.height("final")

    def claim_nonce(self, account: bytes) -> int:
        """Return the nonce for the account's next `ClaimPermission`."""
        return int(self._read("nonces", to_checksum(account)))

    def emission(self, epoch: int) -> int:
        """Return the wei that the contract lets an epoch pay at most."""
        return int(self._read("emission", epoch))

    def returns_unpaid(self) -> bool:
        """Return whether what an epoch does not pay stays for later ones.

        Contracts of earlier versions lower what remains by each epoch's number, whatever it pays.
        """
        coming = self.state().latest_epoch + 1
        return self.emission(coming) == self.emission(coming + 1)

    def state(self) -> RewardsState:
        """Return what the rewards contract holds now.

        That is the active and the latest epoch, and what the next attestation needs. All of it is of one block, where
        there are several endpoints of the newest that all have.
        """
        active_epoch, latest_epoch, set_id, attempt, threshold, paused_until, activates_at, active, latest = self._read(
            "status"
        )
        return RewardsState(
            active_epoch=active_epoch,
            active_root=bytes(active[0]),
            active_total_wei=active[1],
            latest_epoch=latest_epoch,
            latest_root=bytes(latest[0]),
            latest_total_wei=latest[1],
            latest_ledger_size=latest[2],
            set_id=set_id,
            attempt=attempt,
            threshold=threshold,
            paused_until=paused_until,
            activates_at=activates_at,
            latest_activates_at=latest[3] + self._read("activationDelay") if latest_epoch else 0,
        )

    def standing(self) -> Standing:
        """Return how far the chain is with the epochs, and how much of that is final.

        ``settled`` is 0 where the endpoints do not have the state of the final block.
        """
        block, final_block = self._endpoints.height(), self._endpoints.height("final")
        active, posted, *_ = self._read("status", at=block)
        return Standing(block, final_block, posted, active, self._settled(final_block))

    def _settled(self, final_block: int) -> int:
        try:
            # Before the deployment is final there is nothing to ask.
            if not self._endpoints.code(self.addresses.rewards, at=final_block):
                return 0
            settled: int = self._read("status", at=final_block)[0]
            return settled
        except ChainError as error:
            if error.code not in ("CHAIN_REFUSED", "CHAIN_ENDPOINTS_FEW"):
                raise
            # It keeps no state so old, or none from before it was started: then nothing is known to be final.
            log.warning("event=finality_unknown block=%d code=%s what=%r", final_block, error.code, error.what)
            return 0

    def wait_until_activatable(self, timeout_s: float) -> None:
        """Return when `ChainClient.activate` would succeed in the next block.

        Raises:
            ChainError: ``CHAIN_TIMEOUT`` when the delay is not over in time, ``CHAIN_REVERTED`` when nothing waits or
                the contract is paused.
        """
        # The contract is asked rather than our clock: block time is not the time of this machine.
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self._endpoints.first().read(self._rewards, "activate", block="pending")
                return
            except ChainError as error:
                if "RewardsNotActivatable" not in error.what:
                    raise
                if time.monotonic() >= deadline:
                    raise ChainError(
                        "CHAIN_TIMEOUT",
                        f"the epoch cannot be activated after {timeout_s:g} s: {error.what}",
                        "Wait for the veto delay to end and activate then.",
                    ) from error
            time.sleep(self._config.poll_interval_s)

    @property
    def _token(self) -> ContractTarget:
        return ContractTarget("CuriosityToken", self.addresses.token)

    @property
    def _rewards(self) -> ContractTarget:
        return ContractTarget("CuriosityRewards", self.addresses.rewards)

    def _read(self, function: str, *arguments: Any, at: At = "latest") -> Any:
        return self._endpoints.read(self._rewards, function, *arguments, at=at)

    def _is_posted(self, attestation: Attestation) -> bool:
        """Return whether the chain holds this epoch as it is attested.

        Of the ledger it holds the size, not the root.
        """
        state = self.state()
        if not max(1, state.latest_epoch - _REMEMBERED + 1) <= attestation.epoch <= state.latest_epoch:
            return False
        root, total_wei, ledger_size, _ = self._read("posted", attestation.epoch)
        return (bytes(root), total_wei, ledger_size, state.set_id, state.attempt) == (
            attestation.reward_root,
            attestation.cumulative_total_wei,
            attestation.ledger_size,
            attestation.set_id,
            attestation.attempt,
        )
