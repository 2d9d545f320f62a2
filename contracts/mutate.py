"""Breaks the contracts in every simple way and sees that their tests notice: ``python -m contracts.mutate``.

Each mutant is one change of one line of ``contracts/src``: a refusal left out, a comparison moved by one or turned
round, a sum turned into a difference, an assignment or a modifier left out. A mutant is killed when a test fails, and
survives when all pass. Those that behave exactly as the original are named below with the reason and are not played.
Besides those that follow from the text there are named ones: a rule that is bent as no simple change bends it. Each
either survived all tests once or lets an attack through that was possible once.

``--named`` plays only these; ``--sample N --seed S`` plays N of all, drawn by the seed; ``--list`` only names them.
Works on a copy. All of them take an hour and more: ``--source`` and ``--skip`` play them in parts.
"""

import json
import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from contracts.forge import ROOT, copy_sources, run_forge
from curiosity.host import console
from curiosity.protocol.errors import ChainError, ExitCode

# A mutant is compiled anew each time: quickly is better than well.
_QUICK = {"FOUNDRY_OPTIMIZER": "false", "FOUNDRY_FUZZ_RUNS": "32"}
# The sources, with the tests that are written for each, which are asked first.
_NEAR = {
    "CuriosityRewards": "{Signing,Posting,Governing,Claiming}",
    "CuriosityStake": "{Stake,Faults}",
    "CuriosityToken": "Token",
    "LedgerProof": "Faults",
    "ValidatorSet": "{Signing,Governing}",
}
SOURCES = tuple(_NEAR)

# (name, pattern, replacement): each match in a line is one mutant; for what is no constant, and for what is one.
_OPERATORS = (
    ("refusal left out", re.compile(r"if \((.*)\) revert "), "if (false && (\\1)) revert "),
    ("refusal left out", re.compile(r"if \((.*)\) \{$"), "if (false && (\\1)) {"),
    ("< becomes <=", re.compile(r" < "), " <= "),
    ("<= becomes <", re.compile(r" <= "), " < "),
    ("> becomes >=", re.compile(r" > "), " >= "),
    (">= becomes >", re.compile(r" >= "), " > "),
    ("== becomes !=", re.compile(r" == "), " != "),
    ("!= becomes ==", re.compile(r" != "), " == "),
    ("|| becomes &&", re.compile(r" \|\| "), " && "),
    ("&& becomes ||", re.compile(r" && "), " || "),
    ("+ becomes -", re.compile(r" \+ "), " - "),
    ("- becomes +", re.compile(r" - "), " + "),
    ("* becomes /", re.compile(r" \* "), " / "),
    ("+= becomes =", re.compile(r" \+= "), " = "),
    ("-= becomes =", re.compile(r" -= "), " = "),
    ("| becomes &", re.compile(r" \| "), " & "),
    ("increment left out", re.compile(r"= \+\+"), "= "),
    (
        "modifier left out",
        re.compile(r" (whenNotPaused|onlyOwner|onlyGuardian|onlyMinter|onlyOwnerOf\(validator\))(?= )"),
        "",
    ),
    (
        "statement left out",
        re.compile(r"^( +)(_?[a-z][\w.\[\]]* = [^;]*;|_?[a-z]\w*(?:\.\w+)?\([^;{]*\);|emit [^;]*;)$"),
        "\\1",
    ),
)

_CONSTANT_OPERATORS = (
    ("one more", re.compile(r"(?<= = )([1-9]\d*(?: days)?)(?=;)"), "\\1 + 1"),
    ("one less", re.compile(r"(?<= = )([1-9]\d*(?: days)?)(?=;)"), "\\1 - 1"),
)

# (source, what the rule becomes, a part of one line, what stands in its place).
_NAMED = (
    ("CuriosityRewards", "only the last waiting epoch is discarded", "_discardFrom(state.activeEpoch + 1)",
     "_discardFrom(state.latestEpoch)"),
    ("CuriosityRewards", "the attempt is recorded as 0", "record.cumulativeTotal, state.attempt)",
     "record.cumulativeTotal, 0)"),
    ("CuriosityRewards", "what an epoch left unpaid is lost", "_emissionAfter(last.cumulativeTotal)",
     "_emissionAfter(last.cumulativeTotal + _emissionAfter(last.cumulativeTotal))"),
    ("CuriosityRewards", "what an epoch left unpaid is the next one's", "((_emittable - total) * _decayNumerator)",
     "((_emittable - total + total / 2) * _decayNumerator)"),
    ("CuriosityRewards", "a ledger size lasts for ever", " && state.latestEpoch != state.setSince", ""),
    ("CuriosityRewards", "a ledger may shrink while nothing waits", "state.latestEpoch != state.setSince",
     "state.latestEpoch != state.activeEpoch"),
    ("CuriosityRewards", "a ledger may shrink once a set was replaced", "state.latestEpoch != state.setSince",
     "state.setSince == 0"),
    ("CuriosityRewards", "a permission is used up by no share alone", "if (paid == 0) revert RewardsNothingToPay",
     "if (shares.length == 0) revert RewardsNothingToPay"),
    ("CuriosityRewards", "an epoch to come begins where the active one ended", "last = state.latestEpoch;",
     "last = state.activeEpoch;"),
    ("CuriosityStake", "an exit of nothing", "if (amount == 0) revert StakeNothing();", ""),
    ("CuriosityStake", "a later exit leaves with the earlier one", "record.exitsAt = uint48(exitsAt);",
     "if (record.exiting == amount) record.exitsAt = uint48(exitsAt);"),
    ("CuriosityStake", "a later exit waits for half of the time", "record.exitsAt = uint48(exitsAt);",
     "record.exitsAt = uint48(record.exiting == amount ? exitsAt : exitsAt - EXIT_DELAY / 2);"),
    ("CuriosityStake", "empty since the first time only", "if (bonded == 0) record.emptySince",
     "if (bonded == 0 && record.emptySince == 0) record.emptySince"),
    ("CuriosityStake", "a ban only if something was bonded", "if (percent == ALL) record.isBanned",
     "if (percent == ALL && bonded != 0) record.isBanned"),
    ("CuriosityStake", "a broken commit is remembered without its signer",
     "abi.encode(signer, commit.pair, commit.round)", "abi.encode(commit.pair, commit.round)"),
    ("CuriosityStake", "a broken commit is remembered without its round",
     "abi.encode(signer, commit.pair, commit.round)", "abi.encode(signer, commit.pair)"),
    ("CuriosityStake", "only the key itself gets no reward for its own fault",
     "msg.sender == validator || msg.sender == record.owner", "msg.sender == validator"),
    ("CuriosityStake", "a period may be half of the delay", "EXIT_DELAY / 4", "EXIT_DELAY / 2"),
)  # fmt: skip

# What no test can tell from the original, by a part of the line and the operator ("" for any), with the reason.
EQUIVALENT = (
    (
        "== address(0)) revert ValidatorSetNotWritten",
        "",
        "creating an account fails only without gas, which reverts by itself",
    ),
    ("uint256 due = 0;", "", "a variable is zero before it is set"),
    ("address account = address(0);", "", "a variable is zero before it is set"),
    ("address previous = address(0);", "", "a variable is zero before it is set"),
    ("uint256 place = 0;", "", "a variable is zero before it is set"),
    ("WINDOW = 128;", "one less", "127 epochs a slot are as good as 128, and leave a bit unused"),
    ("* REPORTER_SHARE) / 100", "* becomes /", "the share is 1"),
)


@dataclass(frozen=True)
class Mutant:
    """One change: the file, the line's number from 1, what was done and the line as it becomes."""

    source: str
    line: int
    operator: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line}: {self.operator}: {self.after.strip() or self.before.strip()}"


def make_mutants() -> list[Mutant]:
    """Return every mutant of the sources that is not known to be equivalent, in order; the named ones last."""
    simple = [one for name in SOURCES for one in _mutants_of(name) if not _is_equivalent(one)]
    return simple + named_mutants()


def named_mutants() -> list[Mutant]:
    """Return the mutants with a name of their own.

    Raises:
        ChainError: ``MUTATION_BROKEN`` for one whose place is gone.
    """
    made = []
    for source, name, part, instead in _NAMED:
        lines = (ROOT / "contracts/src" / f"{source}.sol").read_text(encoding="utf-8").split("\n")
        places = [number for number, line in enumerate(lines, start=1) if part in line]
        if not places:
            raise ChainError("MUTATION_BROKEN", f"{source}.sol has no {part!r}", "Name its place anew.")
        made += [Mutant(source, at, name, lines[at - 1], lines[at - 1].replace(part, instead)) for at in places]
    return made


def _mutants_of(name: str) -> Iterator[Mutant]:
    text = (ROOT / "contracts/src" / f"{name}.sol").read_text(encoding="utf-8")
    body = text.index("{", text.index(f" {name} "))
    for number, line in enumerate(text.split("\n"), start=1):
        begins = sum(len(one) + 1 for one in text.split("\n")[: number - 1])
        code = line.strip()
        # Loops whose end moves run out of gas or of bounds: they say nothing about the tests.
        if begins < body or code.startswith(("//", "*", "import", "for ")):
            continue
        for operator, pattern, replacement in _CONSTANT_OPERATORS if " constant " in line else _OPERATORS:
            for match in pattern.finditer(line):
                after = line[: match.start()] + match.expand(replacement) + line[match.end() :]
                yield Mutant(name, number, operator, line, after)


def _is_equivalent(mutant: Mutant) -> bool:
    return any(part in mutant.before and operator in ("", mutant.operator) for part, operator, _ in EQUIVALENT)


@dataclass(frozen=True)
class MutationResult:
    """What became of the mutants: killed by a test, refused by the compiler, or alive."""

    killed: tuple[Mutant, ...]
    refused: tuple[Mutant, ...]
    survived: tuple[Mutant, ...]


def play(mutants: Sequence[Mutant], *, verbose: bool = False) -> MutationResult:
    """Run the tests on each mutant.

    Raises:
        ChainError: ``FORGE_MISSING``, ``MUTATION_BROKEN`` if the original fails.
    """
    killed: list[Mutant] = []
    refused: list[Mutant] = []
    survived: list[Mutant] = []
    with tempfile.TemporaryDirectory(prefix="mutants") as folder:
        root = copy_sources(Path(folder))
        done = run_forge(["test", "--fuzz-seed", "0x1"], root=root, settings=_QUICK)
        if done.returncode != 0:
            raise ChainError(
                "MUTATION_BROKEN", f"the original fails: {done.stdout[-500:]}", "Repair the contracts first."
            )
        for mutant in mutants:
            path = root / "contracts/src" / f"{mutant.source}.sol"
            original = path.read_text(encoding="utf-8")
            lines = original.split("\n")
            lines[mutant.line - 1] = mutant.after
            path.write_text("\n".join(lines), encoding="utf-8")
            try:
                outcome = _judge(root, mutant)
            finally:
                path.write_text(original, encoding="utf-8")
            {"killed": killed, "refused": refused, "survived": survived}[outcome].append(mutant)
            if verbose:
                print(f"{outcome:9} {mutant}", flush=True)
    return MutationResult(tuple(killed), tuple(refused), tuple(survived))


def _judge(root: Path, mutant: Mutant) -> str:
    """Run first the tests that are written for the file, without the optimiser; what they pass meets all others."""
    near = f"contracts/test/{_NEAR[mutant.source]}.t.sol"
    for chosen in (["--match-path", near], ["--no-match-path", near]):
        done = run_forge(["test", "--fail-fast", "--fuzz-seed", "0x1", *chosen], root=root, settings=_QUICK)
        if done.returncode != 0:
            return "killed" if "FAIL" in done.stdout else "refused"
    return "survived"


_NAME = "python -m contracts.mutate"


@click.command(context_settings=console.HELP, epilog=console.example(f"{_NAME} --sample 20 --seed 3"))
@click.option("--sample", type=int, help="How many to draw; by default all.")
@click.option("--seed", default=1, show_default=True, help="What they are drawn by.")
@click.option("--named", is_flag=True, help="Only those with a name of their own.")
@click.option("--source", type=click.Choice(list(SOURCES)), help="Only those of this file.")
@click.option("--skip", default=0, help="Leave out the first N: continues a run that was ended.")
@click.option("--list", "only_lists", is_flag=True, help="Only name them.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output.")
def command(
    sample: int | None, seed: int, named: bool, source: str | None, skip: int, only_lists: bool, as_json: bool
) -> int:
    """Change the contracts in one place at a time and see whether a test notices; 0 if none survives."""
    every = named_mutants() if named else make_mutants()
    mutants = [one for one in every if source in (None, one.source)][skip:]
    if sample is not None:
        mutants = random.Random(seed).sample(  # noqa: S311 - a draw, no secret
            mutants, min(sample, len(mutants))
        )
    if only_lists:
        if as_json:
            click.echo(json.dumps({"mutants": [str(mutant) for mutant in mutants]}))
            return int(ExitCode.OK)
        for mutant in mutants:
            click.echo(str(mutant))
        click.echo(f"{len(mutants)} mutants")
        return int(ExitCode.OK)
    outcome = play(mutants, verbose=not as_json)
    if as_json:
        parts = {"killed": outcome.killed, "survived": outcome.survived, "refused": outcome.refused}
        click.echo(json.dumps({name: [str(one) for one in part] for name, part in parts.items()}))
    else:
        click.echo(
            f"{len(outcome.killed)} killed, {len(outcome.survived)} survived, "
            f"{len(outcome.refused)} refused by the compiler"
        )
    return int(ExitCode.OK if not outcome.survived else ExitCode.CHAIN)


def main(arguments: Sequence[str]) -> int:
    """Run the command with these arguments and return its exit status."""
    return console.run(command, arguments, _NAME)


if __name__ == "__main__":
    console.main(command, _NAME)
