"""What the documents say exists: commands with their options, links, anchors, tests, decisions."""

import ast
import contextlib
import importlib.util
import itertools
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from node.cli import COMMANDS, curiosity
from trainer.cli import main as trainer_command
from validator.__main__ import main as validator_command
from witness.__main__ import main as witness_command

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path
    for path in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if (ROOT / path).is_file() and path != "docs/errors.md"  # made from the code, with gaps for what is filled in
)

# Roles' programs, which the command `curiosity` becomes.
BECOMES = {"validator": validator_command, "witness": witness_command, "trainer": trainer_command}


@cache
def tokens_of(path: str) -> tuple[Token, ...]:
    parsed = MarkdownIt("commonmark").enable("table").parse((ROOT / path).read_text(encoding="utf-8"))
    flat: list[Token] = []
    for token in parsed:
        flat += [token, *(token.children or [])]
    return tuple(flat)


@dataclass(frozen=True)
class Command:
    """A command line in a document. ``whole``: from a code block, so it must parse as it stands."""

    document: str
    line: str
    whole: bool

    def __str__(self) -> str:
        return f"{self.document}: {self.line}"


def commands() -> list[Command]:
    found = []
    for path in DOCUMENTS:
        for token in tokens_of(path):
            if token.type in ("fence", "code_block"):
                lines = token.content.replace("\\\n", " ").splitlines()
                found += [Command(path, line.strip().removeprefix("$ "), True) for line in lines]
            elif token.type == "code_inline":
                found.append(Command(path, token.content.replace("\\|", "|").strip(), False))
    return found


def alternatives(line: str) -> list[list[str]]:
    """The words of a line; `wallet new|list` is two commands."""
    rows: list[list[str]] = [[]]
    for word in shlex.split(line):
        parts = word.split("|") if re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", word) else [word]
        rows = [[*row, part] for row in rows for part in parts]
    return rows


CURIOSITY = [
    command for command in commands() if re.match(r"(docker compose run .*)?(\.venv/bin/)?curiosity( |$)", command.line)
]


@cache
def help_of(module: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def check(words: list[str], *, whole: bool) -> None:
    """Raise click's UsageError, or AssertionError, if there is no such command or option."""
    command: click.Command = curiosity
    context = click.Context(curiosity, info_name="curiosity")
    rest = words
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest[0])
        assert found is not None, f"no sub-command {rest[0]}"
        becomes = BECOMES.get(words[0])
        if becomes is not None and rest[0] in becomes.commands:
            found = becomes.commands[rest[0]]  # what the command becomes, with its real options
        context = click.Context(found, parent=context, info_name=found.name)
        command, rest = found, rest[1:]
    if isinstance(command, click.Group):
        assert all(word in ("--help", "-h", "--version") for word in rest), rest
        return
    if "--help" in rest:
        return
    arguments = [word for word in rest if word not in ("...", "…")]
    # Inline, a command may be named without what it needs.
    forgiven = contextlib.nullcontext() if whole else contextlib.suppress(click.MissingParameter)
    with forgiven:
        command.make_context(command.name, arguments)


@pytest.mark.parametrize("command", CURIOSITY, ids=str)
def test_commands_in_documents_exist(command: Command) -> None:
    line = command.line.partition("curiosity")[2].partition(" #")[0].partition(" > ")[0]
    for words in alternatives(line):
        check(words, whole=command.whole)


@pytest.mark.parametrize(
    ("line", "whole"),
    [
        ("sumbit a b", False),
        ("submit a --walet x", False),
        ("submit --wallet alice", True),
        ("data make faces --out x", False),
        ("validator run --confg x", False),
        ("trainer run --parnt x", False),
        ("wallet forget alice", False),
        ("query -k many two", False),
    ],
)
def test_a_wrong_command_would_be_found(line: str, whole: bool) -> None:
    with pytest.raises((click.UsageError, AssertionError)):
        check(shlex.split(line), whole=whole)


def test_every_command_is_in_a_document_for_users() -> None:
    documents = [path for path in ("README.md", "docs/cli.md") if path in DOCUMENTS]
    said = {
        " ".join(words[:length])
        for command in CURIOSITY
        if command.document in documents
        for words in alternatives(command.line.partition("curiosity")[2])
        for length in (1, 2)
    }
    context = click.Context(curiosity)
    for name in COMMANDS:
        command = curiosity.get_command(context, name)
        assert command is not None
        names = [f"{name} {one}" for one in command.commands] if isinstance(command, click.Group) else [name]
        assert set(names) <= said, f"not in {documents}: {sorted(set(names) - said)}"


def test_make_targets_scripts_and_modules_in_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    services = set(re.findall(r"^  ([a-z]+):$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE))
    seen = 0
    for command in commands():
        words = command.line.split()
        if words[:1] == ["make"] and len(words) > 1 and re.fullmatch(r"[a-z-]+", words[1]):
            assert words[1] in targets, command
            seen += 1
        if words[:1] == ["sh"]:
            assert (ROOT / words[1]).is_file(), command
        if (module := re.search(r"python3? -m ([\w.]+)", command.line)) is not None:
            assert importlib.util.find_spec(module[1]) is not None, command
            options = {word for word in words[words.index("-m") + 2 :] if word.startswith("--")}
            if options and module[1].partition(".")[0] in {"contracts", "trainer", "validator"}:
                assert options <= set(re.findall(r"--[\w-]+", help_of(module[1]))), command
        if words[:3] == ["docker", "compose", "run"]:
            names = [word for word in words[3:] if not word.startswith("-")]
            assert names[0] in services, command
    assert seen >= 3


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def anchors_of(path: str) -> set[str]:
    found: dict[str, int] = {}
    tokens = tokens_of(path)
    for token, inline in itertools.pairwise(tokens):
        if token.type == "heading_open":
            text = "".join(child.content for child in inline.children or [])
            found[slug(text)] = found.get(slug(text), -1) + 1
    named = set(re.findall(r'<a id="([\w-]+)"></a>', (ROOT / path).read_text()))
    return named | {name if n == 0 else f"{name}-{n}" for name, count in found.items() for n in range(count + 1)}


def broken_links(path: str) -> list[str]:
    broken = []
    for token in tokens_of(path):
        target = str(token.attrGet("href") or token.attrGet("src") or "")
        if not target or re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = ((ROOT / path).parent / name).resolve() if name else ROOT / path
        is_here = file.exists() and file.is_relative_to(ROOT)
        if is_here and anchor:
            is_here = file.suffix == ".md" and anchor in anchors_of(str(file.relative_to(ROOT)))
        if not is_here:
            broken.append(target)
    return broken


@pytest.mark.parametrize("path", DOCUMENTS)
def test_links_lead_somewhere(path: str) -> None:
    assert broken_links(path) == []


def test_a_dead_link_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.md").write_text("# One thing\n[x](b.md) [y](#no) [z](../c) [ok](#one-thing) [web](https://a.b/c)")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    tokens_of.cache_clear()
    assert broken_links("a.md") == ["b.md", "#no", "../c"]
    tokens_of.cache_clear()


def test_every_step_of_the_protocol_has_an_anchor() -> None:
    text = (ROOT / "docs/protocol.md").read_text()
    steps = [int(number) for number in re.findall(r"(?m)^(\d+)\. ", text)]
    assert steps == list(range(1, len(steps) + 1))
    assert re.findall(r'(?m)^(\d+)\. <a id="step-(\d+)"></a>', text) == [(str(n), str(n)) for n in steps]


def test_files_named_in_documents_exist() -> None:
    """A path in backticks that begins with one of our folders."""
    folders = "curiosity|node|validator|trainer|witness|contracts|docs|tests|scripts|deploy"
    for path in DOCUMENTS:
        for token in tokens_of(path):
            if token.type != "code_inline":
                continue
            found = re.fullmatch(rf"((?:{folders})/[\w/.-]+?)(?:\.[a-z_]+)?", token.content)
            if found is None:
                continue
            name = token.content
            candidates = [name, f"{name}.py", found[1], f"{found[1]}.py"]
            assert any((ROOT / one).exists() for one in candidates), f"{path}: {name}"


# -- the threat model


@dataclass(frozen=True)
class Threat:
    """A section of the threat model."""

    number: str
    is_partly: bool
    tests: tuple[tuple[str, str], ...]


def threats() -> list[Threat]:
    text = (ROOT / "docs/threat-model.md").read_text().partition("## Not yet")[0]
    return [
        Threat(match[1], match[2].endswith("(partly)"), tuple(re.findall(r"- `(\w+\.py)::(\w+)`", match[3])))
        for match in re.finditer(r"### (T\d\d) (.*)\n((?:(?!### ).*\n)*)", text)
    ]


def test_every_test_named_in_the_threat_model_exists() -> None:
    assert len(threats()) >= 20
    for threat in threats():
        assert threat.tests, threat.number
        for file, name in threat.tests:
            tree = ast.parse((ROOT / "tests" / file).read_text())
            functions = {one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
            assert name in functions, f"{threat.number}: {file}::{name}"


def test_the_threat_model_leaves_no_threat_out() -> None:
    rows = (ROOT / "docs/threat-model.md").read_text().partition("## Not yet")[2]
    not_yet = {
        n for line in rows.splitlines() if line.startswith("| T") for n in re.findall(r"T\d\d", line.split("|")[1])
    }
    stands = {threat.number for threat in threats()}
    assert stands | not_yet == {f"T{n:02d}" for n in range(1, 42)}
    # What is only partly there is also listed as missing, and the other way round.
    assert stands & not_yet == {threat.number for threat in threats() if threat.is_partly}


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs/adr/README.md").read_text()
    pages = sorted(path.name for path in (ROOT / "docs/adr").glob("0*.md"))
    assert pages
    assert [page for page in pages if f"({page})" not in listed] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_no_document_has_what_a_merge_left(document: str) -> None:
    lines = (ROOT / document).read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(("<<<<<<< ", ">>>>>>> "))] == []
