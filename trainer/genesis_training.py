"""The genesis checkpoint: what a validator judges with before anybody has contributed.

Trains on the split ``genesis`` alone (concepts and scans that nobody submits), takes thresholds from ``calibration``
and evaluates on ``held-out``.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from curiosity.embedding.checkpoint import Checkpoint
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.embedding.weights import freeze_published, halve_weights
from curiosity.protocol.errors import ExitCode, SourceError
from trainer.calibrate import TooFewPairs, calibrate
from trainer.evaluation import evaluate, survey
from trainer.feed import read_trusted
from trainer.held_out import HeldOut
from trainer.library import Library
from trainer.progressive import Interrupted
from trainer.publish import describe_recipe, describe_trusted, publish
from trainer.recipe import GENESIS_RECIPE, Recipe
from trainer.train import StepProgress, train


def make_genesis(
    folders: Sequence[Path],
    out: Path,
    *,
    preset: str = "tiny",
    pretrained: bool = False,
    beliefs: bool = False,
    recipe: Recipe = GENESIS_RECIPE,
    progress: StepProgress | None = None,
) -> Checkpoint:
    """Train, calibrate, evaluate and write the genesis checkpoint; weights are rounded to float16 before calibrating.

    With ``pretrained`` the encoders that the preset names published weights for start from those and stay as they are;
    the checkpoint names them and does not carry them. With ``beliefs`` it says how likely a pair belongs together.

    Raises:
        SourceError: when a pair set is missing or differs, or too few pairs have the split genesis or
            calibration.
        CheckpointError: when the folder cannot be written.
    """
    trusted = read_trusted(folders, ["genesis", "calibration"])
    genesis = [pair for pair in trusted if pair.split == "genesis"]
    if not genesis:
        splits = ", ".join(sorted({pair.split for pair in trusted})) or "no split that genesis reads"
        raise SourceError(
            "GENESIS_PAIRS",
            f"0 pairs to learn from: the {len(folders)} pair sets have {splits}",
            'Add a pair set with the split "genesis", such as one of curiosity data make emoji.',
        )
    modalities = sorted({item.modality for pair in trusted for item in (pair.a, pair.b)})
    space = EmbeddingSpace(preset, seed=recipe.seed, modalities=modalities, pretrained=pretrained)
    if pretrained:
        freeze_published(space)
    space.to(pick_device())
    library = Library(space)
    done = train(space, library, library.streams(library.add(genesis)), recipe, progress)
    halve_weights(space)
    try:
        calibration, anchors = calibrate(space, trusted, believes=beliefs)
    except TooFewPairs as error:
        raise SourceError(
            "GENESIS_PAIRS", str(error), "Add pairs of the split calibration, or make the sets without --limit."
        ) from error
    held = HeldOut(space, read_trusted(folders, ["held-out"]))
    recall = evaluate(
        space,
        held,
        trained={pair.name for pair in genesis},
        known_voices={pair.voice for pair in trusted if pair.voice},
    )
    return publish(
        out,
        space,
        calibration=calibration,
        anchors=anchors,
        recall=recall,
        surveys=survey(space, held, medians=calibration.median_loss_micro, anchors=anchors),
        recipe=describe_recipe(recipe, done.steps),
        data=describe_trusted(genesis, [pair for pair in trusted if pair.split == "calibration"]),
        command=_command(folders, preset, recipe, pretrained, beliefs),
    )


def _command(folders: Sequence[Path], preset: str, recipe: Recipe, pretrained: bool, beliefs: bool) -> str:
    """Return the command that makes the same checkpoint again.

    The thread count is part of it: sums depend on it in their last bits.
    """
    sets = " ".join(f"--pairs {folder.name}" for folder in folders)
    threads = torch.get_num_threads()
    return (
        f"python -m trainer.genesis {sets} --out DIR --preset {preset} --seed {recipe.seed} --steps {recipe.steps} "
        f"--junk-pool {recipe.junk_pool} --threads {threads}"
        + (" --pretrained" if pretrained else "")
        + ("" if beliefs else " --no-beliefs")
    )


def command(
    pairs: Sequence[Path],
    out: Path,
    preset: str,
    pretrained: bool,
    beliefs: bool,
    seed: int,
    steps: int,
    junk_pool: int,
    threads: int,
) -> int:
    """Make the checkpoint that the command asks for and print its digest, folder and evaluation.

    Raises:
        CuriosityError: As `make_genesis`; `Interrupted`, of which nothing is kept.
    """
    if threads:
        torch.set_num_threads(threads)
    try:
        made = make_genesis(
            list(pairs),
            out,
            preset=preset,
            pretrained=pretrained,
            beliefs=beliefs,
            recipe=replace(GENESIS_RECIPE, seed=seed, steps=steps, junk_pool=junk_pool),
            progress=lambda step, steps, loss: print(f"step {step}/{steps} loss {loss:.3f}", file=sys.stderr),
        )
    except KeyboardInterrupt:
        raise Interrupted("INTERRUPTED", "nothing was written", "Run the same command again.") from None
    print(json.dumps({"digest": made.digest, "path": str(made.path), "evaluation": made.manifest.evaluation}, indent=1))
    return ExitCode.OK
