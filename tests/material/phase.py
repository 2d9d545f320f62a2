"""Material for trainings in phases: a plan of two short phases, and the streams of a set."""

from pathlib import Path

from curiosity.embedding.space import EmbeddingSpace
from trainer.feed import read_trusted
from trainer.library import Library, Stream
from trainer.plan import TrainingPlan, parse_plan

PLAN = """
preset: tiny
seed: 3
defaults: {batch: 24, learning_rate: 2.0e-3, junk_each: 6, junk_pool: 6, clip_norm: 10}
phases:
  - {name: seen, pairs: [text-image], steps: 25}
  - {name: heard, pairs: [text-audio], steps: 25, replay: 0.4}
"""
SHORT_PLAN = PLAN.replace("steps: 25", "steps: 6") + "publish: false\n"


def read_streams(folder: Path) -> tuple[EmbeddingSpace, Library, list[Stream]]:
    """A fresh space, and the training pairs of a set in it."""
    space = EmbeddingSpace("tiny", seed=1, modalities=["audio", "image", "text"])
    library = Library(space)
    return space, library, library.streams(library.add(read_trusted([folder], ["genesis"])))


def short_plan() -> TrainingPlan:
    return parse_plan(SHORT_PLAN)
