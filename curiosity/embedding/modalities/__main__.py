"""``python -m curiosity.embedding.modalities`` prints docs/modalities.md from registry and presets, no torch."""

import sys
from collections.abc import Iterator, Sequence

from curiosity.embedding.modalities import BY_NAME
from curiosity.embedding.modality import Contract, Limits, Modality
from curiosity.embedding.presets import PRESETS
from curiosity.embedding.tower_spec import OURS, TowerSpec, Weights

HEAD = """\
# Modalities

Made by `python -m curiosity.embedding.modalities > docs/modalities.md`; do not edit by hand, a test compares the two.

A modality says how bytes become one array (its **contract**: dtype, shape, closed range, all values finite) and what a
mask hides of it. Nothing is cut, scaled or clamped to fit: an item that breaks a rule is refused with status 422, a
code, the numbers and a remedy. A preset gives every modality a tower, which embeds the array. A mask hides units of the
tower's own grid: a small tower looks at a coarser picture, so its patches cover more of it.

Sensor items are `.npy` files of one float32 array, in C order and little-endian, without pickle
(`numpy.save(file, array.astype("<f4"))`). Their codes are `ARRAY_UNREADABLE`, `ARRAY_DTYPE`, `ARRAY_ORDER`,
`ARRAY_TRUNCATED`, `ARRAY_TRAILING_BYTES`, `ARRAY_RANK`, `ARRAY_SHAPE`, `ARRAY_TOO_SHORT`, `ARRAY_TOO_LONG`,
`ARRAY_NOT_FINITE`, `ARRAY_OUT_OF_RANGE` and `ARRAY_COLUMN_OUT_OF_RANGE`.

Several streams of one modality, such as two cameras, share its weights and are told apart outside the array:
`space.embed_streams("image", {"camera1": [...], "camera2": [...]})`.
"""

TAIL = """\
## Adding a modality

In this repository: one file in `curiosity/embedding/modalities` and one line in its `MODALITIES`, one tower and one
line in a preset. From a package of your own: a `Registration` of `curiosity.embedding.registration`, named as an entry
point.

```toml
[project.entry-points."curiosity.modalities"]
smell = "nose.registration:SMELL"
```

```python
# nose/registration.py: imports no torch; the tower's class is named, not imported
SMELL = Registration(Smell(), {"tiny": TowerSpec("nose.tower:SmellTower", "3 convolutions")})
```

`curiosity.embedding.extend.register(SMELL)` does the same for one process. Every other modality's embeddings stay
bit for bit.
"""


def main() -> None:
    """Print the document."""
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.stdout.write(document())


def document() -> str:
    """Return the text of docs/modalities.md."""
    parts = [HEAD, _overview()]
    parts += ["\n".join(_modality(modality)) + "\n" for modality in BY_NAME.values()]
    return "\n".join([*parts, "\n".join(_presets()) + "\n", TAIL])


def _overview() -> str:
    rows = [
        (f"[{each.name}](#{each.name})", _array(each.contract), _range(each.contract), _mask(each))
        for each in BY_NAME.values()
    ]
    return "\n".join(_table(("modality", "array", "range", "a mask hides"), rows)) + "\n"


def _modality(modality: Modality) -> Iterator[str]:
    contract = modality.contract
    yield f"## {modality.name}"
    yield ""
    yield _first_line(modality)
    yield ""
    yield f"- **Media types**: {', '.join(f'`{kind}`' for kind in modality.media_types)}"
    yield f"- **Array**: {_array(contract)}: {contract.meaning}"
    yield f"- **Range**: {_range(contract)}"
    yield f"- **Limits**: {_limits(modality.limits)}"
    yield f"- **Mask**: {_mask(modality)}"
    yield f"- **From bytes to array**: {modality.preparation}"
    yield ""
    if contract.columns:
        yield from _table(
            ("column", "unit", "range"),
            [(c.name, c.unit, f"{_number(c.low)} to {_number(c.high)}") for c in contract.columns],
        )
        yield ""
    rows = []
    for preset in PRESETS.values():
        spec = preset.towers.get(modality.name)
        rows.append((f"`{preset.name}`", *(_encoder(spec) if spec else ("none", "", ""))))
    yield from _table(("preset", "encoder", "starts from", "licence"), rows)


def _presets() -> Iterator[str]:
    yield "## Presets"
    yield ""
    rows = [
        (f"`{preset.name}`", str(preset.dim), ", ".join(preset.towers), f"`{preset.preprocessing}`")
        for preset in PRESETS.values()
    ]
    yield from _table(("preset", "dimension", "modalities", "preprocessing"), rows)


def _encoder(spec: TowerSpec) -> tuple[str, str, str]:
    """Return the encoder, what it can start from, and under which licences."""
    ours = ("random weights of a seed", OURS)
    starts = [] if spec.weights is not None and spec.weights.package else [ours]
    if spec.weights is not None:
        starts.append((_weights(spec.weights), spec.weights.licence))
    starts += [(f"by name only: {_weights(weights)}", weights.licence) for weights in spec.opt_in]
    return spec.encoder, "<br>".join(start for start, _ in starts), "<br>".join(licence for _, licence in starts)


def _weights(weights: Weights) -> str:
    name = f"[{weights.name.partition('@')[0]}]({weights.source})" if weights.source else weights.name
    return f"{name} in the package `{weights.package}`" if weights.package else name


def _first_line(modality: Modality) -> str:
    return (type(modality).__doc__ or "").strip().partition("\n")[0]


def _array(contract: Contract) -> str:
    lengths = []
    for length in contract.shape:
        if isinstance(length, tuple):
            lengths.append(f"{length[0]}..{length[1]}")
        else:
            lengths.append("any" if length is None else str(length))
    return f"{contract.dtype} ({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"


def _range(contract: Contract) -> str:
    if contract.columns:
        return "by column"
    return f"{_number(contract.low)} to {_number(contract.high)} {contract.unit}".strip()


def _number(value: float) -> str:
    return f"{value:,.4g}" if abs(value) < 1_000 else f"{value:,.0f}"


def _limits(limits: Limits) -> str:
    said = [f"{limits.max_bytes:,} bytes"]
    for value, unit in (
        (limits.max_pixels, "pixels a frame"),
        (limits.max_frames, "frames"),
        (limits.max_chars, "characters"),
        (limits.max_s, "s"),
    ):
        if value:
            said.append(f"{value:,g} {unit}" if isinstance(value, float) else f"{value:,} {unit}")
    return ", ".join(said)


def _mask(modality: Modality) -> str:
    return f"{modality.mask_share:.0%} of the {modality.natural_unit}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    for row in (head, tuple("---" for _ in head), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


if __name__ == "__main__":
    main()
