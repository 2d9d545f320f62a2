"""Weights to safetensors bytes and back."""

import torch
from safetensors.torch import load_file
from safetensors.torch import save as encode

from embedding.checkpoint import MODEL, Checkpoint
from embedding.space import EmbeddingSpace
from protocol.errors import CheckpointError, ConfigError


def halve_weights(space: EmbeddingSpace) -> None:
    """Round the trained weights to float16 in place, so that they can be stored in half the bytes without a change.

    Call it before calibrating: thresholds must belong to the weights that are served. Batch-norm statistics stay.
    """
    with torch.no_grad():
        for parameter in space.parameters():
            if parameter.ndim > 1:
                parameter.copy_(parameter.half().float())


def encode_weights(space: EmbeddingSpace) -> bytes:
    """Safetensors bytes of everything trained; a matrix that float16 holds exactly is stored so."""
    tensors = {}
    for name, tensor in space.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        flat = tensor.detach().cpu().contiguous()
        exact = flat.ndim > 1 and flat.dtype == torch.float32 and torch.equal(flat.half().float(), flat)
        tensors[name] = flat.half() if exact else flat
    data: bytes = encode(tensors)
    return data


def read_space(checkpoint: Checkpoint, device: torch.device | None = None) -> EmbeddingSpace:
    """The encoders of a verified checkpoint, in evaluation mode.

    Raises:
        CheckpointError: CHECKPOINT_PRESET, FROZEN_TOWER_DIFFERS, FROZEN_TOWER_MISSING or WEIGHTS_DIFFER.
    """
    manifest = checkpoint.manifest
    try:
        space = EmbeddingSpace(manifest.preset, modalities=manifest.modalities)
    except ConfigError as error:
        raise CheckpointError("CHECKPOINT_PRESET", error.what, error.remedy) from error
    if (space.dim, space.preset.preprocessing) != (manifest.dim, manifest.preprocessing):
        raise CheckpointError(
            "CHECKPOINT_PRESET",
            f"made with {manifest.preprocessing} and {manifest.dim} dimensions, "
            f"this program has {space.preset.preprocessing} and {space.dim}",
            "Update the program or the checkpoint",
        )
    for modality in manifest.modalities:
        got, want = space.tower(modality).frozen_sha256(), manifest.frozen.get(modality, "")
        if got != want:
            raise CheckpointError(
                "FROZEN_TOWER_DIFFERS",
                f"the frozen {modality} weights have SHA-256 {got or 'none'}, expected {want or 'none'}",
                "Install the version of the package that pyproject.toml pins",
            )
    tensors = {name: tensor.float() for name, tensor in load_file(checkpoint.path / MODEL).items()}
    wanted = {name for name in space.state_dict() if not name.endswith("num_batches_tracked")}
    if set(tensors) != wanted:
        raise CheckpointError(
            "WEIGHTS_DIFFER",
            f"missing {sorted(wanted - set(tensors))[:3]}, unknown {sorted(set(tensors) - wanted)[:3]}",
            "Publish the checkpoint again",
        )
    try:
        space.load_state_dict(tensors, strict=False)
    except RuntimeError as error:
        raise CheckpointError("WEIGHTS_DIFFER", str(error).splitlines()[-1], "Publish the checkpoint again") from error
    space.to(device or torch.device("cpu"))
    space.eval()
    return space
