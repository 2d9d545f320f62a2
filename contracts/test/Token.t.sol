// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CuriosityToken} from "../src/CuriosityToken.sol";
import {Network} from "./Network.sol";

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
