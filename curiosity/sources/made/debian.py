"""Material of Debian packages: a package is fetched with apt and unpacked into the cache, not installed.

`apt-get download` and `dpkg-deb` are on every Debian. What was fetched must have the SHA-256 that stands here. Where
there is no apt, or another release of Debian, a folder with an unpacked or installed copy can be given instead.
"""

import fnmatch
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from curiosity.host.files import make_folder, move
from curiosity.host.paths import inside
from curiosity.protocol.errors import SourceError
from curiosity.sources.pairset import Origin

_TIMEOUT_S: Final = 3600.0
_MAX_BYTES: Final = 64 << 20  # of one file of a package
_ENTRY: Final = re.compile(r"^(?P<package>[a-z0-9][a-z0-9+.-]*) \((?P<version>[^)\s]{1,100})\)")

Say = Callable[[str], None]
"""Called with a line for people before something is downloaded."""


@dataclass(frozen=True)
class DebianPackage:
    """A binary package of all architectures: ``folder`` below usr/share holds what is taken; ``sha256`` of the .deb."""

    name: str
    version: str
    sha256: str
    megabytes: int
    folder: str
    license: str
    stated_in: str


@dataclass(frozen=True)
class UnpackedPackage:
    """A package's files. ``share`` is its usr/share; ``version`` as pinned, or as a copy says that was not checked."""

    package: DebianPackage
    share: Path
    version: str
    is_checked: bool

    @property
    def stated(self) -> str:
        """Return the version, with a word on whether the files are known to be of it."""
        return self.version if self.is_checked else f"{self.version} (given, not checked)"

    @property
    def folder(self) -> Path:
        """Where the material is."""
        return inside(self.share, self.package.folder, links=True)

    @cached_property
    def licenses(self) -> list[tuple[re.Pattern[str], str]]:
        """Patterns of the package's copyright file with their licences, in its order."""
        return read_copyright(inside(self.share, f"doc/{self.package.name}/copyright", links=True))

    def describe(self, takes: str) -> Origin:
        """Return the package's entry of a data card; ``takes`` is what a set takes of it."""
        package = self.package
        return Origin(f"{package.name} (Debian)", self.stated, takes, package.license, package.stated_in)


def open_package(package: DebianPackage, *, given: Path | None, cache: Path, say: Say | None = None) -> UnpackedPackage:
    """Return the package from ``given`` (a folder with usr/share, or such a folder itself), or fetched into ``cache``.

    Raises:
        SourceError: MATERIAL_MISSING (``given`` does not hold it, or it cannot be fetched), MATERIAL_CHANGED (another
            SHA-256), CANNOT_WRITE.
    """
    if given is not None:
        for share in (given / "usr" / "share", given / "share", given):
            if inside(share, package.folder, links=True).is_dir():
                return UnpackedPackage(package, share, _read_version(share, package.name), False)
        raise SourceError(
            "MATERIAL_MISSING",
            f"{given} does not hold usr/share/{package.folder} of the package {package.name}",
            f"Give the folder into which `dpkg-deb -x {package.name}_*.deb FOLDER` unpacked it, or / if it is "
            "installed.",
        )
    place = inside(cache, f"{package.name}-{package.sha256[:16]}", one=True, links=True)
    if not place.is_dir():
        try:
            make_folder(cache)
            _fetch(package, place, say)
        except OSError as error:
            raise SourceError(
                "CANNOT_WRITE",
                f"the package {package.name} could not be kept in {cache}: {error.strerror}",
                f"Free {4 * package.megabytes} MB or choose another cache directory.",
            ) from error
    return UnpackedPackage(package, place / "usr" / "share", package.version, True)


def default_package_cache() -> Path:
    """Return where packages are kept between runs: ``$XDG_CACHE_HOME/curiosity/packages`` or below ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "curiosity" / "packages"


def read_material(path: Path) -> bytes:
    """Return the bytes of a file of a package.

    Raises:
        SourceError: CANNOT_READ, FILE_LARGE.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SourceError("CANNOT_READ", f"{path}: {error.strerror}", "Unpack the package again.") from error
    if len(data) > _MAX_BYTES:
        raise SourceError("FILE_LARGE", f"{path} has over {_MAX_BYTES} bytes", "Unpack the package again.")
    return data


def list_files(folder: Path, *suffixes: str) -> list[Path]:
    """Return the plain files below ``folder`` with one of these suffixes, in order; links are not followed."""
    found = [path for path in folder.rglob("*") if path.name.lower().endswith(suffixes)]
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


# -- licences (Debian copyright format 1.0)

_SPDX: Final = {
    "CC0": "CC0-1.0", "CC0-1.0": "CC0-1.0", "GPL-2": "GPL-2.0-only", "GPL-2+": "GPL-2.0-or-later",
    "GPL-3": "GPL-3.0-only", "GPL-3+": "GPL-3.0-or-later", "CC-BY-3.0": "CC-BY-3.0", "CC-BY-SA-3.0": "CC-BY-SA-3.0",
    "CC-BY-4.0": "CC-BY-4.0", "CC-BY-SA-4.0": "CC-BY-SA-4.0", "free-art": "LAL-1.2", "MIT": "MIT",
}  # fmt: skip


def read_copyright(path: Path) -> list[tuple[re.Pattern[str], str]]:
    """Return file patterns and short names of licences of a copyright file, in its order; empty when there is none."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return []
    found: list[tuple[re.Pattern[str], str]] = []
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t"):
                fields[name] = fields.get(name, "") + "\n" + line.strip()
            elif ":" in line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if "Files" in fields and "License" in fields:
            license = fields["License"].split("\n")[0].strip()
            found += [(re.compile(fnmatch.translate(pattern)), license) for pattern in fields["Files"].split()]
    return found


def find_license(licenses: list[tuple[re.Pattern[str], str]], path: str) -> str | None:
    """Return the SPDX name of the licence of ``path`` in the source; None if it is unclear.

    The last pattern that fits decides.
    """
    fitting = [license for pattern, license in licenses if pattern.fullmatch(path)]
    return _SPDX.get(fitting[-1]) if fitting else None


# -- fetching


def _fetch(package: DebianPackage, place: Path, say: Say | None) -> None:
    missing = [program for program in ("apt-get", "dpkg-deb") if shutil.which(program) is None]
    if missing:
        raise _cannot_fetch(package, f"there is no {' and no '.join(missing)} here")
    if say:
        say(
            f"Fetching the Debian package {package.name} {package.version} ({package.megabytes} MB) with apt-get into "
            f"{place.parent}. It is unpacked there, not installed."
        )
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".fetching-") as folder:
        _run(["apt-get", "-q", "download", f"{package.name}={package.version}"], Path(folder), package)
        files = sorted(Path(folder).glob("*.deb"))
        if len(files) != 1:
            raise _cannot_fetch(package, f"apt-get left {len(files)} packages")
        with files[0].open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != package.sha256:
            raise SourceError(
                "MATERIAL_CHANGED",
                f"{files[0].name} has SHA-256 {digest}, expected {package.sha256}",
                "Check apt's sources, or give an unpacked copy with --from.",
            )
        unpacked = Path(folder, "unpacked")
        _run(["dpkg-deb", "-x", str(files[0]), str(unpacked)], Path(folder), package)
        unpacked.chmod(0o755)
        move(unpacked, place)


def _run(command: list[str], folder: Path, package: DebianPackage) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise _cannot_fetch(package, f"{command[0]} took over {_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[:400]
        raise _cannot_fetch(package, f"{command[0]} ended with status {done.returncode}: {said}")


def _cannot_fetch(package: DebianPackage, why: str) -> SourceError:
    return SourceError(
        "MATERIAL_MISSING",
        f"the Debian package {package.name} {package.version} cannot be fetched: {why}",
        "Run `apt-get update`, or give a folder with an unpacked or installed copy with --from.",
    )


def _read_version(share: Path, name: str) -> str:
    """Return what the first line of the package's list of changes says."""
    for file in ("changelog.Debian.gz", "changelog.gz"):
        try:
            with gzip.open(inside(share, f"doc/{name}/{file}", links=True), "rt", errors="replace") as lines:
                entry = _ENTRY.match(lines.readline(300))
        except (OSError, EOFError):
            continue
        if entry and entry["package"]:
            return entry["version"]
    return "unknown"
