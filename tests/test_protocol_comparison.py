"""A checkpoint that is worse than its parent on held-out material is told by what its manifest says of both."""

from typing import Any

import pytest

from curiosity.protocol.comparison import check_comparison, find_falls, read_shares, take_higher
from curiosity.protocol.errors import CheckpointError

JUDGED = ("audio-image", "image-text")


def recall(**changed: int) -> dict[str, Any]:
    """Full recall in the four directions of the judged pairs but where ``changed`` (``audio_image``) gives another."""
    names = ("audio-image", "image-audio", "image-text", "text-image")
    shares = {name: changed.get(name.replace("-", "_"), 1_000_000) for name in names}
    return {"digits": {name: {"r1_micro": share, "r10_micro": 1_000_000} for name, share in shares.items()}}


def code_of(evaluation: Any, of_parent: Any = None) -> str:
    try:
        check_comparison(evaluation, JUDGED, of_parent or {})
    except CheckpointError as error:
        return f"{error.code}: {error.what}"
    return "taken"


@pytest.mark.parametrize(("share", "taken"), [(1_000_000, True), (950_000, True), (949_999, False), (900_000, False)])
def test_five_points_are_allowed_and_no_more(share: int, taken: bool) -> None:
    answer = code_of({"recall": recall(audio_image=share), "parent": {"recall": recall()}})
    assert (answer == "taken") is taken
    assert taken or answer.startswith("CHECKPOINT_WORSE: recall at 1 of digits audio-image fell from 100.0 to ")


def test_a_child_may_be_better_and_know_more() -> None:
    more = recall()
    more["emoji"] = {"text-audio": {"r1_micro": 1, "r10_micro": 2}}
    assert code_of({"recall": more, "parent": {"recall": recall(text_image=0, audio_image=10)}}) == "taken"


def test_recall_at_ten_counts_too_and_the_deepest_fall_comes_first() -> None:
    child = recall(audio_image=900_000)
    child["digits"]["text-image"]["r10_micro"] = 400_000
    falls = find_falls(read_shares(recall()), read_shares(child))
    assert [(fall.direction, fall.measure, fall.points) for fall in falls] == [
        ("text-image", "at 10", 60.0),
        ("audio-image", "at 1", 10.0),
    ]
    assert find_falls(read_shares(recall()), read_shares(child), most_micro=600_000) == []


def without(name: str) -> dict[str, Any]:
    left = recall()
    del left["digits"][name]
    return left


@pytest.mark.parametrize(
    "evaluation",
    [
        {},
        {"recall": recall()},
        {"recall": recall(), "parent": None},
        {"recall": recall(), "parent": {}},
        {"recall": recall(), "parent": {"recall": {}}},
        {"recall": recall(), "parent": {"recall": without("image-audio")}},  # judged and not compared
        {"recall": without("image-audio"), "parent": {"recall": recall()}},  # forgotten on the way
        {"recall": {"digits": 1}, "parent": {"recall": recall()}},
        {"recall": recall(audio_image="high"), "parent": {"recall": recall()}},  # type: ignore[arg-type]
        {"recall": recall(audio_image=True), "parent": {"recall": recall()}},
        {"recall": recall(audio_image=1_000_001), "parent": {"recall": recall()}},
        {"recall": recall(), "parent": {"recall": {"digits": {"audio-image": []}}}},
    ],
)
def test_a_checkpoint_of_which_nothing_can_be_told_is_refused(evaluation: dict[str, Any]) -> None:
    assert code_of(evaluation).startswith("CHECKPOINT_NOT_COMPARED: nothing shows that it is no worse than its parent")


def test_a_child_is_compared_wherever_its_parent_was_evaluated() -> None:
    """A child that was compared on emoji only, and finds no digit at all, says nothing of digits."""
    emoji = {"emoji": recall(audio_image=500_000)["digits"]}
    child = {"recall": emoji, "parent": {"recall": emoji}}
    both = {"recall": emoji | recall()}
    assert code_of(child, {}) == "taken"  # the other arm: by its own manifest alone it is as good as its parent
    assert "where its parent was evaluated: digits audio-image, " in code_of(child, both)
    blind = emoji | {"digits": recall()["digits"] | recall(audio_image=0)["digits"]}
    assert code_of({"recall": blind, "parent": {"recall": emoji}}, {}) == "taken"
    assert code_of({"recall": blind, "parent": {"recall": emoji}}, both).startswith(
        "CHECKPOINT_WORSE: recall at 1 of d"
    )
    unmeasured = {"recall": emoji | recall(), "parent": {"recall": emoji}}
    assert code_of(unmeasured, both).startswith("CHECKPOINT_NOT_COMPARED")
    assert code_of({"recall": emoji | recall(), "parent": {"recall": emoji | recall()}}, both) == "taken"


def test_of_two_figures_of_a_parent_the_higher_counts() -> None:
    low, high = recall(audio_image=400_000), recall()
    child = {"recall": recall(audio_image=800_000), "parent": {"recall": low}}
    assert code_of(child, {"recall": low}) == "taken"
    assert code_of(child, {"recall": high}).startswith(
        "CHECKPOINT_WORSE: recall at 1 of digits audio-image fell from 100"
    )
    assert code_of(child | {"parent": {"recall": high}}, {"recall": low}).startswith("CHECKPOINT_WORSE")
    assert take_higher(read_shares(low), read_shares(high)) == read_shares(high)


@pytest.mark.parametrize("own", [None, [], {"digits": 1}, {"digits": {"audio-image": {"r1_micro": "1"}}}])
def test_a_parent_whose_own_figures_cannot_be_read_is_not_passed_over(own: Any) -> None:
    same = {"recall": recall(), "parent": {"recall": recall()}}
    assert code_of(same, {"alignment": {}}) == "taken"  # it has none
    assert code_of(same, {"recall": own}).startswith("CHECKPOINT_NOT_COMPARED")
