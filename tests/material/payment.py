"""A real chain, a real validator that posts on it, and the command run as its users run it.

Pairs are written into the ledger as decided, so that who earns what does not hang on encoders.
"""

import asyncio
import json
import secrets
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

import validator.epochs
from contracts.devchain import DEFAULT_CHAIN_ID, DevChain
from curiosity.chain.attestation import address_of
from curiosity.chain.chain import ChainConfig, DeploySettings
from curiosity.chain.evm import ChainClient
from curiosity.client.client import ValidatorClient
from curiosity.client.wallet import create_wallet
from curiosity.host.settings.chain import ChainSettings
from curiosity.ledger.source import LedgerSource
from curiosity.protocol.entry import Closing, EpochEntry, PairEntry, encode_entry
from curiosity.protocol.epoch_payout import EpochPayout
from curiosity.protocol.payouts import Replay
from curiosity.protocol.reward_messages import EpochReport
from curiosity.protocol.rewards import RewardParameters, RewardTree
from curiosity.protocol.signing import sign
from curiosity.protocol.verdict import Outcome, Reason, Verdict
from node.cli import run
from tests.material.command import Said
from tests.material.service import Running, running
from validator.keys import load_keys
from validator.ledger import NewEntry

T = TypeVar("T")
DELAY_S = 600
_PATIENCE_S = 600.0  # of a machine with much else to do
PASSWORD = "correct horse battery staple"
Lie = Callable[[dict[bytes, int]], dict[bytes, int]]


@dataclass
class PaidNetwork:
    """A validator at ``live.url`` that posts to the contracts of ``client``. ``owner`` also guards and pays gas."""

    dev: DevChain
    client: ChainClient
    live: Running
    loop: asyncio.AbstractEventLoop
    folder: Path
    owner: bytes
    checkpoint: bytes = field(default=bytes(32))

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the validator's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_PATIENCE_S)

    def source(self, copy: Path | None = None) -> LedgerSource:
        """Its ledger, as commands and programs read it."""

        def ask(question: Callable[[ValidatorClient], Coroutine[object, object, T]], *, patience_s: float = 0.0) -> T:
            async def work() -> T:
                async with ValidatorClient(self.live.url, patience_s=patience_s) as client:
                    return await question(client)

            return asyncio.run(work())

        return LedgerSource(ask, copy)

    def earn(self, key: bytes, *scores: int) -> list[bytes]:
        """Write accepted pairs of a contributor into the ledger, and return their digests."""
        entries = [self._entry(key, score) for score in scores]
        new = [NewEntry(encode_entry(one), None) for one in entries]
        service = self.live.service
        self.call(service.threads.on_writer(lambda: service.ledger.append(new)))
        return [one.pair for one in entries]

    def _entry(self, key: bytes, score: int) -> PairEntry:
        verdict = Verdict(Outcome.ACCEPTED, Reason.BELONGS_TOGETHER, self.checkpoint, None, score > 0, score)
        pair = secrets.token_bytes(32)
        return PairEntry(pair, address_of(key), sign(pair, key), "image-text", "MIT", verdict, secrets.token_bytes(32))

    def close(self) -> EpochReport:
        """Close the open epoch and post it."""
        return self.call(self.live.client.close_epoch(self.live.service.keys.admin_token))

    def activate(self) -> int:
        """Let the delay pass and activate everything that waits; return the active epoch."""
        self.dev.advance(DELAY_S)
        while (state := self.client.state()).active_epoch < state.latest_epoch:
            self.client.activate(self.owner, state.active_epoch + 1)
        return state.active_epoch

    @property
    def latest(self) -> EpochPayout:
        """The payout that the validator closed last."""
        return self.live.service.epochs._closed[-1]


@contextmanager
def paid_network(
    folder: Path, *, others: Sequence[bytes] = (), threshold: int = 1, signs: bool = True, **changes: object
) -> Iterator[PaidNetwork]:
    """Run chain and validator; nothing is closed, posted or activated but by who is told to.

    ``others`` are keys of more validators that the contract names; unless the validator ``signs`` it names only them.
    """
    (folder / "v").mkdir(parents=True)
    attestation = load_keys(folder / "v" / "keys", "curiosity-local").attestation
    with DevChain() as dev:
        owner = dev.private_key(0)
        client = ChainClient.connect(ChainConfig(dev.rpc_url, DEFAULT_CHAIN_ID))
        settings = DeploySettings(
            tuple(address_of(key) for key in ((attestation,) if signs else ()) + tuple(others)), threshold,
            activation_delay_s=DELAY_S, min_epoch_interval_s=0, guardian=address_of(owner),
        )  # fmt: skip
        addresses = client.deploy(owner, settings)
        client.fund(owner, address_of(attestation), eth_wei=10**18)
        (folder / "addresses.json").write_text(json.dumps(addresses.to_json()))
        chain = ChainSettings(dev.rpc_url, DEFAULT_CHAIN_ID, folder / "addresses.json")
        loop = asyncio.new_event_loop()
        ended = asyncio.Event()
        started: Future[Running] = Future()

        async def serve() -> None:
            try:
                async with running(folder / "v", chain=chain, activation_poll_s=3600.0, **changes) as live:
                    started.set_result(live)
                    await ended.wait()
            except BaseException as error:
                if started.done():
                    raise
                started.set_exception(error)

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
        thread.start()
        live = started.result(_PATIENCE_S)
        try:
            yield PaidNetwork(dev, client, live, loop, folder, owner, live.network.checkpoint)
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join(_PATIENCE_S)
            loop.close()


@contextmanager
def lying(lie: Lie, *, honest_entry: bool = False) -> Iterator[None]:
    """While this lasts, validators in this process close epochs with the amounts that ``lie`` makes of the honest ones.

    With ``honest_entry`` the ledger tells the truth and only the chain is lied to.
    """

    def close(replay: Replay, closing: Closing | None) -> EpochPayout:
        honest = replay.open_epoch(closing)
        amounts = lie(dict(honest.amounts_wei))
        told = replace(
            honest, amounts_wei=amounts, reward_root=RewardTree(list(amounts.items())).root,
            emission_wei=sum(amounts.values()),
        )  # fmt: skip
        return _TwoFaced(**vars(told), honest=honest) if honest_entry else told

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(validator.epochs, "derive_open", close)
        yield


@dataclass(frozen=True)
class _TwoFaced(EpochPayout):
    honest: EpochPayout | None = None

    def expected_entry(self, parameters: RewardParameters) -> EpochEntry:
        assert self.honest is not None
        return self.honest.expected_entry(parameters)


@dataclass(frozen=True)
class Terminal:
    """A user's terminal, in this process: a home, a password file, a chain and a validator."""

    home: Path
    capture: pytest.CaptureFixture[str]

    def run(self, *arguments: str | Path) -> Said:
        """Run the command; it must not have shown a traceback."""
        self.capture.readouterr()
        status = run([*map(str, arguments)])
        out, err = self.capture.readouterr()
        assert "Traceback" not in out + err
        return Said(status, out, err)

    def wallet(self, name: str, key: bytes) -> str:
        """Make a wallet of a key, and return its address."""
        return create_wallet(self.home, name, PASSWORD, scrypt_n=2, private_key=key).describe()["address"]


@contextmanager
def terminal(
    home: Path, capture: pytest.CaptureFixture[str], net: PaidNetwork | None = None, **settings: str
) -> Iterator[Terminal]:
    """A terminal whose environment names the network."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "password").write_text(PASSWORD + "\n")
    values: Mapping[str, str] = {
        "CURIOSITY_NODE__HOME": str(home),
        "CURIOSITY_NODE__VALIDATOR_URL": net.live.url if net else "http://127.0.0.1:9",
        "CURIOSITY_NODE__SCRYPT_N": "2",
        "CURIOSITY_NODE__PATIENCE_S": str(_PATIENCE_S) if net else "1",
        "CURIOSITY_CHAIN__RPC_URL": net.dev.rpc_url if net else "http://127.0.0.1:9",
        "CURIOSITY_PASSWORD_FILE": str(home / "password"),
    } | settings
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield Terminal(home, capture)
