"""What programmers are shown of `import curiosity`: the start in README runs, the pages are current, the types hold."""

import ast
import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.structure import imports, read_modules
from curiosity.client.wallet import create_wallet
from tests.material.payment import PASSWORD
from tests.material.service import ALICE, Running, pictures

ROOT = Path(__file__).parent.parent
URL = "http://127.0.0.1:8440"
MOST_LINES = 15


def quickstart() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return str(code)


async def test_the_start_in_the_readme_runs(live: Running, tmp_path: Path) -> None:
    """As it stands there, but for the port; nothing heavy is loaded by it."""
    code = quickstart()
    assert len(code.splitlines()) <= MOST_LINES
    assert URL in code
    create_wallet(tmp_path / ".curiosity", "alice", PASSWORD, scrypt_n=2, private_key=ALICE)
    pair = pictures(1)[0]
    (tmp_path / "my-pictures").mkdir()
    (tmp_path / "my-pictures" / "cat.png").write_bytes((pair.a if pair.a.modality == "image" else pair.b).read())
    program = code.replace(URL, live.url) + "\nimport sys; print('loaded', *sys.modules)"
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "WALLET_PASSWORD": PASSWORD,
        "PYTHONPATH": str(ROOT),
    }
    started = [sys.executable, "-c", program]
    done = await asyncio.to_thread(
        subprocess.run, started, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    *said, loaded = done.stdout.splitlines()
    assert said[0].split()[0] in ("accepted", "rejected", "grey")
    assert said[1].startswith("Pair 0x")
    entries = [line.split() for line in said if re.fullmatch(r"\d+ (pair|checkpoint|epoch|takedown)", line)]
    assert [int(index) for index, _ in entries] == list(range(live.service.ledger.size))
    assert not {"torch", "web3", "click", "sqlalchemy"} & set(loaded.split())


def test_the_pages_are_current() -> None:
    done = subprocess.run([sys.executable, "scripts/make_api.py", "--check"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_pages_show_values_in_place_of_the_names_of_constants() -> None:
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert "url: str = 'http://127.0.0.1:8440'" in page
    assert "home: Path | str = Path('~/.curiosity')" in page
    assert re.findall(r"[:|\w] = _?[A-Z][A-Z_]+\b", page) == []


OPTION = re.compile(r"(?<![\w-])--[a-z]")
COMMAND = re.compile(r"curiosity [a-z ]+((--[a-z-]+|[A-Z]+) ?)+")
"""A command with its options helps everybody; an option alone helps only whoever types a command."""


def options_alone(text: str) -> list[str]:
    """Texts in a source that name an option and not what stands for it in a program."""
    tree = ast.parse(text)
    said = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}
    return [
        one.value
        for one in ast.walk(tree)
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and id(one) not in said
        if OPTION.search(COMMAND.sub("", one.value)) and "n a program" not in one.value
    ]


def test_what_programs_are_told_to_do_can_be_done_in_a_program() -> None:
    known = read_modules(ROOT)
    reached = {name for name in known if name.startswith("curiosity.sdk.")}
    ahead = set(reached)
    while ahead:
        ahead = {other for name in ahead for other in imports(name, known[name], known)} - reached
        reached |= ahead
    assert {"curiosity.client.wallet", "curiosity.rewards.claims", "curiosity.sources.own.own"} <= reached
    files = [ROOT.joinpath(*name.split(".")) for name in sorted(reached)]
    texts = [(one / "__init__.py" if one.is_dir() else one.with_suffix(".py")).read_text("utf-8") for one in files]
    assert [text for source in texts for text in options_alone(source)] == []


@pytest.mark.parametrize("remedy", ["Give --license.", "Lower --quorum, or run curiosity claim --activate."])
def test_an_option_alone_would_be_found(remedy: str) -> None:
    assert options_alone(f'def f():\n    "Says --this."\n    g({remedy!r})') == [remedy]


PROGRAM = """
import asyncio
from pathlib import Path

import curiosity
from curiosity.errors import CuriosityError, NotYet


def submit_all(client: curiosity.Client, folder: Path) -> list[curiosity.PairOutcome]:
    done: list[curiosity.PairOutcome] = []
    for picture in folder.glob("*.png"):
        try:
            done.append(client.submit(picture, picture.stem, license="CC0-1.0"))
        except CuriosityError as error:
            print(error.code, error.what, error.remedy)
    return done


async def pay(account: curiosity.Contributor) -> int:
    async with curiosity.AsyncClient(account=account, trust=curiosity.Trust(quorum=0)) as client:
        try:
            claimed: curiosity.Claimed = (await client.claim()).done
        except NotYet as error:
            return error.seconds or 0
        async for one in client.follow(curiosity.Position.parse(""), wait=True):
            text: str = one.position.encode()
            print(text, one.leaf.hex())
        return claimed.paid_wei


wrong: str = asyncio.run(pay(curiosity.open_wallet("a", "b")))
curiosity.Client().submit(b"", 3, license="MIT")
curiosity.clients
"""


def test_a_program_of_a_user_is_checked_strictly(tmp_path: Path) -> None:
    """Its three mistakes are found, and nothing else."""
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file", os.devnull, "program.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    lines = [line for line in done.stdout.splitlines() if re.match(r"program\.py:\d+: error: ", line)]
    found = [re.sub(r".*\[(.*)\]", r"\1", line) for line in lines]
    assert found == ["assignment", "arg-type", "attr-defined"], done.stdout + done.stderr
