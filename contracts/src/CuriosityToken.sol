// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Capped} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Capped.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title Curiosity's token
/// @notice ERC-20 with permit and a hard cap. A premint (faucet and treasury) is paid out at construction and counts
/// in the cap. After that exactly one minter exists, named once and for ever by the account that deployed the token.
contract CuriosityToken is ERC20, ERC20Capped, ERC20Permit {
    address private immutable _deployer;
    address private _minter;

    /// @notice The one minter was named; nobody else can mint from now on.
    event MinterSet(address indexed minter);

    /// @notice Only `expected` may do this; `caller` tried.
    error TokenUnauthorized(address caller, address expected);
    /// @notice The minter is already `minter` and can never change.
    error TokenMinterAlreadySet(address minter);
    /// @notice The zero address or an address without code cannot be the minter.
    error TokenInvalidMinter(address minter);

    /// @param cap_ largest supply there can ever be, in wei, premint included
    /// @param premint amount paid to `premintTo` now, in wei
    constructor(
        uint256 cap_,
        address premintTo,
        uint256 premint
    ) ERC20("Curiosity", "CURIO") ERC20Capped(cap_) ERC20Permit("Curiosity") {
        _deployer = msg.sender;
        _mint(premintTo, premint);
    }

    /// @notice Names the minter. Works once, for the deployer, and only for a contract.
    function setMinter(address minter_) external {
        if (msg.sender != _deployer) revert TokenUnauthorized(msg.sender, _deployer);
        if (_minter != address(0)) revert TokenMinterAlreadySet(_minter);
        if (minter_.code.length == 0) revert TokenInvalidMinter(minter_);
        _minter = minter_;
        emit MinterSet(minter_);
    }

    /// @notice Mints `amount` wei to `to`; only the minter, never past the cap.
    function mint(address to, uint256 amount) external {
        if (msg.sender != _minter) revert TokenUnauthorized(msg.sender, _minter);
        _mint(to, amount);
    }

    /// @notice The one account that may mint; zero until it is set.
    function minter() external view returns (address) {
        return _minter;
    }

    /// @dev Both parents define it; the capped one refuses a mint past the cap.
    function _update(address from, address to, uint256 value) internal override(ERC20, ERC20Capped) {
        super._update(from, to, value);
    }
}
