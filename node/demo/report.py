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
TIMES_CHANCE = {"image-text": 6.0, "audio-text": 8.0, "audio-image": 3.0}
"""What recall at 10 on held-out emoji must reach after the round, as a multiple of chance, by modality pair."""
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
            "emoji: recall at 10 is above that before in every direction",
            all(emoji[name]["r10"] > was[name]["r10"] for name in DIRECTIONS),
        )
        report.check(
            f"emoji: every gallery holds at least {SMALLEST_GALLERY}",
            all(figures["gallery"] >= SMALLEST_GALLERY for figures in emoji.values()),
        )
        for name, figures in emoji.items():
            wanted = TIMES_CHANCE["-".join(sorted(name.split("-")))]
            times = figures["r10"] / figures["chance10"]
            report.check(f"emoji {name}: {times:.1f} times chance at 10, at least {wanted:g}", times >= wanted)
    digits = directions(after["digits"])
    for name, figures in digits.items():
        report.check(f"digits {name}: {100 * figures['r1']:.1f} % at 1, at least 95 %", figures["r1"] >= DIGITS_R1)
