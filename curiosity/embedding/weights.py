"""Weights to safetensors bytes and back."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as encode

from curiosity.embedding.checkpoint import MODEL, Checkpoint, Manifest
from curiosity.embedding.presets import Source
from curiosity.embedding.space import EmbeddingSpace
from curiosity.embedding.towers.pretrained.files import find_fetched
from curiosity.protocol.errors import CheckpointError, ConfigError


def halve_weights(space: EmbeddingSpace) -> None:
    """Round the trained weights to float16 in place, so that they can be stored in half the bytes without a change.

    Call it before calibrating: thresholds must belong to the weights that are served. Batch-norm statistics stay.
    """
    with torch.no_grad():
        for parameter in space.parameters():
            if parameter.ndim > 1 and parameter.requires_grad:
                parameter.copy_(parameter.half().float())


def freeze_published(space: EmbeddingSpace) -> None:
    """Freeze every encoder that started from published weights; checkpoints then name them and do not carry them."""
    for name in space.modalities:
        tower = space.tower(name)
        if tower.weights is not None and "encoder" in tower._modules:
            tower.freeze(stored=False)


def name_unstored(space: EmbeddingSpace) -> dict[str, str]:
    """Return the name of the published weights, by modality, that a frozen encoder has and a checkpoint lacks."""
    towers = ((name, space.tower(name)) for name in space.modalities)
    return {
        name: tower.weights.name
        for name, tower in towers
        if tower.weights is not None and not tower.is_stored and "encoder" in tower._modules
    }


def encode_weights(space: EmbeddingSpace) -> bytes:
    """Return the safetensors bytes of everything trained; a matrix that float16 holds exactly is stored so."""
    tensors, state = {}, space.state_dict()
    for name in _stored_names(space):
        flat = state[name].detach().cpu().contiguous()
        exact = flat.ndim > 1 and flat.dtype == torch.float32 and torch.equal(flat.half().float(), flat)
        tensors[name] = flat.half() if exact else flat
    data: bytes = encode(tensors)
    return data


def read_space(
    checkpoint: Checkpoint, device: torch.device | None = None, pretrained: Mapping[str, Source] | None = None
) -> EmbeddingSpace:
    """Return the encoders of a verified checkpoint, in evaluation mode.

    ``pretrained`` says where frozen encoders come from that the checkpoint names and does not carry; see
    ``EmbeddingSpace``. Nothing is downloaded without it.

    Raises:
        CheckpointError: CHECKPOINT_PRESET, FROZEN_TOWER_DIFFERS, FROZEN_TOWER_MISSING or WEIGHTS_DIFFER.
    """
    manifest, given = checkpoint.manifest, dict(pretrained or {})
    unstored: Mapping[str, str] = manifest.data.get("unstored", {})
    for name in set(unstored) - set(given):
        if find_fetched(unstored[name]) is not None:
            given[name] = unstored[name]
    missing = sorted(set(unstored) - set(given))
    if missing:
        raise CheckpointError(
            "FROZEN_TOWER_MISSING",
            "the checkpoint does not carry " + ", ".join(f"{name}: {unstored[name]}" for name in missing),
            "Name them in `pretrained`; they are then fetched, or read from the folder that you name.",
        )
    try:
        space = EmbeddingSpace(manifest.preset, modalities=manifest.modalities, pretrained=given)
        for modality in unstored:
            space.freeze(modality, stored=False)
    except ConfigError as error:
        raise CheckpointError("CHECKPOINT_PRESET", error.what, error.remedy) from error
    return fill_weights(space, checkpoint, device)


Space = TypeVar("Space", bound=EmbeddingSpace)


def fill_weights(space: Space, source: Checkpoint | Path, device: torch.device | None = None) -> Space:
    """Put the weights of a verified checkpoint, or of a safetensors file, into ``space``.

    The space is then in evaluation mode.

    Raises:
        CheckpointError: CHECKPOINT_PRESET, FROZEN_TOWER_DIFFERS, CHECKPOINT_MISSING or WEIGHTS_DIFFER.
    """
    if isinstance(source, Checkpoint):
        _check_towers(space, source.manifest)
    path = source.path / MODEL if isinstance(source, Checkpoint) else source
    try:
        tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    except OSError as error:
        raise CheckpointError("CHECKPOINT_MISSING", f"{path}: {error}", "Give the folder of a whole model.") from error
    except SafetensorError as error:
        raise CheckpointError("WEIGHTS_DIFFER", f"{path}: {error}", "Fetch it again.") from error
    wanted = set(_stored_names(space))
    if set(tensors) != wanted:
        raise CheckpointError(
            "WEIGHTS_DIFFER",
            f"missing {sorted(wanted - set(tensors))[:3]}, unknown {sorted(set(tensors) - wanted)[:3]}",
            "Publish the checkpoint again.",
        )
    try:
        space.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise CheckpointError("WEIGHTS_DIFFER", str(error).splitlines()[-1], "Publish the checkpoint again.") from error
    space.to(device or torch.device("cpu"))
    space.eval()
    return space


def _check_towers(space: EmbeddingSpace, manifest: Manifest) -> None:
    if (space.dim, space.preset.preprocessing) != (manifest.dim, manifest.preprocessing):
        raise CheckpointError(
            "CHECKPOINT_PRESET",
            f"made with {manifest.preprocessing} and {manifest.dim} dimensions, "
            f"this program has {space.preset.preprocessing} and {space.dim}",
            "Update the program or the checkpoint.",
        )
    for modality in manifest.modalities:
        got, want = space.tower(modality).frozen_sha256(), manifest.frozen.get(modality, "")
        if got != want:
            raise CheckpointError(
                "FROZEN_TOWER_DIFFERS",
                f"the frozen {modality} weights have SHA-256 {got or 'none'}, expected {want or 'none'}",
                "Install the version of the package that pyproject.toml pins, or name its weights in `pretrained`.",
            )


def _stored_names(space: EmbeddingSpace) -> list[str]:
    """Return the names of the tensors that a checkpoint carries."""
    left_out = tuple(f"towers.{name}.encoder." for name in space.modalities if not space.tower(name).is_stored)
    return [
        name
        for name in space.state_dict()
        if not name.endswith("num_batches_tracked") and not (left_out and name.startswith(left_out))
    ]
