"""What a net is worth on a set of images: numbers with intervals, to print and to keep."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from facelearn.files import write_json
from facelearn.training import best_device, embed
from facelearn.verification import VerificationResult, all_pairs, evaluate_pairs

FARS = (1e-1, 1e-2, 1e-3, 1e-4)


def evaluate(
    net: nn.Module, target: Any, *, flip: bool = False, device: str | torch.device | None = None
) -> VerificationResult:
    """Measure a net on a set with `.pairs`, `.same` (LFW and the like), or else on all pairs of a labelled set.

    flip: embed the mirrored image, too, and add the two embeddings, as is usual for published numbers.
    device: CUDA where there is one, unless named; the net stays on it.
    """
    device = best_device(device)
    embeddings = embed(net, target, device=device)
    if flip:
        images = getattr(target, "images", None)
        if not isinstance(images, Tensor):
            raise ValueError(f"flip: {type(target).__name__} has no .images; expected a set in memory")
        embeddings = embeddings + embed(net, images.flip(3), device=device)
    if not hasattr(target, "pairs"):
        return evaluate_pairs(embeddings, *all_pairs(target.labels), identities=target.labels)
    persons = target.labels[target.pairs]  # (P, 2)
    known = bool(((persons[:, 0] == persons[:, 1]) == target.same).all())  # InsightFace's files do not say who it is
    folds = target.folds if len(target.folds.unique()) > 1 else None
    return evaluate_pairs(
        embeddings, target.pairs, target.same, identities=target.labels if known else None, folds=folds
    )


def numbers(result: VerificationResult, *, resamples: int = 200) -> dict[str, Any]:
    """AUC, EER, TAR at each FAR that the pairs can show, accuracy, with 95 % intervals over people where known.

    No accuracy of pairs that are not balanced, such as all pairs of a set: calling everyone a stranger scores high.
    """
    fars = [far for far in FARS if far >= 10 / result.num_impostor]
    names = ["auc", "eer", *(f"tar@{far:.0e}" for far in fars)]
    values = {"auc": result.auc, "eer": result.eer} | {f"tar@{far:.0e}": result.tar_at(far) for far in fars}
    if 0.5 <= result.num_genuine / result.num_impostor <= 2:
        try:
            values["accuracy"] = result.accuracy
            names.append("accuracy")
        except ValueError:  # too few people for folds
            pass
    found: dict[str, Any] = {name: {"value": value} for name, value in values.items()}
    try:
        for name, interval in result.intervals(names, resamples=resamples).items() if resamples else ():
            found[name] |= {"low": interval.low, "high": interval.high}
    except ValueError:  # people unknown, or too few
        pass
    return {"genuine": result.num_genuine, "impostor": result.num_impostor, "numbers": found}


def table(measured: dict[str, Any]) -> str:
    """The numbers as lines to read."""
    lines = [f"{measured['genuine']:,} genuine + {measured['impostor']:,} impostor pairs"]
    for name, cell in measured["numbers"].items():
        share = f"{cell['value']:.5f}" if name == "auc" else f"{cell['value']:.2%}"
        span = ""
        if "low" in cell and not math.isnan(cell["low"]):
            ends = (cell["low"], cell["high"])
            span = "   95 % " + " to ".join(f"{end:.5f}" if name == "auc" else f"{end:.2%}" for end in ends)
        lines.append(f"  {name:10} {share:>9}{span}")
    return "\n".join(lines)


def write_evaluation(folder: Path, name: str, result: VerificationResult, measured: dict[str, Any]) -> Path:
    """The ROC as a figure, and `evaluation_<name>.json`, which says that both are there."""
    from matplotlib import pyplot as plt

    from facelearn import figures

    figures.use_style()
    fig, ax = plt.subplots()
    far, tar, _ = result.roc
    shown = np.searchsorted(far, np.geomspace(1 / result.num_impostor, 1, 500), side="right") - 1  # of millions
    ax.plot(far[shown], tar[shown], color=figures.colour("arcface"))
    ax.set(xscale="log", xlim=(1 / result.num_impostor, 1), ylim=(0, 1.01), xlabel="false accept rate",
           ylabel="true accept rate", title=f"ROC on {name}, EER {result.eer:.2%}")  # fmt: skip
    figures.save_png(folder / "figures" / f"roc_{name}.png", fig)
    write_json(folder / f"evaluation_{name}.json", measured)
    return folder / f"evaluation_{name}.json"
