"""What all the classifying losses promise: exactness, invariances, finiteness, clear errors."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from facelearn import losses
from facelearn.losses import ArcFace, CosFace, MarginHead, NormFace, Softmax
from facelearn.losses.margin import BEYOND_PI, cos_of_sum, sine, unit
from tests.losses.conformance import batch, hostile, value_and_gradients

ANGULAR = {
    "normface": lambda d, C, **k: NormFace(d, C, **k),
    "cosface": lambda d, C, **k: CosFace(d, C, **k),
    **{f"arcface-{rule}": lambda d, C, rule=rule, **k: ArcFace(d, C, beyond_pi=rule, **k) for rule in BEYOND_PI},
    "arcface-detached": lambda d, C, **k: ArcFace(d, C, detach_margin=True, **k),
}
CLASSIFYING = {"softmax": lambda d, C, **k: Softmax(d, C, **k), **ANGULAR}
angular = pytest.mark.parametrize("make", ANGULAR.values(), ids=ANGULAR)
classifying = pytest.mark.parametrize("make", CLASSIFYING.values(), ids=CLASSIFYING)


@classifying
@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_rotating_everything_changes_nothing(make, seed):
    x, y = batch(seed)
    loss = make(8, 6).double()
    rotation, _ = torch.linalg.qr(torch.randn(8, 8, dtype=x.dtype, generator=torch.Generator().manual_seed(seed)))
    before = loss(x, y)
    with torch.no_grad():
        loss.weight.copy_(loss.weight @ rotation)
    torch.testing.assert_close(loss(x @ rotation, y), before, rtol=1e-10, atol=1e-10)


@angular
@given(seed=st.integers(0, 10_000), a=st.floats(1e-3, 1e3), b=st.floats(1e-3, 1e3))
@settings(max_examples=10, deadline=None)
def test_lengths_of_embeddings_and_weights_do_not_matter(make, seed, a, b):
    x, y = batch(seed)
    loss = make(8, 6).double()
    before = loss(x, y)
    with torch.no_grad():
        loss.weight.mul_(b)
    torch.testing.assert_close(loss(a * x, y), before, rtol=1e-10, atol=1e-10)


@classifying
@given(seed=st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_order_of_samples_and_of_classes_does_not_matter(make, seed):
    x, y = batch(seed)
    loss = make(8, 6, reduction="none").double()
    g = torch.Generator().manual_seed(seed)
    samples, classes = torch.randperm(len(x), generator=g), torch.randperm(6, generator=g)
    before = loss(x, y)
    with torch.no_grad():
        loss.weight.copy_(loss.weight[classes])
    renamed = torch.argsort(classes)[y]  # the new row of each label
    torch.testing.assert_close(loss(x[samples], renamed[samples]), before[samples], rtol=1e-10, atol=1e-12)


@angular
def test_gradient_is_orthogonal_to_the_embedding_and_falls_with_its_length(make):
    x, y = batch()
    loss = make(8, 6).double()
    gradient = value_and_gradients(loss, x, y)["grad_embeddings"]
    assert (gradient * x).sum(1).abs().max() < 1e-12 * gradient.abs().max() * x.abs().max() * 100
    torch.testing.assert_close(value_and_gradients(loss, 5 * x, y)["grad_embeddings"], gradient / 5)
    W = loss.weight
    W_grad = torch.autograd.grad(loss(x, y), W)[0]
    assert (W_grad * W).sum(1).abs().max() < 1e-12 * W_grad.abs().max() * 100


@pytest.mark.parametrize("name", [name for name in CLASSIFYING if name != "arcface-detached"])
def test_gradcheck(name):
    """Central differences; the scale is kept small so that no softmax weight underflows."""
    x, y = batch(3, B=5)
    loss = CLASSIFYING[name](8, 6).double()
    if isinstance(loss, MarginHead):
        loss.scale = 4.0

    def call(x, W):
        return torch.func.functional_call(loss, {"weight": W}, (x, y))

    assert torch.autograd.gradcheck(call, (x.requires_grad_(), loss.weight.detach().requires_grad_()), atol=1e-6)


@classifying
def test_value_is_cross_entropy_of_the_margin_logits(make):
    """A second derivation: arccos, explicit logits, numpy's exp and log."""
    x, y = batch(5)
    loss = make(8, 6).double()
    W = loss.weight.detach().numpy()
    if isinstance(loss, Softmax):
        logits = x.numpy() @ W.T + loss.bias.detach().numpy()
    else:
        cos = (x.numpy() / np.linalg.norm(x, axis=1, keepdims=True)) @ (W / np.linalg.norm(W, axis=1, keepdims=True)).T
        theta = np.arccos(cos[range(12), y])
        target = theta.copy()
        for i, t in enumerate(theta):
            target[i] = target_by_angle(loss, t)
        cos[range(12), y] = target
        logits = loss.scale * cos
    want = -(logits[range(12), y] - np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1)) - logits.max(1))
    assert loss(x, y).item() == pytest.approx(want.mean(), rel=1e-11)


def target_by_angle(loss, theta):
    if isinstance(loss, ArcFace):
        beyond = {
            "plain": math.cos(theta + loss.margin),
            "mm": math.cos(theta) - loss.margin * math.sin(loss.margin),
            "clip": -1.0,
            "linear": math.cos(theta) - (1 - math.cos(loss.margin)),
        }
        return math.cos(theta + loss.margin) if theta + loss.margin <= math.pi else beyond[loss.beyond_pi]
    return math.cos(theta) - getattr(loss, "margin", 0.0)


@classifying
@pytest.mark.parametrize("cast", [None, torch.bfloat16, torch.float16], ids=["float32", "bf16", "fp16"])
def test_finite_on_hostile_embeddings(make, cast):
    loss = make(64, 50)
    x, y = hostile(loss.weight)
    got = value_and_gradients(loss, x, y, cast)
    assert all(v.isfinite().all() for v in got.values()), {k: bool(v.isfinite().all()) for k, v in got.items()}
    assert got["loss"].dtype == torch.float32


@classifying
def test_half_precision_embeddings_are_computed_in_float32(make):
    x, y = batch(dtype=torch.float32)
    loss = make(8, 6)
    half = x.to(torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss(half, y)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, loss(half.float(), y), rtol=0, atol=0)


@classifying
@pytest.mark.parametrize("size", [1, 7])
def test_reductions(make, size):
    x, y = batch(B=size)
    each = make(8, 6, reduction="none").double()
    summed, mean = make(8, 6, reduction="sum").double(), make(8, 6).double()
    summed.load_state_dict(each.state_dict())
    mean.load_state_dict(each.state_dict())
    assert each(x, y).shape == (size,)
    torch.testing.assert_close(each(x, y).sum(), summed(x, y))
    torch.testing.assert_close(each(x, y).mean(), mean(x, y))


@classifying
def test_small_losses_keep_their_accuracy_in_float32(make):
    """Well-classified batches at several distances: within 1e-5 of float64 down to losses of 1e-7."""
    torch.manual_seed(0)
    exact = make(32, 20).double()
    y = torch.arange(20)
    for noise in (0.02, 0.1, 0.2):
        x = unit(unit(exact.weight.detach()) + noise * torch.randn(20, 32, dtype=torch.float64)).float()
        single = make(32, 20)
        single.load_state_dict(exact.state_dict())
        exact.load_state_dict(single.state_dict())  # the same rounded weights
        if isinstance(exact, Softmax):
            x = 12 * x
        want, got = float(exact(x.double(), y)), float(single(x, y))
        if want > 1e-7:
            assert got == pytest.approx(want, rel=2e-5)


def test_cross_entropy_beats_torch_where_the_loss_is_nearly_zero():
    """The reason for -log σ: torch's own loses most digits there."""
    logits = torch.tensor([[16.0, 0.0, -1.0]])
    want = math.log1p(math.exp(-16) + math.exp(-17))
    loss = Softmax(3, 3, bias=False)
    with torch.no_grad():
        loss.weight.copy_(torch.eye(3))
    assert float(loss(logits, torch.tensor([0]))) == pytest.approx(want, rel=1e-6)
    assert float(F.cross_entropy(logits, torch.tensor([0]))) != pytest.approx(want, rel=1e-2)


@classifying
def test_logits_predict_what_the_loss_trains(make):
    torch.manual_seed(0)
    loss = make(8, 6)
    x, y = batch(dtype=torch.float32)
    assert loss.logits(x).shape == (12, 6)
    if isinstance(loss, Softmax):
        torch.testing.assert_close(F.cross_entropy(loss.logits(x), y), loss(x, y))
    else:
        assert loss.logits(x).abs().max() <= loss.scale * (1 + 1e-6)
    optimizer = torch.optim.Adam([x.requires_grad_(), *loss.parameters()], lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        loss(x, y).backward()
        optimizer.step()
    assert (loss.logits(x).argmax(1) == y).all()


@classifying
def test_state_dict_restores_the_loss(make):
    x, y = batch()
    loss, other = make(8, 6).double(), make(8, 6).double()
    other.load_state_dict(loss.state_dict())
    assert torch.equal(loss(x, y), other(x, y))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"embeddings": torch.randn(4, 7)}, r"embeddings has shape \(4, 7\).*embedding_dim=8"),
        ({"embeddings": torch.randn(4)}, r"embeddings has shape \(4,\)"),
        ({"embeddings": torch.randn(0, 8), "labels": torch.zeros(0, dtype=torch.int64)}, "B >= 1"),
        ({"embeddings": torch.ones(4, 8, dtype=torch.int64)}, "embeddings has dtype torch.int64"),
        ({"embeddings": torch.randn(4, 8).double()}, "embeddings has dtype torch.float64: expected torch.float32"),
        ({"embeddings": torch.full((4, 8), torch.nan)}, "embeddings holds NaN or inf, first in row 0"),
        ({"embeddings": torch.full((4, 8), torch.inf)}, "embeddings holds NaN or inf"),
        ({"labels": torch.tensor([0, 1, 2, 6])}, "labels holds 6: expected 0 <= label < num_classes=6"),
        ({"labels": torch.tensor([0, -1, 2, 3])}, "labels holds -1"),
        ({"labels": torch.tensor([0.0, 1.0, 2.0, 3.0])}, "labels has dtype torch.float32: expected torch.int64"),
        ({"labels": torch.tensor([0, 1, 2])}, r"labels has shape \(3,\): expected \(4,\)"),
        ({"labels": torch.eye(6)[:4].long()}, r"labels has shape \(4, 6\)"),
    ],
)
@classifying
def test_bad_batches_are_refused_by_name(make, change, named):
    good = {"embeddings": torch.randn(4, 8), "labels": torch.tensor([0, 1, 2, 3])}
    with pytest.raises(ValueError, match=named):
        make(8, 6)(**(good | change))


def test_value_checks_can_be_left_out():
    x = torch.full((1, 8), torch.nan)
    assert CosFace(8, 6, validate=False)(x, torch.tensor([0])).isnan()


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: NormFace(0, 5), "embedding_dim=0"),
        (lambda: NormFace(8, 1), "num_classes=1: expected at least 2"),
        (lambda: Softmax(8, 1), "num_classes=1"),
        (lambda: NormFace(8, 5, scale=0.0), "scale=0.0"),
        (lambda: NormFace(8, 5, scale=math.nan), "scale=nan"),
        (lambda: CosFace(8, 5, margin=-0.1), "margin=-0.1"),
        (lambda: ArcFace(8, 5, margin=28.6), r"margin=28.6: expected radians"),
        (lambda: ArcFace(8, 5, beyond_pi="easy"), "beyond_pi='easy'"),
        (lambda: ArcFace(8, 5, reduction="avg"), "reduction='avg'"),
        (lambda: losses.get("arc-face", 8, 5), "stem='arc-face': expected one of softmax"),
    ],
)
def test_bad_settings_are_refused_by_name(make, named):
    with pytest.raises(ValueError, match=named):
        make()


def test_registry_makes_losses_by_stem():
    for stem, kind in losses.REGISTRY.items():
        assert kind.__module__ == f"facelearn.losses.{stem}"
        assert kind.__name__ in losses.__all__
    assert type(losses.get("arcface", 8, 5, margin=0.3)) is ArcFace
    assert losses.get("arcface", 8, 5, margin=0.3).margin == 0.3
    assert losses.get("triplet", mining="batch-hard").mining == "batch-hard"


def test_settings_show_in_repr_and_can_change_while_training():
    loss = ArcFace(8, 6, margin=0.0).double()
    x, y = batch()
    easy = loss(x, y).item()
    loss.margin = 0.4
    assert "margin=0.4" in repr(loss)
    assert repr(loss).startswith("ArcFace(8, 6, ")
    assert loss(x, y).item() > easy


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sine_and_cos_of_sum_at_the_ends(dtype):
    cos = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0], dtype=dtype, requires_grad=True)
    torch.testing.assert_close(sine(cos), cos.detach().acos().sin(), atol=1e-6, rtol=1e-6)
    for rule in BEYOND_PI:
        (slope,) = torch.autograd.grad(cos_of_sum(cos, 0.5, rule).sum(), cos)
        assert slope.isfinite().all()
        assert (slope[1:] > 0).all()  # a better angle is never punished before π - m
    with pytest.raises(ValueError, match="beyond_pi"):
        cos_of_sum(cos, 0.5, "cos")


def test_margin_may_differ_by_sample():
    cos = torch.linspace(-0.9, 0.9, 7, dtype=torch.float64)
    margins = torch.linspace(0.1, 0.7, 7, dtype=torch.float64)
    for rule in BEYOND_PI:
        one_by_one = torch.stack([cos_of_sum(c, float(m), rule) for c, m in zip(cos, margins, strict=True)])
        torch.testing.assert_close(cos_of_sum(cos, margins, rule), one_by_one)


def test_a_subclass_writes_only_what_its_paper_changes():
    """`others` and `rows` reach the loss: a head that doubles wrong cosines above the target's, by hand."""

    class Doubling(MarginHead):
        def rows(self, embeddings, target_cos):
            return (embeddings.norm(dim=1),)

        def target(self, cos, rows):
            return cos - 0.01 * rows[0]

        def others(self, cos, target_cos, rows):
            return torch.where(cos > target_cos, 2 * cos, cos) + 0.01 * rows[0]

    x, y = batch()
    loss = Doubling(8, 6, scale=3.0).double()
    cos = F.normalize(x) @ F.normalize(loss.weight).T
    own = F.one_hot(y, 6).bool()
    target_cos = cos[own][:, None]
    shift = 0.01 * x.norm(dim=1, keepdim=True)
    logits = torch.where(own, cos - shift, torch.where(cos > target_cos, 2 * cos, cos) + shift)
    torch.testing.assert_close(loss(x, y), F.cross_entropy(3 * logits, y))
