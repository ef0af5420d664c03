"""Chapter 08: embeddings of one norm, asked for (ring loss) or divided out (L2-Softmax), and what directions gain.

The weight λ = 0.1 was chosen on the split "tune" for the whole course (`course/settings.json`); the others are the
range that the chapter draws. All numbers are measured on people and seeds that nothing was chosen on.
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
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from facelearn import figures, lesson
from facelearn.data import digits
from facelearn.losses import Joint, L2Softmax, Ring, Softmax
from facelearn.models import DigitNet, SmallFaceNet
from facelearn.training import ShiftAndGain, accuracy, embed, fit, seed_everything
from facelearn.verification import all_pairs, evaluate_all_pairs

CHAPTER = "08_ring"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": 8,
    "weights": [0.01, 0.1, 1.0, 10.0],
    "chosen": 0.1,  # as in course/settings.json
    "start": 0.3,  # share of the steps before the ring is switched on
    "radii": [8, 32],
    "demands": [6.4, 64.0],  # λR², the same at each radius
    "alone": {"epochs": 4, "lr": 1e-3},
    "digits": {"epochs": 12, "batch_size": 64, "lr": 1e-2},
    "seeds": [2801, 2802, 2803, 2804, 2805],
    "more_seeds": [2806, 2807, 2808, 2809, 2810],  # for the null: λ = 0 and the chosen one
    "live_seed": 2820,
}
CHOSEN, STRONG = SETTINGS["chosen"], 64.0
#: What an arm is called in tables and figures.
ARMS = {"softmax": "softmax", "mean": "mean norm", "ring": "ring", "division": "division"}


def setting(arm: str = "softmax", weight: float = 0.0, radius: float = 8, epochs: int = 8) -> Setting:
    """What a row varies.

    arm     softmax; ring: R given and held; mean: the mean norm alone is drawn to R; division: L2-Softmax, α = R;
            late, first: R learnt, from the mean norm when the ring begins, late or at once; batches: softmax, shown
            its batches in another order; free, free late: without the last batch normalisation;
            alone: a trained softmax, then the ring without it; digits, digits late, digits first
    radius  R; the gain of the last batch normalisation starts at R / √d. Where R is learnt this is the start alone
    """
    return {"arm": arm, "weight": float(weight), "radius": float(radius), "epochs": epochs}


def held(arm: str, radius: float, demand: float) -> Setting:
    """The same demand λR² at any radius."""
    return setting(arm, demand / radius**2, radius)


def controls(radius: float) -> list[Setting]:
    """Equal norms by other ways: the mean alone, the ring, weak and strong, and a division."""
    rings = [held("ring", radius, demand) for demand in SETTINGS["demands"]]
    return [setting("softmax", 0, radius), held("mean", radius, STRONG), *rings, setting("division", 0, radius)]


def grid() -> Iterator[tuple[Setting, int]]:
    """A whole seed at a time, so that its people are drawn and its softmax is trained once."""
    epochs = SETTINGS["digits"]["epochs"]
    for seed in SETTINGS["seeds"]:
        for radius in SETTINGS["radii"]:
            yield from ((one, seed) for one in controls(radius))
        yield from ((setting("late", weight), seed) for weight in SETTINGS["weights"])
        yield from ((setting(arm, weight), seed) for arm, weight in (("first", CHOSEN), ("batches", 0)))
        yield from ((setting(arm, weight), seed) for arm, weight in (("free", 0), ("free late", CHOSEN), ("alone", 1)))
    for seed in SETTINGS["more_seeds"]:
        yield from ((one, seed) for one in (setting(), setting("late", CHOSEN)))
    for seed in [*SETTINGS["seeds"], *SETTINGS["more_seeds"]]:
        for arm, weight in (("digits", 0), ("digits late", CHOSEN), ("digits first", CHOSEN)):
            yield setting(arm, weight, epochs=epochs), seed


# ---- faces ----------------------------------------------------------------------------------------------------------


class Mean(nn.Module):
    """½ (mean norm - R)²: the part of a ring that does not ask the norms to be equal."""

    def __init__(self, radius: float) -> None:
        super().__init__()
        self.radius = radius

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        return (embeddings.norm(dim=1).mean() - self.radius).square() / 2


def make(wanted: Setting, dim: int, classes: int) -> Any:
    """The loss of one row; a ring begins with weight 0 where it starts late."""
    arm, weight, radius = wanted["arm"], wanted["weight"], wanted["radius"]
    if arm == "division":
        return L2Softmax(dim, classes, alpha=radius, bias=False)
    softmax = Softmax(dim, classes, bias=False)
    if weight == 0:
        return softmax
    if arm == "mean":
        mean: Any = Mean(radius)  # one number for the batch, no loss of a sample
        return Joint((1.0, softmax), (weight, mean))
    ring = Ring(radius=radius if arm == "ring" else None)
    ring.radius.requires_grad_(arm != "ring")
    return Joint((1.0, softmax), (0.0 if "late" in arm else weight, ring))


def train(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    """One training on faces. All arms of a seed begin with the same weights, but for the gain of the last layer."""
    few, arm = budget == "smoke", wanted["arm"]
    shown = faces.people("fit", seed, few)
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"], final_batchnorm="free" not in arm)
    if "free" not in arm:
        last: Any = net.layers[-1]
        last.weight.data.fill_(wanted["radius"] / net.embedding_dim**0.5)
    loss = make(wanted, net.embedding_dim, int(shown.labels.max()) + 1)

    def switch_on(step: int, total: int) -> None:
        loss.weights[1] = wanted["weight"] if step >= SETTINGS["start"] * total else 0.0

    options = {"epochs": 1 if few else wanted["epochs"], "augment": ShiftAndGain(), **SETTINGS["training"]}
    batches = seed + 10_000 if arm == "batches" else seed
    fit(net, loss, shown, seed=batches, on_step=switch_on if "late" in arm else None, **options)
    return Trained(net, loss, shown)


@lru_cache(maxsize=1)
def twin(seed: int, budget: str = "full") -> Trained:
    """The softmax of this seed, which the others are compared with."""
    return train(setting(), seed, budget)


def turned(x: Tensor, y: Tensor) -> float:
    """Mean angle between two embeddings of the same images, in degrees.  (N, d), (N, d)"""
    cos = (F.normalize(x.double()) * F.normalize(y.double())).sum(1)
    return float(cos.clamp(-1, 1).arccos().rad2deg().mean())


def spread(x: Tensor) -> float:
    """Standard deviation of the norms over their mean."""
    norms = x.norm(dim=1)
    return float(norms.std(correction=0) / norms.mean())


def look(net: nn.Module, base: nn.Module, strangers: Any) -> dict[str, float]:
    """Strangers: their norms, by how much the net `base` has them elsewhere, in how many directions they lie."""
    x = embed(net, strangers)
    covariance = F.normalize(x.double()).T.cov()
    found = {"norm": x.norm(dim=1).mean(), "spread": spread(x), "turned": turned(x, embed(base, strangers))}
    found["dimension"] = covariance.trace() ** 2 / covariance.square().sum()
    return {name: float(value) for name, value in found.items()}


def run(wanted: Setting, seed: int, budget: str = "full") -> Any:
    """One row of the table; for the ring alone one after each epoch."""
    if "digits" in wanted["arm"]:
        return on_digits(wanted, seed, budget)[1]
    if wanted["arm"] == "alone":
        return alone(seed, budget)
    trained = twin(seed, budget) if wanted == setting() else train(wanted, seed, budget)
    strangers = faces.people("open", seed, budget == "smoke")
    found = faces.measure(trained, seed, budget) | look(trained.net, twin(seed, budget).net, strangers)
    found["fit_spread"] = spread(embed(trained.net, trained.faces))
    radius = [part.radius for part in getattr(trained.loss, "parts", ()) if isinstance(part, Ring)]
    return found | ({"end_radius": float(radius[0].detach())} if radius else {})


# ---- the ring without a softmax -------------------------------------------------------------------------------------


def alone(seed: int, budget: str = "full") -> list[dict[str, float]]:
    """A trained softmax goes on with the ring alone, by plain SGD: before, and after each epoch, strangers."""
    few, options = budget == "smoke", SETTINGS["alone"]
    start, strangers = twin(seed, budget), faces.people("open", seed, budget == "smoke")
    shown, net = start.faces, copy.deepcopy(start.net).train()
    ring = Ring(radius=float(embed(start.net, shown).norm(dim=1).mean()))
    draws, size, augment = torch.Generator().manual_seed(seed), SETTINGS["training"]["batch_size"], ShiftAndGain()
    device, found = next(net.parameters()).device, []
    for epoch in range(1 + (1 if few else options["epochs"])):
        for chosen in torch.randperm(len(shown), generator=draws).split(size)[:-1] if epoch else ():
            x = net(augment(shown.images[chosen].float() / 127.5 - 1, draws).to(device))
            step(net, ring(x, shown.labels[chosen]), options["lr"])
        rates = evaluate_all_pairs(embed(net, strangers), strangers.labels)
        seen = look(net, start.net, strangers)
        found.append({"epoch": epoch, "eer": rates.eer, "tar_1e3": rates.tar_at(1e-3), **seen})
        net.train()
    own, random = sideways(start.net, shown.images[:: len(shown) // 512][:512], ring, seed)
    found[0] |= {"sideways": own, "sideways_random": random}
    return found


def step(net: nn.Module, value: Tensor, rate: float) -> None:
    """One step of plain gradient descent."""
    parameters = [p for p in net.parameters() if p.requires_grad]
    slopes = torch.autograd.grad(value, parameters)
    with torch.no_grad():
        for parameter, slope in zip(parameters, slopes, strict=True):
            parameter.sub_(rate * slope)


def moved(net: nn.Module, images: Tensor, directions: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Embeddings of images, and their displacement by a tiny step of the parameters along `directions`.  2 x (B, d)"""
    net = copy.deepcopy(net).eval()
    size = torch.stack([d.square().sum() for d in directions]).sum().sqrt()
    with torch.no_grad():
        x = net(images)
        for parameter, direction in zip(net.parameters(), directions, strict=True):
            parameter.add_(1e-3 / size * direction)
        return x, net(images) - x


def downhill(net: nn.Module, images: Tensor, ring: Ring) -> list[Tensor]:
    """-∂L/∂φ of the ring for all parameters φ of the net."""
    net = copy.deepcopy(net).eval()
    value = ring(net(images), torch.zeros(len(images), dtype=torch.long, device=images.device))
    return [-slope for slope in torch.autograd.grad(value, list(net.parameters()))]


def sideways(net: nn.Module, images: Tensor, ring: Ring, seed: int) -> tuple[float, float]:
    """Root mean square of the displacement across x over that along x: of a step of the ring, of a random step."""
    images = (images.float() / 127.5 - 1).to(next(net.parameters()).device)
    draws, found = torch.Generator().manual_seed(seed), []
    noise = [torch.randn(p.shape, generator=draws).to(p.device) for p in net.parameters()]
    for directions in (downhill(net, images, ring), noise):
        x, way = moved(net, images, directions)
        along = (way * F.normalize(x)).sum(1, keepdim=True) * F.normalize(x)
        found.append(float((way - along).square().sum().sqrt() / along.square().sum().sqrt()))
    return found[0], found[1]


# ---- digits in the plane --------------------------------------------------------------------------------------------


def on_digits(wanted: Setting, seed: int, budget: str = "full") -> tuple[nn.Module, dict[str, float]]:
    """Ten digits trained in the plane; the net, and of held-out digits the accuracy and their norms."""
    options = SETTINGS["digits"] | ({"epochs": 1} if budget == "smoke" else {"epochs": wanted["epochs"]})
    seed_everything(seed)
    net, loss = DigitNet(2), make(wanted, 2, 10)
    with torch.no_grad():
        first = net(digits("train").images[:64].float() / 127.5 - 1).norm(dim=1).mean()

    def switch_on(step: int, total: int) -> None:
        loss.weights[1] = wanted["weight"] if step >= SETTINGS["start"] * total else 0.0

    fit(net, loss, digits("train"), seed=seed, on_step=switch_on if "late" in wanted["arm"] else None, **options)
    x = embed(net, digits("test"))
    found = {"first_norm": first, "test_accuracy": accuracy(net, loss, digits("test"))}
    found |= {"norm": x.norm(dim=1).mean(), "spread": spread(x)}
    return net, {name: float(value) for name, value in found.items()}


# ---- reading the table, and figures ---------------------------------------------------------------------------------


def difference(table: pd.DataFrame, ours: Setting, base: Setting, number: str = "eer") -> pd.Series:
    """Ours - base, seed by seed, in points."""
    return 100 * paired(table, number, ours, base)


def means(table: pd.DataFrame, wanted: Setting) -> pd.Series:
    """Means over the seeds of one setting, rates and spreads in percent."""
    found = rows(table[table["seed"].isin(SETTINGS["seeds"])], wanted).mean(numeric_only=True)
    return found.mask(found.index.isin(["eer", "tar_1e3", "train_accuracy", "spread", "test_accuracy"]), 100 * found)


def by_weight(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table, a row for each λ of a ring that starts late."""
    found = []
    for weight in (0.0, *SETTINGS["weights"]):
        row = means(table, setting("late", weight) if weight else setting())
        found.append([f"{weight:g}", *(f"{row[name]:.1f}" for name in ("spread", "train_accuracy"))])
        found[-1] += [f"{row['eer']:.2f}", f"{row['tar_1e3']:.1f}"]
    return ["λ", "spread %", "training accuracy %", "EER %", "TAR@1e-3 %"], found


def named(wanted: Setting) -> str:
    """What a control is called."""
    demand = wanted["weight"] * wanted["radius"] ** 2
    return ARMS[wanted["arm"]] + (f", λR² = {demand:g}" if demand else "")


def by_control(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: spread and EER of each control at both radii."""
    found = []
    for pair in zip(*map(controls, SETTINGS["radii"]), strict=True):
        seen = [means(table, one) for one in pair]
        parts = [0.0 if one["arm"] == "division" else row["spread"] for one, row in zip(pair, seen, strict=True)]
        found.append([named(pair[0]), *(f"{part:.1f}" for part in parts), *(f"{row['eer']:.2f}" for row in seen)])
    both = SETTINGS["radii"]
    return ["", *(f"spread %, R = {r}" for r in both), *(f"EER %, R = {r}" for r in both)], found


def differences(table: pd.DataFrame) -> tuple[dict[str, pd.Series], ...]:
    """What the claim rests on, EER in points, seed by seed: should be near 0; above 0; not above 0."""
    near = {f"λ = {CHOSEN:g} - softmax": difference(table, setting("late", CHOSEN), setting())}
    above, free = {}, {}
    for radius in SETTINGS["radii"]:
        softmax, mean, weak, strong, division = controls(radius)
        near[f"weak ring - mean norm, R = {radius}"] = difference(table, weak, mean)
        for name, control in (("mean norm", mean), ("division", division)):
            above[f"strong ring - {name}, R = {radius}"] = difference(table, strong, control)
            free[f"{name} - softmax, R = {radius}"] = difference(table, control, softmax)
    return near, above, free


def by_angle(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table: how far from the softmax of the same seed each net has put its strangers."""
    arms = {"softmax, the twin": setting(), "softmax, other batches": setting("batches")}
    arms["ring from the start, λ = 0.1"] = setting("ring", CHOSEN, 8)
    arms |= {f"late ring, λ = {weight:g}": setting("late", weight) for weight in SETTINGS["weights"][1:]}
    found = []
    for name, one in arms.items():
        row, rise = means(table, one), lesson.interval(difference(table, one, setting()))
        found.append(
            [name, f"{row['turned']:.1f}", f"{rise:+.2f}" if one != setting() else "", f"{row['dimension']:.1f}"]
        )
    return ["", "turned, degrees", "EER, points against the twin", "effective dimension"], found


def astray(table: pd.DataFrame) -> str:
    """How far a tiny step moves training embeddings across, over how far along: of the ring, of random parameters."""
    first = rows(table[table["epoch"] == 0], setting("alone", 1))
    ring, chance = (lesson.interval(first[name]) for name in ("sideways", "sideways_random"))
    return f"across over along: a step of the ring {ring:.1f}, a random step {chance:.1f}"


def draw_controls(table: pd.DataFrame) -> Figure:
    """EER of each control against the softmax of the same radius, a panel for each radius."""
    fig, axes = plt.subplots(1, 2, figsize=(9.4, 3.2), sharey=True)
    for ax, radius in zip(axes, SETTINGS["radii"], strict=True):
        base, *others = controls(radius)
        for place, one in enumerate(others):
            values = difference(table, one, base)
            found = lesson.interval(values)
            shade = {"ring": figures.colour("ring"), "division": figures.colour("l2_softmax")}.get(
                one["arm"], "#777777"
            )
            figures.seeds(ax, place, values, found.low, found.high, shade, aside=0.15)
        ax.axhline(0, color="#333333", linewidth=1)
        ax.set_xticks(range(len(others)), [named(one).replace(", ", "\n") for one in others], fontsize=8)
        ax.set(title=f"R = {radius}", xlim=(-0.4, len(others) - 0.5))
    axes[0].set_ylabel("EER, points against softmax")
    return fig


def draw_price(table: pd.DataFrame) -> Figure:
    """EER of strangers against the spread of their norms: softmax and ring, the ring alone, a division."""
    fig, ax = plt.subplots(figsize=(6.8, 4.0))
    both = [setting(), *(setting("late", weight) for weight in SETTINGS["weights"])]
    path = [means(table[table["epoch"] == k], setting("alone", 1)) for k in range(SETTINGS["alone"]["epochs"] + 1)]
    lines = {"softmax + ring, λ = 0 … 10": ([means(table, one) for one in both], "o-", figures.colour("ring")),
             "trained, then the ring alone": (path, "s--", figures.ORANGE)}  # fmt: skip
    for label, (seen, style, shade) in lines.items():
        ax.plot([row["spread"] for row in seen], [row["eer"] for row in seen], style, color=shade, label=label)
    ax.plot(
        0,
        means(table, setting("division"))["eer"],
        "D",
        color=figures.colour("l2_softmax"),
        label="division by the norm",
    )
    for one, row in zip(both, (means(table, one) for one in both), strict=True):
        below = (6, 5) if one["weight"] in (0, 1, 10) else (-5, -13)
        at = (row["spread"], row["eer"])
        ax.annotate(f"{one['weight']:g}", at, below, textcoords="offset points", fontsize=8)
    ax.set(
        xlabel="spread of the norms (%)", ylabel="EER (%), logarithmic", yscale="log", ylim=(3.5, 21), xlim=(-0.6, 16)
    )
    ax.set_yticks([4, 6, 8, 12, 20], ["4", "6", "8", "12", "20"])
    ax.minorticks_off()
    ax.legend()
    return fig


def arrows(ax: Axes, x: Tensor, way: Tensor, labels: Tensor, radius: float, scale: float) -> None:
    """Points in the plane (N, 2), where each would go, the ring of radius R; arrows are `scale` times as long."""
    ax.add_patch(plt.Circle((0, 0), radius, fill=False, color="#999999", linewidth=1, linestyle="--"))
    ax.plot(0, 0, "+", color="#222222", markersize=8)
    for j in labels.unique():
        own, shade = labels == j, figures.CLASSES[int(j)]
        ax.plot(*x[own].T, "o", color=shade, markersize=3, markeredgewidth=0)
        ax.quiver(*x[own].T, *(scale * way[own]).T, color=shade, angles="xy", scale_units="xy", scale=1, width=0.005)
    ax.set(aspect="equal")
    ax.axis("off")


def draw_forces(forces: dict[str, Tensor], x: Tensor, labels: Tensor, radius: float) -> Figure:
    """The same points under several forces (N, 2), a panel for each."""
    fig, axes = plt.subplots(1, len(forces), figsize=(9.4, 3.4))
    for ax, (title, force) in zip(axes, forces.items(), strict=True):
        arrows(ax, x, force, labels, radius, 0.45)
        ax.set(title=title, xlim=(-2.9, 2.9), ylim=(-2.4, 3.0))
    return fig


def wanted_and_got(seed: int, budget: str = "full", few: int = 120) -> tuple[Tensor, Tensor, Tensor, Tensor, float]:
    """Held-out digits of a softmax: places, what the ring wants, what its step through the net does, labels, R."""
    net = on_digits(setting("digits", epochs=SETTINGS["digits"]["epochs"]), seed, budget)[0].cpu().eval()
    images, shown = (digits(split).images.float() / 127.5 - 1 for split in ("test", "train"))
    radius = float(net(shown).detach().norm(dim=1).mean())
    x, got = moved(net, images, downhill(net, shown, Ring(radius=radius)))
    want = (radius / x.norm(dim=1, keepdim=True) - 1) * x
    return x[:few], want[:few], got[:few], digits("test").labels[:few], radius


def draw_wanted_and_got(x: Tensor, want: Tensor, got: Tensor, labels: Tensor, radius: float) -> Figure:
    """Left what the ring asks of each feature, right what one step through the net gives; arrows of one mean size."""
    fig, axes = plt.subplots(1, 2, figsize=(9.4, 4.8))
    size = 0.25 * radius
    for ax, title, way in zip(
        axes, ("asked for: along the radius", "given, by one step of the net"), (want, got), strict=True
    ):
        arrows(ax, x, way, labels, radius, float(size / way.square().sum(1).mean().sqrt()))
        ax.set_title(title)
    return fig


# ---- the stored animation -------------------------------------------------------------------------------------------


def assets(folder: Path) -> None:
    """As λ grows, the norms of strangers draw together; so do the cosines of two kinds of pairs. A training each."""
    seed, shown = SETTINGS["live_seed"], []
    strangers = faces.people("open", seed)
    pairs, same = map(torch.as_tensor, all_pairs(strangers.labels))
    for weight in [0.0, *(10 ** (-2 + i / 4) for i in range(13))]:
        trained = train(setting("late", weight) if weight else setting(), seed)
        x = embed(trained.net, strangers)
        found = evaluate_all_pairs(x, strangers.labels).eer
        cos = (F.normalize(x)[pairs[:, 0]] * F.normalize(x)[pairs[:, 1]]).sum(1)
        shown.append((weight, x.norm(dim=1), cos[same], cos[~same], found))

    def draw(frame: tuple[float, Tensor, Tensor, Tensor, float]) -> Figure:
        weight, norms, genuine, impostor, eer = frame
        fig, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.3))
        left.hist(norms, bins=60, range=(6, 18), density=True, color=figures.colour("ring"))
        left.set(title=f"norms, λ = {weight:.2f}", xlabel=r"$\Vert x \Vert$", ylim=(0, 2.2), yticks=[])
        for cos, shade, label in ((impostor, figures.ORANGE, "two people"), (genuine, figures.BLUE, "one person")):
            right.hist(cos, bins=60, range=(-1, 1), density=True, color=shade, alpha=0.6, label=label)
        right.set(title=f"cosines of pairs, EER {eer:.1%}", xlabel="cosine", ylim=(0, 5), yticks=[])
        right.legend(loc="upper left")
        return fig

    figures.save_gif(folder / "08_ring.gif", draw, shown, seconds=0.5, hold=2.5, dpi=75)
