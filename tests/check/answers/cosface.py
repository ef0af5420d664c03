"""Chapter 11: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import torch
import torch.nn.functional as F

# ---- ex1 ------------------------------------------------------------------------------------------------------------


def by_points(classes, dimension, spread):
    """The worst sample of a cloud, placed: its own direction at angle 0, the rival `apart` away in their plane."""
    apart = 2 * math.pi / classes if dimension == 2 else math.pi - math.acos(1 / (classes - 1))
    return math.cos(spread) - (math.cos(apart) * math.cos(spread) + math.sin(apart) * math.sin(spread))


# ---- ex2 ------------------------------------------------------------------------------------------------------------


def row_by_row(x, w, y, s, m):
    x_hat = x / x.norm()
    cos = [torch.dot(row, x_hat) / row.norm() for row in w]
    p = torch.softmax(s * torch.stack([c - m * int(j == y) for j, c in enumerate(cos)]), 0)
    rows = [(p[j] - int(j == y)) * s * (x_hat - cos[j] * w[j] / w[j].norm()) / w[j].norm() for j in range(len(w))]
    return torch.stack(rows)


def by_autograd(x, w, y, s, m):
    w = w.clone().requires_grad_()
    z = s * (F.normalize(w) @ F.normalize(x, dim=0) - m * F.one_hot(torch.tensor(y), len(w)).to(w))
    return torch.autograd.grad(-z.log_softmax(0)[y], w)[0]


# ---- ex3 ------------------------------------------------------------------------------------------------------------

ZERO = torch.tensor([0])


def by_losses(head):
    """From cross-entropies of two classes alone: the difference of the logits is log(e^L - 1)."""

    def ahead(own, rival):
        z = head(torch.tensor([[own, rival]], dtype=torch.float64), ZERO)
        return -math.log(math.expm1(F.cross_entropy(z, ZERO).item()))

    s = (ahead(0.1, 0.0) - ahead(0.1, 0.1)) / 0.1
    places = ((-0.05, -0.05), (0.3, 0.3), (0.6, 0.1), (0.1, 0.3))
    if any(abs(ahead(own, rival) - s * (own - rival) - ahead(0.1, 0.1)) > 1e-4 for own, rival in places):
        return "other"
    return s, -ahead(0.1, 0.1) / s


def target_alone(head):
    z = head(torch.zeros(1, 2), ZERO)[0]
    one = head(torch.ones(1, 2), ZERO)[0]
    s = float(one[1] - z[1])
    return s, -float(z[0]) / s


def unscaled(head):
    found = by_losses(head)
    return found if found == "other" else (found[0], found[0] * found[1])


def never_other(head):
    z = head(torch.full((1, 2), 0.5).double(), ZERO)[0]
    s = float(head(torch.tensor([[0.5, 0.6]]).double(), ZERO)[0, 1] - z[1]) / 0.1
    return s, float(z[1] - z[0]) / s


RIGHT = {"ex1": [by_points], "ex2": [row_by_row], "ex3": [by_losses]}
WRONG = {
    "ex1": [
        (lambda classes, dimension, spread: 1 - math.cos(2 * math.pi / classes), "expected"),
        (lambda classes, dimension, spread: math.cos(spread) - math.cos(2 * math.pi / classes - spread), "expected"),
        (lambda classes, dimension, spread: str(spread), "expected a number"),
    ],
    "ex2": [
        (by_autograd, "autograd"),
        (lambda *inputs: row_by_row(*inputs).float(), "float32"),
        (lambda *inputs: row_by_row(*inputs)[inputs[2]], "shape"),
        (lambda x, w, y, s, m: row_by_row(x, w.div_(1.0 + 1e-3), y, s, m), "changes its input"),
    ],
    "ex3": [
        (target_alone, "m is wrong"),
        (unscaled, "m is wrong"),
        (never_other, '"other" is asked'),
        (lambda head: 0.35, "two numbers"),
        (lambda head: (30.0, 0.4), "s is wrong"),
        (lambda head: "other", "its loss is CosFace's"),
    ],
}
