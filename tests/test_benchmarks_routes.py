"""The committed table of what routes cost covers every route, and none costs more than is promised."""

import json
import re
from pathlib import Path

from benchmarks.dear import growing
from benchmarks.routes import MOST_CPU_S_PER_MB, largest_within
from curiosity.embedding.work import Budget, measure
from curiosity.host.settings.validator import ValidatorConfig
from validator.routes import ROUTES

FIGURES = Path(__file__).parent.parent / "benchmarks" / "results"


def test_every_route_was_measured_and_none_costs_more_than_is_promised() -> None:
    figures = json.loads((FIGURES / "routes.json").read_text())
    measured = {row["route"] for row in figures["rows"]}
    for operation, _ in ROUTES:
        path = operation.path.replace("{path}", "{rest}/{rest}")
        pattern = re.compile(f"{operation.method} " + re.sub(r"\\{\w+\\}", "[^?]+", re.escape(path)))
        assert any(pattern.fullmatch(route) for route in measured), f"{operation.method} {operation.path}"
    attacks = [row for row in figures["rows"] if row["cpu_s_per_mb_beyond_three_honest"] is not None]
    assert {row["route"] for row in attacks} == measured
    assert all(row["cpu_s_per_mb_beyond_three_honest"] <= MOST_CPU_S_PER_MB for row in attacks)
    without = json.loads((FIGURES / "routes_no_defence.json").read_text())
    assert without["worst_cpu_s_per_mb"] > MOST_CPU_S_PER_MB  # the other arm


def test_the_dearest_that_a_budget_allows_is_found_and_what_grows_on_is_refused() -> None:
    budget = Budget(*ValidatorConfig().search_budget)
    modality, media_type, make, most = growing()["bilevel PNG"]
    within = largest_within(budget, modality, media_type, make, most)
    assert 0.9 * budget.base < measure(modality, within, media_type) <= budget.units(len(within))
    assert measure(modality, make(most), media_type) > budget.units(len(make(most)))
