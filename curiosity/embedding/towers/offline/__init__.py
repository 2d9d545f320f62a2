"""Towers on published weights that Python packages carry: nothing is downloaded when they run."""
