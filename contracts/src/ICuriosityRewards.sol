// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Curiosity's rewards: cumulative Merkle claims under an m-of-n attestation
/// @notice Validators attest one reward root for each epoch. A root is posted, waits `activationDelay` seconds in which
/// the guardian may veto it, and is then activated by anybody: only now are tokens minted, and never more than the
/// emission of that epoch. A leaf holds the total an account earned since the first epoch, so that one claim collects
/// everything and a second claim pays zero.
interface ICuriosityRewards {
    /// @notice What a quorum of validators signs to close one epoch (EIP-712).
    struct Attestation {
        // Reward period that closes; the first is 1 and each follows the last.
        uint64 epoch;
        // Entries in the ledger that the rewards were derived from; never shrinks.
        uint64 ledgerSize;
        // RFC 6962 root over those entries.
        bytes32 ledgerRoot;
        // Root of the tree of (account, cumulative amount), OpenZeppelin's standard format.
        bytes32 rewardRoot;
        // Sum of all cumulative amounts in the tree, in wei.
        uint256 cumulativeTotal;
        // Reward root of the epoch before, zero for the first.
        bytes32 previousRoot;
        // Validator set that signs.
        uint64 setId;
        // Number of vetoes so far; a veto kills every attestation signed before it.
        uint32 attempt;
    }

    /// @notice A posted epoch as the contract keeps it.
    struct EpochRecord {
        bytes32 rewardRoot;
        bytes32 ledgerRoot;
        // In wei; both are bounded by the token's cap.
        uint128 cumulativeTotal;
        // What the emission schedule leaves after this epoch, in wei.
        uint128 remaining;
        uint64 ledgerSize;
        // Block time in seconds.
        uint64 postedAt;
        uint64 setId;
        uint32 attempt;
    }

    /// @notice One account's claim, for {claimMany}.
    struct Claim {
        address account;
        uint256 cumulativeAmount;
        bytes32[] proof;
    }

    /// @notice A quorum attested `epoch`; it may be activated from `activatableAt` on.
    event RootPosted(
        uint64 indexed epoch,
        bytes32 indexed rewardRoot,
        uint64 ledgerSize,
        bytes32 ledgerRoot,
        uint256 cumulativeTotal,
        uint64 setId,
        uint32 attempt,
        uint256 activatableAt
    );
    /// @notice The posted epochs from `firstEpoch` to `lastEpoch` were thrown away; `attempt` is the new attempt.
    event RootsDiscarded(uint64 indexed firstEpoch, uint64 lastEpoch, uint32 attempt, address by);
    /// @notice `epoch` may be claimed from now on; `minted` wei were minted for it.
    event RootActivated(uint64 indexed epoch, bytes32 indexed rewardRoot, uint256 minted);
    /// @notice `amount` wei of what `account` earned went to `recipient`; `cumulative` is its total so far.
    event Claimed(address indexed account, address indexed recipient, uint256 amount, uint256 cumulative);
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
    /// @notice The ledger only grows.
    error RewardsLedgerShrank(uint64 given, uint64 previous);
    /// @notice Cumulative amounts only grow.
    error RewardsTotalDecreased(uint256 given, uint256 previous);
    /// @notice The epoch would pay `requested` wei where the schedule allows `allowed`.
    error RewardsEmissionExceeded(uint256 requested, uint256 allowed);
    /// @notice The epoch before was posted less than the smallest interval ago.
    error RewardsEpochTooSoon(uint256 nowTime, uint256 allowedAt);
    /// @notice Too few signatures.
    error RewardsNotEnoughSignatures(uint256 given, uint256 needed);
    /// @notice Signatures must come in strictly increasing order of their signers.
    error RewardsSignersNotSorted(address previous, address signer);
    /// @notice `signer` does not belong to the validator set (a signature over other data recovers to a stranger too).
    error RewardsNotValidator(address signer, uint64 setId);
    /// @notice No posted epoch waits for activation.
    error RewardsNothingToActivate(uint64 activeEpoch);
    /// @notice The delay for a veto is not over.
    error RewardsNotActivatable(uint256 nowTime, uint256 activatableAt);
    /// @notice Only an epoch that is posted and not active can be vetoed.
    error RewardsNotPending(uint64 epoch, uint64 activeEpoch, uint64 latestEpoch);
    /// @notice The proof does not lead to the active reward root.
    error RewardsInvalidProof(address account, uint256 cumulativeAmount, bytes32 rewardRoot);
    /// @notice The signed permission to redirect a claim has expired.
    error RewardsExpired(uint256 deadline, uint256 nowTime);
    /// @notice The signature does not permit this recipient.
    error RewardsInvalidSignature(address account);
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
    /// @notice Validators must be 1 to the largest count, in strictly increasing order, and the threshold a majority.
    error RewardsInvalidValidators(uint256 count, uint256 threshold);
    /// @notice A constructor argument that cannot work, by name.
    error RewardsInvalidParameter(string name);
    /// @notice The reward token belongs to the claimers and cannot be rescued.
    error RewardsCannotRescue(address token);

    /// @notice Posts the next epoch's root. Anybody may bring it; the signatures count.
    /// @param attestation what was signed
    /// @param signatures 65 bytes each (r, s, v), low s, v 27 or 28, in strictly increasing order of signer
    function postRoot(Attestation calldata attestation, bytes[] calldata signatures) external;

    /// @notice Guardian only: throws away `epoch`, which is posted and not active, and all that were built on it.
    function veto(uint64 epoch) external;

    /// @notice Activates the oldest posted epoch once its delay is over, and mints exactly what it adds.
    /// @return epoch the one activated
    function activate() external returns (uint64 epoch);

    /// @notice Pays `account` what the active root owes it. Anybody may call; zero when nothing is due.
    /// @return amount in wei
    function claim(
        address account,
        uint256 cumulativeAmount,
        bytes32[] calldata proof
    ) external returns (uint256 amount);

    /// @notice {claim} for several accounts at once; one bad proof reverts all.
    /// @return total amount paid in wei
    function claimMany(Claim[] calldata claims) external returns (uint256 total);

    /// @notice Pays what is due to `account` to the `recipient` that the account signed for. Anybody may relay.
    /// @param deadline last block time, in seconds, at which the signature counts
    /// @param signature EIP-712 `ClaimTo(address account,address recipient,uint256 nonce,uint256 deadline)`, by a key
    /// or by a contract wallet (ERC-1271); the nonce is `nonces(account)`
    /// @return amount in wei
    function claimTo(
        address account,
        uint256 cumulativeAmount,
        bytes32[] calldata proof,
        address recipient,
        uint256 deadline,
        bytes calldata signature
    ) external returns (uint256 amount);

    /// @notice Owner only: replaces the validator set and throws away what the old one posted and is not active yet.
    /// @param validators in strictly increasing order
    /// @param threshold signatures that make a quorum, more than half
    function setValidators(address[] calldata validators, uint256 threshold) external;

    /// @notice Owner only: replaces the guardian.
    function setGuardian(address guardian_) external;

    /// @notice Guardian only: rests claims and activations for `duration` seconds, at most 7 days, once in 30 days.
    function pause(uint256 duration) external;

    /// @notice Owner only: sends foreign tokens that strayed here back; never the reward token.
    function rescue(address token_, address to, uint256 amount) external;

    /// @notice Wei that `epoch` may pay at most. The first epoch is 1. Costs gas in proportion to the epoch number:
    /// meant for calls from outside.
    function emission(uint64 epoch) external view returns (uint256);

    /// @notice Wei claimed so far by `account`.
    function claimed(address account) external view returns (uint256);

    /// @notice The record of a posted epoch; epoch 0 is the genesis record.
    function epochRecord(uint64 epoch) external view returns (EpochRecord memory);

    /// @notice Last epoch that can be claimed, 0 before the first.
    function activeEpoch() external view returns (uint64);

    /// @notice Last epoch posted, active or waiting.
    function latestEpoch() external view returns (uint64);

    /// @notice Attempt that the next attestation must name.
    function attempt() external view returns (uint32);

    /// @notice Present validator set.
    function setId() external view returns (uint64);

    /// @notice Signatures that make a quorum.
    function threshold() external view returns (uint256);

    /// @notice Whether `account` belongs to the present validator set.
    function isValidator(address account) external view returns (bool);

    /// @notice Who may veto and pause.
    function guardian() external view returns (address);

    /// @notice Block time at which the present or last pause ends.
    function pausedUntil() external view returns (uint256);

    /// @notice The reward token.
    function token() external view returns (address);

    /// @notice Seconds between posting and activation.
    function activationDelay() external view returns (uint256);

    /// @notice Least seconds between posting two epochs.
    function minEpochInterval() external view returns (uint256);
}
