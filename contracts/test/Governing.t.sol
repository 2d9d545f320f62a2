// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {CuriosityRewards} from "../src/CuriosityRewards.sol";
import {ICuriosityRewards} from "../src/ICuriosityRewards.sol";
import {ValidatorSet} from "../src/ValidatorSet.sol";
import {ForeignToken} from "./ForeignToken.sol";
import {Network} from "./Network.sol";

/// @notice What happens to a posted epoch, and who may do what.
contract GoverningTest is Network {
    address private constant ALICE = address(0xA11CE);

    function setUp() external {
        deploy();
        VM.warp(nowTime() + INTERVAL);
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
        refusePosting(second, signatures, abi.encodeWithSelector(ICuriosityRewards.RewardsWrongAttempt.selector, uint32(0), uint32(1)));
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
        refusePosting(attestation, signaturesFor(attestation, 3), abi.encodeWithSelector(ICuriosityRewards.RewardsNotEnoughSignatures.selector, 3, 4));
    }

    function test_NewValidatorsDiscardAllThatWaits() external {
        for (uint256 i = 1; i <= 4; ++i) {
            post(bytes32(i), i);
            VM.warp(nowTime() + INTERVAL);
        }
        VM.warp(nowTime() + DELAY);
        rewards.activate();
        VM.expectEmit();
        emit ICuriosityRewards.RootsDiscarded(2, 4, 1, OWNER);
        VM.prank(OWNER);
        rewards.setValidators(addressesOf(keys), THRESHOLD);
        equal(rewards.status().latestEpoch, 1, "only the active one is left");
        equal(rewards.status().activatableAt, 0, "none waits");
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsNothingToActivate.selector, uint64(1)));
        rewards.activate();
        equal(post("again", 5), 2, "the second comes again");
        equal(rewards.status().latest.cumulativeTotal, 6, "on top of the active one");
    }

    /// @notice A quorum that names a size which no ledger reaches stops posting until the owner names validators, the
    /// same or others; not for ever.
    function test_AHugeLedgerSizeEndsWithItsValidators() external {
        ICuriosityRewards.Attestation memory lie = attestationFor("lie", 0);
        lie.ledgerSize = type(uint64).max;
        rewards.postRoot(lie, signaturesFor(lie, THRESHOLD));
        VM.warp(nowTime() + DELAY);
        rewards.activate();
        ICuriosityRewards.Attestation memory honest = _sized(1_000_000);
        bytes memory shrank = abi.encodeWithSelector(
            ICuriosityRewards.RewardsLedgerShrank.selector,
            uint64(1_000_000),
            type(uint64).max
        );
        refuse(honest, shrank);
        VM.prank(OWNER);
        rewards.setValidators(addressesOf(keys), THRESHOLD);
        equal(rewards.status().active.ledgerSize, type(uint64).max, "what was posted is not rewritten");
        honest = _sized(1_000_000);
        rewards.postRoot(honest, signaturesFor(honest, THRESHOLD));
        // A veto of the new set's first epoch brings the lie back as the last one: it may be left behind again.
        VM.prank(GUARDIAN);
        rewards.veto(2);
        honest = _sized(900_000);
        rewards.postRoot(honest, signaturesFor(honest, THRESHOLD));
        // From then on the ledger only grows again.
        VM.warp(nowTime() + INTERVAL);
        refuse(
            _sized(899_999),
            abi.encodeWithSelector(
                ICuriosityRewards.RewardsLedgerShrank.selector,
                uint64(899_999),
                uint64(900_000)
            )
        );
        VM.warp(nowTime() + DELAY);
        rewards.activate();
        refuse(
            _sized(899_999),
            abi.encodeWithSelector(
                ICuriosityRewards.RewardsLedgerShrank.selector,
                uint64(899_999),
                uint64(900_000)
            )
        );
        honest = _sized(900_000);
        rewards.postRoot(honest, signaturesFor(honest, THRESHOLD));
    }

    function _sized(uint64 size) private view returns (ICuriosityRewards.Attestation memory attestation) {
        ICuriosityRewards.Status memory status = rewards.status();
        attestation = ICuriosityRewards.Attestation({
            epoch: status.latestEpoch + 1,
            ledgerSize: size,
            ledgerRoot: "honest",
            rewardRoot: "honest",
            cumulativeTotal: 0,
            previousRoot: status.latest.rewardRoot,
            setId: status.setId,
            attempt: status.attempt
        });
    }

    /// @notice An active epoch remembers the attempt in which it was activated.
    function test_TheAttemptIsRemembered() external {
        for (uint64 epoch = 1; epoch <= 3; ++epoch) {
            post("vetoed", 1);
            VM.prank(GUARDIAN);
            rewards.veto(epoch);
            VM.warp(nowTime() + INTERVAL);
            post("stays", 1);
            VM.warp(nowTime() + DELAY);
            rewards.activate();
            for (uint64 each = 1; each <= epoch; ++each) equal(rewards.pool(each).attempt, each, "attempt");
        }
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
        wrong.activationDelay = 365 days + 1;
        _refuseSettings(wrong, "activationDelay");
        wrong.activationDelay = 365 days;
        wrong.minEpochInterval = 365 days + 1;
        _refuseSettings(wrong, "minEpochInterval");
        wrong.minEpochInterval = 365 days;
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
}
