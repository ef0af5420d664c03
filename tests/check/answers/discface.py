"""Chapter 16: right answers, each by another way than the check's own reference, and wrong ones."""

import torch
import torch.nn.functional as F
from scipy.optimize import minimize

# ---- ex1: the force of the discrepancy on an embedding ---------------------------------------------------------------


def by_rows(x, w, v):
    """The projection as a matrix (I - x̂ x̂ᵀ) / ‖x‖, row by row."""
    found = torch.zeros_like(x)
    for i in range(len(x)):
        n = float((x[i] @ x[i]) ** 0.5)
        own = x[i] / n
        away = own - w[i] / (w[i] @ w[i]) ** 0.5 - v
        size = float((away @ away) ** 0.5)
        if size > 0:
            found[i] = -((torch.eye(x.shape[1], dtype=x.dtype) - torch.outer(own, own)) / n) @ (away / size)
    return found


def by_autograd(x, w, v):
    x = x.clone().requires_grad_()
    value = torch.linalg.vector_norm(F.normalize(x) - F.normalize(w) - v, dim=1).sum()
    return -torch.autograd.grad(value, x)[0]


def squared(x, w, v):
    own = F.normalize(x)
    away = own - F.normalize(w) - v
    return -2 * (away - (away * own).sum(1, keepdim=True) * own) / x.norm(dim=1, keepdim=True)


def along(x, w, v):
    away = F.normalize(x) - F.normalize(w) - v
    size = away.norm(dim=1, keepdim=True)
    return -away / torch.where(size > 0, size, 1.0) / x.norm(dim=1, keepdim=True)


def unguarded(x, w, v):
    own = F.normalize(x)
    away = own - F.normalize(w) - v
    away = away / away.norm(dim=1, keepdim=True)
    return -(away - (away * own).sum(1, keepdim=True) * own) / x.norm(dim=1, keepdim=True)


def guarded_by_cos(x, w, v):
    """Where x lies on its class direction, not where the residual is v."""
    own, away = F.normalize(x), F.normalize(x) - F.normalize(w) - v
    on_it = (own * F.normalize(w)).sum(1, keepdim=True) > 1 - 1e-12
    away = torch.where(on_it, 0.0, away / torch.where(on_it, 1.0, away.norm(dim=1, keepdim=True)))
    return -(away - (away * own).sum(1, keepdim=True) * own) / x.norm(dim=1, keepdim=True)


# ---- ex2: a test for displacements -----------------------------------------------------------------------------------


def slope(displacement, xi, bound, along_):
    """Gradient of v · along in ξ."""
    xi = xi.clone().requires_grad_()
    found = torch.autograd.grad((displacement(xi, bound) * along_).sum(), xi, allow_unused=True)[0]
    return torch.zeros_like(xi) if found is None else found


def by_jacobian(displacement):
    for length in (0.0, 0.3, 0.9, 2.0, 10.0):
        xi = length * torch.tensor([0.6, -0.8, 0.0]).double()
        want = xi * min(1.0, 1 / length) if length else xi
        if not torch.allclose(displacement(xi, 1.0), want, atol=1e-8):
            return False
        jacobian = torch.eye(3).double()
        if length > 1:
            jacobian = (jacobian - torch.outer(xi, xi) / (xi @ xi)) / length
        rows = torch.stack([slope(displacement, xi, 1.0, unit) for unit in torch.eye(3).double()])
        if not torch.allclose(rows, jacobian, atol=1e-8):
            return False
    return True


def values_alone(displacement):
    return all(
        torch.allclose(
            displacement(torch.tensor([length, 0.0]).double(), 1.0), torch.tensor([min(length, 1.0), 0.0]).double()
        )
        for length in (0.5, 3.0)
    )


def no_beyond(displacement):
    xi = torch.tensor([0.3, 0.4]).double()
    both = torch.tensor([1.0, 1.0]).double()
    inside = torch.allclose(displacement(xi, 1.0), xi) and torch.allclose(slope(displacement, xi, 1.0, both), both)
    beyond = torch.allclose(displacement(10 * xi, 1.0), 2 * xi)
    return bool(inside and beyond and torch.allclose(slope(displacement, 0 * xi, 1.0, both), both))


def tries(displacement, lengths=(0.0, 0.5, 4.0), sloped=(0.0, 0.5, 4.0), values=True):
    unit, probe = torch.tensor([[0.6, 0.8, 0.0], [1.0, 2.0, 3.0]]).double()
    for length in lengths:
        if values and not torch.allclose(displacement(length * unit, 2.0), min(length, 2.0) * unit):
            return False
        want = probe if length < 2 else (probe - (probe @ unit) * unit) * 2 / length
        if length in sloped and not torch.allclose(slope(displacement, length * unit, 2.0, probe), want):
            return False
    return True


# ---- ex3: the best shared shift --------------------------------------------------------------------------------------


def by_scipy(residuals, bound):
    """Lengths and their gradient to SLSQP, from two starts."""
    e = residuals.numpy()

    def value(v):
        return ((e - v) ** 2).sum(1).__pow__(0.5).mean()

    def gradient(v):
        away = v - e
        return (away / ((away**2).sum(1, keepdims=True) ** 0.5)).mean(0)

    inside = {"type": "ineq", "fun": lambda v: bound**2 - v @ v, "jac": lambda v: -2 * v}
    start = e.mean(0) * min(1, 0.5 * bound / (e.mean(0) @ e.mean(0)) ** 0.5)
    found = minimize(value, start, jac=gradient, method="SLSQP", constraints=[inside],
                     options={"ftol": 1e-15, "maxiter": 2000})  # fmt: skip
    return torch.from_numpy(found.x)


def shortened_mean(residuals, bound):
    mean = residuals.mean(0)
    return mean * min(1.0, bound / float(mean.norm()))


def median_of_coordinates(residuals, bound):
    median = residuals.median(0).values
    return median * min(1.0, bound / float(median.norm()))


def weiszfeld(residuals, bound):
    v = residuals.mean(0)
    for _ in range(3000):
        weight = 1 / (residuals - v).norm(dim=1, keepdim=True)
        v = (weight * residuals).sum(0) / weight.sum()
    return v


RIGHT = {"ex1": [by_rows], "ex2": [by_jacobian, tries], "ex3": [by_scipy]}
WRONG = {
    "ex1": [
        (by_autograd, "autograd"),
        (along, "along x"),
        (squared, "force of the squared length"),
        (lambda x, w, v: squared(x, w, v) / 2, "half the squared length"),
        (lambda x, w, v: by_rows(x, w, -v), "sign of v"),
        (unguarded, "nan for the input an image on its class"),
        (lambda x, w, v: unguarded(x, w, v) if v.any() else by_rows(x, w, v), "nan for the input one row with"),
        (guarded_by_cos, "one row with x̂ = ŵ + v"),
        (lambda x, w, v: -by_rows(x, w, v), "minus the gradient"),
        (lambda x, w, v: by_rows(x, w, v) * x.norm(dim=1, keepdim=True), "half as far"),
        (lambda x, w, v: by_rows(x, w, 0 * v), "v is missing"),
        (lambda x, w, v: by_rows(x, w, v) / len(x), "divided by B"),
        (lambda x, w, v: by_rows(x, w, v).float(), "7th digit"),
        (lambda x, w, v: by_rows(x, w, v).sum(0), "shape"),
        (lambda x, w, v: by_rows(x, w, v) * (1 + 1e-7), "expected"),
    ],
    "ex2": [
        (values_alone, "never leaves"),
        (no_beyond, "part along ξ"),
        (lambda displacement: tries(displacement, lengths=(0.0, 4.0)), "inside the bound is half"),
        (lambda displacement: tries(displacement, sloped=(0.0, 4.0)), "inside the bound is half"),
        (lambda displacement: tries(displacement, values=False), "a constant added"),
        (lambda displacement: True, "never leaves"),
        (lambda displacement: False, "the chapter's own"),
        (lambda displacement: "yes", "expected True or False"),
        (lambda displacement: None if values_alone(displacement) else False, "`return` is missing"),
    ],
    "ex3": [
        (shortened_mean, "this is the mean"),
        (median_of_coordinates, "expected"),
        (weiszfeld, "longer than the bound"),
        (lambda residuals, bound: shortened_mean(weiszfeld(residuals, bound)[None], bound), "shortened afterwards"),
        (lambda residuals, bound: bound * F.normalize(by_scipy(residuals, bound), dim=0), "at most b"),
        (lambda residuals, bound: 0 * residuals[0], "expected"),
        (lambda residuals, bound: by_scipy(residuals, bound).float(), "7th digit"),
    ],
}
