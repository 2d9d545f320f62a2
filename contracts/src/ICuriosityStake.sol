// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICuriosityRewards} from "./ICuriosityRewards.sol";

/// @title Validators' stake: bonded tokens that an objective fault costs
/// @notice A validator is known by the key that signs for it. Anybody may bond tokens for it; only its owner may take
/// them out, 14 days after saying so, and until then they can be slashed. What counts in a period was frozen at the
/// start of the period before. Slashed is only what two signatures prove; no difference of opinion ever is.
interface ICuriosityStake {
    /// @notice A tree head of a ledger, as validators sign it for the chain (EIP-712).
    struct TreeHead {
        // Keccak-256 of the ledger's origin, the first line of its tree heads.
        bytes32 origin;
        uint64 size;
        // RFC 6962 root over so many entries.
        bytes32 root;
    }

    /// @notice A verdict that is promised and still hidden (EIP-712).
    struct VerdictCommit {
        // The pair's digest.
        bytes32 pair;
        // Which vote about the pair it is.
        uint64 round;
        // `keccak256(abi.encode(verdict, salt, validator))`
        bytes32 commitment;
    }

    /// @notice What a {VerdictCommit} hid (EIP-712).
    struct VerdictReveal {
        bytes32 pair;
        uint64 round;
        // Digest of the verdict.
        bytes32 verdict;
        bytes32 salt;
    }

    /// @notice One side of a fork: a signed tree head, and a leaf that its tree holds.
    struct Branch {
        TreeHead head;
        bytes signature;
        bytes32 leafHash;
        bytes32[] proof;
    }

    /// @notice What a validator has here; amounts in wei.
    struct Validator {
        // Who may take the stake out; the validator itself until it names another.
        address owner;
        uint96 bonded;
        uint96 exiting;
        // Block time from which the exiting part may be withdrawn.
        uint48 exitsAt;
        // Block time of the last moment at which something was bonded, when nothing is now.
        uint48 emptySince;
        // It signed two histories: nothing can be bonded for this key again.
        bool isBanned;
    }

    /// @notice `amount` more wei are bonded for `validator`.
    event Bonded(address indexed validator, address indexed by, uint256 amount);
    /// @notice `amount` wei of `validator` no longer count and may be withdrawn from `exitsAt` on.
    event ExitStarted(address indexed validator, uint256 amount, uint256 exitsAt);
    /// @notice `amount` wei went to the owner of `validator`.
    event Withdrawn(address indexed validator, address indexed owner, uint256 amount);
    /// @notice The owner of the stake of `validator` is now `owner`.
    event OwnerSet(address indexed validator, address indexed owner);
    /// @notice `validator` lost `amount` wei for a fault, of which `reporter` got `reward`: a hundredth, and nothing when it
    /// is the validator itself or the owner of its stake.
    event Slashed(address indexed validator, bytes32 indexed fault, address indexed reporter, uint256 amount, uint256 reward);
    /// @notice `validator` left the list.
    event Removed(address indexed validator);

    /// @notice Only `expected` may do this.
    error StakeUnauthorized(address caller, address expected);
    /// @notice An amount of zero changes nothing.
    error StakeNothing();
    /// @notice A validator has nothing or at least `minStake`.
    error StakeTooSmall(uint256 bonded, uint256 minStake);
    /// @notice The list is full.
    error StakeFull(uint256 count);
    /// @notice The key signed two histories and is banned.
    error StakeBanned(address validator);
    /// @notice More than there is.
    error StakeExceeded(uint256 requested, uint256 available);
    /// @notice The exit is not over.
    error StakeNotWithdrawable(uint256 nowTime, uint256 exitsAt);
    /// @notice The validator still counts somewhere, or is not in the list.
    error StakeNotRemovable(address validator);
    /// @notice The weights of a period are known once the period before has begun.
    error StakeNotFrozen(uint256 period, uint256 frozenAt);
    /// @notice The evidence shows no fault; `rule` says what is missing.
    error StakeNoFault(string rule);
    /// @notice The two signatures are not by one key.
    error StakeSignersDiffer(address first, address second);
    /// @notice The validator has nothing here.
    error StakeNothingToSlash(address validator);
    /// @notice This fault was reported before.
    error StakeAlreadyReported(address validator, bytes32 fault);
    /// @notice A constructor argument that cannot work, by name.
    error StakeInvalidParameter(string name);

    /// @notice Bonds `amount` wei of the caller's tokens for `validator`; the caller allowed it before.
    function bond(address validator, uint256 amount) external;

    /// @notice Owner of the stake only: hands it to another owner, say a cold wallet.
    function setOwner(address validator, address owner) external;

    /// @notice Owner of the stake only: `amount` wei stop counting and can be withdrawn in 14 days. A later exit makes
    /// an earlier one wait with it.
    /// @param amount in wei; 2^256 - 1 is all there is, also when somebody just bonded more
    function exit(address validator, uint256 amount) external;

    /// @notice Owner of the stake only: takes out what has exited.
    /// @return amount in wei
    function withdraw(address validator) external returns (uint256 amount);

    /// @notice Takes a validator that has had nothing bonded for two periods off the list. Anybody may call.
    function remove(address validator) external;

    /// @notice Slashes whoever signed two roots for one size of one ledger.
    function reportDoubleHead(
        TreeHead calldata first,
        bytes calldata firstSignature,
        TreeHead calldata second,
        bytes calldata secondSignature
    ) external;

    /// @notice Slashes whoever signed two trees of one ledger that hold different leaves at `index`. (That two trees have
    /// no consistency proof cannot be shown; that they differ at a place can.)
    function reportFork(uint64 index, Branch calldata first, Branch calldata second) external;

    /// @notice Slashes whoever revealed another verdict than it had committed to.
    function reportBrokenCommit(
        VerdictCommit calldata commit,
        bytes calldata commitSignature,
        VerdictReveal calldata reveal,
        bytes calldata revealSignature
    ) external;

    /// @notice Slashes whoever attested a reward root that continues an active epoch and pays more than the emission, or
    /// lowers the total.
    function reportRewardRoot(ICuriosityRewards.Attestation calldata attestation, bytes calldata signature) external;

    /// @notice What `validator` has here.
    function validatorOf(address validator) external view returns (Validator memory);

    /// @notice Everybody on the list, in no order.
    function validators() external view returns (address[] memory);

    /// @notice The period that the block time lies in; the first is 1.
    function currentPeriod() external view returns (uint256);

    /// @notice Wei that count for `validator` in `period`: what was bonded when the period before began.
    function weight(address validator, uint256 period) external view returns (uint256);

    /// @notice Wei that count in `period` for all validators together.
    function totalWeight(uint256 period) external view returns (uint256);
}
