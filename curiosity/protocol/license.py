"""Licences of pairs: SPDX expressions of ids that a network allows, joined with AND and OR."""

import re
from collections.abc import Collection
from typing import Final

from curiosity.protocol.errors import Rejected

_WORD: Final = re.compile(r"[()]|[^\s()]+")
_OPERATORS: Final = ("AND", "OR")


def match_license(expression: str, allowed: Collection[str]) -> str:
    """Return a licence expression with its ids and operators as the network spells them; upper and lower case are one.

    Ids compare without regard to case (SPDX 3.0, annex "SPDX license expressions", section on case sensitivity).

    Raises:
        Rejected: LICENSE_NOT_ALLOWED (422) if it names no licence, or one that is not in ``allowed``.
    """
    spelled = {one.lower(): one for one in allowed}
    words: list[str] = _WORD.findall(expression)
    found: list[str] = []
    wrong: list[str] = []
    for word in words:
        if word in "()" or word.upper() in _OPERATORS:
            found.append(word.upper())
        elif word.lower() in spelled:
            found.append(spelled[word.lower()])
        else:
            wrong.append(word)
    if wrong or not any(one not in (*_OPERATORS, "(", ")") for one in found):
        raise Rejected(
            "LICENSE_NOT_ALLOWED",
            f"licence {expression!r}: {', '.join(wrong) or 'none given'} is not allowed here",
            f"Submit what you may share under one of: {', '.join(sorted(allowed))}.",
            status=422,
        )
    return " ".join(found).replace("( ", "(").replace(" )", ")")
