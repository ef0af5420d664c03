"""Pictures of chapters 10 and 12: the arc that no class accepts, opening on the circle; a margin as a handicap."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Arc, Circle, Wedge

from facelearn import figures

ARC_CENTRES = (25.0, 79.0, 155.0, 285.0)  # degrees; neighbours are 54, 76, 130 and 100 degrees apart


def arc_gap(between: float, margin: float, stem: str) -> float:
    """Degrees of the arc that no class accepts, between two centres `between` degrees apart on the circle.

    arcface: θ₁ + m < θ₂ leaves m.  cosface: cos θ₁ - m > cos θ₂ leaves 2 arcsin(m / (2 sin(φ/2))); at most φ.
    sphereface: m θ₁ < θ₂ leaves φ (m - 1) / (m + 1).
    """
    if stem == "sphereface":
        return between * (margin - 1) / (margin + 1)
    if stem == "arcface":
        return min(math.degrees(margin), between)
    if stem == "cosface":
        half = margin / (2 * math.sin(math.radians(between) / 2))
        return min(2 * math.degrees(math.asin(min(half, 1.0))), between)
    raise ValueError(f"stem={stem!r}: expected arcface, cosface or sphereface")


def arcs(ax: Axes, margin: float, stem: str = "arcface") -> None:
    """Class centres on the unit circle: in colour where a sample of the class is accepted, in degrees what is empty."""
    shade, size = figures.colour(stem), len(ARC_CENTRES)
    ax.add_patch(Circle((0, 0), 1, fill=False, color="#BBBBBB", linewidth=0.8))
    for i, centre in enumerate(ARC_CENTRES):
        after = (ARC_CENTRES[(i + 1) % size] - centre) % 360  # to the next centre, counter-clockwise
        before = (centre - ARC_CENTRES[i - 1]) % 360
        gap = arc_gap(after, margin, stem)
        low, high = centre - (before - arc_gap(before, margin, stem)) / 2, centre + (after - gap) / 2
        ax.add_patch(Wedge((0, 0), 1, low, high, facecolor=shade, alpha=0.15, linewidth=0))
        ax.add_patch(Wedge((0, 0), 1.06, low, high, width=0.12, facecolor=shade, linewidth=0))
        ax.plot(*_polar([0, 1], centre + after / 2), color="#999999", linewidth=0.9, linestyle=(0, (3, 3)))
        ax.annotate("", _polar(0.94, centre), (0, 0), arrowprops={"arrowstyle": "-|>", "color": "#222222", "lw": 1.5})
        _label(ax, 0.6, centre + 11, f"$w_{i + 1}$")
        if gap > 0.5:
            _label(ax, 1.27, centre + after / 2, f"{gap:.1f}°", fontweight="bold")
    ax.set(xlim=(-1.45, 1.45), ylim=(-1.32, 1.32), aspect="equal")
    ax.axis("off")


def _polar(radius: float | list[float], degrees: float) -> Any:
    """(x, y) of one radius, or of several at one angle."""
    angle = math.radians(degrees)
    return np.multiply(radius, math.cos(angle)), np.multiply(radius, math.sin(angle))


def _label(ax: Axes, radius: float, degrees: float, text: str, **style: Any) -> None:
    x, y = _polar(radius, degrees)
    ax.text(x, y, text, **({"ha": "center", "va": "center"} | style))


def pair(margin: float) -> Figure:
    """ArcFace beside CosFace, matched for two centres at right angles, where m = .5 rad is 0.35 in cosine."""
    fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.7), layout="none")
    cosine = math.sqrt(2) * math.sin(margin / 2)
    for ax, stem, m, rule in (
        (axes[0], "arcface", margin, rf"$\theta_1 + {margin:.2f} < \theta_2$"),
        (axes[1], "cosface", cosine, rf"$\cos\theta_1 - {cosine:.2f} > \cos\theta_2$"),
    ):
        arcs(ax, m, stem)
        ax.set_title(f"{figures.NAMES[stem]}   {rule}", color=figures.colour(stem))
    fig.subplots_adjust(0.01, 0.01, 0.99, 0.9, wspace=0.02)
    return fig


def handicap(theta: float, margin: float, between: float = 1.9) -> Figure:
    """A sample at `theta` from its centre; the distance to that centre alone counts as `margin` more. Radians."""
    fig, ax = plt.subplots(figsize=(6.4, 3.3), layout="none")
    start = math.degrees((math.pi - between) / 2)  # of the other centre; the own centre stands at start + between
    own, x = start + math.degrees(between), start + math.degrees(between - theta)
    judged, shade = x - math.degrees(margin), figures.colour("arcface")
    ax.add_patch(Arc((0, 0), 2, 2, theta1=start - 12, theta2=own + 12, color="#BBBBBB", linewidth=1))
    for degrees, name in ((own, "$w_1$"), (start, "$w_2$")):
        ax.annotate("", _polar(1, degrees), (0, 0), arrowprops={"arrowstyle": "-|>", "color": "#222222", "lw": 1.5})
        _label(ax, 1.1, degrees, name, fontsize=13)
    middle = start + math.degrees(between) / 2
    ax.plot(*_polar([0, 1.04], middle), color="#999999", linewidth=1, linestyle=(0, (3, 3)))
    for low, high, radius, tone, name in (
        (x, own, 0.42, "#222222", r"$\theta_1$"), (judged, x, 0.62, shade, "$m$"),
        (start, x, 0.28, "#777777", r"$\theta_2$"),
    ):  # fmt: skip
        ax.add_patch(Arc((0, 0), 2 * radius, 2 * radius, theta1=low, theta2=high, color=tone, linewidth=2))
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        at = start + 17 if low == start else (low + high) / 2  # θ₂ aside from the ray of the hollow dot
        _label(ax, radius + 0.09, at, name, color=tone, bbox=box)
    for degrees, face, side, name in (
        (x, shade, "right", "$x$, where it is"), (judged, "white", "left", "counted from here, to $w_1$ only"),
    ):  # fmt: skip
        ax.plot(*_polar([0, 1], degrees), color=shade, linewidth=1, alpha=0.6)
        ax.plot(*_polar([1], degrees), "o", color=shade, markerfacecolor=face, markersize=10, markeredgewidth=2)
        _label(ax, 1.08, degrees, name, color=shade, va="bottom", ha=side)
    ax.set(xlim=(-1.25, 1.25), ylim=(-0.05, 1.3), aspect="equal")
    ax.axis("off")
    fig.subplots_adjust(0, 0, 1, 1)
    return fig


def sheet(margins: Iterable[float] = (0.0, 0.25, 0.5)) -> Figure:
    """Still frames of the animation: a row per loss, a column per margin."""
    steps = list(margins)
    fig, axes = plt.subplots(2, len(steps), figsize=(2.9 * len(steps), 5.7), layout="none", squeeze=False)
    for column, margin in enumerate(steps):
        cosine = math.sqrt(2) * math.sin(margin / 2)
        for ax, stem, m, unit in zip(
            axes[:, column], ("arcface", "cosface"), (margin, cosine), (" rad", " in cosine"), strict=True
        ):
            arcs(ax, m, stem)
            ax.set_title(f"{figures.NAMES[stem]}  m = {m:.2f}{unit if m else ''}", color=figures.colour(stem))
    fig.subplots_adjust(0.01, 0.01, 0.99, 0.94, wspace=0.02, hspace=0.12)
    return fig
