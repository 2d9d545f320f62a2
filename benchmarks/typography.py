"""What a picture earns that only shows its caption in writing.

    python -m benchmarks.typography [--seed N] [--rounds N] [--json FILE]

Two judges: ``shipped``, the genesis that comes with the program, judging clipart that it was never trained on; and
``photos``, the preset ``offline`` with no training, calibrated on one half of the photos and judging the other, which
accepts more. Each decides, by the product's own functions and with all defences, about

- ``plain``: the caption on a plain ground, in one drawn font, size, colour and place;
- ``over a photo``: the caption of another picture painted over a picture, small, large or in a band;
- ``nothing painted``: the same pictures with the same wrong captions; ``other words``: what is painted is a third
  caption. Where these earn as much, it is not the writing that earns;
- honest pairs, and the same with incidental text in the picture: a date, a shop sign, a watermark.

``adaptive`` rows are of who tries 16 ways to paint each of 60 captions and sends the one that the judge believes most
of those that it would pay. ``reads`` says whether writing is read at all: how often a plain picture of a caption scores
higher with that caption than with another one's; 0.5 is chance. ``pays``: a pair, in multiples of an honest one.
"""

import io
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from benchmarks.attack_pay import NEWEST_RULE, Decided, decide, pay
from benchmarks.attack_streams import CHEAT, HONEST
from benchmarks.attack_world import Encoder, Sent, Thing, World, build, read_set
from benchmarks.command import carry_out, make_parser
from benchmarks.judge import one_of_each, roc_area
from curiosity.embedding.checkpoint import SHIPPED, load
from curiosity.embedding.weights import read_space
from curiosity.protocol.judgement import Anchors
from curiosity.protocol.verdict import Outcome, Weighed

TRIES: Final = 16
SEARCHED: Final = 60  # captions that an adaptive attacker paints in so many ways
MOST: Final = 200  # captions, and honest pairs, of a round
SIDE: Final = 320
BAR: Final = 0.05
FONTS: Final = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif-Italic", "DejaVuSansMono", "STIXGeneral", "cmr10")
PLACES: Final = ("top", "middle", "bottom")
OVER: Final = ("small", "large", "band")
INCIDENTAL: Final = ("date", "sign", "watermark")
SIGNS: Final = ("BAKERY", "OPEN", "HOTEL", "NO PARKING", "FRESH FISH", "EXIT", "CAFE", "SALE")

Colour = tuple[int, int, int]
Generator = np.random.Generator


@dataclass(frozen=True)
class Style:
    """How words are painted: ``height`` is that of a line, of the picture's height."""

    font: str
    height: float
    ink: Colour
    ground: Colour
    place: str
    over: str = ""

    @classmethod
    def draw(cls, draw: Generator, over: str = "") -> "Style":
        """Return a drawn style; on a plain ground black on white as often as any two colours."""
        heights = {"small": (0.05, 0.08), "large": (0.18, 0.35), "band": (0.08, 0.14), "": (0.08, 0.35)}
        ink, ground = (_colour(draw, 0, 120), _colour(draw, 180, 256)) if draw.random() < 0.5 else (
            (0, 0, 0), (255, 255, 255),
        )  # fmt: skip
        if draw.random() < 0.25:
            ink, ground = ground, ink
        place = str(draw.choice(PLACES))
        return cls(str(draw.choice(FONTS)), float(draw.uniform(*heights[over])), ink, ground, place, over)


def _colour(draw: Generator, low: int, high: int) -> Colour:
    red, green, blue = (int(value) for value in draw.integers(low, high, 3))
    return red, green, blue


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"), size)


def wrap(words: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Return the words in lines that are no wider, where no word is."""
    lines = [""]
    for word in words.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return "\n".join(lines)


def paint(words: str, style: Style, photo: Image.Image | None = None) -> Image.Image:
    """Return the words painted on a plain ground, or over a photo."""
    picture = Image.new("RGB", (SIDE, SIDE), style.ground) if photo is None else photo.convert("RGB").copy()
    width, height = picture.size
    size = max(int(style.height * height), 9)
    text = wrap(words, _font(style.font, size), int(0.9 * width))
    brush = ImageDraw.Draw(picture)
    box = brush.multiline_textbbox((0, 0), text, _font(style.font, size), align="center")
    if box[2] - box[0] > 0.96 * width or box[3] - box[1] > 0.96 * height:  # as large as fits
        scale = min(0.96 * width / (box[2] - box[0]), 0.96 * height / (box[3] - box[1]))
        size = max(int(size * scale), 6)
        box = brush.multiline_textbbox((0, 0), text, _font(style.font, size), align="center")
    wide, high = box[2] - box[0], box[3] - box[1]
    top = {"top": 0.02 * height, "middle": (height - high) / 2, "bottom": 0.97 * height - high}[style.place]
    if style.over == "band":
        brush.rectangle((0, top - 0.02 * height, width, top + high + 0.02 * height), style.ground)
    left = 0.03 * width if style.over == "small" else (width - wide) / 2
    brush.multiline_text(
        (left - box[0], top - box[1]), text, style.ink, _font(style.font, size), align="center",
        stroke_width=size // 12 if style.over in ("small", "large") else 0, stroke_fill=style.ground,
    )  # fmt: skip
    return picture


def mark(photo: Image.Image, kind: str, draw: Generator) -> Image.Image:
    """Return a photo with text in it that does not name what it shows."""
    picture = photo.convert("RGB").copy()
    width, height = picture.size
    brush = ImageDraw.Draw(picture, "RGBA")
    if kind == "date":
        font = _font("DejaVuSansMono", max(height // 18, 9))
        day = f"'{draw.integers(0, 27):02d} {draw.integers(1, 13):2d} {draw.integers(1, 29):2d}"
        brush.text((0.97 * width, 0.97 * height), day, (255, 140, 30), font, anchor="rd")
    elif kind == "sign":
        words = str(draw.choice(SIGNS))
        font = _font("DejaVuSans-Bold", max(height // 12, 9))
        left, top, right, bottom = brush.textbbox((0.05 * width, 0.05 * height), words, font)
        brush.rectangle((left - 6, top - 6, right + 6, bottom + 6), _colour(draw, 0, 120))
        brush.text((0.05 * width, 0.05 * height), words, (255, 255, 255), font)
    else:
        font = _font("DejaVuSans", max(height // 14, 9))
        for row in range(3):
            place = width / 2, (1 + 2 * row) * height / 6
            brush.text(place, "(c) Example Pictures", (255, 255, 255, 110), font, anchor="mm")
    return picture


def packed(picture: Image.Image) -> Thing:
    """Return the picture as it is sent."""
    data = io.BytesIO()
    picture.save(data, "PNG")
    return Thing("image", "image/png", data.getvalue())


def belief_of(world: World, a: Thing, b: Thing) -> int:
    """Return the belief that a pair belongs together, in millionths."""
    measurement = world.opinion(a, b).measurement
    if not isinstance(measurement, Weighed):
        raise TypeError("the checkpoint publishes no beliefs")
    return measurement.belief_micro


def pick(world: World, tried: Sequence[Thing], caption: Thing) -> Thing:
    """Return what an attacker sends: the most believed of those that would be paid, else of all."""
    world.encoder.of(tried)
    paid = [one for one in tried if world.is_paid_alone(one, caption)]
    return max(paid or tried, key=lambda one: belief_of(world, one, caption))


@dataclass(frozen=True)
class Scene:
    """A world, with its pairs as they are sent: each picture as PNG."""

    world: World
    seed: int

    @cached_property
    def photos(self) -> list[tuple[Image.Image, Thing]]:
        """Pictures as they are decoded, with their captions."""
        return [(Image.fromarray(a.pixels), b) for a, b in self.world.pairs]

    @cached_property
    def honest(self) -> list[Sent]:
        """True pairs."""
        return [Sent(packed(photo), b, HONEST) for photo, b in self.photos]

    def painted(self, tries: int, over: str = "", *, turn: int = 0, most: int = MOST) -> list[Sent]:
        """Return captions painted on a plain ground, or over the photo of another pair.

        With ``turn`` it is not the caption that is painted, but that of the pair so many places before.
        """
        draw = np.random.default_rng([self.seed, len(over), turn, tries])
        sent = []
        for i, (_, caption) in enumerate(self.photos[:most]):
            photo = self.photos[i - 2][0] if over else None
            words = self.photos[i - turn][1].words
            tried = [packed(paint(words, Style.draw(draw, over), photo)) for _ in range(tries)]
            sent.append(Sent(pick(self.world, tried, caption), caption, CHEAT, is_wrong=True))
        return sent

    def bare(self) -> list[Sent]:
        """Return wrong pairs with nothing painted."""
        return [Sent(packed(self.photos[i - 2][0]), b, CHEAT, is_wrong=True) for i, (_, b) in enumerate(self.photos)]

    def marked(self, kind: str) -> list[Sent]:
        """Return true pairs with incidental text in the picture."""
        draw = np.random.default_rng([self.seed, INCIDENTAL.index(kind)])
        return [Sent(packed(mark(photo, kind, draw)), b, HONEST) for photo, b in self.photos]


def earned(scene: Scene, wrong: Sequence[Sent]) -> dict[str, float]:
    """Return shares of the wrong pairs, and what one gets in multiples of an honest pair of the same epoch."""
    honest = scene.honest[: len(wrong)]
    decided = decide(scene.world, [one for pair in zip(honest, wrong, strict=True) for one in pair], defended=True)
    mine = [one for one in decided if one.sent.is_wrong]
    got = pay(decided, NEWEST_RULE)
    return {
        "accepted": share(mine, _is_accepted),
        "held": share(mine, lambda one: one.verdict.outcome in (Outcome.HELD, Outcome.GREY)),
        "paid": share(mine, lambda one: one.weight > 0),
        "pays": got.get(CHEAT, 0) / got[HONEST] if got.get(HONEST) else float(bool(got.get(CHEAT))),
    }


def share(decided: Sequence[Decided], test: Callable[[Decided], bool]) -> float:
    """Return the share that passes."""
    return sum(map(test, decided)) / max(len(decided), 1)


def _is_accepted(one: Decided) -> bool:
    return one.verdict.is_accepted


def kept(scene: Scene) -> dict[str, float]:
    """Return the share of honest pairs that is accepted: as they are, and with text in the picture."""
    found = {"accepted": share(decide(scene.world, scene.honest, defended=True), _is_accepted)}
    for kind in INCIDENTAL:
        found[kind] = share(decide(scene.world, scene.marked(kind), defended=True), _is_accepted)
    return found


def reads(scene: Scene, sent: Sequence[Sent]) -> float:
    """Return how often a picture of a caption scores higher with it than with another caption; 0.5 is chance."""
    world = scene.world
    scores = world.scores(world.encoder.of([one.a for one in sent]), world.encoder.of([one.b for one in sent]))
    off = ~np.eye(len(sent), dtype=bool)
    return statistics.fmean(roc_area(row[[i]], row[off[i]]) for i, row in enumerate(scores))


def measure(scene: Scene, *, tries: int = TRIES, searched: int = SEARCHED) -> dict[str, dict[str, float]]:
    """Return the figures of one scene by row."""
    plain = scene.painted(1)
    rows = {"nothing painted": earned(scene, scene.bare()), "plain": earned(scene, plain)}
    rows["plain, other words"] = earned(scene, scene.painted(1, turn=5))
    for over in OVER:
        rows[f"over a photo, {over}"] = earned(scene, scene.painted(1, over))
    for over in ("", "large", "band"):
        where = f"over a photo, {over}" if over else "plain"
        rows[f"{where}, adaptive"] = earned(scene, scene.painted(tries, over, most=searched))
        rows[f"{where}, other words, adaptive"] = earned(scene, scene.painted(tries, over, turn=5, most=searched))
        scene.world.encoder.keep()
    rows["honest"] = kept(scene)
    rows["reads"] = {"share": reads(scene, plain)}
    scene.world.encoder.keep()
    return rows


def shipped_scene(name: str, cache: Path, seed: int) -> Scene:
    """Return the shipped judge with pairs of a set that it has not learned from."""
    checkpoint = load(SHIPPED["offline"])
    path = cache / f"typography-{checkpoint.digest[:12]}.npz"
    known = dict(np.load(path)) if path.exists() else {}
    encoder = Encoder(read_space(checkpoint), path, known)
    pairs = one_of_each([pair for pair in read_set(name, cache) if pair.split in ("submit", "held-out")])
    order = np.random.default_rng(seed).permutation(len(pairs))[:MOST]
    things = [(Thing.of(pairs[i].item("image")), Thing.of(pairs[i].item("text"))) for i in order]
    return Scene(World(name, encoder, checkpoint.calibration, Anchors.from_arrays(checkpoint.anchors), things), seed)


def photo_scene(cache: Path, seed: int) -> Scene:
    """Return a judge of photos that one half of them calibrated, with the other half's pairs."""
    encoder = Encoder.opened("offline", cache)
    return Scene(build("photos", read_set("photos", cache), seed, encoder, most=MOST), seed)


JUDGES: Final[Mapping[str, Callable[[Path, int], Scene]]] = {
    "shipped": lambda cache, seed: shipped_scene("clipart", cache, seed),
    "photos": photo_scene,
}


def run(seed: int, rounds: int, cache: Path, names: Sequence[str] = tuple(JUDGES)) -> dict[str, Any]:
    """Return the whole report, mean of the rounds."""
    judges: dict[str, list[dict[str, dict[str, float]]]] = {}
    for name in names:
        judges[name] = [measure(JUDGES[name](cache, seed * 1_000 + number)) for number in range(rounds)]
        print(f"{name} is measured", file=sys.stderr)
    return {"seed": seed, "rounds": rounds, "rows": rows_of(judges)}


def rows_of(judges: Mapping[str, Sequence[Mapping[str, Mapping[str, float]]]]) -> list[dict[str, Any]]:
    """Return the mean of each row over the rounds, and whether at most 5 % are paid."""
    rows: list[dict[str, Any]] = []
    for judge, each in judges.items():
        for name in each[0]:
            figures = {one: round(statistics.fmean(found[name][one] for found in each), 4) for one in each[0][name]}
            bar = {"bar": BAR, "holds": figures["paid"] <= BAR} if "paid" in figures else {}
            rows.append({"judge": judge, "row": name, **figures, **bar})
    return rows


def to_markdown(report: Mapping[str, Any]) -> str:
    """Return the report as tables."""
    lines = [f"Seed {report['seed']}, {report['rounds']} rounds", ""]
    lines += [
        "| judge | row | accepted | held | paid | a pair pays | at most 5 % paid |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        if "paid" in row:
            figures = " | ".join(f"{row[name]:.3f}" for name in ("accepted", "held", "paid", "pays"))
            lines.append(f"| {row['judge']} | {row['row']} | {figures} | {'yes' if row['holds'] else 'no'} |")
    lines += ["", "| judge | honest accepted | " + " | ".join(f"with a {kind}" for kind in INCIDENTAL) + " | reads |"]
    lines.append("|---" * (len(INCIDENTAL) + 3) + "|")
    by = {(row["judge"], row["row"]): row for row in report["rows"]}
    for judge in dict.fromkeys(row["judge"] for row in report["rows"]):
        honest = [by[judge, "honest"][name] for name in ("accepted", *INCIDENTAL)]
        figures = " | ".join(f"{one:.3f}" for one in (*honest, by[judge, "reads"]["share"]))
        lines.append(f"| {judge} | {figures} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; its exit status is one of ``curiosity.protocol.errors.ExitCode``."""
    parser = make_parser("typography", __doc__)
    parser.add_argument("--rounds", type=int, default=1, help="each with other pairs")
    parser.add_argument("--judge", choices=sorted(JUDGES), action="append", help="only this one; repeatable")
    given = parser.parse_args(arguments)
    only = "".join(f" --judge {name}" for name in given.judge or ())
    command = f"python -m benchmarks.typography --seed {given.seed} --rounds {given.rounds}{only}"
    measured = partial(run, given.seed, given.rounds, given.cache, given.judge or tuple(JUDGES))
    return carry_out(given, lambda: measured() | {"command": command}, to_markdown)


if __name__ == "__main__":
    sys.exit(main())
