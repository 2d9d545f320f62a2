"""The command line of the benchmarks: options, errors and exit status; files and tables as they always were."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.command import CACHE, RESULTS, carry_out, make_parser, table, write_report
from benchmarks.read_speech import to_markdown
from curiosity.protocol.errors import ExitCode, SourceError

SORTED = (
    "attacks", "gap", "influence_photos", "judge_checkpoint", "judge_photos_seed3", "offline_seed1", "offline_speed",
    "paid_recall", "read_speech", "rescores", "scoring_emoji_seed1", "typography", "voids",
)  # fmt: skip
IN_ORDER = ("hubs",)
READ = {
    "rows": [{"kind": "names", "pairs": 200, "accepted": 0.5, "held": 0.25, "paid": 0.0, "wrong_accepted": 1 / 3}],
    "epochs": [
        {"read": 100, "others": 0, "undefended": 1.0, "defended": 0.02, "others_undefended": 0, "others_defended": 0}
    ],
}


@pytest.mark.parametrize("name", SORTED)
def test_a_committed_result_is_written_again_byte_for_byte(name: str, tmp_path: Path) -> None:
    before = (RESULTS / f"{name}.json").read_bytes()
    write_report(tmp_path / "made" / "result.json", json.loads(before))
    assert (tmp_path / "made" / "result.json").read_bytes() == before


@pytest.mark.parametrize("name", IN_ORDER)
def test_a_result_that_keeps_the_order_of_its_keys_is_written_again_byte_for_byte(name: str, tmp_path: Path) -> None:
    before = (RESULTS / f"{name}.json").read_bytes()
    write_report(tmp_path / "result.json", json.loads(before), sort_keys=False)
    assert (tmp_path / "result.json").read_bytes() == before
    write_report(tmp_path / "sorted.json", json.loads(before))
    assert (tmp_path / "sorted.json").read_bytes() != before


def test_a_fixed_report_gives_this_file_and_this_print(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = make_parser("read_speech", "What is heard.\n\nMore.").parse_args(["--json", str(tmp_path / "a.json")])
    report: dict[str, Any] = READ
    assert carry_out(given, lambda: report, to_markdown) == ExitCode.OK
    assert capsys.readouterr() == (
        """\
| what is heard | pairs | accepted | held | paid | with another text, accepted |
|---|---|---|---|---|---|
| names | 200 | 0.500 | 0.250 | 0.000 | 0.333 |

| novel pairs read out | others | share without a limit | with it | others get, without | with |
|---|---|---|---|---|---|
| 100 | 0 | 1.0000 | 0.0200 | 0.0000 | 0.0000 |
""",
        "",
    )
    assert (
        (tmp_path / "a.json").read_text()
        == """\
{
 "epochs": [
  {
   "defended": 0.02,
   "others": 0,
   "others_defended": 0,
   "others_undefended": 0,
   "read": 100,
   "undefended": 1.0
  }
 ],
 "rows": [
  {
   "accepted": 0.5,
   "held": 0.25,
   "kind": "names",
   "paid": 0.0,
   "pairs": 200,
   "wrong_accepted": 0.3333333333333333
  }
 ]
}
"""
    )


def test_the_parser_has_the_options_that_a_benchmark_takes(capsys: pytest.CaptureFixture[str]) -> None:
    given = vars(make_parser("one", "First line.\n\nMore.", threads=True).parse_args([]))
    assert given == {"seed": 1, "json": None, "cache": CACHE, "threads": 0}
    few = make_parser("two", "First line.\n\nMore.", seed=False, cache=False)
    assert vars(few.parse_args([])) == {"json": None}
    with pytest.raises(SystemExit):
        few.parse_args(["--help"])
    printed = capsys.readouterr().out
    assert printed.startswith("usage: python -m benchmarks.two ")
    assert "First line." in printed
    assert "More." not in printed


def test_an_error_is_printed_with_its_status_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> object:
        raise SourceError("PAIR_SET_MISSING", "no folder", "Make it.")

    given = make_parser("one", "").parse_args(["--json", str(tmp_path / "a.json")])
    assert carry_out(given, fail, str) == ExitCode.SOURCE
    assert capsys.readouterr() == ("", "PAIR_SET_MISSING: no folder. Make it.\n")
    assert not (tmp_path / "a.json").exists()


def test_a_report_that_is_not_good_is_written_shown_and_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = make_parser("one", "").parse_args(["--json", str(tmp_path / "a.json")])
    write = partial(write_report, indent=2)
    assert carry_out(given, lambda: {"flips": 1}, str, write=write, is_good=lambda found: not found["flips"]) == 1
    assert capsys.readouterr().out == "{'flips': 1}\n"
    assert (tmp_path / "a.json").read_text() == '{\n  "flips": 1\n}\n'
    assert carry_out(given, lambda: {"flips": 0}, lambda _: "", is_good=lambda found: not found["flips"]) == 0
    assert capsys.readouterr().out == ""


def test_threads_are_set_before_anything_is_measured() -> None:
    before = torch.get_num_threads()
    seen: list[int] = []
    try:
        carry_out(
            make_parser("one", "", threads=True).parse_args(["--threads", str(before + 1)]),
            lambda: seen.append(torch.get_num_threads()),
            lambda _: "",
        )
    finally:
        torch.set_num_threads(before)
    assert seen == [before + 1]


def test_a_table_has_a_rule_of_as_many_columns() -> None:
    assert table(["a", "b"], [["1", "2"], ["3", "4"]]) == ["| a | b |", "|---|---|", "| 1 | 2 |", "| 3 | 4 |"]
