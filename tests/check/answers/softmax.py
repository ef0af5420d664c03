"""Chapter 03: right answers, each by another way than the check's own reference, and wrong ones."""

import torch
import torch.nn.functional as F


def by_autograd(logits, labels, epsilon):
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(leaf, labels, label_smoothing=epsilon), leaf)[0]


def by_softplus(logits, labels):
    """The lead, the target masked out of the sum."""
    own = F.one_hot(labels, logits.shape[1]).bool()
    return F.softplus(logits.masked_fill(own, -torch.inf).logsumexp(1) - logits[own]).mean()


def by_hand(logits, labels):
    """log1p of the smaller side, so that no exponent is positive."""
    rows = torch.arange(len(labels))
    others = logits.clone()
    others[rows, labels] = -torch.inf
    top = others.amax(1).detach()
    rest = top + (others - top[:, None]).exp().sum(1).log()
    gap = rest - logits[rows, labels]
    return (gap.clamp(min=0) + (-gap.abs()).exp().log1p()).mean()


def by_least_squares(weight, bias, i, j, x):
    """Move x by the smallest step that makes the logits equal: the pseudo-inverse of one equation."""
    equation = (weight[i] - weight[j])[None]
    lead = weight[i] @ x + bias[i] - weight[j] @ x - bias[j]
    return x - torch.linalg.pinv(equation)[:, 0] * lead


def of_hard_labels(logits, labels, epsilon):
    return by_autograd(logits, labels, 0.0)


def over_the_batch(logits, labels, epsilon):
    return by_autograd(logits, labels, epsilon) + (logits.softmax(0) - logits.softmax(1)) / len(logits)


def over_the_classes_count(logits, labels, epsilon):
    return len(logits) * by_autograd(logits, labels, epsilon) / logits.shape[1]


def for_the_others_alone(logits, labels, epsilon):
    q = torch.full_like(logits, epsilon / (logits.shape[1] - 1)).scatter(1, labels[:, None], 1 - epsilon)
    return (logits.softmax(1) - q) / len(logits)


def in_place(logits, labels, epsilon):
    answer = by_autograd(logits, labels, epsilon)
    logits -= logits
    return answer


def unstable(logits, labels, epsilon):
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return p / len(logits) + by_autograd(logits, labels, epsilon) - logits.softmax(1) / len(logits)


def naive(logits, labels):
    powers = logits.exp()
    return -(powers / powers.sum(1, keepdim=True))[torch.arange(len(labels)), labels].log().mean()


def log_one_plus(logits, labels):
    own = F.one_hot(labels, logits.shape[1]).bool()
    return (1 + (logits.masked_fill(own, -torch.inf).logsumexp(1) - logits[own]).exp()).log().mean()


def double_softmax(logits, labels):
    return F.cross_entropy(logits.softmax(1), labels)


def in_float64(logits, labels):
    return by_softplus(logits.double(), labels)


def by_subtraction(logits, labels):
    """The target taken out by subtraction: what is left of a tiny rest is rounding."""
    total, target = logits.logsumexp(1), logits.gather(1, labels[:, None])[:, 0]
    return -(target - total).mean()


def without_bias(weight, bias, i, j, x):
    return by_least_squares(weight, torch.zeros_like(bias), i, j, x)


def divided_by_the_norm(weight, bias, i, j, x):
    normal = weight[i] - weight[j]
    return x - (normal @ x + bias[i] - bias[j]) / normal.norm() * normal


def mirrored(weight, bias, i, j, x):
    return 2 * by_least_squares(weight, bias, i, j, x) - x


def wrong_way(weight, bias, i, j, x):
    return 2 * x - by_least_squares(weight, bias, i, j, x)


def between_the_weights(weight, bias, i, j, x):
    """The boundary of a nearest-centre classifier."""
    normal, middle = weight[i] - weight[j], (weight[i] + weight[j]) / 2
    return x - (x - middle) @ normal / normal.square().sum() * normal


def another_point_of_the_boundary(weight, bias, i, j, x):
    """Equal logits, but not the nearest point."""
    normal = weight[i] - weight[j]
    point = -(bias[i] - bias[j]) / (normal @ normal) * normal
    return point


def not_divided(weight, bias, i, j, x):
    normal = weight[i] - weight[j]
    return x - (normal @ x + bias[i] - bias[j]) * normal


def without_sign(weight, bias, i, j, x):
    normal = weight[i] - weight[j]
    return x - (normal @ x + bias[i] - bias[j]).abs() / normal.square().sum() * normal


def only_the_step(weight, bias, i, j, x):
    return by_least_squares(weight, bias, i, j, x) - x


RIGHT = {
    "ex1": [by_autograd],
    "ex2": [by_softplus, by_hand],
    "ex3": [by_least_squares],
}
WRONG = {
    "ex1": [
        (of_hard_labels, "not smoothed"),
        (lambda z, y, e: -by_autograd(z, y, e), "sign"),
        (lambda z, y, e: len(z) * by_autograd(z, y, e), "divide by B"),
        (over_the_batch, "over the classes"),
        (for_the_others_alone, "all C classes"),
        (over_the_classes_count, "expected"),
        (in_place, "changes its input"),
        (unstable, "nan"),
    ],
    "ex2": [
        (naive, "got -0"),
        (F.cross_entropy, "near zero the digits are gone"),
        (log_one_plus, "rounds to 1"),
        (by_subtraction, "near zero the digits are gone"),
        (double_softmax, "expected"),
        (in_float64, "dtype"),
        (lambda z, y: by_softplus(z.detach(), y) + 0 * z.sum(), "gradient"),
        (lambda z, y: len(z) * by_softplus(z, y), "mean"),
    ],
    "ex3": [
        (without_bias, "bias"),
        (divided_by_the_norm, "squared norm"),
        (mirrored, "half"),
        (wrong_way, "sign"),
        (between_the_weights, "inner products"),
        (another_point_of_the_boundary, "expected"),
        (not_divided, "nothing divides"),
        (without_sign, "no absolute value"),
        (lambda w, b, i, j, x: 2 * x - without_sign(w, b, i, j, x), "always goes along"),
        (only_the_step, "return the point"),
    ],
}
