"""Chapter 12: what the angular margin buys, at four scales, and which part of it: the value or the slope.

At each scale the margins of ArcFace and CosFace are chosen on people of the split "tune": by the search of
`experiments/protocol.py`, and where that had not looked, by rows of the same kind in this table (stage "tune"). Then
five losses are compared on the split "open", with seeds that nothing was chosen on (stage "open"):

    normface           no margin
    arcface            cos(θ + m): value and slope of the angular margin
    arcface_detached   the value cos(θ + m), with the slope of cos θ
    cosface_matched    cos θ - m', which asks for as much as that ArcFace does at θ = 60°, with the slope of cos θ
    cosface            cos θ - m', m' chosen for itself
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from experiments import arcs, faces, protocol
from experiments.faces import Setting, Trained, paired, rows
from experiments.pull import alike, derivative, pull_figure
from matplotlib.figure import Figure
from torch import Tensor, nn

from facelearn import figures, lesson
from facelearn.losses import MarginHead, build
from facelearn.training import embed

__all__ = ["paired", "pull_figure", "rows"]  # the chapter calls them from here

CHAPTER = "12_arcface"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "epochs": 8,
    "seeds": [120, 121, 122, 123, 124, 200],  # 200 was the live seed of an earlier table, and fell outside it
    "live_seed": 220,
    "scales": [8, 16, 32, 64],
    "matched_at": 60,
    "tried": {  # written down before the first run
        "normface": {8: [0.0], 16: [0.0], 32: [0.0], 64: [0.0]},
        "arcface": {8: [0.4, 0.6, 0.8], 16: [0.3, 0.4, 0.5, 0.6], 32: [0.2, 0.3, 0.4, 0.5], 64: [0.1, 0.2, 0.3, 0.4]},
        "cosface": {8: [0.2, 0.4, 0.8], 16: [0.1, 0.2, 0.3, 0.4], 32: [0.2, 0.3, 0.4, 0.5], 64: [0.1, 0.2, 0.3, 0.4]},
    },
    # One value beyond, where the best stood at an edge; `choose` finds what was chosen again in the stored rows.
    "further": [["arcface", 8, 1.0], ["cosface", 8, 0.1], ["cosface", 32, 0.1]],
    "chosen": {
        "arcface": {8: 0.8, 16: 0.5, 32: 0.4, 64: 0.3},
        "cosface": {8: 0.2, 16: 0.3, 32: 0.2, 64: 0.3},
    },
    "other_margins": [0.4, 0.6, 1.0, 1.2],  # of ArcFace, at the smallest scale
}
SCALES = SETTINGS["scales"]


def setting(loss: str, scale: float, margin: float | None = None) -> Setting:
    """One row of the comparison; unless named, the margin is the one that was chosen."""
    if margin is None:
        margin = chosen_margin(loss, int(scale))
    return {"stage": "open", "loss": loss, "scale": float(scale), "margin": margin}


def chosen_margin(loss: str, scale: int) -> float:
    """The margin with which a loss is compared at this scale."""
    if loss == "normface":
        return 0.0
    if loss == "cosface_matched":
        return round(alike(SETTINGS["chosen"]["arcface"][scale], SETTINGS["matched_at"])["cosface"]["margin"], 4)
    return SETTINGS["chosen"][loss.removesuffix("_detached")][scale]


def grid() -> Iterator[tuple[Setting, int]]:
    """What the search of the protocol had not tried; then a whole seed at a time: five losses, more margins."""
    known = set(searched()[["loss", "scale", "margin"]].itertuples(index=False, name=None))
    tried = [(loss, scale, m) for loss, of in SETTINGS["tried"].items() for scale, ms in of.items() for m in ms]
    for loss, scale, margin in [*tried, *SETTINGS["further"]]:
        if (loss, scale, margin) not in known:
            yield {"stage": "tune", "loss": loss, "scale": float(scale), "margin": margin}, protocol.SEARCH_SEED
    for seed in SETTINGS["seeds"]:
        for loss in ("normface", "arcface", "arcface_detached", "cosface_matched", "cosface"):
            yield from ((setting(loss, scale), seed) for scale in SCALES)
        yield from ((setting("arcface", SCALES[0], margin), seed) for margin in SETTINGS["other_margins"])


# ---- one training ---------------------------------------------------------------------------------------------------


def head(wanted: Setting, embedding_dim: int, classes: int) -> MarginHead:
    """The loss of a row."""
    stem, *variant = wanted["loss"].split("_")
    options: dict[str, Any] = {} if stem == "normface" else {"margin": wanted["margin"]}
    if variant == ["detached"]:
        options["detach_margin"] = True
    made = build(stem, embedding_dim, classes, scale=wanted["scale"], **options)
    assert isinstance(made, MarginHead)
    return made


def train(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    return faces.train(partial(head, wanted), seed, budget, epochs=SETTINGS["epochs"])


def measure(trained: Trained, seed: int, budget: str = "full") -> dict[str, float]:
    """Error rates of strangers, how the training set stands, and how it is still pulled."""
    return faces.measure(trained, seed, budget) | pulled(trained)


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table."""
    if wanted["stage"] == "open":
        return measure(train(wanted, seed, budget), seed, budget)
    margin = {} if wanted["loss"] == "normface" else {"margin": wanted["margin"]}
    recipe = {"loss": wanted["loss"], "arguments": {"scale": wanted["scale"], **margin}}
    return protocol.run(recipe, "tune", seed, budget)


def pulled(trained: Trained) -> dict[str, float]:
    """How hard the own class still pulls at the end of a training: means over its training images.

    rest, rest_margin  1 - p_y from the plain logits, and from those that the loss sees
    slope              -∂T/∂θ as the gradient knows it: sin θ, or sin(θ + m)
    pull               (1 - p_y) · (-∂T/∂θ): the pull on the angle, over s
    settled            the share of images with 1 - p_y < 0.1 in spite of the margin
    won                the share of images past the margin's boundary: their target is above every other cosine
    rival_angle        to the nearest other class direction, in degrees
    """
    net, loss, shown = trained
    with torch.no_grad():
        cos = (loss.logits(embed(net, shown).to(loss.weight.device)) / loss.scale).cpu().clamp(-1, 1)  # (N, C)
    own = shown.labels[:, None]
    theta = cos.gather(1, own)[:, 0].arccos()  # (N,)
    target, falls = derivative(loss, theta)
    rival = cos.scatter(1, own, -1.0).amax(1)

    def rest(logit: Tensor) -> Tensor:
        """1 - p_y with this target logit over s.  (N,) -> (N,)"""
        return 1 - (loss.scale * cos.scatter(1, own, logit[:, None])).softmax(1).gather(1, own)[:, 0]

    numbers = {
        "rest": rest(theta.cos()),
        "rest_margin": rest(target),
        "slope": falls,
        "pull": rest(target) * falls,
        "settled": (rest(target) < 0.1).double(),
        "won": (target > rival).double(),
        "rival_angle": rival.arccos().rad2deg(),
    }
    return {name: float(values.mean()) for name, values in numbers.items()}


def toy_training(loss: MarginHead, seed: int = 0) -> tuple[Tensor, float]:
    """After one epoch with 30 people, from the same start whatever the loss: embeddings (N, d), EER of strangers."""

    def make(dim: int, classes: int) -> nn.Module:
        loss.reset_parameters()
        return loss

    trained = faces.train(make, seed, "smoke")
    return embed(trained.net, trained.faces), faces.measure(trained, seed, "smoke")["eer"]


# ---- reading the table ----------------------------------------------------------------------------------------------


def searched() -> pd.DataFrame:
    """The rows of the protocol's search for these losses and scales: loss, scale, margin, eer, tar_1e2."""
    table = pd.read_csv(protocol.CHOSEN.parent / "results" / "search.csv")
    found = []
    for loss, words, eer, tar in table[["loss", "setting", "eer", "tar_1e2"]].itertuples(index=False):
        tried = json.loads(words)["arguments"]
        if loss in SETTINGS["tried"] and tried["scale"] in SCALES:
            found.append((loss, float(tried["scale"]), tried.get("margin", 0.0), eer, tar))
    return pd.DataFrame(found, columns=["loss", "scale", "margin", "eer", "tar_1e2"])


def choose(table: pd.DataFrame) -> dict[str, dict[int, float]]:
    """For each loss and scale the margin with the smallest EER on `tune`; a tie: the larger TAR at FAR 1e-2."""
    tried = pd.concat([searched(), table[table["stage"] == "tune"]])
    tried = tried.sort_values(["eer", "tar_1e2"], ascending=[True, False])
    best = tried.groupby(["loss", "scale"])["margin"].first()
    return {loss: {scale: float(best[loss, scale]) for scale in SCALES} for loss in SETTINGS["chosen"]}


def gain(table: pd.DataFrame, loss: str, scale: float) -> pd.Series:
    """By how many points of EER the loss is better than NormFace at this scale, seed by seed."""
    return -100 * paired(table, "eer", setting(loss, scale), setting("normface", scale))


def kept(table: pd.DataFrame, loss: str, scale: float) -> tuple[float, float, float]:
    """The share of ArcFace's gain that the loss has, and the ends of its 95 % interval.

    The interval holds every share r with which (gain of the loss) - r · (gain of ArcFace) may be 0 on average.
    """
    ours, arcface = gain(table, loss, scale), gain(table, "arcface", scale)
    inside = [r for r in np.linspace(-1, 2, 601) if lesson.interval(ours - r * arcface).contains(0.0)]
    return ours.mean() / arcface.mean(), min(inside), max(inside)


def summary(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Head and rows of a table, a row per scale: NormFace's EER in percent, and how many points margins change it."""
    found = []
    for scale in SCALES:
        row = [f"{scale}, {chosen_margin('arcface', scale)}"]
        row.append(f"{100 * rows(table, setting('normface', scale))['eer'].mean():.2f}")
        changes = (-gain(table, loss, scale) for loss in ("arcface", "arcface_detached", "cosface_matched"))
        found.append([*row, *(f"{lesson.interval(points):+.2f}" for points in changes)])
    return ["s, m", "NormFace, EER %", "ArcFace", "detached", "CosFace, matched"], found


def stand(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """The same for the training images: which share NormFace has finished (1 - p_y < 0.1), and three mean angles."""
    found = []
    for scale in SCALES:
        stems = ("normface", "arcface_detached", "arcface")
        plain, *others = (rows(table, setting(loss, scale)).mean(numeric_only=True) for loss in stems)
        angles = [f"{row['target_angle']:.0f}°" for row in (plain, *others)]
        found.append([str(scale), f"{plain['settled']:.0%}", *angles])
    return ["s", "finished by NormFace", "angle: NormFace", "detached", "ArcFace"], found


# ---- figures --------------------------------------------------------------------------------------------------------


def gains_figure(table: pd.DataFrame) -> Figure:
    """What margins gain at each scale, which share of ArcFace's gain two of them have, and ArcFace's margin varied."""
    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(10.5, 3.3))
    names = {"arcface": "ArcFace", "arcface_detached": "ArcFace, detached", "cosface_matched": "CosFace, matched"}
    for place, (loss, name) in enumerate(names.items()):
        style = {"color": figures.colour(loss.split("_")[0]), "fmt": ("o-", "o--", "s--")[place], "capsize": 3}
        at = [step + 0.1 * (place - 1) for step in range(len(SCALES))]
        plain = [rows(table, setting("normface", scale))["eer"].mean() for scale in SCALES]
        gains = [lesson.interval(gain(table, loss, s) / eer) for s, eer in zip(SCALES, plain, strict=True)]
        left.errorbar(at, [g.mean for g in gains], [g.half_width for g in gains], label=name, **style)
        if loss != "arcface":
            share, low, high = 100 * np.array([kept(table, loss, scale) for scale in SCALES]).T
            middle.errorbar(at, share, [share - low, high - share], **style)
    left.set(title="gain, % of NormFace's EER")
    left.legend(loc="upper left")
    middle.set(title="share of ArcFace's gain (%)")
    for ax in (left, middle):
        ax.set_xticks(range(len(SCALES)), [f"s = {scale}" for scale in SCALES])

    margins = sorted([*SETTINGS["other_margins"], chosen_margin("arcface", SCALES[0])])
    for place, margin in enumerate(margins):
        ours, base = setting("arcface", SCALES[0], margin), setting("normface", SCALES[0])
        points = -100 * paired(table, "eer", ours, base)
        spread, shade = lesson.interval(points), figures.colour("arcface")
        figures.seeds(right, place, points, spread.low, spread.high, shade, aside=0.15)
        if spread.mean < -1:  # far below the picture
            words = f"{points.max():+.1f}\nto\n{points.min():+.1f}"
            right.text(place, 0.05, words, ha="center", va="bottom", color=shade)
    right.set(title=f"gain in points, s = {SCALES[0]}", ylim=(-0.1, 1.3))
    right.set_xticks(range(len(margins)), [f"m = {m}" if not place else f"{m}" for place, m in enumerate(margins)])
    for ax in (left, middle, right):
        ax.axhline(0, color="#333333", linewidth=1)
    return fig


def assets(folder: Path) -> None:
    """The arcs opening on the circle, as a GIF."""
    frames = [0.5 * (1 - math.cos(math.pi * i / 24)) / 2 for i in range(25)]
    figures.save_gif(folder / "12_arcs.gif", arcs.pair, frames, seconds=0.09, hold=1.8, dpi=100)
