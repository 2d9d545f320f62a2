"""The chain as the rest of the house sees it: what `reader` reads, and deploy, fund, post, activate, claim.

Accounts, roots, proofs and keys are bytes; amounts are wei.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from curiosity.chain.attestation import Attestation, ClaimPermission, address_of, order_signatures
from curiosity.chain.chain import (
    Addresses,
    ChainConfig,
    DeploySettings,
    Quote,
    Share,
    TransactionReceipt,
)
from curiosity.chain.evm.claim_calls import claim_call, claim_to_call, fields_of
from curiosity.chain.evm.connection import ContractTarget, to_checksum
from curiosity.chain.evm.reader import ChainReader
from curiosity.chain.evm.sending import TransactionSender
from curiosity.chain.evm.verifying import creation_arguments
from curiosity.protocol.errors import ChainError


class ChainClient(ChainReader):
    """A connection that can also send transactions; the keys that sign them stay with the caller.

    Safe to share between threads.

    Raises:
        ChainError: By every method that sends: ``CHAIN_NO_FUNDS``, ``CHAIN_NONCE``, ``CHAIN_TIMEOUT``,
            ``CHAIN_JOURNAL``, ``CHAIN_JOURNAL_BUSY``, and what `ChainReader` raises.
    """

    def __init__(self, config: ChainConfig) -> None:
        super().__init__(config)
        self._sender = TransactionSender(config, self._endpoints)

    # Deploy and fund.

    def deploy(
        self,
        private_key: bytes,
        settings: DeploySettings,
        *,
        begun: Addresses | None = None,
        told: Callable[[Addresses], None] = lambda _begun: None,
    ) -> Addresses:
        """Deploy rewards, which makes the token that only it can mint, and stake; bind this client to them.

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

    def fund(self, faucet_key: bytes, recipient: bytes, *, eth_wei: int = 0, token_wei: int = 0) -> None:
        """Send coins for gas and tokens from the faucet's account; an amount of 0 is left out."""
        if eth_wei:
            self._sender.transfer(faucet_key, recipient, eth_wei)
        if token_wei:
            self._sender.send(faucet_key, self._token, "transfer", to_checksum(recipient), token_wei)

    def quote_transfer(self, sender: bytes, recipient: bytes, *, eth_wei: int = 0, token_wei: int = 0) -> Quote:
        """Return what sending coins, or else tokens, would cost the sender now."""
        if eth_wei:
            return self._sender.quote_transfer(sender, recipient, eth_wei)
        return self._sender.quote(sender, self._token, "transfer", to_checksum(recipient), token_wei)

    # Close an epoch.

    def post_root(
        self, private_key: bytes, attestation: Attestation, signatures: Sequence[bytes]
    ) -> TransactionReceipt | None:
        """Post an attested epoch; the signatures may come in any order. None when exactly this is posted already.

        Raises:
            ProofError: ``SIGNATURE_INVALID`` for a malformed signature, before anything is sent.
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
        """Activate the given epoch, the oldest that waits; None when it is active already."""
        if self.state().active_epoch >= epoch:
            return None
        name = b"activate" + self.addresses.rewards + epoch.to_bytes(8, "big")
        return self._sender.send(private_key, self._rewards, "activate", name=name)

    def veto(self, guardian_key: bytes, epoch: int) -> TransactionReceipt:
        """Throw away a posted epoch that is not active, and all after it."""
        return self._send(guardian_key, "veto", epoch)

    def pause(self, guardian_key: bytes, duration_s: int) -> TransactionReceipt:
        """Pause claims and activations for that long; the pause ends by itself."""
        return self._send(guardian_key, "pause", duration_s)

    def set_validators(self, owner_key: bytes, validators: Sequence[bytes], threshold: int) -> TransactionReceipt:
        """Replace the validator set; posted epochs that are not active are thrown away."""
        ordered = [to_checksum(validator) for validator in sorted(validators)]
        return self._send(owner_key, "setValidators", ordered, threshold)

    # Claim.

    def claim(self, private_key: bytes, shares: Sequence[Share], *, account: bytes | None = None) -> TransactionReceipt:
        """Have an account's shares of any epochs paid to it in one transaction; ``paid_wei`` tells how much, maybe 0.

        The account is the key's own unless given. A share that was paid before is skipped.
        """
        return self._send(private_key, *claim_call(account or address_of(private_key), shares))

    def quote_claim(self, sender: bytes, account: bytes, shares: Sequence[Share]) -> Quote:
        """Return what `claim` would cost a sender now."""
        return self._quote(sender, *claim_call(account, shares))

    def claim_many(self, private_key: bytes, claims: Sequence[tuple[bytes, Share]]) -> TransactionReceipt:
        """Have several accounts paid at once: (account, share) each; ``paid_wei`` is their sum."""
        rows = [(to_checksum(account), *fields_of(share)) for account, share in claims]
        return self._send(private_key, "claimMany", rows)

    def claim_to(
        self, relayer_key: bytes, permission: ClaimPermission, signature: bytes, shares: Sequence[Share]
    ) -> TransactionReceipt:
        """Relay a signed claim: the permission's recipient is paid, the relayer pays the gas."""
        return self._send(relayer_key, *claim_to_call(permission, signature, shares))

    def quote_claim_to(
        self, sender: bytes, permission: ClaimPermission, signature: bytes, shares: Sequence[Share]
    ) -> Quote:
        """Return what `claim_to` would cost a sender now."""
        return self._quote(sender, *claim_to_call(permission, signature, shares))

    def _send(self, private_key: bytes, function: str, *arguments: Any) -> TransactionReceipt:
        return self._sender.send(private_key, self._rewards, function, *arguments)

    def _quote(self, sender: bytes, function: str, *arguments: Any) -> Quote:
        return self._sender.quote(sender, self._rewards, function, *arguments)
