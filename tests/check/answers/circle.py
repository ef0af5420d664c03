"""Chapter 15: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import torch
import torch.nn.functional as F

# ---- ex1: where a free point meets the circle ------------------------------------------------------------------------


def by_quadratic(points, m):
    """|P + t (O - P) - C|² = 2 m², the smaller root."""
    rows = []
    for s_n, s_p in points.tolist():
        u, v = -m - s_n, 1 + m - s_p  # O - P
        c, d = s_n, s_p - 1  # P - C
        if c * c + d * d <= 2 * m * m:
            rows.append([s_n, s_p])
            continue
        A, B, D = u * u + v * v, 2 * (u * c + v * d), c * c + d * d - 2 * m * m
        t = (-B - math.sqrt(max(B * B - 4 * A * D, 0.0))) / (2 * A)
        rows.append([s_n + t * u, s_p + t * v])
    return torch.tensor(rows, dtype=points.dtype)


def by_bisection(points, m):
    goal, center = points.new_tensor([-m, 1 + m]), points.new_tensor([0.0, 1.0])
    low = torch.zeros(len(points), 1, dtype=points.dtype)
    away = (goal - points).square().sum(1, keepdim=True)
    high = ((center - points) * (goal - points)).sum(1, keepdim=True) / away  # the middle of the chord
    for _ in range(200):
        middle = (low + high) / 2
        outside = (points + middle * (goal - points) - center).norm(dim=1, keepdim=True) > 2**0.5 * m
        low, high = torch.where(outside, middle, low), torch.where(outside, high, middle)
    there = (points - center).norm(dim=1, keepdim=True) <= 2**0.5 * m
    return torch.where(there, points, points + low * (goal - points))


def walked(points, m, steps=2000):
    """Small steps along the force until the circle is passed: four digits."""
    p, center = points.clone(), points.new_tensor([0.0, 1.0])
    for _ in range(steps):
        way = torch.stack([-(p[:, 0] + m), 1 + m - p[:, 1]], 1)
        outside = (p - center).norm(dim=1, keepdim=True) > 2**0.5 * m
        p = torch.where(outside, p + 1e-3 * way, p)
    return p


def to_the_corner(points, m):
    """The way with α differentiated: straight to (0, 1)."""
    away = points - points.new_tensor([0.0, 1.0])
    return points - away * (1 - 2**0.5 * m / away.norm(dim=1, keepdim=True).clamp(min=2**0.5 * m))


# ---- ex2: a test of published faults --------------------------------------------------------------------------------


def by_hand(loss):
    """Values and slopes from the formula in Python's floats; then γ = 256 in float32."""
    for p, n, m, gamma in (([0.9, 0.2], [0.3, -0.9, 0.5], 0.25, 4.0), ([0.95], [-0.1, 0.2], 0.25, 2.0)):
        a_p, a_n = [1 + m - s for s in p], [max(0.0, s + m) for s in n]
        e_p = [math.exp(-gamma * a * (s - 1 + m)) for a, s in zip(a_p, p, strict=True)]
        e_n = [math.exp(gamma * a * (s - m)) for a, s in zip(a_n, n, strict=True)]
        z = sum(e_p) * sum(e_n)
        s_p, s_n = (torch.tensor(s, dtype=torch.float64, requires_grad=True) for s in (p, n))
        value = loss(s_p, s_n, m, gamma)
        slopes = torch.autograd.grad(value, (s_p, s_n))
        share = z / (1 + z) * gamma
        wanted = [-share * e / sum(e_p) * a for e, a in zip(e_p, a_p, strict=True)]
        wanted += [share * e / sum(e_n) * a for e, a in zip(e_n, a_n, strict=True)]
        got = torch.cat(slopes).tolist()
        if abs(value.item() - math.log1p(z)) > 1e-9:
            return False
        if any(abs(a - b) > 1e-9 for a, b in zip(got, wanted, strict=True)):
            return False
    far = loss(torch.tensor([-1.0]), torch.tensor([1.0]), 0.25, 256.0)
    return abs(far.item() - 256 * (2.25 * 1.75 + 1.25 * 0.75)) < 0.1


def values_alone(loss):
    s_p, s_n = (torch.tensor(s, dtype=torch.float64) for s in ([0.9, 0.2], [0.3, -0.9]))
    pull = -4 * (1.25 - s_p) * (s_p - 0.75)
    push = 4 * (s_n + 0.25).clamp(min=0) * (s_n - 0.25)
    wanted = F.softplus(pull.logsumexp(0) + push.logsumexp(0))
    return bool((loss(s_p, s_n, 0.25, 4.0) - wanted).abs() < 1e-9)


def one_of_each(loss):
    s_p, s_n = (torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (0.6, 0.4))
    value = loss(s_p, s_n, 0.25, 4.0)
    slopes = torch.autograd.grad(value, (s_p, s_n))
    z = 4 * (0.65 * 0.15 + 0.65 * 0.15)
    share = 4 * 0.65 / (1 + math.exp(-z))
    return abs(value.item() - math.log1p(math.exp(z))) < 1e-9 and abs(slopes[1].item() - share) < 1e-9


# ---- ex3: the circle of many pairs ----------------------------------------------------------------------------------


def by_search(m, gamma, K, N):
    """The r at which z, with all pairs r away from (0, 1) along the s_n axis, is 0."""
    z = lambda r: gamma * (r * r - m * m - m * m) + math.log(K) + math.log(N)  # noqa: E731
    low, high = 0.0, 2.0
    if z(0.0) >= 0:
        return 0.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if z(middle) < 0 else (low, middle)
    return low


def tensor(m, gamma, K, N):
    return torch.tensor(by_search(m, gamma, K, N), dtype=torch.float64)


def nothing_there(m, gamma, K, N):
    square = 2 * m * m - math.log(K * N) / gamma
    return math.sqrt(square) if square > 0 else math.nan


RIGHT = {"ex1": [by_quadratic, by_bisection], "ex2": [by_hand], "ex3": [by_search, tensor]}
WRONG = {
    "ex1": [
        (walked, "expected"),
        (lambda points, m: points, "expected"),
        (lambda points, m: by_quadratic(points, m).flip(1), "columns"),
        (lambda points, m: by_quadratic(points, m)[0], "shape"),
        (lambda points, m: by_quadratic(points, m).float(), "7th digit"),
        (lambda points, m: by_quadratic(points, 2 * m), "expected"),
        (to_the_corner, "(0, 1)"),
    ],
    "ex2": [
        (values_alone, "α gets a gradient"),
        (one_of_each, "α may be negative"),
        (lambda loss: True, "α gets a gradient"),
        (lambda loss: False, "rejects"),
    ],
    "ex3": [
        (nothing_there, "nan"),
        (lambda m, gamma, K, N: 2**0.5 * m, "K and N"),
        (lambda m, gamma, K, N: by_search(m, gamma, K, N) ** 2, "square of the radius"),
        (lambda m, gamma, K, N: by_search(m, 2 * m * gamma, K, N), "γ itself"),
        (lambda m, gamma, K, N: -by_search(m, gamma, K, N), "expected"),
    ],
}
