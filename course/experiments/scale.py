"""Chapter 20: what a head costs with many classes, and what training on a tenth of them in each step does to strangers.

A thousand people with five pictures each, so that a tenth of the classes, 100, is more than a batch of 64 brings along.
The loss is NormFace, once with all classes and once with Partial FC's sample, at two scales. Controls: `corrected` adds
log(1/r) to every rival that was drawn, `lowered` has all classes and takes log(1/r) from every rival. Both are margins
(step 7 of the chapter). With `own lots` each sample draws rivals of its own: its denominator is that of `sampled`, but
every class row is met in every step, by a tenth of the batch, and moves.

Learning rates were chosen on people of the split "tune" with seeds of their own: `chosen` says from what. The limit was
fixed when these trainings had shown a gap of 0.7 and 1.25 points.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
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
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from facelearn import figures, lesson
from facelearn.data import SyntheticFaces, standard
from facelearn.losses import NormFace, step_costs, touched_rows_only
from facelearn.training import accuracy, embed
from facelearn.verification import all_pairs, evaluate_pairs

CHAPTER = "20_scale"
SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "people": {"identities": 1000, "images_per_identity": 5},
    "batch_size": 64,
    "epochs": 8,
    # share of the classes in a step; how the logits of the rivals are moved, in units of log(1/r) at r = 0.1
    "arms": {
        "full": [1.0, 0],
        "sampled": [0.1, 0],
        "corrected": [0.1, 1],
        "lowered": [1.0, -1],
        "own lots": [0.1, 0],
    },
    "rates": {"8": 3.2e-2, "32": 1.6e-2},
    # mean EER of seeds 2050 and 2051 on 200 people of "tune": {scale: {arm: {learning rate: EER}}}
    "chosen": {
        "8": {
            "full": {"0.008": 0.0435, "0.016": 0.0387, "0.032": 0.0374},
            "sampled": {"0.008": 0.0515, "0.016": 0.0459, "0.032": 0.0445},
        },
        "32": {
            "full": {"0.008": 0.0533, "0.016": 0.0442, "0.032": 0.0454},
            "sampled": {"0.008": 0.0698, "0.016": 0.0567, "0.032": 0.0610},
        },
    },
    "seeds": [2000, 2001, 2002, 2003, 2004],
    "few_seeds": [2000, 2001, 2002],
    "long": 16,
    "slow": 4e-3,
    "live_seed": 2010,
    "limit": 0.3,  # points of EER, fixed before the run on "open"
}
SCALES = (8, 32)
TUNE_SEEDS = (2050, 2051)
NAMES = {
    "full": "all classes",
    "sampled": "r = 0.1",
    "corrected": "r = 0.1, corrected",
    "lowered": "all, lowered",
    "own lots": "r = 0.1, own lots",
}


def setting(arm: str, scale: int, lr: float | None = None, split: str = "open") -> Setting:
    """What a row varies: which classes and which denominator, the scale, the learning rate, whom it is measured on."""
    lr = SETTINGS["rates"][str(scale)] if lr is None else lr
    return {"arm": arm, "scale": scale, "lr": lr, "epochs": SETTINGS["epochs"], "split": split}


def grid() -> Iterator[tuple[Setting, int]]:
    """A seed at a time, so that its people are drawn once: the claim, its controls, and what the rates come from."""
    for seed in SETTINGS["seeds"]:
        yield from ((setting(arm, s), seed) for s in SCALES for arm in ("full", "sampled"))
    for seed in SETTINGS["seeds"]:
        yield from ((setting("own lots", s), seed) for s in SCALES)
    for seed in SETTINGS["few_seeds"]:
        yield from ((setting(arm, s), seed) for s in SCALES for arm in ("corrected", "lowered"))
    for seed in TUNE_SEEDS:
        for scale in SCALES:
            for arm, found in SETTINGS["chosen"][str(scale)].items():
                yield from ((setting(arm, scale, float(lr), "tune"), seed) for lr in found)
    yield from ((setting(arm, 8, 6.4e-2, "tune"), TUNE_SEEDS[0]) for arm in ("full", "sampled"))


class Moved(NormFace):
    """NormFace whose target logit is lowered by a margin, which may be negative: CosFace refuses that.

    With `chance` below 1 each sample meets each rival with this chance, by a lot of its own.
    """

    margin, chance = 0.0, 1.0

    def target(self, cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        return cos - self.margin

    def others(self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        if self.chance == 1 or not self.training:
            return cos
        return cos.masked_fill(torch.rand_like(cos) >= self.chance, -torch.inf)


def shift(classes: int, rate: float = 0.1) -> float:
    """log(1/r), r being the chance that a given rival is drawn: n - 1 of the C - 1 others are."""
    drawn = math.ceil(rate * classes)
    return math.log((classes - 1) / (drawn - 1))


def head(wanted: Setting, dim: int, classes: int) -> NormFace:
    rate, moved = SETTINGS["arms"][wanted["arm"]]
    alone = wanted["arm"] == "own lots"
    loss = Moved(dim, classes, scale=wanted["scale"], sample_rate=1.0 if alone else rate, tile=None)
    loss.margin = moved * shift(classes) / wanted["scale"]
    loss.chance = math.exp(-shift(classes, rate)) if alone else 1.0
    return loss


@lru_cache(maxsize=2)
def people(seed: int, few: bool = False) -> SyntheticFaces:
    return standard("fit", seed=seed, **SETTINGS["people"] | ({"identities": 60} if few else {}))


def train(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    few = budget == "smoke"
    return faces.train(
        lambda dim, classes: head(wanted, dim, classes),
        seed,
        budget,
        epochs=SETTINGS["epochs"],
        shown=people(seed, few),
        batch_size=16 if few else SETTINGS["batch_size"],
        lr=wanted["lr"],
    )


live = lru_cache(maxsize=4)(lambda arm, scale, seed, budget: train(setting(arm, scale), seed, budget))


def count(z: Tensor) -> float:
    """How many rivals count: the median over the images of 1 / Σ q².  (N, n), -inf at the own class"""
    return float((1 / z.softmax(1).square().sum(1)).median())


@torch.no_grad()
def denominators(trained: Trained, rates: Sequence[float] = (0.1,), draws: int = 20) -> dict[str, float]:
    """Of training images: how far below the full log-sum-exp of the rivals the sampled one lies, and how it scatters.

    below, scatter   mean over images and draws, and the standard deviation of a draw, in units of a logit
    rivals           1 / Σ q², q the softmax over the rivals: how many of them count; the median over the images;
                     rivals_100: among the first hundred classes alone
    """
    net, loss, shown = trained
    generator = torch.Generator().manual_seed(0)
    x, s = embed(net, shown).cpu(), loss.scale
    pick = torch.randperm(len(x), generator=generator)[:500]
    z = s * F.normalize(x[pick]) @ F.normalize(loss.weight.cpu()).T  # (500, C)
    z = z.scatter(1, shown.labels[pick][:, None], -torch.inf)
    every, C = z.logsumexp(1), z.shape[1]
    found = {"rivals": count(z), **{f"rivals_{few}": count(z[:, :few]) for few in (100, 300)}}
    for rate in rates:
        few, gaps = math.ceil(rate * C) - 1, []
        for _ in range(draws):
            lot = torch.rand(z.shape, generator=generator).masked_fill(z == -torch.inf, 2.0)
            kept = lot.argsort(1)[:, :few]
            gaps.append(every - z.gather(1, kept).logsumexp(1))
        gap = torch.stack(gaps)  # (draws, 500)
        found[f"below_{rate:g}"], found[f"scatter_{rate:g}"] = float(gap.mean()), float(gap.std(0).mean())
    return found


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row.

    eer, tar_1e2 …   strangers, all pairs; train_accuracy, target_angle: `faces.measure`
    dimension        effective dimension of the strangers' embeddings
    below_0.1 …      `denominators`, of nets trained with all classes
    """
    trained, few = train(wanted, seed, budget), budget == "smoke"
    if wanted["split"] == "tune":
        others = standard("tune", seed=seed, identities=30 if few else 200)
        met = evaluate_pairs(embed(trained.net, others), *all_pairs(others.labels))
        tars = {"tar_1e2": met.tar_at(1e-2), "tar_1e3": met.tar_at(1e-3)}
        return {"eer": met.eer, **tars, "train_accuracy": accuracy(*trained)}
    found = faces.measure(trained, seed, budget)
    found["dimension"] = dimension(embed(trained.net, faces.people("open", seed, few)))
    if wanted["arm"] == "full":
        found |= denominators(trained, (0.03, 0.1, 0.3, 0.5))
    return found


# ---- memory ---------------------------------------------------------------------------------------------------------


class Alive(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive while something runs; `peak` is the most there were at once."""

    def __init__(self, *known: Any) -> None:
        super().__init__()
        self.held: dict[int, tuple[StorageWeakRef, int]] = {}
        self.peak = self._look(known)

    def _look(self, found: Any) -> int:
        for one in tree_leaves(found):
            if isinstance(one, Tensor) and one.layout is torch.strided:
                storage = one.untyped_storage()
                at = StorageWeakRef(storage)
                self.held[at.cdata] = (at, storage.nbytes())
        self.held = {key: held for key, held in self.held.items() if not held[0].expired()}
        return sum(size for _, size in self.held.values())

    def __torch_dispatch__(self, act: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = act(*args, **(kwargs or {}))
        self.peak = max(self.peak, self._look((args, out)))
        return out


def measured(classes: int, dim: int, batch: int, *, optimizer: str = "AdamW", **options: Any) -> int:
    """Bytes at the highest point of a training step of `NormFace`, forward, backward and optimiser."""
    generator = torch.Generator().manual_seed(0)
    head, x = NormFace(dim, classes, **options), torch.randn(batch, dim, generator=generator)
    y = torch.randint(classes, (batch,), generator=generator)
    make: dict[str, Any] = {
        "SGD": torch.optim.SGD,
        "momentum": partial(torch.optim.SGD, momentum=0.9, weight_decay=5e-4),
        "AdamW": torch.optim.AdamW,
    }
    optim = make[optimizer](head.parameters(), lr=0.01)
    touched_rows_only(optim)

    def step() -> None:
        optim.zero_grad(set_to_none=True)
        head(x.detach().requires_grad_(), y).backward()
        optim.step()

    step()  # the optimiser's state is made in the first
    optim.zero_grad(set_to_none=True)
    with Alive(list(head.parameters()), list(optim.state.values()), x) as counter:
        step()
    return int(counter.peak)


def against_the_formula(sizes: Sequence[int] = (20_000, 60_000), dim: int = 64, batch: int = 128) -> list[list[str]]:
    """Rows of a table: peaks that are measured now, and what `step_costs` says, in MB."""
    ways: dict[str, dict[str, Any]] = {
        "dense": {"tile": None},
        "tiles": {},
        "tiles, r = 0.1": {"sample_rate": 0.1},
    }
    lines = []
    for name, options in ways.items():
        for classes in sizes:
            found, said = measured(classes, dim, batch, **options), step_costs(classes, dim, batch, **options).memory
            lines.append([f"{name}, C = {classes:,}", f"{found / 1e6:.0f}", f"{said / 1e6:.0f}", f"{said / found:.2f}"])
    return lines


WAYS: dict[str, dict[str, Any]] = {
    "dense": {"tile": None},
    "tiles": {},
    "dense, 8 ranks": {"tile": None, "ranks": 8},
    "tiles, 8 ranks": {"ranks": 8},
    "tiles, 8 ranks, r = 0.1": {"ranks": 8, "sample_rate": 0.1},
}
PARTS = {"weights": figures.BLUE, "gradient": "#56B4E9", "optimizer": "#E69F00", "scratch": figures.ORANGE}


def draw_bars(sizes: Sequence[int] = (100_000, 1_000_000, 10_000_000)) -> Figure:
    """Memory by part, a panel for each number of classes; dashed: a laptop's 16 GB, a GPU's 80 GB."""
    fig, axes = plt.subplots(1, len(sizes), figsize=(9.6, 3.6), sharey=True)
    for ax, classes in zip(axes, sizes, strict=True):
        most = step_costs(classes, 512, 1024, tile=None).memory / 1e9
        for line, name in ((16, "16 GB, laptop"), (80, "80 GB, GPU")):
            if line < 1.2 * most:
                ax.axvline(line, color="#333333", linestyle="--", linewidth=1, zorder=0)
                if line > 0.15 * most:
                    ax.text(line + 0.015 * most, 4.5, name, fontsize=8, ha="left", va="bottom", rotation=90)
        for row, options in enumerate(WAYS.values()):
            found, at = step_costs(classes, 512, 1024, **options), 0.0
            for part, shade in PARTS.items():
                size = getattr(found, part) / 1e9
                ax.barh(row, size, left=at, color=shade, height=0.62, label=part if row == 0 else None)
                at += size
            digits, box = 0 if at >= 100 else 1 if at >= 1 else 2, {"facecolor": "white", "edgecolor": "none", "pad": 1}
            ax.text(at + 0.02 * most, row, f"{at:.{digits}f}", va="center", fontsize=8, bbox=box)
        ax.set(title=f"C = {classes:,}", xlabel="GB on each device", xlim=(0, 1.2 * most), ylim=(4.6, -0.6))
    axes[0].set_yticks(range(len(WAYS)), list(WAYS))
    axes[0].legend(fontsize=7, loc="lower right")
    return fig


# ---- reading the table ----------------------------------------------------------------------------------------------


def less_full(table: pd.DataFrame, arm: str, scale: int, number: str = "eer", **more: Any) -> pd.Series:
    """A number of this arm less that of all classes, seed by seed, in points."""
    return 100 * paired(table, number, setting(arm, scale, **more), setting("full", scale, **more))


def by_arm(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Strangers under all classes and under a tenth of them."""
    lines = []
    for scale in SCALES:
        for arm in ("full", "sampled"):
            one = rows(table, setting(arm, scale))
            more = f"{lesson.interval(less_full(table, arm, scale)):+.2f}" if arm != "full" else ""
            numbers = [f"{100 * one['eer'].mean():.2f}", more, f"{100 * one['tar_1e3'].mean():.1f}"]
            lines.append([f"s = {scale}, {NAMES[arm]}", *numbers, f"{one['dimension'].mean():.1f}"])
    return ["", "EER %", "less all, points", "TAR % at FAR 1e-3", "effective dimension"], lines


def by_cause(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """What each part of the sample costs alone: less all classes, seed by seed."""
    lines = []
    for arm in ("lowered", "own lots", "sampled", "corrected"):
        cells = []
        for scale in SCALES:
            found, tar = (less_full(table, arm, scale, number) for number in ("eer", "tar_1e3"))
            cells += [f"{lesson.interval(found):+.2f}", f"{tar.mean():+.1f}"]
        lines.append([f"{NAMES[arm]} ({len(found)} seeds)", *cells])
    return ["less all classes, points", "EER, s = 8", "TAR 1e-3", "EER, s = 32", "TAR 1e-3"], lines


def against_lots(table: pd.DataFrame, arm: str = "own lots") -> dict[int, pd.Series]:
    """What Partial FC costs more than this arm, points of EER, seed by seed."""
    return {s: (less_full(table, "sampled", s) - less_full(table, arm, s)).dropna() for s in SCALES}


def paired_costs(table: pd.DataFrame) -> str:
    """The same as text."""
    lines = ["r = 0.1 less a control, points of EER, paired by seed"]
    for arm in ("own lots", "corrected"):
        both = "   ".join(f"s = {s}: {lesson.interval(gap):+.2f}" for s, gap in against_lots(table, arm).items())
        lines.append(f"{arm:10s} {both}")
    return "\n".join(lines)


def at_other_rates(table: pd.DataFrame) -> str:
    """What a tenth of the classes costs on people of "tune", at each rate tried: points of EER, means of two seeds."""
    lines = ["on tune, r = 0.1 less all, points of EER, at the rates"]
    for scale in SCALES:
        rates = SETTINGS["chosen"][str(scale)]["full"]
        cost = [less_full(table, "sampled", scale, lr=float(lr), split="tune").mean() for lr in rates]
        lines.append(f"s = {scale:2d}  " + "   ".join(f"{lr}: {c:+.2f}" for lr, c in zip(rates, cost, strict=True)))
    return "\n".join(lines)


def gaps(table: pd.DataFrame) -> str:
    """What the verdict rests on."""
    found = ["r = 0.1 less all classes, points of EER; of TAR at FAR 1e-3"]
    for s in SCALES:
        eer, tar = (lesson.interval(less_full(table, "sampled", s, number)) for number in ("eer", "tar_1e3"))
        found.append(f"s = {s:2d}  {eer:+.2f}   {tar:+.1f}")
    return "\n".join(found)


def counted(table: pd.DataFrame) -> str:
    """How many rivals count among some of the classes, and how a draw at r = 0.1 scatters."""
    lines = ["rivals that count, among 100, 300, 1,000 classes; a draw of a tenth: below by, scatter"]
    for s in SCALES:
        one = rows(table, setting("full", s)).mean(numeric_only=True)
        many = "  ".join(f"{one[name]:4.1f}" for name in ("rivals_100", "rivals_300", "rivals"))
        lines.append(f"s = {s:2d}  {many}; {one['below_0.1']:.2f}, {one['scatter_0.1']:.2f}")
    return "\n".join(lines)


def holds(table: pd.DataFrame) -> bool:
    """The claim: at both scales a tenth of the classes costs more than the limit."""
    return all(lesson.interval(less_full(table, "sampled", s)).low > SETTINGS["limit"] for s in SCALES)


def live_gap(budget: str, scale: int = 8) -> float:
    """The same of two nets that are trained now, in points of EER."""
    seed, found = SETTINGS["live_seed"], {}
    for arm in ("full", "sampled"):
        found[arm] = faces.measure(live(arm, scale, seed, budget), seed, budget)["eer"]
        print(f"s = {scale}, {NAMES[arm]}: EER {found[arm]:.2%}")
    return 100 * (found["sampled"] - found["full"])


def second_order(rate: float, rivals: float) -> float:
    """Step 6: how far the sampled log-sum-exp lies below the full one on average."""
    return math.log(1 / rate) + (1 - rate) / (2 * rate * rivals)


# ---- figures --------------------------------------------------------------------------------------------------------


def chances(classes: int = 1000) -> dict[str, float]:
    """The chance r of a rival to be drawn, for each share of `denominators`."""
    return {f"{share:g}": math.exp(-shift(classes, share)) for share in (0.03, 0.1, 0.3, 0.5)}


def draw_bias(table: pd.DataFrame) -> Figure:
    """How far the sampled log-sum-exp lies below the full one: measured, and by the two formulas of step 6."""
    fig, axes = plt.subplots(1, 2, figsize=(9.2, 3.5), sharey=True)
    grid_ = torch.linspace(0.028, 0.6, 120).tolist()
    for ax, scale in zip(axes, SCALES, strict=True):
        seen = rows(table, setting("full", scale))
        rivals = float(seen["rivals"].mean())
        ax.plot(grid_, [math.log(1 / r) for r in grid_], color="#777777", label="log(1/r)")
        line = [second_order(r, rivals) for r in grid_]
        ax.plot(grid_, line, color=figures.BLUE, linestyle="--", label="second order")
        for key, chance in chances().items():
            mean, spread = seen[f"below_{key}"].mean(), seen[f"scatter_{key}"].mean()
            ax.errorbar(chance, mean, yerr=spread, fmt="o", color=figures.ORANGE, markersize=5, capsize=3)
        ax.plot([], [], "o", color=figures.ORANGE, label="measured")
        ax.set(title=f"s = {scale}: {rivals:.0f} rivals count", xlabel="r", ylim=(0, 7.4), xlim=(0, 0.6))
    axes[0].set_ylabel("below the full log-sum-exp")
    axes[0].legend(fontsize=8)
    return fig


def draw_gaps(table: pd.DataFrame) -> Figure:
    """EER of each arm less that with all classes, seed by seed."""
    found, shades = {}, []
    for scale in SCALES:
        for arm in ("lowered", "own lots", "sampled", "corrected"):
            found[f"s = {scale}, {NAMES[arm]}"] = less_full(table, arm, scale)
            shades.append(figures.ORANGE if scale == 8 else figures.BLUE)
    fig = lesson.dots(found, "EER less that with all classes, points; dashed: the limit", shades=shades)
    fig.axes[0].axvline(SETTINGS["limit"], color="#777777", linestyle="--", linewidth=1)
    return fig


def on_sphere(count: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)))


def draw_pull(classes: int = 100, few: int = 10, draws: int = 40) -> Figure:
    """Looking down on one sample on a sphere: the force on it from all rivals, and from each of many draws."""
    generator = torch.Generator().manual_seed(4)
    weight = on_sphere(classes, 8)
    weight[0] = F.normalize(torch.tensor([0.55, 0.1, 0.8]), dim=0)
    fig, axes = plt.subplots(1, 2, figsize=(9.2, 4.1))
    for ax, scale in zip(axes, SCALES, strict=True):

        def force(chosen: Tensor, scale: int = scale) -> Tensor:
            x = torch.tensor([[0.0, 0.0, 1.0]], requires_grad=True)
            z = scale * F.normalize(x) @ weight[chosen].T  # the own class comes first
            (slope,) = torch.autograd.grad(F.cross_entropy(z, torch.tensor([0])), x)
            return -slope[0, :2] / scale

        near = weight[1:][weight[1:, 2] > 0]
        ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="#cccccc", linewidth=0.8))
        ax.scatter(*near[:, :2].T, s=14, color="#999999")
        ax.scatter(*weight[:1, :2].T, s=60, color=figures.BLUE, marker="s", zorder=4)
        arrow = {"angles": "xy", "scale_units": "xy", "scale": 1.0}
        whole, drawn = force(torch.arange(classes)), []
        for _ in range(draws):
            others = 1 + torch.randperm(classes - 1, generator=generator)[:few]
            drawn.append(force(torch.cat([torch.tensor([0]), others])))
            ax.quiver(0, 0, *drawn[-1], color=figures.ORANGE, width=0.004, alpha=0.65, zorder=3, **arrow)
        turn = F.cosine_similarity(torch.stack(drawn), whole[None]).clamp(-1, 1).arccos().rad2deg().mean()
        ax.quiver(0, 0, *whole, color="#111111", width=0.009, zorder=5, **arrow)
        ax.plot(0, 0, "o", color="#111111", markersize=5)
        ax.set(
            title=f"s = {scale}: a draw is off by {turn:.0f}°", xlim=(-1.05, 1.15), ylim=(-1.05, 1.05), aspect="equal"
        )
        ax.axis("off")
    return fig


def motion(rate: float, steps: int = 60, classes: int = 18, seed: int = 3) -> list[tuple[Tensor, Tensor]]:
    """Class rows on a circle, each with samples at its own place, trained by SGD: (rows, which were met) a step."""
    generator = torch.Generator().manual_seed(seed)
    home = torch.arange(classes) * 2 * math.pi / classes
    start = home + 0.8 * (2 * torch.rand(classes, generator=generator) - 1)
    head = NormFace(2, classes, scale=8, sample_rate=rate)
    with torch.no_grad():
        head.weight.copy_(torch.stack([start.cos(), start.sin()], 1))
    optimizer = torch.optim.SGD(head.parameters(), lr=0.25)
    touched_rows_only(optimizer)
    samples, found = torch.stack([home.cos(), home.sin()], 1), []
    torch.manual_seed(seed)
    for _ in range(steps + 1):
        y = torch.randperm(classes, generator=generator)[:2]
        optimizer.zero_grad(set_to_none=True)
        head(samples[y], y).backward()
        grad, met = head.weight.grad, torch.ones(classes, dtype=torch.bool)
        if grad is not None and grad.layout is torch.sparse_coo:
            met = torch.zeros(classes, dtype=torch.bool).index_fill_(0, grad.coalesce().indices()[0], True)
        found.append((F.normalize(head.weight.detach()).clone(), met))
        optimizer.step()
    return found


def draw_rows(ax: Axes, way: list[tuple[Tensor, Tensor]], step: int, title: str) -> None:
    """Rows as dots, tied to where their samples lie; those of this step's sample in orange, with their way so far."""
    now, met = way[step]
    home = torch.arange(len(now)) * 2 * math.pi / len(now)
    places = 0.72 * torch.stack([home.cos(), home.sin()], 1)
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="#dddddd"))
    for j in range(len(now)):
        track = torch.stack([one[j] for one, _ in way[: step + 1]])
        shade = figures.ORANGE if met[j] else "#8a8a8a"
        ax.plot(*(1.0 * track.T), color=shade, linewidth=1.6, alpha=0.6)
        ax.plot(*torch.stack([places[j], now[j]]).T, color="#bbbbbb", linewidth=0.7)
        ax.plot(*now[j], "o", color=shade, markersize=7 if met[j] else 5)
    ax.plot(*places.T, "s", color=figures.BLUE, markersize=4)
    ax.set(title=f"{title}, step {step}", xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
    ax.axis("off")


def assets(folder: Path) -> None:
    """Class rows that find their samples: all of them in every step, or a third."""
    ways = {"all rows": motion(1.0), "r = 1/3": motion(1 / 3)}

    def draw(step: int) -> Figure:
        fig, axes = plt.subplots(1, 2, figsize=(7.6, 4.0))
        for ax, (title, way) in zip(axes, ways.items(), strict=True):
            draw_rows(ax, way, step, title)
        return fig

    figures.save_gif(folder / "20_rows.gif", draw, [*range(24), *range(24, 61, 4)], seconds=0.25, hold=2.5, dpi=75)
