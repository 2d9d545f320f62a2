"""Addresses of web servers: whether one is written rightly, and what of it may be shown."""

import re
from urllib.parse import urlsplit

from curiosity.protocol.errors import ConfigError

_USERINFO = re.compile(r"://[^/?#\s]*@")


def without_userinfo(text: str) -> str:
    """Return the text with every URL in it without user name and password, which only its server may learn."""
    return _USERINFO.sub("://", text)


def check_url(url: str, what: str) -> str:
    """Return the address of a web server as it is; ``what`` names it in the error.

    Raises:
        ConfigError: URL_INVALID unless it begins with http:// or https:// and a host follows.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is not a number, brackets that do not close
        good = False
    if not good:
        shown = url.rpartition("@")[2][:100]  # without the user's name and password
        raise ConfigError(
            "URL_INVALID",
            f"{what} is {shown!r}, which is not the address of a web server",
            "Write it with its scheme, host and port, such as http://127.0.0.1:8440.",
        )
    return url
