"""Chapter 12: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import torch
import torch.nn.functional as F

from facelearn.losses import ArcFace, CosFace

# ---- right answers --------------------------------------------------------------------------------------------------


def with_clamp(cos, m):
    cos = cos.clamp(-1, 1)
    return cos * m.cos() - (1 - cos * cos).clamp(min=1e-12).sqrt() * m.sin()


def with_two_wheres(cos, m):
    cos = cos.clamp(-1, 1)
    square = 1 - cos * cos
    inside = square > 0
    return cos * m.cos() - torch.where(inside, torch.where(inside, square, 1.0).sqrt(), 0.0) * m.sin()


def with_atan2(cos, m):
    cos = cos.clamp(-1, 1)
    sin = ((1 - cos) * (1 + cos)).clamp(min=1e-14).sqrt()
    return (torch.atan2(sin, cos) + m).cos()


def by_a_value_at_the_centre(arcface):
    """Two centres at right angles, x on the first: the loss is log(1 + exp(-s cos m))."""
    eye = torch.eye(2, dtype=torch.float64)
    got = arcface(eye[:1], eye, torch.tensor([0]), 4.0, 0.5)
    return math.isclose(got.item(), math.log1p(math.exp(-4 * math.cos(0.5))), rel_tol=1e-4)


def by_comparison(arcface):
    torch.manual_seed(3)
    x, w, y = torch.randn(32, 16), torch.randn(8, 16), torch.arange(32) % 8
    cos = F.normalize(x) @ F.normalize(w).T
    x = x[(keep := cos[range(32), y] > -0.5)]
    head = ArcFace(16, 8, scale=8.0, margin=0.4)
    head.weight.data = w.clone()
    return torch.allclose(arcface(x, w, y[keep], 8.0, 0.4), head(x, y[keep]), rtol=1e-4)


def linear(cos, m):
    return ArcFace(2, 2, margin=m, beyond_pi="linear").target(cos, ())


def steeper(cos, m):
    plain = ArcFace(2, 2, margin=m, beyond_pi="plain").target(cos, ())
    return torch.where(cos > -math.cos(m), plain, 3 * (cos + math.cos(m)) - 1)


# ---- planted wrong answers, and the word by which each is named ------------------------------------------------------


def only_larger(arcface):
    """Larger with a margin than without: what a margin for every class may be, too."""
    torch.manual_seed(0)
    x, w, y = torch.randn(8, 4), torch.randn(4, 4), torch.arange(8) % 4
    return bool(arcface(x, w, y, 8.0, 0.5) > arcface(x, w, y, 8.0, 0.0))


def only_different(arcface):
    torch.manual_seed(0)
    x, w, y = torch.randn(8, 4), torch.randn(4, 4), torch.arange(8) % 4
    return bool((arcface(x, w, y, 8.0, 0.5) - arcface(x, w, y, 8.0, 0.0)).abs() > 1e-3)


def also_beyond_pi(arcface):
    """Asks for one rule where implementations may differ: x opposite to its centre, "mm"."""
    eye = torch.eye(2, dtype=torch.float64)
    beyond = math.log1p(math.exp(1 + 0.5 * math.sin(0.5)))
    got = arcface(-eye[:1], eye, torch.tensor([0]), 1.0, 0.5)
    return math.isclose(got.item(), beyond, rel_tol=1e-4) and by_a_value_at_the_centre(arcface)


def bit_by_bit(arcface):
    """No tolerance: the last digits of a right implementation differ from those by hand."""
    w = torch.tensor([[0.3, 0.7, 0.2], [0.9, -0.4, 0.5]], dtype=torch.float64)
    head = ArcFace(3, 2, scale=4.0, margin=0.5)
    head.weight.data = w.float()
    y = torch.tensor([0])
    x = torch.tensor([[0.2, 0.9, -0.3]], dtype=torch.float64)
    return arcface(x, w, y, 4.0, 0.5).item() == head(x.float(), y).item()


def so_large_a_scale(arcface):
    """At s = 2000 the loss of x on its own centre is 0 whatever the bug."""
    eye = torch.eye(2, dtype=torch.float64)
    return arcface(eye[:1], eye, torch.tensor([0]), 2000.0, 0.5).item() == 0.0


RIGHT = {
    "ex1": [with_clamp, with_two_wheres, with_atan2],
    "ex2": [by_a_value_at_the_centre, by_comparison],
    "ex3": [linear, steeper],
}
WRONG = {
    "ex1": [
        (lambda c, m: (c.clamp(-1, 1).acos() + m).cos(), "gradient there is"),
        (
            lambda c, m: (c := c.clamp(-1, 1)) * m.cos() - torch.where(c.abs() < 1, (1 - c * c).sqrt(), 0.0) * m.sin(),
            "gradient there is",
        ),
        (lambda c, m: c * m.cos() - (1 - c * c).sqrt() * m.sin(), "nan"),
        (lambda c, m: with_clamp(c, -m), "sign"),
        (lambda c, m: with_clamp(c, m.deg2rad()), "degrees"),
        (lambda c, m: c * m.cos() - (1 - c.clamp(-1, 1) ** 2) * m.sin(), "root is missing"),
        (lambda c, m: c.clamp(-1, 1) - m, "CosFace"),
        (lambda c, m: (c.clamp(-1 + 1e-7, 1 - 1e-7).acos() + m).cos(), "small constant"),
        (lambda c, m: (c := c.clamp(-1, 1)) * m.cos() - (1 - c * c + 1e-6).sqrt() * m.sin(), "small constant"),
        (lambda c, m: c + (with_clamp(c, m) - c).detach(), "sin(θ+m)/sin θ"),
        (lambda c, m: with_clamp(c, m).detach(), "no gradient"),
    ],
    "ex2": [
        (lambda arcface: True, "never reaches"),
        (lambda arcface: False, "rejects a right implementation"),
        (only_larger, "lets this bug pass"),
        (only_different, "lets this bug pass"),
        (also_beyond_pi, "beyond θ + m = π does nothing special: does it stay"),
        (bit_by_bit, "allow a tolerance"),
        (so_large_a_scale, "large s"),
        (lambda arcface: 0.7, "True or False"),
    ],
    "ex3": [
        (lambda c, m: ArcFace(2, 2, margin=m, beyond_pi="plain").target(c, ()), "rises"),
        (lambda c, m: ArcFace(2, 2, margin=m, beyond_pi="mm").target(c, ()), "jumps by -"),
        (lambda c, m: ArcFace(2, 2, margin=m, beyond_pi="clip").target(c, ()), "flat"),
        (lambda c, m: torch.where(c > -math.cos(m), with_clamp(c, torch.tensor(m)), c), "jumps by +"),
        (lambda c, m: CosFace(2, 2, margin=m).target(c, ()), "must stay cos(θ + m)"),
        (lambda c, m: linear(c, m).detach(), "no gradient"),
        (
            lambda c, m: torch.where(c > -math.cos(m), (c.acos() + m).cos(), c - 1 + math.cos(m)),
            "gradient at c = 1 is",
        ),
        (
            lambda c, m: torch.where(
                c > -math.cos(m), c * math.cos(m) - (1 - c * c).sqrt() * math.sin(m), c - 1 + math.cos(m)
            ),
            "gradient at c = 1 is",
        ),
        (
            lambda c, m: torch.where(
                c > -math.cos(m), with_clamp(c, torch.tensor(m)), c - 1 + math.cos(m) - 0 * (1 + c).sqrt()
            ),
            "gradient at c = -1 is",
        ),
    ],
}
