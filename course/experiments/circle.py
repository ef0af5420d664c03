"""Chapter 15: similarities weighed by how far they are from their goal (circle loss), or all alike.

One anchor of a batch has similarities s_p with images of its person and s_n with those of others. Every arm here is

    L = log(1 + e^z),  z = log Σ exp(γ a_n (s_n - m)) + log Σ exp(-γ a_p (s_p - (1 - m)))

with weights a_n, a_p. Circle loss takes α_n = s_n + m and α_p = 1 + m - s_p, constants to the gradient. "frozen" holds
both at 2m, their value at the point (m, 1 - m) of the circle: its boundary is the tangent there, and it is the loss of
pairs that AM-softmax is for classes, with scale s = 2mγ and margin 1 - 2m. So s is what the two have in common.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import lru_cache
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
from facelearn.losses import CircleFace, CosFace
from facelearn.losses.circle import masked_logsumexp
from facelearn.models import SmallFaceNet
from facelearn.training import ShiftAndGain, embed, fit, seed_everything
from facelearn.verification import evaluate_all_pairs

CHAPTER = "15_circle"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": 8,
    "batches": [32, 4],  # P x K
    "scales": [8, 32],  # s = 2 m γ
    "shared": 0.4,  # the margin of the arms that are compared at one point of contact
    "margins": [0.25, 0.4, 0.5],
    "ratios": {"8": [1.2, 1.5, 2.0], "32": [1.1, 1.2, 1.5, 2.0]},  # of push to pull, in the arms "constant ..."
    "dose": [1.1, 1.2, 1.5],  # of these ratios, those that are measured on strangers, at s = 32
    "rates": [8e-3, 1.6e-2, 3.2e-2],
    # seeds for the choice of margin or ratio, at the middle rate, on people of their own; the first also for the rate,
    # at s = 32 and the shared margin
    "tune": [1590, 1591],
    "chosen": {"circle": ["circle", 0.4], "frozen": ["frozen", 0.5], "constant": ["constant 1.2", 0.4]},  # at s = 32
    "rate": 1.6e-2,
    "default_rate": 4e-3,  # the course's own
    "seeds": [1500, 1501, 1502, 1503, 1504],
    "fewer": [1500, 1501, 1502],  # for what the claim does not rest on
    "live_seed": 1520,
}


def setting(
    arm: str, scale: float, margin: float, lr: float = 1.6e-2, *, form: str = "pairs", split: str = "open"
) -> Setting:
    """What a row varies.

    arm   circle; frozen: both weights 2m; constant ρ: 2m √ρ on all negatives, 2m / √ρ on all positives;
          differentiated: the value of circle loss, its weights no constants to the gradient; forces: every pair counts
          in the log-sum-exp as in frozen and is pushed with circle's weight; shares: the other way round
    form  pairs of a batch, or classes: CircleFace, and CosFace for "frozen"
    """
    return {"split": split, "form": form, "arm": arm, "scale": float(scale), "margin": margin, "lr": lr}


def shared(arm: str, scale: float) -> Setting:
    return setting(arm, scale, SETTINGS["shared"], SETTINGS["rate"])


def chosen(arm: str, scale: float) -> Setting:
    """With the margin that `tune` has chosen at s = 32; at s = 8 it chose the shared one for all."""
    name, margin = SETTINGS["chosen"][arm]
    return setting(name, scale, margin if scale > 8 else SETTINGS["shared"], SETTINGS["rate"])


def tried(arm: str, scale: float) -> list[Setting]:
    """What is tried on `tune` with two seeds: margins, or ratios at the shared margin."""
    first = [(arm, margin) for margin in SETTINGS["margins"]]
    if arm == "constant":
        first = [(f"constant {ratio:g}", SETTINGS["shared"]) for ratio in SETTINGS["ratios"][f"{scale}"]]
    return [setting(name, scale, margin, SETTINGS["rate"], split="tune") for name, margin in first]


def main_arms(scale: float) -> list[Setting]:
    """What the claims compare at one point of contact."""
    return [shared(arm, scale) for arm in ("circle", "frozen", SETTINGS["chosen"]["constant"][0])]


def at_rate(lr: float, split: str) -> list[Setting]:
    return [{**one, "lr": lr, "split": split} for one in main_arms(SETTINGS["scales"][-1])]


def grid() -> Iterator[tuple[Setting, int]]:
    """First what is chosen on `tune`; then the claims, and what they rest on."""
    arms, (few, strong) = SETTINGS["chosen"], SETTINGS["scales"]
    for seed in SETTINGS["tune"]:
        yield from ((one, seed) for scale in (few, strong) for arm in arms for one in tried(arm, scale))
    for rate in SETTINGS["rates"]:
        if rate != SETTINGS["rate"]:
            yield from ((one, SETTINGS["tune"][0]) for one in at_rate(rate, "tune"))
    for seed in SETTINGS["seeds"]:
        every = [*main_arms(few), *main_arms(strong)] + [chosen(arm, strong) for arm in arms]
        if seed in SETTINGS["fewer"]:
            every += [shared(arm, strong) for arm in ("differentiated", "forces", "shares")]
            every += [shared(f"constant {ratio:g}", strong) for ratio in SETTINGS["dose"]]
            every += [{**shared(arm, strong), "form": "classes"} for arm in ("circle", "frozen")]
        if seed in SETTINGS["fewer"][:2]:
            every += [one for one in at_rate(SETTINGS["default_rate"], "open") if one["arm"] != "frozen"]
        yield from ((one, seed) for k, one in enumerate(every) if one not in every[:k])


# ---- the losses -----------------------------------------------------------------------------------------------------


def weights(s: Tensor, m: float, arm: str) -> tuple[Tensor, Tensor]:
    """a_n and a_p, each for every similarity, of whichever kind it is."""
    own = s if arm == "differentiated" else s.detach()
    if arm == "frozen" or arm.startswith("constant"):
        ratio = float(arm.split()[1]) if arm != "frozen" else 1.0
        return torch.full_like(s, 2 * m * ratio**0.5), torch.full_like(s, 2 * m * ratio**-0.5)
    return (own + m).clamp(min=0), (1 + m - own).clamp(min=0)


def slopes(s: Tensor, m: float, arm: str) -> tuple[Tensor, Tensor]:
    """How hard each similarity is pushed down as a negative, and up as a positive, over γ times its share."""
    if arm == "differentiated":
        a_n, a_p = weights(s.detach(), m, "circle")
        return 2 * s.detach() * (a_n > 0), 2 * (1 - s.detach()) * (a_p > 0)
    return weights(s.detach(), m, {"forces": "circle", "shares": "frozen"}.get(arm, arm))


def logits(s: Tensor, m: float, arm: str) -> tuple[Tensor, Tensor]:
    """What stands in the exponents, over γ: of each similarity as a negative, and as a positive."""
    a_n, a_p = weights(s, m, {"forces": "frozen", "shares": "circle"}.get(arm, arm))
    if arm in ("forces", "shares"):  # the value of one, the slope of the other
        (f_n, f_p), moved = slopes(s, m, arm), s - s.detach()  # 0, with a gradient
        return a_n * (s.detach() - m) + f_n * moved, -a_p * (s.detach() - (1 - m)) - f_p * moved
    return a_n * (s - m), -a_p * (s - (1 - m))


class Paced(nn.Module):
    """The loss at the head of this module, the mean over anchors that have both kinds of pairs."""

    compares = True

    def __init__(self, arm: str, gamma: float, margin: float) -> None:
        super().__init__()
        self.arm, self.gamma, self.margin = arm, gamma, margin
        self.seen: list[list[float]] = []  # of each step, see `note`

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        x = F.normalize(embeddings)
        s, same = x @ x.T, labels[:, None] == labels  # (B, B)
        positive = same & ~torch.eye(len(s), dtype=torch.bool, device=s.device)
        as_negative, as_positive = logits(s, self.margin, self.arm)
        push = masked_logsumexp(self.gamma * as_negative, ~same)  # (B,)
        pull = masked_logsumexp(self.gamma * as_positive, positive)
        counted = positive.any(1) & ~same.all(1)
        self.note(s.detach(), (self.gamma * as_negative.detach(), ~same), (self.gamma * as_positive.detach(), positive))
        losses = torch.where(counted, -F.logsigmoid(-push - pull), 0.0)
        return losses.sum() / counted.sum().clamp(min=1)

    def note(self, s: Tensor, *kinds: tuple[Tensor, Tensor]) -> None:
        """Mean push on an anchor's negatives and pull on its positives, over γ p; mean squared cosine of two people."""
        shares = [values.where(mask, -torch.inf).softmax(1) for values, mask in kinds]  # NaN in a row without any
        both = zip(shares, slopes(s, self.margin, self.arm), strict=True)
        sizes = [float((share * slope).sum(1).nanmean()) for share, slope in both]
        self.seen.append([*sizes, float(s[kinds[0][1]].square().mean())])


def make(wanted: Setting, dim: int, classes: int) -> Any:
    arm, s, m = wanted["arm"], wanted["scale"], wanted["margin"]
    if wanted["form"] == "pairs":
        return Paced(arm, s / (2 * m), m)
    if arm == "circle":
        return CircleFace(dim, classes, margin=m, gamma=s / (2 * m))
    return CosFace(dim, classes, scale=s, margin=1 - 2 * m)


# ---- one training ---------------------------------------------------------------------------------------------------


def train(wanted: Setting, seed: int, budget: str = "full", **options: Any) -> Trained:
    people, images = SETTINGS["batches"]
    batches = PKBatches(16 if budget == "smoke" else people, images) if wanted["form"] == "pairs" else None
    options = {"epochs": SETTINGS["epochs"], "lr": wanted["lr"], "batches": batches, **options}
    return faces.train(lambda dim, classes: make(wanted, dim, classes), seed, budget, **options)


def points(x: Tensor, labels: Tensor, seed: int = 0, people: int = 32) -> Tensor:
    """Of each anchor of an epoch of batches: its nearest negative s_n and its farthest positive s_p.  (N, 2)"""
    x, found = F.normalize(x), []
    for batch in PKBatches(people, SETTINGS["batches"][1])(labels, 1, torch.Generator().manual_seed(seed)):
        s, same = x[batch] @ x[batch].T, labels[batch][:, None] == labels[batch]
        found.append(torch.stack([s.masked_fill(same, -1).amax(1), s.masked_fill(~same, 1).amin(1)], 1))
    return torch.cat(found)


def class_points(trained: Trained) -> Tensor:
    """Of each training image: the cosine with the nearest wrong class, and with its own.  (N, 2)"""
    net, loss, shown = trained
    s = F.normalize(embed(net, shown)) @ F.normalize(loss.weight.detach().cpu()).T
    own = shown.labels[:, None]
    return torch.stack([s.scatter(1, own, -1.0).amax(1), s.gather(1, own)[:, 0]], 1)


def cloud(p: Tensor) -> dict[str, float]:
    """Where the points (s_n, s_p) lie, and how wide they scatter along the boundary and across.  (N, 2)

    along, across   standard deviations of (s_n + s_p) / √2 and of (s_p - s_n) / √2
    along_degrees   that of the angles: of (θ_n + θ_p) / √2
    """
    s_n, s_p = p.double().T
    degrees = p.double().clamp(-1, 1).arccos().rad2deg().sum(1)
    found = {"s_n": s_n.mean(), "s_p": s_p.mean(), "along": ((s_n + s_p) / 2**0.5).std(),
             "across": ((s_p - s_n) / 2**0.5).std(), "along_degrees": (degrees / 2**0.5).std()}  # fmt: skip
    return {name: float(value) for name, value in found.items()}


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table; of pairs also how the training went."""
    trained = train(wanted, seed, budget)
    found = measure(trained, wanted, seed, budget)
    return found | (steps(trained.loss) if isinstance(trained.loss, Paced) else {})


def measure(trained: Trained, wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """Strangers' error rates and effective dimension (chapter 07), and the cloud of the training people."""
    strangers = faces.people(wanted["split"], seed, budget == "smoke")
    x = embed(trained.net, strangers)
    found = evaluate_all_pairs(x, strangers.labels)
    rates = {"eer": found.eer, "tar_1e3": found.tar_at(1e-3), "dimension": dimension(x)}
    return rates | cloud(training_points(trained, wanted, budget))


def steps(loss: Paced) -> dict[str, float]:
    """What was noted at every step.

    ratio             the mean push on an anchor's negatives over the mean pull on its positives, in the whole training
    early, late       in how many directions a batch lies, in the first and in the last of eight parts of the training:
                      1 over the mean squared cosine of two people
    """
    seen = torch.tensor(loss.seen).double()
    part = len(seen) // 8
    return {"ratio": float(seen[:, 0].mean() / seen[:, 1].mean()), "early": float(1 / seen[:part, 2].mean()),
            "late": float(1 / seen[-part:, 2].mean())}  # fmt: skip


def training_points(trained: Trained, wanted: Setting, budget: str = "full") -> Tensor:
    if wanted["form"] == "classes":
        return class_points(trained)
    return points(embed(trained.net, trained.faces), trained.faces.labels, people=16 if budget == "smoke" else 32)


# ---- similarities that are free numbers -----------------------------------------------------------------------------


def free_ways(arm: str, scale: float, margin: float, steps: int = 400, pairs: int = 60) -> Tensor:
    """Points (s_n, s_p) that nothing binds follow their forces, from random places.  (steps + 1, pairs, 2)"""
    draws, gamma = torch.Generator().manual_seed(15), scale / (2 * margin)
    p = torch.tensor([0.1, 0.2]) + 0.7 * torch.rand(pairs, 2, generator=draws)
    found = [p]
    for _ in range(steps):
        s_n, s_p = p.T
        z = gamma * (logits(s_n, margin, arm)[0] + logits(s_p, margin, arm)[1])
        push, pull = slopes(s_n, margin, arm)[0], slopes(s_p, margin, arm)[1]
        p = (p + 0.02 * z.sigmoid()[:, None] * torch.stack([-push, pull], 1)).clamp(-1, 1)
        found.append(p)
    return torch.stack(found)


@lru_cache(maxsize=4)
def live(arm: str, budget: str) -> Trained:
    """A net of the live seed, at s = 32 and the shared point of contact."""
    return train(shared(arm, 32), SETTINGS["live_seed"], budget)


def look(arm: str, budget: str) -> dict[str, float]:
    return measure(live(arm, budget), shared(arm, 32), SETTINGS["live_seed"], budget)


def both_worlds(budget: str) -> dict[str, list[float]]:
    """The scatter along the boundary at s = 32, with frozen weights and with circle's: free points, training faces."""
    arms, m = ("frozen", "circle"), SETTINGS["shared"]
    ends = {arm: free_ways(arm, 32, m)[-1] for arm in arms}
    seen = {arm: training_points(live(arm, budget), shared(arm, 32), budget) for arm in arms}
    return {name: [cloud(p[arm])["along"] for arm in arms] for name, p in (("free points", ends), ("faces", seen))}


# ---- what the chapter reads off the table ---------------------------------------------------------------------------


def difference(table: pd.DataFrame, ours: Setting, base: Setting, number: str = "eer") -> pd.Series:
    """Ours - base, seed by seed; rates in points."""
    return paired(table, number, ours, base) * (100 if number in ("eer", "tar_1e3") else 1)


def choose(table: pd.DataFrame, arm: str, scale: float) -> list[Any]:
    """Of what was tried on `tune` the arm and margin with the smallest mean EER; the shared margin where it is level,
    that is, less than 0.1 points behind."""
    every = tried(arm, scale)
    means = [rows(table, one)["eer"].mean() for one in every]
    level = [one for one, mean in zip(every, means, strict=True) if mean < min(means) + 1e-3]
    best = every[means.index(min(means))]
    if arm != "constant":
        best = next((one for one in level if one["margin"] == SETTINGS["shared"]), best)
    return [best["arm"], best["margin"]]


SHADES = {"triplet": figures.colour("triplet"), "frozen": figures.BLUE, "circle": "#009E73",
          "constant": figures.ORANGE, "differentiated": "#AA4499"}  # fmt: skip


def by_arm(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the main table: the settings that `tune` chose, means over the seeds."""
    found = []
    for scale in SETTINGS["scales"]:
        for arm in SETTINGS["chosen"]:
            one = chosen(arm, scale)
            name = one["arm"].replace("constant", "constant, ρ =")
            found.append([f"s = {scale}: {name}, m = {one['margin']}", *numbers(table, one)])
    return ["", "EER %", "TAR@1e-3 %", "effective dimension", "scatter"], found


def numbers(table: pd.DataFrame, one: Setting) -> list[str]:
    row = rows(table, one).mean(numeric_only=True)
    return [f"{100 * row['eer']:.2f}", f"{100 * row['tar_1e3']:.1f}", f"{row['dimension']:.1f}", f"{row['along']:.3f}"]


def by_part(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the ablation, at s = 32 and one point of contact."""
    names = {"frozen": "frozen", "circle": "circle", "forces": "circle's forces, frozen shares",
             "shares": "circle's shares, frozen forces", "constant 1.2": "constant, ρ = 1.2",
             "differentiated": "circle, α differentiated"}  # fmt: skip
    found = []
    for arm, name in names.items():
        row = rows(table, shared(arm, 32)).mean(numeric_only=True)
        found.append([name, f"{row['ratio']:.2f}", *numbers(table, shared(arm, 32))[:3]])
    return ["", "push / pull", "EER %", "TAR@1e-3 %", "effective dimension"], found


def claims(table: pd.DataFrame) -> dict[str, dict[str, pd.Series]]:
    """The differences that the verdict is about, seed by seed; rates in points."""
    found: dict[str, dict[str, pd.Series]] = {"along": {}, "gain": {}, "tar": {}, "eer": {}}
    for scale in SETTINGS["scales"]:
        at, (own, even, ratio) = f"s = {scale}", (chosen(arm, scale) for arm in ("circle", "frozen", "constant"))
        along = difference(table, shared("circle", scale), shared("frozen", scale), "along")
        found["along"][f"scatter, circle - frozen, {at}"] = along
        found["tar"][f"TAR, constant - circle, {at}"] = difference(table, ratio, own, "tar_1e3")
        found["eer"][f"EER, constant - circle, {at}"] = difference(table, ratio, own)
    for name, one in (("circle", own), ("constant", ratio)):
        found["gain"][f"TAR, {name} - frozen, {at}"] = difference(table, one, even, "tar_1e3")
    return found


def holds(found: dict[str, dict[str, pd.Series]]) -> bool:
    """Limits fixed before the run: narrower means by 0.01 and more, worse by 0.3 points of EER or 3 of TAR."""
    kinds = {kind: [lesson.interval(x) for x in values.values()] for kind, values in found.items()}
    wide = all(x.low > -0.01 for x in kinds["along"])
    gained = all(x.low > 0 for x in kinds["gain"])
    enough = all(x.low > -3 for x in kinds["tar"]) and all(x.high < 0.3 for x in kinds["eer"])
    return wide and gained and enough


def by_ratio(table: pd.DataFrame) -> pd.Series:
    """What a constant ratio gains over frozen weights at s = 32 and one point of contact: points of TAR."""
    return difference(table, shared("constant 1.2", 32), shared("frozen", 32), "tar_1e3")


# ---- figures --------------------------------------------------------------------------------------------------------


def plane(ax: Axes, title: str, low: float = -0.4) -> None:
    ax.set(title=title, xlim=(low, 1.02), ylim=(0, 1.05), aspect="equal", xlabel="$s_n$", xticks=[0, 0.5, 1])


def boundary(ax: Axes, arm: str, margin: float, **style: Any) -> None:
    """Where z = 0 for one positive and one negative."""
    s_n, s_p = torch.meshgrid(torch.linspace(-0.4, 1, 281), torch.linspace(0, 1.05, 211), indexing="xy")
    z = logits(s_n, margin, arm)[0] + logits(s_p, margin, arm)[1]
    drawn: dict[str, Any] = {"colors": ["#222222"], "linewidths": 1.5} | style
    ax.contour(s_n, s_p, z, [0], **drawn)


def forces(arm: str, s_n: Tensor, s_p: Tensor, scale: float, margin: float) -> Tensor:
    """-∂L/∂(s_n, s_p) over γ of one pair; "triplet" is the hinge on s_n - s_p with the same boundary.  (..., 2)"""
    if arm == "triplet":
        active = (s_n - s_p + 1 - 2 * margin > 0) * 2 * margin
        return torch.stack([-active, active], -1)
    z = scale / (2 * margin) * (logits(s_n, margin, arm)[0] + logits(s_p, margin, arm)[1])
    push, pull = slopes(s_n, margin, arm)[0], slopes(s_p, margin, arm)[1]
    return z.sigmoid()[..., None] * torch.stack([-push, pull], -1)


def field_figure(margin: float = 0.25, scale: float = 16.0) -> Figure:
    """The force on (s_n, s_p) all over the square, a panel for each loss."""
    fig, axes = plt.subplots(1, 4, figsize=(11.2, 3.2), sharey=True)
    s_n, s_p = torch.meshgrid(torch.linspace(-0.3, 0.95, 9), torch.linspace(0.08, 0.98, 7), indexing="xy")
    names = {"triplet": "triplet, a hinge", "frozen": "AM-softmax's form", "circle": "circle",
             "differentiated": "circle, α differentiated"}  # fmt: skip
    for ax, (arm, title) in zip(axes, names.items(), strict=True):
        way = 0.13 * forces(arm, s_n, s_p, scale, margin)
        drawn: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.009}
        ax.quiver(s_n, s_p, way[..., 0], way[..., 1], color=SHADES[arm], **drawn)
        boundary(ax, "frozen" if arm == "triplet" else arm, margin)
        ax.plot([0.9, 0.05], [0.9, 0.3], "o", color="#222222", markersize=5)
        ax.text(0.93, 0.82, "B", fontsize=9)
        ax.text(0.07, 0.21, "A", fontsize=9)
        plane(ax, title)
    axes[0].set_ylabel("$s_p$")
    return fig


def free_figure(margin: float = SETTINGS["shared"]) -> Figure:
    """Free points: their ways under three losses, and how widely they scatter along the boundary."""
    fig, axes = plt.subplots(1, 4, figsize=(11.2, 3.0))
    for ax, arm in zip(axes, ("frozen", "circle", "differentiated"), strict=False):
        for scale, style in ((32, "--"), (8, "-")):
            ways = free_ways(arm, scale, margin)
            along = (ways.sum(2) / 2**0.5).std(1)
            axes[3].plot(along, style, color=SHADES[arm])
        ax.plot(ways[..., 0], ways[..., 1], color=SHADES[arm], linewidth=0.7)
        ax.plot(*ways[-1].T, "o", color=SHADES[arm], markersize=3.5)
        boundary(ax, arm, margin)
        plane(ax, f"{arm}, s = 8")
    axes[0].set_ylabel("$s_p$")
    axes[3].set(title="scatter along the boundary", xlabel="step", ylim=(0, None))
    return fig


def clouds_figure(nets: dict[str, Trained], margin: float = 0.4) -> Figure:
    """The points (s_n, s_p) of training people under each net, in the square."""
    fig, axes = plt.subplots(1, len(nets), figsize=(3.3 * len(nets), 3.5), sharey=True)
    for ax, (arm, trained) in zip(axes, nets.items(), strict=True):
        p = points(embed(trained.net, trained.faces), trained.faces.labels, people=min(32, len(trained.faces) // 20))
        seen = cloud(p)
        ax.plot(*p[::4].T, ".", color=SHADES[arm.split()[0]], markersize=2.5, alpha=0.5)
        boundary(ax, arm, margin)
        title = arm.replace("constant", "constant, ρ =")
        plane(ax, f"{title}\nalong {seen['along']:.3f}, across {seen['across']:.3f}")
    axes[0].set_ylabel("$s_p$")
    return fig


def draw_differences(table: pd.DataFrame) -> Figure:
    """EER and TAR against the frozen loss, settings as chosen on `tune`."""
    fig, axes = plt.subplots(1, 2, figsize=(9.4, 3.1))
    places = [(scale, arm) for scale in SETTINGS["scales"] for arm in ("circle", "constant")]
    for ax, number, label in zip(axes, ("eer", "tar_1e3"), ("EER", "TAR at FAR 1e-3"), strict=True):
        for place, (scale, arm) in enumerate(places):
            values = difference(table, chosen(arm, scale), chosen("frozen", scale), number)
            found = lesson.interval(values)
            figures.seeds(ax, place, values, found.low, found.high, SHADES[arm], aside=0.15)
        ax.axhline(0, color="#333333", linewidth=1)
        ax.set_xticks(range(len(places)), [f"{arm}\ns = {scale}" for scale, arm in places], fontsize=9)
        ax.set(ylabel=f"{label}, points against frozen", xlim=(-0.5, len(places) - 0.4))
    return fig


def ratio_figure(table: pd.DataFrame) -> Figure:
    """A constant ratio of push to pull, from 1 (frozen) on; diamond and level line: circle loss, its own mean ratio."""
    fig, axes = plt.subplots(1, 3, figsize=(10.4, 3.1))
    names = {"eer": "EER (%)", "tar_1e3": "TAR at FAR 1e-3 (%)", "dimension": "effective dimension"}
    arms = {1.0: "frozen"} | {ratio: f"constant {ratio:g}" for ratio in SETTINGS["dose"]}
    for ax, (number, label) in zip(axes, names.items(), strict=True):
        size = 100 if number != "dimension" else 1
        found = [lesson.interval(size * rows(table, shared(arm, 32))[number]) for arm in arms.values()]
        ax.errorbar(list(arms), [x.mean for x in found], [x.half_width for x in found], fmt="o-", capsize=3,
                    color=SHADES["constant"], label="constant")  # fmt: skip
        own = rows(table, shared("circle", 32)).mean(numeric_only=True)
        ax.axhline(size * own[number], color=SHADES["circle"], linewidth=1, linestyle="--")
        ax.plot(own["ratio"], size * own[number], "D", color=SHADES["circle"], label="circle", zorder=3)
        ax.set(xlabel="push / pull, ρ", ylabel=label)
    axes[0].legend()
    return fig


# ---- the stored pictures --------------------------------------------------------------------------------------------


def moving(arm: str, scale: float, looks: list[int], seed: int) -> list[Tensor]:
    """The points of 120 training images, before each of these steps of a training.  (120, 2)"""
    shown, one, found = faces.people("fit", seed), shared(arm, scale), []
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"]).train()
    few = torch.cat([torch.arange(4) + 20 * k for k in range(30)])
    options = {"augment": ShiftAndGain(), **SETTINGS["training"], "lr": one["lr"], "epochs": SETTINGS["epochs"]}

    def look(step: int, total: int) -> None:
        if step in looks or (step == total - 1 and total in looks):
            with torch.no_grad():  # with the statistics of this batch, as in training
                x = copy.deepcopy(net)(shown.images[few].float() / 127.5 - 1)
            found.append(points(x, shown.labels[few], people=30))

    fit(
        net,
        make(one, net.embedding_dim, 300),
        shown,
        seed=seed,
        on_step=look,
        batches=PKBatches(*SETTINGS["batches"]),
        **options,
    )
    return found


def assets(folder: Path) -> None:
    """One batch of faces in the square while a net learns, frozen weights beside circle's: a sheet and an animation."""
    arms, margin, total = ("frozen", "circle", "constant 1.2"), SETTINGS["shared"], 8 * 46
    looks = [0, 2, 4, 6, 9, 12, 16, 20, 26, 32, 40, 50, 65, 85, 110, 140, 180, 230, 280, 330, total]
    seen = {arm: moving(arm, 32, looks, SETTINGS["live_seed"]) for arm in arms}

    def draw(axes: Any, k: int) -> None:
        for ax, arm in zip(axes, arms, strict=True):
            ax.plot(*seen[arm][k].T, "o", color=SHADES[arm.split()[0]], markersize=3.5, alpha=0.7, markeredgewidth=0)
            boundary(ax, arm, margin, linewidths=1.2)
            plane(ax, f"{arm.replace('constant', 'ρ =')}, step {looks[k]}", -0.3)

    fig, grid = plt.subplots(3, 4, figsize=(9.6, 6.6), sharex=True, sharey=True)
    for column, k in enumerate([0, looks.index(20), looks.index(85), len(looks) - 1]):
        draw(grid[:, column], k)
    for ax in grid[:, 0]:
        ax.set_ylabel("$s_p$")
    figures.save_png(folder / "15_square.png", fig)

    def frame(k: int) -> Figure:
        fig, axes = plt.subplots(1, 3, figsize=(9.0, 3.3), sharey=True)
        draw(axes, k)
        axes[0].set_ylabel("$s_p$")
        return fig

    figures.save_gif(folder / "15_square.gif", frame, list(range(len(looks))), seconds=0.3, hold=2.5, dpi=75)
