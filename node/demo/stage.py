"""The stage: an embedded chain with the contracts and a validator on it, started together and ended together."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contracts.devchain import DEFAULT_CHAIN_ID, DevChain, find_anvil
from curiosity.chain.chain import Addresses, ChainConfig, DeploySettings
from curiosity.host.files import write_whole
from curiosity.host.stopping import stop_on_sigterm
from curiosity.protocol.errors import ChainError
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.messages import Network
from curiosity.protocol.rewards import RewardParameters
from node.demo.processes import ValidatorProcess, run_json_lines
from node.demo.report import Report
from node.screen import Screen

if TYPE_CHECKING:
    from curiosity.chain.evm import ChainClient

NAME = "curiosity-demo"
GAS_MONEY_WEI = 10**18
ACTIVATION_DELAY_S = 2  # a week in production: here nobody has to wait
# Of requests on this machine: all of its parts share its processors, so that a late answer is not a broken part.
PATIENT_S = 600.0


@dataclass(frozen=True)
class StageSettings:
    """The one settings file that the validator and every contributor of a stage read, and what it says."""

    path: Path
    folder: Path
    rpc_url: str
    port: int
    epoch_s: int
    patient: bool = False
    genesis: str = ""  # name of a shipped checkpoint; empty: the one that a new network starts with

    def write(self, *, validator_url: str = "") -> None:
        """Write the file; ``validator_url`` tells contributors where the validator listens, once that is known."""
        waits: dict[str, object] = dict.fromkeys(("header_timeout_s", "body_timeout_s", "answer_timeout_s"), PATIENT_S)
        sections: dict[str, dict[str, object]] = {
            "validator": {
                "name": NAME,
                "port": self.port,
                "data_dir": str(self.folder / "validator"),
                "epoch_s": self.epoch_s,
                "queries_per_minute": 0,
                "activation_poll_s": 0.5,
            }
            | ({"genesis": self.genesis} if self.genesis else {})
            | (waits | {"min_body_bytes_per_s": 1} if self.patient else {}),
            "chain": {
                "rpc_url": self.rpc_url,
                "chain_id": DEFAULT_CHAIN_ID,
                "addresses": str(self.folder / "chain" / "addresses.json"),
                # This chain has one block producer: what it has mined stays.
                "finality": "depth",
                "finality_depth": 0,
                "request_timeout_s": PATIENT_S,
            },
        }
        if validator_url:
            sections["node"] = {"validator_url": validator_url}
        lines = []
        for section, values in sections.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()), ""]
        write_whole(self.path, "\n".join(lines).encode())


@dataclass
class Stage:
    """What the demo's steps work on. ``client`` is a `curiosity.chain.evm.ChainClient` bound to the contracts."""

    folder: Path
    settings: StageSettings
    report: Report
    chain: DevChain
    client: "ChainClient"
    validator: ValidatorProcess
    network: Network | None = None

    @property
    def screen(self) -> Screen:
        """Where to show things."""
        return self.report.screen

    def admin_token(self) -> str:
        """Return the bearer token of the validator's admin routes."""
        return (self.folder / "validator" / "keys" / "admin.token").read_text()

    def fund(self, account: bytes) -> None:
        """Give an account coins for gas from the faucet."""
        self.client.fund(self.chain.private_key(0), account, eth_wei=GAS_MONEY_WEI)

    def pass_a_day(self) -> None:
        """Move the chain's clock on by what an epoch lasts, and mine up to the block of the beacon."""
        rule = RewardParameters(version=2)
        self.chain.advance(rule.min_epoch_s)
        for _ in range(rule.beacon_blocks):
            self.chain.request("evm_mine", [])


@contextmanager
def open_stage(
    folder: Path,
    report: Report,
    *,
    port: int = 0,
    chain_port: int | None = None,
    epoch_s: int = 0,
    patient: bool = True,
    genesis: str = "",
) -> Iterator[Stage]:
    """Start the chain (with the state that ``folder`` holds), deploy what is not there, prepare the validator.

    The validator is started by whoever needs it; ``patient`` lifts its deadlines for requests. Chain and validator end
    with the block. SIGTERM and SIGINT end it as KeyboardInterrupt, also where SIGINT was ignored.
    """
    (folder / "chain").mkdir(parents=True, exist_ok=True)
    stop_on_sigterm()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    state = folder / "chain" / "state.json" if find_anvil() is not None else None
    with report.step("chain", "An EVM chain, the token and the rewards contract"):
        chain = DevChain(port=chain_port, state_path=state).__enter__()
    try:
        config = folder / "curiosity.toml"
        settings = StageSettings(config, folder, chain.rpc_url, port, epoch_s, patient, genesis)
        settings.write()
        client = _bind_contracts(chain, config, folder, report.screen)
        addresses = client.addresses
        report.figures["chain"] = {
            "engine": chain.engine,
            "chain_id": DEFAULT_CHAIN_ID,
            "token": "0x" + addresses.token.hex(),
            "rewards": "0x" + addresses.rewards.hex(),
        }
        report.screen.say(f"   {chain.engine} at {chain.rpc_url}, rewards contract 0x{addresses.rewards.hex()}")
        with ValidatorProcess(config, folder / "validator.log") as validator:
            yield Stage(folder, settings, report, chain, client, validator)
    finally:
        chain.stop()


def _chain_config(chain: DevChain, addresses: Addresses | None = None) -> ChainConfig:
    return ChainConfig(
        chain.rpc_url, DEFAULT_CHAIN_ID, addresses, request_timeout_s=PATIENT_S, receipt_timeout_s=PATIENT_S
    )


def _bind_contracts(chain: DevChain, config: Path, folder: Path, screen: Screen) -> "ChainClient":
    """Return a client of the contracts in ``folder``; deploys them, the validator registered, if there are none.

    A chain without the contracts that ``folder`` names has lost its state: they are deployed again, at the same
    addresses, and the validator posts its epochs again.

    Raises:
        ChainError: CHAIN_STATE_LOST if they come out elsewhere.
    """
    from curiosity.chain.evm import ChainClient

    path = folder / "chain" / "addresses.json"
    known = Addresses.from_json(read_json(path.read_text())) if path.exists() else None
    if known is not None:
        try:
            return ChainClient.connect(_chain_config(chain, known))
        except ChainError as error:
            if error.code != "CHAIN_NO_CONTRACT":
                raise
            screen.say("   The chain has no state: deploying again. What was claimed on it is gone, the ledger is not.")
    (keys,) = run_json_lines("validator", ["keys", "--config", str(config), "--json"], folder / "validator.log")
    validator = bytes.fromhex(keys["attestation_address"].removeprefix("0x"))
    faucet = chain.private_key(0)
    client = ChainClient.connect(_chain_config(chain))
    addresses = client.deploy(
        faucet,
        DeploySettings((validator,), threshold=1, activation_delay_s=ACTIVATION_DELAY_S, min_epoch_interval_s=0),
    )
    if known is not None and (known.token, known.rewards, known.stake) != (
        addresses.token,
        addresses.rewards,
        addresses.stake,
    ):
        raise ChainError(
            "CHAIN_STATE_LOST",
            f"the chain of {folder} is not the one that its ledger was made for: the rewards contract is "
            f"0x{addresses.rewards.hex()}, was 0x{known.rewards.hex()}",
            "Restore chain/state.json, or begin anew with --fresh.",
        )
    path.write_text(json.dumps(addresses.to_json()))
    client.fund(faucet, validator, eth_wei=GAS_MONEY_WEI)
    return client
