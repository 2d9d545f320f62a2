"""Whether verdicts about real pairs can be repeated: ``curiosity rescore --sample`` against a running validator.

    python -m benchmarks.rescores [--sample 100] [--seed N] [--json FILE]

For each genesis checkpoint that comes with the program a validator judges pairs of photos, clipart, emoji, digits and
sounds. The command then repeats so many accepted pairs, drawn by the ledger's root, in a process of its own: it fetches
the checkpoint and the items over HTTP. Its exit status is 1 where one does not agree.
"""

import asyncio
import json
import os
import secrets
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.command import carry_out, make_parser
from benchmarks.judge import MAKERS, MODALITIES
from curiosity.client.client import ValidatorClient
from curiosity.embedding.checkpoint import SHIPPED
from curiosity.host.settings.chain import ChainSettings
from curiosity.host.settings.validator import ValidatorConfig
from curiosity.protocol.pair import Item, sign_pair
from curiosity.sources.pairset import SourcePair, read_pairs
from validator.app import build, listen
from validator.config import ServiceSettings

COUNTS: Final[Mapping[str, int]] = {"photos": 60, "clipart": 40, "emoji": 40, "digits": 60, "sounds": 30}
_KEY: Final = b"\x11" * 32
_LICENSE: Final = "CC0-1.0"  # the ledger ends with this process


async def repeat(
    genesis: Path, pairs: Sequence[SourcePair], sample: int, folder: Path, *, home: Path | None = None
) -> dict[str, Any]:
    """Return what a validator decided about the pairs, and what came of repeating its accepted ones."""
    config = ValidatorConfig(data_dir=folder / "validator", port=0, decode_workers=1, rule2_epoch=0, genesis=genesis)
    service = await build(ServiceSettings(config, ChainSettings()))
    runner = await listen(service)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        async with ValidatorClient(url, patience_s=600.0) as client:
            network = await client.network()
            outcomes: Counter[str] = Counter()
            for pair in pairs:
                a, b = (Item(one.modality, one.media_type, one.read()) for one in (pair.a, pair.b))
                signed = sign_pair(
                    a, b, private_key=_KEY, domain=network.domain, network_id=network.network_id,
                    nonce=secrets.token_bytes(32), expiry=int(time.time()) + 3600, license=_LICENSE,
                )  # fmt: skip
                decision = await client.post_pair(signed.encode())
                outcomes[f"{pair.modalities} {decision.verdict.outcome}"] += 1
        said = await _rescore(url, home or folder / "home", sample)
    finally:
        await runner.cleanup()
    entries = said.pop("entries")
    return {
        "decided": dict(sorted(outcomes.items())),
        "sampled": len(entries),
        "bit_for_bit": sum(one["is_equal"] for one in entries),
        **said,
    }


async def _rescore(url: str, home: Path, sample: int) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CURIOSITY_")}
    told = {"CURIOSITY_NODE__HOME": str(home), "CURIOSITY_NODE__VALIDATOR_URL": url}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "node.cli", "rescore", "--sample", str(sample), "--json",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=kept | told,
    )  # fmt: skip
    out, error = await process.communicate()
    if not out:
        raise RuntimeError(f"curiosity rescore ended with {process.returncode}: {error.decode()}")
    said: dict[str, Any] = json.loads(out)
    return said | {"exit_status": process.returncode}


def read_sets(seed: int, cache: Path, counts: Mapping[str, int]) -> list[SourcePair]:
    """Return so many pairs of each set, drawn by the seed, those of all sets mixed."""
    generator = np.random.default_rng(seed)
    chosen: list[SourcePair] = []
    for name, count in counts.items():
        folder = cache / f"judge-{name}-{seed}"
        MAKERS[name](folder, seed, cache, None)
        kinds = {MODALITIES.get(name, ("image", "text"))} | ({("audio", "text")} if name == "digits" else set())
        own = [pair for pair in read_pairs(folder) if (pair.a.modality, pair.b.modality) in kinds]
        chosen += [own[i] for i in generator.permutation(len(own))[:count]]
    return [chosen[i] for i in generator.permutation(len(chosen))]


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as a table."""
    lines = [
        "| genesis | repeated | agree | differ | cannot tell | off by at most | bit for bit |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['sampled']} | {row['agree']} | {row['differ']} | {row['cannot_tell']} "
        f"| {row['largest_micro']} | {row['bit_for_bit']} |"
        for name, row in report["geneses"].items()
    ]
    return "\n".join(lines)


def run(sample: int, seed: int, cache: Path) -> dict[str, Any]:
    """Return the whole report: every shipped genesis."""
    pairs = read_sets(seed, cache, COUNTS)
    geneses = {}
    for name, genesis in SHIPPED.items():
        with tempfile.TemporaryDirectory() as folder:
            geneses[name] = asyncio.run(repeat(genesis, pairs, sample, Path(folder)))
        print(f"{name}: {geneses[name]}", file=sys.stderr)
    command = f"python -m benchmarks.rescores --sample {sample} --seed {seed}"
    return {"command": command, "counts": dict(COUNTS), "geneses": geneses}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is 1 where a verdict does not agree."""
    parser = make_parser("rescores", __doc__)
    parser.add_argument("--sample", type=int, default=100)
    given = parser.parse_args(arguments)
    return carry_out(
        given,
        lambda: run(given.sample, given.seed, given.cache),
        to_markdown,
        is_good=lambda report: all(row["result"] == "agrees" for row in report["geneses"].values()),
    )


if __name__ == "__main__":
    sys.exit(main())
