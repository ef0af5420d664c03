"""Chapter 03: right answers, each by another way than the check's own reference, and wrong ones."""

import torch
import torch.nn.functional as F

# Right answers, each by another way than the check's own reference.


def by_autograd(logits, labels):
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(F.cross_entropy(leaf, labels), leaf)[0]


def by_log_softmax(logits, labels):
    return -logits.log_softmax(1)[torch.arange(len(labels)), labels].mean()


def by_log_sum_exp(logits, labels):
    return (torch.logsumexp(logits, 1) - logits[torch.arange(len(labels)), labels]).mean()


def by_largest_row_entry(logits, labels):
    shifted = logits - logits.max(1, keepdim=True).values
    return (shifted.exp().sum(1).log() - shifted[torch.arange(len(labels)), labels]).mean()


def by_least_squares(weight, bias, i, j, x):
    """Move x by the smallest step that makes the logits equal: the pseudo-inverse of one equation."""
    equation = (weight[i] - weight[j])[None]
    lead = weight[i] @ x + bias[i] - weight[j] @ x - bias[j]
    return x - torch.linalg.pinv(equation)[:, 0] * lead


# Planted wrong answers.


def reversed_sign(logits, labels):
    return -by_autograd(logits, labels)


def of_the_sum(logits, labels):
    return len(logits) * by_autograd(logits, labels)


def over_the_batch(logits, labels):
    return (logits.softmax(0) - F.one_hot(labels, logits.shape[1])) / len(logits)


def over_the_classes_count(logits, labels):
    return len(logits) * by_autograd(logits, labels) / logits.shape[1]


def in_place(logits, labels):
    p = logits.softmax(1)
    logits -= logits
    p[torch.arange(len(labels)), labels] -= 1
    return p / len(labels)


def unstable(logits, labels):
    p = logits.exp() / logits.exp().sum(1, keepdim=True)
    return (p - F.one_hot(labels, logits.shape[1])) / len(logits)


def naive(logits, labels):
    powers = logits.exp()
    return -(powers / powers.sum(1, keepdim=True))[torch.arange(len(labels)), labels].log().mean()


def clamped(logits, labels):
    return -logits.softmax(1)[torch.arange(len(labels)), labels].clamp(min=1e-12).log().mean()


def with_epsilon(logits, labels):
    return -(logits.softmax(1)[torch.arange(len(labels)), labels] + 1e-12).log().mean()


def one_maximum_for_all_rows(logits, labels):
    shifted = logits - logits.max()
    return (shifted.exp().sum(1).log() - shifted[torch.arange(len(labels)), labels]).mean()


def maximum_not_put_back(logits, labels):
    shifted = logits - logits.max(1, keepdim=True).values
    return (shifted.exp().sum(1).log() - logits[torch.arange(len(labels)), labels]).mean()


def summed(logits, labels):
    return len(logits) * by_log_softmax(logits, labels)


def double_softmax(logits, labels):
    return F.cross_entropy(logits.softmax(1), labels)


def detached(logits, labels):
    return by_log_softmax(logits.detach(), labels) + 0 * logits.sum()


def clamped_logits(logits, labels):
    return F.cross_entropy(logits.clamp(-700, 700), labels)


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
    "ex2": [by_largest_row_entry],
    "ex3": [by_least_squares],
}
WRONG = {
    "ex1": [
        (reversed_sign, "sign"),
        (of_the_sum, "divide by B"),
        (over_the_batch, "over the classes"),
        (over_the_classes_count, "expected"),
        (in_place, "changes its input"),
        (unstable, "nan"),
    ],
    "ex2": [
        (naive, "nan"),
        (clamped, "caps the loss"),
        (with_epsilon, "caps the loss"),
        (one_maximum_for_all_rows, "each row needs its own"),
        (summed, "mean"),
        (double_softmax, "expected"),
        (detached, "gradient"),
        (clamped_logits, "expected"),
        (maximum_not_put_back, "put back"),
        (by_log_softmax, "log_softmax does the work"),
        (by_log_sum_exp, "logsumexp does the work"),
        (F.cross_entropy, "cross_entropy does the work"),
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
        (only_the_step, "return the point"),
    ],
}
