"""What ``--help`` of every command costs, as a ratio to a bare click program in the same run.

    python -m benchmarks.help_cost [--rounds N] [--json FILE]

Each command starts in a process of its own; counted are processor seconds, the least of N rounds, and imported modules.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click

from node.cli import curiosity

HEAVY: Final = (
    "aiohttp",
    "coincurve",
    "cryptography",
    "eth_account",
    "matplotlib",
    "numpy",
    "pydantic",
    "rich",
    "sqlalchemy",
    "torch",
    "transformers",
    "web3",
)
"""Libraries that no help text needs."""
MOST: Final = 3.0
"""What help may cost, in starts of a bare click program."""
PROGRAMS: Final = {
    "validator": "python -m validator",
    "witness": "python -m witness",
    "trainer": "python -m trainer",
    "trainer.round": "python -m trainer.round",
    "trainer.genesis": "python -m trainer.genesis",
    "trainer.phases": "python -m trainer.phases",
    "trainer.evaluate": "python -m trainer.evaluate",
    "trainer.report": "python -m trainer.report",
    "contracts.audit": "python -m contracts.audit",
    "contracts.build": "python -m contracts.build",
    "contracts.deploy": "python -m contracts.deploy",
    "contracts.devchain": "python -m contracts.devchain",
    "contracts.forge": "python -m contracts.forge",
    "contracts.mutate": "python -m contracts.mutate",
}
_BARE: Final = """
import click

@click.command()
@click.option("--one", help="An option.")
def main(one):
    '''A command.'''

main(standalone_mode=False)
"""
_CHILD: Final = """
import sys
import time

code, sys.argv = sys.argv[1], sys.argv[2:]
try:
    exec(compile(code, "help", "exec"), {"__name__": "__main__"})
    status = 0
except SystemExit as end:
    status = end.code or 0
ours = {name.partition(".")[0] for name in sys.modules}
sys.stderr.write(f"\\n{time.process_time()} {len(sys.modules)} {status} {' '.join(sorted(ours))}")
"""


@dataclass(frozen=True)
class HelpCost:
    """What one help text cost: processor seconds, imported modules, and those of `HEAVY` among them."""

    command: str
    cpu_s: float
    modules: int
    heavy: tuple[str, ...]


def commands() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Yield every command: how it is written, the module to run and the words after it."""
    yield from (("curiosity " + " ".join(words), "node.cli", words) for words in _walk(curiosity, ()))
    for module, name in PROGRAMS.items():
        program = _program(module)
        yield from ((f"{name} {' '.join(words)}", module, words) for words in _walk(program, ()))


def _program(module: str) -> click.Command:
    # Imported here: a child that measures must not see it.
    import contracts.audit
    import contracts.build
    import contracts.deploy
    import contracts.devchain
    import contracts.forge
    import contracts.mutate
    import trainer.cli
    import trainer.evaluate
    import trainer.genesis
    import trainer.phases
    import trainer.report
    import trainer.round
    import validator.__main__
    import witness.__main__

    found: dict[str, click.Command] = {
        "validator": validator.__main__.main,
        "witness": witness.__main__.main,
        "trainer": trainer.cli.main,
        "trainer.round": trainer.round.run,
        "trainer.genesis": trainer.genesis.genesis,
        "trainer.phases": trainer.phases.phases,
        "trainer.evaluate": trainer.evaluate.evaluate,
        "trainer.report": trainer.report.report,
        "contracts.audit": contracts.audit.command,
        "contracts.build": contracts.build.command,
        "contracts.deploy": contracts.deploy.command,
        "contracts.devchain": contracts.devchain.command,
        "contracts.forge": contracts.forge.command,
        "contracts.mutate": contracts.mutate.command,
    }
    return found[module]


def _walk(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from _walk(found, (*words, name))


def measure(name: str, module: str, words: Sequence[str], rounds: int, *, code: str = _BARE) -> HelpCost:
    """Return what ``--help`` of a command costs, the least of some rounds; without a module, of ``code``."""
    if module:
        code = f"import runpy; runpy.run_module({module!r}, run_name='__main__')"
    found = []
    for _ in range(rounds):
        done = subprocess.run(
            [sys.executable, "-c", _CHILD, code, "x", *words, "--help"], capture_output=True, text=True, check=True
        )
        cpu_s, modules, status, *tops = done.stderr.rpartition("\n")[2].split(" ")
        if status != "0" or "--help" not in done.stdout:
            raise RuntimeError(f"{name} --help: status {status}: {done.stdout}{done.stderr}")
        found.append(HelpCost(name, float(cpu_s), int(modules), tuple(sorted({*tops} & {*HEAVY}))))
    return min(found, key=lambda one: one.cpu_s)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table, write the JSON file, and return 1 if a help text costs too much."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.help_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    bare = measure("a bare click program", "", (), options.rounds)
    rows = [measure(name, module, words, options.rounds) for name, module, words in commands()]
    print("| command | CPU seconds | of a bare program | modules | of a bare program |")
    print("|---|---|---|---|---|")
    for row in (bare, *rows):
        print(
            f"| {row.command} | {row.cpu_s:.3f} | {row.cpu_s / bare.cpu_s:.2f} | {row.modules} | "
            f"{row.modules / bare.modules:.2f} |"
        )
    dearest = max(rows, key=lambda row: row.cpu_s)
    ratio = dearest.cpu_s / bare.cpu_s
    print(f"\nDearest: {dearest.command}, {ratio:.2f} times a bare click program's start; at most {MOST:g}.")
    if options.json:
        content = {
            "command": "python -m benchmarks.help_cost --json FILE",
            "rounds": options.rounds,
            "bare": asdict(bare),
            "dearest": {"command": dearest.command, "ratio": round(ratio, 2)},
            "commands": [asdict(row) | {"ratio": round(row.cpu_s / bare.cpu_s, 2)} for row in rows],
        }
        options.json.write_text(json.dumps(content, indent=1) + "\n")
    return int(ratio > MOST)


if __name__ == "__main__":
    sys.exit(main())
