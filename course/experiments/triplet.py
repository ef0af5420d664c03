"""Chapter 05: which triplets teach. One net is trained with each rule of mining, and measured on strangers.

A rule marks, for every ordered pair (a, p) of images of one person, the negatives that it takes; the loss is the mean
over all triplets marked. "of 16" takes the nearest of 16 negatives drawn at random: with 1 that is a random triplet,
with all of the batch the hardest.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from experiments import faces
from experiments.faces import Setting, Trained, paired, rows
from experiments.l2_softmax import dimension
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from facelearn import figures, lesson
from facelearn.data.samplers import PKBatches
from facelearn.losses.blocks import centred
from facelearn.losses.margin import unit
from facelearn.models import SmallFaceNet
from facelearn.training import ShiftAndGain, embed, fit, seed_everything
from facelearn.verification import evaluate_all_pairs

__all__ = ["paired", "rows"]  # the chapter calls them from here

CHAPTER = "05_triplet"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": 8,
    "margins": [0.2, 0.8],  # the first as in course/settings.json
    "batches": [32, 4],  # P x K
    "drawn": [1, 4, 16, 64, 124],  # the nearest of so many
    "other": ["all", "semi-hard", "batch-hard"],
    "conventions": ["nearest", "nearest, else farthest", "nearest, else largest nearer"],
    "seeds": [560, 561, 562, 563, 564, 570],
    "live_seed": 571,
    "tune": [550, 551],  # seeds with which the best of `drawn` is chosen, on people of their own
    "rates": [1e-3, 1.6e-2],  # there alone: a quarter of the learning rate, and four times it, of random, best, hardest
    "rated": [1, 64, 124],
    "long": {"epochs": 24, "rules": ["of 1", "of 64", "of 124", "batch-hard"], "seeds": [560, 561, 562]},
}


def setting(rule: str, *, margin: float = 0.2, distance: str = "squared", batches: str = "P x K", last: bool = True,
            split: str = "open", lr: float = 4e-3, epochs: int = 8) -> Setting:  # fmt: skip
    """What a row varies. `last`: does the net end in a batch normalisation, as everywhere else?"""
    return {
        "split": split,
        "rule": rule,
        "margin": margin,
        "distance": distance,
        "batches": batches,
        "last": last,
        "lr": lr,
        "epochs": epochs,
    }


# ---- mining ---------------------------------------------------------------------------------------------------------


def only(place: Tensor, allowed: Tensor) -> Tensor:
    """One negative for each pair, where that is allowed.  (P,), (P, B) -> (P, B)"""
    return torch.zeros_like(allowed).scatter_(1, place[:, None], True) & allowed


def mine(rule: str, d_ap: Tensor, d_an: Tensor, a: Tensor, margin: float) -> Tensor:
    """The negatives that a rule takes for each pair (a, p).  (P, 1), (P, B), inf where not negative, (P,) -> (P, B)"""
    negative, beyond = d_an < torch.inf, d_an > d_ap
    band, beyond = beyond & (d_an < d_ap + margin), beyond & negative
    if rule == "all":
        return negative
    if rule == "semi-hard":
        return band
    if rule == "batch-hard":  # the farthest positive of each anchor, and its nearest negative
        farthest = d_ap.new_full((int(a.max()) + 1,), -torch.inf).scatter_reduce(0, a, d_ap[:, 0], "amax")
        return only(d_an.argmin(1), negative & (d_ap[:, 0] == farthest[a])[:, None])
    if rule.startswith("of "):
        luck = torch.rand(d_an.shape).to(d_an.device).masked_fill(~negative, -1.0)
        drawn = (
            torch.zeros_like(negative).scatter_(1, luck.topk(min(int(rule[3:]), len(luck[0])), 1).indices, True)
            & negative
        )
        return only(d_an.where(drawn, torch.inf).argmin(1), drawn)
    nearest = only(d_an.where(band, torch.inf).argmin(1), band)
    if rule == "nearest":
        return nearest
    if rule == "nearest, else farthest":  # of those beyond the positive, even beyond the band
        first, last = d_an.where(beyond, torch.inf).argmin(1), d_an.where(negative, -torch.inf).argmax(1)
        return only(torch.where(beyond.any(1), first, last), negative)
    if rule == "nearest, else largest nearer":
        nearer = negative & ~beyond
        largest = only(d_an.where(nearer, -torch.inf).argmax(1), nearer)
        return torch.where(band.any(1, keepdim=True), nearest, largest)
    raise ValueError(f"rule={rule!r}: expected another")


class Mined(nn.Module):
    """Triplet loss over the triplets of a rule, squared or plain distances; `seen` has numbers of every step."""

    compares = True

    def __init__(self, rule: str, margin: float, distance: str) -> None:
        super().__init__()
        self.rule, self.margin, self.distance = rule, margin, distance
        self.seen: list[dict[str, float]] = []

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        x = centred(unit(embeddings))
        squares = x.square().sum(1)
        d = (squares[:, None] + squares - 2 * x @ x.T).clamp(min=0)  # (B, B)
        if self.distance == "plain":
            d = (d + 1e-12).sqrt()
        same = labels[:, None] == labels
        a, p = (same & ~torch.eye(len(same), dtype=torch.bool, device=d.device)).nonzero(as_tuple=True)
        d_ap, d_an = d[a, p][:, None], d[a].masked_fill(same[a], torch.inf)  # (P, 1), (P, B)
        mined = mine(self.rule, d_ap.detach(), d_an.detach(), a, self.margin) if len(a) else same[:0]
        losses = ((d_ap - d_an)[mined] + self.margin).clamp(min=0)
        count = max(len(losses), 1)
        loss = losses.sum() / count + 0 * embeddings.sum()  # none mined: 0, and still a graph
        pairs = mined.any(1).sum() / max(len(a), 1)
        found = {"active": (losses > 0).sum() / count, "pairs": pairs, "loss": loss, "apart": d[~same].mean()}
        self.seen.append({"triplets": float(len(losses))} | {name: float(v.detach()) for name, v in found.items()})
        return loss


def of_the_epoch(seen: list[dict[str, float]], epoch: int) -> dict[str, float]:
    """Means over the steps of the last of so many epochs."""
    return dict(pd.DataFrame(seen[-(len(seen) // epoch) :]).mean())


def train(
    wanted: Setting,
    seed: int,
    budget: str = "full",
    look: Callable[[Trained, int], None] | None = None,
    on_step: Callable[[nn.Module, int], None] | None = None,
) -> Trained:
    """One training on faces with the batches of the setting; `look` sees the net after each epoch, `on_step` before
    each step."""
    few = budget == "smoke"
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"], final_batchnorm=wanted["last"])
    loss = Mined(wanted["rule"], wanted["margin"], wanted["distance"])
    trained = Trained(net, loss, faces.people("fit", seed, few))
    people, images = SETTINGS["batches"]
    options = {
        "augment": ShiftAndGain(),
        **SETTINGS["training"],
        "lr": wanted["lr"],
        "epochs": 1 if few else wanted["epochs"],
    }
    if wanted["batches"] == "P x K":
        options["batches"] = PKBatches(16 if few else people, images)

    def on_epoch(epoch: int, record: dict[str, Any]) -> None:
        if look is not None:
            look(trained, epoch)
            net.train()

    def before(step: int, total: int) -> None:
        if on_step is not None:
            on_step(net, step)

    fit(net, loss, trained.faces, seed=seed, on_epoch=on_epoch, on_step=before, **options)
    return trained


def grid() -> Iterator[tuple[Setting, int]]:
    """First what is chosen on `tune`; then the claim, its repetition at another margin, and the ablations."""
    for seed in SETTINGS["tune"]:
        for margin in SETTINGS["margins"]:
            yield from ((setting(f"of {k}", margin=margin, split="tune"), seed) for k in SETTINGS["drawn"])
        for lr in SETTINGS["rates"]:
            yield from ((setting(f"of {k}", split="tune", lr=lr), seed) for k in SETTINGS["rated"])
    for seed in SETTINGS["seeds"]:
        yield from ((setting(rule), seed) for rule in main_rules())
        yield from ((setting(f"of {k}", margin=SETTINGS["margins"][1]), seed) for k in SETTINGS["drawn"])
        yield from ((setting(rule), seed) for rule in SETTINGS["conventions"])
        yield setting("semi-hard", batches="random"), seed
        yield from ((arm, seed) for arm in collapse_arms()[1:])
    long = SETTINGS["long"]
    for seed in long["seeds"]:
        yield from ((setting(rule, epochs=long["epochs"]), seed) for rule in long["rules"])


def main_rules() -> list[str]:
    return [f"of {k}" for k in SETTINGS["drawn"]] + SETTINGS["other"]


def collapse_arms() -> list[Setting]:
    """Batch-hard, squared and plain distances, with and without the last batch normalisation; the first is known."""
    arms = [setting("batch-hard", distance=d, last=last) for last in (True, False) for d in ("squared", "plain")]
    return [*arms, setting("semi-hard", last=False)]


def run(wanted: Setting, seed: int, budget: str = "full") -> list[dict[str, float]]:
    """A row for each epoch, of the rules of the main table; else one for the last.

    eer, tar_1e3, dimension   of strangers; the dimension is that of chapter 06, of all their unit embeddings
    active, triplets, loss    means over the steps of the epoch: share of the mined triplets with a loss above 0, ...
    apart                     mean squared distance of two people in a batch
    cpu_seconds               of training up to here, in this process
    """
    strangers, found = faces.people(wanted["split"], seed, budget == "smoke"), []
    faces.people("fit", seed, budget == "smoke")
    spent, began = 0.0, time.process_time()
    every = wanted in [setting(rule) for rule in main_rules()]

    def look(trained: Trained, epoch: int) -> None:
        nonlocal spent, began
        spent += time.process_time() - began
        if every or budget == "smoke" or epoch == wanted["epochs"]:
            x = embed(trained.net, strangers)
            result, steps = evaluate_all_pairs(x, strangers.labels), of_the_epoch(trained.loss.seen, epoch)
            rates = {"eer": result.eer, "tar_1e3": result.tar_at(1e-3), "dimension": dimension(x)}
            found.append({"epoch": epoch, **rates, **steps, "cpu_seconds": round(spent, 2)})
        began = time.process_time()

    train(wanted, seed, budget, look)
    return found


# ---- what the chapter reads off the table ---------------------------------------------------------------------------


def last(table: pd.DataFrame, wanted: Setting) -> pd.DataFrame:
    """The rows of a setting after the last epoch, indexed by seed."""
    return rows(table[table["epoch"] == wanted["epochs"]], wanted)


def difference(table: pd.DataFrame, number: str, ours: Setting, base: Setting) -> pd.Series:
    """Ours - base after the last epoch, seed by seed, in points."""
    return 100 * (last(table, ours)[number] - last(table, base)[number])


def nearest_of(k: int, margin: float = 0.2) -> Setting:
    return setting(f"of {k}", margin=margin)


def choose(table: pd.DataFrame, margin: float = 0.2) -> int:
    """Of the numbers tried the one with the lowest mean EER on `tune`."""
    tried = {k: setting(f"of {k}", margin=margin, split="tune") for k in SETTINGS["drawn"]}
    return min(tried, key=lambda k: last(table, tried[k])["eer"].mean())


def longer(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """The short and the long training, means over the same seeds."""
    found, long = [], SETTINGS["long"]
    for rule in long["rules"]:
        arms = [last(table, setting(rule, epochs=epochs)) for epochs in (SETTINGS["epochs"], long["epochs"])]
        short, late = (arm.loc[long["seeds"]] for arm in arms)
        name = "a random one" if rule == "of 1" else rule.replace("of", "nearest of")
        found.append([name, *(f"{100 * arm[n].mean():.1f}" for n in ("eer", "tar_1e3") for arm in (short, late))])
    return [
        "negatives taken",
        *(f"{rate} %, {n} epochs" for rate in ("EER", "TAR") for n in (8, long["epochs"])),
    ], found


def rates(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """EER on `tune` at three learning rates, means of two seeds."""
    found = []
    for lr in sorted([*SETTINGS["rates"], 4e-3]):
        arms = [setting(f"of {k}", split="tune", lr=lr) for k in SETTINGS["rated"]]
        found.append([f"{lr:g}", *(f"{100 * last(table, arm)['eer'].mean():.2f}" for arm in arms)])
    return ["learning rate", *(f"k = {k}, EER %" for k in SETTINGS["rated"])], found


def catches_up(table: pd.DataFrame) -> pd.Series:
    """After the long training: EER of the hardest less that of random negatives, seed by seed, in points."""
    hardest, random = (setting(f"of {k}", epochs=SETTINGS["long"]["epochs"]) for k in (124, 1))
    return difference(table, "eer", hardest, random).dropna()


def rises(table: pd.DataFrame, margin: float = 0.2) -> bool:
    """Does the share of active triplets rise at every step of k, in the interval of the paired differences?"""
    steps = zip(SETTINGS["drawn"], SETTINGS["drawn"][1:], strict=False)
    found = (difference(table, "active", nearest_of(b, margin), nearest_of(a, margin)) for a, b in steps)
    return all(lesson.interval(points).low > 0 for points in found)


def summary(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the main table: means over seeds after the last epoch."""
    names = {f"of {k}": f"nearest of {k}" for k in SETTINGS["drawn"] if k != 4} | {"of 1": "a random one"}
    names |= {"semi-hard": "semi-hard", "batch-hard": "batch-hard"}
    found = []
    for rule, name in names.items():
        row = last(table, setting(rule)).mean(numeric_only=True)
        shares = [f"{100 * row[number]:.{digits}f}" for number, digits in (("active", 0), ("eer", 2), ("tar_1e3", 1))]
        found.append([name, *shares, f"{row['dimension']:.1f}"])
    return ["negatives taken", "active %", "EER %", "TAR %", "effective dimension"], found


def standing(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Semi-hard mining epoch by epoch: the number of triplets falls, their mean loss does not."""
    means = rows(table, setting("semi-hard")).groupby("epoch")[["triplets", "loss", "eer"]].mean()
    found = [
        [str(epoch), f"{row['triplets']:,.0f}", f"{row['loss']:.3f}", f"{100 * row['eer']:.1f}"]
        for epoch, row in means.loc[[1, 2, 4, 8]].iterrows()
    ]
    return ["epoch", "semi-hard triplets in a batch", "their mean loss", "EER of strangers %"], found


def collapse(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Batch-hard with squared and plain distances, with and without the last batch normalisation."""
    found = []
    for arm in collapse_arms():
        row = last(table, arm).mean(numeric_only=True)
        name = f"{arm['rule']}, {arm['distance']}{'' if arm['last'] else ', no last BN'}"
        rest = (f"{row['loss']:.3f}", f"{row['apart']:.3f}", f"{row['dimension']:.1f}", f"{100 * row['eer']:.1f}")
        found.append([name, *rest])
    return ["rule, distances", "mean loss", "d_an", "effective dimension", "EER %"], found


def others(table: pd.DataFrame, number: str = "eer") -> dict[str, pd.Series]:
    """Differences to semi-hard as the package has it (every negative of the ring), in points."""
    names = ("nearest in the ring", "nearest beyond p, else farthest", "nearest in the ring, else largest nearer")
    arms = {name: setting(rule) for name, rule in zip(names, SETTINGS["conventions"], strict=True)}
    arms["shuffled batches, all in the ring"] = setting("semi-hard", batches="random")
    return {name: difference(table, number, arm, setting("semi-hard")) for name, arm in arms.items()}


# ---- figures --------------------------------------------------------------------------------------------------------

SHADES = dict(zip(["of 1", "of 4", "of 16", "of 64", "of 124"], plt.get_cmap("viridis")([0.9, 0.7, 0.5, 0.25, 0.0]),
                  strict=True)) | {"all": "#777777", "semi-hard": "#CC6677", "batch-hard": figures.ORANGE}  # fmt: skip


def force(a: Tensor, p: Tensor, n: Tensor, margin: float) -> tuple[Tensor, Tensor, Tensor]:
    """-∂ℓ/∂ of free points under the hinge on squared distances; 0 where the triplet is easy."""
    pulls = (a - p).square().sum() - (a - n).square().sum() + margin > 0
    return tuple(2 * pulls * way for way in (p - n, a - p, n - a))  # type: ignore[return-value]


def zones(ax: Axes, inner: float, outer: float) -> None:
    """The disc of hard negatives and the ring of semi-hard ones, in the colours of the explorer."""
    ax.add_patch(plt.Circle((0, 0), outer, facecolor="#fbeaa6", edgecolor="#8a6d00", linestyle="--", zorder=0))
    ax.add_patch(plt.Circle((0, 0), inner, facecolor="#fbe2d4", edgecolor="#a33c00", zorder=0))


def zones_figure(margin: float = 0.8) -> Figure:
    """A triplet in the plane with its negative in each of the three zones, and the force on its three points."""
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.5))
    a, p = torch.tensor([0.0, 0.0]), torch.tensor([-0.6, 0.8])
    places = {"hard: ℓ ≥ α": (0.45, 0.2), "semi-hard: 0 < ℓ < α": (1.15, 0.45), "easy: ℓ = 0": (1.5, 0.6)}
    for ax, (title, place) in zip(axes, places.items(), strict=True):
        zones(ax, p.norm().item(), math.sqrt(p.square().sum() + margin))
        points = torch.stack([a, p, torch.tensor(place)])
        moved = points + 0.2 * torch.stack(force(a, p, points[2], margin))
        ax.fill(*points.T, fill=False, edgecolor="#777777", linewidth=0.8)
        for now, then, name, shade in zip(points, moved, "apn", ("#222222", figures.BLUE, figures.ORANGE), strict=True):
            ax.plot(*now, "o", color=shade, markersize=8)
            aside = now + torch.tensor({"a": (-0.16, -0.17), "p": (-0.2, 0.04), "n": (0.08, -0.22)}[name])
            ax.text(*aside, name, color=shade, fontsize=12, ha="center", va="center")
            if not torch.equal(now, then):
                arrow = {"arrowstyle": "->", "color": shade, "linewidth": 2}
                ax.annotate("", then.tolist(), now.tolist(), arrowprops=arrow)
        if not torch.equal(points, moved):
            ax.fill(*moved.T, fill=False, edgecolor="#222222", linewidth=1.2, linestyle=":")
        ax.set(title=title, xlim=(-1.4, 1.75), ylim=(-1.4, 1.4), aspect="equal")
        ax.axis("off")
    return fig


def free_points(rule: str, steps: int = 60, rate: float = 0.02, margin: float = 0.2) -> list[Tensor]:
    """Six people of four points in the plane that follow the mean force of a rule (few triplets: weaker).  (24, 2)"""
    x, labels = torch.randn(24, 2, generator=torch.Generator().manual_seed(4)), torch.arange(24) // 4
    same, found = labels[:, None] == labels, []
    a, p = (same & ~torch.eye(24, dtype=torch.bool)).nonzero(as_tuple=True)
    for _ in range(steps + 1):
        found.append(x.clone())
        d = (x[:, None] - x).square().sum(2)
        d_ap, d_an = d[a, p][:, None], d[a].masked_fill(same[a], torch.inf)
        pair, n = (mine(rule, d_ap, d_an, a, margin) & (d_an < d_ap + margin)).nonzero(as_tuple=True)
        i, j = a[pair], p[pair]
        ways = torch.cat([x[j] - x[n], x[i] - x[j], x[n] - x[i]])
        x = x.index_add(0, torch.cat([i, j, n]), 2 * rate * len(x) / max(len(n), len(x)) * ways)
    return found


def free_figure() -> Figure:
    """Free points under the hardest triplets and under semi-hard ones: where they began, and how they went."""
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.4))
    runs = {rule: free_points(rule) for rule in ("batch-hard", "semi-hard")}
    for ax, (rule, places) in zip(axes, runs.items(), strict=False):
        way = torch.stack(places)  # (steps + 1, 24, 2)
        for i in range(way.shape[1]):
            shade = figures.CLASSES[(0, 1, 3, 5, 6, 9)[i // 4]]
            ax.plot(*way[:, i].T, color=shade, linewidth=0.8)
            ax.plot(*way[-1, i], "o", color=shade, markersize=6)
        ax.set(title=rule, xlim=(-2.7, 2.7), ylim=(-2.7, 2.7), aspect="equal")
        ax.axis("off")
        spread = (way - way.mean(1, keepdim=True)).square().sum(2).mean(1)
        axes[2].plot(spread, color=SHADES[rule], label=rule)
    axes[2].set(title="mean squared distance from the middle", xlabel="step", ylim=(0, None))
    axes[2].legend()
    return fig


# ---- one anchor, and whom each rule mines ---------------------------------------------------------------------------

SHOWN = {"of 1": "a random one", "of 16": "nearest of 16", "semi-hard": "semi-hard", "batch-hard": "hardest"}


def mined_frames(steps: list[int], seed: int = 590) -> list[tuple[int, Tensor]]:
    """In a semi-hard training, before each of these steps: the squared distances of one image to three of its person
    and to sixty of other people.  (63,)"""
    shown = faces.people("fit", seed)
    others = [20 * person for person in range(61) if person != 2]
    place = torch.tensor([40, 41, 42, 43, *others])  # an anchor, three positives, sixty others
    found: list[tuple[int, Tensor]] = []
    device = lesson.device()

    def look(net: nn.Module, step: int) -> None:
        if step in steps:
            with torch.no_grad():  # as the training sees them: with the statistics of the batch
                x = unit(copy.deepcopy(net).train()(shown.images[place].to(device).float() / 127.5 - 1)).cpu()
            found.append((step, (x[1:] - x[0]).square().sum(1)))

    train(setting("semi-hard"), seed, on_step=look)
    return found


def draw_mined(ax: Axes, d: Tensor, rule: str, margin: float = 0.2) -> None:
    """The anchor in the middle, others as far as their squared distance; a mined negative is filled."""
    turn = 2.399963 * torch.arange(len(d))  # the golden angle: a direction means nothing here
    places = d[:, None] * torch.stack([turn.cos(), turn.sin()], 1)
    farthest = d[:3].max()
    torch.manual_seed(int(1000 * farthest))
    d_an = torch.cat([torch.full((4,), torch.inf), d[3:]])[None]  # (1, 64)
    taken = mine(rule, farthest.view(1, 1), d_an, torch.zeros(1, dtype=torch.long), margin)[0, 4:]
    zones(ax, farthest.item(), farthest.item() + margin)
    ax.plot(*places[3:][~taken].T, "o", color="#b5b5b5", markersize=3)
    ax.plot(*places[3:][taken].T, "o", color=figures.ORANGE, markersize=6)
    ax.plot(*places[:3].T, "^", color=figures.BLUE, markersize=6)
    ax.plot(*places[d[:3].argmax()], "^", color=figures.BLUE, markersize=9, markeredgecolor="#111111")
    ax.plot(0, 0, "*", color="#222222", markersize=11)
    ax.set(xlim=(-3.2, 3.2), ylim=(-3.2, 3.2), aspect="equal")
    ax.axis("off")


def mined_sheet(frames: list[tuple[int, Tensor]], columns: int = len(SHOWN)) -> Figure:
    """The rules beside one another, or with 2 columns in a square; frames below one another."""
    panels = [(step, d, *rule) for step, d in frames for rule in SHOWN.items()]
    fig, axes = plt.subplots(len(panels) // columns, columns, figsize=(2.4 * columns, 2.45 * len(panels) / columns))
    for ax, (step, d, rule, name) in zip(axes.flat, panels, strict=True):
        draw_mined(ax, d, rule)
        ax.set_title(f"{name}, step {step}", fontsize=10)
    return fig


def assets(folder: Path) -> None:
    """Who is mined as the training goes on, as a sheet and as a GIF."""
    frames = mined_frames([*range(0, 40, 4), *range(40, 360, 16), 367])
    by_step = dict(frames)
    figures.save_png(folder / "05_mined.png", mined_sheet([(step, by_step[step]) for step in (0, 40, 367)]))
    figures.save_gif(
        folder / "05_mined.gif", lambda frame: mined_sheet([frame], 2), frames, seconds=0.3, hold=2.5, dpi=100
    )


# ---- figures of the table -------------------------------------------------------------------------------------------


def active_figure(table: pd.DataFrame) -> Figure:
    """The share of the mined triplets that is active, and the EER of strangers, against the step of the training."""
    fig, axes = plt.subplots(1, 2, figsize=(9.6, 3.9))
    names = {"of 1": "random", "of 16": "nearest of 16", "of 124": "nearest of 124", "all": "all",
             "batch-hard": "batch-hard"}  # fmt: skip
    for rule, name in names.items():
        runs = rows(table, setting(rule)).groupby("epoch")[["active", "eer"]].mean()
        for ax, number in zip(axes, ("active", "eer"), strict=True):
            dash = "--" if rule == "all" else "-"
            ax.plot(46 * runs.index, 100 * runs[number], dash, marker="o", color=SHADES[rule], label=name, markersize=4)
    titles = ("active share of the mined triplets (%)", "EER of strangers (%)")
    for ax, title in zip(axes, titles, strict=True):
        ax.set(yscale="log", title=title, xlabel="step", xticks=range(0, 369, 92))
    axes[0].set(ylim=(2, 130), yticks=[3, 10, 30, 100], yticklabels=["3", "10", "30", "100"])
    axes[1].set(ylim=(2.5, 30), yticks=[3, 6, 12, 24], yticklabels=["3", "6", "12", "24"])
    for ax in axes:
        ax.minorticks_off()
    axes[0].legend(fontsize=8, loc="lower left")
    return fig


def hardness_figure(table: pd.DataFrame) -> Figure:
    """Active share, EER and TAR against the number of negatives of which the nearest is taken, at two margins."""
    titles = {"active": "active triplets at the end (%)", "eer": "EER (%)", "tar_1e3": "TAR at FAR 1e-3 (%)"}
    fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.5))
    for ax, (number, title) in zip(axes, titles.items(), strict=True):
        for margin, shade, mark in zip(SETTINGS["margins"], (figures.BLUE, "#44AA99"), "os", strict=True):
            found = [lesson.interval(100 * last(table, nearest_of(k, margin))[number]) for k in SETTINGS["drawn"]]
            ax.errorbar(SETTINGS["drawn"], [s.mean for s in found], [s.half_width for s in found], marker=mark,
                        color=shade, capsize=3, label=f"α = {margin:g}")  # fmt: skip
        if number != "active":
            semi = 100 * last(table, setting("semi-hard"))[number].mean()
            ax.axhline(semi, color=SHADES["semi-hard"], linestyle="--", label="semi-hard, α = 0.2")
        ax.set(xscale="log", title=title, xlabel="nearest of k, k =", ylim=(0, None))
        ax.set_xticks(SETTINGS["drawn"], [str(k) for k in SETTINGS["drawn"]])
        ax.minorticks_off()
    axes[1].legend(fontsize=8)
    return fig
