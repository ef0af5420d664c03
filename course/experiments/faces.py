"""What the experiments on synthetic faces share: one net, one training, one test on strangers, and how a table is read.

A seed draws everything: the people, the start weights, the order of the batches. So runs with one seed are paired, and
the scatter over seeds holds the luck of the people as well as that of the training. A chapter says which loss:

    from experiments import faces
    from experiments.faces import Setting, paired, rows

    SETTINGS = {**faces.SETTINGS, "epochs": 8, "seeds": [...], "live_seed": ...}

    def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
        return faces.run(partial(head, wanted), seed, budget, epochs=SETTINGS["epochs"])

where `head(wanted, embedding_dim, classes)` makes the loss of one row of the table.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import pandas as pd
import torch
from experiments import protocol
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from facelearn import figures
from facelearn.data import SyntheticFaces, standard
from facelearn.data.image_set import ImageSet
from facelearn.losses import MarginHead
from facelearn.models import SmallFaceNet
from facelearn.training import ShiftAndGain, accuracy, embed, fit, seed_everything
from facelearn.verification import all_pairs, evaluate_all_pairs

Setting = dict[str, Any]  # what one row of a table varies
Make = Callable[[int, int], nn.Module]  # (embedding_dim, classes) -> the loss

#: What decides a number beside the loss, its settings and the seed: every chapter's SETTINGS begin with it.
SETTINGS: dict[str, Any] = {name: protocol.SETTINGS[name] for name in ("data", "net", "training")}


class Trained(NamedTuple):
    net: nn.Module
    loss: Any
    faces: ImageSet  # it was trained on


@lru_cache(maxsize=2)
def people(split: str, seed: int, few: bool = False) -> SyntheticFaces:
    """The standard set of this split with the people of this seed; `few` of them where only the code is tried."""
    return standard(split, seed=seed, **({"identities": 30} if few else {}))


def train(
    make: Make, seed: int, budget: str = "full", *, epochs: int = 8, shown: ImageSet | None = None, **options: Any
) -> Trained:
    """Train one net with the loss `make(embedding_dim, classes)`; at the budget "smoke" one epoch with a few people.

    shown    the faces to train on, instead of the people of this seed
    options  further keywords of `fit`, beside or instead of `SETTINGS["training"]`
    """
    few = budget == "smoke"
    shown = people("fit", seed, few) if shown is None else shown
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"])  # before the loss: it starts the same whatever the loss draws
    loss = make(net.embedding_dim, int(shown.labels.max()) + 1)
    options = {"augment": ShiftAndGain(), **SETTINGS["training"], **options}
    fit(net, loss, shown, epochs=1 if few else epochs, seed=seed, **options)
    return Trained(net, loss, shown)


def measure(trained: Trained, seed: int, budget: str = "full") -> dict[str, float]:
    """Error rates over all pairs of people never seen; and how the training set stands.

    train_accuracy  share of training images whose own class has the largest logit, without a margin
    target_angle    where the loss is a function of angles: mean angle of a training image to its class, in degrees
    """
    strangers = people("open", seed, budget == "smoke")
    found = evaluate_all_pairs(embed(trained.net, strangers), strangers.labels)
    row = {
        "eer": found.eer,
        "tar_1e2": found.tar_at(1e-2),
        "tar_1e3": found.tar_at(1e-3),
        "train_accuracy": accuracy(*trained),
    }
    if isinstance(trained.loss, MarginHead):
        row["target_angle"] = float(angles(trained)[0].rad2deg().mean())
    return row


@torch.no_grad()
def angles(trained: Trained) -> tuple[Tensor, Tensor]:
    """Of each training image: the angle to its own class direction, and to the nearest other one.  (N,), (N,)"""
    net, loss, shown = trained
    cos = loss.logits(embed(net, shown).to(loss.weight.device)).cpu() / loss.scale  # (N, C)
    own = shown.labels[:, None]
    nearest = cos.scatter(1, own, -1.0).amax(1)  # (N,)
    return cos.gather(1, own)[:, 0].clamp(-1, 1).arccos(), nearest.clamp(-1, 1).arccos()


def run(make: Make, seed: int, budget: str = "full", **options: Any) -> dict[str, float]:
    """Train one loss and measure it: one row of a table. The options are those of `train`."""
    return measure(train(make, seed, budget, **options), seed, budget)


def strip(shown: ImageSet, people: int = 3, images: int = 12) -> Figure:
    """What there is to learn from: some images of the first few people, a row each."""
    return figures.face_strip([shown.images[shown.labels == label][:images] for label in range(people)])


def worst_pairs(net: nn.Module, shown: ImageSet, same: bool, pairs: int = 10) -> Figure:
    """The pairs that this net gets most wrong, above their cosines: of one person the least alike, of two the most."""
    x, (every, kind) = embed(net, shown), all_pairs(shown.labels)
    index = torch.as_tensor(every[kind == same])  # (P, 2)
    scores = cosine_similarity(x[index[:, 0]], x[index[:, 1]])  # (P,)
    worst = scores.argsort(descending=not same)[:pairs]
    titles = [f"{score:.2f}" for score in scores[worst]]
    return figures.face_strip([shown.images[index[worst, side]] for side in (0, 1)], titles)


# ---- reading a table ------------------------------------------------------------------------------------------------


def rows(table: pd.DataFrame, wanted: Setting) -> pd.DataFrame:
    """The rows of one setting, indexed by seed."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table.set_index("seed")


def paired(table: pd.DataFrame, number: str, ours: Setting, base: Setting) -> pd.Series:
    """Ours - base, seed by seed."""
    return (rows(table, ours)[number] - rows(table, base)[number]).dropna()
