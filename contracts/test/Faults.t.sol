// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CuriosityStake} from "../src/CuriosityStake.sol";
import {ICuriosityRewards} from "../src/ICuriosityRewards.sol";
import {ICuriosityStake} from "../src/ICuriosityStake.sol";
import {Staking} from "./Staking.sol";

/// @notice Every fault: what is slashed and what never is.
contract FaultsTest is Staking {
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
        emit ICuriosityStake.Slashed(_validator, "double head", REPORTER, 2 * MIN, MIN / 50);
        VM.prank(REPORTER);
        _stake.reportDoubleHead(a, signedA, b, signedB);
        equal(token.balanceOf(REPORTER), MIN / 50, "a hundredth for the reporter");
        equal(token.balanceOf(TREASURY) - before, (2 * MIN * 99) / 100, "the rest for the treasury");
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

    /// @notice Whoever reports itself keeps nothing, and under another name a hundredth.
    function test_ASelfReportKeepsNothing() external {
        address[3] memory reporters = [_validator, OTHER, REPORTER];
        for (uint256 i = 0; i < 3; ++i) {
            uint256 reward = i == 2 ? 10 ether : 0;
            _stake = new CuriosityStake(rewards, TREASURY, MIN, PERIOD);
            token.approve(address(_stake), type(uint256).max);
            _bond(_validator, 1_000 ether);
            VM.prank(_validator);
            _stake.setOwner(_validator, OTHER);
            ICuriosityStake.TreeHead memory a = ICuriosityStake.TreeHead(ORIGIN, 7, "a");
            ICuriosityStake.TreeHead memory b = ICuriosityStake.TreeHead(ORIGIN, 7, "b");
            bytes memory signedA = _signHead(KEY, a);
            bytes memory signedB = _signHead(KEY, b);
            uint256 before = token.balanceOf(TREASURY);
            VM.expectEmit();
            emit ICuriosityStake.Slashed(_validator, "double head", reporters[i], 1_000 ether, reward);
            VM.prank(reporters[i]);
            _stake.reportDoubleHead(a, signedA, b, signedB);
            equal(token.balanceOf(reporters[i]), reward, "what the reporter keeps");
            equal(token.balanceOf(TREASURY) - before, 1_000 ether - reward, "the rest is the treasury's");
            isTrue(_stake.validatorOf(_validator).isBanned, "it is a fault all the same");
        }
    }

    /// @notice A key is banned for what it signed, also when all of its stake is on its way out.
    function test_WhoIsOnTheWayOutIsBannedToo() external {
        _bond(_validator, MIN);
        VM.prank(_validator);
        _stake.exit(_validator, MIN);
        uint256 since = nowTime();
        _later(1 hours);
        _slashDouble();
        isTrue(_stake.validatorOf(_validator).isBanned, "banned");
        equal(_stake.validatorOf(_validator).exiting, 0, "all was taken");
        equal(_stake.validatorOf(_validator).emptySince, since, "empty since the exit");
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeBanned.selector, _validator));
        _bond(_validator, MIN);
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
        equal(token.balanceOf(REPORTER), MIN / 100, "slashed");
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
        emit ICuriosityStake.Slashed(_validator, "broken commit", REPORTER, MIN / 2, MIN / 200);
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

    /// @notice Two validators can break their commits in one vote about one pair: each pays for its own.
    function test_ABrokenCommitIsRememberedForItsSigner() external {
        address second = VM.addr(0xD00D);
        _bond(_validator, MIN);
        _bond(second, MIN);
        ICuriosityStake.VerdictCommit memory commit = ICuriosityStake.VerdictCommit(PAIR, 1, "nothing opens this");
        ICuriosityStake.VerdictReveal memory reveal = ICuriosityStake.VerdictReveal(PAIR, 1, "accept", "salt");
        uint256[2] memory signers = [KEY, uint256(0xD00D)];
        for (uint256 i = 0; i < 2; ++i) {
            bytes memory commitSignature = _signStruct(
                signers[i],
                abi.encode(keccak256("VerdictCommit(bytes32 pair,uint64 round,bytes32 commitment)"), commit)
            );
            bytes memory revealSignature = _signStruct(
                signers[i],
                abi.encode(keccak256("VerdictReveal(bytes32 pair,uint64 round,bytes32 verdict,bytes32 salt)"), reveal)
            );
            _stake.reportBrokenCommit(commit, commitSignature, reveal, revealSignature);
            equal(_stake.validatorOf(VM.addr(signers[i])).bonded, (MIN * 95) / 100, "each loses its own");
            VM.expectRevert(
                abi.encodeWithSelector(
                    ICuriosityStake.StakeAlreadyReported.selector,
                    VM.addr(signers[i]),
                    bytes32("broken commit")
                )
            );
            _stake.reportBrokenCommit(commit, commitSignature, reveal, revealSignature);
        }
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
        emit ICuriosityStake.Slashed(_validator, "reward root", REPORTER, MIN, MIN / 100);
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

    /// @notice The epoch's attempt is remembered: what was signed in that attempt is a fault, what was signed before not.
    function test_ARewardRootIsJudgedWithinItsAttempt() external {
        _bond(_validator, MIN);
        VM.warp(nowTime() + INTERVAL);
        post("vetoed", 1);
        VM.prank(GUARDIAN);
        rewards.veto(1);
        close(one(OTHER, 50), 50);
        equal(rewards.pool(1).attempt, 1, "activated in the second attempt");
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", rewards.emission(2) + 1);
        equal(attestation.attempt, 1, "the attempt of now");
        attestation.attempt = 0;
        _refuseRoot(attestation, abi.encodeWithSelector(ICuriosityStake.StakeNoFault.selector, "it continues another epoch"));
        attestation.attempt = 1;
        bytes memory signature = signed(KEY, rewards.hashAttestation(attestation));
        _stake.reportRewardRoot(attestation, signature);
        isTrue(_stake.validatorOf(_validator).isBanned, "banned");
    }

    function _refuseRoot(ICuriosityRewards.Attestation memory attestation, bytes memory why) private {
        bytes memory signature = signed(KEY, rewards.hashAttestation(attestation));
        VM.expectRevert(why);
        _stake.reportRewardRoot(attestation, signature);
    }
}
