"""A judge that says something else than its numbers give."""

from dataclasses import replace
from typing import Any

import pytest

from curiosity.protocol import judgement
from curiosity.protocol.judgement import Opinion


def lie(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """From now on the judge says something else than its numbers give."""
    honest = judgement.opine

    def opine(*args: Any, **kwargs: Any) -> Opinion:
        opinion = honest(*args, **kwargs)
        measured = replace(opinion.measurement, **{k: v for k, v in changes.items() if k.endswith("_micro")})
        outcome = {k: v for k, v in changes.items() if not k.endswith("_micro")}
        return replace(opinion, measurement=measured, **outcome)

    monkeypatch.setattr("curiosity.serving.judge.opine", opine)
