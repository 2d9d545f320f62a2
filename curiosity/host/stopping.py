"""How a program of ours is asked to stop: SIGTERM does what Ctrl-C does, however the program was started."""

import signal
import sys
from types import FrameType

_AGAIN_S = 0.05


def stop_on_sigterm() -> None:
    """Let SIGTERM interrupt the program as SIGINT would; for the main thread, at the edge of a program.

    A shell starts what runs in its background with SIGINT ignored, so that only SIGTERM reaches it. Without this
    SIGTERM ends a process at once: no summary, no cleaning up, children left behind.

    An interruption is not lost where Python can only ignore an exception, as in a destructor or while it starts a
    process: it comes again.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGALRM, _interrupt)
    sys.unraisablehook = _keep_interruption


def _interrupt(_number: int, frame: FrameType | None) -> None:
    handler = signal.getsignal(signal.SIGINT)
    if callable(handler):
        handler(signal.SIGINT, frame)  # that of `asyncio.run` lets its coroutine clean up
    else:
        raise KeyboardInterrupt


def _keep_interruption(ignored: "sys.UnraisableHookArgs") -> None:
    if ignored.exc_type is KeyboardInterrupt:
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)  # by then the main thread is elsewhere
    else:
        sys.__unraisablehook__(ignored)
