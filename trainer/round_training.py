"""One training round: accepted pairs and a parent checkpoint in, a new checkpoint out.

Where the safety stop ended the training ``complete`` is false and the exit status 14: the checkpoint is there, but it
is not what the steps would have made.
``worse`` names the directions in which the child finds more than five points less than its parent; the exit status is
then 9, as for a child near chance, and validators do not switch to it unless they are forced. So it is where
``uncompared`` names sets and directions in which the parent was evaluated and the child was not. No earlier state of
the training is kept as a better child: ``recommended`` is the parent then, ``problem`` says why, ``remedy`` what to do,
and one line on standard error says all three.
"""

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from curiosity.embedding.checkpoint import LedgerRange, load
from curiosity.embedding.retrieval import Recall
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.embedding.weights import read_space
from curiosity.protocol.comparison import Fall, find_falls, find_missing, read_shares, take_higher
from curiosity.protocol.errors import ExitCode
from trainer.calibrate import calibrate
from trainer.evaluation import Recalls, evaluate, survey, to_json, to_micro
from trainer.feed import FedPair, LedgerSlice, read_trusted
from trainer.held_out import HeldOut
from trainer.library import Library, Prepared
from trainer.mirror import read_mirror
from trainer.progressive import Interrupted
from trainer.publish import describe_licenses, describe_recipe, describe_trusted, pairs_root, publish
from trainer.recipe import ROUND_RECIPE, Recipe
from trainer.train import train

RoundProgress = Callable[[str, int, int, float | None], None]
"""Called as (what is being done, done, total, loss while training)."""

REPLAY_SHARE = 0.1  # at least this share of what is drawn comes from the trusted pairs, so that they do not fade


@dataclass(frozen=True)
class RoundResult:
    """What a round made. ``before`` and ``after`` are held-out recall by set and direction, of parent and child.

    ``complete`` is false when the safety stop ended the training before ``of_steps`` steps.
    """

    path: Path
    digest: str
    parent: str
    parent_path: Path
    fit: bool  # whether the child finds clearly more than chance
    pairs: int
    refused: tuple[str, ...]  # accepted pairs whose items could not be decoded here: digest and code
    complete: bool
    steps: int
    of_steps: int
    loss: float
    seconds: dict[str, float]
    cpu_s: float
    before: dict[str, dict[str, Recall]]
    after: dict[str, dict[str, Recall]]
    falls: tuple[Fall, ...]  # directions in which the child is worse than its parent by more than validators allow
    uncompared: tuple[str, ...]  # sets and directions in which the parent was evaluated once and the child was not

    @property
    def exit_code(self) -> ExitCode:
        """What the command ends with: INCOMPLETE, CHECKPOINT (near chance, or worse than its parent) or OK."""
        if not self.complete:
            return ExitCode.INCOMPLETE
        return ExitCode.CHECKPOINT if self.problem else ExitCode.OK

    @property
    def problem(self) -> str:
        """Why the parent stays the checkpoint to use; empty if the child is."""
        if not self.complete:
            return f"the safety stop ended the training after {self.steps} of {self.of_steps} steps"
        return "; ".join(
            filter(
                None,
                (
                    "" if self.fit else "on held-out pairs the child is near chance",
                    _name_first("the child is worse than its parent: ", [str(fall) for fall in self.falls]),
                    _name_first("the child was not compared where its parent was evaluated: ", self.uncompared),
                ),
            )
        )

    @property
    def remedy(self) -> str:
        """What to do about the problem; empty if there is none."""
        if not self.problem:
            return ""
        how = "a later --stop-after-s" if not self.complete else "more --steps, another --seed or more accepted pairs"
        if self.complete and self.fit and not self.falls:
            how = "every set that it was evaluated on as --trusted"
        return f"Keep the parent, {self.parent_path}, and train from it again with {how}."

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        digest, path = (self.parent, self.parent_path) if self.problem else (self.digest, self.path)
        plain = {name: value for name, value in vars(self).items() if name != "falls"}
        plain |= {"path": str(self.path), "refused": list(self.refused), "uncompared": list(self.uncompared)}
        worse = {
            "parent_path": str(self.parent_path),
            "worse": [str(fall) for fall in self.falls],
            "problem": self.problem,
            "remedy": self.remedy,
            "recommended": {"digest": digest, "path": str(path)},
        }
        return plain | worse | {"before": to_json(self.before), "after": to_json(self.after)}


def run(
    parent: Path,
    pairs: Sequence[FedPair],
    trusted: Sequence[Path],
    out: Path,
    *,
    ledger: LedgerSlice,
    beliefs: bool = False,
    recipe: Recipe = ROUND_RECIPE,
    progress: RoundProgress | None = None,
    command: str = "python -m trainer.round",
) -> RoundResult:
    """Train from ``parent`` on the accepted ``pairs`` with replay, calibrate, evaluate, write the folder ``out``.

    ``trusted`` are the folders of trusted pair sets: their split ``genesis`` is replayed, ``calibration`` gives the
    thresholds, ``held-out`` the evaluation. What is replayed passes the filter of licences in ``ledger`` too; what only
    measures need not. Modalities that the parent lacks get a new tower of its preset; pairs of
    modalities that the preset has no tower for are left out, and named when they were accepted.

    Raises:
        CheckpointError: when the parent does not verify or the child cannot be written.
        SourceError: when a pair set or an item is missing or differs.
    """
    tell = progress or (lambda *_: None)
    clock, cpu = _Clock(), time.process_time()
    checkpoint = load(parent)
    space = read_space(checkpoint, pick_device())
    pairs, refused = extend(space, pairs, recipe.seed)
    known, _ = extend(space, read_trusted(trusted, ["genesis", "calibration"]), recipe.seed)
    held_out, _ = extend(space, read_trusted(trusted, ["held-out"]), recipe.seed)
    voices = {pair.voice for pair in known if pair.voice}
    replayed = [pair for pair in known if pair.split == "genesis" and ledger.licenses.permits(pair.license)]
    names = checkpoint.manifest.trained_pairs() | {pair.name for pair in [*pairs, *replayed]}
    tell("evaluate", 0, 2, None)
    prepared: Prepared = {}
    before = evaluate(space, held_out, trained=names, known_voices=voices, prepared=prepared)
    clock.stop("evaluate_before")
    library = Library(space, prepared)
    usable = library.add(pairs, lambda what, done, total: tell(what, done, total, None))
    replay = library.add(replayed)
    clock.stop("prepare")
    done = train(
        space,
        library,
        library.streams(usable, replay, REPLAY_SHARE),
        recipe,
        lambda step, steps, loss: tell("train", step, steps, loss),
    )
    clock.stop("train")
    tell("calibrate", 0, 1, None)
    believes = beliefs or bool(checkpoint.calibration.beliefs)
    calibration, anchors = calibrate(space, known, prepared=prepared, believes=believes)
    clock.stop("calibrate")
    tell("evaluate", 1, 2, None)
    held = HeldOut(space, held_out, prepared)
    after = evaluate(space, held, trained=names, known_voices=voices)
    surveys = survey(space, held, medians=calibration.median_loss_micro, anchors=anchors)
    falls, uncompared = compare(before, after, checkpoint.manifest.evaluation)
    clock.stop("evaluate_after")
    made = publish(
        out,
        space,
        calibration=calibration,
        anchors=anchors,
        recall=after,
        before=before,
        falls=falls,
        surveys=surveys,
        recipe=describe_recipe(recipe, done.steps),
        data=describe_trusted(replay, [pair for pair in known if pair.split == "calibration"], usable)
        | {"trained": sorted(names), "takedowns": list(ledger.takedowns)}
        | {"generated": sum(pair.generated for pair in usable)}
        | {"pair_licenses": describe_licenses(ledger, usable, replay)},
        parent=checkpoint.digest,
        ledger=LedgerRange(
            ledger.origin, ledger.first, ledger.size, ledger.ledger_root, pairs_root(usable), len(usable)
        ),
        command=command,
    )
    clock.stop("publish")
    return RoundResult(
        path=out,
        digest=made.digest,
        parent=checkpoint.digest,
        parent_path=parent,
        fit=bool(made.manifest.data["fit"]),
        pairs=len(usable),
        refused=(*refused, *library.refused),
        complete=done.is_complete,
        steps=done.steps,
        of_steps=done.of_steps,
        loss=done.loss,
        seconds=clock.seconds,
        cpu_s=round(time.process_time() - cpu, 2),
        before=before,
        after=after,
        falls=falls,
        uncompared=uncompared,
    )


def compare(before: Recalls, after: Recalls, of_parent: Mapping[str, Any]) -> tuple[tuple[Fall, ...], tuple[str, ...]]:
    """Return where the child is worse than its parent, and where it was not compared and its parent was evaluated.

    ``before`` is what was measured of the parent here, ``of_parent`` the evaluation of its own manifest. As a validator
    compares them (`curiosity.protocol.comparison.check_comparison`).
    """
    shares = read_shares(to_micro(after))
    least = take_higher(read_shares(to_micro(before)), read_shares(of_parent.get("recall", {})))
    return tuple(find_falls({key: least[key] for key in least if key in shares}, shares)), tuple(
        find_missing(least, shares)
    )


def _name_first(what: str, found: Sequence[str]) -> str:
    """Say ``what`` of the first three; nothing where there are none."""
    more = f", and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{what}{', '.join(found[:3])}{more}" if found else ""


def extend(space: EmbeddingSpace, pairs: Sequence[FedPair], seed: int) -> tuple[list[FedPair], list[str]]:
    """Register the modalities of ``pairs`` that ``space`` lacks and its preset has a tower for.

    Returns the pairs that the space can then embed, and of the others the digest and a code. Towers that were there
    keep their weights bit for bit.
    """
    wanted = {item.modality for pair in pairs for item in (pair.a, pair.b)}
    for modality in sorted(wanted - set(space.modalities)):
        if modality in space.preset.towers:
            space.register(modality, seed=seed)
    space.to(space.device)
    kept, refused = [], []
    for pair in pairs:
        if {pair.a.modality, pair.b.modality} <= set(space.modalities):
            kept.append(pair)
        else:
            refused.append(f"{pair.digest.hex()}: MODALITY_NOT_IN_PRESET")
    return kept, refused


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def stop(self, step: str) -> None:
        now = time.monotonic()
        self.seconds[step] = round(now - self._last, 2)
        self._last = now


def command(
    parent: Path,
    ledger: Path,
    trusted: Sequence[Path],
    out: Path,
    steps: int,
    stop_after_s: float,
    seed: int,
    threads: int,
    beliefs: bool,
    licenses: Sequence[str],
    without_generated: bool,
) -> int:
    """Train as the command asks for and print one event a line; returns the exit status.

    Raises:
        CuriosityError: As `run` and `trainer.mirror.read_mirror`; `Interrupted`, of which nothing is kept.
    """
    if threads:
        torch.set_num_threads(threads)

    def tell(what: str, done: int, total: int, loss: float | None) -> None:
        _print({"event": "progress", "what": what, "done": done, "total": total} | ({"loss": loss} if loss else {}))

    try:
        covered, pairs = read_mirror(ledger, licenses=licenses)
        if without_generated:
            pairs = [pair for pair in pairs if not pair.generated]
        result = run(
            parent,
            pairs,
            list(trusted),
            out,
            ledger=covered,
            beliefs=beliefs,
            recipe=replace(ROUND_RECIPE, steps=steps, stop_after_s=stop_after_s, seed=seed),
            progress=tell,
            command="python -m trainer.round --parent DIR --ledger DIR --trusted DIR --out DIR "
            f"--steps {steps} --seed {seed}"
            + (" --beliefs" if beliefs else "")
            + "".join(f" --license {one}" for one in licenses)
            + (" --without-generated" if without_generated else ""),
        )
    except KeyboardInterrupt:
        what = "the training was interrupted; nothing of it is kept"
        raise Interrupted("INTERRUPTED", what, "Run the same command again.") from None
    _print({"event": "done", **result.to_json()})
    if result.problem:
        print(f"NOT RECOMMENDED: {result.problem}. {result.remedy}", file=sys.stderr, flush=True)
    return result.exit_code


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)  # the command's output is its interface
