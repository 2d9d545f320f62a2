// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CuriosityStake} from "../src/CuriosityStake.sol";
import {ICuriosityRewards} from "../src/ICuriosityRewards.sol";
import {ICuriosityStake} from "../src/ICuriosityStake.sol";
import {Network} from "./Network.sol";

/// @notice A network with the stake contract, a validator that can bond, and evidence of every fault.
abstract contract Staking is Network {
    uint256 internal constant MIN = 100 ether;
    uint256 internal constant PERIOD = 1 days;
    uint256 internal constant KEY = 0xBEEF;
    address internal constant OTHER = address(0x07E4);
    address internal constant REPORTER = address(0x4E904);
    bytes32 internal constant ORIGIN = keccak256("example.org/ledger");
    bytes32 internal constant PAIR = keccak256("pair");

    CuriosityStake internal _stake;
    address internal _validator;
    uint256 internal _start;

    function setUp() public virtual {
        deploy();
        _start = nowTime();
        _stake = new CuriosityStake(rewards, TREASURY, MIN, PERIOD);
        _validator = VM.addr(KEY);
        VM.prank(TREASURY);
        token.transfer(address(this), 5_000 ether);
        token.approve(address(_stake), type(uint256).max);
    }

    function _bond(address validator, uint256 amount) internal {
        _stake.bond(validator, amount);
    }

    function _later(uint256 time) internal {
        VM.warp(nowTime() + time);
    }

    // Evidence.

    function _slashDouble() internal {
        ICuriosityStake.TreeHead memory a = ICuriosityStake.TreeHead(ORIGIN, 7, "a");
        ICuriosityStake.TreeHead memory b = ICuriosityStake.TreeHead(ORIGIN, 7, "b");
        bytes memory signedA = _signHead(KEY, a);
        bytes memory signedB = _signHead(KEY, b);
        _stake.reportDoubleHead(a, signedA, b, signedB);
    }

    function _signHead(uint256 key, ICuriosityStake.TreeHead memory head) internal view returns (bytes memory) {
        return _signStruct(key, abi.encode(keccak256("TreeHead(bytes32 origin,uint64 size,bytes32 root)"), head));
    }

    function _signCommit(ICuriosityStake.VerdictCommit memory commit) internal view returns (bytes memory) {
        return
            _signStruct(KEY, abi.encode(keccak256("VerdictCommit(bytes32 pair,uint64 round,bytes32 commitment)"), commit));
    }

    function _signReveal(ICuriosityStake.VerdictReveal memory reveal) internal view returns (bytes memory) {
        return
            _signStruct(
                KEY,
                abi.encode(keccak256("VerdictReveal(bytes32 pair,uint64 round,bytes32 verdict,bytes32 salt)"), reveal)
            );
    }

    function _signStruct(uint256 key, bytes memory encoded) internal view returns (bytes memory) {
        return signed(key, typedDigest(address(_stake), "CuriosityStake", keccak256(encoded)));
    }

    /// @dev Leaf hashes of a history that is common to all before `fork` and the branch's own from there on.
    function _leaves(uint256 size, uint256 fork, string memory branch) internal pure returns (bytes32[] memory leaves) {
        leaves = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            leaves[i] = i < fork ? sha256(abi.encode("common", i)) : sha256(abi.encode(branch, i));
        }
    }

    function _branch(bytes32[] memory leaves, uint256 index) internal view returns (ICuriosityStake.Branch memory made) {
        made.head = ICuriosityStake.TreeHead(ORIGIN, uint64(leaves.length), _rootOf(leaves, 0, leaves.length));
        made.signature = _signHead(KEY, made.head);
        made.leafHash = leaves[index];
        made.proof = _pathOf(leaves, 0, leaves.length, index);
    }

    function _withRoot(
        ICuriosityStake.Branch memory branch,
        bytes32 root
    ) internal view returns (ICuriosityStake.Branch memory changed) {
        changed.head = ICuriosityStake.TreeHead(branch.head.origin, branch.head.size, root);
        changed.signature = _signHead(KEY, changed.head);
        changed.leafHash = branch.leafHash;
        changed.proof = branch.proof;
    }

    /// @dev The first leaf of a full tree of 2^depth leaves, of which only the left spine is made.
    function _spine(uint256 depth, string memory branch) internal view returns (ICuriosityStake.Branch memory made) {
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
    function _rootOf(bytes32[] memory leaves, uint256 from, uint256 to) internal pure returns (bytes32) {
        if (to - from == 1) return leaves[from];
        uint256 middle = from + _split(to - from);
        return sha256(bytes.concat(hex"01", _rootOf(leaves, from, middle), _rootOf(leaves, middle, to)));
    }

    function _pathOf(
        bytes32[] memory leaves,
        uint256 from,
        uint256 to,
        uint256 index
    ) internal pure returns (bytes32[] memory path) {
        if (to - from == 1) return new bytes32[](0);
        uint256 middle = from + _split(to - from);
        bool isLeft = index < middle;
        bytes32[] memory below = isLeft ? _pathOf(leaves, from, middle, index) : _pathOf(leaves, middle, to, index);
        path = new bytes32[](below.length + 1);
        for (uint256 i = 0; i < below.length; ++i) path[i] = below[i];
        path[below.length] = isLeft ? _rootOf(leaves, middle, to) : _rootOf(leaves, from, middle);
    }

    function _split(uint256 size) internal pure returns (uint256 half) {
        half = 1;
        while (half * 2 < size) half *= 2;
    }
}
