"""Chapter 09: are the Gaussians that L-GM learns those of its features? Asked of strangers: digits that were left out.

Each seed leaves two digits out. A net learns the other eight; then known images (the held-out ones of the eight) and
strangers (all images of the two) are told apart by scores of several kinds. The same features are looked at with the
Gaussians that the loss has learnt, and with Gaussians fitted to the training features afterwards.

What is chosen (the weights λ of L-GM and of the center loss) is chosen on seeds of its own, under "tune".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from experiments.faces import Setting, paired, rows
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn.utils import parametrize

from facelearn import figures, lesson
from facelearn.data import ImageSet, digits
from facelearn.losses import LGM, Center, Joint, Softmax
from facelearn.models import DigitNet
from facelearn.training import accuracy, embed, fit, seed_everything

CHAPTER = "09_lgm"

SETTINGS: dict[str, Any] = {
    "left_out": 2,
    "dims": [2, 16],
    "epochs": 12,
    "long": 48,
    "training": {"batch_size": 64, "lr": 5e-3, "weight_decay": 5e-4},
    "rates": [2, 5, 20],  # times the learning rate, for means and log-variances alone
    "alphas": [0.0, 1.0],
    "chosen": {"lgm": 1.0, "center": 1.0},  # `choose` gives them back from the rows of "tune"
    "tune": {"seeds": [900, 901, 902], "weights": [0.1, 1.0, 10.0]},
    "seeds": [910, 911, 912, 913, 914, 915, 916, 917],
    # Asked after the table of the claim was there, so of seeds of their own: what else closes the gap, and the margin.
    "cures": {"seeds": [920, 921, 922, 923, 924, 925, 926, 927], "start": 0.05, "weights": [1.0, 10.0]},
    "live_seed": 930,
}
QUICK = 5  # the rate of the claim
PICTURE_SEED = 940  # for pictures alone


def setting(
    loss: str = "lgm", dim: int = 2, *, weight: float = 0.1, alpha: float = 0.3, covariance: str = "diagonal",
    rate: int = 1, moved: str = "both", start: float = 1.0, epochs: int = SETTINGS["epochs"], split: str = "open",
) -> Setting:  # fmt: skip
    """What a row varies: the loss, d, λ, α, the covariance; the rate of means and variances, whether that is for both,
    at which variance they start; the length.
    """
    if loss != "lgm":
        alpha, covariance = 0.0, "none"
    if loss == "softmax":
        weight = 0.0
    return {
        "split": split, "loss": loss, "dim": dim, "weight": float(weight), "alpha": float(alpha),
        "covariance": covariance, "rate": rate, "moved": moved, "start": start, "epochs": epochs,
    }  # fmt: skip


class Times(nn.Module):
    """A parameter that is `factor` times what the optimiser moves: AdamW moves it `factor` times as fast."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x

    def right_inverse(self, x: Tensor) -> Tensor:
        return x / self.factor


def head(wanted: Setting, dim: int, classes: int) -> nn.Module:
    if wanted["loss"] == "softmax":
        return Softmax(dim, classes)
    if wanted["loss"] == "center":
        return Joint((1.0, Softmax(dim, classes)), (wanted["weight"], Center(dim, classes)))
    loss = LGM(dim, classes, alpha=wanted["alpha"], likelihood_weight=wanted["weight"], covariance=wanted["covariance"])
    if loss.log_var is not None and wanted["start"] != 1:
        nn.init.constant_(loss.log_var, math.log(wanted["start"]))
    if wanted["rate"] != 1:  # a log-variance is then weight-decayed, by 0.03 % of itself in all
        moved = {"both": ("means", "log_var"), "means": ("means",), "variances": ("log_var",)}[wanted["moved"]]
        for name in moved[: 1 if wanted["covariance"] == "identity" else 2]:
            parametrize.register_parametrization(loss, name, Times(wanted["rate"]))
    return loss


class Shown(NamedTuple):
    """The images of one seed."""

    train: ImageSet  # of the digits that are kept, their labels counted from 0
    known: ImageSet  # held-out images of the same digits
    strangers: ImageSet  # all images of the digits that were left out, with the digit as label
    kept: list[int]


def images(seed: int) -> Shown:
    """Draw the digits that are left out."""
    left_out = set(np.random.default_rng(seed).permutation(10)[: SETTINGS["left_out"]].tolist())
    kept = [digit for digit in range(10) if digit not in left_out]

    def part(whole: ImageSet, wanted: list[int], renumber: bool) -> ImageSet:
        chosen = torch.isin(whole.labels, torch.tensor(wanted))
        labels = whole.labels[chosen]
        return ImageSet(whole.images[chosen], torch.searchsorted(torch.tensor(wanted), labels) if renumber else labels)

    train, test = digits("train"), digits("test")
    apart = [part(whole, sorted(left_out), False) for whole in (train, test)]
    strangers = ImageSet(torch.cat([one.images for one in apart]), torch.cat([one.labels for one in apart]))
    return Shown(part(train, kept, True), part(test, kept, True), strangers, kept)


class Trained(NamedTuple):
    net: nn.Module
    loss: Any
    shown: Shown


def train(
    wanted: Setting,
    seed: int,
    budget: str = "full",
    on_made: Callable[[Trained], None] = lambda made: None,
    **options: Any,
) -> Trained:
    """One training; `on_made` gets what is trained before it begins, the options are further ones of `fit`."""
    shown = images(seed)
    seed_everything(seed)
    net = DigitNet(wanted["dim"])  # before the loss: it starts the same whatever the loss draws
    loss = head(wanted, wanted["dim"], len(shown.kept))
    made = Trained(net, loss, shown)
    on_made(made)
    epochs = 1 if budget == "smoke" else wanted["epochs"]
    fit(net, loss, shown.train, epochs=epochs, seed=seed, **(SETTINGS["training"] | options))
    return made


# ---- Gaussians, learnt and refitted ---------------------------------------------------------------------------------


class Gaussians(NamedTuple):
    means: Tensor  # (C, d)
    var: Tensor  # (C, d)

    def distances(self, x: Tensor) -> Tensor:
        """Half the squared Mahalanobis distance to every class.  (N, d) -> (N, C)"""
        return ((x[:, None] - self.means).square() / self.var).sum(2) / 2

    def log_densities(self, x: Tensor) -> Tensor:
        """Up to a constant.  (N, d) -> (N, C)"""
        return -self.distances(x) - self.var.log().sum(1) / 2


def refitted(x: Tensor, labels: Tensor) -> Gaussians:
    """Mean and variance of each class's features: the likeliest Gaussians."""
    classes = [x[labels == k].double() for k in labels.unique()]
    variances = [own.var(0, correction=0).clamp(min=1e-12) for own in classes]
    return Gaussians(torch.stack([own.mean(0) for own in classes]), torch.stack(variances))


@torch.no_grad()
def learnt(loss: LGM) -> Gaussians:
    means = loss.means.cpu().double()
    return Gaussians(means, torch.ones_like(means) if loss.log_var is None else loss.log_var.cpu().double().exp())


def auroc(known: Tensor, strangers: Tensor) -> float:
    """The chance that a known image scores higher than a stranger."""
    scores = torch.cat([known, strangers]).numpy()
    return float(roc_auc_score(np.r_[np.ones(len(known)), np.zeros(len(strangers))], scores))


@torch.no_grad()
def measure(trained: Trained) -> dict[str, float]:
    """AUROC of the scores; of L-GM also where its Gaussians stand.

    max_prob, norm, nearest_mean   controls that every loss has: largest p (in L-GM that of the learnt Gaussians),
                                   length, distance to the nearest class mean
    own, own_nearest               log density of the mixture that the loss has learnt; of its densest Gaussian alone
    refit                          log density of Gaussians fitted to the training features
    accuracy                       share of known held-out images that are named rightly
    offset                         from a learnt mean to the mean of its class, in standard deviations of the class
    fill                           mean own distance of the training images over d/2, its value where the fit is right
    learnt_var, true_var           their geometric means over classes and dimensions
    gap                            smallest distance of two class means over the spread of a class
    """
    net, loss, shown = trained
    x, known, strangers = (embed(net, part).double() for part in (shown.train, shown.known, shown.strangers))
    labels, fitted = shown.train.labels, refitted(x, shown.train.labels)
    home = next(loss.parameters())
    probability = lambda z: loss.logits(z.to(home)).double().softmax(1).amax(1).cpu()  # noqa: E731
    scores = {
        "max_prob": probability,
        "norm": lambda z: z.norm(dim=1),
        "nearest_mean": lambda z: -torch.cdist(z, fitted.means).amin(1),
        "refit": lambda z: fitted.log_densities(z).logsumexp(1),
    }
    if isinstance(loss, LGM):
        own = learnt(loss)
        scores["own"] = lambda z: own.log_densities(z).logsumexp(1)
        scores["own_nearest"] = lambda z: own.log_densities(z).amax(1)
    row = {name: auroc(score(known), score(strangers)) for name, score in scores.items()}
    spread = fitted.var.sum(1).mean().sqrt()
    row |= {"accuracy": accuracy(net, loss, shown.known), "gap": float(torch.pdist(fitted.means).min() / spread)}
    row["true_var"] = float(fitted.var.log().mean().exp())
    if isinstance(loss, LGM):
        # root mean square over dimensions of the distance between the means, each in deviations of its class
        row["offset"] = float(((own.means - fitted.means).square() / fitted.var).mean(1).sqrt().mean())
        row["fill"] = float(own.distances(x).gather(1, labels[:, None]).mean() / (x.shape[1] / 2))
        row["learnt_var"] = float(own.var.log().mean().exp())
    return row


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table."""
    return measure(train(wanted, seed, budget))


def arms(dim: int) -> dict[str, Setting]:
    """The rows of the table for one dimension, by the names that the chapter uses."""
    long, chosen = SETTINGS["long"], SETTINGS["chosen"]
    return {
        "L-GM": setting(dim=dim),
        "softmax": setting("softmax", dim),
        "center": setting("center", dim, weight=chosen["center"]),
        "λ = 1": setting(dim=dim, weight=chosen["lgm"]),
        **{f"rate × {rate}": setting(dim=dim, rate=rate) for rate in SETTINGS["rates"]},
        f"λ = 1, rate × {QUICK}": setting(dim=dim, weight=1, rate=QUICK),
        "identity": setting(dim=dim, covariance="identity"),
        f"identity, rate × {QUICK}": setting(dim=dim, covariance="identity", rate=QUICK),
        **{f"α = {alpha:g}": setting(dim=dim, alpha=alpha) for alpha in SETTINGS["alphas"]},
        "long": setting(dim=dim, epochs=long),
        "long, λ = 1": setting(dim=dim, weight=1, epochs=long),
        "long, softmax": setting("softmax", dim, epochs=long),
        "long, center": setting("center", dim, weight=chosen["center"], epochs=long),
    }


def cures(dim: int) -> dict[str, Setting]:
    """What may close the gap at the short training, each changed alone against the first; and two margins."""
    fast = partial(setting, dim=dim, rate=QUICK, split="cures")
    first = setting(dim=dim, split="cures")
    return {
        "as above": first,
        f"rate × {QUICK}, both": fast(),
        f"rate × {QUICK}, means alone": fast(moved="means"),
        f"rate × {QUICK}, variances alone": fast(moved="variances"),
        "variances start at 0.05": setting(dim=dim, start=SETTINGS["cures"]["start"], split="cures"),
        **{f"λ = {w:g}": setting(dim=dim, weight=w, split="cures") for w in SETTINGS["cures"]["weights"]},
        **{
            f"λ = {w:g}, α = {alpha:g}": setting(dim=dim, weight=w, alpha=alpha, split="cures")
            for w in (0.1, 1.0)
            for alpha in SETTINGS["alphas"]
        },
    }


def grid() -> Iterator[tuple[Setting, int]]:
    """What is chosen on "tune"; then what is claimed, seed after seed."""
    for seed in SETTINGS["tune"]["seeds"]:
        yield setting("softmax", 16, split="tune"), seed
        for loss in ("lgm", "center"):
            for weight in SETTINGS["tune"]["weights"]:
                yield setting(loss, 16, weight=weight, split="tune"), seed
    for seed in SETTINGS["seeds"]:
        for dim in SETTINGS["dims"]:
            yield from ((arm, seed) for arm in arms(dim).values())
    for seed in SETTINGS["cures"]["seeds"]:
        for dim in SETTINGS["dims"]:
            yield from ((arm, seed) for arm in cures(dim).values())


#: Scores that every loss has.
COMMON = ("max_prob", "norm", "nearest_mean", "refit")


def choose(table: pd.DataFrame) -> dict[str, tuple[float, str]]:
    """On "tune", of each loss: the weight and the common score with the highest mean AUROC."""
    found = {}
    for loss in ("softmax", "lgm", "center"):
        tuned = table[(table["split"] == "tune") & (table["loss"] == loss)]
        means = tuned.groupby("weight")[list(COMMON)].mean()
        score = means.max().idxmax()
        found[loss] = (float(means.index[int(means[score].argmax())]), str(score))
    return found


# ---- reading the table ----------------------------------------------------------------------------------------------


def column(table: pd.DataFrame, dim: int, arm: str, number: str) -> pd.Series:
    """One number of one arm, a value for each seed."""
    return rows(table, arms(dim)[arm])[number]


def lost(table: pd.DataFrame, dim: int, arm: str = "L-GM") -> pd.Series:
    """What the learnt Gaussians lose against the refitted ones: AUROC, seed by seed, of the same features."""
    return column(table, dim, arm, "refit") - column(table, dim, arm, "own")


def against(table: pd.DataFrame, base: str, dim: int = 16) -> pd.Series:
    """AUROC of L-GM less that of another loss, each with the weight and the score that were chosen on "tune"."""
    score = {name: found[1] for name, found in choose(table).items()}
    return column(table, dim, "λ = 1", score["lgm"]) - column(table, dim, base, score[base])


def sped(table: pd.DataFrame, dim: int) -> pd.Series:
    """What the rate of the claim adds to the AUROC of the own likelihood, seed by seed."""
    return changed(table, "own", dim, f"rate × {QUICK}")


def most(table: pd.DataFrame, dim: int) -> pd.Series:
    """The same, less half of what was lost: above 0 where most of the gap is closed."""
    return sped(table, dim) - lost(table, dim) / 2


def changed(table: pd.DataFrame, number: str, dim: int, ours: str, base: str = "L-GM") -> pd.Series:
    """One arm less another, seed by seed."""
    return paired(table, number, arms(dim)[ours], arms(dim)[base])


def summary(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows: L-GM at the rate of the net and at five times that, in both dimensions; means over seeds."""
    found = []
    for dim in SETTINGS["dims"]:
        for words in ("L-GM", f"rate × {QUICK}"):
            mean = rows(table, arms(dim)[words]).mean(numeric_only=True)
            scores = [f"{mean[name]:.3f}" for name in ("own", "own_nearest", "refit", "max_prob")]
            found.append([f"d = {dim}, {words}", *scores])
    return ["", "learnt likelihood", "densest learnt", "refitted", "largest p"], found


def controls(table: pd.DataFrame, dim: int = 16) -> tuple[list[str], list[list[str]]]:
    """Head and rows: the scores that every loss has, for three losses."""
    found = []
    for words, arm in (("softmax", "softmax"), ("softmax + center loss", "center"), ("L-GM, λ = 1", "λ = 1")):
        mean = rows(table, arms(dim)[arm]).mean(numeric_only=True)
        found.append([words, *(f"{mean[name]:.3f}" for name in ("max_prob", "norm", "nearest_mean", "refit"))])
    return ["", "largest p", "norm", "nearest mean", "refitted"], found


def cured(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows: what may close the gap, each alone; means over the fresh seeds, the gaps with their intervals."""
    found = []
    for words in list(cures(2))[:6]:
        cells = []
        for dim in SETTINGS["dims"]:
            row = rows(table, cures(dim)[words])
            cells += [f"{row['own'].mean():.3f}", f"{lesson.interval(row['refit'] - row['own']):.3f}"]
        found.append([words, *cells])
    return ["", "learnt, d = 2", "gap", "learnt, d = 16", "gap"], found


def gaps(table: pd.DataFrame) -> dict[str, pd.Series]:
    """The smallest distance of two class means over the spread of a class, α = 1 less α = 0, seed by seed."""
    less, more = SETTINGS["alphas"]
    return {
        f"d = {dim}, λ = {w:g}": paired(
            table, "gap", cures(dim)[f"λ = {w:g}, α = {more:g}"], cures(dim)[f"λ = {w:g}, α = {less:g}"]
        )
        for w in (0.1, 1.0)
        for dim in SETTINGS["dims"]
    }


def on_faces() -> dict[str, pd.Series]:
    """From the course's comparison of all losses: EER of L-GM less that of another loss, seed by seed, in points."""
    table = pd.read_csv(lesson.course_folder() / "results" / "protocol.csv")
    eer = 100 * table[table["split"] == "open"].pivot(index="seed", columns="loss", values="eer")
    return {base: eer["lgm"] - eer[base] for base in ("softmax", "center")}


# ---- figures --------------------------------------------------------------------------------------------------------


def forces_figure() -> Figure:
    """The force on samples of one class: cross-entropy alone, with a margin, with a likelihood term; where it is 0.

    An arrow is as long as the root of the force, so that small ones can be seen.
    """
    means = torch.tensor([[1.0, 0.0], [-0.5, 0.87], [-0.5, -0.87]])
    grid = torch.cartesian_prod(torch.linspace(-0.4, 2.9, 8), torch.linspace(-1.2, 1.2, 5))  # (40, 2)
    axis = torch.cartesian_prod(torch.linspace(1, 3, 2001), torch.zeros(1))
    fig, axes = plt.subplots(1, 3, figsize=(9.8, 3.3))
    terms = {"cross-entropy alone": (0, 0), "with a margin, α = 1": (1, 0), "with likelihood, λ = 0.3": (0, 0.3)}
    for ax, (title, (alpha, weight)) in zip(axes, terms.items(), strict=True):
        push = force(grid, means, alpha, weight)
        push /= push.norm(dim=1, keepdim=True).sqrt().clamp(min=1e-9)
        style = {"angles": "xy", "scale_units": "xy", "scale": 3.2, "width": 0.006}
        ax.quiver(*grid.T, *push.T, color=figures.CLASSES[0], **style)
        rest = axis[force(axis, means, alpha, weight)[:, 0] <= 0]
        if len(rest):
            ax.plot(*rest[0], "o", color="#222222", markersize=11, markerfacecolor="none", markeredgewidth=1.8)
        for k, mean in enumerate(means):
            ax.plot(*mean, "*", color=figures.CLASSES[(0, 3, 6)[k]], markersize=14, markeredgecolor="#222222")
        ax.set(title=title, xlim=(-0.9, 3.3), ylim=(-1.5, 1.5), aspect="equal")
        ax.axis("off")
    return fig


def force(x: Tensor, means: Tensor, alpha: float, weight: float) -> Tensor:
    """-∂L/∂x of samples (N, d) of class 0, unit variances."""
    x = x.clone().requires_grad_()
    own = torch.zeros(len(x), dtype=torch.long)
    d = (x[:, None] - means).square().sum(2) / 2
    margin = torch.zeros_like(d).index_fill(1, torch.tensor([0]), alpha)
    loss = nn.functional.cross_entropy(-(1 + margin) * d, own, reduction="sum") + weight * d[:, 0].sum()
    return -torch.autograd.grad(loss, x)[0]


def boundaries_figure() -> Figure:
    """Where (1 + α) d_1 = d_2 for unit variances, and where two Gaussians of different shape are equally likely."""
    x, y = torch.meshgrid(torch.linspace(-6.1, 3.2, 400), torch.linspace(-3, 3, 300), indexing="xy")
    means, shades = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), (figures.BLUE, figures.ORANGE)
    distance = lambda k, var: ((x - means[k, 0]) ** 2 / var[0] + (y - means[k, 1]) ** 2 / var[1]) / 2  # noqa: E731
    fig, axes = plt.subplots(1, 2, figsize=(9.4, 3.3))
    for alpha, dash in ((0.0, "-"), (0.3, "--"), (1.0, ":")):
        gap = (1 + alpha) * distance(0, (1, 1)) - distance(1, (1, 1))
        axes[0].contour(x, y, gap, [0], colors="#333333", linestyles=dash)
        axes[0].plot([], [], dash, color="#333333", label=f"α = {alpha:g}")
    shapes = ((0.25, 0.25), (1.0, 0.6))
    scores = [-distance(k, var) - math.log(var[0] * var[1]) / 2 for k, var in enumerate(shapes)]
    axes[1].contour(x, y, scores[0] - scores[1], [0], colors="#333333")
    for k, var in enumerate(shapes):
        axes[1].add_patch(ellipse(means[k], torch.tensor(var), edgecolor=shades[k]))
    for ax, title in zip(axes, ("equal variances, with a margin", "unequal variances"), strict=True):
        for k in range(2):
            ax.plot(*means[k], "*", color=shades[k], markersize=13, markeredgecolor="#222222")
        ax.set(title=title, aspect="equal")
        ax.axis("off")
    axes[0].legend(loc="upper right", fontsize=9)
    return fig


def ellipse(mean: Tensor, var: Tensor, **style: Any) -> Ellipse:
    """Two standard deviations round the mean: 86 % of a Gaussian in the plane."""
    wide, high = (4 * var.sqrt()).tolist()
    x, y = mean.tolist()
    return Ellipse((x, y), wide, high, fill=False, linewidth=1.6, **style)


class Scene(NamedTuple):
    """Features in the plane and the Gaussians that are drawn over them."""

    known: Tensor  # (N, 2)
    labels: Tensor  # (N,) from 0
    strangers: Tensor  # (M, 2)
    gaussians: Gaussians
    kept: list[int]

    @property
    def auroc(self) -> float:
        score = lambda x: self.gaussians.log_densities(x.double()).logsumexp(1)  # noqa: E731
        return auroc(score(self.known), score(self.strangers))


def pictures(budget: str = "full") -> tuple[Trained, Trained]:
    """Two trainings in the plane from one start: all at one rate, and means and variances at five times that."""
    slow, fast = (train(setting(rate=rate), PICTURE_SEED, budget) for rate in (1, QUICK))
    return slow, fast


def scene(trained: Trained, refit: bool = False) -> Scene:
    """The held-out known digits and the strangers, with the learnt Gaussians or with refitted ones."""
    net, loss, shown = trained
    gaussians = refitted(embed(net, shown.train), shown.train.labels) if refit else learnt(loss)
    return Scene(embed(net, shown.known), shown.known.labels, embed(net, shown.strangers), gaussians, shown.kept)


def draw_scene(ax: Axes, scene: Scene, half: float) -> None:
    """Dots: known digits. Grey crosses: strangers. Stars and ellipses: the Gaussians."""
    ax.plot(*scene.strangers.T, "x", color="#444444", markersize=3.5, markeredgewidth=0.7, alpha=0.55, zorder=1)
    for k, digit in enumerate(scene.kept):
        shade, own = figures.CLASSES[digit], scene.known[scene.labels == k]
        ax.plot(*own.T, "o", color=shade, markersize=3.2, markeredgewidth=0, alpha=0.75, zorder=2)
        mean, var = scene.gaussians.means[k], scene.gaussians.var[k]
        ax.add_patch(ellipse(mean, var, edgecolor=shade, zorder=3))
        ax.plot(*mean, "*", color=shade, markersize=11, markeredgecolor="#111111", markeredgewidth=0.9, zorder=4)
    ax.set(xlim=(-half, half), ylim=(-half, half), aspect="equal")
    ax.axis("off")


def extent(scenes: list[Scene]) -> float:
    """Half the side of a square round the origin that holds nearly all features and the ellipses."""
    features = max(float(x.abs().quantile(0.995)) for one in scenes for x in (one.known, one.strangers))
    ends = max(float((one.gaussians.means.abs() + 2 * one.gaussians.var.sqrt()).max()) for one in scenes)
    return 1.05 * max(features, ends)


def scenes(slow: Trained, fast: Trained) -> dict[str, Scene]:
    """The panels of the figure to remember."""
    return {
        "learnt": scene(slow),
        "the same features, refitted": scene(slow, refit=True),
        "learnt five times as fast": scene(fast),
    }


def scenes_figure(scenes: dict[str, Scene]) -> Figure:
    """A panel for each scene, with the AUROC of its likelihood."""
    fig, axes = plt.subplots(1, len(scenes), figsize=(3.3 * len(scenes), 3.7))
    for ax, (title, one) in zip(axes, scenes.items(), strict=True):
        draw_scene(ax, one, extent([one]))
        ax.set_title(f"{title}\nAUROC {one.auroc:.2f}", fontsize=10)
    return fig


def results_figure(table: pd.DataFrame) -> Figure:
    """AUROC by the learnt Gaussians and by refitted ones, for both dimensions, at two rates: a dot for each seed."""
    fig, axes = plt.subplots(1, 2, figsize=(9.4, 3.5), sharey=True)
    kinds = {"learnt": ("own", figures.ORANGE), "refitted": ("refit", figures.BLUE)}
    for ax, dim in zip(axes, SETTINGS["dims"], strict=True):
        for place, arm in enumerate(("L-GM", f"rate × {QUICK}")):
            for side, (number, shade) in zip((-0.2, 0.2), kinds.values(), strict=True):
                values = column(table, dim, arm, number)
                spread = lesson.interval(values)
                figures.seeds(ax, place + side, values, spread.low, spread.high, shade, aside=0.1)
        ax.axhline(0.5, color="#333333", linewidth=1, linestyle=":")
        ax.set_xticks((0, 1), ("rate of the net", f"rate × {QUICK}"))
        ax.set(title=f"d = {dim}", xlim=(-0.5, 1.5), ylim=(0, 1.02))
    for words, (_, shade) in kinds.items():
        axes[1].plot([], [], "D", color=shade, label=words)
    axes[1].legend(loc="lower right")
    axes[0].set_ylabel("AUROC, known against strangers")
    return fig


def rates_figure(table: pd.DataFrame) -> Figure:
    """AUROC and the offset of the means against the rate of means and variances: means over seeds with intervals."""
    rates = [1, *SETTINGS["rates"]]
    names = ["L-GM", *(f"rate × {rate}" for rate in SETTINGS["rates"])]
    kinds = {"own": ("learnt", figures.ORANGE, "-o"), "refit": ("refitted", figures.BLUE, "--s")}
    fig, axes = plt.subplots(1, 3, figsize=(9.8, 3.3))
    for ax, dim in zip(axes, SETTINGS["dims"], strict=False):
        for number, (words, shade, dash) in kinds.items():
            draw_means(ax, rates, [column(table, dim, name, number) for name in names], shade, dash, words)
        ax.axhline(0.5, color="#333333", linewidth=1, linestyle=":")
        ax.set(title=f"AUROC, d = {dim}", ylim=(0, 1.02))
    axes[0].legend(loc="lower right")
    for dim, dash in zip(SETTINGS["dims"], ("-o", "--s"), strict=True):
        offsets = [column(table, dim, name, "offset") for name in names]
        draw_means(axes[2], rates, offsets, figures.colour("lgm"), dash, f"d = {dim}")
    axes[2].set(title="means off their clouds\n(standard deviations)", ylim=(0, None))
    axes[2].legend()
    for ax in axes:
        ax.set(xscale="log", xlabel="rate of means and variances")
        ax.set_xticks(rates, [f"× {rate}" for rate in rates])
        ax.minorticks_off()
    return fig


def draw_means(ax: Axes, x: list[int], groups: list[pd.Series], shade: str, dash: str, words: str) -> None:
    spreads = [lesson.interval(values) for values in groups]
    ax.errorbar(
        x,
        [s.mean for s in spreads],
        yerr=[s.half_width for s in spreads],
        fmt=dash,
        color=shade,
        capsize=3,
        label=words,
    )


# ---- the stored animation -------------------------------------------------------------------------------------------


def motion(rate: int, every: int = 9) -> list[Scene]:
    """Features and Gaussians all along one training in the plane."""
    found: list[Scene] = []
    wanted, seed = setting(rate=rate), PICTURE_SEED
    holder: list[Trained] = []

    def look(step: int, total: int) -> None:
        if step % every == 0 or step == total - 1:
            found.append(scene(holder[0]))
            holder[0].net.train()

    train(wanted, seed, on_made=holder.append, on_step=look)
    return found


def assets(folder: Path) -> None:
    """Clouds, means and ellipses through a training, at the rate of the net and five times as fast, as a GIF."""
    sides = {"rate of the net": motion(1), f"means and variances {QUICK} times as fast": motion(QUICK)}
    halves = [extent(scenes) for scenes in sides.values()]

    def draw(frame: tuple[Scene, ...]) -> Figure:
        fig, axes = plt.subplots(1, 2, figsize=(8.2, 4.8))
        for ax, title, one, half in zip(axes, sides, frame, halves, strict=True):
            draw_scene(ax, one._replace(strangers=one.strangers[::2]), half)
            ax.set_title(f"{title}\nAUROC {one.auroc:.2f}", fontsize=11)
        return fig

    frames = list(zip(*sides.values(), strict=True))
    figures.save_gif(folder / "09_gaussians.gif", draw, frames, seconds=0.25, hold=2.5, dpi=68, colours=32)
