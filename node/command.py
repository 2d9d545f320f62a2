"""What every sub-command shares: options for configuration, JSON and logs, and the session that they make."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from curiosity.host.console import log_command
from curiosity.host.settings.chain import ChainSettings
from curiosity.host.settings.node import NodeSettings
from curiosity.protocol.errors import CuriosityError, WalletError
from node.config import CommandSettings, load_settings

if TYPE_CHECKING:
    from curiosity.client.client import ValidatorClient
    from curiosity.client.wallet import Wallet
    from curiosity.ledger.source import LedgerSource
    from node.screen import Screen

T = TypeVar("T")
Callback = TypeVar("Callback", bound=Callable[..., Any])


class _PathType(click.Path):
    """A path that is not empty: an empty one would mean the current folder, which nobody meant."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path.

        Raises:
            click.BadParameter: For an empty text.
        """
        if value == "":
            self.fail("is empty; give a path, such as . for the current folder", param, ctx)
        return super().convert(value, param, ctx)


PATH: Final = _PathType(path_type=Path)


@dataclass(frozen=True)
class Session:
    """A command's settings and where it prints."""

    settings: CommandSettings
    screen: Screen

    @property
    def home(self) -> Path:
        """Folder of wallets, receipts and journals."""
        return self.settings.node.folder


def session_options(*, network: bool = False, reads_settings: bool = True) -> Callable[[Callback], Callback]:
    """Add ``--json``, ``-v``, ``--config``, ``--home`` (and ``--url``); the command is given a Session first.

    Without ``reads_settings`` the session has the defaults, whatever the file says.
    """

    def decorate(callback: Callback) -> Callback:
        @functools.wraps(callback)
        def run(
            *args: Any,
            as_json: bool,
            verbose: int,
            config_file: Path | None,
            home: Path | None,
            validator_url: str | None = None,
            **kwargs: Any,
        ) -> Any:
            from node.screen import Screen  # here: help needs no tables

            log_command(verbose)
            settings = (
                load_settings(config_file) if reads_settings else CommandSettings(NodeSettings(), ChainSettings())
            )
            node = settings.node
            if home is not None:
                node = replace(node, home=home)
            if validator_url is not None:
                node = replace(node, validator_url=validator_url.rstrip("/"))
            return callback(Session(replace(settings, node=node), Screen(as_json=as_json)), *args, **kwargs)

        options = [
            click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output."),
            click.option("-v", "--verbose", count=True, help="Logs on standard error; -vv for more."),
            click.option("--config", "config_file", type=PATH, help="Settings file (TOML)."),
            click.option("--home", type=PATH, help="Folder of wallets, receipts and journals."),
        ]
        if network:
            options.append(click.option("--url", "validator_url", help="Address of the validator."))
        wrapped: Any = run
        for option in reversed(options):
            wrapped = option(wrapped)
        return wrapped  # type: ignore[no-any-return]

    return decorate


def open_client(
    session: Session, *, patience_s: float | None = None, timeout_s: float | None = None
) -> ValidatorClient:
    """Return a client of the session's validator that says on standard error when it has to wait for it."""
    from curiosity.client.client import ValidatorClient

    node = session.settings.node
    patience_s = node.patience_s if patience_s is None else min(patience_s, node.patience_s)
    last: list[str] = []

    def say(failure: CuriosityError) -> None:
        if last != [failure.code]:
            session.screen.say(f"{failure.code}: {failure.what}. Trying again for up to {patience_s:g} s.")
            last[:] = [failure.code]

    return ValidatorClient(
        node.validator_url, patience_s=patience_s, timeout_s=timeout_s or node.request_timeout_s, on_wait=say
    )


def ledger_source(session: Session, entries: Path | None) -> LedgerSource:
    """Return the ledger in a copy, else that of the session's validator, which is asked for what is not there."""
    import asyncio

    from curiosity.ledger.source import PATIENCE_S, LedgerSource  # here: no help text needs it

    def ask(
        question: Callable[[ValidatorClient], Coroutine[object, object, T]], *, patience_s: float = PATIENCE_S
    ) -> T:
        async def work() -> T:
            async with open_client(session, patience_s=patience_s) as client:
                return await question(client)

        return asyncio.run(work())

    return LedgerSource(ask, entries, session.settings.node.log_vkey)


def chain_settings(session: Session, rpc_url: str | None) -> ChainSettings:
    """Return section [chain] of the settings, with the address of ``--rpc`` if that was given."""
    chain = session.settings.chain
    return replace(chain, rpc_url=rpc_url) if rpc_url else chain


def wallet_named(session: Session, name: str | None) -> Wallet:
    """Return the wallet of that name, else that of the settings.

    Raises:
        WalletError: WALLET_NEEDED if neither is.
    """
    from curiosity.client.wallet import find_wallet

    name = name or session.settings.node.wallet
    if not name:
        raise WalletError("WALLET_NEEDED", "no wallet was named", "Give --wallet NAME, or set [node] wallet.")
    return find_wallet(session.home, name)
