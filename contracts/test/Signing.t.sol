// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {CuriosityRewards} from "../src/CuriosityRewards.sol";
import {ICuriosityRewards} from "../src/ICuriosityRewards.sol";
import {ContractWallet} from "./ContractWallet.sol";
import {Network} from "./Network.sol";

/// @notice Who can attest an epoch, and that no signature counts for anything else.
contract SigningTest is Network {
    // Beside the one under test, with the same validators.
    CuriosityRewards private _other;

    function setUp() external {
        deploy();
        _other = new CuriosityRewards(settings());
        VM.warp(nowTime() + INTERVAL);
    }

    function test_APostedRootIsRemembered() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        VM.expectEmit();
        emit ICuriosityRewards.RootPosted(
            1,
            "root",
            rewards.hashAttestation(attestation),
            10,
            attestation.ledgerRoot,
            5,
            nowTime() + DELAY
        );
        rewards.postRoot(attestation, signaturesFor(attestation, THRESHOLD));
        ICuriosityRewards.Status memory status = rewards.status();
        equal(status.latestEpoch, 1, "latest");
        equal(status.activeEpoch, 0, "active");
        equal(status.activatableAt, nowTime() + DELAY, "activatable");
        equal(status.latest.rewardRoot, "root", "root");
        equal(status.latest.cumulativeTotal, 5, "total");
        equal(status.latest.ledgerSize, 10, "size");
        equal(status.latest.postedAt, nowTime(), "time");
        equal(status.active.rewardRoot, 0, "the start has no root");
        equal(rewards.posted(1).rewardRoot, "root", "record");
    }

    function test_EverySignerOfTheSetMaySign() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        rewards.postRoot(attestation, signaturesFor(attestation, 5));
    }

    function test_TooFewSignatures() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD - 1);
        refusePosting(
            attestation,
            signatures,
            abi.encodeWithSelector(ICuriosityRewards.RewardsNotEnoughSignatures.selector, 2, 3)
        );
    }

    function test_ADuplicateSigner() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        signatures[1] = signatures[0];
        address signer = VM.addr(keys[0]);
        refusePosting(attestation, signatures, abi.encodeWithSelector(ICuriosityRewards.RewardsSignersNotSorted.selector, signer, signer));
    }

    function test_SignersOutOfOrder() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        (signatures[0], signatures[1]) = (signatures[1], signatures[0]);
        refusePosting(
            attestation,
            signatures,
            abi.encodeWithSelector(
                ICuriosityRewards.RewardsSignersNotSorted.selector,
                VM.addr(keys[1]),
                VM.addr(keys[0])
            )
        );
    }

    function test_AnOutsiderAnywhereInTheOrder(uint256 seed) external {
        uint256 outsider = within(seed, 1, type(uint128).max);
        address stranger = VM.addr(outsider);
        for (uint256 i = 0; i < keys.length; ++i) if (VM.addr(keys[i]) == stranger) return;
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes32 digest = rewards.hashAttestation(attestation);
        bytes[] memory signatures = new bytes[](6);
        uint256 count = 0;
        bool isIn = false;
        for (uint256 i = 0; i < 5; ++i) {
            if (!isIn && stranger < VM.addr(keys[i])) {
                signatures[count++] = signed(outsider, digest);
                isIn = true;
            }
            signatures[count++] = signed(keys[i], digest);
        }
        if (!isIn) signatures[count++] = signed(outsider, digest);
        refusePosting(
            attestation,
            signatures,
            abi.encodeWithSelector(ICuriosityRewards.RewardsNotValidator.selector, stranger, uint64(1))
        );
    }

    /// @notice What a quorum signed counts for one chain, contract and place: no field can be changed afterwards.
    function test_AnOutsiderAboveAllMembers() external {
        uint256 outsider = 1;
        while (VM.addr(outsider) <= VM.addr(keys[4])) ++outsider;
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        signatures[2] = signed(outsider, rewards.hashAttestation(attestation));
        refusePosting(
            attestation,
            signatures,
            abi.encodeWithSelector(ICuriosityRewards.RewardsNotValidator.selector, VM.addr(outsider), uint64(1))
        );
    }

    function test_NoFieldCanBeChanged(uint256 seed, bytes32 other) external {
        ICuriosityRewards.Attestation memory signedOne = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(signedOne, THRESHOLD);
        for (uint256 field = 0; field < 10; ++field) {
            ICuriosityRewards.Attestation memory changed = abi.decode(
                abi.encode(signedOne),
                (ICuriosityRewards.Attestation)
            );
            CuriosityRewards at = rewards;
            uint256 number = uint256(other);
            if (field == 0) changed.epoch ^= uint64(within(number, 1, type(uint64).max));
            if (field == 1) changed.ledgerSize ^= uint64(within(number, 1, type(uint64).max));
            if (field == 2) changed.ledgerRoot ^= bytes32(within(number, 1, type(uint128).max));
            if (field == 3) changed.rewardRoot ^= bytes32(within(number, 1, type(uint128).max));
            // Half of them within the emission, which the signatures alone refuse.
            if (field == 4) changed.cumulativeTotal ^= within(number, 1, seed % 2 == 0 ? 1 ether : type(uint128).max);
            if (field == 5) changed.previousRoot ^= bytes32(within(number, 1, type(uint128).max));
            if (field == 6) changed.setId ^= uint64(within(number, 1, type(uint64).max));
            if (field == 7) changed.attempt ^= uint32(within(number, 1, type(uint32).max));
            if (field == 8) VM.chainId(within(number, 1, 31336));
            if (field == 9) at = _other;
            try at.postRoot(changed, signatures) {
                revert NotTrue("a changed attestation was accepted");
            } catch {}
            VM.chainId(31337);
        }
        rewards.postRoot(signedOne, signatures);
    }

    function test_AnotherChain() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        VM.chainId(10);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        VM.chainId(31337);
        VM.expectRevert();
        rewards.postRoot(attestation, signatures);
        rewards.postRoot(attestation, signaturesFor(attestation, THRESHOLD));
    }

    function test_AnotherContract() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        CuriosityRewards other = new CuriosityRewards(settings());
        VM.warp(nowTime() + INTERVAL);
        VM.expectRevert();
        other.postRoot(attestation, signatures);
    }

    function test_MalleableAndShortSignatures() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        (uint8 v, bytes32 r, bytes32 s) = VM.sign(keys[1], rewards.hashAttestation(attestation));
        bytes32 high = bytes32(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - uint256(s));
        signatures[1] = abi.encodePacked(r, high, v == 27 ? uint8(28) : uint8(27));
        refusePosting(attestation, signatures, abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureS.selector, high));
        signatures[1] = abi.encodePacked(r, s);
        refusePosting(attestation, signatures, abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureLength.selector, 64));
        signatures[1] = "";
        refusePosting(attestation, signatures, abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureLength.selector, 0));
    }

    function test_AContractWalletAttests() external {
        address wallet = address(new ContractWallet(VM.addr(77)));
        address[] memory members = new address[](3);
        members[0] = wallet;
        members[1] = VM.addr(keys[0]);
        members[2] = VM.addr(keys[1]);
        for (uint256 i = 0; i < 2 && members[i] > members[i + 1]; ++i) {
            (members[i], members[i + 1]) = (members[i + 1], members[i]);
        }
        VM.prank(OWNER);
        rewards.setValidators(members, 3);
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes32 digest = rewards.hashAttestation(attestation);
        bytes[] memory good = new bytes[](3);
        bytes[] memory bad = new bytes[](3);
        for (uint256 i = 0; i < 3; ++i) {
            if (members[i] == wallet) {
                good[i] = bytes.concat(bytes20(wallet), signed(77, digest));
                bad[i] = bytes.concat(bytes20(wallet), signed(78, digest));
            } else {
                good[i] = bad[i] = signed(members[i] == VM.addr(keys[0]) ? keys[0] : keys[1], digest);
            }
        }
        refusePosting(attestation, bad, abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidSignature.selector, wallet));
        rewards.postRoot(attestation, good);
    }

    /// @notice The address in front of a long signature is not believed without its code's word.
    function test_NoAccountWithoutCodeAttestsAtLength() external {
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes[] memory signatures = signaturesFor(attestation, THRESHOLD);
        address forged = VM.addr(keys[2]);
        signatures[2] = bytes.concat(bytes20(forged), signed(5, "x"));
        refusePosting(attestation, signatures, abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidSignature.selector, forged));
        // One byte more than a key's is long already.
        signatures[2] = bytes.concat(bytes20(forged), new bytes(46));
        refusePosting(attestation, signatures, abi.encodeWithSelector(ICuriosityRewards.RewardsInvalidSignature.selector, forged));
    }

    function test_ARemovedValidator() external {
        uint256 removed = keys[0];
        ICuriosityRewards.Attestation memory old = attestationFor("root", 5);
        bytes[] memory oldSignatures = signaturesFor(old, THRESHOLD);
        rewards.postRoot(old, oldSignatures);
        keys[0] = keys[4];
        keys.pop();
        for (uint256 i = 0; i + 1 < keys.length; ++i) {
            for (uint256 j = i + 1; j < keys.length; ++j) {
                if (VM.addr(keys[i]) > VM.addr(keys[j])) (keys[i], keys[j]) = (keys[j], keys[i]);
            }
        }
        VM.prank(OWNER);
        rewards.setValidators(addressesOf(keys), THRESHOLD);
        equal(rewards.status().latestEpoch, 0, "what the old set posted is gone");
        equal(rewards.status().attempt, 1, "the attempt rises");
        equal(rewards.status().setId, 2, "the set is new");
        refusePosting(old, oldSignatures, abi.encodeWithSelector(ICuriosityRewards.RewardsWrongSet.selector, uint64(1), uint64(2)));
        ICuriosityRewards.Attestation memory attestation = attestationFor("root", 5);
        bytes32 digest = rewards.hashAttestation(attestation);
        bytes[] memory signatures = new bytes[](4);
        signatures[0] = signed(removed, digest);
        for (uint256 i = 0; i < 3; ++i) signatures[i + 1] = signed(keys[i], digest);
        address gone = VM.addr(removed);
        if (gone < VM.addr(keys[0])) {
            refusePosting(attestation, signatures, abi.encodeWithSelector(ICuriosityRewards.RewardsNotValidator.selector, gone, uint64(2)));
        }
        rewards.postRoot(attestation, signaturesFor(attestation, THRESHOLD));
    }
}
