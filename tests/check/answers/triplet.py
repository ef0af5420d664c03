"""Chapter 05: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import torch
import torch.nn.functional as F


def triplets(labels):
    labels = labels.tolist()
    places = range(len(labels))
    return [
        (a, p, n)
        for a in places
        for p in places
        for n in places
        if a != p and labels[a] == labels[p] and labels[a] != labels[n]
    ]


# ---- ex1: the gradient of the soft margin over all triplets ----------------------------------------------------------


def one_by_one(x, labels, parts="apn"):
    found, every = torch.zeros_like(x), triplets(labels)
    for a, p, n in every:
        gap = float((x[a] - x[p]).square().sum() - (x[a] - x[n]).square().sum())
        weight = 2 / (1 + math.exp(-gap)) if gap > -700 else 0.0
        weight /= len(every)
        for part, place, way in (("a", a, x[n] - x[p]), ("p", p, x[p] - x[a]), ("n", n, x[a] - x[n])):
            if part in parts:
                found[place] += weight * way
    return found


def of_images(x, labels):
    """By the distances: ∂d_ij/∂x_i = 2 (x_i - x_j)."""
    every = torch.tensor(triplets(labels), dtype=torch.long).view(-1, 3)
    a, p, n = every.T
    ap, an = x[a] - x[p], x[a] - x[n]
    w = 2 * torch.sigmoid(ap.square().sum(1) - an.square().sum(1))[:, None] / max(len(every), 1)
    found = torch.zeros_like(x).index_add(0, a, w * (ap - an))
    return found.index_add(0, p, -w * ap).index_add(0, n, w * an)


def by_autograd(x, labels):
    x = x.clone().requires_grad_()
    every = torch.tensor(triplets(labels), dtype=torch.long).view(-1, 3)
    a, p, n = every.T
    gap = (x[a] - x[p]).square().sum(1) - (x[a] - x[n]).square().sum(1)
    loss = F.softplus(gap).sum() / max(len(every), 1)
    return torch.autograd.grad(loss, x)[0]


def unguarded(x, labels):
    every = torch.tensor(triplets(labels), dtype=torch.long).view(-1, 3)
    return of_images(x, labels) * len(every) / torch.tensor(float(len(every)), dtype=x.dtype)


def hinge(x, labels):
    every = torch.tensor(triplets(labels), dtype=torch.long).view(-1, 3)
    a, p, n = every.T
    ap, an = x[a] - x[p], x[a] - x[n]
    w = 2 * (ap.square().sum(1) > an.square().sum(1)).to(x)[:, None] / max(len(every), 1)
    found = torch.zeros_like(x).index_add(0, a, w * (ap - an))
    return found.index_add(0, p, -w * ap).index_add(0, n, w * an)


def in_place(x, labels):
    found = of_images(x, labels)
    x -= 1
    return found


# ---- ex2: the nearest negative beyond the positive, else the farthest ------------------------------------------------


def in_loops(d, labels):
    found = torch.full_like(d, -1).long()
    for a in range(len(d)):
        others = [n for n in range(len(d)) if labels[n] != labels[a]]
        for p in range(len(d)):
            if p != a and labels[p] == labels[a] and others:
                beyond = [n for n in others if d[a, n] > d[a, p]]
                found[a, p] = min(beyond, key=lambda n: d[a, n]) if beyond else max(others, key=lambda n: d[a, n])
    return found


def sorted_rows(d, labels):
    """Negatives of each anchor in order of distance; the first one beyond, or the last."""
    found = torch.full(d.shape, -1)
    for a in range(len(d)):
        others = (labels != labels[a]).nonzero()[:, 0]
        order = others[d[a, others].argsort()]
        for p in (labels == labels[a]).nonzero()[:, 0].tolist():
            if p != a and len(order):
                place = int(torch.searchsorted(d[a, order], d[a, p], right=True))
                found[a, p] = order[min(place, len(order) - 1)]
    return found


def hardest_else(d, labels):
    found = in_loops(d, labels)
    for a, p in (found >= 0).nonzero().tolist():
        others = [n for n in range(len(d)) if labels[n] != labels[a]]
        if all(d[a, n] <= d[a, p] for n in others):
            found[a, p] = min(others, key=lambda n: d[a, n])
    return found


def ring_only(d, labels):
    found = in_loops(d, labels)
    rows, columns = (found >= 0).nonzero(as_tuple=True)
    empty = d[rows, found[rows, columns]] <= d[rows, columns]
    found[rows[empty], columns[empty]] = -1
    return found


def always_nearest(d, labels):
    found = in_loops(d, labels)
    nearest = d.masked_fill(labels[:, None] == labels, torch.inf).argmin(1)
    return torch.where(found >= 0, nearest[:, None], -1)


def sentinel(d, labels):
    """100 in place of infinity."""
    same = labels[:, None] == labels
    beyond = (d[:, None, :] > d[:, :, None]) & ~same[:, None, :]
    nearest = torch.where(beyond, d[:, None, :], 100.0).argmin(2)
    farthest = torch.where(same, -100.0, d).argmax(1)[:, None]
    found = torch.where(beyond.any(2), nearest, farthest)
    pair = same & ~torch.eye(len(d), dtype=torch.bool)
    return torch.where(pair & (~same).any(1, keepdim=True), found, -1)


def zero_instead(d, labels):
    return in_loops(d, labels).clamp(min=0)


def with_floats(d, labels):
    return in_loops(d, labels).double()


def spoils(d, labels):
    found = in_loops(d, labels)
    d.fill_diagonal_(torch.inf)
    return found


# ---- ex3: a test for miners ------------------------------------------------------------------------------------------


def compares(mine, sizes=(8, 12), whole=True, ties=True, margins=(2.0, 0.5, 1.0)):
    """Against three loops, on symmetric matrices."""
    for seed, size in enumerate(sizes * 8):
        generator = torch.Generator().manual_seed(seed)
        places = torch.randint(0, 5, (size, 2), generator=generator).double()
        if not ties:
            places = 5 * torch.rand(size, 2, generator=generator, dtype=torch.float64)
        d = (places[:, None] - places).square().sum(2)
        labels = torch.randint(0, 3, (size,), generator=generator)
        for margin in margins:
            wanted = torch.zeros(size, size, size, dtype=torch.bool)
            for a, p, n in triplets(labels):
                wanted[a, p, n] = bool(d[a, p] < d[a, n] < d[a, p] + margin)
            got = mine(d, labels, margin)
            if not (torch.equal(got, wanted) if whole else bool((wanted | ~got).all())):
                return False
    return True


def counts_alone(mine):
    """How many there are, not where."""

    def right(d, labels, margin):
        found = torch.zeros(len(d), len(d), len(d), dtype=torch.bool)
        for a, p, n in triplets(labels):
            found[a, p, n] = bool(d[a, p] < d[a, n] < d[a, p] + margin)
        return found

    def counted(d, labels, margin):
        return mine(d, labels, margin).sum() == right(d, labels, margin).sum()

    batches = [(torch.Generator().manual_seed(seed), 0.5 + seed % 3) for seed in range(30)]
    return all(
        bool(counted(torch.randint(0, 6, (9, 9), generator=g).double() / 2, torch.randint(0, 3, (9,), generator=g), m))
        for g, m in batches
    )


def with_one_margin(mine):
    return all(compares(mine, ties=ties, margins=(1.0,)) for ties in (True, False))


RIGHT = {
    "ex1": [one_by_one, of_images],
    "ex2": [in_loops, sorted_rows],
    "ex3": [compares],
}
WRONG = {
    "ex1": [
        (by_autograd, "autograd"),
        (lambda x, labels: F.pad(of_images(x[:, :3], labels), (0, x.shape[1] - 3))[:, : x.shape[1]], "got"),
        (lambda x, labels: of_images(x, labels.clamp(max=3)), "got"),
        (lambda x, labels: of_images(x, labels % 4), "got"),
        (hinge, "that is a hinge"),
        (lambda x, labels: -of_images(x, labels), "this is the force"),
        (lambda x, labels: of_images(x, labels) / 2, "factor of 2"),
        (lambda x, labels: one_by_one(x, labels, "a"), "only the anchor's row"),
        (lambda x, labels: of_images(x, labels) * max(len(triplets(labels)), 1), "not their sum"),
        (lambda x, labels: of_images(x, labels) * max(len(triplets(labels)), 1) / len(x), "not over the images"),
        (unguarded, "nan"),
        (lambda x, labels: of_images(F.normalize(x), labels), "not to be normalised"),
        (in_place, "changes its input"),
        (lambda x, labels: of_images(x.float(), labels), "7th digit"),
        (lambda x, labels: of_images(x, labels) * (1 + 1e-7), "expected"),
        (lambda x, labels: of_images(x, labels).sum(0), "shape"),
        (lambda x, labels: of_images(x, labels) if triplets(labels) else None, "`return` is missing"),
    ],
    "ex2": [
        (hardest_else, "the farthest is asked for"),
        (ring_only, "not -1"),
        (always_nearest, "the nearest negative of all"),
        (zero_instead, "0 is the position of an image"),
        (lambda d, labels: in_loops(d, labels).T, "rows"),
        (with_floats, "dtype"),
        (sentinel, "got"),
        (spoils, "changes its input"),
        (lambda d, labels: in_loops(d, labels)[0], "shape"),
    ],
    "ex3": [
        (lambda mine: True, "lets this bug pass: hard triplets"),
        (lambda mine: False, "rejects a right miner"),
        (lambda mine: compares(mine, ties=False), "exactly as far"),
        (lambda mine: compares(mine, whole=False), "only the nearest"),
        (counts_alone, "anchor and positive have changed places"),
        (with_one_margin, "the margin is always 1"),
        (lambda mine: mine(torch.rand(4, 4), torch.tensor([0, 0, 1, 1]), 0.2), "True or False"),
    ],
}
