"""Chapter 06: what more and more weight on compactness does to people the net has never seen.

A seed draws everything: the people, the start weights, the order of the batches. So runs with one seed are paired. The
weight λ = 0.03 was chosen on the split "tune" for the whole course (`course/settings.json`); the other weights are the
range that the chapter draws. All numbers are measured on people and seeds that nothing was chosen on.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor, nn

from facelearn.data import STANDARD, SyntheticFaces, digits, standard
from facelearn.data.face_renderer import VERSION
from facelearn.losses import Center, Joint, Softmax
from facelearn.models import DigitNet, SmallFaceNet
from facelearn.training import ShiftAndGain, accuracy, embed, fit, seed_everything
from facelearn.verification import all_pairs, evaluate_pairs

CHAPTER = "06_center"
Setting = dict[str, Any]

SETTINGS: dict[str, Any] = {
    "data": {"standard": STANDARD, "renderer": VERSION},
    "net": {"embedding_dim": 64, "width": 8},
    "training": {"batch_size": 128, "lr": 4e-3, "weight_decay": 5e-4},
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


class Trained(NamedTuple):
    net: nn.Module
    loss: Joint
    faces: SyntheticFaces  # it was trained on


@lru_cache(maxsize=2)
def people(split: str, seed: int, few: bool) -> SyntheticFaces:
    """The standard set of this split with the people of this seed; `few` of them where only the code is tried."""
    return standard(split, seed=seed, **({"identities": 30} if few else {}))


def joint(setting: Setting, embedding_dim: int, classes: int) -> Joint:
    """Softmax without bias, plus λ times the center loss."""
    center = Center(embedding_dim, classes, alpha=setting["alpha"])
    return Joint((1.0, Softmax(embedding_dim, classes, bias=False)), (setting["weight"], center))


def train(setting: Setting, seed: int, budget: str = "full") -> Trained:
    """One training; at the budget "smoke" one epoch with a few people."""
    few = budget == "smoke"
    faces = people("fit", seed, few)
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"])
    loss = joint(setting, net.embedding_dim, int(faces.labels.max()) + 1)
    epochs = 1 if few else SETTINGS["epochs"]
    fit(net, loss, faces, epochs=epochs, seed=seed, augment=ShiftAndGain(), **SETTINGS["training"])
    return Trained(net, loss, faces)


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
    strangers = people("open", seed, budget == "smoke")
    x, known = embed(trained.net, strangers), embed(trained.net, trained.faces)
    found = evaluate_pairs(x, *all_pairs(strangers.labels))
    of_strangers, of_known = scatter(x, strangers.labels), scatter(known, trained.faces.labels)
    return {
        "eer": found.eer,
        "tar_1e2": found.tar_at(1e-2),
        "tar_1e3": found.tar_at(1e-3),
        "train_accuracy": accuracy(*trained),
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


# ---- reading the table ----------------------------------------------------------------------------------------------


def rows(table: pd.DataFrame, wanted: Setting) -> pd.DataFrame:
    """The rows of one setting, indexed by seed."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table.set_index("seed")


def paired(table: pd.DataFrame, number: str, ours: Setting, base: Setting) -> pd.Series:
    """Ours - base, seed by seed."""
    return (rows(table, ours)[number] - rows(table, base)[number]).dropna()


# ---- the stored animation -------------------------------------------------------------------------------------------


def assets(folder: Path) -> None:
    """The petals contracting as λ grows, as a GIF: a training of its own for each λ."""
    from facelearn import figures

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
