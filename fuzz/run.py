"""One target in this process until it breaks or has had its time: `python -m fuzz.run TARGET SECONDS FOLDER SEED`.

The time is this process's own on a processor: a target gets as much of it on a loaded machine as on an idle one.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

SLOW_S = 1.0
"""More processor time than this for one input is a finding: whoever sends it could hold a service up."""


def timed(check: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Return ``check``, raising AssertionError too for an input that takes more than `SLOW_S`."""

    def checked(data: bytes) -> None:
        started = time.process_time()
        check(data)
        taken = time.process_time() - started
        assert taken <= SLOW_S, f"{len(data)} bytes took {taken:.1f} s of processor time"

    return checked


def main(name: str, seconds: str, folder: str, seed: str) -> None:
    """Fuzz with coverage where atheris is, else with plain mutations. Leaves an input that breaks it in the folder."""
    try:
        import atheris
    except ImportError:
        _without_coverage(name, float(seconds), Path(folder), int(seed))
        return
    with atheris.instrument_imports(include=["curiosity.protocol"]):
        from fuzz.targets import TARGETS
    target = TARGETS[name]
    corpus = Path(folder) / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(data)
    arguments = [
        sys.argv[0],
        str(corpus),
        f"-seed={seed}",
        f"-artifact_prefix={folder}/",
        f"-max_len={max(4096, *(2 * len(data) for data in target.seeds))}",
        "-timeout=120",  # of the wall clock, on a machine that may have other things to do
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    structured = target.mutate

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if structured is not None and chance.randrange(2):
            return structured(data, chance)[:max_size]
        return bytes(atheris.Mutate(data, max_size))

    def ring(*_: object) -> None:
        """End, or ring again: the timer goes by the kernel's ticks and may be early."""
        left = float(seconds) - time.process_time()
        if left > 0:
            signal.setitimer(signal.ITIMER_PROF, left)
        else:
            os.kill(os.getpid(), signal.SIGUSR1)  # libFuzzer ends after the input that it is at, with its figures

    signal.signal(signal.SIGPROF, ring)  # libFuzzer itself only knows the wall clock
    atheris.Setup(arguments, timed(target.check), custom_mutator=mutator)
    signal.setitimer(signal.ITIMER_PROF, float(seconds))
    atheris.Fuzz()


def _without_coverage(name: str, seconds: float, folder: Path, seed: int) -> None:
    from fuzz.targets import TARGETS, mutated

    target, chance = TARGETS[name], random.Random(seed)
    check = timed(target.check)
    count = 0
    while time.process_time() < seconds:
        data = mutated(target, chance)
        count += 1
        try:
            check(data)
        except BaseException:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"crash-{count}").write_bytes(data)
            raise
    print(f"stat::number_of_executed_units: {count}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
