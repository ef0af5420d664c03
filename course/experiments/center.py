"""Chapter 06: what more and more weight on compactness does to people the net has never seen.

The weight λ = 0.03 was chosen on the split "tune" for the whole course (`course/settings.json`); the other weights are
the range that the chapter draws. All numbers are measured on people and seeds that nothing was chosen on. Net, training
and test are those of `experiments/faces.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from experiments import faces
from experiments.faces import Setting, Trained, paired, rows
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from facelearn import figures, lesson
from facelearn.data import digits
from facelearn.losses import Center, Joint, Softmax
from facelearn.models import DigitNet
from facelearn.training import accuracy, embed, fit, seed_everything

__all__ = ["paired", "rows"]  # the chapter calls them from here

CHAPTER = "06_center"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": 8,
    "weights": [0.0, 0.03, 0.1, 0.3],
    "chosen": 0.03,  # as in course/settings.json
    "strong": 0.3,
    "alpha": 0.5,
    "frozen": 0.0,  # α of the control: the centres stay at the origin
    "seeds": [600, 601, 602, 603, 604],
    "live_seed": 700,
}
CHOSEN, STRONG = SETTINGS["chosen"], SETTINGS["strong"]
DIGITS: dict[str, Any] = {"epochs": 12, "batch_size": 64, "lr": 1e-2, "seed": 400}  # for pictures alone


def setting(weight: float = CHOSEN, alpha: float = SETTINGS["alpha"]) -> Setting:
    """What one row of the table varies: λ, and how far the centres move; at α = 0 they stay at the origin."""
    return {"weight": float(weight), "alpha": float(alpha)}


def grid() -> Iterator[tuple[Setting, int]]:
    """Each λ, then the control with frozen centres; seed after seed, so that its people are drawn once."""
    for seed in SETTINGS["seeds"]:
        yield from ((setting(weight), seed) for weight in SETTINGS["weights"])
        yield setting(CHOSEN, SETTINGS["frozen"]), seed


# ---- faces ----------------------------------------------------------------------------------------------------------


def joint(setting: Setting, embedding_dim: int, classes: int) -> Joint:
    """Softmax without bias, plus λ times the center loss."""
    center = Center(embedding_dim, classes, alpha=setting["alpha"])
    return Joint((1.0, Softmax(embedding_dim, classes, bias=False)), (setting["weight"], center))


def train(setting: Setting, seed: int, budget: str = "full") -> Trained:
    """One training of a setting."""
    return faces.train(partial(joint, setting), seed, budget, epochs=SETTINGS["epochs"])


class Scatter(NamedTuple):
    """How classes lie: mean squared distance within and between them, and in how many directions their means spread."""

    within: float
    between: float
    dimension: float

    @property
    def ratio(self) -> float:
        """Compactness without a scale: within over between."""
        return self.within / self.between


def scatter(x: Tensor, labels: Tensor) -> Scatter:
    """Of features (N, d): S_w, S_b and the effective dimension of the class means, each class counted once.

    S_w is the mean over classes of the mean squared distance from the class mean, S_b the mean squared distance of the
    class means from their mean. With the eigenvalues e of the covariance of the class means, the dimension is
    (Σ e)² / Σ e²: 1 on a line, d where they spread evenly in all directions.
    """
    kinds, own = labels.unique(return_inverse=True)
    x = x.double()
    count = own.bincount().double()  # (C,)
    means = x.new_zeros(len(kinds), x.shape[1]).index_add_(0, own, x) / count[:, None]  # (C, d)
    squares = (x - means[own]).square().sum(1)  # (N,)
    within = x.new_zeros(len(kinds)).index_add_(0, own, squares) / count  # (C,)
    centred = means - means.mean(0)
    covariance = centred.T @ centred / len(kinds)  # (d, d)
    between = covariance.trace()
    return Scatter(within.mean().item(), between.item(), (between**2 / covariance.square().sum()).item())


def measure(trained: Trained, seed: int, budget: str = "full") -> dict[str, float]:
    """Error rates over all pairs of people never seen, and how their classes and those of the training lie."""
    strangers = faces.people("open", seed, budget == "smoke")
    x, known = embed(trained.net, strangers), embed(trained.net, trained.faces)
    of_strangers, of_known = scatter(x, strangers.labels), scatter(known, trained.faces.labels)
    return faces.measure(trained, seed, budget) | {
        "norm": known.norm(dim=1).mean().item(),
        "fit_within": of_known.within,
        "fit_ratio": of_known.ratio,
        "fit_dimension": of_known.dimension,
        "open_within": of_strangers.within,
        "open_ratio": of_strangers.ratio,
        "open_dimension": of_strangers.dimension,
    }


def run(setting: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """Train one setting and measure it: one row of the table."""
    return measure(train(setting, seed, budget), seed, budget)


# ---- digits in the plane --------------------------------------------------------------------------------------------


class Petals(NamedTuple):
    weight: float  # λ
    x: Tensor  # (M, 2) features of the held-out digits
    accuracy: float  # on them
    ratio: float  # S_w / S_b


def in_the_plane(weight: float, epochs: int = 0) -> Petals:
    """Ten digits trained with this λ, from one start whatever λ: the held-out ones in the plane."""
    options = dict(DIGITS)
    seed, epochs = options.pop("seed"), epochs or options["epochs"]
    seed_everything(seed)
    net, held_out = DigitNet(2), digits("test")
    loss = joint(setting(weight), 2, 10)
    fit(net, loss, digits("train"), seed=seed, **(options | {"epochs": epochs}))
    x = embed(net, held_out)
    return Petals(weight, x, accuracy(net, loss, held_out), scatter(x, held_out.labels).ratio)


# ---- what the chapter reads off the table, and its figures ----------------------------------------------------------


def means(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table, a row for each λ with moving centres: means over seeds."""
    found = []
    for weight in SETTINGS["weights"]:
        row = rows(table, setting(weight)).mean(numeric_only=True)
        rates = [f"{100 * row[name]:.2f}" for name in ("eer", "tar_1e3")]
        found.append([f"{weight:g}", *rates, f"{row['train_accuracy']:.0%}", f"{row['open_ratio']:.2f}"])
    return ["λ", "EER (%)", "TAR@1e-3 (%)", "named rightly", "within / between"], found


def differences(table: pd.DataFrame) -> dict[str, pd.Series]:
    """The numbers on which the claim rests, new - old, seed by seed; EERs in points."""
    steps = list(zip(SETTINGS["weights"][1:], SETTINGS["weights"], strict=False))
    ratios = {f"ratio, {a:g} - {b:g}": paired(table, "open_ratio", setting(a), setting(b)) for a, b in steps}
    fall = paired(table, "eer", setting(), setting(0.0))
    rise = paired(table, "eer", setting(STRONG), setting())
    return {**ratios, f"EER fall, {CHOSEN:g} - 0": 100 * fall, f"EER rise, {STRONG:g} - {CHOSEN:g}": 100 * rise}


CONTROLLED = {"norm": "mean norm", "open_ratio": "within / between, strangers", "eer": "EER (points)"}


def control(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Difference to softmax, seed by seed, of moving and of frozen centres."""
    arms = {"moving centres": setting(), "frozen centres": setting(CHOSEN, SETTINGS["frozen"])}
    scaled = table.assign(eer=100 * table["eer"])
    return {
        f"{title}, {arm}": paired(scaled, number, new, setting(0.0))
        for number, title in CONTROLLED.items()
        for arm, new in arms.items()
    }


def draw_forces(x: Tensor, labels: Tensor, centre: Tensor, forces: dict[str, Tensor]) -> Figure:
    """Samples in the plane (N, 2), the force on each as an arrow, one panel for each kind of force."""
    fig, axes = plt.subplots(1, len(forces), figsize=(7.6, 3.9))
    for ax, (title, force) in zip(axes, forces.items(), strict=True):
        for j, shade in enumerate(figures.CLASSES[k] for k in (0, 3, 6)):
            own, arrows = labels == j, {"angles": "xy", "scale_units": "xy", "scale": 2.2, "width": 0.006}
            ax.plot(*x[own].T, "o", color=shade, markersize=4)
            ax.quiver(*x[own].T, *force[own].T, color=shade, **arrows)
            ax.plot(*centre[j], "*", color="white", markersize=11, markeredgecolor="#222222")
        ax.plot(0, 0, "+", color="#222222", markersize=9)
        ax.set(title=title, xlim=(-2.9, 2.9), ylim=(-2.0, 3.0), aspect="equal")
        ax.axis("off")
    return fig


def draw_table(table: pd.DataFrame) -> Figure:
    """Compactness, EER and effective dimension of strangers against λ: a dot per seed, means with intervals."""
    titles = {"open_ratio": "within / between, ρ", "eer": "EER (%)", "open_dimension": "effective dimension"}
    weights, scaled = SETTINGS["weights"], table.assign(eer=100 * table["eer"])
    fig, axes = plt.subplots(1, 3, figsize=(9.4, 3.3))
    for ax, (number, title) in zip(axes, titles.items(), strict=True):
        for place, weight in enumerate(weights):
            values = rows(scaled, setting(weight))[number]
            spread = lesson.interval(values)
            shade = figures.colour("center" if weight else "softmax")
            figures.seeds(ax, place, values, spread.low, spread.high, shade, aside=0.15)
        centres = [rows(scaled, setting(weight))[number].mean() for weight in weights]
        ax.plot([place + 0.15 for place in range(len(weights))], centres, color="#999999", linewidth=1, zorder=0)
        ax.set_xticks(range(len(weights)), [f"{weight:g}" for weight in weights])
        ax.set(title=title, xlabel="λ", xlim=(-0.4, len(weights) - 0.4), ylim=(0, None))
    return fig


def draw_control(differences: dict[str, pd.Series]) -> Figure:
    """The differences to softmax of moving and frozen centres, a panel for each number."""
    fig, axes = plt.subplots(1, 3, figsize=(9.4, 3.2))
    for ax, title in zip(axes, CONTROLLED.values(), strict=True):
        for place, arm in enumerate(("moving", "frozen")):
            values = differences[f"{title}, {arm} centres"]
            spread = lesson.interval(values)
            figures.seeds(ax, place, values, spread.low, spread.high, figures.colour("center"), aside=0.15)
        ax.axhline(0, color=figures.colour("softmax"), linewidth=1)
        ax.set_xticks((0, 1), ("moving", "frozen"))
        ax.set(title=title, xlim=(-0.4, 1.5))
    axes[0].set_ylabel("difference to softmax")
    return fig


# ---- the stored animation -------------------------------------------------------------------------------------------


def assets(folder: Path) -> None:
    """The petals contracting as λ grows, as a GIF: a training of its own for each λ."""
    weights = [0.0, *(10 ** (-3 + i / 5) for i in range(16))]  # 0, then 0.001 to 1
    shown = [in_the_plane(weight) for weight in weights]
    labels = digits("test").labels
    frame = figures.petals_frame(petals.x for petals in shown)

    def draw(petals: Petals) -> Figure:
        title = (
            f"λ = {petals.weight:5.3f}   held-out accuracy {petals.accuracy:4.0%}   within / between {petals.ratio:.2f}"
        )
        return figures.petals_pair(title, petals.x, labels, frame, enlarged=True)

    figures.save_gif(folder / "06_petals.gif", draw, shown, seconds=0.3, hold=2.5, dpi=75)
