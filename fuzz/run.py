"""One target in this process until the time is over or it breaks: `python -m fuzz.run TARGET SECONDS FOLDER SEED`."""

import random
import sys
import time
from pathlib import Path


def main(name: str, seconds: str, folder: str, seed: str) -> None:
    """Fuzz with coverage where atheris is, else with plain mutations. Leaves an input that breaks it in the folder."""
    try:
        import atheris
    except ImportError:
        _without_coverage(name, float(seconds), Path(folder), int(seed))
        return
    with atheris.instrument_imports(include=["protocol"]):
        from fuzz.targets import TARGETS
    target = TARGETS[name]
    corpus = Path(folder) / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(data)
    arguments = [
        sys.argv[0],
        str(corpus),
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-artifact_prefix={folder}/",
        f"-max_len={max(4096, *(2 * len(data) for data in target.seeds))}",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    structured = target.mutate

    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        chance = random.Random(seed)
        if structured is not None and chance.randrange(2):
            return structured(data, chance)[:max_size]
        return bytes(atheris.Mutate(data, max_size))

    atheris.Setup(arguments, target.check, custom_mutator=mutator)
    atheris.Fuzz()


def _without_coverage(name: str, seconds: float, folder: Path, seed: int) -> None:
    from fuzz.targets import TARGETS, mutated

    target, chance = TARGETS[name], random.Random(seed)
    until, count = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        data = mutated(target, chance)
        count += 1
        try:
            target.check(data)
        except BaseException:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"crash-{count}").write_bytes(data)
            raise
    print(f"stat::number_of_executed_units: {count}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
