"""A checkpoint: a folder whose manifest names every byte in it. Reading and verifying it imports no torch.

    manifest.json        canonical JSON; its SHA-256 is the checkpoint's digest
    model.safetensors    the trained weights (frozen towers are named by SHA-256 and not stored)
    config.json          preset and modalities, for ``curiosity.embedding.hub``; checkpoints made before it have none
    anchors.safetensors  int16 embeddings that verdicts stand on (see ``AnchorArrays``)
    README.md            the card

Only safetensors are read: nothing in a checkpoint can run code.
"""

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from curiosity.host.files import write_folder
from curiosity.host.paths import inside
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.errors import CheckpointError
from curiosity.protocol.json_reader import read_json
from curiosity.protocol.scoring import Quantised
from curiosity.protocol.wire import canonical_json

if TYPE_CHECKING:
    pass

FORMAT = "curiosity-checkpoint/1"
MANIFEST, MODEL, ANCHORS, CARD = "manifest.json", "model.safetensors", "anchors.safetensors", "README.md"
CONFIG = "config.json"
FILES = (MANIFEST, MODEL, ANCHORS, CARD, CONFIG)
GENESIS = Path(__file__).parent / "genesis"
# By the name of their preset.
SHIPPED = {"offline": Path(__file__).parent / "genesis_offline", "tiny": GENESIS}

AnchorArrays = Mapping[str, Quantised]
"""``ref/<modality>`` int16[N, d] real items for the differential loss; ``bank/<pair>/<modality>`` int16[N, d] for CSLS;
``empty/<modality>`` int16[d]; ``history/<pair>`` int16[N, 2d] joint points of trusted pairs, cross-averaged; where
beliefs have several domains, ``domain/<modality>`` int16[N], of which one each reference is."""


def find_genesis(given: Path | None) -> Path:
    """Return the folder of a genesis checkpoint: the one given, or a shipped one by name; that of `offline` if None."""
    if given is None:
        return SHIPPED["offline"]
    return SHIPPED.get(str(given), given.expanduser())


@dataclass(frozen=True)
class LedgerRange:
    """The pairs that a round learned from: entries first to first + size - 1 of the ledger ``origin``.

    ``ledger_root`` is the RFC 6962 root at ``first + size``; ``pairs_root`` the RFC 6962 root over the digests of the
    accepted pairs that were trained on, in ledger order; ``pairs`` how many. Roots in hex.
    """

    origin: str
    first: int
    size: int
    ledger_root: str
    pairs_root: str
    pairs: int


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says about itself. All numbers are integers (shares in millionths)."""

    preset: str
    dim: int
    modalities: tuple[str, ...]
    preprocessing: str
    frozen: dict[str, str]  # modality -> SHA-256 of frozen weights that are not stored here
    parent: str  # digest of the checkpoint that training started from; empty for genesis
    ledger: LedgerRange | None  # None for genesis
    data: dict[str, Any]  # data card of the trusted pairs: sets, splits, counts, root over their digests
    recipe: dict[str, Any]  # seed, steps, batch, ...
    calibration: Calibration
    evaluation: dict[str, Any]
    licenses: dict[str, str]
    files: dict[str, str]  # file name -> SHA-256

    def trained_pairs(self) -> frozenset[str]:
        """Return the names of the modality pairs that were trained: ``audio-text``. Others met by themselves.

        Checkpoints that do not say it were made from the trusted split ``genesis`` alone.
        """
        named = self.data.get("trained")
        if named is None:
            named = [key.split("/")[2] for key in self.data.get("pairs", {}) if key.split("/")[1:2] == ["genesis"]]
        return frozenset(named)

    def encode(self) -> bytes:
        """Return the canonical JSON; its SHA-256 is the checkpoint's digest."""
        plain = asdict(self) | {"calibration": self.calibration.to_json(), "format": FORMAT}
        return canonical_json(plain | {"modalities": list(self.modalities)})

    @classmethod
    def decode(cls, data: bytes) -> "Manifest":
        """Return the manifest that ``encode`` wrote.

        Raises:
            CheckpointError: MANIFEST_NOT_READABLE or CHECKPOINT_FORMAT.
        """
        try:
            plain = read_json(data)
            if plain.pop("format") != FORMAT:
                raise CheckpointError(
                    "CHECKPOINT_FORMAT",
                    f"the manifest is not of format {FORMAT}",
                    "Update the program or the checkpoint.",
                )
            ledger = plain.pop("ledger")
            if wrong := _MANIFEST_KEYS ^ (set(plain) | {"ledger"}):
                raise ValueError(f"it lacks or has too much: {', '.join(sorted(wrong))}")
            manifest = cls(
                modalities=tuple(plain.pop("modalities")),
                calibration=Calibration.from_json(plain.pop("calibration")),
                ledger=LedgerRange(**ledger) if ledger is not None else None,
                **plain,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                "MANIFEST_NOT_READABLE",
                f"{len(data)} bytes are not a manifest: {_why(error)}",
                "Fetch the checkpoint again.",
            ) from error
        if manifest.encode() != data:
            raise CheckpointError(
                "MANIFEST_NOT_CANONICAL", f"{len(data)} bytes differ from their canonical form", "Fetch it again."
            )
        return manifest


_MANIFEST_KEYS = {field.name for field in fields(Manifest)}


def _why(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it lacks {error.args[0]!r}"
    return str(error) if isinstance(error, ValueError) else "a value in it is of another type"


@dataclass(frozen=True)
class Checkpoint:
    """A verified checkpoint: every file has the digest that the manifest names."""

    path: Path
    digest: str
    manifest: Manifest

    @cached_property
    def anchors(self) -> AnchorArrays:
        """The anchor sets, int16; read on first use."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            arrays: dict[str, NDArray[Any]] = load_file(self.path / ANCHORS)
        except (SafetensorError, OSError, KeyError) as error:  # KeyError: numbers that numpy does not have
            raise CheckpointError(
                "ANCHORS_NOT_READABLE", f"{self.path / ANCHORS}: {error}", "Fetch the checkpoint again."
            ) from error
        wrong = [name for name, array in arrays.items() if array.dtype != np.int16]
        if wrong:
            raise CheckpointError("ANCHORS_NOT_INT16", f"{wrong} are not int16", "Publish the checkpoint again.")
        most = max((len(beliefs.others) for beliefs in self.calibration.beliefs.values()), default=0)
        for name in arrays:
            if name.startswith("domain/") and not _are_domains(arrays[name], arrays.get(f"ref/{name[7:]}"), most):
                raise CheckpointError(
                    "ANCHORS_DOMAINS",
                    f"{name} of shape {arrays[name].shape} must name one of {most + 1} domains for each reference",
                    "Publish the checkpoint again.",
                )
        return arrays

    @property
    def calibration(self) -> Calibration:
        """Every number that a verdict depends on beside the anchors."""
        return self.manifest.calibration


def _are_domains(domains: NDArray[Any], references: NDArray[Any] | None, most: int) -> bool:
    if references is None or domains.shape != references.shape[:1]:
        return False
    return not len(domains) or (int(domains.min()) >= 0 and int(domains.max()) <= most)


def load(path: Path, *, expected: str | None = None) -> Checkpoint:
    """Return the checkpoint in the folder ``path``, verified byte for byte. Imports no torch.

    Args:
        path: the folder.
        expected: the digest that it must have, where the caller knows one.

    Raises:
        CheckpointError: CHECKPOINT_MISSING, CHECKPOINT_DIFFERS (with the expected and the actual digest) or what
            ``Manifest.decode`` raises.
    """
    data = _read(path / MANIFEST)
    digest = hashlib.sha256(data).hexdigest()
    if expected is not None and digest != expected:
        raise _differs(f"{path}/{MANIFEST}", expected, digest)
    manifest = Manifest.decode(data)
    if set(manifest.files) not in ({MODEL, ANCHORS, CARD}, {MODEL, ANCHORS, CARD, CONFIG}):
        raise CheckpointError(
            "CHECKPOINT_FORMAT", f"the manifest names {sorted(manifest.files)}", "Publish the checkpoint again."
        )
    for name, want in sorted(manifest.files.items()):
        got = hashlib.sha256(_read(inside(path, name, one=True, links=True))).hexdigest()  # links of the hub's cache
        if got != want:
            raise _differs(f"{path}/{name}", want, got)
    return Checkpoint(path, digest, manifest)


def save(
    path: Path,
    *,
    manifest: Manifest,
    model: bytes,
    anchors: AnchorArrays,
    card: str,
) -> Checkpoint:
    """Write the checkpoint to the folder ``path`` at once, or not at all; ``manifest.files`` is filled in here.

    ``model`` are safetensors bytes (``curiosity.embedding.weights.encode_weights``).

    Raises:
        CheckpointError: CHECKPOINT_NOT_WRITTEN, when the folder exists with other content or the disk refuses.
    """
    from safetensors.numpy import save as encode_arrays

    contents = {
        MODEL: model,
        ANCHORS: encode_arrays({name: np.ascontiguousarray(array) for name, array in sorted(anchors.items())}),
        CARD: card.encode(),
        CONFIG: encode_config(manifest.preset, manifest.modalities),
    }
    final = replace(manifest, files={name: hashlib.sha256(data).hexdigest() for name, data in contents.items()})
    contents[MANIFEST] = final.encode()
    digest = hashlib.sha256(contents[MANIFEST]).hexdigest()
    if path.exists():
        if (path / MANIFEST).is_file() and load(path).digest == digest:
            return load(path)
        raise CheckpointError(
            "CHECKPOINT_NOT_WRITTEN", f"{path} exists and is not this checkpoint", "Choose another folder or remove it."
        )
    _write_folder(path, contents)
    return Checkpoint(path, digest, final)


def copy(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    """Copy the checkpoint to the folder ``path``, every byte compared with the manifest; return the copy.

    A copy that is there whole is left as it is. What else is at ``path``, such as a copy that was damaged, is replaced.

    Raises:
        CheckpointError: What ``load`` raises of the original; CHECKPOINT_NOT_WRITTEN, when the disk refuses.
    """
    try:
        return load(path, expected=checkpoint.digest)
    except CheckpointError:
        shutil.rmtree(path, ignore_errors=True)
    contents = {}
    for name, want in (checkpoint.manifest.files | {MANIFEST: checkpoint.digest}).items():
        source = inside(checkpoint.path, name, one=True, links=True)
        contents[name] = _read(source)
        if (got := hashlib.sha256(contents[name]).hexdigest()) != want:
            raise _differs(str(source), want, got)
    _write_folder(path, contents)
    return Checkpoint(path, checkpoint.digest, checkpoint.manifest)


def encode_config(preset: str, modalities: Sequence[str]) -> bytes:
    """Return what ``curiosity.embedding.hub`` needs to make the towers that the weights belong to: canonical JSON."""
    return canonical_json({"modalities": list(modalities), "preset": preset})


def _write_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    try:
        write_folder(path, contents)
    except OSError as error:
        raise CheckpointError(
            "CHECKPOINT_NOT_WRITTEN", f"{path}: {error.strerror or error}", "Free space or choose another folder."
        ) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(
            "CHECKPOINT_MISSING", f"{path}: {error.strerror}", "Give the folder of a whole checkpoint."
        ) from error


def _differs(path: str, want: str, got: str) -> CheckpointError:
    return CheckpointError(
        "CHECKPOINT_DIFFERS", f"{path} has SHA-256 {got}, expected {want}", "Fetch the checkpoint again."
    )
