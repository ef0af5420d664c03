"""Chapter 14: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import torch
from scipy.optimize import brentq
from scipy.special import betainc

# ---- ex1: from which cosine on CurricularFace pushes harder than ArcFace ---------------------------------------------


def by_brent(s, t):
    """Both sides divided by exp(s c)."""
    return brentq(lambda c: math.exp(s * c * (t + c - 1)) * (t + 2 * c) - 1, (1 - t) / 2 - 1e-12, 1 - t, xtol=1e-14)


def by_newton(s, t):
    c = 1 - t
    for _ in range(200):
        gain = s * c * (t + c - 1) + math.log(t + 2 * c)
        c -= gain / (s * (t + 2 * c - 1) + 2 / (t + 2 * c))
    return torch.tensor(c, dtype=torch.float64)


def middle(s, t):
    return 0.75 * (1 - t)


def only_exponent(s, t):
    return 1 - t


def coarse(s, t):
    return round(by_brent(s, t), 3)


# ---- ex2: a test of a curriculum -------------------------------------------------------------------------------------

ROWS = torch.tensor(
    [[0.6, 0.5, -0.3, 0.1], [0.2, -0.8, 0.3, 0.45], [-0.5, 0.7, 0.9, 0.65], [-0.6, -0.3, 0.1, -0.8]],
    dtype=torch.float64,
)
OWN = torch.tensor([0, 2, 2, 0])


def by_hand(t, rows=ROWS, own=OWN):
    logits = []
    for row, y in zip(rows.tolist(), own.tolist(), strict=True):
        T = math.cos(math.acos(row[y]) + 0.5)
        logits.append([T if j == y else c * (t + c) if c > T else c for j, c in enumerate(row)])
    return torch.tensor(logits, dtype=torch.float64)


def careful(make):
    head, cos = make().train(), ROWS.clone().requires_grad_()
    t = 0.01 * (0.6 + 0.3 + 0.9 - 0.6) / 4
    got = head(cos, OWN)
    if not torch.allclose(got, by_hand(t), atol=1e-12) or abs(float(head.t) - t) > 1e-12:
        return False
    (slope,) = torch.autograd.grad(got.sum(), cos)
    for i, j in ((0, 1), (1, 3)):  # hard: t + 2 c
        if abs(float(slope[i, j]) - t - 2 * float(ROWS[i, j])) > 1e-12:
            return False
    c = float(ROWS[0, 0])
    if abs(float(slope[0, 0]) - math.sin(math.acos(c) + 0.5) / math.sin(math.acos(c))) > 1e-9:
        return False
    again = t + 0.01 * (0.3 - t)
    if not torch.allclose(head(ROWS, OWN), by_hand(again), atol=1e-12):
        return False
    head.eval()
    return bool(torch.allclose(head(ROWS, OWN), by_hand(again), atol=1e-12)) and abs(float(head.t) - again) < 1e-12


def first_call_alone(make):
    return bool(torch.allclose(make().train()(ROWS, OWN), by_hand(0.003), atol=1e-12))


def no_gradient(make):
    head = make().train()
    right = torch.allclose(head(ROWS, OWN), by_hand(0.003), atol=1e-12)
    return bool(right and torch.allclose(head.eval()(ROWS, OWN), by_hand(0.003), atol=1e-12))


def state_alone(make):
    head = make().train()
    head(ROWS, OWN)
    moved = abs(float(head.t) - 0.003) < 1e-12
    head.eval()(ROWS, OWN)
    return moved and abs(float(head.t) - 0.003) < 1e-12


def to_the_last_bit(make):
    return bool((make().train()(ROWS, OWN) == by_hand(0.003)).all())


# ---- ex3: how many batches until few are pulled the wrong way --------------------------------------------------------


def step_by_step(share, d, mean, beta):
    """t as training has it, batch by batch; the share below -t/2 from the law of c²."""
    t, k = 0.0, 0

    def wrong(t):
        return 0.5 * (1 - betainc(0.5, (d - 1) / 2, min(1.0, t * t / 4)))

    while wrong(t) > share + 1e-12:
        if k > 5000:
            return math.inf
        t, k = beta * mean + (1 - beta) * t, k + 1
    return k


def as_a_tensor(share, d, mean, beta):
    return torch.tensor(float(step_by_step(share, d, mean, beta)), dtype=torch.float64)


def never_is_many(share, d, mean, beta):
    found = step_by_step(share, d, mean, beta)
    return found if found < math.inf else 10**6


def off_by_one(share, d, mean, beta):
    return step_by_step(share, d, mean, beta) + 1


def share_of_all(share, d, mean, beta):
    return 69


RIGHT = {"ex1": [by_brent, by_newton], "ex2": [careful], "ex3": [step_by_step, as_a_tensor]}
WRONG = {
    "ex1": [(middle, "expected"), (only_exponent, "logit passes c"), (coarse, "expected")],
    "ex2": [
        (first_call_alone, "eval()"),
        (no_gradient, "gradient flows through t"),
        (state_alone, "before this batch"),
        (to_the_last_bit, "float64"),
    ],
    "ex3": [(never_is_many, "expected inf"), (off_by_one, "expected"), (share_of_all, "expected")],
}
