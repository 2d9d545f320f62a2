// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CuriosityToken} from "../src/CuriosityToken.sol";

/// @notice The arithmetic of money, proven for every value by symbolic execution (`python -m contracts.audit --prove`). forge
/// does not run these: their names begin with `check_`. Quotients are proven in `contracts/integer_proofs.py`.
/// @dev Each restates the lines of {CuriosityRewards} that it is about, which the tests tie to the contract by play.
contract ProofsTest {
    uint256 private constant CAP = type(uint96).max;

    /// @notice A bit that is set stays set, no other changes, and what was counted only grows.
    function check_AClaimSetsItsBitAlone(uint128 epochs, uint64 epoch, uint64 other) external pure {
        uint128 bit = uint128(1) << uint128(epoch % 128);
        uint128 otherBit = uint128(1) << uint128(other % 128);
        uint128 later = epochs | bit;
        assert(later & bit != 0);
        assert(later & epochs == epochs);
        if (epoch % 128 != other % 128) assert((later & otherBit) == (epochs & otherBit));
    }

    /// @notice Two epochs share a place only in different slots: no claim can stand for another.
    function check_NoTwoEpochsShareABit(uint64 first, uint64 second) external pure {
        if (first == second) return;
        assert(first / 128 != second / 128 || first % 128 != second % 128);
    }

    /// @notice What is booked for an account cannot wrap: paid amounts add up to at most the cap.
    function check_ThePaidSumCannotWrap(uint128 paid, uint256 amount) external pure {
        if (paid > CAP || amount > CAP - paid) return;
        unchecked {
            assert(uint256(paid + uint128(amount)) == uint256(paid) + amount);
        }
    }

    /// @notice Two epochs have two pools.
    function check_PoolsAreApart(uint64 first, uint64 second) external pure {
        if (first == second) return;
        uint160 pools = uint160(uint256(keccak256("Curiosity pool"))) & ~uint160(type(uint64).max);
        assert(address(pools | first) != address(pools | second));
    }

    /// @notice On the token itself: paying from one pool leaves every other pool as it was, and takes exactly the amount.
    function check_PayingFromAPoolTouchesNoOther(uint96 first, uint96 second, uint96 amount) external {
        if (uint256(first) + second > CAP) return;
        CuriosityToken token = new CuriosityToken(CAP, address(7), 0);
        token.mint(1, first);
        token.mint(2, second);
        try token.pay(1, address(9), amount) {
            assert(amount <= first);
            assert(token.balanceOf(token.poolOf(1)) == uint256(first) - amount);
            assert(token.balanceOf(address(9)) == amount);
        } catch {
            assert(amount > first);
        }
        assert(token.balanceOf(token.poolOf(2)) == second);
        assert(token.totalSupply() == uint256(first) + second);
    }
}
