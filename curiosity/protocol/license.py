"""Licences of pairs: SPDX expressions of ids that a network allows, joined with AND and OR."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final, Self

from curiosity.protocol.errors import Rejected, SourceError

_WORD: Final = re.compile(r"[()]|[^\s()]+")
_OPERATORS: Final = ("AND", "OR")


def match_license(expression: str, allowed: Collection[str]) -> str:
    """Return a licence expression with its ids and operators as the network spells them; upper and lower case are one.

    Ids compare without regard to case (SPDX 3.0, annex "SPDX license expressions", section on case sensitivity).

    Raises:
        Rejected: LICENSE_NOT_ALLOWED (422) if it names no licence, or one that is not in ``allowed``;
            LICENSE_MALFORMED (422) if its words are no expression.
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
    is_permitted(expression, ())
    return " ".join(found).replace("( ", "(").replace(" )", ")")


def is_permitted(expression: str, ids: Collection[str]) -> bool:
    """Return whether an expression lets somebody use a pair who takes the licences ``ids`` only.

    AND asks for both sides, OR for one of them; AND binds closer (SPDX 3.0, annex "SPDX license expressions", order of
    precedence). ``ids`` are in lower case.

    Raises:
        Rejected: LICENSE_MALFORMED (422) if it is no expression, also if it is empty.
    """
    outer: list[tuple[bool, bool]] = []  # what is known of the terms around the brackets that are open
    either, both, is_operand_next = False, True, True
    for word in _WORD.findall(expression):
        if (word == "(" or word.upper() not in (*_OPERATORS, ")")) is not is_operand_next:
            raise _malformed(expression)
        if word == "(":
            outer.append((either, both))
            either, both = False, True
        elif word == ")":
            if not outer:
                raise _malformed(expression)
            value = either or both
            either, both = outer.pop()
            both = both and value
        elif word.upper() == "OR":
            either, both, is_operand_next = either or both, True, True
        elif word.upper() == "AND":
            is_operand_next = True
        else:
            both, is_operand_next = both and word.lower() in ids, False
    if outer or is_operand_next:
        raise _malformed(expression)
    return either or both


def _malformed(expression: str) -> Rejected:
    return Rejected(
        "LICENSE_MALFORMED",
        f"licence {expression!r} is not an SPDX expression",
        "Join ids with AND or OR, with brackets in pairs, such as MIT AND (CC0-1.0 OR CC-BY-4.0).",
        status=422,
    )


@dataclass(frozen=True)
class LicenseFilter:
    """Which pairs somebody takes by their licence: those that the licences ``ids`` alone let them use. No ids: all.

    Exports, mirrors and what trainers learn from are all filtered here.
    """

    ids: tuple[str, ...] = ()

    @classmethod
    def named(cls, ids: Iterable[str], expressions: Iterable[str]) -> Self:
        """Return the filter of these ids, spelled as in the last of ``expressions``, which are all that may be there.

        Raises:
            SourceError: LICENSE_UNKNOWN for what no expression names: filtered by it nothing would be left.
        """
        known = {
            word.lower(): word
            for expression in expressions
            for word in _WORD.findall(expression)
            if word not in "()" and word.upper() not in _OPERATORS
        }
        asked = sorted(set(ids))
        if unknown := [one for one in asked if one.lower() not in known]:
            raise SourceError(
                "LICENSE_UNKNOWN",
                f"nothing is under {', '.join(map(repr, unknown))} here",
                f"Name SPDX ids, each on its own, of: {', '.join(sorted(known.values()))}.",
            )
        return cls(tuple(sorted({known[one.lower()] for one in asked})))

    def permits(self, expression: str) -> bool:
        """Return whether a pair under that licence is taken; one without a licence, or with a malformed one, is not."""
        if not self.ids:
            return True
        try:
            return is_permitted(expression, {one.lower() for one in self.ids})
        except Rejected:
            return False

    def within(self, wider: "LicenseFilter") -> "LicenseFilter":
        """Return this filter for what was filtered by ``wider`` before; that one where this has no ids.

        Raises:
            SourceError: LICENSE_NOT_COPIED if this would take what the other left out.
        """
        if not self.ids:
            return wider
        if wider.ids and (more := sorted(set(self.ids) - set(wider.ids))):
            raise SourceError(
                "LICENSE_NOT_COPIED",
                f"this copy holds only what may be used under {', '.join(wider.ids)}, asked for is {', '.join(more)}",
                "Copy the ledger with these licences too, or ask for fewer.",
            )
        return self


NO_FILTER: Final = LicenseFilter()
"""Takes every pair."""
