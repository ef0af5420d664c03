"""Chapter 10: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import numpy as np
import torch

from facelearn.losses.sphereface import chebyshev, psi

# ---- ex1: ∂ψ/∂c -----------------------------------------------------------------------------------------------------


def piece(c, m):
    """k without an angle: how many joins lie above c."""
    joins = torch.tensor([math.cos(k * math.pi / m) for k in range(1, m)], dtype=c.dtype)
    return (c[:, None] < joins).sum(1)


def by_recursion(c, m):
    """Chebyshev's recursion, differentiated."""
    t0, t1, d0, d1 = torch.ones_like(c), c, torch.zeros_like(c), torch.ones_like(c)
    for _ in range(m - 1):
        t0, t1, d0, d1 = t1, 2 * c * t1 - t0, d1, 2 * t1 + 2 * c * d1 - d0
    return (-1.0) ** piece(c, m) * d1


def by_numpy(c, m):
    waves = np.polynomial.Chebyshev.basis(m).deriv()(c.numpy())
    return torch.from_numpy(waves) * (1 - 2 * (piece(c, m) % 2))


def by_sines(c, m):
    """0 divided by 0 at c = ±1."""
    theta = c.acos()
    return m * (m * theta).sin().abs() / (1 - c * c).sqrt()


def by_autograd(c, m):
    c = c.clone().requires_grad_()
    (slope,) = torch.autograd.grad(psi(c, m).sum(), c)
    return torch.where(c.detach() <= -1, m * m, slope)


def by_transform(c, m):
    """Autograd again, where grad mode is off."""
    return torch.func.vmap(torch.func.grad(lambda one: psi(one[None], m)[0]))(c)


def by_size(c, m):
    """m |U|: no k at all."""
    return m * torch.special.chebyshev_polynomial_u(c, m - 1).abs()


# ---- ex2: a test that finds a wrong staircase -----------------------------------------------------------------------


def grid(stairs, factors=(2, 3, 5), gradient=True):
    """Values and gradients in the middle of each quarter of every piece, by hand."""
    for m in factors:
        theta = (torch.arange(4 * m, dtype=torch.float64) + 0.5) * math.pi / (4 * m)
        k = torch.arange(4 * m) // 4
        c = theta.cos().requires_grad_()
        value = stairs(c, m)
        if not torch.allclose(value, (-1.0) ** k * (m * theta).cos() - 2 * k, atol=1e-6):
            return False
        if gradient:
            (slope,) = torch.autograd.grad(value.sum(), c, allow_unused=True)
            if slope is None or not torch.allclose(slope, m * (m * theta).sin().abs() / theta.sin(), atol=1e-5):
                return False
    return True


def falls(stairs):
    """It falls, from 1 to 1 - 2m, and the gradient says so."""
    for m in (2, 3, 4):
        c = torch.linspace(0.999, -0.999, 999, dtype=torch.float64, requires_grad=True)
        value = stairs(c, m)
        (slope,) = torch.autograd.grad(value.sum(), c)
        ends = abs(value[0].item() - 1) + abs(value[-1].item() - 1 + 2 * m)
        jumps = value.diff().abs().max().item()
        if ends > 0.2 or jumps > 0.3 or (value.diff() > 1e-9).any() or slope.sum() < 1:
            return False
    return True


def at_the_ends(stairs):
    """The gradient at c = 1, where a right one by arccos has none."""
    c = torch.tensor([1.0, 0.3], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(stairs(c, 3).sum(), c)
    return bool(slope.isfinite().all()) and grid(stairs)


# ---- ex3: the smallest λ --------------------------------------------------------------------------------------------


def by_search(theta, m, r):
    """Bisection: T rises with λ wherever cos θ > ψ(θ)."""
    low, high = torch.ones_like(theta), torch.full_like(theta, 100.0)
    goal, c = psi(theta.cos(), m), theta.cos()
    enough = lambda lam: (lam * c + goal) / (1 + lam) >= r  # noqa: E731
    none, at_once = ~enough(high), enough(low)
    for _ in range(80):
        middle = (low + high) / 2
        high, low = torch.where(enough(middle), middle, high), torch.where(enough(middle), low, middle)
    return torch.where(none, 100.0, torch.where(at_once, 1.0, high))


def in_one_line(theta, m, r):
    c = theta.cos()
    return torch.where(c > r, (r - psi(c, m)) / (c - r), 100.0).clamp(1, 100)


def by_division(theta, m, r):
    c = theta.cos()
    return ((r - psi(c, m)) / (c - r)).clamp(1, 100)


RIGHT = {"ex1": [by_recursion, by_numpy, by_size], "ex2": [grid, falls], "ex3": [by_search, in_one_line]}
WRONG = {
    "ex1": [
        (by_sines, "nan"),
        (by_autograd, "autograd"),
        (by_transform, "autograd"),
        (lambda c, m: (-1.0) ** piece(c, m) * chebyshev(c, m), "expected"),
        (lambda c, m: by_recursion(c, m).float(), "float32"),
        (lambda c, m: by_recursion(c, 4), "expected"),
        (lambda c, m: by_recursion(c.mul_(0.5), m), "changes its input"),
        (lambda c, m: by_recursion(c, m).mean(), "shape"),
    ],
    "ex2": [
        (lambda stairs: True, "turns back"),
        (lambda stairs: False, "rejects a right implementation"),
        (lambda stairs: grid(stairs, gradient=False), "no gradient flows back"),
        (lambda stairs: grid(stairs, factors=(4,)), "m = 4 whatever is asked"),
        (at_the_ends, "ends cos"),
        (lambda stairs: 1.0, "True or False"),
    ],
    "ex3": [
        (by_division, "becomes 1 and not 100"),
        (lambda theta, m, r: in_one_line(theta, m, 0.0), "expected"),
        (lambda theta, m, r: in_one_line(theta, m, r).float(), "float32"),
        (lambda theta, m, r: in_one_line(theta, m, r).max(), "shape"),
    ],
}
