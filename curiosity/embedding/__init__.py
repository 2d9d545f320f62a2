"""The one embedding space: modalities, towers, losses, checkpoints and how they are measured."""
