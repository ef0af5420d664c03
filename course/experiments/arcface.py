"""Chapter 12: what the angular margin buys at a fixed scale, and what moving scale and margin together pretends.

A seed draws everything: the people, the start weights, the order of the batches. So runs with one seed are paired, and
the scatter over seeds holds the luck of the people as well as that of the training. Scale and margins come from
`course/settings.json`: the search of `experiments/protocol.py` chose them on the split "tune". The claims are measured
on the split "open", with seeds and people that nothing was chosen on.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from experiments import protocol
from torch import Tensor, nn
from torch.nn.functional import normalize

from facelearn.data import SyntheticFaces, digits, standard
from facelearn.losses import ArcFace, MarginHead, get
from facelearn.models import DigitNet, SmallFaceNet
from facelearn.training import ShiftAndGain, accuracy, embed, fit, seed_everything
from facelearn.verification import all_pairs, evaluate_pairs

CHAPTER = "12_arcface"
Setting = dict[str, Any]

SETTINGS: dict[str, Any] = {
    **{name: protocol.SETTINGS[name] for name in ("data", "net", "training")},
    "chosen": {loss: protocol.settings(loss)["arguments"] for loss in ("normface", "arcface", "cosface")},
    "epochs": 8,
    "seeds": [100, 101, 102, 103, 104],
    "live_seed": 200,
    "margins": [0.0, 0.4, 0.6, 0.8, 1.0, 1.2],  # the best of the search was the largest it tried: two beyond it
    "other_scale": 32,
    "other_epochs": [2, 4],
    "detached": {"arcface_detached": {"loss": "arcface", "detach_margin": True}},  # that value, CosFace's pull
}
SCALE = SETTINGS["chosen"]["normface"]["scale"]  # best for m = 0; the search gives ArcFace and CosFace the same
MARGIN = SETTINGS["chosen"]["arcface"]["margin"]
DETACHED = "arcface_detached"


class Trained(NamedTuple):
    net: nn.Module
    loss: MarginHead
    faces: SyntheticFaces  # it was trained on


def setting(loss: str = "arcface", *, margin: float = 0.0, scale: float = SCALE, epochs: int = 0) -> Setting:
    """What one row of the table varies. ArcFace with margin 0 is NormFace."""
    return {"loss": loss, "scale": float(scale), "margin": float(margin), "epochs": epochs or SETTINGS["epochs"]}


def grid() -> Iterator[tuple[Setting, int]]:
    """The margin alone; CosFace; the detached margin; another scale, other epochs."""
    for seed in SETTINGS["seeds"]:
        yield from ((setting(margin=margin), seed) for margin in SETTINGS["margins"])
        yield setting("cosface", margin=SETTINGS["chosen"]["cosface"]["margin"]), seed
        yield setting(DETACHED, margin=MARGIN), seed
        for margin in (0.0, MARGIN):
            yield setting(margin=margin, scale=SETTINGS["other_scale"]), seed
            yield from ((setting(margin=margin, epochs=epochs), seed) for epochs in SETTINGS["other_epochs"])


@lru_cache(maxsize=2)
def people(split: str, seed: int, few: bool) -> SyntheticFaces:
    """The standard set of this split with the people of this seed; `few` of them where only the code is tried."""
    return standard(split, seed=seed, **({"identities": 30} if few else {}))


def train(setting: Setting, seed: int, budget: str = "full") -> Trained:
    """One training; at the budget "smoke" one epoch with a few people."""
    few = budget == "smoke"
    faces = people("fit", seed, few)
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"])
    classes = int(faces.labels.max()) + 1
    options = dict(SETTINGS["detached"].get(setting["loss"], {"loss": setting["loss"]}))
    options |= {"scale": setting["scale"], "margin": setting["margin"]}
    loss = get(options.pop("loss"), net.embedding_dim, classes, **options)
    assert isinstance(loss, MarginHead)
    epochs = 1 if few else setting["epochs"]
    fit(net, loss, faces, epochs=epochs, seed=seed, augment=ShiftAndGain(), **SETTINGS["training"])
    return Trained(net, loss, faces)


@torch.no_grad()
def angles(trained: Trained) -> tuple[Tensor, Tensor]:
    """Of each training image: the angle to the centre of its own class, and to the nearest other centre.  (N,), (N,)"""
    net, loss, faces = trained
    cos = loss.logits(embed(net, faces).to(loss.weight.device)).cpu() / loss.scale  # (N, C)
    own = faces.labels[:, None]
    nearest = cos.scatter(1, own, -1.0).amax(1)  # (N,)
    return cos.gather(1, own)[:, 0].clamp(-1, 1).arccos(), nearest.clamp(-1, 1).arccos()


def measure(trained: Trained, seed: int, budget: str = "full") -> dict[str, float]:
    """All pairs of people never seen; and how the training set stands."""
    strangers = people("open", seed, budget == "smoke")
    found = evaluate_pairs(embed(trained.net, strangers), *all_pairs(strangers.labels))
    return {
        "eer": found.eer,
        "tar_1e2": found.tar_at(1e-2),
        "tar_1e3": found.tar_at(1e-3),
        "train_accuracy": accuracy(*trained),
        "target_angle": float(angles(trained)[0].rad2deg().mean()),
    }


def run(setting: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """Train one setting and measure it: one row of the table."""
    return measure(train(setting, seed, budget), seed, budget)


# ---- small trainings of the chapter ---------------------------------------------------------------------------------


def toy_training(loss: MarginHead, seed: int = 0) -> tuple[Tensor, float]:
    """After one epoch with 30 people, from the same start whatever the loss: embeddings (N, d), EER of strangers."""
    faces = people("fit", 0, True)
    seed_everything(seed)
    net = SmallFaceNet(**SETTINGS["net"])
    loss.reset_parameters()
    fit(net, loss, faces, epochs=1, seed=seed, augment=ShiftAndGain(), **SETTINGS["training"])
    return embed(net, faces), measure(Trained(net, loss, faces), 0, "smoke")["eer"]


def in_the_plane(cured: bool, budget: str = "full") -> tuple[float, float]:
    """ArcFace on ten digits with 2-D features: training accuracy, and the smallest angle between class means.

    The cure: features centred by batch normalisation, and a margin that grows from 0 during 60 % of the steps.
    """
    images, margin = digits("train"), 0.5
    seed_everything(0)
    net = DigitNet(2, batchnorm=cured)
    loss = ArcFace(2, 10, scale=16.0, margin=margin)

    def warm_up(step: int, total: int) -> None:
        loss.margin = margin * min(1.0, step / (0.6 * total)) if cured else margin

    fit(net, loss, images, epochs=1 if budget == "smoke" else 6, batch_size=64, lr=5e-3, on_step=warm_up)
    unit = normalize(embed(net, images))
    means = torch.stack([unit[images.labels == k].mean(0) for k in range(10)])
    turn = means[:, 1].atan2(means[:, 0]).sort().values
    gaps = turn.diff(append=turn[:1] + 2 * math.pi)
    return accuracy(net, loss, images), float(gaps.min().rad2deg())


# ---- reading the table ----------------------------------------------------------------------------------------------


def rows(table: pd.DataFrame, wanted: Setting) -> pd.DataFrame:
    """The rows of one setting, indexed by seed."""
    for column, value in wanted.items():
        table = table[table[column] == value]
    return table.set_index("seed")


def paired(table: pd.DataFrame, number: str, ours: Setting, base: Setting) -> pd.Series:
    """Ours - base, seed by seed."""
    return (rows(table, ours)[number] - rows(table, base)[number]).dropna()


def searched() -> pd.DataFrame:
    """What the search tried of these three losses on `tune`: one row a setting, EER in percent."""
    table = pd.read_csv(protocol.CHOSEN.parent / "results" / "search.csv")
    rows = []
    for loss, words, eer in table[["loss", "setting", "eer"]].itertuples(index=False):
        if loss in SETTINGS["chosen"]:
            tried = json.loads(words)["arguments"]
            mark = "chosen" if tried == SETTINGS["chosen"][loss] else ""
            rows.append((loss, tried["scale"], tried.get("margin", 0.0), round(100 * eer, 2), mark))
    return pd.DataFrame(rows, columns=["loss", "scale", "margin", "EER %", ""])


# ---- the stored animation -------------------------------------------------------------------------------------------


def assets(folder: Path) -> None:
    """The arcs opening on the circle, as a GIF."""
    from facelearn import figures

    frames = [0.5 * (1 - math.cos(math.pi * i / 24)) / 2 for i in range(25)]
    figures.save_gif(folder / "12_arcs.gif", figures.arcs_pair, frames, seconds=0.09, hold=1.8, dpi=100)
