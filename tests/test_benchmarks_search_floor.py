"""The benchmark of the floor of searches: its whole way on the pairs that the shipped checkpoint pins."""

import numpy as np

from benchmarks.search_floor import Found, Hit, Pair, fill, measure, shares_of, to_markdown, told_and_true
from curiosity.embedding.checkpoint import SHIPPED, load
from curiosity.protocol.scoring import pulls_micro, undo_cross_average

RIGHT, WRONG = Hit(True, 950_000, 300_000), Hit(False, 900_000, 100_000)


def test_kept_and_false_count_searches_and_not_hits() -> None:
    found = Found([[WRONG, RIGHT], [WRONG], [RIGHT], []], [[WRONG, WRONG], [], [Hit(False, 990_000, None)], [WRONG]])
    assert shares_of(found, 200_000) == {"kept": 0.5, "false": 0.0}
    assert shares_of(found, 50_000) == {"kept": 0.5, "false": 0.5}
    assert shares_of(found, 920_000, by_belief=True) == {"kept": 0.5, "false": 0.0}
    assert told_and_true([found]) == [
        {"hits": 2, "told": 0.1, "true": 0.0},
        {"hits": 2, "told": 0.3, "true": 1.0},
    ]


def test_the_whole_way_on_pinned_pairs() -> None:
    checkpoint = load(SHIPPED["offline"])
    medians = checkpoint.calibration.median_loss_micro
    pulls = pulls_micro(medians["image"], medians["text"])
    pairs = []
    for i, point in enumerate(checkpoint.anchors["history/image-text"][:60]):
        a, b = np.split(point, 2)
        image, text = undo_cross_average(a, b, *pulls)
        pairs.append(Pair("emoji" if i % 2 else "digits", frozenset({f"word{i}"}), {"image": image, "text": text}))
    chosen = fill(pairs, "emoji", "image", 40, np.random.default_rng(1))
    assert len(set(chosen)) == 40
    assert sum(pairs[i].set == "emoji" for i in chosen) == 20
    report = measure(checkpoint, pairs, [40], 1) | {"checkpoint": checkpoint.digest, "seed": 1}
    assert len(report["rows"]) == 4
    for row in report["rows"]:
        now = row["floors"]["0.10"]
        assert now["false"] <= 0.3 < 0.7 < row["half"]["false"]
        assert 0 < now["kept"] <= row["half"]["kept"] <= row["recall"]
    assert "| emoji | text to image | 40 |" in to_markdown(report)
