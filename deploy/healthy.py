"""Health checks of the compose file: ``python deploy/healthy.py validator|witness URL`` or ``chain URL CHAIN_ID``.

The exit status is 0 if the service is well, 1 if not. It uses the standard library only, so that it starts fast.
"""

import json
import sys
import urllib.request
from collections.abc import Sequence

TIMEOUT_S = 3.0
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def check_health(url: str) -> str:
    """Return an empty text if the validator or the witness at ``url`` is well.

    Raises:
        OSError: If it does not answer, or not with status 200; a service that cannot continue answers 503.
    """
    with _DIRECT.open(f"{url.rstrip('/')}/health", timeout=TIMEOUT_S):
        return ""


def check_chain(url: str, chain_id: str) -> str:
    """Return what is wrong with the chain at ``url``, an empty text if nothing.

    Raises:
        OSError: If it does not answer.
    """
    call = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}).encode()
    request = urllib.request.Request(url, call, {"Content-Type": "application/json"})  # noqa: S310 - a fixed address
    with _DIRECT.open(request, timeout=TIMEOUT_S) as reply:
        actual = int(json.load(reply)["result"], 16)
    return "" if actual == int(chain_id) else f"chain id is {actual}, expected {chain_id}"


CHECKS = {"validator": (check_health, 1), "witness": (check_health, 1), "chain": (check_chain, 2)}


def main(arguments: Sequence[str]) -> int:
    """Run one check; print what is wrong."""
    check, count = CHECKS.get(arguments[0] if arguments else "", (None, 0))
    if check is None or len(arguments) != count + 1:
        print("usage: healthy.py validator|witness URL | chain URL CHAIN_ID", file=sys.stderr)
        return 2
    try:
        wrong = check(*arguments[1:])
    except (OSError, ValueError, KeyError, TypeError) as error:
        wrong = f"{type(error).__name__}: {error}"
    if wrong:
        print(wrong, file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
