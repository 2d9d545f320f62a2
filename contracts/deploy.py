"""Deploys token, rewards and stake contract, once, and writes where they are: ``python -m contracts.deploy``.

A second run finds the addresses file, checks that the chain has code there, and changes nothing. It goes on with one
that was cut short: what that one signed and had deployed lies beside the file until all is done. The contracts have no
upgrade path, so a network that is deployed by mistake is not repaired but left.
"""

from __future__ import annotations

import http.client
import json
import os
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curiosity.host import console
from curiosity.host.files import read_secret, write_whole
from curiosity.protocol.errors import ChainError, ConfigError, WalletError
from curiosity.protocol.json_reader import read_json

if TYPE_CHECKING:
    from curiosity.chain.chain import Addresses, ChainConfig, DeploySettings

_PATH = click.Path(path_type=Path)


_MAX_REPLY_BYTES = 1 << 20


def parse_address(text: str) -> bytes:
    """Return the 20 bytes of a 0x-hex address. Raises ConfigError ADDRESS_INVALID, also for a wrong checksum."""
    from curiosity.protocol.signing import checksum

    try:
        address = bytes.fromhex(text.strip().removeprefix("0x"))
    except ValueError:
        address = b""
    if len(address) != 20:
        raise ConfigError("ADDRESS_INVALID", f"{text[:80]!r} is not a valid address", "Write 0x and 40 hex digits.")
    digits = text.strip().removeprefix("0x")
    if digits not in (digits.lower(), digits.upper(), checksum(address).removeprefix("0x")):
        raise ConfigError(
            "ADDRESS_INVALID", f"{text} has a wrong checksum (EIP-55)", "Copy the address again, a digit is wrong."
        )
    return address


def read_key(path: Path) -> bytes:
    """Return the private key in a file of 64 hex digits. Raises WalletError WALLET_KEY_FILE, never with the content."""
    from curiosity.protocol.signing import parse_private_key

    try:
        return parse_private_key(read_secret(path))
    except OSError as error:
        raise WalletError("WALLET_KEY_FILE", f"{path}: {error.strerror}", "Name a readable file.") from None
    except ValueError as error:
        raise WalletError(
            "WALLET_KEY_FILE", f"{path} holds no private key: {error}", "Write 64 hex digits, nothing else."
        ) from None


def read_validator_keys(path: Path) -> bytes:
    """Return the attestation address in what ``curiosity validator keys --json`` printed.

    Raises ConfigError VALIDATOR_KEYS_INVALID.
    """
    try:
        return parse_address(read_json(path.read_text("utf-8-sig"))["attestation_address"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            "VALIDATOR_KEYS_INVALID",
            f"{path} is not what `curiosity validator keys --json` prints ({type(error).__name__})",
            "Write its output to that file.",
        ) from None


def write_addresses(out: Path, addresses: Addresses, **more: str) -> None:
    """Write the addresses as JSON, whole or not at all. Raises ConfigError ADDRESSES_NOT_WRITTEN."""
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
    """Give an account coins by decree, as only a development chain (anvil) lets one. Raises ChainError."""
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
    """Raise ConfigError ADDRESSES_NOT_WRITTEN now rather than after the contracts are out."""
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise ConfigError(
            "ADDRESSES_NOT_WRITTEN", f"nothing can be written to {out.parent}", "Make the folder, or choose another."
        )


def deploy(
    config: ChainConfig, key: bytes, settings: DeploySettings, out: Path, *, gas_wei: int = 0
) -> tuple[Addresses, bool]:
    """Return where the contracts are and whether they were deployed now.

    Each validator that has less than ``gas_wei`` coins is given the rest, also in a later run. Raises ConfigError
    (ADDRESSES_INVALID, ADDRESSES_NOT_WRITTEN) and ChainError, CHAIN_NO_CONTRACT when ``out`` names contracts that this
    chain does not have, CHAIN_CODE_DIFFERS when their code is not the committed build's.
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
    """Return what a run before has deployed. Raises ConfigError DEPLOYMENT_BEGUN if that was on other terms."""
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
    """Return what `deploy` would do, the constructor tried and nothing sent. Raises as it does."""
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

    Raises as `deploy`, and ChainError CHAIN_LINK_DIFFERS.
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


def _show(facts: dict[str, Any], prefix: str = "") -> str:
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict):
            lines.append(_show(value, f"{name}."))
        else:
            shown = ", ".join(value) if isinstance(value, list) else value
            lines.append(f"{prefix}{name}: {shown}")
    return "\n".join(lines)


_NAME = "python -m contracts.deploy"
_EXAMPLE = console.example(
    f"{_NAME} --rpc-url http://127.0.0.1:8545 --chain-id 31337 \\",
    "  --key-file deployer.key --validator 0x... --out addresses.json --dry-run",
)


@click.command(epilog=_EXAMPLE, context_settings=console.HELP)
@click.option("--rpc-url", required=True, help="JSON-RPC address of the chain.")
@click.option("--chain-id", type=click.IntRange(min=1), required=True, help="Id that the chain must have.")
@click.option("--key-file", type=_PATH, help="File with the deployer's key, 64 hex digits.")
@click.option("--validator", "validators", multiple=True, metavar="ADDRESS", help="A validator's attestation address.")
@click.option(
    "--validator-keys", multiple=True, type=_PATH, help="File with the output of `curiosity validator keys --json`."
)
@click.option("--threshold", type=click.IntRange(min=1), help="Signatures of a quorum; by default more than half.")
@click.option(
    "--activation-delay-s", type=click.IntRange(min=0), help="How long a posted epoch can be vetoed; by default 7 days."
)
@click.option(
    "--min-epoch-interval-s", type=click.IntRange(min=0), help="Shortest time between epochs; by default a day."
)
@click.option("--owner", metavar="ADDRESS", help="May replace validators; by default the deployer.")
@click.option("--guardian", metavar="ADDRESS", help="May veto and pause; by default the deployer.")
@click.option("--treasury", metavar="ADDRESS", help="Gets the premint; by default the deployer.")
@click.option(
    "--gas-wei", type=click.IntRange(min=0), default=0, help="Coins for gas that each validator gets at least."
)
@click.option("--dev-balance-wei", type=click.IntRange(min=0), default=0,
              help="First give the deployer so many coins; only a development chain allows it.")  # fmt: skip
@click.option(
    "--out",
    type=_PATH,
    required=True,
    help="File for the addresses, or a folder with a file for each chain; deploys only what is not there.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be deployed, send nothing.")
@click.option(
    "--check",
    "checks",
    is_flag=True,
    help="Compare what is deployed with the committed build, and say on what terms; needs no key.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    rpc_url: str,
    chain_id: int,
    key_file: Path | None,
    validators: Sequence[str],
    validator_keys: Sequence[Path],
    threshold: int | None,
    activation_delay_s: int | None,
    min_epoch_interval_s: int | None,
    owner: str | None,
    guardian: str | None,
    treasury: str | None,
    gas_wei: int,
    dev_balance_wei: int,
    out: Path,
    dry_run: bool,
    checks: bool,
    as_json: bool,
) -> None:
    """Deploy token, rewards and stake contract and write where they are."""
    from curiosity.chain.attestation import address_of
    from curiosity.chain.chain import ChainConfig, DeploySettings
    from curiosity.chain.evm import ChainClient

    config = ChainConfig(rpc_url, chain_id)
    out = out / f"{chain_id:d}.json" if out.is_dir() else out
    if checks:
        found = check(config, out)
        click.echo(json.dumps(found) if as_json else _show(found))
        return
    named = [parse_address(one) for one in validators] + [read_validator_keys(one) for one in validator_keys]
    known = dict.fromkeys(named)  # each once
    if not known:
        raise click.UsageError("name a validator: --validator or --validator-keys")
    if threshold is not None and not len(known) // 2 < threshold <= len(known):
        raise click.UsageError(f"--threshold {threshold} is not more than half of {len(known)} validators, or over all")
    settings = DeploySettings(
        tuple(known),
        threshold or len(known) // 2 + 1,
        activation_delay_s=DeploySettings.activation_delay_s if activation_delay_s is None else activation_delay_s,
        min_epoch_interval_s=DeploySettings.min_epoch_interval_s
        if min_epoch_interval_s is None
        else min_epoch_interval_s,
        owner=parse_address(owner) if owner else None,
        guardian=parse_address(guardian) if guardian else None,
        treasury=parse_address(treasury) if treasury else None,
    )
    if key_file is None:
        raise click.UsageError("name the deployer's key: --key-file")
    key = read_key(key_file)
    if dry_run:
        planned = plan(config, key, settings, out)
        click.echo(json.dumps(planned) if as_json else _show(planned))
        return
    if dev_balance_wei:
        client = ChainClient.connect(config)  # not a wei before it is the right chain
        if client.balance_wei(address_of(key)) < dev_balance_wei:
            give_coins(rpc_url, address_of(key), dev_balance_wei)
    addresses, is_new = deploy(config, key, settings, out, gas_wei=gas_wei)
    facts = addresses.to_json() | {"deployed": is_new, "out": str(out)}
    state = "Deployed" if is_new else "Already deployed"
    click.echo(
        json.dumps(facts)
        if as_json
        else f"{state}: token {facts['token']}, rewards {facts['rewards']} on chain {facts['chain_id']}; see {out}."
    )


def main(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit status."""
    return console.run(command, arguments, _NAME)


if __name__ == "__main__":
    console.main(command, _NAME)
