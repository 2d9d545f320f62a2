"""What the best of many candidates is worth: a search shows it, while a belief is about one pair that somebody sent.

A belief assumes that most pairs are true. Among the N items that a search looks at about one is right, so that the
odds of a hit are its likelihood ratio over N; the ratio follows from the belief and from the share of wrong pairs that
the belief assumes (Bayes). And the best of N wrong candidates looks good by chance. How good, a checkpoint tells by its
own references: how many wrong candidates as good as a hit N of them would hold (the E-value of Karlin and Altschul
1990). Integers throughout; everything follows from the checkpoint and N. Source: docs/scoring.md, "The floor".
"""

import numpy as np
import numpy.typing as npt

from curiosity.protocol.belief import ITSELF_MICRO, UNKNOWN_MICRO, Beliefs
from curiosity.protocol.judgement import Anchors
from curiosity.protocol.scoring import CSLS_NEIGHBOURS, MICRO, Quantised, cosine_table_micro

FALSE_SHOWN_MICRO = 100_000  # of searches for what is not there, at most this share shows something
EXPECTED_WRONG_MICRO = 105_361  # -ln(1 - 0.1): with so many wrong hits expected, a tenth of such searches have one

Micro = npt.NDArray[np.int64]


def probability_micro(belief_micro: int, cheating_micro: int, searched: int) -> int:
    """Return the probability that a hit among ``searched`` candidates belongs to the query, in millionths.

    ``belief_micro`` is the belief in query and hit as a pair, which assumes that ``cheating_micro`` of all pairs are
    wrong. The likelihood ratio is L = b c / ((1 - b) (1 - c)). Of the N candidates and the case that none is right each
    is as likely before anything is known, so that the odds of the hit are L / N.
    """
    true = belief_micro * cheating_micro
    wrong = searched * (MICRO - belief_micro) * (MICRO - cheating_micro)
    return MICRO * true // (true + wrong) if true else 0


def least_probability_micro(
    wrong_micro: Micro, cheating_micro: int, searched: int, expected_micro: int = EXPECTED_WRONG_MICRO
) -> int:
    """Return the probability that at most a tenth of searches reach in which no candidate is right, in millionths.

    Another number of wrong hits that are expected, ``expected_micro``, gives another share than a tenth.
    ``searched`` is 1 or more.

    ``wrong_micro`` are the beliefs in wrong pairs, highest first, int64[n]: of N wrong candidates N k / n are expected
    to be believed as the k-th is. Where N is so large that less than one of n would have to be counted, the likelihood
    ratio asked grows with N, as it must (a ratio of at least x is found in at most 1 / x of wrong pairs), and the
    probability stays. Where nothing is known of wrong pairs it is a half.
    """
    if not len(wrong_micro):
        return MICRO // 2
    most = expected_micro * len(wrong_micro)
    counted = min(len(wrong_micro) - 1, max(1, most // (MICRO * searched)))
    belief = min(MICRO, int(wrong_micro[counted]) + 1)
    return probability_micro(belief, cheating_micro, max(1, min(searched, most // MICRO)))


def wrong_beliefs_micro(modality: str, to: str, beliefs: Beliefs, anchors: Anchors) -> Micro:
    """Return the beliefs in queries and wrong hits, the highest first: the checkpoint's references with each other.

    Of each reference of ``modality`` the one of ``to`` with the highest score is left out: it may be its partner. For
    the same reason an item's crowding is that of its ten nearest bank entries after the first. A pair that is less
    familiar than what is judged has the belief 0.
    """
    name = "-".join(sorted((modality, to)))
    banks = dict(zip(sorted((modality, to)), anchors.banks[name], strict=True))
    queries, hits = anchors.references[modality], anchors.references[to]
    crowds = _crowds(queries, banks[to])[:, None] + _crowds(hits, banks[modality])[None, :]
    scores = cosine_table_micro(queries, hits) - crowds // 2
    known = _familiarities(anchors, modality, to, domains=1 + len(beliefs.others))
    found = np.zeros_like(scores)
    nearest, highest = np.zeros_like(scores), np.full_like(scores, -2 * MICRO)
    for number, domain in enumerate((beliefs, *beliefs.others)):
        if domain is not None:
            is_nearer = known[number] > highest
            nearest[is_nearer], highest[is_nearer] = number, known[number][is_nearer]
    for number, domain in enumerate((beliefs, *beliefs.others)):
        if domain is None:
            continue
        place = np.searchsorted(np.array(domain.edges_micro, dtype=np.int64), highest, side="right")
        for at, one in enumerate(domain.ranges):
            here = (nearest == number) & (place == at) & (highest >= domain.least_familiar_micro)
            found[here] = one.curve.at_each(scores[here])
    keeps = np.ones(scores.shape, dtype=np.bool_)
    if keeps.size:
        keeps[np.arange(len(scores)), scores.argmax(axis=1)] = False
    return np.sort(found[keeps])[::-1]


def _crowds(items: Quantised, bank: Quantised) -> Micro:
    """Return the mean of each item's ten highest cosines with a bank after the first, int64[n]."""
    ordered = np.sort(cosine_table_micro(items, bank), axis=1)[:, ::-1]
    rivals = ordered[:, 1 : 1 + CSLS_NEIGHBOURS]
    mean: Micro = rivals.sum(axis=1) // max(1, rivals.shape[1])
    return mean


def _familiarities(anchors: Anchors, modality: str, to: str, domains: int) -> list[Micro]:
    """Return the familiarity of every two references with each domain, int64[n, m] each."""
    found = []
    for domain in range(domains):
        query, hit = (_nearest(anchors.references[name], anchors.of_domain(name, domain)) for name in (modality, to))
        found.append((query[:, None] + hit[None, :]) // 2)
    return found


def _nearest(items: Quantised, references: Quantised) -> Micro:
    """Return each item's highest cosine to references that are not the item itself, int64[n]."""
    if not len(references):
        return np.full(len(items), UNKNOWN_MICRO, dtype=np.int64)
    cosines = cosine_table_micro(items, references)
    nearest: Micro = np.where(cosines <= ITSELF_MICRO, cosines, UNKNOWN_MICRO).max(axis=1)
    return nearest
