"""The command as its users meet it: run in processes of its own, against a real validator."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curiosity.client.receipts import read_saved, verify_saved
from curiosity.protocol.errors import ServiceError
from curiosity.protocol.tlog import Signer
from node.demo.processes import ValidatorProcess
from node.demo.stage import StageSettings
from tests.material.command import Said
from tests.material.front import front
from tests.material.service import digit_pairs
from tests.material.shell import PASSWORD, Shell
from tests.material.waiting import PATIENCE_S, eventually


class ImpatientShell(Shell):
    """One whose requests are given up soon."""

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"CURIOSITY_NODE__PATIENCE_S": "1"}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


@pytest.fixture(scope="module")
def validator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValidatorProcess]:
    folder = tmp_path_factory.mktemp("network")
    config = folder / "curiosity.toml"
    config.write_text(
        f'[validator]\nport = 0\ndata_dir = "{folder / "v"}"\ndecode_workers = 1\nrule2_epoch = 0\ngenesis = "tiny"\n'
    )
    with ValidatorProcess(config, folder / "validator.log") as process:
        process.start()
        yield process


@pytest.fixture
def online(tmp_path: Path, validator: ValidatorProcess) -> Shell:
    made = Shell(tmp_path / "home", str(validator.facts["url"]))
    assert made.run("wallet", "new", "alice").status == 0
    return made


def captioned(folder: Path, count: int, start: int = 0) -> Path:
    """A user's folder of pictures with a text file beside each; different pictures for different ``start``."""
    folder.mkdir(parents=True)
    pairs = [pair for pair in digit_pairs() if pair.modalities == "image-text"][start : start + count]
    for number, pair in enumerate(pairs):
        (folder / f"{number:02d}.png").write_bytes(pair.a.read())
        (folder / f"{number:02d}.txt").write_bytes(pair.b.read())
    return folder


def test_light_commands_start_without_heavy_libraries() -> None:
    for command in ("submit", "verify", "query", "claim", "payouts", "data", "takedown"):
        code = (
            f"import sys, node.cli as c; s = c.run([{command!r}, '--help']); "
            "heavy = {'torch', 'web3', 'sqlalchemy', 'transformers', 'sklearn', 'av', 'pyarrow', 'mujoco', 'PIL'}; "
            "heavy &= set(sys.modules); "
            "sys.exit(9 if heavy else s)"
        )
        assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0, command


def test_every_command_has_help_with_an_example() -> None:
    import click

    from node.cli import COMMANDS, SUMMARIES, curiosity

    assert set(COMMANDS) == set(SUMMARIES)
    context = click.Context(curiosity)
    for name in COMMANDS:
        command = curiosity.get_command(context, name)
        assert command is not None
        commands = [command, *(command.commands.values() if isinstance(command, click.Group) else [])]
        for one in commands:
            assert one.help, one.name
            if not one.context_settings.get("ignore_unknown_options"):
                assert "Example:" in (one.epilog or ""), f"{name} {one.name}"


def test_wallets_are_encrypted_and_only_the_password_opens_them(shell: Shell) -> None:
    made = shell.run("wallet", "new", "alice", "--json").json
    path = Path(made["path"])
    assert path.stat().st_mode & 0o777 == 0o600
    keystore = json.loads(path.read_text())
    assert keystore["version"] == 3
    assert keystore["crypto"]["kdf"] == "scrypt"
    exported = shell.run("wallet", "export", "alice", "--private-key", "--yes", "--json").json
    assert exported["private_key"][2:] not in path.read_text()
    from eth_account import Account

    assert Account.from_key(exported["private_key"]).address == made["address"]
    assert bytes(Account.decrypt(keystore, PASSWORD)).hex() == exported["private_key"][2:]  # another library opens it
    unasked = shell.run("wallet", "export", "alice", "--private-key")
    assert (unasked.status, unasked.out) == (2, "")
    assert unasked.err.startswith("USAGE: a shown key cannot be hidden again and there is no terminal to ask on")
    (shell.home / "wrong").write_text("not it")
    refused = shell.run("wallet", "export", "alice", "--private-key", "--yes", "--password-file", shell.home / "wrong")
    assert refused.status == 7
    assert refused.err.startswith("WALLET_PASSWORD_WRONG: ")
    assert exported["private_key"][2:] not in refused.err
    key_file = shell.home / "key"
    key_file.write_text(exported["private_key"])
    imported = shell.run("wallet", "import", "copy", "--key-file", key_file, "--json").json
    assert imported["address"] == made["address"]
    words = shell.run("wallet", "new", "carol", "--mnemonic", "--json").json
    (shell.home / "words").write_text(words["mnemonic"])
    back = shell.run("wallet", "import", "carol2", "--mnemonic-file", shell.home / "words", "--json").json
    assert back["address"] == words["address"]
    assert {one["name"] for one in shell.run("wallet", "list", "--json").json["wallets"]} == {
        "alice", "copy", "carol", "carol2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "code", "status"),
    [
        (("submt",), "USAGE", 2),
        (("query",), "USAGE", 2),
        (("submit", "/nowhere", "--wallet", "a"), "SOURCE_MISSING", 8),
        (("submit", ".", "--license", "MIT"), "WALLET_NEEDED", 7),
        (("wallet", "show", "nobody"), "WALLET_MISSING", 7),
        (("wallet", "new", "../evil"), "WALLET_NAME", 7),
        (("query", "hello"), "SERVICE_UNREACHABLE", 12),
        (("payouts", "--entries", "/nowhere"), "MIRROR_UNREADABLE", 8),
        (("verify", "/nowhere.json"), "RECEIPT_UNREADABLE", 8),
        (("config", "show", "--config", "/nowhere.toml"), "CONFIG_NOT_FOUND", 6),
    ],
)
def test_bad_input_gets_a_code_a_remedy_and_a_status(
    shell: Shell, arguments: tuple[str, ...], code: str, status: int
) -> None:
    quick = {"CURIOSITY_NODE__PATIENCE_S": "0"}
    os.environ.update(quick)
    try:
        done = shell.run(*arguments)
    finally:
        for name in quick:
            del os.environ[name]
    assert (done.status, done.err.split(":")[0]) == (status, code), done.err
    lines = done.err.strip().splitlines()
    assert [line for line in lines[:-1] if "Trying again" not in line] == []  # what it waits for is told
    as_json = shell.run(*arguments, "--json") if code != "SERVICE_UNREACHABLE" else None
    assert as_json is None or as_json.json["error"]["code"] == code


def test_a_dry_run_shows_what_would_be_sent_and_needs_neither_wallet_nor_validator(
    shell: Shell, tmp_path: Path
) -> None:
    from tests.material.arrays import array, pack, scene
    from tests.material.own import SECRET, tag_png

    parts = {name.replace("grasp", "0001"): content for name, content in scene().items()}
    torn = tag_png(1)[:300]
    shard = pack(tmp_path / "s-0.tar", [*parts.items(), ("0002.png", torn), ("0002.txt", b"torn")])
    pack(tmp_path / "s-1.tar", [("0003.emg.npy", array("touch")), ("0003.txt", b"no EMG")])
    done = shell.run("submit", str(tmp_path / "s-{0..1}.tar"), "--license", "MIT", "--dry-run", "--json")
    told = done.json
    assert (done.status, told["would_send"], told["items"], told["licenses"]) == (0, 44, 10, {"MIT": 44})
    assert told["pairs"]["touch-video"] == 1
    assert told["pairs"]["image-text"] == 2
    assert [(error["code"], "s-" in error["what"] or "0003" in error["what"]) for error in told["unreadable"]] == [
        ("BROKEN_FILE", True), ("ARRAY_RANK", True)
    ]  # fmt: skip
    video = next(row["b"] for row in told["rows"] if row["b"]["modality"] == "video")
    assert video["media_type"] == "video/mp4"
    assert video["bytes"] < len(parts["0001.mp4"])  # sound and texts are gone
    assert SECRET not in done.out
    shown = shell.run("submit", shard, "--license", "MIT", "--pairs", "video-touch,emg-action", "--dry-run")
    assert shown.status == 0
    assert "2 pairs of 4 items" in shown.out
    assert not (shell.home / "journal").exists()
    for arguments, code in (
        (("--pairs", "touch-smell"), "PAIRS_UNKNOWN"),
        (("--columns", "image"), "COLUMNS_INVALID"),
    ):
        refused = shell.run("submit", shard, "--license", "MIT", "--dry-run", *arguments)
        assert (refused.status, refused.err.split(":")[0]) == (8, code)


def test_an_unknown_setting_names_the_nearest(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "curiosity.toml"
    file.write_text('[node]\nvalidator_ulr = "http://x"\n\n[validator]\nanything = "is theirs"\n')
    done = shell.run("config", "show", "--config", file)
    assert done.status == 6
    assert "CONFIG_UNKNOWN_KEY" in done.err
    assert "'validator_url'" in done.err
    made = tmp_path / "made.toml"
    assert shell.run("config", "init", "--out", made).status == 0
    assert shell.run("config", "show", "--config", made, "--json").json["node"]["concurrency"] == 16


def test_a_users_own_folder_from_submission_to_offline_proof(online: Shell, tmp_path: Path) -> None:
    folder = captioned(tmp_path / "mine", 12)
    (folder / "broken.png").write_bytes(b"not a picture")
    (folder / "broken.txt").write_text("a caption")
    done = online.run("submit", folder, "--wallet", "alice", "--license", "CC0-1.0", "--prove", "--json")
    assert done.status == 0, done.err
    told = done.json
    assert told["accepted"] + sum(told["rejected"].values()) == 12
    assert told["accepted"] >= 8
    assert told["receipts_verified"] == told["proofs"] == 12
    assert [error["code"] for error in told["unreadable"]] == ["NOT_AN_IMAGE"]
    checked = online.run("verify", "--json").json
    assert (checked["verified"], checked["with_proof"], checked["wrong"]) == (12, 12, [])
    again = online.run("submit", folder, "--wallet", "alice", "--license", "CC0-1.0", "--json").json
    assert (again["known"], again["receipts_verified"]) == (12, 0)

    file = sorted((online.home / "receipts").glob("*.json"))[0]
    one = online.run("verify", file)
    assert one.status == 0
    assert "is in the signed tree of" in one.out
    assert "trusting" in one.out
    for name, change in {
        "SIGNATURE_WRONG": _flip_note,
        "RECEIPT_MALFORMED": lambda text: text[:-20],
        "RECEIPT_ENTRY": lambda text: text.replace("image-text", "text-image", 1),
        "PROOF_MISMATCH": _flip_path,
    }.items():
        bad = tmp_path / f"{name}.json"
        bad.write_text(change(file.read_text()))
        refused = online.run("verify", bad, "--json")
        assert refused.status == 5
        assert refused.json["error"]["code"] == name
    stranger = Signer("curiosity-local/receipt", b"\x05" * 32).verifier.vkey()
    assert online.run("verify", file, "--vkey", stranger).status == 5
    assert "Entry" in online.run("verify", file.with_suffix(".tlog-proof")).out

    found = online.run("query", "three", "--to", "image", "-k", "3", "--json").json
    assert len(found["found"]) == 3
    picture = online.run("query", "--image", folder / "00.png", "--to", "text", "--save", tmp_path / "found", "--json")
    assert len(picture.json["found"]) > 0
    assert len(list((tmp_path / "found").iterdir())) == len(picture.json["found"])

    mirrored = online.run("ledger", "mirror", "--out", tmp_path / "mirror", "--json").json
    assert mirrored["accepted"] >= told["accepted"]
    derived = online.run("payouts", "--entries", tmp_path / "mirror", "--json").json["epochs"]
    assert derived == online.run("payouts", "--derive", "--json").json["epochs"]
    assert sum(map(int, derived[-1]["amounts_wei"].values())) == int(derived[-1]["emission_wei"]) > 0


def test_a_pair_is_taken_down_by_its_contributor_or_by_the_operator(
    online: Shell, validator: ValidatorProcess, tmp_path: Path
) -> None:
    folder = captioned(tmp_path / "mine", 3, 40)
    assert online.run("submit", folder, "--wallet", "alice", "--license", "CC0-1.0").status == 0
    pay = {one["pair"]: one["pay"] for one in online.run("receipts", "--json").json["receipts"]}
    assert sorted(said.startswith("not paid") for said in pay.values()) == [False, True, True]
    files = (online.home / "receipts").glob("*.json")
    first, second, third = sorted(files, key=lambda file: not pay[file.stem].startswith("not paid"))
    assert online.run("wallet", "new", "bob").status == 0
    asked = ("--reason", "privacy", "--yes", "--json")

    for arguments, status, code in [
        ((first, "--wallet", "bob"), 3, "SIGNATURE_OF_ANOTHER"),
        ((first, "--wallet", "alice", "--everywhere", "audio"), 3, "TAKEDOWN_EVERYWHERE"),
        (("0x" + "00" * 32, "--wallet", "alice"), 3, "NOT_FOUND"),
        (("nothing.json", "--wallet", "alice"), 8, "PAIR_UNKNOWN"),
    ]:
        refused = online.run("takedown", *arguments, *asked)
        assert (refused.status, refused.json["error"]["code"]) == (status, code), refused.err
    unasked = online.run("takedown", first, "--wallet", "alice", "--reason", "privacy", "--json")
    assert (unasked.status, unasked.json["error"]["code"]) == (2, "USAGE")

    done = online.run("takedown", first, "--wallet", "alice", *asked).json
    assert (done["pair"], done["replayed"], len(done["entries"])) == ("0x" + first.stem, False, 1)
    assert Path(done["kept"]).is_file()
    again = online.run("takedown", first.stem, "--wallet", "alice", *asked).json
    assert (again["replayed"], again["receipts"]) == (True, done["receipts"])
    assert "Took down 1 pair" in online.run("takedown", second, "--yes").out  # the receipt says whose wallet
    kept = {one["pair"]: one for one in online.run("receipts", "--json").json["receipts"]}
    assert {pair for pair, one in kept.items() if one["is_taken_down"]} == {first.stem, second.stem}
    assert kept[first.stem]["pay"].startswith("taken down")
    assert all(one["contributor"] and one["issued_at"] > 1_700_000_000 for one in kept.values())
    listed = online.run("receipts").out
    assert listed.count("alice") == 3
    assert "wallet" in listed

    token = validator._config.parent / "v" / "keys" / "admin.token"
    order = ("validator", "takedown", third, "--reason", "illegal", "--json", "--token-file")
    (tmp_path / "wrong").write_text("0" * 64)
    assert online.run(*order, tmp_path / "wrong").json["error"]["code"] == "ADMIN_TOKEN"
    assert online.run(*order, token).json["replayed"] is False
    assert online.run("verify", "--json").json["verified"] == 3  # the receipts still hold
    refused = online.run("submit", folder, "--wallet", "alice", "--license", "CC0-1.0", "--again", "--json")
    # The second was withdrawn and had filled no gap: only such a pair may come again.
    assert refused.json["refused"] == {"CONTENT_TAKEN_DOWN": 2}


def test_a_run_that_loses_its_validator_tells_what_was_decided_and_how_to_go_on(online: Shell, tmp_path: Path) -> None:
    folder = captioned(tmp_path / "mine", 6, 60)

    async def lose_it() -> Said:
        async with front(online.url) as before:
            before.deny = lambda path, number: "drop" if path == "/v1/pairs" and number > 2 else None
            there = ImpatientShell(online.home, before.url)
            return await asyncio.to_thread(there.run, "submit", folder, "--wallet", "alice", "--license", "CC0-1.0")

    said = asyncio.run(lose_it())
    assert said.status == 12
    assert "00.png" in said.out
    assert "2 pairs decided by now" in said.out
    assert "Run the same command again" in said.out
    assert "SERVICE_UNREACHABLE" in said.err
    assert "Error:" not in said.err
    again = online.run("submit", folder, "--wallet", "alice", "--license", "CC0-1.0", "--json").json
    assert (again["known"], again["receipts_verified"]) == (2, 4)


def test_a_search_says_that_it_found_nothing_and_where_it_saved(online: Shell, tmp_path: Path) -> None:
    assert "Nothing was found: text to audio" in online.run("query", "three", "--to", "audio").out
    assert online.run(
        "submit", captioned(tmp_path / "mine", 4, 80), "--wallet", "alice", "--license", "CC0-1.0"
    ).out.count("accepted")
    said = online.run("query", "three", "-k", "1", "--save", tmp_path / "found").out
    assert f"1 file written to {tmp_path / 'found'}." in said


def _flip_note(text: str) -> str:
    value = json.loads(text)
    lines = value["decision"]["receipt"]["note"].split("\n")
    time = lines.index("curiosity-batch/v1") + 5  # at which it was issued
    lines[time] = str(int(lines[time]) + 1)
    value["decision"]["receipt"]["note"] = "\n".join(lines)
    return json.dumps(value)


def _flip_path(text: str) -> str:
    value = json.loads(text)
    lines = value["proof"].split("\n")
    lines[3] = "A" * 43 + "="  # the first hash of the path, below header, entry and index
    value["proof"] = "\n".join(lines)
    return json.dumps(value)


def test_two_files_are_a_pair_and_a_pinned_key_is_held_to(online: Shell, tmp_path: Path) -> None:
    folder = captioned(tmp_path / "mine", 1, start=30)
    pair = (folder / "00.png", folder / "00.txt")
    pinned = "curiosity-local/receipt+00000000+" + "A" * 44
    done = subprocess.run(
        [sys.executable, "-m", "node.cli", "submit", *map(str, pair), "--wallet", "alice", "--license", "MIT"],
        capture_output=True, text=True, env=online.environment | {"CURIOSITY_NODE__RECEIPT_VKEY": pinned},
    )  # fmt: skip
    assert (done.returncode, done.stderr.split(":")[0]) == (5, "KEY_NOT_PINNED")
    told = online.run("submit", *pair, "--wallet", "alice", "--license", "MIT", "--json").json
    assert told["receipts_verified"] == 1


# A contributor that ends the validator when it is about to keep its 15th receipt, and itself at its 60th.
KILLS = """
import os, signal, sys
from node.cli import run

kept = set()

def look(event, arguments):
    if event == "os.rename" and str(arguments[1]).endswith(".json") and "receipts" in str(arguments[1]):
        kept.add(str(arguments[1]))
        if len(kept) == 15:
            os.kill({validator}, signal.SIGKILL)
        if len(kept) == 60:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(look)
sys.exit(run({command!r}))
"""


def test_nothing_is_lost_or_doubled_when_both_sides_are_killed(tmp_path: Path) -> None:
    """SIGKILL of the validator in the middle of a submission, then of the contributor, each started again."""
    network = tmp_path / "network"
    network.mkdir()
    config = network / "curiosity.toml"
    config.write_text(
        f'[validator]\nport = 0\ndata_dir = "{network / "v"}"\ndecode_workers = 1\nrule2_epoch = 0\ngenesis = "tiny"\n'
    )
    folder = captioned(tmp_path / "mine", 110)
    with ValidatorProcess(config, network / "log") as validator:
        port = int(validator.start()["url"].rpartition(":")[2])
        config.write_text(config.read_text().replace("port = 0", f"port = {port}"))
        shell = Shell(tmp_path / "home", f"http://127.0.0.1:{port}")
        assert shell.run("wallet", "new", "alice").status == 0
        command = ["submit", str(folder), "--wallet", "alice", "--license", "MIT"]
        receipts = shell.home / "receipts"

        script = KILLS.format(validator=validator.pid, command=command)
        contributor = subprocess.Popen([sys.executable, "-c", script], env=shell.environment)
        eventually(lambda: _has_ended(validator) or contributor.poll() is not None)
        promised = set(receipts.glob("*.json"))
        assert len(promised) >= 14
        validator.kill()  # the rest of it
        validator.start()
        assert contributor.wait(PATIENCE_S) == -signal.SIGKILL
        assert len(set(receipts.glob("*.json"))) == 59

        told = shell.run("submit", folder, "--wallet", "alice", "--license", "MIT", "--json").json
        files = sorted(receipts.glob("*.json"))
        assert len(files) == 110
        assert told["known"] + told["receipts_verified"] == 110
        proved = [verify_saved(read_saved(file)) for file in files]
        assert len({one.index for one in proved}) == 110  # nobody's promise was given to another
        entries = shell.run("ledger", "mirror", "--out", tmp_path / "mirror", "--json").json
        assert entries["pairs"] == 110  # and no pair is there twice
        for receipt in promised:
            assert verify_saved(read_saved(receipt)).index < entries["size"]


def _has_ended(validator: ValidatorProcess) -> bool:
    try:
        validator.check()
    except ServiceError:
        return True
    return False


def test_a_full_disk_stops_the_run_and_a_later_one_goes_on(online: Shell, tmp_path: Path) -> None:
    folder = captioned(tmp_path / "mine", 6, start=50)
    limited = (
        "import resource, signal, sys\nfrom node.cli import run\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))\n"
        f"sys.exit(run(['submit', {str(folder)!r}, '--wallet', 'alice', '--license', 'MIT']))"
    )
    done = subprocess.run([sys.executable, "-c", limited], capture_output=True, text=True, env=online.environment)
    assert "Traceback" not in done.stderr
    assert done.returncode == 8, done.stderr
    assert done.stderr.strip().splitlines()[-1].split(":")[0] in ("JOURNAL_NOT_WRITABLE", "RECEIPT_NOT_WRITTEN")
    told = online.run("submit", folder, "--wallet", "alice", "--license", "MIT", "--json").json
    assert told["receipts_verified"] + told["known"] == 6


def test_the_chain_section_serves_validator_and_node(tmp_path: Path) -> None:
    """The demo writes one settings file; both roles must be able to read it."""
    from node.config import load_settings as node_settings
    from validator.config import load_settings as validator_settings

    (tmp_path / "chain").mkdir()
    path = tmp_path / "curiosity.toml"
    StageSettings(path, tmp_path, "http://127.0.0.1:1", port=5, epoch_s=7).write(validator_url="http://127.0.0.1:5")
    assert validator_settings(path, {}).validator.epoch_s == 7
    assert node_settings(path, {}).chain.rpc_url == "http://127.0.0.1:1"
