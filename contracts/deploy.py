"""Deploys token, rewards and stake contract, once, and writes where they are: ``python -m contracts.deploy``.

`contracts.deployment` does the work. The contracts have no upgrade path, so a network that is deployed by mistake is
not repaired but left.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from contracts.deployment import check, deploy, give_coins, plan
from curiosity.host import console
from curiosity.host.files import read_secret
from curiosity.protocol.errors import ConfigError, WalletError
from curiosity.protocol.json_reader import read_json

_PATH = click.Path(path_type=Path)


def parse_address(text: str) -> bytes:
    """Return the 20 bytes of a 0x-hex address.

    Raises:
        ConfigError: ADDRESS_INVALID, also for a wrong checksum.
    """
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
    """Return the private key in a file of 64 hex digits.

    Raises:
        WalletError: WALLET_KEY_FILE, never with the content.
    """
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

    Raises:
        ConfigError: VALIDATOR_KEYS_INVALID.
    """
    try:
        return parse_address(read_json(path.read_text("utf-8-sig"))["attestation_address"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            "VALIDATOR_KEYS_INVALID",
            f"{path} is not what `curiosity validator keys --json` prints ({type(error).__name__})",
            "Write its output to that file.",
        ) from None


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
