"""Chapter 09: right answers, each by another way than the check's own reference, and wrong ones."""

import math

import torch
import torch.nn.functional as F

# ---- ex1: the gradient with respect to the log-variances -------------------------------------------------------------


def by_loops(x, means, log_var, y, alpha, lam):
    found = torch.zeros_like(log_var)
    for xi, yi in zip(x, y.tolist(), strict=True):
        q = (xi - means) ** 2 / log_var.exp()  # (C, d)
        margin = torch.ones(len(means), dtype=x.dtype)
        margin[yi] += alpha
        z = -margin * q.sum(1) / 2 - log_var.sum(1) / 2
        p = (z - z.logsumexp(0)).exp()
        for k in range(len(means)):
            found[k] += (p[k] - float(k == yi)) * (margin[k] * q[k] - 1) / 2
        found[yi] += lam * (1 - q[yi]) / 2
    return found / len(x)


def loss(x, means, log_var, y, alpha, lam):
    normal = torch.distributions.Normal(means, (log_var / 2).exp())
    density = normal.log_prob(x[:, None]).sum(2) + x.shape[1] / 2 * math.log(2 * math.pi)
    d = -density - log_var.sum(1) / 2
    posterior = F.cross_entropy(density - alpha * d * F.one_hot(y, len(means)), y)
    return posterior - lam * density.gather(1, y[:, None]).mean()


def by_autograd(x, means, log_var, y, alpha, lam):
    leaf = log_var.clone().requires_grad_()
    return torch.autograd.grad(loss(x, means, leaf, y, alpha, lam), leaf)[0]


def in_place(x, means, log_var, y, alpha, lam):
    found = by_loops(x, means, log_var, y, alpha, lam)
    log_var += 0.1
    return found


# ---- ex2: log densities with full covariances ------------------------------------------------------------------------


def by_distributions(x, means, covariances):
    normal = torch.distributions.MultivariateNormal(means, covariances)
    return normal.log_prob(x[:, None]) + x.shape[1] / 2 * math.log(2 * math.pi)


def by_eigenvalues(x, means, covariances):
    columns = []
    for mean, covariance in zip(means, covariances, strict=True):
        values, vectors = torch.linalg.eigh(covariance)
        turned = (x - mean) @ vectors
        columns.append(-(turned**2 / values).sum(1) / 2 - values.log().sum() / 2)
    return torch.stack(columns, 1)


def by_determinant(x, means, covariances):
    differences = x[:, None] - means
    L = torch.linalg.cholesky(covariances)
    q = torch.linalg.solve_triangular(L, differences[..., None], upper=False).square().sum((2, 3))
    return -q / 2 - L.diagonal(dim1=1, dim2=2).square().prod(1).log() / 2


# ---- ex3: a test that tells right from wrong -------------------------------------------------------------------------


def batch(seed, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    x, means, log_var = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (4, 3, 3))
    return spread * x, means, log_var, torch.tensor([0, 1, 2, 1])


def by_differences(given):
    gaps = [given(*batch(seed, spread), 0.5, 0.3) - loss(*batch(seed, spread), 0.5, 0.3)
            for seed, spread in ((0, 1), (1, 1), (2, 50))]  # fmt: skip
    return max(gaps) - min(gaps) < 1e-9


def by_gradients(given):
    for seed, spread in ((3, 1), (4, 60)):
        x, means, log_var, y = batch(seed, spread)
        found = []
        for one in (given, loss):
            leaves = [part.clone().requires_grad_() for part in (x, means, log_var)]
            found.append(torch.autograd.grad(one(*leaves, y, 0.4, 0.2), leaves, allow_unused=True))
        for a, b in zip(*found, strict=True):
            if a is None or not torch.allclose(a, b, rtol=1e-9, atol=1e-12):
                return False
    return True


def by_value(given):
    return bool(abs(given(*batch(0), 0.5, 0.3) - loss(*batch(0), 0.5, 0.3)) < 1e-9)


def with_two_constants(given):
    """Either none or that of the normal density."""
    tries = ((0, 1), (1, 1), (2, 50))
    gaps = [given(*batch(*one), 0.5, 0.3) - loss(*batch(*one), 0.5, 0.3) for one in tries]
    return any(max(abs(gap - free) for gap in gaps) < 1e-9 for free in (0.0, 0.3 * 1.5 * math.log(2 * math.pi)))


def near_only(given):
    gaps = [given(*batch(seed, 0.2), 0.5, 0.3) - loss(*batch(seed, 0.2), 0.5, 0.3) for seed in (0, 2, 3)]
    return bool(max(gaps) - min(gaps) < 1e-4)


def without_variances(given):
    gaps = []
    for seed in range(3):
        x, means, log_var, y = batch(seed)
        gaps.append(given(x, means, 0 * log_var, y, 0.5, 0.3) - loss(x, means, 0 * log_var, y, 0.5, 0.3))
    return bool(max(gaps) - min(gaps) < 1e-9)


def without_likelihood(given):
    return bool(abs(given(*batch(0), 0.5, 0.0) - loss(*batch(0), 0.5, 0.0)) < 1e-9)


def in_one_dimension(given):
    gaps = []
    for seed, spread in ((0, 1), (2, 1), (3, 50)):
        x, means, log_var, y = batch(seed, spread)
        line = (x[:, :1], means[:, :1], log_var[:, :1], y, 0.5, 0.3)
        gaps.append(given(*line) - loss(*line))
    return bool(max(gaps) - min(gaps) < 1e-9)


RIGHT = {
    "ex1": [by_loops],
    "ex2": [by_distributions, by_eigenvalues],
    "ex3": [by_differences, by_gradients],
}
WRONG = {
    "ex1": [
        (by_autograd, "autograd"),
        (in_place, "changes its input"),
        (lambda x, m, v, y, alpha, lam: by_loops(x, m, v, y, 0.0, lam), "nowhere"),
        (lambda x, m, v, y, alpha, lam: len(x) * by_loops(x, m, v, y, alpha, lam), "divide by B"),
        (lambda x, m, v, y, alpha, lam: -by_loops(x, m, v, y, alpha, lam), "minus the gradient"),
        (lambda x, m, v, y, alpha, lam: by_loops(x, m, v, y, alpha, 0.0), "likelihood term is missing"),
        (lambda *inputs: by_loops(*inputs).float(), "7th digit"),
        (lambda *inputs: by_loops(*inputs).sum(1), "shape"),
    ],
    "ex2": [
        (by_determinant, "underflows"),
        (lambda x, m, c: by_distributions(x, m, c) - x.shape[1] / 2 * math.log(2 * math.pi), "constant"),
        (lambda x, m, c: by_distributions(x, m, c).T, "swapped"),
        (lambda x, m, c: by_distributions(x, m, torch.diag_embed(c.diagonal(dim1=1, dim2=2))), "do not lean"),
        (lambda x, m, c: by_distributions(x.float(), m.float(), c.float()), "7th digit"),
    ],
    "ex3": [
        (lambda given: True, "lets this bug pass"),
        (lambda given: False, "rejects"),
        (by_value, "keeps the constant"),
        (with_two_constants, "whose constant is"),
        (near_only, "exponentials come before"),
        (without_variances, "Euclidean"),
        (without_likelihood, "Euclidean"),
        (in_one_dimension, "variance of the first"),
        (lambda given: given(*batch(0), 0.5, 0.3), "True or False"),
    ],
}
