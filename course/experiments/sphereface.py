"""Chapter 10: which part of SphereFace does what: the scale, the annealing, the strength of the margin at the end.

One factor is changed at a time, 8 epochs long, with seeds that nothing was chosen on (stage "short"). Stage "long" adds
to the 20 epochs of `results/protocol.csv`, seed by seed, the SphereFace-R of chapter 13.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from experiments import arcs, faces, protocol
from experiments.faces import Setting, Trained, paired, rows
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from facelearn import figures, lesson
from facelearn.data.image_set import to_float
from facelearn.losses import MarginHead
from facelearn.losses.sphereface import psi
from facelearn.training import embed

__all__ = ["paired", "rows"]  # the chapter calls them from here

CHAPTER = "10_sphereface"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": {"short": 8, "long": 20},
    "start": 100.0,  # λ where annealing begins
    "arrives": 2 / 3,  # of the training, where λ has reached its end
    "rows": [  # scale, length, m, λ at the end, schedule: written down before the first run
        [8, "fixed", 1, 0, "constant"], [8, "fixed", 1.5, 0, "constant"], [8, "fixed", 1.76, 0, "constant"],
        [8, "fixed", 1.76, 0, "falls"], [8, "fixed", 2, 2.2, "constant"], [8, "fixed", 2, 2.2, "falls"],
        [8, "fixed", 2, 1, "constant"], [8, "fixed", 2, 1, "falls"], [8, "fixed", 2, 0, "constant"],
        [8, "fixed", 3, 0, "constant"], [8, "free", 1, 0, "constant"], [8, "free", 2, 1, "constant"],
        [8, "free", 2, 1, "falls"], [8, "free", 2, 2.2, "falls"], [8, "free", 1.76, 0, "falls"],
        [8, "free", 2, 1, "paper"], [8, "detached", 2, 1, "constant"], [32, "fixed", 1, 0, "constant"],
        [32, "fixed", 1.15, 0, "constant"], [32, "fixed", 1.3, 0, "constant"], [32, "fixed", 1.5, 0, "constant"],
        [32, "fixed", 2, 1, "constant"], [32, "fixed", 2, 1, "falls"], [32, "free", 2, 1, "constant"],
        [32, "free", 2, 1, "falls"], [32, "detached", 2, 1, "constant"],
    ],
    "seeds": [1010, 1011, 1012, 1013, 1014],
    "live_seed": 1020,
}  # fmt: skip
LENGTH = 8.0  # of an untrained net's embedding: its last layer normalises 64 numbers


def setting(scale: float, length: str, margin: float, lam: float, schedule: str = "constant") -> Setting:
    """One row of the table, 8 epochs long.

    scale     s; with a length it is the s at which the net starts
    length    "fixed": s alone; "free": s ‖x‖ / 8; "detached": the same value, without a gradient to ‖x‖
    lam       λ at the end
    schedule  "constant": λ from the first step on; "falls": from 100, by a factor a step, there at two thirds;
              "paper": 100 / (1 + 0.12 it), not below λ
    """
    numbers = {"scale": float(scale), "length": length, "margin": float(margin), "lam": float(lam)}
    return {"stage": "short", **numbers, "schedule": schedule}


REVIVED = setting(8, "fixed", 1.76, 0)  # SphereFace-R as in chapter 13


def grid() -> Iterator[tuple[Setting, int]]:
    """A whole seed at a time; then what the protocol's table lacks."""
    for seed in SETTINGS["seeds"]:
        yield from ((setting(*row), seed) for row in SETTINGS["rows"])
    for seed in protocol.FINAL_SEEDS:
        yield REVIVED | {"stage": "long"}, seed


# ---- one training ---------------------------------------------------------------------------------------------------


class Mixed(MarginHead):
    """SphereFace in parts: T = (λ cos θ + ψ(θ)) / (1 + λ), times s, or s ‖x‖ / 8 with or without a gradient."""

    def __init__(self, dim: int, classes: int, *, scale: float, length: str, margin: float, lam: float) -> None:
        super().__init__(dim, classes, scale=scale)
        self.length, self.margin, self.lam = length, margin, lam
        self.path: list[tuple[float, float]] = []  # at each step: mean target angle in degrees, median ‖x‖

    def observe(self, embeddings: Tensor, target_cos: Tensor) -> None:
        theta = target_cos.detach().clamp(-1, 1).arccos().rad2deg()
        self.path.append((theta.mean().item(), embeddings.detach().norm(dim=1).median().item()))

    def rows(self, embeddings: Tensor, target_cos: Tensor) -> tuple[Tensor, ...]:
        if self.length == "fixed":
            return ()
        length = torch.linalg.vector_norm(embeddings, dim=1) / LENGTH  # (B,)
        return (length if self.length == "free" else length.detach(),)

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        mixed = (self.lam * cos + psi(cos, self.margin)) / (1 + self.lam)
        return mixed * rows[0] if rows else mixed

    def others(self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        return cos * rows[0] if rows else cos


def annealed(schedule: str, last: float, step: int, total: int) -> float:
    """λ at this step, 0 in the first."""
    share = step / (SETTINGS["arrives"] * total)
    if schedule == "constant" or (schedule == "falls" and share >= 1):
        return last
    if schedule == "falls":
        return SETTINGS["start"] ** (1 - share) * max(last, 0.01) ** share
    return max(last, SETTINGS["start"] / (1 + 0.12 * (step + 1)))


def train(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    """One training of a row; the loss that comes back knows its `path`."""
    made: list[Mixed] = []

    def make(dim: int, classes: int) -> Mixed:
        made.append(Mixed(dim, classes, **{name: wanted[name] for name in ("scale", "length", "margin", "lam")}))
        return made[0]

    def anneal(step: int, total: int) -> None:
        made[0].lam = annealed(wanted["schedule"], wanted["lam"], step, total)

    return faces.train(make, seed, budget, epochs=SETTINGS["epochs"][wanted["stage"]], on_step=anneal)


def measure(trained: Trained, seed: int, budget: str = "full") -> dict[str, float]:
    """Error rates; and of the strangers:

    norm       mean length of the embeddings
    dimension  (Σe)² / Σe² of the eigenvalues e of the covariance of the unit embeddings, 64 at most
    genuine    mean cosine of two images of one person
    impostor   the cosine that 1 of 1,000 pairs of two persons exceeds: the threshold at FAR 1e-3
    """
    strangers = faces.people("open", seed, budget == "smoke")
    x = embed(trained.net, strangers)
    unit = F.normalize(x).double()
    covariance = (unit - unit.mean(0)).T @ (unit - unit.mean(0)) / len(unit)  # (d, d)
    cos, same = unit @ unit.T, strangers.labels[:, None] == strangers.labels
    pairs = torch.ones_like(same).triu(1)
    apart = cos[pairs & ~same]
    return faces.measure(trained, seed, budget) | {
        "norm": x.norm(dim=1).mean().item(),
        "dimension": (covariance.trace() ** 2 / covariance.square().sum()).item(),
        "genuine": cos[pairs & same].mean().item(),
        "impostor": apart.kthvalue(round(0.999 * len(apart))).values.item(),
    }


@torch.no_grad()
def lengths(trained: Trained, images: int = 128) -> str:
    """In words: the lengths of one batch as training sees it, and the learnt factors of the last normalisation."""
    net, _, shown = trained
    picked = shown.images[:: len(shown.images) // images][:images].to(next(net.parameters()).device)
    x = net.train()(to_float(picked)).norm(dim=1)
    factors = [layer.weight for layer in net.modules() if isinstance(layer, nn.BatchNorm1d)][-1].abs().mean()
    size = f"median {x.median():.2f}, largest {x.max():.1f}, root mean square {x.square().mean().sqrt():.1f}"
    return f"lengths of a batch: {size}; mean factor {factors:.2f}"


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table."""
    return measure(train(wanted, seed, budget), seed, budget)


# ---- pictures of the loss -------------------------------------------------------------------------------------------


def target(theta: Tensor, margin: float, lam: float = 0.0) -> Tensor:
    """T(θ) = (λ cos θ + ψ(θ)) / (1 + λ), by radians.  (N,) -> (N,)"""
    return (lam * theta.cos() + psi(theta.cos(), margin)) / (1 + lam)


def start(dim: int = 64) -> tuple[Tensor, Tensor]:
    """Angles in radians, and how often two random directions in this many dimensions stand so: sin^(d-2) θ.  (N,)"""
    theta = torch.linspace(0, math.pi, 1801, dtype=torch.float64)
    often = theta.sin() ** (dim - 2)
    return theta, often / often.sum()


def fall(margin: float) -> float:
    """Mean of -dψ/dθ = m |sin mθ| over random directions: how hard ψ pulls an untrained net."""
    theta, often = start()
    return float((often * margin * (margin * theta).sin().abs()).sum())


def circles(margins: tuple[float, ...] = (1, 2, 4)) -> Figure:
    """Where on the circle a class is accepted, and how many degrees nobody gets, for some factors m."""
    fig, axes = plt.subplots(1, len(margins), figsize=(9.3, 3.2), layout="none")
    for ax, margin in zip(axes, margins, strict=True):
        arcs.arcs(ax, margin, "sphereface")
        ax.set_title(f"m = {margin:g}", color=figures.colour("sphereface"))
    fig.subplots_adjust(0.01, 0.01, 0.99, 0.9, wspace=0.02)
    return fig


def _stairs(ax: Axes, margin: float) -> None:
    theta, often = start()
    shade, degrees = figures.colour("sphereface"), theta.rad2deg()
    ax.fill_between(degrees, -7.4, -7.4 + 1.6 * often / often.max(), color="#CCCCCC", linewidth=0)
    ax.plot(degrees, (margin * theta).cos(), color="#777777", linestyle=(0, (2, 2)), label=r"$\cos m\theta$")
    ax.plot(degrees, psi(theta.cos(), margin), color=shade, label=r"$\psi(\theta)$")
    joins = [180 * k / margin for k in range(1, math.ceil(margin))]
    ax.plot(joins, [1 - 2 * k for k in range(1, math.ceil(margin))], "o", color=shade, markersize=5)
    ax.set(xlim=(0, 180), ylim=(-7.4, 1.4), xticks=range(0, 181, 45), xlabel=r"$\theta$ (degrees)")
    ax.set_title(f"m = {margin:.2f}   fall at the start {fall(margin):.2f}".replace(".00 ", " "), fontsize=10)


def staircase(margins: tuple[float, ...] = (2, 3, 4)) -> Figure:
    """ψ against cos mθ, and where the angles of an untrained net lie."""
    fig, axes = plt.subplots(1, len(margins), figsize=(max(5.2, 3.2 * len(margins)), 3.4), sharey=True)
    for ax, margin in zip(np.atleast_1d(axes), margins, strict=True):
        _stairs(ax, margin)
    np.atleast_1d(axes)[0].legend(loc="lower left", bbox_to_anchor=(0, 0.18))
    return fig


def growth_angle(lam: float, margin: float = 2.0, rivals: float = 0.0) -> float:
    """θ*, in degrees: where T falls through the mean cosine of the rivals."""
    theta = torch.linspace(0, math.pi, 180_001, dtype=torch.float64)
    return float(theta[target(theta, margin, lam) > rivals][-1].rad2deg())


Path2D = list[tuple[float, float]]  # at each step: mean target angle in degrees, median ‖x‖


def _plane(ax: Axes, lam: float, path: Path2D, dim: int = 64) -> None:
    """Where an embedding grows under this λ (m = 2, random rivals), the pull on its length, a net's path."""
    theta, length = np.meshgrid(np.linspace(20, 115, 191), np.linspace(0.05, 12, 120))
    goal = target(torch.from_numpy(np.deg2rad(theta)), 2, lam)
    pull = (goal - torch.from_numpy(length) / dim).numpy()
    ax.contourf(theta, length, pull, levels=[-9, 0, 9], colors=["#FBE3D0", "#DCEBF7"])
    arrows = (slice(8, None, 18), slice(10, None, 20))
    ax.quiver(
        theta[arrows],
        length[arrows],
        0 * pull[arrows],
        pull[arrows],
        color="#999999",
        scale=11,
        width=0.005,
        pivot="mid",
    )
    degrees, norm = np.array([np.mean(path[max(0, i - 4) : i + 5], axis=0) for i in range(len(path))]).T
    ax.plot(degrees, norm, color="#222222", linewidth=1.8)
    ax.plot(degrees[0], norm[0], "o", color="white", markeredgecolor="#222222", markersize=7)
    ax.plot(degrees[-1], norm[-1], "o", color="#222222", markersize=7)
    ax.set(xlim=(115, 20), ylim=(0, 12), xlabel="mean target angle (degrees)", xticks=range(30, 115, 15))


def plane(paths: tuple[Path2D, Path2D], step: int = -1) -> Figure:
    """The (θ, ‖x‖) plane for λ = 1 from the first step on, and for a λ that falls; what two nets did up to a step."""
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.9), sharey=True)
    total = len(paths[0])
    step = step % total
    for ax, path, schedule in zip(axes, paths, ("constant", "falls"), strict=True):
        lam = annealed(schedule, 1.0, step, total)
        _plane(ax, lam, path[: step + 1])
        name = "λ = 1 from the start" if schedule == "constant" else f"λ falls from 100: now {lam:.3g}"
        ax.set_title(f"{name}   (step {step + 1})", fontsize=10)
    axes[0].set_ylabel("median ‖x‖")
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2}
    for at, word, shade in ((112, "shrinks", "#B0561B"), (36, "grows", "#1B5E9B")):
        axes[0].text(at, 11.1, word, color=shade, bbox=box)
    return fig


def swept(paths: tuple[Path2D, Path2D], lams: tuple[float, ...] = (10, 2.2)) -> Figure:
    """The plane at the end, and the line between shrinking and growing where it stood for earlier λ."""
    fig = plane(paths)
    ax = fig.axes[1]
    length = np.linspace(0, 12, 60)
    for place, lam in enumerate(lams):
        border = [growth_angle(lam, rivals=n / 64) for n in length]
        ax.plot(border, length, color="#1B5E9B", linewidth=1, linestyle=(0, (3, 2)))
        height = 0.4 + 0.9 * place
        ax.text(growth_angle(lam, rivals=height / 64), height, f" λ = {lam:g}", color="#1B5E9B", fontsize=8)
    return fig


def assets(folder: Path) -> None:
    """ψ growing stairs as m goes from 1 to 4, and two nets on their way through the plane, as GIFs."""
    margins = [1.0, *(1 + 3 * i / 30 for i in range(1, 31))]
    figures.save_gif(folder / "10_stairs.gif", lambda m: staircase((m,)), margins, seconds=0.12, hold=1.5, dpi=80)
    seed = SETTINGS["live_seed"]
    made = [train(setting(8, "free", 2, 1, schedule), seed, "full").loss.path for schedule in ("constant", "falls")]
    paths = (made[0], made[1])
    steps = [*range(0, 120, 6), *range(120, len(made[0]), 16), len(made[0]) - 1]
    figures.save_gif(folder / "10_escape.gif", lambda step: plane(paths, step), steps, seconds=0.15, hold=2.5, dpi=65)


# ---- reading the table ----------------------------------------------------------------------------------------------

ENDS: tuple[tuple[float, float], ...] = ((1.76, 0), (2, 1), (2, 2.2))  # m and λ at the end, from strong to weak
WAYS = {  # scale, length, schedule
    "s = 8, at once": (8, "fixed", "constant"),
    "s = 8, annealed": (8, "fixed", "falls"),
    "‖x‖, annealed": (8, "free", "falls"),
    "s = 8, ψ alone": (8, "fixed", "constant"),
    "s = 32, ψ alone": (32, "fixed", "constant"),
}
ALONG = {  # what is drawn of each way, beside no margin
    "s = 8, at once": ENDS[:0:-1], "s = 8, annealed": ENDS[::-1], "‖x‖, annealed": ENDS[::-1],
    "s = 8, ψ alone": ((1.5, 0), (1.76, 0)), "s = 32, ψ alone": ((1.15, 0), (1.3, 0), (1.5, 0)),
}  # fmt: skip


def strength(margin: float, lam: float, at: float = 60.0) -> float:
    """By how many degrees more than the own class direction a rival must be away, at this target angle."""
    theta = torch.tensor([math.radians(at)], dtype=torch.float64)
    return float(target(theta, margin, lam).arccos().rad2deg()) - at


def along(way: str, end: tuple[float, float]) -> Setting:
    """One of the WAYS, with this m and λ at the end; without a margin there is nothing to anneal."""
    scale, length, schedule = WAYS[way]
    return setting(scale, length, *end, schedule if end[0] > 1 else "constant")


def puzzle(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows: no margin, SphereFace-R and SphereFace as the course sets it, after 8 epochs and after 20."""
    long = pd.read_csv(protocol.CHOSEN.parent / "results" / "protocol.csv")
    wanted = {
        "no margin, s = 8": (setting(8, "fixed", 1, 0), long[long.loss == "normface"]),
        "SphereFace-R": (REVIVED, rows(table, REVIVED | {"stage": "long"})),
        "SphereFace": (setting(8, "free", 2, 1, "paper"), long[long.loss == "sphereface"]),
    }
    found = []
    for name, (short, after_20) in wanted.items():
        numbers = [100 * of[rate].mean() for rate in ("eer", "tar_1e3") for of in (rows(table, short), after_20)]
        found.append([name, *(f"{n:.2f}" for n in numbers[:2]), *(f"{n:.1f}" for n in numbers[2:])])
    return ["", "EER %, 8 epochs", "20 epochs", "TAR@1e-3 %, 8 epochs", "20 epochs"], found


def factorial(table: pd.DataFrame, number: str = "tar_1e3") -> tuple[list[str], list[list[str]]]:
    """Head and rows: a rate in percent, for each strength (downwards) and each way to train (across)."""
    found = []
    for end in ENDS:
        means = [100 * rows(table, along(way, end))[number].mean() for way in list(WAYS)[:3]]
        found.append([f"{strength(*end):.0f}°  (m = {end[0]}, λ = {end[1]})", *(f"{mean:.1f}" for mean in means)])
    plain = [100 * rows(table, setting(8, length, 1, 0))[number].mean() for length in ("fixed", "free")]
    found.append(["no margin", f"{plain[0]:.1f}", "", f"{plain[1]:.1f}"])
    return ["asked at 60°", *list(WAYS)[:3]], found


ORDERS = ("margin, annealing, scale", "annealing, margin, scale", "annealing, scale, margin")
"""In which the three may be changed: without annealing nothing trains where the scale is free."""


def shares(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """What each change brings on the way from SphereFace-R to annealed SphereFace: TAR@1e-3 in points.

    A table for each of the three changes: a row per seed, a column per order of the changes.
    """
    at_once, fixed, free = list(WAYS)[:3]
    found: dict[str, dict[str, pd.Series]] = {name: {} for name in ORDERS[0].split(", ")}
    for order in ORDERS:
        way, end = at_once, ENDS[0]
        for change in order.split(", "):
            before = along(way, end)
            way = {"annealing": fixed, "scale": free}.get(change, way)
            end = ENDS[-1] if change == "margin" else end
            found[change][order] = 100 * paired(table, "tar_1e3", along(way, end), before)
    return {name: pd.DataFrame(columns) for name, columns in found.items()}


def parts(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows: what each change brings in each order, by its initials, and the mean of them with an interval."""
    found = []
    for name, points in shares(table).items():
        mean = lesson.interval(points.mean(axis=1))
        found.append([name, *(f"{points[order].mean():+.1f}" for order in ORDERS), f"{mean:+.1f}"])
    initials = {"margin": "ma", "annealing": "an", "scale": "sc"}
    heads = (", ".join(initials[change] for change in order.split(", ")) for order in ORDERS)
    return ["change", *heads, "mean"], found


RACES = {"at once": ("free", "constant"), "annealed": ("free", "falls"), "detached": ("detached", "constant")}


def trained(table: pd.DataFrame, race: str) -> int:
    """How many nets name more than half of their own training images, m = 2, λ = 1, both scales together."""
    length, schedule = RACES[race]
    both = (rows(table, setting(scale, length, 2, 1, schedule)) for scale in (8, 32))
    return sum(int((found.train_accuracy > 0.5).sum()) for found in both)


def races(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows: m = 2, λ = 1 at two scales: without annealing, with it, and with ‖x‖ as a constant."""
    found = []
    for scale in (8, 32):
        for name, (length, schedule) in RACES.items():
            seeds = rows(table, setting(scale, length, 2, 1, schedule))
            mean, trains = seeds.mean(numeric_only=True), int((seeds.train_accuracy > 0.5).sum())
            numbers = [f"{100 * mean.eer:.1f}", f"{mean.target_angle:.0f}°", f"{mean.norm:.1f}"]
            what = f"{scale / LENGTH:g} ‖x‖, {name}".removeprefix("1 ")
            found.append([what, f"{trains} of {len(seeds)}", *numbers])
    return ["scale", "nets that train", "EER %", "angle", "length"], found


def landings(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows: ψ alone from the first step on, at s = 8, for some m."""
    found = []
    for margin in (1, 1.5, 1.76, 2, 3):
        mean = rows(table, setting(8, "fixed", margin, 0)).mean(numeric_only=True)
        rates = [f"{100 * mean[name]:.1f}" for name in ("eer", "tar_1e3")]
        found.append([f"{margin:g}", f"{fall(margin):.2f}", *rates, f"{mean.dimension:.0f}"])
    return ["m", "fall at the start", "EER %", "TAR@1e-3 %", "dimension"], found


def strengths(table: pd.DataFrame) -> Figure:
    """EER, TAR at a strict threshold and effective dimension against the strength, for five ways to train."""
    own = figures.colour("sphereface")
    styles = ("o-", own), ("D--", "#E69F00"), ("^-", figures.BLUE), ("v:", own), ("s:", "#444444")
    titles = {"eer": "EER (%)", "tar_1e3": "TAR@1e-3 (%)", "dimension": "effective dimension"}
    fig, axes = plt.subplots(1, 3, figsize=(10.5, 3.5))
    for place, (way, (mark, shade)) in enumerate(zip(WAYS, styles, strict=True)):
        ends = [(1, 0), *ALONG[way]]
        wanted = [along(way, end) for end in ends]
        for ax, number in zip(axes, titles, strict=True):
            factor = 1 if number == "dimension" else 100
            spreads = [lesson.interval(factor * rows(table, one)[number]) for one in wanted]
            at, means = [strength(*end) + 0.5 * place for end in ends], [spread.mean for spread in spreads]
            widths = [spread.half_width for spread in spreads]
            ax.errorbar(at, means, widths, fmt=mark, color=shade, label=way, capsize=3)
    for ax, title in zip(axes, titles.values(), strict=True):
        ax.set(title=title, xlabel="strength (degrees at 60°)", xticks=range(0, 50, 15), ylim=(0, None))
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5)
    return fig
