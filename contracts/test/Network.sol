// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {CuriosityRewards} from "../src/CuriosityRewards.sol";
import {CuriosityToken} from "../src/CuriosityToken.sol";
import {ICuriosityRewards} from "../src/ICuriosityRewards.sol";
import {Cheating} from "./Cheats.sol";
import {RewardTree} from "./RewardTree.sol";

/// @notice A deployed network with five validators, of which three make a quorum, and what it takes to close epochs.
abstract contract Network is Cheating {
    uint256 internal constant CAP = 1_000_000 ether;
    uint256 internal constant PREMINT = 10_000 ether;
    uint256 internal constant DELAY = 7 days;
    uint256 internal constant INTERVAL = 1 days;
    uint64 internal constant DECAY_NUMERATOR = 3_151;
    uint64 internal constant DECAY_DENOMINATOR = 5_000_000;
    uint256 internal constant THRESHOLD = 3;
    address internal constant OWNER = address(0x0A11);
    address internal constant GUARDIAN = address(0x0B22);
    address internal constant TREASURY = address(0x0C33);

    CuriosityRewards internal rewards;
    CuriosityToken internal token;
    // In increasing order of address.
    uint256[] internal keys;

    struct Leaf {
        address account;
        uint256 amount;
    }

    function deploy() internal {
        VM.warp(1_800_000_000);
        delete keys;
        for (uint256 i = 1; i <= 5; ++i) _insert(i * 7_919);
        rewards = new CuriosityRewards(settings());
        token = CuriosityToken(rewards.token());
    }

    function settings() internal view returns (CuriosityRewards.Settings memory) {
        return
            CuriosityRewards.Settings({
                cap: CAP,
                premint: PREMINT,
                treasury: TREASURY,
                owner: OWNER,
                guardian: GUARDIAN,
                activationDelay: DELAY,
                minEpochInterval: INTERVAL,
                decayNumerator: DECAY_NUMERATOR,
                decayDenominator: DECAY_DENOMINATOR,
                validators: addressesOf(keys),
                threshold: THRESHOLD
            });
    }

    function addressesOf(uint256[] memory list) internal pure returns (address[] memory addresses) {
        addresses = new address[](list.length);
        for (uint256 i = 0; i < list.length; ++i) addresses[i] = VM.addr(list[i]);
    }

    /// @notice What the next epoch's attestation must say, for this root and this much to mint.
    function attestationFor(
        bytes32 rewardRoot,
        uint256 minted
    ) internal view returns (ICuriosityRewards.Attestation memory) {
        ICuriosityRewards.Status memory status = rewards.status();
        return
            ICuriosityRewards.Attestation({
                epoch: status.latestEpoch + 1,
                ledgerSize: status.latest.ledgerSize + 10,
                ledgerRoot: keccak256(abi.encode("ledger", status.latestEpoch)),
                rewardRoot: rewardRoot,
                cumulativeTotal: status.latest.cumulativeTotal + minted,
                previousRoot: status.latest.rewardRoot,
                setId: status.setId,
                attempt: status.attempt
            });
    }

    function signaturesFor(
        ICuriosityRewards.Attestation memory attestation,
        uint256 count
    ) internal view returns (bytes[] memory signatures) {
        bytes32 digest = rewards.hashAttestation(attestation);
        signatures = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) signatures[i] = signed(keys[i], digest);
    }

    function post(bytes32 rewardRoot, uint256 minted) internal returns (uint64) {
        ICuriosityRewards.Attestation memory attestation = attestationFor(rewardRoot, minted);
        rewards.postRoot(attestation, signaturesFor(attestation, THRESHOLD));
        return attestation.epoch;
    }

    /// @notice Posts and sees it refused for that reason.
    function refusePosting(
        ICuriosityRewards.Attestation memory attestation,
        bytes[] memory signatures,
        bytes memory why
    ) internal {
        VM.expectRevert(why);
        rewards.postRoot(attestation, signatures);
    }

    /// @notice Posts what a quorum signed and sees it refused for that reason.
    function refuse(ICuriosityRewards.Attestation memory attestation, bytes memory why) internal {
        refusePosting(attestation, signaturesFor(attestation, THRESHOLD), why);
    }

    /// @notice Posts and activates an epoch with these leaves.
    function close(Leaf[] memory leaves, uint256 minted) internal returns (uint64 epoch) {
        VM.warp(nowTime() + INTERVAL);
        epoch = post(RewardTree.rootOf(hashesOf(leaves)), minted);
        VM.warp(nowTime() + DELAY);
        rewards.activate();
    }

    function hashesOf(Leaf[] memory leaves) internal pure returns (bytes32[] memory hashes) {
        hashes = new bytes32[](leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) hashes[i] = RewardTree.leafOf(leaves[i].account, leaves[i].amount);
    }

    function proofOf(Leaf[] memory leaves, uint256 index) internal pure returns (bytes32[] memory) {
        return RewardTree.proofOf(hashesOf(leaves), index);
    }

    function one(address account, uint256 amount) internal pure returns (Leaf[] memory leaves) {
        leaves = new Leaf[](1);
        leaves[0] = Leaf(account, amount);
    }

    function two(Leaf memory first, Leaf memory second) internal pure returns (Leaf[] memory leaves) {
        leaves = new Leaf[](2);
        (leaves[0], leaves[1]) = (first, second);
    }

    /// @notice The EIP-712 digest of a struct for a contract on this chain.
    function typedDigest(address at, string memory name, bytes32 structHash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256("1"),
                block.chainid,
                at
            )
        );
        return keccak256(abi.encodePacked(hex"1901", domain, structHash));
    }

    function _insert(uint256 key) private {
        keys.push(key);
        for (uint256 i = keys.length - 1; i > 0 && VM.addr(keys[i - 1]) > VM.addr(keys[i]); --i) {
            (keys[i - 1], keys[i]) = (keys[i], keys[i - 1]);
        }
    }
}
