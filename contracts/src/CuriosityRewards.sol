// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Nonces} from "@openzeppelin/contracts/utils/Nonces.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {CuriosityToken} from "./CuriosityToken.sol";
import {ICuriosityRewards} from "./ICuriosityRewards.sol";
import {ValidatorSet} from "./ValidatorSet.sol";

/// @title Curiosity's rewards
/// @notice See {ICuriosityRewards}. No proxy and no upgrade path: what is deployed is what holds.
contract CuriosityRewards is ICuriosityRewards, Ownable2Step, EIP712, Nonces, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    /// @dev Everything that is fixed for ever, besides the first owner, guardian and validators.
    struct Settings {
        // Largest supply, and the part of it that `treasury` gets at once, in wei.
        uint256 cap;
        uint256 premint;
        address treasury;
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

    /// @dev An active epoch. What is unpaid of it is the token's balance of its pool.
    struct Epoch {
        bytes32 rewardRoot;
        uint128 cumulativeTotal;
        uint32 attempt;
    }

    /// @dev What every call needs, in one storage slot.
    struct State {
        uint48 activeEpoch;
        uint48 latestEpoch;
        // The last epoch that was active when the present validators came.
        uint48 setSince;
        uint32 setId;
        uint40 pausedUntil;
        uint32 attempt;
        uint8 threshold;
    }

    /// @dev What an account claimed in {WINDOW} epochs, in one storage slot.
    struct Window {
        // Bit n: the window's n-th epoch was paid.
        uint128 epochs;
        // Wei paid for them.
        uint128 paid;
    }

    bytes32 private constant ATTESTATION_TYPEHASH =
        keccak256(
            "Attestation(uint64 epoch,uint64 ledgerSize,bytes32 ledgerRoot,bytes32 rewardRoot,uint256 cumulativeTotal,bytes32 previousRoot,uint64 setId,uint32 attempt)"
        );
    bytes32 private constant CLAIM_TO_TYPEHASH =
        keccak256("ClaimTo(address account,address recipient,uint256 nonce,uint256 deadline)");

    uint256 private constant MAX_PAUSE = 7 days;
    uint256 private constant PAUSE_COOLDOWN = 30 days;
    // Longest activation delay and epoch interval: with more, nothing would ever be paid.
    uint256 private constant MAX_WAIT = 365 days;
    // Length of a key's signature; a longer one is a contract wallet's.
    uint256 private constant KEY_SIGNATURE = 65;
    uint256 private constant WINDOW = 128;
    // A week's delay with an epoch a day and a week's pause keeps 15 waiting. The active epoch keeps its place beside
    // those that wait. Slots are used again, which makes posting cheaper by two fresh ones.
    uint256 private constant RING = 32;

    CuriosityToken private immutable _token;
    uint256 private immutable _activationDelay;
    uint256 private immutable _minEpochInterval;
    uint256 private immutable _decayNumerator;
    uint256 private immutable _decayDenominator;
    // All that the cap leaves after the premint, in wei: what all epochs together can pay.
    uint256 private immutable _emittable;

    State private _state;
    mapping(uint256 epoch => Epoch) private _epochs;
    mapping(address account => mapping(uint256 window => Window)) private _windows;
    Posted[RING] private _ring;
    // Account whose code is the list of validators.
    address private _members;
    address private _guardian;
    uint48 private _pauseAllowedAt;

    modifier onlyGuardian() {
        if (msg.sender != _guardian) revert RewardsUnauthorized(msg.sender, _guardian);
        _;
    }

    modifier whenNotPaused() {
        if (block.timestamp < _state.pausedUntil) revert RewardsPaused(_state.pausedUntil);
        _;
    }

    constructor(Settings memory settings) Ownable(settings.owner) EIP712("CuriosityRewards", "1") {
        if (settings.decayNumerator == 0) revert RewardsInvalidParameter("decayNumerator");
        if (settings.decayNumerator > settings.decayDenominator) revert RewardsInvalidParameter("decayDenominator");
        if (settings.cap > type(uint96).max) revert RewardsInvalidParameter("cap");
        if (settings.activationDelay > MAX_WAIT) revert RewardsInvalidParameter("activationDelay");
        if (settings.minEpochInterval > MAX_WAIT) revert RewardsInvalidParameter("minEpochInterval");
        _token = new CuriosityToken(settings.cap, settings.treasury, settings.premint);
        _activationDelay = settings.activationDelay;
        _minEpochInterval = settings.minEpochInterval;
        _decayNumerator = settings.decayNumerator;
        _decayDenominator = settings.decayDenominator;
        _emittable = settings.cap - settings.premint;
        // Epoch 1 begins now.
        _ring[0].postedAt = uint64(block.timestamp);
        _setGuardian(settings.guardian);
        _setValidators(settings.validators, settings.threshold);
    }

    /// @inheritdoc ICuriosityRewards
    function postRoot(Attestation calldata attestation, bytes[] calldata signatures) external {
        State memory state = _state;
        _checkContinues(attestation, state);
        bytes32 digest = hashAttestation(attestation);
        _checkQuorum(digest, signatures, state);

        _state.latestEpoch = uint48(attestation.epoch);
        _ring[attestation.epoch % RING] = Posted({
            rewardRoot: attestation.rewardRoot,
            // At most the cap, which fits in 96 bits.
            cumulativeTotal: uint128(attestation.cumulativeTotal),
            ledgerSize: attestation.ledgerSize,
            postedAt: uint64(block.timestamp)
        });
        emit RootPosted(
            attestation.epoch,
            attestation.rewardRoot,
            digest,
            attestation.ledgerSize,
            attestation.ledgerRoot,
            attestation.cumulativeTotal,
            block.timestamp + _activationDelay
        );
    }

    /// @inheritdoc ICuriosityRewards
    function veto(uint64 epoch) external onlyGuardian {
        State memory state = _state;
        if (epoch <= state.activeEpoch || epoch > state.latestEpoch) {
            revert RewardsNotPending(epoch, state.activeEpoch, state.latestEpoch);
        }
        _discardFrom(epoch);
    }

    /// @inheritdoc ICuriosityRewards
    function activate() external nonReentrant whenNotPaused returns (uint64 epoch) {
        State memory state = _state;
        if (state.activeEpoch == state.latestEpoch) revert RewardsNothingToActivate(state.activeEpoch);
        epoch = state.activeEpoch + 1;
        Posted storage record = _ring[epoch % RING];
        uint256 activatableAt = record.postedAt + _activationDelay;
        if (block.timestamp < activatableAt) revert RewardsNotActivatable(block.timestamp, activatableAt);
        uint256 minted = record.cumulativeTotal - _ring[state.activeEpoch % RING].cumulativeTotal;
        _state.activeEpoch = uint48(epoch);
        _epochs[epoch] = Epoch(record.rewardRoot, record.cumulativeTotal, state.attempt);
        emit RootActivated(epoch, record.rewardRoot, minted);
        _token.mint(epoch, minted);
    }

    /// @inheritdoc ICuriosityRewards
    function claim(
        address account,
        uint64 epoch,
        uint256 amount,
        bytes32[] calldata proof
    ) external nonReentrant whenNotPaused returns (uint256 paid) {
        paid = _pay(account, account, epoch, amount, proof);
        _tell(account, account, paid);
    }

    /// @inheritdoc ICuriosityRewards
    function claimMany(Claim[] calldata claims) external nonReentrant whenNotPaused returns (uint256 paid) {
        address account = address(0);
        uint256 due = 0;
        for (uint256 i = 0; i < claims.length; ++i) {
            Claim calldata one = claims[i];
            if (one.account != account) {
                _tell(account, account, due);
                account = one.account;
                due = 0;
            }
            uint256 amount = _pay(account, account, one.epoch, one.amount, one.proof);
            due += amount;
            paid += amount;
        }
        _tell(account, account, due);
    }

    /// @inheritdoc ICuriosityRewards
    function claimTo(
        address account,
        Share[] calldata shares,
        address recipient,
        uint256 deadline,
        bytes calldata signature
    ) external nonReentrant whenNotPaused returns (uint256 paid) {
        if (block.timestamp > deadline) revert RewardsExpired(deadline, block.timestamp);
        // Nothing could ever take them out again.
        if (recipient == address(this)) revert RewardsInvalidRecipient(recipient);
        // The nonce is spent before the wallet contract is asked, so that it cannot come back in with the same one.
        bytes32 structHash = keccak256(
            abi.encode(CLAIM_TO_TYPEHASH, account, recipient, _useNonce(account), deadline)
        );
        if (!SignatureChecker.isValidSignatureNowCalldata(account, _hashTypedDataV4(structHash), signature)) {
            revert RewardsInvalidSignature(account);
        }
        for (uint256 i = 0; i < shares.length; ++i) {
            paid += _pay(account, recipient, shares[i].epoch, shares[i].amount, shares[i].proof);
        }
        // Whoever copies a permission must not use it up for nothing.
        if (paid == 0) revert RewardsNothingToPay(account);
        _tell(account, recipient, paid);
    }

    /// @inheritdoc ICuriosityRewards
    function setValidators(address[] calldata validators_, uint256 threshold) external onlyOwner {
        State memory state = _state;
        if (state.latestEpoch > state.activeEpoch) _discardFrom(state.activeEpoch + 1);
        _state.setSince = state.activeEpoch;
        _setValidators(validators_, threshold);
    }

    /// @inheritdoc ICuriosityRewards
    function setGuardian(address guardian_) external onlyOwner {
        _setGuardian(guardian_);
    }

    /// @inheritdoc ICuriosityRewards
    function pause(uint256 duration) external onlyGuardian {
        if (duration == 0 || duration > MAX_PAUSE) revert RewardsInvalidPause(duration, MAX_PAUSE);
        if (block.timestamp < _pauseAllowedAt) revert RewardsPauseCooldown(_pauseAllowedAt);
        uint256 until = block.timestamp + duration;
        _state.pausedUntil = uint40(until);
        _pauseAllowedAt = uint48(block.timestamp + PAUSE_COOLDOWN);
        emit Paused(until);
    }

    /// @inheritdoc ICuriosityRewards
    function rescue(address token_, address to, uint256 amount) external onlyOwner nonReentrant {
        if (token_ == address(_token)) revert RewardsCannotRescue(token_);
        emit Rescued(token_, to, amount);
        IERC20(token_).safeTransfer(to, amount);
    }

    /// @inheritdoc ICuriosityRewards
    function emission(uint64 epoch) external view returns (uint256) {
        if (epoch == 0) return 0;
        State memory state = _state;
        uint64 last = epoch - 1;
        if (last < state.activeEpoch) return _emissionAfter(_epochs[last].cumulativeTotal);
        if (last > state.latestEpoch) last = state.latestEpoch;
        return _emissionAfter(_ring[last % RING].cumulativeTotal);
    }

    /// @inheritdoc ICuriosityRewards
    function claimed(address account) external view returns (uint256 paid) {
        uint256 last = _state.activeEpoch / WINDOW;
        for (uint256 window = 0; window <= last; ++window) {
            paid += _windows[account][window].paid;
        }
    }

    /// @inheritdoc ICuriosityRewards
    function isClaimed(address account, uint64 epoch) external view returns (bool) {
        return _windows[account][epoch / WINDOW].epochs & _bit(epoch) != 0;
    }

    /// @inheritdoc ICuriosityRewards
    function pool(uint64 epoch) external view returns (Pool memory) {
        Epoch memory record = _epochs[epoch];
        uint256 unpaid = _token.balanceOf(_token.poolOf(epoch));
        return Pool(record.rewardRoot, unpaid, record.cumulativeTotal, record.attempt);
    }

    /// @inheritdoc ICuriosityRewards
    function posted(uint64 epoch) external view returns (Posted memory) {
        State memory state = _state;
        // A vetoed record stays in storage until it is overwritten; it does not exist for anybody.
        if (epoch > state.latestEpoch || epoch + RING <= state.latestEpoch) {
            revert RewardsNoSuchEpoch(epoch, state.activeEpoch, state.latestEpoch);
        }
        return _ring[epoch % RING];
    }

    /// @inheritdoc ICuriosityRewards
    function status() external view returns (Status memory) {
        State memory state = _state;
        bool isWaiting = state.latestEpoch > state.activeEpoch;
        return
            Status({
                activeEpoch: state.activeEpoch,
                latestEpoch: state.latestEpoch,
                setId: state.setId,
                attempt: state.attempt,
                threshold: state.threshold,
                pausedUntil: state.pausedUntil,
                activatableAt: isWaiting ? _ring[(state.activeEpoch + 1) % RING].postedAt + _activationDelay : 0,
                active: _ring[state.activeEpoch % RING],
                latest: _ring[state.latestEpoch % RING]
            });
    }

    /// @inheritdoc ICuriosityRewards
    function validators() external view returns (address[] memory) {
        return ValidatorSet.read(_members);
    }

    /// @inheritdoc ICuriosityRewards
    function guardian() external view returns (address) {
        return _guardian;
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

    /// @inheritdoc ICuriosityRewards
    function hashAttestation(Attestation calldata attestation) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(ATTESTATION_TYPEHASH, attestation)));
    }

    /// @dev Pays one leaf from its epoch's pool, once.
    function _pay(
        address account,
        address recipient,
        uint64 epoch,
        uint256 amount,
        bytes32[] calldata proof
    ) private returns (uint256) {
        Window storage stored = _windows[account][epoch / WINDOW];
        Window memory window = stored;
        uint128 bit = _bit(epoch);
        if (window.epochs & bit != 0) return 0;
        bytes32 rewardRoot = _epochs[epoch].rewardRoot;
        // Hashed twice, so that no inner node (64 bytes, hashed once) can pass for a leaf. No proof leads to zero.
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(account, amount))));
        if (!MerkleProof.verifyCalldata(proof, rewardRoot, leaf)) {
            revert RewardsInvalidProof(account, epoch, amount, rewardRoot);
        }
        // The sum of all that was ever paid is at most the cap; an amount past the pool is refused by the token.
        unchecked {
            (stored.epochs, stored.paid) = (window.epochs | bit, window.paid + uint128(amount));
        }
        // An epoch pays from its own pool, however much a lying quorum wrote into its leaves.
        _token.pay(epoch, recipient, amount);
        return amount;
    }

    function _tell(address account, address recipient, uint256 amount) private {
        if (amount != 0) emit Claimed(account, recipient, amount);
    }

    /// @dev Refuses an attestation that does not continue the last posted epoch by the rules.
    function _checkContinues(Attestation calldata attestation, State memory state) private view {
        Posted storage last = _ring[state.latestEpoch % RING];
        uint64 nextEpoch = state.latestEpoch + 1;
        if (attestation.epoch != nextEpoch) revert RewardsWrongEpoch(attestation.epoch, nextEpoch);
        if (attestation.setId != state.setId) revert RewardsWrongSet(attestation.setId, state.setId);
        if (attestation.attempt != state.attempt) revert RewardsWrongAttempt(attestation.attempt, state.attempt);
        if (attestation.previousRoot != last.rewardRoot) {
            revert RewardsWrongPreviousRoot(attestation.previousRoot, last.rewardRoot);
        }
        // Only within a set: or else one size that no ledger ever reaches would end all posting.
        if (attestation.ledgerSize < last.ledgerSize && state.latestEpoch != state.setSince) {
            revert RewardsLedgerShrank(attestation.ledgerSize, last.ledgerSize);
        }
        if (attestation.cumulativeTotal < last.cumulativeTotal) {
            revert RewardsTotalDecreased(attestation.cumulativeTotal, last.cumulativeTotal);
        }
        uint256 waiting = state.latestEpoch - state.activeEpoch;
        if (waiting + 1 == RING) revert RewardsTooManyWaiting(waiting);
        uint256 allowed = _emissionAfter(last.cumulativeTotal);
        uint256 requested = attestation.cumulativeTotal - last.cumulativeTotal;
        if (requested > allowed) revert RewardsEmissionExceeded(requested, allowed);
        uint256 allowedAt = last.postedAt + _minEpochInterval;
        if (block.timestamp < allowedAt) revert RewardsEpochTooSoon(block.timestamp, allowedAt);
    }

    function _checkQuorum(bytes32 digest, bytes[] calldata signatures, State memory state) private view {
        if (signatures.length < state.threshold) {
            revert RewardsNotEnoughSignatures(signatures.length, state.threshold);
        }
        address[] memory members = ValidatorSet.read(_members);
        address previous = address(0);
        uint256 place = 0;
        for (uint256 i = 0; i < signatures.length; ++i) {
            address signer = _signerOf(digest, signatures[i]);
            if (signer <= previous) revert RewardsSignersNotSorted(previous, signer);
            // Both lists increase: one pass finds every signer or the first stranger.
            while (place < members.length && members[place] < signer) ++place;
            if (place == members.length || members[place] != signer) revert RewardsNotValidator(signer, state.setId);
            previous = signer;
        }
    }

    function _signerOf(bytes32 digest, bytes calldata signature) private view returns (address signer) {
        if (signature.length <= KEY_SIGNATURE) return ECDSA.recoverCalldata(digest, signature);
        signer = address(bytes20(signature[:20]));
        if (!SignatureChecker.isValidERC1271SignatureNowCalldata(signer, digest, signature[20:])) {
            revert RewardsInvalidSignature(signer);
        }
    }

    function _discardFrom(uint64 epoch) private {
        uint64 lastEpoch = _state.latestEpoch;
        uint32 newAttempt = ++_state.attempt;
        _state.latestEpoch = uint48(epoch - 1);
        emit RootsDiscarded(epoch, lastEpoch, newAttempt, msg.sender);
    }

    function _setGuardian(address guardian_) private {
        if (guardian_ == address(0)) revert RewardsInvalidParameter("guardian");
        _guardian = guardian_;
        emit GuardianSet(guardian_);
    }

    function _setValidators(address[] memory validators_, uint256 threshold) private {
        _members = ValidatorSet.write(validators_, threshold);
        uint32 newSetId = ++_state.setId;
        // At most the count of members, 128.
        _state.threshold = uint8(threshold);
        emit ValidatorsSet(newSetId, validators_, threshold);
    }

    /// @dev What the next epoch may pay once all before it have paid `total`: a share of what is left. What an epoch does
    /// not pay stays there. A total is at most what can be emitted, which has 96 bits; the numerator has 64.
    function _emissionAfter(uint256 total) private view returns (uint256) {
        unchecked {
            return ((_emittable - total) * _decayNumerator) / _decayDenominator;
        }
    }

    function _bit(uint64 epoch) private pure returns (uint128) {
        return uint128(1) << uint128(epoch % WINDOW);
    }
}
