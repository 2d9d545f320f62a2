// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @notice Those of forge's cheat codes that these tests use, at the address where forge answers them.
interface Cheats {
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function addr(uint256 key) external pure returns (address);
    function prank(address sender) external;
    function warp(uint256 time) external;
    function getBlockTimestamp() external view returns (uint256);
    function chainId(uint256 id) external;
    function expectPartialRevert(bytes4 selector) external;
    function expectRevert(bytes calldata data) external;
    function expectRevert() external;
    function expectEmit() external;
}

/// @notice Assertions, numbers within bounds, and signatures; no more of a test library than these tests need.
abstract contract Cheating {
    Cheats internal constant VM = Cheats(address(uint160(uint256(keccak256("hevm cheat code")))));

    error NotEqual(uint256 left, uint256 right, string what);
    error NotTrue(string what);

    function equal(uint256 left, uint256 right, string memory what) internal pure {
        if (left != right) revert NotEqual(left, right, what);
    }

    function equal(bytes32 left, bytes32 right, string memory what) internal pure {
        if (left != right) revert NotEqual(uint256(left), uint256(right), what);
    }

    function isTrue(bool condition, string memory what) internal pure {
        if (!condition) revert NotTrue(what);
    }

    /// @notice A number from `low` to `high`, both included, from any number.
    function within(uint256 number, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + (number % (high - low + 1));
    }

    /// @notice The block time, asked for: a compiler may take it for the same all through a transaction, and it is warped.
    function nowTime() internal view returns (uint256) {
        return VM.getBlockTimestamp();
    }

    function signed(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }
}
