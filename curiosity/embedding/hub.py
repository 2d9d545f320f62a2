"""The space as a model of the Hugging Face hub: ``save_pretrained`` and ``from_pretrained`` on a folder or repository.

A checkpoint's folder, uploaded as it is, is such a repository. It is then verified like any checkpoint: byte for byte.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import PyTorchModelHubMixin, snapshot_download

from curiosity.embedding.checkpoint import ANCHORS, CARD, CONFIG, MANIFEST, MODEL, encode_config, load
from curiosity.embedding.presets import DEFAULT
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.weights import encode_weights, fill_weights
from curiosity.protocol.errors import CheckpointError, ConfigError
from curiosity.protocol.json_reader import read_json


class HubSpace(
    EmbeddingSpace,
    PyTorchModelHubMixin,
    library_name="curiosity",
    license="mit",
    pipeline_tag="feature-extraction",
    tags=["multimodal", "contrastive"],
):
    """``EmbeddingSpace`` with the methods of ``PyTorchModelHubMixin``.

    ``HubSpace.from_pretrained(folder_or_name)`` gives the towers in evaluation mode. Nothing is unpickled.
    """

    def __init__(self, preset: str = DEFAULT, *, seed: int = 0, modalities: Sequence[str] | None = None) -> None:
        super().__init__(preset, seed=seed, modalities=modalities)

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write weights and configuration as a checkpoint has them, with modalities that were registered later."""
        (save_directory / MODEL).write_bytes(encode_weights(self))
        (save_directory / CONFIG).write_bytes(encode_config(self.preset.name, self.modalities))

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        map_location: str = "cpu",
        expected: str | None = None,
        strict: bool = True,  # noqa: ARG003 - weights that do not fit are always refused
        **model_kwargs: Any,  # noqa: ARG003 - a manifest or config.json says what they say, and is verified
    ) -> "HubSpace":
        """Return the space in a local folder or a hub repository.

        A manifest vouches for every other file; ``expected``, the checkpoint's digest, vouches for the manifest.

        Raises:
            CheckpointError: when a manifest is there and a byte differs from it; or CONFIG_NOT_READABLE,
                CHECKPOINT_PRESET, CHECKPOINT_MISSING, WEIGHTS_DIFFER.
        """
        folder = Path(model_id)
        if not folder.is_dir():
            folder = Path(
                snapshot_download(
                    model_id,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                    allow_patterns=[MANIFEST, MODEL, ANCHORS, CARD, CONFIG],
                )
            )
        device = torch.device(map_location)
        if (folder / MANIFEST).is_file():
            checkpoint = load(folder, expected=expected)
            space = cls(checkpoint.manifest.preset, modalities=checkpoint.manifest.modalities)
            return fill_weights(space, checkpoint, device)
        if expected is not None:
            raise CheckpointError(
                "CHECKPOINT_MISSING", f"{folder} has no {MANIFEST}", "Give the folder of a whole checkpoint."
            )
        preset, modalities = _read_config(folder / CONFIG)
        try:
            space = cls(preset, modalities=modalities)
        except ConfigError as error:
            raise CheckpointError("CHECKPOINT_PRESET", error.what, error.remedy) from error
        return fill_weights(space, folder / MODEL, device)


def _read_config(path: Path) -> tuple[str, list[str]]:
    try:
        plain = read_json(path.read_bytes())
        preset, modalities = plain["preset"], [str(name) for name in plain["modalities"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            "CONFIG_NOT_READABLE", f"{path}: {type(error).__name__} {error}", "Give the folder that was saved."
        ) from error
    return str(preset), modalities
