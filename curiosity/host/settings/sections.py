"""The sections of the settings file, and which of them a role needs."""

from typing import Final

from curiosity.host.settings.chain import ChainSettings
from curiosity.host.settings.node import NodeSettings
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.host.settings.witness import WitnessConfig

Section = type[NodeSettings] | type[ValidatorConfig] | type[WitnessConfig] | type[ChainSettings]

SECTIONS: Final[dict[str, Section | None]] = {
    "node": NodeSettings,
    "validator": ValidatorConfig,
    "trainer": None,
    "witness": WitnessConfig,
    "chain": ChainSettings,
}
"""Every section; None for one that is reserved and has no settings: the trainer's programs take options only."""

ROLES: Final = {
    "contributor": ("node", "chain"),
    "validator": ("validator", "chain"),
    "witness": ("witness",),
    "trainer": ("node", "trainer"),
}
"""The sections that each role reads. A trainer copies a ledger with `curiosity ledger mirror`, which reads [node]."""
