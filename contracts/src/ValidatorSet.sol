// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title A sorted list of validators, kept as the code of an account
/// @notice One cold account costs as much gas as one cold slot and holds the whole set, so that a quorum is checked
/// against one read and 128 members can be replaced for less than a million gas.
library ValidatorSet {
    /// @notice Largest set; bounds the gas of writing one and of checking a quorum.
    uint256 internal constant MAX_MEMBERS = 128;

    /// @notice Members must be 1 to the largest count and the threshold more than half, so that two quorums meet.
    error ValidatorSetInvalid(uint256 count, uint256 threshold);
    /// @notice Members and signers come in strictly increasing order, so that none is there twice.
    error ValidatorSetNotSorted(address previous, address next);
    /// @notice The account for the list could not be created.
    error ValidatorSetNotWritten();

    /// @notice Checks the set and returns the account whose code is `abi.encode(members)`.
    function write(address[] memory members, uint256 threshold) internal returns (address account) {
        uint256 count = members.length;
        if (count == 0 || count > MAX_MEMBERS || threshold > count || threshold * 2 <= count) {
            revert ValidatorSetInvalid(count, threshold);
        }
        address previous = address(0);
        for (uint256 i = 0; i < count; ++i) {
            if (members[i] <= previous) revert ValidatorSetNotSorted(previous, members[i]);
            previous = members[i];
        }
        // The encoding begins with a zero byte, which is the opcode STOP: nobody can run the list.
        bytes memory list = abi.encode(members);
        // PUSH2 size, DUP1, PUSH1 10, RETURNDATASIZE, CODECOPY, RETURNDATASIZE, RETURN: these ten bytes, then the list.
        bytes memory creation = bytes.concat(hex"61", bytes2(uint16(list.length)), hex"80600a3d393df3", list);
        assembly ("memory-safe") {
            account := create(0, add(creation, 0x20), mload(creation))
        }
        if (account == address(0)) revert ValidatorSetNotWritten();
    }

    /// @notice The members that {write} put there, in increasing order.
    function read(address account) internal view returns (address[] memory members) {
        return abi.decode(account.code, (address[]));
    }
}
