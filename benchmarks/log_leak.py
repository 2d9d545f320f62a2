"""What the log tells of a pair's content to whoever guesses: how many candidates fit what an entry shows.

    python -m benchmarks.log_leak [--json FILE]

The dictionary is the set of handwritten digits and their names, written and spoken, under the genesis checkpoint. Each
of its pairs is judged as the first after genesis. The attacker knows checkpoint, history and dictionary, and looks for
the pairs that would have been given the same entry: for every novel pair, once by the verdict as the log shows it, and
once by the whole gap and the digests of the embeddings, which the format before this one showed too.
"""

import argparse
import asyncio
import json
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from curiosity.embedding.checkpoint import GENESIS
from curiosity.embedding.modalities import decode
from curiosity.protocol.judgement import Anchors, Judged, judge
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.wire import encode
from curiosity.serving.embedder import Embedder
from curiosity.sources import load_source
from curiosity.sources.pairset import read_pairs

CACHE = Path(__file__).parent.parent / ".cache" / "benchmarks"
LIMIT = 12  # of each digit


async def judge_all(limit: int) -> dict[str, list[Judged]]:
    """Return the judgement about each pair of the dictionary, by modality pair, each against genesis' history."""
    folder = CACHE / f"digits-{limit}"
    load_source("digits")(folder, limit=limit, cache=CACHE / "speech")
    embedder = Embedder.load(GENESIS, "cpu")
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
        judged.setdefault(pair.modalities, []).append(
            judge(
                *embedded,
                modalities=pair.modalities,
                checkpoint=embedder.checkpoint,
                calibration=embedder.calibration,
                anchors=anchors,
                history=Neighbours(anchors.history[pair.modalities]),
            )
        )
    embedder.close()
    return judged


def count_fits(judged: Sequence[Judged]) -> dict[str, Any]:
    """Return how many of the candidates fit a novel pair's entry: the median and the fewest, for both formats."""
    public = Counter(encode(one.verdict) for one in judged)
    plain = Counter(encode(one.measurement) + repr(one.gap).encode() for one in judged)
    novel = [one for one in judged if one.verdict.novel]
    by_verdict = [public[encode(one.verdict)] for one in novel]
    by_measurement = [plain[encode(one.measurement) + repr(one.gap).encode()] for one in novel]
    return {
        "candidates": len(judged),
        "novel": len(novel),
        "scores": len({one.verdict.curiosity_micro for one in novel}),
        "fit_verdict_median": statistics.median(by_verdict),
        "fit_verdict_fewest": min(by_verdict),
        "fit_measurement_median": statistics.median(by_measurement),
    }


def main() -> int:
    """Measure, print a table, write JSON if asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.log_leak")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    result = {name: count_fits(judged) for name, judged in sorted(asyncio.run(judge_all(LIMIT)).items())}
    for name, row in result.items():
        print(f"{name}: {', '.join(f'{key} {value}' for key, value in row.items())}")
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
