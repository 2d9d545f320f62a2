// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICuriosityRewards} from "../src/ICuriosityRewards.sol";
import {Network} from "./Network.sol";

/// @notice What an attestation must say, and how much an epoch may pay.
contract PostingTest is Network {
    // keccak256 over the one before and the emission of an epoch, from zero and epoch 1 on, for 3,653 epochs.
    bytes32 private constant EMISSIONS = 0x75b4965f1076e333814069665ef9a1cf862951d663c65a19dc941eb1a83012e1;

    // What is left to emit, reckoned here the other way round: as what stays, rounded up.
    uint256 private _limit = CAP - PREMINT;

    function setUp() external {
        deploy();
        VM.warp(nowTime() + INTERVAL);
    }

    function test_WhatMustFollow() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        attestation.epoch = 2;
        refuse(attestation, abi.encodeWithSelector(ICuriosityRewards.RewardsWrongEpoch.selector, uint64(2), uint64(1)));
        attestation = attestationFor("root", 5);
        attestation.setId = 2;
        refuse(attestation, abi.encodeWithSelector(ICuriosityRewards.RewardsWrongSet.selector, uint64(2), uint64(1)));
        attestation = attestationFor("root", 5);
        attestation.attempt = 1;
        refuse(attestation, abi.encodeWithSelector(ICuriosityRewards.RewardsWrongAttempt.selector, uint32(1), uint32(0)));
        attestation = attestationFor("root", 5);
        attestation.previousRoot = "other";
        refuse(
            attestation,
            abi.encodeWithSelector(ICuriosityRewards.RewardsWrongPreviousRoot.selector, bytes32("other"), bytes32(0))
        );
        post("root", 5);
        VM.warp(nowTime() + INTERVAL);
        attestation = attestationFor("next", 5);
        attestation.ledgerSize = 9;
        refuse(attestation, abi.encodeWithSelector(ICuriosityRewards.RewardsLedgerShrank.selector, uint64(9), uint64(10)));
        attestation.ledgerSize = 10;
        attestation.cumulativeTotal = 4;
        refuse(attestation, abi.encodeWithSelector(ICuriosityRewards.RewardsTotalDecreased.selector, 4, 5));
        attestation.cumulativeTotal = 5;
        rewards.postRoot(attestation, signaturesFor(attestation, THRESHOLD));
    }

    function test_TheEmissionToTheWei() external {
        uint256 allowed = rewards.emission(1);
        equal(allowed, ((CAP - PREMINT) * DECAY_NUMERATOR) / DECAY_DENOMINATOR, "the first emission");
        refuse(
            attestationFor("root", allowed + 1),
            abi.encodeWithSelector(ICuriosityRewards.RewardsEmissionExceeded.selector, allowed + 1, allowed)
        );
        post("root", allowed);
        VM.warp(nowTime() + INTERVAL);
        uint256 next = rewards.emission(2);
        equal(next, ((CAP - PREMINT - allowed) * DECAY_NUMERATOR) / DECAY_DENOMINATOR, "of what remains");
        // It is the same whether the epoch before waits or is active.
        refuse(
            attestationFor("next", next + 1),
            abi.encodeWithSelector(ICuriosityRewards.RewardsEmissionExceeded.selector, next + 1, next)
        );
        VM.warp(nowTime() + DELAY);
        rewards.activate();
        refuse(
            attestationFor("next", next + 1),
            abi.encodeWithSelector(ICuriosityRewards.RewardsEmissionExceeded.selector, next + 1, next)
        );
        post("next", next);
        equal(rewards.emission(0), 0, "there is no epoch 0");
    }

    /// @notice What an epoch does not pay returns to what remains, and the next may pay its share of it and no more. Time
    /// that passes between two epochs gives nothing.
    function test_WhatIsNotPaidReturns(uint256 seed) external {
        uint256 remaining = CAP - PREMINT;
        for (uint64 epoch = 1; epoch <= 6; ++epoch) {
            uint256 allowed = (remaining * DECAY_NUMERATOR) / DECAY_DENOMINATOR;
            equal(rewards.emission(epoch), allowed, "a share of what remains");
            equal(rewards.emission(epoch + 3), allowed, "as much for those to come, if nothing is paid before");
            refuse(
                attestationFor("root", allowed + 1),
                abi.encodeWithSelector(ICuriosityRewards.RewardsEmissionExceeded.selector, allowed + 1, allowed)
            );
            // From nothing at all to all of it; the next comes after a day or after years.
            uint256 paid = within(uint256(keccak256(abi.encode(seed, epoch))), 0, allowed);
            post("root", paid);
            remaining -= paid;
            VM.warp(nowTime() + within(seed >> (32 * epoch), INTERVAL, 4_000 days));
            if (nowTime() >= rewards.status().activatableAt && (seed >> epoch) & 1 == 0) rewards.activate();
            equal(rewards.emission(epoch), allowed, "the same when it is over");
        }
    }

    /// @notice A hundred epochs that pay nothing leave the next one what the first could pay, and not a wei more.
    function test_QuietEpochsAreNoWindfall() external {
        uint256 first = rewards.emission(1);
        for (uint256 i = 0; i < 100; ++i) {
            post("root", 0);
            VM.warp(nowTime() + DELAY + INTERVAL);
            rewards.activate();
        }
        equal(rewards.emission(101), first, "as much as the first");
        refuse(
            attestationFor("root", first + 1),
            abi.encodeWithSelector(ICuriosityRewards.RewardsEmissionExceeded.selector, first + 1, first)
        );
        post("root", first);
    }

    /// @notice What any epoch may emit is known for less gas than a transfer.
    function test_TheEmissionOfAnyEpochIsCheap() external {
        uint256 first = rewards.emission(1);
        for (uint64 epoch = 1; epoch <= 40; ++epoch) {
            post("root", 1);
            VM.warp(nowTime() + DELAY);
            rewards.activate();
        }
        isTrue(this.gasOfEmission(1) < 10_000 && this.gasOfEmission(40) < 10_000, "of one that is over");
        isTrue(this.gasOfEmission(41) < 10_000, "less than a transfer");
        isTrue(this.gasOfEmission(type(uint64).max) < 10_000, "also far into the future");
        equal(rewards.emission(1), first, "and the same amount as ever");
    }

    /// @dev A call of its own for each, so that all slots are cold.
    function gasOfEmission(uint64 epoch) external view returns (uint256 gas) {
        gas = gasleft();
        rewards.emission(epoch);
        gas -= gasleft();
    }

    function test_TheInterval() external {
        post("root", 0);
        uint256 allowedAt = nowTime() + INTERVAL;
        VM.warp(allowedAt - 1);
        ICuriosityRewards.Attestation memory attestation = attestationFor("next", 0);
        refuse(
            attestation,
            abi.encodeWithSelector(ICuriosityRewards.RewardsEpochTooSoon.selector, allowedAt - 1, allowedAt)
        );
        VM.warp(allowedAt);
        rewards.postRoot(attestation, signaturesFor(attestation, THRESHOLD));
    }

    function test_TheIntervalHoldsForTheFirstEpochToo() external {
        deploy();
        refuse(
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
        refuse(attestationFor("over", 0), abi.encodeWithSelector(ICuriosityRewards.RewardsTooManyWaiting.selector, 31));
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

    /// @notice Ten years of days emit nine tenths of what there is to emit, and never more.
    function test_NineTenthsInTenYears() external pure {
        uint256 remaining = CAP - PREMINT;
        for (uint256 i = 0; i < 3_653; ++i) remaining -= (remaining * DECAY_NUMERATOR) / DECAY_DENOMINATOR;
        uint256 emitted = CAP - PREMINT - remaining;
        isTrue(emitted * 1_000 >= (CAP - PREMINT) * 899 && emitted * 1_000 <= (CAP - PREMINT) * 901, "90 %");
    }

    /// @notice Ten years of epochs, posted and activated one by one, each at its limit: the emissions are those that
    /// Python reaches, to the wei. `tests/test_contracts_emission.py` reads the digest here.
    function test_TenYearsToTheWei() external {
        bytes32 digest = 0;
        uint256 emitted = 0;
        for (uint64 epoch = 1; epoch <= 3_653; ++epoch) {
            uint256 amount = this.closeAtTheLimit(epoch);
            digest = keccak256(abi.encode(digest, amount));
            emitted += amount;
        }
        equal(digest, EMISSIONS, "the emissions of ten years");
        equal(token.totalSupply(), PREMINT + emitted, "minted");
        // Asked afterwards, each from its own record, they are the same.
        bytes32 again = 0;
        for (uint64 epoch = 1; epoch <= 3_653; ++epoch) again = keccak256(abi.encode(again, rewards.emission(epoch)));
        equal(again, EMISSIONS, "the same from the records");
        isTrue(rewards.emission(3_654) < rewards.emission(3_653), "and the next");
        equal(rewards.status().activeEpoch, 3_653, "active");
    }

    /// @dev A call of its own for each epoch, so that what it needs of memory is free again.
    function closeAtTheLimit(uint64 epoch) external returns (uint256 amount) {
        amount = _limit - (_limit * (DECAY_DENOMINATOR - DECAY_NUMERATOR) + DECAY_DENOMINATOR - 1) / DECAY_DENOMINATOR;
        VM.warp(nowTime() + INTERVAL);
        refuse(
            attestationFor("root", amount + 1),
            abi.encodeWithSelector(ICuriosityRewards.RewardsEmissionExceeded.selector, amount + 1, amount)
        );
        equal(post("root", amount), epoch, "epoch");
        VM.warp(nowTime() + DELAY);
        rewards.activate();
        _limit -= amount;
    }
}
