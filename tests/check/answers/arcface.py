"""Chapter 12: right answers, each by another way than the check's own reference, and wrong ones."""

import math
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F

from facelearn.check.arcface import _by_hand
from facelearn.losses import ArcFace, CosFace

# ---- ex1: the gradient by hand --------------------------------------------------------------------------------------


def class_by_class(x, w, y, s, m):
    """A loop over the classes, the derivative ∂T/∂c guarded."""
    n = x.norm()
    cos = [torch.dot(x, row) / n / row.norm() for row in w]
    sin = (1 - cos[y] ** 2).clamp(min=0).sqrt()
    z = torch.stack([s * (c * math.cos(m) - sin * math.sin(m) if j == y else c) for j, c in enumerate(cos)])
    p, total = z.softmax(0), torch.zeros_like(x)
    for j, (c, row) in enumerate(zip(cos, w, strict=True)):
        by_cos = (sin * math.cos(m) + c * math.sin(m)) / sin.clamp(min=1e-12) if j == y else 1.0
        total += s * (p[j] - int(j == y)) * by_cos * (row / row.norm() - c * x / n) / n
    return total


def head_with(w, s, m):
    head = ArcFace(w.shape[1], len(w), scale=s, margin=m).to(w.dtype)
    head.weight.data = w
    return head


def by_autograd(x, w, y, s, m):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(head_with(w, s, m)(x[None], torch.tensor([y])), x)[0]


def by_differences(x, w, y, s, m, step=1e-5):
    """Six digits at best."""
    around = x + step * torch.cat([torch.eye(len(x)), -torch.eye(len(x))]).to(x)  # (2 d, d)
    cos = F.normalize(around) @ F.normalize(w).T
    z = torch.where(F.one_hot(torch.tensor(y), len(w)) > 0, (cos.acos() + m).cos(), cos)
    loss = F.cross_entropy(s * z, torch.full((len(z),), y), reduction="none")
    return (loss[: len(x)] - loss[len(x) :]) / (2 * step)


# ---- ex2: a test that finds the bug ---------------------------------------------------------------------------------

EYE = torch.eye(2, dtype=torch.float64)


def in_the_plane(arcface, theta=0.3, length=2.0, s=4.0, m=0.5):
    """A sample between two class directions at right angles: two logits, a loss worked out by hand."""
    x = length * torch.tensor([[math.cos(theta), math.sin(theta)]], dtype=torch.float64)
    by_hand = math.log1p(math.exp(s * (math.sin(theta) - math.cos(theta + m))))
    return math.isclose(arcface(x, EYE, torch.tensor([0]), s, m).item(), by_hand, rel_tol=1e-4)


def with_numpy(arcface):
    """Many samples, and the formula once more, by arccos."""
    torch.manual_seed(3)
    x, w, y = 3 * torch.randn(32, 16), torch.randn(8, 16), torch.arange(32) % 8
    cos = (x / x.norm(dim=1, keepdim=True)) @ (w / w.norm(dim=1, keepdim=True)).T
    keep = cos[range(32), y] > -0.5
    x, y, angle = x[keep], y[keep], cos[keep].acos().double().numpy()
    own = np.arange(len(y)), y.numpy()
    z = np.cos(angle)
    z[own] = np.cos(angle[own] + 0.4)
    by_hand = np.log(np.exp(8 * z).sum(1)) - 8 * z[own]
    return math.isclose(arcface(x, w, y, 8.0, 0.4).item(), by_hand.mean(), rel_tol=1e-4)


def only_larger(arcface):
    """Larger with a margin than without: so is CosFace's loss, and many a wrong one."""
    torch.manual_seed(0)
    x, w, y = torch.randn(8, 4), torch.randn(4, 4), torch.arange(8) % 4
    return bool(arcface(x, w, y, 8.0, 0.5) > arcface(x, w, y, 8.0, 0.0))


def only_different(arcface):
    torch.manual_seed(0)
    x, w, y = torch.randn(8, 4), torch.randn(4, 4), torch.arange(8) % 4
    return bool((arcface(x, w, y, 8.0, 0.5) - arcface(x, w, y, 8.0, 0.0)).abs() > 1e-3)


def my_arcface(x, w, y, s, m):
    return head_with(w, s, m)(x, y)


def by_comparison(arcface):
    """With another implementation, which may have the same bug."""
    torch.manual_seed(3)
    x, w, y = 3 * torch.randn(32, 16), torch.randn(8, 16), torch.arange(32) % 8
    x = x[(keep := (F.normalize(x) @ F.normalize(w).T)[range(32), y] > -0.5)]
    return torch.allclose(arcface(x, w, y[keep], 8.0, 0.4), my_arcface(x, w, y[keep], 8.0, 0.4), rtol=1e-4)


def also_beyond_pi(arcface):
    """Asks for one rule where implementations may differ: x opposite to its class direction, "mm"."""
    beyond = math.log1p(math.exp(1 + 0.5 * math.sin(0.5)))
    got = arcface(-EYE[:1], EYE, torch.tensor([0]), 1.0, 0.5)
    return math.isclose(got.item(), beyond, rel_tol=1e-4) and in_the_plane(arcface)


def bit_by_bit(arcface):
    """No tolerance: the last digits of a right implementation differ from those by hand."""
    w = torch.tensor([[0.3, 0.7, 0.2], [0.9, -0.4, 0.5]], dtype=torch.float64)
    x, y = torch.tensor([[0.2, 0.9, -0.3]], dtype=torch.float64), torch.tensor([0])
    return arcface(x, w, y, 4.0, 0.5).item() == head_with(w.float(), 4.0, 0.5)(x.float(), y).item()


def so_large_a_scale(arcface):
    """At s = 2000 the loss of x on its own class direction is 0 whatever the bug."""
    return arcface(EYE[:1], EYE, torch.tensor([0]), 2000.0, 0.5).item() == 0.0


# ---- ex3: a continuous, falling rule beyond π -----------------------------------------------------------------------


def rule(beyond_pi):
    return lambda cos, m: ArcFace(2, 2, margin=m, beyond_pi=beyond_pi).target(cos, ())


def steeper(cos, m):
    return torch.where(cos > -math.cos(m), rule("plain")(cos, m), 3 * (cos + math.cos(m)) - 1)


def with_clamp(cos, m):
    return cos * math.cos(m) - (1 - cos * cos).clamp(min=1e-12).sqrt() * math.sin(m)


def joined(up_to_pi, beyond):
    return lambda c, m: torch.where(c > -math.cos(m), up_to_pi(c, m), beyond(c, m))


def falling(cos, m):
    return cos - 1 + math.cos(m)


def by_transform(x, w, y, s, m):
    """Autograd again; a transform works where grad mode is off."""

    def loss(x):
        cos = torch.stack([torch.dot(x, row) / x.norm() / row.norm() for row in w])
        moved = cos * math.cos(m) - (1 - cos**2).sqrt() * math.sin(m)
        return -torch.log_softmax(s * torch.stack([moved[j] if j == y else cos[j] for j in range(len(w))]), 0)[y]

    return torch.func.grad(loss)(x)


def jacobian(cos, unit, x):
    """Of one cosine; no transform, in spite of its name."""
    return (unit - cos * x / x.norm()) / x.norm()


def with_a_helper(x, w, y, s, m):
    units = w / w.norm(dim=1, keepdim=True)
    cos = units @ x / x.norm()
    sin = (1 - cos[y] ** 2).clamp(min=0).sqrt()
    z = s * cos
    z[y] = s * (cos[y] * math.cos(m) - sin * math.sin(m))
    p = z.softmax(0)
    p[y] -= 1
    p[y] *= math.cos(m) + math.sin(m) * cos[y] / sin.clamp(min=1e-12)
    return s * sum(p[j] * jacobian(cos[j], units[j], x) for j in range(len(w)))


RIGHT = {
    "ex1": [class_by_class, with_a_helper],
    "ex2": [in_the_plane, with_numpy],
    "ex3": [rule("linear"), steeper],
}
WRONG = {
    "ex1": [
        (by_autograd, "autograd"),
        (by_transform, "autograd"),
        (by_differences, "expected"),
        (lambda *inputs: class_by_class(*inputs) * (1 + 1e-8), "expected"),
        (partial(_by_hand, slip=""), "0 divided by 0"),
        (lambda x, w, y, s, m: my_arcface(x[None], w, torch.tensor([y]), s, m), "shape"),
    ],
    "ex2": [
        (lambda arcface: True, "never reaches"),
        (lambda arcface: False, "rejects a right implementation"),
        (only_larger, "lets this bug pass"),
        (only_different, "lets this bug pass"),
        (lambda arcface: in_the_plane(arcface, theta=0.0), "cos(θ - m)"),
        (lambda arcface: in_the_plane(arcface, length=1.0), "divided by its norm"),
        (by_comparison, "asks my_arcface"),
        (also_beyond_pi, "beyond θ + m = π does nothing special: is the value"),
        (bit_by_bit, "is there a tolerance"),
        (so_large_a_scale, "large s"),
        (lambda arcface: 0.7, "True or False"),
    ],
    "ex3": [
        (rule("plain"), "rises"),
        (rule("mm"), "jumps by -"),
        (rule("clip"), "flat"),
        (joined(with_clamp, lambda c, m: c), "jumps by +"),
        (lambda c, m: CosFace(2, 2, margin=m).target(c, ()), "must stay cos(θ + m)"),
        (lambda c, m: rule("linear")(c, m).detach(), "no gradient"),
        (joined(lambda c, m: (c.acos() + m).cos(), falling), "c = 1 is"),
        (joined(lambda c, m: c * math.cos(m) - (1 - c * c).sqrt() * math.sin(m), falling), "c = 1 is"),
        (joined(with_clamp, lambda c, m: falling(c, m) - 0 * (1 + c).sqrt()), "c = -1 is"),
    ],
}
