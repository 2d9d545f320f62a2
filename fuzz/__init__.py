"""Fuzzing of every parser of the protocol: `python -m fuzz TARGET --seconds N`. Not part of the installed program."""
