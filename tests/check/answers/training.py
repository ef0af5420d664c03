"""Chapter 19: right answers, each by another way than the check's own reference, and wrong ones."""

import itertools
import math

import numpy as np

# ---- ex1: the fault behind a log -------------------------------------------------------------------------------------


def expected(log):
    s, C = log["scale"], log["people"]
    return math.log(C - 1) + s * math.sin(log["margin"]) + s * s / (2 * log["dim"])


def by_signatures(log):
    if log["loss"][0] < 0.65 * expected(log):
        return "scale"
    if log["loss"][0] > 1.3 * expected(log):
        return "degrees"
    if len(set(log["eer"])) == 1:
        return "frozen"
    return "names" if max(log["accuracy"]) > 0.35 else "rate"


def by_last_losses(log):
    ratio = log["loss"][0] / expected(log)
    if abs(ratio - 0.9) > 0.25:
        return "scale" if ratio < 0.9 else "degrees"
    if log["eer"][3] == log["eer"][0]:
        return "frozen"
    return "rate" if np.mean(log["accuracy"][-3:]) < 0.3 else "names"


def always(fault):
    return lambda log: fault


def without_the_start(log):
    if len(set(log["eer"])) == 1:
        return "frozen"
    if log["eer"][-1] < 0.3:
        return "scale"
    return "names" if max(log["accuracy"]) > 0.35 else "rate"


def by_raw_numbers(log):
    """Step 6 left out: cut-offs that part the logs of some dozens of people."""
    if log["loss"][0] > 12:
        return "degrees"
    if log["loss"][0] < 6:
        return "scale"
    if len(set(log["eer"])) == 1:
        return "frozen"
    return "names" if log["accuracy"][-1] > 0.5 else "rate"


def by_other_cut_offs(low, high):
    return lambda log: (
        "degrees" if log["loss"][0] > high else "scale" if log["loss"][0] < low else by_raw_numbers(log | {"loss": [9]})
    )


# ---- ex2: runs that undo an alias ------------------------------------------------------------------------------------


def turn_one(design, i, j):
    more = np.array(design)
    more[:, i] *= -1
    return more


def turn_the_other(design, i, j):
    return np.stack([-column if k == j else column for k, column in enumerate(design.T)], 1)


def turn_three_partners(design, i, j):
    """One of each of the three other pairs of the group: these turn, the pair itself stays."""
    pair, more = design[:, i] * design[:, j], np.array(design)
    for k, n in itertools.combinations(range(8), 2):
        if {k, n} != {i, j} and np.array_equal(design[:, k] * design[:, n], pair):
            more[:, k] *= -1
    return more


def both(design, i, j):
    more = np.array(design)
    more[:, [i, j]] *= -1
    return more


def half(design, i, j):
    return turn_one(design, i, j)[:8]


def random_runs(design, i, j):
    return np.random.default_rng(0).choice([-1, 1], (16, 8))


def overwrites(design, i, j):
    design[:, i] *= -1
    return design


def too_many(design, i, j):
    return np.vstack([turn_one(design, i, j), design])


# ---- ex3: where a row comes to rest ----------------------------------------------------------------------------------


def by_walking(rate, decay, pull):
    """Step after step, from a short row; squares, since the step stands across."""
    if decay == 0:
        return math.inf
    square = rate * pull / 10
    for _ in range(int(40 / (rate * decay)) + 50):
        square = (1 - rate * decay) ** 2 * square + (rate * pull) ** 2 / square
    return math.sqrt(square)


def by_roots(rate, decay, pull):
    gone = rate * decay * (2 - rate * decay)
    return math.sqrt(rate * pull / math.sqrt(gone)) if gone else math.inf


RIGHT = {
    "ex1": [by_signatures, by_last_losses],
    "ex2": [turn_one, turn_the_other, turn_three_partners],
    "ex3": [by_walking, by_roots],
}
WRONG = {
    "ex1": [
        (always("rate"), "taken for radians"),
        (always("a fault"), "expected one of rate, degrees"),
        (without_the_start, "taken for radians"),
        (lambda log: by_signatures(log | {"margin": 0.0}), "was made where"),
        (by_raw_numbers, "not multiplied by the scale"),
        (by_other_cut_offs(7.9, 12), "was made where"),
        (by_other_cut_offs(6, 18), "taken for radians"),
        (by_other_cut_offs(6, 15.9), "was made where"),
    ],
    "ex2": [
        (lambda design, i, j: -design, "the same 16 runs again"),
        (lambda design, i, j: design, "the same 16 runs again"),
        (both, "still equals three others"),
        (half, "still correlated"),
        (random_runs, "correlated"),
        (too_many, "n from 1 to 16"),
        (overwrites, "copy it first"),
        (lambda design, i, j: (design + 1) // 2, "each level is 1 or -1"),
    ],
    "ex3": [
        (lambda rate, decay, pull: (rate * pull**2 / (2 * decay)) ** 0.25 if decay else math.inf, "limit of a small"),
        (lambda rate, decay, pull: 1.0, ""),
        (lambda rate, decay, pull: (pull / decay) ** 0.5 if decay else math.inf, "along the row"),
        (lambda rate, decay, pull: math.sqrt(rate * pull) / (1 - (1 - decay) ** 2) ** 0.25, "rate times decay"),
        (
            lambda rate, decay, pull: (
                math.sqrt(rate * pull * (1 - rate * decay)) / (1 - (1 - rate * decay) ** 2) ** 0.25
            ),
            "decay acts on w alone",
        ),
        (lambda rate, decay, pull: math.sqrt(rate * pull) / (1 - (1 - rate * decay) ** 2) ** 0.25, "return infinity"),
        (
            lambda rate, decay, pull: (
                math.sqrt(rate * pull) / (1 - max(0.0, 1 - rate * decay) ** 2) ** 0.25 if decay else math.inf
            ),
            "its square counts",
        ),
        (lambda rate, decay, pull: by_roots(rate, decay, pull) if decay else 1.0, "return infinity"),
    ],
}
