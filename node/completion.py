"""What a shell completes beside commands and options: the names of wallets."""

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from curiosity.protocol.errors import CuriosityError


class WalletName(click.ParamType[str]):
    """The name of a wallet on this machine, any text; a shell completes it with the names of the wallets there."""

    name = "text"

    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002 - click's signature
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the wallets below the home of ``--home``, else of the settings, that begin with what was typed."""
        from curiosity.client.wallet import list_wallets  # here: no help text needs it
        from node.config import load_settings

        home, config_file = ctx.params.get("home"), ctx.params.get("config_file")
        try:
            folder = Path(home).expanduser() if home else load_settings(config_file).node.folder
            names = [wallet.name for wallet in list_wallets(folder)]
        except CuriosityError:  # a shell that completes has no place for an error
            return []
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


WALLET_NAME = WalletName()
