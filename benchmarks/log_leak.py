"""What the log tells of a pair's content to whoever guesses: how many candidates fit what an entry shows.

    python -m benchmarks.log_leak [--json FILE]

The dictionary is the set of handwritten digits and their names, written and spoken, under the genesis checkpoints that
come with the program. Each of its pairs is judged as the first after genesis. The attacker knows checkpoint, history
and dictionary, and looks for the pairs that would have been given the same entry: for every novel pair, once by the
verdict as the log shows it, and once by the whole gap and the digests of the embeddings, which an old format showed.
Under a checkpoint with beliefs the verdict tells the belief in fortieths; *unbelieved* counts what fits without it.
"""

import asyncio
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.command import CACHE, carry_out, make_parser, table
from curiosity.embedding.checkpoint import SHIPPED
from curiosity.embedding.modalities import decode
from curiosity.protocol.judgement import Anchors, Judged, judge
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.verdict import told_belief
from curiosity.protocol.wire import encode
from curiosity.serving.embedder import Embedder
from curiosity.sources import load_source
from curiosity.sources.pairset import read_pairs

LIMIT = 12  # of each digit


async def judge_all(limit: int, genesis: Path) -> dict[str, list[Judged]]:
    """Return the judgement about each pair of the dictionary, by modality pair, each against a genesis' history."""
    folder = CACHE / f"digits-{limit}"
    load_source("digits")(folder, limit=limit, cache=CACHE / "speech")
    embedder = Embedder.load(genesis, "cpu")
    anchors = Anchors.from_arrays(embedder.anchors)
    judged: dict[str, list[Judged]] = {}
    for pair in read_pairs(folder):
        if pair.modalities not in embedder.calibration.pairs:
            continue
        embedded = []
        for source in (pair.a, pair.b):
            data = source.read()
            array = decode(source.modality, data, source.media_type)
            embedded.append(await embedder.embed(source.modality, sha256(data).digest(), array))
        one = judge(
            *embedded,
            modalities=pair.modalities,
            checkpoint=embedder.checkpoint,
            calibration=embedder.calibration,
            anchors=anchors,
            history=Neighbours(anchors.history[pair.modalities]),
        )
        told = replace(one.verdict, belief=told_belief(one.measurement))
        judged.setdefault(pair.modalities, []).append(replace(one, verdict=told))
    embedder.close()
    return judged


def count_fits(judged: Sequence[Judged]) -> dict[str, Any]:
    """Return how many of the candidates fit a novel pair's entry: the median and the fewest, for both formats."""
    public = Counter(encode(one.verdict) for one in judged)
    unbelieved = Counter(encode(replace(one.verdict, belief=None)) for one in judged)
    plain = Counter(encode(one.measurement) + repr(one.gap).encode() for one in judged)
    novel = [one for one in judged if one.verdict.novel]
    by_verdict = [public[encode(one.verdict)] for one in novel]
    by_measurement = [plain[encode(one.measurement) + repr(one.gap).encode()] for one in novel]
    by_rest = [unbelieved[encode(replace(one.verdict, belief=None))] for one in novel]
    return {
        "candidates": len(judged),
        "novel": len(novel),
        "scores": len({one.verdict.curiosity_micro for one in novel}),
        "fit_verdict_median": statistics.median(by_verdict),
        "fit_verdict_fewest": min(by_verdict),
        "fit_unbelieved_median": statistics.median(by_rest),
        "fit_measurement_median": statistics.median(by_measurement),
    }


def run(limit: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the counts by genesis and modality pair."""
    return {
        name: {pair: count_fits(judged) for pair, judged in sorted(asyncio.run(judge_all(limit, folder)).items())}
        for name, folder in SHIPPED.items()
    }


def show(report: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Return the counts as a table."""
    rows = [(name, pair, row) for name, pairs in report.items() for pair, row in pairs.items()]
    head = ["genesis", "pair", *(next(iter(rows))[2] if rows else ())]
    return "\n".join(table(head, ([name, pair, *map(str, row.values())] for name, pair, row in rows)))


def main() -> int:
    """Measure, print a table, write JSON if asked."""
    given = make_parser("log_leak", __doc__ or "", seed=False, cache=False).parse_args()
    return carry_out(given, lambda: run(LIMIT), show)


if __name__ == "__main__":
    sys.exit(main())
