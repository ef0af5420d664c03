"""Draw what every loss makes of handwritten digits in the plane: the pictures of the table of losses.

    python tools/loss_pictures.py [arcface ...] [--digits mnist] [--out folder]

One net, one seed, one number of steps for all losses; what is shown are held-out digits, seen by the frozen net.
Ten classes in two dimensions defeat a margin from scratch: margins between class weights grow from 0 to their full size
over the first 60 % of the steps. CurricularFace and CircleFace are defeated all the same and get five digits. One seed
is an illustration, not a measurement. scikit-learn's digits take a few minutes on one core; `--digits mnist` takes the
same number of steps on the files in `$FACELEARN_DATA/mnist`.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the course's other pictures: the same bits, whatever the cores
os.environ.setdefault("MPLBACKEND", "agg")
ROOT = Path(__file__).resolve().parents[1]

import torch  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.patches import Rectangle  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from facelearn import figures  # noqa: E402
from facelearn.data import MNIST, ImageSet, PKBatches, digits  # noqa: E402
from facelearn.files import write_whole  # noqa: E402
from facelearn.losses import CircleFace, SphereFace  # noqa: E402
from facelearn.models import DigitNet  # noqa: E402
from facelearn.recipe import OnStep, Recipe  # noqa: E402
from facelearn.training import embed, fit, seed_everything  # noqa: E402

FOLDER = ROOT / "course" / "assets" / "losses"
TABLE = "pictures.csv"  # beside the pictures: what each of them was made with
COLUMNS = ("stem", "digits", "classes", "net", "setting", "seed", "steps", "nearest_mean")
LIMIT = 25_000  # bytes of a picture

SEED = 2
STEPS = 880  # 40 epochs of scikit-learn's digits
TRAINING: dict[str, Any] = {"batch_size": 64, "lr": 5e-3}
WARM_UP = 0.6  # share of the steps in which a margin grows from 0
SHOWN = 397  # held-out digits in a picture: all of scikit-learn's, the first of MNIST's
PK = PKBatches(10, 6)  # ten digits, six images each: for losses that compare the images of a batch
GROWING = ("margin", "m2", "m3", "m0", "margin_upper", "margin_lower")  # what a loss may call its margin


class Picture(NamedTuple):
    """How one picture is made. `free`: the net leaves lengths alone, since the loss reads them; else it normalises."""

    words: str  # of the loss, see `facelearn.recipe`
    free: bool = False
    classes: int = 10

    @property
    def recipe(self) -> Recipe:
        return Recipe.parse(self.words)


# A margin of .3 is 17 of the 36 degrees between neighbours.
PICTURES = {
    "softmax": Picture("softmax:bias=false", free=True),
    "normface": Picture("normface:scale=16"),
    "l2_softmax": Picture("l2_softmax:alpha=8,bias=false"),
    "contrastive": Picture("contrastive:margin=4", free=True),
    "supcon": Picture("supcon:temperature=0.1"),
    "triplet": Picture("triplet:margin=0.2,mining=all"),
    "circle": Picture("circle:margin=0.7,gamma=32"),  # neighbours 36 degrees apart: s_n up to 0.81
    "center": Picture("softmax:bias=false+0.1*center", free=True),
    "ring": Picture("softmax:bias=false+0.03*ring:start=0.3", free=True),
    "lgm": Picture("lgm:alpha=0.3,likelihood_weight=0.1", free=True),
    "sphereface": Picture("sphereface:margin=4,lam_base=100", free=True),
    "cosface": Picture("cosface:scale=16,margin=0.1"),
    "arcface": Picture("arcface:scale=16,margin=0.3"),
    "combined_margin": Picture("combined_margin:scale=16,m1=1.0,m2=0.2,m3=0.05"),
    "subcenter_arcface": Picture("subcenter_arcface:scale=16,margin=0.3,num_subcenters=2"),
    "mv_softmax": Picture("mv_softmax:scale=16,margin=0.3,t=0.2"),
    "curricularface": Picture("curricularface:scale=16,margin=0.3", classes=5),
    "circleface": Picture("circleface:margin=0.4,gamma=32", classes=5),  # a smaller margin asks for more
    "discface": Picture("discface:base=arcface,base.scale=16,base.margin=0.3,weight=0.4"),
    "npcface": Picture("npcface:scale=16,margin=0.3,m0=0.2,m1=0.1"),
    "magface": Picture(
        "magface:scale=16,lower=2,upper=20,margin_lower=0.1,margin_upper=0.5,regularizer_weight=5", free=True
    ),
    "adaface": Picture("adaface:scale=16,margin=0.15", free=True),
    "elasticface": Picture("elasticface:scale=16,margin=0.3,std=0.05"),
}


def build(picture: Picture) -> tuple[nn.Module, OnStep]:
    """The loss for features in the plane, and what `fit` calls before each step: margins of class weights grow."""
    loss, on_step = picture.recipe.build(2, picture.classes)
    heads = [part for part in loss.modules() if hasattr(part, "weight") and not picture.recipe.compares]
    # CircleFace's margin relaxes; SphereFace's is a whole number, and its λ eases it in
    heads = [part for part in heads if not isinstance(part, CircleFace | SphereFace)]
    full = [(part, name, getattr(part, name)) for part in heads for name in GROWING if hasattr(part, name)]
    for part, name, _ in reversed(full):  # the lower of two bounds goes down first, and in training up last
        setattr(part, name, 0.0)

    def warm_up(number: int, total: int) -> None:
        share = min(1.0, number / (WARM_UP * total))
        for part, name, value in full:
            setattr(part, name, share * value)
        if on_step:
            on_step(number, total)

    return loss, warm_up


def first(data: ImageSet, classes: int) -> ImageSet:
    """The images of the first so many digits."""
    few = data.labels < classes
    return ImageSet(data.images[few], data.labels[few])


def train(stem: str, shown: ImageSet) -> nn.Module:
    """The trained net."""
    picture = PICTURES[stem]
    seed_everything(SEED)
    net = DigitNet(2, batchnorm=not picture.free)
    loss, on_step = build(picture)
    batches = PK if picture.recipe.compares else None
    epochs = max(1, round(STEPS / (len(shown) // TRAINING["batch_size"])))
    fit(net, loss, shown, epochs=epochs, seed=SEED, progress=False, batches=batches, on_step=on_step, **TRAINING)
    return net


def nearest_mean(net: nn.Module, shown: ImageSet, held_out: ImageSet) -> float:
    """Share of held-out digits nearer to the mean direction of their own class than to any other's."""
    unit = torch.nn.functional.normalize(embed(net, shown))  # (N, 2)
    means = torch.stack([unit[shown.labels == digit].mean(0) for digit in shown.labels.unique()])  # (C, 2)
    guess = (embed(net, held_out) @ torch.nn.functional.normalize(means).T).argmax(1)
    return float((guess == held_out.labels).float().mean())


def draw(x: Tensor, labels: Tensor) -> Figure:
    """Features `(N, 2)` on a white card of fixed size."""
    fig = plt.figure(figsize=(2.1, 2.1), dpi=160, layout="none")
    fig.add_artist(Rectangle((0, 0), 1, 1, transform=fig.transFigure, facecolor="white", zorder=-1))
    figures.petals(fig.add_axes((0, 0, 1, 1)), x, labels)
    return fig


def data(name: str) -> tuple[ImageSet, ImageSet]:
    """Digits to train on, and held-out ones."""
    if name == "digits":
        return digits("train"), digits("test")
    root = Path(os.environ.get("FACELEARN_DATA", "data")) / "mnist"
    shown, held_out = MNIST(root), MNIST(root, "test")
    return shown, ImageSet(held_out.images[:SHOWN], held_out.labels[:SHOWN])


def write_table(path: Path, rows: dict[str, dict[str, Any]]) -> None:
    """One line per loss, in course order; lines of losses that were not drawn now stay."""
    old = {row["stem"]: row for row in csv.DictReader(path.open(encoding="utf-8"))} if path.exists() else {}
    merged = old | rows
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(merged[stem] for stem in PICTURES if stem in merged)
    write_whole(path, text.getvalue().encode())


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw what every loss makes of digits in the plane.")
    parser.add_argument("stems", nargs="*", metavar="stem", help="all losses where none is named")
    parser.add_argument("--digits", choices=("digits", "mnist"), default="digits")
    parser.add_argument("--out", type=Path, default=FOLDER)
    options = parser.parse_args()
    if unknown := set(options.stems) - set(PICTURES):
        parser.error(f"stem: found {', '.join(sorted(unknown))}; expected some of {', '.join(PICTURES)}")
    torch.set_num_threads(1)
    figures.use_style()
    options.out.mkdir(parents=True, exist_ok=True)
    everything = data(options.digits)
    for stem in options.stems or PICTURES:
        shown, held_out = (first(part, PICTURES[stem].classes) for part in everything)
        net = train(stem, shown)
        fig = draw(embed(net, held_out), held_out.labels)
        write_whole(options.out / f"{stem}.png", figures.png(fig, limit=LIMIT))
        plt.close(fig)
        right = f"{nearest_mean(net, shown, held_out):.3f}"
        row = {
            "stem": stem,
            "digits": options.digits,
            "classes": PICTURES[stem].classes,
            "net": "free" if PICTURES[stem].free else "normalised",
            "setting": str(PICTURES[stem].recipe),
            "seed": SEED,
            "steps": STEPS,
            "nearest_mean": right,
        }
        write_table(options.out / TABLE, {stem: row})
        print(f"{(options.out / f'{stem}.png').stat().st_size / 1000:5.1f} kB  {stem}  {right}", flush=True)


if __name__ == "__main__":
    main()
