// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {CuriosityToken} from "./CuriosityToken.sol";
import {ICuriosityRewards} from "./ICuriosityRewards.sol";

/// @title Curiosity's rewards
/// @notice See {ICuriosityRewards}. No proxy and no upgrade path: what is deployed is what holds.
contract CuriosityRewards is ICuriosityRewards, Ownable2Step, EIP712, Nonces, ReentrancyGuard {
    using SafeERC20 for IERC20;
    using SafeCast for uint256;

    /// @dev Everything that is fixed for ever, besides the first owner, guardian and validators.
    struct Settings {
        CuriosityToken token;
        address owner;
        address guardian;
        uint256 activationDelay;
        uint256 minEpochInterval;
        // Share of the remaining pool that one epoch emits.
        uint64 decayNumerator;
        uint64 decayDenominator;
        address[] validators;
        uint256 threshold;
    }

    bytes32 private constant ATTESTATION_TYPEHASH =
        keccak256(
            "Attestation(uint64 epoch,uint64 ledgerSize,bytes32 ledgerRoot,bytes32 rewardRoot,uint256 cumulativeTotal,bytes32 previousRoot,uint64 setId,uint32 attempt)"
        );
    bytes32 private constant CLAIM_TO_TYPEHASH =
        keccak256("ClaimTo(address account,address recipient,uint256 nonce,uint256 deadline)");

    uint256 private constant MAX_PAUSE = 7 days;
    uint256 private constant PAUSE_COOLDOWN = 30 days;
    // Keeps the gas of {setValidators} and {postRoot} under two million each.
    uint256 private constant MAX_VALIDATORS = 64;

    CuriosityToken private immutable _token;
    uint256 private immutable _activationDelay;
    uint256 private immutable _minEpochInterval;
    uint256 private immutable _decayNumerator;
    uint256 private immutable _decayDenominator;

    mapping(uint64 epoch => EpochRecord) private _records;
    mapping(address account => uint256) private _claimed;
    // A new set is a new key, so that removing a validator needs no loop over the old set.
    mapping(uint64 setId => mapping(address validator => bool)) private _isValidator;
    uint256 private _threshold;
    uint256 private _pausedUntil;
    uint256 private _pauseAllowedAt;
    address private _guardian;
    uint64 private _activeEpoch;
    uint64 private _latestEpoch;
    uint64 private _setId;
    uint32 private _attempt;

    modifier onlyGuardian() {
        if (msg.sender != _guardian) revert RewardsUnauthorized(msg.sender, _guardian);
        _;
    }

    modifier whenNotPaused() {
        if (block.timestamp < _pausedUntil) revert RewardsPaused(_pausedUntil);
        _;
    }

    constructor(Settings memory settings) Ownable(settings.owner) EIP712("CuriosityRewards", "1") {
        if (address(settings.token).code.length == 0) revert RewardsInvalidParameter("token");
        if (settings.decayNumerator == 0) revert RewardsInvalidParameter("decayNumerator");
        if (settings.decayNumerator > settings.decayDenominator) revert RewardsInvalidParameter("decayDenominator");
        _token = settings.token;
        _activationDelay = settings.activationDelay;
        _minEpochInterval = settings.minEpochInterval;
        _decayNumerator = settings.decayNumerator;
        _decayDenominator = settings.decayDenominator;
        // The genesis record: all that the cap leaves after the premint will be emitted, and epoch 1 begins now.
        _records[0].remaining = (settings.token.cap() - settings.token.totalSupply()).toUint128();
        _records[0].postedAt = uint64(block.timestamp);
        _setGuardian(settings.guardian);
        _setValidators(settings.validators, settings.threshold);
    }

    /// @inheritdoc ICuriosityRewards
    function postRoot(Attestation calldata attestation, bytes[] calldata signatures) external {
        EpochRecord storage last = _records[_latestEpoch];
        uint64 nextEpoch = _latestEpoch + 1;
        if (attestation.epoch != nextEpoch) revert RewardsWrongEpoch(attestation.epoch, nextEpoch);
        if (attestation.setId != _setId) revert RewardsWrongSet(attestation.setId, _setId);
        if (attestation.attempt != _attempt) revert RewardsWrongAttempt(attestation.attempt, _attempt);
        if (attestation.previousRoot != last.rewardRoot) {
            revert RewardsWrongPreviousRoot(attestation.previousRoot, last.rewardRoot);
        }
        if (attestation.ledgerSize < last.ledgerSize) {
            revert RewardsLedgerShrank(attestation.ledgerSize, last.ledgerSize);
        }
        if (attestation.cumulativeTotal < last.cumulativeTotal) {
            revert RewardsTotalDecreased(attestation.cumulativeTotal, last.cumulativeTotal);
        }
        uint256 allowed = _emissionOf(last.remaining);
        uint256 requested = attestation.cumulativeTotal - last.cumulativeTotal;
        if (requested > allowed) revert RewardsEmissionExceeded(requested, allowed);
        uint256 allowedAt = last.postedAt + _minEpochInterval;
        if (block.timestamp < allowedAt) revert RewardsEpochTooSoon(block.timestamp, allowedAt);
        _checkQuorum(attestation, signatures);

        _latestEpoch = nextEpoch;
        _records[nextEpoch] = EpochRecord({
            rewardRoot: attestation.rewardRoot,
            ledgerRoot: attestation.ledgerRoot,
            cumulativeTotal: attestation.cumulativeTotal.toUint128(),
            // What an epoch does not pay is never paid: the schedule runs by epoch number alone.
            remaining: (last.remaining - allowed).toUint128(),
            ledgerSize: attestation.ledgerSize,
            postedAt: uint64(block.timestamp),
            setId: attestation.setId,
            attempt: attestation.attempt
        });
        emit RootPosted(
            nextEpoch,
            attestation.rewardRoot,
            attestation.ledgerSize,
            attestation.ledgerRoot,
            attestation.cumulativeTotal,
            attestation.setId,
            attestation.attempt,
            block.timestamp + _activationDelay
        );
    }

    /// @inheritdoc ICuriosityRewards
    function veto(uint64 epoch) external onlyGuardian {
        if (epoch <= _activeEpoch || epoch > _latestEpoch) {
            revert RewardsNotPending(epoch, _activeEpoch, _latestEpoch);
        }
        _discardFrom(epoch);
    }

    /// @inheritdoc ICuriosityRewards
    function activate() external nonReentrant whenNotPaused returns (uint64 epoch) {
        if (_activeEpoch == _latestEpoch) revert RewardsNothingToActivate(_activeEpoch);
        epoch = _activeEpoch + 1;
        EpochRecord storage record = _records[epoch];
        uint256 activatableAt = record.postedAt + _activationDelay;
        if (block.timestamp < activatableAt) revert RewardsNotActivatable(block.timestamp, activatableAt);
        uint256 minted = record.cumulativeTotal - _records[_activeEpoch].cumulativeTotal;
        _activeEpoch = epoch;
        emit RootActivated(epoch, record.rewardRoot, minted);
        _token.mint(address(this), minted);
    }

    /// @inheritdoc ICuriosityRewards
    function claim(
        address account,
        uint256 cumulativeAmount,
        bytes32[] calldata proof
    ) external nonReentrant whenNotPaused returns (uint256) {
        return _claim(account, cumulativeAmount, proof, account);
    }

    /// @inheritdoc ICuriosityRewards
    function claimMany(Claim[] calldata claims) external nonReentrant whenNotPaused returns (uint256 total) {
        for (uint256 i = 0; i < claims.length; ++i) {
            Claim calldata one = claims[i];
            total += _claim(one.account, one.cumulativeAmount, one.proof, one.account);
        }
    }

    /// @inheritdoc ICuriosityRewards
    function claimTo(
        address account,
        uint256 cumulativeAmount,
        bytes32[] calldata proof,
        address recipient,
        uint256 deadline,
        bytes calldata signature
    ) external nonReentrant whenNotPaused returns (uint256) {
        if (block.timestamp > deadline) revert RewardsExpired(deadline, block.timestamp);
        // Tokens sent to this contract would mix with what it owes to others.
        if (recipient == address(this)) revert RewardsInvalidRecipient(recipient);
        // The nonce is spent before the wallet contract is asked, so that it cannot come back in with the same one.
        bytes32 structHash = keccak256(
            abi.encode(CLAIM_TO_TYPEHASH, account, recipient, _useNonce(account), deadline)
        );
        if (!SignatureChecker.isValidSignatureNowCalldata(account, _hashTypedDataV4(structHash), signature)) {
            revert RewardsInvalidSignature(account);
        }
        return _claim(account, cumulativeAmount, proof, recipient);
    }

    /// @inheritdoc ICuriosityRewards
    function setValidators(address[] calldata validators, uint256 threshold_) external onlyOwner {
        if (_latestEpoch > _activeEpoch) _discardFrom(_activeEpoch + 1);
        _setValidators(validators, threshold_);
    }

    /// @inheritdoc ICuriosityRewards
    function setGuardian(address guardian_) external onlyOwner {
        _setGuardian(guardian_);
    }

    /// @inheritdoc ICuriosityRewards
    function pause(uint256 duration) external onlyGuardian {
        if (duration == 0 || duration > MAX_PAUSE) revert RewardsInvalidPause(duration, MAX_PAUSE);
        if (block.timestamp < _pauseAllowedAt) revert RewardsPauseCooldown(_pauseAllowedAt);
        _pausedUntil = block.timestamp + duration;
        _pauseAllowedAt = block.timestamp + PAUSE_COOLDOWN;
        emit Paused(_pausedUntil);
    }

    /// @inheritdoc ICuriosityRewards
    function rescue(address token_, address to, uint256 amount) external onlyOwner nonReentrant {
        if (token_ == address(_token)) revert RewardsCannotRescue(token_);
        emit Rescued(token_, to, amount);
        IERC20(token_).safeTransfer(to, amount);
    }

    /// @inheritdoc ICuriosityRewards
    function emission(uint64 epoch) external view returns (uint256 amount) {
        uint256 remaining = _records[0].remaining;
        for (uint64 i = 0; i < epoch; ++i) {
            amount = _emissionOf(remaining);
            remaining -= amount;
        }
    }

    /// @inheritdoc ICuriosityRewards
    function claimed(address account) external view returns (uint256) {
        return _claimed[account];
    }

    /// @inheritdoc ICuriosityRewards
    function epochRecord(uint64 epoch) external view returns (EpochRecord memory) {
        // A vetoed record stays in storage until it is overwritten; it does not exist for anybody.
        if (epoch > _latestEpoch) revert RewardsWrongEpoch(epoch, _latestEpoch);
        return _records[epoch];
    }

    /// @inheritdoc ICuriosityRewards
    function activeEpoch() external view returns (uint64) {
        return _activeEpoch;
    }

    /// @inheritdoc ICuriosityRewards
    function latestEpoch() external view returns (uint64) {
        return _latestEpoch;
    }

    /// @inheritdoc ICuriosityRewards
    function attempt() external view returns (uint32) {
        return _attempt;
    }

    /// @inheritdoc ICuriosityRewards
    function setId() external view returns (uint64) {
        return _setId;
    }

    /// @inheritdoc ICuriosityRewards
    function threshold() external view returns (uint256) {
        return _threshold;
    }

    /// @inheritdoc ICuriosityRewards
    function isValidator(address account) external view returns (bool) {
        return _isValidator[_setId][account];
    }

    /// @inheritdoc ICuriosityRewards
    function guardian() external view returns (address) {
        return _guardian;
    }

    /// @inheritdoc ICuriosityRewards
    function pausedUntil() external view returns (uint256) {
        return _pausedUntil;
    }

    /// @inheritdoc ICuriosityRewards
    function token() external view returns (address) {
        return address(_token);
    }

    /// @inheritdoc ICuriosityRewards
    function activationDelay() external view returns (uint256) {
        return _activationDelay;
    }

    /// @inheritdoc ICuriosityRewards
    function minEpochInterval() external view returns (uint256) {
        return _minEpochInterval;
    }

    function _claim(
        address account,
        uint256 cumulativeAmount,
        bytes32[] calldata proof,
        address recipient
    ) private returns (uint256 amount) {
        bytes32 rewardRoot = _records[_activeEpoch].rewardRoot;
        // Hashed twice, so that no inner node (64 bytes, hashed once) can pass for a leaf.
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(account, cumulativeAmount))));
        if (!MerkleProof.verifyCalldata(proof, rewardRoot, leaf)) {
            revert RewardsInvalidProof(account, cumulativeAmount, rewardRoot);
        }
        uint256 already = _claimed[account];
        // A later root that lowers an account's total owes it nothing; it does not revert, so that {claimMany} goes on.
        if (cumulativeAmount <= already) return 0;
        amount = cumulativeAmount - already;
        _claimed[account] = cumulativeAmount;
        emit Claimed(account, recipient, amount, cumulativeAmount);
        IERC20(address(_token)).safeTransfer(recipient, amount);
    }

    function _checkQuorum(Attestation calldata attestation, bytes[] calldata signatures) private view {
        if (signatures.length < _threshold) revert RewardsNotEnoughSignatures(signatures.length, _threshold);
        bytes32 digest = _hashTypedDataV4(keccak256(abi.encode(ATTESTATION_TYPEHASH, attestation)));
        address previous = address(0);
        for (uint256 i = 0; i < signatures.length; ++i) {
            address signer = ECDSA.recoverCalldata(digest, signatures[i]);
            if (signer <= previous) revert RewardsSignersNotSorted(previous, signer);
            if (!_isValidator[_setId][signer]) revert RewardsNotValidator(signer, _setId);
            previous = signer;
        }
    }

    function _discardFrom(uint64 epoch) private {
        uint64 lastEpoch = _latestEpoch;
        _latestEpoch = epoch - 1;
        ++_attempt;
        emit RootsDiscarded(epoch, lastEpoch, _attempt, msg.sender);
    }

    function _setGuardian(address guardian_) private {
        if (guardian_ == address(0)) revert RewardsInvalidParameter("guardian");
        _guardian = guardian_;
        emit GuardianSet(guardian_);
    }

    function _setValidators(address[] memory validators, uint256 threshold_) private {
        uint256 count = validators.length;
        // More than half: two quorums always share a validator.
        if (count == 0 || count > MAX_VALIDATORS || threshold_ > count || threshold_ * 2 <= count) {
            revert RewardsInvalidValidators(count, threshold_);
        }
        uint64 newSetId = ++_setId;
        address previous = address(0);
        for (uint256 i = 0; i < count; ++i) {
            address validator = validators[i];
            if (validator <= previous) revert RewardsSignersNotSorted(previous, validator);
            _isValidator[newSetId][validator] = true;
            previous = validator;
        }
        _threshold = threshold_;
        emit ValidatorsSet(newSetId, validators, threshold_);
    }

    function _emissionOf(uint256 remaining) private view returns (uint256) {
        return (remaining * _decayNumerator) / _decayDenominator;
    }
}
