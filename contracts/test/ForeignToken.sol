// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";

/// @notice A token that has nothing to do with rewards, to stray and be rescued. For tests only.
contract ForeignToken is ERC20 {
    constructor(address holder) ERC20("Foreign", "FRN") {
        _mint(holder, 1_000);
    }
}
