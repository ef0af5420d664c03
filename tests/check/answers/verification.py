"""Chapter 01: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import numpy as np
from scipy.special import ndtr
from scipy.stats import norm

# ---- right answers --------------------------------------------------------------------------------------------------


def by_counting(scores, same, weights, far):
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.diff(scores[order]) != 0, True)
    accepted, wrongly = (np.append(0, np.cumsum((weights * kind)[order])[last]) for kind in (same, ~same))
    if far * wrongly[-1] < 1:
        raise ValueError("too fine")
    return accepted[wrongly / wrongly[-1] <= far].max() / accepted[-1]


def by_repeating(scores, same, weights, far):
    genuine, impostor = (np.repeat(scores[kind], weights[kind]) for kind in (same, ~same))
    if far < 1 / len(impostor):
        raise ValueError(f"far: found {far}")
    steps = [t for t in np.unique(genuine) if np.mean(impostor >= t) <= far]
    return float(np.mean(genuine >= min(steps))) if steps else 0


def closed_form(mean_genuine, sd_genuine, mean_impostor, sd_impostor):
    threshold = (mean_genuine * sd_impostor + mean_impostor * sd_genuine) / (sd_genuine + sd_impostor)
    return threshold, ndtr(-(mean_genuine - mean_impostor) / (sd_genuine + sd_impostor))


def by_a_grid(mean_genuine, sd_genuine, mean_impostor, sd_impostor):
    from scipy.optimize import brentq

    def excess(t):
        return norm.sf(t, mean_impostor, sd_impostor) - norm.cdf(t, mean_genuine, sd_genuine)

    threshold = brentq(excess, -20, 20, xtol=1e-14)
    return threshold, norm.sf(threshold, mean_impostor, sd_impostor)


def first_fold_is_different(ten_folds):
    """The others want a threshold above all scores of fold 0; fold 0, which outweighs them, one among its scores."""
    others = np.tile([0.9, 0.5], 6)
    first = np.tile([0.2, 0.1], 40)
    scores = np.concatenate([first, others])
    folds = np.repeat([0, 1, 2], [80, 6, 6])
    return bool(ten_folds(scores, np.arange(len(scores)) % 2 == 0, folds)[0] == 0.5)


# ---- planted wrong answers, and the word by which each is named ------------------------------------------------------


def never_refuses(scores, same, weights, far):
    try:
        return by_counting(scores, same, weights, far)
    except ValueError:
        return 0.0


def refuses_exact(scores, same, weights, far):
    if far * weights[~same].sum() <= 1 + 1e-9:
        raise ValueError("too fine")
    return by_counting(scores, same, weights, far)


def counts_pairs(scores, same, weights, far):
    """Refuses by the number of pairs, not by what they count."""
    if far < 1 / (~same).sum():
        raise ValueError("too fine")
    return by_repeating(scores, same, weights, max(far, 1 / weights[~same].sum()))


def one_by_one(scores, same, weights, far):
    order = np.lexsort((~same, -scores))
    tar, reached = (np.cumsum((weights * kind)[order]) / (weights * kind).sum() for kind in (same, ~same))
    return float(tar[reached <= far].max(initial=0.0))


def interpolating(scores, same, weights, far):
    scores, same = np.repeat(scores, weights), np.repeat(same, weights)
    steps = np.unique(scores)[::-1]
    fars, tars = (np.append(0, [(scores[kind] >= t).mean() for t in steps]) for kind in (~same, same))
    return float(np.interp(far, fars, tars))


def nearest_far(scores, same, weights, far):
    scores, same = np.repeat(scores, weights), np.repeat(same, weights)
    rates = [((scores[~same] >= t).mean(), (scores[same] >= t).mean()) for t in np.unique(scores)[::-1]]
    return float(min(rates, key=lambda rate: (abs(rate[0] - far), -rate[1]))[1])


def half_d_prime(mean_genuine, sd_genuine, mean_impostor, sd_impostor):
    pooled = math.sqrt((sd_genuine**2 + sd_impostor**2) / 2)
    middle = (mean_genuine + mean_impostor) / 2
    return middle, ndtr(-(mean_genuine - mean_impostor) / (2 * pooled))


def one_minus_auc(*curve):
    g, a, i, b = curve
    return closed_form(*curve)[0], ndtr(-(g - i) / math.hypot(a, b))


def all_folds_alike(ten_folds):
    """Every fold has the same scores, so the leak through all of them changes nothing."""
    scores = np.tile([0.9, 0.1], 20)
    return bool(np.all(ten_folds(scores, np.arange(40) % 2 == 0, np.repeat(np.arange(4), 10)) == 1))


def small_first_fold(ten_folds):
    """Fold 0 differs, but is too small to move a threshold chosen on all."""
    scores = np.concatenate([[0.2, 0.1], np.tile([0.9, 0.5], 20)])
    folds = np.repeat([0, 1, 2], [2, 20, 20])
    return bool(ten_folds(scores, np.arange(42) % 2 == 0, folds)[0] == 0.5)


def without_a_gap(ten_folds):
    """A score of fold 0 lies between the scores of the others: which threshold is taken decides."""
    scores = np.concatenate([np.tile([0.7, 0.1], 40), np.tile([0.9, 0.5], 6)])
    return bool(ten_folds(scores, np.arange(92) % 2 == 0, np.repeat([0, 1, 2], [80, 6, 6]))[0] == 0.5)


RIGHT = {
    "ex1": [by_counting, by_repeating],
    "ex2": [closed_form, by_a_grid],
    "ex3": [first_fold_is_different],
}
WRONG = {
    "ex1": [
        (lambda s, y, w, far: by_counting(s, y, np.ones_like(w), far), "weights have no effect"),
        (one_by_one, "one by one"),
        (nearest_far, "nearest"),
        (interpolating, "interpolates"),
        (never_refuses, "raise ValueError"),
        (refuses_exact, "exactly what they can show"),
        (counts_pairs, "weights add up"),
        (lambda s, y, w, far: far, "got"),
    ],
    "ex2": [
        (lambda *c: (closed_form(*c)[0], 1 - closed_form(*c)[1]), "sign"),
        (lambda *c: ((c[0] + c[2]) / 2, closed_form(*c)[1]), "midway"),
        (half_d_prime, "pooled"),
        (one_minus_auc, "1 - AUC"),
        (lambda *c: closed_form(*c)[::-1], "swapped"),
    ],
    "ex3": [
        (lambda ten_folds: True, "lets this bug pass: each fold"),
        (lambda ten_folds: False, "rejects an honest"),
        (all_folds_alike, "lets this bug pass: each fold"),
        (small_first_fold, "lets this bug pass: one threshold"),
        (without_a_gap, "leave a gap"),
        (lambda ten_folds: 0.7, "True or False"),
    ],
}
