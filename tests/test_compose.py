"""docker-compose.yml and what it starts. There is no container engine in the tests: the files are checked against each
other and against the programs, and then the services' own commands run as processes, with paths and host names mapped.
"""

import itertools
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pgserver
import pytest
import yaml
from PIL import Image, ImageDraw
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from sqlalchemy.engine import make_url

from contracts.devchain import find_anvil
from curiosity.host.settings.witness import WitnessConfig
from curiosity.ledger.leaves import read_leaves
from curiosity.protocol.tlog import verify_checkpoint
from tests.material.waiting import PATIENCE_S, eventually
from validator.config import load_settings

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent


# -- the part of the compose specification that the file uses; any other key is refused


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


Duration = Annotated[str, Field(pattern=r"^(\d+(us|ms|s|m|h))+$")]
Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]


class Health(Strict):
    test: Annotated[list[str], Field(min_length=2)]
    interval: Duration
    timeout: Duration
    retries: int
    start_period: Duration


class Build(Strict):
    context: str
    target: str


class Dependency(Strict):
    condition: Condition


class Logging(Strict):
    driver: str
    options: dict[str, str]


class Service(Strict):
    image: str
    build: Build | None = None
    user: Annotated[str, Field(pattern=r"^\d+:\d+$")]
    init: bool = False
    read_only: bool
    cap_drop: list[str]
    security_opt: list[str]
    tmpfs: list[str]
    networks: list[str]
    logging: Logging
    command: list[str] | None = None
    environment: dict[str, str] = {}
    secrets: list[str] = []
    volumes: list[str] = []
    ports: list[str] = []
    profiles: list[str] = []
    depends_on: dict[str, Dependency] = {}
    restart: Literal["no", "always", "on-failure", "unless-stopped"]
    healthcheck: Health | None = None
    shm_size: str | None = None
    stop_grace_period: Duration | None = None

    @property
    def is_ours(self) -> bool:
        return self.build is not None

    @property
    def mounts(self) -> dict[str, str]:
        """Path in the container -> volume name or path of the host."""
        return {parts[1]: parts[0] for parts in (volume.split(":") for volume in self.volumes)}


class Network(Strict):
    internal: bool = False


class SecretFile(Strict):
    file: str


class Compose(Strict):
    name: str
    services: dict[str, Service]
    networks: dict[str, Network]
    volumes: dict[str, None]
    secrets: dict[str, SecretFile]


def interpolate(text: str, environment: Mapping[str, str]) -> str:
    """Compose's ${NAME:-default}; every variable must have a default, so that a bare `up` works. $$ is a plain $."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda m: environment.get(m[1]) or m[2], text).replace("$$", "$")


def read_compose(environment: Mapping[str, str] | None = None) -> Compose:
    text = (ROOT / "docker-compose.yml").read_text()
    document = yaml.safe_load(interpolate(text, environment or {}))
    kept = {key: value for key, value in document.items() if not key.startswith("x-")}
    return TypeAdapter(Compose).validate_python(kept)


COMPOSE = read_compose()
OURS = {name: service for name, service in COMPOSE.services.items() if service.is_ours}
LONG_RUNNING = {"chain", "postgres", "validator", "witness"}


def commands_of(service: Service) -> list[list[str]]:
    """The programs that a service starts: its command, or the parts of a `sh -c` line without what the shell reads."""
    command = service.command or []
    if command[:2] != ["sh", "-c"]:
        return [command] if command else []
    parts = [shlex.split(part.split(">")[0]) for part in re.split(r"&&|\|\||;", command[2])]
    return [list(itertools.dropwhile(lambda word: word == "exec" or "=" in word, part)) for part in parts]


def program(name: str) -> str:
    if name == "anvil":
        anvil = find_anvil()
        assert anvil is not None
        return str(anvil)
    return sys.executable if name == "python" else str(BIN / name)


# -- the files against each other


def test_an_unknown_key_is_refused() -> None:
    document = COMPOSE.model_dump()
    document["services"]["validator"]["privilegd"] = True
    with pytest.raises(ValidationError, match="privilegd"):
        TypeAdapter(Compose).validate_python(document)


def test_every_variable_has_a_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    assert not re.findall(r"\$(?:\w+|\{\w+\})", text)


def test_everything_referred_to_is_declared_and_everything_declared_is_used() -> None:
    used: dict[str, set[str]] = {"volumes": set(), "secrets": set(), "networks": set()}
    for service in COMPOSE.services.values():
        used["volumes"] |= {source for source in service.mounts.values() if not source.startswith((".", "/"))}
        used["secrets"] |= set(service.secrets)
        used["networks"] |= set(service.networks)
        assert set(service.depends_on) <= set(COMPOSE.services)
    assert used["volumes"] == set(COMPOSE.volumes)
    assert used["secrets"] == set(COMPOSE.secrets)
    assert used["networks"] == set(COMPOSE.networks)


def test_conditions_can_come_true() -> None:
    for service in COMPOSE.services.values():
        for name, dependency in service.depends_on.items():
            other = COMPOSE.services[name]
            if dependency.condition == "service_healthy":
                assert other.healthcheck is not None
            else:
                assert (dependency.condition, other.restart) == ("service_completed_successfully", "no")
            # A service outside its profile is started only if what needs it has the same profile.
            assert set(other.profiles) <= set(service.profiles)


def test_what_runs_for_long_is_watched_and_started_again() -> None:
    for name, service in COMPOSE.services.items():
        assert (service.healthcheck is not None) == (name in LONG_RUNNING)
        assert service.restart == ("unless-stopped" if name in LONG_RUNNING else "no")


def test_no_container_can_do_more_than_it_must() -> None:
    for name, service in COMPOSE.services.items():
        assert service.read_only, name
        assert service.cap_drop == ["ALL"], name
        assert service.security_opt == ["no-new-privileges:true"], name
        assert not service.user.startswith("0:"), name


def test_only_the_validator_is_published_and_only_on_the_loopback_address() -> None:
    published = {name: service.ports for name, service in COMPOSE.services.items() if service.ports}
    assert published == {"validator": ["127.0.0.1:8440:8440"]}
    assert COMPOSE.networks["inside"].internal
    assert [name for name, service in COMPOSE.services.items() if "front" in service.networks] == ["validator"]


def test_secrets_are_files_and_never_in_the_environment_or_on_a_command_line() -> None:
    secret = re.compile(r"password|secret|key|token|mnemonic|private", re.IGNORECASE)
    for service in COMPOSE.services.values():
        for name, value in service.environment.items():
            assert not secret.search(name) or value.startswith("/run/secrets/"), name
        words = [word for command in commands_of(service) for word in command]
        for option, value in itertools.pairwise(words):
            if option.startswith("--") and secret.search(option):
                assert value.startswith(("/run/secrets/", "/network/", "--")), (option, value)
        mentioned = set(re.findall(r"/run/secrets/([\w.]+)", " ".join([*words, *service.environment.values()])))
        assert mentioned == set(service.secrets)


def test_images_are_pinned() -> None:
    for image in {service.image for service in COMPOSE.services.values()}:
        tag = image.rpartition(":")[2]
        assert re.search(r"\d+\.\d+\.\d+", tag) or "@sha256:" in image, image


# -- the Dockerfile


@dataclass
class Stage:
    image: str
    name: str
    instructions: list[tuple[str, str]] = field(default_factory=list)


def read_dockerfile() -> list[Stage]:
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    stages: list[Stage] = []
    for line in text.replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            stages.append(Stage(image, name))
        elif word:
            stages[-1].instructions.append((word, rest.strip()))
    return stages


STAGES = read_dockerfile()
TRACKED = subprocess.run(
    ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
).stdout.split()


def context_copies(stage: Stage) -> list[tuple[list[str], str]]:
    """(sources, target) of what a stage copies from the checkout."""
    rows = [rest.split() for word, rest in stage.instructions if word == "COPY" and "--from=" not in rest]
    return [(row[:-1], row[-1]) for row in rows]


def is_sent(path: str) -> bool:
    """Whether .dockerignore lets a path of the checkout into the build. Its last line that matches decides."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        keeps, rule = rule.startswith("!"), rule.removeprefix("!")
        pattern = re.escape(rule).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        if re.fullmatch(f"{pattern}(/.*)?", path):
            sent = keeps
    return sent


def test_dockerfile_uses_known_instructions_and_pinned_images() -> None:
    names: list[str] = []
    for stage in STAGES:
        assert re.search(r":\d+\.\d+\.\d+-", stage.image), stage.image
        for word, rest in stage.instructions:
            assert word in {"WORKDIR", "COPY", "RUN", "ENV", "ARG", "USER", "HEALTHCHECK", "CMD"}, word
            source = re.search(r"--from=(\w+)", rest)
            assert source is None or source[1] in names, rest
        names.append(stage.name)
    last = STAGES[-1].instructions
    assert [rest for word, rest in last if word == "USER"] == ["10001:10001"]
    assert {service.user for service in OURS.values()} == {"10001:10001"}
    assert {service.build.target for service in OURS.values() if service.build} == {STAGES[-1].name}
    assert last.index(("HEALTHCHECK", "NONE")) > 0


def test_what_dockerfile_copies_is_there_and_reaches_the_build() -> None:
    for stage in STAGES:
        for sources, _ in context_copies(stage):
            for source in sources:
                files = [path for path in TRACKED if path == source or path.startswith(f"{source}/")]
                assert files, source
                assert [path for path in files if not is_sent(path)] == []
    assert not is_sent("deploy/secrets/deployer_key")
    assert not is_sent(".git/config")
    assert not is_sent("node_modules/solc/solc.js")


def test_what_dockerfile_runs_refers_to_what_is_there() -> None:
    manifest = json.loads((ROOT / "package.json").read_text())
    packages = manifest["dependencies"] | manifest["optionalDependencies"]
    text = " ".join(rest for stage in STAGES for _, rest in stage.instructions)
    for name in re.findall(r"node_modules/((?:@[\w-]+/)?[\w-]+)", text):
        assert any(package.startswith(name) for package in packages), name
        assert list((ROOT / "node_modules").glob(f"{name}*")), name
    for path in re.findall(r"-c (\S+\.txt)", text):
        assert (ROOT / path).is_file()
    torch = subprocess.run(
        ["sed", "-n", r's/^ *"\(torch[^"]*\)".*/\1/p', "pyproject.toml"], cwd=ROOT, capture_output=True, text=True
    )
    assert re.fullmatch(r"torch[<>=\d.,]+\n", torch.stdout)
    assert r's/^ *"\(torch[^"]*\)".*/\1/p' in text


def test_every_volume_has_a_folder_that_the_user_of_the_image_owns() -> None:
    runs = " ".join(rest for word, rest in STAGES[-1].instructions if word == "RUN")
    made = re.search(r"install -d -o curiosity -g curiosity -m 0700 ([/\w ]+)", runs)
    assert made is not None
    targets = {
        target for service in OURS.values() for target, source in service.mounts.items() if source in COMPOSE.volumes
    }
    assert targets == set(made[1].split())


# -- the commands and the settings


@pytest.mark.parametrize("name", list(OURS))
def test_commands_exist_with_the_options_used(name: str) -> None:
    for command in commands_of(OURS[name]):
        words = command[1:3] if command[1:2] == ["-m"] else []
        for word in command[1 + len(words) :]:
            if word.startswith("-"):
                break
            words.append(word)
        shown = subprocess.run(
            [program(command[0]), *words, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=600, check=True
        ).stdout
        known = set(re.findall(r"(?<![\w-])--?[\w][\w-]*", shown))
        used = {word for word in command[1:] if word.startswith("-") and word != "-m"}
        assert used <= known, f"{' '.join(command)}: {sorted(used - known)} not in --help"


def prepare(folder: Path) -> Path:
    """Secrets made by the script that a user runs."""
    secrets = folder / "secrets"
    subprocess.run(["sh", str(ROOT / "deploy/prepare.sh"), str(secrets)], check=True, capture_output=True)
    return secrets


def test_prepare_makes_every_secret_once(tmp_path: Path) -> None:
    secrets = prepare(tmp_path)
    assert {path.name for path in secrets.iterdir()} == {Path(one.file).name for one in COMPOSE.secrets.values()}
    assert {Path(one.file).parent for one in COMPOSE.secrets.values()} == {Path("deploy/secrets")}
    assert oct(secrets.stat().st_mode & 0o777) == "0o700"
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    assert before == {path.name: path.read_bytes() for path in prepare(tmp_path).iterdir()}
    other = tmp_path / "other"
    other.mkdir()
    assert (prepare(other) / "deployer_key").read_bytes() != before["deployer_key"]


def test_the_services_agree(tmp_path: Path) -> None:
    secrets = prepare(tmp_path)
    settings = load_settings(secrets / "validator.toml", {})
    url = make_url(settings.validator.url)
    postgres = COMPOSE.services["postgres"].environment
    assert (url.host, url.username, url.database) == ("postgres", postgres["POSTGRES_USER"], postgres["POSTGRES_DB"])
    assert url.password == (secrets / "postgres_password").read_text()
    deploy, chain = (COMPOSE.services[name].command or [] for name in ("deploy", "chain"))
    option = dict(itertools.pairwise(deploy))
    assert option["--rpc-url"] == settings.chain.rpc_url
    assert option["--out"] == str(settings.chain.addresses)
    anvil = dict(itertools.pairwise(chain))
    assert option["--chain-id"] == anvil["--chain-id"] == str(settings.chain.chain_id)
    check = COMPOSE.services["chain"].healthcheck
    assert check is not None
    assert check.test[-2:] == [f"http://127.0.0.1:{anvil['--port']}", anvil["--chain-id"]]
    assert settings.validator.host == "0.0.0.0"
    assert COMPOSE.services["validator"].ports == [f"127.0.0.1:8440:{settings.validator.port}"]
    # Each reads the key that the other's job wrote, and the validator asks where the witness listens.
    said = {name: " ".join(service.command or []) for name, service in COMPOSE.services.items()}
    assert said["keys"].endswith("--only log_vkey > /network/log.vkey")
    assert said["witness-keys"].endswith("--only vkey > /network/witness.vkey")
    assert '--log "$(cat /network/log.vkey)"' in said["witness"]
    assert f'__WITNESSES="http://witness:{WitnessConfig().port} $(cat /network/witness.vkey)"' in said["validator"]
    assert settings.validator.quorum == 1
    assert COMPOSE.services["witness"].environment == COMPOSE.services["witness-keys"].environment
    assert {COMPOSE.services[name].mounts["/data"] for name in ("witness", "witness-keys")} == {"witness"}
    others = [service for name, service in COMPOSE.services.items() if not name.startswith("witness")]
    assert not [service for service in others if "witness" in service.mounts.values()]  # its keys are its own
    for name in ("keys", "validator"):
        service = COMPOSE.services[name]
        assert service.mounts[str(settings.validator.data_dir)] == "validator"
        assert service.environment == {"CURIOSITY_CONFIG": "/run/secrets/validator.toml"}


# -- the services, run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Stack:
    """The compose file's services as processes: /app is a copy of what the Dockerfile copies and nothing else."""

    def __init__(self, folder: Path, store_url: str, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.compose = read_compose(environment)
        self.hosts = {name: f"127.0.0.1:{free_port()}" for name in ("chain:8545", "validator:8440", "witness:8450")}
        self.secrets = prepare(folder)
        config = self.secrets / "validator.toml"
        text = self.localise(config.read_text(), self.compose.services["validator"])
        text = re.sub(r'store_url = "[^"]*"', f'store_url = "{store_url}"', text)
        text = text.replace("port = 8440", f"port = {self.port('validator')}").replace("0.0.0.0", "127.0.0.1")
        config.chmod(0o644)
        config.write_text(text)
        for volume in self.compose.volumes:
            (folder / "volumes" / volume).mkdir(parents=True)
        for stage in STAGES[1:]:
            for sources, _ in context_copies(stage):
                for source in sources:
                    self._copy(source)
        self.running: dict[str, subprocess.Popen[str]] = {}

    def _copy(self, source: str) -> None:
        for path in TRACKED:
            if (path == source or path.startswith(f"{source}/")) and (ROOT / path).is_file():
                target = self.folder / "app" / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / path, target)

    def port(self, name: str) -> str:
        return next(to.rpartition(":")[2] for host, to in self.hosts.items() if host.startswith(name))

    def localise(self, text: str, service: Service) -> str:
        """Host names and container paths as they are on this machine; what a service does not mount stays unknown."""
        for name, address in self.hosts.items():
            text = text.replace(name, address)
        places = {target: self.place(source) for target, source in service.mounts.items()}
        places |= {f"/run/secrets/{name}": self.secrets / name for name in service.secrets}
        places |= {"/app": self.folder / "app", "/tmp": self.folder / "tmp"}
        (self.folder / "tmp").mkdir(exist_ok=True)
        targets = "|".join(re.escape(target) for target in sorted(places, key=len, reverse=True))
        # One pass, so that what was put in is not mapped again; a whole path component at the start of a path.
        return re.sub(rf"(?<![\w/.:-])({targets})(?![\w.-])", lambda m: str(places[m[1]]), text)

    def place(self, source: str) -> Path:
        return self.folder / "volumes" / source if source in self.compose.volumes else Path(source)

    def argv(self, service: Service, words: list[str]) -> list[str]:
        if words[0] == "sh":
            return ["sh", "-c", self.localise(words[2], service)]
        return [program(words[0]), *(self.localise(word, service) for word in words[1:])]

    def environment(self, service: Service) -> dict[str, str]:
        kept = {
            key: os.environ[key] for key in ("LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES") if key in os.environ
        }
        home = self.place(service.mounts["/data"]) if "/data" in service.mounts else self.folder / "nohome"
        mapped = {name: self.localise(value, service) for name, value in service.environment.items()}
        own = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home), "PYTHONPATH": str(self.folder / "app")}
        return kept | own | {"OMP_NUM_THREADS": "1"} | mapped

    def run(self, name: str, words: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a job to its end, as `docker compose run` does."""
        service = self.compose.services[name]
        return subprocess.run(
            self.argv(service, words or service.command or []),
            env=self.environment(service),
            cwd=self.folder / "app",
            capture_output=True,
            text=True,
            timeout=600,
        )

    def start(self, name: str) -> None:
        service = self.compose.services[name]
        listen = f"127.0.0.1 --port {self.port(name)}" if name == "witness" else "127.0.0.1"
        words = [word.replace("0.0.0.0", listen).replace("8545", self.port("chain")) for word in service.command or []]
        self.running[name] = subprocess.Popen(
            self.argv(service, words),
            env=self.environment(service),
            cwd=self.folder / "app",
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / f"{name}.log").open("w"),
            text=True,
        )

    def is_healthy(self, name: str) -> bool:
        service = self.compose.services[name]
        assert service.healthcheck is not None
        here = {f"127.0.0.1:{host.partition(':')[2]}": address for host, address in self.hosts.items()}
        words = [
            re.sub(r"127\.0\.0\.1:\d+", lambda found: here.get(found[0], found[0]), word)
            for word in service.healthcheck.test[1:]
        ]
        done = subprocess.run(
            self.argv(service, words), cwd=self.folder, capture_output=True, env=self.environment(service)
        )
        assert done.returncode in (0, 1), done.stderr
        return done.returncode == 0

    def wait(self, name: str) -> None:
        log = (self.folder / f"{name}.log").read_text
        eventually(lambda: self.running[name].poll() is not None or self.is_healthy(name), log)
        assert self.running[name].poll() is None, log()

    def stop(self, name: str) -> int:
        process = self.running.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(PATIENCE_S)


@pytest.fixture
def stack(tmp_path: Path, postgres_url: str) -> Iterator[Stack]:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name, colour in (("red", (200, 20, 20)), ("blue", (20, 20, 200))):
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).ellipse((12, 12, 52, 52), fill=colour)
        image.save(pictures / f"{name}.png")
        (pictures / f"{name}.txt").write_text(f"a {name} ball")
    made = Stack(tmp_path, postgres_url, {"CURIOSITY_PICTURES": str(pictures)})
    yield made
    for process in made.running.values():
        process.kill()
        process.wait()


def test_the_services_run_together(stack: Stack) -> None:
    assert not stack.is_healthy("chain")
    stack.start("chain")
    stack.wait("chain")
    for name in ("keys", "witness-keys"):
        done = stack.run(name)
        assert done.returncode == 0, done.stderr
    assert not stack.is_healthy("witness")
    stack.start("witness")
    stack.wait("witness")
    done = stack.run("deploy")
    assert done.stdout.startswith("Deployed:"), done.stderr
    assert stack.run("deploy").stdout.startswith("Already deployed:")
    assert not stack.is_healthy("validator")
    stack.start("validator")
    stack.wait("validator")

    password = ["--password-file", "/run/secrets/wallet_password"]
    done = stack.run("contributor", ["curiosity", "wallet", "new", "alice", *password])
    assert done.returncode == 0, done.stderr
    done = stack.run("contributor")
    assert "2 receipts verified" in done.stdout, done.stdout + done.stderr
    done = stack.run("mirror")
    assert done.stdout.startswith("4 entries verified, root"), done.stdout + done.stderr
    assert len(read_leaves(stack.place("mirror"))) == 4

    # What was decided is provable under a head that the witness cosigned, to whoever trusts its key.
    address, vkey = stack.hosts["validator:8440"], (stack.place("network") / "witness.vkey").read_text().strip()
    log_vkey = (stack.place("network") / "log.vkey").read_text().strip()

    def cosigned() -> int:
        with urllib.request.urlopen(f"http://{address}/v1/checkpoint/cosigned") as answer:
            return verify_checkpoint(answer.read().decode(), "curiosity", [log_vkey], [vkey], 1).size

    eventually(lambda: cosigned() >= 3)

    # A restart finds everything again: the chain its state, the deployment its contracts, the validator its ledger.
    assert stack.stop("validator") == 0
    assert not stack.is_healthy("validator")
    stack.stop("chain")
    stack.start("chain")
    stack.wait("chain")
    done = stack.run("deploy")
    assert done.stdout.startswith("Already deployed:"), done.stderr
    stack.start("validator")
    stack.wait("validator")
    done = stack.run("contributor")
    assert "known from an earlier run" in done.stdout, done.stdout + done.stderr


def test_health_of_the_wrong_chain_is_bad(stack: Stack) -> None:
    stack.start("chain")
    stack.wait("chain")
    check = [sys.executable, str(ROOT / "deploy/healthy.py"), "chain", f"http://{stack.hosts['chain:8545']}"]
    assert subprocess.run([*check, "1"], capture_output=True, text=True).stderr == "chain id is 31337, expected 1\n"
    assert subprocess.run(check, capture_output=True).returncode == 2
    # What answers, but not as a validator that is well, is not well either.
    check = [*check[:2], "validator", check[3]]
    done = subprocess.run(check, capture_output=True, text=True)
    assert (done.returncode, done.stderr.split(":")[0]) == (1, "HTTPError")


def test_the_database_check_answers_for_a_real_server(postgres_socket: str, tmp_path: Path) -> None:
    check = COMPOSE.services["postgres"].healthcheck
    assert check is not None
    name, *options = check.test[1:]
    tool = Path(pgserver.__file__).parent / "pginstall/bin" / name
    assert subprocess.run([str(tool), *options, "-h", postgres_socket], capture_output=True).returncode == 0
    assert subprocess.run([str(tool), *options, "-h", str(tmp_path)], capture_output=True).returncode == 2


def test_variables_reach_the_services() -> None:
    compose = read_compose({"CURIOSITY_BIND": "192.0.2.1", "CURIOSITY_ROUND": "round-2"})
    assert compose.services["validator"].ports == ["192.0.2.1:8440:8440"]
    trainer: Any = compose.services["trainer"].command
    assert trainer[-1] == "/checkpoints/round-2"
