// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CuriosityStake} from "../src/CuriosityStake.sol";
import {ICuriosityRewards} from "../src/ICuriosityRewards.sol";
import {ICuriosityStake} from "../src/ICuriosityStake.sol";
import {Network} from "./Network.sol";

/// @notice Bonds, exits, frozen weights, and every fault: what is slashed and what never is.
contract StakeTest is Network {
    uint256 private constant MIN = 100 ether;
    uint256 private constant PERIOD = 1 days;
    uint256 private constant KEY = 0xBEEF;
    address private constant OTHER = address(0x07E4);
    address private constant REPORTER = address(0x4E904);
    bytes32 private constant ORIGIN = keccak256("example.org/ledger");
    bytes32 private constant PAIR = keccak256("pair");

    CuriosityStake private _stake;
    address private _validator;
    uint256 private _start;

    function setUp() external {
        deploy();
        _start = nowTime();
        _stake = new CuriosityStake(rewards, TREASURY, MIN, PERIOD);
        _validator = VM.addr(KEY);
        VM.prank(TREASURY);
        token.transfer(address(this), 5_000 ether);
        token.approve(address(_stake), type(uint256).max);
    }

    function _bond(address validator, uint256 amount) private {
        _stake.bond(validator, amount);
    }

    function _later(uint256 time) private {
        VM.warp(nowTime() + time);
    }

    // Bonds and exits.

    function test_WhatIsBondedIsHeldAndListed() external {
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeTooSmall.selector, MIN - 1, MIN));
        _bond(_validator, MIN - 1);
        VM.expectEmit();
        emit ICuriosityStake.Bonded(_validator, address(this), MIN);
        _bond(_validator, MIN);
        _bond(_validator, 1);
        ICuriosityStake.Validator memory record = _stake.validatorOf(_validator);
        equal(record.bonded, MIN + 1, "bonded");
        isTrue(record.owner == _validator, "it is its own owner");
        equal(token.balanceOf(address(_stake)), MIN + 1, "held");
        equal(_stake.validators().length, 1, "listed once");
        isTrue(_stake.validators()[0] == _validator, "listed");
    }

    function test_OnlyTheOwnerTakesItOut() external {
        _bond(_validator, 3 * MIN);
        bytes memory why = abi.encodeWithSelector(ICuriosityStake.StakeUnauthorized.selector, address(this), _validator);
        VM.expectRevert(why);
        _stake.exit(_validator, MIN);
        VM.expectRevert(why);
        _stake.withdraw(_validator);
        VM.expectRevert(why);
        _stake.setOwner(_validator, address(this));
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeInvalidParameter.selector, "owner"));
        VM.prank(_validator);
        _stake.setOwner(_validator, address(0));
        VM.expectEmit();
        emit ICuriosityStake.OwnerSet(_validator, OTHER);
        VM.prank(_validator);
        _stake.setOwner(_validator, OTHER);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeUnauthorized.selector, _validator, OTHER));
        VM.prank(_validator);
        _stake.exit(_validator, MIN);
        VM.prank(OTHER);
        _stake.exit(_validator, MIN);
        // A later bond does not make the validator its own owner again.
        _bond(_validator, 1);
        isTrue(_stake.validatorOf(_validator).owner == OTHER, "the owner stays");
        _later(14 days);
        VM.prank(OTHER);
        equal(_stake.withdraw(_validator), MIN, "withdrawn");
        equal(token.balanceOf(OTHER), MIN, "by the owner");
    }

    function test_AnExitTakesFourteenDays() external {
        _bond(_validator, 3 * MIN);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeExceeded.selector, 3 * MIN + 1, 3 * MIN));
        VM.prank(_validator);
        _stake.exit(_validator, 3 * MIN + 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeTooSmall.selector, MIN - 1, MIN));
        VM.prank(_validator);
        _stake.exit(_validator, 2 * MIN + 1);
        uint256 at = nowTime() + 14 days;
        VM.expectEmit();
        emit ICuriosityStake.ExitStarted(_validator, 2 * MIN, at);
        VM.prank(_validator);
        _stake.exit(_validator, 2 * MIN);
        equal(_stake.validatorOf(_validator).bonded, MIN, "bonded");
        equal(_stake.validatorOf(_validator).exiting, 2 * MIN, "exiting");
        VM.warp(at - 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNotWithdrawable.selector, at - 1, at));
        VM.prank(_validator);
        _stake.withdraw(_validator);
        // A later exit makes the earlier one wait with it.
        VM.prank(_validator);
        _stake.exit(_validator, MIN);
        VM.warp(at + 14 days - 1);
        VM.expectEmit();
        emit ICuriosityStake.Withdrawn(_validator, _validator, 3 * MIN);
        VM.prank(_validator);
        equal(_stake.withdraw(_validator), 3 * MIN, "both");
        equal(token.balanceOf(_validator), 3 * MIN, "received");
        VM.prank(_validator);
        equal(_stake.withdraw(_validator), 0, "once");
    }

    function test_TheListIsBounded() external {
        uint256 little = 1 ether;
        _stake = new CuriosityStake(rewards, TREASURY, little, PERIOD);
        token.approve(address(_stake), type(uint256).max);
        for (uint256 i = 1; i <= 128; ++i) _bond(address(uint160(i)), little);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeFull.selector, 129));
        _bond(_validator, little);
        // Whoever is there may bond more.
        _bond(address(1), 1);
        // It is the exit that counts, not the bond.
        _later(PERIOD);
        VM.prank(address(1));
        _stake.exit(address(1), little + 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNotRemovable.selector, address(1)));
        _stake.remove(address(1));
        _later(2 * PERIOD - 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNotRemovable.selector, address(1)));
        _stake.remove(address(1));
        _later(1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNotRemovable.selector, address(2)));
        _stake.remove(address(2));
        VM.expectEmit();
        emit ICuriosityStake.Removed(address(1));
        _stake.remove(address(1));
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNotRemovable.selector, address(1)));
        _stake.remove(address(1));
        _bond(_validator, little);
        equal(_stake.validators().length, 128, "one for one");
        // What exits can still be withdrawn by whoever left the list.
        _later(14 days);
        VM.prank(address(1));
        equal(_stake.withdraw(address(1)), little + 1, "withdrawn");
    }

    // Weights.

    function test_WeightsAreFrozenAPeriodAhead() external {
        equal(_stake.currentPeriod(), 1, "the first period");
        _later(PERIOD / 2);
        _bond(_validator, MIN);
        equal(_stake.weight(_validator, 1), 0, "nobody counts in the first");
        VM.warp(_start + PERIOD);
        equal(_stake.currentPeriod(), 2, "the second period");
        equal(_stake.weight(_validator, 2), 0, "nor in the second, which was frozen at the start");
        // Frozen with the first second of a period, for the next: until it is over it is not known.
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNotFrozen.selector, 3, _start + PERIOD));
        _stake.weight(_validator, 3);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNotFrozen.selector, 3, _start + PERIOD));
        _stake.totalWeight(3);
        _later(1);
        equal(_stake.weight(_validator, 3), MIN, "in the third");
        equal(_stake.totalWeight(3), MIN, "and in the sum");
        // Whatever happens now, the third is as it was.
        _bond(_validator, 5 * MIN);
        _bond(OTHER, MIN);
        VM.prank(_validator);
        _stake.exit(_validator, 6 * MIN);
        _later(2 * PERIOD);
        equal(_stake.weight(_validator, 3), MIN, "frozen");
        equal(_stake.weight(OTHER, 3), 0, "frozen too");
        equal(_stake.totalWeight(3), MIN, "the sum too");
        equal(_stake.weight(_validator, 4), 0, "gone in the next");
        equal(_stake.totalWeight(4), MIN, "the other came");
    }

    function test_NoChangeWithinAPeriodCountsInItOrTheNext(uint256 seed) external {
        _bond(_validator, 10 * MIN);
        VM.warp(_start + within(seed, PERIOD, 20 * PERIOD));
        uint256 period = _stake.currentPeriod();
        bool isFirstSecond = (nowTime() - _start) % PERIOD == 0;
        VM.prank(_validator);
        _stake.exit(_validator, within(seed >> 128, 1, 9 * MIN));
        if (seed % 3 == 0) _slashDouble();
        _later(1);
        if (period > 2) equal(_stake.weight(_validator, period), 10 * MIN, "now");
        // A change in the very second in which a period begins counts for the next one, as everybody can see.
        if (!isFirstSecond) equal(_stake.weight(_validator, period + 1), 10 * MIN, "next");
    }

    // Faults.

    function test_TwoRootsForOneSize() external {
        _bond(_validator, 2 * MIN);
        VM.prank(_validator);
        _stake.exit(_validator, MIN);
        ICuriosityStake.TreeHead memory a = ICuriosityStake.TreeHead(ORIGIN, 7, "a");
        ICuriosityStake.TreeHead memory b = ICuriosityStake.TreeHead(ORIGIN, 7, "b");
        bytes memory signedA = _signHead(KEY, a);
        bytes memory signedB = _signHead(KEY, b);
        uint256 before = token.balanceOf(TREASURY);
        VM.expectEmit();
        emit ICuriosityStake.Slashed(_validator, "double head", REPORTER, 2 * MIN, MIN / 5);
        VM.prank(REPORTER);
        _stake.reportDoubleHead(a, signedA, b, signedB);
        equal(token.balanceOf(REPORTER), MIN / 5, "a tenth for the reporter");
        equal(token.balanceOf(TREASURY) - before, (2 * MIN * 9) / 10, "the rest for the treasury");
        equal(_stake.validatorOf(_validator).bonded, 0, "nothing bonded");
        equal(_stake.validatorOf(_validator).exiting, 0, "nothing exiting");
        isTrue(_stake.validatorOf(_validator).isBanned, "banned");
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeBanned.selector, _validator));
        _bond(_validator, MIN);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNothingToSlash.selector, _validator));
        _stake.reportDoubleHead(a, signedA, b, signedB);
        _later(2 * PERIOD);
        _stake.remove(_validator);
    }

    function test_HeadsThatAreNoFault() external {
        _bond(_validator, MIN);
        ICuriosityStake.TreeHead memory a = ICuriosityStake.TreeHead(ORIGIN, 7, "a");
        ICuriosityStake.TreeHead memory b = ICuriosityStake.TreeHead(ORIGIN, 7, "a");
        _refuseHeads(a, b, KEY, KEY, abi.encodeWithSelector(ICuriosityStake.StakeNoFault.selector, "roots are equal"));
        b.root = "b";
        b.size = 8;
        _refuseHeads(a, b, KEY, KEY, abi.encodeWithSelector(ICuriosityStake.StakeNoFault.selector, "sizes differ"));
        b.size = 7;
        b.origin = "another";
        _refuseHeads(a, b, KEY, KEY, abi.encodeWithSelector(ICuriosityStake.StakeNoFault.selector, "origins differ"));
        b.origin = ORIGIN;
        _refuseHeads(
            a,
            b,
            KEY,
            0xD00D,
            abi.encodeWithSelector(ICuriosityStake.StakeSignersDiffer.selector, _validator, VM.addr(0xD00D))
        );
        _refuseHeads(
            a,
            b,
            0xD00D,
            0xD00D,
            abi.encodeWithSelector(ICuriosityStake.StakeNothingToSlash.selector, VM.addr(0xD00D))
        );
    }

    function _refuseHeads(
        ICuriosityStake.TreeHead memory a,
        ICuriosityStake.TreeHead memory b,
        uint256 keyA,
        uint256 keyB,
        bytes memory why
    ) private {
        bytes memory signedA = _signHead(keyA, a);
        bytes memory signedB = _signHead(keyB, b);
        VM.expectRevert(why);
        _stake.reportDoubleHead(a, signedA, b, signedB);
    }

    /// @notice At each of many moments up to the last of the exit the fault is slashed, a second later there is nothing.
    function test_AnExitDoesNotOutrunItsFault(uint256 offset) external {
        _bond(_validator, 2 * MIN);
        VM.prank(_validator);
        _stake.exit(_validator, 2 * MIN);
        _later(within(offset, 0, 14 days));
        _slashDouble();
        equal(token.balanceOf(address(_stake)), 0, "all of it");
        _later(14 days);
        VM.prank(_validator);
        equal(_stake.withdraw(_validator), 0, "nothing is left to take out");
    }

    /// @notice Forks at any index of trees of any two sizes: the leaves up to the fork are the same.
    function test_AForkIsShownByTwoLeaves(uint256 seed) external {
        _bond(_validator, MIN);
        uint256 sizeA = within(seed, 1, 70);
        uint256 sizeB = within(seed >> 16, 1, 70);
        uint256 index = within(seed >> 32, 0, (sizeA < sizeB ? sizeA : sizeB) - 1);
        ICuriosityStake.Branch memory a = _branch(_leaves(sizeA, index, "a"), index);
        ICuriosityStake.Branch memory b = _branch(_leaves(sizeB, index, "b"), index);
        // An honest pair, of one history, at any index that both have: never a fault.
        uint256 shared = within(seed >> 48, 0, (sizeA < sizeB ? sizeA : sizeB) - 1);
        ICuriosityStake.Branch memory c = _branch(_leaves(sizeA, 1_000, "a"), shared);
        ICuriosityStake.Branch memory d = _branch(_leaves(sizeB, 1_000, "a"), shared);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNoFault.selector, "leaves are equal"));
        _stake.reportFork(uint64(shared), c, d);
        d.leafHash ^= bytes32(uint256(1));
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNoFault.selector, "a leaf is not included"));
        _stake.reportFork(uint64(shared), c, d);
        VM.prank(REPORTER);
        _stake.reportFork(uint64(index), a, b);
        equal(token.balanceOf(REPORTER), MIN / 10, "slashed");
        isTrue(_stake.validatorOf(_validator).isBanned, "banned");
    }

    function test_ForksThatAreNone() external {
        _bond(_validator, MIN);
        ICuriosityStake.Branch memory a = _branch(_leaves(5, 3, "a"), 3);
        ICuriosityStake.Branch memory b = _branch(_leaves(6, 3, "b"), 3);
        bytes memory notIncluded = abi.encodeWithSelector(
            ICuriosityStake.StakeNoFault.selector,
            "a leaf is not included"
        );
        VM.expectRevert(notIncluded);
        _stake.reportFork(2, a, b);
        // Past the end, and with a proof that is too short or too long.
        VM.expectRevert(notIncluded);
        _stake.reportFork(6, a, b);
        bytes32[] memory whole = b.proof;
        b.proof = new bytes32[](whole.length - 1);
        for (uint256 i = 0; i < b.proof.length; ++i) b.proof[i] = whole[i];
        VM.expectRevert(notIncluded);
        _stake.reportFork(3, a, b);
        b.proof = new bytes32[](whole.length + 1);
        for (uint256 i = 0; i < whole.length; ++i) b.proof[i] = whole[i];
        VM.expectRevert(notIncluded);
        _stake.reportFork(3, a, b);
        b.proof = whole;
        VM.expectRevert(notIncluded);
        _stake.reportFork(3, _withRoot(a, "x"), b);
        ICuriosityStake.Branch memory foreign = _branch(_leaves(6, 3, "b"), 3);
        foreign.head.origin = "another";
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNoFault.selector, "origins differ"));
        _stake.reportFork(3, a, foreign);
        b.signature = _signHead(0xD00D, b.head);
        VM.expectRevert(
            abi.encodeWithSelector(ICuriosityStake.StakeSignersDiffer.selector, _validator, VM.addr(0xD00D))
        );
        _stake.reportFork(3, a, b);
    }

    /// @notice The root of one leaf is that leaf: it must not pass for whatever lies behind it.
    function test_ATreeOfOneLeafHoldsNothingBehindIt() external {
        _bond(_validator, MIN);
        ICuriosityStake.Branch memory a = _branch(_leaves(1, 1_000, "a"), 0);
        ICuriosityStake.Branch memory b = _branch(_leaves(2, 1_000, "a"), 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNoFault.selector, "a leaf is not included"));
        _stake.reportFork(1, a, b);
    }

    function test_AForkOfLargeTreesIsCheap() external {
        _bond(_validator, MIN);
        ICuriosityStake.Branch memory a = _spine(30, "a");
        ICuriosityStake.Branch memory b = _spine(30, "b");
        uint256 gas = gasleft();
        _stake.reportFork(0, a, b);
        isTrue(gas - gasleft() < 200_000, "gas");
    }

    function test_ABrokenCommitCostsFivePerCentOnce() external {
        _bond(_validator, 10 * MIN);
        VM.prank(_validator);
        _stake.exit(_validator, 2 * MIN);
        bytes32 commitment = keccak256(abi.encode(bytes32("accept"), bytes32("salt"), _validator));
        ICuriosityStake.VerdictCommit memory commit = ICuriosityStake.VerdictCommit(PAIR, 1, commitment);
        ICuriosityStake.VerdictReveal memory reveal = ICuriosityStake.VerdictReveal(PAIR, 1, "accept", "salt");
        _refuseReveal(commit, reveal, abi.encodeWithSelector(ICuriosityStake.StakeNoFault.selector, "the commitment holds"));
        reveal.verdict = "reject";
        reveal.round = 2;
        _refuseReveal(commit, reveal, abi.encodeWithSelector(ICuriosityStake.StakeNoFault.selector, "votes differ"));
        reveal.round = 1;
        reveal.pair = "other";
        _refuseReveal(commit, reveal, abi.encodeWithSelector(ICuriosityStake.StakeNoFault.selector, "votes differ"));
        reveal.pair = PAIR;
        bytes memory commitSignature = _signCommit(commit);
        bytes memory revealSignature = _signReveal(reveal);
        VM.expectEmit();
        emit ICuriosityStake.Slashed(_validator, "broken commit", REPORTER, MIN / 2, MIN / 20);
        VM.prank(REPORTER);
        _stake.reportBrokenCommit(commit, commitSignature, reveal, revealSignature);
        equal(_stake.validatorOf(_validator).bonded, (8 * MIN * 95) / 100, "of what is bonded");
        equal(_stake.validatorOf(_validator).exiting, (2 * MIN * 95) / 100, "and of what exits");
        isTrue(!_stake.validatorOf(_validator).isBanned, "not banned");
        reveal.salt = "another";
        _refuseReveal(
            commit,
            reveal,
            abi.encodeWithSelector(ICuriosityStake.StakeAlreadyReported.selector, _validator, bytes32("broken commit"))
        );
        // Another vote is another fault.
        commit.round = reveal.round = 2;
        commitSignature = _signCommit(commit);
        revealSignature = _signReveal(reveal);
        _stake.reportBrokenCommit(commit, commitSignature, reveal, revealSignature);
    }

    function _refuseReveal(
        ICuriosityStake.VerdictCommit memory commit,
        ICuriosityStake.VerdictReveal memory reveal,
        bytes memory why
    ) private {
        bytes memory commitSignature = _signCommit(commit);
        bytes memory revealSignature = _signReveal(reveal);
        VM.expectRevert(why);
        _stake.reportBrokenCommit(commit, commitSignature, reveal, revealSignature);
    }

    /// @notice A commitment is bound to its validator: whoever copies one cannot open it, and is not slashed for the copy's owner.
    function test_ACopiedCommitmentDoesNotOpen() external {
        _bond(_validator, MIN);
        bytes32 copied = keccak256(abi.encode(bytes32("accept"), bytes32("salt"), VM.addr(0xD00D)));
        ICuriosityStake.VerdictCommit memory commit = ICuriosityStake.VerdictCommit(PAIR, 1, copied);
        ICuriosityStake.VerdictReveal memory reveal = ICuriosityStake.VerdictReveal(PAIR, 1, "accept", "salt");
        bytes memory commitSignature = _signCommit(commit);
        bytes memory revealSignature = _signReveal(reveal);
        _stake.reportBrokenCommit(commit, commitSignature, reveal, revealSignature);
        equal(_stake.validatorOf(_validator).bonded, (MIN * 95) / 100, "slashed");
    }

    function test_ARewardRootThatPaysTooMuchOrTakesBack() external {
        _bond(_validator, MIN);
        _bond(VM.addr(0xD00D), MIN);
        close(one(OTHER, 50), 50);
        uint256 allowed = rewards.emission(2);
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", allowed);
        bytes memory allows = abi.encodeWithSelector(ICuriosityStake.StakeNoFault.selector, "the total is allowed");
        _refuseRoot(attestation, allows);
        attestation.cumulativeTotal = 50;
        _refuseRoot(attestation, allows);
        attestation.cumulativeTotal = 49;
        bytes memory lower = signed(KEY, rewards.hashAttestation(attestation));
        VM.expectEmit();
        emit ICuriosityStake.Slashed(_validator, "reward root", REPORTER, MIN, MIN / 10);
        VM.prank(REPORTER);
        _stake.reportRewardRoot(attestation, lower);
        attestation.cumulativeTotal = 50 + allowed + 1;
        bytes memory more = signed(0xD00D, rewards.hashAttestation(attestation));
        _stake.reportRewardRoot(attestation, more);
        isTrue(_stake.validatorOf(VM.addr(0xD00D)).isBanned, "banned");
    }

    function test_ARewardRootOfAnotherHistoryIsNoFault() external {
        _bond(_validator, MIN);
        close(one(OTHER, 50), 50);
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", rewards.emission(2) + 1);
        bytes memory elsewhere = abi.encodeWithSelector(
            ICuriosityStake.StakeNoFault.selector,
            "it continues another epoch"
        );
        bytes memory inactive = abi.encodeWithSelector(
            ICuriosityStake.StakeNoFault.selector,
            "the epoch before is not active"
        );
        attestation.previousRoot = "other";
        _refuseRoot(attestation, elsewhere);
        attestation.previousRoot = rewards.pool(1).rewardRoot;
        attestation.attempt = 1;
        _refuseRoot(attestation, elsewhere);
        attestation.attempt = 0;
        attestation.epoch = 3;
        _refuseRoot(attestation, inactive);
        attestation.epoch = 0;
        _refuseRoot(attestation, inactive);
        // The first epoch continues the start.
        attestation.epoch = 1;
        attestation.previousRoot = 0;
        attestation.cumulativeTotal = rewards.emission(1) + 1;
        bytes memory signature = signed(KEY, rewards.hashAttestation(attestation));
        _stake.reportRewardRoot(attestation, signature);
    }

    function _refuseRoot(ICuriosityRewards.Attestation memory attestation, bytes memory why) private {
        bytes memory signature = signed(KEY, rewards.hashAttestation(attestation));
        VM.expectRevert(why);
        _stake.reportRewardRoot(attestation, signature);
    }

    function test_ConstructorArgumentsThatCannotWork() external {
        _refuseArguments(address(0), MIN, PERIOD, "treasury");
        _refuseArguments(TREASURY, 0, PERIOD, "minStake");
        _refuseArguments(TREASURY, MIN, 0, "periodLength");
        _refuseArguments(TREASURY, MIN, 7 days + 1, "periodLength");
        new CuriosityStake(rewards, TREASURY, 1, 7 days);
    }

    function _refuseArguments(address treasury, uint256 min, uint256 period, string memory name) private {
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeInvalidParameter.selector, name));
        new CuriosityStake(rewards, treasury, min, period);
    }

    // Evidence.

    function _slashDouble() private {
        ICuriosityStake.TreeHead memory a = ICuriosityStake.TreeHead(ORIGIN, 7, "a");
        ICuriosityStake.TreeHead memory b = ICuriosityStake.TreeHead(ORIGIN, 7, "b");
        bytes memory signedA = _signHead(KEY, a);
        bytes memory signedB = _signHead(KEY, b);
        _stake.reportDoubleHead(a, signedA, b, signedB);
    }

    function _signHead(uint256 key, ICuriosityStake.TreeHead memory head) private view returns (bytes memory) {
        return _signStruct(key, abi.encode(keccak256("TreeHead(bytes32 origin,uint64 size,bytes32 root)"), head));
    }

    function _signCommit(ICuriosityStake.VerdictCommit memory commit) private view returns (bytes memory) {
        return
            _signStruct(KEY, abi.encode(keccak256("VerdictCommit(bytes32 pair,uint64 round,bytes32 commitment)"), commit));
    }

    function _signReveal(ICuriosityStake.VerdictReveal memory reveal) private view returns (bytes memory) {
        return
            _signStruct(
                KEY,
                abi.encode(keccak256("VerdictReveal(bytes32 pair,uint64 round,bytes32 verdict,bytes32 salt)"), reveal)
            );
    }

    function _signStruct(uint256 key, bytes memory encoded) private view returns (bytes memory) {
        return signed(key, typedDigest(address(_stake), "CuriosityStake", keccak256(encoded)));
    }

    /// @dev Leaf hashes of a history that is common to all before `fork` and the branch's own from there on.
    function _leaves(uint256 size, uint256 fork, string memory branch) private pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            leaves[i] = i < fork ? sha256(abi.encode("common", i)) : sha256(abi.encode(branch, i));
        }
    }

    function _branch(bytes32[] memory leaves, uint256 index) private view returns (ICuriosityStake.Branch memory made) {
        made.head = ICuriosityStake.TreeHead(ORIGIN, uint64(leaves.length), _rootOf(leaves, 0, leaves.length));
        made.signature = _signHead(KEY, made.head);
        made.leafHash = leaves[index];
        made.proof = _pathOf(leaves, 0, leaves.length, index);
    }

    function _withRoot(
        ICuriosityStake.Branch memory branch,
        bytes32 root
    ) private view returns (ICuriosityStake.Branch memory changed) {
        changed.head = ICuriosityStake.TreeHead(branch.head.origin, branch.head.size, root);
        changed.signature = _signHead(KEY, changed.head);
        changed.leafHash = branch.leafHash;
        changed.proof = branch.proof;
    }

    /// @dev The first leaf of a full tree of 2^depth leaves, of which only the left spine is made.
    function _spine(uint256 depth, string memory branch) private view returns (ICuriosityStake.Branch memory made) {
        made.leafHash = sha256(bytes(branch));
        made.proof = new bytes32[](depth);
        bytes32 node = made.leafHash;
        for (uint256 i = 0; i < depth; ++i) {
            made.proof[i] = sha256(abi.encode(branch, i));
            node = sha256(bytes.concat(hex"01", node, made.proof[i]));
        }
        made.head = ICuriosityStake.TreeHead(ORIGIN, uint64(1 << depth), node);
        made.signature = _signHead(KEY, made.head);
    }

    /// @dev RFC 6962, section 2.1: split at the largest power of two below the size.
    function _rootOf(bytes32[] memory leaves, uint256 from, uint256 to) private pure returns (bytes32) {
        if (to - from == 1) return leaves[from];
        uint256 middle = from + _split(to - from);
        return sha256(bytes.concat(hex"01", _rootOf(leaves, from, middle), _rootOf(leaves, middle, to)));
    }

    function _pathOf(
        bytes32[] memory leaves,
        uint256 from,
        uint256 to,
        uint256 index
    ) private pure returns (bytes32[] memory path) {
        if (to - from == 1) return new bytes32[](0);
        uint256 middle = from + _split(to - from);
        bool isLeft = index < middle;
        bytes32[] memory below = isLeft ? _pathOf(leaves, from, middle, index) : _pathOf(leaves, middle, to, index);
        path = new bytes32[](below.length + 1);
        for (uint256 i = 0; i < below.length; ++i) path[i] = below[i];
        path[below.length] = isLeft ? _rootOf(leaves, middle, to) : _rootOf(leaves, from, middle);
    }

    function _split(uint256 size) private pure returns (uint256 half) {
        half = 1;
        while (half * 2 < size) half *= 2;
    }
}
