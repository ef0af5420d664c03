"""Chapter 07: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import numpy as np
import torch
import torch.nn.functional as F

# ---- ex1: the way back through a normalisation that also takes the mean off ------------------------------------------


def by_jacobians(x, g):
    """Row by row, the whole matrix ∂u/∂x."""
    found = torch.zeros_like(x)
    d = x.shape[1]
    centring = torch.eye(d, dtype=x.dtype) - torch.ones(d, d, dtype=x.dtype) / d
    for i, (row, back) in enumerate(zip(x, g, strict=True)):
        centred = row - row.mean()
        if (length := centred.norm().item()) > 1e-12:
            jacobian = (torch.eye(d, dtype=x.dtype) - torch.outer(centred, centred) / length**2) @ centring / length
            found[i] = jacobian.T @ back
    return found


def by_autograd(x, g):
    x = x.clone().requires_grad_()
    centred = x - x.mean(1, keepdim=True)
    length = centred.norm(dim=1, keepdim=True)
    unit = centred / torch.where(length > 1e-12, length, 1.0)
    return torch.where(length > 1e-12, torch.autograd.grad((unit * g).sum(), x)[0], 0.0)


def plain(x, g, centre=0.0):
    x = x - centre
    length = x.norm(dim=1, keepdim=True)
    return (g - (g * x).sum(1, keepdim=True) * x / length**2) / length


def no_guard(x, g):
    return plain(x, g - g.mean(1, keepdim=True), x.mean(1, keepdim=True))


def in_place(x, g):
    x -= x.mean(1, keepdim=True)
    return by_jacobians(x, g)


# ---- ex2: the scale for a wanted probability -------------------------------------------------------------------------


def by_bisection(p, C, theta, m, phi):
    def enough(s):
        return math.cos(theta + m) * s - math.cos(phi) * s >= math.log(C - 1) + math.log(p) - math.log1p(-p)

    low, high = 0.0, 1e6
    if enough(low):
        return 0.0
    if not enough(high):
        return math.inf
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def in_formula(p, C, theta, m, phi):
    lead = math.cos(theta) * math.cos(m) - math.sin(theta) * math.sin(m) - math.cos(phi)
    odds = (C - 1) * p / (1 - p)
    if odds <= 1:
        return torch.tensor(0.0, dtype=torch.float64)
    return np.float64(math.log(odds) / lead if lead > 0 else math.inf)


def unguarded(p, C, theta, m, phi):
    return math.log((C - 1) * p / (1 - p)) / (math.cos(theta + m) - math.cos(phi))


# ---- ex3: the least loss that d dimensions allow ---------------------------------------------------------------------


def search(s, C, d, steps=500, starts=3, free=True):
    """Adam from several starts; samples may leave their class directions."""
    best = math.inf
    for seed in range(starts):
        generator = torch.Generator().manual_seed(seed)
        w, x = (torch.randn(C, d, generator=generator, dtype=torch.float64).requires_grad_() for _ in range(2))
        optimizer = torch.optim.Adam([w, x], lr=0.1)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / steps) + 1e-4
            unit = F.normalize(w)
            loss = F.cross_entropy(s * (F.normalize(x) if free else unit) @ unit.T, torch.arange(C))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        best = min(best, loss.item())
    return best


def on_class_directions(s, C, d):
    return torch.tensor(search(s, C, d, steps=300, free=False))


def bound(s, C, d):
    return math.log1p((C - 1) * math.exp(-s * C / (C - 1)))


def round_the_circle(s, C, d):
    turn = 2 * math.pi * torch.arange(C, dtype=torch.float64) / C
    return (s * (turn.cos() - 1)).logsumexp(0)


def long_vectors(s, C, d):
    return F.cross_entropy(10 * s * torch.eye(C), torch.arange(C)).item()


RIGHT = {
    "ex1": [by_jacobians],
    "ex2": [by_bisection, in_formula],
    "ex3": [search, on_class_directions],
}
WRONG = {
    "ex1": [
        (by_autograd, "autograd"),
        (plain, "x/‖x‖"),
        (lambda x, g: plain(x, g, x.mean(1, keepdim=True)), "(1, …, 1)"),
        (lambda x, g: plain(x, g - g.mean(0), x.mean(0)), "not that of the batch"),
        (no_guard, "equal entries"),
        (lambda x, g: no_guard(x, g) * (x.shape[1] - 1) ** 0.5, "standard deviation"),
        (in_place, "changes its input"),
        (lambda x, g: by_jacobians(x.float(), g.float()), "7th digit"),
        (lambda x, g: by_jacobians(x, g) * (1 + 1e-7), "expected"),
        (lambda x, g: by_jacobians(x, g).sum(0), "shape"),
    ],
    "ex2": [
        (unguarded, "p below 1/C"),
        (
            lambda *wish: max(unguarded(*wish), 0.0) if math.cos(wish[2] + wish[3]) - math.cos(wish[4]) else math.inf,
            "a lead below 0",
        ),
        (lambda p, C, theta, m, phi: by_bisection(p, C, theta, 0.0, phi), "margin is not in it"),
        (lambda p, C, theta, m, phi: by_bisection(p, C, theta, math.radians(m), phi), "degrees"),
        (lambda p, C, theta, m, phi: by_bisection(p, C + 1, theta, m, phi), "among its rivals"),
        (lambda p, C, theta, m, phi: by_bisection(p, C, theta, m, math.pi / 2), "not always at 90"),
        (lambda p, *wish: 0.0 if p <= 0.5 else by_bisection(p, *wish), "p = 0.3, a hundred classes"),
        (
            lambda *wish: by_bisection(*wish) if math.cos(wish[2] + wish[3]) > math.cos(wish[4]) else math.inf,
            "does not lead",
        ),
        (lambda *wish: None if by_bisection(*wish) == math.inf else by_bisection(*wish), "`return` is missing"),
    ],
    "ex3": [
        (bound, "do the vectors have d entries"),
        (round_the_circle, "not the least yet"),
        (lambda s, C, d: round_the_circle(s, C, d) if d == 2 else 0.317, "not the least yet"),
        (long_vectors, "below the floor"),
        (lambda s, C, d: search(s, C, d, steps=30, starts=1), "not the least yet"),
        (lambda s, C, d: [search(s, C, d, steps=3)], "one number"),
    ],
}
