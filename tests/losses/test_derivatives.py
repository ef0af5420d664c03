"""Second derivatives, `torch.func` and forward mode: right, or refused, for every loss and on every path."""

import copy
import math

import pytest
import torch
from torch.autograd import forward_ad

from facelearn import losses
from facelearn.losses import MarginHead
from tests.losses.conformance import CLASSIFYING, PAIR, batch

D, C = 8, 6


def gentle(loss, tile=None):
    """In float64 and without steep slopes, which would leave differences nothing to see."""
    for part in loss.double().modules():
        if isinstance(part, MarginHead):
            part.scale, part.tile = min(part.scale, 4.0), tile
        if getattr(part, "gamma", 0) > 10:
            part.gamma = 8.0
    return loss


CASES = {
    **{name: lambda make=make: gentle(make(D, C)) for name, make in CLASSIFYING.items()},
    **{f"{n} tiled": lambda m=m: gentle(m(D, C), 2) for n, m in CLASSIFYING.items() if hasattr(m(D, C), "tile")},
    **{name: lambda make=make: gentle(make()) for name, make in PAIR.items()},
    "sampled": lambda: gentle(losses.ArcFace(D, C, sample_rate=0.99)),
    "center": lambda: gentle(losses.Center(D, C)),
    "ring": lambda: gentle(losses.Ring()),
    "ring set": lambda: gentle(losses.Ring(radius=3.0)),
    "lgm in blocks": lambda: gentle(losses.LGM(D, C)),
}
#: a part of them is a constant to the gradient, in training or always
CONSTANT = {"adaface", "arcface-detached", "circleface", "npcface", "circle", "curricularface"}
both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


class Case:
    """A loss as a function of the embeddings, its gradient, and the slope of that along v by central differences."""

    def __init__(self, name, training, monkeypatch):
        if name == "lgm in blocks":
            monkeypatch.setattr("facelearn.losses.lgm.BLOCK", 2 * 9 * D)
        torch.manual_seed(0)
        self.loss = CASES[name]().train(training)
        self.x, y = batch(3, B=9)
        self.y = y if name.split()[0] in {*CLASSIFYING, "sampled", "center", "lgm"} else y % 3
        self.v = torch.randn(self.x.shape, dtype=self.x.dtype, generator=torch.Generator().manual_seed(1))
        base = name.removesuffix(" tiled")
        self.constant = base in CONSTANT and (training or base != "curricularface")

    def __call__(self, x):
        torch.manual_seed(1)
        return copy.deepcopy(self.loss)(x, self.y)

    def gradient(self, x):
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(self(leaf), leaf)[0]

    def slope(self):
        h = 1e-6
        return (self.gradient(self.x + h * self.v) - self.gradient(self.x - h * self.v)) / (2 * h)

    def close(self, got, want):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-7 * float(want.abs().max()))


@both_modes
@pytest.mark.parametrize("name", CASES)
def test_second_derivatives_are_right_or_refused(name, training, monkeypatch):
    case = Case(name, training, monkeypatch)
    leaf = case.x.clone().requires_grad_()
    if case.constant:
        with pytest.raises(RuntimeError, match="create_graph=True: expected False, a loss with constants"):
            torch.autograd.grad(case(leaf), leaf, create_graph=True)
        return
    (first,) = torch.autograd.grad(case(leaf), leaf, create_graph=True)
    case.close(first.detach(), case.gradient(case.x))
    case.close(torch.autograd.grad((first * case.v).sum(), leaf)[0], case.slope())


@both_modes
@pytest.mark.parametrize("name", CASES)
def test_torch_func_is_right_or_refuses_and_moves_no_state(name, training, monkeypatch):
    case = Case(name, training, monkeypatch)
    before = copy.deepcopy(case.loss.state_dict())

    def call(x):  # the loss itself, not a copy
        torch.manual_seed(1)
        return case.loss(x, case.y)

    gradient = case.gradient(case.x)
    case.close(torch.func.grad(call)(case.x), gradient)
    case.close(torch.func.jvp(call, (case.x,), (case.v,))[1].detach(), (gradient * case.v).sum())
    if case.constant:
        with pytest.raises(RuntimeError, match=r"torch\.func: expected one derivative, a loss with constants"):
            torch.func.hessian(call)(case.x)
    else:
        case.close(torch.func.jvp(torch.func.grad(call), (case.x,), (case.v,))[1], case.slope())
        if not (training and ("elastic" in name or name == "sampled")):  # vmap wants to be told how to draw
            case.close(torch.einsum("ijkl,kl->ij", torch.func.hessian(call)(case.x), case.v), case.slope())
    for key, value in case.loss.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0, equal_nan=True)
    leaf = case.x.clone().requires_grad_()
    call(leaf).backward()  # nothing of the transforms is left behind
    case.close(leaf.grad, gradient)


@pytest.mark.parametrize("name", CASES)
def test_forward_mode(name, monkeypatch):
    case = Case(name, True, monkeypatch)
    with forward_ad.dual_level():
        value = case(forward_ad.make_dual(case.x, case.v))
        tangent = forward_ad.unpack_dual(value).tangent
    case.close(tangent.detach(), (case.gradient(case.x) * case.v).sum())


@pytest.mark.parametrize("name", ["arcface-mm tiled", "subcenter tiled", "sphereface tiled", "sampled"])
def test_second_derivatives_to_the_weights(name, monkeypatch):
    """Mixed ones, too: the gradient to the weights, differentiated by the embeddings."""
    case = Case(name, False, monkeypatch)
    dense = copy.deepcopy(case.loss)
    dense.tile, dense.sample_rate = None, 1.0
    case.loss.train(name == "sampled")
    case.loss.draw_classes = lambda own: torch.arange(C)
    found = []
    for loss in (case.loss, dense):
        leaf = case.x.clone().requires_grad_()
        first = torch.autograd.grad(loss(leaf, case.y), loss.weight, create_graph=True)[0].to_dense()
        turned = (first * torch.linspace(-1, 1, first.numel(), dtype=first.dtype).view_as(first)).sum()
        found.append(torch.autograd.grad(turned, (leaf, loss.weight)))
    for got, want in zip(*found, strict=True):
        torch.testing.assert_close(got.to_dense(), want, rtol=1e-9, atol=1e-12)


def test_a_second_derivative_far_beyond_the_size_where_tiles_begin():
    """At B · C = 1,280,000 it was once wrong by its own length."""
    torch.manual_seed(0)
    head = losses.ArcFace(8, 10_000, scale=8.0)
    x, y = torch.randn(128, 8), torch.randint(10_000, (128,))
    found = []
    for tile in ("auto", None):
        head.tile = tile
        leaf = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(head(leaf, y), leaf, create_graph=True)
        found.append(torch.autograd.grad(first.square().sum(), leaf)[0])
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-6 * float(found[1].abs().max()))


def test_vmap_over_batches():
    head = losses.CosFace(D, C).double().eval()
    x, y = torch.randn(3, 5, D, dtype=torch.float64), torch.randint(C, (3, 5))
    got = torch.func.vmap(head)(x, y)
    torch.testing.assert_close(got, torch.stack([head(a, b) for a, b in zip(x, y, strict=True)]))


def test_first_derivatives_are_those_of_plain_calls_after_a_refusal():
    loss = losses.Circle(gamma=8.0).double()
    x, y = batch(C=3)
    leaf = x.clone().requires_grad_()
    value = loss(leaf, y)
    with pytest.raises(RuntimeError, match="create_graph"):
        torch.autograd.grad(value, leaf, create_graph=True)
    assert math.isfinite(float(loss(leaf, y).detach()))
    loss(leaf, y).backward()
    assert leaf.grad.isfinite().all()
