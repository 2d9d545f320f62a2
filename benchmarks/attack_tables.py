"""The report of what attacks earn, as tables."""

from typing import Any

from benchmarks.attack_beliefs import to_tables


def _shown(value: float | None) -> str:
    return "honest pairs get nothing" if value is None else f"{value:.3f}"


def to_markdown(report: dict[str, Any]) -> str:
    """Return the report as tables."""
    lines = [
        f"Set {report['set']}, seed {report['seed']}, {report['rounds']} rounds ({report['swapped_rounds']} of swapped "
        f"captions and honest pairs), preset {report['preset']}",
        "",
        "| attack | undefended | defended | bar | holds | limited by |",
        "|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        holds = {True: "yes", False: "no", None: ""}[row["holds"]]
        values = [_shown(row["undefended"]), _shown(row["defended"])]
        bar = "" if row["bar"] is None else row["bar"]
        lines.append(f"| {row['attack']} | {' | '.join(values)} | {bar} | {holds} | {row['limited_by']} |")
    lines += ["", "| pictures of 1,024 pairs | a pair earns | with the best captions |", "|---|---|---|"]
    lines += [
        f"| {n} | {_shown(any_of)} | {_shown(best)} |" for n, (any_of, best) in report["flood_by_pictures"].items()
    ]
    lines += [
        "",
        "| power of the count | honest pay kept | one picture, in all | flood of 64 pictures |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {power} | " + " | ".join(f"{v:.3f}" for v in row.values()) + " |" for power, row in report["powers"].items()
    ]
    lines += to_tables(report)
    lines += [
        "",
        "| a failed audit stops | audited | honest wallet | cheat's wallet | best of 64 earns | honest pay kept |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| the {row['stops']} | {row['share']:.2f} | {row['honest_wallet']} | {row['cheat_wallet']} | "
        f"{row['cheat']:.3f} | {row['honest_kept']:.3f} |"
        for row in report["audits"]
    ]
    lines += ["", "| second judge | finds | condemns | AUC | finds if it condemns a tenth |", "|---|---|---|---|---|"]
    for row in report["auditors"]:
        figures = (row[name] for name in ("found", "condemned", "auc", "found_at_tenth"))
        lines.append(f"| {row['judge']} | " + " | ".join(f"{one:.3f}" for one in figures) + " |")
    lines += ["", "| honest | accepted | novel of them | pay kept | calibration error |", "|---|---|---|---|---|"]
    for name, figures in report["honest"].items():
        shown = (figures.get(one) for one in ("honest_accept", "honest_novel", "honest_pay_kept", "ece"))
        lines.append(f"| {name} | " + " | ".join("" if one is None else f"{one:.3f}" for one in shown) + " |")
    return "\n".join(lines)
