"""`curiosity up`: a network on this machine, left running: a chain with the contracts and a validator."""

import asyncio
import json
import os
import shlex
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import NoReturn

from contracts.devchain import DEFAULT_CHAIN_ID
from curiosity.client.client import ValidatorClient
from curiosity.host.files import make_folder, move, open_locked
from curiosity.protocol.errors import ChainError, ConfigError
from curiosity.protocol.json_reader import read_json
from node.demo.report import Report
from node.demo.run import PLAYED, RUN
from node.demo.stage import Stage, open_stage
from node.screen import Screen

DEFAULT_PORT = 8440  # of the validator, and of every command that names none
DEFAULT_CHAIN_PORT = 8545
UP = "up"  # below the folder of the demo; kept from one run to the next
_LOCK = "up.lock"
_SHOW_S = 2.0
_STEPS = {"step=encoders": "the encoders load", "step=index": "the search index is built from the ledger"}
_LOOK_S = 0.5  # between two looks at whether chain and validator still run


@dataclass(frozen=True)
class UpOptions:
    """Where the network is kept, the ports (0: any free one), how often an epoch closes, and whether to begin anew.

    ``epoch_s`` 0: an epoch closes only when the operator says so.
    """

    folder: Path
    port: int
    chain_port: int
    epoch_s: int
    fresh: bool


def up(options: UpOptions, screen: Screen) -> None:
    """Start the network, or go on with the one that is there, and keep it up until Ctrl-C or SIGTERM.

    Raises:
        ConfigError: ALREADY_UP, PORT_TAKEN, PORTS_EQUAL, FOLDER_NOT_WRITABLE.
        ServiceError, ChainError: If the validator or the chain ends; KeyboardInterrupt if it is told to stop before
            it is ready.
    """
    started = time.monotonic()
    run = options.folder / UP
    with _only_one(options.folder) as lock:
        _check_ports(options)
        _choose_network(options, run, screen)
        report = Report(screen)
        with open_stage(
            run,
            report,
            port=options.port,
            chain_port=options.chain_port,
            epoch_s=options.epoch_s,
            patient=False,
        ) as made:
            is_ready = False
            try:
                with report.step("validator", "The validator: encoders, ledger, index"):
                    made.validator.start(_Progress(screen, started))
                made.settings.write(validator_url=made.validator.facts["url"])
                _write_facts(lock, made)
                days = _Days(made)
                _tell(made, options, screen, time.monotonic() - started)
                is_ready = True
                _stay(made, days)
            except KeyboardInterrupt:
                screen.say("Stopping: the validator ends first, then the chain.")
                if not is_ready:
                    raise


class _Progress:
    """Shows every two seconds how long it takes, and the last thing that the validator said."""

    def __init__(self, screen: Screen, started: float) -> None:
        self._screen, self._started, self._shown = screen, started, started
        self._doing = "the program loads"

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        self._doing = _step(line) or self._doing
        if now - self._shown >= _SHOW_S:
            self._shown = now
            self._screen.say(f"   starting, {now - self._started:.0f} s: {self._doing}")


def _step(line: str) -> str:
    """Return, in words, what a validator is at by the last line of its log; empty if the line does not say."""
    return next((words for mark, words in _STEPS.items() if mark in line), "")


@contextmanager
def _only_one(folder: Path) -> Iterator[FileIO]:
    """Hold the folder's lock, which the system gives up with the process; nothing else tells a living one from a dead.

    Raises:
        ConfigError: ALREADY_UP with what the one that holds it has written there, FOLDER_NOT_WRITABLE.
    """
    try:
        make_folder(folder)
        opened = open_locked(folder / _LOCK)
    except BlockingIOError:
        text = (folder / _LOCK).read_text()
        facts = read_json(text) if text else {}
        raise ConfigError(
            "ALREADY_UP",
            f"the network in {folder / UP} is up: process {facts.get('pid', 'starting')}, validator "
            f"{facts.get('validator', 'not yet')}, chain {facts.get('chain', 'not yet')}",
            "Use it, or stop it first. A second network needs --folder, --port and --chain-port of its own.",
        ) from None
    except OSError as error:
        raise ConfigError(
            "FOLDER_NOT_WRITABLE", f"{folder}: {error.strerror}", "Give --folder a folder that this user may write to."
        ) from None
    with opened as lock:
        lock.truncate(0)
        yield lock


def _write_facts(lock: FileIO, made: Stage) -> None:
    facts = {"pid": os.getpid(), "validator": made.validator.facts["url"], "chain": made.chain.rpc_url}
    lock.write(json.dumps(facts).encode())


def _check_ports(options: UpOptions) -> None:
    if options.port and options.port == options.chain_port:
        raise ConfigError(
            "PORTS_EQUAL",
            f"validator and chain cannot both listen on port {options.port}",
            "Give --port and --chain-port different numbers (0 picks a free one).",
        )
    _check_port(options.chain_port, "chain", "--chain-port")
    _check_port(options.port, "validator", "--port")


def _check_port(port: int, whose: str, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(
                "PORT_TAKEN",
                f"the {whose} cannot listen on 127.0.0.1:{port}: {error.strerror}",
                f"Stop the program that listens there, or give {option} N (0 picks a free one); with make: "
                f'make up ARGS="{option} N".',
            ) from None


def _choose_network(options: UpOptions, run: Path, screen: Screen) -> None:
    """Leave in ``run`` the network to go on with: the one that is there, a copy of the demo's, or nothing."""
    demo = options.folder / RUN
    if options.fresh:
        shutil.rmtree(run, ignore_errors=True)
        screen.say("Beginning anew (--fresh): an empty ledger and the genesis checkpoint.")
    elif (run / "chain" / "addresses.json").exists():
        screen.say(f"Going on with the network in {run}: its ledger, keys, chain and checkpoint. --fresh begins anew.")
    elif (demo / PLAYED).exists():
        copy = run.with_name(f".{UP}.{os.getpid()}")
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(demo, copy, ignore=shutil.ignore_patterns("mirror", "*.log"))
        move(copy, run)
        screen.say(
            f"Going on with a copy of what the demo made in {demo}: its pairs, keys, chain, checkpoint and the wallets "
            f"of its contributors. --fresh begins with an empty network."
        )
    else:
        shutil.rmtree(run, ignore_errors=True)  # one that was cut short before its contracts were there
        screen.say("A new network: an empty ledger and the genesis checkpoint.")


def _tell(made: Stage, options: UpOptions, screen: Screen, seconds: float) -> None:
    facts, run = made.validator.facts, made.folder
    lines = [
        ("settings", f"{run / 'curiosity.toml'}"),
        ("receipt key", f"{facts['receipt_vkey']}"),
        ("keys", f"{run / 'validator' / 'keys'}"),
        ("admin token", f"{run / 'validator' / 'keys' / 'admin.token'}"),
        ("contracts", f"{run / 'chain' / 'addresses.json'}"),
        ("coins", f"test accounts of {made.chain.engine}, chain id {DEFAULT_CHAIN_ID}"),
        ("log", f"{run / 'validator.log'}"),
    ]
    given = "" if _has_default_ports(made) else f" --config {shlex.quote(str(run / 'curiosity.toml'))}"
    screen.say(
        f"\nRunning. Validator: {facts['url']}   chain: {made.chain.rpc_url}   ready after {seconds:.1f} s\n"
        + "".join(f"  {name:<12} {value}\n" for name, value in lines)
        + _rhythm(options.epoch_s)
        + "In another terminal, for example:\n"
        "  curiosity wallet new alice\n"
        f"  curiosity wallet fund alice{given}\n"
        f"  curiosity submit my-pictures/ --wallet alice --license CC-BY-4.0{given}\n"
        f'  curiosity query "a red heart"{given}\n'
        "Ctrl-C stops it; the next `curiosity up` continues from here."
    )


def _has_default_ports(made: Stage) -> bool:
    """Return whether commands find validator and chain without being told where they are."""
    urls = (made.validator.facts["url"], made.chain.rpc_url)
    return urls == tuple(f"http://127.0.0.1:{port}" for port in (DEFAULT_PORT, DEFAULT_CHAIN_PORT))


def _rhythm(epoch_s: int) -> str:
    when = f"every {epoch_s} s in which there is something to close" if epoch_s else "when you say so"
    how = "" if epoch_s else " (curiosity validator close-epoch)"
    return (
        f"An epoch closes {when}{how}, and with it a day passes on this chain: what a pair earns vests\n"
        f"in four parts, the first with the third close.\n"
    )


class _Days:
    """Moves the chain's clock on by a day with each epoch, so that the next one may be closed at any time."""

    def __init__(self, made: Stage) -> None:
        """Bring the chain to where the open epoch may be closed.

        A chain that has lost its state begins with today and lacks the days of all epochs that the ledger closed.
        """
        self._made = made
        self._posted = made.client.state().latest_epoch
        for _ in range(max(asyncio.run(_open_epoch(made.validator.facts["url"])) - self._posted, 1)):
            made.pass_a_day()

    def look(self) -> None:
        """Let a day pass if an epoch was posted since the last look."""
        with suppress(ChainError):  # of a chain that ends: whoever looks at its process says so
            posted = self._made.client.state().latest_epoch
            if posted != self._posted:
                self._made.pass_a_day()
                self._posted = posted


async def _open_epoch(url: str) -> int:
    async with ValidatorClient(url) as client:
        return (await client.health()).epoch


def _stay(made: Stage, days: _Days) -> NoReturn:
    """Wait for a signal.

    Raises:
        ServiceError, ChainError: If a process of ours has ended.
    """
    while True:
        made.validator.check()
        made.chain.check()
        days.look()
        time.sleep(_LOOK_S)
