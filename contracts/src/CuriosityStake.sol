// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {Checkpoints} from "@openzeppelin/contracts/utils/structs/Checkpoints.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";
import {ICuriosityRewards} from "./ICuriosityRewards.sol";
import {ICuriosityStake} from "./ICuriosityStake.sol";
import {LedgerProof} from "./LedgerProof.sol";

/// @title Curiosity's stake
/// @notice See {ICuriosityStake}. No owner, no pause, no upgrade path: stake moves by its owner's wish or by evidence.
contract CuriosityStake is ICuriosityStake, EIP712, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;
    using Checkpoints for Checkpoints.Trace208;
    using EnumerableSet for EnumerableSet.AddressSet;

    bytes32 private constant TREE_HEAD_TYPEHASH = keccak256("TreeHead(bytes32 origin,uint64 size,bytes32 root)");
    bytes32 private constant COMMIT_TYPEHASH =
        keccak256("VerdictCommit(bytes32 pair,uint64 round,bytes32 commitment)");
    bytes32 private constant REVEAL_TYPEHASH =
        keccak256("VerdictReveal(bytes32 pair,uint64 round,bytes32 verdict,bytes32 salt)");

    bytes32 private constant DOUBLE_HEAD = "double head";
    bytes32 private constant FORK = "fork";
    bytes32 private constant BROKEN_COMMIT = "broken commit";
    bytes32 private constant REWARD_ROOT = "reward root";

    uint256 private constant EXIT_DELAY = 14 days;
    // A stake counts for two periods at most after its exit began; half of the delay is then left to show a fault.
    uint256 private constant MAX_PERIOD = EXIT_DELAY / 4;
    // Bounds whoever must read the whole list.
    uint256 private constant MAX_VALIDATORS = 128;
    // Per cent of the stake that a fault costs, and of that what the reporter gets.
    uint256 private constant ALL = 100;
    uint256 private constant COMMIT_PENALTY = 5;
    // A validator can always be the first to report itself, under another name: this much of a fault it keeps.
    uint256 private constant REPORTER_SHARE = 1;

    IERC20 private immutable _token;
    ICuriosityRewards private immutable _rewards;
    address private immutable _treasury;
    uint256 private immutable _minStake;
    uint256 private immutable _periodLength;
    uint256 private immutable _start;

    mapping(address validator => Validator) private _validators;
    mapping(address validator => Checkpoints.Trace208) private _weights;
    Checkpoints.Trace208 private _totalWeights;
    EnumerableSet.AddressSet private _list;
    mapping(bytes32 evidence => bool) private _isReported;

    modifier onlyOwnerOf(address validator) {
        address owner = _validators[validator].owner;
        if (msg.sender != owner) revert StakeUnauthorized(msg.sender, owner);
        _;
    }

    /// @param rewards whose token is bonded and whose epochs judge an attested reward root
    /// @param treasury gets what a fault costs, less the reporter's share
    /// @param minStake least wei that a validator bonds
    /// @param periodLength in seconds
    constructor(
        ICuriosityRewards rewards,
        address treasury,
        uint256 minStake,
        uint256 periodLength
    ) EIP712("CuriosityStake", "1") {
        if (treasury == address(0)) revert StakeInvalidParameter("treasury");
        if (minStake == 0) revert StakeInvalidParameter("minStake");
        if (periodLength == 0 || periodLength > MAX_PERIOD) revert StakeInvalidParameter("periodLength");
        _rewards = rewards;
        _token = IERC20(rewards.token());
        _treasury = treasury;
        _minStake = minStake;
        _periodLength = periodLength;
        _start = block.timestamp;
    }

    /// @inheritdoc ICuriosityStake
    function bond(address validator, uint256 amount) external nonReentrant {
        if (amount == 0) revert StakeNothing();
        Validator storage record = _validators[validator];
        if (record.isBanned) revert StakeBanned(validator);
        uint256 bonded = record.bonded + amount;
        if (bonded < _minStake) revert StakeTooSmall(bonded, _minStake);
        if (_list.add(validator)) {
            uint256 count = _list.length();
            if (count > MAX_VALIDATORS) revert StakeFull(count);
        }
        if (record.owner == address(0)) record.owner = validator;
        _setBonded(validator, bonded);
        emit Bonded(validator, msg.sender, amount);
        _token.safeTransferFrom(msg.sender, address(this), amount);
    }

    /// @inheritdoc ICuriosityStake
    function setOwner(address validator, address owner) external onlyOwnerOf(validator) {
        if (owner == address(0)) revert StakeInvalidParameter("owner");
        _validators[validator].owner = owner;
        emit OwnerSet(validator, owner);
    }

    /// @inheritdoc ICuriosityStake
    function exit(address validator, uint256 amount) external onlyOwnerOf(validator) {
        Validator storage record = _validators[validator];
        if (amount == type(uint256).max) amount = record.bonded;
        if (amount == 0) revert StakeNothing();
        if (amount > record.bonded) revert StakeExceeded(amount, record.bonded);
        uint256 left = record.bonded - amount;
        if (left != 0 && left < _minStake) revert StakeTooSmall(left, _minStake);
        uint256 exitsAt = block.timestamp + EXIT_DELAY;
        record.exiting += uint96(amount);
        record.exitsAt = uint48(exitsAt);
        _setBonded(validator, left);
        emit ExitStarted(validator, amount, exitsAt);
    }

    /// @inheritdoc ICuriosityStake
    function withdraw(address validator) external nonReentrant onlyOwnerOf(validator) returns (uint256 amount) {
        Validator storage record = _validators[validator];
        if (block.timestamp < record.exitsAt) revert StakeNotWithdrawable(block.timestamp, record.exitsAt);
        amount = record.exiting;
        record.exiting = 0;
        emit Withdrawn(validator, record.owner, amount);
        _token.safeTransfer(record.owner, amount);
    }

    /// @inheritdoc ICuriosityStake
    function remove(address validator) external {
        Validator storage record = _validators[validator];
        bool counts = record.bonded != 0 || block.timestamp < record.emptySince + 2 * _periodLength;
        if (counts || !_list.remove(validator)) revert StakeNotRemovable(validator);
        emit Removed(validator);
    }

    /// @inheritdoc ICuriosityStake
    function reportDoubleHead(
        TreeHead calldata first,
        bytes calldata firstSignature,
        TreeHead calldata second,
        bytes calldata secondSignature
    ) external nonReentrant {
        if (first.origin != second.origin) revert StakeNoFault("origins differ");
        if (first.size != second.size) revert StakeNoFault("sizes differ");
        if (first.root == second.root) revert StakeNoFault("roots are equal");
        address signer = _signerOfBoth(_hashHead(first), firstSignature, _hashHead(second), secondSignature);
        _slash(signer, DOUBLE_HEAD, ALL);
    }

    /// @inheritdoc ICuriosityStake
    function reportFork(uint64 index, Branch calldata first, Branch calldata second) external nonReentrant {
        if (first.head.origin != second.head.origin) revert StakeNoFault("origins differ");
        if (first.leafHash == second.leafHash) revert StakeNoFault("leaves are equal");
        if (!_isIncluded(index, first) || !_isIncluded(index, second)) revert StakeNoFault("a leaf is not included");
        address signer = _signerOfBoth(
            _hashHead(first.head),
            first.signature,
            _hashHead(second.head),
            second.signature
        );
        _slash(signer, FORK, ALL);
    }

    /// @inheritdoc ICuriosityStake
    function reportBrokenCommit(
        VerdictCommit calldata commit,
        bytes calldata commitSignature,
        VerdictReveal calldata reveal,
        bytes calldata revealSignature
    ) external nonReentrant {
        if (commit.pair != reveal.pair || commit.round != reveal.round) revert StakeNoFault("votes differ");
        address signer = _signerOfBoth(
            _hashTypedDataV4(keccak256(abi.encode(COMMIT_TYPEHASH, commit))),
            commitSignature,
            _hashTypedDataV4(keccak256(abi.encode(REVEAL_TYPEHASH, reveal))),
            revealSignature
        );
        if (keccak256(abi.encode(reveal.verdict, reveal.salt, signer)) == commit.commitment) {
            revert StakeNoFault("the commitment holds");
        }
        // A small penalty is paid once for each vote, however many pairs of signatures show it.
        bytes32 evidence = keccak256(abi.encode(signer, commit.pair, commit.round));
        if (_isReported[evidence]) revert StakeAlreadyReported(signer, BROKEN_COMMIT);
        _isReported[evidence] = true;
        _slash(signer, BROKEN_COMMIT, COMMIT_PENALTY);
    }

    /// @inheritdoc ICuriosityStake
    function reportRewardRoot(
        ICuriosityRewards.Attestation calldata attestation,
        bytes calldata signature
    ) external nonReentrant {
        if (attestation.epoch == 0 || attestation.epoch > _rewards.status().activeEpoch + 1) {
            revert StakeNoFault("the epoch before is not active");
        }
        ICuriosityRewards.Pool memory base = _rewards.pool(attestation.epoch - 1);
        // Only within one attempt is it sure that the signer knew this epoch, and no other, as the one before.
        if (attestation.previousRoot != base.rewardRoot || attestation.attempt != base.attempt) {
            revert StakeNoFault("it continues another epoch");
        }
        if (
            attestation.cumulativeTotal >= base.cumulativeTotal &&
            attestation.cumulativeTotal - base.cumulativeTotal <= _rewards.emission(attestation.epoch)
        ) revert StakeNoFault("the total is allowed");
        _slash(ECDSA.recoverCalldata(_rewards.hashAttestation(attestation), signature), REWARD_ROOT, ALL);
    }

    /// @inheritdoc ICuriosityStake
    function validatorOf(address validator) external view returns (Validator memory) {
        return _validators[validator];
    }

    /// @inheritdoc ICuriosityStake
    function validators() external view returns (address[] memory) {
        return _list.values();
    }

    /// @inheritdoc ICuriosityStake
    function currentPeriod() external view returns (uint256) {
        return (block.timestamp - _start) / _periodLength + 1;
    }

    /// @inheritdoc ICuriosityStake
    function weight(address validator, uint256 period) external view returns (uint256) {
        return _weights[validator].upperLookupRecent(_frozenAt(period));
    }

    /// @inheritdoc ICuriosityStake
    function totalWeight(uint256 period) external view returns (uint256) {
        return _totalWeights.upperLookupRecent(_frozenAt(period));
    }

    /// @dev Block time before which the weights of `period` were made; later changes do not count. Zero for the first,
    /// which nobody could be frozen for; the second is frozen with the second in which the contract was made.
    function _frozenAt(uint256 period) private view returns (uint48) {
        if (period < 2) return 0;
        uint256 begins = _start + (period - 2) * _periodLength;
        if (block.timestamp <= begins) revert StakeNotFrozen(period, begins);
        return uint48(begins);
    }

    function _setBonded(address validator, uint256 bonded) private {
        Validator storage record = _validators[validator];
        uint256 total = _totalWeights.latest() + bonded - record.bonded;
        record.bonded = bonded.toUint96();
        if (bonded == 0) record.emptySince = uint48(block.timestamp);
        _weights[validator].push(uint48(block.timestamp), uint208(bonded));
        _totalWeights.push(uint48(block.timestamp), uint208(total));
    }

    /// @dev Takes `percent` of all that the validator has here, also of what is on its way out.
    function _slash(address validator, bytes32 fault, uint256 percent) private {
        Validator storage record = _validators[validator];
        uint256 bonded = record.bonded;
        uint256 exiting = record.exiting;
        if (bonded + exiting == 0) revert StakeNothingToSlash(validator);
        uint256 lostBonded = (bonded * percent) / 100;
        uint256 lostExiting = (exiting * percent) / 100;
        uint256 lost = lostBonded + lostExiting;
        bool isOwnFault = msg.sender == validator || msg.sender == record.owner;
        uint256 reward = isOwnFault ? 0 : (lost * REPORTER_SHARE) / 100;
        record.exiting = uint96(exiting - lostExiting);
        if (percent == ALL) record.isBanned = true;
        if (lostBonded != 0) _setBonded(validator, bonded - lostBonded);
        emit Slashed(validator, fault, msg.sender, lost, reward);
        _token.safeTransfer(msg.sender, reward);
        _token.safeTransfer(_treasury, lost - reward);
    }

    function _signerOfBoth(
        bytes32 firstDigest,
        bytes calldata firstSignature,
        bytes32 secondDigest,
        bytes calldata secondSignature
    ) private pure returns (address signer) {
        signer = ECDSA.recoverCalldata(firstDigest, firstSignature);
        address other = ECDSA.recoverCalldata(secondDigest, secondSignature);
        if (signer != other) revert StakeSignersDiffer(signer, other);
    }

    function _isIncluded(uint64 index, Branch calldata branch) private pure returns (bool) {
        return LedgerProof.isIncluded(branch.head.root, branch.head.size, index, branch.leafHash, branch.proof);
    }

    function _hashHead(TreeHead calldata head) private view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(TREE_HEAD_TYPEHASH, head)));
    }
}
