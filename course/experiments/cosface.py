"""Chapter 11: margins beyond what can be met, in a crowded plane, in a roomy space and on faces.

Digits: ten classes in 2 dimensions, where ten directions are crowded, and in 9, where the simplex fits; the margin
goes from 0 through the largest that can be met in the plane, 1 - cos 36°, to 1000. Faces: 300 people in 64 dimensions.
CosFace is compared with ArcFace and SphereFace-R at margins that ask for the same at θ = 60°; "detached" keeps their
value and gives them CosFace's derivative, 1. At both scales CosFace's chosen margin is that of `tune` (chapter 12).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from experiments import faces
from experiments.center import scatter
from experiments.faces import Setting, Trained, paired, rows
from experiments.margins import with_slope_one
from experiments.pull import alike, missing
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from torch import Tensor

from facelearn import figures, lesson
from facelearn.data import digits
from facelearn.data.image_set import to_float
from facelearn.losses import MarginHead, build
from facelearn.models import DigitNet, SmallFaceNet
from facelearn.training import ShiftAndGain, accuracy, embed, fit, seed_everything

__all__ = ["paired", "rows"]  # the chapter calls them from here

CHAPTER = "11_cosface"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": 8,
    "seeds": [110, 111, 112, 113, 114],
    "live_seed": 210,
    "scales": [8, 32],
    "chosen": 0.2,  # on tune, at both scales
    "asked": [0.4, 0.8, 1.2],  # radians that the rival must be farther away than a target at `matched_at`
    "matched_at": 60,
    "endless": 1000.0,
    "sgd": {"scale": 64, "margins": [0.0, 0.35, 1000.0], "lr": 0.1, "momentum": 0.9},
    "digits": {
        "margins": {2: [0.0, 0.1, 0.191, 0.4, 1.0, 1000.0], 9: [0.0, 0.191, 1000.0]},  # by dimension
        "seeds": [110, 111, 112, 113, 114, 115, 116, 117],
        "training": {"epochs": 12, "batch_size": 64, "lr": 5e-3},
    },
}
SCALES, ASKED, ENDLESS = SETTINGS["scales"], SETTINGS["asked"], SETTINGS["endless"]
MARGINS = SETTINGS["digits"]["margins"]


def setting(ground: str, loss: str, scale: float, margin: float, dimension: int = 64) -> Setting:
    """One row of the table; `ground` is "digits", "faces" or "sgd": faces, by another optimiser."""
    return {"ground": ground, "loss": loss, "scale": float(scale), "margin": margin, "dimension": dimension}


def on_digits(scale: float, margin: float, dimension: int = 2) -> Setting:
    return setting("digits", "cosface", scale, margin, dimension)


def by_sgd(margin: float) -> Setting:
    return setting("sgd", "cosface", SETTINGS["sgd"]["scale"], margin)


def matched(loss: str, scale: float, asked: float) -> Setting:
    """Faces, with the margin of this loss that asks for `asked` radians at 60 degrees."""
    margin = alike(asked, SETTINGS["matched_at"])[loss.removesuffix("_detached")]["margin"]
    return setting("faces", loss, scale, round(margin, 4))


def cosface_margins() -> list[float]:
    """All margins of CosFace on faces; without one it is NormFace."""
    return [0.0, SETTINGS["chosen"], *(matched("cosface", 8, asked)["margin"] for asked in ASKED), ENDLESS]


def grid() -> Iterator[tuple[Setting, int]]:
    """The digits; then faces a whole seed at a time, so that its people are drawn once."""
    for seed in SETTINGS["digits"]["seeds"]:
        for dimension, margins in MARGINS.items():
            yield from ((on_digits(scale, margin, dimension), seed) for scale in SCALES for margin in margins)
    for seed in SETTINGS["seeds"]:
        for scale in SCALES:
            yield from ((setting("faces", "cosface", scale, margin), seed) for margin in cosface_margins())
            for loss in ("arcface", "sphereface"):
                yield from ((matched(loss, scale, asked), seed) for asked in ASKED)
                yield matched(f"{loss}_detached", scale, ASKED[-1]), seed
        yield from ((by_sgd(margin), seed) for margin in SETTINGS["sgd"]["margins"])


# ---- one training ---------------------------------------------------------------------------------------------------


def head(wanted: Setting, embedding_dim: int, classes: int) -> MarginHead:
    """The loss of a row."""
    stem, *variant = wanted["loss"].split("_")
    made = build(stem, embedding_dim, classes, scale=wanted["scale"], margin=wanted["margin"])
    assert isinstance(made, MarginHead)
    return with_slope_one(made) if variant else made


def train(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    """One training of a row."""
    if wanted["ground"] == "faces":
        return faces.train(partial(head, wanted), seed, budget, epochs=SETTINGS["epochs"])
    if wanted["ground"] == "sgd":
        return train_by_sgd(wanted, seed, budget)
    seed_everything(seed)
    net = DigitNet(wanted["dimension"], batchnorm=True)
    loss, shown = head(wanted, wanted["dimension"], 10), cast(Any, digits("train"))
    options = SETTINGS["digits"]["training"] | ({"epochs": 1} if budget == "smoke" else {})
    fit(net, loss, shown, seed=seed, **options)
    return Trained(net, loss, shown)


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table."""
    trained = train(wanted, seed, budget)
    return measure_digits(trained) if wanted["ground"] == "digits" else measure(trained, seed, budget)


def train_by_sgd(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    """The same faces with plain SGD and momentum, which, unlike AdamW, follows the length of the gradient too."""
    shown = faces.people("fit", seed, budget == "smoke")
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"])
    loss = head(wanted, net.embedding_dim, int(shown.labels.max()) + 1)
    sgd, given = SETTINGS["sgd"], SETTINGS["training"]
    parameters = [*net.parameters(), *loss.parameters()]
    optimizer = torch.optim.SGD(parameters, momentum=sgd["momentum"], weight_decay=given["weight_decay"])
    generator, augment = torch.Generator().manual_seed(seed), ShiftAndGain()
    each = len(shown.labels) // given["batch_size"]  # batches of an epoch
    total = each * (1 if budget == "smoke" else SETTINGS["epochs"])
    for step in range(total):
        if step % each == 0:
            order = torch.randperm(len(shown.labels), generator=generator)
        warm, fade = min(1.0, 10 * step / total), (1 + math.cos(math.pi * step / total)) / 2
        optimizer.param_groups[0]["lr"] = sgd["lr"] * warm * fade
        batch = order[(step % each) * given["batch_size"] :][: given["batch_size"]]
        x = net(augment(to_float(shown.images[batch]), generator))
        optimizer.zero_grad()
        loss(x, shown.labels[batch]).backward()
        optimizer.step()
    return Trained(net, loss, shown)


def measure(trained: Trained, seed: int, budget: str = "full") -> dict[str, float]:
    """Error rates of strangers, and in how many directions of the sphere the means of their people spread."""
    strangers = faces.people("open", seed, budget == "smoke")
    spread = scatter(F.normalize(embed(trained.net, strangers)), strangers.labels).dimension
    return faces.measure(trained, seed, budget) | {"effective_dimension": spread}


def measure_digits(trained: Trained) -> dict[str, float]:
    """Of the held-out digits: share recognised by the largest cosine, and digits of which most images are not."""
    shown, (net, loss, _) = digits("test"), trained
    right = cosines(net, loss, shown)[0].argmax(1) == shown.labels
    recall = [right[shown.labels == digit].double().mean() for digit in range(10)]
    between = F.normalize(loss.weight.detach()) @ F.normalize(loss.weight.detach()).T
    return {
        "accuracy": accuracy(net, loss, shown),
        "lost_classes": float(sum(share < 0.5 for share in recall)),
        "closest_directions": float((between - 3 * torch.eye(10)).max()),
    }


@torch.no_grad()
def cosines(net: Any, loss: MarginHead, shown: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Of each image: the cosines with all classes (N, C), with its own (N,), with the nearest other one (N,)."""
    every = (loss.logits(embed(net, shown).to(loss.weight.device)) / loss.scale).cpu()
    own = shown.labels[:, None]
    return every, every.gather(1, own)[:, 0], every.scatter(1, own, -1.0).amax(1)


# ---- free points: what the loss itself prefers ----------------------------------------------------------------------


class Rest(NamedTuple):
    """Where a sample and the class direction of each class come to rest."""

    loss: float  # above that of the regular arrangement
    x: Tensor  # (C, d)
    w: Tensor  # (C, d)


def regular(classes: int, dimension: int) -> Tensor:
    """The regular polygon in the plane, else the simplex: unit vectors (C, d) with equal cosines, -1 / (C - 1)."""
    if dimension == 2:
        angle = torch.arange(classes, dtype=torch.float64) * (2 * math.pi / classes)
        return torch.stack([angle.cos(), angle.sin()], 1)
    centred = torch.eye(classes, dtype=torch.float64) - 1 / classes  # (C, C), of rank C - 1
    axes = torch.linalg.eigh(centred).eigenvectors[:, 1:]  # (C, C - 1)
    return F.pad(F.normalize(centred @ axes), (0, dimension - classes + 1))


def point_losses(x: Tensor, w: Tensor, scale: float, margin: float) -> Tensor:
    """CosFace of one sample a class, for several arrangements at once, less s·m.  (T, C, d) twice -> (T, C)"""
    cos = F.normalize(x, dim=-1) @ F.normalize(w, dim=-1).mT  # (T, C, C)
    own = cos.diagonal(dim1=1, dim2=2)  # (T, C)
    rivals = cos.masked_fill(torch.eye(cos.shape[-1], dtype=torch.bool), -torch.inf)
    behind = (scale * (rivals - own[..., None])).logsumexp(2)
    return torch.logaddexp(behind, torch.tensor(-scale * margin, dtype=x.dtype))


def settle(classes: int, dimension: int, scale: float, margin: float, starts: int = 0, steps: int = 400) -> Rest:
    """The best that free samples and class directions find from random starts, judged against the regular one."""
    generator = torch.Generator().manual_seed(0)
    starts = starts or max(1, 160 // classes)
    x, w = torch.randn(2, starts, classes, dimension, generator=generator, dtype=torch.float64)
    places = [x.requires_grad_(), w.requires_grad_()]
    optimizer = torch.optim.Adam(places, lr=0.1)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        point_losses(x, w, scale, margin).mean(1).sum().backward()
        optimizer.step()
        slower.step()
    with torch.no_grad():
        found = point_losses(x, w, scale, margin).mean(1)
        best, even = int(found.argmin()), regular(classes, dimension)[None]
        above = found[best] - point_losses(even, even, scale, margin).mean()
        return Rest(float(above), F.normalize(x[best]), F.normalize(w[best]))


def leads(x: Tensor, w: Tensor) -> Tensor:
    """By how much each sample's own cosine exceeds its largest other one.  (C, d), (C, d) -> (C,)"""
    cos = x @ w.T
    return cos.diagonal() - (cos - 3 * torch.eye(len(cos), dtype=cos.dtype)).amax(1)


# ---- reading the table ----------------------------------------------------------------------------------------------


def loss_of(table: pd.DataFrame, wanted: Setting) -> pd.Series:
    """By how many points of EER a row is worse than no margin at the same scale, seed by seed."""
    return 100 * paired(table, "eer", wanted, setting("faces", "cosface", wanted["scale"], 0.0))


def drop(table: pd.DataFrame, scale: float, dimension: int = 2, margin: float = ENDLESS) -> pd.Series:
    """By how many points the accuracy on digits is lower than with the margin 0.191, seed by seed."""
    return -100 * paired(table, "accuracy", on_digits(scale, margin, dimension), on_digits(scale, 0.191, dimension))


def digits_table(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """A row for each margin in the plane: accuracy in percent and lost classes, means, at both scales."""
    found = []
    for margin in (margin for margin in MARGINS[2] if margin != 1.0):  # 5 rows fit a page
        row = [f"{margin:g}"]
        for scale in SCALES:
            mean = rows(table, on_digits(scale, margin)).mean(numeric_only=True)
            row += [f"{100 * mean['accuracy']:.1f}", f"{mean['lost_classes']:.1f}"]
        found.append(row)
    return ["m", *(f"s = {s}: {what}" for s in SCALES for what in ("accuracy", "lost classes"))], found


def faces_table(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """A row for each margin of CosFace on faces: EER in percent and effective dimension at both scales."""
    found = []
    for margin in [*cosface_margins()[:4], ENDLESS]:
        row = [f"{margin:g}"]
        for scale in SCALES:
            mean = rows(table, setting("faces", "cosface", scale, margin)).mean(numeric_only=True)
            row += [f"{100 * mean['eer']:.2f}", f"{mean['effective_dimension']:.1f}"]
        found.append(row)
    return ["m", *(f"s = {s}: {what}" for s in SCALES for what in ("EER, %", "dimension"))], found


KINDS = ("cosface", "arcface", "sphereface", "arcface_detached", "sphereface_detached")


def kinds_table(table: pd.DataFrame, scale: float) -> tuple[list[str], list[list[str]]]:
    """A row for each loss: points of EER above no margin at each matched margin, and runs that fail at the largest."""
    found = []
    for loss in KINDS:
        asked = ASKED[-1:] if loss.endswith("detached") else ASKED
        worse = [loss_of(table, matched(loss, scale, rad)) for rad in asked]
        cells = [f"{points.mean():+.2f}" for points in worse]
        name = figures.NAMES[loss.removesuffix("_detached")] + (", detached" if loss.endswith("detached") else "")
        found.append([name, *["–"] * (len(ASKED) - len(cells)), *cells, f"{failed(worse[-1])} of {len(worse[-1])}"])
    return ["", *(f"{rad} rad" for rad in ASKED), f"fail at {ASKED[-1]}"], found


def runs_failed(table: pd.DataFrame, scale: float) -> dict[str, int]:
    """Of each loss, the failed runs at the largest margin."""
    return {loss: failed(loss_of(table, matched(loss, scale, ASKED[-1]))) for loss in KINDS}


def failed(worse: pd.Series) -> int:
    """How many runs failed: more than one point of EER above no margin. Fixed before the full run."""
    return int((worse > 1).sum())


# ---- figures --------------------------------------------------------------------------------------------------------

# from no margin to the endless one
SHADES = figures.colour("normface"), "#6F9BE8", figures.BLUE, "#004B7A", figures.ORANGE


def draw_pulls(margins: Sequence[float], scales: Sequence[int] = (8, 32)) -> Figure:
    """The own class's pull on the target angle, over s: it has an envelope, sin θ, that no margin leaves."""
    fig, axes = plt.subplots(1, len(scales), figsize=(8.6, 3.3), sharey=True)
    theta = torch.linspace(0.002, math.radians(150), 500, dtype=torch.float64)
    for ax, scale in zip(axes, scales, strict=True):
        for margin, shade in zip(margins, SHADES, strict=True):
            pull = missing(theta.cos() - margin, scale) * theta.sin()
            style = {"linestyle": (0, (4, 3)), "linewidth": 2.4} if margin == margins[-1] else {}
            ax.plot(theta.rad2deg(), pull, color=shade, label=f"m = {margin:g}", **style)
        ax.set(title=f"s = {scale}", xlabel="target angle θ (degrees)", xticks=range(0, 151, 30), xlim=(0, 150))
    axes[0].set(ylabel="pull / s", ylim=(0, 1.08))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(margins))
    return fig


def moved(margin: float, scale: float, classes: int = 10, steps: int = 1500, rate: float = 6e-4) -> Tensor:
    """Angles of the class directions under the loss, from a slightly disturbed regular polygon.  (steps, C), radians"""
    generator = torch.Generator().manual_seed(4)
    start = torch.arange(classes, dtype=torch.float64) * (2 * math.pi / classes)
    angles = (start + 0.06 * torch.randn(2, classes, generator=generator, dtype=torch.float64)).requires_grad_()
    path = []
    for _ in range(steps):
        x, w = torch.stack([angles.cos(), angles.sin()], 2)  # (C, 2) each
        total = point_losses(x[None], w[None], scale, margin).sum()
        (slope,) = torch.autograd.grad(total, angles)
        with torch.no_grad():
            angles -= rate * slope
        path.append(angles[1].detach().clone())
    return torch.stack(path)


def draw_motion(margins: Sequence[float], scale: float) -> Figure:
    """Ten class directions moving under the loss: time runs from the inner circle outwards."""
    fig, axes = plt.subplots(1, len(margins), figsize=(4.2 * len(margins), 4.1), layout="none")
    for ax, margin in zip(axes, margins, strict=True):
        path = moved(margin, scale)
        radius = torch.linspace(0.35, 1, len(path), dtype=torch.float64)
        for size in (0.35, 1):
            ax.add_patch(Circle((0, 0), size, fill=False, color="#CCCCCC", linewidth=0.8))
        for angle, shade in zip(path.T, figures.CLASSES, strict=True):
            ax.plot(radius * angle.cos(), radius * angle.sin(), color=shade, linewidth=2)
            ax.plot(angle[-1].cos(), angle[-1].sin(), "o", color=shade, markersize=8, markeredgecolor="white")
        ax.set_title(f"m = {margin:g}")
        ax.set(xlim=(-1.12, 1.12), ylim=(-1.12, 1.12), aspect="equal")
        ax.axis("off")
    fig.subplots_adjust(0, 0.01, 1, 0.91, wspace=0.02)
    return fig


def draw_rests(rests: dict[float, Rest]) -> Figure:
    """Where free class directions come to rest for each margin: dots where they lead, crosses where they are lost."""
    fig, axes = plt.subplots(1, len(rests), figsize=(2.05 * len(rests), 2.5), layout="none")
    for ax, (margin, rest) in zip(axes, rests.items(), strict=True):
        lost_ones = leads(rest.x, rest.w) < 1e-3
        ax.add_patch(Circle((0, 0), 1, fill=False, color="#BBBBBB", linewidth=0.8))
        for w, gone in zip(rest.w, lost_ones, strict=True):
            shade = figures.ORANGE if gone else figures.colour("cosface")
            ax.plot([0, w[0]], [0, w[1]], color=shade, linewidth=1, alpha=0.6)
            ax.plot(*w, "x" if gone else "o", color=shade, markersize=8, markeredgewidth=2 if gone else 0)
        ax.set_title(f"m = {margin:g}\n{int(lost_ones.sum())} of {len(rest.w)} lost")
        ax.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
        ax.axis("off")
    fig.subplots_adjust(0, 0, 1, 0.8, wspace=0.02)
    return fig


@lru_cache(maxsize=1)
def strips_of_digits() -> tuple[Tensor, Tensor]:
    """Own and nearest rival cosine of the training digits, of one net trained without a margin in three dimensions."""
    seed_everything(SETTINGS["live_seed"])
    net, loss = DigitNet(3, batchnorm=True), build("cosface", 3, 10, scale=8.0, margin=0.0)
    fit(net, loss, digits("train"), seed=SETTINGS["live_seed"], **SETTINGS["digits"]["training"])
    assert isinstance(loss, MarginHead)
    return cosines(net, loss, digits("train"))[1:]


def draw_strips(margin: float, ax: Axes | None = None) -> Figure:
    """The two strips: own cosines, moved by the margin, above the cosines of the nearest rival."""
    own, rival = strips_of_digits()
    ax = ax or plt.subplots(figsize=(6.8, 2.5), layout="constrained")[1]
    bins, ahead = np.linspace(-1.8, 1, 113), own - margin > rival
    floor: Any = 1.0
    for values, shade in ((own[ahead], figures.colour("cosface")), (own[~ahead], figures.ORANGE)):
        heights = 2 * np.histogram(values - margin, bins)[0] / len(own)
        ax.bar(bins[:-1], heights, width=0.025, bottom=floor, align="edge", color=shade)
        floor = floor + heights
    heights = 2 * np.histogram(rival, bins)[0] / len(own)
    ax.bar(bins[:-1], heights, width=0.025, align="edge", color="#888888")
    rest = torch.sigmoid(8 * (rival - own + margin)).mean()
    words = f"behind: {1 - ahead.double().mean():.0%}\n1 - p against the nearest rival, s = 8: {rest:.2f}"
    ax.text(-1.75, 2.35, words, va="center")
    ax.set(xlim=(-1.8, 1.02), ylim=(0, 2.7), title=f"m = {margin:.2f}")
    ax.set_yticks([0.2, 1.2], ["nearest rival", "own class - m"])
    ax.axhline(1, color="#BBBBBB", linewidth=0.8)
    ax.grid(visible=False, axis="y")
    assert isinstance(ax.figure, Figure)
    return ax.figure


def strips_sheet(margins: Sequence[float]) -> Figure:
    """Still frames of the animation, one below the other."""
    fig, axes = plt.subplots(len(margins), 1, figsize=(6.8, 1.9 * len(margins)), sharex=True)
    for ax, margin in zip(axes, margins, strict=True):
        draw_strips(margin, ax)
    axes[-1].set_xlabel("cosine")
    return fig


def draw_digits(table: pd.DataFrame) -> Figure:
    """Held-out accuracy against the margin, in the plane and in nine dimensions; dots are seeds."""
    fig, axes = plt.subplots(1, 2, figsize=(8.6, 3.2), sharey=True)
    for ax, dimension in zip(axes, MARGINS, strict=True):
        margins = MARGINS[dimension]
        for shift, scale in zip((-0.15, 0.15), SCALES, strict=True):
            shade = figures.colour("cosface") if scale == SCALES[0] else figures.ORANGE
            for place, margin in enumerate(margins):
                points = 100 * rows(table, on_digits(scale, margin, dimension))["accuracy"]
                spread = lesson.interval(points)
                figures.seeds(ax, place + shift, points, spread.low, spread.high, shade, aside=0.09)
            ax.plot([], [], "D", color=shade, label=f"s = {scale}")
        ax.set_xticks(range(len(margins)), [f"{margin:g}" for margin in margins])
        if dimension == 2:
            ax.axvline(2, color="#999999", linestyle=(0, (3, 3)), linewidth=1, zorder=0)
        ax.set(title=f"{dimension} dimensions", xlabel="margin m")
    axes[0].set(ylabel="accuracy, %")
    axes[0].legend(loc="lower left")
    return fig


def draw_faces(table: pd.DataFrame) -> Figure:
    """EER above no margin for each kind of margin, by how much it asks for at 60 degrees; dots are seeds."""
    fig, axes = plt.subplots(1, 2, figsize=(9.4, 3.4), sharey=True)
    for ax, scale in zip(axes, SCALES, strict=True):
        for place, asked in enumerate(ASKED):
            for shift, loss in enumerate(KINDS[:3]):
                worse = loss_of(table, matched(loss, scale, asked))
                ax.plot([place + 0.2 * (shift - 1)] * len(worse), worse, "o", color=figures.colour(loss), alpha=0.6)
        for shift, loss in enumerate(KINDS[3:]):
            worse = loss_of(table, matched(loss, scale, ASKED[-1]))
            style = {"color": figures.colour(loss.split("_")[0]), "markerfacecolor": "white"}
            ax.plot([len(ASKED) + 0.2 * shift - 0.2] * len(worse), worse, "o", **style)
        endless = loss_of(table, setting("faces", "cosface", scale, ENDLESS))
        ax.plot([len(ASKED) + 0.2] * len(endless), endless, "s", color=figures.colour("cosface"), alpha=0.6)
        ax.axhline(0, color="#333333", linewidth=1)
        ax.axhline(1, color="#999999", linestyle=(0, (3, 3)), linewidth=1)
        names = [f"{asked:g} rad" for asked in ASKED]
        ax.set_xticks(range(len(ASKED) + 1), [*names, f"detached {ASKED[-1]:g}\nCosFace m = 1000"])
        ax.set(title=f"s = {scale}")
    for loss in KINDS[:3]:
        axes[0].plot([], [], "o", color=figures.colour(loss), label=figures.NAMES[loss])
    axes[0].set(ylabel="EER above no margin, points")
    axes[0].legend(loc="upper left")
    return fig


def assets(folder: Path) -> None:
    """The own strip sliding over the rivals' as m grows, as a GIF."""
    margins = [1.4 * (1 - math.cos(math.pi * i / 28)) / 2 for i in range(29)]
    figures.save_gif(folder / "11_strips.gif", draw_strips, margins, seconds=0.09, hold=1.8, dpi=90)
