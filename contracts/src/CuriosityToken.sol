// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title Curiosity's token
/// @notice ERC-20 with permit and a hard cap. A premint (faucet and treasury) is paid out at construction and counts in
/// the cap. After that exactly one account can mint, for ever: the contract that created the token. It mints only into
/// pools, one for each epoch, which are addresses that nobody has a key for, and pays only out of them.
contract CuriosityToken is ERC20, ERC20Capped, ERC20Permit {
    // A pool's address is this and the epoch's number in the last 64 bits. A key for one of ten thousand such addresses
    // takes 2^146 trials to find.
    uint160 private constant POOLS = uint160(uint256(keccak256("Curiosity pool"))) & ~uint160(type(uint64).max);

    address private immutable _minter;

    /// @notice Only `expected` may do this; `caller` tried.
    error TokenUnauthorized(address caller, address expected);

    modifier onlyMinter() {
        if (msg.sender != _minter) revert TokenUnauthorized(msg.sender, _minter);
        _;
    }

    /// @param cap_ largest supply there can ever be, in wei, premint included
    /// @param premintTo gets the premint
    /// @param premint amount paid to `premintTo` now, in wei
    constructor(
        uint256 cap_,
        address premintTo,
        uint256 premint
    ) ERC20("Curiosity", "CURIO") ERC20Capped(cap_) ERC20Permit("Curiosity") {
        _minter = msg.sender;
        _mint(premintTo, premint);
    }

    /// @notice Mints `amount` wei into the pool of `epoch`; only the minter, never past the cap.
    function mint(uint64 epoch, uint256 amount) external onlyMinter {
        _mint(poolOf(epoch), amount);
    }

    /// @notice Pays `amount` wei out of the pool of `epoch`, and of no other; only the minter.
    function pay(uint64 epoch, address to, uint256 amount) external onlyMinter {
        _transfer(poolOf(epoch), to, amount);
    }

    /// @notice The one account that may mint.
    function minter() external view returns (address) {
        return _minter;
    }

    /// @notice The address that holds what was minted for `epoch` and is not paid out yet.
    function poolOf(uint64 epoch) public pure returns (address) {
        return address(POOLS | epoch);
    }

    /// @dev Both parents define it; the capped one refuses a mint past the cap.
    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Capped) {
        super._update(from, to, value);
    }
}
