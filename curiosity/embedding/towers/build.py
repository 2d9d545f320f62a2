"""From a tower's specification to the tower. Imports torch."""

from importlib import import_module

from curiosity.embedding.tower_spec import Source, TowerSpec
from curiosity.embedding.towers.base import Tower
from curiosity.protocol.errors import ConfigError


def build_tower(spec: TowerSpec, dim: int, pretrained: Source = False) -> Tower:
    """Return the tower of a specification for a space of ``dim`` dimensions, from seeded or from published weights.

    Raises:
        ConfigError: WEIGHTS_NOT_DECLARED or WEIGHTS_NOT_TAKEN.
        CheckpointError: what loading the weights raises.
    """
    module, _, name = spec.tower.partition(":")
    made: type[Tower] = getattr(import_module(module), name)
    chosen = spec.choose(pretrained)
    if spec.weights is not None and spec.weights.package:
        built = made(dim, **spec.options)
        built.weights = spec.weights  # in place already, whatever is asked for
        return built
    if chosen is None:
        return made(dim, **spec.options)
    if not made.takes_weights:
        raise ConfigError(
            "WEIGHTS_NOT_TAKEN",
            f"{name} is trained from scratch and takes no published weights, got {chosen.name}",
            "Leave this modality out of `pretrained`.",
        )
    return made(dim, **spec.options, weights=chosen)
