"""Chapter 13: margins of four kinds that ask for the same at one target angle, trained side by side.

"Matched at 60 degrees" means: at θ = 60° all have the target logit s cos(θ + m), with ArcFace's m from
`course/settings.json`. The scale is the one that the search chose on "tune" without a margin. Net, training and test
are those of `experiments/faces.py`; the claims are measured on the split "open".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from experiments import faces, protocol
from experiments.faces import Setting, Trained, angles, measure, paired, rows

from facelearn.losses import MarginHead, build
from facelearn.training import embed

__all__ = ["angles", "measure", "paired", "rows"]  # the chapter calls them from here

CHAPTER = "13_margins"

SETTINGS: dict[str, Any] = {
    **faces.SETTINGS,
    "scale": protocol.settings("normface")["arguments"]["scale"],
    "margin": protocol.settings("arcface")["arguments"]["margin"],
    "epochs": 8,
    "seeds": [130, 131, 132, 133, 134],
    "live_seed": 230,
    "matched_at": 60,
    "also_matched_at": 30,  # nearer to where trained samples stand
}
SCALE, MARGIN, AT = SETTINGS["scale"], SETTINGS["margin"], SETTINGS["matched_at"]
KINDS = ("sphereface", "cosface", "arcface", "combined_margin")


def setting(loss: str, *, at: float = AT, detached: bool = False) -> Setting:
    """What one row of the table varies."""
    return {"loss": loss, "matched_at": at, "detached": detached}


def grid() -> Iterator[tuple[Setting, int]]:
    """Four kinds matched at one angle, and no margin; two of them at another; two with a slope of 1."""
    for seed in SETTINGS["seeds"]:
        yield from ((setting(loss), seed) for loss in ("normface", *KINDS))
        yield from ((setting(loss, detached=True), seed) for loss in ("sphereface", "arcface"))
        yield from ((setting(loss, at=SETTINGS["also_matched_at"]), seed) for loss in ("sphereface", "cosface"))


def matched(loss: str, at: float = AT, margin: float = MARGIN) -> dict[str, float]:
    """The keywords with which this loss has the target cos(θ + margin) at θ = `at` degrees."""
    theta = math.radians(at)
    wanted = math.cos(theta + margin)
    return {
        "normface": {},
        "sphereface": {"margin": 1 + margin / theta},
        "cosface": {"margin": math.cos(theta) - wanted},
        "arcface": {"margin": margin},
        "combined_margin": {"m1": 1.0, "m2": margin / 2, "m3": math.cos(theta + margin / 2) - wanted},  # half and half
    }[loss]


def head(wanted: Setting, embedding_dim: int, classes: int) -> MarginHead:
    """The loss of a setting, on unit vectors and at the common scale: SphereFace in its later form, SphereFace-R."""
    loss = wanted["loss"]
    rule = {"beyond_pi": "mm"} if loss in ("arcface", "combined_margin") else {}
    made = build(loss, embedding_dim, classes, scale=float(SCALE), **matched(loss, wanted["matched_at"]), **rule)
    assert isinstance(made, MarginHead)
    return with_slope_one(made) if wanted["detached"] else made


def with_slope_one(head: MarginHead) -> MarginHead:
    """The same value, but ∂target/∂cos θ = 1 as in CosFace."""
    target = head.target
    head.target = lambda cos, rows: cos + (target(cos, rows) - cos).detach()  # type: ignore[method-assign]
    return head


def train(wanted: Setting, seed: int, budget: str = "full") -> Trained:
    """One training of a setting."""
    return faces.train(partial(head, wanted), seed, budget, epochs=SETTINGS["epochs"])


def run(wanted: Setting, seed: int, budget: str = "full") -> dict[str, float]:
    """One row of the table."""
    return measure(train(wanted, seed, budget), seed, budget)


@torch.no_grad()
def push(trained: Trained, wanted: Setting) -> tuple[float, float]:
    """A trained net judged with the margin of `wanted`: the mean of 1 - p_y, and the share of images that win with it.

    Over its training images; p_y is the softmax of the margined logits, to win is to have the largest of them.
    """
    net, loss, shown = trained
    cos = (loss.logits(embed(net, shown).to(loss.weight.device)) / loss.scale).cpu()  # (N, C)
    own = shown.labels[:, None]
    target = head(wanted, 2, 2).target(cos.gather(1, own)[:, 0].clamp(-1, 1), ())  # (N,)
    logits = SCALE * cos.scatter(1, own, target[:, None])
    p = logits.softmax(1).gather(1, own)
    return float(1 - p.mean()), float((logits.argmax(1) == shown.labels).double().mean())


def assets(folder: Path) -> None:
    """The poster, and the boundaries opening as an animation."""
    from experiments import boundaries

    boundaries.assets(folder)
