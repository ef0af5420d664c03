"""Chapter 08: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import torch

# ---- ex1: the gradient of a ring that measures norms by their own mean -----------------------------------------------


def by_rows(x):
    """∂L/∂n from L = ½ (Σ n² B / (Σ n)² - 1), row by row."""
    norms = [float(row.square().sum()) ** 0.5 for row in x]
    total, squares, batch = sum(norms), sum(n * n for n in norms), len(norms)
    found = torch.zeros_like(x)
    for i, n in enumerate(norms):
        if n > 0:
            slope = batch * n / total**2 - batch * squares / total**3
            found[i] = slope * x[i] / n
    return found


def by_autograd(x):
    x = x.clone().requires_grad_()
    norms = torch.linalg.vector_norm(x, dim=1)
    return torch.autograd.grad((norms / norms.mean() - 1).square().mean() / 2, x)[0]


def held(x):
    x = x.clone()
    norms = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    m = norms.mean()
    return (norms / m - 1) / (len(x) * m) * torch.nn.functional.normalize(x)


def held_unguarded(x):
    norms = x.norm(dim=1, keepdim=True)
    return (norms / norms.mean() - 1) / (len(x) * norms.mean()) * x / norms


def unguarded(x):
    norms = x.norm(dim=1, keepdim=True)
    return by_rows(x) * (norms / norms)


def in_place(x):
    x *= 1.0000001
    return by_rows(x)


# ---- ex2: a test that catches the factor two -------------------------------------------------------------------------


def by_differences(loss):
    """Values by hand at three batches, slopes by quotients of differences and by autograd."""

    def value(rows, radius):
        return float(loss(torch.tensor(rows).double(), torch.tensor(radius).double()))

    wanted = [
        ([[3.0, 4.0]], 4.0, 0.5),
        ([[60.0, 80.0]], 4.0, 4608.0),
        ([[3.0, 4.0], [0.0, 10.0], [0.0, 1.0]], 4.0, 46 / 6),
        ([[0.0, 0.0]], 1.0, 0.5),
    ]
    if any(abs(value(rows, radius) - want) > 1e-9 for rows, radius, want in wanted):
        return False
    x = torch.tensor([[3.0, 4.0], [0.0, 10.0]]).double().requires_grad_()
    radius = torch.tensor(4.0).double().requires_grad_()
    of_x, of_radius = torch.autograd.grad(loss(x, radius), (x, radius), allow_unused=True)
    if of_x is None or of_radius is None or abs(float(of_radius) + 3.5) > 1e-9:
        return False
    if not torch.allclose(of_x, torch.tensor([[0.3, 0.4], [0.0, 3.0]]).double()):
        return False
    origin = torch.zeros(1, 2).double().requires_grad_()
    loss(origin, torch.tensor(1.0).double()).backward()
    return bool(origin.grad.isfinite().all())


def values_alone(loss):
    x = torch.tensor([[3.0, 4.0], [6.0, 8.0], [0.0, 1.0]]).double()
    return abs(float(loss(x, torch.tensor(4.0).double())) - 46 / 6) < 1e-9


def no_value(loss):
    x = torch.tensor([[3.0, 4.0], [60.0, 80.0], [0.0, 1.0]]).double().requires_grad_()
    radius = torch.tensor(4.0).double().requires_grad_()
    slopes = torch.autograd.grad(loss(x, radius), (x, radius), materialize_grads=True)
    wanted = torch.tensor([[0.2, 4 / 15], [19.2, 25.6], [0.0, -1.0]]).double()
    return torch.allclose(slopes[0], wanted) and abs(float(slopes[1]) + 94 / 3) < 1e-9


def one_norm(loss):
    return abs(float(loss(torch.tensor([[3.0, 4.0]]).double(), torch.tensor(4.0).double())) - 0.5) < 1e-9


def no_origin(loss):
    x = torch.tensor([[3.0, 4.0], [6.0, 8.0], [0.0, 1.0]]).double().requires_grad_()
    radius = torch.tensor(4.0).double().requires_grad_()
    value = loss(x, radius)
    slopes = torch.autograd.grad(value, (x, radius), allow_unused=True)
    if slopes[0] is None or slopes[1] is None:
        return False
    wanted = torch.tensor([[0.2, 4 / 15], [1.2, 1.6], [0.0, -1.0]]).double()
    return (
        abs(value.item() - 46 / 6) < 1e-9 and torch.allclose(slopes[0], wanted) and abs(float(slopes[1]) + 4 / 3) < 1e-9
    )


def to_the_last_bit(loss):
    x = torch.tensor([[1.0, 2.0], [0.3, 0.1]]).double()
    radius = torch.tensor(0.7).double()
    return bool(loss(x, radius) == (torch.linalg.vector_norm(x, dim=1) - radius).square().mean() / 2)


# ---- ex3: where a perfect image comes to rest ------------------------------------------------------------------------


def by_newton(lam, R, w, C):
    """Newton's rule on g(n) = λ (n - R) - w / (1 + e^{wn} / (C - 1)), kept between its bounds."""
    if lam == 0:
        return math.inf
    low, high, n = R, R + w / lam, R
    for _ in range(500):
        unsure = 1 / (1 + math.exp(min(w * n - math.log(C - 1), 700)))
        g = lam * (n - R) - w * unsure
        low, high = (n, high) if g < 0 else (low, n)
        step = n - g / (lam + w * w * unsure * (1 - unsure))
        n = step if low < step < high else (low + high) / 2
    return n


def tensor(lam, R, w, C):
    return torch.tensor(by_newton(lam, R, w, C), dtype=torch.float64)


def repeated(lam, R, w, C, steps=50):
    n = R
    for _ in range(steps):
        n = R + w / lam / (1 + math.exp(min(w * n - math.log(C - 1), 700))) if lam else math.inf
    return n


def within(reach):
    """Bisection up to a bound of one's own."""

    def found(lam, R, w, C):
        if lam == 0:
            return math.inf
        low, high = R, R + reach
        for _ in range(200):
            n = (low + high) / 2
            unsure = 1 / (1 + math.exp(min(w * n - math.log(C - 1), 700)))
            low, high = (n, high) if lam * (n - R) < w * unsure else (low, n)
        return (low + high) / 2

    return found


def below(lam, R, w, C):
    return 2 * R - by_newton(lam, R, w, C) if lam else math.inf


RIGHT = {"ex1": [by_rows], "ex2": [by_differences], "ex3": [by_newton, tensor]}
WRONG = {
    "ex1": [
        (by_autograd, "autograd"),
        (held, "held constant"),
        (held_unguarded, "held constant"),
        (unguarded, "row of zeros"),
        (in_place, "changes its input"),
        (lambda x: 2 * by_rows(x), "twice too large"),
        (lambda x: len(x) * by_rows(x), "B times too large"),
        (lambda x: -by_rows(x), "sign"),
        (lambda x: by_rows(x) * x.norm(dim=1).mean(), "a tenth"),
        (lambda x: by_rows(x) * x.norm(dim=1, keepdim=True), "unit vector"),
        (lambda x: by_rows(x).float(), "7th digit"),
        (lambda x: by_rows(x).sum(0), "shape"),
        (lambda x: by_rows(x) * (1 + 1e-7), "expected"),
    ],
    "ex2": [
        (one_norm, "a sum over the batch"),
        (values_alone, "R gets no gradient"),
        (no_value, "1 too much"),
        (no_origin, "beyond a distance of 10"),
        (to_the_last_bit, "square multiplied out"),
        (lambda loss: True, "no ½"),
        (lambda loss: False, "the formula as it stands"),
        (lambda loss: "yes", "expected True or False"),
        (lambda loss: None if values_alone(loss) else False, "`return` is missing"),
    ],
    "ex3": [
        (lambda lam, R, w, C: R + w / lam if lam else math.inf, "p = 0"),
        (lambda lam, R, w, C: repeated(lam, R, w, C, 1), "at R"),
        (repeated, "expected"),
        (below, "expected"),
        (within(100), "a short class weight"),
        (within(1000), "a short class weight"),
        (lambda lam, R, w, C: by_newton(lam, R, w, C + 1), "among its rivals"),
        (lambda lam, R, w, C: by_newton(2 * lam, R, w, C), "½ is gone"),
        (lambda lam, R, w, C: by_newton(lam, R, w, C) if lam else R, "nothing holds"),
        (lambda lam, R, w, C: round(by_newton(lam, R, w, C), 5) if lam else math.inf, "expected"),
    ],
}
