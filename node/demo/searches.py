"""Searches before and after the switch of the checkpoint, and what is shown of them."""

from typing import Any

from curiosity.client.client import ValidatorClient
from node.demo.report import check_recall, directions, recall_rows
from node.demo.stage import Stage

QUERIES = ("smiling face with sunglasses", "a fruit you can eat", "something that flies")
TOP = 3


async def search(client: ValidatorClient) -> list[dict[str, Any]]:
    """Return what the network finds for each question."""
    found = []
    for text in QUERIES:
        answer = await client.query("text", "text/plain", text.encode(), "image", 40)
        names = list(dict.fromkeys(one.partner_text or "?" for one in answer.found))
        found.append({"query": text, "to": "image", "found": names[:TOP], "indexed": answer.indexed})
    return found


def show_searches(
    made: Stage, before: list[dict[str, Any]], after: list[dict[str, Any]], result: dict[str, Any]
) -> None:
    """Show both, with the recall that the training round measured, and check that nothing got worse."""
    report = made.report
    rows = [
        (old["query"], ", ".join(old["found"]), ", ".join(new["found"])) for old, new in zip(before, after, strict=True)
    ]
    made.screen.note_table("pictures found", ("searched", "before", "after"), rows)
    for name in ("digits", "emoji"):
        if name in result["after"]:
            made.screen.note_table(
                f"recall on held-out {name}",
                ("direction", "at 1", "at 10", "chance at 10", "gallery"),
                recall_rows(directions(result["before"][name]), directions(result["after"][name])),
            )
    main = "emoji" if "emoji" in result["after"] else "digits"
    report.figures["recall"] = {
        moment: directions(result[moment][main]) | {"digits": directions(result[moment]["digits"])}
        for moment in ("before", "after")
    }
    report.figures["searches"] = {"before": before, "after": after}
    check_recall(report, result["before"], result["after"])
