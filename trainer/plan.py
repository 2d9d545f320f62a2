"""The plan of a training: phases from a YAML file, read strictly. What is wrong is named by its path in the file.

The keys and what they mean: docs/training.md.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from curiosity.embedding.modalities import BY_NAME, pair_name
from curiosity.embedding.presets import Preset, find_preset
from curiosity.protocol.errors import ConfigError
from trainer.recipe import Recipe

if TYPE_CHECKING:
    from curiosity.embedding.space import EmbeddingSpace

CONFIGS = Path(__file__).parent / "configs"
TINY = CONFIGS / "tiny.yaml"
SPLITS = ("genesis", "submit")
MISSING = ("skip", "refuse")

_TYPES = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
_RECIPE = {field.name: field.type for field in fields(Recipe) if field.name != "seed"}
_POSITIVE = ("steps", "batch", "learning_rate", "stop_after_s", "junk_pool", "probe_masks", "probe_pool")


@dataclass(frozen=True)
class Phase:
    """One phase of a training plan.

    ``pairs`` are alphabetical names (``image-text``), trained in every step; pairs of earlier phases get the share
    ``replay`` of what is drawn. ``frozen`` and ``unfrozen`` name modalities whose encoder stops or starts learning with
    this phase.
    """

    name: str
    pairs: tuple[str, ...]
    recipe: Recipe
    loss_weights: Mapping[str, float]
    replay: float = 0.25
    frozen: tuple[str, ...] = ()
    unfrozen: tuple[str, ...] = ()

    def freeze(self, space: "EmbeddingSpace") -> None:
        """Let the encoders of the space stop or start learning as this phase says."""
        for modality in self.frozen:
            space.freeze(modality)
        for modality in self.unfrozen:
            space.unfreeze(modality)


@dataclass(frozen=True)
class TrainingPlan:
    """A whole training. ``missing`` says what happens where the data has no pair of a phase: ``skip`` or ``refuse``."""

    preset: str
    seed: int
    phases: tuple[Phase, ...]
    splits: tuple[str, ...] = SPLITS
    missing: str = "refuse"
    pretrained: bool = False
    gradient_checkpointing: bool = False
    publish: bool = True

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that are in some pair, alphabetical."""
        return tuple(sorted({m for phase in self.phases for name in phase.pairs for m in name.split("-")}))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, without the safety stop: it decides nothing that a complete training learns."""
        plain = asdict(self)
        for phase in plain["phases"]:
            phase["recipe"] = {name: value for name, value in phase["recipe"].items() if name != "stop_after_s"}
        return plain

    def with_seed(self, seed: int) -> "TrainingPlan":
        """Return the same plan from another seed."""
        phases = [
            replace(phase, recipe=replace(phase.recipe, seed=_phase_seed(seed, number)))
            for number, phase in enumerate(self.phases)
        ]
        return replace(self, seed=seed, phases=tuple(phases))

    def only(self, present: Sequence[str]) -> "TrainingPlan":
        """Return the plan without pairs that the data does not have; phases without any pair are left out.

        Raises:
            ConfigError: PAIRS_MISSING, when the plan refuses that or nothing would be left.
        """
        absent = [
            f"phases[{number}].pairs: {name}"
            for number, phase in enumerate(self.phases)
            for name in phase.pairs
            if name not in present
        ]
        phases = tuple(
            replace(phase, pairs=tuple(name for name in phase.pairs if name in present))
            for phase in self.phases
            if any(name in present for name in phase.pairs)
        )
        if not phases or (absent and self.missing == "refuse"):
            raise ConfigError(
                "PAIRS_MISSING",
                f"the data has {', '.join(sorted(present)) or 'no pairs'} in {', '.join(self.splits)}; "
                f"not {'; '.join(absent)}",
                "Give the folders of sets that have them, take them out, or set `missing: skip`.",
            )
        return replace(self, phases=phases)


def read_plan(path: Path) -> TrainingPlan:
    """Return the plan in a YAML file.

    Raises:
        ConfigError: CONFIG_NOT_READ, CONFIG_NOT_YAML, or what ``parse_plan`` raises.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("CONFIG_NOT_READ", f"{path}: {error}", "Give the path of a YAML file.") from error
    return parse_plan(text, str(path))


def parse_plan(text: str, source: str = "plan") -> TrainingPlan:
    """Return the plan that a YAML text says.

    Raises:
        ConfigError: CONFIG_NOT_YAML; CONFIG_KEY_UNKNOWN, CONFIG_KEY_MISSING, CONFIG_TYPE, CONFIG_VALUE,
            MODALITY_UNKNOWN, MODALITY_NOT_IN_PRESET or PRESET_UNKNOWN, each with the path of what is wrong.
    """
    try:
        value = _Loader(text).get_single_data()
    except yaml.YAMLError as error:
        raise ConfigError(
            "CONFIG_NOT_YAML", f"{source}: {' '.join(str(error).split())}", "Correct the file at that line."
        ) from error
    return _Reader(source).plan(value)


class _Loader(yaml.SafeLoader):
    """Plain values only, and no key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = [key for number, key in enumerate(keys) if key in keys[:number]]
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} is there twice", node.start_mark)
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found


class _Reader:
    """Values of a plan with their paths, for errors that say where."""

    def __init__(self, source: str) -> None:
        self.source = source

    def plan(self, value: Any) -> TrainingPlan:
        top = self.mapping(
            value,
            "",
            {"preset", "seed", "loss", "precision", "splits", "missing", "pretrained", "gradient_checkpointing"}
            | {"publish", "defaults", "phases"},
        )
        name = self.take(top, "preset", "", str, "tiny")
        try:
            preset = find_preset(name)
        except ConfigError as error:
            raise self.error(error.code, "preset", error.what, error.remedy) from error
        defaults = self.mapping(top.get("defaults", {}), "defaults", {*_RECIPE, "replay"})
        shared = {key: top[key] for key in ("loss", "precision") if key in top}
        for key in shared:
            self.take(top, key, "", str, "")
        given = top.get("phases")
        if not isinstance(given, list) or not given:
            raise self.error("CONFIG_TYPE", "phases", f"{given!r}.", "Give a list with at least one phase")
        seed = self.take(top, "seed", "", int, 0)
        if not 0 <= seed < 2**31:
            raise self.error("CONFIG_VALUE", "seed", f"{seed}.", "Give a seed from 0 to 2147483647")
        phases = tuple(
            self.phase(one, f"phases[{number}]", shared | defaults, preset, _phase_seed(seed, number))
            for number, one in enumerate(given)
        )
        names = [phase.name for phase in phases]
        for number, phase in enumerate(phases):
            if phase.name in names[:number]:
                raise self.error("CONFIG_VALUE", f"phases[{number}].name", f"{phase.name!r} twice.", "Name each once")
        splits = self.texts(top, "splits", "", SPLITS)
        if not splits or not set(splits) <= set(SPLITS):
            remedy = "Train on genesis, submit or both; the others give thresholds and the evaluation"
            raise self.error("CONFIG_VALUE", "splits", f"{list(splits)}.", remedy)
        missing = self.take(top, "missing", "", str, "refuse")
        if missing not in MISSING:
            raise self.error("CONFIG_VALUE", "missing", f"{missing!r}.", f"Use {' or '.join(MISSING)}")
        return TrainingPlan(
            preset=name,
            seed=seed,
            phases=phases,
            splits=splits,
            missing=missing,
            pretrained=self.take(top, "pretrained", "", bool, False),
            gradient_checkpointing=self.take(top, "gradient_checkpointing", "", bool, False),
            publish=self.take(top, "publish", "", bool, True),
        )

    def phase(self, value: Any, path: str, defaults: Mapping[str, Any], preset: Preset, seed: int) -> Phase:
        own = self.mapping(value, path, {"name", "pairs", "replay", "loss_weights", "frozen", "unfrozen", *_RECIPE})
        pairs = tuple(
            self.pair(one, f"{path}.pairs[{number}]", preset) for number, one in enumerate(self.items(own, path))
        )
        for number, pair in enumerate(pairs):
            if pair in pairs[:number]:
                raise self.error("CONFIG_VALUE", f"{path}.pairs[{number}]", f"{pair} twice.", "Name each once")
        weights = self.mapping(own.get("loss_weights", {}), f"{path}.loss_weights", None)
        weighted = {}
        for key in weights:
            pair = self.pair(key, f"{path}.loss_weights.{key}", preset)
            weighted[pair] = self.take(weights, key, f"{path}.loss_weights", float, 1.0)
            if pair not in pairs or weighted[pair] <= 0:
                remedy = "Weigh the pairs of this phase, above 0"
                raise self.error("CONFIG_VALUE", f"{path}.loss_weights.{key}", f"{weighted[pair]}.", remedy)
        settings = {
            name: self.take(own if name in own else defaults, name, path if name in own else "defaults", kind, None)
            for name, kind in _RECIPE.items()
            if name in own or name in defaults
        }
        for name in _POSITIVE:
            if name in settings and settings[name] <= 0:
                raise self.error("CONFIG_VALUE", f"{path}.{name}", f"{settings[name]}.", "Give a number above 0")
        if "steps" not in settings:
            remedy = "Give steps; stop_after_s is only a safety stop"
            raise self.error("CONFIG_KEY_MISSING", f"{path}.steps", "nothing ends the phase.", remedy)
        try:
            recipe = Recipe(**{"seed": seed} | settings)
        except ConfigError as error:
            raise self.error(error.code, path, error.what, error.remedy) from error
        replay = self.take(own if "replay" in own else defaults, "replay", path, float, Phase.replay)
        if not 0 <= replay < 1:
            raise self.error("CONFIG_VALUE", f"{path}.replay", f"{replay}.", "Give a share from 0 to below 1")
        frozen, unfrozen = (self.texts(own, key, path, ()) for key in ("frozen", "unfrozen"))
        for key, names in (("frozen", frozen), ("unfrozen", unfrozen)):
            for number, modality in enumerate(names):
                self.check_modality(modality, f"{path}.{key}[{number}]", preset)
        if set(frozen) & set(unfrozen):
            both = sorted(set(frozen) & set(unfrozen))
            raise self.error("CONFIG_VALUE", f"{path}.frozen", f"{both} are in unfrozen too.", "Choose one of the two")
        name = self.take(own, "name", path, str, None)
        if not name or not all(c.isalnum() or c in "-_" for c in name):
            raise self.error("CONFIG_VALUE", f"{path}.name", f"{name!r}.", "Use letters, digits, - and _")
        return Phase(name, pairs, recipe, weighted, replay, frozen, unfrozen)

    def items(self, own: Mapping[str, Any], path: str) -> list[Any]:
        given = own.get("pairs")
        if not isinstance(given, list) or not given:
            raise self.error("CONFIG_TYPE", f"{path}.pairs", f"{given!r}.", "Give a list such as [text-image]")
        return given

    def pair(self, value: Any, path: str, preset: Preset) -> str:
        """Return the alphabetical name of a pair that is written either way round."""
        halves = value.split("-") if isinstance(value, str) else []
        if len(halves) != 2 or halves[0] == halves[1]:
            remedy = "Name two different modalities, such as text-image"
            raise self.error("CONFIG_VALUE", path, f"{value!r} is not a modality pair.", remedy)
        for modality in halves:
            self.check_modality(modality, path, preset)
        return pair_name(*halves)

    def check_modality(self, modality: str, path: str, preset: Preset) -> None:
        if modality not in BY_NAME:
            remedy = f"Use {', '.join(sorted(BY_NAME))}"
            raise self.error("MODALITY_UNKNOWN", path, f"there is no modality {modality!r}.", remedy)
        if modality not in preset.towers:
            what = f"preset {preset.name} has no tower for {modality!r}"
            remedy = f"It has {', '.join(sorted(preset.towers))}; choose another preset or leave it out"
            raise self.error("MODALITY_NOT_IN_PRESET", path, what, remedy)

    def mapping(self, value: Any, path: str, known: set[str] | None) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.error("CONFIG_TYPE", path, f"{value!r}, expected keys and values.", "See docs/training.md")
        for key in value:
            if not isinstance(key, str) or (known is not None and key not in known):
                where = f"{path}.{key}" if path else str(key)
                remedy = f"Use {', '.join(sorted(known or ()))}"
                raise self.error("CONFIG_KEY_UNKNOWN", where, f"there is no key {key!r}.", remedy)
        return value

    def take(self, found: Mapping[str, Any], key: str, path: str, kind: Any, default: Any) -> Any:
        where = f"{path}.{key}" if path else key
        if key not in found:
            if default is None:
                raise self.error("CONFIG_KEY_MISSING", where, "it is not there.", f"Give {_TYPES[kind]}")
            return default
        value = found[key]
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind or (kind is float and not math.isfinite(value)):
            remedy = f"Give {_TYPES[kind]}"
            if kind is float and isinstance(value, str):
                remedy += "; YAML reads 2e-3 as text, write 2.0e-3"
            raise self.error("CONFIG_TYPE", where, f"{value!r} is not {_TYPES[kind]}.", remedy)
        return value

    def texts(self, found: Mapping[str, Any], key: str, path: str, default: tuple[str, ...]) -> tuple[str, ...]:
        value = found.get(key, list(default))
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            where = f"{path}.{key}" if path else key
            raise self.error("CONFIG_TYPE", where, f"{value!r} is not a list of names.", "Give a list such as [text]")
        return tuple(value)

    def error(self, code: str, path: str, what: str, remedy: str) -> ConfigError:
        return ConfigError(code, f"{self.source}: {path or 'the file'}: {what}", remedy)


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Yield where two plain JSON values differ: ``phases[0].recipe.batch: 32, was 16``."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            yield from differences(one.get(key), other.get(key), f"{path}.{key}" if path else key)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (mine, theirs) in enumerate(zip(one, other, strict=True)):
            yield from differences(mine, theirs, f"{path}[{number}]")
    elif one != other:
        yield f"{path}: {one}, was {other}"


def _phase_seed(seed: int, number: int) -> int:
    """Return the seed of a phase: phases draw differently, and so do neighbouring seeds."""
    return 100 * seed + number
