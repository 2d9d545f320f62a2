// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Curiosity's rewards: one pool and one Merkle root for each epoch, under an m-of-n attestation
/// @notice Validators attest one reward root for each epoch. A root is posted, waits `activationDelay` seconds in which
/// the guardian may veto it, and is then activated by anybody: only now are tokens minted, exactly what the epoch adds
/// to the total and never more than its emission. They are the pool of that epoch, and a claim against its root is paid
/// from this pool alone: whatever a lying quorum writes into a root, it cannot touch what another epoch owes.
interface ICuriosityRewards {
    /// @notice What a quorum of validators signs to close one epoch (EIP-712).
    struct Attestation {
        // Reward period that closes; the first is 1 and each follows the last.
        uint64 epoch;
        // Entries in the ledger that the rewards were derived from; never shrinks while one set signs.
        uint64 ledgerSize;
        // RFC 6962 root over those entries.
        bytes32 ledgerRoot;
        // Root of the tree of (account, wei earned in this epoch), OpenZeppelin's standard format.
        bytes32 rewardRoot;
        // Wei earned in all epochs up to and with this one.
        uint256 cumulativeTotal;
        // Reward root of the epoch before, zero for the first.
        bytes32 previousRoot;
        // Validator set that signs.
        uint64 setId;
        // Number of vetoes so far; a veto kills every attestation signed before it.
        uint32 attempt;
    }

    /// @notice One leaf of one epoch: what `account` earned in it, and the way to its root.
    struct Claim {
        address account;
        uint64 epoch;
        uint256 amount;
        bytes32[] proof;
    }

    /// @notice One leaf of an account that is named elsewhere, for {claimTo}.
    struct Share {
        uint64 epoch;
        uint256 amount;
        bytes32[] proof;
    }

    /// @notice An epoch that can be claimed.
    struct Pool {
        bytes32 rewardRoot;
        // Wei minted for the epoch and not claimed yet.
        uint256 unpaid;
        // Wei minted in all epochs up to and with this one.
        uint256 cumulativeTotal;
        // Attempt in which it was activated.
        uint32 attempt;
    }

    /// @notice An epoch that was posted lately.
    struct Posted {
        bytes32 rewardRoot;
        uint128 cumulativeTotal;
        uint64 ledgerSize;
        // Block time in seconds.
        uint64 postedAt;
    }

    /// @notice Everything that the next attestation needs, from one block.
    struct Status {
        uint64 activeEpoch;
        uint64 latestEpoch;
        uint64 setId;
        uint32 attempt;
        uint256 threshold;
        uint256 pausedUntil;
        // Block time from which the oldest waiting epoch may be activated, zero when none waits.
        uint256 activatableAt;
        Posted active;
        Posted latest;
    }

    /// @notice A quorum signed `digest` for `epoch`, which may be activated from `activatableAt` on.
    event RootPosted(
        uint64 indexed epoch,
        bytes32 indexed rewardRoot,
        bytes32 indexed digest,
        uint64 ledgerSize,
        bytes32 ledgerRoot,
        uint256 cumulativeTotal,
        uint256 activatableAt
    );
    /// @notice The posted epochs from `firstEpoch` to `lastEpoch` were thrown away; `attempt` is the new attempt.
    event RootsDiscarded(uint64 indexed firstEpoch, uint64 lastEpoch, uint32 attempt, address by);
    /// @notice `epoch` may be claimed from now on; `minted` wei were minted for it.
    event RootActivated(uint64 indexed epoch, bytes32 indexed rewardRoot, uint256 minted);
    /// @notice `amount` wei that `account` earned went to `recipient`. The token's transfers name the pools, and so the
    /// epochs, that they came from.
    event Claimed(address indexed account, address indexed recipient, uint256 amount);
    /// @notice A new validator set: `threshold` signatures of `validators` make a quorum.
    event ValidatorsSet(uint64 indexed setId, address[] validators, uint256 threshold);
    /// @notice The guardian changed.
    event GuardianSet(address indexed guardian);
    /// @notice Claims and activations rest until `until`.
    event Paused(uint256 until);
    /// @notice `amount` of a foreign token was sent back to `to`.
    event Rescued(address indexed token, address indexed to, uint256 amount);

    /// @notice Epochs close one after the other.
    error RewardsWrongEpoch(uint64 given, uint64 expected);
    /// @notice The attestation continues another root than the last posted one.
    error RewardsWrongPreviousRoot(bytes32 given, bytes32 expected);
    /// @notice The attestation was made by another validator set than the present one.
    error RewardsWrongSet(uint64 given, uint64 expected);
    /// @notice The attestation was signed before a veto.
    error RewardsWrongAttempt(uint32 given, uint32 expected);
    /// @notice The ledger only grows. A new set of validators may begin with any size, so that one that no ledger
    /// reaches does not stay for ever.
    error RewardsLedgerShrank(uint64 given, uint64 previous);
    /// @notice Cumulative amounts only grow.
    error RewardsTotalDecreased(uint256 given, uint256 previous);
    /// @notice The epoch would pay `requested` wei where the schedule allows `allowed`.
    error RewardsEmissionExceeded(uint256 requested, uint256 allowed);
    /// @notice The epoch before was posted less than the smallest interval ago.
    error RewardsEpochTooSoon(uint256 nowTime, uint256 allowedAt);
    /// @notice As many epochs wait as can; activate the oldest.
    error RewardsTooManyWaiting(uint256 waiting);
    /// @notice Too few signatures.
    error RewardsNotEnoughSignatures(uint256 given, uint256 needed);
    /// @notice Signatures must come in strictly increasing order of their signers.
    error RewardsSignersNotSorted(address previous, address signer);
    /// @notice `signer` does not belong to the validator set (a signature over other data recovers to a stranger too).
    error RewardsNotValidator(address signer, uint64 setId);
    /// @notice The contract wallet `signer` does not stand by the signature (ERC-1271).
    error RewardsInvalidSignature(address signer);
    /// @notice No posted epoch waits for activation.
    error RewardsNothingToActivate(uint64 activeEpoch);
    /// @notice The delay for a veto is not over.
    error RewardsNotActivatable(uint256 nowTime, uint256 activatableAt);
    /// @notice Only an epoch that is posted and not active can be vetoed.
    error RewardsNotPending(uint64 epoch, uint64 activeEpoch, uint64 latestEpoch);
    /// @notice The contract does not know the epoch: it is not posted, or was so long ago.
    error RewardsNoSuchEpoch(uint64 epoch, uint64 activeEpoch, uint64 latestEpoch);
    /// @notice The proof does not lead to the reward root of that epoch, which is zero when it is not active.
    error RewardsInvalidProof(address account, uint64 epoch, uint256 amount, bytes32 rewardRoot);
    /// @notice The signed permission to redirect a claim has expired.
    error RewardsExpired(uint256 deadline, uint256 nowTime);
    /// @notice None of the shares pays anything: there is none, or all were paid before. The permission stays.
    error RewardsNothingToPay(address account);
    /// @notice Rewards cannot be sent there.
    error RewardsInvalidRecipient(address recipient);
    /// @notice Only `expected` may do this.
    error RewardsUnauthorized(address caller, address expected);
    /// @notice Claims and activations rest until `until`.
    error RewardsPaused(uint256 until);
    /// @notice A pause may last from 1 to `maxDuration` seconds.
    error RewardsInvalidPause(uint256 duration, uint256 maxDuration);
    /// @notice The next pause is possible from `allowedAt` on.
    error RewardsPauseCooldown(uint256 allowedAt);
    /// @notice A constructor argument that cannot work, by name.
    error RewardsInvalidParameter(string name);
    /// @notice The reward token belongs to the claimers and cannot be rescued.
    error RewardsCannotRescue(address token);

    /// @notice Posts the next epoch's root. Anybody may bring it; the signatures count.
    /// @param attestation what was signed
    /// @param signatures in strictly increasing order of signer. A key's signature has 65 bytes (r, s, v), low s, v 27 or
    /// 28. A longer one is a contract wallet's (ERC-1271): its address, 20 bytes, then what the wallet is shown.
    function postRoot(Attestation calldata attestation, bytes[] calldata signatures) external;

    /// @notice Guardian only: throws away `epoch`, which is posted and not active, and all that were built on it.
    function veto(uint64 epoch) external;

    /// @notice Activates the oldest posted epoch once its delay is over, and mints exactly what it adds.
    /// @return epoch the one activated
    function activate() external returns (uint64 epoch);

    /// @notice Pays `account` what it earned in `epoch`. Anybody may call; zero when that was paid before.
    /// @return paid in wei
    function claim(
        address account,
        uint64 epoch,
        uint256 amount,
        bytes32[] calldata proof
    ) external returns (uint256 paid);

    /// @notice {claim} for any accounts and epochs at once; what was paid before is skipped, one bad proof reverts all.
    /// Claims of one account that follow each other make one event.
    /// @return paid in all, in wei
    function claimMany(Claim[] calldata claims) external returns (uint256 paid);

    /// @notice Pays what `account` earned in the given epochs to the `recipient` that it signed for. Anybody may relay.
    /// Reverts when that is nothing. What a relay leaves out stays the account's, and needs another permission.
    /// @param deadline last block time, in seconds, at which the signature counts
    /// @param signature EIP-712 `ClaimTo(address account,address recipient,uint256 nonce,uint256 deadline)`, by a key
    /// or by a contract wallet (ERC-1271); the nonce is `nonces(account)`
    /// @return paid in wei
    function claimTo(
        address account,
        Share[] calldata shares,
        address recipient,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 paid);

    /// @notice Owner only: replaces the validator set and throws away what the old one posted and is not active yet. The
    /// first epoch that the new set posts may name any ledger size.
    /// @param validators 1 to 128 in strictly increasing order
    /// @param threshold signatures that make a quorum, more than half
    function setValidators(address[] calldata validators, uint256 threshold) external;

    /// @notice Owner only: replaces the guardian.
    function setGuardian(address guardian_) external;

    /// @notice Guardian only: rests claims and activations for `duration` seconds, at most 7 days, once in 30 days.
    function pause(uint256 duration) external;

    /// @notice Owner only: sends foreign tokens that strayed here back; never the reward token.
    function rescue(address token_, address to, uint256 amount) external;

    /// @notice The 32 bytes that validators sign for an attestation.
    function hashAttestation(Attestation calldata attestation) external view returns (bytes32);

    /// @notice Wei that `epoch` may pay at most: a fixed share of what all epochs before it have left. The first epoch is
    /// 1. What an epoch does not pay returns to what is left, so that the next may pay no more than that share of it; time
    /// that passes between two changes nothing. For an epoch after the next one it is what it may pay if those between
    /// pay nothing.
    function emission(uint64 epoch) external view returns (uint256);

    /// @notice Wei claimed so far by `account`, over all epochs. Costs gas in proportion to the epochs.
    function claimed(address account) external view returns (uint256);

    /// @notice Whether `account` was paid for `epoch`.
    function isClaimed(address account, uint64 epoch) external view returns (bool);

    /// @notice The pool of an epoch; all zero when it is not active.
    function pool(uint64 epoch) external view returns (Pool memory);

    /// @notice The record of an epoch that is active or waits, for the last 32 of them; epoch 0 is the start.
    function posted(uint64 epoch) external view returns (Posted memory);

    /// @notice Where everything stands.
    function status() external view returns (Status memory);

    /// @notice The present validators, in increasing order.
    function validators() external view returns (address[] memory);

    /// @notice Who may veto and pause.
    function guardian() external view returns (address);

    /// @notice The reward token.
    function token() external view returns (address);

    /// @notice Seconds between posting and activation.
    function activationDelay() external view returns (uint256);

    /// @notice Least seconds between posting two epochs.
    function minEpochInterval() external view returns (uint256);
}
