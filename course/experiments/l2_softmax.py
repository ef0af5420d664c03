"""Chapter 07: how large the scale of the cosines should be, and what too small or too large a scale does.

Faces: one net is trained with NormFace at each scale, with AdamW as everywhere and with SGD, and measured on strangers.
Digits: the loss of the training set, epoch by epoch, against the floor below which no net can bring it.

What is chosen (the scale that is called best, SGD's learning rate at each scale) is chosen on the split "tune", with
seeds of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import torch.nn.functional as F
from experiments import faces
from experiments.faces import Setting, Trained, paired, rows
from experiments.pull import missing
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from facelearn import figures, lesson
from facelearn.data import digits
from facelearn.losses import NormFace
from facelearn.losses.margin import unit
from facelearn.models import DigitNet, SmallFaceNet
from facelearn.training import ShiftAndGain, embed, fit, one_cycle, parameter_groups, seed_everything
from facelearn.verification import evaluate_all_pairs

CHAPTER = "07_l2_softmax"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": 8,
    "scales": [1, 4, 8, 16, 32, 64],
    "seeds": [720, 721, 722, 723, 724],
    "live_seed": 740,
    "long": {"epochs": 24, "scales": [4, 8, 16]},
    "moving": ["4 to 12", "12 to 4", "learnt from 4"],
    "tune": {"seeds": [710, 711], "scales": [2, 4, 8, 16, 32], "lr": [0.3, 1.0, 3.0, 10.0]},
    # `choose` gives these rates back from the stored rows; 0.3 stands at the edge of what was tried.
    "sgd": {"momentum": 0.9, "lr": {"1": 1.0, "8": 3.0, "32": 0.3}},
    "digits": {"dims": [2, 9], "scales": [1, 4, 8, 16], "epochs": 12, "batch_size": 64, "lr": 5e-3},
}


def setting(scale: Any, epochs: int = 8, *, lr: float = 0.0, split: str = "open", dim: int = 64) -> Setting:
    """What a row varies. `lr` is SGD's; 0 stands for AdamW at the rate of the course. `dim` < 64: digits."""
    return {"split": split, "scale": str(scale), "epochs": epochs, "lr": lr, "dim": dim}


class LearntScale(NormFace):
    """NormFace whose scale is learnt, as the exponential of a parameter."""

    no_weight_decay = ("log_scale",)

    def __init__(self, embedding_dim: int, num_classes: int, *, scale: float) -> None:
        super().__init__(embedding_dim, num_classes, scale=scale)
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        self.scale = self.log_scale.detach().exp().item()
        cos = self.cosines(unit(embeddings), self.weight)  # (B, C)
        return F.cross_entropy(self.log_scale.exp() * cos, labels, reduction="none")


def train(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    """One training on faces."""
    words, made = wanted["scale"].split(), []
    start, end = float(words[-1] if "learnt" in words else words[0]), float(words[-1])

    def make(dim: int, classes: int) -> nn.Module:
        made.append((LearntScale if "learnt" in words else NormFace)(dim, classes, scale=start))
        return made[0]

    def move(step: int, total: int) -> None:
        made[0].scale = start + (end - start) * step / max(total - 1, 1)

    if wanted["lr"]:
        return by_sgd(make, seed, budget, wanted["lr"], wanted["epochs"])
    return faces.train(make, seed, budget, epochs=wanted["epochs"], on_step=move if start != end else None)


def by_sgd(make: faces.Make, seed: int, budget: str, lr: float, epochs: int) -> Trained:
    """The training of `faces.train`, with SGD in place of AdamW."""
    few = budget == "smoke"
    shown = faces.people("fit", seed, few)
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"])
    loss = make(net.embedding_dim, int(shown.labels.max()) + 1)
    groups = parameter_groups(net, loss, SETTINGS["training"]["weight_decay"])
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=SETTINGS["sgd"]["momentum"])
    augment, draws, size = ShiftAndGain(), torch.Generator().manual_seed(seed), SETTINGS["training"]["batch_size"]
    steps = len(shown.labels) // size
    total = steps * (1 if few else epochs)
    net.train()
    for step in range(total):
        if step % steps == 0:
            order = torch.randperm(len(shown.labels), generator=draws)
        chosen = order[step % steps * size :][:size]
        value = loss(net(augment(shown.images[chosen].float() / 127.5 - 1, draws)), shown.labels[chosen])
        for group in optimizer.param_groups:
            group["lr"] = lr * one_cycle(step, total)[0]
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return Trained(net, loss, shown)


@torch.no_grad()
def pulled(trained: Trained) -> dict[str, float]:
    """How the loss still pulls its training images at the end of a training.

    loss                     its mean over the training images
    finished                 share of images with 1 - p_y < 0.1
    pull_right, pull_wrong   mean length of the gradient by the unit embedding, of images whose own class has the
                             largest cosine, and of the others
    tenth                    the share of all these lengths that the tenth of the images with the longest has
    """
    net, loss, shown = trained
    x, w, own = F.normalize(embed(net, shown)), F.normalize(loss.weight.cpu()), shown.labels[:, None]
    cos = x @ w.T  # (N, C)
    p = (loss.scale * cos).softmax(1)
    force = loss.scale * (p @ w - w[shown.labels])  # (N, d)
    pull = (force - (force * x).sum(1, keepdim=True) * x).norm(dim=1)  # (N,)
    right = cos.argmax(1) == shown.labels
    numbers = {
        "loss": F.cross_entropy(loss.scale * cos, shown.labels),
        "finished": (p.gather(1, own) > 0.9).double().mean(),
        "pull_right": pull[right].mean() if right.any() else 0.0,
        "pull_wrong": pull[~right].mean() if not right.all() else 0.0,
        "tenth": pull.sort(descending=True).values[: len(pull) // 10].sum() / pull.sum(),
    }
    return {name: float(value) for name, value in numbers.items()}


def dimension(x: Tensor) -> float:
    """The effective dimension (Σ e)² / Σ e² of unit embeddings, e the eigenvalues of their covariance.  (N, d)"""
    covariance = F.normalize(x.double()).T.cov()
    return float(covariance.trace() ** 2 / covariance.square().sum())


def run(wanted: Setting, seed: int, budget: str = "full") -> Any:
    """One row of the table; of digits one for each epoch."""
    if wanted["dim"] < 64:
        return on_digits(wanted["dim"], float(wanted["scale"]), seed, budget)
    trained = train(wanted, seed, budget)
    strangers = faces.people(wanted["split"], seed, budget == "smoke")
    x = embed(trained.net, strangers)
    if wanted["split"] == "tune":
        found = evaluate_all_pairs(x, strangers.labels)
        return {"eer": found.eer, "tar_1e3": found.tar_at(1e-3)}
    numbers = faces.measure(trained, seed, budget) | pulled(trained)
    return numbers | {"dimension": dimension(x), "end_scale": float(trained.loss.scale)}


def on_digits(dim: int, scale: float, seed: int, budget: str = "full") -> list[dict[str, float]]:
    """Train ten digits in `dim` dimensions: after each epoch the loss of the training set, and the test accuracy."""
    options, found = dict(SETTINGS["digits"]), []
    epochs = 1 if budget == "smoke" else options["epochs"]
    seed_everything(seed)
    net, head = DigitNet(dim, batchnorm=True), NormFace(dim, 10, scale=scale)
    shown, held_out = digits("train"), digits("test")

    @torch.no_grad()
    def look(epoch: int, record: dict[str, Any]) -> None:
        value = head(embed(net, shown).to(head.weight.device), shown.labels.to(head.weight.device))
        right = head.logits(embed(net, held_out).to(head.weight.device)).argmax(1).cpu() == held_out.labels
        found.append({"epoch": epoch, "loss": float(value), "test_accuracy": float(right.double().mean())})
        net.train()

    fit(net, head, shown, epochs=epochs, batch_size=options["batch_size"], lr=options["lr"], seed=seed, on_epoch=look)
    return found


def grid() -> Iterator[tuple[Setting, int]]:
    """What is chosen on `tune`; then what is claimed, a whole seed at a time."""
    tune, sgd, long, on = (SETTINGS[part] for part in ("tune", "sgd", "long", "digits"))
    for seed in tune["seeds"]:
        yield from ((setting(s, split="tune"), seed) for s in tune["scales"])
        yield from ((setting(s, lr=lr, split="tune"), seed) for s in sgd["lr"] for lr in tune["lr"])
    for seed in SETTINGS["seeds"]:
        yield from ((setting(s), seed) for s in [*SETTINGS["scales"], *SETTINGS["moving"]])
        yield from ((setting(s, lr=lr), seed) for s, lr in sgd_arms())
        yield from ((setting(s, long["epochs"]), seed) for s in long["scales"])
        yield from ((setting(s, on["epochs"], dim=d), seed) for d in on["dims"] for s in on["scales"])


def sgd_arms() -> list[tuple[str, float]]:
    """Scale and rate: s = 1 with eight times the rate of s = 8; then each scale with its own best rate."""
    lr = SETTINGS["sgd"]["lr"]
    return [("1", 8 * lr["8"]), *lr.items()]


def choose(table: pd.DataFrame) -> dict[str, Any]:
    """On `tune`, by the mean EER: AdamW's best scale, and SGD's best rate at each scale."""
    tuned = table[table["split"] == "tune"].groupby(["lr", "scale"])["eer"].mean()
    rates = {s: {lr: tuned[lr, s] for lr in SETTINGS["tune"]["lr"]} for s in SETTINGS["sgd"]["lr"]}
    return {"scale": str(tuned[0.0].idxmin()), "lr": {s: min(eer, key=eer.__getitem__) for s, eer in rates.items()}}


# ---- reading the table ----------------------------------------------------------------------------------------------


def difference(table: pd.DataFrame, number: str, ours: Any, base: Any, epochs: int = SETTINGS["epochs"]) -> pd.Series:
    """Ours - base, seed by seed, in points; two scales, or two settings."""
    ours, base = (one if isinstance(one, dict) else setting(one, epochs) for one in (ours, base))
    return 100 * paired(table, number, ours, base)


def means(table: pd.DataFrame, scale: Any, epochs: int = SETTINGS["epochs"], lr: float = 0.0) -> pd.Series:
    """Means over seeds of one setting on faces, rates in percent."""
    found = rows(table, setting(scale, epochs, lr=lr)).mean(numeric_only=True)
    rates = ["eer", "tar_1e3", "train_accuracy", "finished", "tenth"]
    return found.mask(found.index.isin(rates), 100 * found)


def summary(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table, a row for each scale."""
    found = []
    for scale in SETTINGS["scales"]:
        row = means(table, scale)
        rates = [f"{row[name]:.1f}" for name in ("tar_1e3", "train_accuracy")]
        found.append([str(scale), f"{row['eer']:.2f}", *rates, f"{row['dimension']:.0f}"])
    return ["s", "EER %", "TAR %", "training accuracy %", "effective dimension"], found


def longer(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """EER and TAR of the short and of the long training at three scales."""
    long = SETTINGS["long"]
    short, found = SETTINGS["epochs"], []
    for scale in long["scales"]:
        both = [means(table, scale, epochs) for epochs in (short, long["epochs"])]
        found.append([str(scale), *(f"{r['eer']:.2f}" for r in both), *(f"{r['tar_1e3']:.1f}" for r in both)])
    epochs = (short, long["epochs"])
    return ["s", *(f"EER %, {e} epochs" for e in epochs), *(f"TAR %, {e} epochs" for e in epochs)], found


def results_figure(table: pd.DataFrame) -> Figure:
    """EER and TAR of strangers against the scale, after a short and a long training; whom the loss still pulls."""
    fig, axes = plt.subplots(1, 3, figsize=(10.4, 3.3))
    scales, shade = SETTINGS["scales"], figures.colour("normface")
    trainings = (
        (SETTINGS["epochs"], scales, "#999999"),
        (SETTINGS["long"]["epochs"], SETTINGS["long"]["scales"], shade),
    )
    for ax, number in zip(axes, ("eer", "tar_1e3"), strict=False):
        for epochs, tried, dark in trainings:
            spreads = [lesson.interval(100 * rows(table, setting(s, epochs))[number]) for s in tried]
            half = [spread.half_width for spread in spreads]
            ax.errorbar(
                tried, [s.mean for s in spreads], half, fmt="o-", color=dark, capsize=3, label=f"{epochs} epochs"
            )
    for name, dash in (("pull_right", "-"), ("pull_wrong", "--")):
        pulls = [means(table, s)[name] / s for s in scales]
        axes[2].plot(scales, pulls, dash, marker="o", color=shade, label=f"named {name.removeprefix('pull_')}ly")
    titles = ("EER (%)", "TAR at FAR 1e-3 (%)", "pull on a training image / s")
    for ax, title in zip(axes, titles, strict=True):
        ax.set_xscale("log", base=2)
        ax.set_xticks(scales, [str(s) for s in scales])
        ax.set(xlabel="scale s", title=title, ylim=(0, None))
    axes[0].set(yscale="log", ylim=(1.8, 20), yticks=[2, 4, 8, 16], yticklabels=["2", "4", "8", "16"])
    axes[0].minorticks_off()
    axes[0].legend(loc="upper left")
    axes[2].legend()
    return fig


def floors_figure(table: pd.DataFrame) -> Figure:
    """The floor of the loss against the scale, and the loss of digits epoch by epoch coming down to it, or not."""
    on = SETTINGS["digits"]
    fig, axes = plt.subplots(1, len(on["dims"]), figsize=(9.6, 3.9), sharey=True)
    s = torch.linspace(0.5, 18, 200, dtype=torch.float64)
    for ax, dim in zip(axes, reversed(on["dims"]), strict=True):
        ax.plot(s, floor(s), color="#222222", label=r"floor, $d \geq 9$")
        if dim == 2:
            ax.plot(s, floor_in_the_plane(s), "--", color="#222222", label="best in the plane")
        for scale in on["scales"]:
            runs = rows(table, setting(scale, on["epochs"], dim=dim)).groupby("epoch")["loss"].mean()
            shades = plt.get_cmap("viridis")([0.85, 0.6, 0.35, 0.1])
            for epoch, colour in zip((1, 3, 6, on["epochs"]), shades, strict=True):
                label = f"after epoch {epoch}" if scale == on["scales"][0] else None
                ax.plot(scale, runs[epoch], "o", color=colour, label=label)
            ax.plot([scale, scale], [runs[1], runs[on["epochs"]]], color="#aaaaaa", linewidth=1, zorder=0)
        ax.set(yscale="log", ylim=(3e-8, 14), title=f"ten digits, d = {dim}", xlabel="scale s", xticks=on["scales"])
    axes[0].set_ylabel("loss of the training set")
    axes[1].legend(loc="lower left", fontsize=8)
    return fig


def shift(table: pd.DataFrame, scale: int) -> pd.Series:
    """How EER(scale) - EER(8) changes from the short to the long training, seed by seed, in points."""
    return difference(table, "eer", scale, 8, SETTINGS["long"]["epochs"]) - difference(table, "eer", scale, 8)


def with_sgd(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """SGD with momentum: each scale with its best rate, the small one with the large one's gradient too."""
    found = []
    for scale, lr in sgd_arms():
        row = means(table, scale, lr=lr)
        found.append([scale, f"{lr:g}", f"{row['eer']:.2f}", f"{row['tar_1e3']:.1f}", f"{row['dimension']:.0f}"])
    return ["s", "learning rate of SGD", "EER %", "TAR %", "effective dimension"], found


def moving(table: pd.DataFrame, number: str = "eer") -> dict[str, pd.Series]:
    """Differences to the fixed scale 8 of scales that move, in points."""
    names = {"s = 4, fixed": 4} | {f"s {name}": name for name in SETTINGS["moving"]}
    return {words: difference(table, number, name, 8) for words, name in names.items()}


# ---- bounds ---------------------------------------------------------------------------------------------------------


def floor(scale: Any, classes: int = 10) -> Tensor:
    """The least loss of NormFace where the classes may spread evenly: d >= C - 1."""
    scale = torch.as_tensor(scale, dtype=torch.float64)
    return torch.log1p((classes - 1) * torch.exp(-scale * classes / (classes - 1)))


def floor_in_the_plane(scale: Any, classes: int = 10) -> Tensor:
    """The loss of class directions evenly round the circle, each sample on its own."""
    scale = torch.as_tensor(scale, dtype=torch.float64)
    turn = torch.arange(classes, dtype=torch.float64) * 2 * math.pi / classes
    return (scale[..., None] * (turn.cos() - 1)).logsumexp(-1)


#: Settings in use: a panel of the figure, C, the smallest and the largest scale, whose.
IN_USE = ((0, 300, 8, 8, "this course"), (0, 10_575, 20, 30, "NormFace"), (1, 300, 8, 8, "this course"),
          (1, 10_575, 64, 64, "CosFace, ArcFace"))  # fmt: skip


def bounds_figure() -> Figure:
    """The scale that a perfect sample with rivals at 90 degrees needs for a wanted p_y, against C; settings in use."""
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.6), sharey=True)
    classes = torch.logspace(1, 6.3, 60, dtype=torch.float64)
    for p, shade in ((0.5, "#88CCEE"), (0.9, "#117733"), (0.99, "#332288")):
        axes[0].plot(classes, torch.log((classes - 1) * p / (1 - p)), color=shade, label=f"$p_y$ = {p:g}")
    axes[0].plot(classes, math.sqrt(2) * torch.log(classes - 1), "-.", color="#777777", label="AdaCos")
    margins = {"no margin": (1.0, "-"), "ArcFace, m = 0.5": (math.cos(0.5), "--"), "CosFace, m = 0.35": (0.65, ":")}
    for name, (target, dash) in margins.items():
        axes[1].plot(classes, torch.log((classes - 1) * 9) / target, dash, color="#117733", label=name)
    for panel, x, *ends, words in IN_USE:
        axes[panel].plot([x, x], ends, "o-", color="#CC6677", linewidth=2)
        away = (7, -11 if x == 300 else 2)
        axes[panel].annotate(words, (x, ends[1]), away, textcoords="offset points", fontsize=8)
    for ax, title in zip(axes, ("without a margin", "with a margin, $p_y$ = 0.9"), strict=True):
        ax.set(xscale="log", title=title, xlabel="number of classes C", ylim=(0, 72), xlim=(10, 2e6))
        ax.legend(loc="upper left", fontsize=8)
    axes[0].set_ylabel("scale s")
    return fig


# ---- forces ---------------------------------------------------------------------------------------------------------


def toy_samples() -> Tensor:
    """Samples on two rings in the plane; their class direction is (0, 1).  (N, 2)"""
    angle = torch.tensor([*range(-160, 0, 20), *range(20, 161, 20)], dtype=torch.float64).deg2rad()
    ring = torch.stack([angle.sin(), angle.cos()], 1)  # (16, 2)
    return torch.cat([ring, 1.7 * ring])


def force(x: Tensor, scale: float, classes: int = 300) -> Tensor:
    """-∂L/∂x over s of samples in the plane, all rivals at right angles to it; their pushes cancel.  (N, d)"""
    own, length = torch.tensor([0.0, 1.0], dtype=torch.float64), x.norm(dim=1, keepdim=True)
    cos = x @ own[:, None] / length  # (N, 1)
    return missing(cos, scale, classes) * (own - cos * x / length) / length


def draw_samples(ax: Axes, x: Tensor, scale: float) -> None:
    """Filled: the own class has the largest cosine."""
    shade = figures.CLASSES[0]
    ax.plot([0, 0], [0, 2.15], "--", color=shade, linewidth=1)
    for kind, fill in ((x[:, 1] > 1e-9, shade), (x[:, 1] <= 1e-9, "white")):
        ax.plot(*x[kind].T, "o", color=shade, markerfacecolor=fill, markersize=5)
    ax.set(xlim=(-2.1, 2.1), ylim=(-2.1, 2.2), aspect="equal")
    ax.text(-2.1, 1.9, f"s = {scale}", fontsize=12)
    ax.axis("off")


def forces_figure(scales: tuple[int, ...] = (4, 16, 64)) -> Figure:
    """The force on samples of one class, over s, at each scale: along the circle, shorter on longer samples."""
    x = toy_samples()
    fig, axes = plt.subplots(1, len(scales), figsize=(9.6, 3.5))
    for ax, scale in zip(axes, scales, strict=True):
        for radius in (1, 1.7):
            ax.add_patch(plt.Circle((0, 0), radius, fill=False, color="#cccccc", linewidth=0.8, zorder=0))
        draw_samples(ax, x, scale)
        style = {"angles": "xy", "scale_units": "xy", "scale": 1.7, "width": 0.009, "color": "#CC6677"}
        ax.quiver(*x.T, *force(x, scale).T, **style)
    return fig


def motion(scales: tuple[int, ...] = (4, 16, 64), steps: int = 40, rate: float = 0.09) -> list[dict[int, Tensor]]:
    """Samples that follow their force over s, with the class direction held fixed: their places at each step."""
    places, found = dict.fromkeys(scales, toy_samples()), []
    for _ in range(steps):
        found.append(dict(places))
        places = {s: x + rate * force(x, s) for s, x in places.items()}
    return found


def assets(folder: Path) -> None:
    """Samples moving under the loss at three scales, as a GIF."""

    def draw(places: dict[int, Tensor]) -> Figure:
        fig, axes = plt.subplots(1, len(places), figsize=(9.6, 3.5))
        for ax, (scale, x) in zip(axes, places.items(), strict=True):
            draw_samples(ax, x, scale)
        return fig

    figures.save_gif(folder / "07_motion.gif", draw, motion(), seconds=0.12, hold=2.0, dpi=75)
