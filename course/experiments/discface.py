"""Chapter 16: a penalty on the residual between an embedding and its class direction, with and without a shared shift.

The settings of each scale were chosen on the split "tune" with three images a person; the claims are measured on the
split "open", with seeds that nothing was chosen on.
"""

from __future__ import annotations

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
from facelearn.data import standard
from facelearn.losses import ArcFace, DiscFace, NormFace
from facelearn.training import embed
from facelearn.verification import evaluate_all_pairs, evaluate_scores

__all__ = ["paired", "rows"]  # the chapter calls them from here

CHAPTER = "16_discface"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "people": 300,
    "images": [2, 3, 5, 10, 20],  # of each person
    "epochs": {"2": 69, "3": 39, "5": 25, "10": 12, "20": 6},  # 273 to 276 steps, whatever the number of images
    "bound": 0.05,
    # chosen on "tune" with three images a person: margin and learning rate of ArcFace; λ, and the rate with it
    "chosen": {
        "8": {"margin": 0.7, "lr": 3.2e-2, "weight": 4.0, "lr_pull": 3.2e-2},
        "32": {"margin": 0.5, "lr": 3.2e-2, "weight": 8.0, "lr_pull": 3.2e-2},
    },
    "paper": 0.4,  # λ as in the paper
    "few": 3,
    "seeds": [1601, 1602, 1603, 1604, 1605],
    "live_seed": 1620,
}
FEW, MANY = SETTINGS["few"], SETTINGS["images"][-1]
#: What an arm is called in tables and figures.
ARMS = {"arcface": "ArcFace", "pull": "pull, ξ = 0", "discface": "DiscFace", "wide": "DiscFace, no bound"}


def chosen(scale: float) -> dict[str, float]:
    return SETTINGS["chosen"][f"{scale:g}"]


def setting(arm: str = "arcface", scale: float = 32, images: int = 3, *, weight: float | None = None,
            lr: float | None = None, margin: float | None = None, people: int = 300) -> Setting:  # fmt: skip
    """What a row varies.

    arm     arcface: alone; pull: + λ ‖ε‖, that is DiscFace with ξ held at 0; discface: ξ learnt, at most b long;
            wide: ξ learnt, as long as it likes
    images  of each of so many `people`; the steps are the same for all
    """
    own = chosen(scale)
    weight = 0.0 if arm == "arcface" else own["weight"] if weight is None else weight
    lr = own["lr" if arm == "arcface" else "lr_pull"] if lr is None else lr
    margin = own["margin"] if margin is None else margin
    return {
        "arm": arm, "scale": float(scale), "images": images, "people": people, "weight": float(weight), "lr": lr,
        "margin": margin,
    }  # fmt: skip


def grid() -> Iterator[tuple[Setting, int]]:
    """What the claim rests on first; then the other numbers of images, and the controls."""
    arms, seeds = ("arcface", "pull", "discface"), SETTINGS["seeds"]
    for images in (FEW, MANY):
        yield from ((setting(arm, scale, images), seed) for seed in seeds for scale in (32, 8) for arm in arms)
    yield from ((setting("wide", scale), seed) for seed in seeds for scale in (32, 8))
    others = [n for n in SETTINGS["images"] if n not in (FEW, MANY)]
    yield from ((setting(arm, 32, images), seed) for seed in seeds for images in others for arm in arms)
    weak = [setting("discface", scale, images, weight=SETTINGS["paper"])
            for scale, images in ((32, FEW), (32, MANY), (8, MANY))]  # fmt: skip
    strong = [setting(lr=6.4e-2), setting(margin=0.7)]  # an ArcFace beyond what was searched
    yield from ((one, seed) for seed in seeds for one in (*weak, *strong))
    yield from ((setting(arm, lr=4e-3), seed) for seed in seeds for arm in arms)


# ---- faces ----------------------------------------------------------------------------------------------------------


def make(wanted: Setting, dim: int, classes: int) -> Any:
    """The loss of one row."""
    base = ArcFace(dim, classes, scale=wanted["scale"], margin=wanted["margin"])
    if wanted["arm"] == "arcface":
        return base
    loss = DiscFace(base, weight=wanted["weight"], bound=2.0 if wanted["arm"] == "wide" else SETTINGS["bound"])
    loss.xi.requires_grad_(wanted["arm"] != "pull")
    return loss


@lru_cache(maxsize=2)
def people(seed: int, images: int, people: int, few: bool = False) -> Any:
    """Training faces, so many images of so many people."""
    people = max(30, 150 // images) if few else people  # a batch must be full
    return standard("fit", seed=seed, identities=people, images_per_identity=images)


@lru_cache(maxsize=3)
def train(arm: str, scale: float, images: int, people_: int, weight: float, lr: float, margin: float, seed: int,
          budget: str = "full") -> Trained:  # fmt: skip
    wanted = {"arm": arm, "scale": scale, "weight": weight, "margin": margin}
    shown = people(seed, images, people_, budget == "smoke")
    steps = people_ * images // SETTINGS["training"]["batch_size"]
    epochs = round(276 / steps) if people_ != SETTINGS["people"] else SETTINGS["epochs"][str(images)]
    return faces.train(lambda d, C: make(wanted, d, C), seed, budget, epochs=epochs, shown=shown, lr=lr)


def trained(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    """One training; the last ones are kept."""
    return train(*wanted.values(), seed, budget)


def directions(loss: Any) -> Tensor:
    """Class directions Ŵ of any of the arms.  (C, d)"""
    base = getattr(loss, "base_loss", loss)
    return F.normalize(base.weight.detach()).cpu()


def residuals(net: nn.Module, loss: Any, shown: Any) -> Tensor:
    """ε of each image.  (N, d)"""
    return F.normalize(embed(net, shown)) - directions(loss)[shown.labels]


def parts(residual: Tensor, labels: Tensor, directions: Tensor) -> dict[str, float]:
    """Where residuals point: shares of the energy of their part across the class direction (along it the angle fixes
    them). By products of two *different* images, so that chance gives 0; every person has the same number of images.
    (N, d), (N,), (C, d)

    common  one vector for all: the mean product of images of different people
    person  a vector of each person's own: that of images of one person, less `common`
    length  of the whole residuals, the root of their mean energy
    """
    e, w = residual.double(), directions.double()[labels]
    across = e - (e * w).sum(1, keepdim=True) * w
    sums = torch.zeros_like(directions, dtype=e.dtype).index_add_(0, labels, across)  # (C, d)
    count, energy = len(e) / len(sums), across.square().sum()
    within = (sums.square().sum() - energy) / (count - 1) / energy
    between = (sums.sum(0).square().sum() - sums.square().sum()) / (len(e) - count) / energy
    return {"common": float(between), "person": float(within - between),
            "length": float(e.square().sum(1).mean().sqrt())}  # fmt: skip


def against_directions(x: Tensor, labels: Tensor, directions: Tensor, own: Tensor | None = None) -> float:
    """EER of images against one vector for each person: an image and its own, an image and each of the others.

    own  what stands for its own person, for each image, where that is not the row of `directions`
    """
    x = F.normalize(x)
    cos, same = x @ directions.T, F.one_hot(labels, len(directions)).bool()
    if own is not None:
        cos[same] = (x * own).sum(1)
    return evaluate_scores(cos.flatten(), same.flatten()).eer


def against_means(x: Tensor, labels: Tensor) -> float:
    """EER of images against the mean of three: of its own person the other three, of the others the first three."""
    by_person = F.normalize(x).reshape(int(labels.max()) + 1, -1, x.shape[1])  # (C, 4, d)
    own = F.normalize(by_person.sum(1, keepdim=True) - by_person, dim=2).flatten(0, 1)
    return against_directions(x, labels, F.normalize(by_person[:, :3].sum(1)), own)


def newcomers(seed: int, classes: int) -> Any:
    """Four new images of each person of the training set."""
    return standard("fit", seed=seed, identities=classes, images_per_identity=4, first_shot=SETTINGS["images"][-1])


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table: strangers; residuals of the training images and (`new_`) of new images of their people."""
    net, loss, shown = trained(wanted, seed, budget)
    strangers = faces.people("open", seed, budget == "smoke")
    x = embed(net, strangers)
    rates = evaluate_all_pairs(x, strangers.labels)
    found = {"eer": rates.eer, "tar_1e2": rates.tar_at(1e-2), "tar_1e3": rates.tar_at(1e-3), "dimension": dimension(x)}
    w = directions(loss)
    found |= parts(residuals(net, loss, shown), shown.labels, w)
    new = newcomers(seed, len(w))
    z = embed(net, new)
    found |= {f"new_{name}": v for name, v in parts(residuals(net, loss, new), new.labels, w).items()}
    found |= {"eer_direction": against_directions(z, new.labels, w), "eer_means": against_means(z, new.labels)}
    found["eer_known"] = evaluate_all_pairs(z, new.labels).eer
    return found | ({"shift": float(loss.displacement().detach().norm())} if hasattr(loss, "xi") else {})


# ---- reading the table ----------------------------------------------------------------------------------------------


def difference(table: pd.DataFrame, ours: Setting, base: Setting, number: str = "eer") -> pd.Series:
    """Ours - base, seed by seed, in points."""
    return 100 * paired(table, number, ours, base)


def means(table: pd.DataFrame, wanted: Setting) -> pd.Series:
    """Means over the seeds of one setting, in percent; lengths and dimensions as they are."""
    found = rows(table, wanted).mean(numeric_only=True)
    return found.mask(~found.index.isin(["length", "new_length", "dimension", "shift"]), 100 * found)


def by_images(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: ArcFace, and what pull and DiscFace change at s = 32, by the number of images."""
    found = []
    for images in SETTINGS["images"]:
        base, pull, disc = (setting(arm, 32, images) for arm in ("arcface", "pull", "discface"))
        found.append([f"{images}", f"{means(table, base)['eer']:.2f}"])
        found[-1] += [f"{lesson.interval(difference(table, one, base)):+.2f}" for one in (pull, disc)]
        found[-1] += [f"{lesson.interval(difference(table, disc, pull)):+.2f}"]
    head = ["images a person", "ArcFace, EER %", "pull less ArcFace", "DiscFace less ArcFace", "DiscFace less pull"]
    return head, found


def strict(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: TAR at FAR 1e-3 and effective dimension of strangers, few and many images."""
    found = []
    for scale in (32, 8):
        for images in (FEW, MANY):
            base, pull, disc = (setting(arm, scale, images) for arm in ("arcface", "pull", "discface"))
            found.append([f"s = {scale}, {images} images", f"{means(table, base)['tar_1e3']:.1f}"])
            found[-1] += [f"{lesson.interval(difference(table, one, base, 'tar_1e3')):+.1f}" for one in (pull, disc)]
            found[-1] += [" / ".join(f"{means(table, one)['dimension']:.1f}" for one in (base, pull, disc))]
    return ["", "ArcFace, TAR %", "pull", "DiscFace", "dimension"], found


def by_part(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: mean residuals, and where the energy of those of new images lies."""
    shown = {f"ArcFace, s = {scale}, {images} images": setting("arcface", scale, images)
             for scale, images in ((32, FEW), (32, MANY), (8, MANY))}  # fmt: skip
    shown |= {f"{ARMS[arm]}, s = 32, {FEW} images": setting(arm, 32, FEW) for arm in ("pull", "discface", "wide")}
    found = []
    for name, one in shown.items():
        row = means(table, one)
        found.append([name, *(f"{row[length]:.2f}" for length in ("length", "new_length"))])
        found[-1] += [f"{row[part]:.1f}" for part in ("new_common", "new_person")]
    return ["", "length, training", "length, new", "common %", "person's own %"], found


def by_stage(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: EER in percent from what training compares to what a test compares, at s = 32."""
    found = []
    for images in (FEW, MANY):
        for arm in ("arcface", "pull", "discface"):
            row = means(table, setting(arm, 32, images))
            found.append([f"{ARMS[arm]}, {images} images"])
            found[-1] += [f"{row[name]:.2f}" for name in ("eer_direction", "eer_means", "eer_known", "eer")]
    return ["", "image-direction", "image-mean of three", "image-image", "strangers, image-image"], found


def differences(table: pd.DataFrame) -> tuple[dict[str, pd.Series], dict[str, tuple[pd.Series, float]]]:
    """What the claim rests on, with few images, seed by seed, in points: the EER that the pull gains, and the share of
    the training residuals that ξ makes common (has it acted at all?); then the EER that ξ adds to the pull, each with
    the tenth of ArcFace's EER that it has to stay below."""
    seen, added = {}, {}
    for scale in (32, 8):
        base, pull, disc, wide = (setting(arm, scale, FEW) for arm in ARMS)
        name, limit = f"s = {scale}, {FEW} images", means(table, base)["eer"] / 10
        seen[f"EER, ArcFace - pull, {name}"] = difference(table, base, pull)
        seen[f"common share, DiscFace - pull, {name}"] = difference(table, disc, pull, "common")
        added[f"EER, DiscFace - pull, {name}"] = difference(table, disc, pull), limit
        added[f"EER, no bound - pull, {name}"] = difference(table, wide, pull), limit
    return seen, added


def holds(table: pd.DataFrame) -> bool:
    """With few images, do the pull and DiscFace gain, does ξ act within its bound, and does it add nothing there?

    Without a bound ξ stays so short that it can hardly act: `differences` has it to look at, the claim leaves it out.
    """
    seen, added = differences(table)
    bounded = [(lesson.interval(v), limit) for name, (v, limit) in added.items() if "no bound" not in name]
    gains = [difference(table, setting("arcface", s, FEW), setting("discface", s, FEW)) for s in (32, 8)]
    nothing = all(-limit < found.low and found.high < limit for found, limit in bounded)
    return nothing and all(lesson.interval(values).low > 0 for values in (*seen.values(), *gains))


def others(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Further comparisons, EER in points, seed by seed."""
    found = {
        f"λ = {SETTINGS['paper']}, s = {scale}, {images} images: DiscFace - ArcFace":
            difference(table, setting("discface", scale, images, weight=SETTINGS["paper"]),
                       setting("arcface", scale, images))
        for scale, images in ((32, FEW), (32, MANY), (8, MANY))
    }  # fmt: skip
    for name, other in (("rate 0.064", setting(lr=6.4e-2)), ("m = 0.7", setting(margin=0.7))):
        found[f"pull - ArcFace with {name}"] = difference(table, setting("pull"), other)
    base, pull, disc = (setting(arm, lr=4e-3) for arm in ("arcface", "pull", "discface"))
    found["rate 0.004: pull - ArcFace"] = difference(table, pull, base)
    found["rate 0.004: DiscFace - pull"] = difference(table, disc, pull)
    return found


# ---- figures --------------------------------------------------------------------------------------------------------

TRUE: Any = {"angles": "xy", "scale_units": "xy", "scale": 1}  # arrows in the units of the axes
SHADES = {"arcface": figures.colour("arcface"), "pull": "#777777", "discface": figures.colour("discface")}


def draw_same_angle() -> Figure:
    """A class direction seen from above: eight images at one angle from it, all round, or all on one side."""
    fig, axes = plt.subplots(1, 3, figsize=(9.4, 3.2))
    ways = {"all round": torch.arange(8) * 45.0, "each class its own way": 100 + torch.arange(8) * 6.0,
            "one way for all": 40 + torch.arange(8) * 6.0}  # fmt: skip
    for ax, (title, way) in zip(axes, ways.items(), strict=True):
        for j, at in enumerate(torch.tensor([[-1.25, 0.0], [1.25, 0.0]])):
            turn = (way + (j * 130 if title.startswith("each") else 0)).deg2rad()
            ends = at + torch.stack([turn.cos(), turn.sin()], 1)  # (8, 2)
            ax.add_patch(plt.Circle(tuple(at.tolist()), 1, fill=False, color="#bbbbbb", linewidth=1))
            ax.plot(*at, "k+", markersize=9)
            shade = figures.CLASSES[j]
            ax.quiver(
                *at.expand(8, 2).T, *(ends - at).T, color=shade, angles="xy", scale_units="xy", scale=1, width=0.006
            )
            far = torch.cdist(ends, ends)
            a, b = divmod(int(far.argmax()), 8)
            ax.plot(*ends[[a, b]].T, "--", color="#222222", linewidth=1.2)
        ax.set(title=title, aspect="equal", xlim=(-2.5, 2.5), ylim=(-1.3, 1.3))
        ax.axis("off")
    return fig


def one_circle(ax: Axes, x: Tensor, w: Tensor, labels: Tensor, xi: Tensor) -> None:
    """Class directions (grey), samples, residuals as arrows, and ξ from the centre.  (N, 2), (C, 2), (N,), (2,)"""
    ax.add_patch(plt.Circle((0, 0), 1, fill=False, color="#bbbbbb", linewidth=1))
    ax.quiver(*torch.zeros_like(w).T, *w.T, color="#999999", width=0.01, **TRUE)
    for j, direction in enumerate(w):
        shade, own = (figures.BLUE, figures.ORANGE)[j], x[labels == j]
        ax.quiver(*direction.expand_as(own).T, *(own - direction).T, color=shade, width=0.01, **TRUE)
        ax.plot(*own.T, "o", color=shade, markersize=4, markeredgewidth=0)
    if xi.norm() > 0.01:
        ax.quiver(0, 0, *xi, color="#222222", width=0.022, **TRUE)
    ax.set(aspect="equal", xlim=(-1.25, 1.25), ylim=(-1.25, 1.25))
    ax.axis("off")


def draw_residuals(clouds: dict[str, Tensor], labels: Tensor, bound: float) -> Figure:
    """Residuals (N, d) of several nets from one origin: along the mean of those of half of the people, for the other
    half, and along their main axis across it."""
    fig, axes = plt.subplots(1, len(clouds), figsize=(9.4, 3.6), sharex=True, sharey=True)
    reach, half = 0.0, labels % 2 == 0
    for ax, (name, residual) in zip(axes, clouds.items(), strict=True):
        first, shown = F.normalize(residual[half].mean(0), dim=0), residual[~half]
        rest = shown - (shown @ first)[:, None] * first
        second = torch.linalg.eigh(rest.T @ rest)[1][:, -1]
        ends = torch.stack([shown @ first, shown @ second], 1)
        reach = max(reach, 1.05 * float(ends.abs().max()))
        few = ends[:: max(len(ends) // 150, 1)]
        ax.quiver(*torch.zeros_like(few).T, *few.T, color=SHADES[name], width=0.004, alpha=0.6, **TRUE)
        ax.plot(*ends.T, ".", color=SHADES[name], markersize=2, alpha=0.6)
        ax.add_patch(plt.Circle((0, 0), bound, fill=False, color="#222222", linewidth=1.8, zorder=5))
        ax.set(title=ARMS[name], aspect="equal", xlabel="along the mean of the other half")
        ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    axes[0].set_ylabel("along the main axis across it")
    return fig


def draw_gains(table: pd.DataFrame) -> Figure:
    """EER against ArcFace of the same seed, by images a person: pull and DiscFace; and the two against each other."""
    fig, (left, right) = plt.subplots(1, 2, figsize=(9.4, 3.4), gridspec_kw={"width_ratios": [1.5, 1]})
    for place, images in enumerate(SETTINGS["images"]):
        base, *both = (setting(arm, 32, images) for arm in ("arcface", "pull", "discface"))
        for aside, one in zip((-0.17, 0.17), both, strict=True):
            values = difference(table, one, base)
            found = lesson.interval(values)
            figures.seeds(left, place + aside, values, found.low, found.high, SHADES[one["arm"]], aside=0.1)
        values = difference(table, both[1], both[0])
        found = lesson.interval(values)
        figures.seeds(right, place, values, found.low, found.high, SHADES["discface"], aside=0.15)
    for ax, title in ((left, "against ArcFace"), (right, "DiscFace against the pull alone")):
        ax.axhline(0, color="#333333", linewidth=1)
        ax.set_xticks(range(len(SETTINGS["images"])), map(str, SETTINGS["images"]))
        ax.set(title=title, xlabel="images a person", xlim=(-0.5, len(SETTINGS["images"]) - 0.4))
    left.plot([], [], "D", color=SHADES["pull"], label="pull, ξ = 0")
    left.plot([], [], "D", color=SHADES["discface"], label="DiscFace")
    left.legend()
    left.set_ylabel("EER, points")
    return fig


# ---- the stored animation -------------------------------------------------------------------------------------------


def assets(folder: Path) -> None:
    """Free samples on a circle go down the loss: ξ held at 0, and learnt with a bound that can be seen."""
    angle = torch.tensor([180.0, 0.0]).deg2rad().repeat_interleave(6) + torch.linspace(-0.7, 0.7, 6).repeat(2)
    runs = []
    for learnt in (False, True):
        x = nn.Parameter(torch.stack([angle.cos(), angle.sin()], 1))
        head, y = NormFace(2, 2, scale=4.0), torch.arange(12) // 6
        head.weight.data = torch.tensor([[-1.0, 0.5], [1.0, 0.5]])
        loss = DiscFace(head, weight=1.0, bound=0.6)
        loss.xi.requires_grad_(learnt)
        optimizer = torch.optim.SGD([p for p in (x, *loss.parameters()) if p.requires_grad], lr=0.25)
        frames = []
        for step in range(121):
            optimizer.param_groups[0]["lr"] = 0.25 * (1 - step / 121)
            frames.append((step, *(v.detach().clone() for v in (F.normalize(x), directions(loss), y, loss.xi))))
            optimizer.zero_grad()
            loss(x, y).backward()
            optimizer.step()
        runs.append(frames)

    def draw(pair: tuple[Any, Any]) -> Figure:
        fig, axes = plt.subplots(1, 2, figsize=(6.4, 3.4))
        for ax, (step, *rest), title in zip(axes, pair, ("ξ = 0", "ξ learnt"), strict=True):
            one_circle(ax, *rest)
            ax.set_title(f"{title}, step {step}")
        return fig

    shown = [*range(20), *range(20, 60, 2), *range(60, 121, 6)]
    figures.save_gif(folder / "16_residuals.gif", draw, [(runs[0][k], runs[1][k]) for k in shown], seconds=0.15,
                     hold=2.5, dpi=75)  # fmt: skip
