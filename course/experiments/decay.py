"""Weight decay on rows whose length does not matter is a learning rate that grows: exactly for gradient descent, in the
plane, drawn; and about so for Adam."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor, nn

from facelearn import figures
from facelearn.check.training import crowd
from facelearn.losses import NormFace

KINDS = ("decay", "growing rate", "neither")


def twins(steps: int = 120, rate: float = 0.06, decay: float = 0.2) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Samples in the plane, their labels, and rows (steps + 1, 3, 2) of each kind of descent, from one start."""
    draws = torch.Generator().manual_seed(4)
    labels = torch.arange(3).repeat_interleave(7)
    turn = (torch.tensor([100.0, 200.0, 330.0])[labels] + 14 * torch.randn(21, generator=draws)).deg2rad()
    x = torch.stack([turn.cos(), turn.sin()], 1).double()
    start = 1.6 * torch.tensor([[0.9, -0.5], [0.5, 0.9], [-0.7, 0.75]], dtype=torch.float64)
    head, kept, ways = NormFace(2, 3, scale=8).double(), 1 - rate * decay, []
    for kind in KINDS:
        rows, a, way = start, 1.0, [start]
        for _ in range(steps):
            leaf = rows.clone().requires_grad_()
            loss = torch.func.functional_call(head, {"weight": leaf}, (x, labels))
            (slope,) = torch.autograd.grad(loss, leaf)
            grown = 1 / (a * a * kept) if kind == "growing rate" else 1.0
            rows = (kept if kind == "decay" else 1.0) * rows - rate * grown * slope
            a *= kept
            way.append(rows)
        ways.append(torch.stack(way))
    return x, labels, ways


def draw(x: Tensor, labels: Tensor, ways: list[Tensor]) -> Callable[[int], Figure]:
    """The figure of a step: samples as dots, rows as arrows, a panel for each kind."""

    def frame(step: int) -> Figure:
        fig, axes = plt.subplots(1, 3, figsize=(8.4, 3.0))
        for ax, way, title in zip(axes, ways, KINDS, strict=True):
            for label in range(3):
                shade = figures.CLASSES[(0, 3, 6)[label]]
                ax.plot(*x[labels == label].T, "o", color=shade, markersize=4, alpha=0.5, markeredgewidth=0)
                tip = way[step, label].tolist()
                ax.annotate("", tip, (0, 0), arrowprops={"arrowstyle": "-|>", "color": shade, "linewidth": 2})
            ax.set(title=title, xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal", xticks=[], yticks=[])
            ax.grid(False)
        return fig

    return frame


def by_adam(steps: int = 400, rate: float = 0.01, decay: float = 0.5) -> str:
    """The same with AdamW on made-up people, class weights alone: how far the rows end from those with decay."""
    x, y = crowd(40, 0)
    start = torch.randn(40, 32, generator=torch.Generator().manual_seed(0)).double() / 32**0.5
    head, ends = NormFace(32, 40, scale=8).double(), {}
    for kind in KINDS:
        draws, w, a = torch.Generator().manual_seed(0), nn.Parameter(start.clone()), 1.0
        optimizer = torch.optim.AdamW([w], lr=rate, weight_decay=decay if kind == "decay" else 0)
        for _ in range(steps):
            b = torch.randint(len(y), (64,), generator=draws)
            a *= 1 - rate * decay
            if kind == "growing rate":
                optimizer.param_groups[0]["lr"] = rate / a
            optimizer.zero_grad()
            torch.func.functional_call(head, {"weight": w}, (x[b].double(), y[b])).backward()
            optimizer.step()
        ends[kind] = w.detach()
    cos = {kind: F.cosine_similarity(ends[kind], ends["decay"]).clamp(-1, 1) for kind in KINDS[1:]}
    lengths = ", ".join(f"{kind} {w.norm(dim=1).mean():.2f}" for kind, w in ends.items())
    away = ", ".join(f"{kind} {c.arccos().rad2deg().mean():.1f}" for kind, c in cos.items())
    return f"mean lengths: {lengths}\ndegrees away from the rows with decay: {away}"
