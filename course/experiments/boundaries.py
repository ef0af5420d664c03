"""The poster of chapter 13: where a class ends, for six losses on the same axes, drawn twice.

For a sample of class 1, at the angles θ1 and θ2 from its own class direction and from another: f(θ1) is its target
logit and N(θ2) the other logit, both over s. "As the papers draw it" is f = N_hard, N_hard being the formula for hard
negatives. "Where the logits tie" is f = N, with the formula that the loss really takes at that point. Every number
comes from the classes of `facelearn.losses`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from experiments.margins import matched
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from torch import Tensor

from facelearn import figures
from facelearn.losses import MarginHead, build

MARGIN, EMPHASIS = 0.5, 0.2  # ArcFace's usual m; t as in MV-Softmax's repository
LOSSES = ("softmax", "sphereface", "cosface", "arcface", "mv_softmax", "curricularface")
NAMES = figures.NAMES | {"mv_softmax": "MV-Arc-Softmax"}
RULES = {  # where the logits tie; CurricularFace's while 1 - t > cos θ2 > 0, else it is ArcFace's
    "softmax": r"$\theta_1 = \theta_2$",
    "sphereface": r"$m_1\theta_1 = \theta_2$",
    "cosface": r"$\cos\theta_1 - m_3 = \cos\theta_2$",
    "arcface": r"$\theta_1 + m = \theta_2$",
    "mv_softmax": "$\\theta_1 + m = \\theta_2$\nas ArcFace",
    "curricularface": "$\\cos(\\theta_1 + m) =$\n$\\cos\\theta_2\\,(t + \\cos\\theta_2)$",
}

# ---- numbers --------------------------------------------------------------------------------------------------------


def head(loss: str, margin: float = MARGIN, t: float = EMPHASIS) -> MarginHead:
    """This loss at s = 1 in float64, its margin matched to ArcFace's at θ = 60°. Softmax: weights of equal length."""
    own: dict[str, dict[str, float]] = {
        "softmax": {},
        "mv_softmax": {"margin": margin, "t": t},
        "curricularface": {"margin": margin},
    }
    arguments = own[loss] if loss in own else matched(loss, margin=margin)
    made = build("normface" if loss == "softmax" else loss, 2, 2, scale=1.0, **arguments).double().eval()
    assert isinstance(made, MarginHead)
    if loss == "curricularface":
        made.t.fill_(t)  # type: ignore[operator]  # a running mean, here held by hand
    return made


def target(head: MarginHead, theta1: Tensor) -> Tensor:
    """f.  (n,) -> (n,)"""
    cos = theta1.cos()
    return head.target(cos, head.rows(cos, cos))


def other(head: MarginHead, theta1: Tensor, theta2: Tensor) -> Tensor:
    """N, with the formula that applies at this point.  (n,), (n,) -> (n,)"""
    cos = theta1.cos()
    return head.others(theta2.cos(), cos, head.rows(cos, cos))


def hard(head: MarginHead, theta2: Tensor) -> Tensor:
    """N_hard: what a negative counts if it is hard, as it is for a sample with a target logit of -1.  (n,) -> (n,)"""
    return other(head, torch.full_like(theta2, math.pi - getattr(head, "margin", 0.0)), theta2)


def wins(head: MarginHead, theta1: Tensor, theta2: Tensor, *, drawn: bool) -> Tensor:
    """Does class 1 get the larger logit? `drawn`: with N_hard, whether or not it applies there.  (n,) -> (n,)"""
    return target(head, theta1) >= (hard(head, theta2) if drawn else other(head, theta1, theta2))


def boundary(head: MarginHead, theta2: Tensor, *, drawn: bool) -> Tensor:
    """The largest θ1 at which class 1 still wins against θ2, by bisection; NaN where it never does.  (n,) -> (n,)"""
    low, high = torch.zeros_like(theta2), torch.full_like(theta2, math.pi - MARGIN)
    never = ~wins(head, low, theta2, drawn=drawn)
    for _ in range(40):
        middle = (low + high) / 2
        inside = wins(head, middle, theta2, drawn=drawn)
        low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
    return torch.where(never, torch.nan, low)


# ---- drawing --------------------------------------------------------------------------------------------------------

MOST = 120.0  # degrees of θ2 that are shown; of θ1 it is 90
HALO = [withStroke(linewidth=4, foreground="white")]
# Where a name stands in each of the two planes: (θ1, θ2) in degrees, and its turn.
PLACES: dict[bool, dict[str, tuple[float, float, float]]] = {
    True: {
        "softmax": (70, 63, 45),
        "sphereface": (32, 39, 50),
        "cosface": (77, 98, 45),
        "arcface": (16, 51, 45),
        "mv_softmax": (31, 83, 41),
        "curricularface": (38.5, 104, 0),
    },
    False: {
        "softmax": (70, 63, 45),
        "sphereface": (66, 105.5, 56),
        "cosface": (17, 69, 27),
        "arcface": (16, 51, 45),
        "mv_softmax": (77, 95, 45),
        "curricularface": (46.5, 55.5, 54),
    },
}


def curve(head: MarginHead, drawn: bool) -> tuple[Tensor, Tensor]:
    """The boundary in degrees, θ1 and θ2, from where it leaves the axis θ1 = 0.  (n,), (n,)"""
    low, high = torch.zeros(1, dtype=torch.float64), torch.full((1,), math.pi / 2, dtype=torch.float64)
    for _ in range(40):  # the smallest θ2 against which a sample on its own class direction wins
        middle = (low + high) / 2
        enough = wins(head, torch.zeros_like(middle), middle, drawn=drawn)
        low, high = torch.where(enough, low, middle), torch.where(enough, middle, high)
    share = torch.linspace(0, 1, 300, dtype=torch.float64) ** 2  # dense at the start, where it may run along the axis
    theta2 = high + share * (math.radians(MOST) - high)
    return boundary(head, theta2, drawn=drawn).rad2deg(), theta2.rad2deg()


def line(loss: str) -> dict[str, Any]:
    """Colour, dash and width of a boundary: ArcFace's is broad, so that another that lies on it is seen."""
    broad = {"linewidth": 8.0, "alpha": 0.5} if loss == "arcface" else {"linewidth": 3.2}
    return figures.line(loss) | {"label": NAMES[loss], "zorder": 4 if loss == "mv_softmax" else 3} | broad


def degrees(ax: Axes, x: tuple[int, ...], y: tuple[int, ...], size: float) -> None:
    """Both axes in degrees, on one scale."""
    ax.set(xlim=(0, x[-1]), ylim=(0, y[-1]), aspect="equal", xticks=x, yticks=y)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter("{x:.0f}°")
    ax.tick_params(labelsize=size, length=0)


def plane(ax: Axes, drawn: bool, margin: float = MARGIN, t: float = EMPHASIS, size: float = 16) -> None:
    """All six boundaries on the same axes; names on them where `size` is not 0."""
    for loss in ("arcface", *(name for name in LOSSES if name != "arcface")):
        ax.plot(*curve(head(loss, margin, t), drawn), **line(loss))
        if size:
            x, y, turn = PLACES[drawn][loss]
            name = NAMES[loss] if drawn else NAMES[loss].replace("-Softmax", "-\nSoftmax")
            ax.text(x, y, name, color=figures.colour(loss), rotation=turn, rotation_mode="anchor",
                    ha="center", va="center", fontsize=size, fontweight="bold", path_effects=HALO)  # fmt: skip
    degrees(ax, (0, 30, 60, 90), (0, 30, 60, 90, 120), 16)


def alone(ax: Axes, loss: str) -> None:
    """One loss: where class 1 and class 2 win, the band that neither gets, and the line of the papers (dashed)."""
    shade, made = figures.colour(loss), head(loss)
    (own, rival), (paper, at) = curve(made, drawn=False), curve(made, drawn=True)
    ax.fill_betweenx(rival, 0, own, color=shade, alpha=0.22, linewidth=0)
    ax.fill_between(rival, 0, own, color="#999999", alpha=0.25, linewidth=0)
    ax.plot(rival, own, color="#777777", linewidth=1.5)
    ax.plot(own, rival, color=shade, linewidth=3.2)
    if own.shape != paper.shape or not torch.allclose(own, paper):
        ax.plot(paper, at, color=shade, linewidth=2.8, linestyle=(0, (3, 1.6)))
    degrees(ax, (0, 45, 90), (0, 45, 90), 15)
    for x, y, name, tone in ((7, 80, "1", shade), (83, 7, "2", "#666666")):
        ax.text(x, y, name, fontsize=20, fontweight="bold", color=tone, ha="center", va="center")
    if loss != "softmax":
        ax.text(58, 58, "neither", fontsize=15, color="#555555", rotation=45, ha="center", va="center")
    ax.text(0.5, 1.3, NAMES[loss], transform=ax.transAxes, fontsize=20, fontweight="bold", color=shade, ha="center")
    ax.text(0.5, 1.15, RULES[loss], transform=ax.transAxes, fontsize=16.5, ha="center", va="center", linespacing=1.3)


def poster() -> Figure:
    """Six losses on the same axes, as drawn and as they are; below, each alone."""
    fig = plt.figure(figsize=(10, 15.8), layout="none")
    fig.text(0.5, 0.988, "Where a class ends", fontsize=30, fontweight="bold", ha="center", va="top")
    top = fig.add_gridspec(1, 2, left=0.105, right=0.975, top=0.918, bottom=0.582, wspace=0.13)
    for column, (drawn, title) in enumerate(((True, "as the papers draw it"), (False, "where the logits tie"))):
        ax = fig.add_subplot(top[0, column])
        plane(ax, drawn)
        ax.set_title(title, fontsize=20, fontweight="bold", pad=12)
        ax.set_xlabel(r"$\theta_1$ to the own class", fontsize=17)
        ax.plot(60, 60 + math.degrees(MARGIN), "o", color="white", markeredgecolor="#222222", markersize=9, zorder=5)
        ax.text(4, 113, "class 1 wins", fontsize=16, color="#555555")
        if column:
            ax.set_yticklabels([])
        else:
            ax.set_ylabel(r"$\theta_2$ to the other class", fontsize=17)
    note = (
        f"ArcFace with m = {MARGIN} (radians); SphereFace and CosFace are matched to it\n"
        f"at $\\theta_1$ = 60° (ring). t = {EMPHASIS}. Softmax: weights of equal length."
    )
    fig.text(0.5, 0.52, note, fontsize=16, ha="center", va="center", linespacing=1.4)
    below = fig.add_gridspec(2, 3, left=0.07, right=0.975, top=0.43, bottom=0.05, wspace=0.2, hspace=0.54)
    for place, loss in enumerate(LOSSES):
        alone(fig.add_subplot(below[place // 3, place % 3]), loss)
    words = "solid: where the logits tie      dashed: as drawn, where that differs"
    fig.text(0.5, 0.008, words, fontsize=16, ha="center", va="bottom")
    return fig


def moment(settings: tuple[float, float]) -> Figure:
    """One frame of the animation: both planes at this margin and t."""
    margin, t = settings
    fig, pair = plt.subplots(1, 2, figsize=(7.2, 5.9), layout="none", sharey=True)
    for ax, drawn, title in zip(pair, (True, False), ("as the papers draw it", "where the logits tie"), strict=True):
        plane(ax, drawn, margin, t, size=0)
        ax.set_title(title, fontsize=15, fontweight="bold")
    fig.suptitle(f"m = {margin:.2f}   t = {t:.2f}", fontsize=17, family="DejaVu Sans Mono", y=0.985)
    handles, names = pair[0].get_legend_handles_labels()
    fig.legend(handles, names, loc="lower center", ncols=3, fontsize=13, handlelength=2.4, columnspacing=1.6)
    fig.subplots_adjust(0.085, 0.2, 0.96, 0.865, wspace=0.14)
    return fig


def frames() -> list[tuple[float, float]]:
    """The margin opens, then t rises."""

    def ease(steps: int) -> list[float]:
        return [(1 - math.cos(math.pi * i / steps)) / 2 for i in range(steps + 1)]

    return [(MARGIN * share, 0.0) for share in ease(20)] + [(MARGIN, 0.6 * share) for share in ease(18)]


def assets(folder: Path) -> None:
    """The poster as SVG, and the boundaries moving as a GIF."""
    mpl.rcParams["svg.hashsalt"] = "13_margins"
    fig = poster()
    fig.savefig(folder / "13_boundaries.svg", metadata={"Date": None, "Creator": None})
    plt.close(fig)
    figures.save_gif(folder / "13_boundaries.gif", moment, frames(), seconds=0.12, hold=2.0, dpi=90)
