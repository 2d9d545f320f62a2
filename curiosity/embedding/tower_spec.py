"""What a preset is made of: published weights, the tower of a modality, the preset. Imports no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curiosity.protocol.errors import ConfigError

OURS = "MIT"  # licence of what this project trains


@dataclass(frozen=True)
class Weights:
    """Published weights that a tower can start from.

    ``name`` is a repository of the Hugging Face hub, a local folder, or (with ``package``) what an installed Python
    package carries; ``licence`` an SPDX identifier; ``source`` the page that states it.
    """

    name: str
    licence: str
    source: str = ""
    package: str = ""

    @property
    def is_permissive(self) -> bool:
        """Whether the licence allows commercial use without asking."""
        return self.licence in PERMISSIVE


PERMISSIVE = frozenset({"MIT", "Apache-2.0", "BSD-3-Clause", "BSD-2-Clause", "ISC", "CC0-1.0", "CC-BY-4.0"})

Source = str | Path | Weights | bool
"""Where a tower's weights come from: True is the preset's own choice, a name or folder, or ``Weights`` with a licence;
False and absence mean seeded random weights."""


@dataclass(frozen=True)
class TowerSpec:
    """One modality's tower in a preset.

    ``tower`` is where its class stands, as ``module:Class``; the class is called with the dimension of the space and
    ``options``. ``encoder`` says what it is, for people. ``weights`` are what ``pretrained=True`` takes, ``opt_in``
    others that fit but whose licence must be chosen knowingly.
    """

    tower: str
    encoder: str
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: Weights | None = None
    opt_in: tuple[Weights, ...] = ()

    def choose(self, pretrained: Source) -> Weights | None:
        """Return the weights that ``pretrained`` means for this tower; None for seeded ones.

        Raises:
            ConfigError: WEIGHTS_NOT_DECLARED, when the preset's own choice is asked for and there is none.
        """
        if pretrained is False:
            return None
        if pretrained is True:
            if self.weights is None:
                others = ", ".join(f"{w.name} ({w.licence})" for w in self.opt_in)
                raise ConfigError(
                    "WEIGHTS_NOT_DECLARED",
                    f"the preset names no permissive weights for {self.tower.partition(':')[2]}",
                    f"Leave the modality out of `pretrained`, or choose by name: {others}."
                    if others
                    else "Leave the modality out of `pretrained`, or give a folder.",
                )
            return self.weights
        if isinstance(pretrained, Weights):
            return pretrained
        known = {w.name: w for w in (self.weights, *self.opt_in) if w is not None}
        return known.get(str(pretrained), Weights(str(pretrained), "unknown: ask whoever made the weights"))


@dataclass(frozen=True)
class Preset:
    """A named choice of towers: ``towers`` maps a modality to its tower, ``dim`` is the dimension of the space."""

    name: str
    dim: int
    towers: Mapping[str, TowerSpec]
    # Rises when the same bytes would give other features: a checkpoint of another version is refused.
    preprocessing: str
