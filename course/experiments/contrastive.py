"""Chapter 04: what a net learns from pairs alone, same person or not, against a classifier that is told names.

One net, one length of training; the loss varies, and with it the batches and the learning rate that suit it. The
settings of the four losses are those that the course's search chose on the split "tune"; the margin of the balanced
mean and the learning rates are chosen there too, with seeds of their own. All that is claimed is measured on people and
seeds that nothing was chosen on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from experiments import faces
from experiments.faces import Setting, Trained, paired, rows
from experiments.l2_softmax import dimension
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from facelearn import figures, lesson
from facelearn.data.samplers import PKBatches
from facelearn.losses import Contrastive, NormFace, Softmax, SupCon
from facelearn.models import SmallFaceNet
from facelearn.training import ShiftAndGain, embed, fit, seed_everything
from facelearn.verification import all_pairs, evaluate_all_pairs

CHAPTER = "04_contrastive"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": 8,
    "batches": [32, 4],
    "chosen": {"softmax": 0.0, "normface": 8.0, "contrastive": 1.1, "supcon": 0.1},  # as in course/settings.json
    "scales": [4.0, 8.0, 16.0, 32.0],  # of NormFace; SupCon has temperatures of one over them
    "inside": [8.0, 32.0],  # the same for the other form of SupCon, the mean inside the logarithm
    "pulls": ["1/6", "1", "6", "balanced", "only"],  # weight of a positive pair against a negative one
    "tune": {"seeds": [405, 406], "margins": [0.5, 0.8, 1.1, 1.4, 1.7, 2.0], "lr": [0.004, 0.016, 0.032, 0.064]},
    # What `choose` gives back from the stored rows: the margin is the largest distance there is.
    "balanced": 2.0,
    "own_lr": {"softmax": 0.016, "normface": 0.064, "contrastive": 0.064, "supcon": 0.032},
    "seeds": [410, 411, 412, 413, 414],
    "live_seed": 420,
}
CHOSEN: dict[str, float] = SETTINGS["chosen"]
COURSE_LR = SETTINGS["training"]["lr"]
NAMED, PAIRS = ("softmax", "normface"), ("contrastive", "supcon")  # told names; told which pairs are one person


def setting(
    loss: str,
    value: float | None = None,
    *,
    pull: str = "1",
    batches: str = "32 x 4",
    net: str = "standard",
    split: str = "open",
    lr: float = COURSE_LR,
) -> Setting:
    """What a row varies.

    value  scale, margin or temperature
    pull   of contrastive loss alone: what a positive pair weighs where a negative one weighs 1. "balanced": so much
           that all positive pairs of a batch weigh as much as all negative ones; "only": no negative pairs; "only,
           raw": nor are the embeddings brought to length 1
    net    "free": without its last batch normalisation
    """
    value = CHOSEN[loss] if value is None else float(value)
    return {"loss": loss, "value": value, "pull": pull, "batches": batches, "net": net, "split": split, "lr": lr}


def own(loss: str) -> Setting:
    """A loss at its own learning rate, with the batches that suit it."""
    return setting(loss, batches="shuffled" if loss in NAMED else "32 x 4", lr=SETTINGS["own_lr"][loss])


ONLY, RAW_ONLY, FREE_ONLY, FREE = (
    setting("contrastive", pull="only"),
    setting("contrastive", pull="only, raw"),
    setting("contrastive", pull="only", net="free"),
    setting("contrastive", net="free"),
)
BALANCED = setting("contrastive", SETTINGS["balanced"], pull="balanced")


def grid() -> Iterator[tuple[Setting, int]]:
    """What is chosen on `tune`; then what is claimed, a whole seed at a time."""
    for seed in SETTINGS["tune"]["seeds"]:
        margins = SETTINGS["tune"]["margins"]
        yield from ((setting("contrastive", m, pull="balanced", split="tune"), seed) for m in margins)
        yield from ((own(loss) | {"split": "tune", "lr": lr}, seed) for lr in SETTINGS["tune"]["lr"] for loss in CHOSEN)
    for seed in SETTINGS["seeds"]:
        yield from ((setting(loss), seed) for loss in CHOSEN)
        yield from ((setting(loss, batches="shuffled"), seed) for loss in (*NAMED, *PAIRS))
        yield from ((setting("normface", s), seed) for s in SETTINGS["scales"] if s != CHOSEN["normface"])
        yield from ((setting("supcon", 1 / s), seed) for s in SETTINGS["scales"])
        yield from ((setting("supcon_in", 1 / s), seed) for s in SETTINGS["inside"])
        yield from ((setting("contrastive", pull=pull), seed) for pull in SETTINGS["pulls"] if pull != "1")
        yield from ((wanted, seed) for wanted in (BALANCED, FREE_ONLY, FREE, RAW_ONLY))
        yield from ((own(loss), seed) for loss in CHOSEN)


# ---- one training ---------------------------------------------------------------------------------------------------


class Weighted(nn.Module):
    """Contrastive loss whose positive pairs weigh more or less than its negative ones, see `setting`.

    The mean over all pairs; with "only" that over the positive ones. On unit vectors unless the pull says "raw".
    """

    def __init__(self, pull: str, margin: float) -> None:
        super().__init__()
        self.pull, self.margin = pull, margin

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        i, j = torch.triu_indices(len(x), len(x), 1, device=x.device)
        x = x if "raw" in self.pull else F.normalize(x)
        D, same = F.pdist(x), labels[i] == labels[j]  # (B (B-1) / 2,)
        pull, push = D[same].square().sum() / 2, (self.margin - D[~same]).clamp(min=0).square().sum() / 2
        if "only" in self.pull:
            return pull / same.sum()
        weight = (~same).sum() / same.sum() if self.pull == "balanced" else float(Fraction(self.pull))
        return (weight * pull + push) / len(D)


class SupConIn(nn.Module):
    """SupCon with the mean over the positives inside the logarithm: eq. 3 of its paper, in place of eq. 2."""

    def __init__(self, temperature: float) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        x = F.normalize(x)
        itself = torch.eye(len(x), dtype=torch.bool, device=x.device)
        logits = (x @ x.T / self.temperature).masked_fill(itself, -1e30)  # (B, B)
        positive = (labels[:, None] == labels) & ~itself
        to_own = logits.masked_fill(~positive, -1e30).logsumexp(1) - positive.sum(1).clamp(min=1).log()
        return (logits.logsumexp(1) - to_own)[positive.any(1)].mean()


def made(wanted: Setting, dim: int, classes: int) -> nn.Module:
    """The loss of one row."""
    value, pull = wanted["value"], wanted["pull"]
    if pull != "1":
        return Weighted(pull, value)
    return {
        "softmax": lambda: Softmax(dim, classes, bias=False),
        "normface": lambda: NormFace(dim, classes, scale=value),
        "contrastive": lambda: Contrastive(margin=value, normalize=True),
        "supcon": lambda: SupCon(temperature=value),
        "supcon_in": lambda: SupConIn(value),
    }[wanted["loss"]]()


def batches(few: bool = False) -> PKBatches:
    people, images = SETTINGS["batches"]
    return PKBatches(8 if few else people, images)


def train(wanted: Setting, seed: int, budget: str = "full") -> tuple[Trained, float]:
    """One training, and the seconds of processor time that it took."""
    few = budget == "smoke"
    shown = faces.people("fit", seed, few)
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"], final_batchnorm=wanted["net"] == "standard")
    loss = made(wanted, net.embedding_dim, int(shown.labels.max()) + 1)
    plan = batches(few) if wanted["batches"] == "32 x 4" else None
    options = {"augment": ShiftAndGain(), "batches": plan, **SETTINGS["training"], "lr": wanted["lr"]}
    began = time.process_time()
    fit(net, loss, shown, epochs=1 if few else SETTINGS["epochs"], seed=seed, **options)
    return Trained(net, loss, shown), time.process_time() - began


@torch.no_grad()
def lie(x: Tensor, labels: Tensor) -> dict[str, float]:
    """How the embeddings (N, d) of strangers lie.

    dimension    in how many directions the unit embeddings spread
    same, apart  mean distance of two unit embeddings, of one person and of two
    tail         the cosine that 1 of 1,000 pairs of two persons exceeds
    alike        mean |correlation| of two coordinates of the embeddings as the net gives them
    """
    unit, (every, kinds) = F.normalize(x), all_pairs(labels)
    index, kind = torch.as_tensor(every), torch.as_tensor(kinds)
    D = (unit[index[:, 0]] - unit[index[:, 1]]).norm(dim=1)  # (P,)
    correlation = x.double().T.corrcoef().abs()  # (d, d)
    off = ~torch.eye(len(correlation), dtype=torch.bool)
    numbers = {
        "dimension": dimension(x),
        "same": D[kind].mean(),
        "apart": D[~kind].mean(),
        "tail": 1 - D[~kind].double().quantile(0.001) ** 2 / 2,
        "alike": correlation[off].nanmean(),
    }
    return {name: float(value) for name, value in numbers.items()}


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table."""
    trained, seconds = train(wanted, seed, budget)
    strangers = faces.people(wanted["split"], seed, budget == "smoke")
    x = embed(trained.net, strangers)
    found = evaluate_all_pairs(x, strangers.labels)
    row = {"eer": found.eer, "tar_1e2": found.tar_at(1e-2), "tar_1e3": found.tar_at(1e-3)}
    row |= {"train_seconds": seconds} | lie(x, strangers.labels)
    x, labels = a_batch(trained, seed)
    if wanted["loss"] == "contrastive" and "only" not in wanted["pull"]:
        row["active"] = active(x, labels, wanted["value"])
    if wanted["loss"].startswith("supcon"):
        row["hardest"] = hardest(x, labels, wanted["value"])
    return row


@torch.no_grad()
def a_batch(trained: Trained, seed: int) -> tuple[Tensor, Tensor]:
    """Unit embeddings of one batch of the training set, its people drawn by the seed, and their labels."""
    shown = trained.faces
    few = int(shown.labels.max()) < SETTINGS["batches"][0]
    chosen = batches(few)(shown.labels, 1, torch.Generator().manual_seed(seed))[0]
    return F.normalize(embed(trained.net, shown)[chosen]), shown.labels[chosen]


def active(x: Tensor, labels: Tensor, margin: float) -> float:
    """Share of the negative pairs that are nearer than the margin: those that still push."""
    i, j = torch.triu_indices(len(x), len(x), 1)
    return float((F.pdist(x)[labels[i] != labels[j]] < margin).double().mean())


def hardest(x: Tensor, labels: Tensor, temperature: float) -> float:
    """The share of its nearest negative in the push on an anchor, mean over the anchors."""
    negative = labels[:, None] != labels
    share = (x @ x.T / temperature).masked_fill(~negative, -1e30).softmax(1)  # (B, B)
    return float(share.amax(1).double().mean())


def choose(table: pd.DataFrame) -> dict[str, Any]:
    """By the mean EER on `tune`: the margin of the balanced mean, the learning rate of each loss."""
    tuned = table[table["split"] == "tune"]
    balanced, others = tuned[tuned["pull"] == "balanced"], tuned[tuned["pull"] == "1"]
    rates = {loss: others[others["loss"] == loss].groupby("lr")["eer"].mean() for loss in CHOSEN}
    return {
        "balanced": float(str(balanced.groupby("value")["eer"].mean().idxmin())),
        "own_lr": {loss: float(str(eer.idxmin())) for loss, eer in rates.items()},
    }


# ---- reading the table ----------------------------------------------------------------------------------------------

RATES = ("eer", "tar_1e2", "tar_1e3")
TITLES = {"eer": "EER (%)", "tar_1e3": "TAR at FAR 1e-3 (%)", "dimension": "effective dimension"}
LABELS = {"softmax": "Softmax", "normface": "NormFace", "contrastive": "contrastive", "supcon": "SupCon"}


def percent(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its rates in percent."""
    return table.assign(**{name: 100 * table[name] for name in RATES})


def difference(table: pd.DataFrame, ours: Setting, base: Setting, number: str = "eer") -> pd.Series:
    """Ours - base, seed by seed; rates in points."""
    return paired(percent(table), number, ours, base)


def means(table: pd.DataFrame, wanted: Setting) -> pd.Series:
    return rows(percent(table), wanted).mean(numeric_only=True)


def words(row: pd.Series) -> list[str]:
    return [f"{row['eer']:.2f}", f"{row['tar_1e3']:.1f}", f"{row['dimension']:.1f}"]


def four(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table, a row for each loss at its own learning rate."""
    found = [[name, f"{own(loss)['lr']:g}", *words(means(table, own(loss)))] for loss, name in LABELS.items()]
    return ["loss", "own rate", "EER %", "TAR@1e-3 %", "effective dimension"], found


def both_batches(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """EER and TAR of the four losses on batches of 32 x 4 and on shuffled ones."""
    kinds, found = ("32 x 4", "shuffled"), []
    for loss, name in LABELS.items():
        both = [means(table, setting(loss, batches=kind)) for kind in kinds]
        found.append([name, *(f"{row['eer']:.2f}" for row in both), *(f"{row['tar_1e3']:.1f}" for row in both)])
    return ["loss", *(f"EER %, {kind}" for kind in kinds), *(f"TAR %, {kind}" for kind in kinds)], found


def gains(table: pd.DataFrame, number: str = "eer", common: bool = False) -> dict[str, pd.Series]:
    """Losses on pairs of 32 x 4 less losses on names with shuffled batches, in points, seed by seed.

    common  at the learning rate of the course; else each at its own
    """
    arm = (lambda loss: own(loss) | {"lr": COURSE_LR}) if common else own
    return {
        f"{ours} (32 x 4) - {base} (shuffled)": difference(table, arm(ours), arm(base), number)
        for ours in PAIRS
        for base in NAMED
    }


def times(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Processor time of a training over that of NormFace, less 1, seed by seed."""
    seconds = {loss: rows(table, setting(loss))["train_seconds"] for loss in CHOSEN}
    return {loss: seconds[loss] / seconds["normface"] - 1 for loss in PAIRS}


def collapsed(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """With and without negative pairs, with and without the last batch normalisation."""
    arms = {
        "all pairs": setting("contrastive"),
        "positive pairs alone": ONLY,
        "the same, lengths left free": RAW_ONLY,
        "all pairs, no last BN": FREE,
        "positive alone, no last BN": FREE_ONLY,
    }
    found = []
    for name, wanted in arms.items():
        row = means(table, wanted)
        lies = [f"{row['apart']:.3f}", f"{row['dimension']:.1f}", f"{row['alike']:.2f}"]
        found.append([name, *lies, f"{row['eer']:.1f}"])
    return ["trained with", "apart", "effective dimension", "alike", "EER %"], found


def draw_dots(axes: Any, table: pd.DataFrame, arms: dict[str, tuple[Setting, str]], numbers: dict[str, str]) -> None:
    """A panel for each number: for each arm a dot a seed, and the mean with its 95 % interval."""
    table = percent(table)
    for ax, (number, title) in zip(axes, numbers.items(), strict=True):
        for place, (wanted, shade) in enumerate(arms.values()):
            values = rows(table, wanted)[number]
            spread = lesson.interval(values)
            figures.seeds(ax, place, values, spread.low, spread.high, shade, aside=0.2)
        ax.set_xticks(range(len(arms)), list(arms))
        ax.set(title=title, xlim=(-0.5, len(arms) - 0.3), ylim=(0, None))


def results_figure(table: pd.DataFrame) -> Figure:
    """EER on `tune` against the learning rate; EER and TAR of strangers at the course's rate and at each loss's own."""
    fig, axes = plt.subplots(1, 3, figsize=(10.4, 3.4))
    scaled, rates = percent(table), SETTINGS["tune"]["lr"]
    for place, loss in enumerate(CHOSEN):
        tuned = [rows(scaled, own(loss) | {"split": "tune", "lr": lr})["eer"].mean() for lr in rates]
        axes[0].plot(rates, tuned, marker="o", **figures.line(loss))
        for ax, number in zip(axes[1:], ("eer", "tar_1e3"), strict=True):
            for aside, lr, shade in ((-0.2, COURSE_LR, "#aaaaaa"), (0.1, own(loss)["lr"], figures.colour(loss))):
                values = rows(scaled, own(loss) | {"lr": lr})[number]
                spread = lesson.interval(values)
                figures.seeds(ax, place + aside, values, spread.low, spread.high, shade, aside=0.12)
    for ax, number in zip(axes[1:], ("eer", "tar_1e3"), strict=True):
        ax.set_xticks(range(len(CHOSEN)), ["Softmax", "NormFace", "contrast.", "SupCon"])
        ax.set(title=TITLES[number], ylim=(0, None))
    axes[0].set(xscale="log", xlabel="learning rate", title="EER on tune (%)", ylim=(0, None))
    axes[0].set_xticks(rates, [f"{lr:g}" for lr in rates])
    axes[0].minorticks_off()
    axes[0].legend(fontsize=8)
    return fig


def temperature_figure(table: pd.DataFrame) -> Figure:
    """EER, TAR and effective dimension against the scale: of NormFace's cosines, of SupCon's 1 / τ."""
    fig, axes = plt.subplots(1, 3, figsize=(10.4, 3.2))
    scales, table = SETTINGS["scales"], percent(table)
    arms = {"normface": scales, "supcon": [1 / s for s in scales]}
    for ax, (number, title) in zip(axes, TITLES.items(), strict=True):
        for loss, values in arms.items():
            spreads = [lesson.interval(rows(table, setting(loss, value))[number]) for value in values]
            half = [spread.half_width for spread in spreads]
            ax.errorbar(scales, [s.mean for s in spreads], half, marker="o", capsize=3, **figures.line(loss))
        ax.set_xscale("log", base=2)
        ax.set_xticks(scales, [f"{s:g}" for s in scales])
        ax.set(xlabel="s, or 1 / τ", title=title, ylim=(0, None))
    axes[0].legend()
    return fig


def pulls_figure(table: pd.DataFrame) -> Figure:
    """EER, TAR and effective dimension against the weight of a positive pair."""
    fig, axes = plt.subplots(1, 3, figsize=(10.4, 3.2))
    names = {"balanced": "41", "only": "∞"}
    shade = figures.colour("contrastive")
    arms = {names.get(p, p): (setting("contrastive", pull=p), shade) for p in SETTINGS["pulls"]}
    draw_dots(axes, table, arms, TITLES)
    for ax in axes:
        ax.set_xlabel("weight of a positive pair")
    axes[0].set(yscale="log", ylim=(2.5, 30), yticks=[3, 5, 10, 20], yticklabels=["3", "5", "10", "20"])
    axes[0].minorticks_off()
    return fig


# ---- temperature on one batch ---------------------------------------------------------------------------------------


def hardness_figure(x: dict[str, Tensor], labels: Tensor, temperatures: tuple[float, ...] = (0.03, 0.1, 0.5)) -> Figure:
    """Left: the shares that the negatives of one anchor have in the push, the nearest first. Right: the share of the
    nearest against τ, mean over anchors. `x`: unit embeddings of one batch by several nets."""
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.4))
    negative = labels[:, None] != labels
    last = list(x.values())[-1]
    for t, shade in zip(temperatures, ("#332288", "#117733", "#DDCC77"), strict=True):
        share = (last @ last.T / t).masked_fill(~negative, -1e30).softmax(1)[0].sort(descending=True).values[:30]
        axes[0].plot(range(1, 31), share, "o-", markersize=3, color=shade, label=f"τ = {t:g}")
    grid = torch.logspace(-2, 0.3, 60).tolist()
    for (name, one), dash in zip(x.items(), ("--", "-"), strict=True):
        axes[1].plot(grid, [hardest(one, labels, t) for t in grid], dash, color=figures.colour("supcon"), label=name)
    axes[1].axhline(1 / float(negative[0].sum()), color="#999999", linewidth=1)
    axes[0].set(title="one anchor", xlabel="negatives, the nearest first", ylabel="share in the push", ylim=(0, None))
    axes[1].set(title="the nearest negative, all anchors", xlabel="τ", xscale="log", ylim=(0, 1))
    for ax in axes:
        ax.legend()
    return fig


# ---- springs in the plane -------------------------------------------------------------------------------------------


def force(x: Tensor, labels: Tensor, margin: float, kinds: tuple[bool, bool]) -> Tensor:
    """-∂/∂x of the sum over pairs of contrastive loss; `kinds`: with positive pairs, with negative ones.  (N, 2)"""
    x = x.detach().requires_grad_()
    i, j = torch.triu_indices(len(x), len(x), 1)
    D, same = F.pdist(x), labels[i] == labels[j]
    pull, push = D[same].square().sum() / 2, (margin - D[~same]).clamp(min=0).square().sum() / 2
    return -torch.autograd.grad(kinds[0] * pull + kinds[1] * push, x)[0]


def draw_springs(ax: Axes, x: Tensor, labels: Tensor, arrows: Tensor, scale: float, frame: float) -> None:
    """Samples in the plane, the force on each as an arrow."""
    for j in labels.unique().tolist():
        own, shade = labels == j, figures.CLASSES[(0, 3, 6, 1, 8)[j]]
        style: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": scale, "width": 0.007, "color": shade}
        ax.quiver(*x[own].T, *arrows[own].T, **style)
        ax.plot(*x[own].T, "o", color=shade, markersize=5)
    ax.set(xlim=(-frame, frame), ylim=(-frame, frame), aspect="equal", xticks=[], yticks=[])


def forces_figure(margin: float = 1.5) -> Figure:
    """Three people in the plane; forces of the positive pairs, of the negative ones, and of both."""
    draws = torch.Generator().manual_seed(4)
    labels = torch.arange(12) // 4
    turn = torch.tensor([90.0, 210.0, 330.0]).deg2rad()
    x = 0.6 * torch.stack([turn.cos(), turn.sin()], 1)[labels] + 0.3 * torch.randn(12, 2, generator=draws)
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.5))
    panels = {"same person: pull": (True, False), "two people: push": (False, True), "both": (True, True)}
    for ax, (title, kinds) in zip(axes, panels.items(), strict=True):
        draw_springs(ax, x, labels, force(x, labels, margin, kinds), 9.0, 1.7)
        ax.set_title(title)
    return fig


STAGES = {  # with negative pairs, behind a batch normalisation
    "all pairs": (True, False),
    "positive pairs alone": (False, False),
    "positive alone, batch norm": (False, True),
}


def springs(steps: int = 61, margin: float = 1.5) -> tuple[Tensor, list[dict[str, tuple[Tensor, Tensor]]]]:
    """A matrix learns to lay five people out in the plane: labels, and at each step places and forces of each run.

    The points are not free: x = W h, or the batch normalisation of it. One step of W moves them all.
    """
    draws = torch.Generator().manual_seed(1)
    labels = torch.arange(30) // 6
    means = torch.randn(5, 4, generator=draws) * torch.tensor([1.6, 1.1, 0.7, 0.3])
    h = means[labels] + torch.randn(30, 4, generator=draws) * torch.tensor([0.25, 0.3, 0.4, 0.6])  # (30, 4)
    start = torch.randn(2, 4, generator=draws) * 0.2
    found: list[dict[str, tuple[Tensor, Tensor]]] = [{} for _ in range(steps)]
    for name, (negatives, normalised) in STAGES.items():
        W = start.clone()
        for step in range(steps):
            W.requires_grad_()
            x = h @ W.T  # (30, 2)
            if normalised:
                x = (x - x.mean(0)) / x.std(0, unbiased=False)
            arrows = force(x, labels, margin, (True, negatives))
            found[step][name] = x.detach(), arrows
            (slope,) = torch.autograd.grad(-(x * arrows).sum(), W)
            W = W.detach() - (0.02 if normalised else 0.004) * slope
    return labels, found


def draw_frame(axes: Any, labels: Tensor, places: dict[str, tuple[Tensor, Tensor]]) -> None:
    for ax, (x, arrows) in zip(axes, places.values(), strict=True):
        draw_springs(ax, x, labels, arrows, 14.0, 2.9)


def sheet(stages: tuple[int, ...] = (0, 6, 20, 60)) -> Figure:
    """The runs of `springs`, a row each, at some of their steps."""
    labels, found = springs()
    fig, axes = plt.subplots(len(STAGES), len(stages), figsize=(9.0, 7.0))
    for column, step in enumerate(stages):
        draw_frame(axes[:, column], labels, found[step])
        axes[0, column].set_title(f"step {step}")
    for ax, name in zip(axes[:, 0], STAGES, strict=True):
        ax.set_ylabel(name)
    return fig


def assets(folder: Path) -> None:
    """The three runs of `springs` side by side, as a GIF."""
    labels, found = springs()

    def draw(places: dict[str, tuple[Tensor, Tensor]]) -> Figure:
        fig, axes = plt.subplots(1, len(places), figsize=(9.6, 3.5))
        draw_frame(axes, labels, places)
        for ax, name in zip(axes, places, strict=True):
            ax.set_title(name)
        return fig

    figures.save_gif(folder / "04_springs.gif", draw, found[::1], seconds=0.12, hold=2.5, dpi=75)
