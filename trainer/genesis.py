"""The genesis checkpoint: what a validator judges with before anybody has contributed.

    python -m trainer.genesis --pairs DIR [--pairs DIR] --out DIR [--seed N]

Trains on the split ``genesis`` alone (concepts and scans that nobody submits), takes thresholds from ``calibration``
and evaluates on ``held-out``.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from curiosity.embedding.checkpoint import Checkpoint
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.embedding.weights import halve_weights
from curiosity.host.stopping import stop_on_sigterm
from curiosity.host.terminal import one_line
from curiosity.protocol.errors import CuriosityError, ExitCode
from trainer.calibrate import calibrate
from trainer.evaluate import evaluate, survey
from trainer.feed import read_trusted
from trainer.held_out import HeldOut
from trainer.library import Library
from trainer.publish import describe_recipe, describe_trusted, publish
from trainer.step import Recipe
from trainer.train import StepProgress, train

GENESIS_RECIPE = Recipe(steps=400)


def make_genesis(
    folders: Sequence[Path],
    out: Path,
    *,
    preset: str = "tiny",
    recipe: Recipe = GENESIS_RECIPE,
    progress: StepProgress | None = None,
) -> Checkpoint:
    """Train, calibrate, evaluate and write the genesis checkpoint; weights are rounded to float16 before calibrating.

    Raises:
        SourceError: when a pair set is missing or differs.
        CheckpointError: when the folder cannot be written.
    """
    trusted = read_trusted(folders, ["genesis", "calibration"])
    genesis = [pair for pair in trusted if pair.split == "genesis"]
    modalities = sorted({item.modality for pair in trusted for item in (pair.a, pair.b)})
    space = EmbeddingSpace(preset, seed=recipe.seed, modalities=modalities).to(pick_device())
    library = Library(space)
    done = train(space, library, library.streams(library.add(genesis)), recipe, progress)
    halve_weights(space)
    calibration, anchors = calibrate(space, trusted)
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
        surveys=survey(space, held, medians=calibration.median_loss_micro),
        recipe=describe_recipe(recipe, done.steps),
        data=describe_trusted(genesis, [pair for pair in trusted if pair.split == "calibration"]),
        command=_command(folders, preset, recipe),
    )


def _command(folders: Sequence[Path], preset: str, recipe: Recipe) -> str:
    """What makes the same checkpoint again; the thread count is part of it, sums depend on it in their last bits."""
    sets = " ".join(f"--pairs {folder.name}" for folder in folders)
    threads = torch.get_num_threads()
    return (
        f"python -m trainer.genesis {sets} --out DIR --preset {preset} --seed {recipe.seed} --steps {recipe.steps} "
        f"--threads {threads}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    parser = argparse.ArgumentParser(prog="python -m trainer.genesis", description="Make the genesis checkpoint.")
    parser.add_argument("--pairs", type=Path, action="append", required=True, help="folder of a trusted pair set")
    parser.add_argument("--out", type=Path, required=True, help="folder to write; must not exist")
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--seed", type=int, default=GENESIS_RECIPE.seed)
    parser.add_argument("--steps", type=int, default=GENESIS_RECIPE.steps)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    try:
        made = make_genesis(
            given.pairs,
            given.out,
            preset=given.preset,
            recipe=replace(GENESIS_RECIPE, seed=given.seed, steps=given.steps),
            progress=lambda step, steps, loss: print(f"step {step}/{steps} loss {loss:.3f}", file=sys.stderr),
        )
    except CuriosityError as error:
        print(one_line(f"{error.code}: {error.what}. {error.remedy}"), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted; nothing was written.", file=sys.stderr)
        return ExitCode.INTERRUPTED
    print(json.dumps({"digest": made.digest, "path": str(made.path), "evaluation": made.manifest.evaluation}, indent=1))
    return ExitCode.OK


if __name__ == "__main__":
    stop_on_sigterm()
    sys.exit(main())
