"""The program of whoever contributes, claims or looks: the command ``curiosity``."""
