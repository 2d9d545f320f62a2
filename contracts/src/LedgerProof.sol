// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Inclusion proofs of the ledger's tree
/// @notice RFC 6962 hashing, checked as RFC 9162, section 2.1.3.2, says; SHA-256 is a precompile.
library LedgerProof {
    /// @notice Whether the tree of `size` leaves under `root` holds `leafHash` at `index`. A tree holds one value at
    /// each index, so that two answers of yes for different values need different trees.
    function isIncluded(
        bytes32 root,
        uint64 size,
        uint64 index,
        bytes32 leafHash,
        bytes32[] calldata proof
    ) internal pure returns (bool) {
        if (index >= size) return false;
        uint256 place = index;
        uint256 last = size - 1;
        bytes32 node = leafHash;
        for (uint256 i = 0; i < proof.length; ++i) {
            if (last == 0) return false;
            if (place & 1 == 1 || place == last) {
                node = sha256(bytes.concat(hex"01", proof[i], node));
                // The last node of a level without a partner rises unchanged.
                while (place & 1 == 0 && place != 0) {
                    place >>= 1;
                    last >>= 1;
                }
            } else {
                node = sha256(bytes.concat(hex"01", node, proof[i]));
            }
            place >>= 1;
            last >>= 1;
        }
        return last == 0 && node == root;
    }
}
