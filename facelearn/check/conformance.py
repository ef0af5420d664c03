"""Is a loss of your own, written in the margin frame, as sound as those of the package?

    from facelearn import check
    check.conformance.report(MyLoss)        # conforms | what is wrong, a line for each finding

`make(embedding_dim, num_classes)` makes the loss: the class itself, or a function that returns one. These are the
properties that `tests/losses` holds every angular loss of the package to, in a small form: they need seconds, and a
loss that joins the package needs those tests as well.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from facelearn.check.framework import Text, language
from facelearn.losses import MarginHead

__all__ = ["findings", "report"]

Make = Callable[[int, int], MarginHead]
DIM, CLASSES = 8, 6


def report(make: Make) -> bool:
    """Print every finding in the language of the notebook's folder, or that there is none."""
    found = findings(make)
    n = len(_CHECKS)
    for text in found or [Text(f"conforms: {n} properties checked", f"符合规范：检查了 {n} 项性质")]:
        print(getattr(text, language()))
    return not found


def findings(make: Make) -> list[Text]:
    """What is wrong, in the order in which it is best mended; empty where nothing was found."""
    loss = make(DIM, CLASSES)
    if not isinstance(loss, MarginHead):
        kind = getattr(loss, "__name__", type(loss).__name__)
        return [Text(f"expected an instance of a subclass of MarginHead, got {kind}",
                     f"应返回 MarginHead 子类的一个实例，得到的是 {kind}")]  # fmt: skip
    found = []
    with torch.random.fork_rng(devices=[]):
        for check, text in _CHECKS.items():
            torch.manual_seed(0)
            loss = make(DIM, CLASSES)
            if check is _differentiable and loss.holds_constants:
                continue  # it says itself that its gradient is of part of the value
            if not check(loss if check in (_finite, _tiled) else loss.double()):
                found.append(text)
    return found


def _batch(size: int = 12) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    x = torch.randn(size, DIM, generator=draws, dtype=torch.float64)
    return x, torch.randint(CLASSES, (size,), generator=draws)


def _value(loss: MarginHead, x: Tensor, y: Tensor) -> Tensor:
    """The loss as a pure function: the same draws each time, state left as it was."""
    torch.manual_seed(0)
    return copy.deepcopy(loss)(x, y).detach()


def _gradients(loss: MarginHead, x: Tensor, y: Tensor) -> list[Tensor]:
    """Value, gradient in x, gradient in the weights."""
    torch.manual_seed(0)
    loss, x = copy.deepcopy(loss), x.clone().requires_grad_()
    value = loss(x, y).sum()
    if not value.requires_grad:
        return [value, torch.full_like(x, torch.nan), torch.full_like(loss.weight, torch.nan)]
    return [value.detach(), *torch.autograd.grad(value, (x, loss.weight), materialize_grads=True)]


def _close(a: Tensor, b: Tensor, rtol: float = 1e-9) -> bool:
    return torch.allclose(a, b, rtol=rtol, atol=rtol)


def _finite(loss: MarginHead) -> bool:
    w, y = loss.weight.detach(), torch.arange(12) % CLASSES
    x = torch.randn(12, DIM, generator=torch.Generator().manual_seed(1))
    x[:3], x[3:5], x[5], x[6] = 3 * w[y[:3]], -w[y[3:5]], w[(y[5] + 1) % CLASSES], 0.0
    x[7], x[8] = 1e-12 * x[9], 1e6 * x[9]
    return all(bool(part.isfinite().all()) for part in _gradients(loss, x, y))


def _lengths(loss: MarginHead) -> bool:
    x, y = _batch()
    before = _value(loss, x, y)
    longer = copy.deepcopy(loss)
    with torch.no_grad():
        longer.weight.mul_(7.0)
    return _close(_value(loss, 3 * x, y), before) and _close(_value(longer, x, y), before)


def _rotated(loss: MarginHead) -> bool:
    x, y = _batch()
    turn, _ = torch.linalg.qr(torch.randn(DIM, DIM, dtype=x.dtype))
    turned = copy.deepcopy(loss)
    with torch.no_grad():
        turned.weight.copy_(turned.weight @ turn)
    return _close(_value(turned, x @ turn, y), _value(loss, x, y))


def _ordered(loss: MarginHead) -> bool:
    x, y = _batch()
    loss.reduction = "none"
    samples, classes = torch.randperm(len(x)), torch.randperm(CLASSES)
    mixed = copy.deepcopy(loss)
    with torch.no_grad():
        rows = loss.weight.unflatten(0, (CLASSES, -1))
        mixed.weight.copy_(rows[classes].flatten(0, 1))
    before, after = _value(loss, x, y), _value(mixed, x[samples], classes.argsort()[y][samples])
    return before.shape == after.shape == (len(x),) and _close(after, before[samples])


def _differentiable(loss: MarginHead) -> bool:
    x, y = _batch(5)
    slope = _gradients(loss, x, y)[1]
    steps = 1e-6 * torch.eye(x.numel(), dtype=x.dtype).view(-1, *x.shape)
    quotients = torch.stack([(_value(loss, x + s, y) - _value(loss, x - s, y)) / 2e-6 for s in steps])
    return torch.allclose(slope.flatten(), quotients, rtol=1e-5, atol=1e-7)


def _tiled(loss: MarginHead) -> bool:
    x, y = _batch()
    dense, tiled = copy.deepcopy(loss).double(), copy.deepcopy(loss).double()
    dense.tile, tiled.tile = None, 2
    return all(_close(a, b) for a, b in zip(_gradients(dense, x, y), _gradients(tiled, x, y), strict=True))


_CHECKS: dict[Callable[[MarginHead], bool], Text] = {
    _finite: Text(
        "value or gradient is NaN or inf where a cosine is 1 or -1, or an embedding 0 (an arccos, or a root?)",
        "余弦为 1 或 -1、或嵌入为 0 时，损失值或梯度成了 NaN 或 inf（用了 arccos 或开方？）",
    ),
    _lengths: Text(
        "the length of an embedding or of a class direction changes the loss; only angles may count",
        "嵌入或类方向的长度改变了损失；只有角度才能起作用",
    ),
    _rotated: Text("rotating everything changes the loss", "整体旋转之后损失变了"),
    _ordered: Text(
        "the order of samples or of classes changes the loss of a sample", "样本或类别的次序改变了单个样本的损失"
    ),
    _differentiable: Text(
        "the gradient is not that of the value (a detach, item or numpy on the way?)",
        "梯度与损失值对不上（途中用了 detach、item 或 numpy？）",
    ),
    _tiled: Text(
        "worked on in tiles of classes, the loss is another one: `target` and `others` must work elementwise",
        "按类别分块计算时损失变了：`target` 和 `others` 必须逐元素计算",
    ),
}
