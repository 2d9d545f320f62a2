"""Towers: the torch half of a modality. A preset names one tower for each modality; see ``curiosity/embedding/presets``."""
