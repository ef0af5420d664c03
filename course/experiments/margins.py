"""Chapter 13: margins of four kinds that ask for the same at one target angle, trained side by side.

"Matched at 60 degrees" means: at θ = 60° all have the target logit s cos(θ + m), with ArcFace's m from
`course/settings.json`. The scale is the one that the search chose on "tune" without a margin. Net, training and test
are those of `experiments/faces.py`; the claims are measured on the split "open".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
from experiments import arcface, faces, protocol
from experiments.faces import Setting, Trained, angles, measure, paired, rows
from matplotlib.figure import Figure
from torch import Tensor

from facelearn import figures, lesson
from facelearn.losses import MarginHead, build
from facelearn.training import embed

__all__ = ["angles", "measure", "paired", "rows"]  # the chapter calls them from here

CHAPTER = "13_margins"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "scale": protocol.settings("normface")["arguments"]["scale"],
    "margin": protocol.settings("arcface")["arguments"]["margin"],
    "epochs": 8,
    "seeds": [130, 131, 132, 133, 134],
    "live_seed": 230,
    "matched_at": 60,
    "also_matched_at": 30,  # nearer to where trained samples stand
}
SCALE, MARGIN, AT = SETTINGS["scale"], SETTINGS["margin"], SETTINGS["matched_at"]
KINDS = ("sphereface", "cosface", "arcface", "combined_margin")


def setting(loss: str, *, at: float = AT, detached: bool = False) -> Setting:
    """What one row of the table varies."""
    return {"loss": loss, "matched_at": at, "detached": detached}


def grid() -> Iterator[tuple[Setting, int]]:
    """Four kinds matched at one angle, and no margin; two of them at another; two with a slope of 1."""
    for seed in SETTINGS["seeds"]:
        yield from ((setting(loss), seed) for loss in ("normface", *KINDS))
        yield from ((setting(loss, detached=True), seed) for loss in ("sphereface", "arcface"))
        yield from ((setting(loss, at=SETTINGS["also_matched_at"]), seed) for loss in ("sphereface", "cosface"))


def matched(loss: str, at: float = AT, margin: float = MARGIN) -> dict[str, float]:
    """The keywords with which this loss has the target cos(θ + margin) at θ = `at` degrees."""
    theta = math.radians(at)
    wanted = math.cos(theta + margin)
    return {
        "normface": {},
        "sphereface": {"margin": 1 + margin / theta},
        "cosface": {"margin": math.cos(theta) - wanted},
        "arcface": {"margin": margin},
        "combined_margin": {"m1": 1.0, "m2": margin / 2, "m3": math.cos(theta + margin / 2) - wanted},  # half and half
    }[loss]


def head(wanted: Setting, embedding_dim: int, classes: int) -> MarginHead:
    """The loss of a setting, on unit vectors and at the common scale: SphereFace in its later form, SphereFace-R."""
    loss = wanted["loss"]
    rule = {"beyond_pi": "mm"} if loss in ("arcface", "combined_margin") else {}
    made = build(loss, embedding_dim, classes, scale=float(SCALE), **matched(loss, wanted["matched_at"]), **rule)
    assert isinstance(made, MarginHead)
    return with_slope_one(made) if wanted["detached"] else made


def with_slope_one(head: MarginHead) -> MarginHead:
    """The same value, but ∂target/∂cos θ = 1 as in CosFace."""
    target = head.target
    head.target = lambda cos, rows: cos + (target(cos, rows) - cos).detach()  # type: ignore[method-assign]
    return head


def train(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    """One training of a setting."""
    return faces.train(partial(head, wanted), seed, budget, epochs=SETTINGS["epochs"])


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table."""
    return measure(train(wanted, seed, budget), seed, budget)


@torch.no_grad()
def push(trained: Trained, wanted: Setting) -> tuple[float, float]:
    """A trained net judged with the margin of `wanted`: the mean of 1 - p_y, and the share of images that win with it.

    Over its training images; p_y is the softmax of the margined logits, to win is to have the largest of them.
    """
    net, loss, shown = trained
    cos = (loss.logits(embed(net, shown).to(loss.weight.device)) / loss.scale).cpu()  # (N, C)
    own = shown.labels[:, None]
    target = head(wanted, 2, 2).target(cos.gather(1, own)[:, 0].clamp(-1, 1), ())  # (N,)
    logits = SCALE * cos.scatter(1, own, target[:, None])
    p = logits.softmax(1).gather(1, own)
    return float(1 - p.mean()), float((logits.argmax(1) == shown.labels).double().mean())


# ---- what the chapter reads off its tables, and its figures ---------------------------------------------------------


def kinds(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows, a row for each kind matched at 60 degrees: means over seeds; EER against ArcFace's in points."""
    found = []
    for loss in ("normface", *KINDS):
        ours = rows(table, setting(loss))
        rates = [f"{100 * ours[name].mean():.2f}" for name in ("eer", "tar_1e3")]
        gap = 100 * paired(table, "eer", setting(loss), setting("arcface"))
        against = "" if loss == "arcface" else f"{lesson.interval(gap):+.2f}"
        found.append([figures.NAMES[loss], *rates, f"{ours['target_angle'].mean():.0f}°", against])
    return ["loss", "EER (%)", "TAR@1e-3 (%)", "angle", "EER - ArcFace's"], found


def shares(scales: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows, a row for each scale of chapter 12's table: the share of ArcFace's gain that two others keep."""
    found = []
    for scale in arcface.SCALES:
        kept = [arcface.kept(scales, loss, scale) for loss in ("arcface_detached", "cosface_matched")]
        found.append([str(scale), *(f"{share:.0%} ({low:.0%} to {high:.0%})" for share, low, high in kept)])
    return ["s", "ArcFace, detached", "CosFace, matched"], found


def elsewhere(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """SphereFace and CosFace matched at 60 and at 30 degrees: EER against ArcFace's in points, training accuracy."""
    found = []
    for loss in ("sphereface", "cosface"):
        for at in (AT, SETTINGS["also_matched_at"]):
            gap = 100 * paired(table, "eer", setting(loss, at=at), setting("arcface"))
            accuracy = rows(table, setting(loss, at=at))["train_accuracy"].mean()
            margin = next(iter(matched(loss, at).values()))
            words = f"{lesson.interval(gap):+.2f}"
            found.append([figures.NAMES[loss], f"{at}°", f"{margin:.2f}", words, f"{accuracy:.0%}"])
    return ["loss", "matched at", "margin", "EER - ArcFace's", "train accuracy"], found


def draw_standing(trained: Trained, images: int = 12) -> Figure:
    """Training images from the one nearest to its class direction to the farthest, above each its angle."""
    own, _ = angles(trained)
    index = own.argsort()[torch.linspace(0, len(own) - 1, images).long()]
    return figures.face_strip([trained.faces.images[index]], [f"{angle:.0f}°" for angle in own[index].rad2deg()])


def slide(target: Callable[[Tensor], Tensor], scale: float, steps: int = 400, classes: int = 300) -> Tensor:
    """Angles (steps + 1, 2) in degrees of two samples that start at 85 and 40 degrees and follow the loss.

    All rivals stand at 90 degrees and stay there; a step moves θ by 0.02 times the pull over s.
    """
    theta, path = torch.tensor([85.0, 40.0]).double().deg2rad(), []
    for _ in range(steps + 1):
        path.append(theta.rad2deg())
        theta = theta.clamp(min=1e-3).requires_grad_()
        loss = F.softplus(math.log(classes - 1) - scale * target(theta.cos())).sum()
        (slope,) = torch.autograd.grad(loss, theta)
        theta = (theta - 0.02 / scale * slope).detach()
    return torch.stack(path)


def draw_slides(targets: dict[str, Callable[[Tensor], Tensor]], scales: Sequence[float] = (8, 64)) -> Figure:
    """`slide` for each target and scale."""
    fig, axes = plt.subplots(1, len(scales), figsize=(8.6, 3.4), sharey=True)
    for ax, scale in zip(axes, scales, strict=True):
        for stem, target in targets.items():
            for path in slide(target, scale).unbind(1):
                ax.plot(path, **figures.line(stem))
        ax.set(title=f"s = {scale}", xlabel="step", xlim=(0, 400), yticks=range(0, 91, 15))
    axes[0].set_ylabel(r"target angle $\theta$ (degrees)")
    lines = axes[0].get_lines()[::2]
    fig.legend(lines, [figures.NAMES[stem] for stem in targets], loc="outside upper center", ncols=len(targets))
    return fig


def draw_asked(members: dict[str, tuple[float, float, float]], at: float, margin: float) -> Figure:
    """The margin in degrees that each member (m1, m2, m3) asks for, against the angle; a ring where they meet."""
    theta1 = torch.linspace(0, math.pi / 2, 181, dtype=torch.float64)
    fig, ax = plt.subplots(figsize=(6.4, 3.5))
    for stem, (m1, m2, m3) in members.items():
        theta2 = ((m1 * theta1 + m2).cos() - m3).acos()
        ax.plot(theta1.rad2deg(), (theta2 - theta1).rad2deg(), **figures.line(stem))
    ax.plot(at, math.degrees(margin), "o", color="white", markeredgecolor="#222222", markersize=8, zorder=5)
    ax.set(xlabel=r"$\theta_1$ (degrees)", ylabel="margin asked for (degrees)", xticks=range(0, 91, 15), ylim=(0, 62))
    ax.legend(ncols=2)
    return fig


def draw_gains(table: pd.DataFrame) -> Figure:
    """EER of each kind less NormFace's, a dot per seed; right of the line with the derivative of CosFace."""
    arms = [(loss, False) for loss in KINDS] + [("sphereface", True), ("arcface", True)]
    fig, ax = plt.subplots(figsize=(7.2, 3.5))
    for place, (loss, detached) in enumerate(arms):
        values = 100 * paired(table, "eer", setting(loss, detached=detached), setting("normface"))
        spread = lesson.interval(values)
        figures.seeds(ax, place, values, spread.low, spread.high, figures.colour(loss), aside=0.15)
    ax.axhline(0, color="#333333", linewidth=1)
    ax.axvline(3.5, color="#999999", linewidth=1, linestyle=":")
    names = [figures.NAMES[loss].replace(" ", "\n") + "\nderivative 1" * detached for loss, detached in arms]
    ax.set(xticks=range(len(arms)), ylabel="EER, difference to\nno margin (points)", xlim=(-0.5, 5.6))
    ax.set_xticklabels(names, fontsize=9)
    return fig


def assets(folder: Path) -> None:
    """The poster, and the boundaries opening as an animation."""
    from experiments import boundaries

    boundaries.assets(folder)
