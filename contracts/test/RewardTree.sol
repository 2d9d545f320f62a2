// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";

/// @notice The reward tree as `protocol/rewards.RewardTree` makes it but for the order of the leaves, which no proof
/// depends on.
library RewardTree {
    function leafOf(address account, uint256 amount) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(account, amount))));
    }

    /// @notice The 2n - 1 nodes, the root first, the children of i at 2i + 1 and 2i + 2.
    function nodesOf(bytes32[] memory leaves) internal pure returns (bytes32[] memory nodes) {
        uint256 count = leaves.length;
        nodes = new bytes32[](2 * count - 1);
        for (uint256 i = 0; i < count; ++i) nodes[count - 1 + i] = leaves[i];
        for (uint256 i = count - 1; i > 0; --i) {
            nodes[i - 1] = Hashes.commutativeKeccak256(nodes[2 * i - 1], nodes[2 * i]);
        }
    }

    function rootOf(bytes32[] memory leaves) internal pure returns (bytes32) {
        return leaves.length == 0 ? bytes32(0) : nodesOf(leaves)[0];
    }

    function proofOf(bytes32[] memory leaves, uint256 index) internal pure returns (bytes32[] memory proof) {
        bytes32[] memory nodes = nodesOf(leaves);
        uint256 depth = 0;
        for (uint256 at = leaves.length - 1 + index; at > 0; at = (at - 1) / 2) ++depth;
        proof = new bytes32[](depth);
        uint256 place = leaves.length - 1 + index;
        for (uint256 i = 0; i < depth; ++i) {
            proof[i] = nodes[place % 2 == 1 ? place + 1 : place - 1];
            place = (place - 1) / 2;
        }
    }
}
