"""The command as a user runs it, in a folder of its own."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.material.command import Said
from tests.material.waiting import PATIENCE_S

PASSWORD = "correct horse battery staple"
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Shell:
    """A user's terminal: a home of its own and the command."""

    home: Path
    url: str = NOWHERE

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CURIOSITY_")}
        return kept | {
            "CURIOSITY_NODE__HOME": str(self.home),
            "CURIOSITY_NODE__VALIDATOR_URL": self.url,
            "CURIOSITY_NODE__SCRYPT_N": "1024",
            "CURIOSITY_NODE__PATIENCE_S": "1" if self.url == NOWHERE else str(PATIENCE_S),
            "CURIOSITY_PASSWORD_FILE": str(self.home / "password"),
        }

    def run(self, *arguments: str | Path, timeout_s: float = PATIENCE_S) -> Said:
        self.home.mkdir(parents=True, exist_ok=True)
        (self.home / "password").write_text(PASSWORD + "\n")
        done = subprocess.run(
            [sys.executable, "-m", "node.cli", *map(str, arguments)],
            capture_output=True, text=True, timeout=timeout_s, env=self.environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert "Traceback" not in done.stdout + done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)
