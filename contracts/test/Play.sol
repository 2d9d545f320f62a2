// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ICuriosityRewards} from "../src/ICuriosityRewards.sol";
import {Network} from "./Network.sol";
import {RewardTree} from "./RewardTree.sol";

/// @notice Everything that can happen to the rewards contract, in any order: honest epochs, lying quorums, vetoes,
/// pauses, other validators, claims of every kind, forgeries. It keeps books of its own to compare with.
contract Play is Network {
    uint256 public constant ACTORS = 6;

    struct Epoch {
        bool isHonest;
        uint256 minted;
        Leaf[] leaves;
    }

    // By epoch number: the last that was posted under it.
    mapping(uint64 epoch => Epoch) private _epochs;
    mapping(address account => uint256) public received;
    mapping(address account => uint256) public claimedBefore;
    uint256 public activated;
    uint256 public allowed;
    uint256 public activations;
    uint256 public paid;
    uint256 public claims;
    uint256 public lies;
    uint256 public liesClaimed;
    uint256 public forgeriesTried;
    uint256 public forgeriesPaid;

    constructor() {
        deploy();
    }

    function actor(uint256 number) public pure returns (address) {
        return VM.addr(1_000 + (number % ACTORS));
    }

    // What happens.

    function postHonest(uint256 seed) external {
        if (!_makeRoom()) return;
        uint256 left = within(seed, 0, _allowedNext());
        uint256 count = within(seed >> 128, 1, ACTORS);
        Leaf[] memory leaves = new Leaf[](count);
        uint256 minted = 0;
        for (uint256 i = 0; i < count; ++i) {
            uint256 amount = i + 1 == count ? left : within(uint256(keccak256(abi.encode(seed, i))), 0, left);
            leaves[i] = Leaf(actor((seed % ACTORS) + i), amount);
            minted += amount;
            left -= amount;
        }
        _post(leaves, minted, true);
    }

    /// @notice A quorum inflates a leaf, up to everything that everybody is owed, and leaves others out.
    function postLie(uint256 seed) external {
        if (!_makeRoom()) return;
        uint256 minted = within(seed, 0, _allowedNext());
        uint256 owed = token.totalSupply() - PREMINT - paid;
        Leaf memory inflated = Leaf(actor(seed), within(seed >> 64, 0, owed + minted));
        Leaf memory beside = Leaf(actor((seed % ACTORS) + 1), within(seed >> 128, 0, minted));
        _post(two(inflated, beside), minted, false);
        ++lies;
    }

    function pass(uint256 seed) external {
        VM.warp(nowTime() + within(seed, 1 hours, 4 days));
    }

    function activateNext() external {
        ICuriosityRewards.Status memory status = rewards.status();
        if (status.activatableAt == 0 || nowTime() < status.pausedUntil) return;
        if (nowTime() < status.activatableAt) VM.warp(status.activatableAt);
        _activate();
    }

    function veto(uint256 seed) external {
        ICuriosityRewards.Status memory status = rewards.status();
        // Rarely, or nothing would ever be activated.
        if (status.activatableAt == 0 || seed % 4 != 0) return;
        VM.prank(GUARDIAN);
        rewards.veto(uint64(within(seed, status.activeEpoch + 1, status.latestEpoch)));
    }

    function pause(uint256 seed) external {
        if (seed % 8 != 0) return;
        VM.prank(GUARDIAN);
        try rewards.pause(within(seed, 1, 7 days)) {} catch {}
    }

    function replaceValidators(uint256 seed) external {
        if (seed % 8 != 0) return;
        VM.prank(OWNER);
        rewards.setValidators(addressesOf(keys), THRESHOLD);
    }

    function claimOne(uint256 seed, uint256 which) external {
        uint64 epoch = _someEpoch(seed);
        if (epoch == 0) return;
        uint256 index = which % _epochs[epoch].leaves.length;
        Leaf memory leaf = _epochs[epoch].leaves[index];
        uint256 expected = rewards.isClaimed(leaf.account, epoch) ? 0 : leaf.amount;
        try rewards.claim(leaf.account, epoch, leaf.amount, proofOf(_epochs[epoch].leaves, index)) returns (
            uint256 amount
        ) {
            equal(amount, expected, "claim pays the leaf, once");
            _book(leaf.account, amount, epoch);
        } catch {
            isTrue(!_epochs[epoch].isHonest, "an honest leaf can be claimed");
        }
    }

    /// @notice All that an actor has in honest epochs, with one doubled and one of somebody else, in one transaction.
    function claimMany(uint256 seed) external {
        if (nowTime() < rewards.status().pausedUntil) return;
        address account = actor(seed);
        ICuriosityRewards.Claim[] memory list = new ICuriosityRewards.Claim[](12);
        uint256 count = 0;
        for (uint64 epoch = 1; epoch <= rewards.status().activeEpoch && count < 10; ++epoch) {
            Epoch storage record = _epochs[epoch];
            if (!record.isHonest) continue;
            for (uint256 i = 0; i < record.leaves.length; ++i) {
                if (record.leaves[i].account != account && (seed >> i) & 1 == 0) continue;
                if (count == 10) break;
                Leaf memory leaf = record.leaves[i];
                list[count++] = ICuriosityRewards.Claim(leaf.account, epoch, leaf.amount, proofOf(record.leaves, i));
            }
        }
        if (count == 0) return;
        list[count++] = list[0];
        assembly ("memory-safe") {
            mstore(list, count)
        }
        uint256[] memory before = _balances();
        uint256 amount = rewards.claimMany(list);
        uint256[] memory later = _balances();
        uint256 sum = 0;
        for (uint256 i = 0; i < ACTORS; ++i) {
            uint256 gained = later[i] - before[i];
            received[actor(i)] += gained;
            sum += gained;
        }
        equal(amount, sum, "claimMany pays what it says");
        paid += sum;
        if (sum != 0) ++claims;
    }

    function claimTo(uint256 seed, uint256 which) external {
        uint64 epoch = _someEpoch(seed);
        if (epoch == 0 || !_epochs[epoch].isHonest) return;
        uint256 index = which % _epochs[epoch].leaves.length;
        Leaf memory leaf = _epochs[epoch].leaves[index];
        address cold = address(uint160(uint256(keccak256(abi.encode("cold", seed)))));
        uint256 key = 0;
        for (uint256 i = 0; i < ACTORS; ++i) if (actor(i) == leaf.account) key = 1_000 + i;
        bytes memory signature = signed(key, _permission(leaf.account, cold));
        ICuriosityRewards.Share[] memory shares = new ICuriosityRewards.Share[](1);
        shares[0] = ICuriosityRewards.Share(epoch, leaf.amount, proofOf(_epochs[epoch].leaves, index));
        uint256 before = token.balanceOf(cold);
        uint256 nonce = rewards.nonces(leaf.account);
        uint256 expected = rewards.isClaimed(leaf.account, epoch) ? 0 : leaf.amount;
        try rewards.claimTo(leaf.account, shares, cold, nowTime(), signature) returns (uint256 amount) {
            equal(amount, expected, "the leaf, once");
            equal(token.balanceOf(cold) - before, amount, "the named recipient is paid");
            _book(leaf.account, amount, epoch);
        } catch {
            equal(expected, 0, "what is owed is paid");
            equal(rewards.nonces(leaf.account), nonce, "a permission is not used up for nothing");
        }
    }

    /// @notice A leaf that no root holds: another amount, account, epoch or proof.
    function forge(uint256 seed, uint256 which) external {
        uint64 epoch = _someEpoch(seed);
        if (epoch == 0) return;
        uint256 index = which % _epochs[epoch].leaves.length;
        Leaf memory leaf = _epochs[epoch].leaves[index];
        bytes32[] memory proof = proofOf(_epochs[epoch].leaves, index);
        uint256 kind = (seed >> 8) % 4;
        if (kind == 0) leaf.amount = leaf.amount ^ (uint256(1) << ((seed >> 16) % 90));
        if (kind == 1) leaf.account = address(uint160(leaf.account) ^ uint160(1 << ((seed >> 16) % 160)));
        if (kind == 2) epoch = rewards.status().activeEpoch + 1;
        if (kind == 3) {
            bytes32[] memory longer = new bytes32[](proof.length + 1);
            for (uint256 i = 0; i < proof.length; ++i) longer[i] = proof[i];
            longer[proof.length] = bytes32(seed);
            proof = longer;
        }
        ++forgeriesTried;
        try rewards.claim(leaf.account, epoch, leaf.amount, proof) returns (uint256 amount) {
            // Nothing is what somebody gets who was paid before.
            forgeriesPaid += amount;
        } catch {}
    }

    // What the invariants ask.

    function poolsHold() external view returns (uint256 held) {
        for (uint64 epoch = 1; epoch <= rewards.status().activeEpoch; ++epoch) held += rewards.pool(epoch).unpaid;
    }

    /// @notice Reverts unless every honest active epoch still holds exactly what its unpaid leaves say.
    function checkHonestPools() external view {
        for (uint64 epoch = 1; epoch <= rewards.status().activeEpoch; ++epoch) {
            Epoch storage record = _epochs[epoch];
            if (!record.isHonest) continue;
            uint256 owed = 0;
            for (uint256 i = 0; i < record.leaves.length; ++i) {
                if (!rewards.isClaimed(record.leaves[i].account, epoch)) owed += record.leaves[i].amount;
            }
            equal(rewards.pool(epoch).unpaid, owed, "an honest epoch can pay all that it owes");
        }
    }

    function checkClaimed() external {
        for (uint256 i = 0; i < ACTORS; ++i) {
            uint256 claimed = rewards.claimed(actor(i));
            equal(claimed, received[actor(i)], "claimed is what was received");
            isTrue(claimed >= claimedBefore[actor(i)], "claimed never falls");
            claimedBefore[actor(i)] = claimed;
        }
    }

    function supply() external view returns (uint256) {
        return token.totalSupply();
    }

    /// @notice Sees to it that a run has an activation and a claim, and that everybody can take all of every honest epoch.
    function finish() external {
        VM.warp(nowTime() + 8 days);
        if (_makeRoom()) _post(one(actor(0), 1), 1, true);
        VM.warp(nowTime() + DELAY);
        while (rewards.status().activatableAt != 0) _activate();
        for (uint64 epoch = 1; epoch <= rewards.status().activeEpoch; ++epoch) {
            if (!_epochs[epoch].isHonest) continue;
            for (uint256 i = 0; i < _epochs[epoch].leaves.length; ++i) {
                Leaf memory leaf = _epochs[epoch].leaves[i];
                _book(leaf.account, rewards.claim(leaf.account, epoch, leaf.amount, proofOf(_epochs[epoch].leaves, i)), epoch);
            }
            equal(rewards.pool(epoch).unpaid, 0, "nothing is left of an honest epoch");
        }
    }

    function _makeRoom() private returns (bool) {
        ICuriosityRewards.Status memory status = rewards.status();
        if (status.latestEpoch - status.activeEpoch == 31) return false;
        uint256 allowedAt = status.latest.postedAt + INTERVAL;
        if (nowTime() < allowedAt) VM.warp(allowedAt);
        return true;
    }

    function _allowedNext() private view returns (uint256) {
        return rewards.emission(rewards.status().latestEpoch + 1);
    }

    function _post(Leaf[] memory leaves, uint256 minted, bool isHonest) private {
        Epoch storage record = _epochs[post(RewardTree.rootOf(hashesOf(leaves)), minted)];
        delete record.leaves;
        record.isHonest = isHonest;
        record.minted = minted;
        for (uint256 i = 0; i < leaves.length; ++i) record.leaves.push(leaves[i]);
    }

    function _activate() private {
        uint64 epoch = rewards.activate();
        ++activations;
        activated += _epochs[epoch].minted;
        allowed += rewards.emission(epoch);
    }

    /// @dev An active epoch, or 0 when there is none or claims rest.
    function _someEpoch(uint256 seed) private view returns (uint64) {
        ICuriosityRewards.Status memory status = rewards.status();
        if (status.activeEpoch == 0 || nowTime() < status.pausedUntil) return 0;
        return uint64(within(seed, 1, status.activeEpoch));
    }

    function _book(address account, uint256 amount, uint64 epoch) private {
        received[account] += amount;
        paid += amount;
        if (amount == 0) return;
        ++claims;
        if (!_epochs[epoch].isHonest) ++liesClaimed;
    }

    function _balances() private view returns (uint256[] memory balances) {
        balances = new uint256[](ACTORS);
        for (uint256 i = 0; i < ACTORS; ++i) balances[i] = token.balanceOf(actor(i));
    }

    function _permission(address account, address recipient) private view returns (bytes32) {
        bytes32 structHash = keccak256(
            abi.encode(
                keccak256("ClaimTo(address account,address recipient,uint256 nonce,uint256 deadline)"),
                account,
                recipient,
                rewards.nonces(account),
                nowTime()
            )
        );
        return typedDigest(address(rewards), "CuriosityRewards", structHash);
    }
}
