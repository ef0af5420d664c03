"""Chapter 04: right answers, each by another way than the check's own reference, and wrong ones."""

import itertools
import random

import torch
import torch.nn.functional as F

# ---- ex1: the gradient of L_in with respect to the similarities ------------------------------------------------------


def row_by_row(s, labels, tau):
    found = torch.zeros_like(s)
    anchors = [i for i in range(len(s)) if (labels == labels[i]).sum() > 1]
    for i in anchors:
        others = [j for j in range(len(s)) if j != i]
        own = [j for j in others if labels[j] == labels[i]]
        p, q = (s[i, chosen] / tau for chosen in (others, own))
        found[i, others] += (p - p.logsumexp(0)).exp()
        found[i, own] -= (q - q.logsumexp(0)).exp()
    return found / tau / max(len(anchors), 1)


def by_differentiation(s, labels, tau):
    s = s.clone().requires_grad_()
    itself = torch.eye(len(s), dtype=torch.bool)
    positive = (labels[:, None] == labels) & ~itself
    logits = (s / tau).masked_fill(itself, -1e30)
    loss = (logits.logsumexp(1) - logits.masked_fill(~positive, -1e30).logsumexp(1))[positive.any(1)]
    return torch.autograd.grad(loss.sum() / max(len(loss), 1), s)[0]


def overflowing(s, labels, tau):
    e = (s / tau).exp().masked_fill(torch.eye(len(s), dtype=torch.bool), 0)
    own = e * (labels[:, None] == labels)
    has = own.sum(1, keepdim=True) > 0
    found = torch.where(has, e / e.sum(1, keepdim=True) - own / own.sum(1, keepdim=True), 0.0)
    return found / tau / max(int(has.sum()), 1)


def outside(s, labels, tau):
    itself = torch.eye(len(s), dtype=torch.bool)
    positive = ((labels[:, None] == labels) & ~itself).double()
    has = positive.any(1)
    share = positive / positive.sum(1, keepdim=True).clamp(min=1)
    p = (s / tau).masked_fill(itself, -1e30).softmax(1)
    return torch.where(has[:, None], p - share, 0.0) / tau / max(int(has.sum()), 1)


def outside_unguarded(s, labels, tau):
    positive = (labels[:, None] == labels) & ~torch.eye(len(s), dtype=torch.bool)
    count = positive.sum(1, keepdim=True)
    p = (s / tau).fill_diagonal_(-torch.inf).softmax(1)
    return (p - positive / count.to(s.dtype)) / tau / len(s)


def in_place(s, labels, tau):
    s /= 1.0 + 1e-9
    return row_by_row(s, labels, tau)


# ---- ex2: a balanced draw of pairs -----------------------------------------------------------------------------------


def by_lists(labels, count, generator):
    every = list(itertools.combinations(range(len(labels)), 2))
    same = [pair for pair in every if labels[pair[0]] == labels[pair[1]]]
    differ = [pair for pair in every if labels[pair[0]] != labels[pair[1]]]
    chosen = []
    for kind in (same, differ):
        order = torch.rand(len(kind), generator=generator).argsort()[: count // 2]
        chosen += [kind[k] for k in order.tolist()]
    return torch.tensor(chosen)


def by_rejection(labels, count, generator):
    wanted, found = {True: count // 2, False: count // 2}, set()
    while sum(wanted.values()):
        i, j = sorted(torch.randint(len(labels), (2,), generator=generator).tolist())
        kind = bool(labels[i] == labels[j])
        if i != j and wanted[kind] and (i, j) not in found:
            found.add((i, j))
            wanted[kind] -= 1
    return torch.tensor(sorted(found))


def person_first(labels, count, generator):
    """A person at random, then a pair of that person."""
    found = by_lists(labels, count, generator)[count // 2 :].tolist()
    people = labels.unique()
    chosen = set()
    while len(chosen) < count // 2:
        person = people[torch.randint(len(people), (1,), generator=generator)]
        images = (labels == person).nonzero()[:, 0]
        a, b = images[torch.randperm(len(images), generator=generator)[:2]].sort().values.tolist()
        chosen.add((a, b))
    return torch.tensor([*chosen, *found])


def any_pairs(labels, count, generator):
    i, j = torch.triu_indices(len(labels), len(labels), 1)
    chosen = torch.randperm(len(i), generator=generator)[:count]
    return torch.stack([i[chosen], j[chosen]], 1)


def with_repeats(labels, count, generator):
    i, j = torch.triu_indices(len(labels), len(labels), 1)
    found = []
    for kind in (True, False):
        possible = ((labels[i] == labels[j]) == kind).nonzero()[:, 0]
        found.append(possible[torch.randint(len(possible), (count // 2,), generator=generator)])
    chosen = torch.cat(found)
    return torch.stack([i[chosen], j[chosen]], 1)


def with_itself(labels, count, generator):
    same = (labels[:, None] == labels).nonzero()
    same = same[same[:, 0] <= same[:, 1]]
    found = same[torch.randperm(len(same), generator=generator)[: count // 2]]
    return torch.cat([found, by_lists(labels, count, generator)[count // 2 :]])


def other_chance(labels, count, generator):
    return by_lists(labels, count, torch.Generator().manual_seed(random.randrange(2**31)))


def in_blocks(labels, count, generator):
    """A start by lot, and from there on one pair of the list after the other."""
    i, j = torch.triu_indices(len(labels), len(labels), 1)
    found = []
    for kind in (True, False):
        possible = ((labels[i] == labels[j]) == kind).nonzero()[:, 0]
        start = torch.randint(len(possible), (1,), generator=generator)
        found.append(possible[(start + torch.arange(count // 2)) % len(possible)])
    chosen = torch.cat(found)
    return torch.stack([i[chosen], j[chosen]], 1)


# ---- ex3: a term that keeps the coordinates apart --------------------------------------------------------------------


def decorrelated(x):
    correlation = x.T @ x / len(x)
    return (correlation - torch.eye(x.shape[1])).square().sum()


def volume(x):
    """The logarithm of the volume of the cloud, with a minus."""
    return -torch.logdet(x.T @ x / len(x) + 1e-3 * torch.eye(x.shape[1]))


def far_from_all(x):
    """Every image away from every other, whoever it is."""
    return (4.0 - F.pdist(x)).clamp(min=0).square().mean()


def nearest(x):
    """From every sample to the one that is nearest to it: most often of the same person."""
    D = torch.cdist(x, x) + 1e3 * torch.eye(len(x))
    return D.amin(1)


RIGHT = {
    "ex1": [row_by_row],
    "ex2": [by_lists, by_rejection],
    "ex3": [decorrelated, volume, far_from_all],
}
WRONG = {
    "ex1": [
        (by_differentiation, "autograd"),
        (overflowing, "τ = 0.001"),
        (outside, "gradient of L_out"),
        (outside_unguarded, "gradient of L_out"),
        (in_place, "changes its input"),
        (lambda s, labels, tau: -row_by_row(s, labels, tau), "the sign"),
        (lambda s, labels, tau: row_by_row(s, labels, tau) * tau, "1/τ is missing"),
        (lambda s, labels, tau: row_by_row(s, labels, tau) + row_by_row(s, labels, tau).T, "two numbers"),
        (lambda s, labels, tau: row_by_row(s.float(), labels, tau), "float"),
        (lambda s, labels, tau: row_by_row(s.T, labels, tau).T, "down the columns"),
        (lambda s, labels, tau: row_by_row(s.T, labels, tau), "s_ij ≠ s_ji"),
        (lambda s, labels, tau: row_by_row((s + s.T) / 2, labels, tau), "s_ij ≠ s_ji"),
        (lambda s, labels, tau: row_by_row(s, labels, tau).sum(), "shape"),
        (lambda s, labels, tau: row_by_row(s, labels, tau) if len(s) > 4 else None, "`return` is missing"),
    ],
    "ex2": [
        (person_first, "draw a person first"),
        (any_pairs, "exactly half"),
        (with_repeats, "comes twice"),
        (with_itself, "paired with itself"),
        (other_chance, "from the generator"),
        (in_blocks, "draw no blocks"),
        (lambda labels, count, generator: by_lists(labels, count, generator).flip(1), "smaller index first"),
        (lambda labels, count, generator: by_lists(labels, count, generator).T, "shape"),
        (lambda labels, count, generator: by_lists(labels, count, generator).float(), "int64"),
        (lambda labels, count, generator: by_lists(labels, count, torch.Generator().manual_seed(3)), "does not depend"),
        (lambda labels, count, generator: by_lists(labels, count, generator).tolist(), "a tensor"),
    ],
    "ex3": [
        (lambda x: 0.0 * x.sum(), "still ends in"),
        (lambda x: x.square().mean(), "still ends in"),
        (lambda x: (x.std(0) - 1).square().sum(), "still ends in"),
        (lambda x: -decorrelated(x), "still ends in"),
        (lambda x: 1e4 * (9.0 - nearest(x)).square().mean(), "outweighs"),
        (lambda x: decorrelated(x.detach()), "no gradient"),
        (lambda x: torch.corrcoef(x.T).square(), "scalar"),
        (lambda x: 1.0, "scalar"),
    ],
}
