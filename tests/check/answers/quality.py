"""Chapter 18: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import numpy as np
import torch

# ---- ex1: MagFace's gradient in x ------------------------------------------------------------------------------------


def by_chain(x, w, rest):
    """By the cosine instead of the angle: T = c cos m - √(1 - c²) sin m."""
    n = float(x.norm())
    c = float(x @ w) / n
    a = min(max(n, 1.0), 20.0)
    m = 0.2 + 0.6 / 19 * (a - 1)
    root = math.sqrt(1 - c * c)
    target = c * math.cos(m) - root * math.sin(m)
    unsure = 1 / (1 + math.exp(8 * target - rest))
    by_cos = math.cos(m) + c / root * math.sin(m)
    by_margin = -c * math.sin(m) - root * math.cos(m)
    found = -8 * unsure * by_cos * (w / n - c * x / n**2)
    if 1 < n < 20:
        found = found + (-8 * unsure * by_margin * 0.6 / 19 + 5 * (0.0025 - 1 / n**2)) * x / n
    return found


def by_autograd(x, w, rest):
    x = x.clone().requires_grad_()
    n = x.norm()
    a = n.clamp(1, 20)
    bent = ((x / n) @ w).arccos() + 0.2 + 0.6 / 19 * (a - 1)
    loss = torch.nn.functional.softplus(rest - 8 * bent.cos()) + 5 * (1 / a + a / 400)
    return torch.autograd.grad(loss, x)[0]


def parts(x, w, rest):
    """The gradient along x and across it."""
    full, way = by_chain(x, w, rest), x / x.norm()
    along = (full @ way) * way
    return along, full - along


def no_range(x, w, rest):
    n = float(x.norm())
    if 1 < n < 20:
        return by_chain(x, w, rest)
    m = 0.2 + 0.6 / 19 * (n - 1)
    c = float(x @ w) / n
    theta = math.acos(c)
    unsure = 1 / (1 + math.exp(8 * math.cos(theta + m) - rest))
    across = -(w - c * x / n) / (n * math.sin(theta))
    along = 8 * unsure * math.sin(theta + m) * 0.6 / 19 + 5 * (0.0025 - 1 / n**2)
    return 8 * unsure * math.sin(theta + m) * across + along * x / n


# ---- ex2: margins handed out by hardness -----------------------------------------------------------------------------


def by_a_batch(hand_out):
    margins = torch.tensor([0.5, 0.1, 0.4, 0.9, 0.2, 0.7])
    cos = torch.tensor([0.3, -0.8, 0.6, 0.1, -0.2, 0.9])
    wanted = torch.tensor([0.4, 0.9, 0.2, 0.5, 0.7, 0.1])
    return bool(torch.equal(hand_out(margins, cos), wanted))


def pair_of_two(hand_out):
    """Every order of two is its own rank."""
    got = hand_out(torch.tensor([0.2, 0.6]), torch.tensor([0.9, 0.1]))
    return bool(torch.equal(got, torch.tensor([0.2, 0.6])))


def hardest_alone(hand_out):
    margins = torch.tensor([0.5, 0.1, 0.4, 0.9, 0.2, 0.7])
    cos = torch.tensor([0.3, -0.8, 0.6, 0.1, -0.2, 0.9])
    return bool(hand_out(margins, cos)[1] == margins.max())


def positive_alone(hand_out):
    margins, cos = torch.tensor([0.4, 0.9, 0.1, 0.5]), torch.tensor([0.3, 0.8, 0.6, 0.1])
    return bool(torch.equal(hand_out(margins, cos), torch.tensor([0.5, 0.1, 0.4, 0.9])))


# ---- ex3: the angle with the shortest norm ---------------------------------------------------------------------------


def by_grid(lam, rest):
    """The largest push at the norm it leads to, on a grid that is made finer three times."""
    low, high = 0.3, math.pi - 0.8
    for _ in range(6):
        theta = np.linspace(low, high, 2001)
        a, b = np.full_like(theta, 1.0), np.full_like(theta, 20.0)
        for _ in range(80):
            mid = (a + b) / 2
            bent = theta + 0.2 + 0.6 / 19 * (mid - 1)
            push = 8 * 0.6 / 19 * np.sin(bent) / (1 + np.exp(8 * np.cos(bent) - rest))
            out = lam * (1 / mid**2 - 0.0025) > push
            a, b = np.where(out, mid, a), np.where(out, b, mid)
        best = int(((a + b) / 2).argmin())
        low, high = theta[max(best - 60, 0)], theta[min(best + 60, 2000)]
    return float((low + high) / 2)


def at_right_angle(lam, rest):
    """θ + m(a) = 90°, as if p were 0."""
    a = 1.0
    for _ in range(2):
        a = (0.0025 + 8 * 0.6 / 19 / lam) ** -0.5
    return math.pi / 2 - 0.2 - 0.6 / 19 * (a - 1)


RIGHT = {"ex1": [by_chain], "ex2": [by_a_batch], "ex3": [by_grid]}
WRONG = {
    "ex1": [
        (by_autograd, "autograd"),
        (lambda x, w, rest: parts(x, w, rest)[0], "across is missing"),
        (lambda x, w, rest: parts(x, w, rest)[1], "along x is missing"),
        (lambda x, w, rest: parts(x, w, rest)[0] + parts(x, w, rest)[1] * x.norm(), "turns half as much"),
        (no_range, "outside the range a is constant"),
        (lambda x, w, rest: -by_chain(x, w, rest), "sign"),
        (lambda x, w, rest: by_chain(x, w, rest).float(), "7th digit"),
        (lambda x, w, rest: by_chain(x, w, rest)[None], "shape"),
        (lambda x, w, rest: by_chain(x, w, rest) * (1 + 1e-6), "expected"),
    ],
    "ex2": [
        (pair_of_two, "at the order, not at the rank"),
        (hardest_alone, "not drawn"),
        (positive_alone, "negative"),
        (lambda hand_out: True, "at the order, not at the rank"),
        (lambda hand_out: False, "with ranks"),
        (lambda hand_out: "yes", "expected True or False"),
        (lambda hand_out: None if by_a_batch(hand_out) else False, "`return` is missing"),
    ],
    "ex3": [
        (lambda lam, rest: math.pi / 2 - 0.2, "margin at l_a"),
        (lambda lam, rest: math.pi / 2 - 0.8, "margin at u_a"),
        (at_right_angle, "1 - p rises on"),
        (lambda lam, rest: math.degrees(by_grid(lam, rest)), "radians"),
        (lambda lam, rest: by_grid(lam, rest) + 0.2, "a margin added"),
        (lambda lam, rest: round(by_grid(lam, rest), 2), "expected"),
    ],
}
