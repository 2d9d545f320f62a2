"""The demo's figures: shown step by step, and written as demo.json."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from node.screen import Screen

DIRECTIONS = ("text-image", "image-text", "text-audio", "audio-text", "image-audio", "audio-image")
LEARNED = {"image-text": 1.0, "audio-text": 8.0, "audio-image": 1.5}
"""By how many points recall at 10 on held-out emoji must rise in the round, mean of both ways, by modality pair."""
WORST_POINTS = 2.0  # that one way may lose of it
DIGITS_R1 = 0.95
SMALLEST_GALLERY = 200
SHOWN = ("r1", "r10", "gallery", "chance10")


@dataclass
class Report:
    """What the demo found, filled in step by step."""

    screen: Screen
    figures: dict[str, Any] = field(default_factory=dict)
    checks: dict[str, bool] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    _number: int = 0

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[None]:
        """Show one numbered step and time it."""
        self._number += 1
        self.screen.say(f"\n{self._number}. {title}")
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 2)
        self.screen.say(f"   {self.seconds[name]:.1f} s")

    def check(self, name: str, holds: bool) -> None:
        """Note whether something that must hold does."""
        self.checks[name] = holds
        self.screen.say(f"   {'holds' if holds else 'DOES NOT HOLD'}: {name}")

    @property
    def failed(self) -> list[str]:
        """What should hold and does not."""
        return [name for name, holds in self.checks.items() if not holds]

    def write(self, path: Path) -> dict[str, Any]:
        """Write demo.json and return its content."""
        content = {
            **self.figures,
            "checks": self.checks,
            "seconds": self.seconds | {"total": round(sum(self.seconds.values()), 2)},
            "versions": versions(),
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        return content


def versions() -> dict[str, str]:
    """Return the versions that figures depend on."""
    import platform

    names = ("curiosity", "torch", "numpy", "web3", "sqlalchemy", "transformers", "aiohttp", "pysqlite3")
    return {"python": platform.python_version()} | {name: version(name) for name in names}


def directions(recall: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the figures of the six directions as demo.json holds them."""
    return {name: {key: recall[name][key] for key in SHOWN} for name in DIRECTIONS if name in recall}


def recall_rows(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return a table: direction, recall at 1 and 10 before and after, chance, gallery."""
    return [
        (
            name,
            f"{100 * before[name]['r1']:.1f} -> {100 * after[name]['r1']:.1f} %",
            f"{100 * before[name]['r10']:.1f} -> {100 * after[name]['r10']:.1f} %",
            f"{100 * after[name]['chance10']:.1f} %",
            str(after[name]["gallery"]),
        )
        for name in after
    ]


def check_recall(report: Report, before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> None:
    """Check what the round must reach on held-out material."""
    if "emoji" in after:
        emoji, was = directions(after["emoji"]), directions(before["emoji"])
        report.check(
            f"emoji: every gallery holds at least {SMALLEST_GALLERY}",
            all(figures["gallery"] >= SMALLEST_GALLERY for figures in emoji.values()),
        )
        for pair, least in LEARNED.items():
            ways = _both_ways(pair)
            old, new, chance = (
                sum(some[way][name] for way in ways) / 2
                for some, name in ((was, "r10"), (emoji, "r10"), (emoji, "chance10"))
            )
            report.check(
                f"emoji {pair}: recall at 10, mean of both ways, {100 * old:.1f} -> {100 * new:.1f} % "
                f"({new / chance:.1f} times chance), at least {least:g} points more",
                100 * (new - old) >= least,
            )
        report.check(
            f"emoji: no way loses over {WORST_POINTS:g} points of recall at 10",
            all(100 * (emoji[way]["r10"] - was[way]["r10"]) >= -WORST_POINTS for way in DIRECTIONS),
        )
    digits = directions(after["digits"])
    for name, figures in digits.items():
        report.check(f"digits {name}: {100 * figures['r1']:.1f} % at 1, at least 95 %", figures["r1"] >= DIGITS_R1)


def _both_ways(pair: str) -> tuple[str, str]:
    one, other = pair.split("-")
    return pair, f"{other}-{one}"
