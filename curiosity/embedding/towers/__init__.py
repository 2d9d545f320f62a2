"""Towers: the torch half of a modality. A preset names one for each modality; see ``curiosity/embedding/presets``."""
