"""Label smoothing and ignored labels: torch's `cross_entropy` on the logits that a loss compares, and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from facelearn import losses
from facelearn.data import ImageSet
from facelearn.losses import Center, Classifier, Joint, MarginHead
from facelearn.losses.sampling import touched_rows_only
from facelearn.training import fit
from tests.losses.conformance import CLASSIFYING, batch

SMOOTHED = {name: make for name, make in CLASSIFYING.items() if name != "discface"}  # which has its base loss's
HEADS = [name for name, make in SMOOTHED.items() if isinstance(make(8, 6), MarginHead)]


def compared(loss: Classifier, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The (B, C) logits that a loss compares, margins included, and what it adds to their cross-entropy, (B,)."""
    none, own = torch.zeros(len(x), dtype=x.dtype), F.one_hot(y, loss.num_classes).to(x)
    if isinstance(loss, losses.LGM):
        logits = loss.scores(x)
        far = (own * loss.distances(x)).sum(1)
        return logits - loss.alpha * own * far[:, None], -loss.likelihood_weight * (own * logits).sum(1)
    if not isinstance(loss, MarginHead):
        return loss.scores(x), none
    cos = loss.pool(F.normalize(x) @ F.normalize(loss.weight).T)
    target_cos = (own * cos).sum(1)
    rows = loss.rows(x, target_cos)
    others = loss.others(cos, target_cos[:, None], tuple(row[:, None] for row in rows))
    sums = [((1 - own) * term).sum(1) for term in loss.row_sums(cos, target_cos[:, None])]
    target = loss.target(target_cos, (*rows, *sums))
    length = x.norm(dim=1).clamp(10, 110)
    more = 35 * (1 / length + length / 110**2) if isinstance(loss, losses.MagFace) else none
    return loss.scale * (own * target[:, None] + (1 - own) * others), more


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    ("name", "tile"), [(name, tile) for name in SMOOTHED for tile in ((None, 4) if name in HEADS else (None,))]
)
def test_both_are_torchs_cross_entropy(name: str, tile: int | None, reduction: str) -> None:
    """Value and every gradient, over the samples that are kept; in the dense and in the tiled form."""
    torch.manual_seed(0)
    loss = SMOOTHED[name](8, 6, reduction=reduction, label_smoothing=0.3, ignore_label=-1).double().eval()
    if name in HEADS:
        loss.tile = tile
    x, y = batch()
    x, y[[2, 5]] = 5 * x, -1
    kept = y >= 0
    upstream = torch.rand(12, dtype=x.dtype) if reduction == "none" else 1.0
    inputs = [x.requires_grad_(), *loss.parameters()]
    value = loss(x, y)
    found = torch.autograd.grad((value * upstream).sum(), inputs)

    logits, more = compared(loss, x[kept], y[kept])
    everyone = torch.zeros(12, 6, dtype=x.dtype).index_put((kept,), logits)
    more = torch.zeros(12, dtype=x.dtype).index_put((kept,), more)
    wanted = F.cross_entropy(everyone, y, label_smoothing=0.3, ignore_index=-1, reduction=reduction)
    wanted = wanted + {"mean": more.sum() / kept.sum(), "sum": more.sum(), "none": more}[reduction]
    expected = torch.autograd.grad((wanted * upstream).sum(), inputs)

    torch.testing.assert_close(value, wanted, rtol=1e-10, atol=1e-10)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10 * float(theirs.abs().max()))
    assert (found[0][~kept] == 0).all()
    assert found[0][kept].abs().sum(1).min() > 0


@pytest.mark.parametrize("name", CLASSIFYING)
def test_a_training_call_sees_the_kept_samples_alone(name: str) -> None:
    """Value, gradients and running state are those of a batch without the others, which here are absurd."""
    x, y = batch(dtype=torch.float32)
    absurd = torch.cat([x, torch.full((3, 8), 1e4)]), torch.cat([y, torch.tensor([77, 77, 77])])
    torch.manual_seed(0)
    alone = CLASSIFYING[name](8, 6)
    both = copy.deepcopy(alone)
    both.ignore_label = 77
    results = []
    for loss, given in ((alone, (x, y)), (both, absurd)):
        torch.manual_seed(1)
        value = loss(*given)
        value.backward()
        results.append((value.detach(), [p.grad for p in loss.parameters()], loss.state_dict()))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", [*CLASSIFYING, "center"])
def test_a_batch_without_a_kept_sample_is_0_with_gradients_of_0(name: str, reduction: str) -> None:
    """torch's `cross_entropy` gives NaN here, which would end a training."""
    assert F.cross_entropy(torch.zeros(2, 3), torch.tensor([-1, -1]), ignore_index=-1).isnan()
    loss = (CLASSIFYING | {"center": Center})[name](8, 6, reduction=reduction, ignore_label=-1)
    before = copy.deepcopy(loss.state_dict())
    x = torch.randn(4, 8, requires_grad=True)
    value = loss(x, torch.full((4,), -1))
    assert value.tolist() == (4 * [0.0] if reduction == "none" else 0.0)
    value.sum().backward()
    assert all(not leaf.grad.any() for leaf in (x, *loss.parameters()))
    torch.testing.assert_close(loss.state_dict(), before, rtol=0, atol=0)


def test_rows_that_no_sample_has_met_stay_where_they_are() -> None:
    """With `sample_rate` a gradient of 0 to all rows would let weight decay and momentum move each of them."""
    arcface = losses.ArcFace(8, 50, sample_rate=0.1, ignore_label=-1)
    for loss, head in ((arcface, arcface), (losses.DiscFace(base := losses.ArcFace(8, 50, sample_rate=0.1)), base)):
        loss.ignore_label = -1
        optimizer = torch.optim.AdamW(loss.parameters(), lr=0.1, weight_decay=0.5)
        touched_rows_only(optimizer)
        x, moved = torch.randn(4, 8), []
        for y in (torch.arange(4), torch.full((4,), -1)):
            before = head.weight.detach().clone()
            loss(x, y).backward()
            optimizer.step()
            optimizer.zero_grad()
            moved.append(int((head.weight != before).any(1).sum()))
        assert moved == [5, 0]


def test_centres_of_ignored_samples_stay() -> None:
    center = Center(2, 3, ignore_label=1)
    x = torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    assert center(x, torch.tensor([0, 1])) == 0.5
    assert center.centers.tolist() == [[0.25, 0.0], [0.0, 0.0], [0.0, 0.0]]


def test_smoothing_keeps_the_second_derivative_and_leaves_settings_as_they_were() -> None:
    x, y = batch()
    loss = losses.ArcFace(8, 6, scale=8, label_smoothing=0.1, tile=4).double()
    assert torch.autograd.gradgradcheck(lambda x: loss(x, y), x.requires_grad_())
    assert "label_smoothing=0.1" in repr(loss)
    plain = losses.ArcFace(8, 6)
    assert not {"label_smoothing", "ignore_label"} & set(vars(plain))  # so that older checkpoints go on


def test_what_cannot_be_is_one_line() -> None:
    for make, message in (
        (lambda: losses.Softmax(8, 6, label_smoothing=1.5), "label_smoothing=1.5: expected a number from 0 to 1"),
        (lambda: losses.Softmax(8, 6, ignore_label=0.5), "ignore_label=0.5: expected a whole number, or None"),
        (lambda: losses.ArcFace(8, 6, label_smoothing=0.1, sample_rate=0.5), "expected 0 with a sample_rate below 1"),
        (lambda: losses.DiscFace(losses.CosFace(8, 6), label_smoothing=0.1), "expected 0: the base loss has its own"),
    ):
        with pytest.raises(ValueError, match=message):
            make()
    x, y = batch()
    y[3] = -1
    with pytest.raises(ValueError, match=r"labels\[3\]=-1: expected 0 <= label < num_classes=6"):
        losses.Softmax(8, 6, ignore_label=-2).double()(x, y)
    with pytest.raises(TypeError, match="unexpected keyword argument 'label_smoothing'"):
        Center(8, 6, label_smoothing=0.1)


def test_a_training_passes_over_ignored_labels() -> None:
    g = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (12, 1, 4, 4), dtype=torch.uint8, generator=g)
    labels = torch.arange(12) % 3

    def trained(labels: Tensor, loss: torch.nn.Module) -> float:
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4))
        return fit(net, loss, ImageSet(images, labels), epochs=1, batch_size=12, progress=False)[0]["loss"]

    labels[:3] = 99
    torch.manual_seed(0)
    assert trained(labels, losses.NormFace(4, 3, ignore_label=99)) > 0
    assert trained(labels, losses.DiscFace(losses.NormFace(4, 3), ignore_label=99)) > 0
    joint = Joint((1.0, losses.NormFace(4, 3, ignore_label=99)), (0.1, Center(4, 3)))
    with pytest.raises(ValueError, match="labels: 0 to 99; Center expects 0 to 2"):
        trained(labels, joint)
