"""Proofs over all integers that bit vectors are too slow for; run by ``python -m contracts.audit --prove``.

Needs z3 and nothing of ours, since it runs in the environment of the tools. A quotient is stated as what it is: ``q``
with ``q * d <= x < q * d + d``. Each line is refuted: z3 must find no counterexample at all.
"""

import sys

import z3  # type: ignore[import-not-found]


def _is_quotient(quotient: "z3.ArithRef", number: "z3.ArithRef", divisor: "z3.ArithRef | int") -> "z3.BoolRef":
    return z3.And(quotient >= 0, quotient * divisor <= number, number < quotient * divisor + divisor)


def main() -> int:
    """Print each claim with what became of it; return the number that are not proven."""
    remaining, numerator, denominator, emitted, later = z3.Ints("remaining numerator denominator emitted later")
    stake, lost, reward = z3.Ints("stake lost reward")
    fraction = z3.And(remaining >= 0, numerator > 0, numerator <= denominator)
    claims = {
        "an emission never exceeds what remains": z3.Implies(
            z3.And(fraction, _is_quotient(emitted, remaining * numerator, denominator)),
            z3.And(emitted >= 0, emitted <= remaining),
        ),
        "later emissions are no larger": z3.Implies(
            z3.And(
                remaining >= 0,
                _is_quotient(emitted, remaining * 3_151, 5_000_000),
                _is_quotient(later, (remaining - emitted) * 3_151, 5_000_000),
            ),
            later <= emitted,
        ),
        "a fault costs no more than there is": z3.Implies(
            z3.And(stake >= 0, z3.Or(_is_quotient(lost, stake * 5, 100), _is_quotient(lost, stake * 100, 100))),
            z3.And(lost >= 0, lost <= stake),
        ),
        "the whole is the whole": z3.Implies(
            z3.And(stake >= 0, _is_quotient(lost, stake * 100, 100)),
            lost == stake,
        ),
        "a reporter gets no more than was lost": z3.Implies(
            z3.And(lost >= 0, _is_quotient(reward, lost, 100)),
            z3.And(reward >= 0, reward <= lost),
        ),
    }
    unproven = 0
    for words, claim in claims.items():
        solver = z3.Solver()
        solver.set("timeout", 60_000)
        solver.add(z3.Not(claim))
        answer = solver.check()
        unproven += answer != z3.unsat
        print(f"{'proven' if answer == z3.unsat else answer}: {words}")
    return unproven


if __name__ == "__main__":
    sys.exit(main())
