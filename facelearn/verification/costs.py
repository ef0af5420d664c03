"""What errors cost (NIST's detection cost), and what scores are worth as evidence (Cllr)."""

from __future__ import annotations

import math

import numpy as np

from facelearn.verification.checks import Array


def detection_cost(far: Array, frr: Array, p_genuine: float, cost_reject: float, cost_accept: float) -> Array:
    r"""Expected cost of a decision, over that of the better of the two deciders who do not look at the score.

        DCF  = cost_reject p FRR + cost_accept (1 - p) FAR        p = p_genuine, how often a pair is genuine in use
        here = DCF / min(cost_reject p, cost_accept (1 - p))      1: worth no more than always saying the same

    far, frr: rates at any thresholds, of equal shape; the minimum over all thresholds is minDCF. The defaults of
    `VerificationResult.min_dcf` (costs of 1, p = 0.01) are one of the two operating points of NIST's speaker
    recognition evaluation of 2016; the other has p = 0.005. ValueError for p outside (0, 1) or costs that are not > 0.
    """
    if not 0 < p_genuine < 1:
        raise ValueError(f"p_genuine: found {p_genuine!r}, expected a number in (0, 1)")
    for name, cost in (("cost_reject", cost_reject), ("cost_accept", cost_accept)):
        if not 0 < cost < math.inf:
            raise ValueError(f"{name}: found {cost!r}, expected a number > 0")
    reject, accept = cost_reject * p_genuine, cost_accept * (1 - p_genuine)
    return np.asarray((reject * frr + accept * far) / min(reject, accept))


def cllr(scores: Array, same: Array) -> float:
    r"""Cost of log likelihood ratios, in bits.

        Cllr = 1/2 ( mean over genuine of log2(1 + e^{-s}) + mean over impostor of log2(1 + e^{s}) )

    scores (P,): s = ln( P(what was seen | one person) / P(what was seen | two people) ), so 0 says nothing. 0 is
    perfect, 1 is what "0 for every pair" gives; above 1 the scores mislead. -inf on a genuine pair costs inf.
    Source: Brümmer & du Preez, Computer Speech and Language 20 (2006), 10.1016/j.csl.2005.08.001.
    """
    s = np.asarray(scores, np.float64)
    genuine, impostor = np.logaddexp(0, -s[same]).mean(), np.logaddexp(0, s[~same]).mean()
    return float((genuine + impostor) / (2 * math.log(2)))


def min_cllr(scores: Array, same: Array) -> float:
    """Cllr of the best non-decreasing function of the scores: the part of the cost that calibration cannot mend.

    That function is found by pool-adjacent-violators (isotonic regression of `same`), the posterior turned into a
    likelihood ratio by the list's own odds (Brümmer & du Preez 2006).
    """
    from sklearn.isotonic import isotonic_regression

    s = np.asarray(scores, np.float64)
    _, place, count = np.unique(s, return_inverse=True, return_counts=True)  # ties cross together
    share = np.bincount(place, weights=same) / count
    posterior = np.clip(isotonic_regression(share, sample_weight=count), 0, 1)[place]  # (P,)
    with np.errstate(divide="ignore"):
        llr = np.log(posterior) - np.log1p(-posterior) - math.log(same.sum() / (~same).sum())
    return cllr(llr, same)
