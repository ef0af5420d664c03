"""Chapter 17: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import torch
import torch.nn.functional as F

# ---- ex1: what would flow through the margin ------------------------------------------------------------------------


def by_logarithm(c, y, s, m, m0, m1, t, a):
    """The same from the loss log(1 + e^(rest - s T)), class by class."""
    theta = math.acos(float(c[y]))
    hard = [j for j in range(len(c)) if j != y and float(c[j]) > math.cos(theta + m)]
    found = torch.zeros_like(c)
    if hard and theta < math.pi / 2:
        margin = m0 + m1 * sum(float(c[j]) for j in hard) / len(hard)
        others = [s * (t * float(c[j]) + a if j in hard else float(c[j])) for j in range(len(c)) if j != y]
        rest = math.log(sum(math.exp(z) for z in others))
        unsure = 1 / (1 + math.exp(s * math.cos(theta + margin) - rest))
        for j in hard:
            found[j] = s * unsure * math.sin(theta + margin) * m1 / len(hard)
    return found


def by_autograd(c, y, s, m, m0, m1, t, a):
    found = []
    for held in (False, True):
        leaf = c.clone().requires_grad_()
        p = leaf[y]
        hard = leaf.detach() > (p.detach().arccos() + m).cos()
        hard[y] = False
        mean = (leaf * hard).sum() / hard.sum().clamp(min=1)
        margin = m0 + m1 * (mean.detach() if held else mean)
        target = (p.arccos() + margin).cos() if p > 0 else p
        logits = s * torch.where(torch.arange(len(c)) == y, target, torch.where(hard, t * leaf + a, leaf))
        found.append(torch.autograd.grad(F.cross_entropy(logits[None], torch.tensor([y])), leaf)[0])
    return found[0] - found[1]


def without_a_guard(c, y, s, m, m0, m1, t, a):
    found = by_logarithm(c, y, s, m, m0, m1, t, a)
    return found * (found.sum() / found.sum())


# ---- ex2: four deviations -------------------------------------------------------------------------------------------

S, M, M0, M1, T, A = 8.0, 0.5, 0.3, 0.4, 1.3, 0.1


def row(own, *others):
    """Embedding and class weights in which an image of class 0 has these cosines."""
    count = len(others) + 1
    rest = torch.tensor(others, dtype=torch.float64)
    x = torch.zeros(1, count).double()
    x[0, 0] = 1.0
    w = torch.zeros(count, count).double()
    w[0, 0], w[0, 1] = own, math.sqrt(1 - own * own)
    for j, c in enumerate(rest.tolist(), 1):
        w[j, 0], w[j, j] = c, math.sqrt(1 - c * c)
    return x, w


def expected(own, others, mask=False, mean=False):
    theta = math.acos(own)
    hard = [c > math.cos(theta + (M0 if mask else M)) for c in others]
    given = [T * c + A if h else c for c, h in zip(others, hard, strict=True)]
    used = [g if mean else c for c, g, h in zip(others, given, hard, strict=True) if h]
    margin = M0 + M1 * sum(used) / max(1, len(used))
    logits = torch.tensor([[S * math.cos(theta + margin), *(S * g for g in given)]], dtype=torch.float64)
    return F.cross_entropy(logits, torch.tensor([0])).item()


def by_numbers(loss):
    """Values of single images by hand; the flow by the gradient along a hard negative."""
    y = torch.tensor([0])
    found = set()
    easy = (0.9, (0.1, -0.2))  # no hard negative: only the focal factor changes it
    value = loss(*row(easy[0], *easy[1]), y).item()
    focal = abs(value - expected(*easy)) > 1e-9
    found |= {"focal"} if focal else set()

    def plain(shown):
        """The value without the focal factor, which rises with it."""
        value = loss(*row(shown[0], *shown[1]), y).item()
        if not focal:
            return value
        low, high = 0.0, 100.0
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if (1 - math.exp(-middle)) ** 2 * middle < value else (low, middle)
        return low

    above, between = (0.8, (0.75, 0.0)), (0.8, (0.45, 0.0))  # between cos(θ + .5) and cos(θ + .3)
    if abs(plain(above) - expected(*above)) > 1e-7:
        found.add("mean")
    if abs(plain(between) - expected(*between, mean="mean" in found)) > 1e-7:
        found.add("mask")
    x, w = row(0.8, 0.75, 0.0)
    mean = "mean" in found
    w = w.requires_grad_()
    slope = torch.autograd.grad(loss(x, w, y), w)[0][1, 0].item()
    theta = math.acos(0.8)
    margin = M0 + M1 * (T * 0.75 + A if mean else 0.75)
    logits = S * torch.tensor([math.cos(theta + margin), T * 0.75 + A, 0.0], dtype=torch.float64)
    q = logits.softmax(0)
    value = -q[0].log().item()
    outer = (1 - math.exp(-value)) ** 2 + 2 * (1 - math.exp(-value)) * math.exp(-value) * value if focal else 1.0
    held = outer * S * T * q[1].item() * (1 - 0.75**2)
    if abs(slope - held) > 1e-7:
        found.add("flow")
    return found


def by_variants(loss):
    """All sixteen variants on one rich batch."""
    from itertools import combinations

    from facelearn.check.npcface import NAMES, deviating

    generator = torch.Generator().manual_seed(1)
    w, y = torch.randn(9, 6, generator=generator).double(), torch.arange(27) % 9
    x = torch.randn(27, 6, generator=generator).double() + 1.5 * w[y]

    def both(function):
        leaf = x.clone().requires_grad_()
        value = function(leaf, w, y)
        return torch.cat([value[None].detach(), torch.autograd.grad(value, leaf)[0].flatten()])

    seen = both(loss)
    for size in range(5):
        for chosen in combinations(NAMES, size):
            if torch.allclose(both(deviating(frozenset(chosen))), seen, atol=1e-12):
                return set(chosen)
    return set()


# ---- ex3: how many seeds --------------------------------------------------------------------------------------------


def by_floats(sd, bound, mean):
    """Up from the normal law's number, which is never too large."""
    from scipy.special import stdtrit

    room = max(bound - abs(mean), 0.0)
    n = max(2.0, math.floor((1.95 * sd / room) ** 2)) if room else math.inf
    while n < math.inf and stdtrit(n - 1, 0.975) * sd / math.sqrt(n) >= room:
        n += 1
    return n


def up_to(most):
    return lambda sd, bound, mean: found if (found := by_floats(sd, bound, mean)) <= most else math.inf


def by_scipy(sd, bound, mean):
    from scipy.stats import t

    if abs(mean) >= bound:
        return math.inf
    return next(n for n in range(2, 10_000) if abs(mean) + t.ppf(0.975, n - 1) * sd / math.sqrt(n) < bound)


RIGHT = {"ex1": [by_logarithm], "ex2": [by_numbers, by_variants], "ex3": [by_scipy, by_floats]}
WRONG = {
    "ex1": [
        (by_autograd, "autograd"),
        (without_a_guard, "nan"),
        (lambda *args: -by_logarithm(*args), "sign"),
        (lambda *args: by_logarithm(*args) * (by_logarithm(*args) > 0).sum(), "MEAN"),
        (lambda *args: by_logarithm(*args) / args[2], "factor s"),
        (lambda *args: by_logarithm(*args).sum(), "shape"),
        (lambda *args: by_logarithm(*args).float(), "7th digit"),
        (lambda *args: torch.zeros_like(args[0]), "expected"),
    ],
    "ex2": [
        (lambda loss: set(), "do not find 'mask'"),
        (lambda loss: {"mask", "mean", "flow", "focal"}, "without any deviation"),
        (lambda loss: by_numbers(loss) - {"flow"}, "do not find 'flow'"),
        (lambda loss: by_numbers(loss) | ({"mean"} if "mask" in by_numbers(loss) else set()), "report 'mean'"),
        (lambda loss: by_numbers(loss) | {"softmax"}, "unknown name"),
        (lambda loss: sorted(by_numbers(loss)), "set of names"),
        (lambda loss: None if by_numbers(loss) == {"flow"} else by_numbers(loss), "`return` is missing"),
    ],
    "ex3": [
        (lambda sd, bound, mean: by_scipy(sd, bound, 0.0), "round the mean"),
        (lambda sd, bound, mean: by_scipy(sd, bound, max(mean, 0.0) if abs(mean) < bound else mean), "expected"),
        (lambda sd, bound, mean: math.ceil((1.96 * sd / (bound - abs(mean))) ** 2), "expected"),
        (lambda sd, bound, mean: by_scipy(sd, 2 * bound, mean), "expected"),
        (lambda sd, bound, mean: by_scipy(sd, bound, mean) + 1, "expected"),
        (up_to(100), "two thirds of the bound"),
        (up_to(1000), "more than a thousand seeds"),
    ],
}
