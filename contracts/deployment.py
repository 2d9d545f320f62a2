"""Contracts that are deployed once, and the file that says where they are.

A second deployment finds the file, checks that the chain has code there, and changes nothing. It goes on with one that
was cut short: what that one signed and had deployed lies beside the file until all is done.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.request
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curiosity.host.files import write_whole
from curiosity.protocol.errors import ChainError, ConfigError
from curiosity.protocol.json_reader import read_json

if TYPE_CHECKING:
    from curiosity.chain.chain import Addresses, ChainConfig, DeploySettings

_MAX_REPLY_BYTES = 1 << 20


def write_addresses(out: Path, addresses: Addresses, **more: str) -> None:
    """Write the addresses as JSON, whole or not at all.

    Raises:
        ConfigError: ADDRESSES_NOT_WRITTEN.
    """
    try:
        write_whole(out, json.dumps(addresses.to_json() | more).encode())
        out.chmod(0o644)  # addresses are public, and the validator may run as another user
    except OSError as error:
        raise ConfigError(
            "ADDRESSES_NOT_WRITTEN",
            f"{out}: {error.strerror}; the contracts are at {json.dumps(addresses.to_json())}",
            "Write these addresses to the file yourself, or deploy again elsewhere.",
        ) from None


def give_coins(rpc_url: str, account: bytes, amount_wei: int) -> None:
    """Give an account coins by decree, as only a development chain (anvil) lets one.

    Raises:
        ChainError: CHAIN_REFUSED if it is another chain, CHAIN_UNREACHABLE.
        ConfigError: RPC_URL_INVALID.
    """
    from curiosity.chain.chain import hide_secrets, show_endpoint
    from curiosity.chain.evm.answers import EndpointRefusal, check_answer

    call = {"jsonrpc": "2.0", "id": 1, "method": "anvil_setBalance", "params": [f"0x{account.hex()}", hex(amount_wei)]}
    if not rpc_url.startswith(("http://", "https://")):
        raise ConfigError(
            "RPC_URL_INVALID", f"{show_endpoint(rpc_url)} is not an address of a chain", "Give an http or https URL."
        )
    request = urllib.request.Request(  # noqa: S310 - http or https, checked above
        rpc_url, json.dumps(call).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as reply:
            check_answer(read_json(reply.read(_MAX_REPLY_BYTES + 1), max_bytes=_MAX_REPLY_BYTES), rpc_url)
    except EndpointRefusal as refusal:
        raise ChainError(
            "CHAIN_REFUSED",
            f"anvil_setBalance: {refusal.words}",
            "This is not a development chain: leave --dev-balance-wei out and fund the deployer.",
        ) from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ChainError(
            "CHAIN_UNREACHABLE",
            f"{show_endpoint(rpc_url)} does not answer: {hide_secrets(str(error), rpc_url)}",
            "Start the chain.",
        ) from None


def check_writable(out: Path) -> None:
    """Check now, rather than after the contracts are out, that the addresses can be written.

    Raises:
        ConfigError: ADDRESSES_NOT_WRITTEN.
    """
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise ConfigError(
            "ADDRESSES_NOT_WRITTEN", f"nothing can be written to {out.parent}", "Make the folder, or choose another."
        )


def deploy(
    config: ChainConfig, key: bytes, settings: DeploySettings, out: Path, *, gas_wei: int = 0
) -> tuple[Addresses, bool]:
    """Return where the contracts are and whether they were deployed now.

    Each validator that has less than ``gas_wei`` coins is given the rest, also in a later run.

    Raises:
        ConfigError: ADDRESSES_INVALID, ADDRESSES_NOT_WRITTEN, DEPLOYMENT_BEGUN.
        ChainError: CHAIN_NO_CONTRACT when ``out`` names contracts that this chain does not have, CHAIN_CODE_DIFFERS
            when their code is not the committed build's, and what `curiosity.chain.evm.ChainClient` raises.
    """
    from curiosity.chain.attestation import address_of
    from curiosity.chain.evm import ChainClient

    is_new = not out.exists()
    if is_new:
        check_writable(out)
        begun, sent = _begun_path(out), out.with_name(f".{out.name}.sent")
        terms = _digest(address_of(key), settings)
        known = _read_begun(begun, terms)
        if known is not None:
            ChainClient.connect(replace(config, addresses=known)).verify_code()
        client = ChainClient.connect(replace(config, journal=sent))
        addresses = client.deploy(
            key, settings, begun=known, told=lambda made: write_addresses(begun, made, terms=terms)
        )
        write_addresses(out, addresses)
        for path in (begun, sent):
            path.unlink(missing_ok=True)
    else:
        addresses = _read_known(out)
        client = ChainClient.connect(replace(config, addresses=addresses))
    client.verify_code()
    for validator in settings.validators if gas_wei else ():
        missing_wei = gas_wei - client.balances(validator).eth_wei
        if missing_wei > 0:
            client.fund(key, validator, eth_wei=missing_wei)
    return addresses, is_new


def _begun_path(out: Path) -> Path:
    return out.with_name(f".{out.name}.begun")


def _digest(deployer: bytes, settings: DeploySettings) -> str:
    return sha256(repr((deployer, settings)).encode()).hexdigest()


def _read_begun(path: Path, terms: str) -> Addresses | None:
    """Return what a run before has deployed.

    Raises:
        ConfigError: DEPLOYMENT_BEGUN if that was on other terms, ADDRESSES_INVALID.
    """
    from curiosity.chain.chain import Addresses

    try:
        content = read_json(path.read_text())
        addresses = Addresses.from_json(content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(
            "ADDRESSES_INVALID", f"{path}: {error}", "Restore the file, or remove it to begin anew."
        ) from None
    if content.get("terms") != terms:
        raise ConfigError(
            "DEPLOYMENT_BEGUN",
            f"{path} names contracts of a deployment that was cut short, by another key or on other terms",
            "Repeat that command to go on with it; remove the file to leave it and deploy another network.",
        )
    return addresses


def _read_known(out: Path) -> Addresses:
    from curiosity.chain.chain import Addresses

    try:
        return Addresses.from_json(read_json(out.read_text()))
    except (OSError, ValueError) as error:
        raise ConfigError(
            "ADDRESSES_INVALID", f"{out}: {error}", "Restore the file; remove it only to deploy a second network."
        ) from None


def plan(config: ChainConfig, key: bytes, settings: DeploySettings, out: Path) -> dict[str, Any]:
    """Return what `deploy` would do, the constructor tried and nothing sent.

    Raises:
        CuriosityError: What `deploy` raises.
    """
    from curiosity.chain.attestation import address_of
    from curiosity.chain.evm import ChainClient
    from curiosity.protocol.signing import checksum

    deployer = address_of(key)
    exists = out.exists()
    client = ChainClient.connect(replace(config, addresses=_read_known(out)) if exists else config)
    if exists:
        client.verify_code()
    else:
        check_writable(out)
    return {
        "chain_id": config.chain_id,
        "deployer": checksum(deployer),
        "deployer_wei": str(client.balance_wei(deployer)),
        "rewards_gas": None if exists else client.try_deployment(deployer, settings),
        "validators": [checksum(one) for one in settings.validators],
        "threshold": settings.threshold,
        "activation_delay_s": settings.activation_delay_s,
        "min_epoch_interval_s": settings.min_epoch_interval_s,
        "owner": checksum(settings.owner or deployer),
        "guardian": checksum(settings.guardian or deployer),
        "treasury": checksum(settings.treasury or deployer),
        "parameters": {name: str(value) for name, value in asdict(settings.parameters).items()},
        "out": str(out),
        "exists": exists,
        "is_begun": not exists and _read_begun(_begun_path(out), _digest(deployer, settings)) is not None,
    }


def check(config: ChainConfig, out: Path) -> dict[str, Any]:
    """Return what is deployed at the addresses in ``out``, once it is the committed build and of one network.

    Raises:
        ConfigError: ADDRESSES_INVALID.
        ChainError: What `deploy` raises, and CHAIN_LINK_DIFFERS.
    """
    from curiosity.chain.evm import ChainClient
    from curiosity.protocol.signing import checksum

    addresses = _read_known(out)
    client = ChainClient.connect(replace(config, addresses=addresses))
    client.verify_code()
    terms = client.terms()
    return addresses.to_json() | {
        "is_committed_code": True,
        "validators": [checksum(one) for one in terms.validators],
        "threshold": terms.threshold,
        "activation_delay_s": terms.activation_delay_s,
        "min_epoch_interval_s": terms.min_epoch_interval_s,
        "owner": checksum(terms.owner),
        "guardian": checksum(terms.guardian),
        "cap_wei": str(terms.cap_wei),
        "emits_as_committed": terms.emits_as_committed,
        "out": str(out),
    }
