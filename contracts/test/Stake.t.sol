// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CuriosityStake} from "../src/CuriosityStake.sol";
import {ICuriosityStake} from "../src/ICuriosityStake.sol";
import {Staking} from "./Staking.sol";

/// @notice Bonds, exits and frozen weights.
contract StakeTest is Staking {
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

    function test_NothingIsNeitherBondedNorExits() external {
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNothing.selector));
        _bond(_validator, 0);
        _bond(_validator, MIN);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNothing.selector));
        _bond(_validator, 0);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNothing.selector));
        VM.prank(_validator);
        _stake.exit(_validator, 0);
        equal(_stake.validatorOf(_validator).exitsAt, 0, "nothing waits");
    }

    /// @notice All that is bonded can exit in one call, however often somebody bonds a wei more just before it.
    function test_AllOfItExitsThoughSomebodyBondsAWeiMore() external {
        _bond(_validator, MIN);
        _bond(_validator, 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeTooSmall.selector, 1, MIN));
        VM.prank(_validator);
        _stake.exit(_validator, MIN);
        VM.expectEmit();
        emit ICuriosityStake.ExitStarted(_validator, MIN + 1, nowTime() + 14 days);
        VM.prank(_validator);
        _stake.exit(_validator, type(uint256).max);
        equal(_stake.validatorOf(_validator).bonded, 0, "all of it");
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNothing.selector));
        VM.prank(_validator);
        _stake.exit(_validator, type(uint256).max);
    }

    /// @notice Whoever has nothing bonded holds its place for two periods, and no call makes them longer.
    function test_NobodyHoldsAPlaceWithNothingBonded() external {
        uint256 little = 1 ether;
        _stake = new CuriosityStake(rewards, TREASURY, little, PERIOD);
        token.approve(address(_stake), type(uint256).max);
        for (uint256 i = 1; i <= 127; ++i) _bond(address(uint160(i)), little);
        _bond(_validator, little);
        VM.prank(_validator);
        _stake.exit(_validator, little);
        for (uint256 i = 0; i < 2; ++i) {
            _later(PERIOD - 1);
            VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNothing.selector));
            VM.prank(_validator);
            _stake.exit(_validator, 0);
        }
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNotRemovable.selector, _validator));
        _stake.remove(_validator);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeFull.selector, 129));
        _bond(OTHER, little);
        _later(2);
        _stake.remove(_validator);
        _bond(OTHER, little);
        equal(_stake.validatorOf(OTHER).bonded, little, "an honest one came in");
        _later(14 days);
        VM.prank(_validator);
        equal(_stake.withdraw(_validator), little, "what exited is still the owner's");
    }

    /// @notice The two periods begin with the last exit, not with the first.
    function test_APlaceThatWasUsedAgainWaitsAgain() external {
        _bond(_validator, MIN);
        VM.prank(_validator);
        _stake.exit(_validator, MIN);
        _later(PERIOD);
        _bond(_validator, MIN);
        _later(4 * PERIOD);
        VM.prank(_validator);
        _stake.exit(_validator, MIN);
        equal(_stake.validatorOf(_validator).emptySince, nowTime(), "empty since now");
        _later(2 * PERIOD - 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNotRemovable.selector, _validator));
        _stake.remove(_validator);
        _later(1);
        _stake.remove(_validator);
    }

    /// @notice Of several exits none is paid before its own 14 days are over: a later one never uses what an earlier one
    /// has waited.
    function test_NoExitLeavesBeforeItsOwnDelay(uint256 seed) external {
        _bond(_validator, 40 * MIN);
        uint256[8] memory begun;
        uint256 paid = 0;
        for (uint256 i = 0; i < begun.length; ++i) {
            VM.prank(_validator);
            _stake.exit(_validator, MIN);
            begun[i] = nowTime();
            _later(within(seed >> (24 * i), 1 hours, 20 days));
            VM.prank(_validator);
            try _stake.withdraw(_validator) returns (uint256 amount) {
                paid += amount;
            } catch {}
            uint256 ripe = 0;
            for (uint256 j = 0; j <= i; ++j) if (nowTime() >= begun[j] + 14 days) ripe += MIN;
            isTrue(paid <= ripe, "no exit leaves early");
        }
        _later(14 days);
        VM.prank(_validator);
        equal(paid + _stake.withdraw(_validator), 8 * MIN, "all of them leave");
    }

    function test_ALaterExitDoesNotLeaveWithTheEarlier() external {
        _bond(_validator, 3 * MIN);
        VM.prank(_validator);
        _stake.exit(_validator, MIN);
        _later(14 days - 1);
        VM.prank(_validator);
        _stake.exit(_validator, 2 * MIN);
        uint256 at = nowTime() + 14 days;
        _later(1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNotWithdrawable.selector, nowTime(), at));
        VM.prank(_validator);
        _stake.withdraw(_validator);
        // All of it can still be slashed.
        _slashDouble();
        equal(token.balanceOf(_validator), 0, "nothing got away");
        equal(token.balanceOf(address(_stake)), 0, "all was taken");
    }

    /// @notice With the longest period that there can be a week is left to show what was done in the last second that
    /// the stake counts.
    function test_AWeekIsLeftAfterAStakeLastCounted() external {
        uint256 longest = 7 days / 2;
        _stake = new CuriosityStake(rewards, TREASURY, MIN, longest);
        token.approve(address(_stake), type(uint256).max);
        _bond(_validator, MIN);
        // The second after the weights of the period after the next were frozen: it counts as long as it ever can.
        _later(longest + 1);
        uint256 period = _stake.currentPeriod();
        VM.prank(_validator);
        _stake.exit(_validator, MIN);
        uint256 at = nowTime() + 14 days;
        VM.warp(_start + (period + 1) * longest - 1);
        equal(_stake.currentPeriod(), period + 1, "the last period");
        equal(_stake.weight(_validator, period + 1), MIN, "in which it counts in full");
        _later(7 days);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNotWithdrawable.selector, nowTime(), at));
        VM.prank(_validator);
        _stake.withdraw(_validator);
        _slashDouble();
        equal(token.balanceOf(address(_stake)), 0, "the fault cost all of it");
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

    function test_TheSecondPeriodIsFrozenWithTheFirstSecond() external {
        _bond(_validator, MIN);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeNotFrozen.selector, 2, _start));
        _stake.weight(_validator, 2);
        _later(1);
        _bond(OTHER, MIN);
        equal(_stake.weight(_validator, 2), MIN, "bonded in the first second");
        equal(_stake.totalWeight(2), MIN, "and nobody later");
        equal(_stake.weight(_validator, 1), 0, "nobody counts in the first");
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

    function test_ConstructorArgumentsThatCannotWork() external {
        _refuseArguments(address(0), MIN, PERIOD, "treasury");
        _refuseArguments(TREASURY, 0, PERIOD, "minStake");
        _refuseArguments(TREASURY, MIN, 0, "periodLength");
        _refuseArguments(TREASURY, MIN, 7 days / 2 + 1, "periodLength");
        _refuseArguments(TREASURY, MIN, 7 days, "periodLength");
        _refuseArguments(TREASURY, MIN, type(uint256).max, "periodLength");
        new CuriosityStake(rewards, TREASURY, 1, 7 days / 2);
    }

    function _refuseArguments(address treasury, uint256 min, uint256 period, string memory name) private {
        VM.expectRevert(abi.encodeWithSelector(ICuriosityStake.StakeInvalidParameter.selector, name));
        new CuriosityStake(rewards, treasury, min, period);
    }
}
