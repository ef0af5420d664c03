"""Chapter 14: should all wrong classes push equally? MV-Arc-Softmax, CurricularFace, and what of them does anything.

Both keep ArcFace's target and give the hard wrong classes another logit. That changes two things at once: how much is
pushed in all, and who is pushed. Here each can be had alone (`Parts`), and the order of the curriculum can be turned
round. Rates, margins and strengths are chosen on the split "tune"; what is claimed is measured on "open", with other
seeds and other people.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import torch
from experiments import faces
from experiments.faces import Setting, Trained
from experiments.l2_softmax import dimension
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Wedge
from torch import Tensor, nn

from facelearn import figures, lesson
from facelearn.data.faces import SyntheticFaces
from facelearn.losses import ArcFace, CurricularFace, MVSoftmax
from facelearn.losses.margin import MarginHead, unit
from facelearn.models import SmallFaceNet
from facelearn.training import ShiftAndGain, embed, fit, seed_everything
from facelearn.verification import evaluate_all_pairs

CHAPTER = "14_hard_negatives"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": 8,
    "scales": [8, 32],
    "margin": {8: 0.6, 32: 0.3},  # of all losses: the middle of chapter 12's grids, not searched again
    "strength": {8: 0.2, 32: 0.05},  # t of MV-Softmax where one factor is varied: s t is 1.6 at both scales
    "tune": {
        "seeds": [1460, 1461],
        "rates": [8e-3, 1.6e-2, 3.2e-2, 6.4e-2],
        "strengths": {8: [0.1, 0.05, 0.2], 32: [0.05, 0.02]},  # of MV-Softmax; the first one with each rate
        "rate": 1.6e-2,  # for the others, and for ArcFace with a scale half as large again
    },
    "chosen": {  # `tune` has the smallest EER there; of CurricularFace at 32 this is the largest rate tried
        8: {"arcface": {"lr": 3.2e-2}, "mv": {"t": 0.05, "lr": 3.2e-2}, "curricular": {"lr": 3.2e-2}},
        32: {"arcface": {"lr": 1.6e-2}, "mv": {"t": 0.02, "lr": 3.2e-2}, "curricular": {"lr": 6.4e-2}},
    },
    "ends": {8: 0.75, 32: 0.6},  # about where t ends; of a curriculum that is held there, or falls from there
    "noise": {8: [0.1, 0.3], 32: [0.3]},
    "seeds": [1402, 1403, 1404, 1405, 1406],  # the claim was worded when 1400 and 1401 had been seen; they are left out
    "few_seeds": [1402, 1403, 1404],  # for what is asked beside the claim
    "live_seed": 1420,
}
SCALES = SETTINGS["scales"]
PARTS = {"": "whole", " amount": "how much", " which": "whom"}
STEMS = {  # what a loss is drawn with
    "mv": (figures.colour("mv_softmax"), "MV"),
    "curricular": (figures.colour("curricularface"), "Curricular"),
    "arcface": (figures.colour("arcface"), "ArcFace"),
}
WHOLE = ("mv", "mv amount", "mv which", "curricular", "curricular amount", "curricular which")
#: The shares of a training at which it is looked at.
LOOKS = (0.0, 0.03, 0.0625, 0.125, 0.25, 0.5, 0.75, 1.0)


def setting(
    arm: str,
    scale: float,
    margin: float,
    t: float = 0.0,
    lr: float = 1.6e-2,
    *,
    noise: float = 0.0,
    split: str = "open",
) -> Setting:
    """What a row varies.

    arm   a loss; with "amount": only how much it pushes and pulls in all, shared out as in ArcFace; with "which":
          ArcFace's amounts, shared out as in this loss; with "random": as many random classes are emphasised as are
          hard, the amounts as in the loss; "mended": never towards the sample; "held": t stays what it is from the
          first batch on; "reversed": it falls from there to 0
    t     of MV-Softmax; of a curriculum that is held or reversed
    """
    return {"arm": arm, "scale": float(scale), "margin": margin, "t": t, "lr": lr, "noise": noise, "split": split}


# ---- the push on each wrong class -----------------------------------------------------------------------------------


class Parts(MarginHead):
    """Of a loss that emphasises hard negatives: how much it pushes and pulls, or whom; the rest as in ArcFace.

    Only its gradient means something, not its value. How much: the pull, and the sum of the pushes, those towards the
    sample counted negative. Whom: each over the sum of their sizes. With `amount` = `which` = "own" the gradient is
    that of the loss, with "plain" that of ArcFace.
    """

    amount = which = "own"

    def per_sample(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        cos = self.cosines(unit(embeddings), self.weight)  # (B, C)
        target_cos = cos.gather(1, labels[:, None])[:, 0].clamp(-1, 1)
        known = self.observed_rows(embeddings, target_cos.detach())
        pull, push = forces(self, cos.detach(), labels, known, self.amount)
        if self.which != self.amount:
            shares = forces(self, cos.detach(), labels, known, self.which)[1]
            push = push.sum(1, keepdim=True) * shares / shares.abs().sum(1, keepdim=True).clamp(min=1e-12)
        return self.scale * ((push * cos).sum(1) - pull * self.target(target_cos, known))


class MVParts(Parts, MVSoftmax):
    pass


class CurricularParts(Parts, CurricularFace):
    pass


class Mended(CurricularFace):
    """A curriculum that never pulls a wrong class towards the sample: below c = -t/2 its logit is level."""

    def others(self, cos: Tensor, target_cos: Tensor, rows: tuple[Tensor, ...]) -> Tensor:
        (t,) = rows
        level = torch.where(cos > -t / 2, cos * (t + cos), -t.square() / 4)
        return torch.where(cos > self.target(target_cos, rows), level, cos)


class Held(CurricularFace):
    """A curriculum whose t is given: held at `end`, or falling from there to 0 over `steps` batches."""

    def __init__(self, *sizes: int, end: float, steps: int | None = None, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.end, self.steps, self.seen = end, steps, 0

    def observe(self, embeddings: Tensor, target_cos: Tensor) -> None:
        left = 1.0 if self.steps is None else max(0.0, 1 - self.seen / self.steps)
        self.t = torch.full_like(self.t, self.end * left)
        self.seen += 1


@torch.enable_grad()
def forces(
    loss: MarginHead, cos: Tensor, labels: Tensor, known: tuple[Tensor, ...] = (), kind: str = "own"
) -> tuple[Tensor, Tensor]:
    """What a loss does to the cosines of a batch, over s: the pull on the own one, the push on each other one.

    pull (B,) is 1 - p_y; push (B, C) is p_j times the derivative of the logit by the cosine, 0 at the own class. Where
    it is negative the class is pulled TOWARDS the sample.

    cos   (B, C)
    kind  "own": as the loss has it; "plain": as in ArcFace; "random": as many random classes as are hard are emphasised
    """
    own = labels[:, None]
    cos = cos.detach().requires_grad_()
    target_cos = cos.detach().gather(1, own).clamp(-1, 1)  # (B, 1)
    columns = tuple(row[:, None] for row in known)
    target = loss.target(target_cos[:, 0], known)  # (B,)
    logits = cos if kind == "plain" else loss.others(cos, target_cos, columns)
    if kind == "random":
        count = hard(loss, cos, labels, known).sum(1, keepdim=True)
        drawn = torch.rand_like(cos).scatter(1, own, 2.0).argsort(1).argsort(1) < count
        margin: Any = loss.margin
        every = loss.others(cos, torch.full_like(target_cos, -math.cos(margin)), columns)  # T = -1: all of them
        logits = torch.where(drawn, every, cos)
    (derivative,) = torch.autograd.grad(logits.sum(), cos)
    p = (loss.scale * logits).scatter(1, own, loss.scale * target[:, None]).softmax(1).detach()
    return 1 - p.gather(1, own)[:, 0], (p * derivative).scatter(1, own, 0.0)


def hard(loss: MarginHead, cos: Tensor, labels: Tensor, known: tuple[Tensor, ...] = ()) -> Tensor:
    """Which wrong classes count as hard: those above the target logit, margin included.  (B, C), bool"""
    own = labels[:, None]
    target = loss.target(cos.gather(1, own)[:, 0].clamp(-1, 1), known)[:, None]
    return (cos > target).scatter(1, own, False)


# ---- one training ---------------------------------------------------------------------------------------------------


def head(wanted: Setting, dim: int, classes: int, steps: int = 368) -> MarginHead:
    """The loss of a row."""
    stem, *how = wanted["arm"].split()
    frame: dict[str, Any] = {"scale": wanted["scale"], "margin": wanted["margin"]}
    if stem == "arcface":
        return ArcFace(dim, classes, **frame)
    if how == ["mended"]:
        return Mended(dim, classes, **frame)
    if how in (["held"], ["reversed"]):
        return Held(dim, classes, end=wanted["t"], steps=steps if how == ["reversed"] else None, **frame)
    if stem == "mv":
        frame["t"] = wanted["t"]
    if not how:
        return (MVSoftmax if stem == "mv" else CurricularFace)(dim, classes, **frame)
    parts: Any = (MVParts if stem == "mv" else CurricularParts)(dim, classes, **frame)
    kinds = {"amount": ("own", "plain"), "which": ("plain", "own"), "random": ("own", "random")}
    parts.amount, parts.which = kinds[how[0]]
    return parts


@lru_cache(maxsize=4)
def mislabelled(seed: int, share: float, few: bool = False) -> SyntheticFaces:
    """The training faces of this seed, where about `share` of the images carry the name of somebody else."""
    shown = copy.copy(faces.people("fit", seed, few))
    draws, classes = torch.Generator().manual_seed(seed), int(shown.labels.max()) + 1
    wrong = torch.rand(len(shown), generator=draws) < share
    by = torch.randint(1, classes, (len(shown),), generator=draws)
    shown.labels = torch.where(wrong, (shown.labels + by) % classes, shown.labels)
    return shown


def train(wanted: Setting, seed: int, budget: str = "full", looks: list[dict[str, float]] | None = None) -> Trained:
    """One training; what it looks like on the way is added to `looks`."""
    few = budget == "smoke"
    shown = mislabelled(seed, wanted["noise"], few) if wanted["noise"] else faces.people("fit", seed, few)
    probe = faces.people("fit", seed, few)
    images, labels = probe.images[::12].float() / 127.5 - 1, probe.labels[::12]
    before: dict[int, Tensor] = {}

    def on_step(step: int, total: int) -> None:
        wished = {round(share * (total - 2)) for share in LOOKS}
        if looks is None or not wished & {step, step - 1}:
            return
        seen, mask = look(net, loss, images, labels)
        if step - 1 in before:  # the row of the step before: how many classes became hard or ceased to be
            last = before[step - 1]
            looks[-1]["flipped"] = float((mask ^ last).sum() / last.sum())
        if step in wished:
            before[step] = mask
            looks.append({"epoch": step * options["epochs"] / total, **seen})

    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"])
    options = {**SETTINGS["training"], "lr": wanted["lr"], "epochs": 1 if few else SETTINGS["epochs"]}
    steps = options["epochs"] * (len(shown) // options["batch_size"])
    loss = head(wanted, net.embedding_dim, int(probe.labels.max()) + 1, steps)
    fit(net, loss, shown, seed=seed, augment=ShiftAndGain(), on_step=on_step, **options)
    return Trained(net, loss, probe)


@torch.no_grad()
def look(net: nn.Module, loss: MarginHead, images: Tensor, labels: Tensor) -> tuple[dict[str, float], Tensor]:
    """How a training stands with its wrong classes, and which of them are hard (N, C).

    t, own        of CurricularFace; the mean target cosine
    hard          share of all wrong classes that count as hard
    beaten        share of images with a wrong class nearer than their own
    none          share of images without a hard class
    backwards     share of the hard that are pulled towards the sample
    heavier       share of the hard whose derivative is above 1
    push          the sum of the push over that of the pull: 1 in ArcFace
    pushed        effective number of classes that share an image's push, 1 / Σ q²
    pushed_plain  the same, by ArcFace's rule
    """
    x = copy.deepcopy(net).train()(images.to(next(net.parameters()).device))
    cos, labels = loss.cosines(unit(x), loss.weight), labels.to(x.device)
    own = labels[:, None]
    target_cos = cos.gather(1, own)[:, 0]
    known = loss.rows(x, target_cos)
    mask = hard(loss, cos, labels, known)
    pull, push = forces(loss, cos, labels, known)
    _, plain = forces(loss, cos, labels, known, "plain")

    def pushed(forces: Tensor) -> Tensor:
        share = forces.abs() / forces.abs().sum(1, keepdim=True).clamp(min=1e-12)
        return (1 / share.square().sum(1)).mean()

    columns = tuple(row[:, None] for row in known)
    with torch.enable_grad():
        leaf = cos.detach().requires_grad_()
        (derivative,) = torch.autograd.grad(loss.others(leaf, target_cos[:, None], columns).sum(), leaf)
    count, wrong = mask.sum().clamp(min=1), cos.numel() - len(cos)
    seen = {
        "t_now": getattr(loss, "t", torch.tensor(0.0)),
        "own": target_cos.mean(),
        "hard": mask.sum() / wrong,
        "beaten": (cos.scatter(1, own, -1.0).amax(1) > target_cos).double().mean(),
        "none": (~mask.any(1)).double().mean(),
        "backwards": (mask & (derivative < 0)).sum() / count,
        "heavier": (mask & (derivative > 1)).sum() / count,
        "push": push.sum() / pull.sum(),
        "pushed": pushed(push),
        "pushed_plain": pushed(plain),
    }
    return {name: float(value) for name, value in seen.items()}, mask.cpu()


def first_batch(scale: float, seed: int) -> dict[str, float]:
    """CurricularFace and an untrained net: what `look` sees at the first batch."""
    seed_everything(seed)
    net, shown = SmallFaceNet(**SETTINGS["net"]), faces.people("fit", seed)
    loss = head(setting("curricular", scale, SETTINGS["margin"][scale]), net.embedding_dim, 300)
    return look(net, loss, shown.images[::12].float() / 127.5 - 1, shown.labels[::12])[0]


def measure(trained: Trained, seed: int, split: str = "open", budget: str = "full") -> dict[str, float]:
    """Strangers: error rates, and in how many directions they lie; training faces: how many are named right."""
    strangers = faces.people(split, seed, budget == "smoke")
    x = embed(trained.net, strangers)
    found = evaluate_all_pairs(x, strangers.labels)
    row = {"eer": found.eer, "tar_1e2": found.tar_at(1e-2), "tar_1e3": found.tar_at(1e-3), "dimension": dimension(x)}
    return row | {"train_accuracy": faces.accuracy(*trained), "end_t": float(getattr(trained.loss, "t", 0.0))}


def run(wanted: Setting, seed: int, budget: str = "full") -> list[dict[str, float]]:
    """The rows of one training: what was seen on the way (plain losses alone), and the end."""
    watched = wanted["arm"] in ("arcface", "mv", "curricular") and wanted["split"] == "open" and not wanted["noise"]
    looks: list[dict[str, float]] | None = [] if watched else None
    trained = train(wanted, seed, budget, looks)
    return [*(looks or ()), {"epoch": SETTINGS["epochs"], **measure(trained, seed, wanted["split"], budget)}]


# ---- the grid -------------------------------------------------------------------------------------------------------


def tuned() -> Iterator[Setting]:
    """What is tried on `tune`: the rates of each loss; at one rate other strengths, and a larger scale of ArcFace."""
    tune = SETTINGS["tune"]
    for scale in SCALES:
        m, strengths = SETTINGS["margin"][scale], tune["strengths"][scale]
        for arm, t in (("arcface", 0.0), ("mv", strengths[0]), ("curricular", 0.0)):
            yield from (setting(arm, scale, m, t, lr, split="tune") for lr in tune["rates"])
        yield from (setting("mv", scale, m, t, tune["rate"], split="tune") for t in strengths[1:])
        yield setting("arcface", 1.5 * scale, m, 0.0, tune["rate"], split="tune")


def own(stem: str, scale: float, **more: Any) -> Setting:
    """A loss with the settings that were chosen for it on `tune`."""
    return setting(stem, scale, SETTINGS["margin"][scale], **SETTINGS["chosen"][scale][stem] | more)


def varied(arm: str, scale: float, **more: Any) -> Setting:
    """ArcFace's margin and rate, and one thing that varies: what is done to hard classes."""
    t = SETTINGS["strength"][scale] if arm.startswith("mv") else 0.0
    if arm.endswith(("held", "reversed")):
        t = SETTINGS["ends"][scale]
    return setting(arm, scale, SETTINGS["margin"][scale], t, SETTINGS["chosen"][scale]["arcface"]["lr"], **more)


def larger(scale: float) -> Setting:
    """ArcFace with a scale half as large again."""
    return varied("arcface", scale) | {"scale": 1.5 * scale}


def compared() -> Iterator[Setting]:
    """What the claim rests on: ArcFace, both losses and their parts, at both scales."""
    for scale in SCALES:
        yield from (varied(arm, scale) for arm in ("arcface", *WHOLE))


def controls() -> Iterator[Setting]:
    """A larger scale of ArcFace, and the losses with their own rate and strength."""
    for scale in SCALES:
        yield larger(scale)
        yield from (own(stem, scale) for stem in ("mv", "curricular") if own(stem, scale) != varied(stem, scale))


def further() -> Iterator[Setting]:
    """Label noise; random classes, the order of the curriculum, its sign, too much strength."""
    for scale in SCALES:
        for share in SETTINGS["noise"][scale]:
            yield from (varied(arm, scale, noise=share) for arm in ("arcface", "mv", "curricular"))
    yield from (varied(arm, 8) for arm in ("mv random", "curricular held", "curricular reversed", "curricular mended"))
    yield varied("mv", 32) | {"t": SETTINGS["strength"][8]}


def grid() -> Iterator[tuple[Setting, int]]:
    """The search; then a whole seed at a time, so that its people are drawn once."""
    for seed in SETTINGS["tune"]["seeds"]:
        yield from ((one, seed) for one in tuned())
    for wave, seeds in ((compared, "seeds"), (controls, "seeds"), (further, "few_seeds")):
        for seed in SETTINGS[seeds]:
            yield from ((one, seed) for one in wave())


# ---- reading the table ----------------------------------------------------------------------------------------------


def ends(table: pd.DataFrame) -> pd.DataFrame:
    """The last row of each training; the others were taken on the way."""
    return table[table["eer"].notna()]


def difference(table: pd.DataFrame, ours: Setting, base: Setting, number: str = "eer") -> pd.Series:
    """Ours - base, seed by seed; rates in points."""
    factor = 1 if number == "dimension" else 100
    return factor * faces.paired(ends(table), number, ours, base)


def means(table: pd.DataFrame, wanted: Setting) -> pd.Series:
    """Means over the seeds of one setting, rates in percent."""
    found = faces.rows(ends(table), wanted).mean(numeric_only=True)
    return found.mask(found.index.isin(["eer", "tar_1e2", "tar_1e3", "train_accuracy"]), 100 * found)


def by_loss(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: the losses at both scales."""
    named = {"ArcFace": lambda s: varied("arcface", s), "ArcFace, scale 1.5 s": larger}
    named |= {"MV-Arc-Softmax": lambda s: varied("mv", s), "CurricularFace": lambda s: varied("curricular", s)}
    found = []
    for name, of in named.items():
        seen = [means(table, of(scale)) for scale in SCALES]
        found.append([name, *(f"{row[number]:.{d}f}" for row in seen for number, d in (("eer", 2), ("tar_1e3", 1)))])
    return ["", *(f"{what} %, s = {scale}" for scale in SCALES for what in ("EER", "TAR@1e-3"))], found


def by_part(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: what each part of a loss changes, TAR in points and the effective dimension."""
    found = []
    for stem in ("mv", "curricular"):
        for part in ("", " amount", " which"):
            cells = []
            for scale in SCALES:
                pair = varied(stem + part, scale), varied("arcface", scale)
                both = (difference(table, *pair, number) for number in ("tar_1e3", "dimension"))
                cells += [f"{lesson.interval(values):+.1f}" for values in both]
            found.append([f"{STEMS[stem][1]}, {PARTS[part]}", *cells])
    return ["", *(f"{what}, s = {scale}" for scale in SCALES for what in ("TAR@1e-3", "dimension"))], found


def trade(table: pd.DataFrame) -> dict[str, dict[str, pd.Series]]:
    """What the claim rests on, against ArcFace, seed by seed: rates in points, the effective dimension.

    price   EER of both losses at both scales: should be above 0
    none    TAR at FAR 1e-3 of both at s = 32: should not be above 1
    asked   was asked for beforehand too, and did not come out whole: how much alone pays in EER; TAR gains at s = 8
    spread  looked at afterwards: effective dimension of how much they push, alone
    whom    looked at afterwards: EER of whom they push, alone
    """
    large = SCALES[-1]
    found: dict[str, dict[str, pd.Series]] = {kind: {} for kind in ("price", "none", "asked", "spread", "whom")}
    for stem in ("mv", "curricular"):
        for scale in SCALES:
            name, base = f"{STEMS[stem][1]}, s = {scale}", varied("arcface", scale)
            found["price"][name] = difference(table, varied(stem, scale), base)
            found["spread"][name] = difference(table, varied(f"{stem} amount", scale), base, "dimension")
            found["whom"][name] = difference(table, varied(f"{stem} which", scale), base)
            found["asked"][f"EER, how much, {name}"] = difference(table, varied(f"{stem} amount", scale), base)
            tar = difference(table, varied(stem, scale), base, "tar_1e3")
            found["none" if scale == large else "asked"][name if scale == large else f"TAR, {name}"] = tar
    return found


def by_order(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: the curriculum at the smaller scale, and without its order, or its wrong sign."""
    arms = {"ArcFace": "arcface", "CurricularFace": "curricular", "t held at 0.75": "curricular held"}
    arms |= {"t from 0.75 down to 0": "curricular reversed", "never towards": "curricular mended"}
    found, few = [], table[table["seed"].isin(SETTINGS["few_seeds"])]
    for name, arm in arms.items():
        row = means(few, varied(arm, SCALES[0]))
        found.append([name, f"{row['eer']:.2f}", f"{row['tar_1e3']:.1f}", f"{row['dimension']:.1f}"])
    return [f"s = {SCALES[0]}", "EER %", "TAR@1e-3 %", "dimension"], found


# ---- figures --------------------------------------------------------------------------------------------------------


def draw_noise(table: pd.DataFrame) -> Figure:
    """EER and strict TAR against the share of wrong names; a dot for each seed."""
    fig, axes = plt.subplots(1, 2, figsize=(9.4, 3.4))
    few = ends(table[table["seed"].isin(SETTINGS["few_seeds"])])
    for scale, style in zip(SCALES, ("-", "--"), strict=True):
        shares = [0.0, *SETTINGS["noise"][scale]]
        for arm, aside in (("arcface", 0.0), ("mv", 0.5), ("curricular", -0.5)):
            seen = [faces.rows(few, varied(arm, scale, noise=share)) for share in shares]
            shade, name = STEMS[arm]
            x = [100 * share + aside for share in shares]
            for ax, number in zip(axes, ("eer", "tar_1e3"), strict=True):
                ax.plot(x, [100 * r[number].mean() for r in seen], style, color=shade, label=f"{name}, s = {scale}")
                for at, r in zip(x, seen, strict=True):
                    ax.plot([at] * len(r), 100 * r[number], "o", color=shade, markersize=4, alpha=0.5)
    for ax, title in zip(axes, ("EER %", "TAR@1e-3 %"), strict=True):
        ax.set(title=title, xlabel="wrong names in training, %")
    axes[0].set(yscale="log", title="EER %, logarithmic")
    axes[0].set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    axes[0].minorticks_off()
    axes[0].legend(fontsize=8, loc="upper left")
    return fig


def draw_trade(table: pd.DataFrame) -> Figure:
    """EER and strict TAR against ArcFace of the same seed: the losses, their parts, a larger scale; a panel a scale."""
    fig, axes = plt.subplots(1, 2, figsize=(10, 4.2))
    for ax, scale in zip(axes, SCALES, strict=True):
        shown = [("ArcFace, scale 1.5 s", larger(scale), figures.colour("arcface"), "s")]
        for stem in ("mv", "curricular"):
            for (part, name), mark in zip(PARTS.items(), "o^v", strict=True):
                shown.append((f"{STEMS[stem][1]}, {name}", varied(stem + part, scale), STEMS[stem][0], mark))
        for label, one, shade, mark in shown:
            x, y = (lesson.interval(difference(table, one, varied("arcface", scale), n)) for n in ("eer", "tar_1e3"))
            inside = shade if mark in "os" else "white"
            style = {"color": shade, "markerfacecolor": inside, "markersize": 8, "elinewidth": 0.8, "label": label}
            ax.errorbar(x.mean, y.mean, y.half_width, x.half_width, fmt=mark, **style)
        ax.axhline(0, color="#333333", linewidth=1)
        ax.axvline(0, color="#333333", linewidth=1)
        ax.set(title=f"s = {scale}", xlabel="EER, points against ArcFace (right: worse)")
    axes[0].set_ylabel("TAR@1e-3, points (up: better)")
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize=8)
    return fig


def arrows(ax: Axes, angles: Tensor, own: float, weight: Tensor, bar: float, size: float = 0.3) -> None:
    """A sample (star) at angle 0, class directions round it, and how heavily each wrong one is pushed.

    angles  of the wrong class directions, in radians (n,);  own: of the own one (square)
    weight  derivative of each logit by the cosine (n,): the length of an arrow. Outwards and orange: the class is
            pushed away from the sample; inwards and blue: pulled towards it; grey: not hard. Dashed: weight 1
    bar     where hard ends: the angle of the target with its margin
    """
    for radius, style in ((1.0, "-"), (1 + size, ":")):
        ax.add_patch(plt.Circle((0, 0), radius, fill=False, color="#999999", linewidth=1, linestyle=style))
    ends = math.degrees(bar)
    ax.add_patch(Wedge((0, 0), 1.0, -ends, ends, color=figures.ORANGE, alpha=0.10, linewidth=0))
    for angle, length in zip(angles.tolist(), weight.tolist(), strict=True):
        shade = "#999999" if abs(angle) > bar else figures.ORANGE if length > 0 else figures.BLUE
        x, y = math.cos(angle), math.sin(angle)
        ax.plot(x, y, "o", color=shade, markersize=3)
        if abs(length) > 0.05:
            line = {"arrowstyle": "-|>", "color": shade, "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0}
            far = 1 + size * length
            ax.annotate("", (far * x, far * y), (x, y), arrowprops=line)
    ax.plot(math.cos(own), math.sin(own), "s", color="#222222", markersize=8)
    ax.plot(1, 0, "*", color="#222222", markersize=14)
    ax.set(xlim=(-1.4, 1.75), ylim=(-1.55, 1.55), aspect="equal")
    ax.axis("off")


AROUND = torch.tensor([sign * angle for angle in range(15, 180, 10) for sign in (1, -1)]).double().deg2rad()


def moment(ax: Axes, t: float, margin: float = 0.5) -> None:
    """CurricularFace at one moment: as t goes from 0 to 0.6, the own class comes from 90 to 30 degrees."""
    own = math.radians(90 - 100 * t)
    loss = CurricularFace(2, 2, margin=margin).double()
    cos = AROUND.cos().requires_grad_()
    target_cos = torch.full_like(cos, math.cos(own))
    logits = loss.others(cos, target_cos, (torch.full_like(cos, t),))
    (derivative,) = torch.autograd.grad(logits.sum(), cos)
    arrows(ax, AROUND, own + 1e-9, derivative, own + margin)
    ax.set_title(f"t = {t:.2f}, own class at {math.degrees(own):.0f}°", fontsize=10)


def draw_moments() -> Figure:
    """Four moments of a curriculum."""
    fig, axes = plt.subplots(1, 4, figsize=(11, 3.1))
    for ax, t in zip(axes, (0.0, 0.2, 0.4, 0.6), strict=True):
        moment(ax, t)
    return fig


def draw_three(margin: float = 0.5, own: float = 0.9) -> Figure:
    """One sample under ArcFace and the two that emphasise, late in a training."""
    fig, axes = plt.subplots(1, 3, figsize=(9.4, 3.3))
    near = AROUND
    shown = {
        "ArcFace": ArcFace(2, 2, margin=margin),
        "MV-Arc-Softmax, t = 0.5": MVSoftmax(2, 2, margin=margin, t=0.5),
        "CurricularFace, t = 0.6": CurricularFace(2, 2, margin=margin),
    }
    for ax, (title, loss) in zip(axes, shown.items(), strict=True):
        cos = near.cos().requires_grad_()
        logits = loss.others(cos, torch.full_like(cos, math.cos(own)), (torch.full_like(cos, 0.6),))
        (derivative,) = torch.autograd.grad(logits.sum() + 0 * cos.sum(), cos)
        arrows(ax, near, own, derivative, own + margin)
        ax.set_title(title, fontsize=10)
    return fig


def draw_curves() -> Figure:
    """Logit and derivative of a hard class against its cosine: ArcFace, MV-Softmax, CurricularFace at three t."""
    fig, axes = plt.subplots(1, 2, figsize=(9.4, 3.4))
    cos = torch.linspace(-1, 1, 401).double()[1:].requires_grad_()  # without -1, where equal is not hard
    below = torch.full_like(cos, -math.cos(0.5))  # T = -1: all are hard
    curves: dict[str, tuple[MarginHead, float, str, str]]
    curves = {"ArcFace": (ArcFace(2, 2), 0.0, figures.colour("arcface"), "-")}
    curves["MV-Arc-Softmax, t = 0.2"] = (MVSoftmax(2, 2, t=0.2), 0.0, figures.colour("mv_softmax"), "--")
    for t, style in ((0.0, ":"), (0.3, "-."), (0.6, "-")):
        curves[f"CurricularFace, t = {t:g}"] = (CurricularFace(2, 2), t, figures.colour("curricularface"), style)
    for label, (loss, t, shade, style) in curves.items():
        logit = loss.others(cos, below, (torch.full_like(cos, t),)) + 0 * cos
        (derivative,) = torch.autograd.grad(logit.sum(), cos)
        for ax, y in zip(axes, (logit.detach(), derivative), strict=True):
            ax.plot(cos.detach(), y, style, color=shade, label=label)
    for ax in axes:
        ax.set(xlabel="cosine $c$ of a hard class", xticks=(-1, -0.5, 0, 0.5, 1))
    axes[0].set(ylabel="logit $N$ over s", ylim=(-1.1, 1.7))
    axes[1].set(ylabel="derivative $N'$", ylim=(-2.1, 2.7))
    axes[1].axhspan(-2.1, 0, color=figures.BLUE, alpha=0.10, linewidth=0)
    axes[1].text(0.97, -1.95, "pulled towards the sample", ha="right", fontsize=9, color=figures.BLUE)
    axes[0].legend(fontsize=8)
    return fig


def draw_course(table: pd.DataFrame) -> Figure:
    """A training, batch by batch, means over the seeds: who is hard, t and the wrong sign, push over pull."""
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.2))
    seen = table[table["eer"].isna()]
    for scale, style in zip(SCALES, ("-", "--"), strict=True):
        for stem, mark in (("mv", "s"), ("curricular", "o")):
            path = faces.rows(seen, varied(stem, scale)).groupby("epoch").mean(numeric_only=True)
            shade, name = STEMS[stem]
            look = {
                "linestyle": style,
                "color": shade,
                "label": f"{name}, s = {scale}",
                "marker": mark,
                "markersize": 4,
            }
            axes[0].plot(path.index, 100 * path["hard"], **look)
            axes[2].plot(path.index, path["push"], **look)
            if stem == "curricular":
                axes[1].plot(path.index, path["t_now"], **look | {"color": "#333333", "label": f"t, s = {scale}"})
                wrong = look | {"color": figures.BLUE, "label": f"pulled towards, s = {scale}"}
                axes[1].plot(path.index, path["backwards"], **wrong)
    axes[2].axhline(1, color="#333333", linewidth=1)
    titles = ("wrong classes that are hard, %", "t; share of the hard pulled towards", "push over pull")
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=10)
        ax.set(xlabel="epoch")
    axes[0].legend(fontsize=8)
    lines, labels = axes[1].get_legend_handles_labels()
    axes[1].legend(lines[::2] + lines[1::2], labels[::2] + labels[1::2], fontsize=8, loc=(0.42, 0.12))
    return fig


def assets(folder: Path) -> None:
    """The curriculum in motion: who is hard, who is pushed, who pulled, as t rises and the own class comes nearer."""

    def draw(t: float) -> Figure:
        fig, ax = plt.subplots(figsize=(4.6, 4.4))
        moment(ax, t)
        return fig

    figures.save_gif(folder / "14_curriculum.gif", draw, [k / 50 for k in range(31)], seconds=0.12, hold=2.0, dpi=75)
