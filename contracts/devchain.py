"""The embedded chain of a demonstration or a test: anvil's native binary, or eth-tester where there is none.

``python -m contracts.devchain`` serves one in the foreground, with ``--fallback`` eth-tester's.
"""

import contextlib
import ctypes
import json
import logging
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Literal

import click

from curiosity.host import console
from curiosity.protocol.errors import ChainError, ConfigError
from curiosity.protocol.json_reader import read_json

log = logging.getLogger(__name__)

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_CHAIN_ID = 31337
# The phrase that every development chain knows: worthless by design.
DEFAULT_MNEMONIC = "test test test test test test test test test test test junk"
DEFAULT_ACCOUNTS = 10
ANVIL_VARIABLE = "CURIOSITY_ANVIL"
LISTENING = "Listening on"  # how both engines begin the line that says that the port is theirs

# Safety stops, far above what a busy machine takes; a child that has ended is noticed at once.
_READY_TIMEOUT_S = 600.0
_STOP_TIMEOUT_S = 300.0
_PORT_ATTEMPTS = 3
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Engine = Literal["anvil", "eth-tester"]


def find_anvil() -> Path | None:
    """Return the anvil program: ``$CURIOSITY_ANVIL``, else npm's native binary in this checkout, else the search path.

    Raises:
        ConfigError: ``ANVIL_NOT_FOUND`` when the variable names something that is not a program.
    """
    named = os.environ.get(ANVIL_VARIABLE)
    if named:
        if os.access(named, os.X_OK) and Path(named).is_file():
            return Path(named)
        raise ConfigError(
            "ANVIL_NOT_FOUND",
            f"{ANVIL_VARIABLE}={named} is not a program",
            f"Correct or unset {ANVIL_VARIABLE}.",
        )
    machine = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    system = {"Linux": "linux", "Darwin": "darwin", "Windows": "win32"}.get(platform.system())
    program = "anvil.exe" if system == "win32" else "anvil"
    native = ROOT / f"node_modules/@foundry-rs/anvil-{system}-{machine}/bin/{program}"
    if native.is_file():
        return native
    found = shutil.which("anvil")
    return Path(found) if found else None


class DevChain:
    """A chain in a child process that ends with this one; a context manager.

    ``engine`` None takes anvil where there is one. ``port`` None takes a free one. ``state_path`` keeps anvil's state
    over restarts (eth-tester keeps none). anvil calls a block final when twice ``slots_in_an_epoch`` others are on top.
    On Linux the child is killed even when this process dies without a word; the kernel binds that to the *thread* that
    starts it, so start it from one that lives as long as the chain shall.

    Raises:
        ChainError: On entering, DEVCHAIN_FAILED when it does not get ready.
        ConfigError: On entering, for settings that cannot be used.
    """

    def __init__(
        self,
        *,
        chain_id: int = DEFAULT_CHAIN_ID,
        mnemonic: str = DEFAULT_MNEMONIC,
        accounts: int = DEFAULT_ACCOUNTS,
        port: int | None = None,
        state_path: Path | None = None,
        engine: Engine | None = None,
        slots_in_an_epoch: int = 32,
    ) -> None:
        self.chain_id = chain_id
        self.engine: Engine = engine or ("anvil" if find_anvil() else "eth-tester")
        if state_path is not None and self.engine != "anvil":
            raise ConfigError(
                "DEVCHAIN_STATE_UNSUPPORTED",
                f"{self.engine} keeps no state, but {state_path} was given",
                "Install anvil with `npm ci`, or leave the state file out.",
            )
        self._mnemonic = mnemonic
        self._accounts = accounts
        self._wanted_port = port
        self._state_path = state_path
        self._slots_in_an_epoch = slots_in_an_epoch
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Return where the chain listens, 0 before it does."""
        return self._port

    @property
    def rpc_url(self) -> str:
        """Where the chain answers."""
        return f"http://127.0.0.1:{self._port}"

    def private_key(self, index: int) -> bytes:
        """Return the key of the funded account with that number (BIP-44 path m/44'/60'/0'/0/index), 32 bytes."""
        from eth_account import Account  # here: help needs no keys

        Account.enable_unaudited_hdwallet_features()
        return bytes(Account.from_mnemonic(self._mnemonic, account_path=f"m/44'/60'/0'/0/{index}").key)

    def __enter__(self) -> "DevChain":
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._port = self._wanted_port or _free_port()
            self._start()
            try:
                self._wait_until_ready()
            except ChainError:
                self.stop()
                # Somebody else may have taken the free port before the child did.
                if self._wanted_port or attempt == _PORT_ATTEMPTS:
                    raise
                continue
            log.info("devchain engine=%s url=%s chain_id=%d", self.engine, self.rpc_url, self.chain_id)
            break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the chain; anvil writes its state file first. Nothing happens when it is not running."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):  # asked a second time
            process.kill()
            process.wait()

    def check(self) -> None:
        """Check that it has not ended since it was started.

        Raises:
            ChainError: DEVCHAIN_ENDED.
        """
        if self._process is not None and self._process.poll() is not None:
            raise ChainError(
                "DEVCHAIN_ENDED",
                f"{self.engine} on port {self._port} ended with status {self._process.returncode}",
                "Start it again: it goes on with what it had written.",
            )

    def advance(self, seconds: int) -> None:
        """Move block time forward and mine one block. Only a development chain can do that."""
        self.request("evm_increaseTime", [seconds])
        self.request("evm_mine", [])

    def request(self, method: str, parameters: list[Any], *, timeout_s: float = 10.0) -> Any:
        """Return the result of one JSON-RPC request.

        Raises:
            ChainError: ``CHAIN_UNREACHABLE`` or ``CHAIN_REFUSED``.
        """
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
        request = urllib.request.Request(  # noqa: S310 - always http on the loopback address
            self.rpc_url, body, {"Content-Type": "application/json"}
        )
        try:
            with _LOOPBACK.open(request, timeout=timeout_s) as reply:
                answer = read_json(reply.read(1 << 20))
        except (OSError, ValueError) as error:
            raise ChainError(
                "CHAIN_UNREACHABLE",
                f"{self.rpc_url} does not answer: {error}",
                "Start the embedded chain again.",
            ) from error
        if "error" in answer:
            raise ChainError("CHAIN_REFUSED", f"{method}: {answer['error']}", "Check the method and its parameters.")
        return answer["result"]

    def _start(self) -> None:
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT if self.engine == "eth-tester" else None,
            preexec_fn=die_with_parent(),
            process_group=0,  # Ctrl-C in a terminal is for us, who end it after those that use it
        )

    def _command(self) -> list[str]:
        shared = [
            "--port",
            str(self._port),
            "--chain-id",
            str(self.chain_id),
            "--accounts",
            str(self._accounts),
        ]
        if self.engine == "eth-tester":
            return [
                sys.executable,
                "-m",
                "contracts.devchain",
                "--fallback",
                *shared,
                "--mnemonic",
                self._mnemonic,
            ]
        anvil = find_anvil()
        if anvil is None:
            raise ConfigError(
                "ANVIL_NOT_FOUND",
                "there is no anvil binary",
                f"Run `npm ci`, or set {ANVIL_VARIABLE} to its path.",
            )
        command = [str(anvil), *shared, "--mnemonic", self._mnemonic, "--host", "127.0.0.1", "--color", "never"]
        command += ["--slots-in-an-epoch", str(self._slots_in_an_epoch)]
        if self._state_path is not None:
            self._state_path.parent.mkdir(parents=True, exist_ok=True)
            # Also written every few seconds, so that a killed chain comes back nearly where it was.
            command += ["--state", str(self._state_path), "--state-interval", "5"]
        return command

    def _wait_until_ready(self) -> None:
        """Return when the child says that it listens. Whoever answers on the port may be somebody else's node."""
        process = self._process
        assert process is not None
        assert process.stdout is not None
        assert process.stderr is not None
        listens, told = threading.Event(), threading.Event()
        threading.Thread(target=_listen_to, args=(process.stdout, listens, told), daemon=True).start()
        told.wait(_READY_TIMEOUT_S)
        if listens.is_set():
            if self.engine == "anvil":
                self.request("anvil_setLoggingEnabled", [False])
            if int(self.request("eth_chainId", []), 16) == self.chain_id:
                return
        status, words = None, ""
        if told.is_set() and not listens.is_set():  # its output ended: so does it
            status = process.wait()
            words = process.stderr.read().decode(errors="replace").strip()[-500:]
        raise ChainError(
            "DEVCHAIN_FAILED",
            f"{self.engine} on port {self._port} is not ready (exit status {status}) {words}".rstrip(),
            "Choose another port, or look at what the program says.",
        )


def _listen_to(output: IO[bytes], listens: threading.Event, told: threading.Event) -> None:
    """Read what a chain prints until it ends: an unread pipe would stop it. ``told`` also when it ends before."""
    for line in output:
        if line.startswith(LISTENING.encode()):
            listens.set()
            told.set()
    told.set()


def die_with_parent() -> Callable[[], None] | None:
    """Return what a child runs before its program, so that the kernel kills it when its parent dies.

    None outside Linux.
    """
    if sys.platform != "linux":
        return None
    # Loaded before the fork: between fork and exec only the plain system call is safe.
    libc = ctypes.CDLL(None)

    def ask_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return ask_kernel


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_NAME: Final = "python -m contracts.devchain"


@click.command(
    context_settings=console.HELP, epilog=console.example(f"{_NAME} --port 8545", f"{_NAME} --fallback --json")
)
@click.option("--fallback", is_flag=True, help="eth-tester in place of anvil.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8545, show_default=True, help="0: a free one.")
@click.option("--chain-id", type=click.IntRange(min=1), default=DEFAULT_CHAIN_ID, show_default=True, help="Chain id.")
@click.option(
    "--accounts", type=click.IntRange(min=1), default=DEFAULT_ACCOUNTS, show_default=True, help="Funded accounts."
)
@click.option("--mnemonic", default=DEFAULT_MNEMONIC, help="Words of the accounts; by default those that all know.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output once it listens.")
@click.option("-v", "--verbose", count=True, help="Logs on standard error; -vv for more.")
def command(
    fallback: bool, port: int, chain_id: int, accounts: int, mnemonic: str, as_json: bool, verbose: int
) -> None:
    """Serve a development chain until Ctrl-C or SIGTERM. Its coins and keys are worthless."""
    console.log_command(verbose)

    def tell(engine: Engine, port: int, words: str) -> None:
        facts = {"engine": engine, "url": f"http://127.0.0.1:{port}", "chain_id": chain_id}
        click.echo(json.dumps(facts) if as_json else words)
        sys.stdout.flush()

    with contextlib.suppress(KeyboardInterrupt):  # how it is meant to end
        if fallback:
            with _listening_fallback(chain_id, mnemonic, accounts, port) as server:
                port = server.server_port
                tell("eth-tester", port, f"{LISTENING} 127.0.0.1:{port}")
                server.serve_forever()
        else:
            with DevChain(chain_id=chain_id, mnemonic=mnemonic, accounts=accounts, port=port) as chain:
                tell(chain.engine, chain.port, f"{chain.engine} answers on {chain.rpc_url}, chain id {chain_id}")
                signal.pause()


def _listening_fallback(chain_id: int, mnemonic: str, accounts: int, port: int) -> ThreadingHTTPServer:
    """Return a server of eth-tester's chain that listens.

    Raises:
        ChainError: DEVCHAIN_FAILED.
    """
    from contracts.tester_rpc import TesterChain, serve_tester

    chain = TesterChain(chain_id, mnemonic, accounts)
    try:
        return serve_tester(chain, port)
    except OSError as error:
        raise ChainError("DEVCHAIN_FAILED", f"port {port}: {error.strerror}", "Choose another port.") from None


def main(arguments: Sequence[str]) -> int:
    """Serve a development chain in the foreground until it is interrupted; return the exit status."""
    return console.run(command, arguments, _NAME)


if __name__ == "__main__":
    console.main(command, _NAME)
