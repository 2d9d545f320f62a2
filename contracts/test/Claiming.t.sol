// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {IERC20Errors} from "@openzeppelin/contracts/interfaces/draft-IERC6093.sol";
import {CuriosityRewards} from "../src/CuriosityRewards.sol";
import {ICuriosityRewards} from "../src/ICuriosityRewards.sol";
import {ContractWallet} from "./ContractWallet.sol";
import {Network} from "./Network.sol";
import {RewardTree} from "./RewardTree.sol";

/// @notice Each rule of claiming, at its edge.
contract ClaimingTest is Network {
    uint256 private constant ALICE_KEY = 0xA11CE;
    address private constant BOB = address(0xB0B);
    address private constant COLD = address(0xC01D);
    address private _alice;

    function setUp() external {
        deploy();
        _alice = VM.addr(ALICE_KEY);
    }

    function test_ALeafIsPaidOnce() external {
        Leaf[] memory leaves = two(Leaf(_alice, 30), Leaf(BOB, 12));
        uint64 epoch = close(leaves, 42);
        isTrue(!rewards.isClaimed(_alice, epoch), "not yet");
        VM.expectEmit();
        emit ICuriosityRewards.Claimed(_alice, _alice, 30);
        equal(rewards.claim(_alice, epoch, 30, proofOf(leaves, 0)), 30, "paid");
        equal(token.balanceOf(_alice), 30, "received");
        equal(rewards.pool(epoch).unpaid, 12, "the pool");
        isTrue(rewards.isClaimed(_alice, epoch) && !rewards.isClaimed(BOB, epoch), "whose");
        equal(rewards.claim(_alice, epoch, 30, proofOf(leaves, 0)), 0, "again");
        equal(rewards.claimed(_alice), 30, "claimed");
        equal(rewards.claim(BOB, epoch, 12, proofOf(leaves, 1)), 12, "the other");
    }

    function test_ALeafOfNothingPaysNothing() external {
        Leaf[] memory leaves = two(Leaf(_alice, 0), Leaf(BOB, 12));
        uint64 epoch = close(leaves, 12);
        equal(rewards.claim(_alice, epoch, 0, proofOf(leaves, 0)), 0, "nothing");
        equal(rewards.claim(BOB, epoch, 12, proofOf(leaves, 1)), 12, "the other");
    }

    function test_OnlyTheLeafItself(uint256 seed, uint96 amount, address account) external {
        Leaf[] memory leaves = two(Leaf(_alice, 30), Leaf(BOB, 12));
        uint64 epoch = close(leaves, 42);
        if (account == _alice && amount == 30) return;
        bytes32[] memory proof = proofOf(leaves, seed % 2);
        VM.expectPartialRevert(ICuriosityRewards.RewardsInvalidProof.selector);
        rewards.claim(account, epoch, amount, proof);
        proof = proofOf(leaves, 0);
        proof[0] ^= bytes32(uint256(1) << (seed >> 8) % 256);
        VM.expectPartialRevert(ICuriosityRewards.RewardsInvalidProof.selector);
        rewards.claim(_alice, epoch, 30, proof);
    }

    function test_AnInnerNodeIsNoLeaf() external {
        Leaf[] memory leaves = two(Leaf(_alice, 30), Leaf(BOB, 12));
        uint64 epoch = close(leaves, 42);
        bytes32[] memory hashes = hashesOf(leaves);
        (bytes32 low, bytes32 high) = hashes[0] < hashes[1] ? (hashes[0], hashes[1]) : (hashes[1], hashes[0]);
        bytes32 root = keccak256(abi.encode(low, high));
        equal(root, rewards.pool(epoch).rewardRoot, "the root is over the two");
        VM.expectPartialRevert(ICuriosityRewards.RewardsInvalidProof.selector);
        rewards.claim(address(uint160(uint256(low))), epoch, uint256(high), new bytes32[](0));
    }

    function test_NoEpochButActiveOnes() external {
        Leaf[] memory leaves = one(_alice, 30);
        VM.warp(nowTime() + INTERVAL);
        uint64 epoch = post(RewardTree.rootOf(hashesOf(leaves)), 30);
        for (uint64 wrong = 0; wrong < 3; ++wrong) {
            VM.expectRevert(
                abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidProof.selector, _alice, wrong, 30, bytes32(0))
            );
            rewards.claim(_alice, wrong, 30, new bytes32[](0));
        }
        VM.warp(nowTime() + DELAY);
        rewards.activate();
        equal(rewards.claim(_alice, epoch, 30, new bytes32[](0)), 30, "now");
    }

    /// @notice However much a lying quorum writes into its root: it gets what its own epoch minted, and others all theirs.
    function test_AnInflatedLeafTakesNothingFromOthers(uint256 inflated, uint256 minted, uint256 owed) external {
        owed = within(owed, 1, rewards.emission(1));
        minted = within(minted, 0, rewards.emission(2));
        inflated = within(inflated, 0, owed + minted + 1 ether);
        uint64 honest = close(one(_alice, owed), owed);
        uint64 lying = close(one(BOB, inflated), minted);
        if (inflated > minted) {
            VM.expectRevert(
                abi.encodeWithSelector(
                    IERC20Errors.ERC20InsufficientBalance.selector,
                    token.poolOf(lying),
                    minted,
                    inflated
                )
            );
        }
        rewards.claim(BOB, lying, inflated, new bytes32[](0));
        isTrue(token.balanceOf(BOB) <= minted, "the liar has what was minted, at most");
        equal(rewards.claim(_alice, honest, owed, new bytes32[](0)), owed, "the other has everything");
    }

    function test_ManyEpochsInOneTransaction() external {
        ICuriosityRewards.Claim[] memory list = new ICuriosityRewards.Claim[](5);
        for (uint64 i = 0; i < 3; ++i) {
            list[i] = ICuriosityRewards.Claim(_alice, close(one(_alice, i + 1), i + 1), i + 1, new bytes32[](0));
        }
        list[3] = ICuriosityRewards.Claim(BOB, close(one(BOB, 10), 10), 10, new bytes32[](0));
        list[4] = list[1];
        rewards.claim(_alice, 3, 3, new bytes32[](0));
        VM.expectEmit();
        emit ICuriosityRewards.Claimed(_alice, _alice, 3);
        VM.expectEmit();
        emit ICuriosityRewards.Claimed(BOB, BOB, 10);
        equal(rewards.claimMany(list), 13, "all but what was paid");
        equal(token.balanceOf(_alice), 6, "hers");
        equal(token.balanceOf(BOB), 10, "his");
        equal(rewards.claimMany(list), 0, "again");
        // Whoever is last is told of as well.
        ICuriosityRewards.Claim[] memory last = new ICuriosityRewards.Claim[](2);
        last[0] = ICuriosityRewards.Claim(_alice, close(one(_alice, 20), 20), 20, new bytes32[](0));
        last[1] = ICuriosityRewards.Claim(BOB, close(one(BOB, 30), 30), 30, new bytes32[](0));
        VM.expectEmit();
        emit ICuriosityRewards.Claimed(_alice, _alice, 20);
        VM.expectEmit();
        emit ICuriosityRewards.Claimed(BOB, BOB, 30);
        equal(rewards.claimMany(last), 50, "both");
        equal(rewards.claimMany(new ICuriosityRewards.Claim[](0)), 0, "none");
        list[2].amount = 4;
        list[2].epoch = 4;
        VM.expectPartialRevert(ICuriosityRewards.RewardsInvalidProof.selector);
        rewards.claimMany(list);
    }

    /// @notice Epochs 0 to 127 share a slot, 128 begins the next.
    function test_WindowsOfEpochs() external {
        for (uint64 epoch = 1; epoch <= 257; ++epoch) close(one(_alice, epoch), epoch);
        uint64[6] memory some = [uint64(1), 126, 127, 128, 255, 256];
        uint256 sum = 0;
        for (uint256 i = 0; i < some.length; ++i) {
            equal(rewards.claim(_alice, some[i], some[i], new bytes32[](0)), some[i], "paid");
            sum += some[i];
            equal(rewards.claimed(_alice), sum, "claimed");
            equal(rewards.claim(_alice, some[i], some[i], new bytes32[](0)), 0, "once");
        }
        uint256 count = 0;
        for (uint64 epoch = 0; epoch <= 258; ++epoch) if (rewards.isClaimed(_alice, epoch)) ++count;
        equal(count, some.length, "no other is marked");
        equal(token.balanceOf(_alice), sum, "received");
    }

    function test_APauseRestsEveryClaim() external {
        uint64 epoch = close(one(_alice, 5), 5);
        VM.prank(GUARDIAN);
        rewards.pause(1 days);
        bytes memory why = abi.encodeWithSelector(ICuriosityRewards.RewardsPaused.selector, nowTime() + 1 days);
        bytes memory signature = _permission(_alice, COLD, 0, nowTime(), ALICE_KEY);
        VM.expectRevert(why);
        rewards.claim(_alice, epoch, 5, new bytes32[](0));
        VM.expectRevert(why);
        rewards.claimMany(new ICuriosityRewards.Claim[](0));
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(epoch, 5), COLD, nowTime(), signature);
    }

    function test_ARelayedClaimPaysWhomTheAccountNamed() external {
        uint64 epoch = close(one(_alice, 5), 5);
        uint256 deadline = nowTime() + 100;
        bytes memory signature = _permission(_alice, COLD, 0, deadline, ALICE_KEY);
        bytes memory why = abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidSignature.selector, _alice);
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(epoch, 5), BOB, deadline, signature);
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(epoch, 5), COLD, deadline + 1, signature);
        bytes memory forged = _permission(_alice, BOB, 0, deadline, 0xB0B);
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(epoch, 5), BOB, deadline, forged);
        bytes memory late = _permission(_alice, COLD, 1, deadline, ALICE_KEY);
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(epoch, 5), COLD, deadline, late);
        bytes memory trap = _permission(_alice, address(rewards), 0, deadline, ALICE_KEY);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidRecipient.selector, address(rewards)));
        rewards.claimTo(_alice, _shares(epoch, 5), address(rewards), deadline, trap);
        VM.warp(deadline);
        VM.expectEmit();
        emit ICuriosityRewards.Claimed(_alice, COLD, 5);
        equal(rewards.claimTo(_alice, _shares(epoch, 5), COLD, deadline, signature), 5, "paid");
        equal(token.balanceOf(COLD), 5, "to the named one");
        equal(rewards.claimed(_alice), 5, "booked for the account");
        equal(rewards.nonces(_alice), 1, "the nonce is spent");
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(epoch, 5), COLD, deadline, signature);
        VM.warp(deadline + 1);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsExpired.selector, deadline, deadline + 1));
        rewards.claimTo(_alice, _shares(epoch, 5), COLD, deadline, late);
    }

    /// @notice Whoever copies a permission cannot use it up for nothing: with no shares, or with such as were paid.
    function test_APermissionIsNotUsedUpForNothing() external {
        uint64 first = close(one(_alice, 5), 5);
        uint64 second = close(one(_alice, 7), 7);
        rewards.claim(_alice, first, 5, new bytes32[](0));
        bytes memory signature = _permission(_alice, COLD, 0, nowTime(), ALICE_KEY);
        bytes memory why = abi.encodeWithSelector(ICuriosityRewards.RewardsNothingToPay.selector, _alice);
        VM.expectRevert(why);
        rewards.claimTo(_alice, new ICuriosityRewards.Share[](0), COLD, nowTime(), signature);
        VM.expectRevert(why);
        rewards.claimTo(_alice, _shares(first, 5), COLD, nowTime(), signature);
        equal(rewards.nonces(_alice), 0, "the permission stays");
        equal(rewards.claimTo(_alice, _shares(second, 7), COLD, nowTime(), signature), 7, "paid");
        equal(token.balanceOf(COLD), 7, "to whom she named");
    }

    function test_ManyEpochsGoToTheNamedRecipient() external {
        ICuriosityRewards.Share[] memory shares = new ICuriosityRewards.Share[](3);
        for (uint64 i = 0; i < 2; ++i) {
            shares[i] = ICuriosityRewards.Share(close(one(_alice, 10 + i), 10 + i), 10 + i, new bytes32[](0));
        }
        shares[2] = shares[0];
        bytes memory signature = _permission(_alice, COLD, 0, nowTime(), ALICE_KEY);
        equal(rewards.claimTo(_alice, shares, COLD, nowTime(), signature), 21, "both, once");
        equal(token.balanceOf(COLD), 21, "received");
        equal(token.balanceOf(_alice), 0, "not by the account");
    }

    function test_AContractWalletNamesItsRecipient() external {
        address wallet = address(new ContractWallet(_alice));
        uint64 epoch = close(one(wallet, 5), 5);
        bytes memory wrong = _permission(wallet, COLD, 0, nowTime(), 0xB0B);
        VM.expectRevert(abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidSignature.selector, wallet));
        rewards.claimTo(wallet, _shares(epoch, 5), COLD, nowTime(), wrong);
        bytes memory right = _permission(wallet, COLD, 0, nowTime(), ALICE_KEY);
        equal(rewards.claimTo(wallet, _shares(epoch, 5), COLD, nowTime(), right), 5, "paid");
    }

    function _shares(uint64 epoch, uint256 amount) private pure returns (ICuriosityRewards.Share[] memory shares) {
        shares = new ICuriosityRewards.Share[](1);
        shares[0] = ICuriosityRewards.Share(epoch, amount, new bytes32[](0));
    }

    function _permission(
        address account,
        address recipient,
        uint256 nonce,
        uint256 deadline,
        uint256 key
    ) private view returns (bytes memory) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("ClaimTo(address account,address recipient,uint256 nonce,uint256 deadline)"),
                account,
                recipient,
                nonce,
                deadline
            )
        );
        return signed(key, typedDigest(address(rewards), "CuriosityRewards", structHash));
    }
}
