// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {Cheating} from "./Cheats.sol";
import {Play} from "./Play.sol";

/// @notice What holds after every step of every {Play}.
contract InvariantsTest is Cheating {
    uint256 private constant CAP = 1_000_000 ether;
    uint256 private constant PREMINT = 10_000 ether;

    Play private _play;

    function setUp() external {
        _play = new Play();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_play);
    }

    struct Selectors {
        address addr;
        bytes4[] selectors;
    }

    function targetSelectors() external view returns (Selectors[] memory targets) {
        targets = new Selectors[](1);
        targets[0].addr = address(_play);
        bytes4[] memory list = new bytes4[](13);
        list[0] = Play.postHonest.selector;
        list[1] = Play.postLie.selector;
        list[2] = Play.pass.selector;
        list[3] = Play.activateNext.selector;
        list[4] = Play.activateNext.selector;
        list[5] = Play.veto.selector;
        list[6] = Play.pause.selector;
        list[7] = Play.replaceValidators.selector;
        list[8] = Play.claimOne.selector;
        list[9] = Play.claimOne.selector;
        list[10] = Play.claimMany.selector;
        list[11] = Play.claimTo.selector;
        list[12] = Play.forge.selector;
        targets[0].selectors = list;
    }

    /// @notice One function for all, because each is a run of its own for forge.
    function invariant_MoneyIsWhereItBelongs() external {
        equal(_play.supply(), PREMINT + _play.activated(), "supply is the premint and what was activated");
        isTrue(_play.supply() <= CAP, "supply is within the cap");
        equal(_play.paid() + _play.poolsHold(), _play.activated(), "paid and held is what was activated");
        isTrue(_play.activated() <= _play.allowed(), "activated is within the emissions");
        equal(_play.forgeriesPaid(), 0, "no forged leaf pays");
        _play.checkClaimed();
        _play.checkHonestPools();
    }

    /// @notice The run was not idle, and afterwards everybody can take everything that honest epochs owe.
    function afterInvariant() external {
        _play.finish();
        this.invariant_MoneyIsWhereItBelongs();
        isTrue(_play.activations() > 0, "something was activated");
        isTrue(_play.claims() > 0, "something was claimed");
    }
}
