"""The chain as the rest of the house sees it: deploy, fund, post, activate, claim.

Accounts, roots, proofs and keys are bytes; amounts are wei.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from curiosity.chain.attestation import Attestation, ClaimPermission, RewardsDomain, address_of, order_signatures
from curiosity.chain.chain import (
    Addresses,
    Balances,
    ChainConfig,
    DeploySettings,
    EpochRecord,
    Pool,
    Quote,
    RewardsState,
    Share,
    Standing,
    Terms,
    TransactionReceipt,
)
from curiosity.chain.evm.claim_calls import claim_call, claim_to_call, fields_of
from curiosity.chain.evm.connection import ContractTarget, to_checksum
from curiosity.chain.evm.endpoints import At, Endpoints
from curiosity.chain.evm.sending import TransactionSender
from curiosity.chain.evm.verifying import creation_arguments, read_terms, verify_code
from curiosity.protocol.errors import ChainError
from curiosity.protocol.rewards import RewardParameters

log = logging.getLogger(__name__)

_REMEMBERED = 32  # epochs whose records `CuriosityRewards.posted` still has


class ChainClient:
    """A connection to one chain and, once they are deployed, to the token and the rewards contract on it.

    Safe to share between threads. Every method may raise ChainError: ``CHAIN_UNREACHABLE``, ``CHAIN_REVERTED`` (with
    the contract's error and its arguments), ``CHAIN_NO_FUNDS``, ``CHAIN_NONCE``, ``CHAIN_TIMEOUT``,
    ``CHAIN_NO_CONTRACT``, ``CHAIN_REFUSED``, ``CHAIN_JOURNAL``, ``CHAIN_JOURNAL_BUSY``; where there are several
    endpoints ``CHAIN_ENDPOINTS_DISAGREE`` and ``CHAIN_ENDPOINTS_FEW``.
    """

    def __init__(self, config: ChainConfig) -> None:
        self._config = config
        self._endpoints = Endpoints(config)
        self._sender = TransactionSender(config, self._endpoints)

    @classmethod
    def connect(cls, config: ChainConfig) -> "ChainClient":
        """A client whose chain answers with the expected id and, where addresses are given, has code at them.

        Raises ChainError ``CHAIN_WRONG_ID`` when it is another chain, besides those of the class.
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

    # Deploy and fund.

    def deploy(
        self,
        private_key: bytes,
        settings: DeploySettings,
        *,
        begun: Addresses | None = None,
        told: Callable[[Addresses], None] = lambda _begun: None,
    ) -> Addresses:
        """Deploys rewards, which makes the token that only it can mint, and stake; binds this client to them.

        ``told`` is given rewards and token as soon as they are there; ``begun`` are those of a deployment that ended
        then, and of which only the stake contract is missing.
        """
        deployer = address_of(private_key)
        if begun is None:
            rewards = self._sender.create(private_key, "CuriosityRewards", creation_arguments(deployer, settings))
            token = bytes.fromhex(
                self._endpoints.read(ContractTarget("CuriosityRewards", rewards.contract), "token")[2:]
            )
            begun = Addresses(self._config.chain_id, token, rewards.contract, rewards.block)
            told(begun)
        stake = self._sender.create(
            private_key,
            "CuriosityStake",
            to_checksum(begun.rewards),
            to_checksum(settings.treasury or deployer),
            settings.min_stake_wei,
            settings.stake_period_s,
        )
        addresses = replace(begun, stake=stake.contract)
        self._config = replace(self._config, addresses=addresses)
        return addresses

    def try_deployment(self, deployer: bytes, settings: DeploySettings) -> int:
        """Gas that creating the rewards contract would take. Raises ChainError ``CHAIN_REVERTED`` if it refuses."""
        chain = self._endpoints.first()
        data = chain.creation_data("CuriosityRewards", creation_arguments(deployer, settings))
        return chain.estimate_gas({"data": data, "value": 0}, deployer)

    def verify_code(self) -> None:
        """Compares the code at each address with the committed build, and the contracts with each other.

        Raises ChainError ``CHAIN_CODE_DIFFERS``, ``CHAIN_LINK_DIFFERS``, besides those of the class.
        """
        verify_code(self._endpoints, self.addresses)

    def terms(self) -> Terms:
        """What the network was deployed with."""
        return read_terms(self._endpoints, self.addresses, RewardParameters())

    def fund(self, faucet_key: bytes, recipient: bytes, *, eth_wei: int = 0, token_wei: int = 0) -> None:
        """Sends coins for gas and tokens from the faucet's account; an amount of 0 is left out."""
        if eth_wei:
            self._sender.transfer(faucet_key, recipient, eth_wei)
        if token_wei:
            self._sender.send(faucet_key, self._token, "transfer", to_checksum(recipient), token_wei)

    def quote_transfer(self, sender: bytes, recipient: bytes, *, eth_wei: int = 0, token_wei: int = 0) -> Quote:
        """What sending coins, or else tokens, would cost the sender now."""
        if eth_wei:
            return self._sender.quote_transfer(sender, recipient, eth_wei)
        return self._sender.quote(sender, self._token, "transfer", to_checksum(recipient), token_wei)

    # Read.

    @property
    def addresses(self) -> Addresses:
        """Where the contracts are. Raises ChainError ``CHAIN_NO_CONTRACT`` when none are deployed or configured."""
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
        """Coins for gas that the account holds. Needs no contracts."""
        return self._endpoints.balance_wei(account)

    def balances(self, account: bytes) -> Balances:
        """Coins for gas and reward tokens of an account."""
        return Balances(
            eth_wei=self._endpoints.balance_wei(account),
            token_wei=self._endpoints.read(self._token, "balanceOf", to_checksum(account)),
        )

    def claimed(self, account: bytes) -> int:
        """Wei that the account has been paid since the first epoch."""
        return int(self._read("claimed", to_checksum(account)))

    def is_claimed(self, account: bytes, epoch: int) -> bool:
        """Whether the account was paid for that epoch."""
        return bool(self._read("isClaimed", to_checksum(account), epoch))

    def pool(self, epoch: int) -> Pool:
        """The pool of an epoch; all zero when it is not active."""
        root, unpaid_wei, total_wei, attempt = self._read("pool", epoch)
        return Pool(bytes(root), unpaid_wei, total_wei, attempt)

    def epoch(self, epoch: int, state: RewardsState) -> EpochRecord | None:
        """What is held of an epoch, None when it is not posted; ``state`` is a recent one."""
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
        """The present validators, in increasing order."""
        return [bytes.fromhex(one[2:]) for one in self._read("validators")]

    def now(self) -> int:
        """Time of the block to come, Unix seconds of the chain's clock."""
        return self._endpoints.first().block_time()

    def claim_nonce(self, account: bytes) -> int:
        """Nonce for the account's next `ClaimPermission`."""
        return int(self._read("nonces", to_checksum(account)))

    def emission(self, epoch: int) -> int:
        """Wei that the contract lets an epoch pay at most."""
        return int(self._read("emission", epoch))

    def state(self) -> RewardsState:
        """What the rewards contract holds now: the active and the latest epoch, and what the next attestation needs.

        All of it is of one block, where there are several endpoints of the newest that all have.
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
        """How far the chain is with the epochs, and how much of that is final.

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

    # Close an epoch.

    def post_root(
        self, private_key: bytes, attestation: Attestation, signatures: Sequence[bytes]
    ) -> TransactionReceipt | None:
        """Posts an attested epoch; the signatures may come in any order. None when exactly this is posted already.

        Raises ProofError ``SIGNATURE_INVALID`` for a malformed signature, before anything is sent.
        """
        ordered = [signature for _, signature in order_signatures(attestation, self.domain, signatures)]
        if self._is_posted(attestation):
            return None
        # `ICuriosityRewards.Attestation` in order.
        fields = (
            attestation.epoch,
            attestation.ledger_size,
            attestation.ledger_root,
            attestation.reward_root,
            attestation.cumulative_total_wei,
            attestation.previous_root,
            attestation.set_id,
            attestation.attempt,
        )
        try:
            # By its digest: the same epoch with other signatures is not posted beside a transaction on its way.
            name = attestation.digest(self.domain)
            return self._sender.send(private_key, self._rewards, "postRoot", fields, ordered, name=name)
        except ChainError:
            # Another validator may have posted the same root between our look and our transaction.
            if self._is_posted(attestation):
                return None
            raise

    def activate(self, private_key: bytes, epoch: int) -> TransactionReceipt | None:
        """Activates the given epoch, the oldest that waits; None when it is active already."""
        if self.state().active_epoch >= epoch:
            return None
        name = b"activate" + self.addresses.rewards + epoch.to_bytes(8, "big")
        return self._sender.send(private_key, self._rewards, "activate", name=name)

    def wait_until_activatable(self, timeout_s: float) -> None:
        """Returns when `activate` would succeed in the next block.

        Raises ChainError ``CHAIN_TIMEOUT`` when the delay is not over in time, ``CHAIN_REVERTED`` when nothing waits
        or the contract is paused.
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

    def veto(self, guardian_key: bytes, epoch: int) -> TransactionReceipt:
        """Throws away a posted epoch that is not active, and all after it."""
        return self._send(guardian_key, "veto", epoch)

    def pause(self, guardian_key: bytes, duration_s: int) -> TransactionReceipt:
        """Rests claims and activations for that long; it ends by itself."""
        return self._send(guardian_key, "pause", duration_s)

    def set_validators(self, owner_key: bytes, validators: Sequence[bytes], threshold: int) -> TransactionReceipt:
        """Replaces the validator set; posted epochs that are not active are thrown away."""
        ordered = [to_checksum(validator) for validator in sorted(validators)]
        return self._send(owner_key, "setValidators", ordered, threshold)

    # Claim.

    def claim(self, private_key: bytes, shares: Sequence[Share], *, account: bytes | None = None) -> TransactionReceipt:
        """Has an account's shares of any epochs paid to it in one transaction; ``paid_wei`` tells how much, maybe 0.

        The account is the key's own unless given. A share that was paid before is skipped.
        """
        return self._send(private_key, *claim_call(account or address_of(private_key), shares))

    def quote_claim(self, sender: bytes, account: bytes, shares: Sequence[Share]) -> Quote:
        """What `claim` would cost a sender now."""
        return self._quote(sender, *claim_call(account, shares))

    def claim_many(self, private_key: bytes, claims: Sequence[tuple[bytes, Share]]) -> TransactionReceipt:
        """Has several accounts paid at once: (account, share) each; ``paid_wei`` is their sum."""
        rows = [(to_checksum(account), *fields_of(share)) for account, share in claims]
        return self._send(private_key, "claimMany", rows)

    def claim_to(
        self, relayer_key: bytes, permission: ClaimPermission, signature: bytes, shares: Sequence[Share]
    ) -> TransactionReceipt:
        """Relays a signed claim: the permission's recipient is paid, the relayer pays the gas."""
        return self._send(relayer_key, *claim_to_call(permission, signature, shares))

    def quote_claim_to(
        self, sender: bytes, permission: ClaimPermission, signature: bytes, shares: Sequence[Share]
    ) -> Quote:
        """What `claim_to` would cost a sender now."""
        return self._quote(sender, *claim_to_call(permission, signature, shares))

    @property
    def _token(self) -> ContractTarget:
        return ContractTarget("CuriosityToken", self.addresses.token)

    @property
    def _rewards(self) -> ContractTarget:
        return ContractTarget("CuriosityRewards", self.addresses.rewards)

    def _read(self, function: str, *arguments: Any, at: At = "latest") -> Any:
        return self._endpoints.read(self._rewards, function, *arguments, at=at)

    def _send(self, private_key: bytes, function: str, *arguments: Any) -> TransactionReceipt:
        return self._sender.send(private_key, self._rewards, function, *arguments)

    def _quote(self, sender: bytes, function: str, *arguments: Any) -> Quote:
        return self._sender.quote(sender, self._rewards, function, *arguments)

    def _is_posted(self, attestation: Attestation) -> bool:
        """Whether the chain holds this epoch as it is attested. Of the ledger it holds the size, not the root."""
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
