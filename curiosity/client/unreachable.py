"""Why a server did not answer, in words."""

import errno

import aiohttp


def why_silent(error: Exception) -> str:
    """Return what a request came to that brought no answer: what aiohttp or the system raised for it."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "no machine of that name is known"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not one that this machine trusts"
    if isinstance(error, aiohttp.ClientConnectorError | ConnectionRefusedError):
        number = error.os_error.errno if isinstance(error, aiohttp.ClientConnectorError) else error.errno
        if number == errno.ECONNREFUSED:
            return "nobody listens there"
        system = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        return f"it cannot be connected to: {system.strerror or system}"
    if isinstance(error, TimeoutError):
        return "it took too long"
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError):
        return "it ended the connection"
    if isinstance(error, OSError):
        return "the connection broke off"
    return str(error) or "the answer cannot be read"
