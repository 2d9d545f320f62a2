"""The token of a validator's operator."""

from pathlib import Path

from curiosity.host.files import read_secret
from curiosity.protocol.errors import ConfigError
from curiosity.protocol.signing import parse_seed


def read_token(path: Path) -> str:
    """Return the admin token in a file.

    Raises:
        ConfigError: TOKEN_FILE.
    """
    try:
        return parse_seed(read_secret(path)).hex()
    except OSError as error:
        raise ConfigError(
            "TOKEN_FILE", f"{path}: {error.strerror}", "Name keys/admin.token of the validator."
        ) from None
    except ValueError as error:
        raise ConfigError(
            "TOKEN_FILE", f"{path} holds no token: {error}", "Name keys/admin.token of the validator."
        ) from None
