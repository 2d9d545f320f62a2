// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {CuriosityRewards} from "../src/CuriosityRewards.sol";
import {CuriosityToken} from "../src/CuriosityToken.sol";
import {ICuriosityRewards} from "../src/ICuriosityRewards.sol";
import {ValidatorSet} from "../src/ValidatorSet.sol";
import {ContractWallet} from "./ContractWallet.sol";
import {ForeignToken} from "./ForeignToken.sol";
import {Network} from "./Network.sol";
import {RewardTree} from "./RewardTree.sol";

/// @notice Each rule of posting, waiting and who may do what, at its edge.
contract PostingTest is Network {
    address private constant ALICE = address(0xA11CE);

    // Beside the one under test, with the same validators.
    CuriosityRewards private _other;

    function setUp() external {
        deploy();
        _other = new CuriosityRewards(settings());
        VM.warp(nowTime() + INTERVAL);
    }

    function _post(ICuriosityRewards.Attestation memory attestation, bytes[] memory signatures, bytes memory why) private {
        VM.expectRevert(why);
        rewards.postRoot(attestation, signatures);
    }

    function _refuse(ICuriosityRewards.Attestation memory attestation, bytes memory why) private {
        _post(attestation, signaturesFor(attestation, THRESHOLD), why);
    }

    function test_APostedRootIsRemembered() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        VM.expectEmit();
        emit ICuriosityRewards.RootPosted(
            1,
            "root",
            rewards.hashAttestation(attestation),
            10,
            attestation.ledgerRoot,
            5,
            nowTime() + DELAY
        );
        rewards.postRoot(attestation, signaturesFor(attestation, THRESHOLD));
        ICuriosityRewards.Status memory status = rewards.status();
        equal(status.latestEpoch, 1, "latest");
        equal(status.activeEpoch, 0, "active");
        equal(status.activatableAt, nowTime() + DELAY, "activatable");
        equal(status.latest.rewardRoot, "root", "root");
        equal(status.latest.cumulativeTotal, 5, "total");
        equal(status.latest.ledgerSize, 10, "size");
        equal(status.latest.postedAt, nowTime(), "time");
        equal(status.active.rewardRoot, 0, "the start has no root");
        equal(rewards.posted(1).rewardRoot, "root", "record");
    }

    function test_EverySignerOfTheSetMaySign() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        rewards.postRoot(attestation, signaturesFor(attestation, 5));
    }

    function test_TooFewSignatures() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD - 1);
        _post(
            attestation,
            signatures,
            abi.encodeWithSelector(ICuriosityRewards.RewardsNotEnoughSignatures.selector, 2, 3)
        );
    }

    function test_ADuplicateSigner() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        signatures[1] = signatures[0];
        address signer = VM.addr(keys[0]);
        _post(attestation, signatures, abi.encodeWithSelector(ICuriosityRewards.RewardsSignersNotSorted.selector, signer, signer));
    }

    function test_SignersOutOfOrder() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        (signatures[0], signatures[1]) = (signatures[1], signatures[0]);
        _post(
            attestation,
            signatures,
            abi.encodeWithSelector(
                ICuriosityRewards.RewardsSignersNotSorted.selector,
                VM.addr(keys[1]),
                VM.addr(keys[0])
            )
        );
    }

    function test_AnOutsiderAnywhereInTheOrder(uint256 seed) external {
        uint256 outsider = within(seed, 1, type(uint128).max);
        address stranger = VM.addr(outsider);
        for (uint256 i = 0; i < keys.length; ++i) if (VM.addr(keys[i]) == stranger) return;
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes32 digest = rewards.hashAttestation(attestation);
        bytes[] memory signatures = new bytes[](6);
        uint256 count = 0;
        bool isIn = false;
        for (uint256 i = 0; i < 5; ++i) {
            if (!isIn && stranger < VM.addr(keys[i])) {
                signatures[count++] = signed(outsider, digest);
                isIn = true;
            }
            signatures[count++] = signed(keys[i], digest);
        }
        if (!isIn) signatures[count++] = signed(outsider, digest);
        _post(
            attestation,
            signatures,
            abi.encodeWithSelector(ICuriosityRewards.RewardsNotValidator.selector, stranger, uint64(1))
        );
    }

    /// @notice What a quorum signed counts for one chain, contract and place: no field can be changed afterwards.
    function test_NoFieldCanBeChanged(uint256 seed, bytes32 other) external {
        ICuriosityRewards.Attestation memory signedOne = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(signedOne, THRESHOLD);
        for (uint256 field = 0; field < 10; ++field) {
            ICuriosityRewards.Attestation memory changed = abi.decode(
                abi.encode(signedOne),
                (ICuriosityRewards.Attestation)
            );
            CuriosityRewards at = rewards;
            uint256 number = uint256(other);
            if (field == 0) changed.epoch ^= uint64(within(number, 1, type(uint64).max));
            if (field == 1) changed.ledgerSize ^= uint64(within(number, 1, type(uint64).max));
            if (field == 2) changed.ledgerRoot ^= bytes32(within(number, 1, type(uint128).max));
            if (field == 3) changed.rewardRoot ^= bytes32(within(number, 1, type(uint128).max));
            // Half of them within the emission, which the signatures alone refuse.
            if (field == 4) changed.cumulativeTotal ^= within(number, 1, seed % 2 == 0 ? 1 ether : type(uint128).max);
            if (field == 5) changed.previousRoot ^= bytes32(within(number, 1, type(uint128).max));
            if (field == 6) changed.setId ^= uint64(within(number, 1, type(uint64).max));
            if (field == 7) changed.attempt ^= uint32(within(number, 1, type(uint32).max));
            if (field == 8) VM.chainId(within(number, 1, 31336));
            if (field == 9) at = _other;
            try at.postRoot(changed, signatures) {
                revert NotTrue("a changed attestation was accepted");
            } catch {}
            VM.chainId(31337);
        }
        rewards.postRoot(signedOne, signatures);
    }

    function test_AnotherChain() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        VM.chainId(10);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        VM.chainId(31337);
        VM.expectRevert();
        rewards.postRoot(attestation, signatures);
        rewards.postRoot(attestation, signaturesFor(attestation, THRESHOLD));
    }

    function test_AnotherContract() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        CuriosityRewards other = new CuriosityRewards(settings());
        VM.warp(nowTime() + INTERVAL);
        VM.expectRevert();
        other.postRoot(attestation, signatures);
    }

    function test_MalleableAndShortSignatures() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(keys[1], rewards.hashAttestation(attestation));
        bytes32 high = bytes32(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - uint256(s));
        signatures[1] = abi.encodePacked(r, high, v == 27 ? uint8(28) : uint8(27));
        _post(attestation, signatures, abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureS.selector, high));
        signatures[1] = abi.encodePacked(r, s);
        _post(attestation, signatures, abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureLength.selector, 64));
        signatures[1] = "";
        _post(attestation, signatures, abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureLength.selector, 0));
    }

    function test_AContractWalletAttests() external {
        address wallet = address(new ContractWallet(VM.addr(77)));
        address[] memory members = new address[](3);
        members[0] = wallet;
        members[1] = VM.addr(keys[0]);
        members[2] = VM.addr(keys[1]);
        for (uint256 i = 0; i < 2 && members[i] > members[i + 1]; ++i) {
            (members[i], members[i + 1]) = (members[i + 1], members[i]);
        }
        VM.prank(OWNER);
        rewards.setValidators(members, 3);
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes32 digest = rewards.hashAttestation(attestation);
        bytes[] memory good = new bytes[](3);
        bytes[] memory bad = new bytes[](3);
        for (uint256 i = 0; i < 3; ++i) {
            if (members[i] == wallet) {
                good[i] = bytes.concat(bytes20(wallet), signed(77, digest));
                bad[i] = bytes.concat(bytes20(wallet), signed(78, digest));
            } else {
                good[i] = bad[i] = signed(members[i] == VM.addr(keys[0]) ? keys[0] : keys[1], digest);
            }
        }
        _post(attestation, bad, abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidSignature.selector, wallet));
        rewards.postRoot(attestation, good);
    }

    /// @notice The address in front of a long signature is not believed without its code's word.
    function test_NoAccountWithoutCodeAttestsAtLength() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        address forged = VM.addr(keys[2]);
        signatures[2] = bytes.concat(bytes20(forged), signed(5, "x"));
        _post(attestation, signatures, abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidSignature.selector, forged));
    }

    function test_ARemovedValidator() external {
        uint256 removed = keys[0];
        ICuriosityRewards.Attestation memory old = attestationFor("root", 5);
        bytes[] memory oldSignatures = signaturesFor(old, THRESHOLD);
        rewards.postRoot(old, oldSignatures);
        keys[0] = keys[4];
        keys.pop();
        for (uint256 i = 0; i + 1 < keys.length; ++i) {
            for (uint256 j = i + 1; j < keys.length; ++j) {
                if (VM.addr(keys[i]) > VM.addr(keys[j])) (keys[i], keys[j]) = (keys[j], keys[i]);
            }
        }
        VM.prank(OWNER);
        rewards.setValidators(addressesOf(keys), THRESHOLD);
        equal(rewards.status().latestEpoch, 0, "what the old set posted is gone");
        equal(rewards.status().attempt, 1, "the attempt rises");
        equal(rewards.status().setId, 2, "the set is new");
        _post(old, oldSignatures, abi.encodeWithSelector(ICuriosityRewards.RewardsWrongSet.selector, uint64(1), uint64(2)));
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes32 digest = rewards.hashAttestation(attestation);
        bytes[] memory signatures = new bytes[](4);
        signatures[0] = signed(removed, digest);
        for (uint256 i = 0; i < 3; ++i) signatures[i + 1] = signed(keys[i], digest);
        address gone = VM.addr(removed);
        if (gone < VM.addr(keys[0])) {
            _post(attestation, signatures, abi.encodeWithSelector(ICuriosityRewards.RewardsNotValidator.selector, gone, uint64(2)));
        }
        rewards.postRoot(attestation, signaturesFor(attestation, THRESHOLD));
    }

    function test_WhatMustFollow() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        attestation.epoch = 2;
        _refuse(attestation, abi.encodeWithSelector(ICuriosityRewards.RewardsWrongEpoch.selector, uint64(2), uint64(1)));
        attestation = attestationFor("root", 5);
        attestation.setId = 2;
        _refuse(attestation, abi.encodeWithSelector(ICuriosityRewards.RewardsWrongSet.selector, uint64(2), uint64(1)));
        attestation = attestationFor("root", 5);
        attestation.attempt = 1;
        _refuse(attestation, abi.encodeWithSelector(ICuriosityRewards.RewardsWrongAttempt.selector, uint32(1), uint32(0)));
        attestation = attestationFor("root", 5);
        attestation.previousRoot = "other";
        _refuse(
            attestation,
            abi.encodeWithSelector(ICuriosityRewards.RewardsWrongPreviousRoot.selector, bytes32("other"), bytes32(0))
        );
        post("root", 5);
        VM.warp(nowTime() + INTERVAL);
        attestation = attestationFor("next", 5);
        attestation.ledgerSize = 9;
        _refuse(attestation, abi.encodeWithSelector(ICuriosityRewards.RewardsLedgerShrank.selector, uint64(9), uint64(10)));
        attestation.ledgerSize = 10;
        attestation.cumulativeTotal = 4;
        _refuse(attestation, abi.encodeWithSelector(ICuriosityRewards.RewardsTotalDecreased.selector, 4, 5));
        attestation.cumulativeTotal = 5;
        rewards.postRoot(attestation, signaturesFor(attestation, THRESHOLD));
    }

    function test_TheEmissionToTheWei() external {
        uint256 allowed = rewards.emission(1);
        equal(allowed, ((CAP - PREMINT) * DECAY_NUMERATOR) / DECAY_DENOMINATOR, "the first emission");
        _refuse(
            attestationFor("root", allowed + 1),
            abi.encodeWithSelector(ICuriosityRewards.RewardsEmissionExceeded.selector, allowed + 1, allowed)
        );
        post("root", allowed);
        VM.warp(nowTime() + INTERVAL);
        uint256 next = rewards.emission(2);
        equal(next, ((CAP - PREMINT - allowed) * DECAY_NUMERATOR) / DECAY_DENOMINATOR, "of what remains");
        // It is the same whether the epoch before waits or is active.
        _refuse(
            attestationFor("next", next + 1),
            abi.encodeWithSelector(ICuriosityRewards.RewardsEmissionExceeded.selector, next + 1, next)
        );
        VM.warp(nowTime() + DELAY);
        rewards.activate();
        _refuse(
            attestationFor("next", next + 1),
            abi.encodeWithSelector(ICuriosityRewards.RewardsEmissionExceeded.selector, next + 1, next)
        );
        post("next", next);
        equal(rewards.emission(0), 0, "there is no epoch 0");
    }

    function test_TheInterval() external {
        post("root", 0);
        uint256 allowedAt = nowTime() + INTERVAL;
        VM.warp(allowedAt - 1);
        ICuriosityRewards.Attestation memory attestation = attestationFor("next", 0);
        _refuse(
            attestation,
            abi.encodeWithSelector(ICuriosityRewards.RewardsEpochTooSoon.selector, allowedAt - 1, allowedAt)
        );
        VM.warp(allowedAt);
        rewards.postRoot(attestation, signaturesFor(attestation, THRESHOLD));
    }

    function test_TheIntervalHoldsForTheFirstEpochToo() external {
        deploy();
        _refuse(
            attestationFor("root", 0),
            abi.encodeWithSelector(
                ICuriosityRewards.RewardsEpochTooSoon.selector,
                nowTime(),
                nowTime() + INTERVAL
            )
        );
    }

    function test_ThirtyOneMayWait() external {
        for (uint256 i = 1; i <= 31; ++i) {
            post(bytes32(i), i);
            VM.warp(nowTime() + INTERVAL);
        }
        _refuse(attestationFor("over", 0), abi.encodeWithSelector(ICuriosityRewards.RewardsTooManyWaiting.selector, 31));
        equal(rewards.posted(0).rewardRoot, 0, "the active one keeps its place");
        VM.warp(nowTime() + DELAY);
        for (uint256 i = 1; i <= 31; ++i) {
            equal(rewards.posted(uint64(i)).rewardRoot, bytes32(i), "all are remembered");
            equal(rewards.activate(), i, "in order");
            equal(token.balanceOf(token.poolOf(uint64(i))), i, "minted is the delta");
        }
        post("over", 0);
        VM.expectRevert(
            abi.encodeWithSelector(ICuriosityRewards.RewardsNoSuchEpoch.selector, uint64(0), uint64(31), uint64(32))
        );
        rewards.posted(0);
        VM.expectRevert(
            abi.encodeWithSelector(ICuriosityRewards.RewardsNoSuchEpoch.selector, uint64(33), uint64(31), uint64(32))
        );
        rewards.posted(33);
        equal(rewards.posted(1).rewardRoot, bytes32(uint256(1)), "the oldest of 32");
    }

    function test_ActivationWaitsAndMintsTheDelta() external {
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsNothingToActivate.selector, uint64(0)));
        rewards.activate();
        post("root", 50);
        VM.warp(nowTime() + INTERVAL);
        post("next", 7);
        uint256 at = rewards.status().activatableAt;
        VM.warp(at - 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsNotActivatable.selector, at - 1, at));
        rewards.activate();
        equal(token.totalSupply(), PREMINT, "nothing is minted before");
        VM.warp(at);
        VM.expectEmit();
        emit ICuriosityRewards.RootActivated(1, "root", 50);
        equal(rewards.activate(), 1, "the oldest");
        equal(token.totalSupply(), PREMINT + 50, "the delta");
        ICuriosityRewards.Pool memory pool = rewards.pool(1);
        equal(pool.rewardRoot, "root", "root");
        equal(pool.unpaid, 50, "unpaid");
        equal(pool.cumulativeTotal, 50, "total");
        equal(rewards.pool(2).rewardRoot, 0, "the second waits");
        VM.warp(at + INTERVAL);
        rewards.activate();
        equal(rewards.pool(2).unpaid, 7, "the delta, not the total");
        equal(rewards.pool(2).cumulativeTotal, 57, "the total");
        equal(rewards.status().activatableAt, 0, "none waits");
    }

    function test_AVetoDiscardsFromThereOn() external {
        post("one", 1);
        VM.warp(nowTime() + INTERVAL);
        ICuriosityRewards.Attestation memory second = attestationFor("two", 2);
        bytes[] memory signatures = signaturesFor(second, THRESHOLD);
        rewards.postRoot(second, signatures);
        VM.warp(nowTime() + INTERVAL);
        post("three", 3);
        VM.expectRevert(
            abi.encodeWithSelector(ICuriosityRewards.RewardsUnauthorized.selector, address(this), GUARDIAN)
        );
        rewards.veto(2);
        for (uint64 wrong = 0; wrong <= 4; wrong += 4) {
            VM.expectRevert(
                abi.encodeWithSelector(ICuriosityRewards.RewardsNotPending.selector, wrong, uint64(0), uint64(3))
            );
            VM.prank(GUARDIAN);
            rewards.veto(wrong);
        }
        VM.expectEmit();
        emit ICuriosityRewards.RootsDiscarded(2, 3, 1, GUARDIAN);
        VM.prank(GUARDIAN);
        rewards.veto(2);
        equal(rewards.status().latestEpoch, 1, "the first stays");
        equal(rewards.status().attempt, 1, "the attempt rises");
        _post(second, signatures, abi.encodeWithSelector(ICuriosityRewards.RewardsWrongAttempt.selector, uint32(0), uint32(1)));
        VM.expectRevert(
            abi.encodeWithSelector(ICuriosityRewards.RewardsNoSuchEpoch.selector, uint64(2), uint64(0), uint64(1))
        );
        rewards.posted(2);
        post("again", 4);
        equal(rewards.status().latest.cumulativeTotal, 5, "it continues the first");
        VM.warp(nowTime() + DELAY);
        rewards.activate();
        VM.expectRevert(
            abi.encodeWithSelector(ICuriosityRewards.RewardsNotPending.selector, uint64(1), uint64(1), uint64(2))
        );
        VM.prank(GUARDIAN);
        rewards.veto(1);
        VM.prank(GUARDIAN);
        rewards.veto(2);
    }

    function test_NewValidatorsDiscardOnlyWhatWaits() external {
        VM.prank(OWNER);
        rewards.setValidators(addressesOf(keys), THRESHOLD);
        equal(rewards.status().attempt, 0, "nothing waited, nothing is discarded");
        post("one", 1);
        VM.warp(nowTime() + DELAY);
        rewards.activate();
        post("two", 2);
        VM.expectEmit();
        emit ICuriosityRewards.RootsDiscarded(2, 2, 1, OWNER);
        VM.expectEmit();
        emit ICuriosityRewards.ValidatorsSet(3, addressesOf(keys), 4);
        VM.prank(OWNER);
        rewards.setValidators(addressesOf(keys), 4);
        equal(rewards.status().latestEpoch, 1, "the active one stays");
        equal(rewards.status().threshold, 4, "threshold");
        ICuriosityRewards.Attestation memory attestation = attestationFor("two", 2);
        _post(attestation, signaturesFor(attestation, 3), abi.encodeWithSelector(ICuriosityRewards.RewardsNotEnoughSignatures.selector, 3, 4));
    }

    function test_SetsThatCannotBe() external {
        address[] memory members = addressesOf(keys);
        address[] memory none = new address[](0);
        address[] memory many = new address[](129);
        for (uint256 i = 0; i < 129; ++i) many[i] = address(uint160(i + 1));
        _refuseSet(none, 0, abi.encodeWithSelector(ValidatorSet.ValidatorSetInvalid.selector, 0, 0));
        _refuseSet(members, 2, abi.encodeWithSelector(ValidatorSet.ValidatorSetInvalid.selector, 5, 2));
        _refuseSet(members, 6, abi.encodeWithSelector(ValidatorSet.ValidatorSetInvalid.selector, 5, 6));
        _refuseSet(many, 65, abi.encodeWithSelector(ValidatorSet.ValidatorSetInvalid.selector, 129, 65));
        address[] memory four = new address[](4);
        (four[0], four[1], four[2], four[3]) = (members[0], members[1], members[2], members[3]);
        _refuseSet(four, 2, abi.encodeWithSelector(ValidatorSet.ValidatorSetInvalid.selector, 4, 2));
        four[1] = four[0];
        _refuseSet(four, 3, abi.encodeWithSelector(ValidatorSet.ValidatorSetNotSorted.selector, four[0], four[0]));
        four[0] = address(0);
        _refuseSet(four, 3, abi.encodeWithSelector(ValidatorSet.ValidatorSetNotSorted.selector, address(0), address(0)));
        assembly ("memory-safe") {
            mstore(many, 128)
        }
        VM.prank(OWNER);
        rewards.setValidators(many, 65);
        address[] memory stored = rewards.validators();
        equal(stored.length, 128, "all");
        for (uint256 i = 0; i < 128; ++i) isTrue(stored[i] == many[i], "in order");
    }

    function _refuseSet(address[] memory members, uint256 threshold, bytes memory why) private {
        VM.expectRevert(why);
        VM.prank(OWNER);
        rewards.setValidators(members, threshold);
    }

    function test_NobodyCanRunTheList() external {
        // The list's account is the first that the rewards contract made after the token.
        address list = address(uint160(uint256(keccak256(abi.encodePacked(hex"d694", address(rewards), hex"02")))));
        address[] memory stored = abi.decode(list.code, (address[]));
        equal(stored.length, 5, "it is the list");
        (bool isDone, bytes memory answer) = list.call(abi.encode(1, 2, 3));
        isTrue(isDone && answer.length == 0, "it stops at once");
    }

    function test_AllThatOnlyTheOwnerMay() external {
        bytes memory why = abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this));
        address[] memory members = addressesOf(keys);
        VM.expectRevert(why);
        rewards.setValidators(members, THRESHOLD);
        VM.expectRevert(why);
        rewards.setGuardian(ALICE);
        VM.expectRevert(why);
        rewards.rescue(ALICE, ALICE, 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidParameter.selector, "guardian"));
        VM.prank(OWNER);
        rewards.setGuardian(address(0));
        VM.expectEmit();
        emit ICuriosityRewards.GuardianSet(ALICE);
        VM.prank(OWNER);
        rewards.setGuardian(ALICE);
        isTrue(rewards.guardian() == ALICE, "the new guardian");
    }

    function test_APauseEndsAndRests() external {
        post("root", 1);
        VM.warp(nowTime() + DELAY);
        VM.expectRevert(
            abi.encodeWithSelector(ICuriosityRewards.RewardsUnauthorized.selector, address(this), GUARDIAN)
        );
        rewards.pause(1);
        for (uint256 i = 0; i < 2; ++i) {
            uint256 wrong = i == 0 ? 0 : 7 days + 1;
            VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidPause.selector, wrong, 7 days));
            VM.prank(GUARDIAN);
            rewards.pause(wrong);
        }
        uint256 until = nowTime() + 7 days;
        uint256 again = nowTime() + 30 days;
        VM.expectEmit();
        emit ICuriosityRewards.Paused(until);
        VM.prank(GUARDIAN);
        rewards.pause(7 days);
        equal(rewards.status().pausedUntil, until, "until");
        VM.warp(until - 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsPaused.selector, until));
        rewards.activate();
        VM.warp(until);
        rewards.activate();
        VM.warp(again - 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsPauseCooldown.selector, again));
        VM.prank(GUARDIAN);
        rewards.pause(1);
        VM.warp(again);
        VM.prank(GUARDIAN);
        rewards.pause(1);
    }

    function test_ForeignTokensAreSentBackAndOursNever() external {
        ForeignToken foreign = new ForeignToken(address(rewards));
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsCannotRescue.selector, address(token)));
        VM.prank(OWNER);
        rewards.rescue(address(token), ALICE, 0);
        VM.expectEmit();
        emit ICuriosityRewards.Rescued(address(foreign), ALICE, 600);
        VM.prank(OWNER);
        rewards.rescue(address(foreign), ALICE, 600);
        equal(foreign.balanceOf(ALICE), 600, "sent back");
    }

    function test_SettingsThatCannotWork() external {
        CuriosityRewards.Settings memory wrong = settings();
        wrong.decayNumerator = 0;
        _refuseSettings(wrong, "decayNumerator");
        wrong = settings();
        wrong.decayNumerator = wrong.decayDenominator + 1;
        _refuseSettings(wrong, "decayDenominator");
        wrong.decayNumerator = wrong.decayDenominator;
        new CuriosityRewards(wrong);
        wrong = settings();
        wrong.cap = uint256(type(uint96).max) + 1;
        _refuseSettings(wrong, "cap");
        wrong.cap = type(uint96).max;
        new CuriosityRewards(wrong);
        wrong = settings();
        wrong.guardian = address(0);
        _refuseSettings(wrong, "guardian");
        wrong = settings();
        wrong.premint = wrong.cap + 1;
        VM.expectRevert();
        new CuriosityRewards(wrong);
    }

    function _refuseSettings(CuriosityRewards.Settings memory wrong, string memory name) private {
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidParameter.selector, name));
        new CuriosityRewards(wrong);
    }

    function test_WhatWasSetAtBirth() external view {
        equal(rewards.activationDelay(), DELAY, "delay");
        equal(rewards.minEpochInterval(), INTERVAL, "interval");
        equal(rewards.status().setId, 1, "set");
        equal(rewards.status().threshold, THRESHOLD, "threshold");
        isTrue(rewards.owner() == OWNER && rewards.guardian() == GUARDIAN, "who");
        isTrue(token.minter() == address(rewards), "the minter");
        equal(token.balanceOf(TREASURY), PREMINT, "premint");
        equal(token.cap(), CAP, "cap");
    }

    /// @notice Ten years of days emit nine tenths of what there is to emit, and never more.
    function test_NineTenthsInTenYears() external view {
        uint256 remaining = CAP - PREMINT;
        for (uint256 i = 0; i < 3_653; ++i) remaining -= (remaining * DECAY_NUMERATOR) / DECAY_DENOMINATOR;
        uint256 emitted = CAP - PREMINT - remaining;
        isTrue(emitted * 1_000 >= (CAP - PREMINT) * 899 && emitted * 1_000 <= (CAP - PREMINT) * 901, "90 %");
        equal(rewards.emission(3_654), (remaining * DECAY_NUMERATOR) / DECAY_DENOMINATOR, "the contract agrees");
    }
}

/// @notice Each rule of claiming, at its edge.
contract ClaimingTest is Network {
    uint256 private constant ALICE_KEY = 0xA11CE;
    address private constant BOB = address(0xB0B);
    address private constant COLD = address(0xC01D);
    address private _alice;

    function setUp() external {
        deploy();
        _alice = VM.addr(ALICE_KEY);
    }

    function test_ALeafIsPaidOnce() external {
        Leaf[] memory leaves = two(Leaf(_alice, 30), Leaf(BOB, 12));
        uint64 epoch = close(leaves, 42);
        isTrue(!rewards.isClaimed(_alice, epoch), "not yet");
        VM.expectEmit();
        emit ICuriosityRewards.Claimed(_alice, _alice, 30);
        equal(rewards.claim(_alice, epoch, 30, proofOf(leaves, 0)), 30, "paid");
        equal(token.balanceOf(_alice), 30, "received");
        equal(rewards.pool(epoch).unpaid, 12, "the pool");
        isTrue(rewards.isClaimed(_alice, epoch) && !rewards.isClaimed(BOB, epoch), "whose");
        equal(rewards.claim(_alice, epoch, 30, proofOf(leaves, 0)), 0, "again");
        equal(rewards.claimed(_alice), 30, "claimed");
        equal(rewards.claim(BOB, epoch, 12, proofOf(leaves, 1)), 12, "the other");
    }

    function test_ALeafOfNothingPaysNothing() external {
        Leaf[] memory leaves = two(Leaf(_alice, 0), Leaf(BOB, 12));
        uint64 epoch = close(leaves, 12);
        equal(rewards.claim(_alice, epoch, 0, proofOf(leaves, 0)), 0, "nothing");
        equal(rewards.claim(BOB, epoch, 12, proofOf(leaves, 1)), 12, "the other");
    }

    function test_OnlyTheLeafItself(uint256 seed, uint96 amount, address account) external {
        Leaf[] memory leaves = two(Leaf(_alice, 30), Leaf(BOB, 12));
        uint64 epoch = close(leaves, 42);
        if (account == _alice && amount == 30) return;
        bytes32[] memory proof = proofOf(leaves, seed % 2);
        VM.expectPartialRevert(ICuriosityRewards.RewardsInvalidProof.selector);
        rewards.claim(account, epoch, amount, proof);
        proof = proofOf(leaves, 0);
        proof[0] ^= bytes32(uint256(1) << (seed >> 8) % 256);
        VM.expectPartialRevert(ICuriosityRewards.RewardsInvalidProof.selector);
        rewards.claim(_alice, epoch, 30, proof);
    }

    function test_AnInnerNodeIsNoLeaf() external {
        Leaf[] memory leaves = two(Leaf(_alice, 30), Leaf(BOB, 12));
        uint64 epoch = close(leaves, 42);
        bytes32[] memory hashes = hashesOf(leaves);
        (bytes32 low, bytes32 high) = hashes[0] < hashes[1] ? (hashes[0], hashes[1]) : (hashes[1], hashes[0]);
        bytes32 root = keccak256(abi.encode(low, high));
        equal(root, rewards.pool(epoch).rewardRoot, "the root is over the two");
        VM.expectPartialRevert(ICuriosityRewards.RewardsInvalidProof.selector);
        rewards.claim(address(uint160(uint256(low))), epoch, uint256(high), new bytes32[](0));
    }

    function test_NoEpochButActiveOnes() external {
        Leaf[] memory leaves = one(_alice, 30);
        VM.warp(nowTime() + INTERVAL);
        uint64 epoch = post(RewardTree.rootOf(hashesOf(leaves)), 30);
        for (uint64 wrong = 0; wrong < 3; ++wrong) {
            VM.expectRevert(
                abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidProof.selector, _alice, wrong, 30, bytes32(0))
            );
            rewards.claim(_alice, wrong, 30, new bytes32[](0));
        }
        VM.warp(nowTime() + DELAY);
        rewards.activate();
        equal(rewards.claim(_alice, epoch, 30, new bytes32[](0)), 30, "now");
    }

    /// @notice However much a lying quorum writes into its root: it gets what its own epoch minted, and others all theirs.
    function test_AnInflatedLeafTakesNothingFromOthers(uint256 inflated, uint256 minted, uint256 owed) external {
        owed = within(owed, 1, rewards.emission(1));
        minted = within(minted, 0, rewards.emission(2));
        inflated = within(inflated, 0, owed + minted + 1 ether);
        uint64 honest = close(one(_alice, owed), owed);
        uint64 lying = close(one(BOB, inflated), minted);
        if (inflated > minted) {
            VM.expectRevert(
                abi.encodeWithSelector(
                    IERC20Errors.ERC20InsufficientBalance.selector,
                    token.poolOf(lying),
                    minted,
                    inflated
                )
            );
        }
        rewards.claim(BOB, lying, inflated, new bytes32[](0));
        isTrue(token.balanceOf(BOB) <= minted, "the liar has what was minted, at most");
        equal(rewards.claim(_alice, honest, owed, new bytes32[](0)), owed, "the other has everything");
    }

    function test_ManyEpochsInOneTransaction() external {
        ICuriosityRewards.Claim[] memory list = new ICuriosityRewards.Claim[](5);
        for (uint64 i = 0; i < 3; ++i) {
            list[i] = ICuriosityRewards.Claim(_alice, close(one(_alice, i + 1), i + 1), i + 1, new bytes32[](0));
        }
        list[3] = ICuriosityRewards.Claim(BOB, close(one(BOB, 10), 10), 10, new bytes32[](0));
        list[4] = list[1];
        rewards.claim(_alice, 3, 3, new bytes32[](0));
        VM.expectEmit();
        emit ICuriosityRewards.Claimed(_alice, _alice, 3);
        VM.expectEmit();
        emit ICuriosityRewards.Claimed(BOB, BOB, 10);
        equal(rewards.claimMany(list), 13, "all but what was paid");
        equal(token.balanceOf(_alice), 6, "hers");
        equal(token.balanceOf(BOB), 10, "his");
        equal(rewards.claimMany(list), 0, "again");
        equal(rewards.claimMany(new ICuriosityRewards.Claim[](0)), 0, "none");
        list[2].amount = 4;
        list[2].epoch = 4;
        VM.expectPartialRevert(ICuriosityRewards.RewardsInvalidProof.selector);
        rewards.claimMany(list);
    }

    /// @notice Epochs 0 to 127 share a slot, 128 begins the next.
    function test_WindowsOfEpochs() external {
        for (uint64 epoch = 1; epoch <= 257; ++epoch) close(one(_alice, epoch), epoch);
        uint64[6] memory some = [uint64(1), 126, 127, 128, 255, 256];
        uint256 sum = 0;
        for (uint256 i = 0; i < some.length; ++i) {
            equal(rewards.claim(_alice, some[i], some[i], new bytes32[](0)), some[i], "paid");
            sum += some[i];
            equal(rewards.claimed(_alice), sum, "claimed");
            equal(rewards.claim(_alice, some[i], some[i], new bytes32[](0)), 0, "once");
        }
        uint256 count = 0;
        for (uint64 epoch = 0; epoch <= 258; ++epoch) if (rewards.isClaimed(_alice, epoch)) ++count;
        equal(count, some.length, "no other is marked");
        equal(token.balanceOf(_alice), sum, "received");
    }

    function test_APauseRestsEveryClaim() external {
        uint64 epoch = close(one(_alice, 5), 5);
        VM.prank(GUARDIAN);
        rewards.pause(1 days);
        bytes memory why = abi.encodeWithSelector(ICuriosityRewards.RewardsPaused.selector, nowTime() + 1 days);
        bytes memory signature = _permission(_alice, COLD, 0, nowTime(), ALICE_KEY);
        VM.expectRevert(why);
        rewards.claim(_alice, epoch, 5, new bytes32[](0));
        VM.expectRevert(why);
        rewards.claimMany(new ICuriosityRewards.Claim[](0));
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(epoch, 5), COLD, nowTime(), signature);
    }

    function test_ARelayedClaimPaysWhomTheAccountNamed() external {
        uint64 epoch = close(one(_alice, 5), 5);
        uint256 deadline = nowTime() + 100;
        bytes memory signature = _permission(_alice, COLD, 0, deadline, ALICE_KEY);
        bytes memory why = abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidSignature.selector, _alice);
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(epoch, 5), BOB, deadline, signature);
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(epoch, 5), COLD, deadline + 1, signature);
        bytes memory forged = _permission(_alice, BOB, 0, deadline, 0xB0B);
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(epoch, 5), BOB, deadline, forged);
        bytes memory late = _permission(_alice, COLD, 1, deadline, ALICE_KEY);
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(epoch, 5), COLD, deadline, late);
        bytes memory trap = _permission(_alice, address(rewards), 0, deadline, ALICE_KEY);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidRecipient.selector, address(rewards)));
        rewards.claimTo(_alice, _shares(epoch, 5), address(rewards), deadline, trap);
        VM.warp(deadline);
        VM.expectEmit();
        emit ICuriosityRewards.Claimed(_alice, COLD, 5);
        equal(rewards.claimTo(_alice, _shares(epoch, 5), COLD, deadline, signature), 5, "paid");
        equal(token.balanceOf(COLD), 5, "to the named one");
        equal(rewards.claimed(_alice), 5, "booked for the account");
        equal(rewards.nonces(_alice), 1, "the nonce is spent");
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(epoch, 5), COLD, deadline, signature);
        VM.warp(deadline + 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsExpired.selector, deadline, deadline + 1));
        rewards.claimTo(_alice, _shares(epoch, 5), COLD, deadline, late);
    }

    function test_ManyEpochsGoToTheNamedRecipient() external {
        ICuriosityRewards.Share[] memory shares = new ICuriosityRewards.Share[](3);
        for (uint64 i = 0; i < 2; ++i) {
            shares[i] = ICuriosityRewards.Share(close(one(_alice, 10 + i), 10 + i), 10 + i, new bytes32[](0));
        }
        shares[2] = shares[0];
        bytes memory signature = _permission(_alice, COLD, 0, nowTime(), ALICE_KEY);
        equal(rewards.claimTo(_alice, shares, COLD, nowTime(), signature), 21, "both, once");
        equal(token.balanceOf(COLD), 21, "received");
        equal(token.balanceOf(_alice), 0, "not by the account");
    }

    function test_AContractWalletNamesItsRecipient() external {
        address wallet = address(new ContractWallet(_alice));
        uint64 epoch = close(one(wallet, 5), 5);
        bytes memory wrong = _permission(wallet, COLD, 0, nowTime(), 0xB0B);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidSignature.selector, wallet));
        rewards.claimTo(wallet, _shares(epoch, 5), COLD, nowTime(), wrong);
        bytes memory right = _permission(wallet, COLD, 0, nowTime(), ALICE_KEY);
        equal(rewards.claimTo(wallet, _shares(epoch, 5), COLD, nowTime(), right), 5, "paid");
    }

    function _shares(uint64 epoch, uint256 amount) private pure returns (ICuriosityRewards.Share[] memory shares) {
        shares = new ICuriosityRewards.Share[](1);
        shares[0] = ICuriosityRewards.Share(epoch, amount, new bytes32[](0));
    }

    function _permission(
        address account,
        address recipient,
        uint256 nonce,
        uint256 deadline,
        uint256 key
    ) private view returns (bytes memory) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("ClaimTo(address account,address recipient,uint256 nonce,uint256 deadline)"),
                account,
                recipient,
                nonce,
                deadline
            )
        );
        return signed(key, typedDigest(address(rewards), "CuriosityRewards", structHash));
    }
}

/// @notice The token: who may mint and pay, and the cap.
contract TokenTest is Network {
    CuriosityToken private _token;

    function setUp() external {
        _token = new CuriosityToken(100, address(7), 40);
    }

    function test_OnlyTheMinterMintsAndPays() external {
        VM.expectRevert(
            abi.encodeWithSelector(CuriosityToken.TokenUnauthorized.selector, address(9), address(this))
        );
        VM.prank(address(9));
        _token.mint(1, 1);
        _token.mint(1, 1);
        VM.expectRevert(
            abi.encodeWithSelector(CuriosityToken.TokenUnauthorized.selector, address(9), address(this))
        );
        VM.prank(address(9));
        _token.pay(1, address(9), 1);
        isTrue(_token.minter() == address(this), "the creator is the minter");
    }

    function test_NeverPastTheCap() external {
        _token.mint(1, 60);
        VM.expectRevert();
        _token.mint(2, 1);
        equal(_token.totalSupply(), 100, "supply");
    }

    function test_APoolPaysOnlyWhatIsItsOwn(uint64 first, uint64 second) external {
        if (first == second) return;
        isTrue(_token.poolOf(first) != _token.poolOf(second), "pools are apart");
        _token.mint(first, 10);
        _token.mint(second, 20);
        VM.expectRevert();
        _token.pay(first, address(9), 11);
        _token.pay(first, address(9), 10);
        equal(_token.balanceOf(address(9)), 10, "paid");
        equal(_token.balanceOf(_token.poolOf(second)), 20, "the other is whole");
    }
}
