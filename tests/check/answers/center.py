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


def by_the_library(total, mass, x, labels, alpha):
    """The library's rule for the total, and for the number 1 instead of every feature."""
    found = []
    for state, features in ((total, x), (mass[:, None], torch.ones(len(x), 1, dtype=x.dtype))):
        loss = Center(state.shape[1], len(state), alpha=alpha).double()
        loss.centers.copy_(state)
        loss(features, labels)
        found.append(loss.centers.clone())
    return found[0], found[1][:, 0]


def class_by_class(total, mass, x, labels, alpha):
    total, mass = total.clone(), mass.clone()
    for j in labels.unique():
        own = x[labels == j]
        beta = alpha * len(own) / (1 + len(own))
        total[j] = (1 - beta) * total[j] + beta * own.mean(0)
        mass[j] = 1 - (1 - beta) * (1 - mass[j])
    return total, mass


def means_and_widths(x, labels):
    classes = [x[labels == j] for j in labels.unique()]
    means = torch.stack([own.mean(0) for own in classes])
    return means, torch.stack([(own - own.mean(0)).square().sum(1).mean() for own in classes])


def width_over_nearest(x, labels):
    means, widths = means_and_widths(x, labels)
    return (widths / torch.cdist(means, means).square().fill_diagonal_(torch.inf).amin(1)).mean()


def width_over_least(x, labels):
    means, widths = means_and_widths(x, labels)
    return widths.mean().item() / F.pdist(means).min().item() ** 2


def farthest_over_nearest(x, labels):
    apart, same = torch.cdist(x, x), labels[:, None] == labels
    return apart[same].max() / apart[~same].min()


def within_over_between(x, labels):
    kinds = labels.unique()
    means = torch.stack([x[labels == j].mean(0) for j in kinds])
    within = torch.stack([(x[labels == j] - m).square().sum(1).mean() for j, m in zip(kinds, means, strict=True)])
    return within.mean() / (means - means.mean(0)).square().sum(1).mean()


# ---- planted wrong answers -------------------------------------------------------------------------------------------


def fled(x, weight, centers, labels, lam):
    return by_autograd(x, weight, 2 * x.mean(0) - centers, labels, lam)


def times_zero(x, weight, centers, labels, lam):
    return by_autograd(x, weight, centers, labels, 0) + lam * (x - centers[labels]) / len(x)


def no_half(x, weight, centers, labels, lam):
    return by_autograd(x, weight, centers, labels, lam * 2)


def pull_of_the_sum(x, weight, centers, labels, lam):
    return by_autograd(x, weight, centers, labels, lam * len(x))


def other_way(x, weight, centers, labels, lam):
    return by_autograd(x, weight, centers, labels, -lam)


def through_the_centres(x, weight, centers, labels, lam):
    """Centres taken for the batch means, which move with x."""
    return by_autograd(x, weight, x.mean(0).expand_as(centers), labels, lam)


def centres_at_once(total, mass, x, labels, alpha):
    new, weight = class_by_class(total, mass, x, labels, alpha)
    return new / weight.clamp(min=1e-12)[:, None], weight


def always_alpha(total, mass, x, labels, alpha):
    total, mass = total.clone(), mass.clone()
    for j in labels.unique():
        total[j] += alpha * (x[labels == j].mean(0) - total[j])
        mass[j] += alpha * (1 - mass[j])
    return total, mass


def growing_mass(total, mass, x, labels, alpha):
    count = labels.bincount(minlength=len(total)).to(x.dtype)
    return class_by_class(total, mass, x, labels, alpha)[0], mass + alpha * count / (1 + count)


def counted(total, mass, x, labels, alpha):
    return class_by_class(total, mass, x, labels, alpha)[0], mass + labels.bincount(minlength=len(total))


def in_place(total, mass, x, labels, alpha):
    new, weight = by_the_library(total, mass, x, labels, alpha)
    return total.copy_(new), weight


def rounded(total, mass, x, labels, alpha):
    new, weight = by_the_library(total, mass, x, labels, alpha)
    return new * (1 + 1e-12), weight


def within(x, labels):
    means = torch.stack([x[labels == j].mean(0) for j in range(6)])
    return (x - means[labels]).square().sum(1).mean()


def within_over_length(x, labels):
    return within(x, labels) / x.square().sum(1).mean()


def by_axes(x, labels):
    means = torch.stack([x[labels == j].mean(0) for j in range(6)])
    return ((x - means[labels]).var(0) / x.var(0)).mean()


def the_wrong_way_up(x, labels):
    return 1 / width_over_nearest(x, labels)


def constant(x, labels):
    return 1.0


def one_class_alone(x, labels):
    return width_over_nearest(x, labels) - 0.01


def unbiased(x, labels):
    means, count = torch.stack([x[labels == j].mean(0) for j in range(6)]), labels.bincount()
    sizes = torch.zeros(6, dtype=x.dtype).index_add_(0, labels, (x - means[labels]).square().sum(1))
    return (sizes / (count - 1)).mean() / means.var(0).sum()


def per_class(x, labels):
    return torch.stack([x[labels == j].var(0, unbiased=False).sum() for j in range(6)])


RIGHT = {
    "ex1": [by_autograd],
    "ex2": [by_the_library, class_by_class],
    "ex3": [width_over_nearest, width_over_least, farthest_over_nearest],
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
        (centres_at_once, "count it twice"),
        (always_alpha, "always counts with α"),
        (growing_mass, "without bound"),
        (counted, "counts images"),
        (in_place, "changes its input"),
        (lambda total, mass, x, labels, alpha: by_the_library(total, mass, x, labels, alpha)[0], "expected"),
        (rounded, "to the last bit"),
    ],
    "ex3": [
        (within, "x 0.1 change it"),
        (within_over_length, "shift"),
        (by_axes, "rotation"),
        (the_wrong_way_up, "did not fall"),
        (constant, "did not fall"),
        (within_over_between, "it sees averages alone"),
        (one_class_alone, "it must be 0"),
        (unbiased, "single image"),
        (per_class, "one number"),
    ],
}
