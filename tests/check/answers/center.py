"""Chapter 06: right answers, each by another way than the check's own reference, and wrong ones."""

import torch
import torch.nn.functional as F

from facelearn.losses import Center

# ---- right answers, each by another way than the check's own reference -----------------------------------------------


def by_autograd(x, weight, centers, labels, lam):
    leaf = x.clone().requires_grad_()
    loss = F.cross_entropy(leaf @ weight.T, labels)
    if lam:
        loss = loss + lam * F.mse_loss(leaf, centers[labels], reduction="sum") / (2 * len(x))
    return torch.autograd.grad(loss, leaf)[0]


def by_the_library(centers, x, labels, alpha):
    loss = Center(centers.shape[1], len(centers), alpha=alpha).double()
    loss.centers.copy_(centers)
    loss(x, labels)
    return loss.centers


def by_a_weighted_mean(centers, x, labels, alpha):
    moved = centers.clone()
    for j in labels.unique():
        own = x[labels == j]
        rate = alpha * len(own) / (1 + len(own))
        moved[j] = (1 - rate) * centers[j] + rate * own.mean(0)
    return moved


def within_over_between(x, labels):
    kinds = labels.unique()
    means = torch.stack([x[labels == j].mean(0) for j in kinds])
    within = torch.stack([(x[labels == j] - m).square().sum(1).mean() for j, m in zip(kinds, means, strict=True)])
    return within.mean() / (means - means.mean(0)).square().sum(1).mean()


def within_over_total(x, labels):
    kinds, own = labels.unique(return_inverse=True)
    means = torch.stack([x[labels == j].mean(0) for j in kinds])
    return ((x - means[own]).square().sum() / (x - x.mean(0)).square().sum()).item()


def farthest_over_nearest(x, labels):
    apart, same = torch.cdist(x, x), labels[:, None] == labels
    return apart[same].max() / apart[~same].min()


# ---- planted wrong answers -------------------------------------------------------------------------------------------


def overwritten(centers, x, labels, alpha):
    moved, count = centers.clone(), labels.bincount(minlength=len(centers))[:, None]
    moved[labels] = centers[labels] - alpha * (centers[labels] - x) / (1 + count[labels])
    return moved


def batch_mean(centers, x, labels, alpha):
    moved = centers.clone()
    for j in labels.unique():
        moved[j] -= alpha * (centers[j] - x[labels == j].mean(0))
    return moved


def gradient_step(centers, x, labels, alpha):
    leaf = centers.clone().requires_grad_()
    F.mse_loss(leaf[labels], x, reduction="sum").div(2 * len(x)).backward()
    return centers - alpha * leaf.grad


def absent_to_zero(centers, x, labels, alpha):
    onehot = F.one_hot(labels, len(centers)).to(x.dtype)
    count = onehot.sum(0)[:, None]
    means = onehot.T @ x / count.clamp(min=1)
    return centers - alpha * (centers - means) * count.clamp(min=1) / (1 + count)


def within(x, labels):
    means = torch.stack([x[labels == j].mean(0) for j in range(6)])
    return (x - means[labels]).square().sum(1).mean()


def by_axes(x, labels):
    means = torch.stack([x[labels == j].mean(0) for j in range(6)])
    return ((x - means[labels]).var(0) / x.var(0)).mean()


def unbiased(x, labels):
    means, count = torch.stack([x[labels == j].mean(0) for j in range(6)]), labels.bincount()
    sizes = torch.zeros(6, dtype=x.dtype).index_add_(0, labels, (x - means[labels]).square().sum(1))
    return (sizes / (count - 1)).mean() / means.var(0).sum()


def per_class(x, labels):
    return torch.stack([x[labels == j].var(0, unbiased=False).sum() for j in range(6)])


RIGHT = {
    "ex1": [by_autograd],
    "ex2": [by_the_library, by_a_weighted_mean],
    "ex3": [within_over_between, within_over_total, farthest_over_nearest],
}
WRONG = {
    "ex1": [
        (lambda x, w, c, y, lam: by_autograd(x, w, 2 * x.mean(0) - c, y, lam), "expected"),
        (lambda x, w, c, y, lam: by_autograd(x, w, c, y, 0) + lam * (x - c[y]) / len(x), "0 · ∞"),
        (lambda x, w, c, y, lam: by_autograd(x, w, c, y, lam * 2), "half"),
        (lambda x, w, c, y, lam: by_autograd(x, w, c, y, lam * len(x)), "not divided by B"),
        (lambda x, w, c, y, lam: by_autograd(x, w, c, y, -lam), "sign"),
        (lambda x, w, c, y, lam: by_autograd(x, w, x.mean(0).expand_as(c), y, lam), "expected"),
    ],
    "ex2": [
        (overwritten, "overwrites"),
        (batch_mean, "divides by n_j"),
        (gradient_step, "gradient step"),
        (absent_to_zero, "towards 0"),
        (lambda c, x, y, alpha: c.copy_(by_the_library(c, x, y, alpha)), "changes its input"),
        (lambda c, x, y, alpha: 2 * c - by_the_library(c, x, y, alpha), "flees"),
        (lambda c, x, y, alpha: by_the_library(c, x, y, alpha) * (1 + 1e-12), "to the last bit"),
    ],
    "ex3": [
        (within, "attack"),
        (lambda x, y: within(x, y) / x.square().sum(1).mean(), "shift"),
        (by_axes, "rotation"),
        (lambda x, y: 1 / within_over_between(x, y), "did not fall"),
        (lambda x, y: 1.0, "did not fall"),
        (lambda x, y: within_over_between(x, y) - 0.01, "it must be 0"),
        (unbiased, "single image"),
        (per_class, "one number"),
    ],
}
