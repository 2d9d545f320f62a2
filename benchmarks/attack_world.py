"""What attacks on the judge and on pay are tried on: pairs of a real set, a judge, and embeddings that are kept."""

import hashlib
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from benchmarks.judge import MAKERS, SPLITS, one_of_each, split
from curiosity.embedding.modalities import decode
from curiosity.embedding.sketch import Sketch, sketch_item
from curiosity.embedding.space import EmbeddingSpace, pick_device
from curiosity.embedding.weights import encode_weights
from curiosity.protocol.calibration import Calibration
from curiosity.protocol.judgement import Anchors, Embedded, Opinion, opine, rank
from curiosity.protocol.neighbours import Neighbours
from curiosity.protocol.scoring import Quantised, dequantise, quantise
from curiosity.sources.made.digits import make_digits
from curiosity.sources.made.emoji import DEFAULT_SEED
from trainer import belief
from trainer import calibrate as fit
from trainer.belief import Scorer
from trainer.calibrate import calibrate
from trainer.feed import FedItem, FedPair, read_trusted

PAIR = "image-text"
MOST = 400  # pairs that calibrate, and pairs that are judged, of a large set
BATCH = 64
_FIT = hashlib.sha256(b"".join(Path(str(one.__file__)).read_bytes() for one in (belief, fit))).hexdigest()[:8]
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Thing:
    """An item as it is sent."""

    modality: str
    media_type: str
    data: bytes

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the bytes."""
        return hashlib.sha256(self.data).digest()

    @classmethod
    def of(cls, item: FedItem) -> "Thing":
        """Return the item of a pair set."""
        return cls(item.modality, item.media_type, item.load())

    @classmethod
    def text(cls, words: str) -> "Thing":
        """Return A caption."""
        return cls("text", "text/plain", words.encode())

    @property
    def words(self) -> str:
        """What a caption says."""
        return self.data.decode()

    @property
    def pixels(self) -> Pixels:
        """A picture, uint8[H, W, 3]."""
        return decode("image", self.data, self.media_type).astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Sent:
    """A pair as somebody sends it; ``is_wrong`` if he knows that it does not belong together."""

    a: Thing
    b: Thing
    who: bytes
    is_wrong: bool = False


@dataclass
class Encoder:
    """Embeds items; what it embedded before comes from ``path``, whose name says by which weights."""

    space: EmbeddingSpace
    path: Path
    known: dict[str, NDArray[Any]] = field(default_factory=dict)
    sketched: dict[bytes, Sketch] = field(default_factory=dict)
    made: int = 0

    @classmethod
    def opened(cls, preset: str, cache: Path, *, pretrained: bool = False) -> "Encoder":
        """Return the space without any training: the weights that packages carry, or those that the preset names.

        Raises:
            ConfigError: If there is no such preset.
            CheckpointError: If they are missing or made for another architecture.
        """
        space = EmbeddingSpace(preset, seed=0, modalities=["image", "text"], pretrained=pretrained).to(pick_device())
        weights = hashlib.sha256(encode_weights(space))
        for modality in ("image", "text"):
            weights.update(space.tower(modality).frozen_sha256().encode())
        path = cache / f"attacks-{preset}-{weights.hexdigest()[:12]}.npz"
        known = dict(np.load(path)) if path.exists() else {}
        return cls(space, path, known)

    def of(self, things: Sequence[Thing]) -> Quantised:
        """Return int16[n, d]."""
        new = {thing.digest.hex(): thing for thing in things if thing.digest.hex() not in self.known}
        for start in range(0, len(new), BATCH):
            some = list(new.items())[start : start + BATCH]
            for modality in sorted({thing.modality for _, thing in some}):
                here = [(name, thing) for name, thing in some if thing.modality == modality]
                arrays = [decode(modality, thing.data, thing.media_type) for _, thing in here]
                rows = quantise(self.space.embed(modality, arrays))
                self.known.update(zip((name for name, _ in here), rows, strict=True))
        self.made += len(new)
        return np.stack([self.known[thing.digest.hex()] for thing in things])

    def features(self, things: Sequence[Thing]) -> Floats:
        """Return what the image tower's network says of pictures, before any head: float64[n, w]."""
        tower = self.space.tower("image")
        for thing in things:
            name = f"features-{thing.digest.hex()}"
            if name not in self.known:
                prepared = self.space.prepare("image", [thing.pixels])
                self.known[name] = tower.collate(prepared)[0].numpy()
                self.made += 1
        return np.stack([self.known[f"features-{thing.digest.hex()}"] for thing in things]).astype(np.float64)

    def sketch(self, thing: Thing) -> Sketch:
        """Return the sketch by which near copies of an item are found."""
        if thing.digest not in self.sketched:
            array = decode(thing.modality, thing.data, thing.media_type)
            self.sketched[thing.digest] = sketch_item(thing.modality, array)
        return self.sketched[thing.digest]

    def keep(self) -> None:
        """Write what was embedded, beside what other runs have written meanwhile."""
        if not self.made:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            self.known = dict(np.load(self.path)) | self.known
        fresh = self.path.with_suffix(f".{os.getpid()}.npz")
        np.savez(fresh, allow_pickle=False, **self.known)
        fresh.replace(self.path)
        self.made = 0


@dataclass(frozen=True)
class World:
    """A judge, and pairs that it has never seen: one of each concept, in a drawn order."""

    name: str
    encoder: Encoder
    calibration: Calibration
    anchors: Anchors
    pairs: Sequence[tuple[Thing, Thing]]
    opinions: dict[tuple[bytes, bytes, bool], Opinion] = field(default_factory=dict)

    def opinion(self, a: Thing, b: Thing, *, believes: bool = True) -> Opinion:
        """Return what the judge says of two items; without ``believes`` by thresholds alone, as before."""
        key = a.digest, b.digest, believes
        if key not in self.opinions:
            one, other = (
                Embedded(v, v, np.stack([v, v])[None]) for v in self.encoder.of([a, b])
            )  # masks decide nothing
            self.opinions[key] = opine(
                one,
                other,
                modalities=PAIR,
                checkpoint=bytes(32),
                calibration=self.calibration if believes else replace(self.calibration, beliefs={}),
                anchors=self.anchors,
            )
        return self.opinions[key]

    @cached_property
    def _pinned(self) -> Neighbours:
        return Neighbours(self.anchors.history[PAIR])

    def is_paid_alone(self, a: Thing, b: Thing) -> bool:
        """Return whether a pair would be paid if nobody had sent anything before: anybody can find out in private."""
        opinion = self.opinion(a, b)
        return rank(opinion, calibration=self.calibration, history=self._pinned).verdict.novel

    def scores(self, a: Quantised, b: Quantised) -> Floats:
        """Return CSLS scores of each of a with each of b, float64[n, m]: what who knows the judge searches by."""
        banks, empty = self.anchors.banks[PAIR], a[:0]
        names: Mapping[str, Sequence[str]] = {
            "bank_a": [""] * len(banks[0]), "bank_b": [""] * len(banks[1]), "references_a": [], "references_b": [],
        }  # fmt: skip
        scorer = Scorer({"bank_a": banks[0], "bank_b": banks[1], "references_a": empty, "references_b": empty}, names)
        crowd_a, crowd_b = scorer.crowds(a, b)
        return dequantise(a) @ dequantise(b).T - (crowd_a[:, None] + crowd_b[None, :]) / 2.0


def read_set(name: str, cache: Path) -> list[FedPair]:
    """Return the set's pairs of a picture and a text, of any split; the set is made unless it lies in the cache."""
    folder = cache / f"set-{name}"
    if not (folder / "pairs.jsonl").exists():
        if name == "digits":
            make_digits(folder, seed=DEFAULT_SEED)
        else:
            MAKERS[name](folder, DEFAULT_SEED, cache, None)
    return [pair for pair in read_trusted([folder], SPLITS) if pair.name == PAIR]


def build(
    name: str, own: Sequence[FedPair], seed: int, encoder: Encoder, calibrating: int = MOST, most: int = MOST
) -> World:
    """Calibrate on half of the concepts of a set; the other half is what the world's pairs are."""
    given = split(own, [], False, seed * 1_000)
    generator = np.random.default_rng(seed)
    rest, judged = one_of_each(given.calibrating), list(given.judged)
    chosen = [rest[i] for i in sorted(generator.permutation(len(rest))[:calibrating])]
    order = generator.permutation(len(judged))[:most]
    calibration, anchors = _calibrated(name, chosen, encoder)
    pairs = [(Thing.of(judged[i].item("image")), Thing.of(judged[i].item("text"))) for i in order]
    encoder.of([thing for pair in pairs for thing in pair])
    encoder.keep()
    return World(name, encoder, calibration, Anchors.from_arrays(anchors), pairs)


def _calibrated(
    name: str, pairs: Sequence[FedPair], encoder: Encoder
) -> tuple[Calibration, Mapping[str, NDArray[np.int16]]]:
    tag = hashlib.sha256(b"".join(sorted(pair.digest for pair in pairs))).hexdigest()[:12]
    path = encoder.path.with_name(f"{encoder.path.stem}-{name}-{tag}-{_FIT}.npz")
    if path.exists():
        kept = dict(np.load(path))
        return Calibration.from_json(json.loads(str(kept.pop("calibration")))), kept
    trusted = [replace(pair, split="calibration") for pair in pairs]
    calibration, anchors = calibrate(encoder.space, trusted, believes=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, allow_pickle=False, calibration=np.array(json.dumps(calibration.to_json())), **anchors)
    return calibration, anchors


# -- copies of pictures


def _moved(picture: Image.Image) -> Image.Image:
    moved = Image.new("RGB", picture.size, picture.getpixel((0, 0)))
    moved.paste(picture, (2, 1))
    return moved


def _thumbnail(picture: Image.Image) -> Image.Image:
    scale = 48 / max(picture.size)
    small = picture.resize((max(round(picture.width * scale), 1), max(round(picture.height * scale), 1)))
    return small.resize(picture.size, Image.Resampling.BICUBIC)


VARIANTS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "shifted by 2 px": _moved,
    "flipped": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "rotated by 5 degrees": lambda p: p.rotate(5, Image.Resampling.BICUBIC, fillcolor=p.getpixel((0, 0))),
    "rotated by 90 degrees": lambda p: p.transpose(Image.Transpose.ROTATE_90),
    "cropped to 75 %": lambda p: p.crop(
        (p.width // 15, p.height // 15, p.width - p.width // 15, p.height - p.height // 15)
    ),
    "recoded as JPEG 30": lambda p: p,
    "brightened by 30 %": lambda p: ImageEnhance.Brightness(p).enhance(1.3),
    "48-px thumbnail": _thumbnail,
}


def vary(thing: Thing, variant: str) -> Thing:
    """Return a copy of a picture; of a transparent one what the decoder shows."""
    picture = VARIANTS[variant](Image.fromarray(thing.pixels))
    packed = io.BytesIO()
    if "JPEG" in variant:
        picture.save(packed, "JPEG", quality=30)
        return Thing("image", "image/jpeg", packed.getvalue())
    picture.save(packed, "PNG")
    return Thing("image", "image/png", packed.getvalue())
