"""Chapters 12 and 13: with which force a loss turns a sample towards its own class direction, drawn against the angle.

The own class's pull on the target angle θ is s (1 - p_y) · (-∂T/∂θ), where s T(θ) is the target logit: how far the
sample is from being finished, times the derivative of the target.
"""

from __future__ import annotations

import math

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from facelearn import figures
from facelearn.losses import MarginHead, build


def missing(target: Tensor | float, scale: float, classes: int = 300) -> Tensor:
    """1 - p_y of a sample with this T, all of whose rivals stand at 90 degrees."""
    return torch.sigmoid(math.log(classes - 1) - scale * torch.as_tensor(target, dtype=torch.float64))


def alike(margin: float, at: float = 60.0) -> dict[str, dict[str, float]]:
    """NormFace, and three margins with which T(θ) = cos(θ + margin) at θ = `at` degrees: the keywords of each loss."""
    theta = math.radians(at)
    multiple, cosine = 1 + margin / theta, math.cos(theta) - math.cos(theta + margin)
    margins = {"sphereface": multiple, "cosface": cosine, "arcface": margin}
    return {"normface": {}} | {stem: {"margin": value} for stem, value in margins.items()}


def derivative(head: MarginHead, theta: Tensor) -> tuple[Tensor, Tensor]:
    """T and -∂T/∂θ as the gradient knows it, at these angles.  (N,) -> (N,), (N,)"""
    cos = theta.cos().requires_grad_()
    target = head.target(cos, ())
    (by_cos,) = torch.autograd.grad(target.sum(), cos)
    return target.detach(), by_cos * theta.sin()


def pull_figure(margin: float = 0.5, scales: tuple[int, ...] = (8, 16, 64)) -> Figure:
    """The own class's pull on the angle, over s: -∂T/∂θ alone, then times 1 - p_y at each scale."""
    fig, axes = plt.subplots(1, 1 + len(scales), figsize=(10, 3.2), sharey=True)
    theta = torch.linspace(0.002, math.radians(150), 720, dtype=torch.float64)
    for stem, options in alike(margin).items():
        head = build(stem, 2, 2, scale=1.0, **options)
        assert isinstance(head, MarginHead)
        target, falls = derivative(head, theta)
        style = figures.line(stem) | ({"linestyle": (0, (3, 3))} if stem == "cosface" else {})  # over NormFace's
        for ax, curve in zip(axes, [falls, *(missing(target, s) * falls for s in scales)], strict=True):
            ax.plot(theta.rad2deg(), curve, **style)
    titles = [r"$-\partial T/\partial\theta$ alone", *(f"times $1 - p_y$, s = {s}" for s in scales)]
    for ax, title in zip(axes, titles, strict=True):
        ax.set(title=title, xlabel="target angle θ (degrees)", xticks=range(0, 151, 30), xlim=(0, 150))
    axes[0].set(ylabel="pull / s", ylim=(-0.05, 1.6))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return fig
