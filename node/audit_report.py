"""What `curiosity ledger audit` shows of a round: as JSON values, and as lines for people."""

from curiosity.ledger.monitor import Round
from curiosity.protocol.counts import number_of
from node.screen import Screen


def round_json(done: Round, *, is_pinned: bool) -> dict[str, object]:
    """Return a round as plain JSON values. ``is_pinned``: the log's key was known before."""
    audited, finding = done.audited, done.audited.finding
    return {
        **vars(audited),
        "root": "0x" + audited.root.hex(),
        "is_log_pinned": is_pinned,
        "silent_witnesses": list(done.silent),
        "finding": None
        if finding is None
        else {
            **vars(finding),
            "evidence": str(finding.evidence) if finding.evidence is not None else None,
            "slash": str(finding.slash) if finding.slash is not None else None,
        },
    }


def show_round(screen: Screen, done: Round, *, is_pinned: bool) -> None:
    """Print what was verified, and what does not hold."""
    audited, finding = done.audited, done.audited.finding
    unanswered = (f"the witness {url} does not answer" for url in done.silent)
    key = "as pinned" if is_pinned else "as shown"
    inside = (
        ""
        if audited.pairs is None
        else f", {number_of(audited.pairs, 'pair')} decided, {number_of(audited.epochs or 0, 'epoch')} paid as derived"
    )
    screen.line(
        f"{audited.origin}: {number_of(audited.size, 'entry')} verified ({audited.checked} new){inside}; root "
        f"0x{audited.root.hex()}, cosigned by {number_of(len(audited.cosigners), 'trusted witness')}; trusting the "
        f"log's key {key}."
    )
    for note in (*filter(None, audited.notes), *unanswered):
        screen.line(f"Note: {note}.")
    if audited.withheld:
        screen.line(f"Note: no opening of accepted entries {', '.join(map(str, audited.withheld))}.")
    if finding is not None:
        where = f" (first bad index {finding.index})" if finding.index is not None else ""
        screen.line(f"{finding.code}{where}: {finding.what}")
        if finding.evidence is not None:
            screen.line(f"Evidence for others: {finding.evidence} (curiosity verify checks it).")
        if finding.slash is not None:
            screen.line(f"Evidence for the stake contract: {finding.slash} (curiosity ledger slash sends it).")
