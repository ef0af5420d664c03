"""Chapter 12: what the angular margin buys at a fixed scale, and what moving scale and margin together pretends.

Scale and margins come from `course/settings.json`: the search of `experiments/protocol.py` chose them on the split
"tune". The claims are measured on the split "open", with seeds and people that nothing was chosen on. Net, training and
test are those of `experiments/faces.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from experiments import faces, protocol
from experiments.faces import Setting, Trained, angles, measure, paired, rows
from torch import Tensor, nn
from torch.nn.functional import normalize

from facelearn.data import digits
from facelearn.losses import ArcFace, MarginHead, build
from facelearn.models import DigitNet
from facelearn.training import accuracy, embed, fit, seed_everything

__all__ = ["angles", "measure", "paired", "rows"]  # the chapter calls them from here

CHAPTER = "12_arcface"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
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


def head(wanted: Setting, embedding_dim: int, classes: int) -> nn.Module:
    """The loss of a setting."""
    options = SETTINGS["detached"].get(wanted["loss"], {"loss": wanted["loss"]})
    options = options | {"scale": wanted["scale"], "margin": wanted["margin"]}
    return build(options.pop("loss"), embedding_dim, classes, **options)


def train(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    """One training of a setting."""
    return faces.train(partial(head, wanted), seed, budget, epochs=wanted["epochs"])


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table."""
    return measure(train(wanted, seed, budget), seed, budget)


# ---- small trainings of the chapter ---------------------------------------------------------------------------------


def toy_training(loss: MarginHead, seed: int = 0) -> tuple[Tensor, float]:
    """After one epoch with 30 people, from the same start whatever the loss: embeddings (N, d), EER of strangers."""

    def make(embedding_dim: int, classes: int) -> nn.Module:
        loss.reset_parameters()
        return loss

    trained = faces.train(make, seed, "smoke", shown=faces.people("fit", 0, few=True))
    return embed(trained.net, trained.faces), measure(trained, 0, "smoke")["eer"]


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


def searched() -> pd.DataFrame:
    """What the search tried of these three losses on `tune`: one row a setting, EER in percent."""
    table = pd.read_csv(protocol.CHOSEN.parent / "results" / "search.csv")
    found = []
    for loss, words, eer in table[["loss", "setting", "eer"]].itertuples(index=False):
        if loss in SETTINGS["chosen"]:
            tried = json.loads(words)["arguments"]
            mark = "chosen" if tried == SETTINGS["chosen"][loss] else ""
            found.append((loss, tried["scale"], tried.get("margin", 0.0), round(100 * eer, 2), mark))
    return pd.DataFrame(found, columns=["loss", "scale", "margin", "EER %", ""])


# ---- the stored animation -------------------------------------------------------------------------------------------


def assets(folder: Path) -> None:
    """The arcs opening on the circle, as a GIF."""
    from experiments import arcs

    from facelearn import figures

    frames = [0.5 * (1 - math.cos(math.pi * i / 24)) / 2 for i in range(25)]
    figures.save_gif(folder / "12_arcs.gif", arcs.pair, frames, seconds=0.09, hold=1.8, dpi=100)
