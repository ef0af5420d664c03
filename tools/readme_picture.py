"""Draw the picture at the top of the README: `python tools/readme_picture.py` writes course/assets/readme.png.

Faces of people who do not exist; the same handwritten digits under two losses (held-out samples, 2-D features, one
seed: an illustration); the target logit of four losses; chapter 21's forest plot, from its stored results.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "agg")

import torch
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from torch import Tensor

from facelearn import figures
from facelearn.data import SyntheticFaces, contact_sheet, digits
from facelearn.files import write_whole
from facelearn.losses import ArcFace, Classifier, Softmax
from facelearn.losses.margin import cos_of_sum
from facelearn.losses.sphereface import psi
from facelearn.models import DigitNet
from facelearn.training import embed, fit, seed_everything
from tools.results import load

COURSE = Path(__file__).resolve().parent.parent / "course"
TARGET = COURSE / "assets" / "readme.png"
SEED = 2
DIGIT_COLOURS = figures.CLASSES


def faces(ax: Axes) -> None:
    people = SyntheticFaces(12, 1, size=96, seed=17, difficulty=0.3, split="fit", cache=False)
    ax.imshow(contact_sheet(people.images, 3, pad=2).numpy(), interpolation="lanczos")
    ax.set_title("people who do not exist")
    ax.set_axis_off()


def digit_features(make: Callable[[], Classifier], batchnorm: bool) -> tuple[Tensor, Tensor]:
    """Held-out digits in two dimensions; a margin warms up from 0 over the first 60 % of the steps."""
    seed_everything(SEED)
    loss, net = make(), DigitNet(2, batchnorm=batchnorm)
    margin = getattr(loss, "margin", 0.0)

    def warm_up(step: int, total: int) -> None:
        if margin:
            loss.margin = margin * min(1.0, step / (0.6 * total))

    fit(net, loss, digits("train"), epochs=40, batch_size=64, lr=5e-3, seed=SEED, on_step=warm_up)
    test = digits("test")
    return embed(net, test), test.labels


def petals(ax: Axes, make: Callable[[], Classifier], name: str, batchnorm: bool) -> None:
    features, labels = digit_features(make, batchnorm)
    reach = float(features.norm(dim=1).quantile(0.99)) * 1.2
    for digit in range(10):
        own = features[labels == digit]
        ax.scatter(own[:, 0], own[:, 1], s=8, color=DIGIT_COLOURS[digit], linewidths=0)
        x, y = (own.mean(0) / own.mean(0).norm() * (own.norm(dim=1).quantile(0.97) + 0.06 * reach)).tolist()
        ax.text(x, y, str(digit), color=DIGIT_COLOURS[digit], ha="center", va="center", weight="bold", size=12)
    low, high = features.quantile(0.002, 0), features.quantile(0.998, 0)
    half = 0.56 * float((high - low).max())
    x, y = ((low + high) / 2).tolist()
    ax.set(xlim=(x - half, x + half), ylim=(y - half, y + half), aspect="equal", title=name, xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def margins(ax: Axes) -> None:
    theta = torch.linspace(0, math.pi, 400, dtype=torch.float64)
    curves = {
        "normface": (theta.cos(), "cos θ"),
        "cosface": (theta.cos() - 0.35, "cos θ - 0.35"),
        "arcface": (cos_of_sum(theta.cos(), 0.5, "linear"), "cos(θ + 0.5)"),
        "sphereface": (psi(theta.cos(), 2), "ψ(2θ)"),
    }
    for stem, (values, label) in curves.items():
        ax.plot(theta.rad2deg(), values, **figures.line(stem) | {"label": label})
    ax.set(
        title="what a margin asks of its angle",
        ylim=(-2.1, 1.1),
        xlabel="θ to the own class (degrees)",
        ylabel="target logit / s",
    )
    ax.set_xticks([0, 45, 90, 135, 180])
    ax.legend(loc="lower left", frameon=False)


def against_the_shipped(ax: Axes) -> None:
    capstone = load(COURSE, "capstone")
    capstone.forest(capstone.differences(capstone.finals()), ax)
    ax.tick_params(axis="y", length=0)
    ax.set_title("23 losses, five seeds: told apart, or the same?")


def main() -> None:
    torch.set_num_threads(1)
    figures.use_style()
    fig = plt.figure(figsize=(16, 4.7), layout="constrained")
    axes = fig.subplot_mosaic(
        [["faces", "softmax", "margins", "forest"], ["faces", "arcface", "margins", "forest"]],
        width_ratios=[1.12, 0.75, 1.0, 1.25],
    )
    faces(axes["faces"])
    petals(axes["softmax"], lambda: Softmax(2, 10, bias=False), "softmax: petals", batchnorm=False)
    petals(axes["arcface"], lambda: ArcFace(2, 10, scale=16.0, margin=0.3), "ArcFace: thin rays", batchnorm=True)
    margins(axes["margins"])
    against_the_shipped(axes["forest"])
    write_whole(TARGET, figures.png(fig, limit=400_000))
    print(f"{TARGET.stat().st_size / 1000:.0f} kB  {TARGET.name}")


if __name__ == "__main__":
    main()
