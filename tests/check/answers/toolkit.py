"""Appendix A: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import torch
from scipy import integrate

# ---- ex1: the gradient of the angle ----------------------------------------------------------------------------------


def by_chords(x, w):
    """Row by row, from the two chords on the unit sphere, to w and to its opposite: they keep all digits at the tip."""
    found = torch.zeros_like(x)
    aim = w / math.sqrt(w.square().sum())
    for i, row in enumerate(x):
        n = math.sqrt(row.square().sum())
        to, fro = aim - row / n, aim + row / n
        short, sign = (to, 1.0) if to @ to < fro @ fro else (fro, -1.0)
        square = float(short @ short)
        if square > 1e-24:
            tangent = short + sign * square / 2 * row / n
            found[i] = -tangent / math.sqrt(square * (1 - square / 4)) / n
    return found


def by_the_root(x, w):
    """-1 / √(1 - c²) times the gradient of the cosine, which is put together by the quotient rule."""
    n, length = x.norm(dim=1, keepdim=True), w.norm()
    dot = (x @ w)[:, None]
    slope = w / (n * length) - dot * x / (n**3 * length)
    return torch.nan_to_num(-slope / (1 - (dot / (n * length)) ** 2).sqrt(), 0, 0, 0)


def not_cut(x, w):
    spoke, aim = torch.nn.functional.normalize(x), w / w.norm()
    return -torch.nn.functional.normalize(aim - (spoke @ aim)[:, None] * spoke) / x.norm(dim=1, keepdim=True)


def cut_early(x, w):
    cos = torch.nn.functional.cosine_similarity(x, w[None])
    return by_chords(x, w) * (1 - cos.abs() > 1e-12)[:, None]


def by_autograd(x, w):
    x = x.clone().requires_grad_()
    cos = torch.nn.functional.cosine_similarity(x, w[None])
    safe = torch.where(cos.abs() < 1 - 1e-14, cos, 0.0)
    (slope,) = torch.autograd.grad((safe.arccos() * (cos.abs() < 1 - 1e-14)).sum(), x)
    return slope


def unit_row(x, w):
    return by_chords(x, w) * x.norm(dim=1, keepdim=True)


def of_the_cosine(x, w):
    unit, aim = torch.nn.functional.normalize(x), w / w.norm()
    return (aim - (unit @ aim)[:, None] * unit) / x.norm(dim=1, keepdim=True)


# ---- ex2: how unsure is very sure ------------------------------------------------------------------------------------


def by_sorting(logits, labels):
    """Largest entries first, sums by hand."""
    found = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        rivals = [z for k, z in enumerate(row) if k != label]
        top = max(rivals)
        r = top + math.log(math.fsum(math.exp(z - top) for z in rivals))
        lead = row[label] - r
        found.append(-lead - math.log1p(math.exp(-lead)) if lead > 0 else -math.log1p(math.exp(lead)))
    return torch.tensor(found, dtype=torch.float64)


def naive(logits, labels):
    p = logits.softmax(1).gather(1, labels[:, None])[:, 0]
    return (1 - p).log()


def of_the_others(logits, labels):
    """The other probabilities, added up and only then under the logarithm."""
    p = logits.softmax(1)
    others = torch.ones_like(p).scatter(1, labels[:, None], 0.0)
    return (p * others).sum(1).log()


def padded(logits, labels):
    return (logits.softmax(1).sum(1) - logits.softmax(1).gather(1, labels[:, None])[:, 0] + 1e-300).log()


# ---- ex3: the nearest point on the right side ------------------------------------------------------------------------


def by_parts(x, w, m):
    """What lies across w stays; the coordinate along it is raised to m / ‖w‖ at least."""
    length = w.norm()
    along = x @ w / length
    across = x - along[:, None] * w / length
    return across + along.clamp(min=m / length)[:, None] * w / length


def half_unit(x, w, m):
    aim = w / w.norm()
    return x + (m - x @ aim).clamp(min=0)[:, None] * aim


def in_place(x, w, m):
    x += ((m - x @ w) / (w @ w)).clamp(min=0)[:, None] * w
    return x


# ---- ex4: a crowd on the sphere --------------------------------------------------------------------------------------


def by_quadrature(angle, d):
    parts = [integrate.quad(lambda t: math.sin(t) ** (d - 2), 0, top)[0] for top in (angle, math.pi / 2)]
    cap = parts[0] / parts[1] / 2
    return (1 + math.sqrt(1 + 8 / cap)) / 2


def by_the_pages_grid(angle, d):
    theta = torch.linspace(0, math.pi, 20_001).double()
    density = theta.sin() ** (d - 2)
    density = density / torch.trapezoid(density, theta)
    near = theta <= angle
    return (1 + math.sqrt(1 + 8 / torch.trapezoid(density[near], theta[near]).item())) / 2


def rounded(angle, d):
    return float(round(by_quadrature(angle, d)))


# ---- ex5: a bootstrap without drawing --------------------------------------------------------------------------------


def all_resamples(values):
    """Of one draw, E x² - (E x)²."""
    first, second = (sum(v**k for v in values.tolist()) / len(values) for k in (1, 2))
    return math.sqrt(max(0.0, second - first * first) / len(values))


def drawn(values):
    n = len(values)
    places = torch.randint(n, (2000, n), generator=torch.Generator().manual_seed(1))
    return values[places].mean(1).std()


RIGHT = {
    "ex1": [by_chords],
    "ex2": [by_sorting],
    "ex3": [by_parts],
    "ex4": [by_quadrature],
    "ex5": [all_resamples],
}
WRONG = {
    "ex1": [
        (by_autograd, "autograd"),
        (of_the_cosine, "gradient of the cosine"),
        (unit_row, "‖x‖ is missing"),
        (lambda x, w: -by_chords(x, w), "sign"),
        (lambda x, w: by_chords(x, w).rad2deg(), "radians"),
        (lambda x, w: by_chords(x, w) + (x @ w == x.norm(dim=1) * w.norm())[:, None], "expected"),
        (lambda x, w: by_chords(x, w).sum(0), "shape"),
        (lambda x, w: by_chords(x, w).float(), "7th digit"),
        (not_cut, "blown up"),
        (by_the_root, "1 - c²"),
        (cut_early, "too early"),
    ],
    "ex2": [
        (naive, "rounds to 1"),
        (padded, "expected"),
        (of_the_others, "underflowed"),
        (lambda z, y: z.scatter(1, y[:, None], -1e4).logsumexp(1) - z.logsumexp(1), "-10,000"),
        (lambda z, y: by_sorting(z, y).exp(), "1 - p itself"),
        (lambda z, y: -by_sorting(z, y), "at most 0"),
        (lambda z, y: by_sorting(z, y) - z.log_softmax(1).gather(1, y[:, None])[:, 0], "lead"),
        (lambda z, y: z.log_softmax(1).gather(1, y[:, None])[:, 0], "log p"),
        (lambda z, y: by_sorting(z, y).mean(), "a mean or a sum"),
    ],
    "ex3": [
        (lambda x, w, m: x + ((m - x @ w) / (w @ w))[:, None] * w, "μ = 0"),
        (lambda x, w, m: x + (m - x @ w).clamp(min=0)[:, None] * w, "length 1"),
        (lambda x, w, m: x + ((m - x @ w) / w.norm()).clamp(min=0)[:, None] * w, "once"),
        (half_unit, "m has not"),
        (lambda x, w, m: by_parts(x, w, m) - x, "this is the step"),
        (lambda x, w, m: 2 * x - by_parts(x, w, m), "away from"),
        (in_place, "changes its input"),
    ],
    "ex4": [
        (lambda angle, d: (by_quadrature(angle, d) * (by_quadrature(angle, d) - 1)) / 2, "given"),
        (lambda angle, d: by_quadrature(angle, d + 1), "not d - 1"),
        (lambda angle, d: by_quadrature(math.degrees(angle) / 90, d), "expected"),
        (rounded, "expected"),
        (by_the_pages_grid, "between two places"),
        (
            lambda angle, d: (1 + math.sqrt(2 * by_quadrature(angle, d) * (by_quadrature(angle, d) - 1) + 1)) / 2,
            "two sides",
        ),
        (lambda angle, d: math.sqrt(by_quadrature(angle, d) * (by_quadrature(angle, d) - 1)), "N² / 2"),
    ],
    "ex5": [
        (drawn, "expected"),
        (lambda values: values.std(correction=min(1, len(values) - 1)) / math.sqrt(len(values)), "divisor n - 1"),
        (
            lambda values: ((values - values.mean()).square().sum() / (len(values) - 1) / len(values)).sqrt(),
            "divisor n - 1",
        ),
        (lambda values: values.std(correction=0), "one draw"),
        (lambda values: values.std(correction=0) ** 2 / len(values), "variance"),
    ],
}
