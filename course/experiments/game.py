"""The game that chapter 00 begins with: twelve pairs of drawn faces, answered by the reader and by a net."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from facelearn import figures, lesson
from facelearn.check.framework import language
from facelearn.data import SyntheticFaces, standard
from facelearn.models import pretrained
from facelearn.training import embed
from facelearn.verification import VerificationResult, all_pairs, evaluate_all_pairs, evaluate_pairs

NET, LETTERS = "arcface", "ABCDEFGHIJKL"
PEOPLE: dict[str, Any] = {"identities": 120, "images_per_identity": 6, "seed": 41, "split": "open"}
LOOK: dict[str, Any] = {"kinship": 0.7, "difficulty": 0.8, "cache": False}  # relatives, hard pictures


@lru_cache(maxsize=1)
def pairs() -> tuple[VerificationResult, np.ndarray]:
    """The net's scores for all pairs of one person or of two of one family, and the numbers of the twelve drawn by lot:
    six of each kind, no person twice."""
    drawn = _players(32)
    every, same = all_pairs(drawn.labels)
    family = drawn.labels.numpy()[every] // 4  # (P, 2)
    every, same = (values[family[:, 0] == family[:, 1]] for values in (every, same))
    result = evaluate_pairs(embed(pretrained(NET), drawn), every, same)
    rng, left = np.random.default_rng(PEOPLE["seed"]), {True: 6, False: 6}
    chosen: list[int] = []
    used: set[int] = set()
    for pair in rng.permutation(len(same)):
        kin, kind = int(drawn.labels[every[pair, 0]]) // 4, bool(same[pair])
        if left[kind] and kin not in used:
            chosen.append(pair)
            used.add(kin)
            left[kind] -= 1
    return result, rng.permutation(np.array(chosen))


def _players(size: int) -> SyntheticFaces:
    return SyntheticFaces(size=size, **PEOPLE, **LOOK)


@lru_cache(maxsize=1)
def threshold() -> float:
    """Where 1 of 100 pairs of two people is accepted, on people of a third group, no relatives."""
    others = standard("tune")
    return evaluate_all_pairs(embed(pretrained(NET), others), others.labels).threshold_at(0.01)


def play(answers: str) -> None:
    """Twelve letters, s (same) or n (not): what the reader, the net and the drawing program say; on the net's curve.

    Without twelve such letters nothing is given away: the curve alone, and what is wrong with them.
    """
    result, chosen = pairs()
    truth, net = result.same[chosen], result.scores[chosen] >= threshold()
    letters = [letter for letter in answers.lower() if letter.isalpha()]
    said = {"you": np.array([letter == "s" for letter in letters]), "net": net}
    if len(letters) != 12 or set(letters) - set("sn"):
        found = f"{len(letters)} {''.join(letters)!r}"
        zh = f"{found}：请写十二个字母，每个是 s 或 n，再运行一次这个单元"
        print(zh if language() == "zh" else f"{found}: write twelve letters, each s or n, and run this cell again")
        said = {}
    else:
        print("pair ", *LETTERS)
        for name, kinds in said.items():
            print(f"{name:5s}", *("s" if s else "n" for s in kinds), f" right: {(kinds == truth).sum()}")
        print("truth", *("s" if s else "n" for s in truth))
    fig, ax = plt.subplots(figsize=(4.6, 3.7))
    far, tar, _ = (100 * rates for rates in result.roc)
    ax.plot(far, tar, color=figures.colour(NET), label="the net, all thresholds")
    ax.plot([0, 100], [0, 100], color="#999999", linewidth=1, linestyle=(0, (4, 2)), label="tossing a coin")
    marks = {"you": ("*", 15, "#222222"), "net": ("o", 7, figures.ORANGE)}
    for name, kinds in said.items():
        mark, size, shade = marks[name]
        at = 100 * kinds[~truth].mean(), 100 * kinds[truth].mean()
        ax.plot(*at, mark, markersize=size, color=shade, zorder=5, label=f"{name}, 12 pairs")
    ax.set(xlabel="pairs of two people called same (%)", ylabel="pairs of one person called same (%)")
    ax.set(xlim=(-3, 103), ylim=(-3, 103))
    ax.legend(loc="lower right")
    lesson.show(fig)


def picture() -> Figure:
    """The twelve pairs of the game, larger than the net gets them."""
    result, chosen = pairs()
    images = _players(96).images
    assert result.pairs is not None
    fig, axes = plt.subplots(3, 4, figsize=(8.4, 3.6), layout="none")
    for ax, pair, name in zip(axes.flat, chosen, LETTERS, strict=True):
        ax.imshow(torch.cat(list(images[result.pairs[pair]]), 2).permute(1, 2, 0))
        ax.text(-8, 48, name, ha="right", va="center", fontsize=13)
        ax.axis("off")
    fig.subplots_adjust(0.03, 0.01, 0.995, 0.99, wspace=0.14, hspace=0.05)
    return fig
